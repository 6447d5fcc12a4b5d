/* tls.h - the server's certificate and key, and how they are changed while connections last.
 *
 * Every handshake gets copies of what is in use at that moment, and GnuTLS frees them with the session. So a reload touches no connection there is, and nobody
 * has to know when the last one of an old certificate ends.
 * Threads: any may begin handshakes while another one reloads.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TLS_H
#define TLS_H

#include <gnutls/abstract.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct srv_tls srv_tls;

/* TLS 1.2 and 1.3, forward secrecy, authenticated encryption, and nothing else. */
#define SRV_TLS_PRIORITIES                                                                                                                                     \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:-MAC-ALL:+AEAD:-RSA:-DHE-RSA:"                     \
    "-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:%SERVER_PRECEDENCE"

/* Both files are PEM; the certificate's may hold its chain. NULL: `error` names the file and what is wrong. A certificate that has expired, or is not valid yet,
 * is taken with a warning in the log. */
srv_tls *srv_tls_open(const char *cert, const char *key, char *error, size_t size);
/* Reads the same files again. False: `error` says why, and the certificate is the one of before. */
bool srv_tls_reload(srv_tls *, char *error, size_t size);
/* For the log: "CN=example.org, until 2027-01-31". */
void srv_tls_describe(srv_tls *, char *dst, size_t size);
/* When the certificate ends, Unix time in seconds. */
uint64_t srv_tls_expires(srv_tls *);
/* NULL is fine. */
void srv_tls_close(srv_tls *);

/* New copies for one handshake, to be freed by GnuTLS (GNUTLS_CERT_RETR_DEINIT_ALL). False: no memory. */
bool srv_tls_lend(srv_tls *, gnutls_pcert_st **chain, unsigned *count, gnutls_privkey_t *key);

#endif

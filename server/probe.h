/* probe.h - asks a running server whether it is ready: what a container's health check calls.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_H
#define PROBE_H

#include <stddef.h>

/* GETs `url`/readyz; for "unix:PATH" from that socket. 0: it answered 200; 1: it did not, and `error` says why.
 * An address without a scheme is asked in the clear, and over TLS when `trusted` is given: as the server that was started with the same options speaks.
 * A certificate is held against `trusted`, a PEM file (NULL: what the system trusts). That of a loopback address is not looked at: it names another host, and who
 * could answer there in the server's place could as well answer this program. */
int srv_probe(const char *url, const char *trusted, char *error, size_t size);

#endif

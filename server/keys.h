/* keys.h - who may ask: bearer keys from a file, one a line, and how many requests of each are in work.
 *
 * Only hashes of keys are kept. A key is looked for among all of them in constant time, hash against hash, so that neither its length nor how much of a guess was
 * right can be measured. No error, no log line and no metric ever holds a key.
 * Threads: any may look for keys while another one reloads. A key that has been found stays valid until it is dropped, also when it is gone from the file.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct srv_keys srv_keys;
typedef struct srv_key srv_key;

enum { SRV_KEY_LEAST_BYTES = 16 }; /* a shorter one can be guessed */

/* Reads the file: a key a line, of letters, digits and -._~+/= (RFC 6750's token); empty lines and those that begin with '#' are skipped. NULL: `error` names
 * the file, and the line where there is one. New; close it. */
srv_keys *srv_keys_open(const char *path, char *error, size_t size);
/* Reads the same file again. A key that stays keeps its count of requests. False: `error` says why, and the keys are those of before. */
bool srv_keys_reload(srv_keys *, char *error, size_t size);
size_t srv_keys_count(srv_keys *);
/* NULL is fine. Keys that were found must have been dropped. */
void srv_keys_close(srv_keys *);

/* The key that a header "Authorization: Bearer KEY" has, held for the caller, who drops it. NULL: no header (NULL), another scheme, or no key of ours. */
srv_key *srv_keys_find(srv_keys *, const char *authorization);
void srv_key_drop(srv_key *);

/* One more request of this key is in work, unless there are `most` already (0: as many as come). A true is followed by srv_key_end. */
bool srv_key_begin(srv_key *, uint64_t most);
void srv_key_end(srv_key *);

#endif

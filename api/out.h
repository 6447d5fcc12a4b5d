/* out.h - a byte writer over a reply's blocks, with an error that sticks: write freely, look once at the end.
 *
 * The reply's head goes out with the first full block (or at api_out_end), so that a failure before that is still an honest error answer.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_OUT_H
#define API_OUT_H

#include "api.h"

typedef struct api_out {
    api_reply *reply; /* NULL: nothing is sent, bytes are only counted (api_out_reserve then gives nothing) */
    api_head head;
    api_block *block; /* being filled */
    bool started;
    bool quoted;      /* what is written is the inside of a JSON string: it is escaped on its way */
    uint64_t written; /* bytes of body so far */
    attn_status status;
    uint64_t waited_ns; /* in start and give: not encoding time */
} api_out;

void api_out_init(api_out *, api_reply *, api_head head);
void api_out_bytes(api_out *, const void *bytes, size_t n);
void api_out_string(api_out *, const char *s); /* as it is */
void api_out_char(api_out *, char c);
void api_out_format(api_out *, const char *fmt, ...) ATTN_PRINTF(2, 3); /* at most 256 bytes */
void api_out_json_string(api_out *, const char *s, size_t n);           /* quoted and escaped; s is valid UTF-8 */
void api_out_uint(api_out *, uint64_t n);
/* Room for `n` <= API_BLOCK_BYTES contiguous bytes to write into; NULL when the writer has failed. Then api_out_commit what was used. */
char *api_out_reserve(api_out *, size_t n);
void api_out_commit(api_out *, size_t used);
/* Hands over what there is, though the block is not full: the client gets it now. */
void api_out_flush(api_out *);
/* Hands the current block over, if it holds anything, then gives this one, filled elsewhere (by another thread, say), in its place in the stream. `more`: the next
 * call is this one again. */
void api_out_block(api_out *, api_block *, bool more);
/* Sends what is left. An answer that fits one block gets its exact length. Returns the sticky status. */
ATTN_MUST_CHECK attn_status api_out_end(api_out *);
/* Drops what was not sent; true when nothing had been sent yet, so that another answer may still be given. */
bool api_out_abandon(api_out *);

#endif

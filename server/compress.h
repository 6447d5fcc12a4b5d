/* compress.h - an api_reply that compresses what it is given and passes it on to another one. The only file that knows zlib and zstd.
 *
 * Compressed are the answers that are text, are not tiny, and went well, with the coding the client likes best (codings.h). Without memory for a compressor
 * the answer goes as it is. All calls but take and drop come from one thread, the one that runs the request, so that is where compressing happens.
 *
 * Bytes are not held back for long: of a stream of lines every block leaves flushed; otherwise the first block waits for the second, as it does in the pipe, and
 * then both leave flushed. So an answer of one block still gets its length.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPRESS_H
#define COMPRESS_H

#include "api.h"
#include "budget.h"
#include "codings.h"

enum {
    SRV_COMPRESS_LEAST_BYTES = 1024, /* an answer below is sent as it is: it is one packet anyway */
    SRV_COMPRESS_BYTES = 1 << 20     /* of memory a compressor takes at most; charged like blocks, without asking */
};

typedef struct srv_compress {
    api_reply inner;             /* fixed */
    const srv_codings *accepted; /* fixed */
    srv_budget *budget;          /* fixed; NULL: nobody counts */
    srv_coding coding;           /* of what was started */
    void *stream;                /* the coding's own; NULL: none */
    bool lines;                  /* flushed with every block */
    size_t gives;
    api_block *out; /* being filled */
    uint64_t ns;    /* spent compressing */
} srv_compress;

/* Whether answers of this media type are ever compressed. */
bool srv_compress_is_text(const char *content_type);

/* Wraps `inner`. The others are borrowed. */
api_reply srv_compress_open(srv_compress *, const api_reply *inner, const srv_codings *, srv_budget *);
/* Nothing more will be given, and all went well: passes on what is left. Failures as of give. */
ATTN_MUST_CHECK attn_status srv_compress_end(srv_compress *);
/* Frees everything; at any time, before `inner` goes. */
void srv_compress_close(srv_compress *);

#endif

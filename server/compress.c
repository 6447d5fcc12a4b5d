/* compress.c - see compress.h.
 *
 * Levels were chosen by measuring real answers (tests/bench/bench_compress.c). zstd at level 1 is both smaller and faster than any of gzip's; a window of
 * 128 KiB and tables to match cost nothing and take 0.9 MB in place of 1.4. gzip's matches find little in base64 and take most of the time, so blocks that
 * lie within one base64 string are coded with runs alone (Z_RLE): three times as fast, and smaller.
 * SPDX-License-Identifier: Apache-2.0 */
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_customMem */
#include "compress.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    GZIP_LEVEL = 1,
    GZIP_WINDOW = 15 + 16, /* 32 KiB, and gzip's frame */
    GZIP_MEMORY = 8,
    ZSTD_LEVEL = 1,
    ZSTD_WINDOW = 17, /* powers of two */
    ZSTD_HASH = 13
};

typedef enum how { GO_ON, FLUSH, END } how;
typedef enum step { DONE, FULL, FAILED } step;

/* What a coding is. Steps move *bytes and *n over what was taken; FULL: the block is, and there is more to come out. */
typedef struct codec {
    void *(*open)(uint64_t length); /* of all that will come; UINT64_MAX: not known. NULL: no memory */
    step (*step)(void *stream, api_block *to, const char **bytes, size_t *n, how);
    void (*close)(void *stream);
} codec;

/* ---- gzip ---------------------------------------------------------------------------------------------------------------- */

static void *gzip_alloc(void *ctx, unsigned items, unsigned size)
{
    size_t bytes;
    (void)ctx;
    return attn_mul(items, size, &bytes) ? attn_malloc(bytes) : NULL;
}

static void gzip_free(void *ctx, void *block)
{
    (void)ctx;
    attn_free(block);
}

static void *gzip_open(uint64_t length)
{
    (void)length;
    z_stream *z = attn_calloc(1, sizeof *z);
    if (!z)
        return NULL;
    z->zalloc = gzip_alloc;
    z->zfree = gzip_free;
    if (deflateInit2(z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    attn_free(z);
    return NULL;
}

static void gzip_close(void *stream)
{
    deflateEnd(stream);
    attn_free(stream);
}

/* Within one string of base64 stands neither a quote nor a comma. */
static int gzip_strategy(const char *bytes, size_t n)
{
    bool base64 = n > 0 && !memchr(bytes, '"', n) && !memchr(bytes, ',', n);
    return base64 ? Z_RLE : Z_DEFAULT_STRATEGY;
}

static step gzip_step(void *stream, api_block *to, const char **bytes, size_t *n, how h)
{
    static const int flush[] = { [GO_ON] = Z_NO_FLUSH, [FLUSH] = Z_SYNC_FLUSH, [END] = Z_FINISH };
    z_stream *z = stream;
    z->next_out = (Bytef *)(to->data + to->used);
    z->avail_out = (uInt)(API_BLOCK_BYTES - to->used);
    z->next_in = NULL;
    z->avail_in = 0;
    int result = *n > 0 ? deflateParams(z, GZIP_LEVEL, gzip_strategy(*bytes, *n)) : Z_OK; /* may have to write what was under way */
    if (result == Z_OK && z->avail_out > 0) {
        z->next_in = (Bytef *)(uintptr_t)*bytes;
        z->avail_in = (uInt)*n;
        result = deflate(z, flush[h]);
        *bytes += *n - z->avail_in;
        *n = z->avail_in;
    }
    to->used = API_BLOCK_BYTES - z->avail_out;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return FAILED;
    bool all = h == END ? result == Z_STREAM_END : z->avail_out > 0;
    return all ? DONE : FULL;
}

/* ---- zstd ---------------------------------------------------------------------------------------------------------------- */

static void *zstd_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    return attn_malloc(bytes);
}

static void zstd_free(void *ctx, void *block)
{
    (void)ctx;
    attn_free(block);
}

/* With a length known, what is small takes small tables. */
static void *zstd_open(uint64_t length)
{
    ZSTD_CCtx *z = ZSTD_createCCtx_advanced((ZSTD_customMem){ zstd_alloc, zstd_free, NULL });
    if (!z)
        return NULL;
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, ZSTD_WINDOW);
    ZSTD_CCtx_setParameter(z, ZSTD_c_hashLog, ZSTD_HASH);
    ZSTD_CCtx_setPledgedSrcSize(z, length == UINT64_MAX ? ZSTD_CONTENTSIZE_UNKNOWN : length);
    ZSTD_inBuffer nothing = { NULL, 0, 0 };
    ZSTD_outBuffer nowhere = { NULL, 0, 0 };
    if (!ZSTD_isError(ZSTD_compressStream2(z, &nowhere, &nothing, ZSTD_e_continue))) /* takes its memory now, while the answer may still go without */
        return z;
    ZSTD_freeCCtx(z);
    return NULL;
}

static void zstd_close(void *stream)
{
    ZSTD_freeCCtx(stream);
}

static step zstd_step(void *stream, api_block *to, const char **bytes, size_t *n, how h)
{
    static const ZSTD_EndDirective directive[] = { [GO_ON] = ZSTD_e_continue, [FLUSH] = ZSTD_e_flush, [END] = ZSTD_e_end };
    ZSTD_inBuffer in = { *bytes, *n, 0 };
    ZSTD_outBuffer out = { to->data, API_BLOCK_BYTES, to->used };
    size_t left = ZSTD_compressStream2(stream, &out, &in, directive[h]);
    *bytes += in.pos;
    *n -= in.pos;
    to->used = out.pos;
    if (ZSTD_isError(left))
        return FAILED;
    return h == GO_ON ? (*n == 0 ? DONE : FULL) : (left == 0 ? DONE : FULL);
}

static const codec codecs[SRV_CODING_COUNT] = {
    [SRV_GZIP] = { gzip_open, gzip_step, gzip_close },
    [SRV_ZSTD] = { zstd_open, zstd_step, zstd_close },
};

/* ---- which answers ------------------------------------------------------------------------------------------------------- */

bool srv_compress_is_text(const char *content_type)
{
    static const char *const types[] = { "application/json", "application/x-ndjson", "image/svg+xml",   "text/html",
                                         "text/css",         "text/javascript",      "application/yaml" };
    size_t n = content_type ? strcspn(content_type, "; ") : 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (n == strlen(types[i]) && memcmp(content_type, types[i], n) == 0)
            return true;
    }
    return false;
}

static srv_coding choose(const srv_compress *c, const api_head *head)
{
    bool tiny = head->has_length && head->length < SRV_COMPRESS_LEAST_BYTES;
    if (head->status != 200 || !srv_compress_is_text(head->content_type))
        return SRV_IDENTITY;
    return tiny && srv_codings_allow(c->accepted, SRV_IDENTITY) ? SRV_IDENTITY : srv_codings_choose(c->accepted);
}

/* ---- the reply ----------------------------------------------------------------------------------------------------------- */

static void close_stream(srv_compress *c)
{
    if (!c->stream)
        return;
    codecs[c->coding].close(c->stream);
    c->stream = NULL;
    if (c->budget)
        srv_budget_refund(c->budget, SRV_COMPRESS_BYTES);
}

static void open_stream(srv_compress *c, const api_head *head)
{
    c->coding = choose(c, head);
    if (c->coding == SRV_IDENTITY)
        return;
    c->stream = codecs[c->coding].open(head->has_length ? head->length : UINT64_MAX);
    if (c->stream && c->budget)
        srv_budget_charge(c->budget, SRV_COMPRESS_BYTES);
}

static attn_status start(void *ctx, const api_head *head)
{
    srv_compress *c = ctx;
    open_stream(c, head);
    if (!c->stream) /* no wish for it, or no memory */
        return c->inner.start(c->inner.ctx, head);
    api_head coded = *head;
    coded.has_length = false;
    coded.content_encoding = srv_coding_name(c->coding);
    c->lines = strncmp(head->content_type, "application/x-ndjson", 20) == 0;
    c->gives = 0;
    return c->inner.start(c->inner.ctx, &coded);
}

/* Gives what there is to the inner reply. */
static attn_status pass_on(srv_compress *c)
{
    api_block *full = c->out;
    c->out = NULL;
    return full ? c->inner.give(c->inner.ctx, full) : ATTN_OK;
}

/* Compresses these bytes, into as many blocks as it takes; those that are full are passed on, and with FLUSH the last one too. */
static attn_status squeeze(srv_compress *c, const char *bytes, size_t n, how h)
{
    attn_status status = ATTN_OK;
    step done = FULL;
    while (status == ATTN_OK && done == FULL) {
        if (!c->out)
            c->out = c->inner.take(c->inner.ctx);
        if (!c->out)
            return ATTN_E_NOMEM;
        uint64_t begin = attn_clock_ns();
        done = codecs[c->coding].step(c->stream, c->out, &bytes, &n, h);
        c->ns += attn_clock_ns() - begin;
        if (done == FULL || (h != GO_ON && done == DONE))
            status = pass_on(c);
    }
    return done == FAILED ? ATTN_E_INTERNAL : status;
}

static attn_status give(void *ctx, api_block *block)
{
    srv_compress *c = ctx;
    if (!c->stream)
        return c->inner.give(c->inner.ctx, block);
    attn_status status = ATTN_OK;
    c->gives++;
    if (c->gives == 2 && !c->lines)
        status = squeeze(c, NULL, 0, FLUSH); /* the first, which has waited */
    if (status == ATTN_OK)
        status = squeeze(c, block->data, block->used, c->lines || c->gives == 2 ? FLUSH : GO_ON);
    c->inner.drop(c->inner.ctx, block);
    return status;
}

static api_block *take(void *ctx)
{
    srv_compress *c = ctx;
    return c->inner.take(c->inner.ctx);
}

static void drop(void *ctx, api_block *block)
{
    srv_compress *c = ctx;
    c->inner.drop(c->inner.ctx, block);
}

static attn_status reserve(void *ctx, uint64_t bytes)
{
    srv_compress *c = ctx;
    return c->inner.reserve(c->inner.ctx, bytes);
}

static void body_read(void *ctx)
{
    srv_compress *c = ctx;
    c->inner.body_read(c->inner.ctx);
}

static void stage(void *ctx, api_stage which, uint64_t ns)
{
    srv_compress *c = ctx;
    c->inner.stage(c->inner.ctx, which, ns);
}

static bool recall(void *ctx)
{
    srv_compress *c = ctx;
    if (!c->inner.recall(c->inner.ctx))
        return false;
    srv_compress_close(c);
    return true;
}

api_reply srv_compress_open(srv_compress *c, const api_reply *inner, const srv_codings *accepted, srv_budget *budget)
{
    *c = (srv_compress){ .inner = *inner, .accepted = accepted, .budget = budget };
    return (api_reply){
        .ctx = c,
        .start = start,
        .take = take,
        .give = give,
        .recall = inner->recall ? recall : NULL,
        .drop = drop,
        .reserve = reserve,
        .body_read = inner->body_read ? body_read : NULL,
        .stage = stage,
    };
}

attn_status srv_compress_end(srv_compress *c)
{
    if (!c->stream)
        return ATTN_OK;
    attn_status status = squeeze(c, NULL, 0, END);
    c->inner.stage(c->inner.ctx, API_STAGE_ENCODE, c->ns);
    return status;
}

void srv_compress_close(srv_compress *c)
{
    close_stream(c);
    if (c->out)
        c->inner.drop(c->inner.ctx, c->out);
    c->out = NULL;
}

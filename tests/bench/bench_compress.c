/* bench_compress.c - what compressing answers brings and costs: ratio and MB/s of gzip and zstd at the levels worth thinking of, on real answers.
 *
 *     bench_compress FILE...       files hold bodies of answers (tests/bench/bench_compress.py fetches some)
 *
 * Bytes are given as the server gives them, a block at a time, the first two flushed. "ours" is what the server does (server/compress.c), through its own code.
 * A coding at c MB/s and ratio r saves time wherever the link is slower than c (1 - 1/r) MB/s: "pays below" is that in Mbit/s.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>

#include "compress.h"

enum { MOST_BYTES = 4 << 20, LEAST_NS = 100000000 };

typedef struct text {
    char *bytes;
    size_t length;
    char *room; /* for what comes out */
    size_t room_bytes;
} text;

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static size_t block_at(const text *t, size_t at)
{
    return t->length - at < API_BLOCK_BYTES ? t->length - at : API_BLOCK_BYTES;
}

static size_t run_gzip(const text *t, int level, int strategy)
{
    z_stream z = { .next_out = (Bytef *)t->room, .avail_out = (uInt)t->room_bytes };
    deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, strategy);
    for (size_t at = 0, n; at < t->length; at += n) {
        n = block_at(t, at);
        z.next_in = (Bytef *)t->bytes + at;
        z.avail_in = (uInt)n;
        deflate(&z, at <= API_BLOCK_BYTES ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    }
    deflate(&z, Z_FINISH);
    size_t written = z.total_out;
    deflateEnd(&z);
    return written;
}

static size_t run_zstd(const text *t, int level, int none)
{
    (void)none;
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_outBuffer out = { t->room, t->room_bytes, 0 };
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, level);
    for (size_t at = 0, n; at < t->length; at += n) {
        n = block_at(t, at);
        ZSTD_inBuffer in = { t->bytes + at, n, 0 };
        ZSTD_compressStream2(z, &out, &in, at <= API_BLOCK_BYTES ? ZSTD_e_flush : ZSTD_e_continue);
    }
    ZSTD_inBuffer nothing = { NULL, 0, 0 };
    ZSTD_compressStream2(z, &out, &nothing, ZSTD_e_end);
    ZSTD_freeCCtx(z);
    return out.pos;
}

/* ---- ours: a reply that counts ----------------------------------------------------------------------------------------------- */

static attn_status no_start(void *ctx, const api_head *head)
{
    (void)ctx;
    (void)head;
    return ATTN_OK;
}

static api_block *own_take(void *ctx)
{
    static api_block blocks[2];
    (void)ctx;
    static int next;
    api_block *block = &blocks[next = !next];
    block->used = 0;
    return block;
}

static attn_status count_give(void *ctx, api_block *block)
{
    *(size_t *)ctx += block->used;
    return ATTN_OK;
}

static void no_drop(void *ctx, api_block *block)
{
    (void)ctx;
    (void)block;
}

static void no_stage(void *ctx, api_stage stage, uint64_t ns)
{
    (void)ctx;
    (void)stage;
    (void)ns;
}

static size_t run_ours(const text *t, int coding, int none)
{
    static api_block block;
    size_t written = 0;
    (void)none;
    srv_compress c;
    srv_codings accepted = { 0 };
    srv_codings_add(&accepted, srv_coding_name((srv_coding)coding));
    api_reply inner = { .ctx = &written, .start = no_start, .take = own_take, .give = count_give, .drop = no_drop, .stage = no_stage };
    api_reply reply = srv_compress_open(&c, &inner, &accepted, NULL);
    api_head head = { .status = 200, .content_type = "application/json" };
    attn_status status = reply.start(reply.ctx, &head);
    for (size_t at = 0; at < t->length && status == ATTN_OK; at += block.used) {
        block.used = block_at(t, at);
        memcpy(block.data, t->bytes + at, block.used);
        status = reply.give(reply.ctx, &block);
    }
    if (status == ATTN_OK)
        status = srv_compress_end(&c);
    srv_compress_close(&c);
    return status == ATTN_OK ? written : 0;
}

/* ---- the table ------------------------------------------------------------------------------------------------------------------ */

static const struct way {
    const char *name;
    size_t (*run)(const text *, int, int);
    int level, strategy;
} ways[] = {
    { "gzip 1", run_gzip, 1, Z_DEFAULT_STRATEGY },
    { "gzip 2", run_gzip, 2, Z_DEFAULT_STRATEGY },
    { "gzip 3", run_gzip, 3, Z_DEFAULT_STRATEGY },
    { "gzip 4", run_gzip, 4, Z_DEFAULT_STRATEGY },
    { "gzip 5", run_gzip, 5, Z_DEFAULT_STRATEGY },
    { "gzip 6", run_gzip, 6, Z_DEFAULT_STRATEGY },
    { "gzip runs", run_gzip, 1, Z_RLE },
    { "gzip huffman", run_gzip, 1, Z_HUFFMAN_ONLY },
    { "zstd -5", run_zstd, -5, 0 },
    { "zstd -3", run_zstd, -3, 0 },
    { "zstd -1", run_zstd, -1, 0 },
    { "zstd 1", run_zstd, 1, 0 },
    { "zstd 2", run_zstd, 2, 0 },
    { "zstd 3", run_zstd, 3, 0 },
    { "ours, gzip", run_ours, SRV_GZIP, 0 },
    { "ours, zstd", run_ours, SRV_ZSTD, 0 },
};

static void report(const char *name, const text *t)
{
    printf("%s, %zu bytes\n", name, t->length);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const struct way *w = &ways[i];
        size_t written = w->run(t, w->level, w->strategy), rounds = 0;
        uint64_t begin = cpu_ns(), took;
        do {
            written = w->run(t, w->level, w->strategy);
            rounds++;
            took = cpu_ns() - begin;
        } while (took < LEAST_NS);
        double ratio = (double)t->length / (double)written, speed = (double)t->length * (double)rounds / (double)took * 1e3;
        printf("    %-13s %6.2f times smaller, %6.0f MB/s, pays below %6.0f Mbit/s\n", w->name, ratio, speed, 8 * speed * (1 - 1 / ratio));
    }
    fflush(stdout);
}

static bool read_file(const char *path, text *t)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    t->bytes = malloc(MOST_BYTES);
    t->length = t->bytes ? fread(t->bytes, 1, MOST_BYTES, f) : 0;
    t->room_bytes = 2 * MOST_BYTES;
    t->room = malloc(t->room_bytes);
    fclose(f);
    return t->length > 0 && t->room;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    if (failed)
        fprintf(stderr, "usage: %s FILE...\n", argv[0]);
    for (int i = 1; i < argc; i++) {
        text t = { 0 };
        const char *slash = strrchr(argv[i], '/');
        if (read_file(argv[i], &t)) {
            report(slash ? slash + 1 : argv[i], &t);
        } else {
            fprintf(stderr, "%s cannot be read\n", argv[i]);
            failed = 1;
        }
        free(t.bytes);
        free(t.room);
    }
    return failed;
}

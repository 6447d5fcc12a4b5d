/* test_compress.c - answers in a coding: every byte comes back, at the right moment, and what cannot be coded goes as it is.
 *
 * The reply inside is a buffer that can refuse; what it got is decoded with the libraries' own decoders.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "compress.h"
#include "unit.h"

/* ---- Accept-Encoding ------------------------------------------------------------------------------------------------------- */

static srv_codings codings_of(const char *value)
{
    srv_codings c = { 0 };
    if (value)
        srv_codings_add(&c, value);
    return c;
}

static const struct choice {
    const char *value;
    srv_coding chosen;
    bool identity; /* may be sent */
} choices[] = {
    { NULL, SRV_IDENTITY, true },
    { "", SRV_IDENTITY, true },
    { "gzip", SRV_GZIP, true },
    { "zstd", SRV_ZSTD, true },
    { "GZip", SRV_GZIP, true },
    { "x-gzip", SRV_GZIP, true },
    { "gzip, zstd", SRV_ZSTD, true },
    { "gzip, deflate, br, zstd", SRV_ZSTD, true },
    { "gzip, deflate, br", SRV_GZIP, true },
    { "gzip;q=1.0, zstd;q=0.9", SRV_GZIP, true },
    { "gzip;q=0.001, zstd;q=0", SRV_GZIP, true },
    { "deflate, br, compress", SRV_IDENTITY, true },
    { "gzip;q=0", SRV_IDENTITY, true },
    { "gzip;q=0.000, zstd;q=0.", SRV_IDENTITY, true },
    { "identity", SRV_IDENTITY, true },
    { "identity, gzip", SRV_GZIP, true },
    { "identity;q=1, gzip;q=0.5", SRV_IDENTITY, true },
    { "identity;q=0.5, gzip;q=0.5", SRV_GZIP, true },
    { "identity;q=0", SRV_IDENTITY, false },
    { "identity;q=0, gzip", SRV_GZIP, false },
    { "identity;q=0, br", SRV_IDENTITY, false },
    { "*", SRV_ZSTD, true },
    { "*;q=0", SRV_IDENTITY, false },
    { "*;q=0, identity", SRV_IDENTITY, true },
    { "*;q=0, identity;q=0.1", SRV_IDENTITY, true },
    { "*;q=0, gzip", SRV_GZIP, false },
    { "gzip;q=0, *", SRV_ZSTD, true },
    { "zstd;q=0, *", SRV_GZIP, true },
    { "zstd;q=0.1, *;q=0.5", SRV_GZIP, true },
    { "gzip ; q=0.5 ,\tzstd; Q=0.4", SRV_GZIP, true },
    { ",, gzip ,,", SRV_GZIP, true },
    { "gzip;q=0, gzip;q=0.3", SRV_GZIP, true },
    /* no coding with a weight: passed over */
    { "gzip;q=2", SRV_IDENTITY, true },
    { "gzip;q=1.001", SRV_IDENTITY, true },
    { "gzip;q=0.1234", SRV_IDENTITY, true },
    { "gzip;q=", SRV_IDENTITY, true },
    { "gzip;q", SRV_IDENTITY, true },
    { "gzip;level=9", SRV_IDENTITY, true },
    { "gzip zstd", SRV_IDENTITY, true },
    { "gzip;q=0.5;q=1, zstd;q=0.1", SRV_ZSTD, true },
    { "gzipp, xgzip", SRV_IDENTITY, true },
    { "identity;q=-1", SRV_IDENTITY, true },
    { ";q=0", SRV_IDENTITY, true },
};

START_TEST(the_most_welcome_coding_is_chosen)
{
    const struct choice *c = &choices[_i];
    srv_codings codings = codings_of(c->value);
    ck_assert_msg(srv_codings_choose(&codings) == c->chosen, "%s: %s", c->value, srv_coding_name(srv_codings_choose(&codings)));
    ck_assert_msg(srv_codings_allow(&codings, SRV_IDENTITY) == c->identity, "%s", c->value);
    ck_assert(c->chosen == SRV_IDENTITY || srv_codings_allow(&codings, c->chosen));
}
END_TEST

START_TEST(several_lines_are_one_list)
{
    srv_codings c = { 0 };
    srv_codings_add(&c, "br");
    srv_codings_add(&c, "identity;q=0");
    ck_assert(!srv_codings_allow(&c, SRV_IDENTITY));
    srv_codings_add(&c, "gzip;q=0.5");
    ck_assert_int_eq(srv_codings_choose(&c), SRV_GZIP);
}
END_TEST

/* ---- the reply inside -------------------------------------------------------------------------------------------------------- */

static struct inner {
    api_head head;
    size_t starts, gives, recalls, blocks; /* blocks: taken and not given back */
    size_t refuse_give, refuse_take;       /* this one and all after it; 0: none */
    size_t takes;
    bool may_recall;
    char *bytes;
    size_t length;
    uint64_t reserved, encode_ns;
    int bodies_read;
} inner;

static attn_status inner_start(void *ctx, const api_head *head)
{
    (void)ctx;
    inner.head = *head;
    inner.starts++;
    return ATTN_OK;
}

static api_block *inner_take(void *ctx)
{
    (void)ctx;
    if (inner.refuse_take && ++inner.takes >= inner.refuse_take)
        return NULL;
    api_block *block = malloc(sizeof *block);
    ck_assert_ptr_nonnull(block);
    block->used = 0;
    inner.blocks++;
    return block;
}

static void inner_drop(void *ctx, api_block *block)
{
    (void)ctx;
    inner.blocks--;
    free(block);
}

static attn_status inner_give(void *ctx, api_block *block)
{
    bool refused = inner.refuse_give && ++inner.gives >= inner.refuse_give;
    ck_assert_uint_le(block->used, API_BLOCK_BYTES);
    if (!refused) {
        inner.bytes = realloc(inner.bytes, inner.length + block->used + 1);
        ck_assert_ptr_nonnull(inner.bytes);
        memcpy(inner.bytes + inner.length, block->data, block->used);
        inner.length += block->used;
    }
    inner_drop(ctx, block);
    return refused ? ATTN_E_CANCELLED : ATTN_OK;
}

static bool inner_recall(void *ctx)
{
    (void)ctx;
    inner.recalls++;
    if (inner.may_recall)
        inner.length = 0;
    return inner.may_recall;
}

static attn_status inner_reserve(void *ctx, uint64_t bytes)
{
    (void)ctx;
    inner.reserved += bytes;
    return ATTN_OK;
}

static void inner_body_read(void *ctx)
{
    (void)ctx;
    inner.bodies_read++;
}

static void inner_stage(void *ctx, api_stage stage, uint64_t ns)
{
    (void)ctx;
    inner.encode_ns += stage == API_STAGE_ENCODE ? ns : 0;
}

static const api_reply inner_reply = {
    .ctx = &inner,
    .start = inner_start,
    .take = inner_take,
    .give = inner_give,
    .recall = inner_recall,
    .drop = inner_drop,
    .reserve = inner_reserve,
    .body_read = inner_body_read,
    .stage = inner_stage,
};

static srv_budget budget;
static srv_compress compress_;
static srv_codings codings;
static api_reply reply;

static void setup_coding(srv_coding coding)
{
    inner = (struct inner){ .may_recall = true };
    codings = codings_of(srv_coding_name(coding));
    srv_budget_init(&budget, 1 << 30);
    reply = srv_compress_open(&compress_, &inner_reply, &codings, &budget);
}

static void finish(void)
{
    srv_compress_close(&compress_);
    ck_assert_uint_eq(srv_budget_get(&budget).used, 0);
    ck_assert_uint_eq(inner.blocks, 0);
    srv_budget_fini(&budget);
    free(inner.bytes);
}

static const api_head json = { .status = 200, .content_type = "application/json" }, lines = { .status = 200, .content_type = "application/x-ndjson" },
                      problem = { .status = 503, .content_type = "application/problem+json", .has_length = true, .length = 5000 };

static attn_status give_bytes(const char *bytes, size_t n)
{
    api_block *block = reply.take(reply.ctx);
    if (!block)
        return ATTN_E_NOMEM;
    memcpy(block->data, bytes, n);
    block->used = n;
    return reply.give(reply.ctx, block);
}

/* ---- decoders --------------------------------------------------------------------------------------------------------------- */

static size_t decode_gzip(char *to, size_t room, bool *ended)
{
    z_stream z = { .next_in = (Bytef *)inner.bytes, .avail_in = (uInt)inner.length, .next_out = (Bytef *)to, .avail_out = (uInt)room };
    ck_assert_int_eq(inflateInit2(&z, 15 + 16), Z_OK);
    int result = inner.length ? inflate(&z, Z_SYNC_FLUSH) : Z_OK;
    ck_assert(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
    *ended = result == Z_STREAM_END;
    ck_assert(!*ended || z.avail_in == 0);
    size_t n = room - z.avail_out;
    inflateEnd(&z);
    return n;
}

static size_t decode_zstd(char *to, size_t room, bool *ended)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    ZSTD_inBuffer in = { inner.bytes, inner.length, 0 };
    ZSTD_outBuffer out = { to, room, 0 };
    size_t left = ZSTD_decompressStream(z, &out, &in);
    ck_assert_msg(!ZSTD_isError(left), "%s", ZSTD_getErrorName(left));
    *ended = left == 0 && inner.length > 0;
    ZSTD_freeDCtx(z);
    return out.pos;
}

/* What the client can tell from the bytes so far. */
static size_t decoded(srv_coding coding, char *to, size_t room, bool *ended)
{
    bool own;
    ended = ended ? ended : &own;
    return coding == SRV_GZIP ? decode_gzip(to, room, ended) : decode_zstd(to, room, ended);
}

/* ---- matter to compress --------------------------------------------------------------------------------------------------------- */

enum { MOST = 1 << 20 };
typedef enum matter { NUMBERS, BASE64, NOISE, MIXED, MATTERS } matter;

static uint32_t seed;
static uint32_t next_random(void)
{
    return seed = seed * 1664525u + 1013904223u;
}

static char *make(matter what, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *bytes = malloc(n + 32);
    ck_assert_ptr_nonnull(bytes);
    seed = (uint32_t)what + 1;
    for (size_t i = 0; i < n;) {
        matter now = what == MIXED ? (matter)(i / 50000 % 3) : what;
        if (now == NUMBERS)
            i += (size_t)snprintf(bytes + i, 32, "0.%u,", next_random() >> 8);
        else
            bytes[i++] = now == BASE64 ? digits[next_random() >> 26 & (next_random() >> 28 | 48)] : (char)(next_random() >> 24);
    }
    return bytes;
}

/* ---- claims ------------------------------------------------------------------------------------------------------------------------ */

static void round_trip(srv_coding coding, matter what, size_t n, size_t at_once)
{
    char *bytes = make(what, n), *back = malloc(n + 1);
    setup_coding(coding);
    ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
    ck_assert_str_eq(inner.head.content_encoding, srv_coding_name(coding));
    for (size_t i = 0; i < n; i += at_once)
        ck_assert_int_eq(give_bytes(bytes + i, n - i < at_once ? n - i : at_once), ATTN_OK);
    ck_assert_int_eq(srv_compress_end(&compress_), ATTN_OK);
    bool ended;
    ck_assert_uint_eq(decoded(coding, back, n + 1, &ended), n);
    ck_assert(ended);
    ck_assert_mem_eq(bytes, back, n);
    ck_assert(inner.encode_ns > 0);
    if (what != NOISE && n > 10000)
        ck_assert_uint_lt(inner.length, n * 9 / 10);
    finish();
    free(bytes);
    free(back);
}

START_TEST(every_byte_comes_back)
{
    static const size_t sizes[] = { 0, 1, 5000, API_BLOCK_BYTES - 1, API_BLOCK_BYTES, API_BLOCK_BYTES + 1, 2 * API_BLOCK_BYTES, 200000, MOST };
    for (srv_coding coding = SRV_GZIP; coding < SRV_CODING_COUNT; coding++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            round_trip(coding, (matter)_i, sizes[s], API_BLOCK_BYTES);
        round_trip(coding, (matter)_i, 30000, 1000);
        round_trip(coding, (matter)_i, 3000, 7);
    }
}
END_TEST

START_TEST(a_line_leaves_at_once)
{
    srv_coding coding = (srv_coding)_i;
    char line[100], all[4000], back[4001];
    size_t used = 0;
    setup_coding(coding);
    ck_assert_int_eq(reply.start(reply.ctx, &lines), ATTN_OK);
    for (int i = 0; i < 30; i++) {
        size_t n = (size_t)snprintf(line, sizeof line, "{\"result\":0,\"layer\":%d,\"attentions\":[%d,%d]}\n", i, i * 7, i * 131);
        memcpy(all + used, line, n);
        used += n;
        ck_assert_int_eq(give_bytes(line, n), ATTN_OK);
        ck_assert_uint_eq(decoded(coding, back, sizeof back, NULL), used);
        ck_assert_mem_eq(back, all, used);
    }
    ck_assert_int_eq(srv_compress_end(&compress_), ATTN_OK);
    ck_assert_uint_lt(inner.length, used);
    finish();
}
END_TEST

/* The pipe holds one block back to tell the length of what fits it, so nothing is lost by holding it back here. */
START_TEST(the_first_block_leaves_with_the_second)
{
    srv_coding coding = (srv_coding)_i;
    char *bytes = make(NUMBERS, 2 * API_BLOCK_BYTES), *back = malloc(2 * API_BLOCK_BYTES + 1);
    setup_coding(coding);
    ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
    ck_assert_int_eq(give_bytes(bytes, API_BLOCK_BYTES), ATTN_OK);
    ck_assert_uint_eq(inner.length, 0);
    inner.refuse_give = 1000; /* counts */
    ck_assert_int_eq(give_bytes(bytes + API_BLOCK_BYTES, API_BLOCK_BYTES), ATTN_OK);
    ck_assert_uint_eq(inner.gives, 2);
    ck_assert_uint_eq(decoded(coding, back, 2 * API_BLOCK_BYTES + 1, NULL), 2 * API_BLOCK_BYTES);
    ck_assert_mem_eq(bytes, back, 2 * API_BLOCK_BYTES);
    finish();
    free(bytes);
    free(back);
}
END_TEST

START_TEST(one_block_stays_one_block)
{
    char *bytes = make(NUMBERS, 60000);
    setup_coding((srv_coding)_i);
    api_head head = json;
    head.has_length = true;
    head.length = 60000;
    ck_assert_int_eq(reply.start(reply.ctx, &head), ATTN_OK);
    ck_assert(!inner.head.has_length);
    ck_assert_int_eq(give_bytes(bytes, 60000), ATTN_OK);
    inner.refuse_give = 1000;
    ck_assert_int_eq(srv_compress_end(&compress_), ATTN_OK);
    ck_assert_uint_eq(inner.gives, 1);
    finish();
    free(bytes);
}
END_TEST

static const struct passing {
    api_head head;
    const char *accepted;
    srv_coding coding;
} passings[] = {
    { { .status = 200, .content_type = "application/json; charset=utf-8" }, "gzip", SRV_GZIP },
    { { .status = 200, .content_type = "image/svg+xml" }, "gzip", SRV_GZIP },
    { { .status = 200, .content_type = "text/html; charset=utf-8" }, "zstd", SRV_ZSTD },
    { { .status = 200, .content_type = "application/yaml" }, "gzip, zstd", SRV_ZSTD },
    { { .status = 200, .content_type = "application/json", .has_length = true, .length = 1024 }, "gzip", SRV_GZIP },
    { { .status = 200, .content_type = "application/json", .has_length = true, .length = 1023 }, "gzip", SRV_IDENTITY },
    { { .status = 200, .content_type = "application/json", .has_length = true, .length = 10 }, "gzip, identity;q=0", SRV_GZIP },
    { { .status = 200, .content_type = "application/jsonx" }, "gzip", SRV_IDENTITY },
    { { .status = 200, .content_type = "image/png" }, "gzip", SRV_IDENTITY },
    { { .status = 200, .content_type = "application/x-npy" }, "gzip", SRV_IDENTITY },
    { { .status = 200, .content_type = "application/vnd.safetensors" }, "gzip", SRV_IDENTITY },
    { { .status = 200, .content_type = "application/octet-stream" }, "gzip", SRV_IDENTITY },
    { { .status = 200, .content_type = "text/plain; charset=utf-8" }, "gzip", SRV_IDENTITY },
    { { .status = 200, .content_type = "application/json" }, "br", SRV_IDENTITY },
    { { .status = 200, .content_type = "application/json" }, "", SRV_IDENTITY },
    { { .status = 413, .content_type = "application/problem+json", .has_length = true, .length = 5000 }, "gzip", SRV_IDENTITY },
    { { .status = 413, .content_type = "application/problem+json" }, "gzip, identity;q=0", SRV_IDENTITY },
    { { .status = 500, .content_type = "application/json" }, "gzip", SRV_IDENTITY },
    { { .status = 204 }, "gzip", SRV_IDENTITY },
};

START_TEST(text_that_went_well_is_compressed_and_nothing_else)
{
    const struct passing *p = &passings[_i];
    setup_coding(SRV_IDENTITY);
    codings = codings_of(p->accepted);
    ck_assert_int_eq(reply.start(reply.ctx, &p->head), ATTN_OK);
    if (p->coding != SRV_IDENTITY) {
        ck_assert_str_eq(inner.head.content_encoding, srv_coding_name(p->coding));
        ck_assert(!inner.head.has_length);
        ck_assert_uint_eq(srv_budget_get(&budget).used, SRV_COMPRESS_BYTES);
    } else {
        ck_assert_ptr_null(inner.head.content_encoding);
        ck_assert(inner.head.has_length == p->head.has_length && inner.head.length == p->head.length);
        ck_assert_int_eq(give_bytes("as it is", 8), ATTN_OK);
        ck_assert_uint_eq(inner.length, 8);
        ck_assert_mem_eq(inner.bytes, "as it is", 8);
        ck_assert_int_eq(srv_compress_end(&compress_), ATTN_OK);
    }
    finish();
}
END_TEST

START_TEST(a_recalled_answer_leaves_nothing_behind)
{
    setup_coding((srv_coding)_i);
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
        ck_assert_int_eq(give_bytes("{\"half\":", 8), ATTN_OK);
        ck_assert(reply.recall(reply.ctx));
        ck_assert_uint_eq(srv_budget_get(&budget).used, 0);
        ck_assert_uint_eq(inner.blocks, 0);
    }
    ck_assert_int_eq(reply.start(reply.ctx, &problem), ATTN_OK);
    ck_assert_ptr_null(inner.head.content_encoding);
    ck_assert_int_eq(give_bytes("sorry", 5), ATTN_OK);
    ck_assert_int_eq(srv_compress_end(&compress_), ATTN_OK);
    ck_assert_uint_eq(inner.length, 5);
    ck_assert_mem_eq(inner.bytes, "sorry", 5);
    finish();
}
END_TEST

START_TEST(what_has_left_is_not_recalled)
{
    setup_coding(SRV_GZIP);
    inner.may_recall = false;
    ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
    ck_assert_int_eq(give_bytes("{", 1), ATTN_OK);
    ck_assert(!reply.recall(reply.ctx));
    ck_assert_int_eq(srv_compress_end(&compress_), ATTN_OK); /* and the stream is as it was */
    char back[10];
    bool ended;
    ck_assert_uint_eq(decoded(SRV_GZIP, back, sizeof back, &ended), 1);
    ck_assert(ended);
    finish();
}
END_TEST

START_TEST(a_client_that_goes_ends_it)
{
    char *bytes = make(NOISE, API_BLOCK_BYTES);
    for (size_t nth = 1; nth < 6; nth++) {
        setup_coding((srv_coding)_i);
        inner.refuse_give = nth;
        ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
        attn_status status = ATTN_OK;
        for (int i = 0; i < 20 && status == ATTN_OK; i++)
            status = give_bytes(bytes, API_BLOCK_BYTES);
        ck_assert_int_eq(status, ATTN_E_CANCELLED);
        finish();
    }
    free(bytes);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------------------------------------------------- */

static struct failing {
    long left; /* allocations until one is refused */
    bool refused;
    size_t bytes;
} failing;

static bool may_allocate(void *ctx, size_t bytes)
{
    (void)ctx;
    if (failing.left > 0 && --failing.left == 0) {
        failing.refused = true;
        return false;
    }
    failing.bytes += bytes;
    return true;
}

START_TEST(without_memory_for_a_compressor_it_goes_as_it_is)
{
    long nth = 1;
    for (failing.refused = true; failing.refused; nth++) {
        setup_coding((srv_coding)_i);
        failing = (struct failing){ .left = nth };
        attn_memory_hook(may_allocate, NULL);
        ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
        bool coded = inner.head.content_encoding != NULL;
        ck_assert_int_eq(give_bytes("[1,2,3]", 7), ATTN_OK);
        attn_status status = srv_compress_end(&compress_);
        attn_memory_hook(NULL, NULL);
        ck_assert_int_eq(status, ATTN_OK);
        ck_assert(coded == !failing.refused); /* all memory is taken before anything is promised */
        ck_assert(coded || inner.length == 7);
        finish();
    }
    ck_assert_int_gt(nth, 3);
}
END_TEST

START_TEST(without_a_block_it_says_so)
{
    char *bytes = make(NOISE, API_BLOCK_BYTES);
    for (size_t nth = 1;; nth++) {
        setup_coding((srv_coding)_i);
        inner.refuse_take = nth;
        ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
        attn_status status = ATTN_OK;
        for (int i = 0; i < 3 && status == ATTN_OK; i++)
            status = give_bytes(bytes, API_BLOCK_BYTES);
        if (status == ATTN_OK)
            status = srv_compress_end(&compress_);
        bool enough = inner.takes < nth;
        ck_assert_int_eq(status, enough ? ATTN_OK : ATTN_E_NOMEM);
        finish();
        if (enough)
            break;
        ck_assert_uint_lt(nth, 20);
    }
    free(bytes);
}
END_TEST

START_TEST(a_compressor_takes_no_more_than_is_charged)
{
    char *bytes = make(MIXED, MOST);
    setup_coding((srv_coding)_i);
    failing = (struct failing){ 0 };
    attn_memory_hook(may_allocate, NULL);
    ck_assert_int_eq(reply.start(reply.ctx, &json), ATTN_OK);
    for (size_t i = 0; i < MOST; i += API_BLOCK_BYTES)
        ck_assert_int_eq(give_bytes(bytes + i, MOST - i < API_BLOCK_BYTES ? MOST - i : API_BLOCK_BYTES), ATTN_OK);
    attn_status status = srv_compress_end(&compress_);
    attn_memory_hook(NULL, NULL);
    ck_assert_int_eq(status, ATTN_OK);
    ck_assert_uint_gt(failing.bytes, 100000); /* it is us whom they ask */
    ck_assert_uint_le(failing.bytes, SRV_COMPRESS_BYTES);
    ck_assert_uint_eq(srv_budget_get(&budget).used, SRV_COMPRESS_BYTES);
    finish();
    free(bytes);
}
END_TEST

START_TEST(other_calls_pass_through)
{
    setup_coding(SRV_ZSTD);
    ck_assert_int_eq(reply.reserve(reply.ctx, 77), ATTN_OK);
    reply.stage(reply.ctx, API_STAGE_ENCODE, 5);
    reply.body_read(reply.ctx);
    reply.drop(reply.ctx, reply.take(reply.ctx));
    ck_assert_uint_eq(inner.reserved, 77);
    ck_assert_int_eq(inner.bodies_read, 1);
    ck_assert_uint_eq(inner.encode_ns, 5);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compress");
    TCase *tcase = tcase_create("compress");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, the_most_welcome_coding_is_chosen, 0, sizeof choices / sizeof *choices);
    tcase_add_test(tcase, several_lines_are_one_list);
    tcase_add_loop_test(tcase, every_byte_comes_back, 0, MATTERS);
    tcase_add_loop_test(tcase, a_line_leaves_at_once, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_loop_test(tcase, the_first_block_leaves_with_the_second, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_loop_test(tcase, one_block_stays_one_block, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_loop_test(tcase, text_that_went_well_is_compressed_and_nothing_else, 0, sizeof passings / sizeof *passings);
    tcase_add_loop_test(tcase, a_recalled_answer_leaves_nothing_behind, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_test(tcase, what_has_left_is_not_recalled);
    tcase_add_loop_test(tcase, a_client_that_goes_ends_it, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_loop_test(tcase, without_memory_for_a_compressor_it_goes_as_it_is, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_loop_test(tcase, without_a_block_it_says_so, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_loop_test(tcase, a_compressor_takes_no_more_than_is_charged, SRV_GZIP, SRV_CODING_COUNT);
    tcase_add_test(tcase, other_calls_pass_through);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}

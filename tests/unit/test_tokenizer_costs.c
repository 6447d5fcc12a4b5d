/* test_tokenizer_costs.c - whatever a text holds, time and memory grow with its length, and the work can be called off.
 *
 * Times are limits that a slow machine under sanitizers keeps, many times what is usual; what takes quadratic time would miss them by far more.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer_case.h"

#include "text/pipeline.h"
#include "text/unicode_forms.h"

#include <pthread.h>

/* Texts that make something slow: a run without end, no run at all, marks to sort, tokens that nearly match, words that nearly are too long. */
static const char *const hostile[] = {
    " ",
    "a",
    ".",
    "[",
    "[MASK",
    "[MASK]",
    "\xE4\xB8\xAD",
    "\xED\x95\x9C",
    "\xCC\x81",
    "\xCC\x81\xCC\xA7",
    "e\xCC\x81",
    "\xC3\xA9",
    "\xCD\x84",
    "\x07",
    "\xCC\x81\x07\xCC\xA7",
    "\xE2\x80\x8B",
    "\xEF\xBF\xBD",
    "\xF0\x9F\x98\x80",
    "##",
    "the",
    "xq ",
    "'\"",
    "\n",
    "\xE3\x80\x80",
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz ",
    "\xF0\x9D\x85\x9E",
    "\xE0\xB7\x9E",
    "\xEF\xAC\xAC",
    "<m> ",
    " <r>",
    "swsw ",
    "FooBar",
};

/* small-bert with parts that cost more: added tokens that swallow spaces, and the normalizer given (NULL: its own). */
static attn_tokenizer *open_with(const char *normalizer)
{
    static const char *const added[] = { "<m>\",\"lstrip\":true,\"rstrip\":true,\"normalized\":false",
                                         " \",\"lstrip\":true,\"rstrip\":true,\"normalized\":true",
                                         "Foo\",\"lstrip\":false,\"rstrip\":false,\"normalized\":true" };
    json_t *document = load_json(SMALL_BERT), *list = json_object_get(document, "added_tokens");
    for (size_t i = 0; i < 3; i++) {
        char token[200];
        snprintf(token, sizeof token, "{\"id\":0,\"special\":false,\"single_word\":false,\"content\":\"%s}", added[i]);
        ck_assert_int_eq(json_array_append_new(list, json_loads(token, 0, NULL)), 0);
    }
    if (normalizer)
        json_object_set_new(document, "normalizer", json_loads(normalizer, 0, NULL));
    char *json = json_dumps(document, JSON_COMPACT);
    attn_tokenizer *t = open_bytes(json, strlen(json));
    free(json);
    json_decref(document);
    return t;
}

static const char *const normalizers[] = {
    NULL,
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":\"StripAccents\"},{\"type\":\"Lowercase\"}]}",
    "{\"type\":\"NFC\"}",
    "{\"type\":\"NFKC\"}",
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"bcd\"},{\"type\":\"Prepend\",\"prepend\":"
    "\"xyz\"}]}",
};

/* At half a MiB anything quadratic takes minutes. */
START_TEST(hostile_text_takes_linear_time_and_no_more_memory_than_promised)
{
    attn_tokenizer *t = open_with(normalizers[_i]);
    attn_arena *arena = attn_arena_new();
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        encode_repeated(t, hostile[i], (size_t)512 << 10, arena);
        for (size_t bytes = 0; bytes < 300; bytes += 97)
            encode_repeated(t, hostile[i], bytes, arena);
    }
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

/* The promise rests on how much one code point can grow. */
START_TEST(no_code_point_grows_more_than_its_normalizer_says)
{
    attn_tokenizer *t = open_with(normalizers[_i]);
    attn_arena *arena = attn_arena_new();
    attn_encoder e;
    ck_assert_int_eq(attn_encoder_open(&e, t, 64, arena, NULL, NULL), ATTN_OK);                        /* room to overrun and be seen */
    for (uint32_t c = 1; c < 0x110000; c = c == 0x2FFFF ? 0xE0000 : c == 0xE0FFF ? 0x10FFFE : c + 1) { /* between these nothing is assigned */
        char bytes[4];
        uint32_t at[4] = { 0 };
        if (c >= 0xD800 && c < 0xE000)
            continue;
        attn_stretch s = { .bytes = bytes, .at = at, .length = attn_utf8_put(bytes, c) };
        size_t sent = s.length, points = 0;
        ck_assert_int_eq(attn_normalizers_run(&t->normalizers, &e, &s), ATTN_OK);
        for (size_t i = 0; i < s.length; i++)
            points += ((unsigned char)s.bytes[i] & 0xC0) != 0x80 && s.bytes[i] != ' ';
        ck_assert_msg(s.length <= sent * t->normalizers.growth + t->normalizers.more, "U+%04X: %zu bytes give %zu", c, sent, s.length);
        ck_assert_msg(points <= sent * t->normalizers.spread + t->normalizers.more, "U+%04X: %zu bytes give %zu code points", c, sent, points);
    }
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

START_TEST(text_that_is_not_utf8_is_refused_by_the_name_of_its_field)
{
    static const char *const bad[] = {
        "\x80", "\xC3", "a\xC3(", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "12345678\xFF"
    };
    attn_tokenizer *t = open_small_bert();
    attn_arena *arena = attn_arena_new();
    attn_text fine = { .bytes = "a", .length = 1 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int pair = 0; pair < 2; pair++) {
            attn_text text = { .bytes = bad[i], .length = strlen(bad[i]) };
            attn_encode_options options = { .add_special_tokens = true };
            attn_encoding out;
            attn_error err = { .code = ATTN_OK };
            ck_assert_int_eq(attn_tokenizer_encode(t, pair ? &fine : &text, pair ? &text : NULL, &options, arena, NULL, &out, &err), ATTN_E_INPUT);
            ck_assert_str_eq(err.where, pair ? "text_pair" : "text");
            ck_assert(out.tokens == NULL && out.count == 0);
        }
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

/* A text of 200,000 bytes for one stage, with the work called off already. */
typedef struct stage {
    attn_tokenizer *t;
    attn_arena *arena;
    attn_encoder e;
    attn_stretch s;
    attn_cancel cancel;
    char *text;
    uint32_t *at;
} stage;

static void stage_open(stage *g, const char *unit)
{
    static const char normalizer[] = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"}]}";
    *g = (stage){ .t = open_with(normalizer), .arena = attn_arena_new() };
    g->text = repeated(unit, 200000, &g->s.length);
    g->at = calloc(g->s.length, sizeof *g->at);
    g->s.bytes = g->text;
    g->s.at = g->at;
    ck_assert(attn_utf8_index(g->text, g->s.length, g->at));
    ck_assert_int_eq(attn_encoder_open(&g->e, g->t, g->s.length, g->arena, &g->cancel, NULL), ATTN_OK);
}

static void stage_close(stage *g)
{
    attn_arena_free(g->arena);
    attn_tokenizer_close(g->t);
    free(g->text);
    free(g->at);
}

static attn_status look_for_tokens(stage *g)
{
    attn_added_scan scan = { .added = &g->t->added, .trie = &g->t->added.raw, .text = g->s };
    attn_added_match match;
    return attn_added_next(&scan, &g->e, &match);
}

static attn_status normalize(stage *g)
{
    attn_stretch s = g->s;
    return attn_normalizers_run(&g->t->normalizers, &g->e, &s);
}

static attn_status normalize_as_bert(stage *g)
{
    attn_tokenizer *t = open_small_bert();
    attn_stretch s = g->s;
    attn_status st = attn_normalizers_run(&t->normalizers, &g->e, &s);
    attn_tokenizer_close(t);
    return st;
}

static attn_status split(stage *g)
{
    return attn_splitters_next(&g->e, &g->s, 0);
}

static attn_status cut_into_pieces(stage *g)
{
    g->t->settings.max_word = SIZE_MAX;
    return attn_splitters_next(&g->e, &g->s, g->t->splitters.count);
}

static attn_status set_into_template(stage *g)
{
    attn_found_list *const lists[2] = { &g->e.found, NULL };
    attn_encode_options options = { .add_special_tokens = true };
    attn_encoding out = { .tokens = NULL };
    for (size_t i = 0; i < g->s.length; i++)
        ck_assert_int_eq(attn_encoder_emit(&g->e, 1, 0, 1, (attn_text){ .length = 0 }), ATTN_OK);
    return attn_post_process(&g->e, lists, &options, &out);
}

static const struct {
    const char *unit;
    attn_status (*run)(stage *);
} stages[] = {
    { "[MAS", look_for_tokens },
    { "\xC3\xA9", normalize },
    { "\xCC\x81", normalize },
    { "A", normalize_as_bert },
    { "\xE4\xB8\xAD", normalize_as_bert },
    { "\xCC\x81", normalize_as_bert },
    { " ", split },
    { ".", split },
    { "a", split },
    { "a", cut_into_pieces },
    { "a", set_into_template },
};

START_TEST(a_call_off_is_seen_in_every_stage)
{
    stage g;
    stage_open(&g, stages[_i].unit);
    ck_assert_int_eq(stages[_i].run(&g), ATTN_OK);
    stage_close(&g);
    stage_open(&g, stages[_i].unit);
    attn_cancel_raise(&g.cancel, ATTN_CLIENT_GONE);
    ck_assert_int_eq(stages[_i].run(&g), ATTN_E_CANCELLED);
    stage_close(&g);
}
END_TEST

START_TEST(a_raised_cancel_stops_even_a_short_text)
{
    attn_tokenizer *t = open_small_bert();
    attn_arena *arena = attn_arena_new();
    attn_text text = { .bytes = "a", .length = 1 };
    attn_encode_options options = { .add_special_tokens = true };
    attn_encoding out;
    attn_cancel cancel = { .deadline_ns = 0 };
    ck_assert_int_eq(attn_tokenizer_encode(t, &text, NULL, &options, arena, &cancel, &out, NULL), ATTN_OK);
    attn_cancel_raise(&cancel, ATTN_CLIENT_GONE);
    ck_assert_int_eq(attn_tokenizer_encode(t, &text, NULL, &options, arena, &cancel, &out, NULL), ATTN_E_CANCELLED);
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

static void *encode_often(void *tokenizer)
{
    attn_arena *arena = attn_arena_new();
    attn_text text = { .bytes = "The animal didn't cross the street, caf\xC3\xA9 [MASK]", .length = 47 };
    uint64_t sum = 0;
    for (int i = 0; i < 300; i++) {
        attn_arena_reset(arena, 1 << 20);
        attn_encoding got = encode_fine(tokenizer, &text, &text, (attn_encode_options){ .add_special_tokens = true }, arena);
        for (size_t k = 0; k < got.count; k++)
            sum = fnv(sum, (uint32_t)got.tokens[k].id);
    }
    attn_arena_free(arena);
    return (void *)(uintptr_t)sum;
}

START_TEST(threads_share_a_tokenizer)
{
    attn_tokenizer *t = open_small_bert();
    pthread_t threads[4];
    void *alone = encode_often(t), *sum;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, encode_often, t), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &sum);
        ck_assert_ptr_eq(sum, alone);
    }
    attn_tokenizer_close(t);
}
END_TEST

/* ---- byte pair encoding and patterns ---- */

/* small-gpt2 with another pre_tokenizer, NULL for none at all: a text is then one word. */
static attn_tokenizer *open_splitter(const char *splitter)
{
    json_t *document = load_json(SMALL_GPT2);
    json_object_set_new(document, "pre_tokenizer", splitter ? json_loads(splitter, 0, NULL) : json_null());
    char *json = json_dumps(document, JSON_COMPACT);
    attn_tokenizer *t = open_bytes(json, strlen(json));
    free(json);
    json_decref(document);
    return t;
}

#define SPLIT(pattern)   "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":\"" pattern "\"}}"
#define BYTES(space)     "{\"type\":\"ByteLevel\",\"trim_offsets\":true,\"add_prefix_space\":" space ",\"use_regex\":true}"
#define METASPACE        "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\"}"
#define BOTH(one, other) "{\"type\":\"Sequence\",\"pretokenizers\":[" one "," other "]}"

static const char *const splitters[] = {
    NULL,
    BYTES("false"),
    BOTH("{\"type\":\"WhitespaceSplit\"}", BYTES("true")),
    BOTH("{\"type\":\"Digits\",\"individual_digits\":true}", METASPACE),
    BOTH(METASPACE, BYTES("true")),
    BOTH(SPLIT("\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+| ?\\\\p{L}+"), BYTES("false")),
};

START_TEST(long_words_and_many_words_take_linear_time_and_no_more_memory_than_promised)
{
    attn_tokenizer *t = open_splitter(splitters[_i]);
    attn_arena *arena = attn_arena_new();
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        encode_repeated(t, hostile[i], (size_t)512 << 10, arena);
        for (size_t bytes = 0; bytes < 300; bytes += 61)
            encode_repeated(t, hostile[i], bytes, arena);
    }
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

/* Steps beyond number, places times steps, and a stack beyond bounds: each ends in an error that says so. */
static const struct {
    const char *splitter, *unit, *end, *says;
    size_t bytes;
} endless[] = {
    { SPLIT("(?:a+)+[bc]"), "a", "", "too many steps", 100000 },
    { SPLIT("a*a*[bc]"), "a", "", "too long", 100000 },
    { SPLIT("(?:a|aa)+$"), "a", "b", "too much memory", 100000 },
};

START_TEST(a_pattern_that_never_ends_is_an_error)
{
    attn_tokenizer *t = open_splitter(endless[_i].splitter);
    attn_arena *arena = attn_arena_new();
    attn_text text;
    attn_error err = { .code = ATTN_OK };
    attn_encode_options options = { .add_special_tokens = true };
    attn_encoding out;
    char *s = repeated(endless[_i].unit, endless[_i].bytes, &text.length);
    if (endless[_i].end[0])
        s[text.length - 1] = endless[_i].end[0];
    text.bytes = s;
    uint64_t begin = attn_clock_ns();
    ck_assert_int_eq(attn_tokenizer_encode(t, &text, NULL, &options, arena, NULL, &out, &err), ATTN_E_INPUT);
    ck_assert_uint_lt(attn_clock_ns() - begin, 20000000000u);
    ck_assert_str_eq(err.where, "text");
    ck_assert_msg(strstr(err.text, endless[_i].says) != NULL, "\"%s\" does not say \"%s\"", err.text, endless[_i].says);
    ck_assert_uint_le(attn_arena_peak(arena), attn_tokenizer_bytes(t, text.length));
    free(s);
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

/* A pattern that searches in vain, a word of many merges. */
static const char *const slow[] = { SPLIT("a*a*[bc]"), NULL, BYTES("false"), METASPACE, SPLIT("[ab]") };

START_TEST(a_call_off_is_seen_while_cutting_and_merging)
{
    attn_tokenizer *t = open_splitter(slow[_i]);
    attn_arena *arena = attn_arena_new();
    attn_cancel cancel = { .deadline_ns = attn_clock_ns() + 3000000 };
    attn_text text;
    attn_encode_options options = { .add_special_tokens = true };
    attn_encoding out;
    text.bytes = repeated("ab \xC3\xA9", (size_t)16 << 20, &text.length);
    if (_i == 0)
        memset((char *)text.bytes, 'a', text.length);
    ck_assert_int_eq(attn_tokenizer_encode(t, &text, NULL, &options, arena, &cancel, &out, NULL), ATTN_E_CANCELLED);
    free((char *)text.bytes);
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

int main(void)
{
    int count = (int)(sizeof normalizers / sizeof *normalizers);
    Suite *s = suite_create("tokenizer costs");
    TCase *c = tcase_create("costs");
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, hostile_text_takes_linear_time_and_no_more_memory_than_promised, 0, count);
    tcase_add_loop_test(c, no_code_point_grows_more_than_its_normalizer_says, 0, count);
    tcase_add_test(c, text_that_is_not_utf8_is_refused_by_the_name_of_its_field);
    tcase_add_loop_test(c, a_call_off_is_seen_in_every_stage, 0, (int)(sizeof stages / sizeof *stages));
    tcase_add_test(c, a_raised_cancel_stops_even_a_short_text);
    tcase_add_test(c, threads_share_a_tokenizer);
    tcase_add_loop_test(c, long_words_and_many_words_take_linear_time_and_no_more_memory_than_promised, 0, (int)(sizeof splitters / sizeof *splitters));
    tcase_add_loop_test(c, a_pattern_that_never_ends_is_an_error, 0, (int)(sizeof endless / sizeof *endless));
    tcase_add_loop_test(c, a_call_off_is_seen_while_cutting_and_merging, 0, (int)(sizeof slow / sizeof *slow));
    suite_add_tcase(s, c);
    return unit_main(s);
}

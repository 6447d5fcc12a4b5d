/* test_hub.c - the hub's names: what is an id, what may become a file's name, what an index says. The rest of the hub is tests/http/test_hub.py's.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "hub.h"
#include "hub_id.h"
#include "hub_settings.h"
#include "unit.h"

#define HEX40 "0123456789abcdef0123456789abcdef01234567"
#define HEX64 HEX40 "0123456789abcdef01234567"

static const struct {
    const char *text, *repo, *revision;
} ids[] = {
    { "org/name", "org/name", "main" },
    { "a/b", "a/b", "main" },
    { "sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "main" },
    { "org/name@v1.0", "org/name", "v1.0" },
    { "org/name@refs/pr/12", "org/name", "refs/pr/12" },
    { "org/name@" HEX40, "org/name", HEX40 },
    { "_o/n_", "_o/n_", "main" },
    { "org/name@feature/a-b_c+d", "org/name", "feature/a-b_c+d" },
};

START_TEST(an_id_is_a_model_and_a_revision)
{
    srv_hub_id id;
    ck_assert(srv_hub_id_parse(&id, ids[_i].text));
    ck_assert_str_eq(id.repo, ids[_i].repo);
    ck_assert_str_eq(id.revision, ids[_i].revision);
}
END_TEST

static const char *const no_ids[] = { "",          "/",        "org",        "org/",         "/name",   "a/b/c",    "./a",     "../a",
                                      "a/..",      "a/.b",     "a/b.",       "-a/b",         "a/b-",    "a--b/c",   "a/b..c",  "a/b.git",
                                      "a b/c",     "a/b\n",    "a/b@",       "a/b@/x",       "a/b@x/",  "a/b@x//y", "a/b@..",  "a/b@x/../y",
                                      "a/b@.x",    "a/b@x/.y", "a/b@x.lock", "a/b@x.lock/y", "a/b@x y", "a/b@x\\y", "a/b@x:y", "a/b@x~1",
                                      "a/b@x^",    "a/b@x?",   "a/b@*",      "a/b@[x",       "a/b@x.",  "a/b@@{x",  "a@b/c",   "a/b\xc3\xa9",
                                      "builtin:x", "~/model",  "a/b@x\x7f",  "a/b@\x01" };

START_TEST(anything_else_is_none)
{
    srv_hub_id id;
    ck_assert_msg(!srv_hub_id_parse(&id, no_ids[_i]), "%s", no_ids[_i]);
}
END_TEST

START_TEST(names_have_a_longest)
{
    char text[1000];
    srv_hub_id id;
    for (int n = 90; n < 110; n++) {
        snprintf(text, sizeof text, "%.*s/b", n, HEX64 HEX64);
        ck_assert_int_eq(srv_hub_id_parse(&id, text), n <= 96);
        snprintf(text, sizeof text, "a/%.*s", n, HEX64 HEX64);
        ck_assert_int_eq(srv_hub_id_parse(&id, text), n <= 96);
    }
    for (int n = 190; n < 210; n++) {
        snprintf(text, sizeof text, "a/b@%.*s", n, HEX64 HEX64 HEX64 HEX64);
        ck_assert_int_eq(srv_hub_id_parse(&id, text), n < SRV_HUB_REVISION_BYTES);
        ck_assert_int_eq(srv_hub_is_file_name(text + 4, (size_t)n), n < SRV_HUB_NAME_BYTES);
    }
}
END_TEST

START_TEST(a_folder_and_a_url_are_made_of_an_id)
{
    attn_arena *arena = attn_arena_new();
    srv_hub_id id;
    char folder[SRV_HUB_REPO_BYTES + 16];
    ck_assert(srv_hub_id_parse(&id, "org/name@refs/pr/1"));
    srv_hub_folder(folder, &id);
    ck_assert_str_eq(folder, "models--org--name");
    ck_assert_str_eq(srv_hub_url(arena, "https://example.org", &id, id.revision, "a b%.json"),
                     "https://example.org/org/name/resolve/refs%2Fpr%2F1/a%20b%25.json");
    attn_arena_free(arena);
}
END_TEST

START_TEST(what_exists_in_the_file_system_is_no_model_of_the_hub)
{
    ck_assert(srv_hub_is_model("org/name"));
    ck_assert(!srv_hub_is_model("tests/unit"));
    ck_assert(!srv_hub_is_model("tests/README.md"));
    ck_assert(srv_hub_is_model("tests/unit@main"));
}
END_TEST

static const struct {
    const char *header, *etag;
} etags[] = {
    { "\"" HEX64 "\"", HEX64 }, { "W/\"" HEX40 "\"", HEX40 }, { HEX40, HEX40 },        { "", NULL },
    { "\"\"", NULL },           { "\"" HEX40 "0\"", NULL },   { "\"../../x\"", NULL }, { "\"0123456789ABCDEF0123456789abcdef01234567\"", NULL },
    { HEX64 "-2", NULL },       { "W/" HEX64, HEX64 },        { "\"" HEX40, HEX40 },
};

START_TEST(an_etag_is_one_of_two_hashes)
{
    char etag[SRV_HUB_ETAG_BYTES] = "";
    ck_assert_int_eq(srv_hub_etag_parse(etag, etags[_i].header), etags[_i].etag != NULL);
    ck_assert_str_eq(etag, etags[_i].etag ? etags[_i].etag : "");
}
END_TEST

static const struct {
    const char *header;
    bool fine;
    uint64_t start;
} ranges[] = {
    { "bytes 0-9/10", true, 0 },  { "bytes 5-9/10", true, 5 }, { "bytes 123456789012345678-9/*", true, 123456789012345678 },
    { "bytes */10", false, 0 },   { "bytes -9/10", false, 0 }, { "bytes 1234567890123456789-9/10", false, 0 },
    { "items 5-9/10", false, 0 }, { "bytes 5", false, 0 },     { "", false, 0 },
};

START_TEST(a_range_says_where_it_begins)
{
    uint64_t start = 0;
    ck_assert_int_eq(srv_hub_range_start(ranges[_i].header, &start), ranges[_i].fine);
    if (ranges[_i].fine)
        ck_assert_uint_eq(start, ranges[_i].start);
}
END_TEST

/* The shards of an index, joined by spaces, or the error. */
static const char *shards(const char *text)
{
    static char joined[1500];
    attn_arena *arena = attn_arena_new();
    srv_hub_error error = { 0 };
    srv_hub_shards found;
    joined[0] = '\0';
    if (srv_hub_shards_read(&found, arena, text, strlen(text), &error)) {
        for (size_t i = 0; i < found.count; i++)
            snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? " " : "", found.names[i]);
    } else {
        snprintf(joined, sizeof joined, "error: %s", error.text);
    }
    attn_arena_free(arena);
    return joined;
}

START_TEST(an_index_names_each_shard_once_and_in_order)
{
    ck_assert_str_eq(shards("{\"weight_map\": {\"t\": \"b\"}}"), "b");
    ck_assert_str_eq(
        shards("{\"metadata\": {\"x\": [1]}, \"weight_map\": {\"1\": \"c\", \"2\": \"a\", \"3\": \"c\", \"4\": \"b\", \"5\": \"a\", \"6\": \"ab\"}, \"z\": 1}"),
        "a ab b c");
    ck_assert_str_eq(shards("{\"weight_map\": {\"t\": \"\\u0062.safetensors\"}}"), "b.safetensors");
}
END_TEST

static const char *const bad_indices[] = { "",
                                           "[]",
                                           "{}",
                                           "{\"weight_map\": {}}",
                                           "{\"weight_map\": \"x\"}",
                                           "{\"weight_map\": {\"t\": 1}}",
                                           "{\"weight_map\": {\"t\": \"\"}}",
                                           "{\"weight_map\": {\"t\": \"../x\"}}",
                                           "{\"weight_map\": {\"t\": \"/x\"}}",
                                           "{\"weight_map\": {\"t\": \"a/x\"}}",
                                           "{\"weight_map\": {\"t\": \"..\"}}",
                                           "{\"weight_map\": {\"t\": \"x\\u0000y\"}}",
                                           "{\"weight_map\": {\"t\": \"x\"}",
                                           "{\"weight_map\": {\"t\": \"x\"}} more" };

START_TEST(a_bad_index_is_an_error)
{
    ck_assert_msg(strncmp(shards(bad_indices[_i]), "error: its index", 16) == 0, "%s", shards(bad_indices[_i]));
}
END_TEST

static void clear_environment(void)
{
    static const char *const names[] = { "HF_HOME",
                                         "HF_HUB_CACHE",
                                         "HUGGINGFACE_HUB_CACHE",
                                         "HF_ENDPOINT",
                                         "HF_TOKEN",
                                         "HUGGING_FACE_HUB_TOKEN",
                                         "HF_TOKEN_PATH",
                                         "HF_HUB_OFFLINE",
                                         "TRANSFORMERS_OFFLINE",
                                         "HF_HUB_ETAG_TIMEOUT",
                                         "HF_HUB_DOWNLOAD_TIMEOUT",
                                         "XDG_CACHE_HOME" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("HOME", "/nowhere", 1);
}

START_TEST(the_environment_means_what_it_means_in_python)
{
    attn_arena *arena = attn_arena_new();
    srv_hub_error error = { 0 };
    srv_hub_settings s;
    clear_environment();
    ck_assert(srv_hub_settings_read(&s, arena, &error));
    ck_assert_str_eq(s.cache, "/nowhere/.cache/huggingface/hub");
    ck_assert_str_eq(s.endpoint, "https://huggingface.co");
    ck_assert(!s.offline && !s.token);
    ck_assert_int_eq(s.stall_seconds, 10);
    setenv("HF_HOME", "/a", 1);
    setenv("HF_ENDPOINT", "http://mirror:8000//", 1);
    setenv("HF_HUB_OFFLINE", "On", 1);
    setenv("HF_TOKEN", "", 1);
    setenv("HUGGING_FACE_HUB_TOKEN", " hf_x\r\n", 1);
    setenv("HF_HUB_DOWNLOAD_TIMEOUT", "3", 1);
    ck_assert(srv_hub_settings_read(&s, arena, &error));
    ck_assert_str_eq(s.cache, "/a/hub");
    ck_assert_str_eq(s.endpoint, "http://mirror:8000");
    ck_assert(s.offline);
    ck_assert_str_eq(s.token, "hf_x");
    ck_assert_int_eq(s.stall_seconds, 3);
    setenv("HF_HUB_CACHE", "~/c", 1);
    setenv("HF_TOKEN", "hf_y", 1);
    ck_assert(srv_hub_settings_read(&s, arena, &error));
    ck_assert_str_eq(s.cache, "/nowhere/c");
    ck_assert_str_eq(s.token, "hf_y");
    attn_arena_free(arena);
}
END_TEST

#define COUNT(array) (int)(sizeof array / sizeof *array)

int main(void)
{
    Suite *suite = suite_create("hub");
    TCase *tc = tcase_create("hub");
    tcase_add_loop_test(tc, an_id_is_a_model_and_a_revision, 0, COUNT(ids));
    tcase_add_loop_test(tc, anything_else_is_none, 0, COUNT(no_ids));
    tcase_add_test(tc, names_have_a_longest);
    tcase_add_test(tc, a_folder_and_a_url_are_made_of_an_id);
    tcase_add_test(tc, what_exists_in_the_file_system_is_no_model_of_the_hub);
    tcase_add_loop_test(tc, an_etag_is_one_of_two_hashes, 0, COUNT(etags));
    tcase_add_loop_test(tc, a_range_says_where_it_begins, 0, COUNT(ranges));
    tcase_add_test(tc, an_index_names_each_shard_once_and_in_order);
    tcase_add_loop_test(tc, a_bad_index_is_an_error, 0, COUNT(bad_indices));
    tcase_add_test(tc, the_environment_means_what_it_means_in_python);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}

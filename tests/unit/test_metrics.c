/* test_metrics.c - counters and the text that Prometheus reads.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "metrics.h"
#include "unit.h"

static srv_metrics metrics;
static char text[1 << 18];
static size_t length;
static api_block spare;

static attn_status keep_start(void *ctx, const api_head *head)
{
    (void)ctx;
    (void)head;
    return ATTN_OK;
}

static api_block *keep_take(void *ctx)
{
    (void)ctx;
    spare.used = 0;
    return &spare;
}

static attn_status keep_give(void *ctx, api_block *block)
{
    (void)ctx;
    ck_assert_uint_lt(length + block->used, sizeof text);
    memcpy(text + length, block->data, block->used);
    length += block->used;
    text[length] = '\0';
    return ATTN_OK;
}

static void keep_drop(void *ctx, api_block *block)
{
    (void)ctx;
    (void)block;
}

static void write_all(void)
{
    api_reply reply = { .start = keep_start, .take = keep_take, .give = keep_give, .drop = keep_drop };
    api_out out;
    length = 0;
    api_out_init(&out, &reply, (api_head){ .status = 200 });
    srv_metrics_write_counts(&metrics, &out);
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
}

static void setup(void)
{
    memset(&metrics, 0, sizeof metrics);
}

static bool has_line(const char *wanted)
{
    size_t n = strlen(wanted);
    for (const char *at = text; at && *at; at = strchr(at, '\n'), at += at != NULL) {
        if (strncmp(at, wanted, n) == 0 && at[n] == '\n')
            return true;
    }
    return false;
}

static void observe(srv_observation o)
{
    srv_metrics_observe(&metrics, &o);
}

START_TEST(a_request_is_counted_by_route_method_and_code)
{
    const api_route *route = &api_routes()[0];
    char wanted[200];
    observe((srv_observation){ .method = route->method, .route = route, .status = 200 });
    observe((srv_observation){ .method = route->method, .route = route, .status = 200 });
    observe((srv_observation){ .method = route->method, .route = route, .status = 422, .outcome = API_SHAPE_MISMATCH });
    observe((srv_observation){ .method = "BREW", .route = NULL, .status = 418 });
    observe((srv_observation){ .method = "GET", .route = NULL, .status = 0 });
    write_all();
    snprintf(wanted, sizeof wanted, "attnd_requests_total{route=\"%s\",method=\"%s\",code=\"200\"} 2", route->path, route->method);
    ck_assert_msg(has_line(wanted), "%s", text);
    snprintf(wanted, sizeof wanted, "attnd_requests_total{route=\"%s\",method=\"%s\",code=\"422\"} 1", route->path, route->method);
    ck_assert_msg(has_line(wanted), "%s", text);
    ck_assert(has_line("attnd_requests_total{route=\"other\",method=\"other\",code=\"other\"} 1"));
    ck_assert(has_line("attnd_requests_total{route=\"other\",method=\"GET\",code=\"499\"} 1"));
    ck_assert(has_line("attnd_rejected_requests_total{code=\"shape_mismatch\"} 1"));
    ck_assert(has_line("attnd_cancelled_requests_total 1"));
}
END_TEST

START_TEST(buckets_are_cumulative_and_end_at_infinity)
{
    static const uint64_t ms[] = { 0, 1, 2, 3, 50, 51, 60000, 60001, 100000000 };
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
        observe((srv_observation){ .method = "GET", .status = 200, .duration_ns = ms[i] * 1000000 });
    write_all();
    ck_assert(has_line("attnd_request_duration_seconds_bucket{route=\"other\",le=\"0.0005\"} 1"));
    ck_assert(has_line("attnd_request_duration_seconds_bucket{route=\"other\",le=\"0.001\"} 2")); /* a bound belongs to its bucket */
    ck_assert(has_line("attnd_request_duration_seconds_bucket{route=\"other\",le=\"0.005\"} 4"));
    ck_assert(has_line("attnd_request_duration_seconds_bucket{route=\"other\",le=\"0.05\"} 5"));
    ck_assert(has_line("attnd_request_duration_seconds_bucket{route=\"other\",le=\"60\"} 7"));
    ck_assert(has_line("attnd_request_duration_seconds_bucket{route=\"other\",le=\"+Inf\"} 9"));
    ck_assert(has_line("attnd_request_duration_seconds_count{route=\"other\"} 9"));
    ck_assert(has_line("attnd_request_duration_seconds_sum{route=\"other\"} 100120.108000000"));
}
END_TEST

START_TEST(stages_are_those_of_requests_that_were_worked_on)
{
    observe((srv_observation){ .method = "POST", .status = 200, .worked = false, .stage_ns = { 1000000000 } });
    write_all();
    ck_assert_ptr_null(strstr(text, "attnd_stage_duration_seconds_count"));
    observe((srv_observation){ .method = "POST", .status = 200, .worked = true, .stage_ns = { 1000000000, 0, 2000000000, 500000000 } });
    write_all();
    ck_assert(has_line("attnd_stage_duration_seconds_count{stage=\"tokenize\"} 1"));
    ck_assert(has_line("attnd_stage_duration_seconds_sum{stage=\"queue\"} 1.000000000"));
    ck_assert(has_line("attnd_stage_duration_seconds_sum{stage=\"compute\"} 2.000000000"));
    ck_assert(has_line("attnd_stage_duration_seconds_sum{stage=\"encode\"} 0.500000000"));
}
END_TEST

START_TEST(every_family_has_help_and_type_once_and_before_its_samples)
{
    observe((srv_observation){ .method = "POST", .status = 503, .worked = true, .outcome = API_QUEUE_FULL, .bytes_in = 7, .bytes_out = 9 });
    write_all();
    ck_assert(has_line("attnd_request_body_bytes_total 7"));
    ck_assert(has_line("attnd_response_body_bytes_total 9"));
    int families = 0;
    char family[100] = "";
    for (char *at = text, *line; (line = strsep(&at, "\n")) && *line;) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            ck_assert_int_eq(sscanf(line, "# HELP %99s", family), 1);
            families++;
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            ck_assert_int_eq(strncmp(line + 7, family, strlen(family)), 0);
        } else {
            ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s after %s", line, family);
        }
    }
    ck_assert_int_ge(families, 8);
}
END_TEST

START_TEST(every_route_has_a_place_of_its_own)
{
    size_t n = 0;
    while (api_routes()[n].path)
        n++;
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_lt(n, SRV_MAX_ROUTES);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tc = tcase_create("metrics");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_request_is_counted_by_route_method_and_code);
    tcase_add_test(tc, buckets_are_cumulative_and_end_at_infinity);
    tcase_add_test(tc, stages_are_those_of_requests_that_were_worked_on);
    tcase_add_test(tc, every_family_has_help_and_type_once_and_before_its_samples);
    tcase_add_test(tc, every_route_has_a_place_of_its_own);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}

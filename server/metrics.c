/* metrics.c - counters and their Prometheus text (text format 0.0.4), base units throughout.
 *
 * Counters are bumped with relaxed atomics on whatever thread is at hand; a scrape reads them one by one and may see a request half counted, which
 * Prometheus is made for. Series that never happened are left out.
 * SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "server.h"
#include "tls.h"

static const char *const methods[SRV_NUM_METHODS] = { "GET", "HEAD", "POST", "OPTIONS", "other" };

/* The last entry stands for all others. 499: the client went first. */
static const int statuses[SRV_NUM_STATUSES] = { 200, 204, 304, 400, 401, 403, 404, 405, 406, 408, 413, 414,
                                                415, 422, 429, 431, 499, 500, 501, 502, 503, 504, 505, 0 };

/* Upper bounds in seconds, as printed and in nanoseconds. */
static const struct {
    const char *text;
    uint64_t ns;
} bounds[SRV_NUM_BUCKETS] = {
    { "0.0005", 500000 }, { "0.001", 1000000 },  { "0.0025", 2500000 }, { "0.005", 5000000 },  { "0.01", 10000000 }, { "0.025", 25000000 },
    { "0.05", 50000000 }, { "0.1", 100000000 },  { "0.25", 250000000 }, { "0.5", 500000000 },  { "1", 1000000000 },  { "2.5", 2500000000 },
    { "5", 5000000000 },  { "10", 10000000000 }, { "30", 30000000000 }, { "60", 60000000000 },
};

static void bump(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static uint64_t read_counter(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- counting ------------------------------------------------------------------------------------------------------------ */

static void observe_time(srv_histogram *h, uint64_t ns)
{
    size_t i = 0;
    while (i < SRV_NUM_BUCKETS && ns > bounds[i].ns)
        i++;
    bump(&h->buckets[i], 1);
    bump(&h->sum_ns, ns);
}

static size_t method_index(const char *method)
{
    size_t i = 0;
    while (i + 1 < SRV_NUM_METHODS && strcmp(methods[i], method) != 0)
        i++;
    return i;
}

static size_t status_index(int status)
{
    size_t i = 0;
    while (i + 1 < SRV_NUM_STATUSES && statuses[i] != status)
        i++;
    return i;
}

static size_t route_index(const api_route *route)
{
    size_t i = route ? (size_t)(route - api_routes()) : SRV_MAX_ROUTES - 1;
    return i < SRV_MAX_ROUTES - 1 ? i : SRV_MAX_ROUTES - 1;
}

void srv_metrics_observe(srv_metrics *m, const srv_observation *o)
{
    size_t route = route_index(o->route);
    bump(&m->requests[route][method_index(o->method)][status_index(o->status ? o->status : 499)], 1);
    observe_time(&m->durations[route], o->duration_ns);
    for (size_t i = 0; o->worked && i < SRV_STAGE_COUNT; i++)
        observe_time(&m->stages[i], o->stage_ns[i]);
    if (o->worked && o->model > 0 && o->model <= m->num_models)
        observe_time(&m->models[o->model - 1], o->duration_ns);
    if (o->outcome > API_OK && o->outcome < API_CODE_COUNT)
        bump(&m->problems[o->outcome], 1);
    bump(&m->cancelled, o->status == 0);
    bump(&m->bytes_in, o->bytes_in);
    bump(&m->bytes_out, o->bytes_out);
}

/* ---- writing ------------------------------------------------------------------------------------------------------------- */

static void head(api_out *out, const char *name, const char *type, const char *help)
{
    api_out_format(out, "# HELP %s %s\n", name, help);
    api_out_format(out, "# TYPE %s %s\n", name, type);
}

static void seconds(api_out *out, uint64_t ns)
{
    api_out_format(out, "%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static void number(api_out *out, const char *name, const char *type, const char *help, uint64_t value)
{
    head(out, name, type, help);
    api_out_format(out, "%s %" PRIu64 "\n", name, value);
}

/* A label's value: backslash, quote and newline escaped, as the format asks. */
static void label(api_out *out, const char *name, const char *value)
{
    api_out_string(out, name);
    api_out_string(out, "=\"");
    for (; *value; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n')
            api_out_char(out, '\\');
        api_out_char(out, *value == '\n' ? 'n' : *value);
    }
    api_out_char(out, '"');
}

static const char *route_name(size_t i, size_t num_routes)
{
    return i < num_routes ? api_routes()[i].path : "other";
}

static size_t count_routes(void)
{
    size_t n = 0;
    while (n < SRV_MAX_ROUTES - 1 && api_routes()[n].path)
        n++;
    return n;
}

static void write_requests(srv_metrics *m, api_out *out)
{
    size_t num_routes = count_routes();
    head(out, "attnd_requests_total", "counter", "Requests that are over, by route, method and status (499: the client went first).");
    for (size_t r = 0; r < SRV_MAX_ROUTES; r++) {
        for (size_t i = 0; i < SRV_NUM_METHODS * SRV_NUM_STATUSES; i++) {
            size_t method = i / SRV_NUM_STATUSES, status = i % SRV_NUM_STATUSES;
            uint64_t n = read_counter(&m->requests[r][method][status]);
            if (n == 0)
                continue;
            api_out_format(out, "attnd_requests_total{route=\"%s\",method=\"%s\",", route_name(r, num_routes), methods[method]);
            if (statuses[status])
                api_out_format(out, "code=\"%d\"} %" PRIu64 "\n", statuses[status], n);
            else
                api_out_format(out, "code=\"other\"} %" PRIu64 "\n", n);
        }
    }
}

static void write_histogram(api_out *out, srv_histogram *h, const char *name, const char *label_name, const char *label_value)
{
    uint64_t counts[SRV_NUM_BUCKETS + 1], sum = 0;
    for (size_t i = 0; i <= SRV_NUM_BUCKETS; i++)
        sum += counts[i] = read_counter(&h->buckets[i]);
    if (sum == 0)
        return;
    uint64_t total = sum;
    sum = 0;
    for (size_t i = 0; i < SRV_NUM_BUCKETS; i++) {
        sum += counts[i];
        api_out_format(out, "%s_bucket{%s=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, label_name, label_value, bounds[i].text, sum);
    }
    api_out_format(out, "%s_bucket{%s=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, label_name, label_value, total);
    api_out_format(out, "%s_sum{%s=\"%s\"} ", name, label_name, label_value);
    seconds(out, read_counter(&h->sum_ns));
    api_out_format(out, "%s_count{%s=\"%s\"} %" PRIu64 "\n", name, label_name, label_value, total);
}

static void write_times(srv_metrics *m, api_out *out)
{
    static const char *const stages[SRV_STAGE_COUNT] = { "queue", "tokenize", "compute", "encode" };
    size_t num_routes = count_routes();
    head(out, "attnd_request_duration_seconds", "histogram", "From a request's arrival to the end of its answer.");
    for (size_t r = 0; r < SRV_MAX_ROUTES; r++)
        write_histogram(out, &m->durations[r], "attnd_request_duration_seconds", "route", route_name(r, num_routes));
    head(out, "attnd_stage_duration_seconds", "histogram", "What a request that reached a worker spent in each stage.");
    for (size_t s = 0; s < SRV_STAGE_COUNT; s++)
        write_histogram(out, &m->stages[s], "attnd_stage_duration_seconds", "stage", stages[s]);
}

static void write_problems(srv_metrics *m, api_out *out)
{
    head(out, "attnd_rejected_requests_total", "counter", "Requests answered with a problem, by its code.");
    for (int code = API_OK + 1; code < API_CODE_COUNT; code++) {
        uint64_t n = read_counter(&m->problems[code]);
        if (n > 0)
            api_out_format(out, "attnd_rejected_requests_total{code=\"%s\"} %" PRIu64 "\n", api_code_name((api_code)code), n);
    }
}

void srv_metrics_write_counts(srv_metrics *m, api_out *out)
{
    write_requests(m, out);
    write_times(m, out);
    write_problems(m, out);
    number(out, "attnd_cancelled_requests_total", "counter", "Requests whose client went before there was an answer.", read_counter(&m->cancelled));
    number(out, "attnd_request_body_bytes_total", "counter", "Bytes of request bodies received.", read_counter(&m->bytes_in));
    number(out, "attnd_response_body_bytes_total", "counter", "Bytes of response bodies sent.", read_counter(&m->bytes_out));
    number(out, "attnd_connections_total", "counter", "Connections accepted.", read_counter(&m->connections_total));
}

static void write_load(srv_server *s, api_out *out)
{
    srv_jobs_state jobs = srv_jobs_get(s->jobs);
    srv_budget_state budget = srv_budget_get(&s->budget);
    number(out, "attnd_queue_length", "gauge", "Requests that wait for a worker.", jobs.waiting);
    number(out, "attnd_queue_capacity", "gauge", "Requests that may wait.", jobs.capacity);
    number(out, "attnd_running_requests", "gauge", "Requests being worked on; short ones share a worker.", jobs.running + jobs.guests);
    number(out, "attnd_waiting_for_clients", "gauge", "Requests whose client reads too slowly; others run meanwhile.", jobs.aside);
    number(out, "attnd_workers", "gauge", "Threads that work on requests.", jobs.threads);
    number(out, "attnd_busy_workers", "gauge", "Workers at a request; for a moment some more, when slow clients go on.", jobs.running);
    number(out, "attnd_connections", "gauge", "Open connections.", read_counter(&s->connections));
    number(out, "attnd_connections_limit", "gauge", "Connections beyond which newcomers are refused.", s->options->max_connections);
    number(out, "attnd_memory_budget_bytes", "gauge", "What all requests together may hold.", budget.limit);
    number(out, "attnd_memory_used_bytes", "gauge", "What all requests together hold: bodies, working memory, answers on their way.", budget.used);
    number(out, "attnd_memory_waiting_requests", "gauge", "Requests that wait for memory.", budget.waiting);
    number(out, "attnd_ready", "gauge", "1 when the server takes work.", srv_server_state(s) == API_OK);
    number(out, "attnd_reload_successful", "gauge", "0 after a SIGHUP that found keys or a certificate of no use: those of before stay.",
           !atomic_load(&s->stale));
    if (s->tls)
        number(out, "attnd_tls_certificate_expires_seconds", "gauge", "When the certificate in use ends, Unix time.", srv_tls_expires(s->tls));
}

static void write_model(api_out *out, const api_model *model)
{
    const attn_model_info *info = attn_model_get_info(model->model);
    api_out_string(out, "attnd_model_info{");
    label(out, "model", model->name);
    api_out_char(out, ',');
    label(out, "architecture", info->architecture);
    api_out_char(out, ',');
    label(out, "dtype", info->dtype);
    api_out_format(out, ",layers=\"%zu\",heads=\"%zu\",", info->num_hidden_layers, info->num_attention_heads);
    api_out_format(out, "key_value_heads=\"%zu\",hidden_size=\"%zu\",max_tokens=\"%zu\"} 1\n", info->num_key_value_heads, info->hidden_size, info->max_tokens);
}

static void write_model_number(api_out *out, const api_model *model, const char *name, uint64_t value)
{
    api_out_format(out, "%s{", name);
    label(out, "model", model->name);
    api_out_format(out, "} %" PRIu64 "\n", value);
}

static void write_models(srv_server *s, api_out *out)
{
    const api_service *service = &s->service;
    head(out, "attnd_model_info", "gauge", "The models served, always 1.");
    for (size_t i = 0; i < service->num_models; i++)
        write_model(out, &service->models[i]);
    head(out, "attnd_model_bytes", "gauge", "Memory a model holds.");
    for (size_t i = 0; i < service->num_models; i++)
        write_model_number(out, &service->models[i], "attnd_model_bytes", attn_model_get_info(service->models[i].model)->bytes);
    head(out, "attnd_model_parameters", "gauge", "Parameters of a model.");
    for (size_t i = 0; i < service->num_models; i++)
        write_model_number(out, &service->models[i], "attnd_model_parameters", attn_model_get_info(service->models[i].model)->num_parameters);
    srv_metrics *m = &s->metrics;
    head(out, "attnd_model_request_duration_seconds", "histogram", "From arrival to the end of the answer, of requests that a model worked for.");
    for (size_t i = 0; i < m->num_models; i++)
        write_histogram(out, &m->models[i], "attnd_model_request_duration_seconds", "model", service->models[i].name);
}

static void write_build(srv_server *s, api_out *out)
{
    head(out, "attnd_build_info", "gauge", "The program and the kernels it chose, always 1.");
    api_out_string(out, "attnd_build_info{");
    label(out, "version", SRV_VERSION);
    api_out_char(out, ',');
    label(out, "kernels", attn_runtime_kernels(s->runtime));
    api_out_char(out, ',');
    label(out, "gemm_kernel", attn_runtime_gemm_kernel(s->runtime));
    api_out_format(out, ",threads=\"%d\"} 1\n", attn_runtime_threads(s->runtime));
}

/* ---- the process, under the names that Prometheus clients agree on -------------------------------------------------------- */

static uint64_t count_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    uint64_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n > 0 ? n - 1 : 0; /* the one this took */
}

/* Pages of the process, all and resident. */
static void read_pages(uint64_t *all, uint64_t *resident)
{
    char text[128] = "";
    *all = *resident = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n > 0 && sscanf(text, "%" SCNu64 " %" SCNu64, all, resident) != 2)
        *all = *resident = 0;
}

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    uint64_t whole = (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec;
    return whole * 1000000000 + ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000;
}

static void write_process(srv_server *s, api_out *out)
{
    uint64_t all, resident, page = (uint64_t)sysconf(_SC_PAGESIZE);
    read_pages(&all, &resident);
    head(out, "process_cpu_seconds_total", "counter", "User and system CPU time.");
    api_out_string(out, "process_cpu_seconds_total ");
    seconds(out, cpu_ns());
    number(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident * page);
    number(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", all * page);
    number(out, "process_open_fds", "gauge", "Open file descriptors.", count_open_files());
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        number(out, "process_max_fds", "gauge", "File descriptors that may be open.", (uint64_t)files.rlim_cur);
    head(out, "process_start_time_seconds", "gauge", "When the process began, Unix time.");
    api_out_format(out, "process_start_time_seconds %" PRIu64 ".%03" PRIu64 "\n", s->started_ms / 1000, s->started_ms % 1000);
}

void srv_metrics_write(srv_server *s, api_out *out)
{
    write_build(s, out);
    srv_metrics_write_counts(&s->metrics, out);
    write_load(s, out);
    write_models(s, out);
    write_process(s, out);
}

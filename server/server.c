/* server.c - puts the parts of a server together and takes them apart again, in the opposite order.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "access.h"
#include "exchange.h"
#include "http.h"
#include "hub.h"
#include "listen.h"
#include "log.h"

enum {
    HTTP_THREADS = 2,       /* they copy bytes and wait; computing is the workers' */
    FREE_BLOCKS = 128,      /* 8 MiB kept for the next answers */
    STUCK_GRACE_MS = 10000, /* past a request's deadline a worker may need this long to notice */
    HEADROOM = 64,          /* connections beyond --max-connections that are accepted, to be told so */
    HUB_ERROR_BYTES = 1400, /* one sentence, with the command that converts a model */
    IDLE_SECONDS = 60,      /* a connection without a request */
    WATCH_SECONDS = 15,     /* no less than this beyond --timeout, so that it is we who say 408 */
    OTHER_FILES = 128       /* descriptors for everything but connections */
};

/* ---- models -------------------------------------------------------------------------------------------------------------- */

/* "NAME=SOURCE", "builtin:NAME", a hub id, whose name is org/name, or a directory, whose last part is the name. False: no memory. */
static bool name_model(const char *given, char **name, const char **source)
{
    const char *equals = strchr(given, '=');
    const char *first = given;
    size_t n;
    *source = equals ? equals + 1 : given;
    if (equals) {
        n = (size_t)(equals - given);
    } else if (strncmp(given, "builtin:", 8) == 0) {
        first = given + 8;
        n = strlen(first);
    } else if (srv_hub_is_model(given)) {
        n = strcspn(given, "@");
    } else {
        n = strlen(given);
        while (n > 1 && given[n - 1] == '/')
            n--;
        for (size_t i = 0; i + 1 < n; i++) {
            if (given[i] == '/')
                first = given + i + 1;
        }
        n -= (size_t)(first - given);
    }
    *name = attn_malloc(n + 1);
    if (*name) {
        memcpy(*name, first, n);
        (*name)[n] = '\0';
    }
    return *name != NULL;
}

static bool is_taken(const srv_server *s, const char *name)
{
    for (size_t i = 0; i < s->service.num_models; i++) {
        if (strcmp(s->service.models[i].name, name) == 0)
            return true;
    }
    return false;
}

/* A model from its source. For a hub id, which is fetched first, *shown gets a copy of it. False: the failure has been logged. */
static bool load_model(srv_server *s, const char *given, const char *source, attn_model **model, char **shown)
{
    attn_error error = { .code = ATTN_OK };
    char why[HUB_ERROR_BYTES] = "no memory", *directory = NULL;
    bool from_hub = srv_hub_is_model(source);
    if (from_hub && (!(*shown = attn_strdup(source)) || !(directory = srv_hub_fetch(source, why, sizeof why)))) {
        srv_log_plain("attnd: --model %s: %s", given, why);
        return false;
    }
    bool later = s->options->models.count == 0 && !s->options->check; /* nobody asked for it by name: it is packed when somebody does */
    attn_status status =
        later ? attn_model_open_unloaded(model, s->runtime, source, &error) : attn_model_open(model, s->runtime, from_hub ? directory : source, &error);
    bool fine = status == ATTN_OK;
    attn_free(directory);
    if (!fine)
        srv_log_plain("attnd: --model %s: %s%s%s", given, error.where, *error.where ? ": " : "", error.text);
    return fine;
}

static bool open_model(srv_server *s, const char *given)
{
    char *name = NULL, *shown = NULL;
    const char *source = NULL;
    attn_model *model = NULL;
    bool fine = false;
    if (!name_model(given, &name, &source))
        srv_log_plain("attnd: --model %s: no memory", given);
    else if (!api_model_name_is_valid(name))
        srv_log_plain("attnd: --model %s: \"%s\" is no model name (letters, digits, '.', '_', '-', and '/' inside); give one as NAME=SOURCE", given, name);
    else if (is_taken(s, name))
        srv_log_plain("attnd: --model %s: there is a model named %s already; give another name as NAME=SOURCE", given, name);
    else
        fine = load_model(s, given, source, &model, &shown);
    if (fine) {
        size_t i = s->service.num_models++;
        s->models[i] = model;
        s->named[i] = (api_model){ .name = name, .model = model, .source = shown };
        name = shown = NULL;
    }
    attn_free(name);
    attn_free(shown);
    return fine;
}

/* One line of names, cut where a line has enough. */
static void log_names(const char *model, const char *event, const char *const *names, size_t count)
{
    char list[400] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? " " : "", names[i]);
    srv_field fields[] = { { .name = "model", .text = model }, { .name = "count", .number = count }, { .name = "names", .text = list } };
    if (count > 0)
        srv_log(SRV_INFO, event, fields, sizeof fields / sizeof *fields);
}

static void log_model(const api_model *model)
{
    const attn_model_info *info = attn_model_get_info(model->model);
    srv_field fields[] = {
        { .name = "model", .text = model->name },
        { .name = "source", .text = model->source ? model->source : info->source },
        { .name = "architecture", .text = info->architecture },
        { .name = "dtype", .text = info->dtype },
        { .name = "layers", .number = info->num_hidden_layers },
        { .name = "decoder_layers", .number = info->num_decoder_layers },
        { .name = "heads", .number = info->num_attention_heads },
        { .name = "generates", .text = info->generates ? "yes" : "no" },
        { .name = "parameters", .number = info->num_parameters },
        { .name = "bytes", .number = info->bytes },
    };
    const attn_tokenizer *tokenizer = attn_model_get_tokenizer(model->model);
    size_t ids = tokenizer ? attn_tokenizer_vocab_size(tokenizer) : 0;
    srv_log(SRV_INFO, "model", fields, sizeof fields / sizeof *fields);
    if (ids > info->vocab_size)
        srv_log_message(SRV_WARN, "model", "%s: the tokenizer has ids up to %zu and the model none from %zu on: texts that use such an id are refused",
                        model->name, ids - 1, info->vocab_size);
    log_names(model->name, "unused_tensors", info->unused_tensors, info->num_unused_tensors);
    log_names(model->name, "ignored_keys", info->ignored_keys, info->num_ignored_keys);
}

static bool open_models(srv_server *s)
{
    const srv_list *asked = &s->options->models;
    const char *const *builtin = attn_builtin_models();
    size_t count = asked->count;
    if (count == 0) {
        while (builtin[count])
            count++;
    }
    s->models = attn_calloc(count, sizeof *s->models);
    s->named = attn_calloc(count, sizeof *s->named);
    if (!s->models || !s->named) {
        srv_log_plain("attnd: no memory");
        return false;
    }
    s->service.models = s->named;
    s->metrics.models = attn_calloc(count, sizeof *s->metrics.models);
    s->metrics.num_models = s->metrics.models ? count : 0;
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        char source[160] = "builtin:";
        if (asked->count == 0)
            strncat(source, builtin[i], sizeof source - 9);
        all = open_model(s, asked->count ? asked->items[i] : source) && all;
    }
    for (size_t i = 0; all && i < s->service.num_models; i++)
        log_model(&s->service.models[i]);
    return all;
}

/* ---- open and close ------------------------------------------------------------------------------------------------------- */

static uint64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool open_runtime(srv_server *s)
{
    attn_error error = { .code = ATTN_OK };
    attn_runtime_options options = { .threads = (int)s->options->threads, .kernels = s->options->kernels };
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the pool's threads take no signals: main does */
    attn_status status = attn_runtime_new(&s->runtime, &options, &error);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != ATTN_OK)
        srv_log_plain("attnd: --kernels %s: %s", s->options->kernels, error.text);
    return status == ATTN_OK;
}

static bool open_fonts(srv_server *s)
{
    attn_error error = { .code = ATTN_OK };
    attn_status status = attn_fonts_open(&s->service.fonts, NULL, &error);
    if (status != ATTN_OK)
        srv_log_plain("attnd: no fonts to draw labels with: %s", error.text);
    return status == ATTN_OK;
}

bool srv_server_open(srv_server *s, const srv_options *options)
{
    *s = (srv_server){ .options = options, .started_ms = unix_ms() };
    uint64_t memory = options->max_memory_bytes ? options->max_memory_bytes : attn_memory_allowed() / 2;
    s->service.version = SRV_VERSION;
    s->service.limits = (api_limits){ .max_body_bytes = options->max_body_bytes,
                                      .max_tokens = options->max_tokens,
                                      .max_batch = options->max_batch,
                                      .max_response_bytes = options->max_response_bytes,
                                      .max_memory_bytes = memory };
    srv_budget_init(&s->budget, memory);
    srv_blocks_init(&s->blocks, FREE_BLOCKS, &s->budget);
    if (!srv_access_open(s) || !open_runtime(s))
        return false;
    s->service.runtime = s->runtime;
    return open_fonts(s) && open_models(s);
}

void srv_server_close(srv_server *s)
{
    for (size_t i = 0; i < s->service.num_models; i++) {
        attn_model_close(s->models[i]);
        attn_free((void *)(uintptr_t)s->named[i].name);
        attn_free((void *)(uintptr_t)s->named[i].source);
    }
    attn_free(s->models);
    attn_free(s->named);
    attn_free(s->metrics.models);
    attn_fonts_close(s->service.fonts);
    attn_runtime_free(s->runtime);
    srv_access_close(s);
    srv_blocks_fini(&s->blocks);
    srv_budget_fini(&s->budget);
}

/* ---- start and stop ------------------------------------------------------------------------------------------------------- */

/* Every daemon may find itself with all the connections. Where descriptors do not suffice for that, fewer are accepted: a daemon that finds none left may
 * spin. */
static void allow_files(srv_server *s)
{
    struct rlimit files;
    uint64_t connections = s->options->max_connections, daemons = HTTP_THREADS;
    daemons += s->options->metrics_port != SRV_NO_PORT ? 1 : 0;
    daemons += s->options->unix_socket ? HTTP_THREADS : 0;
    uint64_t need = daemons * (connections + HEADROOM) + OTHER_FILES;
    s->accepted = connections + HEADROOM;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= need)
        return;
    files.rlim_cur = files.rlim_max < need ? files.rlim_max : (rlim_t)need;
    if (setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur >= need)
        return;
    getrlimit(RLIMIT_NOFILE, &files);
    uint64_t others = files.rlim_cur / 2 < OTHER_FILES ? files.rlim_cur / 2 : OTHER_FILES;
    s->accepted = (files.rlim_cur - others) / daemons;
    srv_log_message(SRV_WARN, "files", "--max-connections %" PRIu64 " needs %" PRIu64 " file descriptors, but only %" PRIu64 " are allowed", connections, need,
                    (uint64_t)files.rlim_cur);
}

static void log_start(const srv_server *s)
{
    srv_field fields[] = {
        { .name = "version", .text = SRV_VERSION },
        { .name = "kernels", .text = attn_runtime_kernels(s->runtime) },
        { .name = "gemm_kernel", .text = attn_runtime_gemm_kernel(s->runtime) },
        { .name = "threads", .number = (uint64_t)attn_runtime_threads(s->runtime) },
        { .name = "memory_bytes", .number = s->service.limits.max_memory_bytes },
    };
    srv_log(SRV_INFO, "start", fields, sizeof fields / sizeof *fields);
}

static srv_http *listen_at_port(srv_server *s, srv_door door, uint64_t port, size_t threads)
{
    char where[128], url[160], error[256];
    int socket = srv_listen(s->options->host, port, where, sizeof where, error, sizeof error);
    snprintf(url, sizeof url, "%s://%s", door == SRV_FRONT && s->tls ? "https" : "http", where);
    if (socket >= 0)
        return srv_http_start(s, door, socket, url, threads);
    srv_log_plain("attnd: %s", error);
    return NULL;
}

static srv_http *listen_at_file(srv_server *s)
{
    char url[160], error[512];
    int socket = srv_unix_listen(s->options->unix_socket, &s->unix_file, error, sizeof error);
    snprintf(url, sizeof url, "unix:%s", s->options->unix_socket);
    if (socket >= 0)
        return srv_http_start(s, SRV_LOCAL, socket, url, HTTP_THREADS);
    srv_log_plain("attnd: %s", error);
    return NULL;
}

static void close_file(srv_server *s)
{
    if (s->options->unix_socket)
        srv_unix_remove(s->options->unix_socket, &s->unix_file);
}

bool srv_server_start(srv_server *s)
{
    const srv_options *o = s->options;
    allow_files(s);
    log_start(s);
    s->jobs = srv_jobs_new((size_t)attn_runtime_threads(s->runtime), (size_t)o->queue, srv_exchange_work, s);
    uint64_t own = o->timeout_ms / 1000 + WATCH_SECONDS;
    s->idle_seconds = own > IDLE_SECONDS ? own : IDLE_SECONDS;
    if (!s->jobs || !srv_watch_start(&s->watch, s->idle_seconds * 1000000000)) {
        srv_log_plain("attnd: cannot start threads");
        return false;
    }
    if ((o->metrics_port != SRV_NO_PORT && !(s->side = listen_at_port(s, SRV_SIDE, o->metrics_port, 1))) || (o->unix_socket && !(s->local = listen_at_file(s))))
        return false;
    s->front = listen_at_port(s, SRV_FRONT, o->port, HTTP_THREADS);
    if (!s->front)
        return false;
    srv_access_warn(s);
    srv_access_confine(s);
    if (s->side)
        srv_log_plain("metrics on %s/metrics", srv_http_url(s->side));
    if (s->local)
        srv_log_plain("listening at %s", srv_http_url(s->local));
    srv_log_plain("listening on %s", srv_http_url(s->front));
    return true;
}

void srv_server_drain(srv_server *s)
{
    atomic_store(&s->draining, true);
    close_file(s); /* while somebody answers there, nobody puts another in its place */
    srv_http_quiesce(s->front);
    srv_http_quiesce(s->local);
}

void srv_server_reload(srv_server *s)
{
    srv_access_reload(s);
}

bool srv_server_is_idle(srv_server *s)
{
    return atomic_load(&s->active) == 0;
}

void srv_server_cancel(srv_server *s)
{
    srv_watch_cancel_all(&s->watch);
}

void srv_server_stop(srv_server *s)
{
    srv_http_stop(s->front);
    srv_http_stop(s->local);
    srv_http_stop(s->side);
    close_file(s);
    srv_watch_stop(&s->watch);
    srv_jobs_free(s->jobs);
    s->jobs = NULL;
    s->front = s->side = s->local = NULL;
}

api_code srv_server_state(srv_server *s)
{
    if (atomic_load(&s->draining))
        return API_DRAINING;
    uint64_t since = srv_jobs_get(s->jobs).oldest_ns;
    uint64_t patience = (s->options->timeout_ms + STUCK_GRACE_MS) * 1000000;
    return since > 0 && attn_clock_ns() > since + patience ? API_LOADING : API_OK;
}

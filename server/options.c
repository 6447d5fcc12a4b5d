/* options.c - one table says everything about an option: its name, type, default and help. The environment variable is made from the name
 * (--max-batch is ATTND_MAX_BATCH), so the two can never disagree.
 *
 * A list given by a later source replaces the earlier one; within one source repeats add up. In the environment the items of a list stand in one
 * variable, separated by commas or white space. Kubernetes sets ATTND_PORT=tcp://... by itself for a service called attnd: such a value is not ours.
 * SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "attn_base.h"

typedef enum option_type { FLAG, TEXT, LIST, COUNT, BYTES, DURATION, CHOICE } option_type;

typedef struct option {
    const char *name; /* without the dashes */
    option_type type;
    size_t offset;        /* of the member of srv_options */
    const char *standard; /* default, as it would be typed; NULL: none */
    uint64_t least, most; /* COUNT, BYTES, DURATION (ms) */
    const char *argument; /* in the help; for CHOICE the choices, separated by '|' */
    const char *help;
} option;

#define AT(member) offsetof(srv_options, member)
#define DAY_MS     (UINT64_C(24) * 3600 * 1000)

static const option table[] = {
    { "host", TEXT, AT(host), "127.0.0.1", 0, 0, "ADDRESS", "address or name to listen on, IPv4 or IPv6" },
    { "port", COUNT, AT(port), "8080", 0, 65535, "N", "port to listen on; 0 picks a free one" },
    { "model", LIST, AT(models), NULL, 0, 0, "[NAME=]SOURCE",
      "a directory in Hugging Face layout, a hub id org/name[@revision], or builtin:NAME; repeatable, the first is the default (without any: the built-in "
      "models)" },
    { "threads", COUNT, AT(threads), NULL, 1, 1024, "N", "threads that compute (default: the CPUs this process may use)" },
    { "queue", COUNT, AT(queue), "64", 0, 1000000, "N", "requests that may wait for a thread" },
    { "timeout", DURATION, AT(timeout_ms), "60s", 1, DAY_MS, "TIME", "from a request's arrival to the last byte computed; 60, 60s, 500ms, 2m" },
    { "drain-timeout", DURATION, AT(drain_timeout_ms), "30s", 0, DAY_MS, "TIME", "how long running work may go on after SIGTERM" },
    { "max-body-bytes", BYTES, AT(max_body_bytes), "128MiB", 1, UINT64_MAX / 4, "BYTES", "a request's body; 1000, 64KiB, 128MiB, 1GiB" },
    { "max-tokens", COUNT, AT(max_tokens), "32768", 1, INT32_MAX, "N", "tokens of one input" },
    { "max-batch", COUNT, AT(max_batch), "64", 1, 1000000, "N", "inputs of one request" },
    { "max-response-bytes", BYTES, AT(max_response_bytes), "1GiB", 1, UINT64_MAX / 4, "BYTES", "an answer's predicted size" },
    { "max-memory-bytes", BYTES, AT(max_memory_bytes), NULL, 1, UINT64_MAX / 4, "BYTES",
      "all requests together, beside the models (default: half of what the machine or cgroup allows)" },
    { "max-connections", COUNT, AT(max_connections), "4096", 1, 1000000, "N", "open connections" },
    { "unix-socket", TEXT, AT(unix_socket), NULL, 0, 0, "PATH", "listen at this socket file too (mode 0660, never TLS)" },
    { "tls-cert", TEXT, AT(tls_cert), NULL, 0, 0, "PEM", "certificate, with its chain; the port then speaks TLS 1.2 and 1.3 alone; SIGHUP reads it again" },
    { "tls-key", TEXT, AT(tls_key), NULL, 0, 0, "PEM", "the certificate's private key" },
    { "api-key-file", TEXT, AT(api_key_file), NULL, 0, 0, "PATH",
      "keys, one a line: /v1/ and /metrics then want Authorization: Bearer KEY; SIGHUP reads it again" },
    { "max-requests-per-key", COUNT, AT(max_requests_per_key), NULL, 1, 1000000, "N", "requests of one key that wait or run (default: no limit)" },
    { "seccomp", CHOICE, AT(seccomp), "on", 0, 0, "on|off", "give up what is not needed once all is started: other programs, writing files, connections" },
    { "kernels", CHOICE, AT(kernels), "auto", 0, 0, "auto|ref|avx2|avx512|neon", "instruction set of the computing kernels" },
    { "probe", TEXT, AT(probe), NULL, 0, 0, "URL", "ask a running server's /readyz, http://, https:// or unix:PATH; exit status 0 or 1" },
    { "cors-origin", LIST, AT(cors_origins), NULL, 0, 0, "ORIGIN", "origin whose pages may call, or *; repeatable" },
    { "metrics-port", COUNT, AT(metrics_port), NULL, 0, 65535, "N", "a second port with /metrics, /healthz and /readyz alone" },
    { "log-level", CHOICE, AT(log_level), "info", 0, 0, "debug|info|warn|error", "how much is logged on standard error" },
    { "log-format", CHOICE, AT(log_format), "text", 0, 0, "text|json", "shape of the log lines" },
    { "check", FLAG, AT(check), NULL, 0, 0, NULL, "validate configuration and models, then exit" },
    { "version", FLAG, AT(version), NULL, 0, 0, NULL, "print the version, then exit" },
    { "help", FLAG, AT(help), NULL, 0, 0, NULL, "print this text, then exit" },
};
enum { NUM_OPTIONS = sizeof table / sizeof *table, NAME_MAX_BYTES = 64 };

/* Where a value comes from, for the error sentence: "--port" or "ATTND_PORT". */
typedef struct source {
    const char *name;
    bool environment;
    char *error;
    size_t size;
} source;

static bool complain(const source *from, const char *value, const char *why)
{
    snprintf(from->error, from->size, "%s: \"%.100s\" %s", from->name, value, why);
    return false;
}

static bool out_of_memory(const source *from)
{
    snprintf(from->error, from->size, "%s: no memory", from->name);
    return false;
}

/* ---- values -------------------------------------------------------------------------------------------------------------- */

typedef struct unit {
    const char *suffix;
    uint64_t factor;
} unit;

static const unit no_units[] = { { "", 1 }, { NULL, 0 } };
static const unit byte_units[] = { { "", 1 },          { "B", 1 },         { "KiB", 1 << 10 },
                                   { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { "TiB", (uint64_t)1 << 40 },
                                   { "KB", 1000 },     { "MB", 1000000 },  { "GB", 1000000000 },
                                   { NULL, 0 } };
static const unit time_units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { NULL, 0 } };

/* Digits and one of the suffixes, nothing else. */
static bool read_number(const char *text, const unit *units, uint64_t *out)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end = NULL;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (const unit *u = units; u->suffix; u++) {
        if (strcmp(end, u->suffix) == 0) {
            if (n > UINT64_MAX / u->factor)
                return false;
            *out = n * u->factor;
            return true;
        }
    }
    return false;
}

static bool set_number(const option *o, uint64_t *member, const char *value, const source *from)
{
    const unit *units = o->type == BYTES ? byte_units : o->type == DURATION ? time_units : no_units;
    uint64_t n;
    if (read_number(value, units, &n) && n >= o->least && n <= o->most) {
        *member = n;
        return true;
    }
    char why[160];
    if (o->type == COUNT)
        snprintf(why, sizeof why, "is not a whole number from %" PRIu64 " to %" PRIu64, o->least, o->most);
    else if (o->type == BYTES)
        snprintf(why, sizeof why, "is not a number of bytes such as 1000, 64KiB, 128MiB or 1GiB");
    else
        snprintf(why, sizeof why, "is not a time such as 60, 60s, 500ms or 2m, up to a day");
    return complain(from, value, why);
}

static bool set_flag(bool *member, const char *value, const source *from)
{
    static const char *const yes[] = { "1", "true", "yes", "on" }, *const no[] = { "0", "false", "no", "off", "" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(value, yes[i]) == 0) {
            *member = true;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        if (strcmp(value, no[i]) == 0) {
            *member = false;
            return true;
        }
    }
    return complain(from, value, "is neither true nor false");
}

static bool set_text(char **member, const char *value, const source *from)
{
    char *copy = attn_strdup(value);
    if (!copy)
        return out_of_memory(from);
    attn_free(*member);
    *member = copy;
    return true;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = choices; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (n > 0 && strncmp(p, value, n) == 0 && (p[n] == '|' || p[n] == '\0'))
            return true;
    }
    return false;
}

static bool set_choice(const option *o, char **member, const char *value, const source *from)
{
    if (is_choice(o->argument, value))
        return set_text(member, value, from);
    char why[160];
    snprintf(why, sizeof why, "is none of %s", o->argument);
    return complain(from, value, why);
}

static bool list_add(srv_list *list, const char *item, size_t n, const source *from)
{
    char **items = attn_realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        return out_of_memory(from);
    list->items = items;
    char *copy = attn_malloc(n + 1);
    if (!copy)
        return out_of_memory(from);
    memcpy(copy, item, n);
    copy[n] = '\0';
    list->items[list->count++] = copy;
    return true;
}

static bool set_list(srv_list *list, const char *value, const source *from)
{
    if (!from->environment)
        return *value ? list_add(list, value, strlen(value), from) : complain(from, value, "is empty");
    static const char between[] = ", \t\r\n";
    for (const char *p = value + strspn(value, between); *p; p += strspn(p, between)) {
        size_t n = strcspn(p, between);
        if (!list_add(list, p, n, from))
            return false;
        p += n;
    }
    return true;
}

static void list_free(srv_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        attn_free(list->items[i]);
    attn_free(list->items);
    *list = (srv_list){ 0 };
}

static bool set(srv_options *options, const option *o, const char *value, const source *from)
{
    void *member = (char *)options + o->offset;
    switch (o->type) {
    case FLAG:
        return set_flag(member, value, from);
    case TEXT:
        return *value ? set_text(member, value, from) : complain(from, value, "is empty");
    case LIST:
        return set_list(member, value, from);
    case CHOICE:
        return set_choice(o, member, value, from);
    case COUNT:
    case BYTES:
    case DURATION:
        return set_number(o, member, value, from);
    }
    return false;
}

/* ---- names --------------------------------------------------------------------------------------------------------------- */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edits between two names: letters put in, left out or changed (Levenshtein 1965). Both shorter than NAME_MAX_BYTES. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES];
    size_t n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[n];
}

static const option *find(const char *name, size_t n)
{
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        if (strlen(table[i].name) == n && strncmp(table[i].name, name, n) == 0)
            return &table[i];
    }
    return NULL;
}

/* The option a person may have meant: few edits away, or begun the same; NULL: none is near. */
static const option *nearest(const char *name, size_t n)
{
    if (n == 0 || n >= NAME_MAX_BYTES)
        return NULL;
    char copy[NAME_MAX_BYTES];
    memcpy(copy, name, n);
    copy[n] = '\0';
    const option *best = NULL;
    size_t least = 2 + n / 4;
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        size_t d = strncmp(table[i].name, copy, n) == 0 ? 1 : distance(copy, table[i].name);
        if (d < least) {
            least = d;
            best = &table[i];
        }
    }
    return best;
}

static void environment_name(const option *o, char name[NAME_MAX_BYTES])
{
    int at = snprintf(name, NAME_MAX_BYTES, "ATTND_%s", o->name);
    for (int i = 6; i < at; i++)
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
}

/* ---- sources ------------------------------------------------------------------------------------------------------------- */

static bool read_defaults(srv_options *options, char *error, size_t size)
{
    options->metrics_port = SRV_NO_PORT;
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        source from = { table[i].name, false, error, size };
        if (table[i].standard && !set(options, &table[i], table[i].standard, &from))
            return false;
    }
    return true;
}

static const char *look_up(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return *env + n + 1;
    }
    return NULL;
}

/* --help and --version are things to do, not settings, and images like to carry an ATTND_VERSION of their own. */
static bool is_command_only(const option *o)
{
    return o->offset == AT(help) || o->offset == AT(version);
}

static bool read_environment(srv_options *options, char *const *env, char *error, size_t size)
{
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        char name[NAME_MAX_BYTES];
        environment_name(&table[i], name);
        const char *value = is_command_only(&table[i]) ? NULL : look_up(env, name);
        if (!value || (table[i].offset == AT(port) && strncmp(value, "tcp://", 6) == 0))
            continue;
        source from = { name, true, error, size };
        if (!*value && table[i].type != LIST && table[i].type != FLAG)
            continue; /* set but empty: as good as unset */
        if (!set(options, &table[i], value, &from))
            return false;
    }
    return true;
}

static bool unknown_option(const char *argument, size_t n, char *error, size_t size)
{
    const option *near = strncmp(argument, "--", 2) == 0 && n > 2 ? nearest(argument + 2, n - 2) : NULL;
    int shown = n < 100 ? (int)n : 100;
    if (near)
        snprintf(error, size, "unknown option %.*s: did you mean --%s?", shown, argument, near->name);
    else
        snprintf(error, size, "unknown option %.*s: see attnd --help", shown, argument);
    return false;
}

/* One argument and, when it needs one, its value from the next. *i is left at the last argument used. */
static bool read_argument(srv_options *options, int argc, char *const *argv, int *i, bool *seen, char *error, size_t size)
{
    const char *argument = argv[*i];
    size_t n = strcspn(argument, "=");
    const option *o = strncmp(argument, "--", 2) == 0 ? find(argument + 2, n - 2) : NULL;
    if (!o)
        return unknown_option(argument, n, error, size);
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "--%s", o->name);
    source from = { name, false, error, size };
    const char *value = argument[n] == '=' ? argument + n + 1 : NULL;
    if (o->type == FLAG && !value)
        value = "true";
    if (!value) {
        if (*i + 1 >= argc) {
            snprintf(error, size, "%s needs a value: %s", name, o->argument);
            return false;
        }
        value = argv[++*i];
    }
    if (o->type == LIST && !seen[o - table])
        list_free((srv_list *)(void *)((char *)options + o->offset)); /* what the environment said */
    seen[o - table] = true;
    return set(options, o, value, &from);
}

bool srv_options_read(srv_options *options, int argc, char *const *argv, char *const *env, char *error, size_t size)
{
    *options = (srv_options){ 0 };
    bool seen[NUM_OPTIONS] = { false };
    if (!read_defaults(options, error, size) || !read_environment(options, env, error, size))
        return false;
    for (int i = 1; i < argc; i++) {
        if (!read_argument(options, argc, argv, &i, seen, error, size))
            return false;
    }
    return true;
}

void srv_options_free(srv_options *options)
{
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        void *member = (char *)options + table[i].offset;
        if (table[i].type == LIST)
            list_free(member);
        else if (table[i].type == TEXT || table[i].type == CHOICE)
            attn_free(*(char **)member);
    }
    *options = (srv_options){ 0 };
}

void srv_options_help(FILE *out)
{
    fputs("attnd [options] - serves what transformers attend to, over HTTP\n\n"
          "Each option is also an environment variable (--max-batch is ATTND_MAX_BATCH; lists separated by commas or spaces);\n"
          "a later source wins: default, environment, command line.\n\n",
          out);
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        const option *o = &table[i];
        fprintf(out, "  --%s%s%s\n        %s", o->name, o->argument ? " " : "", o->argument ? o->argument : "", o->help);
        if (o->standard)
            fprintf(out, " (default: %s)", o->standard);
        fputc('\n', out);
    }
}

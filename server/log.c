/* log.c - see log.h. A line is built in a buffer on the stack and written at once, so that lines of several threads never mix; what does not fit is cut.
 *
 * Whoever reads the log may stop doing so, and a full pipe makes writers wait: then lines are lost and counted, and the service goes on. The descriptor stays as it
 * is, since O_NONBLOCK would be that of all who share it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES = 4096, /* PIPE_BUF: a write of this much to a pipe is not split, and does not wait where poll sees room */
    PATIENCE_MS = 500  /* for a reader that is slow; one that has used it up is not waited for again until it has read */
};

/* Set once before other threads start, read by all. */
static srv_level lowest = SRV_INFO;
static bool as_json = false;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void srv_log_setup(srv_level level, bool json)
{
    lowest = level;
    as_json = json;
}

bool srv_level_from_name(const char *name, srv_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (srv_level)i;
            return true;
        }
    }
    return false;
}

/* A line in the making; two bytes are kept for what closes it. */
typedef struct line {
    char *dst;
    size_t used, size;
    bool full; /* something did not fit */
} line;

static void put(line *l, const char *s, size_t n)
{
    l->full |= l->used + n + 2 > l->size;
    if (l->full)
        return;
    memcpy(l->dst + l->used, s, n);
    l->used += n;
}

static void put_string(line *l, const char *s)
{
    put(l, s, strlen(s));
}

static void put_escaped(line *l, const char *s)
{
    char code[8];
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            code[0] = '\\';
            code[1] = (char)c;
            put(l, code, 2);
        } else if (c < 0x20 || c >= 0x7f) {
            put(l, code, (size_t)snprintf(code, sizeof code, "\\u%04x", c));
        } else {
            put(l, s, 1);
        }
    }
}

static bool is_plain(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s <= ' ' || *s >= 0x7f || *s == '"' || *s == '\\' || *s == '=')
            return false;
    }
    return true;
}

static void put_value(line *l, bool json, const srv_field *field)
{
    char number[32];
    if (!field->text) {
        if (field->thousandths)
            snprintf(number, sizeof number, "%" PRIu64 ".%03" PRIu64, field->number / 1000, field->number % 1000);
        else
            snprintf(number, sizeof number, "%" PRIu64, field->number);
        put_string(l, number);
    } else if (!json && is_plain(field->text)) {
        put_string(l, field->text);
    } else {
        put(l, "\"", 1);
        put_escaped(l, field->text);
        put(l, "\"", 1);
    }
}

static void put_field(line *l, bool json, const srv_field *field)
{
    /* A field is whole or not there: a cut string would spoil the line for whoever parses it. */
    size_t before = l->used;
    put_string(l, json ? ",\"" : " ");
    put_string(l, field->name);
    put_string(l, json ? "\":" : "=");
    put_value(l, json, field);
    if (l->full)
        l->used = before;
    l->full = false;
}

size_t srv_log_format(char *dst, size_t size, bool json, uint64_t unix_ms, srv_level level, const char *event, const srv_field *fields, size_t count)
{
    line l = { dst, 0, size, false };
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char stamp[96];
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + n, sizeof stamp - n, ".%03uZ", (unsigned)(unix_ms % 1000));
    put_string(&l, json ? "{\"time\":\"" : "");
    put_string(&l, stamp);
    put_string(&l, json ? "\",\"level\":\"" : " ");
    put_string(&l, level_names[level]);
    put_string(&l, json ? "\",\"event\":\"" : " ");
    put_string(&l, event);
    put_string(&l, json ? "\"" : "");
    for (size_t i = 0; i < count; i++)
        put_field(&l, json, &fields[i]);
    if (json)
        l.dst[l.used++] = '}';
    l.dst[l.used++] = '\n';
    return l.used;
}

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER; /* guards what follows, and the room that poll saw */
static bool held_up;
static uint64_t lost;

static void write_all(const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, n);
        if (written <= 0)
            return; /* nowhere left to say so */
        bytes += written;
        n -= (size_t)written;
    }
}

static uint64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Under the lock. */
static bool has_room(void)
{
    struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
    held_up = poll(&out, 1, held_up ? 0 : PATIENCE_MS) == 0;
    return !held_up;
}

static void write_line(const char *bytes, size_t n)
{
    char text[256];
    pthread_mutex_lock(&writing);
    if (has_room() && lost > 0) {
        srv_field field = { .name = "lines", .number = lost };
        write_all(text, srv_log_format(text, sizeof text, as_json, unix_ms(), SRV_WARN, "lost", &field, 1));
        lost = 0;
        has_room();
    }
    if (held_up)
        lost++;
    else
        write_all(bytes, n);
    pthread_mutex_unlock(&writing);
}

void srv_log(srv_level level, const char *event, const srv_field *fields, size_t count)
{
    if (level < lowest)
        return;
    char text[LINE_BYTES];
    write_line(text, srv_log_format(text, sizeof text, as_json, unix_ms(), level, event, fields, count));
}

void srv_log_message(srv_level level, const char *event, const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    srv_field field = { .name = "message", .text = message };
    srv_log(level, event, &field, 1);
}

void srv_log_plain(const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text - 1, fmt, ap);
    va_end(ap);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof text - 1 ? (size_t)n : sizeof text - 2;
    for (size_t i = 0; i < length; i++) { /* names out of files may hold anything, and this goes to a terminal */
        unsigned char c = (unsigned char)text[i], next = i + 1 < length ? (unsigned char)text[i + 1] : 0;
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && next >= 0x80 && next < 0xA0))
            text[i] = ' ';
    }
    text[length] = '\n';
    write_line(text, length + 1);
}

bool srv_log_is_terminal(void)
{
    return !as_json && lowest <= SRV_INFO && isatty(STDERR_FILENO);
}

void srv_log_status(const char *fmt, ...)
{
    static const char rewrite[] = "\r\x1b[K"; /* to the begin of the line; clear what is behind (ECMA-48) */
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    write_all(rewrite, sizeof rewrite - 1);
    write_all(text, strlen(text));
}

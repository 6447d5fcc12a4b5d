/* pattern.c - regular expressions through PCRE2, just in time compiled where the system lets it. See pattern.h.
 *
 * Ruby's syntax differs from PCRE2's in a few signs: classes within classes ("[^(\s|[.,])]") are unions, \h is a hexadecimal digit, \w has marks and
 * Latin-1's fractions, \s has no U+180E, (?m) lets the dot match newlines, and \p{Han} is a script without its extensions. They are rewritten; what cannot
 * be is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pattern.h"

#include <string.h>
#include <time.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    PATTERN_MAX = 65536,     /* bytes */
    REWRITTEN_MAX = 40,      /* bytes that one sign may become */
    STEPS = 1000000,         /* that one attempt to match may take, and STEPS_PER_BYTE of the text more */
    STEPS_PER_BYTE = 4,      /* a run of spaces is walked back once for each alternative */
    HEAP_KIB = 1024,         /* for one attempt, where the just-in-time stack is too small */
    ATTEMPTS_AT_A_TIME = 64, /* places where a match is tried before the clock is looked at */
    SEARCHES_A_LOOK = 16,
};
#define TIME_NS          2000000000u /* of the processor, for all searches of a text, and */
#define TIME_PER_BYTE_NS 2000u

struct attn_pattern {
    pcre2_general_context *memory;
    pcre2_compile_context *settings;
    pcre2_code *code;
};

struct attn_matcher {
    pcre2_match_data *data;
    pcre2_match_context *limits;
    uint64_t deadline; /* of the thread's processor time */
    unsigned searches;
};

static void *take_malloc(PCRE2_SIZE n, void *context)
{
    (void)context;
    return attn_malloc(n);
}

static void give_free(void *block, void *context)
{
    (void)context;
    attn_free(block);
}

/* ---- Ruby's syntax ---- */

typedef struct rewriter {
    const char *in;
    size_t length, at;
    char *out;
    size_t written;
    unsigned depth; /* of classes */
    const char *refused;
} rewriter;

static void put(rewriter *r, const char *s, size_t n)
{
    memcpy(r->out + r->written, s, n);
    r->written += n;
}

static void put_text(rewriter *r, const char *s)
{
    put(r, s, strlen(s));
}

static bool ahead(const rewriter *r, const char *s)
{
    size_t n = strlen(s);
    return r->length - r->at >= n && memcmp(r->in + r->at, s, n) == 0;
}

static pcre2_code *compile(const attn_pattern *p, const char *text, size_t length, uint32_t options, int *error, PCRE2_SIZE *place)
{
    return pcre2_compile((PCRE2_SPTR)text, length, options | PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_USE_OFFSET_LIMIT, error, place, p->settings);
}

/* \p{Han}: PCRE2 takes the name of a script for its extensions, unless told otherwise. */
static void rewrite_property(rewriter *r, const attn_pattern *p)
{
    char script[64];
    int error;
    PCRE2_SIZE place;
    const char *close = memchr(r->in + r->at, '}', r->length - r->at);
    size_t n = close ? (size_t)(close + 1 - r->in) - r->at : 0; /* of "\p{Name}" */
    if (n > 6 && n < sizeof script - 4 && r->in[r->at + 3] != '^' && !memchr(r->in + r->at, ':', n)) {
        memcpy(script, r->in + r->at, 3);
        memcpy(script + 3, "sc:", 3);
        memcpy(script + 6, r->in + r->at + 3, n - 3);
        pcre2_code *known = compile(p, script, n + 3, PCRE2_UCP, &error, &place);
        put(r, known ? script : r->in + r->at, known ? n + 3 : n);
        pcre2_code_free(known);
    } else {
        n = 2;
        put(r, r->in + r->at, n);
    }
    r->at += n;
}

static void rewrite_escape(rewriter *r, const attn_pattern *p)
{
    static const struct {
        char sign;
        const char *outside, *inside; /* a class; NULL: cannot be written */
    } signs[] = {
        { 's', "\\p{White_Space}", "\\p{White_Space}" },
        { 'S', "\\P{White_Space}", "\\P{White_Space}" },
        { 'h', "[0-9A-Fa-f]", "0-9A-Fa-f" },
        { 'H', "[^0-9A-Fa-f]", NULL },
        { 'w', "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE]", "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE" },
        { 'W', "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE]", NULL },
    };
    char sign = r->at + 1 < r->length ? r->in[r->at + 1] : '\0';
    if ((sign == 'p' || sign == 'P') && r->at + 2 < r->length && r->in[r->at + 2] == '{') {
        rewrite_property(r, p);
        return;
    }
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (signs[i].sign == sign) {
            const char *text = r->depth ? signs[i].inside : signs[i].outside;
            if (text)
                put_text(r, text);
            else
                r->refused = "\\W or \\H in a class";
            r->at += 2;
            return;
        }
    size_t n = attn_least(2, r->length - r->at);
    put(r, r->in + r->at, n);
    r->at += n;
}

/* A bracket, opening or closing, or a sign that has a meaning in classes alone. */
static void rewrite_class(rewriter *r)
{
    bool inner = r->depth > 0;
    if (inner && ahead(r, "[:")) {
        const char *end = memmem(r->in + r->at, r->length - r->at, ":]", 2);
        size_t n = end ? (size_t)(end + 2 - r->in) - r->at : 2;
        put(r, r->in + r->at, n);
        r->at += n;
    } else if (r->in[r->at] == '[') {
        if (inner && ahead(r, "[^"))
            r->refused = "a negated class within a class";
        size_t n = ahead(r, "[^") ? 2 : 1;
        if (!inner)
            put(r, r->in + r->at, n);
        r->at += n;
        r->depth++;
    } else {
        if (--r->depth == 0)
            put(r, "]", 1);
        r->at++;
    }
}

/* (?m: and its like: the dot matches newlines, which is s elsewhere. */
static void rewrite_group(rewriter *r)
{
    put(r, "(?", 2);
    r->at += 2;
    size_t flags = strspn(r->in + r->at, "imx-");
    if (flags == 0 || r->at + flags >= r->length || !strchr(":)", r->in[r->at + flags]))
        return;
    for (size_t i = 0; i < flags; i++, r->at++)
        put(r, r->in[r->at] == 'm' ? "s" : r->in + r->at, 1);
}

static void rewrite(rewriter *r, const attn_pattern *p)
{
    while (r->at < r->length) {
        char c = r->in[r->at];
        if (c == '\\') {
            rewrite_escape(r, p);
        } else if (c == '[' || (c == ']' && r->depth > 0)) {
            rewrite_class(r);
        } else if (r->depth == 0 && ahead(r, "(?")) {
            rewrite_group(r);
        } else {
            if (r->depth > 0 && ahead(r, "&&"))
                r->refused = "an intersection of classes";
            put(r, &c, 1);
            r->at++;
        }
    }
}

/* ---- opening ---- */

static attn_status compile_literal(attn_pattern *p, const attn_node *n, attn_text text)
{
    int error;
    PCRE2_SIZE place;
    p->code = compile(p, text.bytes, text.length, PCRE2_LITERAL, &error, &place);
    return p->code ? ATTN_OK : attn_fail_memory(n->err);
}

static attn_status compile_regex(attn_pattern *p, const attn_node *n, attn_text text)
{
    int error = 0;
    PCRE2_SIZE place = 0;
    rewriter r = { .in = text.bytes, .length = text.length, .out = attn_malloc(text.length * REWRITTEN_MAX + 1) };
    if (!r.out)
        return attn_fail_memory(n->err);
    attn_status st = ATTN_OK;
    rewrite(&r, p);
    if (r.refused)
        st = attn_node_fail(n, ATTN_E_UNSUPPORTED, "%s is not known", r.refused);
    else
        p->code = compile(p, r.out, r.written, PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &place);
    attn_free(r.out);
    if (st != ATTN_OK || p->code)
        return st;
    char why[160];
    if (error == PCRE2_ERROR_HEAP_FAILED)
        return attn_fail_memory(n->err);
    pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
    return attn_node_fail(n, ATTN_E_UNSUPPORTED, "not a pattern that PCRE2 takes: %s", why);
}

attn_status attn_pattern_open(attn_pattern **out, const attn_node *n)
{
    attn_status st = attn_node_need(n, JSON_OBJECT);
    attn_node regex = attn_node_member(n, "Regex"), literal = attn_node_member(n, "String");
    const attn_node *which = regex.value ? &regex : &literal;
    if (st == ATTN_OK && !which->value)
        st = attn_node_fail(n, ATTN_E_FORMAT, "neither Regex nor String");
    if (st == ATTN_OK)
        st = attn_node_need(which, JSON_STRING);
    if (st != ATTN_OK)
        return st;
    attn_text text = attn_node_text(which);
    if (text.length > PATTERN_MAX)
        return attn_node_fail(which, ATTN_E_UNSUPPORTED, "a pattern of more than %d bytes", PATTERN_MAX);
    attn_pattern *p = attn_calloc(1, sizeof *p);
    if (p)
        p->memory = pcre2_general_context_create(take_malloc, give_free, NULL);
    if (p && p->memory)
        p->settings = pcre2_compile_context_create(p->memory);
    if (p && p->settings) {
        pcre2_set_newline(p->settings, PCRE2_NEWLINE_LF);
        st = regex.value ? compile_regex(p, which, text) : compile_literal(p, which, text);
    } else {
        st = attn_fail_memory(n->err);
    }
    if (st == ATTN_OK)
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* where it fails, pcre2_match interprets */
    if (st != ATTN_OK) {
        attn_pattern_close(p);
        p = NULL;
    }
    *out = p;
    return st;
}

void attn_pattern_close(attn_pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    pcre2_compile_context_free(p->settings);
    pcre2_general_context_free(p->memory);
    attn_free(p);
}

/* ---- matching ---- */

static void *take_arena(PCRE2_SIZE n, void *arena)
{
    return attn_arena_take(arena, n, 1);
}

static void leave(void *block, void *arena)
{
    (void)block;
    (void)arena;
}

/* The interpreter's stack doubles up to its limit, and the arena keeps all of them. */
size_t attn_matcher_bytes(void)
{
    return (2 * (size_t)HEAP_KIB << 10) + 16384;
}

static uint64_t processor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static attn_matcher *matcher_new(attn_encoder *e)
{
    attn_matcher *m = attn_arena_take(e->arena, 1, sizeof *m);
    pcre2_general_context *memory = pcre2_general_context_create(take_arena, leave, e->arena);
    if (!m || !memory)
        return NULL;
    *m = (attn_matcher){ .data = pcre2_match_data_create(1, memory), .limits = pcre2_match_context_create(memory) };
    if (!m->data || !m->limits)
        return NULL;
    uint64_t steps = STEPS + e->reach.bytes * STEPS_PER_BYTE;
    pcre2_set_match_limit(m->limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    pcre2_set_heap_limit(m->limits, HEAP_KIB);
    m->deadline = processor_ns() + TIME_NS + e->reach.bytes * TIME_PER_BYTE_NS;
    return m;
}

static attn_status too_much(attn_encoder *e, const char *what)
{
    return attn_fail(e->err, ATTN_E_INPUT, e->field, "a pattern of the tokenizer takes too %s for this text", what);
}

/* One search from `position`, of a limited number of places. */
static int search(const attn_pattern_scan *s, attn_matcher *m, size_t *last)
{
    *last = s->length - s->position > ATTEMPTS_AT_A_TIME ? s->position + ATTEMPTS_AT_A_TIME : s->length;
    pcre2_set_offset_limit(m->limits, *last);
    int rc = pcre2_match(s->pattern->code, (PCRE2_SPTR)s->text, s->length, s->position, PCRE2_NO_UTF_CHECK, m->data, m->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(s->pattern->code, (PCRE2_SPTR)s->text, s->length, s->position, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data, m->limits);
    return rc;
}

/* Asking for the time is dear: after a search that found something, only now and then. */
static attn_status look(attn_encoder *e, bool found)
{
    attn_matcher *m = e->matcher;
    if (found && ++m->searches % SEARCHES_A_LOOK > 0)
        return ATTN_OK;
    attn_status st = attn_encoder_look(e);
    return st == ATTN_OK && processor_ns() > m->deadline ? too_much(e, "long") : st;
}

static attn_status failure(attn_encoder *e, int rc)
{
    if (rc == PCRE2_ERROR_NOMEMORY)
        return attn_fail_memory(e->err);
    return too_much(e, rc == PCRE2_ERROR_HEAPLIMIT ? "much memory" : "many steps");
}

/* Behind `last`, where the next place to try begins; beyond the text when there is none. */
static size_t step_on(const attn_pattern_scan *s, size_t last)
{
    size_t next = last + 1;
    while (next < s->length && ((unsigned char)s->text[next] & 0xC0) == 0x80)
        next++;
    return next;
}

attn_status attn_pattern_next(attn_pattern_scan *s, attn_encoder *e, bool *found, size_t *start, size_t *end)
{
    attn_status st = ATTN_OK;
    *found = false;
    if (!e->matcher && !(e->matcher = matcher_new(e)))
        return attn_fail_memory(e->err);
    while (st == ATTN_OK && !s->done && !*found) {
        size_t last;
        int rc = search(s, e->matcher, &last);
        const PCRE2_SIZE *where = pcre2_get_ovector_pointer(e->matcher->data);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return failure(e, rc);
        if (rc >= 0 && where[0] == where[1] && s->matched && where[0] == s->position)
            last = s->position; /* empty, at the end of the last match: look on behind the next code point */
        else if (rc >= 0)
            *found = true;
        if (*found) {
            *start = where[0];
            *end = s->position = where[1];
        } else {
            s->position = step_on(s, last);
        }
        s->matched = *found;
        s->done = s->position > s->length;
        st = look(e, *found);
    }
    return st;
}

size_t attn_pattern_least(const attn_pattern *p)
{
    uint32_t points = 0;
    return pcre2_pattern_info(p->code, PCRE2_INFO_MINLENGTH, &points) == 0 ? points : 0;
}

attn_status attn_pattern_open_replacing(attn_pattern **out, const attn_node *n)
{
    attn_text text = { .length = 0 };
    *out = NULL;
    attn_status st = attn_node_string(n, "Regex", &text);
    if (st == ATTN_OK && memmem(text.bytes, text.length, "\\K", 2))
        st = attn_node_fail(n, ATTN_E_UNSUPPORTED, "\\K is not known");
    if (st == ATTN_OK)
        st = attn_pattern_open(out, n);
    if (st == ATTN_OK && attn_pattern_least(*out) == 0)
        st = attn_node_fail(n, ATTN_E_UNSUPPORTED, "a pattern that may match nothing");
    return st;
}

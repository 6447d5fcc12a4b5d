/* hub_id.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hub_id.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json_reader.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool srv_hub_fail(srv_hub_error *error, const char *fmt, ...)
{
    if (error->set)
        return false;
    error->set = true;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error->text, sizeof error->text, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- names --------------------------------------------------------------------------------------------------------------- */

static bool contains(const char *s, size_t n, const char *what)
{
    size_t m = strlen(what);
    for (size_t i = 0; i + m <= n; i++) {
        if (memcmp(s + i, what, m) == 0)
            return true;
    }
    return false;
}

static bool ends_with(const char *s, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

/* An organisation, a user or a model: 1 to 96 of letters, digits, '_', '-', '.'; neither '-' nor '.' at an end or twice in a row. */
static bool is_part(const char *s, size_t n)
{
    if (n == 0 || n > 96 || contains(s, n, "--") || contains(s, n, "..") || ends_with(s, n, ".git"))
        return false;
    for (size_t i = 0; i < n; i++) {
        bool end = i == 0 || i == n - 1;
        if (!is_alnum(s[i]) && s[i] != '_' && (end || (s[i] != '-' && s[i] != '.')))
            return false;
    }
    return true;
}

/* git's rules for a reference, as git-check-ref-format(1) has them, for ASCII. */
static bool is_revision(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n >= SRV_HUB_REVISION_BYTES || contains(s, n, "..") || contains(s, n, "@{") || s[n - 1] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] <= ' ' || s[i] > '~' || strchr("~^:?*[\\", s[i]))
            return false;
    }
    for (const char *part = s;; part++) {
        size_t m = strcspn(part, "/");
        if (m == 0 || part[0] == '.' || ends_with(part, m, ".lock"))
            return false;
        part += m;
        if (!*part)
            return true;
    }
}

bool srv_hub_id_parse(srv_hub_id *id, const char *text)
{
    size_t org = strcspn(text, "/@");
    if (text[org] != '/')
        return false;
    const char *name = text + org + 1;
    size_t n = strcspn(name, "@");
    const char *revision = name[n] == '@' ? name + n + 1 : "main";
    if (!is_part(text, org) || !is_part(name, n) || !is_revision(revision))
        return false;
    snprintf(id->repo, sizeof id->repo, "%.*s/%.*s", (int)org, text, (int)n, name);
    snprintf(id->revision, sizeof id->revision, "%s", revision);
    return true;
}

static bool is_hex(const char *s, size_t n)
{
    return strspn(s, "0123456789abcdef") >= n;
}

bool srv_hub_is_commit(const char *text)
{
    return strlen(text) == 40 && is_hex(text, 40);
}

bool srv_hub_is_file_name(const char *name, size_t n)
{
    if (n == 0 || n >= SRV_HUB_NAME_BYTES || name[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
            return false;
    }
    return true;
}

bool srv_hub_etag_parse(char etag[SRV_HUB_ETAG_BYTES], const char *header)
{
    const char *s = strncmp(header, "W/", 2) == 0 ? header + 2 : header;
    s += *s == '"';
    size_t n = strcspn(s, "\"");
    if ((n != 40 && n != 64) || !is_hex(s, n))
        return false;
    memcpy(etag, s, n);
    etag[n] = '\0';
    return true;
}

void srv_hub_folder(char folder[SRV_HUB_REPO_BYTES + 16], const srv_hub_id *id)
{
    size_t org = strcspn(id->repo, "/");
    snprintf(folder, SRV_HUB_REPO_BYTES + 16, "models--%.*s--%s", (int)org, id->repo, id->repo + org + 1);
}

/* Everything but RFC 3986's unreserved characters becomes %XX. dst has room for 3 bytes each and a NUL. */
static void escape(char *dst, const char *s)
{
    for (; *s; s++) {
        if (is_alnum(*s) || strchr("-._~", *s))
            *dst++ = *s;
        else
            dst += snprintf(dst, 4, "%%%02X", (unsigned char)*s);
    }
    *dst = '\0';
}

char *srv_hub_url(attn_arena *arena, const char *endpoint, const srv_hub_id *id, const char *revision, const char *file)
{
    char at[3 * SRV_HUB_REVISION_BYTES], name[3 * SRV_HUB_NAME_BYTES];
    escape(at, revision);
    escape(name, file);
    return srv_hub_text(arena, "%s/%s/resolve/%s/%s", endpoint, id->repo, at, name);
}

char *srv_hub_text(attn_arena *arena, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *text = n < 0 ? NULL : attn_arena_take(arena, (size_t)n + 1, 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return text;
}

bool srv_hub_range_start(const char *header, uint64_t *start)
{
    if (strncmp(header, "bytes ", 6) != 0)
        return false;
    uint64_t n = 0;
    const char *s = header + 6;
    size_t digits = strspn(s, "0123456789");
    for (size_t i = 0; i < digits && digits <= 18; i++)
        n = n * 10 + (uint64_t)(s[i] - '0');
    *start = n;
    return digits > 0 && digits <= 18 && s[digits] == '-';
}

/* ---- the index ------------------------------------------------------------------------------------------------------------ */

static int compare(const char *name, attn_text text)
{
    int order = strncmp(name, text.bytes, text.length);
    return order ? order : name[text.length] != '\0';
}

/* Puts a name where it belongs, if it is not there. */
static bool add_shard(srv_hub_shards *shards, attn_arena *arena, attn_text name, srv_hub_error *error)
{
    size_t low = 0, high = shards->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(shards->names[middle], name);
        if (order == 0)
            return true;
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    if (shards->count == SRV_HUB_MOST_SHARDS)
        return srv_hub_fail(error, "its index names more than %d shards", SRV_HUB_MOST_SHARDS);
    char *copy = attn_arena_copy(arena, name.bytes, name.length);
    if (!copy)
        return srv_hub_fail(error, "no memory");
    memmove(shards->names + low + 1, shards->names + low, (shards->count - low) * sizeof *shards->names);
    shards->names[low] = copy;
    shards->count++;
    return true;
}

static bool read_weight_map(srv_hub_shards *shards, api_json *j, attn_arena *arena, srv_hub_error *error)
{
    attn_text tensor, name;
    for (bool more = api_json_open_object(j) && api_json_next_key(j, &tensor); more; more = api_json_next_key(j, &tensor)) {
        if (!api_json_string(j, &name))
            return false;
        if (!srv_hub_is_file_name(name.bytes, name.length))
            return srv_hub_fail(error, "its index has a shard for a tensor that is not the name of a file in the model's folder");
        if (!add_shard(shards, arena, name, error))
            return false;
    }
    return api_json_ok(j);
}

bool srv_hub_shards_read(srv_hub_shards *shards, attn_arena *arena, const char *text, size_t n, srv_hub_error *error)
{
    api_problem problem = { .code = API_OK };
    api_json j;
    attn_text key;
    *shards = (srv_hub_shards){ .names = attn_arena_take(arena, SRV_HUB_MOST_SHARDS, sizeof(char *)) };
    if (!shards->names)
        return srv_hub_fail(error, "no memory");
    api_json_init(&j, text, n, arena, &problem);
    for (bool more = api_json_open_object(&j) && api_json_next_key(&j, &key); more; more = api_json_next_key(&j, &key)) {
        bool map = key.length == 10 && memcmp(key.bytes, "weight_map", 10) == 0;
        if (!(map ? read_weight_map(shards, &j, arena, error) : api_json_skip(&j)))
            break;
    }
    if (!error->set && !(api_json_ok(&j) && api_json_finish(&j)))
        return srv_hub_fail(error, "its index is damaged: %.300s", problem.detail);
    if (shards->count == 0)
        return srv_hub_fail(error, "its index has no weight_map that names a shard");
    return !error->set;
}

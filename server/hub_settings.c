/* hub_settings.c - see the header. An empty variable is as good as none. Facts from huggingface_hub 2.4's constants and token look-up.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hub_settings.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char public_endpoint[] = "https://huggingface.co";

enum { PATIENCE_SECONDS = 10, MOST_SECONDS = 86400, MOST_TOKEN = 4096 };

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_on(const char *name)
{
    static const char *const yes[] = { "1", "on", "yes", "true" };
    const char *value = variable(name);
    for (size_t i = 0; value && i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(value, yes[i]) == 0)
            return true;
    }
    return false;
}

/* A path with "~" for HOME at its begin. NULL: no memory, or no HOME. */
static const char *expand(attn_arena *arena, const char *path)
{
    if (path[0] != '~' || (path[1] && path[1] != '/'))
        return path;
    const char *home = variable("HOME");
    return home ? srv_hub_text(arena, "%s%s", home, path + 1) : NULL;
}

/* HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface. */
static const char *home_folder(attn_arena *arena)
{
    const char *home = variable("HF_HOME"), *xdg = variable("XDG_CACHE_HOME");
    if (!home)
        home = xdg ? srv_hub_text(arena, "%s/huggingface", xdg) : "~/.cache/huggingface";
    return home ? expand(arena, home) : NULL;
}

static const char *cache_folder(attn_arena *arena)
{
    const char *cache = variable("HF_HUB_CACHE"), *older = variable("HUGGINGFACE_HUB_CACHE");
    if (cache || older)
        return expand(arena, cache ? cache : older);
    const char *home = home_folder(arena);
    return home ? srv_hub_text(arena, "%s/hub", home) : NULL;
}

static bool read_seconds(long *seconds, const char *name, srv_hub_error *error)
{
    const char *value = variable(name);
    *seconds = PATIENCE_SECONDS;
    if (!value)
        return true;
    char *end = NULL;
    *seconds = strtol(value, &end, 10);
    if (*end || *seconds < 1 || *seconds > MOST_SECONDS)
        return srv_hub_fail(error, "%s: \"%.40s\" is not a whole number of seconds from 1 to %d", name, value, MOST_SECONDS);
    return true;
}

/* The first bytes of a file. NULL: there is none, or no memory. */
static const char *read_start(attn_arena *arena, const char *path)
{
    char *bytes = attn_arena_take(arena, MOST_TOKEN + 1, 1);
    int fd = bytes ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, MOST_TOKEN);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return NULL;
    bytes[n] = '\0';
    return bytes;
}

static const char *token_file(attn_arena *arena)
{
    const char *path = variable("HF_TOKEN_PATH");
    if (path)
        return expand(arena, path);
    const char *home = home_folder(arena);
    return home ? srv_hub_text(arena, "%s/token", home) : NULL;
}

/* HF_TOKEN, its older name, or the file that `hf auth login` writes; without the white space around it. What is left becomes part of a header. */
static bool read_token(const char **token, attn_arena *arena, srv_hub_error *error)
{
    static const char space[] = " \t\r\n";
    const char *found = variable("HF_TOKEN"), *where = "HF_TOKEN";
    if (!found)
        found = variable("HUGGING_FACE_HUB_TOKEN");
    if (!found) {
        where = token_file(arena);
        found = where ? read_start(arena, where) : NULL;
    }
    *token = NULL;
    if (!found)
        return true;
    found += strspn(found, space);
    size_t n = strlen(found);
    while (n > 0 && strchr(space, found[n - 1]))
        n--;
    for (size_t i = 0; i < n; i++) {
        if (found[i] <= ' ' || found[i] > '~')
            return srv_hub_fail(error, "%s: its token has characters that no token has", where);
    }
    *token = n > 0 ? attn_arena_copy(arena, found, n) : NULL;
    return n == 0 || *token || srv_hub_fail(error, "no memory");
}

static bool read_endpoint(const char **endpoint, attn_arena *arena, srv_hub_error *error)
{
    const char *value = variable("HF_ENDPOINT");
    *endpoint = public_endpoint;
    if (!value)
        return true;
    if (strncmp(value, "http://", 7) != 0 && strncmp(value, "https://", 8) != 0)
        return srv_hub_fail(error, "HF_ENDPOINT: \"%.200s\" does not begin with https:// or http://", value);
    size_t n = strlen(value);
    while (value[n - 1] == '/')
        n--;
    *endpoint = attn_arena_copy(arena, value, n);
    return *endpoint || srv_hub_fail(error, "no memory");
}

bool srv_hub_settings_read(srv_hub_settings *s, attn_arena *arena, srv_hub_error *error)
{
    *s = (srv_hub_settings){ .offline = is_on(variable("HF_HUB_OFFLINE") ? "HF_HUB_OFFLINE" : "TRANSFORMERS_OFFLINE") };
    if (!read_endpoint(&s->endpoint, arena, error) || !read_token(&s->token, arena, error) || !read_seconds(&s->answer_seconds, "HF_HUB_ETAG_TIMEOUT", error) ||
        !read_seconds(&s->stall_seconds, "HF_HUB_DOWNLOAD_TIMEOUT", error))
        return false;
    s->cache = cache_folder(arena);
    return s->cache || srv_hub_fail(error, "there is no place for a cache: neither HF_HUB_CACHE nor HF_HOME nor HOME is set");
}

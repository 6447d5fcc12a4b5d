/* pages.c - what is answered from inside the program: the explorer, the contract.
 *
 * They change with the program alone, so a browser may keep them and ask whether they are still the same (RFC 9110, 13.1.2). The tag is weak: it is the same for
 * compressed bytes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "handlers.h"

#include <stdio.h>
#include <string.h>

typedef struct page {
    const char *name, *begin, *end;
} page;

extern const page api_explorer_files[];
extern const char api_openapi_json[], api_openapi_json_end[], api_openapi_yaml[], api_openapi_yaml_end[], api_docs_html[], api_docs_html_end[];

/* The pages of one name each. */
static const page pages[] = {
    { "/openapi.json", api_openapi_json, api_openapi_json_end },
    { "/openapi.yaml", api_openapi_yaml, api_openapi_yaml_end },
    { "/docs", api_docs_html, api_docs_html_end },
    { NULL, NULL, NULL },
};

/* The explorer runs what came with it, talks to this server, and that is all. /docs says the like of itself, in its head. */
static const char explorer_policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
                                      "base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

static const char *type_of(const char *name)
{
    static const char *const types[][2] = {
        { ".html", "text/html; charset=utf-8" }, { ".css", "text/css; charset=utf-8" }, { ".js", "text/javascript; charset=utf-8" },
        { ".json", "application/json" },         { ".yaml", "application/yaml" },       { ".svg", "image/svg+xml" },
    };
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof types / sizeof *types; i++)
        if (strcmp(ending, types[i][0]) == 0)
            return types[i][1];
    return "text/html; charset=utf-8"; /* "/docs" */
}

static const page *find(const page *list, const char *name)
{
    while (list->name && strcmp(list->name, name) != 0)
        list++;
    return list->name ? list : NULL;
}

/* FNV-1a (Fowler, Noll, Vo). */
static void write_tag(const page *p, char dst[32])
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *c = p->begin; c < p->end; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    snprintf(dst, 32, "W/\"%016llx\"", (unsigned long long)hash);
}

/* Does a list of tags have this one? Strong ones compare weakly here. */
static bool is_known(const char *list, const char *tag)
{
    return list && (strcmp(list, "*") == 0 || strstr(list, tag + 2));
}

static attn_status send_page(api_call *call, const page *p, const char *policy)
{
    char tag[32];
    api_out out;
    write_tag(p, tag);
    bool known = is_known(call->request->if_none_match, tag);
    size_t length = known ? 0 : (size_t)(p->end - p->begin);
    api_head head = { .status = known ? 304 : 200, .content_type = type_of(p->name), .has_length = !known, .length = length, .etag = tag, .policy = policy };
    api_out_init(&out, call->reply, head);
    api_out_bytes(&out, p->begin, length);
    return api_call_finish(call, &out, ATTN_OK, NULL);
}

attn_status api_handle_page(api_call *call)
{
    return send_page(call, find(pages, call->route->path), NULL);
}

attn_status api_handle_explorer(api_call *call)
{
    const char *path = call->request->path, *name = path[1] ? path + sizeof "/explorer/" - 1 : "index.html";
    const page *p = find(api_explorer_files, name);
    if (p)
        return send_page(call, p, explorer_policy);
    api_fail(&call->problem, API_NOT_FOUND, NULL, "there is nothing at %.200s", path);
    return ATTN_E_INPUT;
}

/* probe.c - see probe.h. With the hub the one place where the server is a client.
 * SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PROBE_SECONDS = 5 }; /* a server that takes longer to say "ready" is not */

static size_t discard(char *bytes, size_t size, size_t count, void *ctx)
{
    (void)bytes;
    (void)ctx;
    return size * count;
}

/* Is the host of this URL this machine, by address or by the name that means it? */
static bool is_loopback(const char *url)
{
    static const char *const hosts[] = { "127.", "[::1]", "localhost" };
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t n = strcspn(host, "/?#"); /* behind user:password@, as curl reads it */
    for (size_t i = 0; i < n; i++) {
        if (host[i] == '@')
            return false;
    }
    if (strncmp(host, hosts[0], 4) == 0)
        return strspn(host, "0123456789.") == strcspn(host, ":/?#");
    for (size_t i = 1; i < sizeof hosts / sizeof *hosts; i++) {
        size_t length = strlen(hosts[i]);
        if (strncmp(host, hosts[i], length) == 0 && (host[length] == '\0' || strchr(":/?#", host[length])))
            return true;
    }
    return false;
}

static void set_trust(CURL *curl, const char *url, const char *trusted)
{
    long verify = is_loopback(url) ? 0L : 1L;
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, verify);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2 * verify);
    if (trusted)
        curl_easy_setopt(curl, CURLOPT_CAINFO, trusted);
}

static int ask(CURL *curl, const char *url, char *error, size_t size)
{
    long status = 0;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* it is asked for itself */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)PROBE_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        snprintf(error, size, "%s: %s", url, curl_easy_strerror(code));
        return 1;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        snprintf(error, size, "%s: answered %ld, expected 200", url, status);
        return 1;
    }
    return 0;
}

/* The whole URL to ask for. False: it is too long. */
static bool make_url(const char *url, const char *scheme, char *whole, size_t size)
{
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    const char *path = n >= 7 && strncmp(url + n - 7, "/readyz", 7) == 0 ? "" : "/readyz";
    int written = snprintf(whole, size, "%s%.*s%s", strstr(url, "://") ? "" : scheme, (int)(n < size ? n : size), url, path);
    return written >= 0 && (size_t)written < size;
}

int srv_probe(const char *url, const char *trusted, char *error, size_t size)
{
    static const char file[] = "unix:";
    char whole[1024];
    bool local = strncmp(url, file, sizeof file - 1) == 0;
    if (!make_url(local ? "http://localhost" : url, trusted ? "https://" : "http://", whole, sizeof whole)) {
        snprintf(error, size, "the URL is too long");
        return 1;
    }
    CURL *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (!curl || (local && curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, url + sizeof file - 1) != CURLE_OK)) {
        snprintf(error, size, "no memory");
        return 1;
    }
    set_trust(curl, whole, trusted);
    int result = ask(curl, whole, error, size);
    if (result != 0 && local)
        snprintf(error, size, "%s: nobody who is ready answers there", url);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return result;
}

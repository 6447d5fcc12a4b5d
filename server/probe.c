/* probe.c - see probe.h. With the hub the one place where the server is a client.
 * SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

enum { PROBE_SECONDS = 5 }; /* a server that takes longer to say "ready" is not */

static size_t discard(char *bytes, size_t size, size_t count, void *ctx)
{
    (void)bytes;
    (void)ctx;
    return size * count;
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

int srv_probe(const char *url, char *error, size_t size)
{
    char whole[1024];
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    const char *path = n >= 7 && strncmp(url + n - 7, "/readyz", 7) == 0 ? "" : "/readyz";
    int written = snprintf(whole, sizeof whole, "%s%.*s%s", strstr(url, "://") ? "" : "http://", (int)(n < sizeof whole ? n : sizeof whole), url, path);
    if (written < 0 || (size_t)written >= sizeof whole) {
        snprintf(error, size, "the URL is too long");
        return 1;
    }
    CURL *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (!curl) {
        snprintf(error, size, "no memory");
        return 1;
    }
    int result = ask(curl, whole, error, size);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return result;
}

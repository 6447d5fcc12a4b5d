/* fuzz_keys.c - the key file: whatever is in it, it is taken or refused with a sentence that holds nothing of it, and a reload that fails changes nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
    if (!what)
        abort();
}

static void put(int fd, const void *bytes, size_t n)
{
    require(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n);
}

static bool opens(srv_keys *keys, const char *authorization)
{
    srv_key *key = srv_keys_find(keys, authorization);
    if (key)
        srv_key_drop(key);
    return key != NULL;
}

/* The first line of the file that is a key by the rules, written down once more: then it must open, if the file was taken. */
static void try_lines(srv_keys *keys, const char *data, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
    char line[512] = "Bearer ";
    size_t begin = 7, n = 0;
    bool plain = true;
    for (size_t i = 0; i <= size; i++) {
        if (i == size || data[i] == '\n') {
            if (plain && n >= SRV_KEY_LEAST_BYTES) {
                line[begin + n] = '\0';
                require(opens(keys, line));
                line[begin + n - 1] = '!'; /* which is in no key */
                require(!opens(keys, line));
                return;
            }
            n = 0;
            plain = true;
        } else if (!data[i] || !strchr(letters, data[i]) || begin + n + 2 > sizeof line) {
            plain = false;
        } else {
            line[begin + n++] = data[i];
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char good[] = "good-0123456789abcdef\n";
    char path[64], error[512] = "";
    int fd = memfd_create("keys", MFD_CLOEXEC);
    require(fd >= 0 && fchmod(fd, 0600) == 0); /* else it warns each time */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    put(fd, good, sizeof good - 1);
    srv_keys *keys = srv_keys_open(path, error, sizeof error);
    require(keys);
    put(fd, data, size);
    if (srv_keys_reload(keys, error, sizeof error)) {
        require(srv_keys_count(keys) > 0 && !*error);
        try_lines(keys, (const char *)data, size);
    } else {
        require(strncmp(error, "--api-key-file /proc/self/fd/", 29) == 0);
        require(srv_keys_count(keys) == 1 && opens(keys, "Bearer good-0123456789abcdef"));
    }
    char *header = malloc(size + 1);
    require(header);
    memcpy(header, data, size);
    header[size] = '\0';
    opens(keys, header);
    free(header);
    srv_keys_close(keys);
    close(fd);
    return 0;
}

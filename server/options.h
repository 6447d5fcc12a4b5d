/* options.h - what the program can be told, from three sources: defaults, environment, command line; a later one wins.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct srv_list {
    char **items; /* owned, as is each of them */
    size_t count;
} srv_list;

typedef struct srv_options {
    char *host;
    uint64_t port;
    srv_list models;  /* [NAME=]SOURCE, as given; empty: the built-in ones */
    uint64_t threads; /* 0: as many as CPUs are allowed */
    uint64_t queue;
    uint64_t timeout_ms;
    uint64_t drain_timeout_ms;
    uint64_t max_body_bytes;
    uint64_t max_tokens;
    uint64_t max_batch;
    uint64_t max_response_bytes;
    uint64_t max_memory_bytes; /* 0: half of what the machine or cgroup allows */
    uint64_t max_connections;
    uint64_t max_requests_per_key; /* 0: no limit */
    char *unix_socket;             /* NULL: none, as for the next three */
    char *tls_cert, *tls_key;
    char *api_key_file;
    char *seccomp;
    char *kernels;
    char *probe; /* NULL: serve */
    srv_list cors_origins;
    uint64_t metrics_port; /* SRV_NO_PORT: none */
    char *log_level;
    char *log_format;
    bool help, version, check;
} srv_options;

enum { SRV_NO_PORT = 65536 };

/* Reads all sources. `env` is like environ. False: `error` (of `size` bytes) holds one sentence naming the source. The options are to be freed either way. */
bool srv_options_read(srv_options *, int argc, char *const *argv, char *const *env, char *error, size_t size);
void srv_options_free(srv_options *);
void srv_options_help(FILE *);

#endif

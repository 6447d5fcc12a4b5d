/* metrics.h - what the server counts about itself, and the Prometheus text that says so.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef METRICS_H
#define METRICS_H

#include "api.h"
#include "out.h"

enum {
    SRV_MAX_ROUTES = 32,   /* api_routes() has fewer; the last is for everything else */
    SRV_NUM_METHODS = 5,   /* GET HEAD POST OPTIONS other */
    SRV_NUM_STATUSES = 24, /* those we send; the last is for everything else */
    SRV_NUM_BUCKETS = 16
};

typedef enum srv_stage { SRV_STAGE_QUEUE, SRV_STAGE_TOKENIZE, SRV_STAGE_COMPUTE, SRV_STAGE_ENCODE, SRV_STAGE_COUNT } srv_stage;

typedef struct srv_histogram {
    _Atomic uint64_t buckets[SRV_NUM_BUCKETS + 1]; /* not cumulative; the last is above every bound */
    _Atomic uint64_t sum_ns;
} srv_histogram;

/* All counters atomic, none depends on another. Zero is fresh. */
typedef struct srv_metrics {
    _Atomic uint64_t requests[SRV_MAX_ROUTES][SRV_NUM_METHODS][SRV_NUM_STATUSES];
    srv_histogram durations[SRV_MAX_ROUTES];
    srv_histogram stages[SRV_STAGE_COUNT];
    srv_histogram *models; /* one for each of the service; borrowed, NULL: none are kept */
    size_t num_models;
    _Atomic uint64_t problems[API_CODE_COUNT];
    _Atomic uint64_t bytes_in, bytes_out;
    _Atomic uint64_t cancelled, connections_total;
} srv_metrics;

/* One request that is over. */
typedef struct srv_observation {
    const char *method;
    const api_route *route; /* NULL: none */
    int status;             /* 0: the client went before there was an answer; counted as 499 */
    api_code outcome;
    uint64_t duration_ns;
    bool worked; /* it reached a worker: the stages are meant */
    uint64_t stage_ns[SRV_STAGE_COUNT];
    uint64_t bytes_in, bytes_out;
    size_t model; /* counted from 1; 0: none */
} srv_observation;

void srv_metrics_observe(srv_metrics *, const srv_observation *);

struct srv_server;
void srv_metrics_write(struct srv_server *, api_out *);
/* The part that comes from srv_metrics alone. */
void srv_metrics_write_counts(srv_metrics *, api_out *);

#endif

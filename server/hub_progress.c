/* hub_progress.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hub_progress.h"

#include <inttypes.h>

#include "attn_base.h"
#include "log.h"

enum { TERMINAL_MS = 200, LINE_MS = 10000 };

void srv_hub_progress_begin(srv_hub_progress *p, const char *model, uint64_t done, uint64_t total)
{
    uint64_t now = attn_clock_ns();
    *p = (srv_hub_progress){ .model = model, .done = done, .total = total, .begun_done = done, .begun_ns = now, .terminal = srv_log_is_terminal() };
    p->shown_ns = now;
}

void srv_hub_progress_file(srv_hub_progress *p, const char *file)
{
    p->file = file;
}

/* Bytes a second since the begin. */
static uint64_t speed(const srv_hub_progress *p)
{
    uint64_t ms = (attn_clock_ns() - p->begun_ns) / 1000000;
    return p->done > p->begun_done ? (p->done - p->begun_done) * 1000 / (ms ? ms : 1) : 0;
}

static unsigned percent(const srv_hub_progress *p)
{
    return p->done >= p->total ? 100 : (unsigned)(p->done / (p->total / 100 + 1));
}

static void log_line(const srv_hub_progress *p, const char *event)
{
    srv_field fields[] = {
        { .name = "model", .text = p->model }, { .name = "file", .text = p->file },         { .name = "bytes", .number = p->done },
        { .name = "of", .number = p->total },  { .name = "percent", .number = percent(p) }, { .name = "bytes_per_second", .number = speed(p) },
    };
    srv_log(SRV_INFO, event, fields, sizeof fields / sizeof *fields);
}

static void show(const srv_hub_progress *p)
{
    const uint64_t mega = 1000000;
    if (p->terminal)
        srv_log_status("%s %s: %3u %% of %" PRIu64 ".%" PRIu64 " MB, %" PRIu64 ".%" PRIu64 " MB/s", p->model, p->file, percent(p), p->total / mega,
                       p->total / (mega / 10) % 10, speed(p) / mega, speed(p) / (mega / 10) % 10);
    else
        log_line(p, "downloading");
}

void srv_hub_progress_move(srv_hub_progress *p, int64_t bytes)
{
    uint64_t now = attn_clock_ns();
    p->done += (uint64_t)bytes;
    if (p->total < p->done)
        p->total = p->done; /* a file whose size nobody said */
    if (now - p->shown_ns < (p->terminal ? (uint64_t)TERMINAL_MS : (uint64_t)LINE_MS) * 1000000)
        return;
    p->shown_ns = now;
    show(p);
}

void srv_hub_progress_pause(const srv_hub_progress *p)
{
    if (p->terminal)
        srv_log_status("%s", "");
}

void srv_hub_progress_end(srv_hub_progress *p)
{
    srv_hub_progress_pause(p);
    uint64_t ms = (attn_clock_ns() - p->begun_ns) / 1000000;
    srv_field fields[] = {
        { .name = "model", .text = p->model },
        { .name = "bytes", .number = p->done > p->begun_done ? p->done - p->begun_done : 0 },
        { .name = "seconds", .number = ms, .thousandths = true },
    };
    srv_log(SRV_INFO, "downloaded", fields, sizeof fields / sizeof *fields);
}

/* hub_progress.h - how far downloads are: one line rewritten on a terminal, elsewhere a log line now and then.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HUB_PROGRESS_H
#define HUB_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Strings are borrowed. */
typedef struct srv_hub_progress {
    const char *model, *file;
    uint64_t done, total; /* bytes of all files of this batch; done counts those that were there as well */
    uint64_t begun_done;  /* of done, when the clock began */
    uint64_t begun_ns, shown_ns;
    bool terminal;
} srv_hub_progress;

void srv_hub_progress_begin(srv_hub_progress *, const char *model, uint64_t done, uint64_t total);
void srv_hub_progress_file(srv_hub_progress *, const char *file);
/* The file has so many bytes more or, begun anew, fewer. Shows it when it is time. */
void srv_hub_progress_move(srv_hub_progress *, int64_t bytes);
/* Takes the line away, so that others can be written. */
void srv_hub_progress_pause(const srv_hub_progress *);
/* The last line: what came and how long it took. */
void srv_hub_progress_end(srv_hub_progress *);

#endif

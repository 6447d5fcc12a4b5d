/* model_fixture.h - for tests of models: one that is open, with an input and a place for errors. The ids are each test's own.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include "model_case.h"

typedef struct fixture {
    attn_runtime *rt;
    attn_model *model;
    golden_input g;
    uint8_t special[CASE_TOKENS];
    attn_analysis_tokens about; /* g's ids, and special */
    attn_error err;
} fixture;

/* table NULL: the kernels that this CPU gets. f->rt is NULL where it has not got those named, and nothing else is there then. */
static inline void fixture_open(fixture *f, const char *source, int threads, const char *table)
{
    memset(f, 0, sizeof *f);
    f->rt = runtime_with(threads, table);
    if (!f->rt)
        return;
    f->model = open_model(f->rt, source);
    f->about = (attn_analysis_tokens){ f->g.ids, f->special };
    attn_runtime_enter(f->rt);
}

static inline void fixture_free(fixture *f)
{
    attn_runtime_leave(f->rt);
    attn_model_close(f->model);
    attn_runtime_free(f->rt);
}

static inline void run_fine(fixture *f, const attn_keep *keep, kept_run *run, size_t *peak)
{
    memset(run, 0, sizeof *run);
    attn_status st = run_kept(f->model, &f->g.in, keep, run, NULL, peak, &f->err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", f->err.where, f->err.text);
}

#endif

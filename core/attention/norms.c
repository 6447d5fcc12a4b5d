/* attention/norms.c - how long values are, and how long what a head makes of them: value_norms and, times the weights, weighted_norms.
 *
 * The transformed value of key j in head h, v[j] @ W_O[h], is never kept: a task multiplies a few rows of values with the head's slice of the output
 * projection into scratch and keeps their lengths. Sums of squares are in double, where no square of a float overflows.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <math.h>

#include "attention/layer.h"

enum { ROWS = 64, LANES = 8 }; /* rows of values a task; sums side by side, so that they need not wait for each other */

typedef struct norms_job {
    const attn_layer_run *run;
    const attn_gemm *gemm;
    float *norms; /* [G or H, T_k] */
    size_t blocks;
    size_t panel_bytes, gemm_bytes, slot_bytes;
    unsigned char *scratch;
    atomic_bool overflow, cancelled, refused;
} norms_job;

/* False when the length is beyond float32. */
static bool norm_of(float *norm, const float *x, size_t n)
{
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    *norm = (float)sqrt(sum);
    return *norm <= FLT_MAX;
}

static attn_status report(norms_job *job, attn_output output, attn_error *err)
{
    if (atomic_load(&job->cancelled))
        return attn_fail(err, ATTN_E_CANCELLED, "", "the computation was called off");
    if (atomic_load(&job->refused))
        return attn_fail(err, ATTN_E_INTERNAL, attn_output_name(output), "a matrix product was refused");
    return atomic_load(&job->overflow) ? attn_fail(err, ATTN_E_OVERFLOW, attn_output_name(output), "the norm of a value is beyond float32") : ATTN_OK;
}

static void value_task(void *ctx, size_t g, int slot)
{
    (void)slot;
    norms_job *job = ctx;
    const attn_operator_input *in = job->run->in;
    const float *v = in->value.data + (ptrdiff_t)g * in->value.head_stride;
    if (!attn_layer_shows_group(job->run, g))
        return;
    for (size_t j = 0; j < in->T_k; j++)
        if (!norm_of(job->norms + g * in->T_k + j, v + (ptrdiff_t)j * in->value.row_stride, in->value_dim))
            atomic_store(&job->overflow, true);
}

attn_status attn_value_norms(const attn_layer_run *run, float *norms, attn_error *err)
{
    norms_job job = { .run = run, .norms = norms };
    attn_parallel(run->runtime, run->in->num_key_value_heads, value_task, &job);
    return report(&job, ATTN_VALUE_NORMS, err);
}

/* ---- behind the output projection --------------------------------------------------------------------------------------- */

/* False when it does not fit size_t. */
static bool plan(norms_job *job, const attn_runtime *runtime, const attn_layer_run *run)
{
    const attn_operator_input *in = run->in;
    const size_t rows = attn_least(ROWS, in->T_k);
    *job = (norms_job){ .run = run, .gemm = attn_runtime_gemm(runtime), .blocks = attn_ceil_div(in->T_k, ROWS) };
    size_t panels = attn_gemm_panel_bytes(job->gemm, in->output_dim, in->value_dim), packed = attn_gemm_scratch_bytes(job->gemm, rows, in->value_dim), product;
    if (panels == 0 || packed == 0 || panels > SIZE_MAX / 4 || packed > SIZE_MAX / 4 || !attn_mul(in->output_dim, rows * sizeof(float), &product))
        return false;
    job->panel_bytes = attn_round_up(panels, 64);
    job->gemm_bytes = attn_round_up(packed, 64);
    return attn_add(job->panel_bytes + job->gemm_bytes, product, &job->slot_bytes) && attn_add(job->slot_bytes, 63, &job->slot_bytes) &&
           (job->slot_bytes = job->slot_bytes / 64 * 64) > 0;
}

static attn_status multiply(const norms_job *job, size_t h, size_t first, size_t rows, unsigned char *scratch)
{
    const attn_layer_run *run = job->run;
    const attn_operator_input *in = run->in;
    size_t n = in->output_dim, k = in->value_dim, g = h / (in->num_attention_heads / in->num_key_value_heads);
    float *w = (float *)scratch, *packed = (float *)(scratch + job->panel_bytes), *y = (float *)(scratch + job->panel_bytes + job->gemm_bytes);
    if (run->w_o)
        attn_gemm_slice(job->gemm, w, run->w_o, h * k, k);
    else
        attn_gemm_pack(job->gemm, w, in->w_o + h * k * n, n, k, 1, (ptrdiff_t)n);
    const float *v = in->value.data + (ptrdiff_t)g * in->value.head_stride + (ptrdiff_t)first * in->value.row_stride;
    return attn_gemm_rows(job->gemm, y, n, v, (size_t)in->value.row_stride, rows, &(attn_panels){ w, n, k }, 0, n, 1.0f, packed);
}

static void transformed_task(void *ctx, size_t i, int slot)
{
    norms_job *job = ctx;
    const attn_operator_input *in = job->run->in;
    size_t h = i / job->blocks, first = i % job->blocks * ROWS, rows = attn_least(ROWS, in->T_k - first);
    unsigned char *scratch = job->scratch + (size_t)slot * job->slot_bytes;
    const float *y = (const float *)(scratch + job->panel_bytes + job->gemm_bytes);
    if (job->run->choice->slot[h] < 0)
        return;
    if (attn_cancelled(job->run->cancel)) {
        atomic_store(&job->cancelled, true);
        return;
    }
    if (multiply(job, h, first, rows, scratch) != ATTN_OK) {
        atomic_store(&job->refused, true);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        if (!norm_of(job->norms + h * in->T_k + first + r, y + r * in->output_dim, in->output_dim))
            atomic_store(&job->overflow, true);
}

attn_status attn_transformed_norms(const attn_layer_run *run, float *norms, attn_error *err)
{
    norms_job job;
    if (!plan(&job, run->runtime, run))
        return attn_fail_memory(err);
    attn_arena_mark mark = attn_arena_save(run->arena);
    job.norms = norms;
    job.scratch = attn_arena_take(run->arena, (size_t)attn_runtime_threads(run->runtime), job.slot_bytes);
    attn_status status;
    if (!job.scratch) {
        status = attn_fail_memory(err);
    } else {
        attn_parallel(run->runtime, run->in->num_attention_heads * job.blocks, transformed_task, &job);
        status = report(&job, ATTN_WEIGHTED_NORMS, err);
    }
    attn_arena_rewind(run->arena, mark);
    return status;
}

uint64_t attn_transformed_norms_bytes(const attn_runtime *runtime, const attn_layer_run *run)
{
    norms_job job;
    return plan(&job, runtime, run) ? attn_arena_bytes((uint64_t)attn_runtime_threads(runtime), job.slot_bytes) : UINT64_MAX;
}

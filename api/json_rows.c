/* json_rows.c - the numbers of a tensor as JSON, in parallel: the hot path of an answer.
 *
 * A run of rows is cut into tasks that each fill one block, about 4096 numbers; a wave of tasks runs on all threads, then the blocks go out in order.
 * As nested arrays, every row knows from its own number how many brackets open before it and close behind it: it opens axis a when the number is a multiple of
 * the rows that one element of axis a's array of arrays spans. A row longer than a block is cut into pieces. As base64, the whole tensor is one string:
 * tasks take whole groups of 3 numbers, and what is left of a slice (at most 2 numbers) waits in `carry` for the next one.
 * Numbers are written straight into the block; only base64 passes through a small buffer that stays in the cache.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "base64 carries the bytes as they lie in memory");

enum {
    SCRIBBLE = 64,             /* bytes the writers may touch behind what they return */
    NUMBER_BYTES = 16,         /* the longest shortest float32 and its comma: -1.17549435e-38, */
    TASKS_A_THREAD = 8,        /* in a wave: enough that one slow thread does not hold up the others */
    MAX_WAVE = 256,            /* blocks */
    BASE64_TASK_BYTES = 49152, /* 65536 characters; a multiple of 3 numbers of any width */
    STAGE_BYTES = 12288        /* of BASE64_TASK_BYTES at a time */
};

typedef struct job {
    api_encode *encode;
    const api_part *part;
    const api_rows *rows;
    attn_number_style style;
    api_dtype dtype;
    size_t width;               /* bytes of a number in base64 */
    size_t num_rows;            /* of this run */
    size_t spans[API_MAX_AXES]; /* rows that an array of axis a spans; num_spans of them, outermost first */
    size_t num_spans;
    size_t total_rows;                 /* of the whole part */
    size_t rows_a_task, pieces, piece; /* JSON: pieces of a row, numbers in a piece */
    size_t carried, usable;            /* base64: numbers waiting from before, numbers that make whole groups with them */
    size_t num_tasks, first_task;
    api_block *blocks[MAX_WAVE];
} job;

/* Bytes of one JSON number with its comma, at most, whatever the value. */
static size_t number_bytes(const api_plan *plan)
{
    size_t fixed = 12 + (size_t)plan->request->want.decimals; /* sign, nine digits, point, decimals, comma */
    return fixed > NUMBER_BYTES ? fixed : NUMBER_BYTES;
}

static bool is_base64(const api_plan *plan)
{
    return plan->request->want.encoding == API_ENCODING_BASE64;
}

/* ---- nested arrays -------------------------------------------------------------------------------------------------- */

static size_t opening(const job *j, size_t row)
{
    size_t n = 1;
    for (size_t a = j->num_spans; a > 0 && row % j->spans[a - 1] == 0; a--)
        n++;
    return n;
}

/* Where row r of the run begins; NULL for integers. */
static const float *row_data(const job *j, size_t r)
{
    return j->rows->matrix[r / j->part->rows] + (ptrdiff_t)(r % j->part->rows) * j->rows->row_stride;
}

/* Numbers [from, to) of row r, a comma behind each. */
static size_t write_numbers(const job *j, char *dst, size_t r, size_t from, size_t to)
{
    if (j->rows->ints)
        return attn_write_ints(dst, j->rows->ints + r * j->part->columns + from, to - from);
    return attn_write_floats(j->encode->runtime, dst, row_data(j, r) + from, to - from, j->style);
}

static size_t write_piece(const job *j, char *dst, size_t r, size_t from, size_t to)
{
    size_t row = j->rows->first + r, used = from == 0 ? opening(j, row) : 0;
    memset(dst, '[', used);
    used += write_numbers(j, dst + used, r, from, to);
    if (to < j->part->columns)
        return used;
    size_t closing = opening(j, row + 1);
    memset(dst + used - 1, ']', closing); /* the first in place of the last comma */
    used += closing - 1;
    if (row + 1 < j->total_rows)
        dst[used++] = ',';
    return used;
}

static size_t fill_json(const job *j, size_t task, char *dst)
{
    if (j->pieces > 1) {
        size_t r = task / j->pieces, from = task % j->pieces * j->piece, to = from + j->piece;
        return write_piece(j, dst, r, from, to < j->part->columns ? to : j->part->columns);
    }
    size_t used = 0, end = (task + 1) * j->rows_a_task;
    for (size_t r = task * j->rows_a_task; r < end && r < j->num_rows; r++)
        used += write_piece(j, dst + used, r, 0, j->part->columns);
    return used;
}

/* Room that one row's brackets and last comma take. */
static size_t bracket_bytes(const job *j)
{
    return 2 * (j->num_spans + 1) + 1;
}

static void cut_json(job *j)
{
    size_t number = number_bytes(j->encode->plan), room = API_BLOCK_BYTES - SCRIBBLE;
    size_t row = j->part->columns <= room / number ? j->part->columns * number + bracket_bytes(j) : SIZE_MAX;
    j->rows_a_task = room / row;
    j->piece = (room - bracket_bytes(j)) / number;
    j->pieces = j->rows_a_task > 0 ? 1 : attn_ceil_div(j->part->columns, j->piece);
    j->num_tasks = j->rows_a_task > 0 ? attn_ceil_div(j->num_rows, j->rows_a_task) : j->num_rows * j->pieces;
}

/* ---- base64 ------------------------------------------------------------------------------------------------------------ */

/* Numbers [from, to) of the run, those carried counted first, as bytes. */
static void gather(const job *j, unsigned char *dst, size_t from, size_t to)
{
    size_t columns = j->part->columns;
    for (size_t n; from < to; from += n, dst += n * j->width) {
        if (from < j->carried) {
            n = (j->carried < to ? j->carried : to) - from;
            memcpy(dst, j->encode->carry + from * j->width, n * j->width);
            continue;
        }
        size_t at = from - j->carried, left = columns - at % columns;
        n = to - from < left ? to - from : left;
        if (j->rows->ints)
            memcpy(dst, j->rows->ints + at, n * sizeof(int32_t));
        else
            api_pack_numbers(j->encode->runtime, j->dtype, dst, row_data(j, at / columns) + at % columns, n);
    }
}

static size_t fill_base64(const job *j, size_t task, char *dst)
{
    unsigned char stage[STAGE_BYTES];
    size_t at = task * (BASE64_TASK_BYTES / j->width), end = at + BASE64_TASK_BYTES / j->width, used = 0;
    if (end > j->usable)
        end = j->usable;
    for (size_t step = STAGE_BYTES / j->width; at < end; at += step) {
        size_t to = at + step < end ? at + step : end;
        gather(j, stage, at, to);
        used += attn_base64_encode(j->encode->runtime, dst + used, stage, (to - at) * j->width);
    }
    return used;
}

/* Whole groups only, until the tensor ends. */
static void cut_base64(job *j)
{
    size_t numbers = j->num_rows * j->part->columns;
    bool last = j->rows->first + j->num_rows == j->total_rows;
    j->carried = j->rows->first * j->part->columns % 3;
    j->usable = j->carried + numbers;
    if (!last)
        j->usable -= j->usable % 3;
    size_t task = BASE64_TASK_BYTES / j->width;
    j->num_tasks = attn_ceil_div(j->usable, task);
}

/* Keeps the numbers behind the last whole group. */
static void carry(const job *j)
{
    unsigned char left[sizeof j->encode->carry] = { 0 };
    gather(j, left, j->usable, j->carried + j->num_rows * j->part->columns);
    memcpy(j->encode->carry, left, sizeof left);
}

/* ---- both ---------------------------------------------------------------------------------------------------------------- */

static size_t fill(const job *j, size_t task, char *dst)
{
    return is_base64(j->encode->plan) ? fill_base64(j, task, dst) : fill_json(j, task, dst);
}

static void fill_block(void *ctx, size_t i, int slot)
{
    (void)slot;
    job *j = ctx;
    api_reply *reply = j->encode->out->reply;
    j->blocks[i] = reply->take(reply->ctx);
    if (j->blocks[i])
        j->blocks[i]->used = fill(j, j->first_task + i, j->blocks[i]->data);
}

static size_t wave_size(const attn_runtime *rt)
{
    size_t wave = TASKS_A_THREAD * (size_t)attn_runtime_threads(rt);
    return wave < MAX_WAVE ? wave : MAX_WAVE;
}

/* A run that fits one block goes into the current one. */
static void fill_current(job *j)
{
    size_t room;
    if (is_base64(j->encode->plan))
        room = (j->usable * j->width + 2) / 3 * 4 + SCRIBBLE;
    else
        room = j->num_rows * (j->part->columns * number_bytes(j->encode->plan) + bracket_bytes(j)) + SCRIBBLE;
    char *dst = api_out_reserve(j->encode->out, room);
    if (dst)
        api_out_commit(j->encode->out, fill(j, 0, dst));
}

static void run(job *j)
{
    api_out *out = j->encode->out;
    size_t wave = wave_size(j->encode->runtime);
    if (j->num_tasks == 1) {
        fill_current(j);
        return;
    }
    for (; j->first_task < j->num_tasks && out->status == ATTN_OK; j->first_task += wave) {
        size_t left = j->num_tasks - j->first_task, n = left < wave ? left : wave;
        attn_parallel(j->encode->runtime, n, fill_block, j);
        for (size_t i = 0; i < n; i++)
            api_out_block(out, j->blocks[i], i + 1 < n);
    }
}

static job make_job(api_encode *e, const api_part *part, const api_rows *rows)
{
    const api_return *want = &e->plan->request->want;
    job j = { .encode = e, .part = part, .rows = rows, .width = api_part_width(e->plan, part), .num_rows = rows->matrices * part->rows };
    j.dtype = want->dtype;
    j.style = (attn_number_style){ .decimals = want->decimals, .half = j.dtype == API_FLOAT16 };
    j.total_rows = part->slices * part->matrices * part->rows;
    size_t span = 1;
    j.num_spans = part->ndim - 1;
    for (size_t a = j.num_spans; a > 0; a--) {
        span *= part->dims[a - 1];
        j.spans[a - 1] = span;
    }
    return j;
}

void api_json_rows(api_encode *e, const api_part *part, const api_rows *rows)
{
    if (e->out->status != ATTN_OK)
        return;
    job j = make_job(e, part, rows);
    if (is_base64(e->plan)) {
        cut_base64(&j);
        run(&j);
        carry(&j);
    } else {
        cut_json(&j);
        run(&j);
    }
}

/* A wave and the block being filled; of a small answer, less: a task fills an eighth of its block or more, by the bound on what is to come. */
uint64_t api_encoder_blocks(const attn_runtime *rt, uint64_t response_bytes)
{
    uint64_t wave = wave_size(rt), tasks = response_bytes / (API_BLOCK_BYTES / 8);
    return ((tasks < wave ? tasks : wave) + 2) * sizeof(api_block);
}

/* Bytes of one number and its comma for this part: less than number_bytes where more is known. */
static size_t bound_number(const api_plan *plan, const api_part *part)
{
    const api_return *want = &plan->request->want;
    size_t decimals = (size_t)want->decimals;
    if (part->role == API_INDICES)
        return 11; /* ten digits */
    if (part->role != API_ANALYSIS && part->role != API_DROPPED && part->output == ATTN_ATTENTIONS)
        return decimals ? decimals + 3 : NUMBER_BYTES - 1; /* 0 to 1: no sign, one digit before the point */
    return number_bytes(plan);
}

uint64_t api_json_part_bytes(const api_plan *plan, const api_part *part)
{
    uint64_t rows = attn_times(part->slices, attn_times(part->matrices, part->rows)), numbers = attn_times(rows, part->columns), arrays = 1, brackets = 0;
    if (is_base64(plan))
        return attn_plus(attn_times(attn_plus(attn_times(numbers, api_part_width(plan, part)) / 3, 1), 4), 2);
    for (size_t a = 0; a < part->ndim; a++) { /* arrays of axis a: two brackets and a comma each */
        brackets = attn_plus(brackets, attn_times(arrays, 3));
        arrays = attn_times(arrays, part->dims[a]);
    }
    return attn_plus(attn_times(numbers, bound_number(plan, part)), brackets);
}

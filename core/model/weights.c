/* weights.c - from the tensors of a file to one block of memory in the form that the kernels read.
 *
 * Two passes over the bind table. Binding finds and checks every tensor, adds up the block, takes it, and says where in it everything will lie: memory that nobody
 * has touched is not there yet, so that costs next to nothing. Packing fills it, at once or when the model is first asked: a tensor is widened and packed a few
 * panels at a time, through a scratch of that size, by several threads, and its pages in the mapped file are given back: the weights are never held twice.
 * Pieces are given out in the table's order, so that a fault is reported of the first tensor that has one, whatever thread finds it.
 * Before either it is known what the model takes, and one that would not fit is refused before anything of it is converted. A table that the file repeats
 * under another name (a head that is the embeddings) is held once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/weights.h"
#include "math/runtime.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Which rows of a tensor: `length` of each group of `group`, from `start` on. */
typedef struct slice {
    size_t group, start, length;
} slice;

typedef struct binding {
    attn_tensor *tensor;
    void *target;
    unsigned store;
    size_t n, k;          /* what is kept: [n, k], or [n] with k = 1 */
    slice rows;           /* where the file has these n rows (transposed: columns) */
    size_t offset, bytes; /* in the block; 0 bytes: those of an earlier table, which holds the same */
    size_t left;          /* rows not filled yet, while packing */
} binding;

typedef struct attn_packing {
    attn_runtime *rt;
    const attn_kernels *kernels;
    const attn_gemm *gemm;
    const attn_bind_table *table;
    const attn_checkpoint *checkpoint;
    const attn_bind_sizes *sizes;
    binding *list;
    size_t count;
    size_t bytes; /* of the block */
    char *block;  /* where it begins */
    size_t rows;  /* of a matrix that are converted at a time: whole panels, about SOME_ROWS */
    size_t step;  /* elements of that, of whichever has most */
    attn_error *err;
} attn_packing;
typedef attn_packing binder;

enum { ALIGN = 64, HUGE_PAGE = 2 << 20, NAME = 256, SOME_ROWS = 192, MOST_PACKERS = 8 };

static size_t element_bytes(attn_dtype type)
{
    return type == ATTN_DTYPE_F32 ? 4 : 2;
}

/* ---- finding ---------------------------------------------------------------------------------------------------------- */

/* The name that LayerNorm's tensors had before they were called weight and bias; false when `name` is none of them. */
static bool old_name(char *dst, size_t n, const char *name)
{
    static const char *const pairs[][2] = { { "LayerNorm.weight", "LayerNorm.gamma" }, { "LayerNorm.bias", "LayerNorm.beta" } };
    size_t length = strlen(name);
    for (size_t i = 0; i < 2; i++) {
        size_t tail = strlen(pairs[i][0]);
        if (length >= tail && strcmp(name + length - tail, pairs[i][0]) == 0) {
            int w = snprintf(dst, n, "%.*s%s", (int)(length - tail), name, pairs[i][1]);
            return w > 0 && (size_t)w < n;
        }
    }
    return false;
}

static attn_tensor *find_name(const binder *b, const char *name)
{
    char prefixed[NAME], old[NAME];
    snprintf(prefixed, sizeof prefixed, "%s%s", b->table->prefix, name);
    attn_tensor *t = attn_checkpoint_find(b->checkpoint, name);
    if (!t)
        t = attn_checkpoint_find(b->checkpoint, prefixed);
    if (!t && old_name(old, sizeof old, name))
        t = attn_checkpoint_find(b->checkpoint, old);
    if (!t && old_name(old, sizeof old, prefixed))
        t = attn_checkpoint_find(b->checkpoint, old);
    return t;
}

/* The next of a line's names; NULL: there is none. */
static const char *next_name(char *dst, const char **names, size_t layer)
{
    char pattern[NAME];
    size_t length = *names ? strcspn(*names, "|") : 0;
    if (!*names || length >= sizeof pattern)
        return NULL;
    memcpy(pattern, *names, length);
    pattern[length] = '\0';
    *names = (*names)[length] ? *names + length + 1 : NULL;
    snprintf(dst, NAME, pattern, layer);
    return dst;
}

/* Under its other names a file holds it once more: that is no tensor that nobody asked for. */
static attn_tensor *find(const binder *b, const char *names, size_t layer)
{
    char name[NAME];
    attn_tensor *first = NULL;
    while (next_name(name, &names, layer)) {
        attn_tensor *t = find_name(b, name);
        if (t)
            t->used = true;
        if (!first)
            first = t;
    }
    return first;
}

static size_t kept_shape(const binder *b, const attn_bind *row, size_t shape[2])
{
    size_t rank = 0;
    while (rank < 2 && row->shape[rank] != ATTN_DIM_NONE) {
        shape[rank] = row->shape[rank] == ATTN_DIM_ONE ? 1 : b->sizes->dims[row->shape[rank]];
        rank++;
    }
    return rank;
}

/* Where the n rows of this line lie among the file's, `all` of them. */
static slice find_part(const binder *b, unsigned part, size_t n, size_t *all)
{
    const size_t *dims = b->sizes->dims;
    size_t Q = dims[ATTN_DIM_QUERY], K = dims[ATTN_DIM_KEY], F = dims[ATTN_DIM_FEED], G = dims[ATTN_DIM_GROUPS] ? dims[ATTN_DIM_GROUPS] : 1;
    switch (part) {
    case ATTN_PART_QUERY:
    case ATTN_PART_KEY:
    case ATTN_PART_VALUE:
        *all = Q + 2 * K;
        return (slice){ *all / G, (part == ATTN_PART_QUERY ? 0 : part == ATTN_PART_KEY ? Q : Q + K) / G, n / G };
    case ATTN_PART_GATE:
    case ATTN_PART_UP:
        *all = 2 * F;
        return (slice){ *all, part == ATTN_PART_GATE ? 0 : F, n };
    default:
        *all = n;
        return (slice){ n, 0, n };
    }
}

/* The shape that the file should have. */
static size_t expected_shape(const binder *b, const attn_bind *row, size_t shape[2])
{
    size_t all, rank = kept_shape(b, row, shape);
    (void)find_part(b, row->store & ATTN_PARTS, shape[0], &all);
    shape[0] = all;
    if (row->store & ATTN_STORE_TRANSPOSED) {
        shape[0] = shape[1];
        shape[1] = all;
    }
    return rank;
}

/* Named as its first name would be in this file. */
static attn_status missing(const binder *b, const attn_bind *row, size_t layer)
{
    char name[NAME] = "", prefixed[2 * NAME], shape[96];
    const char *names = row->name;
    size_t want[2] = { 0 };
    (void)next_name(name, &names, layer);
    attn_shape_text(shape, sizeof shape, want, expected_shape(b, row, want));
    bool with_prefix = false; /* name it as the file would */
    for (size_t i = 0; i < b->checkpoint->count && !with_prefix; i++)
        with_prefix = strncmp(b->checkpoint->tensors[i]->name, b->table->prefix, strlen(b->table->prefix)) == 0;
    snprintf(prefixed, sizeof prefixed, "%s%s", with_prefix ? b->table->prefix : "", name);
    return attn_fail(b->err, ATTN_E_FORMAT, attn_at(b->checkpoint->file, prefixed).text, "the tensor is missing, expected %s", shape);
}

static attn_status check(const binder *b, const attn_tensor *t, const attn_bind *row)
{
    size_t want[2] = { 0 }, rank = expected_shape(b, row, want);
    if (t->rank != rank || memcmp(t->shape, want, rank * sizeof *want) != 0) {
        char expected[96], found[96];
        attn_shape_text(expected, sizeof expected, want, rank);
        attn_shape_text(found, sizeof found, t->shape, t->rank);
        return attn_fail(b->err, ATTN_E_FORMAT, attn_at(t->file, t->name).text, "shape is %s, expected %s", found, expected);
    }
    if (t->type == ATTN_DTYPE_OTHER)
        return attn_fail(b->err, ATTN_E_UNSUPPORTED, attn_at(t->file, t->name).text, "dtype is %s, weights are read from F32, F16 and BF16", t->dtype);
    return ATTN_OK;
}

/* Bytes it takes in the block; 0 when it does not fit. */
static size_t stored_bytes(const binder *b, const binding *d)
{
    size_t count, bytes;
    if ((d->store & ATTN_STORE_KINDS) == ATTN_STORE_PANELS)
        return attn_gemm_panel_bytes(b->gemm, d->n, d->k);
    size_t size = (d->store & ATTN_STORE_KINDS) == ATTN_STORE_TABLE ? element_bytes(d->tensor->type) : sizeof(float);
    return attn_mul(d->n, d->k, &count) && attn_mul(count, size, &bytes) ? bytes : 0;
}

static bool is_table(const binding *d)
{
    return (d->store & ATTN_STORE_KINDS) == ATTN_STORE_TABLE;
}

/* Compared by pieces, whose pages are given back. */
static bool is_same(const attn_tensor *a, const attn_tensor *b)
{
    enum { PIECE = 1 << 20 };
    bool same = a->type == b->type && a->bytes == b->bytes;
    for (size_t i = 0; i < a->bytes && same && a != b; i += PIECE) {
        size_t n = attn_least(PIECE, a->bytes - i);
        same = memcmp(a->data + i, b->data + i, n) == 0;
        attn_file_drop(a->data + i, n);
        attn_file_drop(b->data + i, n);
    }
    return same;
}

/* An earlier table that is the same as the last of the list, under whatever name the file repeats it; NULL: there is none. */
static const binding *twin(const binder *b)
{
    const binding *d = &b->list[b->count - 1];
    for (const binding *e = b->list; e < d && is_table(d); e++)
        if (is_table(e) && e->bytes > 0 && e->n == d->n && e->k == d->k && is_same(e->tensor, d->tensor))
            return e;
    return NULL;
}

static attn_status resolve(binder *b, const attn_bind *row, size_t layer, char *base)
{
    attn_tensor *t = find(b, row->name, layer);
    if (!t)
        return row->store & ATTN_OPTIONAL ? ATTN_OK : missing(b, row, layer);
    attn_status st = check(b, t, row);
    if (st != ATTN_OK)
        return st;
    binding *d = &b->list[b->count++];
    size_t shape[2] = { 0 }, all, rank = kept_shape(b, row, shape);
    *d = (binding){ .tensor = t, .target = base + row->offset, .store = row->store, .n = shape[0], .k = rank == 2 ? shape[1] : 1, .offset = b->bytes };
    d->rows = find_part(b, row->store & ATTN_PARTS, d->n, &all);
    const binding *same = twin(b);
    if (same) {
        d->offset = same->offset;
        return ATTN_OK;
    }
    d->bytes = stored_bytes(b, d);
    if (d->bytes == 0 || !attn_add(b->bytes, d->bytes, &b->bytes) || !attn_add(b->bytes, ALIGN - 1, &b->bytes))
        return attn_fail_memory(b->err);
    b->bytes &= ~(size_t)(ALIGN - 1);
    b->step = attn_most(b->step, d->k * attn_least(d->n, b->rows));
    return ATTN_OK;
}

/* Whether the model has such a tensor at all. */
static bool is_there(const binder *b, const attn_bind *row)
{
    unsigned traits = (row->store & ATTN_TRAITS) >> 8;
    return (b->sizes->traits & traits) == traits;
}

static attn_status resolve_layers(binder *b, const attn_bind *row, const attn_bind_targets *to)
{
    bool decoder = row->store & ATTN_IN_DECODER;
    size_t L = decoder ? b->sizes->num_decoder_layers : b->sizes->num_layers, bytes = decoder ? b->table->decoder_layer_bytes : b->table->layer_bytes;
    char *layers = decoder ? to->decoder_layers : to->layers;
    attn_status st = ATTN_OK;
    for (size_t l = row->store & ATTN_NOT_FIRST ? 1 : 0; l < L && st == ATTN_OK; l++)
        st = resolve(b, row, l, layers + l * bytes);
    return st;
}

static attn_status resolve_all(binder *b, const attn_bind_targets *to)
{
    attn_status st = ATTN_OK;
    for (size_t r = 0; r < b->table->num_rows && st == ATTN_OK; r++) {
        const attn_bind *row = &b->table->rows[r];
        if (is_there(b, row))
            st = strstr(row->name, "%zu") ? resolve_layers(b, row, to) : resolve(b, row, 0, to->parts);
    }
    return st;
}

/* ---- filling ---------------------------------------------------------------------------------------------------------- */

static void widen(const attn_kernels *k, float *dst, const void *src, attn_dtype type, size_t n)
{
    if (type == ATTN_DTYPE_F32)
        memcpy(dst, src, n * sizeof *dst);
    else if (type == ATTN_DTYPE_F16)
        k->from_half(dst, src, n);
    else
        k->from_bfloat16(dst, src, n);
}

/* Those who pack: as many as threads, but few enough for memory, which takes scratch for each. */
typedef struct packers {
    const binder *b;
    pthread_mutex_t lock; /* of what follows, and of each binding's `left` */
    size_t binding, row;  /* the next piece */
    size_t fault;         /* the first binding with a number that is not finite, or the count */
    uint8_t *raw;         /* scratch of b->step elements for each packer: as in the file */
    float *wide;          /* and as float32 */
} packers;

/* What one of them has in hand: rows [first, first + rows) of what is kept of a binding. */
typedef struct piece {
    const binder *b;
    binding *d;
    size_t first, rows;
    uint8_t *raw;
    float *wide;
} piece;

static size_t packers_of(const binder *b)
{
    return attn_least(MOST_PACKERS, (size_t)attn_runtime_threads(b->rt));
}

/* n elements of the tensor as float32 at `to` of wide, by way of raw since a file aligns nothing. */
static void read_floats(const piece *p, size_t first, size_t n, size_t to)
{
    const attn_tensor *t = p->d->tensor;
    size_t size = element_bytes(t->type);
    const uint8_t *from = t->data + first * size;
    if (t->type != ATTN_DTYPE_F32)
        from = memcpy(p->raw, from, n * size);
    widen(p->b->kernels, p->wide + to, from, t->type, n);
}

/* The piece's rows into wide: [rows, k], or [k, rows] where the file has it transposed. False: one is not finite. */
static bool read_rows(const piece *p)
{
    const binding *d = p->d;
    const slice *s = &d->rows;
    bool transposed = d->store & ATTN_STORE_TRANSPOSED;
    size_t width = d->tensor->shape[1]; /* of a transposed one */
    for (size_t i = 0, run; i < p->rows; i += run) {
        size_t within = (p->first + i) % s->length, from = (p->first + i) / s->length * s->group + s->start + within;
        run = attn_least(p->rows - i, s->length - within);
        if (!transposed)
            read_floats(p, from * d->k, run * d->k, i * d->k);
        else
            for (size_t c = 0; c < d->k; c++)
                read_floats(p, c * width + from, run, c * p->rows + i);
    }
    return p->b->kernels->all_finite(p->wide, p->rows * d->k);
}

static void fill_floats(const piece *p, float *dst)
{
    for (size_t j = 0; (p->d->store & ATTN_STORE_PLUS_ONE) && j < p->rows * p->d->k; j++)
        p->wide[j] += 1;
    memcpy(dst, p->wide, p->rows * p->d->k * sizeof *dst);
}

static bool fill(const piece *p)
{
    const binding *d = p->d;
    unsigned kind = d->store & ATTN_STORE_KINDS;
    bool transposed = d->store & ATTN_STORE_TRANSPOSED;
    size_t at = p->first * d->k, size = element_bytes(d->tensor->type);
    char *block = p->b->block + d->offset;
    if (d->bytes == 0)
        return true; /* its twin is looked at */
    if (!read_rows(p))
        return false;
    if (kind == ATTN_STORE_PANELS)
        attn_gemm_pack(p->b->gemm, (float *)(void *)block + at, p->wide, p->rows, d->k, transposed ? 1 : (ptrdiff_t)d->k, transposed ? (ptrdiff_t)p->rows : 1);
    else if (kind == ATTN_STORE_TABLE)
        memcpy(block + at * size, d->tensor->data + at * size, p->rows * d->k * size);
    else
        fill_floats(p, (float *)(void *)block + at);
    return true;
}

/* The next piece; false: there is none, or what is left lies behind a fault. */
static bool take_piece(packers *all, piece *p)
{
    const binder *b = all->b;
    pthread_mutex_lock(&all->lock);
    bool taken = all->binding < all->fault;
    if (taken) {
        p->d = &b->list[all->binding];
        p->first = all->row;
        p->rows = attn_least(p->d->k == 1 ? b->step : b->rows, p->d->n - p->first);
        all->row += p->rows;
        if (all->row == p->d->n) {
            all->binding++;
            all->row = 0;
        }
    }
    pthread_mutex_unlock(&all->lock);
    return taken;
}

/* The last piece of a tensor gives its pages back. */
static void put_piece(packers *all, const piece *p, bool finite)
{
    pthread_mutex_lock(&all->lock);
    if (!finite)
        all->fault = attn_least(all->fault, (size_t)(p->d - all->b->list));
    p->d->left -= p->rows;
    bool is_last = p->d->left == 0;
    pthread_mutex_unlock(&all->lock);
    if (is_last)
        attn_file_drop(p->d->tensor->data, p->d->tensor->bytes);
}

static void pack_pieces(void *ctx, size_t i, int slot)
{
    (void)slot;
    packers *all = ctx;
    piece p = { .b = all->b, .raw = all->raw + i * all->b->step * sizeof(float), .wide = all->wide + i * all->b->step };
    while (take_piece(all, &p))
        put_piece(all, &p, fill(&p));
}

static attn_status fill_all(binder *b)
{
    size_t n = packers_of(b);
    packers all = { .b = b, .fault = b->count, .raw = attn_calloc(n, b->step * sizeof(float)), .wide = attn_calloc(n, b->step * sizeof(float)) };
    attn_status st = all.raw && all.wide ? ATTN_OK : attn_fail_memory(b->err);
    if (st == ATTN_OK) {
        for (size_t i = 0; i < b->count; i++)
            b->list[i].left = b->list[i].n;
        pthread_mutex_init(&all.lock, NULL);
        attn_parallel(b->rt, n, pack_pieces, &all);
        pthread_mutex_destroy(&all.lock);
    }
    if (st == ATTN_OK && all.fault < b->count) {
        const attn_tensor *t = b->list[all.fault].tensor;
        st = attn_fail(b->err, ATTN_E_FORMAT, attn_at(t->file, t->name).text, "holds a value that is not finite");
    }
    attn_free(all.raw);
    attn_free(all.wide);
    return st;
}

static const char *dtype_of(const binder *b)
{
    static const char *const names[] = { [ATTN_DTYPE_F32] = "float32", [ATTN_DTYPE_F16] = "float16", [ATTN_DTYPE_BF16] = "bfloat16" };
    for (size_t i = 1; i < b->count; i++)
        if (b->list[i].tensor->type != b->list[0].tensor->type)
            return "mixed";
    return names[b->list[0].tensor->type];
}

/* The block, the scratch, and the pages of a tensor that is being packed: what opening takes at most at a time. Of the next one, which another thread may have begun,
 * the system can take pages back: they are the file's. */
static uint64_t needed_bytes(const binder *b)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < b->count; i++)
        largest = b->list[i].tensor->bytes > largest ? b->list[i].tensor->bytes : largest;
    uint64_t scratch = attn_times(packers_of(b), attn_times(b->step, 2 * sizeof(float)));
    return attn_plus(attn_plus(b->bytes, ALIGN), attn_plus(scratch, largest));
}

static attn_status check_memory(const binder *b)
{
    uint64_t need = needed_bytes(b), there = b->rt->memory ? b->rt->memory : attn_memory_free();
    if (need <= there)
        return ATTN_OK;
    if (b->err && b->err->code == ATTN_OK) {
        b->err->need = need;
        b->err->limit = there;
    }
    return attn_fail(b->err, ATTN_E_LIMIT, b->checkpoint->file,
                     "the model takes %.2f GB of memory, %.2f GB of that its weights once packed, and %.2f GB are free", (double)need * 1e-9,
                     (double)b->bytes * 1e-9, (double)there * 1e-9);
}

/* The block's beginning, in huge pages where the system has them: a pass with few tokens reads it as fast as memory gives it, and walking the tables of small pages
 * costs some of that. What the block leaves of its last one stays small pages, so that no more memory is taken. */
static char *place_block(void *block, size_t bytes)
{
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGN;
    char *aligned = (char *)(((uintptr_t)block + align - 1) & ~(uintptr_t)(align - 1));
    if (bytes >= HUGE_PAGE)
        (void)madvise(aligned, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return aligned;
}

static void place(const binder *b, const binding *d)
{
    void *at = b->block + d->offset;
    unsigned kind = d->store & ATTN_STORE_KINDS;
    if (kind == ATTN_STORE_PANELS)
        *(attn_panels *)d->target = (attn_panels){ at, d->n, d->k };
    else if (kind == ATTN_STORE_TABLE)
        *(attn_table *)d->target = (attn_table){ at, d->tensor->type, d->n, d->k };
    else
        *(const float **)d->target = at;
}

static attn_status place_all(binder *b, attn_weights *out)
{
    out->block = attn_malloc(b->bytes + (b->bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGN));
    if (!out->block)
        return attn_fail_memory(b->err);
    b->block = place_block(out->block, b->bytes);
    for (size_t i = 0; i < b->count; i++) {
        place(b, &b->list[i]);
        out->parameters += b->list[i].bytes > 0 ? b->list[i].n * b->list[i].k : 0;
    }
    out->bytes = b->bytes;
    out->dtype = dtype_of(b);
    return ATTN_OK;
}

static void free_packing(binder *b)
{
    if (b)
        attn_free(b->list);
    attn_free(b);
}

attn_status attn_weights_bind(attn_weights *out, attn_runtime *rt, const attn_bind_table *table, const attn_checkpoint *c, const attn_bind_sizes *sizes,
                              const attn_bind_targets *to, attn_error *err)
{
    *out = (attn_weights){ 0 };
    binder *b = out->packing = attn_calloc(1, sizeof *b);
    if (!b)
        return attn_fail_memory(err);
    *b = (binder){ .rt = rt, .kernels = attn_runtime_table(rt), .gemm = attn_runtime_gemm(rt), .table = table, .checkpoint = c, .sizes = sizes, .err = err };
    size_t mr, nr;
    attn_gemm_tile(b->gemm, &mr, &nr);
    b->step = b->rows = attn_round_up(SOME_ROWS, mr);
    attn_status st = ATTN_OK;
    b->list = attn_calloc(table->num_rows * (sizes->num_layers + sizes->num_decoder_layers + 1), sizeof *b->list);
    if (!b->list)
        st = attn_fail_memory(err);
    if (st == ATTN_OK)
        st = resolve_all(b, to);
    if (st == ATTN_OK)
        st = check_memory(b);
    if (st == ATTN_OK)
        st = place_all(b, out);
    if (st != ATTN_OK)
        attn_weights_free(out);
    return st;
}

attn_status attn_weights_pack(attn_weights *w, attn_error *err)
{
    binder *b = w->packing;
    b->err = err;
    attn_status st = check_memory(b);
    if (st == ATTN_OK)
        st = fill_all(b);
    if (st == ATTN_OK) {
        free_packing(b);
        w->packing = NULL;
    }
    return st;
}

void attn_weights_free(attn_weights *w)
{
    free_packing(w->packing);
    attn_free(w->block);
    *w = (attn_weights){ 0 };
}

void attn_table_row(const attn_kernels *k, const attn_table *t, size_t row, float *dst)
{
    widen(k, dst, (const char *)t->data + row * t->cols * element_bytes(t->type), t->type, t->cols);
}

double attn_table_dot(const attn_kernels *k, const attn_table *t, size_t row, const float *x)
{
    if (t->type == ATTN_DTYPE_F32)
        return k->dot_row((const float *)t->data + row * t->cols, x, t->cols);
    const uint16_t *narrow = (const uint16_t *)t->data + row * t->cols;
    return t->type == ATTN_DTYPE_F16 ? k->dot_half(narrow, x, t->cols) : k->dot_bfloat16(narrow, x, t->cols);
}

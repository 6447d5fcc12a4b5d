/* gemm.h - matrix products on packed panels: y = x @ w^T, the shape that every linear layer, q.k and a.v has.
 *
 * One operand, the "weights" w [n, k], is packed into panels of MR rows, all of k one after another, KC at a time; model weights are packed once, at load. A kernel
 * of our own reads a panel and the rows of x where they lie; a micro-kernel of BLIS, called through its context, or the plain C one ("ref") reads NR rows of x that
 * were packed likewise and gives an MR x NR tile of y. gemm.c is the only file that includes blis.h.
 *
 * k is cut at the same places for any m, any n and any number of threads, so an element of y depends on its row of x and of w alone:
 * bits do not change with batching or threads.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_GEMM_H
#define ATTN_GEMM_H

#include "attn_base.h"
#include "attn_runtime.h"
#include "math/kernels.h"

typedef struct attn_gemm attn_gemm; /* a micro-kernel and its panel sizes */

/* The kernel that goes with a table: "ref" the plain one; "avx2" BLIS haswell 6x16; "avx512" our own 48x8. The contexts of BLIS are filled on the first
 * call, whatever CPU BLIS itself would find (it does not know the newer ones) and whatever BLIS_ARCH_TYPE says. NULL: the table is not known. Lives as long as the
 * process. */
const attn_gemm *attn_gemm_find(const attn_kernels *);
/* Another kernel with the same bits, to hold that one against: "avx512" BLIS skx 32x12. NULL: there is none. */
const attn_gemm *attn_gemm_twin(const attn_kernels *);
const char *attn_gemm_name(const attn_gemm *);                  /* "blis haswell 6x16" */
void attn_gemm_tile(const attn_gemm *, size_t *mr, size_t *nr); /* rows of w and rows of x in one tile */

/* w packed. `data` is 64-byte aligned, owned by whoever packed it. */
typedef struct attn_panels {
    const float *data;
    size_t n, k;
} attn_panels;

/* Bytes of the panels of [n, k]; 0 when it does not fit size_t. */
size_t attn_gemm_panel_bytes(const attn_gemm *, size_t n, size_t k);
/* Packs w, element (row, col) at w[row * row_stride + col * col_stride], into dst (64-byte aligned, attn_gemm_panel_bytes). The last panel is filled up
 * with zeros. A packed matrix may be filled piece by piece: rows from row0 on, a multiple of MR, go to dst + row0 * k. */
void attn_gemm_pack(const attn_gemm *, float *dst, const float *w, size_t n, size_t k, ptrdiff_t row_stride, ptrdiff_t col_stride);

/* dst = columns [first, first + k) of w, packed: attn_gemm_panel_bytes(w->n, k), which lie in one piece in each panel. */
void attn_gemm_slice(const attn_gemm *, float *dst, const attn_panels *w, size_t first, size_t k);

/* A sum over k is cut into pieces so long, the last one shorter, each a chain of its own; they are added up in their order. */
size_t attn_gemm_depth(const attn_gemm *, size_t k);

bool attn_gemm_packs(const attn_gemm *); /* whether x has to be packed */
/* Bytes of scratch for packing the x side of one product with m rows and this k; some, too, where nothing is packed. */
size_t attn_gemm_scratch_bytes(const attn_gemm *, size_t m, size_t k);

/* y[i][j] = alpha * sum_l x[i][l] * w[j][l] for i in [0, m), j in [j0, j1), on the calling thread. y row-major with row stride ldy, column j at
 * y[i * ldy + j]. j0 is a multiple of MR (attn_gemm_tile); j1 is too, or is n. x rows have stride ldx, columns contiguous. scratch: 64-byte aligned,
 * attn_gemm_scratch_bytes(m, k).
 * ATTN_E_INTERNAL when the sizes do not agree or do not fit BLIS's integers; BLIS itself would abort. m = 0 is fine. */
ATTN_MUST_CHECK attn_status attn_gemm_rows(const attn_gemm *, float *y, size_t ldy, const float *x, size_t ldx, size_t m, const attn_panels *, size_t j0,
                                           size_t j1, float alpha, float *scratch);

/* All columns, and of the sum only l in [l0, l1), one behind the other as if the other x were 0: x[i][l0] .. x[i][l1 - 1] alone are read. l0 < l1 <= k. */
ATTN_MUST_CHECK attn_status attn_gemm_part(const attn_gemm *, float *y, size_t ldy, const float *x, size_t ldx, size_t m, const attn_panels *, size_t l0,
                                           size_t l1, float *scratch);

/* The same in two steps, for those who use a packed x more than once. Rows of x from row0 on, a multiple of NR, go to dst + row0 * k. */
typedef struct attn_product {
    float *y; /* [m, ldy] */
    size_t ldy;
    const float *x; /* packed by attn_gemm_pack_rows, 64-byte aligned up to whole panels; or, where attn_gemm_packs says no, as it is: [m, ldx] */
    size_t ldx, m;
    attn_panels w;
    size_t j0, j1;
    size_t l0, l1; /* of the sum over l; a packed x holds these alone; l1 = 0: all of k */
    float alpha;
} attn_product;

void attn_gemm_pack_rows(const attn_gemm *, float *dst, const float *x, size_t ldx, size_t m, size_t k);
/* ATTN_OK or ATTN_E_INTERNAL, as attn_gemm_rows. */
ATTN_MUST_CHECK attn_status attn_gemm_check(const attn_gemm *, const attn_product *);
void attn_gemm_multiply(const attn_gemm *, const attn_product *); /* of a product that was checked */

/* A whole linear layer on the runtime's threads: y [m, n] = act(x [m, k] @ w^T + bias). bias [n] or NULL. Scratch from the arena, given back.
 * y must not overlap x. */
ATTN_MUST_CHECK attn_status attn_linear(attn_runtime *, float *y, size_t ldy, const float *x, size_t ldx, size_t m, const attn_panels *, const float *bias,
                                        attn_activation, attn_arena *, attn_error *);
/* Several on the same x, their y apart. */
typedef struct attn_linear_part {
    float *y; /* [m, w->n], row stride ldy */
    size_t ldy;
    const attn_panels *w; /* [n, k], k the same in all */
    const float *bias;    /* [n], or NULL */
    attn_activation act;
} attn_linear_part;
ATTN_MUST_CHECK attn_status attn_linears(attn_runtime *, const attn_linear_part *, size_t num_parts, const float *x, size_t ldx, size_t m, attn_arena *,
                                         attn_error *);
size_t attn_linear_bytes(const attn_runtime *, size_t m, size_t k); /* of arena, at most */

/* The parts of a runtime that core itself uses. */
const attn_kernels *attn_runtime_table(const attn_runtime *);
const attn_gemm *attn_runtime_gemm(const attn_runtime *);

#endif

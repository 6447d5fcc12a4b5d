/* attn_analyses.h - what a head does, in one number: each analysis with its formula, unit, range and paper.
 *
 * a[i][j] is the weight with which query i looks at key j, for one layer and head, of whole rows: a selection of queries or keys changes no analysis.
 * Query i stands at position p = i + query_offset among the keys (models: p = i); ids[p] is the token at p.
 *
 * Rows that count. A row counts when its query is no padding (attention_mask) and some weight in it is not 0; R is the set of them. Every per-head
 * analysis is the mean over R of a number per row, or over those rows of R in which the number exists ("where there is one"); where no row has it, it is 0.
 * Sums and means are taken in double. A key that a mask or causality hides weighs 0 and adds nothing, but it is still a key: under a causal mask
 * next_token exists and is 0. Ranges hold up to rounding: a row of weights sums to 1 within 1e-6.
 *
 * T = 1: entropy 0, confidence 1, mean_distance 0, self 1, previous_token, next_token 0 (there is none), first_token 1, special_tokens 1 or 0, duplicate_token,
 * induction 0, head_distance 0, rollout [[1]].
 *
 * Papers: Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers; Clark et al. 2019, What Does BERT Look At?; Ghader & Monz 2017, What does Attention
 * in Neural Machine Translation Pay Attention to?; Olsson et al. 2022, In-context Learning and Induction Heads; Vig & Belinkov 2019, Analyzing the Structure of
 * Attention in a Transformer Language Model; Voita et al. 2019, Analyzing Multi-Head Self-Attention; Wang et al. 2022, Interpretability in the Wild;
 * Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks. Where we differ from a paper, it is said.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_ANALYSES_H
#define ATTN_ANALYSES_H

#include "attn_base.h"

/* In the order in which they stand in an answer. */
typedef enum attn_analysis {
    ATTN_ENTROPY, /* - sum_j a[i][j] ln a[i][j], 0 ln 0 = 0; nats, [0, ln T_k]. How widely a head looks (Ghader & Monz 2017; Clark 2019, 3.3) */

    ATTN_CONFIDENCE, /* max_j a[i][j]; (0, 1], 0 where no row counts. (Voita 2019, who leave out the end-of-sentence token; we leave out no key, so that
                      * the number needs no knowledge of tokens) */

    ATTN_MEAN_DISTANCE, /* sum_j a[i][j] |p - j|; tokens, [0, T_k) where every p is a key (Vig & Belinkov 2019, for causal models, where |p - j| = p - j; they
                         * divide by the sum of all weights, which is the number of rows) */

    ATTN_SELF,           /* a[i][p], where there is a key p; [0, 1] (Clark 2019, 3.1) */
    ATTN_PREVIOUS_TOKEN, /* a[i][p - 1], where there is a key p - 1; [0, 1] (Clark 2019, 3.1) */
    ATTN_NEXT_TOKEN,     /* a[i][p + 1], where there is a key p + 1; [0, 1] (Clark 2019, 3.1) */
    ATTN_FIRST_TOKEN,    /* a[i][0], the sink; [0, 1] (Xiao 2023, who find that the first few tokens draw attention; we take the first alone) */

    ATTN_SPECIAL_TOKENS, /* sum of a[i][j] over keys j that are special tokens; [0, 1] (Clark 2019, 3.2, who show [SEP] and [CLS] apart). Needs is_special */

    ATTN_DUPLICATE_TOKEN, /* sum of a[i][j] over j < p with ids[j] = ids[p], where there is such a j; [0, 1] (Wang 2022: heads that look from a token back at
                           * the same token). Needs ids */

    ATTN_INDUCTION, /* sum of a[i][j] over 1 <= j <= p with ids[j - 1] = ids[p], the keys behind an earlier copy of the query's token, where there is one; [0, 1].
                     * (Olsson 2022, prefix matching: there the mean over random tokens said repeatedly, here over the tokens that are given.) Needs ids */

    ATTN_ROLLOUT, /* [T, T]: R_l = A_l R_(l-1), R_(-1) = 1, A_l = (W_l + 1) / 2 with rows scaled to sum 1, W_l the mean of all heads' weights of layer l,
                   * whatever heads and layers were asked for (those say which R_l are shown). Row i says from which input tokens what stands at i behind
                   * layer l has come; rows sum to 1 (Abnar & Zuidema 2020, 3). A row that sees no key looks at itself; padding is a row as any other. Needs
                   * T_q = T_k. Products are float32 (error 2e-6 measured), rows scaled to sum 1 after each */

    ATTN_HEAD_DISTANCE, /* [heads, heads]: mean of JS(a_g[i], a_h[i]) = H((a_g + a_h) / 2) - (H(a_g) + H(a_h)) / 2, H the entropy above, over the rows that count
                         * for both heads g and h; nats, [0, ln 2]; symmetric, diagonal 0. A difference of entropies: absolute error 2e-7 measured
                         * (Clark 2019, 6: the sum over tokens; here the mean, so that lengths compare) */
    ATTN_ANALYSIS_COUNT
} attn_analysis;

typedef uint32_t attn_analyses; /* a set: bit a is analysis a */
#define ATTN_ANALYSIS_BIT(a) (1u << (a))
/* One number a head. The others are matrices. */
#define ATTN_HEAD_ANALYSES  (ATTN_ANALYSIS_BIT(ATTN_ROLLOUT) - 1)
#define ATTN_TOKEN_ANALYSES (ATTN_ANALYSIS_BIT(ATTN_DUPLICATE_TOKEN) | ATTN_ANALYSIS_BIT(ATTN_INDUCTION))

const char *attn_analysis_name(attn_analysis); /* "entropy", ... as in the wire contract */

/* What is known of the tokens; lists [T_k], borrowed. */
typedef struct attn_analysis_tokens {
    const int32_t *ids;        /* NULL: unknown */
    const uint8_t *is_special; /* NULL: unknown */
} attn_analysis_tokens;

#endif

/* generate.h - inputs whose model goes on writing.
 *
 * All is planned for the most tokens that may come. Forms that are one document have all tokens chosen before anything is written; then the plan is made
 * again for those there are, and one run over all of them gives everything, like any other request (api_plan_again). An answer in lines is written while tokens
 * are chosen: what comes with the prompt, layer by layer; each new token's rows; and after a run over all of them what only that gives. API_SPAN_* say which.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_GENERATE_H
#define API_GENERATE_H

#include "plan.h"

/* Is what is generated written while tokens are chosen? */
bool api_generates_lines(const api_plan *);
/* Makes room in every input for the most tokens that there may be behind its prompt, and plans for as many of the token whose name is the longest. */
bool api_generate_prepare(api_call *, api_plan *);
/* Input b without what is generated. */
attn_model_input api_generate_prompt(const api_plan *, size_t b);
/* Where the next id goes, and the others behind it. */
int32_t *api_generate_ids(const api_plan *, size_t b);
/* There were n of them. */
void api_generate_ended(const api_plan *, size_t b, size_t n);
/* The words of what was generated into generated_text: what the whole sequence says behind what the prompt does. In the arena, reserved by
 * api_generate_prepare. */
ATTN_MUST_CHECK attn_status api_generate_text(const api_plan *, size_t b, attn_arena *, attn_error *);

/* From now on parts, lengths and keeps of input b are those of this span. `step` counts the tokens generated before. For answers in lines, where neither
 * queries nor keys are chosen nor maps pooled. */
void api_plan_span(const api_plan *, size_t b, api_span, size_t step);

/* Choosing all tokens of input b. */
attn_price api_generate_price(const api_plan *, size_t b);
/* Choosing them, handing their rows over, and the run behind them. */
attn_price api_generate_lines_price(const api_plan *, size_t b);

#endif

/* base/json_weight.h - what a JSON document becomes in memory, told before it is parsed.
 *
 * jansson keeps a value in 24 to 250 bytes, so "[0,0,0, ..." grows to twenty times its length: 100 MB of a hostile header would be gigabytes. Files of models
 * are weighed first, and one that weighs more than any real one does is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_JSON_WEIGHT_H
#define ATTN_JSON_WEIGHT_H

#include "attn_base.h"

/* The largest tokenizer there is (Gemma 3's, 33 MB: 262,144 pieces and 514,906 merges) weighs about 300 MB. */
#define ATTN_JSON_MOST ((uint64_t)640000000)

/* At least the bytes that jansson's tree of these n bytes takes; what is beyond ATTN_JSON_MOST is not counted. Anything may stand there. */
uint64_t attn_json_weight(const char *json, size_t n);

#endif

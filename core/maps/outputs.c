/* outputs.c - the names of what a computation gives, as in the wire contract.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_maps.h"

static const char *const names[] = {
    [ATTN_ATTENTIONS] = "attentions",
    [ATTN_SCORES] = "scores",
    [ATTN_RAW_SCORES] = "raw_scores",
    [ATTN_WEIGHTED_NORMS] = "weighted_norms",
    [ATTN_CONTEXT] = "context",
    [ATTN_QUERY] = "query",
    [ATTN_KEY] = "key",
    [ATTN_VALUE] = "value",
    [ATTN_VALUE_NORMS] = "value_norms",
    [ATTN_ATTN_OUTPUT] = "attn_output",
    [ATTN_HIDDEN_STATES] = "hidden_states",
};
_Static_assert(sizeof names / sizeof *names == ATTN_OUTPUT_COUNT, "every output has a name");

const char *attn_output_name(attn_output o)
{
    return names[o];
}

bool attn_output_is_map(attn_output o)
{
    return (ATTN_MAP_OUTPUTS & ATTN_BIT(o)) != 0;
}

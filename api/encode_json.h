/* encode_json.h - answers as application/json: the encoder, and the small pieces that other handlers write.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_ENCODE_JSON_H
#define API_ENCODE_JSON_H

#include "encoder.h"

extern const api_encoder api_json_encoder;

/* {"name": .., "architecture": .., "num_hidden_layers": .., "num_attention_heads": ..}, or null. */
void api_json_model(api_out *, const api_model *);
/* The tokens of a text: an array of objects. */
void api_json_tokens(api_out *, const attn_encoding *);
void api_json_text(api_out *, const char *s); /* a NUL-terminated string, quoted and escaped */

/* The numbers of a part: json_rows.c. */
void api_json_rows(api_encode *, const api_part *, const api_rows *);
uint64_t api_json_part_bytes(const api_plan *, const api_part *);

#endif

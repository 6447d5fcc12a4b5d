/* encode_json.h - answers as application/json: the encoder, and the pieces of it that other forms and handlers write.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_ENCODE_JSON_H
#define API_ENCODE_JSON_H

#include "encoder.h"

extern const api_encoder api_json_encoder, api_ndjson_encoder;

/* {"name": .., "architecture": .., "num_hidden_layers": .., "num_attention_heads": ..}, or null. */
void api_json_model(api_out *, const api_model *);
/* A token that was generated: an object. */
void api_json_generated(api_out *, const attn_tokenizer *, int32_t id);
/* "generated_text" of result b as a member, where there is a tokenizer; behind another one, or before the next. */
void api_json_generated_text(api_out *, const api_plan *, size_t b, bool follows);
/* The tokens of a text: an array of objects. */
void api_json_tokens(api_out *, const attn_encoding *);
void api_json_text(api_out *, const char *s); /* a NUL-terminated string, quoted and escaped */
/* What result b says beside its tensors, as members of an object: tokens, layers, heads, ... */
void api_json_echo(api_out *, const api_plan *, size_t b);
void api_json_shape(api_out *, const api_part *); /* [2,8,9,9] */
void api_json_axes(api_out *, const api_part *);  /* ["layer","head","query","key"] */

/* Everything of a tensor in JSON but its numbers; the first of a group opens it, the last closes it. Follows another member. */
void api_json_begin_part(api_encode *, const api_part *);
void api_json_end_part(api_encode *, const api_part *);
/* The numbers of a part: json_rows.c. */
void api_json_rows(api_encode *, const api_part *, const api_rows *);
uint64_t api_json_part_bytes(const api_plan *, const api_part *);

#endif

/* json_text.h - what the two halves of the JSON reader share: white space, and strings before they are decoded.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_JSON_TEXT_H
#define API_JSON_TEXT_H

#include "json_reader.h"

static inline void api_json_space(api_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
}

/* api_json_next_key without decoding: the key is in the top level only. Takes no memory. */
bool api_json_raw_key(api_json *);
/* Takes the string at j->at, which is a quote, and checks it: escapes, UTF-8, control characters. `raw` is what stands between the quotes. */
bool api_json_raw_string(api_json *, attn_text *raw, bool *escaped);
/* A checked raw string decoded. */
bool api_json_decode(api_json *, attn_text raw, bool escaped, attn_text *out);
/* Decodes the one character, escaped or not, at *at of a checked raw string into dst (4 bytes) and moves on; returns its length in UTF-8. */
size_t api_json_decode_char(const char **at, char *dst);

#endif

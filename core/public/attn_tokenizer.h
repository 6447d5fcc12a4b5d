/* attn_tokenizer.h - text to tokens, as Hugging Face's tokenizer.json says, with where each token came from.
 *
 * A pipeline of five stages, each of which maps offsets: added tokens are cut out, the rest is normalised, pre-tokenised, run through the
 * model (WordPiece, BPE, Unigram), and set into a template with special tokens. Equal to the `tokenizers` library: ids, pieces, offsets, special marks.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_TOKENIZER_H
#define ATTN_TOKENIZER_H

#include "attn_base.h"

typedef struct attn_tokenizer attn_tokenizer;

typedef struct attn_text {
    const char *bytes; /* valid UTF-8; NUL is a character like any other */
    size_t length;
} attn_text;

typedef struct attn_token {
    int32_t id;
    int32_t type_id;
    uint32_t start, end; /* Unicode code points of the text as sent (of the pair for tokens of sequence 1); 0, 0 for template tokens */
    uint8_t sequence;    /* 1: came from the pair */
    bool special;        /* set by the template */
    attn_text text;      /* the piece, as Encoding.tokens holds it ("##ing"); borrowed from the tokenizer or the arena */
    attn_text display;   /* as a person reads it ("ing"); the same pointer as text where it does not differ */
} attn_token;

typedef struct attn_encoding {
    attn_token *tokens; /* in the arena */
    size_t count;
    size_t full_count; /* tokens without truncation */
    bool truncated;
} attn_encoding;

typedef struct attn_encode_options {
    bool add_special_tokens;
    size_t max_length; /* cut to this many tokens, special ones counted (they stay), longest sequence first; 0: never cut */
} attn_encode_options;

/* From the bytes of a tokenizer.json (borrowed for the call). `name` is used in errors. Any component it does not know is
 * ATTN_E_UNSUPPORTED with its path and type; damage is ATTN_E_FORMAT. A tokenizer is read-only and may be shared by threads. */
ATTN_MUST_CHECK attn_status attn_tokenizer_open(attn_tokenizer **out, const char *json, size_t length, const char *name, attn_error *);
/* From the files of before tokenizer.json, borrowed likewise. vocab.txt is BERT's, lower_case tokenizer_config.json's do_lower_case (true where it says
 * nothing); vocab.json and merges.txt are RoBERTa's where <s> and </s> are pieces, else GPT-2's. */
ATTN_MUST_CHECK attn_status attn_tokenizer_open_vocabulary(attn_tokenizer **out, attn_text vocab_txt, bool lower_case, attn_error *);
ATTN_MUST_CHECK attn_status attn_tokenizer_open_merges(attn_tokenizer **out, attn_text vocab_json, attn_text merges_txt, attn_error *);
void attn_tokenizer_close(attn_tokenizer *); /* NULL is fine */

size_t attn_tokenizer_vocab_size(const attn_tokenizer *); /* largest id + 1 */
/* The piece of an id and how a person reads it; false for an id without one. Borrowed from the tokenizer. */
bool attn_tokenizer_piece(const attn_tokenizer *, int32_t id, attn_text *text, attn_text *display);
bool attn_tokenizer_is_special(const attn_tokenizer *, int32_t id); /* an added token marked special */

/* Tokens that the template sets behind a single text: the closing ones. */
size_t attn_tokenizer_closing(const attn_tokenizer *);

/* pair NULL: none; an empty pair is a pair. Time and memory grow linearly with the text, whatever it holds.
 * Errors: ATTN_E_INPUT (where "text" or "text_pair": not UTF-8), ATTN_E_LIMIT (a text of 4 GiB or more), ATTN_E_NOMEM, ATTN_E_CANCELLED. */
ATTN_MUST_CHECK attn_status attn_tokenizer_encode(const attn_tokenizer *, const attn_text *text, const attn_text *pair, const attn_encode_options *,
                                                  attn_arena *, attn_cancel *, attn_encoding *out, attn_error *);
/* The text of ids, special tokens left out, through the file's decoder: what the library's decode(ids, skip_special_tokens=True) gives, but that a special token
 * is left out also where it is normalized and the library does not know it again. Bytes that are no UTF-8 become U+FFFD. In the arena. Ids without a piece are
 * passed over. */
ATTN_MUST_CHECK attn_status attn_tokenizer_decode(const attn_tokenizer *, const int32_t *ids, size_t n, attn_arena *, attn_text *out, attn_error *);
/* The most bytes of arena that decoding n ids takes, and the longest text it gives. */
uint64_t attn_tokenizer_decode_bytes(const attn_tokenizer *, size_t n);
uint64_t attn_tokenizer_decoded_length(const attn_tokenizer *, size_t n);
/* Bytes of arena that encoding this many bytes of text takes at most. */
uint64_t attn_tokenizer_bytes(const attn_tokenizer *, size_t text_bytes);

#endif

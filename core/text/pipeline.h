/* pipeline.h - how the stages of a tokenizer fit together.
 *
 *     text -> added tokens cut out -> normalizers -> added tokens of normalised form -> splitters (pre_tokenizer) -> model -> template
 *             added_tokens.c         normalizer*.c                                     pre_tokenizer*.c             wordpiece.c  post_processor.c
 *                                                                                      byte_level.c                 bpe.c, unigram.c
 *
 * Between the stages travels a stretch: bytes, and for each byte the code point of the text as sent that it stems from. A token of the bytes [a, b)
 * covers the code points at[a] to at[b - 1] + 1. No stage keeps a list of words: each hands its pieces to the next, and the model collects tokens.
 *
 * A new component is one file that fills in one of the three "kind" structs below, and one row in the table of its stage.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PIPELINE_H
#define PIPELINE_H

#include <string.h>

#include "attn_base.h"
#include "attn_tokenizer.h"
#include "text/text_json.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

typedef struct attn_stretch {
    const char *bytes; /* valid UTF-8 */
    const uint32_t *at;
    size_t length;
} attn_stretch;

static inline attn_stretch attn_stretch_part(const attn_stretch *s, size_t start, size_t end)
{
    return (attn_stretch){ .bytes = s->bytes + start, .at = s->at + start, .length = end - start };
}

/* A stretch being written. There is always room: whoever makes one asks the bound of what writes into it. */
typedef struct attn_buffer {
    char *bytes;
    uint32_t *at;
    size_t length;
} attn_buffer;

static inline void attn_buffer_put(attn_buffer *b, uint32_t c, uint32_t at)
{
    size_t n = attn_utf8_put(b->bytes + b->length, c);
    for (size_t i = 0; i < n; i++)
        b->at[b->length + i] = at;
    b->length += n;
}

static inline void attn_buffer_append(attn_buffer *b, const attn_stretch *s)
{
    memcpy(b->bytes + b->length, s->bytes, s->length);
    memcpy(b->at + b->length, s->at, s->length * sizeof *s->at);
    b->length += s->length;
}

/* A token found in the text. `text` is set only when the piece is not the vocabulary's for this id. */
typedef struct attn_found {
    int32_t id;
    uint32_t start, end;
    attn_text text;
} attn_found;

/* Tokens of one text in the order of the text, in blocks that never move. */
typedef struct attn_found_block attn_found_block;
struct attn_found_block {
    attn_found_block *next;
    size_t count, capacity;
    attn_found items[];
};
typedef struct attn_found_list {
    attn_found_block *first, *last;
    size_t count;
} attn_found_list;
typedef struct attn_found_mark {
    attn_found_block *block;
    size_t in_block, count;
} attn_found_mark;

typedef struct attn_mark_buffer attn_mark_buffer; /* unicode_forms.h */

typedef struct attn_pattern attn_pattern; /* pattern.h */
typedef struct attn_matcher attn_matcher; /* pattern.c */
typedef struct attn_bpe attn_bpe;         /* bpe.h */
typedef struct attn_decoder attn_decoder; /* decoder.h */
typedef struct attn_bpe_work attn_bpe_work;
typedef struct attn_unigram attn_unigram; /* unigram.c */

/* How much a text may become. */
typedef struct attn_reach {
    uint64_t bytes, points; /* points: code points */
} attn_reach;

/* One call of attn_tokenizer_encode. */
typedef struct attn_encoder {
    const attn_tokenizer *tokenizer;
    attn_arena *arena;
    attn_cancel *cancel;
    attn_error *err;
    attn_found_list found;
    size_t unlooked;         /* bytes handled since cancellation was last looked at */
    attn_buffer work[2];     /* the normalizers' input and output, by turns */
    attn_buffer scratch[2];  /* for the parts of one normalizer: ATTN_SCRATCH_FACTOR times ATTN_RUN_BYTES, or the text if that is less */
    attn_mark_buffer *marks; /* combining marks that wait for their order */
    uint64_t *prefix_hashes; /* WordPiece's: [longest piece] */
    attn_buffer *splits;     /* what each splitter that writes writes to */
    attn_matcher *matcher;   /* NULL until a pattern is looked for */
    attn_bpe_work *bpe;      /* NULL until a word is long */
    void *unigram;           /* Unigram's, NULL until there is a word */
    const char *field;       /* the text's name, for errors */
    attn_reach reach;        /* of one text that has been normalised: what splitters and models are given at most */
    char *kept;              /* text that tokens point to: room for the text itself and all normalised text, taken when first needed */
    size_t kept_length, kept_room;
} attn_encoder;

enum { ATTN_LOOK_BYTES = 65536 };

/* Counts handled bytes; ATTN_E_CANCELLED when the work is void. */
ATTN_MUST_CHECK attn_status attn_encoder_look(attn_encoder *);
static inline attn_status attn_encoder_handled(attn_encoder *e, size_t bytes)
{
    e->unlooked += bytes;
    return e->unlooked < ATTN_LOOK_BYTES ? ATTN_OK : attn_encoder_look(e);
}

ATTN_MUST_CHECK attn_status attn_encoder_grow(attn_encoder *); /* a block with room after found.last */
static inline attn_status attn_encoder_emit(attn_encoder *e, int32_t id, uint32_t start, uint32_t end, attn_text text)
{
    attn_found_list *list = &e->found;
    if (!list->last || list->last->count == list->last->capacity) {
        attn_status st = attn_encoder_grow(e);
        if (st != ATTN_OK)
            return st;
    }
    list->last->items[list->last->count++] = (attn_found){ .id = id, .start = start, .end = end, .text = text };
    list->count++;
    return ATTN_OK;
}
/* A copy of bytes that lives as long as the tokens. NULL: no memory. */
const char *attn_encoder_keep(attn_encoder *, const char *bytes, size_t n);
/* To take back tokens of a word that turns out to be unknown. */
attn_found_mark attn_encoder_mark(const attn_encoder *);
void attn_encoder_take_back(attn_encoder *, attn_found_mark);

/* ---- normalizers ------------------------------------------------------------------------------------------------------------- */

enum { ATTN_RUN_BYTES = 8192, ATTN_SCRATCH_FACTOR = 8 };

typedef struct attn_normalizer attn_normalizer;
typedef struct attn_charsmap attn_charsmap; /* charsmap.c */
typedef struct attn_normalizer_kind {
    const char *type;
    /* Reads its settings; strings go into `memory`. NULL: it has none. */
    attn_status (*open)(attn_normalizer *, const attn_node *, attn_arena *memory);
    attn_status (*run)(const attn_normalizer *, attn_encoder *, const attn_stretch *in, attn_buffer *out);
    size_t growth; /* bytes out per byte in at most; `open` may set another for its step */
    size_t spread; /* code points out per byte in at most, likewise */
} attn_normalizer_kind;
struct attn_normalizer {
    const attn_normalizer_kind *kind;
    size_t growth, spread;
    /* The kind's own: */
    unsigned flags;
    attn_text first, second;
    const unsigned char *table;
    attn_pattern *pattern; /* closed with the tokenizer */
    const attn_charsmap *charsmap;
};
typedef struct attn_normalizers {
    attn_normalizer *items; /* Sequences are flattened */
    size_t count;
    size_t growth, spread; /* of all together; `growth` holds for each step's output too. 1 when there are none */
} attn_normalizers;

ATTN_MUST_CHECK attn_status attn_normalizers_open(attn_normalizers *, const attn_node *, attn_arena *memory);
/* *s is replaced by its normalised form, which lives in e->work until the next call. */
ATTN_MUST_CHECK attn_status attn_normalizers_run(const attn_normalizers *, attn_encoder *, attn_stretch *s);

extern const attn_normalizer_kind attn_bert_normalizer, attn_charsmap_normalizer;

/* ---- splitters (pre_tokenizer) ------------------------------------------------------------------------------------------------- */

typedef struct attn_splitter attn_splitter;
typedef struct attn_splitter_kind {
    const char *type;
    attn_status (*open)(attn_splitter *, const attn_node *);
    /* Hands each piece to attn_splitters_next(e, piece, index + 1). */
    attn_status (*run)(const attn_splitter *, attn_encoder *, const attn_stretch *in, size_t index);
    uint8_t (*classify)(const attn_splitter *, uint32_t c);
    attn_reach (*grow)(const attn_splitter *, attn_reach in, uint64_t pieces); /* what so many pieces become; NULL: it writes nothing */
} attn_splitter_kind;

/* What becomes of a delimiter. */
typedef enum attn_behavior { ATTN_REMOVED, ATTN_ISOLATED, ATTN_WITH_PREVIOUS, ATTN_WITH_NEXT, ATTN_CONTIGUOUS } attn_behavior;
/* When Metaspace puts its sign before a text. */
typedef enum attn_prepend { ATTN_NEVER, ATTN_FIRST, ATTN_ALWAYS } attn_prepend;

struct attn_splitter {
    const attn_splitter_kind *kind;
    uint8_t ascii[128]; /* classify of ASCII */
    attn_behavior behavior;
    attn_pattern *pattern; /* Split's; closed with the tokenizer */
    bool invert;           /* Split: what does not match is the delimiter */
    bool add_prefix_space; /* ByteLevel */
    bool cuts;             /* ByteLevel: at its pattern; Metaspace: at its sign */
    uint32_t sign;         /* CharDelimiterSplit's, Metaspace's */
    attn_prepend prepend;  /* Metaspace */
};
typedef struct attn_splitters {
    attn_splitter *items; /* Sequences are flattened */
    size_t count;
} attn_splitters;

ATTN_MUST_CHECK attn_status attn_splitters_open(attn_splitters *, const attn_node *, attn_arena *memory);
/* Gives a piece to splitter `index`, or to the model after the last. Empty pieces are dropped. */
ATTN_MUST_CHECK attn_status attn_splitters_next(attn_encoder *, const attn_stretch *piece, size_t index);
/* What the model gets at most for a normalised text: in one piece, and in all of them. */
attn_reach attn_splitters_reach(const attn_splitters *, attn_reach text);
attn_reach attn_splitters_reach_all(const attn_splitters *, attn_reach text);

/* pre_tokenizer_cut.c: Split, and the splitters that know their delimiter by its class, which is then not 0 */
attn_status attn_split_open(attn_splitter *, const attn_node *);
attn_status attn_digits_open(attn_splitter *, const attn_node *);
attn_status attn_punctuation_open(attn_splitter *, const attn_node *);
attn_status attn_delimiter_open(attn_splitter *, const attn_node *);
attn_status attn_split_by_pattern(const attn_splitter *, attn_encoder *, const attn_stretch *in, size_t index);
attn_status attn_split_at_class(const attn_splitter *, attn_encoder *, const attn_stretch *in, size_t index);
/* byte_level.c, pre_tokenizer_metaspace.c */
extern const attn_splitter_kind attn_byte_level, attn_metaspace;
typedef struct attn_metaspace_settings {
    uint32_t sign;
    attn_prepend prepend;
    bool cuts;
} attn_metaspace_settings;
ATTN_MUST_CHECK attn_status attn_metaspace_read(const attn_node *, attn_metaspace_settings *); /* of the splitter, and of the decoder */

/* ---- models -------------------------------------------------------------------------------------------------------------------- */

typedef struct attn_model_settings {
    attn_text prefix;                   /* of a continuing piece */
    size_t max_word;                    /* code points; a longer word is unknown */
    int32_t unknown;                    /* id */
    uint64_t continuing;                /* hash state after `prefix` */
    size_t longest_first, longest_next; /* bytes of the longest piece that may start a word, and continue one, without the prefix */
    bool byte_fallback;                 /* a code point may become as many tokens as it has bytes */
    attn_bpe *bpe;
    const attn_unigram *unigram;
} attn_model_settings;
typedef struct attn_model_kind {
    const char *type;
    const char *sign; /* a member that tells an old file without model.type apart */
    bool list;        /* the vocabulary is a list of pieces and scores */
    attn_status (*open)(attn_tokenizer *, const attn_node *);
    attn_status (*run)(attn_encoder *, const attn_stretch *word);
} attn_model_kind;
extern const attn_model_kind attn_wordpiece, attn_bpe_model, attn_unigram_model;
/* Bytes of arena that BPE takes for words of this reach. */
uint64_t attn_bpe_bytes(attn_reach word);
/* The same for Unigram. */
uint64_t attn_unigram_bytes(const attn_unigram *, attn_reach word);

/* ---- added tokens -------------------------------------------------------------------------------------------------------------- */

typedef struct attn_added_token {
    int32_t id;
    attn_text content;
    bool single_word, lstrip, rstrip, normalized, special;
} attn_added_token;

typedef struct attn_trie_node {
    uint32_t child, sibling; /* 0: none */
    uint32_t token;          /* index + 1 of the token that ends here */
    uint8_t byte;
} attn_trie_node;
typedef struct attn_trie {
    attn_trie_node *nodes;
    size_t count, capacity;
    uint32_t root[256]; /* node of a first byte */
} attn_trie;

typedef struct attn_added {
    attn_added_token *tokens;
    size_t count;
    attn_trie raw, normalized; /* looked for in the text as sent, and after normalization */
} attn_added;

/* A walk over the matches of a stretch, left to right, the longest at each place. */
typedef struct attn_added_scan {
    const attn_added *added;
    const attn_trie *trie;
    attn_stretch text;
    size_t position;   /* where to look on */
    size_t taken;      /* end of the last match, spaces included */
    size_t spaces_end; /* end of the last spaces swallowed to the right: they are not walked twice */
} attn_added_scan;
typedef struct attn_added_match {
    const attn_added_token *token; /* NULL: no more */
    size_t start, end;             /* spaces included that the token swallows */
} attn_added_match;

/* Reads /added_tokens and gives them ids and pieces in the vocabulary. */
ATTN_MUST_CHECK attn_status attn_added_open(attn_tokenizer *, const attn_node *);
/* After the normalizers are there: the normalised forms. */
ATTN_MUST_CHECK attn_status attn_added_open_normalized(attn_tokenizer *, const attn_node *);
ATTN_MUST_CHECK attn_status attn_added_next(attn_added_scan *, attn_encoder *, attn_added_match *out);

/* ---- template (post_processor) -------------------------------------------------------------------------------------------------- */

enum { ATTN_SLOT_A = -1, ATTN_SLOT_B = -2, ATTN_TEMPLATE_MAX = 256 };
typedef struct attn_slot {
    int32_t id; /* of a special token, or a sequence: ATTN_SLOT_A, ATTN_SLOT_B */
    int32_t type_id;
    attn_text text; /* of a special token */
} attn_slot;
typedef struct attn_template {
    attn_slot *slots;
    size_t count;
    size_t special; /* how many of them are tokens */
} attn_template;
typedef struct attn_post_processor {
    attn_template single, pair;
    size_t repeats;                      /* how often a text is in a template at most */
    bool trim_offsets, add_prefix_space; /* RobertaProcessing's and ByteLevel's */
} attn_post_processor;

ATTN_MUST_CHECK attn_status attn_post_processor_open(attn_tokenizer *, const attn_node *);
/* Cuts, sets into the template, writes the tokens. lists[1] NULL: no pair. */
ATTN_MUST_CHECK attn_status attn_post_process(attn_encoder *, attn_found_list *const lists[2], const attn_encode_options *, attn_encoding *out);

/* ---- the tokenizer -------------------------------------------------------------------------------------------------------------- */

struct attn_tokenizer {
    attn_arena *memory; /* all of it */
    attn_vocabulary vocabulary;
    const attn_model_kind *model;
    attn_model_settings settings;
    attn_added added;
    attn_normalizers normalizers;
    attn_splitters splitters;
    attn_post_processor post_processor;
    size_t longest_added; /* bytes */
    attn_decoder *decoder;
    size_t longest_piece; /* bytes */
};

/* From a document that has been parsed; it may go afterwards. */
ATTN_MUST_CHECK attn_status attn_tokenizer_open_tree(attn_tokenizer **out, const attn_node *root);
/* Reads /decoder, and fills in how pieces read. */
ATTN_MUST_CHECK attn_status attn_decoder_open(attn_tokenizer *, const attn_node *);
/* Room for encoding at most `bytes` of text at a time. */
ATTN_MUST_CHECK attn_status attn_encoder_open(attn_encoder *, const attn_tokenizer *, size_t bytes, attn_arena *, attn_cancel *, attn_error *);

#endif

/* tokenizer_files.c - tokenizers of before tokenizer.json: vocab.txt, and vocab.json with merges.txt.
 *
 * These files hold pieces alone; how a text is cut and framed was in the code of each family. It is written here as the tokenizer.json that the family's
 * files are converted to, with the pieces put in.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json_weight.h"
#include "text/pipeline.h"

typedef struct family {
    const char *name; /* of the files, for errors */
    const char *frame;
    const char *first, *last; /* the post-processor's cls and sep; NULL: it has none */
    const char *special[8];   /* tokens that are added when the vocabulary has them */
    const char *swallows;     /* the one of them that takes the spaces before it along */
} family;

static const family bert = {
    .name = "vocab.txt",
    .frame = "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null},"
             "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":\"BertProcessing\"},"
             "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
             "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100}}",
    .first = "[CLS]",
    .last = "[SEP]",
    .special = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" },
};

#define BYTE_LEVEL(space, trim) "{\"type\":\"ByteLevel\",\"add_prefix_space\":" space ",\"trim_offsets\":" trim "}"

static const family roberta = {
    .name = "vocab.json",
    .frame = "{\"pre_tokenizer\":" BYTE_LEVEL("false", "true") ",\"decoder\":" BYTE_LEVEL(
        "true", "true") ","
                        "\"post_processor\":{\"type\":\"RobertaProcessing\",\"trim_offsets\":true,\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\"}}",
    .first = "<s>",
    .last = "</s>",
    .special = { "<s>", "<pad>", "</s>", "<unk>", "<mask>" },
    .swallows = "<mask>",
};

static const family gpt2 = {
    .name = "vocab.json",
    .frame = "{\"pre_tokenizer\":" BYTE_LEVEL("false", "true") ",\"decoder\":" BYTE_LEVEL("true", "true") ","
                                                                                                          "\"post_processor\":" BYTE_LEVEL(
                                                                                                              "true", "false") ",\"model\":{\"type\":\"BPE\"}}",
    .special = { "<|endoftext|>" },
};

/* ---- lines ---- */

/* Hands every line to `take` with its number; an empty last one is none. */
static attn_status each_line(attn_text text, json_t *into, const char *name, int (*take)(json_t *, attn_text, size_t), attn_error *err)
{
    enum { PER_LINE = 192 }; /* what jansson keeps beside its text */
    size_t number = 0;
    uint64_t weight = text.length;
    const char *end = text.bytes + text.length, *next;
    for (const char *line = text.bytes; line < end && weight <= ATTN_JSON_MOST; line = next, number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        next = newline ? newline + 1 : end;
        attn_text content = { .bytes = line, .length = (size_t)((newline ? newline : end) - line) };
        if (content.length > 0 && content.bytes[content.length - 1] == '\r')
            content.length--;
        weight += PER_LINE;
        if (take(into, content, number) != 0)
            return attn_fail(err, ATTN_E_FORMAT, name, "line %zu is not UTF-8", number + 1);
    }
    if (weight > ATTN_JSON_MOST)
        return attn_fail(err, ATTN_E_FORMAT, name, "would take more than %d MB of memory to read", (int)(ATTN_JSON_MOST / 1000000));
    return ATTN_OK;
}

static int take_piece(json_t *vocabulary, attn_text line, size_t number)
{
    return json_object_setn_new(vocabulary, line.bytes, line.length, json_integer((json_int_t)number));
}

static int take_merge(json_t *merges, attn_text line, size_t number)
{
    (void)number;
    return line.length == 0 ? 0 : json_array_append_new(merges, json_stringn(line.bytes, line.length));
}

/* ---- putting a file together ---- */

static bool add_special(json_t *list, const json_t *vocabulary, const char *content, bool swallows)
{
    json_t *id = json_object_get(vocabulary, content);
    return !id || json_array_append_new(list, json_pack("{s:O, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content, "single_word", 0, "lstrip",
                                                        swallows, "rstrip", 0, "normalized", 0, "special", 1)) == 0;
}

static bool set_end(json_t *post_processor, const char *key, const json_t *vocabulary, const char *token)
{
    return !token || json_object_set_new(post_processor, key, json_pack("[s, O]", token, json_object_get(vocabulary, token))) == 0;
}

static attn_status put_together(json_t *document, const family *f, json_t *vocabulary, json_t *merges, attn_error *err)
{
    json_t *model = json_object_get(document, "model"), *post_processor = json_object_get(document, "post_processor"), *list = json_array();
    const char *const ends[] = { f->first, f->last };
    for (size_t i = 0; i < 2; i++)
        if (ends[i] && !json_object_get(vocabulary, ends[i])) {
            json_decref(list);
            return attn_fail(err, ATTN_E_FORMAT, f->name, "has no piece %s", ends[i]);
        }
    bool ok = json_object_set(model, "vocab", vocabulary) == 0 && (!merges || json_object_set(model, "merges", merges) == 0);
    ok = set_end(post_processor, "cls", vocabulary, f->first) && set_end(post_processor, "sep", vocabulary, f->last) && ok;
    for (size_t i = 0; ok && f->special[i]; i++)
        ok = add_special(list, vocabulary, f->special[i], f->swallows && strcmp(f->special[i], f->swallows) == 0);
    ok = json_object_set_new(document, "added_tokens", list) == 0 && ok;
    return ok ? ATTN_OK : attn_fail_memory(err);
}

static attn_status open_family(attn_tokenizer **out, const family *f, json_t *vocabulary, json_t *merges, bool lower_case, attn_error *err)
{
    attn_node root = { .name = f->name, .err = err };
    attn_status st = attn_node_parse(&root, f->frame, strlen(f->frame), f->name, err);
    if (st == ATTN_OK && f == &bert && json_object_set_new(json_object_get(root.value, "normalizer"), "lowercase", json_boolean(lower_case)) != 0)
        st = attn_fail_memory(err);
    if (st == ATTN_OK)
        st = put_together(root.value, f, vocabulary, merges, err);
    if (st == ATTN_OK)
        st = attn_tokenizer_open_tree(out, &root);
    json_decref(root.value);
    return st;
}

attn_status attn_tokenizer_open_vocabulary(attn_tokenizer **out, attn_text vocab_txt, bool lower_case, attn_error *err)
{
    json_t *vocabulary = json_object();
    *out = NULL;
    attn_status st = vocabulary ? each_line(vocab_txt, vocabulary, bert.name, take_piece, err) : attn_fail_memory(err);
    if (st == ATTN_OK)
        st = open_family(out, &bert, vocabulary, NULL, lower_case, err);
    json_decref(vocabulary);
    return st;
}

attn_status attn_tokenizer_open_merges(attn_tokenizer **out, attn_text vocab_json, attn_text merges_txt, attn_error *err)
{
    attn_node vocabulary = { .value = NULL };
    json_t *merges = json_array();
    *out = NULL;
    attn_status st = merges ? attn_node_parse(&vocabulary, vocab_json.bytes, vocab_json.length, gpt2.name, err) : attn_fail_memory(err);
    if (st == ATTN_OK)
        st = attn_node_need(&vocabulary, JSON_OBJECT);
    if (st == ATTN_OK)
        st = each_line(merges_txt, merges, "merges.txt", take_merge, err);
    if (st == ATTN_OK) {
        bool framed = json_object_get(vocabulary.value, roberta.first) && json_object_get(vocabulary.value, roberta.last);
        st = open_family(out, framed ? &roberta : &gpt2, vocabulary.value, merges, false, err);
    }
    json_decref(vocabulary.value);
    json_decref(merges);
    return st;
}

/* tokenizer_source.c - which of a model's files its tokenizer comes from: tokenizer.json, else the files of before it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "model/family.h"
#include "model/json_file.h"
#include "model/source.h"

static attn_status open_json(attn_tokenizer **out, const attn_source *source, const char *name, attn_error *err)
{
    attn_file file;
    attn_status st = attn_file_open(&file, source, name, err);
    if (st == ATTN_OK)
        st = attn_tokenizer_open(out, (const char *)file.bytes, file.size, name, err);
    attn_file_close(&file);
    return st;
}

static attn_text text_of(const attn_file *file)
{
    return (attn_text){ .bytes = (const char *)file->bytes, .length = file->size };
}

/* do_lower_case of tokenizer_config.json; true where it or the file is missing, as BERT's own tokenizer has it. */
static attn_status read_lower_case(bool *lower_case, const attn_source *source, attn_error *err)
{
    static const char name[] = "tokenizer_config.json";
    attn_file file;
    json_t *json = NULL;
    *lower_case = true;
    if (!attn_source_has(source, name))
        return ATTN_OK;
    attn_status st = attn_file_open(&file, source, name, err);
    if (st == ATTN_OK)
        st = attn_json_parse(&json, file.bytes, file.size, name, "", err);
    attn_file_close(&file);
    const json_t *value = json_object_get(json, "do_lower_case");
    if (st == ATTN_OK && value && !json_is_boolean(value))
        st = attn_fail(err, ATTN_E_FORMAT, name, "do_lower_case is neither true nor false");
    if (st == ATTN_OK && value)
        *lower_case = json_is_true(value);
    json_decref(json);
    return st;
}

static attn_status open_vocabulary(attn_tokenizer **out, const attn_source *source, const char *name, attn_error *err)
{
    attn_file file;
    bool lower_case;
    attn_status st = read_lower_case(&lower_case, source, err);
    if (st != ATTN_OK)
        return st;
    st = attn_file_open(&file, source, name, err);
    if (st == ATTN_OK)
        st = attn_tokenizer_open_vocabulary(out, text_of(&file), lower_case, err);
    attn_file_close(&file);
    return st;
}

static attn_status open_merges(attn_tokenizer **out, const attn_source *source, const char *name, attn_error *err)
{
    attn_file vocabulary, merges;
    attn_status st = attn_file_open(&vocabulary, source, "vocab.json", err);
    if (st != ATTN_OK)
        return st;
    st = attn_file_open(&merges, source, name, err);
    if (st == ATTN_OK)
        st = attn_tokenizer_open_merges(out, text_of(&vocabulary), text_of(&merges), err);
    attn_file_close(&merges);
    attn_file_close(&vocabulary);
    return st;
}

static attn_status refuse_sentencepiece(attn_tokenizer **out, const attn_source *source, const char *name, attn_error *err)
{
    (void)out;
    (void)source;
    return attn_fail(err, ATTN_E_UNSUPPORTED, name,
                     "sentencepiece models are not read; make a tokenizer.json beside it: python3 -c 'import sys, transformers; "
                     "transformers.AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])' FOLDER");
}

/* In order: the first that is there decides. */
static const struct {
    const char *name;
    attn_status (*open)(attn_tokenizer **, const attn_source *, const char *name, attn_error *);
} forms[] = {
    { "tokenizer.json", open_json },          { "merges.txt", open_merges },
    { "vocab.txt", open_vocabulary },         { "tokenizer.model", refuse_sentencepiece },
    { "spiece.model", refuse_sentencepiece }, { "sentencepiece.bpe.model", refuse_sentencepiece },
};

/* A tokenizer may give more ids than the model has rows for: Gemma 3's has one for images. A text that uses one is refused when it comes. */
attn_status attn_model_open_tokenizer(attn_model *m, const attn_source *source, attn_error *err)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (attn_source_has(source, forms[i].name))
            return forms[i].open(&m->tokenizer, source, forms[i].name, err);
    return ATTN_OK;
}

/* test_tokenizer_files.c - a tokenizer.json that is damaged, or asks for what is not known, is refused with the place and the reason.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer_case.h"

enum part { WHOLE, VERSION, ADDED, NORMALIZER, SPLITTER, TEMPLATE, DECODER, MODEL, PARTS };

static const char *const sound[PARTS] = {
    [VERSION] = "\"1.0\"",
    [ADDED] = "[]",
    [NORMALIZER] = "null",
    [SPLITTER] = "null",
    [TEMPLATE] = "null",
    [DECODER] = "null",
    [MODEL] = "{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{\"?\":0,\"a\":1}}",
};

/* A document with one part exchanged. */
static char *document(enum part part, const char *json)
{
    const char *parts[PARTS];
    char *text = NULL;
    for (int i = 0; i < PARTS; i++)
        parts[i] = i == (int)part ? json : sound[i];
    if (part == WHOLE)
        return strdup(json);
    int n = asprintf(&text, "{\"version\":%s,\"added_tokens\":%s,\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":%s,\"decoder\":%s,\"model\":%s}",
                     parts[VERSION], parts[ADDED], parts[NORMALIZER], parts[SPLITTER], parts[TEMPLATE], parts[DECODER], parts[MODEL]);
    ck_assert_int_gt(n, 0);
    return text;
}

#define TOKEN(more) "[{\"id\":2,\"content\":\"<x>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false," more "}]"
#define PIECES(vocab)                                                                                                                                          \
    "{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"continuing_subword_prefix\":\"##\",\""                                                                      \
    "max_input_chars_per_word\":100,\"vocab\":" vocab "}"
#define MERGES(vocab, merges)   "{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}"
#define SPLIT(pattern)          "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false,\"pattern\":" pattern "}"
#define ITEMS(single, specials) "{\"type\":\"TemplateProcessing\",\"single\":" single ",\"pair\":[],\"special_tokens\":" specials "}"
#define PAIRS(vocab, unknown)   "{\"type\":\"Unigram\",\"vocab\":" vocab ",\"unk_id\":" unknown "}"
#define REGEX(pattern)          "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"" pattern "\"},\"content\":\"\"}"
#define CHARSMAP(base64)        "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" base64 "\"}"
#define CLS_SEP                 "{\"type\":\"BertProcessing\",\"cls\":[\"?\",0],\"sep\":[\"?\",0]}"
#define TRIMMED                 "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true}"
#define TEN                     "0123456789"
#define BERT(fields)            "{\"type\":\"BertNormalizer\"," fields "}"

static const struct broken {
    const char *name;
    enum part part;
    const char *json;
    attn_status status;
    const char *says;
} broken[] = {
    { "nothing", WHOLE, "", ATTN_E_FORMAT, "not JSON at line 1" },
    { "cut off", WHOLE, "{\"version\":\"1.0\",", ATTN_E_FORMAT, "not JSON" },
    { "something behind", WHOLE, "{} {}", ATTN_E_FORMAT, "not JSON" },
    { "an array", WHOLE, "[]", ATTN_E_FORMAT, "/: an array, but must be an object" },
    { "not UTF-8", WHOLE, "{\"a\":\"\xFF\"}", ATTN_E_FORMAT, "not JSON" },
    { "a lone surrogate", WHOLE, "{\"a\":\"\\ud800\"}", ATTN_E_FORMAT, "not JSON" },
    { "a member twice", WHOLE, "{\"model\":{},\"model\":{}}", ATTN_E_FORMAT, "not JSON" },
    { "no model", WHOLE, "{\"version\":\"1.0\"}", ATTN_E_FORMAT, "/model: missing, but must be an object" },
    { "a NUL in a piece", MODEL, PIECES("{\"\\u0000\":0}"), ATTN_E_UNSUPPORTED, "NUL" },
    { "version of tomorrow", VERSION, "\"2.0\"", ATTN_E_UNSUPPORTED, "/version: only \"1.0\"" },
    { "version as a number", VERSION, "1.0", ATTN_E_FORMAT, "/version: a fraction, but must be a string" },
    { "model type", MODEL, "{\"type\":\"Words\",\"vocab\":{}}", ATTN_E_UNSUPPORTED, "/model: type \"Words\" is not known" },
    { "words without an unknown one", MODEL, "{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{\"a\":0}}", ATTN_E_FORMAT,
      "/model/unk_token: not a piece of the vocabulary" },
    { "dropout", MODEL, MERGES("{\"a\":0}", "[],\"dropout\":0.1"), ATTN_E_UNSUPPORTED, "/model/dropout: pieces chosen by chance" },
    { "merges missing", MODEL, MERGES("{\"a\":0}", "null"), ATTN_E_FORMAT, "/model/merges: missing, but must be an array" },
    { "merge of one", MODEL, MERGES("{\"a\":0}", "[\"a\"]"), ATTN_E_FORMAT, "/model/merges/0: must be two pieces with a space" },
    { "merge of three", MODEL, MERGES("{\"a\":0}", "[\"a a a\"]"), ATTN_E_FORMAT, "/model/merges/0: must be two pieces with a space" },
    { "merge of a triple", MODEL, MERGES("{\"a\":0}", "[[\"a\",\"a\",\"a\"]]"), ATTN_E_FORMAT, "/model/merges/0: must be two pieces" },
    { "merge of numbers", MODEL, MERGES("{\"a\":0}", "[[0,0]]"), ATTN_E_FORMAT, "/model/merges/0/0: an integer, but must be a string" },
    { "merge that is a number", MODEL, MERGES("{\"a\":0}", "[7]"), ATTN_E_FORMAT, "/model/merges/0: an integer, but must be an array" },
    { "merge of a stranger", MODEL, MERGES("{\"a\":0}", "[\"b a\"]"), ATTN_E_FORMAT, "/model/merges/0: the first one is not a piece" },
    { "merge with a stranger", MODEL, MERGES("{\"a\":0}", "[[\"a\",\"b\"]]"), ATTN_E_FORMAT, "/model/merges/0: the second one is not a piece" },
    { "merge with nothing", MODEL, MERGES("{\"a\":0}", "[\"a \"]"), ATTN_E_FORMAT, "/model/merges/0: the second one is not a piece" },
    { "merge into a stranger", MODEL, MERGES("{\"a\":0}", "[\"a a\"]"), ATTN_E_FORMAT, "/model/merges/0: together they are not a piece" },
    { "merge shorter than its prefix", MODEL, MERGES("{\"a\":0,\"aa\":1}", "[\"a a\"],\"continuing_subword_prefix\":\"##\""), ATTN_E_FORMAT,
      "/model/merges/0: the second one is shorter" },
    { "byte fallback as a word", MODEL, MERGES("{\"a\":0}", "[],\"byte_fallback\":\"yes\""), ATTN_E_FORMAT, "/model/byte_fallback: a string" },
    { "old Unigram, empty", MODEL, "{\"vocab\":[],\"unk_id\":0}", ATTN_E_FORMAT, "/model/unk_id: the vocabulary is empty" },
    { "unknown beyond the end", MODEL, PAIRS("[[\"a\",-1]]", "1"), ATTN_E_FORMAT, "/model/unk_id: 1 is not between 0 and 0" },
    { "unknown below 0", MODEL, PAIRS("[[\"a\",-1]]", "-1"), ATTN_E_FORMAT, "/model/unk_id: -1 is not between 0 and 0" },
    { "pieces without scores", MODEL, PAIRS("[[\"a\"]]", "0"), ATTN_E_FORMAT, "/model/vocab/0: must be a piece and its score" },
    { "pieces as text", MODEL, PAIRS("[\"a\"]", "0"), ATTN_E_FORMAT, "/model/vocab/0: a string, but must be an array" },
    { "a piece that is a number", MODEL, PAIRS("[[\"a\",0],[1,0]]", "0"), ATTN_E_FORMAT, "/model/vocab/1/0: an integer, but must be a string" },
    { "a score that is none", MODEL, PAIRS("[[\"a\",\"NaN\"]]", "0"), ATTN_E_FORMAT, "/model/vocab/0/1: must be a number" },
    { "a score beyond double", MODEL, PAIRS("[[\"a\",-1e999]]", "0"), ATTN_E_FORMAT, "not JSON" },
    { "a score NaN", MODEL, PAIRS("[[\"a\",NaN]]", "0"), ATTN_E_FORMAT, "not JSON" },
    { "Unigram with an object", MODEL, PAIRS("{\"a\":0}", "0"), ATTN_E_FORMAT, "/model/vocab: an object, but must be an array" },
    { "byte_fallback as a number", MODEL, "{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"byte_fallback\":1}", ATTN_E_FORMAT,
      "/model/byte_fallback: an integer" },
    { "no model to be told", MODEL, "{}", ATTN_E_FORMAT, "/model: no type" },
    { "no vocabulary", MODEL, PIECES("null"), ATTN_E_FORMAT, "/model/vocab: missing, but must be an object" },
    { "vocabulary as a list", MODEL, PIECES("[\"?\"]"), ATTN_E_FORMAT, "/model/vocab: an array" },
    { "an id twice", MODEL, PIECES("{\"?\":0,\"a\":0}"), ATTN_E_FORMAT, "/model/vocab/a: id 0 is given twice" },
    { "a negative id", MODEL, PIECES("{\"?\":-1}"), ATTN_E_FORMAT, "/model/vocab/?: -1 is not between 0 and" },
    { "an id far out", MODEL, PIECES("{\"?\":0,\"a\":2000000000}"), ATTN_E_FORMAT, "/model/vocab/a: 2000000000 is not between" },
    { "an id as text", MODEL, PIECES("{\"?\":\"0\"}"), ATTN_E_FORMAT, "/model/vocab/?: a string, but must be an integer" },
    { "a fraction of an id", MODEL, PIECES("{\"?\":0.5}"), ATTN_E_FORMAT, "must be an integer" },
    { "unknown is unknown", MODEL, PIECES("{\"a\":0}"), ATTN_E_FORMAT, "/model/unk_token: not a piece of the vocabulary" },
    { "word length", MODEL,
      "{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":-5,\"vocab\":{\"?\":0}}", ATTN_E_FORMAT,
      "/model/max_input_chars_per_word" },
    { "no prefix", MODEL, "{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"max_input_chars_per_word\":5,\"vocab\":{\"?\":0}}", ATTN_E_FORMAT,
      "/model/continuing_subword_prefix: missing" },
    { "added tokens as an object", ADDED, "{}", ATTN_E_FORMAT, "/added_tokens: an object, but must be an array" },
    { "an added token as text", ADDED, "[\"<x>\"]", ATTN_E_FORMAT, "/added_tokens/0: a string, but must be an object" },
    { "an added token without a flag", ADDED, TOKEN("\"normalized\":false"), ATTN_E_FORMAT, "/added_tokens/0/special: missing" },
    { "a flag as a number", ADDED, TOKEN("\"normalized\":1,\"special\":true"), ATTN_E_FORMAT, "/added_tokens/0/normalized: an integer, but must be a boolean" },
    { "normalizer", NORMALIZER, "{\"type\":\"Foo\"}", ATTN_E_UNSUPPORTED, "/normalizer: type \"Foo\" is not known" },
    { "normalizer within", NORMALIZER, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Foo\"}]}", ATTN_E_UNSUPPORTED,
      "/normalizer/normalizers/1: type \"Foo\" is not known" },
    { "normalizer without type", NORMALIZER, "{}", ATTN_E_FORMAT, "/normalizer/type: missing" },
    { "bert without lowercase", NORMALIZER, BERT("\"clean_text\":true,\"handle_chinese_chars\":true"), ATTN_E_FORMAT, "/normalizer/lowercase: missing" },
    { "accents as text", NORMALIZER, BERT("\"clean_text\":true,\"handle_chinese_chars\":true,\"lowercase\":true,\"strip_accents\":\"no\""), ATTN_E_FORMAT,
      "/normalizer/strip_accents: a string" },
    { "no pattern", NORMALIZER, "{\"type\":\"Replace\",\"pattern\":{},\"content\":\"\"}", ATTN_E_FORMAT, "/normalizer/pattern/String: missing" },
    { "a pattern of nothing", NORMALIZER, REGEX("a*"), ATTN_E_UNSUPPORTED, "/normalizer/pattern: a pattern that may match nothing" },
    { "a pattern that forgets", NORMALIZER, REGEX("a\\\\Kb"), ATTN_E_UNSUPPORTED, "/normalizer/pattern: \\K is not known" },
    { "a pattern that is none", NORMALIZER, REGEX("a("), ATTN_E_UNSUPPORTED, "/normalizer/pattern/Regex" },
    { "no charsmap", NORMALIZER, "{\"type\":\"Precompiled\"}", ATTN_E_FORMAT, "/normalizer/precompiled_charsmap: missing" },
    { "an empty charsmap", NORMALIZER, CHARSMAP(""), ATTN_E_FORMAT, "its trie is cut off" },
    { "a charsmap of no base64", NORMALIZER, CHARSMAP("AA!A"), ATTN_E_FORMAT, "/normalizer/precompiled_charsmap: not base64" },
    { "a charsmap of half base64", NORMALIZER, CHARSMAP("AAA"), ATTN_E_FORMAT, "not base64" },
    { "a charsmap of padding", NORMALIZER, CHARSMAP("===="), ATTN_E_FORMAT, "not base64" },
    { "a charsmap without trie", NORMALIZER, CHARSMAP("AAAAAA=="), ATTN_E_FORMAT, "its trie is cut off" },
    { "a charsmap cut off", NORMALIZER, CHARSMAP("CAAAAAAAAAA="), ATTN_E_FORMAT, "its trie is cut off" },
    { "a charsmap of 4 GiB", NORMALIZER, CHARSMAP("/////wAAAAA="), ATTN_E_FORMAT, "its trie is cut off" },
    { "a charsmap whose texts are not UTF-8", NORMALIZER, CHARSMAP("BAAAAAAAAAD/"), ATTN_E_FORMAT, "its texts are not UTF-8" },
    { "a charsmap that leads out of itself", NORMALIZER, CHARSMAP("CAAAAAAAAAAB/f9/"), ATTN_E_FORMAT, "its trie leads to no text" },
    { "a charsmap that leads behind its texts", NORMALIZER, CHARSMAP("CAAAAAADAAABBQAA"), ATTN_E_FORMAT, "its trie leads to no text" },
    { "empty pattern", NORMALIZER, "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}", ATTN_E_FORMAT,
      "/normalizer/pattern: the pattern is empty" },
    { "pre_tokenizer within", SPLITTER, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Foo\"}]}", ATTN_E_UNSUPPORTED,
      "/pre_tokenizer/pretokenizers/0: type \"Foo\" is not known" },
    { "behaviour", SPLITTER, "{\"type\":\"Punctuation\",\"behavior\":\"Kept\"}", ATTN_E_UNSUPPORTED, "/pre_tokenizer/behavior: \"Kept\" is not known" },
    { "split without behaviour", SPLITTER, "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"invert\":false}", ATTN_E_FORMAT,
      "/pre_tokenizer/behavior: missing" },
    { "split without pattern", SPLITTER, SPLIT("null"), ATTN_E_FORMAT, "/pre_tokenizer/pattern: missing" },
    { "split by nothing known", SPLITTER, SPLIT("{\"Glob\":\"*\"}"), ATTN_E_FORMAT, "/pre_tokenizer/pattern: neither Regex nor String" },
    { "split by a number", SPLITTER, SPLIT("{\"Regex\":1}"), ATTN_E_FORMAT, "/pre_tokenizer/pattern/Regex: an integer" },
    { "open bracket", SPLITTER, SPLIT("{\"Regex\":\"(a\"}"), ATTN_E_UNSUPPORTED, "/pre_tokenizer/pattern/Regex: not a pattern that PCRE2 takes: missing" },
    { "open class", SPLITTER, SPLIT("{\"Regex\":\"[a\"}"), ATTN_E_UNSUPPORTED, "/pre_tokenizer/pattern/Regex: not a pattern" },
    { "intersection", SPLITTER, SPLIT("{\"Regex\":\"[a-z&&b]\"}"), ATTN_E_UNSUPPORTED, "/pre_tokenizer/pattern/Regex: an intersection of classes" },
    { "negated class within", SPLITTER, SPLIT("{\"Regex\":\"[a[^b]]\"}"), ATTN_E_UNSUPPORTED, "a negated class within a class is not known" },
    { "half a code point", SPLITTER, SPLIT("{\"Regex\":\"\\\\C\"}"), ATTN_E_UNSUPPORTED, "not a pattern" },
    { "backslash alone", SPLITTER, SPLIT("{\"Regex\":\"a\\\\\"}"), ATTN_E_UNSUPPORTED, "not a pattern" },
    { "delimiter of two", SPLITTER, "{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"ab\"}", ATTN_E_FORMAT,
      "/pre_tokenizer/delimiter: must be one character" },
    { "digits", SPLITTER, "{\"type\":\"Digits\"}", ATTN_E_FORMAT, "/pre_tokenizer/individual_digits: missing" },
    { "byte level", SPLITTER, "{\"type\":\"ByteLevel\",\"trim_offsets\":true}", ATTN_E_FORMAT, "/pre_tokenizer/add_prefix_space: missing" },
    { "metaspace without sign", SPLITTER, "{\"type\":\"Metaspace\",\"replacement\":\"\"}", ATTN_E_FORMAT, "/pre_tokenizer/replacement: must be one character" },
    { "metaspace of a new kind", SPLITTER, "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}", ATTN_E_UNSUPPORTED,
      "/pre_tokenizer/prepend_scheme: \"last\" is not known" },
    { "metaspace of two minds", SPLITTER, "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false,\"prepend_scheme\":\"always\"}",
      ATTN_E_FORMAT, "/pre_tokenizer/add_prefix_space: false" },
    { "post_processor", TEMPLATE, "{\"type\":\"Foo\"}", ATTN_E_UNSUPPORTED, "/post_processor: type \"Foo\" is not known" },
    { "template as text", TEMPLATE, ITEMS("\"$A\"", "{}"), ATTN_E_FORMAT, "/post_processor/single: a string, but must be an array" },
    { "template of what", TEMPLATE, ITEMS("[{\"Foo\":{}}]", "{}"), ATTN_E_FORMAT, "/post_processor/single/0: neither" },
    { "template of C", TEMPLATE, ITEMS("[{\"Sequence\":{\"id\":\"C\",\"type_id\":0}}]", "{}"), ATTN_E_FORMAT,
      "/post_processor/single/0/Sequence: a sequence is" },
    { "template of B alone", TEMPLATE, ITEMS("[{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}]", "{}"), ATTN_E_FORMAT, "sequence B" },
    { "template with a stranger", TEMPLATE, ITEMS("[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}]", "{}"), ATTN_E_FORMAT,
      "/post_processor/single/0/SpecialToken: special_tokens has no" },
    { "template with an id beyond", TEMPLATE,
      ITEMS("[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}]", "{\"x\":{\"id\":\"x\",\"ids\":[7],\"tokens\":[\"x\"]}}"), ATTN_E_FORMAT,
      "/post_processor/special_tokens/x/ids/0: 7 is not between 0 and 1" },
    { "template with too few pieces", TEMPLATE, ITEMS("[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}]", "{\"x\":{\"id\":\"x\",\"ids\":[1],\"tokens\":[]}}"),
      ATTN_E_FORMAT, "as many ids" },
    { "type id", TEMPLATE, ITEMS("[{\"Sequence\":{\"id\":\"A\",\"type_id\":-1}}]", "{}"), ATTN_E_FORMAT, "/post_processor/single/0/Sequence/type_id: -1" },
    { "bert without cls", TEMPLATE, "{\"type\":\"BertProcessing\",\"sep\":[\"?\",0]}", ATTN_E_FORMAT, "/post_processor/cls: missing" },
    { "bert with a lonely sep", TEMPLATE, "{\"type\":\"BertProcessing\",\"cls\":[\"?\",0],\"sep\":[\"?\"]}", ATTN_E_FORMAT,
      "/post_processor/sep: must be a token and its id" },
    { "a template twice", TEMPLATE, "{\"type\":\"Sequence\",\"processors\":[" CLS_SEP "," CLS_SEP "]}", ATTN_E_UNSUPPORTED,
      "/post_processor/processors/1: there is a template already" },
    { "trimmed twice", TEMPLATE, "{\"type\":\"Sequence\",\"processors\":[" TRIMMED "," TRIMMED "]}", ATTN_E_UNSUPPORTED,
      "/post_processor/processors/1: offsets are trimmed already" },
    { "processors as an object", TEMPLATE, "{\"type\":\"Sequence\",\"processors\":{}}", ATTN_E_FORMAT, "/post_processor/processors: an object" },
    { "ByteLevel without trim_offsets", TEMPLATE, "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", ATTN_E_FORMAT,
      "/post_processor/trim_offsets: missing" },
    { "decoder", DECODER, "{\"type\":\"Foo\"}", ATTN_E_UNSUPPORTED, "/decoder: type \"Foo\" is not known" },
    { "CTC without delimiter", DECODER, "{\"type\":\"CTC\",\"pad_token\":\"\",\"word_delimiter_token\":\"\",\"cleanup\":true}", ATTN_E_FORMAT,
      "/decoder: what it looks for is empty" },
    { "decoder with a pattern", DECODER, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}", ATTN_E_UNSUPPORTED,
      "/decoder/pattern: only" },
    { "scripts", SPLITTER, "{\"type\":\"UnicodeScripts\"}", ATTN_E_UNSUPPORTED, "/pre_tokenizer: type \"UnicodeScripts\" is not known" },
    { "no length", SPLITTER, "{\"type\":\"FixedLength\",\"length\":0}", ATTN_E_FORMAT, "/pre_tokenizer/length: must be at least 1" },
    { "decoder within", DECODER, "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Foo\"}]}", ATTN_E_UNSUPPORTED,
      "/decoder/decoders/1: type \"Foo\" is not known" },
    { "decoder that looks for nothing", DECODER, "{\"type\":\"BPEDecoder\",\"suffix\":\"\"}", ATTN_E_FORMAT, "/decoder: what it looks for is empty" },
    { "decoder that grows", DECODER, "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"" TEN TEN TEN TEN TEN TEN TEN "\"}",
      ATTN_E_UNSUPPORTED, "/decoder: a piece could grow" },
    { "decoder that strips from below", DECODER, "{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}", ATTN_E_FORMAT, "/decoder/start: -1" },
    { "decoder without prefix", DECODER, "{\"type\":\"WordPiece\"}", ATTN_E_FORMAT, "/decoder/prefix: missing" },
};

static attn_status open_part(enum part part, const char *json, attn_error *err)
{
    char *text = document(part, json);
    attn_tokenizer *t;
    *err = (attn_error){ .code = ATTN_OK };
    attn_status st = attn_tokenizer_open(&t, text, strlen(text), "a/tokenizer.json", err);
    ck_assert_int_eq(st == ATTN_OK, t != NULL);
    attn_tokenizer_close(t);
    free(text);
    return st;
}

START_TEST(a_broken_file_is_refused_with_place_and_reason)
{
    const struct broken *b = &broken[_i];
    attn_error err;
    attn_status st = open_part(b->part, b->json, &err);
    ck_assert_msg(st == b->status && err.code == b->status, "%s: status %d: %s", b->name, st, err.text);
    ck_assert_msg(strstr(err.text, b->says) != NULL, "%s: \"%s\" does not say \"%s\"", b->name, err.text, b->says);
    ck_assert_str_eq(err.where, "a/tokenizer.json");
}
END_TEST

/* Each of these differs from a broken one in the one thing that makes it sound. */
START_TEST(a_sound_file_is_taken)
{
    static const struct {
        enum part part;
        const char *json;
    } fine[] = { { MODEL, PIECES("{\"?\":5,\"a\":0}") },
                 { MODEL, "{\"unk_token\":\"?\",\"continuing_subword_prefix\":\"\",\"max_input_chars_per_word\":0,\"vocab\":{\"?\":0}}" },
                 { ADDED, TOKEN("\"normalized\":true,\"special\":false") },
                 { ADDED, "null" },
                 { NORMALIZER, BERT("\"clean_text\":true,\"handle_chinese_chars\":true,\"lowercase\":true,\"strip_accents\":null") },
                 { NORMALIZER, "{\"type\":\"Sequence\",\"normalizers\":[]}" },
                 { MODEL, MERGES("{\"a\":0,\"aa\":1}", "[\"#version: 0.2\",\"a a\",[\"a\",\"a\"]],\"dropout\":0.0,\"unk_token\":null") },
                 { MODEL, MERGES("{}", "[]") },
                 { MODEL, "{\"vocab\":{},\"merges\":[]}" },
                 { SPLITTER, "{\"type\":\"Punctuation\"}" },
                 { SPLITTER, SPLIT("{\"Regex\":\" ?[^(\\\\s|[.,])]+\"}") },
                 { SPLITTER, SPLIT("{\"Regex\":\"\"}") },
                 { SPLITTER, SPLIT("{\"String\":\"(\"}") },
                 { SPLITTER, "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"str_rep\":\"_\",\"add_prefix_space\":true}" },
                 { TEMPLATE, ITEMS("[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}]", "{\"x\":{\"id\":\"x\",\"ids\":[1],\"tokens\":[\"x\"]}}") },
                 { MODEL, "{\"vocab\":[[\"a\",-1],[\"a\",0.5],[\"\",0]],\"unk_id\":1}" },
                 { MODEL, "{\"type\":\"Unigram\",\"vocab\":[]}" },
                 { NORMALIZER, REGEX("a+") },
                 { NORMALIZER, CHARSMAP("BAAAAAAAAAA=") },
                 { TEMPLATE, "{\"type\":\"Sequence\",\"processors\":[" CLS_SEP "," TRIMMED "]}" },
                 { DECODER, "{\"type\":\"Sequence\",\"decoders\":[]}" },
                 { DECODER, "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}" } };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        attn_error err;
        ck_assert_msg(open_part(fine[i].part, fine[i].json, &err) == ATTN_OK, "%s: %s", fine[i].json, err.text);
    }
}
END_TEST

/* What cannot grow in a file of a few lines must not grow in memory either. */
START_TEST(nesting_and_growth_have_limits)
{
    char deep[4096] = "", *end = deep;
    attn_error err;
    for (int i = 0; i < 20; i++)
        end = stpcpy(end, "{\"type\":\"Sequence\",\"normalizers\":[");
    end = stpcpy(end, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 20; i++)
        end = stpcpy(end, "]}");
    ck_assert_int_eq(open_part(NORMALIZER, deep, &err), ATTN_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "deep"));
    end = stpcpy(deep, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"}");
    for (int i = 0; i < 10; i++)
        end = stpcpy(end, ",{\"type\":\"NFKC\"}");
    stpcpy(end, "]}");
    ck_assert_int_eq(open_part(NORMALIZER, deep, &err), ATTN_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "grow"));
}
END_TEST

START_TEST(every_prefix_of_a_file_is_refused)
{
    size_t size = 0;
    char *json = read_whole(SMALL_BERT, &size);
    ck_assert_ptr_nonnull(json);
    while (size > 0 && json[size - 1] != '}')
        size--;
    for (size_t n = 0; n < size; n += n < 2000 ? 1 : 101) {
        attn_tokenizer *t;
        char *copy = malloc(n ? n : 1); /* exactly as large, so that a sanitizer sees every byte too far */
        memcpy(copy, json, n);
        ck_assert_int_eq(attn_tokenizer_open(&t, copy, n, "cut", NULL), ATTN_E_FORMAT);
        ck_assert_ptr_null(t);
        free(copy);
    }
    free(json);
}
END_TEST

static size_t allocations, fail_at; /* the hook has no place of its own to count in */

static bool may(void *context, size_t bytes)
{
    (void)context;
    (void)bytes;
    return ++allocations < fail_at; /* and all that follow: jansson survives that, but not one failure alone */
}

/* A small file of either kind: WordPiece, or BPE with patterns. */
static json_t *small_file(bool bpe)
{
    json_t *base = load_json(SMALL_BERT), *vocabulary = json_object_get(json_object_get(base, "model"), "vocab"), *id;
    const char *piece;
    void *next;
    json_object_foreach_safe(vocabulary, next, piece, id) if (json_integer_value(id) >= 60) json_object_del(vocabulary, piece);
    if (bpe) {
        json_object_set_new(base, "model", json_loads(MERGES("{\"a\":0,\"b\":1,\"ab\":2,\"[CLS]\":3,\"[SEP]\":4}", "[\"a b\"],\"unk_token\":\"a\""), 0, NULL));
        json_object_set_new(base, "pre_tokenizer", json_loads(SPLIT("{\"Regex\":\"\\\\p{Han}|(?:[ab ]|<)+!?\"}"), 0, NULL));
    }
    return base;
}

/* jansson's allocations count too, as in the program itself. */
START_TEST(memory_that_ends_anywhere_is_an_error_and_leaks_nothing)
{
    json_t *base = small_file(_i);
    json_array_append_new(json_object_get(base, "added_tokens"),
                          json_loads(strchr(TOKEN("\"normalized\":true,\"special\":false") " ", '{'), JSON_DISABLE_EOF_CHECK, NULL));
    char *json = json_dumps(base, JSON_COMPACT);
    json_decref(base);
    char many[2500] = "a <x> b\xCC\x81!"; /* and a word that BPE, and the pattern, take memory for */
    memset(many + 10, 'a', sizeof many - 10);
    attn_text text = { .bytes = many, .length = _i ? sizeof many : 10 };
    attn_status st = ATTN_E_NOMEM;
    json_set_alloc_funcs(attn_malloc, attn_free);
    attn_memory_hook(may, NULL);
    for (fail_at = 1; st != ATTN_OK; fail_at++) {
        attn_encode_options options = { .add_special_tokens = true };
        attn_tokenizer *t;
        attn_encoding out;
        attn_error err = { .code = ATTN_OK };
        allocations = 0;
        st = attn_tokenizer_open(&t, json, strlen(json), "f", &err);
        attn_arena *arena = st == ATTN_OK ? attn_arena_new() : NULL;
        if (st == ATTN_OK)
            st = arena ? attn_tokenizer_encode(t, &text, NULL, &options, arena, NULL, &out, &err) : ATTN_E_NOMEM;
        bool named = st == ATTN_E_NOMEM || (st == ATTN_E_FORMAT && strstr(err.text, "JSON")); /* jansson takes a string it has no memory for as damage */
        ck_assert_msg(named || (st == ATTN_OK && allocations < fail_at), "allocation %zu: %d, %s", fail_at, st, err.text);
        attn_arena_free(arena);
        attn_tokenizer_close(t);
    }
    attn_memory_hook(NULL, NULL);
    json_set_alloc_funcs(malloc, free);
    ck_assert_uint_gt(fail_at, 100);
    free(json);
}
END_TEST

/* ---- files of before tokenizer.json ---- */

/* The pieces of a tokenizer.json, one a line. */
static char *vocabulary_lines(const char *path)
{
    json_t *document = load_json(path), *vocabulary = json_object_get(json_object_get(document, "model"), "vocab"), *id;
    const char *piece;
    char **pieces = calloc(json_object_size(vocabulary), sizeof *pieces), *lines = NULL;
    size_t size;
    FILE *f = open_memstream(&lines, &size);
    json_object_foreach(vocabulary, piece, id) pieces[json_integer_value(id)] = (char *)piece;
    for (size_t i = 0; i < json_object_size(vocabulary); i++)
        fprintf(f, "%s\n", pieces[i]);
    fclose(f);
    free(pieces);
    json_decref(document);
    return lines;
}

static char *merge_lines(json_t *model)
{
    char *lines = NULL;
    size_t size, i;
    json_t *pair;
    FILE *f = open_memstream(&lines, &size);
    fputs("#version: 0.2\n", f);
    json_array_foreach(json_object_get(model, "merges"), i, pair)
        fprintf(f, "%s %s\n", json_string_value(json_array_get(pair, 0)), json_string_value(json_array_get(pair, 1)));
    fclose(f);
    return lines;
}

/* All ids in a row, then each alone. */
static void same_texts(const attn_tokenizer *a, const attn_tokenizer *b, attn_arena *arena)
{
    size_t size = attn_tokenizer_vocab_size(b);
    int32_t *ids = malloc(size * sizeof *ids);
    ck_assert_uint_eq(attn_tokenizer_vocab_size(a), size);
    for (size_t i = 0; i < size; i++)
        ids[i] = (int32_t)i;
    for (size_t i = 0; i <= size; i++) {
        attn_text one, other;
        size_t n = i < size ? 1 : size;
        ck_assert_int_eq(attn_tokenizer_decode(a, ids + i % size, n, arena, &one, NULL), ATTN_OK);
        ck_assert_int_eq(attn_tokenizer_decode(b, ids + i % size, n, arena, &other, NULL), ATTN_OK);
        ck_assert(one.length == other.length && memcmp(one.bytes, other.bytes, one.length) == 0);
    }
    free(ids);
}

static void same_as_whole(const attn_tokenizer *t, const char *path)
{
    attn_tokenizer *whole = open_file(path);
    attn_arena *arena = attn_arena_new();
    attn_text text = { .bytes = "The caf\xC3\xA9's 12  [MASK] <mask> cats<|endoftext|> sat.", .length = 50 };
    attn_encode_options options = { .add_special_tokens = true };
    attn_encoding a = encode_fine(t, &text, &text, options, arena), b = encode_fine(whole, &text, &text, options, arena);
    ck_assert_uint_eq(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        ck_assert_int_eq(a.tokens[i].id, b.tokens[i].id);
        ck_assert(a.tokens[i].start == b.tokens[i].start && a.tokens[i].end == b.tokens[i].end);
        ck_assert(a.tokens[i].type_id == b.tokens[i].type_id && a.tokens[i].special == b.tokens[i].special);
        ck_assert(a.tokens[i].display.length == b.tokens[i].display.length);
    }
    same_texts(t, whole, arena);
    attn_arena_free(arena);
    attn_tokenizer_close(whole);
}

START_TEST(a_list_of_pieces_does_as_the_whole_file)
{
    attn_tokenizer *t;
    attn_error err = { .code = ATTN_OK };
    char *lines = vocabulary_lines(SMALL_BERT);
    ck_assert_msg(attn_tokenizer_open_vocabulary(&t, (attn_text){ lines, strlen(lines) }, true, &err) == ATTN_OK, "%s", err.text);
    same_as_whole(t, SMALL_BERT);
    attn_tokenizer_close(t);
    free(lines);
}
END_TEST

START_TEST(a_vocabulary_and_its_merges_do_as_the_whole_file)
{
    char shared[512];
    const char *path = _i ? shared_path(shared, "tokenizers/small-roberta/tokenizer.json") : SMALL_GPT2;
    size_t size;
    char *there = read_whole(path, &size);
    free(there);
    if (!there && skip_missing(path))
        return;
    attn_tokenizer *t;
    attn_error err = { .code = ATTN_OK };
    json_t *document = load_json(path), *model = json_object_get(document, "model");
    char *vocabulary = json_dumps(json_object_get(model, "vocab"), 0), *lines = merge_lines(model);
    attn_text merges = { lines, strlen(lines) };
    ck_assert_msg(attn_tokenizer_open_merges(&t, (attn_text){ vocabulary, strlen(vocabulary) }, merges, &err) == ATTN_OK, "%s", err.text);
    same_as_whole(t, path);
    attn_tokenizer_close(t);
    free(lines);
    free(vocabulary);
    json_decref(document);
}
END_TEST

static const struct {
    const char *vocabulary, *merges, *where, *says;
} broken_files[] = {
    { "[UNK]\n[CLS]\n", NULL, "vocab.txt", "has no piece [SEP]" },
    { "[CLS]\r\n[SEP]\r\na\n", NULL, "vocab.txt", "/model/unk_token: not a piece" },
    { "", NULL, "vocab.txt", "has no piece [CLS]" },
    { "[UNK]\n\xFF\n", NULL, "vocab.txt", "line 2 is not UTF-8" },
    { "[]", "", "vocab.json", "an array, but must be an object" },
    { "{\"a\":", "", "vocab.json", "not JSON" },
    { "{\"a\":0}", "\n\xFF a\n", "merges.txt", "line 2 is not UTF-8" },
    { "{\"a\":0}", "#version: 0.2\na b\n", "vocab.json", "/model/merges/1: the second one is not a piece" },
    { "{\"a\":0}", "a\n", "vocab.json", "/model/merges/0: must be two pieces" },
};

START_TEST(older_files_that_are_damaged_are_refused)
{
    attn_tokenizer *t;
    attn_error err = { .code = ATTN_OK };
    attn_text vocabulary = { broken_files[_i].vocabulary, strlen(broken_files[_i].vocabulary) };
    attn_text merges = { broken_files[_i].merges, broken_files[_i].merges ? strlen(broken_files[_i].merges) : 0 };
    attn_status st = merges.bytes ? attn_tokenizer_open_merges(&t, vocabulary, merges, &err) : attn_tokenizer_open_vocabulary(&t, vocabulary, true, &err);
    ck_assert_int_eq(st, ATTN_E_FORMAT);
    ck_assert_ptr_null(t);
    ck_assert_str_eq(err.where, broken_files[_i].where);
    ck_assert_msg(strstr(err.text, broken_files[_i].says) != NULL, "\"%s\" does not say \"%s\"", err.text, broken_files[_i].says);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tokenizer files");
    TCase *c = tcase_create("files");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, a_broken_file_is_refused_with_place_and_reason, 0, (int)(sizeof broken / sizeof *broken));
    tcase_add_test(c, a_sound_file_is_taken);
    tcase_add_test(c, nesting_and_growth_have_limits);
    tcase_add_test(c, every_prefix_of_a_file_is_refused);
    tcase_add_loop_test(c, memory_that_ends_anywhere_is_an_error_and_leaks_nothing, 0, 2);
    tcase_add_test(c, a_list_of_pieces_does_as_the_whole_file);
    tcase_add_loop_test(c, a_vocabulary_and_its_merges_do_as_the_whole_file, 0, 2);
    tcase_add_loop_test(c, older_files_that_are_damaged_are_refused, 0, (int)(sizeof broken_files / sizeof *broken_files));
    suite_add_tcase(s, c);
    return unit_main(s);
}

/* test_broken_models.c - a model that is damaged, or asks for what is not known, is refused with the file, the tensor or key, what was expected and
 * what was found.
 *
 * Each row takes a sound model, makes one change, and says what opening it must answer. None may crash, hang or leak (the sanitizers watch).
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "attn.h"
#include "model/family.h"
#include "model_files.h"

typedef enum change {
    REPLACE,   /* `find` by `with`, in a safetensors file's header */
    WRITE,     /* the whole file becomes `with` */
    CUT,       /* the last `size` bytes go */
    KEEP,      /* only the first `size` bytes stay */
    APPEND,    /* `with` behind the end */
    HEADER,    /* the header's length becomes `size` */
    REMOVE,    /* no such file */
    DIRECTORY, /* a directory in its place */
    FIFO,      /* a pipe that nobody writes */
    FILL       /* the tensor `find` is NaN; with "inf", infinite */
} change;

typedef struct broken {
    change change;
    const char *file, *find, *with;
    attn_status status;
    const char *where, *text; /* all of one, a part of the other */
    size_t size;
} broken;

#define CONFIG           "config.json"
#define WEIGHTS          "model.safetensors"
#define INDEX            "model.safetensors.index.json"
#define SHARD            "model-00002-of-00002.safetensors"
#define AT_CONFIG(key)   "config.json: " key
#define AT_WEIGHTS(name) "model.safetensors: " name
#define TEN              "[[[[[[[[[["
#define HUNDRED          TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND         HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

static const broken in_one_file[] = {
    /* config.json as a file */
    { REMOVE, CONFIG, "", "", ATTN_E_IO, CONFIG, "No such file", 0 },
    { DIRECTORY, CONFIG, "", "", ATTN_E_IO, CONFIG, "is not a regular file", 0 },
    { FIFO, CONFIG, "", "", ATTN_E_IO, CONFIG, "is not a regular file", 0 },
    { WRITE, CONFIG, "", "", ATTN_E_FORMAT, CONFIG, "is not valid JSON", 0 },
    { CUT, CONFIG, "", "", ATTN_E_FORMAT, CONFIG, "is not valid JSON", 30 },
    { WRITE, CONFIG, "", "[]", ATTN_E_FORMAT, CONFIG, "is not a JSON object", 0 },
    { WRITE, CONFIG, "", "{} {}", ATTN_E_FORMAT, CONFIG, "is not valid JSON", 0 },
    { WRITE, CONFIG, "", "\xEF\xBB\xBF{}", ATTN_E_FORMAT, CONFIG, "is not valid JSON", 0 },
    { WRITE, CONFIG, "", "{\"\xFF\": 1}", ATTN_E_FORMAT, CONFIG, "is not valid JSON", 0 },
    { WRITE, CONFIG, "", THOUSAND THOUSAND THOUSAND, ATTN_E_FORMAT, CONFIG, "is not valid JSON", 0 },
    { REPLACE, CONFIG, "\"use_cache\": true", "\"use_cache\": true, \"use_cache\": true", ATTN_E_FORMAT, CONFIG, "duplicate", 0 },
    /* the family */
    { REPLACE, CONFIG, "\"model_type\": \"bert\",", "", ATTN_E_UNSUPPORTED, AT_CONFIG("model_type"), "is missing or not a string, known are: bert", 0 },
    { REPLACE, CONFIG, "\"model_type\": \"bert\"", "\"model_type\": 3", ATTN_E_UNSUPPORTED, AT_CONFIG("model_type"), "is missing or not a string", 0 },
    { REPLACE, CONFIG, "\"model_type\": \"bert\"", "\"model_type\": \"mamba\"", ATTN_E_UNSUPPORTED, AT_CONFIG("model_type"), "is \"mamba\", known are: bert",
      0 },
    /* words and switches that ask for another formula */
    { REPLACE, CONFIG, "\"gelu\"", "\"mish\"", ATTN_E_UNSUPPORTED, AT_CONFIG("hidden_act"), "is \"mish\", known are: gelu ", 0 },
    { REPLACE, CONFIG, "\"gelu\"", "\"GELU\"", ATTN_E_UNSUPPORTED, AT_CONFIG("hidden_act"), "is \"GELU\"", 0 },
    { REPLACE, CONFIG, "\"gelu\"", "7", ATTN_E_FORMAT, AT_CONFIG("hidden_act"), "is 7, known are:", 0 },
    { REPLACE, CONFIG, "\"hidden_act\": \"gelu\",", "", ATTN_E_FORMAT, AT_CONFIG("hidden_act"), "is missing, known are:", 0 },
    { REPLACE, CONFIG, "\"use_cache\"", "\"position_embedding_type\": \"relative_key\", \"use_cache\"", ATTN_E_UNSUPPORTED,
      AT_CONFIG("position_embedding_type"), "is \"relative_key\", known are: absolute", 0 },
    { REPLACE, CONFIG, "\"is_decoder\": false", "\"is_decoder\": true", ATTN_E_UNSUPPORTED, AT_CONFIG("is_decoder"), "is true, which is not supported", 0 },
    { REPLACE, CONFIG, "\"add_cross_attention\": false", "\"add_cross_attention\": true", ATTN_E_UNSUPPORTED, AT_CONFIG("add_cross_attention"), "is true", 0 },
    { REPLACE, CONFIG, "\"use_cache\"", "\"quantization_config\": {\"bits\": 4}, \"use_cache\"", ATTN_E_UNSUPPORTED, AT_CONFIG("quantization_config"),
      "is {\"bits\":4}", 0 },
    { REPLACE, CONFIG, "\"use_cache\"", "\"auto_map\": {\"AutoModel\": \"own.py\"}, \"use_cache\"", ATTN_E_UNSUPPORTED, AT_CONFIG("auto_map"), "not supported",
      0 },
    { REPLACE, CONFIG, "\"use_cache\"", "\"pruned_heads\": {\"0\": [1]}, \"use_cache\"", ATTN_E_UNSUPPORTED, AT_CONFIG("pruned_heads"), "is {\"0\":[1]}", 0 },
    /* sizes */
    { REPLACE, CONFIG, "\"hidden_size\": 32,", "", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is missing, must be an integer from 1 to 65536", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": null", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is null", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": 0", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is 0, must be", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": -32", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is -32, must be", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": true", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is true, must be", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": \"32\"", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is \"32\", must be", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": 32.5", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is 32.5, must be", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": 4294967328", ATTN_E_FORMAT, AT_CONFIG("hidden_size"), "is 4294967328, must be", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": 99999999999999999999", ATTN_E_FORMAT, CONFIG, "too big integer", 0 },
    { REPLACE, CONFIG, "\"hidden_size\": 32", "\"hidden_size\": 36", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.word_embeddings.weight"),
      "shape is [900, 32], expected [900, 36]", 0 },
    { REPLACE, CONFIG, "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", ATTN_E_FORMAT, AT_CONFIG("num_attention_heads"),
      "is 5, which does not divide hidden_size, 32", 0 },
    { REPLACE, CONFIG, "\"num_attention_heads\": 4", "\"num_attention_heads\": 0", ATTN_E_FORMAT, AT_CONFIG("num_attention_heads"), "is 0, must be", 0 },
    { REPLACE, CONFIG, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 1000000", ATTN_E_FORMAT, AT_CONFIG("num_hidden_layers"),
      "must be an integer from 1 to 1024", 0 },
    { REPLACE, CONFIG, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", ATTN_E_FORMAT, AT_WEIGHTS("encoder.layer.3.attention.self.query.weight"),
      "the tensor is missing, expected [32, 32]", 0 },
    { REPLACE, CONFIG, "\"intermediate_size\": 48", "\"intermediate_size\": 64", ATTN_E_FORMAT, AT_WEIGHTS("encoder.layer.0.intermediate.dense.weight"),
      "shape is [48, 32], expected [64, 32]", 0 },
    { REPLACE, CONFIG, "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 65", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.position_embeddings.weight"),
      "shape is [64, 32], expected [65, 32]", 0 },
    { REPLACE, CONFIG, "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 0", ATTN_E_FORMAT, AT_CONFIG("max_position_embeddings"), "is 0", 0 },
    { REPLACE, CONFIG, "\"type_vocab_size\": 2", "\"type_vocab_size\": 0", ATTN_E_FORMAT, AT_CONFIG("type_vocab_size"), "is 0", 0 },
    { REPLACE, CONFIG, "\"vocab_size\": 900", "\"vocab_size\": 901", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.word_embeddings.weight"),
      "shape is [900, 32], expected [901, 32]", 0 },
    { REPLACE, CONFIG, "\"layer_norm_eps\": 1e-12,", "", ATTN_E_FORMAT, AT_CONFIG("layer_norm_eps"), "is missing, must be a number", 0 },
    { REPLACE, CONFIG, "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 0", ATTN_E_FORMAT, AT_CONFIG("layer_norm_eps"), "is 0, must be a number", 0 },
    { REPLACE, CONFIG, "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1e-12", ATTN_E_FORMAT, AT_CONFIG("layer_norm_eps"), "must be a number", 0 },
    { REPLACE, CONFIG, "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": \"1e-12\"", ATTN_E_FORMAT, AT_CONFIG("layer_norm_eps"), "is \"1e-12\"", 0 },
    { REPLACE, CONFIG, "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": NaN", ATTN_E_FORMAT, CONFIG, "is not valid JSON", 0 },
    { REPLACE, CONFIG, "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 1e999", ATTN_E_FORMAT, CONFIG, "is not valid JSON", 0 },
    /* tokenizer.json */
    { DIRECTORY, "tokenizer.json", "", "", ATTN_E_IO, "tokenizer.json", "is not a regular file", 0 },
    /* model.safetensors as a file */
    { REMOVE, WEIGHTS, "", "", ATTN_E_IO, WEIGHTS, "is missing, and so is model.safetensors.index.json", 0 },
    { DIRECTORY, WEIGHTS, "", "", ATTN_E_IO, WEIGHTS, "is not a regular file", 0 },
    { FIFO, WEIGHTS, "", "", ATTN_E_IO, WEIGHTS, "is not a regular file", 0 },
    { KEEP, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "is 0 bytes long", 0 },
    { KEEP, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "is 7 bytes long", 7 },
    { KEEP, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "only 0 follow", 8 },
    { KEEP, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "only 992 follow", 1000 },
    { HEADER, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "says that its header takes 18446744073709551615 bytes, at most 100000000 are read", SIZE_MAX },
    { HEADER, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "says that its header takes 99999999 bytes, only", 99999999 },
    { HEADER, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "does not begin with '{'", 0 },
    { HEADER, WEIGHTS, "", "", ATTN_E_FORMAT, WEIGHTS, "is not valid JSON", 100 },
    { REPLACE, WEIGHTS, "{\"__metadata__\"", " {\"__metadata__\"", ATTN_E_FORMAT, WEIGHTS, "does not begin with '{'", 0 },
    { REPLACE, WEIGHTS, "\"F32\",", "\"F32\"", ATTN_E_FORMAT, WEIGHTS, "its header is not valid JSON at line 1, column", 0 },
    { REPLACE, WEIGHTS, "embeddings.LayerNorm.bias", "\xC3(", ATTN_E_FORMAT, WEIGHTS, "is not valid JSON", 0 },
    { REPLACE, WEIGHTS, "embeddings.LayerNorm.bias", "embeddings.LayerNorm.weight", ATTN_E_FORMAT, WEIGHTS, "duplicate", 0 },
    { APPEND, WEIGHTS, "", "abc", ATTN_E_FORMAT, WEIGHTS, "3 bytes at the end belong to no tensor", 0 },
    { CUT, WEIGHTS, "", "", ATTN_E_FORMAT, AT_WEIGHTS("pooler.dense.weight"), "end behind the file's", 1 },
    /* what its header says */
    { REPLACE, WEIGHTS, "{\"format\":\"pt\"}", "{\"format\":1}", ATTN_E_FORMAT, AT_WEIGHTS("__metadata__"), "\"format\" is not a string", 0 },
    { REPLACE, WEIGHTS, "{\"format\":\"pt\"}", "7", ATTN_E_FORMAT, AT_WEIGHTS("__metadata__"), "is not an object", 0 },
    { REPLACE, WEIGHTS, "{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[0,128]}", "[]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"),
      "is not an object of dtype", 0 },
    { REPLACE, WEIGHTS, "[0,128]", "[0,128],\"more\":1", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "is not an object of dtype", 0 },
    { REPLACE, WEIGHTS, "\"F32\"", "\"F33\"", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "dtype \"F33\" is not one", 0 },
    { REPLACE, WEIGHTS, "\"F32\"", "32", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "dtype is missing or not a string", 0 },
    { REPLACE, WEIGHTS, "\"F32\"", "\"I32\"", ATTN_E_UNSUPPORTED, AT_WEIGHTS("embeddings.LayerNorm.bias"),
      "dtype is I32, weights are read from F32, F16 and BF16", 0 },
    { REPLACE, WEIGHTS, "\"F32\"", "\"F64\"", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "data_offsets hold 128 bytes, F64 [32] takes 256", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":32", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "shape is missing or not an array", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":[-32]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "dimension 0 of shape is not", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":[32.0]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "dimension 0 of shape is not", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":[9223372036854775807,2,32]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"),
      "too large for any memory", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":[4294967296,4294967296]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"),
      "too large for any memory", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":[1,1,1,1,1,1,1,1,32]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "has 9 dimensions", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":[31]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"),
      "data_offsets hold 128 bytes, F32 [31] takes 124", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[32]", "\"shape\":[4,8]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "shape is [4, 8], expected [32]", 0 },
    { REPLACE, WEIGHTS, "\"shape\":[64,32]", "\"shape\":[32,64]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.position_embeddings.weight"),
      "shape is [32, 64], expected [64, 32]", 0 },
    { REPLACE, WEIGHTS, "[0,128]", "[128,0]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "data_offsets [128, 0] end before they begin", 0 },
    { REPLACE, WEIGHTS, "[0,128]", "[-128,0]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "not two integers", 0 },
    { REPLACE, WEIGHTS, "[0,128]", "[0,128,256]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "not two integers", 0 },
    { REPLACE, WEIGHTS, "[0,128]", "[0,9223372036854775807]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"), "end behind the file's", 0 },
    { REPLACE, WEIGHTS, "[128,256]", "[64,192]", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.weight"), "overlaps that of embeddings.LayerNorm.bias", 0 },
    { REPLACE, WEIGHTS, "\"embeddings.LayerNorm.bias\":{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[0,128]},", "", ATTN_E_FORMAT,
      AT_WEIGHTS("embeddings.LayerNorm.weight"), "128 bytes before its data belong to no tensor", 0 },
    { REPLACE, WEIGHTS, "embeddings.LayerNorm.bias", "embeddings.LayerNorm.bios", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.LayerNorm.bias"),
      "the tensor is missing, expected [32]", 0 },
    { FILL, WEIGHTS, "encoder.layer.1.output.dense.weight", "nan", ATTN_E_FORMAT, AT_WEIGHTS("encoder.layer.1.output.dense.weight"), "not finite", 0 },
    { FILL, WEIGHTS, "encoder.layer.2.output.dense.bias", "inf", ATTN_E_FORMAT, AT_WEIGHTS("encoder.layer.2.output.dense.bias"), "not finite", 0 },
    { FILL, WEIGHTS, "embeddings.word_embeddings.weight", "nan", ATTN_E_FORMAT, AT_WEIGHTS("embeddings.word_embeddings.weight"), "not finite", 0 },
};

static const broken in_shards[] = {
    { REMOVE, SHARD, "", "", ATTN_E_IO, SHARD, "No such file", 0 },
    { REMOVE, INDEX, "", "", ATTN_E_IO, WEIGHTS, "is missing, and so is", 0 },
    { WRITE, INDEX, "", "{", ATTN_E_FORMAT, INDEX, "is not valid JSON", 0 },
    { WRITE, INDEX, "", "[]", ATTN_E_FORMAT, INDEX ": weight_map", "is missing, empty or not an object", 0 },
    { WRITE, INDEX, "", "{\"weight_map\": []}", ATTN_E_FORMAT, INDEX ": weight_map", "is missing, empty or not an object", 0 },
    { WRITE, INDEX, "", "{\"weight_map\": {}}", ATTN_E_FORMAT, INDEX ": weight_map", "is missing, empty or not an object", 0 },
    { WRITE, INDEX, "", "{\"weight_map\": {\"a\": 1}}", ATTN_E_FORMAT, INDEX ": a", "not the name of a file", 0 },
    { WRITE, INDEX, "", "{\"weight_map\": {\"a\": \"\"}}", ATTN_E_FORMAT, INDEX ": a", "not the name of a file", 0 },
    { WRITE, INDEX, "", "{\"weight_map\": {\"a\": \"..\"}}", ATTN_E_FORMAT, INDEX ": a", "not the name of a file", 0 },
    { WRITE, INDEX, "", "{\"weight_map\": {\"a\": \"../bert/model.safetensors\"}}", ATTN_E_FORMAT, INDEX ": a", "not the name of a file", 0 },
    { WRITE, INDEX, "", "{\"weight_map\": {\"a\": \"/etc/passwd\"}}", ATTN_E_FORMAT, INDEX ": a", "not the name of a file", 0 },
    { REPLACE, INDEX, "\"weight_map\": {", "\"weight_map\": {\"a\": \"" SHARD "\",", ATTN_E_FORMAT, INDEX ": a",
      "is said to be in " SHARD ", which does not hold it", 0 },
    { REPLACE, INDEX, "LayerNorm.bias\": \"model-00001", "LayerNorm.bias\": \"model-00002", ATTN_E_FORMAT, INDEX ": embeddings.LayerNorm.bias",
      "which does not hold it", 0 },
    { REPLACE, SHARD, "pooler.dense.bias", "embeddings.LayerNorm.bias", ATTN_E_FORMAT, SHARD ": embeddings.LayerNorm.bias",
      "is in model-00001-of-00002.safetensors as well", 0 },
    { CUT, SHARD, "", "", ATTN_E_FORMAT, SHARD ": pooler.dense.weight", "end behind the file's", 4 },
    { REPLACE, CONFIG, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", ATTN_E_FORMAT, INDEX ": encoder.layer.3.attention.self.query.weight",
      "the tensor is missing", 0 },
};

static void apply(const model_copy *copy, const broken *b)
{
    char path[300];
    model_file file = file_read(copy->path, b->file);
    size_t n = b->change == CUT ? file.size - b->size : b->change == KEEP ? b->size : file.size;
    uint64_t header = b->size;
    file_path(path, sizeof path, copy->path, b->file);
    if (b->change == HEADER)
        memcpy(file.bytes, &header, sizeof header);
    if (b->change == REPLACE)
        file_replace(copy, b->file, b->find, b->with);
    else if (b->change == FILL)
        tensor_fill(copy, b->find, strcmp(b->with, "inf") == 0 ? INFINITY : NAN);
    else
        file_remove(copy->path, b->file);
    if (b->change == DIRECTORY)
        ck_assert_int_eq(mkdir(path, 0700), 0);
    if (b->change == FIFO)
        ck_assert_int_eq(mkfifo(path, 0600), 0);
    if (b->change == WRITE)
        file_write(copy->path, b->file, b->with, strlen(b->with));
    if (b->change == CUT || b->change == KEEP || b->change == HEADER)
        file_write(copy->path, b->file, file.bytes, n);
    if (b->change == APPEND) {
        file.bytes = realloc(file.bytes, n + strlen(b->with));
        memcpy(file.bytes + n, b->with, strlen(b->with));
        file_write(copy->path, b->file, file.bytes, n + strlen(b->with));
    }
    free(file.bytes);
}

static attn_status open_copy(const char *source, attn_error *err)
{
    attn_runtime *rt = NULL;
    attn_model *m = NULL;
    attn_runtime_options options = { .threads = 1 };
    ck_assert_int_eq(attn_runtime_new(&rt, &options, err), ATTN_OK);
    attn_status st = attn_model_open(&m, rt, source, err);
    ck_assert_int_eq(st == ATTN_OK, m != NULL);
    attn_model_close(m);
    attn_runtime_free(rt);
    return st;
}

static void check(const char *model, const broken *b)
{
    attn_error err = { 0 };
    model_copy copy = copy_model(model);
    apply(&copy, b);
    attn_status st = open_copy(copy.path, &err);
    remove_copy(&copy);
    ck_assert_msg(st == b->status && err.code == st, "status %d of %s %s %s", (int)st, b->file, b->find, b->with);
    ck_assert_msg(strcmp(err.where, b->where) == 0, "%s (%s) for %s", err.where, err.text, b->where);
    ck_assert_msg(strstr(err.text, b->text) != NULL, "%s: %s, for %s", err.where, err.text, b->text);
}

START_TEST(a_model_with_one_thing_wrong_is_refused_by_name)
{
    check("tests/golden/models/bert", &in_one_file[_i]);
}
END_TEST

START_TEST(a_sharded_model_with_one_thing_wrong_is_refused_by_name)
{
    check("tests/golden/models/bert-sharded", &in_shards[_i]);
}
END_TEST

START_TEST(weights_in_another_form_are_refused_with_the_way_out)
{
    static const char *const cases[][2] = {
        { "pytorch_model.bin", "glob('pytorch_model.bin')" },
        { "pytorch_model.bin.index.json", "glob('pytorch_model-*.bin')" },
        { "tf_model.h5", "from_tf=True" },
        { "flax_model.msgpack", "from_flax=True" },
        { "consolidated.00.pth", "glob('*.pth')" },
        { "model.pt", "glob('*.pt')" },
        { "adapter_model.bin", "glob('*model.bin')" },
    };
    attn_error err = { 0 };
    model_copy copy = copy_model("tests/golden/models/bert");
    file_remove(copy.path, WEIGHTS);
    file_write(copy.path, "training_args.bin", "x", 1); /* no weights */
    if (_i == 0)
        file_write(copy.path, "a.pt", "x", 1); /* the usual name goes first */
    file_write(copy.path, cases[_i][0], "x", 1);
    ck_assert_int_eq(open_copy(copy.path, &err), ATTN_E_UNSUPPORTED);
    ck_assert_str_eq(err.where, cases[_i][0]);
    ck_assert_ptr_nonnull(strstr(err.text, "once, in the model's directory"));
    ck_assert_ptr_nonnull(strstr(err.text, "python3 -c \""));
    ck_assert_ptr_nonnull(strstr(err.text, cases[_i][1]));
    ck_assert_int_eq(err.text[strlen(err.text) - 1], '"'); /* the command is whole */
    remove_copy(&copy);
}
END_TEST

START_TEST(a_folder_without_weights_lacks_model_safetensors)
{
    attn_error err = { 0 };
    model_copy copy = copy_model("tests/golden/models/bert");
    file_remove(copy.path, WEIGHTS);
    file_write(copy.path, "training_args.bin", "x", 1);
    file_write(copy.path, "\033[31m.pt", "x", 1); /* not shown to a terminal */
    ck_assert_int_eq(open_copy(copy.path, &err), ATTN_E_IO);
    ck_assert_str_eq(err.where, WEIGHTS);
    remove_copy(&copy);
}
END_TEST

/* The hub's cache is made of links; one whose blob is gone must not make a model without a tokenizer. */
START_TEST(a_link_that_leads_nowhere_is_named)
{
    static const char *const names[] = { CONFIG, WEIGHTS, "tokenizer.json" };
    attn_error err = { 0 };
    char path[300];
    model_copy copy = copy_model("tests/golden/models/bert");
    file_path(path, sizeof path, copy.path, names[_i]);
    file_remove(copy.path, names[_i]);
    ck_assert_int_eq(symlink("../../blobs/gone", path), 0);
    ck_assert_int_eq(open_copy(copy.path, &err), ATTN_E_IO);
    ck_assert_str_eq(err.where, names[_i]);
    ck_assert_ptr_nonnull(strstr(err.text, "No such file"));
    remove_copy(&copy);
}
END_TEST

START_TEST(the_list_of_families_is_whole_whatever_was_asked_for)
{
    attn_error err = { 0 };
    char names[1024], config[400] = "{\"model_type\": \"";
    attn_family_names(names, sizeof names);
    memset(config + strlen(config), 'x', 200);
    strcat(config, "\"}");
    model_copy copy = copy_model("tests/golden/models/bert");
    file_write(copy.path, CONFIG, config, strlen(config));
    ck_assert_int_eq(open_copy(copy.path, &err), ATTN_E_UNSUPPORTED);
    ck_assert_msg(strlen(err.text) > strlen(names) && strcmp(err.text + strlen(err.text) - strlen(names), names) == 0, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "xxx\", known are: bert, "));
    remove_copy(&copy);
}
END_TEST

START_TEST(a_source_that_is_none_is_named)
{
    static const struct {
        const char *source;
        attn_status status;
        const char *text;
    } cases[] = {
        { "tests/golden/models/none", ATTN_E_IO, "No such file" },
        { "tests/golden/models/bert/config.json", ATTN_E_IO, "Not a directory" },
        { "", ATTN_E_IO, "No such file" },
        { "builtin:", ATTN_E_UNSUPPORTED, "there are: attnd-bert, attnd-gpt, attnd-translate" },
        { "builtin:attnd-BERT", ATTN_E_UNSUPPORTED, "there are: attnd-bert, attnd-gpt, attnd-translate" },
        { "tests/golden", ATTN_E_IO, "No such file" }, /* a directory without a model */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err = { 0 };
        ck_assert_int_eq(open_copy(cases[i].source, &err), cases[i].status);
        ck_assert_str_eq(err.where, i == 5 ? CONFIG : cases[i].source);
        ck_assert_ptr_nonnull(strstr(err.text, cases[i].text));
    }
}
END_TEST

/* What a file may hold beyond the usual without being any worse. */
START_TEST(harmless_oddities_are_taken)
{
    static const broken fine[] = {
        { REPLACE, CONFIG, "\"use_cache\": true", "\"a_key_of_mine\": {\"x\": [1]}", ATTN_OK, "", "", 0 },
        { REPLACE, CONFIG, "\"use_cache\": true", "\"position_embedding_type\": null", ATTN_OK, "", "", 0 },
        { REPLACE, CONFIG, "\"use_cache\": true", "\"position_embedding_type\": \"absolute\"", ATTN_OK, "", "", 0 },
        { REPLACE, CONFIG, "\"use_cache\": true", "\"pruned_heads\": {}, \"quantization_config\": null", ATTN_OK, "", "", 0 },
        { REPLACE, CONFIG, "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 1", ATTN_OK, "", "", 0 },
        { REPLACE, CONFIG, "\"architectures\": [\n    \"BertModel\"\n  ],", "", ATTN_OK, "", "", 0 },
        { REPLACE, WEIGHTS, "\"__metadata__\":{\"format\":\"pt\"},", "", ATTN_OK, "", "", 0 },
        { REPLACE, WEIGHTS, "\"__metadata__\"", "\"nothing\":{\"dtype\":\"F4\",\"shape\":[0],\"data_offsets\":[0,0]},\"__metadata__\"", ATTN_OK, "", "", 0 },
        { REPLACE, WEIGHTS, "{\"format\":\"pt\"}", "{}\n ", ATTN_OK, "", "", 0 },
        { REMOVE, "tokenizer.json", "", "", ATTN_OK, "", "", 0 },
        { REPLACE, "tokenizer.json", "\"[MASK]\": 4,", "\"[MASK]\": 4, \"beyond\": 5000,", ATTN_OK, "", "", 0 },
    };
    check("tests/golden/models/bert", &fine[_i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("broken_models");
    TCase *tcase = tcase_create("broken");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, a_model_with_one_thing_wrong_is_refused_by_name, 0, sizeof in_one_file / sizeof *in_one_file);
    tcase_add_loop_test(tcase, a_sharded_model_with_one_thing_wrong_is_refused_by_name, 0, sizeof in_shards / sizeof *in_shards);
    tcase_add_loop_test(tcase, weights_in_another_form_are_refused_with_the_way_out, 0, 7);
    tcase_add_test(tcase, a_folder_without_weights_lacks_model_safetensors);
    tcase_add_loop_test(tcase, a_link_that_leads_nowhere_is_named, 0, 3);
    tcase_add_test(tcase, the_list_of_families_is_whole_whatever_was_asked_for);
    tcase_add_test(tcase, a_source_that_is_none_is_named);
    tcase_add_loop_test(tcase, harmless_oddities_are_taken, 0, 11);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}

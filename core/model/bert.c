/* bert.c - BERT (Devlin 2018) and those whose files name the same tensors: RoBERTa (Liu 2019) and XLM-RoBERTa (Conneau 2019), which count positions from behind
 * the padding's; ELECTRA (Clark 2020), whose embeddings may be narrower than its layers.
 *
 * Any size. What a task's head adds behind the last layer is not needed here; its tensors are listed as unused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/encoder_blocks.h"

#define PART  ATTN_ENCODER_PART
#define LAYER ATTN_ENCODER_LAYER
#define D     ATTN_DIM_HIDDEN
#define E     ATTN_DIM_EMBEDDING
#define F     ATTN_DIM_FEED
static const attn_bind binds[] = {
    { "embeddings.word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, E }, PART(embeddings.word) },
    { "embeddings.position_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_POSITION, E }, PART(embeddings.position) },
    { "embeddings.token_type_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_SEGMENT, E }, PART(embeddings.segment) },
    { "embeddings.LayerNorm.weight", ATTN_STORE_FLOATS, { E }, PART(embeddings.norm.gain) },
    { "embeddings.LayerNorm.bias", ATTN_STORE_FLOATS, { E }, PART(embeddings.norm.shift) },
    { "embeddings_project.weight", ATTN_STORE_PANELS | ATTN_WHEN(ATTN_ENCODER_PROJECTED), { D, E }, PART(project.w) },
    { "embeddings_project.bias", ATTN_STORE_FLOATS | ATTN_WHEN(ATTN_ENCODER_PROJECTED), { D }, PART(project.bias) },
    { "encoder.layer.%zu.attention.self.query.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.query.w) },
    { "encoder.layer.%zu.attention.self.query.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.query.bias) },
    { "encoder.layer.%zu.attention.self.key.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.key.w) },
    { "encoder.layer.%zu.attention.self.key.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.key.bias) },
    { "encoder.layer.%zu.attention.self.value.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.value.w) },
    { "encoder.layer.%zu.attention.self.value.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.value.bias) },
    { "encoder.layer.%zu.attention.output.dense.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.output.w) },
    { "encoder.layer.%zu.attention.output.dense.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.output.bias) },
    { "encoder.layer.%zu.attention.output.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "encoder.layer.%zu.attention.output.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.shift) },
    { "encoder.layer.%zu.intermediate.dense.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "encoder.layer.%zu.intermediate.dense.bias", ATTN_STORE_FLOATS, { F }, LAYER(feed.up.bias) },
    { "encoder.layer.%zu.output.dense.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
    { "encoder.layer.%zu.output.dense.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed.down.bias) },
    { "encoder.layer.%zu.output.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "encoder.layer.%zu.output.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.shift) },
};
#undef D
#undef E
#undef F

static void bert_configure(attn_model *m, attn_config *c)
{
    attn_encoder_configure_like_bert(m, c);
    attn_encoder_configure_segments(m, c);
}

static void roberta_configure(attn_model *m, attn_config *c)
{
    bert_configure(m, c);
    attn_encoder_count_from(m, c, attn_config_size(c, "pad_token_id", 0, ATTN_MAX_POSITIONS));
}

static void electra_configure(attn_model *m, attn_config *c)
{
    bert_configure(m, c);
    attn_encoder_configure_embedding(m, c, false);
}

static const char *const bert_types[] = { "bert", NULL }, *const roberta_types[] = { "roberta", NULL }, *const xlm_roberta_types[] = { "xlm-roberta", NULL },
                         *const electra_types[] = { "electra", NULL };

const attn_family attn_family_bert = ATTN_ENCODER_FAMILY(bert_types, "BertModel", "bert.", bert_configure, attn_encoder_price, attn_encoder_forward);
const attn_family attn_family_roberta =
    ATTN_ENCODER_FAMILY(roberta_types, "RobertaModel", "roberta.", roberta_configure, attn_encoder_price, attn_encoder_forward);
const attn_family attn_family_xlm_roberta =
    ATTN_ENCODER_FAMILY(xlm_roberta_types, "XLMRobertaModel", "roberta.", roberta_configure, attn_encoder_price, attn_encoder_forward);
const attn_family attn_family_electra =
    ATTN_ENCODER_FAMILY(electra_types, "ElectraModel", "electra.", electra_configure, attn_encoder_price, attn_encoder_forward);

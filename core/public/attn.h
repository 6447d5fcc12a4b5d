/* attn.h - all of core that the layers above may use.
 *
 * The model of use. A process makes one attn_runtime (kernels and threads) and opens models with it. For every request: an attn_arena, an
 * attn_cancel with its deadline; text goes through attn_tokenizer_encode; attn_model_price (or attn_operator_price) says what a run will cost, before
 * anything is computed; attn_model_run (or attn_operator_run) computes and hands each layer to an attn_sink as soon as it exists; attn_select_layer and
 * attn_top_k cut the layer down to what was asked; attn_write_floats turns it into text, an attn_drawer into pictures.
 * Runtimes, models and tokenizers are read-only and shared by threads; arenas and cancels belong to one request.
 *
 * Core knows no HTTP, no request bodies and no sockets.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_H
#define ATTN_H

#include "attn_analyses.h"
#include "attn_attention.h"
#include "attn_base.h"
#include "attn_draw.h"
#include "attn_maps.h"
#include "attn_model.h"
#include "attn_number.h"
#include "attn_runtime.h"
#include "attn_tokenizer.h"

#endif

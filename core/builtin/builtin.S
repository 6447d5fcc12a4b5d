/* builtin.S - the files of the models inside the program, as bytes. core/model/embedded.c lists them by name; paths are seen from the repository's root.
 * SPDX-License-Identifier: Apache-2.0 */

.macro file symbol, path
    .balign 64
    .globl attn_builtin_\symbol
    .hidden attn_builtin_\symbol
    .type attn_builtin_\symbol, @object
attn_builtin_\symbol:
    .incbin "\path"
    .globl attn_builtin_\symbol\()_end
    .hidden attn_builtin_\symbol\()_end
attn_builtin_\symbol\()_end:
    .size attn_builtin_\symbol, . - attn_builtin_\symbol
    .byte 0
.endm

.section .rodata, "a", @progbits
file bert_config, "core/builtin/attnd-bert/config.json"
file bert_tokenizer, "core/builtin/attnd-bert/tokenizer.json"
file bert_weights, "core/builtin/attnd-bert/model.safetensors"
file gpt_config, "core/builtin/attnd-gpt/config.json"
file gpt_tokenizer, "core/builtin/attnd-gpt/tokenizer.json"
file gpt_weights, "core/builtin/attnd-gpt/model.safetensors"
file translate_config, "core/builtin/attnd-translate/config.json"
file translate_tokenizer, "core/builtin/attnd-translate/tokenizer.json"
file translate_weights, "core/builtin/attnd-translate/model.safetensors"

.section .note.GNU-stack, "", @progbits

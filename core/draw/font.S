/* font.S - the face inside the program, as bytes; made by make_font.sh. The path is seen from the repository's root.
 * SPDX-License-Identifier: Apache-2.0 */

.section .rodata, "a", @progbits
    .balign 64
    .globl attn_font_labels
    .hidden attn_font_labels
    .type attn_font_labels, @object
attn_font_labels:
    .incbin "core/draw/labels.ttf"
    .globl attn_font_labels_end
    .hidden attn_font_labels_end
attn_font_labels_end:
    .size attn_font_labels, . - attn_font_labels

.section .note.GNU-stack, "", @progbits

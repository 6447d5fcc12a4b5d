/* explorer.S - the explorer's files, inside the program, and the list of them for pages.c: name, first byte, end; a NULL name ends it.
 * A file of the page that is not listed here does not exist. Paths are seen from the repository's root.
 * SPDX-License-Identifier: Apache-2.0 */

.macro file name
    .section .rodata.explorer, "a", %progbits
1:  .asciz "\name"
    .balign 16
2:  .incbin "api/explorer/\name"
3:
    .section .data.rel.ro.explorer, "aw", %progbits
    .quad 1b, 2b, 3b
.endm

    .section .data.rel.ro.explorer, "aw", %progbits
    .balign 16
    .global api_explorer_files
    .hidden api_explorer_files
api_explorer_files:
    file "index.html"
    file "explorer.css"
    file "api.js"
    file "colour.js"
    file "display.js"
    file "dom.js"
    file "grid.js"
    file "help.js"
    file "inputs.js"
    file "main.js"
    file "patterns.js"
    file "run.js"
    file "state.js"
    file "text.js"
    file "tokens.js"
    file "views.js"
    file "context.js"
    file "figures.js"
    file "files.js"
    file "neuron.js"
    file "own.js"
    file "presets.js"
    file "steps.css"
    file "steps.js"
    file "growth.js"
    file "long.js"
    file "generate.js"
    file "written.js"
    file "writing.css"
    file "align.js"
    file "compare.js"
    file "export.js"
    file "heatmap.js"
    file "heatmap_paint.js"
    file "heatmap_view.js"
    file "label_text.js"
    file "lines.js"
    file "lines_paint.js"
    file "numbers.js"
    file "pen.js"
    file "shown.js"
    file "table.js"
    file "viewport.js"
    file "views.css"
    .section .data.rel.ro.explorer, "aw", %progbits
    .quad 0, 0, 0

    .section .note.GNU-stack, "", %progbits

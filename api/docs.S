/* docs.S - the contract for people, inside the program: GET /docs.
 * SPDX-License-Identifier: Apache-2.0 */
    .section .rodata
    .balign 16
    .global api_docs_html, api_docs_html_end
    .hidden api_docs_html, api_docs_html_end
api_docs_html:
    .incbin "api/docs.html"
api_docs_html_end:
    .section .note.GNU-stack, "", %progbits

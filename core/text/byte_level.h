/* byte_level.h - the letters that stand for bytes in GPT-2's vocabulary, and in that of its many descendants.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BYTE_LEVEL_H
#define BYTE_LEVEL_H

#include <stdint.h>

/* Printable bytes of Latin-1 stand for themselves, the others for U+0100 and on, in order. */
uint32_t attn_byte_letter(uint8_t byte);
/* The byte a letter stands for; -1: none. */
int attn_letter_byte(uint32_t letter);

#endif

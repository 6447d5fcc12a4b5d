/* utf8.h - one character of UTF-8, told apart from what only looks like it (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_UTF8_H
#define API_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `at`, 1 to 4; 0 when it is not one, or is cut off by `end`. at < end. */
size_t api_utf8_char(const char *at, const char *end);
/* The largest length <= n at which text of `length` bytes can be cut without splitting a character. */
size_t api_utf8_clip(const char *text, size_t length, size_t n);
/* Writes a code point that is no surrogate; returns its bytes, 1 to 4. */
size_t api_utf8_put(char *dst, uint32_t code);

#endif

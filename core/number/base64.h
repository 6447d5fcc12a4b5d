/* base64.h - what the base64 files share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE64_H
#define BASE64_H

#include "number/number_kernels.h"

/* The value of each character; 255 for what is none. */
extern const uint8_t attn_base64_values[256];

#endif

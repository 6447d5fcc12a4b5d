/* encode_drawn.h - answers that are looked at: heat maps as PNG and SVG, and for a terminal.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_ENCODE_DRAWN_H
#define API_ENCODE_DRAWN_H

#include "encoder.h"

extern const api_encoder api_png_encoder, api_svg_encoder, api_text_encoder;

#endif

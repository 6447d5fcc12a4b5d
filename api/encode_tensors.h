/* encode_tensors.h - answers as bytes of arrays: one safetensors file, or one .npy.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_ENCODE_TENSORS_H
#define API_ENCODE_TENSORS_H

#include "encoder.h"

extern const api_encoder api_safetensors_encoder, api_npy_encoder;

#endif

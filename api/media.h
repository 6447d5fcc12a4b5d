/* media.h - the headers and parameters that say what a body is and what is wanted back: RFC 9110, 8.3 and 12.5.1.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_MEDIA_H
#define API_MEDIA_H

#include "attn.h"

/* How welcome a type is to an Accept header. */
typedef struct api_welcome {
    int quality;   /* 0 (not at all) to 1000 */
    int closeness; /* of the range that says so: 3 the very type, 2 "image/" and a star, 1 everything, 0 none does */
} api_welcome;

/* The most specific range decides, q=0 included. NULL or empty: everything is welcome. Parameters other than q are not told apart; an element that is no media
 * range is passed over. */
api_welcome api_accept_weigh(const char *accept, const char *type);

/* May a body of this Content-Type be read as JSON? NULL or empty may; so may what `curl -d` sends by itself. A charset must be UTF-8. */
bool api_content_type_is_json(const char *content_type);

enum { API_PARAMETER_BYTES = 1024 }; /* enough for any value we know, and for long lists of media types */

/* Takes the next `name=value` of a query string off *query, percent-decoded into the two buffers (cut where they end); false: there is none. An encoded NUL
 * stays encoded: it would end the value for us, and not for whoever sent it. */
bool api_next_parameter(const char **query, char *name, size_t name_size, char *value, size_t value_size);

#endif

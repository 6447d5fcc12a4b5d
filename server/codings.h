/* codings.h - Accept-Encoding (RFC 9110, 12.5.3): what a client has said about content codings, and which of ours it gets.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CODINGS_H
#define CODINGS_H

#include "attn_base.h"

typedef enum srv_coding { SRV_IDENTITY, SRV_GZIP, SRV_ZSTD, SRV_CODING_COUNT } srv_coding;

const char *srv_coding_name(srv_coding); /* "identity", "gzip", "zstd" */

/* Zero: the client has said nothing. */
typedef struct srv_codings {
    bool given;
    int named[SRV_CODING_COUNT], any; /* 1 + its weight in thousandths; 0: not named. any: "*" */
} srv_codings;

/* One header line; several add up to one list. What is no coding with a weight is passed over, and of a coding named twice the higher weight counts. */
void srv_codings_add(srv_codings *, const char *value);
/* May it be sent? Without a header, or where none of ours is welcome, identity may: only "identity;q=0", or "*;q=0" without identity, forbids it. */
bool srv_codings_allow(const srv_codings *, srv_coding);
/* The most welcome; of equals zstd before gzip, and either before identity. */
srv_coding srv_codings_choose(const srv_codings *);

#endif

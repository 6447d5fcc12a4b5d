/* answers.h - the answers that the server gives without api's help, and the headers of all answers.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ANSWERS_H
#define ANSWERS_H

#include "exchange.h"

/* An api_reply that fills this exchange's pipe. */
api_reply srv_reply(srv_exchange *);

void srv_answer_problem(srv_exchange *, const api_problem *);
void srv_answer_options(srv_exchange *);
/* Health, readiness, metrics, by the route's kind. */
void srv_answer_own(srv_exchange *);

/* The client's id when it is short and printable, else a new random one. */
void srv_request_id(char out[SRV_ID_BYTES], const char *asked);
/* The origin as it may be echoed, or NULL. */
const char *srv_allowed_origin(const srv_list *allowed, const char *origin);

/* Calls emit for every header that is ours to set; the framing ones are not. `final`: all times are known, no trailer will follow. */
typedef void (*srv_emit)(void *ctx, const char *name, const char *value);
void srv_headers(srv_exchange *, const api_head *, bool final, srv_emit, void *ctx);
/* "compute;dur=1.234, encode;dur=0.567", with `all` also queue and tokenize before them. */
size_t srv_server_timing(srv_exchange *, bool all, bool last, char *dst, size_t size);

/* Writes the whole answer that stands in the pipe to the socket, as far as it takes it; for when libmicrohttpd cannot. */
void srv_answer_raw(srv_exchange *);
/* Is it short enough for that? A longer one is not sent so at all. */
bool srv_answer_fits_raw(srv_exchange *);

#endif

/* access.h - the door: keys, certificate, socket file, confinement; what is checked at the start, read again on SIGHUP, and asked of every request.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ACCESS_H
#define ACCESS_H

#include "exchange.h"

/* Keys and certificate, as options say. False: one line for each failure has been logged. */
bool srv_access_open(srv_server *);
/* Reads both again; a line says how each came out. What cannot be read stays as it was. */
void srv_access_reload(srv_server *);
void srv_access_close(srv_server *);
/* Says what an operator may not have meant: a port that others reach, without keys. */
void srv_access_warn(const srv_server *);
/* Call it once all threads run, if options say so. What the kernel refuses is a warning. */
void srv_access_confine(const srv_server *);

/* Has this request a key, where one is needed? False: the problem says so. */
bool srv_access_enter(srv_exchange *, const char *authorization, api_problem *);
/* A request that needs a worker counts for its key from here until it is done, which it must be before its client can see the end of the answer. False: the key
 * has as many in work as it may. */
bool srv_access_begin(srv_exchange *, api_problem *);
void srv_access_done(srv_exchange *);
/* The exchange is over. */
void srv_access_leave(srv_exchange *);

#endif

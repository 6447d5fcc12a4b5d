/* budget.h - the memory all requests together may hold (--max-memory-bytes), kept as a number: nothing is allocated here.
 *
 * Three kinds of holders. Bodies ask and are refused (srv_budget_try): a body can be sent again. Blocks of answers, and compressors, are charged without asking
 * (srv_budget_charge): they exist because a computation is under way, pipes keep them few, and they make others wait. Computations reserve and wait for
 * their turn (srv_budget_reserve), first come first served.
 *
 * Waiting must not end in two requests each holding what the other waits for. So when no request that holds a reservation is still moving, one is let through
 * though the sum passes the limit: the first in line of those that hold something already, and until it has given all back no other. What is used beyond the
 * limit is thus never more than that one request reserves, and a request alone never passes the limit.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BUDGET_H
#define BUDGET_H

#include <pthread.h>

#include "attn_base.h"

/* What one request holds. Zero is empty. Guarded by the budget's lock. */
typedef struct srv_account {
    uint64_t body, reserved;
} srv_account;

typedef struct srv_budget {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t freed; /* something was given back, the line moved, or a cancel was raised */
    uint64_t limit, used; /* used: bodies, reservations and blocks */
    uint64_t bodies;
    uint64_t moving;                 /* accounts with a reservation that do not wait for more */
    const srv_account *overdrawn;    /* the one let through beyond the limit, until it gives back; NULL: none */
    struct srv_waiter *first, *last; /* the line, each on its thread's stack */
    uint64_t waiting;
} srv_budget;

typedef struct srv_budget_state {
    uint64_t limit, used, waiting;
} srv_budget_state;

void srv_budget_init(srv_budget *, uint64_t limit);
void srv_budget_fini(srv_budget *);
srv_budget_state srv_budget_get(srv_budget *);

/* A body grows by `bytes`: false when there is no room now. */
bool srv_budget_try(srv_budget *, srv_account *, uint64_t bytes);
/* Blocks come and go. */
void srv_budget_charge(srv_budget *, uint64_t bytes);
void srv_budget_refund(srv_budget *, uint64_t bytes);
/* Waits for `bytes` more. ATTN_E_LIMIT: with what the request holds this is more than the limit; ATTN_E_CANCELLED: the cancel was raised or its deadline
 * passed. */
ATTN_MUST_CHECK attn_status srv_budget_reserve(srv_budget *, srv_account *, uint64_t bytes, attn_cancel *);
/* The same without waiting: ATTN_E_CANCELLED where that would be needed. */
ATTN_MUST_CHECK attn_status srv_budget_reserve_now(srv_budget *, srv_account *, uint64_t bytes);
/* Makes waiters look at their cancels. */
void srv_budget_wake(srv_budget *);
/* The body alone is gone; all else; all is gone. */
void srv_budget_release_body(srv_budget *, srv_account *);
void srv_budget_release_reserved(srv_budget *, srv_account *);
void srv_budget_release(srv_budget *, srv_account *);

#endif

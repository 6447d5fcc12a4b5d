/* budget.c - see budget.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "budget.h"

#include "clock.h"

/* One who stands in line. */
struct srv_waiter {
    struct srv_waiter *next;
    const srv_account *account;
};

void srv_budget_init(srv_budget *b, uint64_t limit)
{
    *b = (srv_budget){ .limit = limit };
    pthread_mutex_init(&b->lock, NULL);
    srv_cond_init(&b->freed);
}

void srv_budget_fini(srv_budget *b)
{
    pthread_cond_destroy(&b->freed);
    pthread_mutex_destroy(&b->lock);
}

srv_budget_state srv_budget_get(srv_budget *b)
{
    pthread_mutex_lock(&b->lock);
    srv_budget_state state = { b->limit, b->used, b->waiting };
    pthread_mutex_unlock(&b->lock);
    return state;
}

bool srv_budget_try(srv_budget *b, srv_account *account, uint64_t bytes)
{
    pthread_mutex_lock(&b->lock);
    uint64_t others = b->bodies - account->body;
    uint64_t room = others == 0 ? b->limit : b->limit / 2;
    bool granted = bytes <= b->limit && b->bodies + bytes <= room && b->used + bytes <= b->limit;
    if (granted) {
        account->body += bytes;
        b->bodies += bytes;
        b->used += bytes;
    }
    pthread_mutex_unlock(&b->lock);
    return granted;
}

void srv_budget_charge(srv_budget *b, uint64_t bytes)
{
    pthread_mutex_lock(&b->lock);
    b->used += bytes;
    pthread_mutex_unlock(&b->lock);
}

/* Under the lock. */
static void give_back(srv_budget *b, uint64_t bytes)
{
    b->used -= bytes;
    if (b->first)
        pthread_cond_broadcast(&b->freed);
}

void srv_budget_refund(srv_budget *b, uint64_t bytes)
{
    pthread_mutex_lock(&b->lock);
    give_back(b, bytes);
    pthread_mutex_unlock(&b->lock);
}

void srv_budget_wake(srv_budget *b)
{
    pthread_mutex_lock(&b->lock);
    pthread_cond_broadcast(&b->freed);
    pthread_mutex_unlock(&b->lock);
}

/* Sleeps until something changes or the deadline passes. */
static void wait_for_change(srv_budget *b, const attn_cancel *cancel)
{
    srv_cond_wait(&b->freed, &b->lock, cancel ? cancel->deadline_ns : 0);
}

static bool fits(const srv_budget *b, uint64_t bytes)
{
    return b->used <= b->limit && bytes <= b->limit - b->used;
}

/* Whose turn it is. Where nobody moves, those who hold something come first: who has passed the limit already, then the first in line of the others. */
static const struct srv_waiter *next_in_line(const srv_budget *b)
{
    const struct srv_waiter *holder = NULL;
    for (const struct srv_waiter *w = b->first; w && b->moving == 0; w = w->next) {
        if (w->account == b->overdrawn)
            return w;
        if (!holder && w->account->reserved > 0)
            holder = w;
    }
    return holder ? holder : b->first;
}

static void leave_line(srv_budget *b, struct srv_waiter *me)
{
    struct srv_waiter **link = &b->first;
    struct srv_waiter *before = NULL;
    while (*link != me) {
        before = *link;
        link = &before->next;
    }
    *link = me->next;
    if (b->last == me)
        b->last = before;
    b->waiting--;
}

/* Under the lock: waits for its turn and for room. Whoever is cancelled leaves from any place. */
static attn_status stand_in_line(srv_budget *b, const srv_account *account, uint64_t bytes, attn_cancel *cancel)
{
    struct srv_waiter me = { NULL, account };
    if (b->last)
        b->last->next = &me;
    else
        b->first = &me;
    b->last = &me;
    b->waiting++;
    pthread_cond_broadcast(&b->freed); /* one less is moving: the first in line may pass now */
    while (!attn_cancelled(cancel) && (next_in_line(b) != &me || !(fits(b, bytes) || b->moving == 0)))
        wait_for_change(b, cancel);
    leave_line(b, &me);
    return attn_cancelled(cancel) ? ATTN_E_CANCELLED : ATTN_OK;
}

static attn_status reserve(srv_budget *b, srv_account *account, uint64_t bytes, bool waits, attn_cancel *cancel)
{
    attn_status status = ATTN_OK;
    pthread_mutex_lock(&b->lock);
    uint64_t held = account->body + account->reserved;
    bool must_wait = b->first || !fits(b, bytes);
    if (held > b->limit || bytes > b->limit - held) {
        status = ATTN_E_LIMIT;
    } else if (must_wait && !waits) {
        status = ATTN_E_CANCELLED;
    } else {
        bool moved = account->reserved > 0;
        b->moving -= moved;
        if (must_wait)
            status = stand_in_line(b, account, bytes, cancel);
        if (status == ATTN_OK) {
            if (!fits(b, bytes))
                b->overdrawn = account;
            account->reserved += bytes;
            b->used += bytes;
        }
        b->moving += account->reserved > 0;
        if (b->first)
            pthread_cond_broadcast(&b->freed); /* the line has moved */
    }
    pthread_mutex_unlock(&b->lock);
    return status;
}

attn_status srv_budget_reserve(srv_budget *b, srv_account *account, uint64_t bytes, attn_cancel *cancel)
{
    return reserve(b, account, bytes, true, cancel);
}

attn_status srv_budget_reserve_now(srv_budget *b, srv_account *account, uint64_t bytes)
{
    return reserve(b, account, bytes, false, NULL);
}

void srv_budget_release_body(srv_budget *b, srv_account *account)
{
    pthread_mutex_lock(&b->lock);
    uint64_t bytes = account->body;
    b->bodies -= bytes;
    account->body = 0;
    give_back(b, bytes);
    pthread_mutex_unlock(&b->lock);
}

void srv_budget_release_reserved(srv_budget *b, srv_account *account)
{
    pthread_mutex_lock(&b->lock);
    uint64_t bytes = account->reserved;
    b->moving -= bytes > 0;
    account->reserved = 0;
    if (b->overdrawn == account)
        b->overdrawn = NULL;
    give_back(b, bytes);
    pthread_mutex_unlock(&b->lock);
}

void srv_budget_release(srv_budget *b, srv_account *account)
{
    srv_budget_release_body(b, account);
    srv_budget_release_reserved(b, account);
}

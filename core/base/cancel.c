/* cancel.c - a flag that any thread may raise, and the clock it is held against.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_base.h"

#include <time.h>

uint64_t attn_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void attn_cancel_raise(attn_cancel *c, attn_cancel_reason reason)
{
    int running = ATTN_RUNNING;
    atomic_compare_exchange_strong(&c->reason, &running, (int)reason);
}

bool attn_cancelled(attn_cancel *c)
{
    if (!c)
        return false;
    if (atomic_load(&c->reason) == ATTN_RUNNING && c->deadline_ns && attn_clock_ns() > c->deadline_ns)
        attn_cancel_raise(c, ATTN_DEADLINE);
    return atomic_load(&c->reason) != ATTN_RUNNING;
}

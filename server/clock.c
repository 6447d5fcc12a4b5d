/* clock.c - see clock.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <time.h>

void srv_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

void srv_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    struct timespec until = { (time_t)(deadline_ns / 1000000000), (long)(deadline_ns % 1000000000) };
    if (deadline_ns)
        pthread_cond_timedwait(cond, lock, &until);
    else
        pthread_cond_wait(cond, lock);
}

/* clock.h - condition variables that are waited for on attn_clock_ns's clock, so that setting the wall clock moves no deadline.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CLOCK_H
#define CLOCK_H

#include <pthread.h>
#include <stdint.h>

void srv_cond_init(pthread_cond_t *); /* pthread_cond_destroy ends it */
/* pthread_cond_wait, until attn_clock_ns() is deadline_ns at the latest; 0: however long. */
void srv_cond_wait(pthread_cond_t *, pthread_mutex_t *, uint64_t deadline_ns);

#endif

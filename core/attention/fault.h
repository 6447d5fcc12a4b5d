/* attention/fault.h - what stops one of the tasks that make attention, and which of several is told.
 *
 * Tasks are numbered in the order of heads and queries. Of several that stopped the one of the lowest number is told, whatever thread was first.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_FAULT_H
#define ATTN_FAULT_H

#include "attn_base.h"

typedef enum attn_fault {
    ATTN_FAULT_NONE,
    ATTN_FAULT_RAW_SCORES, /* beyond float32, as the next two */
    ATTN_FAULT_SCORES,
    ATTN_FAULT_CONTEXT,
    ATTN_FAULT_REFUSED, /* a matrix product did not like its sizes */
    ATTN_FAULT_CANCELLED
} attn_fault;

/* Starts as { .first = UINT64_MAX }. */
typedef struct attn_faults {
    _Atomic uint64_t first; /* task number * 8 + fault, the least so far */
    atomic_bool cancelled;
} attn_faults;

void attn_faults_record(attn_faults *, uint64_t task, attn_fault); /* none is fine */
/* Whether nobody will look at what this task makes: an earlier one stopped, or all were called off. */
bool attn_faults_stop(attn_faults *, uint64_t task);
/* ATTN_E_CANCELLED, ATTN_E_OVERFLOW or ATTN_E_INTERNAL, where something stopped. */
ATTN_MUST_CHECK attn_status attn_faults_report(attn_faults *, attn_error *);

#endif

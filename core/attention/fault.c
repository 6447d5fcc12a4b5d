/* attention/fault.c - the first of several faults, kept in one number so that no lock is needed; fault.h says what for.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/fault.h"

enum { KINDS = 8 }; /* no fewer than there are faults */

void attn_faults_record(attn_faults *faults, uint64_t task, attn_fault what)
{
    if (what == ATTN_FAULT_CANCELLED)
        atomic_store(&faults->cancelled, true);
    if (what == ATTN_FAULT_CANCELLED || what == ATTN_FAULT_NONE)
        return;
    uint64_t mine = task * KINDS + (uint64_t)what, seen = atomic_load(&faults->first);
    while (mine < seen && !atomic_compare_exchange_weak(&faults->first, &seen, mine))
        ;
}

bool attn_faults_stop(attn_faults *faults, uint64_t task)
{
    return atomic_load(&faults->cancelled) || atomic_load(&faults->first) / KINDS < task;
}

attn_status attn_faults_report(attn_faults *faults, attn_error *err)
{
    uint64_t first = atomic_load(&faults->first);
    if (atomic_load(&faults->cancelled))
        return attn_fail(err, ATTN_E_CANCELLED, "", "the computation was called off");
    if (first == UINT64_MAX)
        return ATTN_OK;
    switch (first % KINDS) {
    case ATTN_FAULT_RAW_SCORES:
        return attn_fail(err, ATTN_E_OVERFLOW, "raw_scores", "a product of a query and a key is beyond float32");
    case ATTN_FAULT_SCORES:
        return attn_fail(err, ATTN_E_OVERFLOW, "scores", "a score is beyond float32 once bias and mask are added");
    case ATTN_FAULT_CONTEXT:
        return attn_fail(err, ATTN_E_OVERFLOW, "context", "a weighted sum of values is beyond float32");
    default:
        return attn_fail(err, ATTN_E_INTERNAL, "attention", "a matrix product was refused");
    }
}

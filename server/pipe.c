/* pipe.c - see pipe.h.
 *
 * Who wakes whom. reader_waits is set under the lock in the same moment as the reader parks itself; whoever changes the pipe clears it under the lock and calls
 * wake afterwards, without the lock. So exactly one thread owes the wake, and until it comes the parked reader (a suspended connection) cannot go away.
 * SPDX-License-Identifier: Apache-2.0 */
#include "pipe.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"

enum {
    PATIENCE_NS = 20 * 1000000,    /* after so long without room a reader is slow */
    STUCK_MS = 5000,               /* a slow one is stuck after so long */
    STUCK_BYTES_A_SECOND = 1 << 16 /* if it has read less than this since */
};

/* ---- blocks -------------------------------------------------------------------------------------------------------------- */

void srv_blocks_init(srv_blocks *b, size_t max_free, srv_budget *budget)
{
    *b = (srv_blocks){ .max_free = max_free, .budget = budget, .plenty = SIZE_MAX };
    if (budget)
        b->plenty = (size_t)(budget->limit / 4 / sizeof(api_block));
    pthread_mutex_init(&b->lock, NULL);
}

void srv_blocks_fini(srv_blocks *b)
{
    while (b->free) {
        api_block *block = b->free;
        b->free = block->next;
        attn_free(block);
    }
    pthread_mutex_destroy(&b->lock);
}

api_block *srv_blocks_take(srv_blocks *b)
{
    pthread_mutex_lock(&b->lock);
    api_block *block = b->free;
    if (block) {
        b->free = block->next;
        b->num_free--;
    }
    pthread_mutex_unlock(&b->lock);
    if (!block)
        block = attn_malloc(sizeof *block);
    if (!block)
        return NULL;
    atomic_fetch_add(&b->in_use, 1);
    if (b->budget)
        srv_budget_charge(b->budget, sizeof *block);
    block->next = NULL;
    block->used = 0;
    block->more = false;
    return block;
}

void srv_blocks_drop(srv_blocks *b, api_block *block)
{
    if (!block)
        return;
    atomic_fetch_sub(&b->in_use, 1);
    if (b->budget)
        srv_budget_refund(b->budget, sizeof *block);
    pthread_mutex_lock(&b->lock);
    if (b->num_free < b->max_free) {
        block->next = b->free;
        b->free = block;
        b->num_free++;
        block = NULL;
    }
    pthread_mutex_unlock(&b->lock);
    attn_free(block);
}

static void drop_chain(srv_blocks *b, api_block *chain)
{
    while (chain) {
        api_block *next = chain->next;
        srv_blocks_drop(b, chain);
        chain = next;
    }
}

/* ---- the pipe ------------------------------------------------------------------------------------------------------------ */

void srv_pipe_init(srv_pipe *p, srv_blocks *blocks, attn_cancel *cancel, size_t capacity, void (*wake)(void *ctx), void *ctx)
{
    *p = (srv_pipe){ .blocks = blocks, .cancel = cancel, .capacity = capacity > 0 ? capacity : SIZE_MAX, .wake = wake, .ctx = ctx };
    pthread_mutex_init(&p->lock, NULL);
    srv_cond_init(&p->room);
}

void srv_pipe_fini(srv_pipe *p)
{
    drop_chain(p->blocks, p->first);
    pthread_cond_destroy(&p->room);
    pthread_mutex_destroy(&p->lock);
}

/* Under the lock: takes everything out. The caller drops it without the lock. */
static api_block *take_all(srv_pipe *p)
{
    api_block *chain = p->first;
    p->first = p->last = NULL;
    p->count = 0;
    p->offset = 0;
    return chain;
}

static bool is_ready(const srv_pipe *p)
{
    return p->end != SRV_PIPE_OPEN || p->count >= (p->eager || p->sending ? 1u : 2u);
}

/* Under the lock: whether the wake is now this thread's to give. */
static bool owes_wake(srv_pipe *p)
{
    bool owed = p->reader_waits && is_ready(p);
    if (owed)
        p->reader_waits = false;
    return owed;
}

static bool client_gone(const srv_pipe *p)
{
    return p->abandoned || (p->cancel && atomic_load(&p->cancel->reason) == ATTN_CLIENT_GONE);
}

attn_status srv_pipe_start(void *ctx, const api_head *head)
{
    srv_pipe *p = ctx;
    attn_status status = ATTN_OK;
    pthread_mutex_lock(&p->lock);
    if (client_gone(p)) {
        status = ATTN_E_CANCELLED;
    } else if (p->started) {
        status = ATTN_E_INTERNAL;
    } else {
        p->head = *head;
        p->started = true;
        if (head->etag) {
            snprintf(p->etag, sizeof p->etag, "%s", head->etag);
            p->head.etag = p->etag;
        }
        if (head->content_type) {
            snprintf(p->content_type, sizeof p->content_type, "%s", head->content_type);
            p->head.content_type = p->content_type;
            p->eager = strncmp(head->content_type, "application/x-ndjson", 20) == 0;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return status;
}

api_block *srv_pipe_take(void *ctx)
{
    srv_pipe *p = ctx;
    return srv_blocks_take(p->blocks);
}

void srv_pipe_drop(void *ctx, api_block *block)
{
    srv_pipe *p = ctx;
    srv_blocks_drop(p->blocks, block);
}

/* Under the lock. An answer that says why there is none (a 504, say) may still leave after the deadline; one that has begun may not go on, unless it is one whose
 * last line can say what went wrong: its run stops at the deadline by itself. */
static bool must_stop(srv_pipe *p)
{
    bool has_begun = p->given > 0 && p->head.status < 400 && !p->eager;
    return client_gone(p) || p->end != SRV_PIPE_OPEN || (has_begun && attn_cancelled(p->cancel));
}

/* Under the lock, which it lets go meanwhile. */
static void wake_reader(srv_pipe *p)
{
    pthread_mutex_unlock(&p->lock);
    p->wake(p->ctx);
    pthread_mutex_lock(&p->lock);
}

/* Until there is room, or `until`; 0: for as long as it takes. */
static void wait_for_room(srv_pipe *p, uint64_t until)
{
    uint64_t deadline = p->cancel ? p->cancel->deadline_ns : 0;
    if (owes_wake(p)) {
        wake_reader(p); /* there may be room by now */
        return;
    }
    p->writers_wait++;
    srv_cond_wait(&p->room, &p->lock, until && (!deadline || until < deadline) ? until : deadline);
    p->writers_wait--;
}

/* Under the lock. A writer is not told when blocks are plenty again: it is its own reader that it waits for. */
static bool is_full(const srv_pipe *p)
{
    bool few = p->capacity != SIZE_MAX && !p->roomy && atomic_load(&p->blocks->in_use) > p->blocks->plenty;
    return p->count >= (few && p->capacity > SRV_PIPE_FEW_BLOCKS ? SRV_PIPE_FEW_BLOCKS : p->capacity);
}

/* Under the lock: room for a block, or a reason to stop. */
static void make_room(srv_pipe *p)
{
    uint64_t patience = attn_clock_ns() + PATIENCE_NS;
    bool stands_aside = false;
    while (is_full(p) && !must_stop(p) && !attn_cancelled(p->cancel)) {
        if (!p->slow_ns && attn_clock_ns() >= patience) {
            p->slow_ns = attn_clock_ns();
            p->slow_read = p->read;
        }
        if (p->slow_ns && p->aside && !stands_aside)
            p->aside(p->ctx, stands_aside = true);
        wait_for_room(p, p->slow_ns ? 0 : patience);
    }
    if (stands_aside)
        p->aside(p->ctx, false);
}

attn_status srv_pipe_give(void *ctx, api_block *block)
{
    srv_pipe *p = ctx;
    bool wake = false;
    pthread_mutex_lock(&p->lock);
    if (is_full(p))
        make_room(p);
    bool fits = p->started && p->count < p->capacity && !must_stop(p);
    if (fits && block->used > 0) {
        block->next = NULL;
        *(p->last ? &p->last->next : &p->first) = block;
        p->last = block;
        p->count++;
        p->given += block->used;
        wake = !block->more && owes_wake(p);
        block = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    if (wake)
        p->wake(p->ctx);
    srv_blocks_drop(p->blocks, block);
    return fits ? ATTN_OK : ATTN_E_CANCELLED;
}

void srv_pipe_set_roomy(srv_pipe *p, bool roomy)
{
    pthread_mutex_lock(&p->lock);
    p->roomy = roomy;
    pthread_mutex_unlock(&p->lock);
}

bool srv_pipe_recall(void *ctx)
{
    srv_pipe *p = ctx;
    api_block *lost = NULL;
    pthread_mutex_lock(&p->lock);
    bool recalled = !p->sending && p->end == SRV_PIPE_OPEN;
    if (recalled) {
        lost = take_all(p);
        p->started = p->eager = false;
        p->given = 0;
    }
    pthread_mutex_unlock(&p->lock);
    drop_chain(p->blocks, lost);
    return recalled;
}

void srv_pipe_finish(srv_pipe *p, bool complete)
{
    pthread_mutex_lock(&p->lock);
    api_block *lost = NULL;
    if (p->end == SRV_PIPE_OPEN) {
        p->end = complete && p->started ? SRV_PIPE_COMPLETE : SRV_PIPE_BROKEN;
        if (p->end == SRV_PIPE_BROKEN)
            lost = take_all(p);
    }
    bool wake = owes_wake(p);
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
    drop_chain(p->blocks, lost);
    if (wake)
        p->wake(p->ctx);
}

void srv_pipe_poke(srv_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
}

/* ---- the reader ---------------------------------------------------------------------------------------------------------- */

static srv_pipe_state state_of(const srv_pipe *p)
{
    return (srv_pipe_state){ p->end, p->started, p->given };
}

srv_pipe_state srv_pipe_get(srv_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    srv_pipe_state state = state_of(p);
    pthread_mutex_unlock(&p->lock);
    return state;
}

/* Under the lock. */
static void park_reader(srv_pipe *p, void (*park)(void *ctx))
{
    p->reader_waits = true;
    park(p->ctx);
}

bool srv_pipe_is_stuck(srv_pipe *p, uint64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    uint64_t ms = p->slow_ns && now_ns > p->slow_ns ? (now_ns - p->slow_ns) / 1000000 : 0;
    bool stuck = p->writers_wait > 0 && ms >= STUCK_MS && p->read - p->slow_read < ms * STUCK_BYTES_A_SECOND / 1000;
    pthread_mutex_unlock(&p->lock);
    return stuck;
}

bool srv_pipe_ready(srv_pipe *p, api_head *head, srv_pipe_state *state, void (*park)(void *ctx))
{
    pthread_mutex_lock(&p->lock);
    bool ready = is_ready(p);
    if (ready) {
        *head = p->head;
        *state = state_of(p);
        p->sending = true;
    } else {
        park_reader(p, park);
    }
    pthread_mutex_unlock(&p->lock);
    return ready;
}

/* Under the lock: copies what is there and takes emptied blocks out, as a chain. */
static size_t copy_out(srv_pipe *p, char *dst, size_t size, api_block **emptied)
{
    size_t copied = 0;
    while (p->first && copied < size) {
        api_block *block = p->first;
        size_t n = block->used - p->offset;
        if (n > size - copied)
            n = size - copied;
        memcpy(dst + copied, block->data + p->offset, n);
        copied += n;
        p->offset += n;
        if (p->offset < block->used)
            break;
        p->first = block->next;
        if (!p->first)
            p->last = NULL;
        p->count--;
        p->offset = 0;
        block->next = *emptied;
        *emptied = block;
    }
    p->read += copied;
    return copied;
}

ssize_t srv_pipe_read(srv_pipe *p, char *dst, size_t size, void (*park)(void *ctx))
{
    api_block *emptied = NULL;
    pthread_mutex_lock(&p->lock);
    ssize_t result = (ssize_t)copy_out(p, dst, size, &emptied);
    if (result == 0) {
        if (p->end == SRV_PIPE_OPEN)
            park_reader(p, park);
        else
            result = p->end == SRV_PIPE_COMPLETE ? SRV_PIPE_END : SRV_PIPE_ERROR;
    }
    if (emptied && p->writers_wait > 0)
        pthread_cond_signal(&p->room);
    pthread_mutex_unlock(&p->lock);
    drop_chain(p->blocks, emptied);
    return result;
}

api_block *srv_pipe_take_whole(srv_pipe *p)
{
    api_block *block = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->end == SRV_PIPE_COMPLETE && p->count == 1 && p->read == 0) {
        block = take_all(p);
        p->read = block->used;
    }
    pthread_mutex_unlock(&p->lock);
    return block;
}

void srv_pipe_abandon(srv_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->abandoned = true;
    p->reader_waits = false;
    api_block *lost = take_all(p);
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
    drop_chain(p->blocks, lost);
}

/* pipe.h - the bounded pipe between a worker that encodes an answer and the HTTP thread that sends it, and the blocks it is made of.
 *
 * The worker's side is an api_reply (srv_pipe_start ... are its functions): give waits while the pipe is full, which is the back-pressure. The reader's side
 * never waits: where there is nothing to read it says so and is woken by a callback, once, when there is.
 *
 * A reader that leaves the pipe full for a moment is slow from then on: while its writer waits, it says so (aside), and the machine is somebody else's.
 *
 * An answer is ready to be sent when its head and length can be told: complete, or more than one block. So what fits one block always gets its exact length. A
 * stream of lines (eager) is ready with its first block.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PIPE_H
#define PIPE_H

#include <pthread.h>
#include <sys/types.h>

#include "api.h"
#include "budget.h"

/* The process's free blocks: in the steady state nothing is allocated. */
typedef struct srv_blocks {
    pthread_mutex_t lock; /* guards all below */
    api_block *free;
    size_t num_free, max_free;
    srv_budget *budget; /* charged for every block in use; NULL: nobody counts */
    size_t plenty;      /* fixed: with more blocks than this in use, every pipe makes do with few */
    _Atomic size_t in_use;
} srv_blocks;

void srv_blocks_init(srv_blocks *, size_t max_free, srv_budget *);
void srv_blocks_fini(srv_blocks *);
api_block *srv_blocks_take(srv_blocks *);        /* empty; NULL: no memory */
void srv_blocks_drop(srv_blocks *, api_block *); /* NULL is fine */

enum {
    SRV_PIPE_BLOCKS = 32,
    SRV_PIPE_FEW_BLOCKS = 2 /* enough to begin an answer. So answers that wait for slow clients share a part of the memory, and a little for each */
};

typedef enum srv_pipe_end { SRV_PIPE_OPEN, SRV_PIPE_COMPLETE, SRV_PIPE_BROKEN } srv_pipe_end;

typedef struct srv_pipe {
    pthread_mutex_t lock;                 /* guards all that is not said to be fixed */
    pthread_cond_t room;                  /* a block left, or nobody will read any more */
    srv_blocks *blocks;                   /* fixed */
    attn_cancel *cancel;                  /* fixed */
    size_t capacity;                      /* blocks, or SIZE_MAX; fixed */
    void (*wake)(void *ctx);              /* fixed: the reader that was told to wait may read; called without the lock */
    void *ctx;                            /* fixed */
    void (*aside)(void *ctx, bool aside); /* the writer waits for a slow reader from now on, or no longer; called with the lock. NULL: nobody asks */
    api_head head;                        /* valid when started; its strings live as long as the program */
    char content_type[128], etag[32];
    bool started;
    bool eager;          /* ready with the first block */
    bool roomy;          /* its capacity is its own, however many blocks are in use */
    bool sending;        /* the reader has taken the head: from now on every block counts */
    bool abandoned;      /* nobody will read: blocks are dropped, gives fail */
    bool reader_waits;   /* wake is owed */
    size_t writers_wait; /* somebody waits for room */
    srv_pipe_end end;
    api_block *first, *last;
    size_t count;                /* blocks in the pipe */
    size_t offset;               /* bytes read of the first */
    uint64_t given, read;        /* bytes of body so far */
    uint64_t slow_ns, slow_read; /* when the reader was found slow, and what it had read by then; 0: it is not */
} srv_pipe;

/* capacity 0: without a bound, for answers from memory that the HTTP thread makes for itself. */
void srv_pipe_init(srv_pipe *, srv_blocks *, attn_cancel *, size_t capacity, void (*wake)(void *ctx), void *ctx);
void srv_pipe_fini(srv_pipe *);

/* ---- the writer's side: ctx is the pipe ---- */
attn_status srv_pipe_start(void *ctx, const api_head *);
api_block *srv_pipe_take(void *ctx);
attn_status srv_pipe_give(void *ctx, api_block *);
void srv_pipe_drop(void *ctx, api_block *);
/* Forgets all that was started and given, unless the reader has begun: true, and the pipe is as new. */
bool srv_pipe_recall(void *ctx);
/* Before the first give: whether all blocks of the capacity are its own, so that an answer of less is written without waiting for the reader. */
void srv_pipe_set_roomy(srv_pipe *, bool);
/* Nothing more will come. Not complete: the answer broke off; what was not yet read is dropped. Only the first call counts. */
void srv_pipe_finish(srv_pipe *, bool complete);
/* Makes a waiting writer look at its cancel. */
void srv_pipe_poke(srv_pipe *);

/* ---- the reader's side ---- */
typedef struct srv_pipe_state {
    srv_pipe_end end;
    bool started;
    uint64_t given;
} srv_pipe_state;
srv_pipe_state srv_pipe_get(srv_pipe *);
/* The writer waits, and has waited for long, for a reader that takes next to nothing: it holds up whoever needs what the writer has. */
bool srv_pipe_is_stuck(srv_pipe *, uint64_t now_ns);

/* Whether the answer can be begun; then *head (its strings live as long as the pipe) and *state say how. Else `park` is called under the lock, and wake
 * follows. */
bool srv_pipe_ready(srv_pipe *, api_head *head, srv_pipe_state *state, void (*park)(void *ctx));
enum { SRV_PIPE_EMPTY = 0, SRV_PIPE_END = -1, SRV_PIPE_ERROR = -2 };
/* Bytes copied, or one of the above; before SRV_PIPE_EMPTY `park` is called under the lock, and wake follows. */
ssize_t srv_pipe_read(srv_pipe *, char *dst, size_t size, void (*park)(void *ctx));
/* The whole body, where it is complete, one block, and nothing of it was read: it is the caller's now, and the pipe is at its end. Else NULL. */
api_block *srv_pipe_take_whole(srv_pipe *);
/* Nobody will read any more. */
void srv_pipe_abandon(srv_pipe *);

#endif

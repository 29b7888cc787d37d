/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: epoll over sources, one thread. Two loops are nested: the API's and, inside it,
 * the devices'. Pausing a VM takes the device loop out, so devices stand still while the API goes
 * on answering, and no descriptor spins. */
#ifndef TINE_BASE_LOOP_H
#define TINE_BASE_LOOP_H

#include <pthread.h>
#include <stdint.h>

#include "base/error.h"

struct loop;

/* A descriptor and what to do when it is ready. Embedded in its owner; the owner removes it before
 * closing `fd` or freeing itself. */
struct loop_source {
    int fd;
    void (*ready)(struct loop_source *source, uint32_t events); /* EPOLLIN, EPOLLOUT, ... */
};

struct loop *loop_create(struct error *err);
void loop_destroy(struct loop *loop);

/* Handlers of `loop` run with `lock` (borrowed) held, and every other call for this loop is made
 * with it held too; then sources may be added, modified and removed from any thread. Without a lock
 * a loop belongs to one thread. Only for a loop that is attached to another one. */
void loop_set_lock(struct loop *loop, pthread_mutex_t *lock);

/* Level-triggered. A handler may add, modify or remove any source, itself included. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events, struct error *err);
int loop_modify(struct loop *loop, struct loop_source *source, uint32_t events, struct error *err);
/* Removing a source that was not added is not an error. After it returns, `ready` is not called any
 * more, even for events that were already fetched. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* Puts `inner` into `outer` (attach) or takes it out (detach): while out, its sources stay quiet
 * and lose nothing. Both are idempotent, and called on the thread that runs `outer`, without
 * inner's lock. */
int loop_attach(struct loop *outer, struct loop *inner, struct error *err);
void loop_detach(struct loop *outer, struct loop *inner);

/* Runs until loop_stop(); returns the status given there. */
int loop_run(struct loop *loop);
/* Ends loop_run() after the current handler. Callable from any thread; the first status counts. */
void loop_stop(struct loop *loop, int status);

#endif

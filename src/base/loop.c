/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BATCH_SIZE 16
#define RUNNING    INT_MIN

struct loop {
    int epoll_fd;
    struct loop_source stopper; /* eventfd that loop_stop() writes */
    atomic_int status;          /* RUNNING, or what loop_run() returns */
    struct loop_source nested;  /* this loop's epoll descriptor as a source of an outer loop */
    bool attached;
    pthread_mutex_t *lock; /* borrowed; NULL: single-threaded loop */
    /* The events being handed out; loop_remove() blanks those of a source that goes away. */
    struct epoll_event batch[BATCH_SIZE];
    int batch_count;
};

static void stopper_ready(struct loop_source *source, uint32_t events)
{
    /* loop_run() looks at `status`; the eventfd stays readable, which does no harm any more. */
    (void)source;
    (void)events;
}

/* Fetches one batch of events and hands it out. With a lock, fetching happens under it too, so no
 * other thread can remove a source between the two. */
static int loop_dispatch(struct loop *loop, int timeout)
{
    int count = epoll_wait(loop->epoll_fd, loop->batch, BATCH_SIZE, timeout);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    loop->batch_count = count;
    for (int i = 0; i < count && atomic_load(&loop->status) == RUNNING; i++) {
        struct loop_source *source = loop->batch[i].data.ptr;
        if (source)
            source->ready(source, loop->batch[i].events);
    }
    loop->batch_count = 0;
    return 0;
}

static void nested_ready(struct loop_source *source, uint32_t events)
{
    struct loop *loop = CONTAINER_OF(source, struct loop, nested);
    (void)events;
    if (loop->lock)
        pthread_mutex_lock(loop->lock);
    /* A failing epoll_wait on a descriptor of our own can only be EINTR; the event stays ready. */
    (void)loop_dispatch(loop, 0);
    if (loop->lock)
        pthread_mutex_unlock(loop->lock);
}

struct loop *loop_create(struct error *err)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        error_errno(err, ENOMEM, NULL, "create event loop");
        return NULL;
    }
    atomic_init(&loop->status, RUNNING);
    loop->stopper.ready = stopper_ready;
    loop->nested.ready = nested_ready;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->nested.fd = loop->epoll_fd;
    loop->stopper.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->stopper.fd < 0) {
        error_errno(err, errno, NULL, "create event loop");
        loop_destroy(loop);
        return NULL;
    }
    if (loop_add(loop, &loop->stopper, EPOLLIN, err) < 0) {
        loop_destroy(loop);
        return NULL;
    }
    return loop;
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->stopper.fd >= 0)
        close(loop->stopper.fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop);
}

void loop_set_lock(struct loop *loop, pthread_mutex_t *lock)
{
    loop->lock = lock;
}

static int loop_control(struct loop *loop, int operation, struct loop_source *source,
                        uint32_t events, struct error *err)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(loop->epoll_fd, operation, source->fd, &event) < 0)
        return error_errno(err, errno, NULL, "watch descriptor %d", source->fd);
    return 0;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events, struct error *err)
{
    return loop_control(loop, EPOLL_CTL_ADD, source, events, err);
}

int loop_modify(struct loop *loop, struct loop_source *source, uint32_t events, struct error *err)
{
    return loop_control(loop, EPOLL_CTL_MOD, source, events, err);
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
    /* ENOENT and EBADF mean that it was not there, which is what the caller wants. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    for (int i = 0; i < loop->batch_count; i++) {
        if (loop->batch[i].data.ptr == source)
            loop->batch[i].data.ptr = NULL;
    }
}

int loop_attach(struct loop *outer, struct loop *inner, struct error *err)
{
    if (inner->attached)
        return 0;
    int r = loop_add(outer, &inner->nested, EPOLLIN, err);
    inner->attached = r == 0;
    return r;
}

void loop_detach(struct loop *outer, struct loop *inner)
{
    if (inner->attached)
        loop_remove(outer, &inner->nested);
    inner->attached = false;
}

int loop_run(struct loop *loop)
{
    while (atomic_load(&loop->status) == RUNNING) {
        if (loop_dispatch(loop, -1) < 0)
            return 1;
    }
    return atomic_load(&loop->status);
}

void loop_stop(struct loop *loop, int status)
{
    int expected = RUNNING;
    if (!atomic_compare_exchange_strong(&loop->status, &expected, status))
        return;
    /* Written once, so the counter can't overflow; nothing else can fail on an open eventfd. */
    (void)eventfd_write(loop->stopper.fd, 1);
}

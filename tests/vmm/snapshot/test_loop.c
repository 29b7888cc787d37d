/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/loop.h"

/* A source that counts its calls and may do something in them. */
struct probe {
    struct loop_source source;
    struct loop *loop; /* where it is */
    unsigned calls;
    void (*action)(struct probe *probe);
    struct probe *other;
};

static void probe_ready(struct loop_source *source, uint32_t events)
{
    struct probe *probe = CONTAINER_OF(source, struct probe, source);
    assert_true(events & EPOLLIN);
    probe->calls++;
    if (probe->action)
        probe->action(probe);
}

static void probe_add(struct probe *probe, struct loop *loop)
{
    struct error err = {0};
    probe->source =
        (struct loop_source){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = probe_ready};
    assert_true(probe->source.fd >= 0);
    probe->loop = loop;
    assert_int_equal(loop_add(loop, &probe->source, EPOLLIN, &err), 0);
}

static void probe_signal(struct probe *probe)
{
    assert_int_equal(eventfd_write(probe->source.fd, 1), 0);
}

static void probe_quiet(struct probe *probe)
{
    eventfd_t value;
    assert_int_equal(eventfd_read(probe->source.fd, &value), 0);
}

static void probe_close(struct probe *probe)
{
    loop_remove(probe->loop, &probe->source);
    close(probe->source.fd);
}

static struct loop *new_loop(void)
{
    struct error err = {0};
    struct loop *loop = loop_create(&err);
    assert_non_null(loop);
    return loop;
}

static void stop_with_5(struct probe *probe)
{
    loop_stop(probe->loop, 5);
}

static void test_run_and_stop(void **context)
{
    (void)context;
    struct loop *loop = new_loop();
    struct probe probe = {.action = stop_with_5};
    probe_add(&probe, loop);
    probe_signal(&probe);
    assert_int_equal(loop_run(loop), 5);
    assert_int_equal(probe.calls, 1);
    loop_stop(loop, 6); /* too late: the first status counts */
    assert_int_equal(loop_run(loop), 5);
    probe_close(&probe);
    loop_destroy(loop);
}

static void *stop_from_thread(void *loop)
{
    loop_stop(loop, 3);
    return NULL;
}

static void test_stop_from_thread(void **context)
{
    (void)context;
    struct loop *loop = new_loop();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_from_thread, loop), 0);
    assert_int_equal(loop_run(loop), 3);
    pthread_join(thread, NULL);
    loop_destroy(loop);
}

static void remove_other_and_stop(struct probe *probe)
{
    loop_remove(probe->loop, &probe->other->source);
    loop_stop(probe->loop, 0);
}

/* Both are ready and fetched in one batch; whichever comes first takes the other out. */
static void test_remove_during_dispatch(void **context)
{
    (void)context;
    struct loop *loop = new_loop();
    struct probe a = {.action = remove_other_and_stop}, b = {.action = remove_other_and_stop};
    a.other = &b;
    b.other = &a;
    probe_add(&a, loop);
    probe_add(&b, loop);
    probe_signal(&a);
    probe_signal(&b);
    loop_run(loop);
    assert_int_equal(a.calls + b.calls, 1);
    probe_close(&a);
    probe_close(&b);
    loop_destroy(loop);
}

static void free_other(struct probe *probe)
{
    struct probe *other = probe->other;
    if (!other)
        return;
    probe->other = NULL;
    probe_close(other);
    free(other);
}

static void last_one_stops(struct probe *probe)
{
    probe_quiet(probe);
    loop_stop(probe->loop, 0);
}

/* An event of a source that was removed and freed must not be handed out: the sanitizer sees it. */
static void test_free_during_dispatch(void **context)
{
    (void)context;
    struct loop *loop = new_loop();
    struct probe *victims[2];
    struct probe a = {.action = free_other}, b = {.action = free_other};
    for (unsigned i = 0; i < 2; i++) {
        victims[i] = calloc(1, sizeof(*victims[i]));
        assert_non_null(victims[i]);
    }
    a.other = victims[0];
    b.other = victims[1];
    probe_add(&a, loop);
    probe_add(victims[0], loop);
    probe_add(victims[1], loop);
    probe_add(&b, loop);
    probe_signal(&a);
    probe_signal(victims[0]);
    probe_signal(victims[1]);
    probe_signal(&b);
    struct probe last = {.action = last_one_stops};
    probe_add(&last, loop);
    probe_signal(&last);
    loop_run(loop);
    assert_null(a.other);
    assert_null(b.other);
    probe_close(&a);
    probe_close(&b);
    probe_close(&last);
    loop_destroy(loop);
}

static void remove_itself(struct probe *probe)
{
    loop_remove(probe->loop, &probe->source);
    loop_stop(probe->loop, 0);
}

static void test_remove_itself(void **context)
{
    (void)context;
    struct loop *loop = new_loop();
    struct probe probe = {.action = remove_itself};
    probe_add(&probe, loop);
    probe_signal(&probe);
    loop_run(loop);
    assert_int_equal(probe.calls, 1);
    loop_remove(loop, &probe.source); /* not there: no harm */
    close(probe.source.fd);
    probe.source.fd = -1;
    loop_remove(loop, &probe.source);
    loop_destroy(loop);
}

static void modify_to_nothing(struct probe *probe)
{
    struct error err = {0};
    assert_int_equal(loop_modify(probe->loop, &probe->source, 0, &err), 0);
    probe_signal(probe->other);
}

static void test_modify(void **context)
{
    (void)context;
    struct loop *loop = new_loop();
    struct probe last = {.action = last_one_stops};
    struct probe probe = {.action = modify_to_nothing, .other = &last};
    probe_add(&probe, loop);
    probe_add(&last, loop);
    probe_signal(&probe); /* stays readable, but is not asked for any more */
    loop_run(loop);
    assert_int_equal(probe.calls, 1);
    probe_close(&probe);
    probe_close(&last);
    loop_destroy(loop);
}

/* Runs `outer` until everything that is ready was handed out once: the stopper is served last. */
static void turn(struct loop **outer, struct loop *inner)
{
    struct error err = {0};
    struct probe last = {.action = last_one_stops};
    if (inner)
        assert_int_equal(loop_attach(*outer, inner, &err), 0);
    probe_add(&last, *outer);
    probe_signal(&last);
    loop_run(*outer);
    probe_close(&last);
    if (inner)
        loop_detach(*outer, inner);
    loop_destroy(*outer);
    *outer = new_loop();
}

static void test_attach_and_detach(void **context)
{
    (void)context;
    struct loop *outer = new_loop(), *inner = new_loop();
    struct probe probe = {.action = probe_quiet};
    probe_add(&probe, inner);
    probe_signal(&probe);
    turn(&outer, NULL); /* not attached: quiet */
    assert_int_equal(probe.calls, 0);
    turn(&outer, inner); /* the event was not lost */
    assert_int_equal(probe.calls, 1);
    probe_signal(&probe);
    turn(&outer, NULL);
    assert_int_equal(probe.calls, 1);
    turn(&outer, inner);
    assert_int_equal(probe.calls, 2);
    probe_close(&probe);
    loop_destroy(inner);
    loop_destroy(outer);
}

static void test_attach_is_idempotent(void **context)
{
    (void)context;
    struct loop *outer = new_loop(), *inner = new_loop();
    struct error err = {0};
    loop_detach(outer, inner);
    assert_int_equal(loop_attach(outer, inner, &err), 0);
    assert_int_equal(loop_attach(outer, inner, &err), 0);
    loop_detach(outer, inner);
    loop_detach(outer, inner);
    assert_int_equal(loop_attach(outer, inner, &err), 0);
    loop_detach(outer, inner);
    loop_destroy(inner);
    loop_destroy(outer);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void expect_locked(struct probe *probe)
{
    assert_true(pthread_mutex_trylock(&lock) != 0);
    probe_quiet(probe);
}

static void test_lock_is_held(void **context)
{
    (void)context;
    struct loop *outer = new_loop(), *inner = new_loop();
    loop_set_lock(inner, &lock);
    struct probe probe = {.action = expect_locked};
    probe_add(&probe, inner);
    probe_signal(&probe);
    turn(&outer, inner);
    assert_int_equal(probe.calls, 1);
    assert_int_equal(pthread_mutex_trylock(&lock), 0);
    pthread_mutex_unlock(&lock);
    probe_close(&probe);
    loop_destroy(inner);
    loop_destroy(outer);
}

struct churn {
    struct loop *inner;
    struct loop *outer;
};

/* What a vCPU thread does: adds, signals, removes and frees sources under the lock, while the other
 * thread dispatches. */
static void *churn_sources(void *argument)
{
    struct churn *churn = argument;
    for (unsigned i = 0; i < 2000; i++) {
        struct probe *probe = calloc(1, sizeof(*probe));
        pthread_mutex_lock(&lock);
        probe_add(probe, churn->inner);
        probe_signal(probe);
        pthread_mutex_unlock(&lock);
        pthread_mutex_lock(&lock);
        probe_close(probe);
        pthread_mutex_unlock(&lock);
        free(probe);
    }
    loop_stop(churn->outer, 0);
    return NULL;
}

static void test_removal_from_another_thread(void **context)
{
    (void)context;
    struct error err = {0};
    struct churn churn = {.inner = new_loop(), .outer = new_loop()};
    loop_set_lock(churn.inner, &lock);
    assert_int_equal(loop_attach(churn.outer, churn.inner, &err), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, churn_sources, &churn), 0);
    assert_int_equal(loop_run(churn.outer), 0);
    pthread_join(thread, NULL);
    loop_detach(churn.outer, churn.inner);
    loop_destroy(churn.inner);
    loop_destroy(churn.outer);
}

static void test_add_refuses(void **context)
{
    (void)context;
    struct loop *loop = new_loop();
    struct error err = {0};
    struct loop_source source = {.fd = -1};
    assert_true(loop_add(loop, &source, EPOLLIN, &err) < 0);
    assert_true(err.errnum != 0);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_and_stop),
        cmocka_unit_test(test_stop_from_thread),
        cmocka_unit_test(test_remove_during_dispatch),
        cmocka_unit_test(test_free_during_dispatch),
        cmocka_unit_test(test_remove_itself),
        cmocka_unit_test(test_modify),
        cmocka_unit_test(test_attach_and_detach),
        cmocka_unit_test(test_attach_is_idempotent),
        cmocka_unit_test(test_lock_is_held),
        cmocka_unit_test(test_removal_from_another_thread),
        cmocka_unit_test(test_add_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

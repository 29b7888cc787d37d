/* SPDX-License-Identifier: Apache-2.0 */
/* A pager is killed at any moment, or makes room for a newer one, and the VM notices nothing but a
 * pause. This process is VM and supervisor: it holds what the pager hands out, and no more. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fixture.h"
#include "http/descriptors.h"
#include "pager/session_block.h"

#define PAGES   4096u
#define STEADY  3072u /* pages up to here are only read; behind them one thread gives pages back */
#define READERS 3
#define KILLS   50 /* ten times as many in a soak */

static int setup(void **state)
{
    *state = place_new(PAGES);
    return 0;
}

static int teardown(void **state)
{
    place_free(*state);
    return 0;
}

/* ---- a VM at work ---- */

struct load {
    struct vm *vm;
    unsigned seed;
    atomic_ulong done, wrong;
    bool removed[PAGES - STEADY]; /* the remover's own */
};

struct reader {
    struct load *load;
    unsigned seed;
};

/* Every page of the steady part once, in an order of its own: an odd step meets them all. */
static void *read_steady(void *argument)
{
    struct reader *reader = argument;
    struct load *load = reader->load;
    uint64_t step = (uint64_t)(reader->seed * 2654435761u) % 1024 * 6 + 1, page = reader->seed;
    for (unsigned i = 0; i < STEADY; i++) {
        page = (page + step) % STEADY;
        if (!page_is_image(vm_page(load->vm, page), page))
            atomic_fetch_add(&load->wrong, 1);
        atomic_fetch_add(&load->done, 1);
    }
    return NULL;
}

static void check_given_back(struct load *load, uint64_t page)
{
    const void *memory = vm_page(load->vm, STEADY + page);
    bool right = load->removed[page] ? page_is_zeros(memory) : page_is_image(memory, STEADY + page);
    atomic_fetch_add(&load->wrong, !right);
}

static void *give_back(void *argument)
{
    struct load *load = argument;
    const uint64_t pages = PAGES - STEADY;
    uint64_t random = load->seed;
    for (unsigned i = 0; i < 1024; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t page = (random >> 33) % pages, count = 1 + (random >> 20) % 32;
        if (count > pages - page)
            count = pages - page;
        check_given_back(load, (random >> 40) % pages);
        madvise(vm_page(load->vm, STEADY + page), count * PAGE, MADV_DONTNEED);
        for (uint64_t k = page; k < page + count; k++)
            load->removed[k] = true;
        check_given_back(load, page);
        atomic_fetch_add(&load->done, 1);
    }
    return NULL;
}

/* ---- the supervisor ---- */

/* What it holds of a session: the userfaultfd and the state. */
static void receive_descriptors(int socket, int held[2])
{
    char id[64];
    size_t count = 0;
    bool too_many = false;
    assert_true(descriptors_receive(socket, id, sizeof(id), held, 2, &count, &too_many) > 0);
    assert_true(count == 2 && !too_many);
}

static void begin_held(struct vm *vm, const struct place *place, const char *id, int held[2])
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct reply reply =
        pager_call(place, "POST", "/sessions", session_body(place, id), &ends[1], 1);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    close(ends[1]);
    vm_open(vm, PAGES, 2, UFFD_FEATURE_EVENT_REMOVE);
    vm_introduce(vm, place, id);
    receive_descriptors(ends[0], held);
    close(ends[0]);
}

static int take_over(const struct place *place, const char *id, const int held[2])
{
    json_t *body = session_body(place, id);
    json_object_del(body, "handshake_socket");
    json_object_set_new(body, "take_over", json_true());
    struct reply reply = pager_call(place, "POST", "/sessions", body, held, 2);
    if (reply.status != 200)
        print_error("%s\n", json_string_value(json_object_get(reply.body, "fault_message")));
    int status = reply.status;
    reply_free(&reply);
    return status;
}

static void start_load(struct load *load, struct reader readers[READERS], pthread_t threads[])
{
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.load = load, .seed = load->seed + i};
        assert_int_equal(pthread_create(&threads[i], NULL, read_steady, &readers[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[READERS], NULL, give_back, load), 0);
}

static void one_kill(struct place *place, unsigned round)
{
    const unsigned long all = READERS * (unsigned long)STEADY + 1024;
    struct vm vm;
    struct reader readers[READERS];
    pthread_t threads[READERS + 1];
    int held[2];
    struct load *load = calloc(1, sizeof(*load));
    assert_non_null(load);
    load->vm = &vm;
    load->seed = round + 1;
    begin_held(&vm, place, "a", held);
    start_load(load, readers, threads);
    unsigned long moment = (round * 2654435761u) % (all / 2);
    while (atomic_load(&load->done) < moment)
        sched_yield();
    pager_kill(place);
    pager_begin(place, "TINE_PAGER", "0.1.0");
    assert_int_equal(take_over(place, "a", held), 200);
    for (unsigned i = 0; i <= READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&load->wrong), 0);
    for (uint64_t page = 0; page < PAGES - STEADY; page++)
        check_given_back(load, page);
    for (uint64_t page = 0; page < STEADY; page++)
        assert_true(page_is_image(vm_page(&vm, page), page));
    assert_int_equal(atomic_load(&load->wrong), 0);
    pager_expect(place, "DELETE", "/sessions/a", json_pack("{s:b}", "detach", 1), 204);
    close(held[0]);
    close(held[1]);
    vm_close(&vm);
    free(load);
}

static void test_killed_under_load(void **state)
{
    const char *soak = getenv("TINE_SOAK");
    const unsigned kills = soak && strcmp(soak, "1") == 0 ? 10 * KILLS : KILLS;
    for (unsigned round = 0; round < kills; round++)
        one_kill(*state, round);
}

static void test_killed_before_any_fault_and_again(void **state)
{
    struct place *place = *state;
    struct vm vm;
    int held[2];
    begin_held(&vm, place, "a", held);
    for (int i = 0; i < 5; i++) {
        pager_kill(place);
        pager_begin(place, "TINE_PAGER", "0.1.0");
        assert_int_equal(take_over(place, "a", held), 200);
        assert_int_equal(session_counter(place, "a", "takeovers"), i + 1);
    }
    assert_int_equal(vm_wrong_pages(&vm), 0);
    vm_close(&vm);
}

/* The kernel lets a thread go on as soon as its event is read. A pager that dies with the event in
 * its hands must not bring the old content back. */
static void test_event_in_the_dead_pagers_hands(void **state)
{
    struct place *place = *state;
    struct vm vm;
    int held[2];
    begin_held(&vm, place, "a", held);
    assert_true(page_is_image(vm_page(&vm, 8), 8));
    pager_kill(place);
    /* What is in the journal, and nowhere else yet. */
    struct uffd_msg event = {.event = UFFD_EVENT_REMOVE};
    event.arg.remove.start = (uintptr_t)vm_page(&vm, 200);
    event.arg.remove.end = event.arg.remove.start + 2 * PAGE;
    assert_int_equal(
        pwrite(held[1], &event, sizeof(event), offsetof(struct session_block_header, journal)),
        sizeof(event));
    pager_begin(place, "TINE_PAGER", "0.1.0");
    assert_int_equal(take_over(place, "a", held), 200);
    assert_true(page_is_zeros(vm_page(&vm, 200)));
    assert_true(page_is_zeros(vm_page(&vm, 201)));
    assert_true(page_is_image(vm_page(&vm, 202), 202));
    vm_close(&vm);
}

static void test_two_pagers_do_not_share(void **state)
{
    struct place *place = *state;
    struct place second;
    struct vm vm;
    int held[2];
    begin_held(&vm, place, "a", held);
    second = *place;
    pager_begin(&second, "TINE_PAGER_NEXT", "0.1.0-next");
    assert_int_equal(take_over(&second, "a", held), 409);
    assert_int_equal(vm_wrong_pages(&vm), 0);
    pager_kill(&second);
    vm_close(&vm);
}

static void test_take_over_of_something_else(void **state)
{
    struct place *place = *state;
    struct vm vm;
    int held[2];
    begin_held(&vm, place, "a", held);
    pager_expect(place, "DELETE", "/sessions/a", json_pack("{s:b}", "detach", 1), 204);
    int swapped[] = {held[1], held[0]};
    assert_int_equal(take_over(place, "a", swapped), 400);
    int file = memfd_create("other", MFD_CLOEXEC);
    int unsealed[] = {held[0], file};
    assert_int_equal(take_over(place, "a", unsealed), 500);
    close(file);
    image_make(place, "memory", PAGES); /* the same bytes, written again */
    assert_int_equal(take_over(place, "a", held), 500);
    vm_close(&vm);
}

/* ---- upgrade ---- */

static void test_upgrade_with_a_live_session(void **state)
{
    struct place *old = *state;
    struct place new = *old;
    struct vm vm;
    pager_begin(&new, "TINE_PAGER_NEXT", "0.1.0-next");
    vm_begin(&vm, old, "a", PAGES, 3);
    for (uint64_t page = 0; page < PAGES; page += 100)
        assert_true(page_is_image(vm_page(&vm, page), page));
    pager_expect(old, "POST", "/drain", NULL, 204);
    pager_expect(old, "POST", "/sessions", session_body(old, "late"), 409);
    assert_true(page_is_image(vm_page(&vm, 1001), 1001)); /* the old one serves on */
    struct reply reply = pager_call(old, "GET", "/sessions/a/descriptors", NULL, NULL, 0);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.fd_count, 2);
    assert_int_equal(take_over(&new, "a", reply.fds), 409);
    pager_expect(old, "DELETE", "/sessions/a", json_pack("{s:b}", "detach", 1), 204);
    assert_int_equal(take_over(&new, "a", reply.fds), 200);
    reply_free(&reply);
    assert_int_equal(pager_wait(old), 0); /* nothing is left for it to do */
    assert_int_equal(vm_wrong_pages(&vm), 0);
    pager_kill(&new);
    vm_close(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_before_any_fault_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_event_in_the_dead_pagers_hands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_pagers_do_not_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_take_over_of_something_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upgrade_with_a_live_session, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

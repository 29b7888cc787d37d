/* SPDX-License-Identifier: Apache-2.0 */
/* An image of a raw base and layers over it: each page from the highest layer that names it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "fixture.h"
#include "stack/layer.h"

#define PAGES 1024u

/* ---- layers whose every page is known ---- */

/* The first layer holds every third page below 600 and zeros every fifth of the rest, the second
 * every fourth page from 200 to 800 and zeros at 900 to 950. */
static enum layer_kind layer_says(unsigned number, uint64_t page)
{
    if (number == 1 && page < 600)
        return page % 3 == 0 ? LAYER_DATA : LAYER_ABSENT;
    if (number == 1)
        return page % 5 == 0 ? LAYER_ZERO : LAYER_ABSENT;
    if (page >= 200 && page < 800)
        return page % 4 == 0 ? LAYER_DATA : LAYER_ABSENT;
    return page >= 900 && page < 950 ? LAYER_ZERO : LAYER_ABSENT;
}

static void layer_page(unsigned number, uint64_t page, uint64_t words[PAGE / 8])
{
    for (unsigned i = 0; i < PAGE / 8; i++)
        words[i] = (uint64_t)number << 60 | page << 16 | i;
}

static void layer_make(const struct place *place, const char *name, unsigned number, uint64_t pages)
{
    char path[128];
    uint64_t words[PAGE / 8];
    struct error err = {0};
    snprintf(path, sizeof(path), "%s/%s", place->directory, name);
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, name, pages * PAGE, &err);
    assert_non_null(writer);
    for (uint64_t page = 0; page < pages; page++) {
        enum layer_kind kind = layer_says(number, page);
        layer_page(number, page, words);
        if (kind == LAYER_DATA)
            assert_int_equal(layer_writer_add(writer, page, words, 1, &err), 0);
        else if (kind == LAYER_ZERO)
            assert_int_equal(layer_writer_add_zeros(writer, page, 1, &err), 0);
    }
    assert_int_equal(layer_writer_finish(writer, NULL, &err), 0);
}

static bool page_is_right(const void *memory, uint64_t page)
{
    uint64_t words[PAGE / 8];
    for (unsigned number = 2; number > 0; number--) {
        enum layer_kind kind = layer_says(number, page);
        layer_page(number, page, words);
        if (kind == LAYER_ZERO)
            return page_is_zeros(memory);
        if (kind == LAYER_DATA)
            return memcmp(memory, words, PAGE) == 0;
    }
    return page_is_image(memory, page);
}

static json_t *stack_body(const struct place *place, const char *id)
{
    json_t *body = session_body(place, id);
    json_object_set_new(body, "layers", json_pack("[s, s, s]", "memory", "memory.1", "memory.2"));
    return body;
}

static void begin(struct vm *vm, const struct place *place, const char *id, json_t *body)
{
    pager_expect(place, "POST", "/sessions", body, 200);
    vm_open(vm, PAGES, 2, UFFD_FEATURE_EVENT_REMOVE);
    vm_introduce(vm, place, id);
}

static int setup(void **state)
{
    struct place *place = place_new(PAGES);
    layer_make(place, "memory.1", 1, PAGES);
    layer_make(place, "memory.2", 2, PAGES);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    place_free(*state);
    return 0;
}

/* ---- what is served ---- */

static void expect_right(const struct vm *vm)
{
    for (uint64_t page = 0; page < PAGES; page++)
        assert_true(page_is_right(vm_page(vm, page), page));
}

static void test_every_page(void **state)
{
    struct place *place = *state;
    struct vm vm, sibling, base;
    begin(&vm, place, "a", stack_body(place, "a"));
    begin(&sibling, place, "b", stack_body(place, "b"));
    vm_begin(&base, place, "base", PAGES, 1); /* what lies below is an image of its own */
    expect_right(&vm);
    assert_int_equal(vm_wrong_pages(&base), 0);
    assert_int_equal(madvise(vm_page(&sibling, 300), 10ull * PAGE, MADV_DONTNEED), 0);
    for (uint64_t page = PAGES; page-- > 0;) {
        if (page >= 300 && page < 310)
            assert_true(page_is_zeros(vm_page(&sibling, page)));
        else
            assert_true(page_is_right(vm_page(&sibling, page), page));
    }
    vm_close(&vm);
    vm_close(&sibling);
    vm_close(&base);
}

static void test_complete(void **state)
{
    struct place *place = *state;
    struct vm vm;
    begin(&vm, place, "a", stack_body(place, "a"));
    pager_expect(place, "POST", "/sessions/a/complete", NULL, 204);
    assert_true(session_reaches(place, "a", "completed"));
    pager_kill(place);
    expect_right(&vm);
    vm_close(&vm);
}

static void test_later_siblings(void **state)
{
    struct place *place = *state;
    struct vm vm;
    for (unsigned i = 0; i < 2; i++) {
        begin(&vm, place, "a", stack_body(place, "a"));
        expect_right(&vm);
        vm_close(&vm);
        pager_expect(place, "DELETE", "/sessions/a", json_pack("{s:b}", "detach", 1), 204);
    }
}

/* ---- layers that are not what they should be ---- */

static void expect_refused(const struct place *place, json_t *layers, int status,
                           const char *reason)
{
    json_t *body = session_body(place, "new");
    json_object_set_new(body, "layers", layers);
    struct reply reply = pager_call(place, "POST", "/sessions", body, NULL, 0);
    const char *message = json_string_value(json_object_get(reply.body, "fault_message"));
    assert_non_null(message);
    if (reply.status != status || !strstr(message, reason))
        print_error("%d %s\n", reply.status, message);
    assert_int_equal(reply.status, status);
    assert_non_null(strstr(message, reason));
    reply_free(&reply);
}

static void test_bad_layers_are_refused(void **state)
{
    struct place *place = *state;
    json_t *many = json_array();
    for (int i = 0; i < 34; i++)
        json_array_append_new(many, json_string("memory"));
    layer_make(place, "shorter", 1, PAGES / 2);
    expect_refused(place, many, 400, "34 layers, at most 33");
    expect_refused(place, json_pack("[s, i]", "memory", 1), 400, "layers must hold file names");
    expect_refused(place, json_pack("[s, s]", "memory", "../memory.1"), 400,
                   "not a plain file name");
    expect_refused(place, json_pack("[s, s]", "memory", "memory.3"), 500, "open memory.3");
    expect_refused(place, json_pack("[s, s]", "memory", "memory"), 500,
                   "memory is no layer: wrong magic");
    expect_refused(place, json_pack("[s, s]", "memory", "shorter"), 500, "shorter");
    pager_expect(place, "GET", "/health", NULL, 200);
}

static void *read_page(void *argument)
{
    return (void *)(uintptr_t) * (volatile uint8_t *)argument;
}

static char *reason_of(const struct place *place, const char *id)
{
    json_t *session = session_get(place, id);
    char *reason = strdup(json_string_value(json_object_get(session, "reason")));
    json_decref(session);
    return reason;
}

/* Its VM waits, that of the base alone does not notice. */
static void test_a_layer_is_truncated(void **state)
{
    struct place *place = *state;
    struct vm vm, base;
    pthread_t thread;
    char path[128];
    begin(&vm, place, "a", stack_body(place, "a"));
    vm_begin(&base, place, "base", PAGES, 1);
    assert_true(page_is_right(vm_page(&vm, 0), 0));
    snprintf(path, sizeof(path), "%s/memory.1", place->directory);
    assert_int_equal(truncate(path, PAGE), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_page, vm_page(&vm, 450)), 0);
    assert_true(session_reaches(place, "a", "failed"));
    _cleanup_(free) char *reason = reason_of(place, "a");
    assert_non_null(strstr(reason, "memory.1 had "));
    assert_int_equal(vm_wrong_pages(&base), 0);
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    pager_expect(place, "DELETE", "/sessions/a", json_pack("{s:b}", "detach", 1), 204);
    struct uffdio_range range = {.start = (uintptr_t)vm_page(&vm, 450), .len = PAGE};
    assert_int_equal(ioctl(vm.uffd, UFFDIO_UNREGISTER, &range), 0);
    pthread_join(thread, NULL);
    vm_close(&vm);
    vm_close(&base);
}

/* ---- take-over ---- */

static int take_over(const struct place *place, json_t *layers, int held[2])
{
    json_t *body = session_body(place, "a");
    json_object_set_new(body, "layers", layers);
    json_object_del(body, "handshake_socket");
    json_object_set_new(body, "take_over", json_true());
    struct reply reply = pager_call(place, "POST", "/sessions", body, held, 2);
    int status = reply.status;
    reply_free(&reply);
    return status;
}

static void test_take_over(void **state)
{
    struct place *place = *state;
    struct vm vm;
    begin(&vm, place, "a", stack_body(place, "a"));
    assert_true(page_is_right(vm_page(&vm, 0), 0));
    struct reply reply = pager_call(place, "GET", "/sessions/a/descriptors", NULL, NULL, 0);
    assert_int_equal(reply.fd_count, 2);
    int held[2] = {fcntl(reply.fds[0], F_DUPFD_CLOEXEC, 0),
                   fcntl(reply.fds[1], F_DUPFD_CLOEXEC, 0)};
    reply_free(&reply);
    pager_kill(place);
    pager_begin(place, "TINE_PAGER", "0.1.0");
    /* Another stack is another image. */
    assert_int_equal(take_over(place, json_pack("[s, s]", "memory", "memory.1"), held), 500);
    assert_int_equal(
        take_over(place, json_pack("[s, s, s]", "memory", "memory.1", "memory.2"), held), 200);
    expect_right(&vm);
    close(held[0]);
    close(held[1]);
    vm_close(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_siblings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_layers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_layer_is_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_take_over, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's memory through the pager: every page the right one, whatever the VM does with it. */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fixture.h"

#define PAGES 2048u

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

static void test_every_page(void **state)
{
    struct place *place = *state;
    struct vm vm;
    vm_begin(&vm, place, "a", PAGES, 1);
    assert_int_equal(vm_wrong_pages(&vm), 0);
    assert_true(session_counter(place, "a", "zero_pages") >= PAGES / 7);
    assert_true(session_counter(place, "a", "faults") < PAGES / 2);
    vm_close(&vm);
}

static void *touch_all(void *argument)
{
    return (void *)(uintptr_t)vm_wrong_pages(argument);
}

static void test_regions_and_threads(void **state)
{
    struct place *place = *state;
    struct vm vm;
    pthread_t threads[8];
    vm_begin(&vm, place, "a", PAGES, 5);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, touch_all, &vm), 0);
    for (int i = 0; i < 8; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    vm_close(&vm);
}

static void remove_pages(const struct vm *vm, uint64_t page, uint64_t count)
{
    assert_int_equal(madvise(vm_page(vm, page), count * PAGE, MADV_DONTNEED), 0);
}

static void test_removed_pages_are_zero(void **state)
{
    struct place *place = *state;
    struct vm vm;
    vm_begin(&vm, place, "a", PAGES, 2);
    remove_pages(&vm, 100, 50); /* never touched before */
    assert_true(page_is_image(vm_page(&vm, 600), 600));
    remove_pages(&vm, 600, 4);
    *vm_page(&vm, 610) = 1; /* written, then given back */
    remove_pages(&vm, 610, 1);
    for (uint64_t page = 100; page < 150; page++)
        assert_true(page_is_zeros(vm_page(&vm, page)));
    for (uint64_t page = 600; page < 604; page++)
        assert_true(page_is_zeros(vm_page(&vm, page)));
    assert_true(page_is_zeros(vm_page(&vm, 610)));
    assert_true(page_is_image(vm_page(&vm, 99), 99) && page_is_image(vm_page(&vm, 150), 150));
    memset(vm_page(&vm, 120), 7, PAGE); /* used again, given back again */
    remove_pages(&vm, 120, 1);
    assert_true(page_is_zeros(vm_page(&vm, 120)));
    vm_close(&vm);
}

/* ---- streams ---- */

/* What is there without anybody having asked for it. */
static void wait_for_pages_ahead(const struct place *place, const char *id, int64_t pages)
{
    while (session_counter(place, id, "copied_pages") + session_counter(place, id, "zero_pages") <
           pages)
        time_sleep_ms(1);
}

static void test_a_stream_is_read_ahead_of(void **state)
{
    struct place *place = *state;
    struct vm vm;
    vm_begin(&vm, place, "a", PAGES, 2);
    remove_pages(&vm, 600, 10);
    for (uint64_t page = 0; page < 400; page++)
        assert_true(page_is_image(vm_page(&vm, page), page));
    wait_for_pages_ahead(place, "a", 500);
    for (uint64_t page = 400; page < PAGES; page++) {
        if (page >= 600 && page < 610)
            assert_true(page_is_zeros(vm_page(&vm, page)));
        else
            assert_true(page_is_image(vm_page(&vm, page), page));
    }
    vm_close(&vm);
}

/* ---- changes of the mappings ---- */

static void test_unmapped_and_moved(void **state)
{
    struct place *place = *state;
    struct vm vm;
    pager_expect(place, "POST", "/sessions", session_body(place, "a"), 200);
    vm_open(&vm, PAGES, 1,
            UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP);
    vm_introduce(&vm, place, "a");
    assert_true(page_is_image(vm_page(&vm, 0), 0));
    assert_int_equal(munmap(vm_page(&vm, 1000), 100 * PAGE), 0);
    uint8_t *to = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(to, MAP_FAILED);
    uint8_t *moved =
        mremap(vm_page(&vm, 512), 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    assert_ptr_equal(moved, to);
    for (uint64_t i = 0; i < 64; i++)
        assert_true(page_is_image(moved + i * PAGE, 512 + i));
    for (uint64_t page = 0; page < PAGES; page++) {
        if ((page < 512 || page >= 576) && (page < 1000 || page >= 1100))
            assert_true(page_is_image(vm_page(&vm, page), page));
    }
    json_t *session = session_get(place, "a");
    assert_int_equal(json_integer_value(json_object_get(session, "pages")), PAGES - 100);
    json_decref(session);
    munmap(to, 64 * PAGE);
    vm_close(&vm);
}

/* ---- overlays ---- */

static void write_page(const struct place *place, const char *name, uint8_t byte)
{
    uint8_t page[PAGE];
    char path[128];
    memset(page, byte, sizeof(page));
    snprintf(path, sizeof(path), "%s/%s", place->directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(page, 1, PAGE, file), PAGE);
    assert_int_equal(fclose(file), 0);
}

static bool page_is_all(const uint8_t *memory, uint8_t byte)
{
    return memory[0] == byte && memcmp(memory, memory + 1, PAGE - 1) == 0;
}

static void test_overlays(void **state)
{
    struct place *place = *state;
    struct vm vm, sibling;
    write_page(place, "one", 1);
    write_page(place, "two", 2);
    json_t *body = session_body(place, "a");
    json_object_set_new(body, "overlays",
                        json_pack("[{s:s, s:i}, {s:s, s:i}, {s:s, s:i}]", "file", "one", "page", 20,
                                  "file", "two", "page", 21, "file", "two", "page", 24));
    pager_expect(place, "POST", "/sessions", body, 200);
    vm_open(&vm, PAGES, 1, UFFD_FEATURE_EVENT_REMOVE);
    vm_introduce(&vm, place, "a");
    vm_begin(&sibling, place, "b", PAGES, 1);
    for (uint64_t page = 0; page < 64; page++) {
        if (page == 20 || page == 21 || page == 24)
            assert_true(page_is_all(vm_page(&vm, page), page == 20 ? 1 : 2));
        else
            assert_true(page_is_image(vm_page(&vm, page), page));
    }
    remove_pages(&vm, 21, 1);
    assert_true(page_is_zeros(vm_page(&vm, 21)));
    assert_int_equal(vm_wrong_pages(&sibling), 0); /* an overlay is one session's */
    vm_close(&vm);
    vm_close(&sibling);
}

/* ---- complete ---- */

static void *write_on(void *argument)
{
    const struct vm *vm = argument;
    for (uint64_t page = 1500; page < 1600; page++)
        memset(vm_page(vm, page), 9, PAGE);
    for (uint64_t page = 1600; page < 1700; page += 10)
        remove_pages(vm, page, 5);
    return NULL;
}

static void complete(struct place *place, json_t *body)
{
    struct vm vm;
    pthread_t thread;
    vm_begin(&vm, place, "a", PAGES, 3);
    assert_true(page_is_image(vm_page(&vm, 77), 77));
    remove_pages(&vm, 200, 10);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &vm), 0);
    pager_expect(place, "POST", "/sessions/a/complete", body, 204);
    assert_true(session_reaches(place, "a", "completed"));
    pthread_join(thread, NULL);
    pager_expect(place, "DELETE", "/sessions/a", NULL, 204);
    pager_kill(place); /* it is not needed any more */
    for (uint64_t page = 0; page < PAGES; page++) {
        const uint8_t *memory = vm_page(&vm, page);
        if (page >= 1500 && page < 1600)
            assert_true(page_is_all(memory, 9));
        else if ((page >= 200 && page < 210) || (page >= 1600 && page < 1700 && page % 10 < 5))
            assert_true(page_is_zeros(memory));
        else
            assert_true(page_is_image(memory, page));
    }
    vm_close(&vm);
}

static void test_complete(void **state)
{
    complete(*state, NULL);
}

static void test_complete_paced(void **state)
{
    complete(*state, json_pack("{s:i}", "bandwidth_mib", 64));
}

static void test_complete_of_a_bad_image(void **state)
{
    struct place *place = *state;
    struct vm vm;
    char path[128];
    vm_begin(&vm, place, "a", PAGES, 1);
    assert_true(page_is_image(vm_page(&vm, 0), 0));
    snprintf(path, sizeof(path), "%s/memory", place->directory);
    assert_int_equal(truncate(path, 0), 0);
    pager_expect(place, "POST", "/sessions/a/complete", NULL, 204);
    /* It could not be completed, and is served as before until a fault shows it to be broken. */
    assert_true(session_reaches(place, "a", "serving"));
    json_t *session = session_get(place, "a");
    assert_non_null(strstr(json_string_value(json_object_get(session, "reason")), "complete: "));
    json_decref(session);
    vm_close(&vm);
}

/* ---- records of first touches ---- */

#define RECORD "memory.first-touch"

static void begin_recording(struct vm *vm, const struct place *place, const char *id)
{
    json_t *body = session_body(place, id);
    json_object_set_new(body, "record", json_string(RECORD));
    pager_expect(place, "POST", "/sessions", body, 200);
    vm_open(vm, PAGES, 1, UFFD_FEATURE_EVENT_REMOVE);
    vm_introduce(vm, place, id);
}

static void end_recording(struct vm *vm, const struct place *place, const char *id)
{
    char path[128];
    snprintf(path, sizeof(path), "/sessions/%s", id);
    pager_expect(place, "DELETE", path, json_pack("{s:b}", "detach", 1), 204);
    vm_close(vm);
}

static void wait_for_prefetch(const struct place *place, const char *id)
{
    for (;;) {
        json_t *session = session_get(place, id);
        bool active = json_is_true(json_object_get(session, "prefetching"));
        json_decref(session);
        if (!active && session_counter(place, id, "prefetched_pages") > 0)
            return;
        time_sleep_ms(1);
    }
}

/* Pages 100 to 400, then some scattered ones. */
static void touch_working_set(const struct vm *vm)
{
    for (uint64_t page = 100; page < 400; page++)
        assert_true(page_is_image(vm_page(vm, page), page));
    for (uint64_t page = 1000; page < 2000; page += 97)
        assert_true(page_is_image(vm_page(vm, page), page));
}

static void test_prefetch_by_the_siblings_record(void **state)
{
    struct place *place = *state;
    struct vm vm;
    begin_recording(&vm, place, "first");
    touch_working_set(&vm);
    end_recording(&vm, place, "first");
    for (int i = 0; i < 2; i++) {
        begin_recording(&vm, place, "later");
        wait_for_prefetch(place, "later");
        int64_t faults = session_counter(place, "later", "faults");
        touch_working_set(&vm);
        assert_int_equal(session_counter(place, "later", "faults"), faults);
        assert_int_equal(vm_wrong_pages(&vm), 0);
        end_recording(&vm, place, "later");
        pager_kill(place); /* the next one reads the file */
        pager_begin(place, "TINE_PAGER", "0.1.0");
    }
}

static void test_prefetch_leaves_given_back_pages(void **state)
{
    struct place *place = *state;
    struct vm vm;
    begin_recording(&vm, place, "first");
    touch_working_set(&vm);
    end_recording(&vm, place, "first");
    begin_recording(&vm, place, "later");
    remove_pages(&vm, 100, 300);
    wait_for_prefetch(place, "later");
    for (uint64_t page = 100; page < 400; page++)
        assert_true(page_is_zeros(vm_page(&vm, page)));
    end_recording(&vm, place, "later");
}

static void test_broken_record_is_made_anew(void **state)
{
    struct place *place = *state;
    struct vm vm;
    char path[128], text[8] = "garbage";
    snprintf(path, sizeof(path), "%s/" RECORD, place->directory);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    begin_recording(&vm, place, "first");
    touch_working_set(&vm);
    assert_int_equal(session_counter(place, "first", "prefetched_pages"), 0);
    end_recording(&vm, place, "first");
    file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, 8, file), 8);
    assert_memory_equal(text, "TINETUCH", 8);
    fclose(file);
}

/* ---- ends ---- */

/* A VM that is a process of its own; it has touched a page when this returns. */
static pid_t vm_process(const struct place *place, const char *id)
{
    int ends[2];
    char byte = 0;
    pager_expect(place, "POST", "/sessions", session_body(place, id), 200);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct vm vm;
        vm_open(&vm, PAGES, 1, UFFD_FEATURE_EVENT_REMOVE);
        vm_introduce(&vm, place, id);
        if (page_is_image(vm_page(&vm, 5), 5) && write(ends[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    return pid;
}

static void end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_the_vm_ends(void **state)
{
    struct place *place = *state;
    pid_t pid = vm_process(place, "a");
    json_t *session = session_get(place, "a");
    json_t *peer = json_object_get(session, "peer");
    assert_int_equal(json_integer_value(json_object_get(peer, "pid")), pid);
    json_decref(session);
    pager_expect(place, "DELETE", "/sessions/a", NULL, 409);
    end_process(pid);
    assert_true(session_reaches(place, "a", "ended"));
    pager_expect(place, "DELETE", "/sessions/a", NULL, 204);
    pager_expect(place, "GET", "/sessions/a", NULL, 404);
}

static void test_drain(void **state)
{
    struct place *place = *state;
    pid_t pid = vm_process(place, "a");
    struct vm vm;
    vm_begin(&vm, place, "b", PAGES, 1);
    pager_expect(place, "POST", "/drain", NULL, 204);
    struct reply reply = pager_call(place, "GET", "/health", NULL, NULL, 0);
    assert_string_equal(json_string_value(json_object_get(reply.body, "status")), "draining");
    reply_free(&reply);
    pager_expect(place, "POST", "/sessions", session_body(place, "c"), 409);
    assert_int_equal(vm_wrong_pages(&vm), 0);
    pager_expect(place, "DELETE", "/sessions/b", json_pack("{s:b}", "detach", 1), 204);
    assert_true(session_reaches(place, "a", "serving"));
    end_process(pid);
    assert_int_equal(pager_wait(place), 0);
    assert_int_equal(access(place->control, F_OK), -1);
    vm_close(&vm);
}

static void test_signals(void **state)
{
    struct place *place = *state;
    pid_t pid = vm_process(place, "a");
    kill(place->pid, SIGTERM); /* drains */
    for (;;) {
        struct reply reply = pager_call(place, "GET", "/stats", NULL, NULL, 0);
        bool draining = json_is_true(json_object_get(reply.body, "draining"));
        reply_free(&reply);
        if (draining)
            break;
        time_sleep_ms(1);
    }
    kill(place->pid, SIGTERM); /* ends */
    assert_int_equal(pager_wait(place), 0);
    end_process(pid);
}

static void test_one_process_per_version(void **state)
{
    struct place *place = *state;
    const char *program = getenv("TINE_PAGER");
    struct place second = *place;
    second.pid = fork();
    assert_true(second.pid >= 0);
    if (second.pid == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(126);
        execl(program, program, "--run-dir", place->directory, NULL);
        _exit(127);
    }
    assert_int_equal(pager_wait(&second), 1);
    pager_expect(place, "GET", "/health", NULL, 200); /* the first one's socket is still there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_regions_and_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed_pages_are_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stream_is_read_ahead_of, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unmapped_and_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complete_paced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complete_of_a_bad_image, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prefetch_by_the_siblings_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prefetch_leaves_given_back_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_record_is_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_vm_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_process_per_version, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

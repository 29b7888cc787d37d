/* SPDX-License-Identifier: Apache-2.0 */
/* A Linux guest that tine-pager serves, by the raw API and on two memory slots. One argument: a
 * directory for its files. Needs a KVM that boots Linux, so tests/e2e/uffd.test runs it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "linux_vm.h"

#define ORACLE_MIB  16u
#define FREED_MIB   48u /* that held something and were given back to the guest's kernel */
#define BALLOON_MIB 24u
#define KILLS       3
#define SLOT_PAGES  (3ull << 30 >> 12) /* of the lower memory slot */

struct linux_test {
    struct place place;
    struct linux_vm vm;
};

static const char *work; /* the argument */

/* ---- sessions ---- */

static json_t *session_make_body(const struct linux_test *test, const char *id)
{
    json_t *body = session_body(&test->place, id);
    json_object_set_new(body, "directory", json_string(test->vm.directory));
    return body;
}

static void load_served(struct linux_test *test, const char *id)
{
    char socket[160];
    pager_expect(&test->place, "POST", "/sessions", session_make_body(test, id), 200);
    snprintf(socket, sizeof(socket), "%s/%s.sock", test->place.directory, id);
    vm_load_served(&test->vm, socket);
}

static struct reply session_hold(const struct linux_test *test, const char *id)
{
    char path[64];
    snprintf(path, sizeof(path), "/sessions/%s/descriptors", id);
    struct reply held = pager_call(&test->place, "GET", path, NULL, NULL, 0);
    assert_int_equal(held.status, 200);
    assert_int_equal(held.fd_count, 2);
    return held;
}

static void wait_counter(const struct linux_test *test, const char *id, const char *name,
                         int64_t at_least)
{
    for (unsigned waited = 0; session_counter(&test->place, id, name) < at_least; waited++) {
        assert_true(waited < PATIENCE_MS);
        time_sleep_ms(5);
    }
}

/* ---- files ---- */

static int file_open(const struct linux_test *test, const char *name, int flags)
{
    char path[192];
    vm_path(&test->vm, path, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

/* Puts the data of one file over another, which may be new. */
static void put_over(const struct linux_test *test, const char *from, const char *to)
{
    _cleanup_(close) int in = file_open(test, from, O_RDONLY);
    _cleanup_(close) int out = file_open(test, to, O_RDWR | O_CREAT);
    assert_int_equal(ftruncate(out, (off_t)(VM_PAGES * PAGE)), 0);
    for (off_t start = 0, end = 0; (start = lseek(in, end, SEEK_DATA)) >= 0;) {
        end = lseek(in, start, SEEK_HOLE);
        while (start < end) {
            ssize_t n = copy_file_range(in, &start, out, &(off_t){start}, (size_t)(end - start), 0);
            assert_true(n > 0);
        }
    }
}

/* ---- tests ---- */

/* The VM that all tests begin with: asleep, with a pattern in memory, and with free memory that is
 * not zero. */
static int group_setup(void **state)
{
    struct linux_test *test = calloc(1, sizeof(*test));
    assert_non_null(test);
    place_open(&test->place);
    pager_begin(&test->place, "TINE_PAGER", TINE_VERSION);
    snprintf(test->vm.directory, sizeof(test->vm.directory), "%s", work);
    *state = test;
    vm_boot(&test->vm);
    oracle_fill(&test->vm, FREED_MIB, 9);
    oracle_fill(&test->vm, ORACLE_MIB, 1);
    vm_pause(&test->vm);
    vm_save(&test->vm, "Full", "memory");
    process_kill(&test->vm.process);
    return 0;
}

static int group_teardown(void **state)
{
    struct linux_test *test = *state;
    process_kill(&test->vm.process);
    place_close(&test->place);
    free(test);
    return 0;
}

static void *check_oracle(void *argument)
{
    const struct linux_test *test = argument;
    return (void *)(intptr_t)oracle_bad_pages(&test->vm, 1);
}

static void take_over(struct linux_test *test, const char *id, const struct reply *held)
{
    json_t *body = session_make_body(test, id);
    json_object_del(body, "handshake_socket");
    json_object_set_new(body, "take_over", json_true());
    struct reply reply =
        pager_call(&test->place, "POST", "/sessions", body, held->fds, held->fd_count);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

/* The pager is killed while the guest reads all its memory, again and again. */
static void test_killed_pager(void **state)
{
    struct linux_test *test = *state;
    pthread_t checker;
    void *bad = NULL;
    load_served(test, "killed");
    struct reply held = session_hold(test, "killed");
    assert_int_equal(pthread_create(&checker, NULL, check_oracle, test), 0);
    for (int i = 0; i < KILLS; i++) {
        wait_counter(test, "killed", "copied_pages",
                     session_counter(&test->place, "killed", "copied_pages") + 64);
        pager_kill(&test->place);
        pager_begin(&test->place, "TINE_PAGER", TINE_VERSION);
        take_over(test, "killed", &held);
    }
    reply_free(&held);
    assert_int_equal(pthread_join(checker, &bad), 0);
    assert_int_equal((intptr_t)bad, 0);
    assert_oracle(&test->vm, 1);
}

/* Every page that was given back is zero in the image; some held something before, and some are of
 * the upper slot. */
static void check_given_back(const struct linux_test *test, int shared_state, const char *image)
{
    const uint64_t bytes =
        (VM_PAGES / 8 + PAGE - 1) / PAGE * PAGE; /* of the last room of the state */
    struct stat st;
    assert_int_equal(fstat(shared_state, &st), 0);
    uint64_t *removed =
        mmap(NULL, bytes, PROT_READ, MAP_SHARED, shared_state, st.st_size - (off_t)bytes);
    assert_ptr_not_equal(removed, MAP_FAILED);
    _cleanup_(close) int before = file_open(test, "memory", O_RDONLY);
    _cleanup_(close) int after = file_open(test, image, O_RDONLY);
    uint8_t page[PAGE];
    unsigned count = 0, held_something = 0, upper = 0, wrong = 0;
    for (uint64_t n = 0; n < VM_PAGES; n++) {
        if (!(removed[n / 64] >> n % 64 & 1))
            continue;
        count++;
        upper += n >= SLOT_PAGES;
        assert_int_equal(pread(before, page, PAGE, (off_t)(n * PAGE)), PAGE);
        held_something += !page_is_zeros(page);
        assert_int_equal(pread(after, page, PAGE, (off_t)(n * PAGE)), PAGE);
        wrong += !page_is_zeros(page);
    }
    munmap(removed, bytes);
    assert_int_equal(wrong, 0);
    assert_true(count >= (BALLOON_MIB << 20) / PAGE);
    assert_true(held_something > 0 && upper > 0);
}

/* What changed since the load, and then what changed since that, is put over the image, in place
 * and by way of a fresh file; the image then is the VM. */
static void test_diffs(void **state)
{
    struct linux_test *test = *state;
    load_served(test, "diffs");
    struct reply held = session_hold(test, "diffs");
    put_over(test, "memory", "image");
    oracle_fill(&test->vm, ORACLE_MIB, 2);
    vm_call(&test->vm, "PATCH", "/balloon", json_pack("{s:i}", "amount_mib", (int)BALLOON_MIB));
    wait_counter(test, "diffs", "removed_pages", (BALLOON_MIB << 20) / PAGE);
    vm_pause(&test->vm);
    vm_save(&test->vm, "Diff", "image");
    check_given_back(test, held.fds[1], "image");
    reply_free(&held);
    vm_resume(&test->vm);
    assert_oracle(&test->vm, 2);
    vm_call(&test->vm, "PATCH", "/balloon", json_pack("{s:i}", "amount_mib", 0));
    oracle_fill(&test->vm, ORACLE_MIB, 3);
    vm_pause(&test->vm);
    vm_save(&test->vm, "Diff", "diff");
    put_over(test, "diff", "image");
    vm_load_file(&test->vm, "image");
    assert_oracle(&test->vm, 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_pager),
        cmocka_unit_test(test_diffs),
    };
    if (argc != 2)
        return 2;
    work = argv[1];
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

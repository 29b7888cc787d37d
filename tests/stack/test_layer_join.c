/* SPDX-License-Identifier: Apache-2.0 */
/* Several layers become one that shows the same. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "layers.h"
#include "stack/layer_stack.h"

#define PAGES 1500u
#define DEPTH 5u

struct place {
    char path[32];
    int dir;
};

/* Each layer at random, of every kind of page; the base has every third page. */
static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    uint8_t bytes[PAGE];
    unsigned seed = 815;
    place->dir = scratch_directory(place->path);
    _cleanup_(close) int base = openat(place->dir, "memory", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(base, (off_t)PAGES * PAGE), 0);
    for (uint64_t page = 0; page < PAGES; page += 3) {
        page_fill(bytes, page, 100);
        assert_int_equal(file_pwrite_exact(base, bytes, PAGE, page * PAGE, "memory", NULL), 0);
    }
    for (unsigned number = 1; number <= DEPTH; number++) {
        char kinds[PAGES + 1] = {0}, kind = '-';
        for (uint64_t page = 0; page < PAGES; page++) {
            if (rand_r(&seed) % 4 == 0)
                kind = "ddzf---"[rand_r(&seed) % 7];
            kinds[page] = kind;
        }
        _cleanup_(free) char *name = layer_stack_name("memory", number);
        _cleanup_(close) int fd = openat(place->dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        layer_write(fd, kinds, PAGES, number);
    }
    setenv("TINE_FAILPOINT", "", 1);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    unsetenv("TINE_FAILPOINT");
    close(place->dir);
    int r = tree_remove(AT_FDCWD, place->path, NULL);
    free(place);
    return r;
}

static struct stack_file in(const struct place *place, const char *name)
{
    return (struct stack_file){place->dir, name, name};
}

/* All pages, as they are read through the stack. */
static uint8_t *content(const struct place *place, unsigned depth)
{
    struct error err = {0};
    const struct stack_file base = in(place, "memory");
    uint8_t *bytes = calloc(PAGES, PAGE);
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(&base, &err);
    if (!stack)
        fail_msg("%s", err.message);
    assert_int_equal(layer_stack_depth(stack), depth);
    for (uint64_t page = 0; page < PAGES; page++) {
        struct layer_extent extent = layer_stack_find(stack, page);
        if (!extent.zero)
            assert_int_equal(file_pread_exact(extent.fd, bytes + page * PAGE, PAGE, extent.offset,
                                              "memory", NULL),
                             0);
    }
    return bytes;
}

static int join(const struct place *place, unsigned first, struct error *err)
{
    const struct stack_file base = in(place, "memory"), to = in(place, "joined");
    return layer_stack_join(&base, first, &to, NULL, NULL, err);
}

static unsigned entries(const struct place *place)
{
    unsigned count = 0;
    for (unsigned i = 0; i <= DEPTH; i++) {
        char name[16];
        snprintf(name, sizeof(name), i ? "memory.%u" : "memory", i);
        count += faccessat(place->dir, name, F_OK, 0) == 0;
    }
    return count;
}

static void test_shows_the_same(void **state)
{
    struct place *place = *state;
    for (unsigned first = DEPTH; first >= 1; first--) {
        struct error err = {0};
        struct layer_info info;
        unsigned depth = first < DEPTH ? first + 1 : DEPTH;
        _cleanup_(free) uint8_t *before = content(place, depth);
        const struct stack_file base = in(place, "memory"), to = in(place, "joined");
        if (layer_stack_join(&base, first, &to, NULL, &info, &err) < 0)
            fail_msg("%s", err.message);
        _cleanup_(free) char *name = layer_stack_name("memory", first);
        assert_int_equal(renameat(place->dir, "joined", place->dir, name), 0);
        _cleanup_(free) char *above = layer_stack_name("memory", first + 1);
        assert_int_equal(unlinkat(place->dir, above, 0), depth > first ? 0 : -1);
        _cleanup_(free) uint8_t *after = content(place, first);
        assert_memory_equal(before, after, (size_t)PAGES * PAGE);
        assert_true(info.data_pages > 0 && info.zero_pages > 0);
    }
}

/* From the middle on, what lies above is gone. */
static void test_from_the_middle(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    _cleanup_(free) uint8_t *before = content(place, DEPTH);
    assert_int_equal(join(place, 3, &err), 0);
    for (unsigned number = 3; number <= DEPTH; number++) {
        _cleanup_(free) char *name = layer_stack_name("memory", number);
        assert_int_equal(unlinkat(place->dir, name, 0), 0);
    }
    assert_int_equal(renameat(place->dir, "joined", place->dir, "memory.3"), 0);
    _cleanup_(free) uint8_t *after = content(place, 3);
    assert_memory_equal(before, after, (size_t)PAGES * PAGE);
}

static void test_failures(void **state)
{
    static const char *const points[] = {
        "stack-layer-data=ENOSPC", "stack-layer-index=ENOSPC", "stack-layer-sync=ENOSPC",
        "stack-join-before-rename=ENOSPC", "stack-join-after-rename=ENOSPC"};
    struct place *place = *state;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_int_equal(join(place, 1, &err), -ENOSPC);
        assert_non_null(strstr(err.message, "joined"));
        assert_int_equal(faccessat(place->dir, "joined", F_OK, 0), -1);
        assert_int_equal(entries(place), DEPTH + 1);
    }
    setenv("TINE_FAILPOINT", "", 1);
    assert_int_equal(join(place, 0, &err), -EINVAL);
    assert_int_equal(join(place, DEPTH + 1, &err), -EINVAL);
    assert_non_null(strstr(err.message, "memory has 5 layers, none from 6 on"));
    assert_int_equal(join(place, 1, &err), 0);
    assert_int_equal(join(place, 1, &err), -EEXIST);
}

static void test_damaged(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    _cleanup_(close) int fd = openat(place->dir, "memory.2", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "rotten", 6, PAGE), 6);
    assert_int_equal(join(place, 1, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "memory.2 is damaged"));
    assert_int_equal(join(place, 3, &err), 0);
}

static void test_cancelled(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    struct layer_task task = {.cancelled = true};
    const struct stack_file base = in(place, "memory"), to = in(place, "joined");
    assert_int_equal(layer_stack_join(&base, 1, &to, &task, NULL, &err), -ECANCELED);
    assert_int_equal(err.code, ERROR_STATE);
    assert_int_equal(faccessat(place->dir, "joined", F_OK, 0), -1);
}

#define JOIN_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOIN_TEST(test_shows_the_same), JOIN_TEST(test_from_the_middle), JOIN_TEST(test_failures),
        JOIN_TEST(test_damaged),        JOIN_TEST(test_cancelled),
    };
    return cmocka_run_group_tests_name("layer join", tests, NULL, NULL);
}

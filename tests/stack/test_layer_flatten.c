/* SPDX-License-Identifier: Apache-2.0 */
/* A stack becomes one raw image with the same pages, and stays what it was. */
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
#include "fixture.h"
#include "layers.h"
#include "stack/layer_stack.h"

#define PAGES 2048u

/* Pages of the image by who has them: the base has every second block of 64 pages. */
static bool base_has(uint64_t page)
{
    return page / 64 % 2 == 0;
}

static char layer_has(uint64_t page, unsigned number)
{
    if (page % 97 < 10 * number)
        return 'd';
    return page % 97 == 40 + number ? 'z' : '-';
}

static void base_create(int dirfd)
{
    uint8_t bytes[PAGE];
    _cleanup_(close) int fd = openat(dirfd, "memory", O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    assert_int_equal(ftruncate(fd, (off_t)PAGES * PAGE), 0);
    for (uint64_t page = 0; page < PAGES; page++) {
        page_fill(bytes, page, 100);
        if (base_has(page))
            assert_int_equal(file_pwrite_exact(fd, bytes, PAGE, page * PAGE, "memory", NULL), 0);
    }
}

static void layer_create(int dirfd, unsigned number)
{
    char kinds[PAGES + 1] = {0};
    for (uint64_t page = 0; page < PAGES; page++)
        kinds[page] = layer_has(page, number);
    _cleanup_(free) char *name = layer_stack_name("memory", number);
    _cleanup_(close) int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    layer_write(fd, kinds, PAGES, number);
}

static struct pair stack_pair(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    base_create(pair.a);
    layer_create(pair.a, 1);
    layer_create(pair.a, 2);
    return pair;
}

static void expected(uint8_t bytes[PAGE], uint64_t page)
{
    memset(bytes, 0, PAGE);
    for (unsigned number = 2; number > 0; number--) {
        if (layer_has(page, number) == 'd')
            page_fill(bytes, page, number);
        if (layer_has(page, number) != '-')
            return;
    }
    if (base_has(page))
        page_fill(bytes, page, 100);
}

static void check_image(int dirfd, const char *name)
{
    uint8_t wanted[PAGE], got[PAGE];
    uint64_t zeros = 0;
    struct stat st;
    _cleanup_(close) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, PAGES * PAGE);
    for (uint64_t page = 0; page < PAGES; page++) {
        expected(wanted, page);
        assert_int_equal(file_pread_exact(fd, got, PAGE, page * PAGE, name, NULL), 0);
        assert_memory_equal(got, wanted, PAGE);
        zeros += wanted[0] == 0;
    }
    image_assert_sparse(dirfd, name, (PAGES - zeros / 2) * PAGE);
}

static int flatten(const struct pair *pair, struct stack_result *result, struct error *err)
{
    struct stack_file base = in_dir(pair->a, "memory"), to = in_dir(pair->b, "memory");
    return layer_stack_flatten(&base, &to, NULL, result, err);
}

static void flatten_good(const struct pair *pair)
{
    struct stack_result result;
    struct error err = {0};
    if (flatten(pair, &result, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(result.method, pair->to->reflinks ? STACK_REFLINK : STACK_SPARSE_COPY);
    assert_int_equal(entries_of(pair->b), 1);
    check_image(pair->b, "memory");
}

static void test_flatten(void **state)
{
    struct pair pair = stack_pair(state);
    _cleanup_(close) int reader = openat(pair.a, "memory", O_RDONLY | O_CLOEXEC);
    ino_t inode = inode_of(pair.a, "memory");
    flatten_good(&pair);
    assert_int_equal(entries_of(pair.a), 3);
    assert_int_equal(inode_of(pair.a, "memory"), inode);
    assert_int_equal(link_count_of(pair.b, "memory"), 1);
    uint8_t wanted[PAGE], got[PAGE]; /* who has the base open sees no change */
    page_fill(wanted, 0, 100);
    assert_int_equal(file_pread_exact(reader, got, PAGE, 0, "memory", NULL), 0);
    assert_memory_equal(got, wanted, PAGE);
    struct stack_file flat = in_dir(pair.b, "memory");
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(&flat, NULL);
    assert_int_equal(layer_stack_depth(stack), 0);
    pair_remove(&pair);
}

static void test_without_holes_punched(void **state)
{
    struct pair pair = stack_pair(state);
    failpoints("stack-flatten-punch=EOPNOTSUPP");
    struct stack_result result;
    assert_int_equal(flatten(&pair, &result, NULL), 0);
    failpoints(NULL);
    check_image(pair.b, "memory");
    pair_remove(&pair);
}

static void assert_fails(const struct pair *pair, int errnum, const char *words)
{
    struct stack_result result;
    struct error err = {0};
    unsigned before = entries_of(pair->b);
    assert_int_equal(flatten(pair, &result, &err), -errnum);
    if (!strstr(err.message, words))
        fail_msg("expected \"%s\", got \"%s\"", words, err.message);
    assert_int_equal(entries_of(pair->a), 3);
    assert_int_equal(entries_of(pair->b), before);
}

static void test_failures(void **state)
{
    static const char *const points[] = {
        "stack-flatten-data=ENOSPC", "stack-flatten-punch=ENOSPC", "stack-flatten-sync=ENOSPC",
        "stack-flatten-before-rename=ENOSPC", "stack-flatten-after-rename=ENOSPC"};
    struct pair pair = stack_pair(state);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        if (strstr(points[i], "punch") && !pair.to->reflinks) /* it begins with nothing but holes */
            continue;
        failpoints(points[i]);
        assert_fails(&pair, ENOSPC, "memory");
    }
    failpoints(NULL);
    flatten_good(&pair);
    assert_fails(&pair, EEXIST, "memory");
    pair_remove(&pair);
}

/* What the checksums would have told is not made good by copying it. */
static void test_damaged_layer(void **state)
{
    struct pair pair = stack_pair(state);
    int fd = openat(pair.a, "memory.1", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "rotten", 6, PAGE), 6);
    close(fd);
    assert_fails(&pair, EBADMSG, "memory.1 is damaged");
    pair_remove(&pair);
}

static void test_cancelled(void **state)
{
    struct pair pair = stack_pair(state);
    struct stack_file base = in_dir(pair.a, "memory"), to = in_dir(pair.b, "memory");
    struct layer_task task = {.cancelled = true};
    struct stack_result result;
    struct error err = {0};
    assert_int_equal(layer_stack_flatten(&base, &to, &task, &result, &err), -ECANCELED);
    assert_int_equal(err.code, ERROR_STATE);
    assert_int_equal(entries_of(pair.b), 0);
    atomic_store(&task.cancelled, false);
    task.bytes_per_second = 1ull << 40;
    assert_int_equal(layer_stack_flatten(&base, &to, &task, &result, &err), 0);
    check_image(pair.b, "memory");
    pair_remove(&pair);
}

static void flatten_in_child(void *context)
{
    struct stack_result result;
    flatten(context, &result, NULL);
}

static void test_killed(void **state)
{
    static const char *const points[] = {"stack-flatten-data", "stack-flatten-sync",
                                         "stack-flatten-before-rename"};
    struct pair pair = stack_pair(state);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        failpoints(points[i]);
        assert_true(was_killed(in_child(flatten_in_child, &pair)));
        assert_false(is_there(pair.b, "memory"));
        assert_int_equal(entries_of(pair.b), 1);
    }
    failpoints(NULL);
    flatten_good(&pair);
    pair_remove(&pair);
}

static const struct fs_case cases[] = {
    {"a stack becomes one image", test_flatten},
    {"where no hole can be made", test_without_holes_punched},
    {"each step fails", test_failures},
    {"a damaged layer", test_damaged_layer},
    {"it is cancelled", test_cancelled},
    {"killed on the way", test_killed},
};

int main(void)
{
    return run_on_each("layer flatten", cases, ARRAY_SIZE(cases), NULL, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that need no VM: regions, run lengths, records, the guard, the raw source. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "pager/bitmap.h"
#include "pager/crew.h"
#include "pager/guard.h"
#include "pager/process_mark.h"
#include "pager/raw_source.h"
#include "pager/record_store.h"
#include "pager/regions.h"
#include "pager/run_length.h"

/* ---- regions ---- */

static void test_regions_as_firecracker_sends_them(void **state)
{
    static const char text[] =
        "[{\"base_host_virt_addr\":140737488355328,\"size\":8192,\"offset\":0,\"page_size\":4096,"
        "\"page_size_kib\":4096},{\"base_host_virt_addr\":1048576,\"size\":4096,\"offset\":8192,"
        "\"page_size_kib\":4096,\"new\":[]}]";
    struct region_table table;
    struct error err = {0};
    for (size_t length = 0; length < sizeof(text) - 1; length++)
        assert_int_equal(regions_parse(text, length, &table, &err), -EAGAIN);
    assert_int_equal(regions_parse(text, sizeof(text) - 1, &table, &err), 0);
    assert_int_equal(table.count, 2);
    assert_int_equal(table.regions[0].base, 140737488355328);
    assert_int_equal(table.regions[1].offset, 8192);
    assert_int_equal(regions_check(&table, 3 * PAGE_SIZE, &err), 0);
    assert_true(regions_check(&table, 2 * PAGE_SIZE, &err) < 0);
    assert_ptr_equal(regions_at(&table, 1048576), &table.regions[1]);
    assert_null(regions_at(&table, 1048576 + 4096));
    assert_ptr_equal(regions_of_page(&table, 1), &table.regions[0]);
    assert_null(regions_of_page(&table, 3));
}

static void test_regions_move(void **state)
{
    struct region_table table = {.count = 1, .regions = {{0x100000, 16 * PAGE_SIZE, 0}}};
    assert_int_equal(regions_move(&table, 0x104000, 0x900000, 2 * PAGE_SIZE), 0);
    assert_int_equal(table.count, 3);
    const struct region *moved = regions_at(&table, 0x901000);
    assert_non_null(moved);
    assert_int_equal(moved->offset + (0x901000 - moved->base), 5 * PAGE_SIZE);
    assert_null(regions_at(&table, 0x105000));
    assert_ptr_not_equal(regions_at(&table, 0x106000), regions_at(&table, 0x103000));
    assert_int_equal(regions_unmap(&table, 0x100000, 0x110000), 0);
    assert_int_equal(table.count, 1); /* what was moved away is still there */
    assert_int_equal(regions_unmap(&table, 0x900000, 0x902000), 0);
    assert_int_equal(table.count, 0);
}

static void test_regions_too_many_pieces(void **state)
{
    struct region_table table = {.count = 1, .regions = {{0x100000, 1024 * PAGE_SIZE, 0}}};
    int r = 0;
    for (unsigned i = 1; i < 1024 && r == 0; i += 2)
        r = regions_unmap(&table, 0x100000 + i * PAGE_SIZE, 0x100000 + (i + 1) * PAGE_SIZE);
    assert_int_equal(r, -E2BIG);
    assert_int_equal(table.count, REGIONS_MAX);
}

/* ---- run lengths ---- */

static void test_run_length_sequential(void **state)
{
    struct run_length runs;
    uint64_t page = 0;
    unsigned faults = 0;
    run_length_init(&runs);
    for (; page < 16384; faults++) {
        struct run_plan plan = run_length_next(&runs, page, page > 0);
        assert_true(plan.ahead >= page + plan.length || plan.ahead == plan.end);
        assert_true(plan.end - plan.ahead <= RUN_AHEAD && plan.length <= RUN_PROVEN);
        page = plan.end > plan.ahead ? plan.end : page + plan.length;
    }
    assert_true(faults <= 16384 / (RUN_PROVEN + RUN_AHEAD) + 10);
}

/* Who is faster than what is filled ahead of it asks for pages that are planned. */
static void test_run_length_ahead_is_caught_up_with(void **state)
{
    struct run_length runs;
    uint64_t page = 0, planned = 0;
    run_length_init(&runs);
    for (; page < 4096; page += RUN_PROVEN) {
        struct run_plan plan = run_length_next(&runs, page, true);
        assert_true(plan.end >= planned); /* nothing is planned twice */
        assert_true(planned == 0 || plan.ahead >= planned);
        planned = plan.end > plan.ahead ? plan.end : planned;
        if (plan.length < RUN_PROVEN)
            page -= RUN_PROVEN - plan.length;
    }
    assert_true(planned > 4096);
    /* Somewhere else nothing is. */
    struct run_plan plan = run_length_next(&runs, 1000000, false);
    assert_true(plan.ahead == plan.end && plan.length <= RUN_JUMP);
}

static void test_run_length_interleaved_streams(void **state)
{
    struct run_length runs;
    uint64_t page[4] = {0, 100000, 200000, 300000};
    run_length_init(&runs);
    for (int i = 0; i < 20; i++)
        page[i % 4] += run_length_next(&runs, page[i % 4], false).length;
    for (int i = 0; i < 4; i++)
        assert_int_equal(run_length_next(&runs, page[i], false).length, RUN_MAX);
}

static void test_run_length_random(void **state)
{
    struct run_length runs;
    run_length_init(&runs);
    for (uint64_t i = 1; i < 20; i++)
        (void)run_length_next(&runs, i * 7919 * 1000 % 1000003, false);
    assert_int_equal(run_length_next(&runs, 5, false).length, 1);
    /* Where the neighbours turn out to be used too, it grows again; once or twice is chance. */
    assert_int_equal(run_length_next(&runs, 50000, true).length, 1);
    assert_int_equal(run_length_next(&runs, 60000, true).length, 1);
    assert_int_equal(run_length_next(&runs, 70000, true).length, 2);
    assert_int_equal(run_length_next(&runs, 80000, true).length, 4);
}

/* ---- the crew ---- */

#define CREW_PIECES 256

struct crowd {
    struct crew *crew;
    atomic_bool over;
    atomic_uint helped;
};

static void *help_on(void *argument)
{
    struct crowd *crowd = argument;
    while (!atomic_load(&crowd->over)) {
        if (crew_help(crowd->crew))
            atomic_fetch_add(&crowd->helped, 1);
    }
    return NULL;
}

/* Every piece is tried, by whomever: without a userfaultfd each comes to EBADF. */
static void fill_nothing(struct crew *crew)
{
    struct crew_piece pieces[CREW_PIECES];
    for (unsigned i = 0; i < CREW_PIECES; i++)
        pieces[i] = (struct crew_piece){
            .address = i * PAGE_SIZE, .length = PAGE_SIZE, .from = i % 2 ? "" : NULL};
    crew_fill(crew, -1, -1, pieces, CREW_PIECES);
    for (unsigned i = 0; i < CREW_PIECES; i++) {
        assert_int_equal(pieces[i].result.outcome, UFFD_FAILED);
        assert_int_equal(pieces[i].result.errnum, EBADF);
    }
}

static void test_crew(void **state)
{
    struct crowd crowd = {.crew = crew_create()};
    pthread_t threads[3];
    assert_non_null(crowd.crew);
    assert_false(crew_help(crowd.crew)); /* there is nothing to do */
    fill_nothing(crowd.crew);            /* nobody is there to help */
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, help_on, &crowd), 0);
    for (unsigned i = 0; i < 100 || atomic_load(&crowd.helped) == 0; i++)
        fill_nothing(crowd.crew);
    atomic_store(&crowd.over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_false(crew_help(crowd.crew));
    crew_destroy(crowd.crew);
}

/* Who waits is called by its descriptor, once. */
static void test_crew_calls_the_idle(void **state)
{
    struct crew *crew = crew_create();
    _cleanup_(close) int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    eventfd_t count = 0;
    assert_non_null(crew);
    assert_int_equal(crew_join(crew, event_fd), 0);
    fill_nothing(crew);
    assert_int_equal(eventfd_read(event_fd, &count), -1);
    crew_set_idle(crew, 0, true);
    fill_nothing(crew);
    fill_nothing(crew);
    assert_int_equal(eventfd_read(event_fd, &count), 0);
    assert_int_equal(count, 1);
    crew_destroy(crew);
}

/* ---- records ---- */

static struct touch_record some_record(void)
{
    struct touch_record record = {0};
    for (uint64_t i = 0; i < 100; i++)
        assert_true(touch_record_add(&record, i * 1000, 1 + i % 3));
    assert_true(touch_record_add(&record, 99001, 5)); /* goes on where the last run ended */
    return record;
}

static void test_record_comes_back(void **state)
{
    struct touch_record record = some_record(), read = {0};
    struct error err = {0};
    size_t length = 0;
    assert_int_equal(record.count, 100);
    _cleanup_(free) uint8_t *data = touch_record_encode(&record, "key", 200000, &length);
    assert_int_equal(touch_record_decode(&read, data, length, "key", 200000, &err), 0);
    assert_int_equal(read.count, record.count);
    assert_int_equal(read.pages, record.pages);
    assert_memory_equal(read.runs, record.runs, record.count * sizeof(*record.runs));
    touch_record_free(&read);
    assert_true(touch_record_decode(&read, data, length, "other", 200000, &err) < 0);
    assert_non_null(strstr(err.message, "another cache key"));
    assert_true(touch_record_decode(&read, data, length, "key", 100000, &err) < 0);
    assert_non_null(strstr(err.message, "another size"));
    for (size_t i = 0; i < length; i += 7) {
        data[i] ^= 1;
        assert_true(touch_record_decode(&read, data, length, "key", 200000, &err) < 0);
        data[i] ^= 1;
        assert_true(touch_record_decode(&read, data, i, "key", 200000, &err) < 0);
    }
    touch_record_free(&record);
}

static void test_record_outside_the_image(void **state)
{
    struct touch_record record = some_record(), read = {0};
    struct error err = {0};
    size_t length = 0;
    record.runs[50] = (struct touch_run){.page = 1, .count = UINT64_MAX};
    _cleanup_(free) uint8_t *data = touch_record_encode(&record, "key", 200000, &length);
    assert_true(touch_record_decode(&read, data, length, "key", 200000, &err) < 0);
    assert_non_null(strstr(err.message, "outside the image"));
    touch_record_free(&record);
}

static void test_record_larger_than_the_image(void **state)
{
    struct touch_record record = some_record(), read = {0};
    struct error err = {0};
    size_t length = 0;
    record.runs[50] = (struct touch_run){.page = 1, .count = 199999};
    _cleanup_(free) uint8_t *data = touch_record_encode(&record, "key", 200000, &length);
    assert_true(touch_record_decode(&read, data, length, "key", 200000, &err) < 0);
    assert_non_null(strstr(err.message, "more pages than the image"));
    touch_record_free(&record);
}

static void test_record_is_bounded(void **state)
{
    struct touch_record record = {0};
    for (uint64_t i = 0; i < TOUCH_RECORD_MAX_RUNS; i++)
        assert_true(touch_record_add(&record, 2 * i, 1));
    assert_false(touch_record_add(&record, 1ull << 30, 1));
    touch_record_free(&record);
}

static void test_store_forgets_the_oldest(void **state)
{
    struct record_store *store = record_store_create();
    char key[32];
    assert_non_null(store);
    struct stored_record *used = NULL;
    for (unsigned i = 0; i < RECORD_STORE_MAX + 10; i++) {
        struct touch_record record = some_record();
        snprintf(key, sizeof(key), "key-%u", i);
        record_store_put(store, key, 200000, &record);
        if (i == 0)
            used = record_store_find(store, key, 200000);
    }
    assert_int_equal(stored_record_get(used)->count, 100); /* nobody takes it from its user */
    assert_null(record_store_find(store, "key-1", 200000));
    assert_null(record_store_find(store, key, 100000));
    struct stored_record *last = record_store_find(store, key, 200000);
    assert_non_null(last);
    stored_record_release(last);
    stored_record_release(used);
    record_store_destroy(store);
}

/* ---- processes ---- */

static void test_process_mark(void **state)
{
    uint64_t mark = process_mark();
    assert_true(process_lives(mark));
    assert_false(process_lives(mark ^ 1)); /* the same pid, started at another time */
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        mark = process_mark();
        _exit(write(ends[1], &mark, sizeof(mark)) == sizeof(mark) ? 0 : 1);
    }
    assert_int_equal(read(ends[0], &mark, sizeof(mark)), sizeof(mark));
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(process_lives(mark)); /* ended, not yet waited for */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(process_lives(mark));
    close(ends[0]);
    close(ends[1]);
}

/* ---- images ---- */

static int image_file(const char *content, size_t length, uint64_t size)
{
    char path[] = "/tmp/tine-pager-image-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, content, length, 8 * PAGE_SIZE), (ssize_t)length);
    return fd;
}

static void test_guard(void **state)
{
    struct error err = {0};
    _cleanup_(close) int fd = image_file("x", 1, 16 * PAGE_SIZE);
    assert_int_equal(guard_install(&err), 0);
    uint8_t *map = mmap(NULL, 16 * PAGE_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_true(page_is_zero(map + 9 * PAGE_SIZE));
    assert_false(page_is_zero(map + 8 * PAGE_SIZE));
    assert_int_equal(ftruncate(fd, 4 * PAGE_SIZE), 0);
    for (int i = 0; i < 3; i++)
        assert_false(page_is_zero(map + 9 * PAGE_SIZE));
    assert_true(page_is_zero(map + 3 * PAGE_SIZE));
    munmap(map, 16 * PAGE_SIZE);
}

static void test_raw_source(void **state)
{
    struct stat st;
    struct error err = {0};
    enum page_kind kind;
    _cleanup_(close) int fd = image_file("x", 1, 16 * PAGE_SIZE);
    assert_int_equal(guard_install(&err), 0);
    assert_int_equal(fstat(fd, &st), 0);
    struct page_source *source = raw_source_open(fd, &st, "memory", &err);
    assert_non_null(source);
    assert_int_equal(source->ops->run(source, 0, 16, &kind), 8);
    assert_int_equal(kind, PAGE_ZERO);
    assert_int_equal(source->ops->run(source, 8, 8, &kind), 1);
    assert_int_equal(kind, PAGE_DATA);
    const void *from = NULL;
    assert_int_equal(source->ops->pages(source, 8, 1, &from, &err), 1);
    assert_memory_equal(from, "x", 1);
    source->ops->release(source, from);
    assert_true(source->ops->is(source, &st, 1));
    assert_int_equal(source->ops->check(source, &err), 0);
    assert_int_equal(ftruncate(fd, 8 * PAGE_SIZE), 0);
    assert_true(source->ops->check(source, &err) < 0);
    assert_non_null(strstr(err.message, "memory had 65536 bytes and has 32768 now"));
    assert_true(source->ops->explain(source, 8, &err) < 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_false(source->ops->is(source, &st, 1));
    source->ops->destroy(source);
}

static void test_bitmap(void **state)
{
    struct bitmap map;
    assert_int_equal(bitmap_create(&map, 200), 0);
    for (uint64_t bit = 10; bit < 150; bit++)
        bitmap_set(&map, bit);
    assert_int_equal(bitmap_next_clear(&map, 0, 200), 0);
    assert_int_equal(bitmap_next_clear(&map, 10, 200), 150);
    assert_int_equal(bitmap_next_clear(&map, 100, 120), 120);
    bitmap_clear(&map, 127);
    assert_int_equal(bitmap_next_clear(&map, 10, 200), 127);
    assert_int_equal(bitmap_count(&map), 139);
    bitmap_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions_as_firecracker_sends_them),
        cmocka_unit_test(test_regions_move),
        cmocka_unit_test(test_regions_too_many_pieces),
        cmocka_unit_test(test_run_length_sequential),
        cmocka_unit_test(test_run_length_ahead_is_caught_up_with),
        cmocka_unit_test(test_run_length_interleaved_streams),
        cmocka_unit_test(test_run_length_random),
        cmocka_unit_test(test_crew),
        cmocka_unit_test(test_crew_calls_the_idle),
        cmocka_unit_test(test_record_comes_back),
        cmocka_unit_test(test_record_outside_the_image),
        cmocka_unit_test(test_record_larger_than_the_image),
        cmocka_unit_test(test_record_is_bounded),
        cmocka_unit_test(test_store_forgets_the_oldest),
        cmocka_unit_test(test_process_mark),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_raw_source),
        cmocka_unit_test(test_bitmap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

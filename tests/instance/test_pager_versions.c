/* SPDX-License-Identifier: Apache-2.0 */
/* Pagers that can't take over each other's sessions: these stay on the one they are on, and when it
 * ends, go to another one of its version. And states that are damaged. */
#include "pager_site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "pager/session_block.h"
#include "space.h"

static void assert_all_hold(struct site *site)
{
    static const char *const names[] = {"old-1", "old-2", "new"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_holds(site, names[i], SITE_TOKEN);
        assert_state(site->fixture, names[i], INSTANCE_RUNNING);
    }
}

static void assert_version(struct site *site, const char *name, const char *version)
{
    assert_string_equal(fixture_get(site->fixture, name).pager_status.version, version);
}

/* Waits until the sessions have been looked at after its pages were touched. */
static void await_look(struct site *site, const char *name)
{
    struct instance_record record;
    assert_holds(site, name, SITE_TOKEN);
    for (unsigned i = 0; (record = fixture_get(site->fixture, name)).pager_status.present == 0;
         i++) {
        assert_true(i < 6000);
        time_sleep_ms(10);
    }
}

/* The pager's file for the site's tined, to be removed. */
static void program_copy(struct site *site, char *path, size_t size)
{
    _cleanup_(free) char *data = NULL;
    size_t length = 0;
    struct error err = {0};
    snprintf(path, size, "%s/an-old-pager", site->fixture->dir);
    assert_ok(file_read_all(AT_FDCWD, site->fixture->pager.binary, 64u << 20, &data, &length, &err),
              &err);
    assert_ok(file_publish(AT_FDCWD, path, data, length, 0700, &err), &err);
    site->fixture->pager.binary = path;
}

/* Two forks on pagers of `from`, whose program is gone, one on that of `to`, of today's tined. */
static void upgrade(struct site *site, const char *from, const char *to)
{
    char path[96];
    site_upgrade(site, from);
    program_copy(site, path, sizeof(path));
    site_reopen(site);
    site_fork(site, "source", "old-1");
    site_fork(site, "source", "old-2");
    assert_int_equal(pager_sessions(site, from), 2);
    assert_int_equal(unlink(path), 0);
    site_upgrade(site, to);
    site_reopen(site);
    assert_string_equal(site_fork(site, "source", "new").pager_status.version, to);
}

static void stays(struct site *site, const char *from, const char *to)
{
    upgrade(site, from, to);
    /* What is looked at is moved right after, or not: the second look comes after that. */
    await_look(site, "new");
    site_fork(site, "source", "newer");
    await_look(site, "newer");
    assert_int_equal(pager_sessions(site, from), 2);
    assert_version(site, "old-1", from);
    pid_t first = pager_pid(site, from);
    pager_kill(site, from);
    await_takeovers(site, "old-1", 1);
    await_takeovers(site, "old-2", 1);
    assert_int_not_equal(pager_pid(site, from), first);
    assert_version(site, "old-1", from);
    assert_version(site, "old-2", from);
    assert_version(site, "new", to);
    assert_all_hold(site);
    /* Again, by what the second one ran. */
    pager_kill(site, from);
    await_takeovers(site, "old-1", 2);
    assert_all_hold(site);
    struct error err = {0};
    assert_ok(instance_delete(site->fixture->host, "old-1", &err), &err);
    assert_ok(instance_delete(site->fixture->host, "old-2", &err), &err);
    await_pager_end(site, from); /* it was for them alone */
    assert_holds(site, "new", SITE_TOKEN);
}

static void test_old_states_stay(void **state)
{
    stays(*state, SITE_VERSION, SITE_OTHER);
}

/* The other way: tined goes back to what it was before. */
static void test_new_states_stay(void **state)
{
    stays(*state, SITE_OTHER, SITE_VERSION);
}

static int setup_graduation(void **state)
{
    const struct paging_graduation later = {.after_ms = 3600000, .at_once = 2};
    *state = site_new(&later);
    return 0;
}

/* They come first, whatever their age, and only they. */
static void test_old_states_graduate(void **state)
{
    struct site *site = *state;
    upgrade(site, SITE_VERSION, SITE_OTHER);
    await_pager(site, "old-1", "");
    await_pager(site, "old-2", "");
    await_pager_end(site, SITE_VERSION);
    assert_true(fixture_get(site->fixture, "new").paged);
    assert_all_hold(site);
}

static void test_nobody_takes_over(void **state)
{
    struct site *site = *state;
    upgrade(site, SITE_VERSION, SITE_OTHER);
    setenv("TINE_FAILPOINT", "paging-revive=EIO", 1);
    pager_kill(site, SITE_VERSION);
    await_unknown(site, "old-1");
    const struct instance_record record = fixture_get(site->fixture, "old-1");
    if (!strstr(record.state_error, "its state has version 2, the pager of version 0.1.0-other "
                                    "knows 3 to 3; by version 0.1.0: failpoint paging-revive"))
        fail_msg("%s", record.state_error);
    assert_non_null(strstr(record.state_error, "delete it"));
    assert_holds(site, "new", SITE_TOKEN);
    setenv("TINE_FAILPOINT", "", 1);
    fixture_await(site->fixture, "old-1", INSTANCE_RUNNING);
    fixture_await(site->fixture, "old-2", INSTANCE_RUNNING);
    assert_all_hold(site);
}

/* The pager of tined's version can't be started: one of the version before serves on. */
static void test_new_pager_is_broken(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "old");
    site_upgrade(site, SITE_NEXT);
    site->fixture->pager.binary = "/bin/false";
    site->fixture->pager.graduation.after_ms = 3600000;
    site->fixture->pager.graduation.off = false;
    setenv("TINE_FAILPOINT", "paging-graduate=EIO", 1); /* it stays paged */
    site_reopen(site);
    pager_kill(site, SITE_VERSION);
    await_takeovers(site, "old", 1);
    assert_version(site, "old", SITE_VERSION);
    assert_holds(site, "old", SITE_TOKEN);
    setenv("TINE_FAILPOINT", "", 1);
}

/* ---- what the state says is not what was written ---- */

static void spoil(int state, size_t at, const void *bytes, size_t length, void *before)
{
    assert_int_equal(pread(state, before, length, (off_t)at), length);
    assert_int_equal(pwrite(state, bytes, length, (off_t)at), length);
}

/* No page is answered by a damaged state; a VM whose state is whole again goes on. */
static void test_damaged_state(void **state)
{
    static const struct {
        size_t at;
        const char *words;
    } cases[] = {
        {offsetof(struct session_block_header, magic), "no magic number"},
        {offsetof(struct session_block_header, version), "this pager knows 1 to 2"},
        {offsetof(struct session_block_header, cache_key), "a checksum that does not match"},
        {offsetof(struct session_block_header, tables[0].regions[0].base), "whose checksum"},
        {offsetof(struct session_block_header, tables[1].regions[0].base), "whose checksum"},
    };
    struct site *site = *state;
    site_fork(site, "source", "two");
    const struct instance_record one = site_fork(site, "source", "one");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static const char bytes[] = "damage";
        char before[sizeof(bytes)];
        struct session_block_header header;
        _cleanup_(close) int block = pager_state(site, SITE_VERSION, one.id);
        assert_int_equal(pread(block, &header, sizeof(header), 0), sizeof(header));
        if (cases[i].at >= offsetof(struct session_block_header, tables) &&
            (cases[i].at >= offsetof(struct session_block_header, tables[1])) != header.active)
            continue; /* that table does not count */
        spoil(block, cases[i].at, bytes, sizeof(bytes), before);
        pager_kill(site, SITE_VERSION);
        await_unknown(site, "one");
        const struct instance_record record = fixture_get(site->fixture, "one");
        if (!strstr(record.state_error, cases[i].words))
            fail_msg("%s", record.state_error);
        assert_holds(site, "two", SITE_TOKEN);
        spoil(block, cases[i].at, before, sizeof(before), (char[sizeof(bytes)]){0});
        fixture_await(site->fixture, "one", INSTANCE_RUNNING);
    }
    assert_holds(site, "one", SITE_TOKEN);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_old_states_stay, site_setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_new_states_stay, site_setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_old_states_graduate, setup_graduation, site_teardown),
    cmocka_unit_test_setup_teardown(test_nobody_takes_over, site_setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_new_pager_is_broken, site_setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_damaged_state, site_setup, site_teardown),
};

FIXTURE_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* A restore through the pager that fails, or whose tined is killed, at every step of its way: no VM
 * and no session is left, or a VM that goes on. */
#include "pager_site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "instance/proc.h"
#include "listing.h"

static int setup(void **state)
{
    struct site *site = site_new(NULL);
    fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    *state = site;
    return 0;
}

static char *files_of(struct site *site)
{
    struct path path = guest_path(site->fixture, fixture_get(site->fixture, "one").id, "");
    return listing(path.text);
}

/* As before, and what failed works when it is tried again. */
static void assert_nothing_happened(struct site *site)
{
    assert_state(site->fixture, "one", INSTANCE_STANDBY);
    assert_false(fixture_get(site->fixture, "one").paged);
    if (pager_pid(site, SITE_VERSION) > 0)
        assert_int_equal(pager_sessions(site, SITE_VERSION), 0);
}

static void assert_works(struct site *site)
{
    site_restore(site, "one");
    assert_true(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", SITE_TOKEN);
}

static int restore(struct site *site, struct error *err)
{
    return instance_restore(site->fixture->host, "one", NULL, err);
}

/* Once the guest runs, it has a disk that it may have changed. */
static void test_every_failpoint(void **state)
{
    static const char *const points[] = {"restore-prepared", "paging-wanted", "paging-begun",
                                         "restore-loaded",   "paging-kept",   "restore-recorded",
                                         "restore-renamed"};
    struct site *site = *state;
    _cleanup_(free) char *before = files_of(site);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        char setting[64];
        struct error err = {0};
        snprintf(setting, sizeof(setting), "%s=EIO", points[i]);
        setenv("TINE_FAILPOINT", setting, 1);
        int r = restore(site, &err);
        setenv("TINE_FAILPOINT", "", 1);
        assert_int_equal(r, -EIO);
        assert_non_null(strstr(err.message, points[i]));
        assert_nothing_happened(site);
        _cleanup_(free) char *after = files_of(site);
        /* The VMM's log, and the order of first touches, which fits the image, may be new. */
        assert_non_null(strstr(after, "snapshot/memory"));
        assert_null(strstr(after, "base"));
        assert_null(strstr(after, "pager.sock"));
    }
    assert_works(site);
}

static void test_vmm_fails(void **state)
{
    static const struct {
        const char *order, *words;
    } cases[] = {
        {"refuse /snapshot/load no such state", "no such state"},
        {"die /snapshot/load gone", "gone"},
        {"die-at-start gone", "gone"},
        {"bad-handshake", "region 0 ends at 134217728"},
        {"no-handshake", "handshake"},
    };
    struct site *site = *state;
    struct instance_record one = fixture_get(site->fixture, "one");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {0};
        guest_orders(site->fixture, one.id, cases[i].order);
        assert_true(restore(site, &err) < 0);
        if (!strstr(err.message, cases[i].words))
            print_error("%s: %s\n", cases[i].order, err.message);
        assert_non_null(strstr(err.message, cases[i].words));
        assert_nothing_happened(site);
        guest_orders(site->fixture, one.id, NULL);
    }
    assert_works(site);
}

static size_t count_words(const char *text, const char *words)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, words)); at++)
        count++;
    return count;
}

/* A state without the time of day is refused when it is asked for that, and loaded by a second
 * process, which has a session of its own. */
static void test_state_without_clock(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    _cleanup_(free) char *requests = NULL;
    size_t length = 0;
    const struct instance_record one = fixture_get(site->fixture, "one");
    guest_orders(site->fixture, one.id, "no-clock");
    assert_works(site);
    struct path path = guest_path(site->fixture, one.id, "log/requests");
    assert_ok(file_read_all(AT_FDCWD, path.text, 1 << 20, &requests, &length, &err), &err);
    assert_int_equal(count_words(requests, "\"Uffd\""), 2);
    assert_int_equal(count_words(requests, "\"clock_realtime\""), 1);
    assert_int_equal(pager_sessions(site, SITE_VERSION), 1);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
    await_pager(site, "one", "serving");
}

static void test_no_pager_can_be_started(void **state)
{
    static const struct {
        const char *binary, *words;
    } cases[] = {
        {"/nowhere/tine-pager", "/nowhere/tine-pager"},
        {"/etc/passwd", "/etc/passwd"},
        {"/bin/false", "ended at its start"},
    };
    struct site *site = *state;
    const char *real = site->fixture->pager.binary;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {0};
        site->fixture->pager.binary = cases[i].binary;
        site_reopen(site);
        assert_true(restore(site, &err) < 0);
        assert_non_null(strstr(err.message, "restore one through the pager"));
        if (!strstr(err.message, cases[i].words))
            print_error("%s\n", err.message);
        assert_non_null(strstr(err.message, cases[i].words));
        assert_nothing_happened(site);
    }
    site->fixture->pager.binary = real;
    site_reopen(site);
    assert_works(site);
}

/* ---- tined is killed ---- */

static int restore_one(struct host *host, struct error *err)
{
    return instance_restore(host, "one", NULL, err);
}

static const struct {
    const char *failpoint;
    bool sleeps; /* afterwards */
} crashes[] = {
    {"restore-prepared", true}, {"paging-wanted", true},    {"paging-begun", true},
    {"restore-loaded", true},   {"paging-kept", true},      {"restore-recorded", true},
    {"restore-renamed", false}, {"restore-resumed", false}, {"restore-told", false},
};

static void prepare_again(struct site *site)
{
    struct error err = {0};
    assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
}

static void test_tined_is_killed(void **state)
{
    struct site *site = *state;
    for (size_t i = 0; i < ARRAY_SIZE(crashes); i++) {
        fixture_close(site->fixture);
        site_crash(site, crashes[i].failpoint);
        fixture_open(site->fixture);
        if (crashes[i].sleeps) {
            assert_nothing_happened(site);
            assert_works(site);
        } else {
            fixture_await(site->fixture, "one", INSTANCE_RUNNING);
            await_pager(site, "one", "serving");
            assert_holds(site, "one", SITE_TOKEN);
        }
        /* Its duplicates are here. */
        pager_kill(site, SITE_VERSION);
        assert_holds(site, "one", SITE_TOKEN);
        prepare_again(site);
    }
}

/* What had not run sleeps, whatever it waited for; what ran is lost, and says so. */
static void test_both_are_killed(void **state)
{
    struct site *site = *state;
    for (size_t i = 0; i < ARRAY_SIZE(crashes); i++) {
        fixture_close(site->fixture);
        site_crash(site, crashes[i].failpoint);
        pager_kill(site, SITE_VERSION);
        fixture_open(site->fixture);
        if (crashes[i].sleeps) {
            assert_nothing_happened(site);
            assert_works(site);
        } else {
            await_unknown(site, "one");
        }
        prepare_again(site);
    }
}

/* ---- in the middle of a VMM's load ---- */

/* How many VMMs see that guest directory as their own. */
static size_t count_vmms(const struct site *site, const char *id)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    size_t count = 0, own = 0;
    struct error err = {0};
    struct stat st = guest_stat(site->fixture, id, "");
    assert_ok(proc_vmms(&vmms, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        own += vmms[i].device == st.st_dev && vmms[i].inode == st.st_ino;
    return own;
}

/* The pager ends when the VM has introduced itself, and before it is served. */
static void test_pager_ends_in_a_load(void **state)
{
    static const struct {
        const char *failpoint;
        bool kept; /* tined has what the next pager needs */
    } cases[] = {
        {"pager-introduced", false},
        {"pager-introduced=EIO", false},
        {"pager-kept=EIO", false},
        {"pager-kept", true},
    };
    struct site *site = *state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {0};
        pager_kill(site, SITE_VERSION); /* the next one has this failpoint */
        setenv("TINE_CHILD_FAILPOINT", cases[i].failpoint, 1);
        int r = restore(site, &err);
        unsetenv("TINE_CHILD_FAILPOINT");
        if (cases[i].kept) {
            assert_ok(r, &err);
            assert_holds(site, "one", SITE_TOKEN);
            await_takeovers(site, "one", 1);
            continue;
        }
        assert_true(r < 0);
        assert_non_null(strstr(err.message, "restore one through the pager"));
        assert_int_equal(count_vmms(site, fixture_get(site->fixture, "one").id), 0);
        assert_nothing_happened(site);
        pager_kill(site, SITE_VERSION);
        assert_works(site);
        prepare_again(site);
    }
}

/* And tined with it: there is a VMM that waits in its load, for pages that nobody has. */
static void test_both_end_in_a_load(void **state)
{
    static const struct {
        const char *of_pager, *of_tined;
    } points[] = {
        {"pager-introduced", "paging-unborn"},
        {"pager-kept", "paging-takeover"},
    };
    struct site *site = *state;
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        const struct instance_record one = fixture_get(site->fixture, "one");
        struct path image = guest_path(site->fixture, one.id, "snapshot");
        _cleanup_(free) char *before = listing(image.text);
        fixture_close(site->fixture);
        pager_kill(site, SITE_VERSION);
        setenv("TINE_CHILD_FAILPOINT", points[i].of_pager, 1);
        site_crash(site, points[i].of_tined);
        unsetenv("TINE_CHILD_FAILPOINT");
        pager_kill(site, SITE_VERSION);
        assert_int_equal(count_vmms(site, one.id), 1);
        fixture_open(site->fixture);
        assert_nothing_happened(site);
        assert_int_equal(count_vmms(site, one.id), 0);
        _cleanup_(free) char *after = listing(image.text);
        assert_string_equal(after, before);
        pager_kill(site, SITE_VERSION);
        assert_works(site);
        prepare_again(site);
    }
}

#define PAGER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, site_teardown)

static const struct CMUnitTest tests[] = {
    PAGER_TEST(test_every_failpoint),         PAGER_TEST(test_vmm_fails),
    PAGER_TEST(test_no_pager_can_be_started), PAGER_TEST(test_tined_is_killed),
    PAGER_TEST(test_both_are_killed),         PAGER_TEST(test_pager_ends_in_a_load),
    PAGER_TEST(test_both_end_in_a_load),      PAGER_TEST(test_state_without_clock),
};

int main(int argc, char **argv)
{
    if (site_is_child(argc, argv))
        return site_child(argv, restore_one);
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

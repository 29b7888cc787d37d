/* SPDX-License-Identifier: Apache-2.0 */
/* The order of first touches: from a fork to whom it was made of, and from there to other forks and
 * to forks of forks, whichever pager serves them. */
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
#include "paging/control.h"
#include "paging/paging.h"

#define RECORD "snapshot/" PAGING_RECORD

static void delete_it(struct site *site, const char *name)
{
    struct error err = {0};
    assert_ok(instance_delete(site->fixture->host, name, &err), &err);
}

/* One that ends as soon as it has touched its memory. */
static void short_fork(struct site *site, const char *source)
{
    site_fork(site, source, "short");
    assert_holds(site, "short", SITE_TOKEN);
    delete_it(site, "short");
}

/* How many pages the pager filled by a record. */
static json_int_t prefetched(const struct site *site, const char *version, const char *id)
{
    char socket[160];
    struct error err = {0};
    snprintf(socket, sizeof(socket), "%s/pager/%s/control.sock", site->run_dir, version);
    const struct control_request request = {.socket = socket, .method = "GET", .path = "/stats"};
    _cleanup_(control_reply) struct control_reply reply;
    assert_ok(control_call(&request, &reply, &err), &err);
    size_t i;
    json_t *session;
    json_array_foreach(json_object_get(reply.body, "sessions"), i, session)
    {
        if (strcmp(json_string_value(json_object_get(session, "id")), id) == 0)
            return json_integer_value(
                json_object_get(json_object_get(session, "counters"), "prefetched_pages"));
    }
    return 0;
}

static void assert_prefetches(struct site *site, const char *source, const char *name,
                              const char *version)
{
    const struct instance_record fork = site_fork(site, source, name);
    for (unsigned i = 0; prefetched(site, version, fork.id) == 0; i++) {
        if (i == 6000)
            fail_msg("nothing is filled for %s", name);
        time_sleep_ms(10);
    }
    assert_holds(site, name, SITE_TOKEN);
}

static ino_t record_inode(struct site *site, const char *name)
{
    return guest_stat(site->fixture, fixture_get(site->fixture, name).id, RECORD).st_ino;
}

static struct path record_path(struct site *site, const char *name)
{
    return guest_path(site->fixture, fixture_get(site->fixture, name).id, RECORD);
}

static void test_next_pager_has_it(void **state)
{
    static const char *const versions[] = {SITE_VERSION, SITE_NEXT, SITE_OTHER};
    struct site *site = *state;
    short_fork(site, "source");
    assert_int_equal(
        guest_stat(site->fixture, fixture_get(site->fixture, "source").id, RECORD).st_nlink, 1);
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%zu", i);
        pager_kill(site, SITE_VERSION); /* and what it had in memory */
        site_upgrade(site, versions[i]);
        site_reopen(site);
        assert_prefetches(site, "source", name, versions[i]);
        delete_it(site, name);
    }
}

/* Links all the way, with sources that are gone. */
static void test_forks_of_forks_have_it(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    short_fork(site, "source");
    const ino_t inode = record_inode(site, "source");
    fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    delete_it(site, "source");
    fixture_fork(site->fixture, "one", "two", INSTANCE_STANDBY);
    const struct snapshot_record snapshot =
        fixture_snapshot(site->fixture, "two", INSTANCE_STANDBY, "snapshot");
    assert_true(record_inode(site, "one") == inode && record_inode(site, "two") == inode);
    assert_true(snapshot_stat(site->fixture, snapshot.id, RECORD).st_ino == inode);
    assert_int_equal(snapshot_stat(site->fixture, snapshot.id, RECORD).st_nlink, 3);
    pager_kill(site, SITE_VERSION);
    assert_prefetches(site, "two", "three", SITE_VERSION);
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    assert_ok(snapshot_fork(site->fixture->host, snapshot.id, "four", &running, NULL, &err), &err);
    assert_holds(site, "four", SITE_TOKEN);
    delete_it(site, "four");
    assert_true(snapshot_stat(site->fixture, snapshot.id, RECORD).st_ino == inode);
}

/* A snapshot's forks hand it to the snapshot; and one that runs on does, when its time is over. */
static void test_snapshot_gets_it(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    const struct snapshot_record snapshot =
        fixture_snapshot(site->fixture, "source", INSTANCE_STANDBY, "snapshot");
    assert_ok(snapshot_fork(site->fixture->host, snapshot.id, "one", &running, NULL, &err), &err);
    assert_holds(site, "one", SITE_TOKEN);
    struct path path = snapshot_path(site->fixture, snapshot.id, RECORD);
    for (unsigned i = 0; access(path.text, F_OK) < 0; i++) {
        assert_true(i < 6000);
        time_sleep_ms(10);
    }
    assert_state(site->fixture, "one", INSTANCE_RUNNING);
    assert_int_equal(access(record_path(site, "source").text, F_OK), 0);
}

/* An image that is another one by now has nothing of it. */
static void test_another_image_does_not_get_it(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "one");
    assert_holds(site, "one", SITE_TOKEN);
    site_restore(site, "source");
    site_standby(site, "source");
    delete_it(site, "one");
    assert_int_equal(access(record_path(site, "source").text, F_OK), -1);
    site_fork(site, "source", "two");
    assert_holds(site, "two", SITE_TOKEN);
    site_standby(site, "two"); /* its own image is another one as well */
    assert_int_equal(access(record_path(site, "source").text, F_OK), 0);
    assert_int_equal(access(record_path(site, "two").text, F_OK), -1);
}

static void make_garbage(const char *path)
{
    file_make(path, "not a record", 4096);
}

static void make_large(const char *path)
{
    file_make(path, "", (off_t)1 << 30);
}

static void make_symlink(const char *path)
{
    assert_int_equal(symlink("/dev/zero", path), 0);
}

static void make_fifo(const char *path)
{
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void make_directory(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

/* What is there instead hinders no fork, is not written, and gives way to a record. */
static void test_hostile_record(void **state)
{
    static const struct {
        void (*make)(const char *path);
        bool gives_way;
    } cases[] = {
        {make_garbage, true}, {make_large, true},      {make_symlink, true},
        {make_fifo, true},    {make_directory, false},
    };
    struct site *site = *state;
    struct path path = record_path(site, "source");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct stat before, after;
        cases[i].make(path.text);
        assert_int_equal(lstat(path.text, &before), 0);
        short_fork(site, "source");
        assert_int_equal(lstat(path.text, &after), 0);
        assert_int_equal(S_ISREG(after.st_mode), cases[i].gives_way);
        assert_int_equal(after.st_ino != before.st_ino, cases[i].gives_way);
        pager_kill(site, SITE_VERSION);
        if (cases[i].gives_way)
            assert_prefetches(site, "source", "next", SITE_VERSION);
        else
            site_fork(site, "source", "next");
        delete_it(site, "next");
        pager_kill(site, SITE_VERSION);
        assert_int_equal(tree_remove(AT_FDCWD, path.text, NULL), 0);
    }
}

#define RECORD_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

static const struct CMUnitTest tests[] = {
    RECORD_TEST(test_next_pager_has_it), RECORD_TEST(test_forks_of_forks_have_it),
    RECORD_TEST(test_snapshot_gets_it),  RECORD_TEST(test_another_image_does_not_get_it),
    RECORD_TEST(test_hostile_record),
};

FIXTURE_MAIN(tests)

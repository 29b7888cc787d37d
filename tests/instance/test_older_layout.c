/* SPDX-License-Identifier: Apache-2.0 */
/* Where an older layout had a symbolic link to a file of another directory: it is never followed.
 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "listing.h"
#include "web.h"

/* A file of another directory, and the link to it that an older layout had in its place. */
struct linked {
    struct path link;
    char target[128];
    struct stat before;
};

static struct linked link_away(const struct fixture *fixture, struct path link)
{
    struct linked linked = {.link = link};
    snprintf(linked.target, sizeof(linked.target), "%s/of-the-source", fixture->dir);
    assert_int_equal(rename(link.text, linked.target), 0);
    assert_int_equal(symlink(linked.target, link.text), 0);
    assert_int_equal(stat(linked.target, &linked.before), 0);
    return linked;
}

static void assert_untouched(const struct linked *linked)
{
    struct stat now;
    assert_int_equal(stat(linked->target, &now), 0);
    assert_int_equal(now.st_ino, linked->before.st_ino);
    assert_int_equal(now.st_size, linked->before.st_size);
    assert_int_equal(now.st_nlink, linked->before.st_nlink);
    assert_memory_equal(&now.st_mtim, &linked->before.st_mtim, sizeof(now.st_mtim));
}

/* What is wrong, with which file of whose, and the way out. */
static void assert_refused(int r, const struct error *err, const struct linked *linked,
                           const char *way_out)
{
    char link[512];
    snprintf(link, sizeof(link), "%s is a link to %s, another",
             strstr(linked->link.text, "/data/") + strlen("/data/"), linked->target);
    assert_fails(r, err, ERROR_STATE, link);
    assert_fails(r, err, ERROR_STATE, way_out);
}

static int do_snapshot(struct fixture *fixture, struct error *err)
{
    const struct snapshot_create_request request = {.kind = INSTANCE_STANDBY};
    return snapshot_create(fixture->host, "web", &request, NULL, err);
}

static void refuse_memory(struct fixture *fixture, const struct linked *linked, const char *id)
{
    static web_operation *const operations[] = {web_restore, web_fork, web_fork_asleep,
                                                do_snapshot};
    char way_out[128];
    _cleanup_(free) char *before = listing(fixture->dir);
    snprintf(way_out, sizeof(way_out), ": tine fork %s --target-state Stopped", id);
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        struct error err = {0};
        assert_refused(operations[i](fixture, &err), &err, linked, way_out);
        assert_state(fixture, "web", INSTANCE_STANDBY);
    }
    _cleanup_(free) char *after = listing(fixture->dir);
    assert_string_equal(before, after);
}

static void test_memory_of_an_older_layout(void **state)
{
    static const char *const names[] = {"snapshot/memory", "snapshot/state"};
    struct fixture *fixture = *state;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct instance_record record = fixture_create(fixture, "web");
        web_reach(fixture, INSTANCE_STANDBY);
        struct linked linked = link_away(fixture, guest_path(fixture, record.id, names[i]));
        refuse_memory(fixture, &linked, record.id);
        fixture_reopen(fixture);
        refuse_memory(fixture, &linked, record.id);
        assert_ok(web_fork_to(fixture, INSTANCE_STOPPED, &err), &err);
        assert_ok(instance_start(fixture->host, "new", NULL, &err), &err);
        assert_recalls(fixture, "new", "");
        assert_ok(instance_delete(fixture->host, "new", &err), &err);
        assert_state(fixture, "web", INSTANCE_STANDBY);
        assert_ok(instance_delete(fixture->host, "web", &err), &err);
        assert_untouched(&linked);
        assert_int_equal(unlink(linked.target), 0);
    }
}

static void refuse_snapshot(struct fixture *fixture, const struct linked *linked, const char *id)
{
    static const enum instance_state states[] = {INSTANCE_RUNNING, INSTANCE_STANDBY};
    char way_out[128];
    _cleanup_(free) char *before = listing(fixture->dir);
    snprintf(way_out, sizeof(way_out), ": tine snapshot fork %s --target-state Stopped", id);
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        const struct snapshot_target target = {.has_state = true, .state = states[i]};
        struct error err = {0};
        assert_refused(snapshot_fork(fixture->host, id, "new", &target, NULL, &err), &err, linked,
                       way_out);
        assert_refused(snapshot_restore(fixture->host, "web", id, &target, NULL, &err), &err,
                       linked, way_out);
        assert_state(fixture, "web", INSTANCE_STANDBY);
    }
    _cleanup_(free) char *after = listing(fixture->dir);
    assert_string_equal(before, after);
}

static void test_snapshot_of_an_older_layout(void **state)
{
    static const char *const names[] = {"snapshot/memory", "snapshot/state"};
    const struct snapshot_target off = {.has_state = true, .state = INSTANCE_STOPPED};
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct snapshot_record made = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, NULL);
        struct linked linked = link_away(fixture, snapshot_path(fixture, made.id, names[i]));
        refuse_snapshot(fixture, &linked, made.id);
        fixture_reopen(fixture);
        refuse_snapshot(fixture, &linked, made.id);
        assert_ok(snapshot_fork(fixture->host, made.id, "new", &off, NULL, &err), &err);
        assert_ok(instance_start(fixture->host, "new", NULL, &err), &err);
        assert_ok(instance_delete(fixture->host, "new", &err), &err);
        assert_ok(snapshot_delete(fixture->host, made.id, &err), &err);
        assert_untouched(&linked);
        assert_int_equal(unlink(linked.target), 0);
    }
    assert_web_usable(fixture);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_memory_of_an_older_layout),
    FIXTURE_TEST(test_snapshot_of_an_older_layout),
};
FIXTURE_MAIN(tests)

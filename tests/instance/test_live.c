/* SPDX-License-Identifier: Apache-2.0 */
/* Forks of a Running instance that never sleeps: by a template of its VM. */
#include "crowd.h"
#include "disk_text.h"
#include "processes.h"
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "listing.h"
#include "stack/disk_stack.h"

#define BASE_FILE   GUEST_BASE "/" SNAPSHOT_MEMORY
#define ACTORS      12
#define PATIENCE_MS 20000

/* Memory and disks are filled, or hold that. */
static void pattern(struct fixture *fixture, const char *reference, const char *command,
                    uint64_t token)
{
    struct error err = {0};
    assert_ok(guest_pattern(fixture->host, reference, command, token, token, &err), &err);
}

static struct instance_record running_source(struct fixture *fixture)
{
    struct instance_record source = fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    pattern(fixture, "source", "fill", 1);
    return source;
}

static void sleep_and_wake(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, reference, NULL, &err), &err);
    assert_ok(instance_restore(fixture->host, reference, NULL, &err), &err);
}

static struct instance_record fork_live(struct fixture *fixture, const char *source,
                                        const char *name)
{
    const struct instance_fork_request request = {.name = name, .from_running = true};
    struct instance_record record;
    struct error err = {0};
    assert_ok(instance_fork(fixture->host, source, &request, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_RUNNING);
    assert_state(fixture, source, INSTANCE_RUNNING);
    return record;
}

static void discard(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_delete(fixture->host, reference, &err), &err);
}

/* Nothing of a template is left. */
static void assert_tidy(const struct fixture *fixture)
{
    _cleanup_(free) char *names = listing(fixture->dir);
    assert_null(strstr(names, ".tine-tmp-"));
}

/* A booted VM has no memory file, nor has its fork until it first sleeps. */
static void test_booted(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    struct instance_record fork = fork_live(fixture, "source", "fork");
    assert_false(guest_was_asked(fixture, source.id, "/snapshot/create"));
    assert_absent(fixture, source.id, GUEST_BASE);
    assert_absent(fixture, fork.id, GUEST_BASE);
    assert_absent(fixture, fork.id, GUEST_SNAPSHOT);
    assert_int_equal(guest_stat(fixture, fork.id, "disks/0.img").st_nlink, 2);
    assert_int_equal(guest_stat(fixture, fork.id, "disks/0.img.top").st_nlink, 1);
    assert_tidy(fixture);
    assert_recalls(fixture, "fork", "note");
    guest_remember(fixture, "source", "later");
    guest_remember(fixture, "fork", "its own");
    assert_recalls(fixture, "source", "later");
    discard(fixture, "source");
    sleep_and_wake(fixture, "fork");
    assert_recalls(fixture, "fork", "its own");
    fork_live(fixture, "fork", "grandchild");
    discard(fixture, "fork");
    assert_recalls(fixture, "grandchild", "its own");
    sleep_and_wake(fixture, "grandchild");
    assert_recalls(fixture, "grandchild", "its own");
}

/* Memory and disks are of one moment, and everybody's own. Of a disk nothing is copied. */
static void test_disks(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    struct instance_record fork = fork_live(fixture, "source", "fork");
    assert_int_equal(fork.disk_bytes_copied, 0);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img.1").st_nlink, 2);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img.1").st_ino,
                     guest_stat(fixture, fork.id, "disks/0.img.1").st_ino);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img.top").st_nlink, 1);
    pattern(fixture, "source", "fill", 2);
    pattern(fixture, "fork", "check", 1);
    pattern(fixture, "fork", "fill", 3);
    pattern(fixture, "source", "check", 2);
    sleep_and_wake(fixture, "fork");
    pattern(fixture, "fork", "check", 3);
    /* What neither has written since is sealed once. */
    fork_live(fixture, "source", "other");
    fork_live(fixture, "source", "another");
    assert_absent(fixture, source.id, "disks/0.img.3");
    pattern(fixture, "another", "check", 2);
    discard(fixture, "source");
    pattern(fixture, "other", "check", 2);
    pattern(fixture, "fork", "check", 3);
}

static void assert_disk(const struct fixture *fixture, const char *id, const char *text)
{
    const struct path disks = guest_path(fixture, id, "disks");
    disk_assert_text(&disks, text);
}

/* A disk of before there were stacks is copied in the pause, once for all forks of that moment. */
static void test_plain_disk(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record source = running_source(fixture);
    assert_ok(instance_stop(fixture->host, "source", 0, NULL, &err), &err);
    const struct path top = guest_path(fixture, source.id, "disks/0.img.top");
    assert_int_equal(unlink(top.text), 0);
    disk_write_text(fixture, source.id, "a plain file");
    assert_ok(instance_start(fixture->host, "source", NULL, &err), &err);
    struct instance_record fork = fork_live(fixture, "source", "fork");
    assert_false(guest_was_asked(fixture, source.id, "SealDisks"));
    assert_absent(fixture, source.id, "disks/0.img.top");
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img").st_nlink, 1);
    disk_write_text(fixture, source.id, "of source");
    assert_disk(fixture, fork.id, "a plain file");
    disk_write_text(fixture, fork.id, "of fork");
    assert_disk(fixture, source.id, "of source");
    sleep_and_wake(fixture, "fork");
    assert_disk(fixture, fork.id, "of fork");
}

/* However often it is forked, its disk does not become deep, and no fork notices. */
static void test_depth(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record first = {.id = ""}, last = {.id = ""};
    struct instance_record source = running_source(fixture);
    for (unsigned i = 0; i < DISK_STACK_DEEP + 3; i++) {
        char text[24], name[24];
        snprintf(text, sizeof(text), "round %u", i);
        snprintf(name, sizeof(name), "fork-%u", i);
        disk_write_text(fixture, source.id, text);
        last = fork_live(fixture, "source", name);
        if (i == 0)
            first = last;
        assert_disk(fixture, last.id, text);
    }
    struct disk_chain chain;
    const struct path disks = guest_path(fixture, last.id, "disks");
    _cleanup_(close) int directory = dir_open(AT_FDCWD, disks.text, &err);
    const struct stack_file base = {directory, "0.img", disks.text};
    assert_ok(disk_chain_find(&base, &chain, &err), &err);
    assert_true(chain.count <= DISK_STACK_DEEP);
    assert_disk(fixture, first.id, "round 0");
    pattern(fixture, "source", "check", 1);
    pattern(fixture, "fork-0", "check", 1);
}

/* Where its layers can't be made fewer it is forked for as long as there may be one more. */
static void test_no_compaction(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    struct instance_record source = running_source(fixture);
    setenv("TINE_FAILPOINT", "disk-compact-data=ENOSPC", 1);
    for (unsigned i = 1; i < DISK_STACK_LIMIT; i++) {
        disk_write_text(fixture, source.id, "layer");
        fork_live(fixture, "source", "fork");
        discard(fixture, "fork");
    }
    disk_write_text(fixture, source.id, "the last layer");
    fork_live(fixture, "source", "last");
    disk_write_text(fixture, source.id, "too much");
    assert_true(instance_fork(fixture->host, "source", &request, NULL, &err) == -ENOSPC);
    assert_non_null(strstr(err.message, "has 32 layers, may have no more, and they can't be "
                                        "compacted: "));
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_recalls(fixture, "source", "note");
    assert_tidy(fixture);
    setenv("TINE_FAILPOINT", "", 1);
    fork_live(fixture, "source", "fork");
    assert_disk(fixture, fixture_get(fixture, "fork").id, "too much");
    assert_disk(fixture, fixture_get(fixture, "last").id, "the last layer");
    assert_absent(fixture, source.id, "disks/0.img.1");
}

/* What can't be sealed can't be forked; the source runs on, over what it had. */
static void test_not_sealed(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    struct instance_record source = running_source(fixture);
    const struct path top = guest_path(fixture, source.id, "disks/0.img.top");
    const struct path other = guest_path(fixture, source.id, "disks/other");
    assert_int_equal(link(top.text, other.text), 0);
    assert_fails(instance_fork(fixture->host, "source", &request, NULL, &err), &err, ERROR_INVALID,
                 "has 2 names");
    assert_int_equal(unlink(other.text), 0);
    assert_true(guest_was_asked(fixture, source.id, "SealDisks"));
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_absent(fixture, source.id, "disks/0.img.1");
    assert_tidy(fixture);
    pattern(fixture, "source", "check", 1);
    guest_orders(fixture, source.id, "refuse /actions no");
    assert_fails(instance_fork(fixture->host, "source", &request, NULL, &err), &err, ERROR_INVALID,
                 "PUT /actions");
    guest_orders(fixture, source.id, NULL);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    fork_live(fixture, "source", "fork");
    pattern(fixture, "fork", "check", 1);
}

/* What a VM was restored from is its fork's base too, by a link, and stays as it is. */
static void test_restored(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    sleep_and_wake(fixture, "source");
    const struct stat base = guest_stat(fixture, source.id, BASE_FILE);
    assert_int_equal(base.st_nlink, 1);
    guest_remember(fixture, "source", "changed since");
    struct instance_record fork = fork_live(fixture, "source", "fork");
    assert_int_equal(guest_stat(fixture, fork.id, BASE_FILE).st_ino, base.st_ino);
    assert_int_equal(guest_stat(fixture, fork.id, BASE_FILE).st_nlink, 2);
    assert_recalls(fixture, "fork", "changed since");
    guest_remember(fixture, "fork", "its own");
    sleep_and_wake(fixture, "fork");
    assert_recalls(fixture, "fork", "its own");
    const struct stat after = guest_stat(fixture, source.id, BASE_FILE);
    assert_int_equal(after.st_nlink, 1);
    assert_true(after.st_mtim.tv_sec == base.st_mtim.tv_sec &&
                after.st_mtim.tv_nsec == base.st_mtim.tv_nsec);
    sleep_and_wake(fixture, "source");
    assert_recalls(fixture, "source", "changed since");
}

static void test_targets(void **state)
{
    static const enum instance_state targets[] = {INSTANCE_STANDBY, INSTANCE_STOPPED};
    struct fixture *fixture = *state;
    struct error err = {0};
    running_source(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        const struct instance_fork_request request = {
            .name = "fork", .from_running = true, .has_target = true, .target = targets[i]};
        assert_ok(instance_fork(fixture->host, "source", &request, NULL, &err), &err);
        assert_state(fixture, "fork", targets[i]);
        if (targets[i] == INSTANCE_STANDBY) {
            assert_ok(instance_restore(fixture->host, "fork", NULL, &err), &err);
            assert_recalls(fixture, "fork", "note");
        }
        discard(fixture, "fork");
    }
}

/* Forks share a template, snapshots a nap; neither is in the other's way. */
static void test_many(void **state)
{
    struct fixture *fixture = *state;
    const struct actor fork = {.fixture = fixture,
                               .run = actor_fork,
                               .source = "source",
                               .from_running = true,
                               .target = INSTANCE_CREATED};
    const struct actor snapshot = {.fixture = fixture, .run = actor_snapshot, .source = "source"};
    struct actor actors[ACTORS];
    struct instance_record source = running_source(fixture);
    crowd_fill(actors, ACTORS / 2, &snapshot);
    crowd_fill(actors + ACTORS / 2, ACTORS / 2, &fork);
    crowd_start_together(actors, ACTORS, &source);
    crowd_join(actors, ACTORS);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_recalls(fixture, "source", "note");
    for (int i = ACTORS / 2; i < ACTORS; i++) {
        assert_state(fixture, actors[i].name, INSTANCE_RUNNING);
        assert_recalls(fixture, actors[i].name, "note");
    }
    assert_tidy(fixture);
}

/* The source goes on, and there is no fork. */
static void test_refused(void **state)
{
    static const char *const orders[] = {"refuse /template no", "garbage /template"};
    struct fixture *fixture = *state;
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    struct instance_record source = running_source(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        struct error err = {0};
        guest_orders(fixture, source.id, orders[i]);
        assert_fails(instance_fork(fixture->host, "source", &request, NULL, &err), &err,
                     ERROR_SYSTEM, "PUT /template");
        guest_orders(fixture, source.id, NULL);
        assert_state(fixture, "source", INSTANCE_RUNNING);
        assert_recalls(fixture, "source", "note");
        assert_true(instance_get(fixture->host, "fork", NULL, &err) < 0);
        assert_tidy(fixture);
    }
    fork_live(fixture, "source", "fork");
}

/* The source's VMM ends instead of answering: the source is Stopped and no fork is there. */
static void test_source_dies(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    struct error err = {0};
    struct instance_record source = running_source(fixture);
    guest_orders(fixture, source.id, "die /template boom");
    assert_true(instance_fork(fixture->host, "source", &request, NULL, &err) < 0);
    fixture_await(fixture, "source", INSTANCE_STOPPED);
    assert_true(instance_get(fixture->host, "fork", NULL, &err) < 0);
    assert_tidy(fixture);
}

/* A template that ends costs the fork that was to be made of it, and nothing else; no VM is left
 * that nobody knows. */
static void test_template_ends(void **state)
{
    static const char *const orders[] = {"template-dies born", "template-dies asked",
                                         "template-dies bearing"};
    struct fixture *fixture = *state;
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    struct instance_record source = running_source(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        struct error err = {0};
        guest_orders(fixture, source.id, orders[i]);
        assert_true(instance_fork(fixture->host, "source", &request, NULL, &err) < 0);
        guest_orders(fixture, source.id, NULL);
        assert_state(fixture, "source", INSTANCE_RUNNING);
        assert_recalls(fixture, "source", "note");
        pattern(fixture, "source", "check", 1);
        assert_true(instance_get(fixture->host, "fork", NULL, &err) < 0);
        assert_tidy(fixture);
    }
    fork_live(fixture, "source", "fork");
    pattern(fixture, "fork", "check", 1);
    assert_no_vm_left(fixture);
}

/* The forks that it made before that live on. */
static void test_template_ends_among_forks(void **state)
{
    struct fixture *fixture = *state;
    const struct actor fork = {.fixture = fixture,
                               .run = actor_fork,
                               .source = "source",
                               .from_running = true,
                               .target = INSTANCE_CREATED};
    struct actor actors[ACTORS];
    struct instance_record source = running_source(fixture);
    unsigned made = 0;
    guest_orders(fixture, source.id, "template-dies second");
    crowd_fill(actors, ACTORS, &fork);
    crowd_start_together(actors, ACTORS, &source);
    for (int i = 0; i < ACTORS; i++) {
        if (actor_join(&actors[i]) < 0) {
            assert_true(instance_get(fixture->host, actors[i].name, NULL, NULL) < 0);
            continue;
        }
        made++;
        assert_state(fixture, actors[i].name, INSTANCE_RUNNING);
        assert_recalls(fixture, actors[i].name, "note");
        pattern(fixture, actors[i].name, "check", 1);
    }
    assert_in_range(made, 1, ACTORS - 1);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    pattern(fixture, "source", "check", 1);
    assert_tidy(fixture);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_booted),
    FIXTURE_TEST(test_disks),
    FIXTURE_TEST(test_restored),
    FIXTURE_TEST(test_plain_disk),
    FIXTURE_TEST(test_depth),
    FIXTURE_TEST(test_not_sealed),
    FIXTURE_TEST(test_targets),
    FIXTURE_TEST(test_many),
    FIXTURE_TEST(test_refused),
    FIXTURE_TEST(test_source_dies),
    FIXTURE_TEST(test_no_compaction),
    FIXTURE_TEST(test_template_ends),
    FIXTURE_TEST(test_template_ends_among_forks),
};
FIXTURE_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* Writable disks: stacks that forks share, and the plain files of before. */
#include "disk_text.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/disk_stack.h"

static struct disk_chain chain_of(const struct fixture *fixture, const char *id)
{
    struct disk_chain chain;
    struct error err = {0};
    const struct path path = guest_path(fixture, id, "disks");
    _cleanup_(close) int directory = dir_open(AT_FDCWD, path.text, &err);
    const struct stack_file base = {directory, "0.img", path.text};
    assert_ok(disk_chain_find(&base, &chain, &err), &err);
    return chain;
}

static void assert_text(const struct fixture *fixture, const char *id, const char *text)
{
    const struct path disks = guest_path(fixture, id, "disks");
    disk_assert_text(&disks, text);
}

static void stop(struct fixture *fixture, const char *name)
{
    struct error err = {0};
    assert_ok(instance_stop(fixture->host, name, 0, NULL, &err), &err);
}

static void start(struct fixture *fixture, const char *name)
{
    struct error err = {0};
    assert_ok(instance_start(fixture->host, name, NULL, &err), &err);
}

static void sleep_now(struct fixture *fixture, const char *name)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, name, NULL, &err), &err);
}

static void wake(struct fixture *fixture, const char *name)
{
    struct error err = {0};
    assert_ok(instance_restore(fixture->host, name, NULL, &err), &err);
}

/* Links and a new top; what either writes afterwards is its own. */
static void test_forks(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_record web = fixture_create(fixture, "web");
    const ino_t base = guest_stat(fixture, web.id, "disks/0.img").st_ino;
    disk_write_text(fixture, web.id, "before the fork");
    sleep_now(fixture, "web");
    const struct instance_record a = fixture_fork(fixture, "web", "a", INSTANCE_RUNNING);
    const struct instance_record b = fixture_fork(fixture, "web", "b", INSTANCE_STOPPED);
    assert_int_equal(a.disk_bytes_copied, 0);
    assert_int_equal(chain_of(fixture, web.id).count, 1); /* sealed once for both */
    assert_int_equal(guest_stat(fixture, a.id, "disks/0.img").st_ino, base);
    assert_int_equal(guest_stat(fixture, a.id, "disks/0.img.1").st_nlink, 3);
    wake(fixture, "web");
    disk_write_text(fixture, a.id, "of a");
    disk_write_text(fixture, web.id, "of web");
    assert_text(fixture, a.id, "of a");
    assert_text(fixture, b.id, "before the fork");
    assert_text(fixture, web.id, "of web");

    /* A fork of a fork, and the sources go. */
    sleep_now(fixture, "a");
    const struct instance_record c = fixture_fork(fixture, "a", "c", INSTANCE_RUNNING);
    struct error err = {0};
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    assert_ok(instance_delete(fixture->host, "a", &err), &err);
    assert_text(fixture, b.id, "before the fork");
    assert_text(fixture, c.id, "of a");
    assert_int_equal(chain_of(fixture, c.id).count, 2);
    assert_int_equal(guest_stat(fixture, c.id, "disks/0.img").st_nlink, 2);
}

/* A source that runs is sealed in its nap, where it needs one (else see test_live.c). */
static void test_fork_of_running(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record fork;
    const struct instance_record web = fixture_create(fixture, "web");
    guest_orders(fixture, web.id, "no-templates");
    disk_write_text(fixture, web.id, "while it ran");
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    assert_ok(instance_fork(fixture->host, "web", &request, &fork, &err), &err);
    assert_state(fixture, "web", INSTANCE_RUNNING);
    disk_write_text(fixture, web.id, "of web");
    assert_text(fixture, fork.id, "while it ran");
    assert_text(fixture, web.id, "of web");
}

/* What is told of them. */
static void test_stats(void **state)
{
    struct fixture *fixture = *state;
    struct disk_stats stats[GUEST_MAX_DISKS];
    struct error err = {0};
    const struct instance_record web = fixture_create(fixture, "web");
    assert_ok(instance_disk_stats(fixture->host, "web", stats, &err), &err);
    assert_true(stats[0].stack && stats[0].layer_count == 0);
    assert_false(stats[1].stack);
    assert_int_equal(stats[1].link_count, guest_stat(fixture, web.id, "disks/1.img").st_nlink);
    for (unsigned i = 0; i < 2; i++) {
        disk_write_text(fixture, web.id, i == 0 ? "first" : "second");
        sleep_now(fixture, "web");
        fixture_fork(fixture, "web", i == 0 ? "a" : "b", INSTANCE_STOPPED);
        wake(fixture, "web");
    }
    assert_ok(instance_disk_stats(fixture->host, web.id, stats, &err), &err);
    assert_int_equal(stats[0].size_bytes, 1 << 20);
    assert_int_equal(stats[0].link_count, 3);
    assert_int_equal(stats[0].layer_count, 2);
    assert_int_equal(stats[0].layers[0].number, 1);
    assert_int_equal(stats[0].layers[0].link_count, 3);
    assert_int_equal(stats[0].layers[1].number, 2);
    assert_int_equal(stats[0].layers[1].link_count, 2);
    assert_int_equal(stats[0].layers[1].data_bytes, 4096);
    assert_int_equal(stats[0].layers[1].zero_bytes, 0);
    const struct path layer = guest_path(fixture, web.id, "disks/0.img.1");
    const struct path away = guest_path(fixture, web.id, "away");
    assert_int_equal(rename(layer.text, away.text), 0);
    assert_fails(instance_disk_stats(fixture->host, "web", stats, &err), &err, ERROR_CORRUPT,
                 "0.img.1 is missing");
    assert_int_equal(rename(away.text, layer.text), 0);
    assert_fails(instance_disk_stats(fixture->host, "nobody", stats, &err), &err, ERROR_NOT_FOUND,
                 "nobody");
}

/* The disk of an instance that was made before there were stacks. */
static void make_plain(const struct fixture *fixture, const char *id, const char *text)
{
    const struct path top = guest_path(fixture, id, "disks/0.img.top");
    assert_int_equal(unlink(top.text), 0);
    disk_write_text(fixture, id, text);
}

static void test_plain_file(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct instance_record web = fixture_create(fixture, "web");
    stop(fixture, "web");
    make_plain(fixture, web.id, "a plain file");
    start(fixture, "web");
    assert_absent(fixture, web.id, "disks/0.img.top"); /* it goes on as it is */
    guest_remember(fixture, "web", "note");
    sleep_now(fixture, "web");
    wake(fixture, "web");
    sleep_now(fixture, "web");
    assert_absent(fixture, web.id, "disks/0.img.top");

    /* With the first fork it is the base of a stack, though its saved state says otherwise. */
    const struct instance_record fork = fixture_fork(fixture, "web", "fork", INSTANCE_RUNNING);
    assert_int_equal(fork.disk_bytes_copied, 0);
    assert_int_equal(guest_stat(fixture, web.id, "disks/0.img").st_nlink, 2);
    wake(fixture, "web");
    assert_recalls(fixture, "web", "note");
    disk_write_text(fixture, web.id, "of web");
    assert_text(fixture, fork.id, "a plain file");
    assert_text(fixture, web.id, "of web");
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    assert_text(fixture, fork.id, "a plain file");
}

/* A snapshot's plain file is immutable: what is made of it has it for a base. */
static void test_plain_file_of_a_snapshot(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record fork;
    const struct instance_record web = fixture_create(fixture, "web");
    stop(fixture, "web");
    make_plain(fixture, web.id, "a plain file");
    const struct snapshot_record cold = fixture_snapshot(fixture, "web", INSTANCE_STOPPED, "cold");
    const struct path top = snapshot_path(fixture, cold.id, "disks/0.img.top");
    assert_int_equal(unlink(top.text), 0); /* as it was made then */
    const struct snapshot_target target = {.has_state = true, .state = INSTANCE_RUNNING};
    assert_ok(snapshot_fork(fixture->host, cold.id, "fork", &target, &fork, &err), &err);
    assert_int_equal(guest_stat(fixture, fork.id, "disks/0.img").st_ino,
                     snapshot_stat(fixture, cold.id, "disks/0.img").st_ino);
    disk_write_text(fixture, fork.id, "of fork");
    const struct path disks = snapshot_path(fixture, cold.id, "disks");
    disk_assert_text(&disks, "a plain file");
    assert_ok(snapshot_restore(fixture->host, "web", cold.id, &target, NULL, &err), &err);
    assert_text(fixture, web.id, "a plain file");
    assert_text(fixture, fork.id, "of fork");
}

/* Its depth has a bound; forks that have the old files are not disturbed. */
static void test_depth(void **state)
{
    struct fixture *fixture = *state;
    char text[16], name[16];
    const struct instance_record web = fixture_create(fixture, "web");
    struct instance_record early = {.id = ""};
    for (unsigned i = 0; i < 12; i++) {
        snprintf(text, sizeof(text), "round %u", i);
        snprintf(name, sizeof(name), "fork-%u", i);
        disk_write_text(fixture, web.id, text);
        sleep_now(fixture, "web");
        const struct instance_record fork = fixture_fork(fixture, "web", name, INSTANCE_STOPPED);
        if (i == 3)
            early = fork;
        wake(fixture, "web");
        assert_true(chain_of(fixture, web.id).count <= 8);
        assert_text(fixture, web.id, text);
        assert_text(fixture, fork.id, text);
    }
    assert_text(fixture, early.id, "round 3");
    assert_int_equal(chain_of(fixture, early.id).count, 4);
}

/* What can't be sealed can't be forked, and nothing has changed. */
static void test_failures(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record fork;
    const struct instance_record web = fixture_create(fixture, "web");
    const struct instance_fork_request request = {.name = "fork"};
    sleep_now(fixture, "web");
    disk_write_text(fixture, web.id, "of web");
    assert_int_equal(setenv("TINE_FAILPOINT", "disk-seal-made=ENOSPC", 1), 0);
    assert_fails(instance_fork(fixture->host, "web", &request, &fork, &err), &err, ERROR_RESOURCES,
                 "seal guests/");
    assert_int_equal(setenv("TINE_FAILPOINT", "", 1), 0);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_text(fixture, web.id, "of web");
    /* A layer that is gone is told by name, and nobody boots without it. */
    assert_ok(instance_fork(fixture->host, "web", &request, &fork, &err), &err);
    const struct path layer = guest_path(fixture, fork.id, "disks/0.img.1");
    assert_int_equal(unlink(layer.text), 0);
    const struct instance_fork_request again = {.name = "again"};
    assert_fails(instance_fork(fixture->host, "fork", &again, &fork, &err), &err, ERROR_CORRUPT,
                 "disks/0.img.1 is missing");
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_forks),
        FIXTURE_TEST(test_fork_of_running),
        FIXTURE_TEST(test_stats),
        FIXTURE_TEST(test_plain_file),
        FIXTURE_TEST(test_plain_file_of_a_snapshot),
        FIXTURE_TEST(test_depth),
        FIXTURE_TEST(test_failures),
    };
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

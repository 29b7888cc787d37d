/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed memory that is needed again: whoever needs it gets it raw, and one file serves all. */
#include "compressed.h"
#include "crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define FORKS 25

static struct snapshot_record snapshot_of(struct fixture *fixture, const char *id)
{
    struct snapshot_record record;
    struct error err = {0};
    assert_ok(snapshot_get(fixture->host, id, &record, &err), &err);
    return record;
}

static void await_snapshot(struct fixture *fixture, const char *id, enum compression_state state)
{
    uint64_t deadline = time_monotonic_ns() + AWAIT_NS;
    while (snapshot_of(fixture, id).compression_status.state != state &&
           time_monotonic_ns() < deadline)
        time_sleep_ms(5);
    assert_int_equal(snapshot_of(fixture, id).compression_status.state, state);
}

static void test_fork(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record web = compressed_web(fixture, &zstd);
    struct instance_record cold = fixture_fork(fixture, "web", "cold", INSTANCE_STOPPED);
    assert_string_equal(cold.compression, "");
    assert_true(is_there(fixture, web.id, ZSTD)); /* it needed no memory */
    struct instance_record fork = fixture_fork(fixture, "web", "fork", INSTANCE_STANDBY);
    assert_string_equal(fork.compression, "");
    assert_int_equal(guest_stat(fixture, web.id, RAW).st_ino,
                     guest_stat(fixture, fork.id, RAW).st_ino);
    assert_int_equal(guest_stat(fixture, web.id, RAW).st_nlink, 2);
    assert_false(is_there(fixture, web.id, ZSTD));
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
    fixture_fork(fixture, "web", "other", INSTANCE_RUNNING);
    assert_recalls(fixture, "other", NOTE);
    restore_web(fixture);
}

/* It is expanded once, and all link to that one file. */
static void test_forks_at_once(void **state)
{
    struct fixture *fixture = *state;
    const struct actor example = {
        .fixture = fixture, .run = actor_fork, .source = "web", .target = INSTANCE_STANDBY};
    static struct actor forkers[FORKS];
    struct instance_record web = compressed_web(fixture, &lz4);
    crowd_fill(forkers, FORKS, &example);
    for (int i = 0; i < FORKS; i += 3)
        forkers[i].from_running = true;
    crowd_start(forkers, FORKS);
    crowd_join(forkers, FORKS);
    for (int i = 0; i < FORKS; i++)
        assert_int_equal(guest_stat(fixture, forkers[i].record.id, RAW).st_ino,
                         guest_stat(fixture, web.id, RAW).st_ino);
    assert_int_equal(guest_stat(fixture, web.id, RAW).st_nlink, FORKS + 1);
    assert_int_equal(
        sample(fixture, "tine_expansions_total{algorithm=\"lz4\",result=\"expanded\"}"), 1);
    restore_web(fixture);
}

/* A snapshot that took a nap shares its image with its source, so it is compressed when that is
 * gone. */
static void test_snapshot(void **state)
{
    struct fixture *fixture = *state;
    const struct snapshot_create_request request = {
        .kind = INSTANCE_STANDBY, .has_compression = true, .compression = &zstd};
    const struct snapshot_target awake = {.has_state = false};
    const struct snapshot_target cold = {.has_state = true, .state = INSTANCE_STOPPED};
    struct snapshot_record made;
    struct error err = {0};
    guest_orders(fixture, fixture_create(fixture, "web").id, "no-templates");
    guest_remember(fixture, "web", NOTE);
    assert_ok(snapshot_create(fixture->host, "web", &request, &made, &err), &err);
    assert_string_equal(made.compression, "zstd:1");
    assert_int_equal(made.compression_status.state, COMPRESSION_NONE);
    assert_int_equal(snapshot_stat(fixture, made.id, RAW).st_nlink, 2);
    /* The next standby of the source writes an image of its own. */
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    await_snapshot(fixture, made.id, COMPRESSION_DONE);
    assert_int_equal(snapshot_of(fixture, made.id).compression_status.compressed_size,
                     snapshot_stat(fixture, made.id, ZSTD).st_size);
    fixture_reopen(fixture);
    assert_int_equal(snapshot_of(fixture, made.id).compression_status.state, COMPRESSION_DONE);
    assert_ok(snapshot_fork(fixture->host, made.id, "cold", &cold, NULL, &err), &err);
    assert_int_equal(snapshot_of(fixture, made.id).compression_status.state, COMPRESSION_DONE);
    assert_ok(snapshot_fork(fixture->host, made.id, "fork", &awake, NULL, &err), &err);
    assert_recalls(fixture, "fork", NOTE);
    assert_int_equal(snapshot_of(fixture, made.id).compression_status.state, COMPRESSION_NONE);
    assert_int_equal(snapshot_stat(fixture, made.id, RAW).st_nlink, 2);
    assert_ok(snapshot_delete(fixture->host, made.id, &err), &err);
    assert_recalls(fixture, "fork", NOTE);
}

static void test_snapshot_restore(void **state)
{
    struct fixture *fixture = *state;
    const struct snapshot_create_request request = {
        .kind = INSTANCE_STANDBY, .has_compression = true, .compression = &lz4};
    const struct snapshot_target awake = {.has_state = false};
    struct snapshot_record made;
    struct error err = {0};
    compressed_web(fixture, &zstd);
    /* The source's own image is expanded for it, and stays so. */
    assert_ok(snapshot_create(fixture->host, "web", &request, &made, &err), &err);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
    assert_int_equal(made.compression_status.state, COMPRESSION_NONE);
    restore_web(fixture);
    guest_remember(fixture, "web", "another note");
    standby_with(fixture, &zstd, 0);
    await_snapshot(fixture, made.id, COMPRESSION_DONE);
    await(fixture, "web", COMPRESSION_DONE);
    assert_ok(snapshot_restore(fixture->host, "web", made.id, &awake, NULL, &err), &err);
    assert_recalls(fixture, "web", NOTE);
    assert_int_equal(snapshot_of(fixture, made.id).compression_status.state, COMPRESSION_NONE);
    assert_no_temporary(fixture);
}

/* Damage is told; nothing else happens, and what is whole again works. */
static void test_damage(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_fork_request request = {.name = "fork"};
    struct instance_record record = compressed_web(fixture, &zstd);
    const struct path path = guest_path(fixture, record.id, ZSTD);
    const off_t whole = guest_stat(fixture, record.id, ZSTD).st_size;
    _cleanup_(close) int fd = open(path.text, O_RDWR | O_CLOEXEC);
    char last;
    struct error err = {0};
    assert_int_equal(pread(fd, &last, 1, whole - 1), 1);
    assert_int_equal(ftruncate(fd, whole - 1), 0);
    assert_fails(instance_restore(fixture->host, "web", NULL, &err), &err, ERROR_CORRUPT,
                 "snapshot/memory.zst is damaged: something follows its end, or its index is cut");
    assert_fails(instance_fork(fixture->host, "web", &request, NULL, &err), &err, ERROR_CORRUPT,
                 "is damaged");
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_DONE);
    assert_no_temporary(fixture);
    assert_int_equal(pwrite(fd, &last, 1, whole - 1), 1);
    restore_web(fixture);
}

/* There is no room for the raw image: as before, and once there is, it works. */
static void test_no_room(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = compressed_web(fixture, &lz4);
    assert_int_equal(setenv("TINE_FAILPOINT", "stack-expand-data=ENOSPC", 1), 0);
    assert_fails(instance_restore(fixture->host, "web", NULL, &err), &err, ERROR_RESOURCES,
                 "ENOSPC");
    assert_int_equal(setenv("TINE_FAILPOINT", "", 1), 0);
    assert_int_equal(sample(fixture, "tine_expansions_total{algorithm=\"lz4\",result=\"error\"}"),
                     1);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_true(is_there(fixture, record.id, LZ4));
    assert_false(is_there(fixture, record.id, RAW));
    restore_web(fixture);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_fork),     FIXTURE_TEST(test_forks_at_once),
    FIXTURE_TEST(test_snapshot), FIXTURE_TEST(test_snapshot_restore),
    FIXTURE_TEST(test_damage),   FIXTURE_TEST(test_no_room),
};
FIXTURE_MAIN(tests)

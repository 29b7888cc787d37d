/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots and who owns what: every order of create, fork, restore and delete, seen by inode, link
 * count and what the guests remember. */
#include "crowd.h"
#include "disk_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "listing.h"

#define MEMORY_FILE GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY
#define STATE_FILE  GUEST_SNAPSHOT "/" SNAPSHOT_STATE
#define BASE_FILE   GUEST_BASE "/" SNAPSHOT_MEMORY
#define FORKS       25
#define NOTE        "from the source"

static const struct snapshot_target by_default = {.has_state = false};

static struct snapshot_target target(enum instance_state state)
{
    return (struct snapshot_target){.has_state = true, .state = state};
}

static void standby(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, reference, NULL, &err), &err);
}

static void wake(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_restore(fixture->host, reference, NULL, &err), &err);
}

static void stop(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_stop(fixture->host, reference, 0, NULL, &err), &err);
}

static void discard(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_delete(fixture->host, reference, &err), &err);
}

static void discard_snapshot(struct fixture *fixture, const char *id)
{
    struct error err = {0};
    assert_ok(snapshot_delete(fixture->host, id, &err), &err);
}

static struct instance_record fork_snapshot(struct fixture *fixture, const char *id,
                                            const char *name, struct snapshot_target wanted)
{
    struct instance_record record;
    struct error err = {0};
    assert_ok(snapshot_fork(fixture->host, id, name, &wanted, &record, &err), &err);
    return record;
}

static struct instance_record restore(struct fixture *fixture, const char *instance, const char *id,
                                      struct snapshot_target wanted)
{
    struct instance_record record;
    struct error err = {0};
    assert_ok(snapshot_restore(fixture->host, instance, id, &wanted, &record, &err), &err);
    return record;
}

static struct instance_record running_source(struct fixture *fixture)
{
    struct instance_record source = fixture_create(fixture, "source");
    guest_remember(fixture, "source", NOTE);
    return source;
}

static struct instance_record sleeping_source(struct fixture *fixture)
{
    struct instance_record source = running_source(fixture);
    standby(fixture, "source");
    return source;
}

static char *read_file(const struct path *path, size_t *length)
{
    char *bytes = NULL;
    struct error err = {0};
    assert_ok(file_read_all(AT_FDCWD, path->text, FIXTURE_MEMORY, &bytes, length, &err), &err);
    return bytes;
}

static void assert_same_file(struct stat a, struct stat b)
{
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(a.st_dev, b.st_dev);
}

static void assert_no_snapshots(struct fixture *fixture)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(snapshot_list(fixture->host, &all, &records, &count, &err), &err);
    assert_int_equal(count, 0);
}

static void test_create_of_standby(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record source = sleeping_source(fixture);
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "warm");
    assert_int_equal(strlen(made.id), INSTANCE_ID_LENGTH);
    assert_string_equal(made.name, "warm");
    assert_string_equal(made.source.id, source.id);
    assert_string_equal(made.source.name, "source");
    assert_int_equal(made.compression_status.state, COMPRESSION_NONE);
    assert_true(made.created_at_ns > source.created_at_ns);
    assert_state(fixture, "source", INSTANCE_STANDBY);

    /* One inode for what nobody writes, and a private top for the writable disk. */
    static const char *const shared[] = {MEMORY_FILE,  STATE_FILE,    GUEST_KERNEL,
                                         GUEST_INITRD, "disks/1.img", "disks/0.img"};
    for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
        assert_same_file(snapshot_stat(fixture, made.id, shared[i]),
                         guest_stat(fixture, source.id, shared[i]));
    assert_int_equal(snapshot_stat(fixture, made.id, MEMORY_FILE).st_nlink, 2);
    assert_int_equal(snapshot_stat(fixture, made.id, "disks/0.img.top").st_nlink, 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img.top").st_nlink, 1);

    uint64_t size = 0;
    for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
        size += (uint64_t)snapshot_stat(fixture, made.id, shared[i]).st_size;
    assert_int_equal(made.size_bytes, size);

    struct snapshot_record read;
    fixture_reopen(fixture);
    assert_ok(snapshot_get(fixture->host, made.id, &read, &err), &err);
    assert_string_equal(read.name, "warm");
    assert_int_equal(read.kind, INSTANCE_STANDBY);
    assert_int_equal(read.size_bytes, size);
    assert_int_equal(read.source.memory_bytes, source.memory_bytes);
    assert_int_equal(read.source.disk_count, 2);
    assert_true(read.source.disks[1].read_only);
}

/* In a nap: where there are templates it is test_capture.c. */
static void test_create_of_running(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    guest_orders(fixture, source.id, "no-templates");
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, NULL);
    assert_string_equal(made.name, "");
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_same_file(guest_stat(fixture, source.id, BASE_FILE),
                     snapshot_stat(fixture, made.id, MEMORY_FILE));
    /* The source goes on; the snapshot does not. */
    guest_remember(fixture, "source", "later");
    standby(fixture, "source");
    fork_snapshot(fixture, made.id, "fork", by_default);
    assert_recalls(fixture, "fork", NOTE);
    wake(fixture, "source");
    assert_recalls(fixture, "source", "later");
}

static void test_create_of_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    stop(fixture, "source");
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STOPPED, NULL);
    struct stat st;
    const struct path memory = snapshot_path(fixture, made.id, GUEST_SNAPSHOT);
    assert_int_equal(lstat(memory.text, &st), -1);
    assert_same_file(snapshot_stat(fixture, made.id, "disks/1.img"),
                     guest_stat(fixture, source.id, "disks/1.img"));
    assert_state(fixture, "source", INSTANCE_STOPPED);
    assert_int_equal(fork_snapshot(fixture, made.id, "off", by_default).state, INSTANCE_STOPPED);
    struct instance_record booted =
        fork_snapshot(fixture, made.id, "booted", target(INSTANCE_RUNNING));
    assert_int_equal(booted.state, INSTANCE_RUNNING);
    assert_recalls(fixture, "booted", "");
}

static void test_targets_of_a_standby_snapshot(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, NULL);
    struct instance_record running = fork_snapshot(fixture, made.id, "running", by_default);
    assert_int_equal(running.state, INSTANCE_RUNNING);
    assert_string_equal(running.parent_id, source.id);
    assert_string_equal(running.memory_method, "link");
    assert_int_equal(running.memory_bytes_copied, 0);
    assert_recalls(fixture, "running", NOTE);
    _cleanup_(free) char *hostname = guest_run(fixture, "running", "hostname", NULL);
    assert_string_equal(hostname, "running");
    struct instance_record asleep =
        fork_snapshot(fixture, made.id, "asleep", target(INSTANCE_STANDBY));
    assert_int_equal(asleep.state, INSTANCE_STANDBY);
    assert_int_equal(guest_stat(fixture, asleep.id, MEMORY_FILE).st_nlink, 4);
    struct instance_record cold = fork_snapshot(fixture, made.id, "cold", target(INSTANCE_STOPPED));
    assert_int_equal(cold.state, INSTANCE_STOPPED);
    assert_absent(fixture, cold.id, GUEST_SNAPSHOT);
    wake(fixture, "asleep");
    assert_recalls(fixture, "asleep", NOTE);
}

/* Nothing that becomes of source, forks or other snapshots changes a byte of it. */
static void test_every_order_of_delete(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    struct snapshot_record first = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "first");
    struct snapshot_record second = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "second");
    struct instance_record fork = fork_snapshot(fixture, first.id, "fork", by_default);
    const struct path path = snapshot_path(fixture, second.id, MEMORY_FILE);
    size_t length = 0, after_length = 0;
    _cleanup_(free) char *before = read_file(&path, &length);
    struct stat stat_before = snapshot_stat(fixture, second.id, MEMORY_FILE);
    assert_int_equal(stat_before.st_nlink, 4);

    guest_remember(fixture, "fork", "fork's own");
    standby(fixture, "fork");
    assert_int_equal(snapshot_stat(fixture, second.id, MEMORY_FILE).st_nlink, 3);
    assert_int_equal(guest_stat(fixture, fork.id, MEMORY_FILE).st_nlink, 1);
    discard_snapshot(fixture, first.id);
    wake(fixture, "fork");
    assert_recalls(fixture, "fork", "fork's own");
    wake(fixture, "source");
    guest_remember(fixture, "source", "source's own");
    standby(fixture, "source");
    assert_int_equal(guest_stat(fixture, source.id, MEMORY_FILE).st_nlink, 1);
    discard(fixture, "source");
    discard(fixture, "fork");

    struct stat stat_after = snapshot_stat(fixture, second.id, MEMORY_FILE);
    _cleanup_(free) char *after = read_file(&path, &after_length);
    assert_same_file(stat_before, stat_after);
    assert_int_equal(stat_after.st_nlink, 1);
    assert_int_equal(stat_before.st_mtim.tv_nsec, stat_after.st_mtim.tv_nsec);
    assert_int_equal(length, after_length);
    assert_memory_equal(before, after, length);
    /* Of a source that is gone, and what was made of it outlives the snapshot. */
    fork_snapshot(fixture, second.id, "child", by_default);
    assert_recalls(fixture, "child", NOTE);
    discard_snapshot(fixture, second.id);
    assert_recalls(fixture, "child", NOTE);
    assert_no_snapshots(fixture);
    struct snapshot_record third = fixture_snapshot(fixture, "child", INSTANCE_STANDBY, "third");
    discard(fixture, "child");
    fork_snapshot(fixture, third.id, "grandchild", by_default);
    assert_recalls(fixture, "grandchild", NOTE);
}

static void test_restore_in_place(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    disk_write_text(fixture, source.id, "as captured");
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, NULL);
    guest_remember(fixture, "source", "later");
    disk_write_text(fixture, source.id, "written later");
    standby(fixture, "source");
    ino_t old = guest_stat(fixture, source.id, "").st_ino;
    struct stat log = guest_stat(fixture, source.id, "log/requests");
    struct instance_record restored = restore(fixture, "source", made.id, by_default);
    assert_string_equal(restored.id, source.id);
    assert_string_equal(restored.name, "source");
    assert_int_equal(restored.created_at_ns, source.created_at_ns);
    assert_int_equal(restored.state, INSTANCE_RUNNING);
    assert_int_not_equal(guest_stat(fixture, source.id, "").st_ino, old);
    assert_recalls(fixture, "source", NOTE);
    const struct path disks = guest_path(fixture, source.id, "disks");
    disk_assert_text(&disks, "as captured");
    assert_same_file(guest_stat(fixture, source.id, "log/requests"), log);
    assert_same_file(guest_stat(fixture, source.id, BASE_FILE),
                     snapshot_stat(fixture, made.id, MEMORY_FILE));
    assert_int_equal(snapshot_stat(fixture, made.id, MEMORY_FILE).st_nlink, 2);
    /* As often as one likes, and the snapshot has not changed. */
    disk_write_text(fixture, source.id, "written again");
    const struct path captured = snapshot_path(fixture, made.id, "disks");
    disk_assert_text(&captured, "as captured");
    standby(fixture, "source");
    restore(fixture, "source", made.id, target(INSTANCE_STANDBY));
    assert_state(fixture, "source", INSTANCE_STANDBY);
    fixture_reopen(fixture);
    assert_state(fixture, "source", INSTANCE_STANDBY);
    wake(fixture, "source");
    assert_recalls(fixture, "source", NOTE);
    discard_snapshot(fixture, made.id);
    assert_recalls(fixture, "source", NOTE);
}

static void test_restore_in_place_changes_the_state(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    struct snapshot_record warm = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, NULL);
    restore(fixture, "source", warm.id, target(INSTANCE_STOPPED));
    struct instance_record record = fixture_get(fixture, "source");
    assert_int_equal(record.state, INSTANCE_STOPPED);
    assert_int_equal(record.started_at_ns, 0);
    assert_int_equal(record.stopped_at_ns, 0);
    assert_absent(fixture, source.id, GUEST_SNAPSHOT);
    struct snapshot_record cold = fixture_snapshot(fixture, "source", INSTANCE_STOPPED, NULL);
    /* From Stopped to what slept, and from what slept to Stopped. */
    restore(fixture, "source", warm.id, target(INSTANCE_STANDBY));
    assert_state(fixture, "source", INSTANCE_STANDBY);
    assert_int_equal(restore(fixture, "source", cold.id, by_default).state, INSTANCE_STOPPED);
    fixture_reopen(fixture);
    record = fixture_get(fixture, "source");
    assert_int_equal(record.state, INSTANCE_STOPPED);
    assert_string_equal(record.exit_message, "");
    assert_int_equal(restore(fixture, "source", cold.id, target(INSTANCE_RUNNING)).state,
                     INSTANCE_RUNNING);
    assert_recalls(fixture, "source", "");
    stop(fixture, "source");
    restore(fixture, "source", warm.id, by_default);
    assert_recalls(fixture, "source", NOTE);
}

/* A snapshot of a fork that never ran: it wakes under the right name, wherever it does. */
static void test_snapshot_of_a_fork_that_never_ran(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    fixture_fork(fixture, "source", "asleep", INSTANCE_STANDBY);
    struct snapshot_record made = fixture_snapshot(fixture, "asleep", INSTANCE_STANDBY, NULL);
    fork_snapshot(fixture, made.id, "child", by_default);
    _cleanup_(free) char *child = guest_run(fixture, "child", "hostname", NULL);
    assert_string_equal(child, "child");
    restore(fixture, "asleep", made.id, by_default);
    _cleanup_(free) char *asleep = guest_run(fixture, "asleep", "hostname", NULL);
    assert_string_equal(asleep, "asleep");
}

static void refuse_create(struct fixture *fixture, const char *source, enum instance_state kind,
                          const char *name, enum error_code code, const char *words)
{
    const struct snapshot_create_request request = {.kind = kind, .name = name};
    struct error err = {0};
    _cleanup_(free) char *before = listing(fixture->data);
    assert_fails(snapshot_create(fixture->host, source, &request, NULL, &err), &err, code, words);
    _cleanup_(free) char *after = listing(fixture->data);
    assert_string_equal(before, after);
}

static void test_what_can_not_be_created(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    refuse_create(fixture, "none", INSTANCE_STANDBY, NULL, ERROR_NOT_FOUND, "'none'");
    refuse_create(fixture, "source", INSTANCE_RUNNING, NULL, ERROR_INVALID, "kind: Running");
    refuse_create(fixture, "source", INSTANCE_STANDBY, "No", ERROR_INVALID, "name: 'No'");
    refuse_create(fixture, "source", INSTANCE_STANDBY, "", ERROR_INVALID, "name: ''");
    refuse_create(fixture, "source", INSTANCE_STOPPED, NULL, ERROR_STATE, "source: its state is");
    fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "one");
    pid_t vmm = fixture_get(fixture, "source").vmm_pid;
    refuse_create(fixture, "source", INSTANCE_STANDBY, "one", ERROR_NAME, "'one'");
    /* It was not put to sleep for that. */
    assert_int_equal(fixture_get(fixture, "source").vmm_pid, vmm);
    stop(fixture, "source");
    refuse_create(fixture, source.id, INSTANCE_STANDBY, NULL, ERROR_STATE, "Stopped");
    refuse_create(fixture, source.id, INSTANCE_STOPPED, "one", ERROR_NAME, "'one'");
    /* Names are unique among a source's. */
    fixture_create(fixture, "other");
    fixture_snapshot(fixture, "other", INSTANCE_STANDBY, "one");
    fixture_snapshot(fixture, "other", INSTANCE_STANDBY, NULL);
    fixture_snapshot(fixture, "other", INSTANCE_STANDBY, NULL);
}

static void refuse_fork(struct fixture *fixture, const char *id, const char *name,
                        struct snapshot_target wanted, enum error_code code, const char *words)
{
    struct error err = {0};
    _cleanup_(free) char *before = listing(fixture->data);
    assert_fails(snapshot_fork(fixture->host, id, name, &wanted, NULL, &err), &err, code, words);
    _cleanup_(free) char *after = listing(fixture->data);
    assert_string_equal(before, after);
}

static void refuse_restore(struct fixture *fixture, const char *instance, const char *id,
                           struct snapshot_target wanted, enum error_code code, const char *words)
{
    struct error err = {0};
    _cleanup_(free) char *before = listing(fixture->data);
    struct instance_record record = fixture_get(fixture, "source");
    assert_fails(snapshot_restore(fixture->host, instance, id, &wanted, NULL, &err), &err, code,
                 words);
    _cleanup_(free) char *after = listing(fixture->data);
    assert_string_equal(before, after);
    struct instance_record later = fixture_get(fixture, "source");
    assert_int_equal(record.state, later.state);
    assert_int_equal(record.started_at_ns, later.started_at_ns);
}

static void test_what_can_not_be_made_of_it(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record source = sleeping_source(fixture);
    struct snapshot_record warm = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "warm");
    restore(fixture, "source", warm.id, target(INSTANCE_STOPPED));
    struct snapshot_record cold = fixture_snapshot(fixture, "source", INSTANCE_STOPPED, "cold");
    static const struct snapshot_target qemu = {.hypervisor = "qemu"};
    static const struct snapshot_target builtin = {.hypervisor = "builtin"};
    char prefix[8];
    snprintf(prefix, sizeof(prefix), "%.7s", warm.id);

    refuse_fork(fixture, warm.id, "source", by_default, ERROR_NAME, "'source'");
    refuse_fork(fixture, warm.id, NULL, by_default, ERROR_INVALID, "name");
    refuse_fork(fixture, prefix, "x", by_default, ERROR_NOT_FOUND, prefix);
    refuse_fork(fixture, "warm", "x", by_default, ERROR_NOT_FOUND, "no snapshot 'warm'");
    refuse_fork(fixture, "../guests", "x", by_default, ERROR_NOT_FOUND, "../guests");
    refuse_fork(fixture, source.id, "x", by_default, ERROR_NOT_FOUND, source.id);
    refuse_fork(fixture, warm.id, "x", target(INSTANCE_PAUSED), ERROR_INVALID, "Paused");
    refuse_fork(fixture, cold.id, "x", target(INSTANCE_STANDBY), ERROR_INVALID, "Standby");
    refuse_fork(fixture, warm.id, "x", builtin, ERROR_INVALID, "target_hypervisor");
    refuse_fork(fixture, cold.id, "x", qemu, ERROR_UNSUPPORTED, "'qemu'");
    assert_int_equal(fork_snapshot(fixture, cold.id, "same", builtin).state, INSTANCE_STOPPED);

    refuse_restore(fixture, "none", warm.id, by_default, ERROR_NOT_FOUND, "'none'");
    refuse_restore(fixture, "source", "none", by_default, ERROR_NOT_FOUND, "'none'");
    refuse_restore(fixture, "same", warm.id, by_default, ERROR_INVALID, "is not of same");
    refuse_restore(fixture, "source", cold.id, target(INSTANCE_STANDBY), ERROR_INVALID, "Standby");
    refuse_restore(fixture, "source", warm.id, qemu, ERROR_INVALID, "target_hypervisor");
    refuse_restore(fixture, "source", cold.id, qemu, ERROR_UNSUPPORTED, "'qemu'");
    assert_ok(instance_start(fixture->host, "source", NULL, &err), &err);
    refuse_restore(fixture, "source", warm.id, by_default, ERROR_STATE, "Running");
    /* Another instance of the same name is not the source. */
    discard(fixture, "source");
    fixture_create_diskless(fixture, "source");
    stop(fixture, "source");
    refuse_restore(fixture, "source", warm.id, by_default, ERROR_INVALID, "is not of source");
}

/* A snapshot has tags of its own; what is made of it has those of its source. */
static void test_tags(void **state)
{
    struct fixture *fixture = *state;
    struct instance_create_request request = fixture_request(fixture, "source");
    struct snapshot_create_request create = {.kind = INSTANCE_STANDBY, .tags = "{\"a\":\"b\"}"};
    struct snapshot_record record;
    struct error err = {0};
    char longest[INSTANCE_TAGS_SIZE + 1];
    request.tags = "{\"team\":\"backend\"}";
    assert_ok(instance_create(fixture->host, &request, NULL, &err), &err);
    assert_ok(snapshot_create(fixture->host, "source", &create, &record, &err), &err);
    fixture_reopen(fixture);
    assert_ok(snapshot_get(fixture->host, record.id, &record, &err), &err);
    assert_string_equal(record.tags, create.tags);
    const struct instance_record fork =
        fork_snapshot(fixture, record.id, "fork", (struct snapshot_target){.has_state = false});
    assert_string_equal(fork.tags, request.tags);
    assert_ok(snapshot_delete(fixture->host, record.id, &err), &err);
    memset(longest, 'x', sizeof(longest));
    longest[INSTANCE_TAGS_SIZE] = '\0';
    create.tags = longest;
    assert_fails(snapshot_create(fixture->host, "source", &create, &record, &err), &err,
                 ERROR_INVALID, "tags: more than 4095 bytes in all");
}

static void test_list(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    fixture_create(fixture, "other");
    struct snapshot_record a = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "a");
    struct snapshot_record b = fixture_snapshot(fixture, "other", INSTANCE_STANDBY, "a");
    stop(fixture, "other");
    struct snapshot_record c = fixture_snapshot(fixture, "other", INSTANCE_STOPPED, NULL);
    const struct {
        struct snapshot_filter filter;
        const char *ids[4];
    } cases[] = {
        {{.name = NULL}, {a.id, b.id, c.id}},
        {{.name = "a"}, {a.id, b.id}},
        {{.source_instance_id = source.id}, {a.id}},
        {{.source_instance_id = "source"}, {NULL}},
        {{.has_kind = true, .kind = INSTANCE_STOPPED}, {c.id}},
        {{.name = "a", .has_kind = true, .kind = INSTANCE_STOPPED}, {NULL}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(free) struct snapshot_record *records = NULL;
        size_t count = 0, wanted = 0;
        struct error err = {0};
        while (cases[i].ids[wanted])
            wanted++;
        assert_ok(snapshot_list(fixture->host, &cases[i].filter, &records, &count, &err), &err);
        assert_int_equal(count, wanted);
        for (size_t n = 0; n < count; n++)
            assert_string_equal(records[n].id, cases[i].ids[n]);
    }
}

/* Starts forks of a snapshot. */
static void forkers_start(struct fixture *fixture, struct actor *forkers, int count, const char *id)
{
    const struct actor example = {.fixture = fixture, .run = actor_fork_snapshot, .source = id};
    crowd_fill(forkers, count, &example);
    crowd_start(forkers, count);
}

static void test_forks_really_run_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct actor forkers[FORKS];
    sleeping_source(fixture);
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, NULL);
    discard(fixture, "source");
    crowd_meet(fixture, FORKS);
    forkers_start(fixture, forkers, FORKS, made.id);
    crowd_join(forkers, FORKS);
    crowd_part();
    for (int i = 0; i < FORKS; i++)
        assert_int_equal(forkers[i].record.memory_bytes_copied, 0);
    assert_int_equal(snapshot_stat(fixture, made.id, MEMORY_FILE).st_nlink, FORKS + 1);
    assert_int_equal(snapshot_stat(fixture, made.id, "disks/0.img").st_nlink, FORKS + 1);
    assert_int_equal(snapshot_stat(fixture, made.id, "disks/0.img.top").st_nlink, 1);
    for (int i = 0; i < FORKS; i++)
        assert_recalls(fixture, forkers[i].name, NOTE);
}

/* Each fork either is whole or has never been. */
static void test_delete_while_forking(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    for (int round = 0; round < 5; round++) {
        struct actor forkers[8];
        struct error err = {0};
        struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, NULL);
        forkers_start(fixture, forkers, 8, made.id);
        assert_ok(snapshot_delete(fixture->host, made.id, &err), &err);
        for (int i = 0; i < 8; i++) {
            if (actor_join(&forkers[i]) < 0) {
                assert_fails(forkers[i].result, &forkers[i].err, ERROR_NOT_FOUND, made.id);
                assert_true(instance_get(fixture->host, forkers[i].name, NULL, &err) < 0);
                continue;
            }
            assert_recalls(fixture, forkers[i].name, NOTE);
            discard(fixture, forkers[i].name);
        }
    }
    assert_no_snapshots(fixture);
}

/* Operations that take instance and snapshot locks in every combination, many times. */
static int restore_often(struct actor *actor, struct error *err)
{
    const struct snapshot_target asleep = target(INSTANCE_STANDBY);
    int r = 0;
    for (int i = 0; i < 10 && r == 0; i++)
        r = snapshot_restore(actor->fixture->host, "source", actor->source, &asleep, NULL, err);
    return r;
}

static int create_often(struct actor *actor, struct error *err)
{
    const struct snapshot_create_request request = {.kind = INSTANCE_STANDBY};
    int r = 0;
    for (int i = 0; i < 10 && r == 0; i++) {
        struct snapshot_record record;
        r = snapshot_create(actor->fixture->host, "source", &request, &record, err);
        if (r == 0)
            r = snapshot_delete(actor->fixture->host, record.id, err);
    }
    return r;
}

static void test_everything_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct actor others[] = {{.fixture = fixture, .run = restore_often},
                             {.fixture = fixture, .run = create_often}};
    struct actor forkers[8];
    sleeping_source(fixture);
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, NULL);
    others[0].source = made.id;
    crowd_start(others, ARRAY_SIZE(others));
    forkers_start(fixture, forkers, 8, made.id);
    crowd_join(others, ARRAY_SIZE(others));
    crowd_join(forkers, 8);
    for (int i = 0; i < 8; i++)
        assert_recalls(fixture, forkers[i].name, NOTE);
    wake(fixture, "source");
    assert_recalls(fixture, "source", NOTE);
    assert_int_equal(snapshot_stat(fixture, made.id, MEMORY_FILE).st_nlink, 10);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_create_of_standby),
    FIXTURE_TEST(test_create_of_running),
    FIXTURE_TEST(test_create_of_stopped),
    FIXTURE_TEST(test_targets_of_a_standby_snapshot),
    FIXTURE_TEST(test_every_order_of_delete),
    FIXTURE_TEST(test_restore_in_place),
    FIXTURE_TEST(test_restore_in_place_changes_the_state),
    FIXTURE_TEST(test_snapshot_of_a_fork_that_never_ran),
    FIXTURE_TEST(test_what_can_not_be_created),
    FIXTURE_TEST(test_what_can_not_be_made_of_it),
    FIXTURE_TEST(test_tags),
    FIXTURE_TEST(test_list),
    FIXTURE_TEST(test_forks_really_run_at_once),
    FIXTURE_TEST(test_delete_while_forking),
    FIXTURE_TEST(test_everything_at_once),
};
FIXTURE_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of a Running instance that runs on while its memory is written, by a VM of its
 * template. */
#include "crowd.h"
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "events/events.h"
#include "instance/host.h"
#include "instance/proc.h"
#include "listing.h"
#include "processes.h"

#define MEMORY_FILE GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY
#define PACKED_FILE MEMORY_FILE ".zst"
#define ACTORS      12
#define PATIENCE_MS 20000
#define WAITS       "children wait /snapshot/create\n"

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

/* It has a base. */
static struct instance_record restored_source(struct fixture *fixture)
{
    struct error err = {0};
    fixture_create(fixture, "source");
    assert_ok(instance_standby(fixture->host, "source", NULL, &err), &err);
    assert_ok(instance_restore(fixture->host, "source", NULL, &err), &err);
    guest_remember(fixture, "source", "note");
    pattern(fixture, "source", "fill", 1);
    return fixture_get(fixture, "source");
}

static int try_snapshot(struct fixture *fixture, struct error *err)
{
    const struct snapshot_create_request request = {.kind = INSTANCE_STANDBY, .name = "new"};
    return snapshot_create(fixture->host, "source", &request, NULL, err);
}

static size_t count_snapshots(struct fixture *fixture)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(snapshot_list(fixture->host, &all, &records, &count, &err), &err);
    return count;
}

/* What is made of it has what the source had. */
static void assert_captured(struct fixture *fixture, const char *id)
{
    const struct snapshot_target awake = {.has_state = false};
    struct error err = {0};
    assert_ok(snapshot_fork(fixture->host, id, "check", &awake, NULL, &err), &err);
    assert_recalls(fixture, "check", "note");
    pattern(fixture, "check", "check", 1);
    assert_ok(instance_delete(fixture->host, "check", &err), &err);
}

static char *requests_of(const char *path)
{
    char *requests = NULL;
    struct error err = {0};
    size_t length;
    assert_ok(file_read_all(AT_FDCWD, path, 1 << 20, &requests, &length, &err), &err);
    return requests;
}

static unsigned count_in(const char *text, const char *what)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        count++;
    return count;
}

static unsigned count_requests(const struct fixture *fixture, const char *id, const char *what)
{
    const struct path path = guest_path(fixture, id, "log/requests");
    _cleanup_(free) char *requests = requests_of(path.text);
    return count_in(requests, what);
}

static void assert_tidy(const struct fixture *fixture)
{
    _cleanup_(free) char *names = listing(fixture->dir);
    assert_null(strstr(names, ".tine-tmp-"));
}

/* ---- while it is written ---- */

/* The directory of the VM that has been told to save, and waits. */
static bool find_writer(const struct fixture *fixture, struct path *directory)
{
    char pattern_text[160];
    glob_t found;
    bool there = false;
    snprintf(pattern_text, sizeof(pattern_text), "%s/snapshots/*.tine-tmp-*/log/requests",
             fixture->data);
    if (glob(pattern_text, 0, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc && !there; i++) {
        _cleanup_(free) char *requests = requests_of(found.gl_pathv[i]);
        there = strstr(requests, "/snapshot/create") != NULL;
        snprintf(directory->text, sizeof(directory->text), "%.*s",
                 (int)(strlen(found.gl_pathv[i]) - strlen("/log/requests")), found.gl_pathv[i]);
    }
    globfree(&found);
    return there;
}

static struct path await_writer(const struct fixture *fixture)
{
    struct path directory;
    for (unsigned i = 0; !find_writer(fixture, &directory); i++) {
        assert_true(i < PATIENCE_MS);
        time_sleep_ms(1);
    }
    return directory;
}

static void let_write(const struct path *directory)
{
    char orders[300];
    snprintf(orders, sizeof(orders), "%s/fake-vmm", directory->text);
    assert_int_equal(unlink(orders), 0);
}

/* A snapshot is asked for, and its memory begins to be written. */
static struct path begin_snapshot(struct fixture *fixture, const struct instance_record *source,
                                  struct actor *actor)
{
    *actor = (struct actor){
        .fixture = fixture, .run = actor_snapshot, .source = "source", .name = "snapshot"};
    guest_orders(fixture, source->id, WAITS);
    actor_start(actor);
    struct path directory = await_writer(fixture);
    guest_orders(fixture, source->id, NULL);
    return directory;
}

static void end_snapshot(struct fixture *fixture, const struct path *directory, struct actor *actor)
{
    let_write(directory);
    crowd_join(actor, 1);
    assert_tidy(fixture);
    assert_captured(fixture, actor->snapshot.id);
}

static void assert_vmm(const struct fixture *fixture, const struct instance_record *source,
                       const char *expected)
{
    const struct hypervisor *hypervisor = host_hypervisor(fixture->host, source->hypervisor);
    const struct path directory = guest_path(fixture, source->id, "");
    const struct vm_spec spec = {.id = source->id, .guest_dir = directory.text};
    struct error err = {0};
    char state[16];
    assert_ok(hypervisor->query(hypervisor, &spec, state, &err), &err);
    assert_string_equal(state, expected);
}

/* It is neither asleep nor paused, and nobody holds it; nothing of what it does shows. */
static void test_source_runs(void **state)
{
    struct fixture *fixture = *state;
    struct actor actor;
    const struct instance_record source = running_source(fixture);
    const struct path directory = begin_snapshot(fixture, &source, &actor);
    assert_int_equal(lock_users(fixture->host->locks, source.id), 0);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_vmm(fixture, &source, "Running");
    assert_int_equal(count_snapshots(fixture), 0);
    guest_remember(fixture, "source", "later");
    pattern(fixture, "source", "fill", 2);
    assert_recalls(fixture, "source", "later");
    end_snapshot(fixture, &directory, &actor);
    assert_int_equal(count_requests(fixture, source.id, "/snapshot/"), 0);
    assert_int_equal(count_requests(fixture, source.id, "\"Paused\""), 1);
    assert_int_equal(fixture_get(fixture, "source").vmm_pid, source.vmm_pid);
    assert_absent(fixture, source.id, GUEST_BASE);
    pattern(fixture, "source", "check", 2);
}

static int stop(struct fixture *fixture, struct error *err)
{
    return instance_stop(fixture->host, "source", 0, NULL, err);
}
static int standby(struct fixture *fixture, struct error *err)
{
    return instance_standby(fixture->host, "source", NULL, err);
}
static int discard(struct fixture *fixture, struct error *err)
{
    return instance_delete(fixture->host, "source", err);
}
static int fork_it(struct fixture *fixture, struct error *err)
{
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    return instance_fork(fixture->host, "source", &request, NULL, err);
}

/* What is told of the snapshot says what has become of its source. */
static void assert_told(struct events_reader *reader, const char *state)
{
    struct event event = {.sequence = 0};
    uint64_t lost;
    while (strcmp(event.kind, "snapshot") != 0)
        assert_int_equal(events_next(reader, &event, &lost), 1);
    assert_string_equal(event.result, "ok");
    assert_string_equal(event.state, state);
}

/* Whatever becomes of the source meanwhile, be it booted or restored. */
static void test_source_goes(void **state)
{
    static const struct {
        int (*run)(struct fixture *, struct error *);
        const char *state;
    } fates[] = {{stop, "Stopped"}, {standby, "Standby"}, {fork_it, "Running"}, {discard, ""}};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(fates); i++) {
        struct actor actor;
        struct error err = {0};
        const struct instance_record source =
            i % 2 ? restored_source(fixture) : running_source(fixture);
        const struct path directory = begin_snapshot(fixture, &source, &actor);
        struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
        assert_ok(fates[i / 2].run(fixture, &err), &err);
        let_write(&directory);
        crowd_join(&actor, 1);
        assert_told(&reader, fates[i / 2].state);
        assert_tidy(fixture);
        assert_captured(fixture, actor.snapshot.id);
        fixture_delete_instances(fixture);
        assert_captured(fixture, actor.snapshot.id);
        assert_ok(snapshot_delete(fixture->host, actor.snapshot.id, &err), &err);
    }
}

/* ---- many at once ---- */

/* One template for all, and one image for all snapshots of it. */
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
    assert_tidy(fixture);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_int_equal(count_requests(fixture, source.id, "PUT /template"), 1);
    assert_int_equal(count_requests(fixture, source.id, "\"Paused\""), 1);
    const struct stat first = snapshot_stat(fixture, actors[0].snapshot.id, MEMORY_FILE);
    assert_int_equal(first.st_nlink, ACTORS / 2);
    for (int i = 0; i < ACTORS / 2; i++) {
        const struct snapshot_record *made = &actors[i].snapshot;
        assert_int_equal(snapshot_stat(fixture, made->id, MEMORY_FILE).st_ino, first.st_ino);
        assert_int_equal(made->size_bytes, actors[0].snapshot.size_bytes);
        assert_string_equal(made->source.cache_key, actors[0].snapshot.source.cache_key);
    }
    for (int i = ACTORS / 2; i < ACTORS; i++)
        assert_recalls(fixture, actors[i].name, "note");
    assert_captured(fixture, actors[0].snapshot.id);
    assert_captured(fixture, actors[ACTORS / 2 - 1].snapshot.id);
}

/* ---- what is known of it ---- */

static void test_row(void **state)
{
    static const char *const files[] = {MEMORY_FILE,   GUEST_SNAPSHOT "/" SNAPSHOT_STATE,
                                        GUEST_KERNEL,  GUEST_INITRD,
                                        "disks/1.img", "disks/0.img"};
    struct fixture *fixture = *state;
    struct error err = {0};
    struct snapshot_record read;
    const struct instance_record source = running_source(fixture);
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "warm");
    uint64_t size = 0;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        size += (uint64_t)snapshot_stat(fixture, made.id, files[i]).st_size;
    assert_int_equal(made.size_bytes, size);
    assert_int_equal(snapshot_stat(fixture, made.id, MEMORY_FILE).st_nlink, 1);
    assert_int_equal(snapshot_stat(fixture, made.id, "disks/0.img.1").st_ino,
                     guest_stat(fixture, source.id, "disks/0.img.1").st_ino);
    fixture_reopen(fixture);
    assert_ok(snapshot_get(fixture->host, made.id, &read, &err), &err);
    assert_string_equal(read.source.id, source.id);
    assert_int_equal(read.kind, INSTANCE_STANDBY);
    assert_int_equal(read.size_bytes, size);
    assert_int_equal(read.source.memory_layers, 0);
    assert_true(read.source.cache_key[0] != '\0');
    assert_string_equal(read.compression, "");
    assert_captured(fixture, made.id);
}

static void await_packed(struct fixture *fixture, const char *id)
{
    struct snapshot_record record = {.compression_status = {.state = COMPRESSION_NONE}};
    for (unsigned i = 0; record.compression_status.state != COMPRESSION_DONE; i++) {
        struct error err = {0};
        assert_true(i < PATIENCE_MS);
        assert_ok(snapshot_get(fixture->host, id, &record, &err), &err);
        time_sleep_ms(1);
    }
}

/* Its image is its own, so it is compressed at once; for that it is no layer over a base that it
 * would share. */
static void test_compressed(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct stack_compression zstd = {STACK_ZSTD, 1};
    const struct snapshot_create_request request = {
        .kind = INSTANCE_STANDBY, .has_compression = true, .compression = &zstd};
    struct snapshot_record made;
    running_source(fixture);
    fixture->standby_memory = STANDBY_AUTO;
    fixture_reopen(fixture);
    assert_ok(standby(fixture, &err), &err);
    assert_ok(instance_restore(fixture->host, "source", NULL, &err), &err);
    assert_ok(snapshot_create(fixture->host, "source", &request, &made, &err), &err);
    assert_string_equal(made.compression, "zstd:1");
    assert_int_equal(made.source.memory_layers, 0);
    await_packed(fixture, made.id);
    assert_true(snapshot_stat(fixture, made.id, PACKED_FILE).st_size > 0);
    assert_captured(fixture, made.id);
}

/* ---- failures ---- */

static void assert_nothing_happened(struct fixture *fixture)
{
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_recalls(fixture, "source", "note");
    pattern(fixture, "source", "check", 1);
    assert_int_equal(count_snapshots(fixture), 0);
    assert_tidy(fixture);
}

/* A full disk, a VMM that refuses, ends or talks nonsense, a template that ends: the source runs
 * on, and there is no snapshot. */
static void test_failures(void **state)
{
    static const struct {
        const char *orders;
        int errnum;        /* 0: any */
        const char *words; /* of the message */
    } cases[] = {
        {"children full /snapshot/create no space", ENOSPC, "no space"},
        {"children refuse /snapshot/create no", 0, "save the memory of source"},
        {"children die /snapshot/create boom", 0, "save the memory of source"},
        {"children garbage /snapshot/create", 0, "save the memory of source"},
        {"children short-memory", 0, "save the memory of source"},
        {"template-dies born", 0, ""},
        {"template-dies asked", 0, ""},
        {"template-dies bearing", 0, ""},
    };
    struct fixture *fixture = *state;
    struct instance_record source = running_source(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {0};
        guest_orders(fixture, source.id, cases[i].orders);
        int r = try_snapshot(fixture, &err);
        if (r == 0)
            print_error("no failure: %s\n", cases[i].orders);
        assert_true(cases[i].errnum ? r == -cases[i].errnum : r < 0);
        assert_non_null(strstr(err.message, cases[i].words));
        guest_orders(fixture, source.id, NULL);
        assert_nothing_happened(fixture);
    }
    struct snapshot_record made = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "new");
    assert_captured(fixture, made.id);
    assert_no_vm_left(fixture);
}

static void kill_vmm_in(const struct path *directory)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    struct error err = {0};
    struct stat st;
    size_t count, killed = 0;
    assert_int_equal(stat(directory->text, &st), 0);
    assert_ok(proc_vmms(&vmms, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        if (vmms[i].device == st.st_dev && vmms[i].inode == st.st_ino) {
            assert_int_equal(kill(vmms[i].pid, SIGKILL), 0);
            killed++;
        }
    }
    assert_int_equal(killed, 1);
}

/* The VM that writes is killed half way. */
static void test_writer_killed(void **state)
{
    struct fixture *fixture = *state;
    struct actor actor;
    struct instance_record source = running_source(fixture);
    const struct path directory = begin_snapshot(fixture, &source, &actor);
    kill_vmm_in(&directory);
    assert_true(actor_join(&actor) < 0);
    assert_non_null(strstr(actor.err.message, "save the memory of source, which runs"));
    assert_nothing_happened(fixture);
    assert_no_vm_left(fixture);
}

/* The first one's failure is not the others': each tries for itself. */
static void test_many_failures(void **state)
{
    struct fixture *fixture = *state;
    const struct actor snapshot = {.fixture = fixture, .run = actor_snapshot, .source = "source"};
    struct actor actors[ACTORS / 2];
    struct instance_record source = running_source(fixture);
    guest_orders(fixture, source.id, "children full /snapshot/create no space");
    crowd_fill(actors, ACTORS / 2, &snapshot);
    crowd_start_together(actors, ACTORS / 2, &source);
    for (int i = 0; i < ACTORS / 2; i++)
        assert_int_equal(actor_join(&actors[i]), -ENOSPC);
    guest_orders(fixture, source.id, NULL);
    assert_nothing_happened(fixture);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_source_runs),   FIXTURE_TEST(test_source_goes),   FIXTURE_TEST(test_many),
    FIXTURE_TEST(test_row),           FIXTURE_TEST(test_compressed),    FIXTURE_TEST(test_failures),
    FIXTURE_TEST(test_writer_killed), FIXTURE_TEST(test_many_failures),
};
FIXTURE_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* tined killed at every step of every operation: this program runs the operation in a child that a
 * failpoint kills, opens the host again, and looks. */
#include "disk_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "instance/warm.h"
#include "listing.h"

#define NOTE  "remember me"
#define LATER "remembered after the snapshot"
#define DISK  "on the disk"

extern char **environ;

struct scenario {
    const char *name; /* what the child does */
    enum instance_state from;
    bool new_instance;    /* "new" may be there afterwards, whole, or not at all */
    const char *outcomes; /* of "web": first letters of states ('B' is Standby), 'x' deleted */
    const char *failpoints;
    bool cold;     /* its snapshot is of kind Stopped, whatever web's state */
    bool packed;   /* web's memory is compressed */
    bool restored; /* web has a retained base */
    bool shared;   /* and a snapshot has it too */
    bool naps;     /* web can't be forked live */
};

#define PUBLISH "stack-publish-before-rename stack-publish-after-rename "
#define BOOT    "boot-prepared boot-launched boot-recorded boot-ready boot-program "
#define RESTORE                                                                         \
    "restore-prepared restore-loaded restore-recorded restore-renamed restore-resumed " \
    "restore-told "

#define LIVE                                                                     \
    "live-paused live-sealed live-prepared live-made fork-reserved fork-linked " \
    "fork-published " PUBLISH "live-child live-resumed live-recorded "
#define CAPTURE                                                                  \
    "live-paused live-sealed live-prepared live-made capture-linked live-child " \
    "capture-prepared standby-saved capture-written snapshot-memory "
#define SNAPSHOT "snapshot-linked snapshot-recorded snapshot-published "
#define REPLACE                                                                     \
    "snapshot-restore-linked snapshot-restore-recorded stack-exchange-before-sync " \
    "snapshot-restore-exchanged "
#define REACHED "snapshot-restore-reached "
#define PACK                                                    \
    "stack-pack-data stack-pack-sync stack-pack-before-rename " \
    "stack-pack-after-rename stack-pack-before-unlink stack-pack-after-unlink "
#define EXPAND                                                                     \
    "expand-begun stack-expand-data stack-expand-sync stack-expand-before-rename " \
    "stack-expand-after-rename stack-expand-before-unlink expand-done "

static const struct scenario scenarios[] = {
    {"create", INSTANCE_RUNNING, true, "R",
     "create-reserved create-copied create-published " PUBLISH BOOT},
    {"start", INSTANCE_STOPPED, false, "TR", BOOT},
    {"stop", INSTANCE_RUNNING, false, "T", "stop-asked stop-killed "},
    {"standby", INSTANCE_RUNNING, false, "RB",
     "standby-paused standby-saved standby-synced standby-published standby-recorded "
     "standby-killed " PUBLISH},
    {"standby", INSTANCE_RUNNING, false, "RB",
     "merge-unshared merge-moved standby-paused standby-saved standby-synced standby-published "
     "standby-recorded standby-killed " PUBLISH,
     .restored = true},
    {"standby", INSTANCE_RUNNING, false, "RB",
     "stack-share-sync stack-unshare-before-rename stack-unshare-after-rename merge-unshared "
     "merge-moved standby-saved ",
     .restored = true, .shared = true},
    {"fork", INSTANCE_RUNNING, true, "RB", "merge-moved standby-saved standby-killed fork-linked ",
     .restored = true, .naps = true},
    {"restore", INSTANCE_STANDBY, false, "RB", RESTORE},
    {"fork", INSTANCE_STANDBY, true, "B",
     "fork-reserved fork-linked fork-published " PUBLISH RESTORE},
    {"fork", INSTANCE_STOPPED, true, "T", "fork-reserved fork-linked fork-published " BOOT},
    {"fork", INSTANCE_RUNNING, true, "RB",
     "standby-paused standby-published standby-killed fork-reserved fork-linked "
     "fork-published " RESTORE,
     .naps = true},
    {"fork", INSTANCE_RUNNING, true, "R", LIVE},
    {"fork", INSTANCE_RUNNING, true, "R", LIVE, .restored = true},
    {"delete", INSTANCE_STANDBY, false, "xB", "delete-killed delete-renamed delete-forgotten "},
    {"delete", INSTANCE_RUNNING, false, "xT", "delete-killed delete-renamed delete-forgotten "},
    {"snapshot-create", INSTANCE_STANDBY, false, "B", SNAPSHOT PUBLISH},
    {"snapshot-create", INSTANCE_STOPPED, false, "T", SNAPSHOT PUBLISH},
    {"snapshot-create", INSTANCE_RUNNING, false, "RB",
     "standby-paused standby-published standby-killed " SNAPSHOT RESTORE, .naps = true},
    {"snapshot-create", INSTANCE_RUNNING, false, "R", CAPTURE SNAPSHOT PUBLISH},
    {"snapshot-create", INSTANCE_RUNNING, false, "R",
     "live-made capture-linked live-child capture-prepared standby-saved snapshot-memory ",
     .restored = true},
    {"snapshot-delete", INSTANCE_STANDBY, false, "B", "delete-renamed delete-forgotten "},
    {"snapshot-fork", INSTANCE_STANDBY, true, "B",
     "fork-reserved fork-linked fork-published " PUBLISH RESTORE},
    {"snapshot-fork", INSTANCE_STOPPED, true, "T",
     "fork-reserved fork-linked fork-published " BOOT},
    {"snapshot-restore", INSTANCE_STANDBY, false, "BR", REPLACE RESTORE REACHED},
    {"snapshot-restore", INSTANCE_STOPPED, false, "TR", REPLACE BOOT REACHED},
    {"snapshot-restore", INSTANCE_STANDBY, false, "BTR", REPLACE BOOT REACHED, .cold = true},
    {"compress", INSTANCE_RUNNING, false, "B", PACK},
    {"restore", INSTANCE_STANDBY, false, "BR", EXPAND RESTORE, .packed = true},
    {"fork", INSTANCE_STANDBY, true, "B", EXPAND "fork-linked ", .packed = true},
    {"snapshot-create", INSTANCE_STANDBY, false, "B", EXPAND SNAPSHOT, .packed = true},
    {"delete", INSTANCE_STANDBY, false, "xB", "delete-killed delete-renamed delete-forgotten ",
     .packed = true},
    {"warm", INSTANCE_STANDBY, false, "B",
     "warm-linked warm-loaded warm-template live-child warm-parked "},
    {"fork-ready", INSTANCE_STANDBY, true, "B",
     "fork-reserved warm-taken warm-published " PUBLISH "live-resumed live-recorded "},
};

static struct fixture *child_fixture(char **argv)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->dir, sizeof(fixture->dir), "%s", argv[3]);
    snprintf(fixture->data, sizeof(fixture->data), "%s/data", argv[3]);
    snprintf(fixture->kit, sizeof(fixture->kit), "%s/kit", argv[3]);
    snprintf(fixture->writable, sizeof(fixture->writable), "%s/writable", argv[3]);
    snprintf(fixture->read_only, sizeof(fixture->read_only), "%s/read_only", argv[3]);
    fixture->vmm = argv[1];
    fixture->saving = HYPERVISOR_SAVES_MERGED;
    fixture->standby_memory = STANDBY_MERGE;
    return fixture;
}

/* The first of them, if there is one. */
static bool find_snapshot(struct fixture *fixture, struct snapshot_record *record)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(snapshot_list(fixture->host, &all, &records, &count, &err), &err);
    assert_true(count < 2);
    if (count > 0)
        *record = records[0];
    return count > 0;
}

static int run_on_snapshot(struct fixture *fixture, const char *name, struct error *err)
{
    const struct snapshot_target target = {.has_state = true, .state = INSTANCE_RUNNING};
    struct snapshot_record snapshot = {.id = ""};
    bool stopped = fixture_get(fixture, "web").state == INSTANCE_STOPPED;
    const struct snapshot_create_request create = {
        .kind = stopped ? INSTANCE_STOPPED : INSTANCE_STANDBY, .name = "new"};
    find_snapshot(fixture, &snapshot);
    if (strcmp(name, "snapshot-create") == 0)
        return snapshot_create(fixture->host, "web", &create, NULL, err);
    if (strcmp(name, "snapshot-fork") == 0)
        return snapshot_fork(fixture->host, snapshot.id, "new", &target, NULL, err);
    if (strcmp(name, "snapshot-restore") == 0)
        return snapshot_restore(fixture->host, "web", snapshot.id, &target, NULL, err);
    return snapshot_delete(fixture->host, snapshot.id, err);
}

/* Until nothing is being compressed any more: then what is there is all there is. */
static void await_compression(struct fixture *fixture)
{
    struct instance_record record;
    while (instance_get(fixture->host, "web", &record, NULL) == 0 &&
           record.compression_status.state == COMPRESSION_RUNNING)
        time_sleep_ms(5);
}

static int compress(struct fixture *fixture, struct error *err)
{
    const struct stack_compression zstd = {STACK_ZSTD, 1};
    const struct standby_options options = {.has_compression = true, .compression = &zstd};
    int r = instance_standby_with(fixture->host, "web", &options, NULL, err);
    if (r == 0)
        await_compression(fixture);
    return r;
}

static int warm(struct fixture *fixture, struct error *err)
{
    struct warm_status status = {.ready = 0};
    int r = instance_warm(fixture->host, "web", 2, NULL, err);
    while (r == 0 && strcmp(status.state, WARM_READY) != 0) {
        time_sleep_ms(5);
        status = fixture_get(fixture, "web").warm;
    }
    return r;
}

/* The pool is made before the failpoint counts. */
static int fork_ready(struct fixture *fixture, const struct instance_fork_request *request,
                      struct error *err)
{
    _cleanup_(free) char *failpoint = strdup(getenv("TINE_FAILPOINT"));
    setenv("TINE_FAILPOINT", "", 1);
    int r = warm(fixture, err);
    setenv("TINE_FAILPOINT", failpoint, 1);
    return r < 0 ? r : instance_fork(fixture->host, "web", request, NULL, err);
}

static int run_operation(struct fixture *fixture, const char *name, struct error *err)
{
    if (strncmp(name, "snapshot-", strlen("snapshot-")) == 0)
        return run_on_snapshot(fixture, name, err);
    const struct instance_create_request create = fixture_request(fixture, "new");
    const struct instance_fork_request fork = {
        .name = "new", .from_running = true, .has_target = true, .target = INSTANCE_RUNNING};
    if (strcmp(name, "create") == 0)
        return instance_create(fixture->host, &create, NULL, err);
    if (strcmp(name, "start") == 0)
        return instance_start(fixture->host, "web", NULL, err);
    if (strcmp(name, "stop") == 0)
        return instance_stop(fixture->host, "web", 0, NULL, err);
    if (strcmp(name, "standby") == 0)
        return instance_standby(fixture->host, "web", NULL, err);
    if (strcmp(name, "compress") == 0)
        return compress(fixture, err);
    if (strcmp(name, "restore") == 0)
        return instance_restore(fixture->host, "web", NULL, err);
    if (strcmp(name, "fork") == 0)
        return instance_fork(fixture->host, "web", &fork, NULL, err);
    if (strcmp(name, "fork-ready") == 0)
        return fork_ready(fixture, &fork, err);
    if (strcmp(name, "warm") == 0)
        return warm(fixture, err);
    return instance_delete(fixture->host, "web", err);
}

/* argv: program, fake VMM, "child", directory, operation, failpoint. Never ends by itself: the
 * failpoint is not reached if it does. */
static int child_main(char **argv)
{
    struct fixture *fixture = child_fixture(argv);
    struct error err = {0};
    log_set_level(LOG_LEVEL_ERROR);
    fixture->host = fixture_host(fixture, &err);
    if (fixture->host) {
        setenv("TINE_FAILPOINT", argv[5], 1);
        run_operation(fixture, argv[4], &err);
        host_close(fixture->host); /* a job in the background may be on its last steps */
    }
    fprintf(stderr, "%s was not killed at %s: %s\n", argv[4], argv[5], err.message);
    return 1;
}

static void crash(struct fixture *fixture, const char *operation, const char *failpoint)
{
    char *const argv[] = {(char *)"test_crash",
                          (char *)fixture->vmm,
                          (char *)"child",
                          fixture->dir,
                          (char *)operation,
                          (char *)failpoint,
                          NULL};
    child_is_killed(argv);
}

static char letter_of(struct fixture *fixture, const char *reference)
{
    static const char letters[] = {
        [INSTANCE_CREATED] = 'C', [INSTANCE_INITIALIZING] = 'I', [INSTANCE_RUNNING] = 'R',
        [INSTANCE_PAUSED] = 'P',  [INSTANCE_SHUTDOWN] = 'S',     [INSTANCE_STOPPED] = 'T',
        [INSTANCE_STANDBY] = 'B', [INSTANCE_UNKNOWN] = 'U',
    };
    struct instance_record record;
    struct error err = {0};
    if (instance_get(fixture->host, reference, &record, &err) < 0) {
        assert_int_equal(err.code, ERROR_NOT_FOUND);
        return 'x';
    }
    if (record.state == INSTANCE_INITIALIZING) {
        fixture_await(fixture, reference, INSTANCE_RUNNING);
        return 'R';
    }
    return letters[record.state];
}

/* It runs, or can be made to; with the note that it must still have. */
static void assert_works(struct fixture *fixture, const char *reference, const char *note)
{
    struct error err = {0};
    char letter = letter_of(fixture, reference);
    if (letter == 'B')
        assert_ok(instance_restore(fixture->host, reference, NULL, &err), &err);
    else if (letter == 'T')
        assert_ok(instance_start(fixture->host, reference, NULL, &err), &err);
    assert_recalls(fixture, reference, letter == 'T' ? "" : note);
    assert_ok(instance_standby(fixture->host, reference, NULL, &err), &err);
    assert_ok(instance_restore(fixture->host, reference, NULL, &err), &err);
    assert_recalls(fixture, reference, letter == 'T' ? "" : note);
}

static void assert_disk(struct fixture *fixture, const char *reference, const char *text)
{
    const struct instance_record record = fixture_get(fixture, reference);
    const struct path disks = guest_path(fixture, record.id, "disks");
    disk_assert_text(&disks, text);
}

/* If there is one, it is whole: it makes an instance that remembers what it should. */
static void assert_snapshot_works(struct fixture *fixture, const char *note)
{
    const struct snapshot_target target = {.has_state = true, .state = INSTANCE_RUNNING};
    struct snapshot_record snapshot;
    struct error err = {0};
    if (!find_snapshot(fixture, &snapshot))
        return;
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "check", &target, NULL, &err), &err);
    assert_recalls(fixture, "check", snapshot.kind == INSTANCE_STOPPED ? "" : note);
    assert_ok(instance_delete(fixture->host, "check", &err), &err);
}

/* After a restore in place was cut short: what was, or what is captured. */
static const char *note_of_web(struct fixture *fixture)
{
    static const char *const notes[] = {LATER, NOTE};
    struct error err = {0};
    char letter = letter_of(fixture, "web");
    if (letter == 'T')
        return "";
    if (letter == 'B')
        assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    _cleanup_(free) char *text = guest_run(fixture, "web", "recall", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
        if (strcmp(text, notes[i]) == 0)
            return notes[i];
    }
    return "";
}

/* For those operations that use one: it has something else than the instance. */
static void prepare_snapshot(struct fixture *fixture, const struct scenario *scenario)
{
    struct error err = {0};
    bool asleep = scenario->from == INSTANCE_STANDBY;
    if (asleep && scenario->cold) {
        assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
        assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    }
    fixture_snapshot(fixture, "web", scenario->cold ? INSTANCE_STOPPED : scenario->from, "old");
    if (!asleep)
        return;
    if (scenario->cold)
        assert_ok(instance_start(fixture->host, "web", NULL, &err), &err);
    else
        assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    guest_remember(fixture, "web", LATER);
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
}

static void prepare(struct fixture *fixture, enum instance_state state, bool packed)
{
    struct error err = {0};
    const struct instance_record web = fixture_create(fixture, "web");
    disk_write_text(fixture, web.id, DISK);
    guest_remember(fixture, "web", NOTE);
    if (packed)
        assert_ok(compress(fixture, &err), &err);
    else if (state == INSTANCE_STANDBY)
        assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    else if (state == INSTANCE_STOPPED)
        assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
}

static void prepare_base(struct fixture *fixture, bool shared)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    if (shared)
        fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "old");
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    guest_remember(fixture, "web", LATER);
    guest_remember(fixture, "web", NOTE);
}

static bool uses_snapshot(const struct scenario *scenario)
{
    return strncmp(scenario->name, "snapshot-", strlen("snapshot-")) == 0 &&
           strcmp(scenario->name, "snapshot-create") != 0;
}

static void check(struct fixture *fixture, const struct scenario *scenario, const char *failpoint)
{
    const char *note = scenario->from == INSTANCE_STOPPED ? "" : NOTE;
    _cleanup_(free) char *names = listing(fixture->dir);
    char letter = letter_of(fixture, "web");
    if (strstr(names, ".tine-tmp-") || !strchr(scenario->outcomes, letter))
        print_error("%s killed at %s: web is %c, and:\n%s", scenario->name, failpoint, letter,
                    names);
    assert_null(strstr(names, ".tine-tmp-"));
    assert_non_null(strchr(scenario->outcomes, letter));
    bool has_new = letter_of(fixture, "new") != 'x';
    assert_true(!has_new || scenario->new_instance);
    bool used = uses_snapshot(scenario);
    /* No VM was lost, and nobody is told so. */
    if (strstr(failpoint, "snapshot-restore-"))
        assert_string_equal(fixture_get(fixture, "web").exit_message, "");
    assert_snapshot_works(fixture, note);
    bool created = strcmp(scenario->name, "create") == 0;
    if (has_new && !created)
        assert_disk(fixture, "new", DISK);
    if (has_new)
        assert_works(fixture, "new", created ? "" : note);
    if (used && scenario->from == INSTANCE_STANDBY)
        note = strcmp(scenario->name, "snapshot-restore") == 0 ? note_of_web(fixture) : LATER;
    if (letter == 'x')
        return;
    assert_disk(fixture, "web", DISK);
    assert_works(fixture, "web", note);
}

/* What the wish is made anew of has no part in what was left behind. */
static void end_warm(struct fixture *fixture)
{
    struct error err = {0};
    struct warm_status status;
    assert_ok(instance_warm(fixture->host, "web", 0, &status, &err), &err);
    assert_int_equal(status.wanted, 0);
}

static bool keeps_warm(const struct scenario *scenario)
{
    return strcmp(scenario->name, "warm") == 0 || strcmp(scenario->name, "fork-ready") == 0;
}

static void clear(struct fixture *fixture)
{
    struct error err = {0};
    static const char *const names[] = {"web", "new"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int r = instance_delete(fixture->host, names[i], &err);
        assert_true(r == 0 || r == -ENOENT);
    }
    struct snapshot_record snapshot;
    if (find_snapshot(fixture, &snapshot))
        assert_ok(snapshot_delete(fixture->host, snapshot.id, &err), &err);
}

static void test_every_step_of_every_operation(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        char points[512], *saved = NULL;
        snprintf(points, sizeof(points), "%s", scenarios[i].failpoints);
        for (char *name = strtok_r(points, " ", &saved); name; name = strtok_r(NULL, " ", &saved)) {
            prepare(fixture, scenarios[i].from, scenarios[i].packed);
            if (scenarios[i].naps)
                guest_orders(fixture, fixture_get(fixture, "web").id, "no-templates");
            if (scenarios[i].restored)
                prepare_base(fixture, scenarios[i].shared);
            if (uses_snapshot(&scenarios[i]))
                prepare_snapshot(fixture, &scenarios[i]);
            fixture_close(fixture);
            crash(fixture, scenarios[i].name, name);
            fixture_open(fixture);
            await_compression(fixture);
            if (keeps_warm(&scenarios[i]))
                end_warm(fixture);
            check(fixture, &scenarios[i], name);
            clear(fixture);
        }
    }
}

/* The same while tined, come back, is killed again before it has looked at all. */
static void test_crash_twice(void **state)
{
    struct fixture *fixture = *state;
    static const char *const points[] = {"standby-published", "standby-recorded", "standby-killed"};
    for (size_t i = 0; i < 2 * ARRAY_SIZE(points); i++) {
        prepare(fixture, INSTANCE_RUNNING, false);
        if (i % 2)
            prepare_base(fixture, false);
        fixture_close(fixture);
        crash(fixture, "standby", points[i / 2]);
        crash(fixture, "restore", "restore-renamed");
        fixture_open(fixture);
        assert_works(fixture, "web", NOTE);
        clear(fixture);
    }
}

/* The VM whose disks were sealed for a fork that never came goes on over what was sealed, and is
 * forked by the next tined. */
static void test_sealed_for_nobody(void **state)
{
    struct fixture *fixture = *state;
    static const char *const points[] = {"live-sealed", "live-prepared", "live-made"};
    const struct instance_fork_request request = {.name = "new", .from_running = true};
    struct instance_record new;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        prepare(fixture, INSTANCE_RUNNING, false);
        fixture_close(fixture);
        crash(fixture, "fork", points[i]);
        fixture_open(fixture);
        assert_int_equal(letter_of(fixture, "web"), 'R');
        const struct instance_record web = fixture_get(fixture, "web");
        assert_absent(fixture, web.id, "disks/0.img.2");
        assert_int_equal(guest_stat(fixture, web.id, "disks/0.img.1").st_nlink, 1);
        assert_ok(instance_fork(fixture->host, "web", &request, &new, &err), &err);
        assert_int_equal(guest_stat(fixture, web.id, "disks/0.img.1").st_nlink, 2);
        disk_write_text(fixture, web.id, "of web");
        disk_write_text(fixture, new.id, "of new");
        assert_disk(fixture, "web", "of web");
        assert_disk(fixture, "new", "of new");
        assert_recalls(fixture, "new", NOTE);
        clear(fixture);
    }
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_sealed_for_nobody),
    FIXTURE_TEST(test_every_step_of_every_operation),
    FIXTURE_TEST(test_crash_twice),
};

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[2], "child") == 0)
        return child_main(argv);
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

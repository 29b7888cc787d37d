/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept warm: forks that are ready before anybody asks for them. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "crowd.h"
#include "instance/warm.h"
#include "listing.h"
#include "pager/touch_record.h"
#include "processes.h"

#define AWAIT_MS   30000
#define READY      3
#define ROUNDS     20
#define BASE_FILE  GUEST_BASE "/" SNAPSHOT_MEMORY
#define IMAGE_FILE GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY

static struct instance_record sleeping_source(struct fixture *fixture)
{
    struct error err = {0};
    struct instance_record source = fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    assert_ok(instance_standby(fixture->host, "source", NULL, &err), &err);
    return source;
}

static struct warm_status status_of(struct fixture *fixture, const char *reference)
{
    return fixture_get(fixture, reference).warm;
}

static bool is_in(const struct warm_status *status, const char *state, unsigned ready)
{
    return strcmp(status->state, state) == 0 && status->ready == ready;
}

/* Waits for what the pool does by itself. */
static struct warm_status await(struct fixture *fixture, const char *reference, const char *state,
                                unsigned ready)
{
    const uint64_t deadline = time_after_ms(AWAIT_MS);
    struct warm_status status = status_of(fixture, reference);
    while (!is_in(&status, state, ready) && time_monotonic_ns() < deadline) {
        time_sleep_ms(5);
        status = status_of(fixture, reference);
    }
    if (!is_in(&status, state, ready))
        print_error("%s: %u ready, %s: %s\n", status.state, status.ready, reference, status.reason);
    assert_string_equal(status.state, state);
    assert_int_equal(status.ready, ready);
    return status;
}

static void warm(struct fixture *fixture, const char *reference, unsigned ready)
{
    struct error err = {0};
    assert_ok(instance_warm(fixture->host, reference, ready, NULL, &err), &err);
    if (ready > 0)
        await(fixture, reference, WARM_READY, ready);
}

/* Nothing of templates and ready forks is left. */
static void assert_tidy(const struct fixture *fixture)
{
    _cleanup_(free) char *names = listing(fixture->dir);
    assert_null(strstr(names, ".tine-tmp-"));
}

/* Their end follows that of their source. */
static void await_tidy(const struct fixture *fixture)
{
    const uint64_t deadline = time_after_ms(AWAIT_MS);
    bool tidy = false;
    while (!tidy && time_monotonic_ns() < deadline) {
        _cleanup_(free) char *names = listing(fixture->dir);
        tidy = !strstr(names, ".tine-tmp-");
        time_sleep_ms(5);
    }
    assert_tidy(fixture);
}

struct signalled {
    int signal;
    unsigned count;
};

static void send_signal(void *context, pid_t pid)
{
    struct signalled *signalled = context;
    signalled->count += kill(pid, signalled->signal) == 0;
}

/* How many templates and ready forks there are. Each gets the signal. */
static unsigned processes(const struct fixture *fixture, int signal)
{
    struct signalled signalled = {.signal = signal};
    temporary_each(fixture, send_signal, &signalled);
    return signalled.count;
}

/* A ready fork is an instance like any other: with its own identity and files, independent. */
static void test_taken(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record source = sleeping_source(fixture);
    warm(fixture, "source", READY);
    struct instance_record fork = fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    assert_int_equal(fork.state, INSTANCE_RUNNING);
    assert_string_equal(fork.parent_id, source.id);
    assert_string_equal(fork.memory_method, "link");
    assert_int_equal(fork.memory_bytes_copied + fork.disk_bytes_copied, 0);
    assert_false(guest_was_asked(fixture, fork.id, "/snapshot/load"));
    assert_int_equal(guest_stat(fixture, fork.id, BASE_FILE).st_ino,
                     guest_stat(fixture, source.id, IMAGE_FILE).st_ino);
    assert_absent(fixture, fork.id, GUEST_SNAPSHOT);
    assert_absent(fixture, fork.id, GUEST_BASE "/" SNAPSHOT_STATE);
    assert_int_equal(guest_stat(fixture, fork.id, "disks/0.img.top").st_nlink, 1);
    assert_recalls(fixture, "fork", "note");
    _cleanup_(free) char *hostname = guest_run(fixture, "fork", "hostname", NULL);
    assert_string_equal(hostname, "fork");
    struct warm_status status = await(fixture, "source", WARM_READY, READY);
    assert_int_equal(status.taken, 1);
    assert_int_equal(status.missed, 0);
    assert_true(status.pinned_bytes > 0);
    assert_ok(instance_delete(fixture->host, "source", &err), &err);
    await_tidy(fixture);
    guest_remember(fixture, "fork", "its own");
    assert_ok(instance_standby(fixture->host, "fork", NULL, &err), &err);
    assert_ok(instance_restore(fixture->host, "fork", NULL, &err), &err);
    assert_recalls(fixture, "fork", "its own");
}

/* While they wait the image is shared, for whoever looks (R2); when they are ended it is not. */
static void test_off(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    _cleanup_(free) char *before = listing(fixture->data);
    warm(fixture, "source", READY);
    assert_int_equal(guest_stat(fixture, source.id, IMAGE_FILE).st_nlink, 1 + 1 + READY);
    warm(fixture, "source", 1);
    assert_int_equal(guest_stat(fixture, source.id, IMAGE_FILE).st_nlink, 1 + 1 + 1);
    warm(fixture, "source", 0);
    _cleanup_(free) char *after = listing(fixture->data);
    assert_string_equal(after, before);
    assert_int_equal(status_of(fixture, "source").wanted, 0);
}

/* A fork that asks for something else, or finds none, is made as ever. */
static void test_cold(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    warm(fixture, "source", 1);
    fixture_fork(fixture, "source", "asleep", INSTANCE_STANDBY);
    fixture_fork(fixture, "source", "stopped", INSTANCE_STOPPED);
    assert_int_equal(status_of(fixture, "source").taken, 0);
    for (int i = 0; i < 2; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%d", i);
        fixture_fork(fixture, "source", name, INSTANCE_RUNNING);
        assert_recalls(fixture, name, "note");
    }
    struct warm_status status = await(fixture, "source", WARM_READY, 1);
    assert_int_equal(status.taken + status.missed, 2);
}

/* Many at once, more than there are, and one after the other. */
static void test_many(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct actor fork = {
        .fixture = fixture, .run = actor_fork, .source = "source", .target = INSTANCE_RUNNING};
    struct actor actors[8];
    sleeping_source(fixture);
    warm(fixture, "source", READY);
    crowd_fill(actors, ARRAY_SIZE(actors), &fork);
    crowd_start(actors, ARRAY_SIZE(actors));
    crowd_join(actors, ARRAY_SIZE(actors));
    for (size_t i = 0; i < ARRAY_SIZE(actors); i++)
        assert_recalls(fixture, actors[i].name, "note");
    for (int i = 0; i < ROUNDS; i++) {
        fixture_fork(fixture, "source", "again", INSTANCE_RUNNING);
        assert_recalls(fixture, "again", "note");
        assert_ok(instance_delete(fixture->host, "again", &err), &err);
    }
    struct warm_status status = await(fixture, "source", WARM_READY, READY);
    assert_true(status.taken >= READY);
    assert_int_equal(status.taken + status.missed, ARRAY_SIZE(actors) + ROUNDS);
}

/* A source that was awake has another image: forks are of that. */
static void test_other_image(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    sleeping_source(fixture);
    warm(fixture, "source", READY);
    assert_ok(instance_restore(fixture->host, "source", NULL, &err), &err);
    await(fixture, "source", WARM_AWAKE, 0);
    await_tidy(fixture);
    guest_remember(fixture, "source", "later");
    assert_ok(instance_standby(fixture->host, "source", NULL, &err), &err);
    fixture_fork(fixture, "source", "at-once", INSTANCE_RUNNING);
    assert_recalls(fixture, "at-once", "later");
    await(fixture, "source", WARM_READY, READY);
    fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    assert_recalls(fixture, "fork", "later");
    assert_true(status_of(fixture, "source").taken > 0);
}

static void test_snapshot(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    struct instance_record fork;
    struct snapshot_record snapshot;
    struct warm_status status;
    sleeping_source(fixture);
    snapshot = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "snap");
    assert_ok(instance_delete(fixture->host, "source", &err), &err);
    assert_ok(snapshot_warm(fixture->host, snapshot.id, READY, NULL, &err), &err);
    do {
        time_sleep_ms(5);
        assert_ok(snapshot_get(fixture->host, snapshot.id, &snapshot, &err), &err);
    } while (snapshot.warm.ready < READY);
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "fork", &running, &fork, &err), &err);
    assert_false(guest_was_asked(fixture, fork.id, "/snapshot/load"));
    assert_recalls(fixture, "fork", "note");
    assert_fails(snapshot_fork(fixture->host, snapshot.id, "fork", &running, NULL, &err), &err,
                 ERROR_NAME, "is taken");
    assert_ok(snapshot_get(fixture->host, snapshot.id, &snapshot, &err), &err);
    assert_int_equal(snapshot.warm.taken, 1); /* not for nothing */
    assert_ok(snapshot_warm(fixture->host, snapshot.id, 0, &status, &err), &err);
    assert_int_equal(status.wanted, 0);
    assert_tidy(fixture);
    assert_ok(snapshot_warm(fixture->host, snapshot.id, READY, NULL, &err), &err);
    assert_ok(snapshot_delete(fixture->host, snapshot.id, &err), &err);
    await_tidy(fixture);
}

static void test_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    sleeping_source(fixture);
    assert_fails(instance_warm(fixture->host, "source", WARM_READY_MAX + 1, NULL, &err), &err,
                 ERROR_INVALID, "at most 256");
    struct snapshot_record snapshot = fixture_snapshot(fixture, "source", INSTANCE_STANDBY, "snap");
    assert_fails(snapshot_warm(fixture->host, snapshot.id, WARM_READY_MAX + 1, NULL, &err), &err,
                 ERROR_INVALID, "at most 256");
    assert_fails(instance_warm(fixture->host, "nobody", 1, NULL, &err), &err, ERROR_NOT_FOUND,
                 "nobody");
    assert_ok(instance_restore(fixture->host, "source", NULL, &err), &err);
    assert_fails(instance_warm(fixture->host, "source", 1, NULL, &err), &err, ERROR_STATE,
                 "its state is Running");
    assert_ok(instance_stop(fixture->host, "source", 0, NULL, &err), &err);
    snapshot = fixture_snapshot(fixture, "source", INSTANCE_STOPPED, "cold");
    assert_fails(snapshot_warm(fixture->host, snapshot.id, 1, NULL, &err), &err, ERROR_STATE,
                 "has no memory");
    assert_ok(instance_warm(fixture->host, "source", 0, NULL, &err), &err);
}

/* Whoever is killed is made anew, and nothing is lost by it. */
static void test_killed(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    warm(fixture, "source", READY);
    assert_int_equal(processes(fixture, SIGKILL), READY + 1);
    for (int i = 0; i < READY; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%d", i);
        fixture_fork(fixture, "source", name, INSTANCE_RUNNING);
        assert_recalls(fixture, name, "note");
    }
    struct warm_status status = await(fixture, "source", WARM_READY, READY);
    assert_true(status.lost > 0);
    assert_string_equal(status.reason, "");
}

/* Taken, and then something fails before its first instruction: the fork is made as ever. */
static void test_fails_when_taken(void **state)
{
    static const char *const steps[] = {"warm-taken=ENOSPC", "warm-published=EIO",
                                        "stack-publish-after-rename=EIO"};
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct error err = {0};
        warm(fixture, "source", 1);
        setenv("TINE_FAILPOINT", steps[i], 1);
        int r = instance_fork(fixture->host, "source",
                              &(struct instance_fork_request){
                                  .name = "fork", .has_target = true, .target = INSTANCE_RUNNING},
                              NULL, &err);
        assert_int_equal(status_of(fixture, "source").taken, 1);
        warm(fixture, "source", 0);
        setenv("TINE_FAILPOINT", "", 1);
        assert_tidy(fixture);
        if (strncmp(steps[i], "warm-", 5) != 0) { /* what both ways have in common */
            assert_fails(r, &err, ERROR_SYSTEM, "publish");
            continue;
        }
        assert_ok(r, &err);
        assert_recalls(fixture, "fork", "note");
        assert_ok(instance_delete(fixture->host, "fork", &err), &err);
    }
}

/* What can't be made is told, and tried again. */
static void test_failing(void **state)
{
    static const char *const steps[] = {"warm-linked=ENOSPC", "warm-loaded=EIO",
                                        "warm-template=ENOMEM", "warm-parked=EIO"};
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct error err = {0};
        setenv("TINE_FAILPOINT", steps[i], 1);
        assert_ok(instance_warm(fixture->host, "source", 1, NULL, &err), &err);
        struct warm_status status = await(fixture, "source", WARM_FAILING, 0);
        assert_non_null(strstr(status.reason, "failpoint warm-"));
        warm(fixture, "source", 0);
        setenv("TINE_FAILPOINT", "", 1);
        assert_tidy(fixture);
        assert_int_equal(guest_stat(fixture, source.id, IMAGE_FILE).st_nlink, 1);
    }
    warm(fixture, "source", 1);
}

/* What is kept warm has no more memory than it may, whatever is wished for. */
static void test_limited(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    warm(fixture, "source", 1);
    const uint64_t one = status_of(fixture, "source").pinned_bytes;
    warm(fixture, "source", READY);
    const uint64_t all = status_of(fixture, "source").pinned_bytes;
    assert_true(all > one);
    fixture->warm.memory_bytes = 1;
    fixture_reopen(fixture);
    struct warm_status status = await(fixture, "source", WARM_LIMITED, 0);
    assert_non_null(strstr(status.reason, "warm-memory"));
    assert_int_equal(status.pinned_bytes, 0);
    fixture_fork(fixture, "source", "cold", INSTANCE_RUNNING);
    fixture->warm.memory_bytes = (one + all) / 2;
    fixture_reopen(fixture);
    while (strcmp(status_of(fixture, "source").state, WARM_LIMITED) != 0)
        time_sleep_ms(5);
    status = status_of(fixture, "source");
    assert_true(status.ready > 0 && status.ready < READY);
    assert_true(status.pinned_bytes <= fixture->warm.memory_bytes);
    fixture_fork(fixture, "source", "ready", INSTANCE_RUNNING);
    assert_int_equal(status_of(fixture, "source").taken, 1);
}

/* What nobody forks ends, and comes back with the next fork. */
static void test_idle(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    fixture->warm.idle_ms = 100;
    fixture_reopen(fixture);
    struct error err = {0};
    assert_ok(instance_warm(fixture->host, "source", READY, NULL, &err), &err);
    await(fixture, "source", WARM_IDLE, 0);
    await_tidy(fixture);
    assert_int_equal(guest_stat(fixture, source.id, IMAGE_FILE).st_nlink, 1);
    fixture->warm.idle_ms = 3600000;
    fixture_reopen(fixture);
    await(fixture, "source", WARM_READY, READY);
    fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    assert_int_equal(status_of(fixture, "source").taken, 1);
}

/* A fork that finds it idle is made as ever, and wakes it. */
static void test_woken(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    sleeping_source(fixture);
    fixture->warm.idle_ms = 1500;
    fixture_reopen(fixture);
    assert_ok(instance_warm(fixture->host, "source", 1, NULL, &err), &err);
    const uint64_t before = await(fixture, "source", WARM_IDLE, 0).refills;
    uint64_t refills = before;
    for (unsigned i = 1; refills == before; i++) { /* it may be idle again before it is ready */
        char name[24];
        snprintf(name, sizeof(name), "fork-%u", i);
        fixture_fork(fixture, "source", name, INSTANCE_RUNNING);
        assert_int_equal(status_of(fixture, "source").missed, i);
        refills = await(fixture, "source", WARM_IDLE, 0).refills;
    }
}

/* 0: never counted. */
static double metric(struct fixture *fixture, const char *sample)
{
    struct error err = {0};
    size_t length;
    _cleanup_(free) char *text = host_metrics(fixture->host, &length, &err);
    assert_non_null(text);
    const char *line = strstr(text, sample);
    return !line ? 0 : strtod(line + strlen(sample), NULL);
}

static void test_metrics(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    warm(fixture, "source", READY);
    fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    await(fixture, "source", WARM_READY, READY);
    assert_true(metric(fixture, "\ntine_warm_wanted ") == READY);
    assert_true(metric(fixture, "\ntine_warm_ready ") == READY);
    assert_true(metric(fixture, "\ntine_warm_pinned_bytes ") > 0);
    assert_true(metric(fixture, "\ntine_warm_taken_total ") == 1);
    assert_true(metric(fixture, "\ntine_warm_missed_total ") == 0);
    assert_true(metric(fixture, "\ntine_warm_refills_total{result=\"ok\"} ") == READY + 1);
    processes(fixture, SIGKILL);
    await(fixture, "source", WARM_READY, READY);
    while (status_of(fixture, "source").lost < READY)
        time_sleep_ms(5);
    await(fixture, "source", WARM_READY, READY);
    assert_true(metric(fixture, "\ntine_warm_lost_total ") == READY);
}

/* The wish outlives tined; what it asks for does not. */
static void test_reopened(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct warm_entry *entries = NULL;
    size_t count = 0;
    sleeping_source(fixture);
    warm(fixture, "source", READY);
    fixture_close(fixture);
    assert_tidy(fixture);
    assert_int_equal(processes(fixture, 0), 0);
    fixture_open(fixture);
    await(fixture, "source", WARM_READY, READY);
    assert_ok(warm_list(fixture->host, &entries, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(entries[0].name, "source");
    assert_false(entries[0].snapshot);
    assert_int_equal(entries[0].status.wanted, READY);
    free(entries);
    fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    assert_ok(instance_delete(fixture->host, "source", &err), &err);
    fixture_reopen(fixture);
    assert_ok(warm_list(fixture->host, &entries, &count, &err), &err);
    assert_int_equal(count, 0);
    free(entries);
    assert_recalls(fixture, "fork", "note");
}

/* What was asked for, of the driver; and what it tells of a fork. */
static struct {
    struct vm_pages runs[600];
    size_t count, calls;
    bool for_guest; /* what comes, is for one that waits */
    unsigned written, read;
    uint64_t own_pages;
    _Atomic int touched_error;
    _Atomic unsigned touched;
} asked;

static int count_populate(const struct hypervisor *self, const struct vm_spec *spec,
                          const struct vm_populate *pages, struct error *err)
{
    for (size_t i = 0; i < pages->count && asked.count < ARRAY_SIZE(asked.runs); i++)
        asked.runs[asked.count++] = pages->runs[i];
    asked.calls++;
    assert_int_equal(pages->kvm, asked.for_guest);
    asked.written += pages->write;
    asked.read += !pages->write;
    const struct hypervisor builtin = hypervisor_builtin(self->binary);
    return builtin.populate(self, spec, pages, err);
}

static void record_write(const struct fixture *fixture, const struct instance_record *source,
                         const struct touch_record *record, const char *key)
{
    size_t length = 0;
    struct error err = {0};
    const struct path path = guest_path(fixture, source->id, GUEST_SNAPSHOT "/" PAGING_RECORD);
    _cleanup_(free) uint8_t *data =
        touch_record_encode(record, key, FIXTURE_MEMORY / 4096, &length);
    assert_ok(file_publish(AT_FDCWD, path.text, data, length, 0600, &err), &err);
}

/* What other forks of the image needed first is mapped, in that order; a record of another image is
 * of no use, and in nobody's way. */
static void test_working_set(void **state)
{
    static const char other[] = "00000000000000000000000000000000";
    struct fixture *fixture = *state;
    struct error err = {0};
    struct touch_record record = {.runs = NULL};
    struct instance_record source = sleeping_source(fixture);
    source = fixture_get(fixture, "source");
    for (uint64_t i = 0; i < VM_POPULATE_MAX + 1; i++)
        assert_true(touch_record_add(&record, (VM_POPULATE_MAX - i) * 2, 1));
    record_write(fixture, &source, &record, source.cache_key);
    fixture_close(fixture);
    struct hypervisor driver = hypervisor_builtin(fixture->vmm);
    driver.populate = count_populate;
    const struct host_options options = {.data_dir = fixture->data,
                                         .kit_dir = fixture->kit,
                                         .hypervisor = &driver,
                                         .standby_memory = STANDBY_MERGE};
    fixture->host = host_open(&options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
    warm(fixture, "source", 1);
    assert_int_equal(asked.count, VM_POPULATE_MAX + 1);
    assert_int_equal(asked.calls, 2);
    for (uint64_t i = 0; i < asked.count; i++) {
        assert_int_equal(asked.runs[i].page, record.runs[i].page);
        assert_int_equal(asked.runs[i].count, 1);
    }
    warm(fixture, "source", 0);
    record_write(fixture, &source, &record, other);
    warm(fixture, "source", 1);
    assert_int_equal(asked.calls, 2);
    touch_record_free(&record);
}

static int tell_touched(const struct hypervisor *self, const struct vm_spec *spec,
                        struct vm_touched *touched, struct error *err)
{
    asked.touched++;
    if (asked.touched_error)
        return error_errno(err, asked.touched_error, spec->id, "look at %s", spec->id);
    *touched = (struct vm_touched){calloc(2, sizeof(struct vm_pages)),
                                   calloc(1, sizeof(struct vm_pages)), 2, 1};
    assert_true(touched->read && touched->written);
    touched->read[0] = (struct vm_pages){11, 2};
    touched->read[1] = (struct vm_pages){17, 1};
    touched->written[0] = (struct vm_pages){40, asked.own_pages};
    return 0;
}

/* A host that learns at once. */
static void open_learning(struct fixture *fixture, uint64_t own_pages)
{
    struct error err = {0};
    struct hypervisor driver = hypervisor_builtin(fixture->vmm);
    fixture_close(fixture);
    memset(&asked, 0, sizeof(asked));
    asked.for_guest = true;
    asked.own_pages = own_pages;
    driver.populate = count_populate;
    driver.touched = tell_touched;
    const struct host_options options = {.data_dir = fixture->data,
                                         .kit_dir = fixture->kit,
                                         .hypervisor = &driver,
                                         .warm.learn_ms = 1,
                                         .standby_memory = STANDBY_MERGE};
    fixture->host = host_open(&options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
}

static void await_prepared(struct fixture *fixture, unsigned prepared)
{
    const uint64_t deadline = time_after_ms(AWAIT_MS);
    struct warm_status status = {.wanted = 0};
    do {
        if (time_monotonic_ns() >= deadline)
            fail_msg("%u of %u prepared, not %u; touched %u, %u calls", status.prepared,
                     status.ready, prepared, asked.touched, (unsigned)asked.calls);
        time_sleep_ms(5);
        status = await(fixture, "source", WARM_READY, READY);
    } while (status.prepared != prepared);
}

/* What the first fork needed, those that wait have mapped, also those that waited before; until the
 * source sleeps with another image. */
static void test_prepared(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    sleeping_source(fixture);
    open_learning(fixture, 3);
    warm(fixture, "source", READY);
    assert_int_equal(asked.calls, 0);
    assert_int_equal(status_of(fixture, "source").prepared, 0);
    fixture_fork(fixture, "source", "one", INSTANCE_RUNNING);
    await_prepared(fixture, READY);
    assert_in_range(asked.written, READY, READY + 1);
    assert_int_equal(asked.read, asked.written);
    assert_int_equal(asked.runs[0].page, 40);
    assert_int_equal(asked.runs[0].count, 3);
    assert_int_equal(asked.runs[1].page, 11);
    assert_int_equal(asked.runs[2].page, 17);
    fixture_fork(fixture, "source", "two", INSTANCE_RUNNING);
    await_prepared(fixture, READY);
    const struct warm_status status = status_of(fixture, "source");
    assert_int_equal(status.taken, 2);
    assert_int_equal(status.missed, 0);
    assert_int_equal(status.lost, 0);
    assert_recalls(fixture, "two", "note");
    assert_ok(instance_restore(fixture->host, "source", NULL, &err), &err);
    assert_ok(instance_standby(fixture->host, "source", NULL, &err), &err);
    await_prepared(fixture, 0);
    fixture_fork(fixture, "source", "three", INSTANCE_RUNNING);
    await_prepared(fixture, READY);
    warm(fixture, "source", 0);
    assert_tidy(fixture);
}

/* A fork that wrote much is no example for what another will write. */
static void test_prepared_for_less(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    open_learning(fixture, 2049);
    warm(fixture, "source", READY);
    fixture_fork(fixture, "source", "one", INSTANCE_RUNNING);
    await_prepared(fixture, READY);
    assert_int_equal(asked.written, 0);
    assert_in_range(asked.read, READY, READY + 1);
}

/* One that does not tell is no reason to stop: the next one may. */
static void test_learns_nothing(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    open_learning(fixture, 3);
    asked.touched_error = EIO;
    warm(fixture, "source", READY);
    fixture_fork(fixture, "source", "one", INSTANCE_RUNNING);
    while (asked.touched == 0)
        time_sleep_ms(1);
    await_prepared(fixture, 0);
    asked.touched_error = 0;
    unsigned n = 0;
    while (status_of(fixture, "source").prepared < READY) {
        char name[32];
        snprintf(name, sizeof(name), "next-%u", n++);
        assert_true(n < 100);
        fixture_fork(fixture, "source", name, INSTANCE_RUNNING);
        await(fixture, "source", WARM_READY, READY);
    }
    assert_int_equal(status_of(fixture, "source").lost, 0);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_taken),          FIXTURE_TEST(test_off),
    FIXTURE_TEST(test_cold),           FIXTURE_TEST(test_many),
    FIXTURE_TEST(test_other_image),    FIXTURE_TEST(test_snapshot),
    FIXTURE_TEST(test_refused),        FIXTURE_TEST(test_killed),
    FIXTURE_TEST(test_failing),        FIXTURE_TEST(test_fails_when_taken),
    FIXTURE_TEST(test_reopened),       FIXTURE_TEST(test_limited),
    FIXTURE_TEST(test_idle),           FIXTURE_TEST(test_woken),
    FIXTURE_TEST(test_metrics),        FIXTURE_TEST(test_working_set),
    FIXTURE_TEST(test_prepared),       FIXTURE_TEST(test_prepared_for_less),
    FIXTURE_TEST(test_learns_nothing),
};
FIXTURE_MAIN(tests)

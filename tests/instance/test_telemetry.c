/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator sees of operations: log lines, metrics and events that agree with each other. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "events/events.h"
#include "exposition.h"

#define AWAIT_MS 20000

static char *metrics_of(struct fixture *fixture)
{
    struct error err = {0};
    size_t length = 0;
    char *text = host_metrics(fixture->host, &length, &err);
    assert_ok(text ? 0 : -1, &err);
    assert_int_equal(length, strlen(text));
    assert_exposition(text);
    return text;
}

static double sample_of(const char *text, const char *series)
{
    double value = -1;
    if (!exposition_value(text, series, &value))
        print_error("%s is not in\n%s", series, text);
    assert_true(value >= 0);
    return value;
}

/* The next event, waited for. */
static struct event next_event(struct events_reader *reader)
{
    struct event event = {.sequence = 0};
    uint64_t lost = 0, deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
    int r;
    while ((r = events_next(reader, &event, &lost)) == 0 && time_monotonic_ns() < deadline)
        time_sleep_ms(5);
    assert_int_equal(r, 1);
    return event;
}

static struct event expect_event(struct events_reader *reader, const char *name, const char *kind,
                                 const char *state, const char *result)
{
    struct event event = next_event(reader);
    assert_string_equal(event.instance_name, name);
    assert_string_equal(event.kind, kind);
    assert_string_equal(event.state, state);
    assert_string_equal(event.result, result);
    assert_int_equal(strlen(event.instance_id), INSTANCE_ID_LENGTH);
    assert_int_equal(strlen(event.operation_id), *result ? 16 : 0);
    return event;
}

static void test_events_of_a_life(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    fixture_create(fixture, "web");
    struct event create = expect_event(&reader, "web", "create", "Running", "ok");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    struct event standby = expect_event(&reader, "web", "standby", "Standby", "ok");
    assert_string_not_equal(create.operation_id, standby.operation_id);
    assert_string_equal(create.instance_id, standby.instance_id);
    assert_true(create.time_ns > 0 && create.time_ns <= standby.time_ns);
    /* Nothing to do is no operation. */
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    fixture_fork(fixture, "web", "fork", INSTANCE_RUNNING);
    struct event fork = expect_event(&reader, "fork", "fork", "Running", "ok");
    assert_string_equal(fork.message, "from web");
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    expect_event(&reader, "web", "restore", "Running", "ok");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    expect_event(&reader, "web", "stop", "Stopped", "ok");
    assert_ok(instance_start(fixture->host, "web", NULL, &err), &err);
    expect_event(&reader, "web", "start", "Running", "ok");
    const struct instance_changes tags = {.tags = ""};
    assert_ok(instance_update(fixture->host, "web", &tags, NULL, &err), &err);
    expect_event(&reader, "web", "update", "Running", "ok");
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    expect_event(&reader, "web", "delete", "", "ok");
    struct event event;
    uint64_t lost;
    assert_int_equal(events_next(&reader, &event, &lost), 0);
}

/* The source's standby and wake are part of the fork's operation. */
static void test_events_of_a_running_source(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    guest_orders(fixture, fixture_create(fixture, "web").id, "no-templates");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    assert_ok(instance_fork(fixture->host, "web", &request, NULL, &err), &err);
    struct event standby = expect_event(&reader, "web", "standby", "Standby", "ok");
    struct event restore = expect_event(&reader, "web", "restore", "Running", "ok");
    struct event fork = expect_event(&reader, "fork", "fork", "Running", "ok");
    assert_string_equal(standby.operation_id, fork.operation_id);
    assert_string_equal(restore.operation_id, fork.operation_id);
    _cleanup_(free) char *text = metrics_of(fixture);
    static const char *const phases[] = {"wait", "standby", "link",   "wake",
                                         "load", "record",  "resume", "agent"};
    for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
        char series[128];
        snprintf(series, sizeof(series),
                 "tine_operation_phase_duration_seconds_count{operation=\"fork\",phase=\"%s\"}",
                 phases[i]);
        assert_sample(text, series, 1);
    }
}

/* Forked live, it does nothing that there were an event of. */
static void test_events_of_a_live_fork(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    assert_ok(instance_fork(fixture->host, "web", &request, NULL, &err), &err);
    expect_event(&reader, "fork", "fork", "Running", "ok");
    _cleanup_(free) char *text = metrics_of(fixture);
    static const char *const phases[] = {"wait",   "template", "link",  "child",
                                         "resume", "agent",    "record"};
    for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
        char series[128];
        snprintf(series, sizeof(series),
                 "tine_operation_phase_duration_seconds_count{operation=\"fork\",phase=\"%s\"}",
                 phases[i]);
        assert_sample(text, series, 1);
    }
}

/* What is done to instances for the sake of snapshots, where it takes a nap. */
static void test_snapshots(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct snapshot_record snapshot;
    const struct snapshot_create_request request = {.kind = INSTANCE_STANDBY, .name = "warm"};
    const struct snapshot_target asleep = {.has_state = true, .state = INSTANCE_STANDBY};
    guest_orders(fixture, fixture_create(fixture, "web").id, "no-templates");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    assert_ok(snapshot_create(fixture->host, "web", &request, &snapshot, &err), &err);
    struct event standby = expect_event(&reader, "web", "standby", "Standby", "ok");
    struct event restore = expect_event(&reader, "web", "restore", "Running", "ok");
    struct event create = expect_event(&reader, "web", "snapshot", "Running", "ok");
    assert_string_equal(create.message, "as warm");
    assert_string_equal(standby.operation_id, create.operation_id);
    assert_string_equal(restore.operation_id, create.operation_id);
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "fork", &asleep, NULL, &err), &err);
    struct event fork = expect_event(&reader, "fork", "fork", "Standby", "ok");
    assert_non_null(strstr(fork.message, snapshot.id));
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    expect_event(&reader, "web", "standby", "Standby", "ok");
    assert_ok(snapshot_restore(fixture->host, "web", snapshot.id, &asleep, NULL, &err), &err);
    struct event back = expect_event(&reader, "web", "snapshot-restore", "Standby", "ok");
    assert_non_null(strstr(back.message, snapshot.id));
    _cleanup_(free) char *text = metrics_of(fixture);
    static const char *const series[] = {
        "{operation=\"snapshot\",phase=\"wait\"}", "{operation=\"snapshot\",phase=\"standby\"}",
        "{operation=\"snapshot\",phase=\"link\"}", "{operation=\"snapshot\",phase=\"wake\"}",
        "{operation=\"snapshot-restore\",phase=\"link\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(series); i++) {
        char name[160];
        snprintf(name, sizeof(name), "tine_operation_phase_duration_seconds_count%s", series[i]);
        assert_sample(text, name, 1);
    }
    assert_ok(snapshot_delete(fixture->host, snapshot.id, &err), &err);
    struct event gone = expect_event(&reader, "web", "snapshot-delete", "Standby", "ok");
    assert_string_equal(gone.message, "named warm");
    assert_string_equal(gone.instance_id, back.instance_id);
    assert_string_not_equal(gone.operation_id, back.operation_id);
}

/* A snapshot that is deleted: of an instance that goes on, then of one that is gone. */
static void test_snapshot_delete(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record web = fixture_create(fixture, "web");
    struct snapshot_record snapshot = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, NULL);
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    /* What is refused is no operation. */
    assert_fails(snapshot_delete(fixture->host, "nosuchsnapshot", &err), &err, ERROR_NOT_FOUND, "");
    error_clear(&err);
    setenv("TINE_FAILPOINT", "delete-renamed=EIO", 1);
    assert_int_equal(snapshot_delete(fixture->host, snapshot.id, &err), -EIO);
    setenv("TINE_FAILPOINT", "", 1);
    struct event failed = expect_event(&reader, "web", "snapshot-delete", "Running", "system");
    assert_string_equal(failed.message, err.message);
    assert_string_equal(failed.instance_id, web.id);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    expect_event(&reader, "web", "delete", "", "ok");
    assert_ok(snapshot_delete(fixture->host, snapshot.id, &err), &err);
    struct event gone = expect_event(&reader, "web", "snapshot-delete", "", "ok");
    assert_non_null(strstr(gone.message, snapshot.id));
    assert_string_equal(gone.instance_id, web.id);
    assert_string_not_equal(gone.operation_id, failed.operation_id);
    _cleanup_(free) char *text = metrics_of(fixture);
    static const char *const series[] = {
        "tine_operations_total{operation=\"snapshot-delete\",result=\"ok\"}",
        "tine_operations_total{operation=\"snapshot-delete\",result=\"system\"}",
        "tine_operation_duration_seconds_count{operation=\"snapshot-delete\"}",
        "tine_operation_phase_duration_seconds_count{operation=\"snapshot-delete\",phase=\"wait\"}",
        "tine_operation_phase_duration_seconds_count{operation=\"snapshot-delete\","
        "phase=\"remove\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(series); i++)
        assert_sample(text, series[i], 1);
}

static void test_failure(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    setenv("TINE_FAILPOINT", "standby-saved=ENOSPC", 1);
    assert_true(instance_standby(fixture->host, "web", NULL, &err) < 0);
    setenv("TINE_FAILPOINT", "", 1);
    struct event event = expect_event(&reader, "web", "standby", "Running", "resources");
    assert_string_equal(event.message, err.message);
    setenv("TINE_FAILPOINT", "create-published=EIO", 1);
    const struct instance_create_request request = fixture_request(fixture, "never");
    error_clear(&err);
    assert_true(instance_create(fixture->host, &request, NULL, &err) < 0);
    setenv("TINE_FAILPOINT", "", 1);
    expect_event(&reader, "never", "create", "", "system");
    _cleanup_(free) char *text = metrics_of(fixture);
    assert_sample(text, "tine_operations_total{operation=\"standby\",result=\"resources\"}", 1);
    assert_sample(text, "tine_operations_total{operation=\"create\",result=\"system\"}", 1);
    assert_sample(text, "tine_operations_total{operation=\"create\",result=\"ok\"}", 1);
    /* Durations are those of successes. */
    double ignored;
    assert_false(exposition_value(
        text, "tine_operation_duration_seconds_count{operation=\"standby\"}", &ignored));
}

static void test_vmm_that_dies(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    assert_int_equal(kill(record.vmm_pid, SIGKILL), 0);
    struct event event = expect_event(&reader, "web", "vmm-ended", "Stopped", "");
    assert_non_null(strstr(event.message, "SIGKILL"));
    _cleanup_(free) char *text = metrics_of(fixture);
    assert_sample(text, "tine_vmms_ended_total", 1);
    assert_sample(text, "tine_instances{state=\"Stopped\"}", 1);
}

static void test_recovery(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    assert_int_equal(kill(record.vmm_pid, SIGKILL), 0);
    assert_int_equal(waitpid(record.vmm_pid, NULL, 0), record.vmm_pid);
    fixture_open(fixture);
    struct events_reader reader = events_read(host_events(fixture->host), 0);
    struct event event = expect_event(&reader, "web", "vmm-ended", "Stopped", "");
    assert_non_null(strstr(event.message, "while tined was not running"));
}

static void test_metrics(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    fixture_create(fixture, "asleep");
    assert_ok(instance_standby(fixture->host, "asleep", NULL, &err), &err);
    _cleanup_(free) char *text = metrics_of(fixture);
    static const struct {
        const char *series;
        double value;
    } samples[] = {
        {"tine_operations_total{operation=\"create\",result=\"ok\"}", 2},
        {"tine_operations_total{operation=\"standby\",result=\"ok\"}", 1},
        {"tine_operation_duration_seconds_count{operation=\"create\"}", 2},
        {"tine_operation_phase_duration_seconds_count{operation=\"create\",phase=\"files\"}", 2},
        {"tine_operation_phase_duration_seconds_count{operation=\"create\",phase=\"launch\"}", 2},
        {"tine_operation_phase_duration_seconds_count{operation=\"create\",phase=\"agent\"}", 2},
        {"tine_operation_phase_duration_seconds_count{operation=\"standby\",phase=\"pause\"}", 1},
        {"tine_operation_phase_duration_seconds_count{operation=\"standby\",phase=\"save\"}", 1},
        {"tine_operation_phase_duration_seconds_count{operation=\"standby\",phase=\"publish\"}", 1},
        {"tine_operation_phase_duration_seconds_count{operation=\"standby\",phase=\"kill\"}", 1},
        {"tine_instances{state=\"Running\"}", 1},
        {"tine_instances{state=\"Standby\"}", 1},
        {"tine_instances{state=\"Unknown\"}", 0},
        {"tine_memory_sampled_vmms", 1},
        {"tine_memory_share_fallback_total{errno=\"EMLINK\"}", 0},
        {"tine_memory_saves_total{kind=\"full\"}", 1},
        {"tine_vmms_ended_total", 0},
        {"tine_build_info{version=\"" TINE_VERSION "\"}", 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
        assert_sample(text, samples[i].series, samples[i].value);
    assert_true(sample_of(text, "tine_memory_private_bytes") > 0);
    assert_true(sample_of(text, "tine_memory_shared_bytes") > 0);
    double started = sample_of(text, "process_start_time_seconds");
    assert_true(started > 1e9 && started <= (double)time_realtime_ns() / 1e9);
    /* The phases add up to the whole, but for what the text form rounds. */
    double whole = sample_of(text, "tine_operation_duration_seconds_sum{operation=\"standby\"}");
    static const char *const phases[] = {"wait",    "unshare", "pause", "save",
                                         "publish", "record",  "kill"};
    for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
        char series[128];
        snprintf(series, sizeof(series),
                 "tine_operation_phase_duration_seconds_sum{operation=\"standby\",phase=\"%s\"}",
                 phases[i]);
        whole -= sample_of(text, series);
    }
    /* The first phase is "wait", which lasts until the next: nothing is left over. */
    assert_true(whole > -1e-6 && whole < 1e-6);
}

/* VMMs that have ended leave the sums. */
static void test_metrics_follow_vmms(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "a");
    fixture_create(fixture, "b");
    free(metrics_of(fixture));
    _cleanup_(free) char *both = metrics_of(fixture);
    assert_sample(both, "tine_memory_sampled_vmms", 2);
    assert_ok(instance_stop(fixture->host, "a", 0, NULL, &err), &err);
    assert_ok(instance_stop(fixture->host, "b", 0, NULL, &err), &err);
    _cleanup_(free) char *none = metrics_of(fixture);
    assert_sample(none, "tine_memory_sampled_vmms", 0);
    assert_sample(none, "tine_memory_private_bytes", 0);
    assert_sample(none, "tine_memory_shared_bytes", 0);
}

/* The log of one operation, as JSON lines. */
struct captured {
    char path[64];
    char *text;
};

static void capture_begin(struct captured *captured)
{
    snprintf(captured->path, sizeof(captured->path), "/tmp/tine-test-log-XXXXXX");
    int fd = mkostemp(captured->path, O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    log_set_fd(fd);
    log_set_level(LOG_LEVEL_INFO);
    log_set_format(LOG_FORMAT_JSON);
}

static void capture_end(struct captured *captured)
{
    size_t length;
    log_set_format(LOG_FORMAT_TEXT);
    log_set_level(LOG_LEVEL_ERROR);
    log_set_fd(STDERR_FILENO);
    assert_int_equal(
        file_read_all(AT_FDCWD, captured->path, 1 << 20, &captured->text, &length, NULL), 0);
    unlink(captured->path);
}

static const char *member(const json_t *line, const char *name)
{
    const char *text = json_string_value(json_object_get(line, name));
    return text ? text : "";
}

/* The line number `n`, parsed; NULL behind the last. */
static json_t *line_of(const struct captured *captured, unsigned n)
{
    const char *line = captured->text;
    while (n-- > 0 && line)
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
    return line && *line ? json_loads(line, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
}

static void test_log(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct captured captured = {.text = NULL};
    struct instance_record record = fixture_create(fixture, "web");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    capture_begin(&captured);
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    setenv("TINE_FAILPOINT", "restore-loaded=EIO", 1);
    assert_true(instance_restore(fixture->host, "web", NULL, &err) < 0);
    setenv("TINE_FAILPOINT", "", 1);
    capture_end(&captured);
    static const struct {
        const char *level, *kind, *result;
    } wanted[] = {{"INFO", "standby", ""},
                  {"INFO", "standby", "ok"},
                  {"INFO", "restore", ""},
                  {"WARNING", "restore", "system"}};
    struct event events[] = {next_event(&reader), next_event(&reader)};
    for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
        json_t *line = line_of(&captured, i);
        assert_non_null(line);
        assert_string_equal(member(line, "level"), wanted[i].level);
        assert_string_equal(member(line, "kind"), wanted[i].kind);
        assert_string_equal(member(line, "result"), wanted[i].result);
        assert_string_equal(member(line, "instance"), record.id);
        assert_string_equal(member(line, "operation"), events[i / 2].operation_id);
        if (*wanted[i].result)
            assert_true(strtod(member(line, "duration_ms"), NULL) > 0);
        json_decref(line);
    }
    assert_null(line_of(&captured, ARRAY_SIZE(wanted)));
    assert_null(log_context_current());
    free(captured.text);
}

static void test_log_of_snapshot_delete(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct captured captured = {.text = NULL};
    struct instance_record record = fixture_create(fixture, "web");
    struct snapshot_record snapshot = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "warm");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    capture_begin(&captured);
    assert_ok(snapshot_delete(fixture->host, snapshot.id, &err), &err);
    capture_end(&captured);
    struct event event = next_event(&reader);
    for (unsigned i = 0; i < 2; i++) {
        json_t *line = line_of(&captured, i);
        assert_non_null(line);
        assert_string_equal(member(line, "kind"), "snapshot-delete");
        assert_string_equal(member(line, "result"), i == 0 ? "" : "ok");
        assert_string_equal(member(line, "instance"), record.id);
        assert_string_equal(member(line, "operation"), event.operation_id);
        json_decref(line);
    }
    assert_null(line_of(&captured, 2));
    assert_non_null(strstr(captured.text, "snapshot-delete of web named warm is done"));
    free(captured.text);
}

/* A guest's last words are told to who asked and to those who follow events, but not logged. */
static void test_log_without_guest(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct captured captured = {.text = NULL};
    struct instance_record record = fixture_create(fixture, "web");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    struct path console = guest_path(fixture, record.id, "log/console.log");
    guest_orders(fixture, record.id, "no-agent\n");
    file_make(console.text, "the password is secret\n", 0);
    fixture_close(fixture);
    const struct host_options impatient = {.data_dir = fixture->data,
                                           .vmm_binary = fixture->vmm,
                                           .kit_dir = fixture->kit,
                                           .agent_timeout_ms = 100};
    fixture->host = host_open(&impatient, &err);
    assert_non_null(fixture->host);
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    capture_begin(&captured);
    assert_true(instance_start(fixture->host, "web", NULL, &err) < 0);
    capture_end(&captured);
    assert_non_null(strstr(err.message, "secret"));
    assert_non_null(strstr(next_event(&reader).message, "secret"));
    assert_non_null(strstr(captured.text, "console ends"));
    assert_null(strstr(captured.text, "secret"));
    free(captured.text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_events_of_a_life),
        FIXTURE_TEST(test_events_of_a_running_source),
        FIXTURE_TEST(test_events_of_a_live_fork),
        FIXTURE_TEST(test_snapshots),
        FIXTURE_TEST(test_snapshot_delete),
        FIXTURE_TEST(test_failure),
        FIXTURE_TEST(test_vmm_that_dies),
        FIXTURE_TEST(test_recovery),
        FIXTURE_TEST(test_metrics),
        FIXTURE_TEST(test_metrics_follow_vmms),
        FIXTURE_TEST(test_log),
        FIXTURE_TEST(test_log_of_snapshot_delete),
        FIXTURE_TEST(test_log_without_guest),
    };
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

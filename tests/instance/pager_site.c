/* SPDX-License-Identifier: Apache-2.0 */
#include "pager_site.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../metrics/exposition.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "compressed.h"
#include "paging/control.h"
#include "space.h"

#define PATIENCE_MS 60000

/* ---- the pager ---- */

static int call(const struct site *site, const char *version, const char *path,
                struct control_reply *reply)
{
    char socket[160];
    struct error err = {0};
    snprintf(socket, sizeof(socket), "%s/pager/%s/control.sock", site->run_dir, version);
    const struct control_request request = {.socket = socket, .method = "GET", .path = path};
    return control_call(&request, reply, &err);
}

pid_t pager_pid(const struct site *site, const char *version)
{
    _cleanup_(control_reply) struct control_reply reply;
    if (call(site, version, "/health", &reply) < 0)
        return 0;
    return (pid_t)json_integer_value(json_object_get(reply.body, "pid"));
}

/* Whoever comes first reaps it: this process, or the host within it. */
void pager_kill(const struct site *site, const char *version)
{
    pid_t pid = pager_pid(site, version);
    if (pid <= 0)
        return;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

size_t pager_sessions(const struct site *site, const char *version)
{
    _cleanup_(control_reply) struct control_reply reply;
    assert_int_equal(call(site, version, "/stats", &reply), 0);
    return json_array_size(json_object_get(reply.body, "sessions"));
}

void await_no_session(const struct site *site, const char *version)
{
    for (unsigned i = 0; pager_sessions(site, version) > 0; i++) {
        assert_true(i < PATIENCE_MS / 10);
        time_sleep_ms(10);
    }
}

int pager_state(const struct site *site, const char *version, const char *id)
{
    char path[128];
    _cleanup_(control_reply) struct control_reply reply;
    snprintf(path, sizeof(path), "/sessions/%s/descriptors", id);
    assert_int_equal(call(site, version, path, &reply), 0);
    assert_int_equal(reply.fd_count, 2);
    return fcntl(reply.fds[1], F_DUPFD_CLOEXEC, 0);
}

void await_pager_end(const struct site *site, const char *version)
{
    for (unsigned i = 0; pager_pid(site, version) > 0; i++) {
        assert_true(i < PATIENCE_MS / 10);
        time_sleep_ms(10);
    }
}

/* ---- the host ---- */

static const char *program(const char *variable)
{
    const char *path = getenv(variable);
    assert_non_null(path);
    return path;
}

struct site *site_new(const struct paging_graduation *graduation)
{
    char dir[] = "/tmp/tine-test-pager-XXXXXX";
    struct site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    assert_non_null(mkdtemp(dir));
    site->fixture = fixture_make(dir);
    snprintf(site->run_dir, sizeof(site->run_dir), "%s/run", dir);
    site->fixture->pager = (struct pager_options){
        .binary = program("TINE_PAGER"), .run_dir = site->run_dir, .backend = MEMORY_PAGER};
    if (graduation)
        site->fixture->pager.graduation = *graduation;
    else
        site->fixture->pager.graduation.off = true;
    site->fixture->standby_memory = STANDBY_MERGE;
    fixture_reopen(site->fixture);
    fixture_create(site->fixture, "source");
    site_fill(site, "source", SITE_TOKEN);
    site_standby(site, "source");
    return site;
}

void site_reopen(struct site *site)
{
    fixture_reopen(site->fixture);
}

void site_upgrade(struct site *site, const char *version)
{
    const char *variable = strcmp(version, SITE_NEXT) == 0    ? "TINE_PAGER_NEXT"
                           : strcmp(version, SITE_OTHER) == 0 ? "TINE_PAGER_OTHER"
                                                              : "TINE_PAGER";
    site->fixture->pager.binary = program(variable);
    site->fixture->pager.version = version;
}

/* One that was told to drain answers no more while it ends, and nobody else waits for it by now. */
static void reap_drained(void)
{
    for (unsigned i = 0; waitpid(-1, NULL, WNOHANG) >= 0; i++) {
        assert_true(i < PATIENCE_MS / 10);
        time_sleep_ms(10);
    }
}

void site_free(struct site *site)
{
    struct fixture *fixture = site->fixture;
    fixture_delete_instances(fixture);
    /* From here on no pager is started any more. */
    fixture_close(fixture);
    if (pager_pid(site, SITE_VERSION) > 0)
        assert_int_equal(pager_sessions(site, SITE_VERSION), 0);
    pager_kill(site, SITE_VERSION);
    pager_kill(site, SITE_NEXT);
    pager_kill(site, SITE_OTHER);
    reap_drained();
    fixture_open(fixture);
    fixture_clear(fixture);
    fixture_close(fixture);
    assert_int_equal(tree_remove(AT_FDCWD, fixture->dir, NULL), 0);
    free(fixture);
    free(site);
}

int site_setup(void **state)
{
    *state = site_new(NULL);
    return 0;
}

int site_teardown(void **state)
{
    site_free(*state);
    return 0;
}

/* ---- tined is killed ---- */

bool site_is_child(int argc, char **argv)
{
    return argc == 6 && strcmp(argv[2], "child") == 0;
}

int site_child(char **argv, int (*run)(struct host *host, struct error *err))
{
    struct fixture *fixture = fixture_on(argv[3]);
    struct error err = {0};
    fixture->vmm = argv[1];
    fixture->standby_memory = STANDBY_AUTO;
    fixture->without_layers = true;
    fixture->pager = (struct pager_options){.binary = program("TINE_PAGER"),
                                            .run_dir = argv[5],
                                            .backend = MEMORY_PAGER,
                                            .graduation.off = true};
    log_set_level(LOG_LEVEL_ERROR);
    fixture->host = fixture_host(fixture, &err);
    if (fixture->host) {
        setenv("TINE_FAILPOINT", argv[4], 1);
        run(fixture->host, &err);
    }
    fprintf(stderr, "it was not killed at %s: %s\n", argv[4], err.message);
    return 1;
}

void site_crash(struct site *site, const char *failpoint)
{
    char *const argv[] = {program_invocation_short_name,
                          (char *)site->fixture->vmm,
                          (char *)"child",
                          site->fixture->dir,
                          (char *)failpoint,
                          site->run_dir,
                          NULL};
    child_is_killed(argv);
}

/* ---- instances ---- */

struct instance_record site_fork(struct site *site, const char *source, const char *name)
{
    struct instance_record record = fixture_fork(site->fixture, source, name, INSTANCE_RUNNING);
    assert_true(record.paged);
    return record;
}

bool was_paged(struct site *site, const struct instance_record *record)
{
    _cleanup_(free) char *text = NULL;
    size_t length = 0;
    struct error err = {0};
    struct path path = guest_path(site->fixture, record->id, "log/requests");
    assert_ok(file_read_all(AT_FDCWD, path.text, 1 << 20, &text, &length, &err), &err);
    return strstr(text, "\"Uffd\"") != NULL;
}

void assert_holds(struct site *site, const char *name, uint64_t token)
{
    struct error err = {0};
    assert_ok(guest_pattern(site->fixture->host, name, "check", token, token, &err), &err);
}

void site_fill(struct site *site, const char *name, uint64_t token)
{
    struct error err = {0};
    assert_ok(guest_pattern(site->fixture->host, name, "fill", token, 0, &err), &err);
}

void site_standby(struct site *site, const char *name)
{
    struct error err = {0};
    assert_ok(instance_standby(site->fixture->host, name, NULL, &err), &err);
}

void site_standby_packed(struct site *site, const char *name, const struct stack_compression *how)
{
    const struct standby_options options = {.has_compression = true, .compression = how};
    struct error err = {0};
    assert_ok(instance_standby_with(site->fixture->host, name, &options, NULL, &err), &err);
    await(site->fixture, name, COMPRESSION_DONE);
}

void assert_sleeps_packed(struct site *site, const char *name)
{
    const struct instance_record record = fixture_get(site->fixture, name);
    assert_int_equal(record.state, INSTANCE_STANDBY);
    assert_int_equal(record.compression_status.state, COMPRESSION_DONE);
    assert_absent(site->fixture, record.id, RAW);
}

void site_restore(struct site *site, const char *name)
{
    struct error err = {0};
    assert_ok(instance_restore(site->fixture->host, name, NULL, &err), &err);
}

void await_pager(struct site *site, const char *name, const char *state)
{
    for (unsigned i = 0; i < PATIENCE_MS / 10; i++) {
        struct instance_record record = fixture_get(site->fixture, name);
        if (record.paged ? strcmp(record.pager_status.state, state) == 0 : !*state)
            return;
        time_sleep_ms(10);
    }
    struct instance_record record = fixture_get(site->fixture, name);
    fail_msg("%s is %s, not %s: %s", name, record.paged ? record.pager_status.state : "not paged",
             state, record.pager_status.reason);
}

void await_takeovers(struct site *site, const char *name, unsigned takeovers)
{
    for (unsigned i = 0; i < PATIENCE_MS / 10; i++) {
        if (fixture_get(site->fixture, name).pager_status.takeovers >= takeovers)
            return;
        time_sleep_ms(10);
    }
    fail_msg("%s was not taken over %u times", name, takeovers);
}

void await_unknown(struct site *site, const char *name)
{
    for (unsigned i = 0; i < PATIENCE_MS / 10; i++) {
        if (fixture_get(site->fixture, name).state == INSTANCE_UNKNOWN)
            return;
        time_sleep_ms(10);
    }
    fail_msg("%s is not Unknown", name);
}

void site_sql(const struct site *site, const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/tine.db", site->fixture->data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

double site_metric(struct site *site, const char *series)
{
    size_t length = 0;
    struct error err = {0};
    _cleanup_(free) char *text = host_metrics(site->fixture->host, &length, &err);
    assert_non_null(text);
    double value = 0;
    assert_exposition(text);
    assert_true(exposition_value(text, series, &value));
    return value;
}

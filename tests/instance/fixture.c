/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/protocol.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/host.h"
#include "instance/warm.h"
#include "listing.h"

#define BOOT_ID    "/proc/sys/kernel/random/boot_id"
#define AGENT_MS   20000
#define AWAIT_MS   20000
#define ORPHANS_MS 20000

static const char *fake_vmm;

void file_make(const char *path, const char *text, off_t size)
{
    _cleanup_(close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    if (size > 0)
        assert_int_equal(ftruncate(fd, size), 0);
}

void boot_id_fake(const char *dir, const char *boot_id)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/boot_id", dir);
    file_make(path, boot_id, 0);
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount(path, BOOT_ID, NULL, MS_BIND, NULL), 0);
}

void boot_id_real(void)
{
    assert_int_equal(umount2(BOOT_ID, MNT_DETACH), 0);
}

void assert_ok(int result, const struct error *err)
{
    if (result < 0)
        print_error("unexpected: %s\n", err->message);
    assert_int_equal(result, 0);
}

void assert_fails(int result, const struct error *err, enum error_code code, const char *words)
{
    assert_true(result < 0);
    if (err->code != code || !strstr(err->message, words))
        print_error("code %d, expected %d with '%s': %s\n", (int)err->code, (int)code, words,
                    err->message);
    assert_int_equal(err->code, code);
    assert_int_equal(result, -err->errnum);
    assert_non_null(strstr(err->message, words));
    assert_null(strchr(err->message, '\n'));
}

struct host *fixture_host(const struct fixture *fixture, struct error *err)
{
    struct hypervisor driver = hypervisor_builtin(fixture->vmm);
    driver.saving = fixture->saving;
    driver.knows_layers = !fixture->without_layers;
    const struct host_options options = {.data_dir = fixture->data,
                                         .vmm_binary = fixture->vmm,
                                         .kit_dir = fixture->kit,
                                         .agent_timeout_ms = AGENT_MS,
                                         .firecracker = {.binary = fixture->firecracker},
                                         .hypervisor = &driver,
                                         .pager = fixture->pager,
                                         .standby_memory = fixture->standby_memory,
                                         .compaction = fixture->compaction,
                                         .warm = fixture->warm};
    return host_open(&options, err);
}

void fixture_open(struct fixture *fixture)
{
    struct error err = {0};
    fixture->host = fixture_host(fixture, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
}

void fixture_close(struct fixture *fixture)
{
    host_close(fixture->host);
    fixture->host = NULL;
}

void fixture_reopen(struct fixture *fixture)
{
    fixture_close(fixture);
    fixture_open(fixture);
}

struct fixture *fixture_on(const char *dir)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fixture->vmm = fake_vmm;
    fixture->standby_memory = STANDBY_MERGE;
    snprintf(fixture->dir, sizeof(fixture->dir), "%s", dir);
    snprintf(fixture->data, sizeof(fixture->data), "%s/data", dir);
    snprintf(fixture->kit, sizeof(fixture->kit), "%s/kit", dir);
    snprintf(fixture->kernel, sizeof(fixture->kernel), "%s/kernel", dir);
    snprintf(fixture->initrd, sizeof(fixture->initrd), "%s/initrd", dir);
    snprintf(fixture->writable, sizeof(fixture->writable), "%s/writable", dir);
    snprintf(fixture->read_only, sizeof(fixture->read_only), "%s/read_only", dir);
    return fixture;
}

static void make_files(struct fixture *fixture)
{
    char path[128];
    assert_int_equal(mkdir(fixture->kit, 0700), 0);
    snprintf(path, sizeof(path), "%s/vmlinux", fixture->kit);
    file_make(path, "kit kernel", 0);
    snprintf(path, sizeof(path), "%s/initrd.img", fixture->kit);
    file_make(path, "kit initrd", 0);
    file_make(fixture->kernel, "own kernel", 0);
    file_make(fixture->initrd, "own initrd", 0);
    file_make(fixture->writable, "writable disk", 1 << 20);
    file_make(fixture->read_only, "read-only disk", 1 << 20);
}

struct fixture *fixture_make(const char *dir)
{
    struct fixture *fixture = fixture_on(dir);
    make_files(fixture);
    fixture_open(fixture);
    return fixture;
}

int fixture_setup(void **state)
{
    char dir[] = "/tmp/tine-test-instance-XXXXXX";
    assert_non_null(mkdtemp(dir));
    *state = fixture_make(dir);
    return 0;
}

static void delete_snapshots(struct fixture *fixture)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(snapshot_list(fixture->host, &all, &records, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        assert_ok(snapshot_delete(fixture->host, records[i].id, &err), &err);
}

void fixture_delete_instances(struct fixture *fixture)
{
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(instance_list(fixture->host, &records, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        assert_ok(instance_delete(fixture->host, records[i].id, &err), &err);
}

/* What is ready for forks ends a little after its source. */
static void end_warm(struct fixture *fixture)
{
    _cleanup_(free) struct warm_entry *entries = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(warm_list(fixture->host, &entries, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        assert_ok((entries[i].snapshot ? snapshot_warm : instance_warm)(
                      fixture->host, entries[i].id, 0, NULL, &err),
                  &err);
}

/* Nothing waits for those who have died, where a tined has. */
static void wait_for_orphans(void)
{
    const uint64_t deadline = time_monotonic_ns() + ORPHANS_MS * 1000000ull;
    while (waitpid(-1, NULL, WNOHANG) >= 0 && time_monotonic_ns() < deadline)
        time_sleep_ms(1);
}

/* Children, and those of children that died (PR_SET_CHILD_SUBREAPER). */
static void assert_no_process(void)
{
    siginfo_t info = {.si_pid = 0};
    int r = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
    if (r == 0)
        print_error("process left: %d\n", info.si_pid);
    assert_int_equal(r, -1);
    assert_int_equal(errno, ECHILD);
}

void fixture_clear(struct fixture *fixture)
{
    static const char *const names[] = {"guests", "snapshots"};
    end_warm(fixture);
    fixture_delete_instances(fixture);
    delete_snapshots(fixture);
    if (fixture->orphans)
        wait_for_orphans();
    fixture->orphans = false;
    assert_no_process();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", fixture->data, names[i]);
        _cleanup_(free) char *left = listing(path);
        assert_string_equal(left, "");
    }
}

void child_is_killed(char *const argv[])
{
    pid_t pid;
    int status = 0;
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* VMMs that it ended are children of this process, which has no descriptor of them. */
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

/* The kernel's list may leave some out while others end, so it is read anew for each. */
void children_end(void)
{
    char path[64];
    int pid;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    for (;;) {
        _cleanup_(fclose) FILE *children = fopen(path, "re");
        if (!children || fscanf(children, "%d", &pid) != 1)
            return;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    fixture_clear(fixture);
    fixture_close(fixture);
    assert_int_equal(tree_remove(AT_FDCWD, fixture->dir, NULL), 0);
    free(fixture);
    return 0;
}

static int prepare(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FAKE_VMM\n", argv[0]);
        return 2;
    }
    fake_vmm = argv[1];
    log_set_level(getenv("TINE_TEST_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    /* It stays in the environment, with nothing in it: to add a variable moves all of them, under
     * the eyes of threads that read one. To replace one does not. */
    return setenv("TINE_FAILPOINT", "", 0);
}

int fixture_main_with(int argc, char **argv, int (*run)(void))
{
    int r = prepare(argc, argv);
    return r != 0 ? r : run();
}

int fixture_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    int r = prepare(argc, argv);
    if (r != 0)
        return r;
    cmocka_set_test_filter(getenv("TINE_TEST"));
    return _cmocka_run_group_tests("instance", tests, count, NULL, NULL);
}

struct instance_create_request fixture_request(const struct fixture *fixture, const char *name)
{
    return (struct instance_create_request){
        .name = name,
        .vcpus = 1,
        .memory_bytes = FIXTURE_MEMORY,
        .disks = {{.path = fixture->writable, .root = true},
                  {.path = fixture->read_only, .read_only = true}},
        .disk_count = 2,
    };
}

struct instance_record fixture_create(struct fixture *fixture, const char *name)
{
    const struct instance_create_request request = fixture_request(fixture, name);
    struct instance_record record;
    struct error err = {0};
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    return record;
}

struct instance_record fixture_create_diskless(struct fixture *fixture, const char *name)
{
    struct instance_create_request request = fixture_request(fixture, name);
    struct instance_record record;
    struct error err = {0};
    request.disk_count = 0;
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    return record;
}

struct instance_record fixture_fork(struct fixture *fixture, const char *source, const char *name,
                                    enum instance_state target)
{
    const struct instance_fork_request request = {
        .name = name, .has_target = true, .target = target};
    struct instance_record record;
    struct error err = {0};
    assert_ok(instance_fork(fixture->host, source, &request, &record, &err), &err);
    return record;
}

struct snapshot_record fixture_snapshot(struct fixture *fixture, const char *source,
                                        enum instance_state kind, const char *name)
{
    const struct snapshot_create_request request = {.kind = kind, .name = name};
    struct snapshot_record record;
    struct error err = {0};
    assert_ok(snapshot_create(fixture->host, source, &request, &record, &err), &err);
    return record;
}

struct instance_record fixture_get(struct fixture *fixture, const char *reference)
{
    struct instance_record record;
    struct error err = {0};
    assert_ok(instance_get(fixture->host, reference, &record, &err), &err);
    return record;
}

void assert_state(struct fixture *fixture, const char *reference, enum instance_state state)
{
    struct instance_record record = fixture_get(fixture, reference);
    assert_string_equal(instance_state_name(record.state), instance_state_name(state));
    bool has_vmm = state == INSTANCE_RUNNING || state == INSTANCE_INITIALIZING;
    assert_int_equal(record.vmm_pid > 0, has_vmm);
}

static bool has_come(struct fixture *fixture, const char *reference, enum instance_state state)
{
    const struct instance_record record = fixture_get(fixture, reference);
    return record.state == state && lock_users(fixture->host->locks, record.id) == 0;
}

void fixture_await(struct fixture *fixture, const char *reference, enum instance_state state)
{
    uint64_t deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
    while (!has_come(fixture, reference, state) && time_monotonic_ns() < deadline)
        time_sleep_ms(10);
    assert_state(fixture, reference, state);
}

static char *collect(int fd)
{
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    char *text = strdup("");
    struct agent_frame frame;
    struct error err = {0};
    while (agent_frame_read(fd, buffer, &frame, &err) > 0 && frame.type != AGENT_EXIT) {
        if (frame.type != AGENT_STDOUT)
            continue;
        char *longer = NULL;
        assert_true(asprintf(&longer, "%s%.*s", text, (int)frame.length, frame.payload) >= 0);
        free(text);
        text = longer;
    }
    assert_string_equal(err.message, "");
    text[strcspn(text, "\n")] = '\0';
    return text;
}

char *guest_run(struct fixture *fixture, const char *reference, const char *command,
                const char *argument)
{
    const char *const argv[] = {command, argument, NULL};
    const struct agent_exec exec = {.argv = argv};
    struct error err = {0};
    _cleanup_(close) int fd = instance_exec(fixture->host, reference, &exec, &err);
    assert_ok(fd < 0 ? fd : 0, &err);
    return collect(fd);
}

void guest_remember(struct fixture *fixture, const char *reference, const char *note)
{
    free(guest_run(fixture, reference, "remember", note));
    assert_recalls(fixture, reference, note);
}

void assert_recalls(struct fixture *fixture, const char *reference, const char *note)
{
    _cleanup_(free) char *text = guest_run(fixture, reference, "recall", NULL);
    assert_string_equal(text, note);
}

struct path guest_path(const struct fixture *fixture, const char *id, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof(path.text), "%s/guests/%s/%s", fixture->data, id, name);
    return path;
}

static struct stat stat_of(const struct path *path)
{
    struct stat st;
    if (lstat(path->text, &st) < 0)
        print_error("stat %s: %s\n", path->text, strerror(errno));
    assert_int_equal(lstat(path->text, &st), 0);
    return st;
}

struct path snapshot_path(const struct fixture *fixture, const char *id, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof(path.text), "%s/snapshots/%s/%s", fixture->data, id, name);
    return path;
}

struct content content_of(const struct path *path)
{
    struct content content;
    struct stat st;
    struct error err = {0};
    assert_int_equal(stat(path->text, &st), 0);
    content.inode = st.st_ino;
    assert_ok(file_read_all(AT_FDCWD, path->text, FIXTURE_MEMORY + 1, &content.bytes,
                            &content.length, &err),
              &err);
    return content;
}

void assert_content(struct content *before, const struct path *path)
{
    struct content after = content_of(path);
    assert_int_equal(before->inode, after.inode);
    assert_int_equal(before->length, after.length);
    assert_memory_equal(before->bytes, after.bytes, after.length);
    free(before->bytes);
    free(after.bytes);
}

struct stat snapshot_stat(const struct fixture *fixture, const char *id, const char *name)
{
    const struct path path = snapshot_path(fixture, id, name);
    return stat_of(&path);
}

struct stat guest_stat(const struct fixture *fixture, const char *id, const char *name)
{
    const struct path path = guest_path(fixture, id, name);
    return stat_of(&path);
}

void assert_absent(const struct fixture *fixture, const char *id, const char *name)
{
    struct path path = guest_path(fixture, id, name);
    struct stat st;
    assert_int_equal(lstat(path.text, &st), -1);
    assert_int_equal(errno, ENOENT);
}

void guest_orders(const struct fixture *fixture, const char *id, const char *orders)
{
    struct path path = guest_path(fixture, id, "fake-vmm");
    if (orders)
        file_make(path.text, orders, 0);
    else
        assert_int_equal(unlink(path.text), 0);
}

#define EVENT_MS 20000

struct event await_event(struct events_reader *reader, const char *kind)
{
    struct event event = {.sequence = 0};
    uint64_t lost = 0, deadline = time_monotonic_ns() + EVENT_MS * 1000000ull;
    while (time_monotonic_ns() < deadline) {
        int r = events_next(reader, &event, &lost);
        assert_true(r >= 0);
        if (r > 0 && strcmp(event.kind, kind) == 0)
            return event;
        if (r == 0)
            time_sleep_ms(5);
    }
    fail_msg("no event %s", kind);
    return event;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of a VM, and children of them, as processes: who sees which memory, who lives on when
 * another ends, and what is refused. The guest counts. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../snapshot/process.h"
#include "../snapshot/world.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/unix_socket.h"
#include "http/client.h"
#include "stack/disk_stack.h"

#define MEMORY_BYTES ((off_t)MEMORY_MIB << 20)

/* A process whose API is known: a VMM or a template. */
struct peer {
    struct place api;
    pid_t pid;
    char name[16];
};

struct family {
    char directory[64];
    struct process process; /* of the source */
    struct peer source, template;
    bool stack; /* the source has a second drive, a stack */
};

static void name_in(const struct family *family, char path[160], const char *prefix,
                    const char *name)
{
    snprintf(path, 160, "%s/%s.%s", family->directory, prefix, name);
}

/* ---- calls ---- */

static struct reply call(const struct peer *peer, const char *method, const char *path,
                         json_t *body)
{
    return pager_call(&peer->api, method, path, body, NULL, 0);
}

static void expect(const struct peer *peer, const char *method, const char *path, json_t *body,
                   int status)
{
    struct reply reply = call(peer, method, path, body);
    if (reply.status != status)
        fail_msg("%s %s of %s: %d %s", method, path, peer->name, reply.status,
                 json_string_value(json_object_get(reply.body, "fault_message")));
    reply_free(&reply);
}

/* The call is refused, in such words. */
static void expect_refused(const struct peer *peer, const char *path, json_t *body,
                           const char *words)
{
    struct reply reply = call(peer, "PUT", path, body);
    const char *message = json_string_value(json_object_get(reply.body, "fault_message"));
    assert_int_equal(reply.status, 400);
    if (!message || !strstr(message, words))
        fail_msg("not '%s': %s", words, message);
    reply_free(&reply);
}

static void set_state(const struct peer *peer, const char *state)
{
    expect(peer, "PATCH", "/vm", json_pack("{s:s}", "state", state), 204);
}

static void vm_pause(const struct peer *peer)
{
    set_state(peer, "Paused");
}

static void vm_resume(const struct peer *peer)
{
    set_state(peer, "Resumed");
}

static void save(const struct family *family, const struct peer *peer, const char *type,
                 const char *memory)
{
    char state[160], path[160];
    name_in(family, state, "state", peer->name);
    name_in(family, path, memory, peer->name);
    expect(peer, "PUT", "/snapshot/create",
           json_pack("{s:s, s:s, s:s}", "snapshot_type", type, "snapshot_path", state,
                     "mem_file_path", path),
           204);
}

/* What the paused VM has counted. */
static uint64_t counted(const struct family *family, const struct peer *peer)
{
    char path[160];
    uint64_t value = 0;
    save(family, peer, "Full", "memory");
    name_in(family, path, "memory", peer->name);
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &value, sizeof(value), (off_t)COUNTER), sizeof(value));
    return value;
}

/* Runs on until it has counted further, and is paused. */
static uint64_t count_on(const struct family *family, const struct peer *peer)
{
    uint64_t before = counted(family, peer);
    for (unsigned waited = 0; waited < PATIENCE_MS; waited++) {
        vm_resume(peer);
        time_sleep_ms(1);
        vm_pause(peer);
        uint64_t after = counted(family, peer);
        assert_true(after >= before);
        if (after > before)
            return after;
    }
    fail_msg("%s stands still at %llu", peer->name, (unsigned long long)before);
    return 0;
}

/* ---- processes ---- */

static bool lives(const struct peer *peer)
{
    return kill(peer->pid, 0) == 0;
}

static void wait_listening(const struct peer *peer)
{
    struct error err = {0};
    for (unsigned i = 0;; i++) {
        _cleanup_(close) int fd = unix_connect(peer->api.control, 0, &err);
        if (fd >= 0)
            return;
        if (i == PATIENCE_MS || !lives(peer))
            fail_msg("%s does not listen: %s", peer->name, err.message);
        time_sleep_ms(1);
    }
}

/* Zombies of another's children count as gone: whose they are reaps them. */
static void wait_gone(const struct peer *peer)
{
    for (unsigned i = 0; lives(peer) && waitpid(peer->pid, NULL, WNOHANG) != peer->pid; i++) {
        assert_true(i < PATIENCE_MS);
        time_sleep_ms(1);
    }
}

static void peer_kill(struct peer *peer)
{
    if (peer->pid <= 0)
        return;
    kill(peer->pid, SIGKILL);
    wait_gone(peer);
    unlink(peer->api.control);
    peer->pid = 0;
}

static void peer_init(const struct family *family, struct peer *peer, const char *name)
{
    *peer = (struct peer){.pid = 0};
    snprintf(peer->name, sizeof(peer->name), "%s", name);
    name_in(family, peer->api.control, "api", name);
}

static pid_t pid_of(struct reply *reply)
{
    if (reply->status != 200)
        fail_msg("%d %s", reply->status,
                 json_string_value(json_object_get(reply->body, "fault_message")));
    pid_t pid = (pid_t)json_integer_value(json_object_get(reply->body, "pid"));
    assert_true(pid > 0);
    reply_free(reply);
    return pid;
}

static json_t *template_body(const struct family *family)
{
    return json_pack("{s:s}", "socket_path", family->template.api.control);
}

static void make_template(struct family *family)
{
    peer_init(family, &family->template, "template");
    struct reply reply = call(&family->source, "PUT", "/template", template_body(family));
    assert_true(json_integer_value(json_object_get(reply.body, "fork_us")) > 0);
    family->template.pid = pid_of(&reply);
    wait_listening(&family->template);
}

static json_t *child_body(const struct family *family, const struct peer *child)
{
    char log[160], vsock[160], disk[160];
    name_in(family, log, "log", child->name);
    name_in(family, vsock, "vsock", child->name);
    name_in(family, disk, "disk", child->name);
    write_file(disk, world_program, sizeof(world_program));
    assert_int_equal(truncate(disk, 1 << 20), 0);
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:[{s:s, s:s}]}", "id", child->name,
                     "socket_path", child->api.control, "log_path", log, "serial_out_path",
                     "/dev/null", "vsock_override", "uds_path", vsock, "drives", "drive_id", "data",
                     "path_on_host", disk);
}

static void make_child(const struct family *family, struct peer *child, const char *name)
{
    peer_init(family, child, name);
    struct reply reply = call(&family->template, "PUT", "/children", child_body(family, child));
    child->pid = pid_of(&reply);
    wait_listening(child);
}

static int64_t status_of(const struct family *family, const char *field)
{
    struct reply reply = call(&family->template, "GET", "/", NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(json_string_value(json_object_get(reply.body, "state")), "Template");
    int64_t value = json_integer_value(json_object_get(reply.body, field));
    reply_free(&reply);
    return value;
}

static void end_template(struct family *family)
{
    expect(&family->template, "PUT", "/actions", json_pack("{s:s}", "action_type", "End"), 204);
    wait_gone(&family->template);
    family->template.pid = 0;
}

/* ---- the source ---- */

static void begin_process(struct family *family)
{
    process_begin(&family->process, family->directory);
    peer_init(family, &family->source, "source");
    family->source.api = family->process.api;
    family->source.pid = family->process.pid;
    expect(&family->source, "PUT", "/serial", json_pack("{s:s}", "serial_out_path", "/dev/null"),
           204);
}

static json_t *stack_drive(const struct family *family)
{
    char path[160];
    name_in(family, path, "stack", "source");
    return json_pack("{s:s, s:s, s:b, s:b}", "drive_id", "stack", "path_on_host", path,
                     "is_root_device", 0, "is_stack", 1);
}

static void boot(struct family *family)
{
    char kernel[160], disk[160], vsock[160];
    name_in(family, kernel, "kernel", "source");
    name_in(family, disk, "disk", "source");
    name_in(family, vsock, "vsock", "source");
    write_kernel(kernel);
    write_file(disk, world_program, sizeof(world_program));
    assert_int_equal(truncate(disk, 1 << 20), 0);
    begin_process(family);
    const struct peer *source = &family->source;
    expect(source, "PUT", "/machine-config",
           json_pack("{s:i, s:i}", "vcpu_count", 2, "mem_size_mib", MEMORY_MIB), 204);
    expect(source, "PUT", "/boot-source", json_pack("{s:s}", "kernel_image_path", kernel), 204);
    expect(
        source, "PUT", "/drives/data",
        json_pack("{s:s, s:s, s:b}", "drive_id", "data", "path_on_host", disk, "is_root_device", 0),
        204);
    if (family->stack)
        expect(source, "PUT", "/drives/stack", stack_drive(family), 204);
    expect(source, "PUT", "/vsock", json_pack("{s:i, s:s}", "guest_cid", 3, "uds_path", vsock),
           204);
    expect(source, "PUT", "/entropy", json_object(), 204);
    expect(source, "PUT", "/balloon", json_pack("{s:i, s:b}", "amount_mib", 0, "deflate_on_oom", 1),
           204);
    expect(source, "PUT", "/actions", json_pack("{s:s}", "action_type", "InstanceStart"), 204);
}

/* In a new process. */
static void boot_again(struct family *family)
{
    char vsock[160];
    name_in(family, vsock, "vsock", "source");
    unlink(vsock);
    boot(family);
}

static int family_setup(void **state)
{
    struct family *family = calloc(1, sizeof(*family));
    assert_non_null(family);
    strcpy(family->directory, "/tmp/tine-test-vmm-XXXXXX");
    assert_non_null(mkdtemp(family->directory));
    /* Children of those that end become ours, to be reaped. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    boot(family);
    *state = family;
    return 0;
}

static int family_teardown(void **state)
{
    struct family *family = *state;
    struct error err = {0};
    peer_kill(&family->template);
    process_kill(&family->process);
    unsetenv("TINE_FAILPOINT");
    assert_int_equal(tree_remove(AT_FDCWD, family->directory, &err), 0);
    free(family);
    return 0;
}

/* ---- tests ---- */

/* Of a paused VM, whose count is known: nobody's counting shows in another. */
static void test_copies(void **state)
{
    struct family *family = *state;
    struct peer first, second;
    vm_pause(&family->source);
    uint64_t value = count_on(family, &family->source);
    make_template(family);
    make_child(family, &first, "first");
    assert_true(counted(family, &first) == value);
    uint64_t further = count_on(family, &first);
    assert_true(counted(family, &family->source) == value);
    count_on(family, &family->source);
    assert_true(counted(family, &first) == further);
    make_child(family, &second, "second");
    assert_true(counted(family, &second) == value);
    assert_int_equal(status_of(family, "children"), 2);
    assert_true(status_of(family, "memory_bytes") == MEMORY_BYTES);
    assert_true(status_of(family, "pinned_bytes") > 0);
    peer_kill(&second);
    for (unsigned i = 0; status_of(family, "children") != 1; i++)
        assert_true(i < PATIENCE_MS);
    peer_kill(&first);
}

/* ---- a drive that is a stack ---- */

static struct stack_file stack_of(int directory, const struct peer *peer, char name[32])
{
    snprintf(name, 32, "stack.%s", peer->name);
    return (struct stack_file){directory, name, NULL};
}

static void stack_say(const struct stack_file *base, const char *text)
{
    struct error err = {0};
    struct iovec buffer = {(void *)(uintptr_t)text, strlen(text)};
    uint64_t done = 0;
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(base, true, &err);
    if (!stack)
        fail_msg("%s", err.message);
    assert_int_equal(disk_stack_write(stack, &buffer, 1, 0, &done), 0);
    assert_int_equal(disk_stack_flush(stack), 0);
}

static void expect_stack(const struct stack_file *base, const char *text)
{
    char found[32];
    struct error err = {0};
    struct iovec buffer = {found, strlen(text)};
    uint64_t done = 0;
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(base, false, &err);
    if (!stack)
        fail_msg("%s", err.message);
    assert_int_equal(disk_stack_read(stack, &buffer, 1, 0, &done), 0);
    assert_memory_equal(found, text, strlen(text));
}

static void expect_action(const struct peer *peer, const char *type, int status)
{
    expect(peer, "PUT", "/actions", json_pack("{s:s}", "action_type", type), status);
}

/* A new source, with a drive in which something was written before. */
static void boot_with_stack(struct family *family, const struct stack_file *base)
{
    struct error err = {0};
    char path[160];
    process_kill(&family->process);
    name_in(family, path, "stack", "source");
    write_file(path, world_program, sizeof(world_program));
    assert_int_equal(truncate(path, 1 << 20), 0);
    assert_int_equal(disk_freeze(base, &err), 0);
    stack_say(base, "of the source");
    family->stack = true;
    boot_again(family);
}

/* Sealed in the pause, its drive is forked by links; either goes on over a top of its own. */
static void test_stack(void **state)
{
    struct family *family = *state;
    struct peer child;
    struct error err = {0};
    struct stack_result result;
    struct disk_chain chain;
    char name[32], its_name[32], path[160];
    _cleanup_(close) int directory = dir_open(AT_FDCWD, family->directory, &err);
    const struct stack_file base = stack_of(directory, &family->source, name);
    boot_with_stack(family, &base);
    expect_refused(&family->source, "/actions", json_pack("{s:s}", "action_type", "SealDisks"),
                   "of a paused microVM");
    expect_action(&family->source, "FlushDisks", 204);
    vm_pause(&family->source);
    expect_action(&family->source, "SealDisks", 204);
    peer_init(family, &child, "child");
    const struct stack_file its = stack_of(directory, &child, its_name);
    if (disk_share(&base, &its, &result, &err) < 0)
        fail_msg("%s", err.message);
    make_template(family);
    vm_resume(&family->source);
    json_t *body = child_body(family, &child);
    name_in(family, path, "stack", "child");
    json_array_append_new(json_object_get(body, "drives"),
                          json_pack("{s:s, s:s}", "drive_id", "stack", "path_on_host", path));
    struct reply reply = call(&family->template, "PUT", "/children", body);
    child.pid = pid_of(&reply);
    wait_listening(&child);
    count_on(family, &child);
    expect_action(&child, "SealDisks", 204); /* nothing was written: there is nothing to do */
    assert_int_equal(disk_chain_find(&its, &chain, &err), 0);
    assert_true(chain.stack && chain.frozen && chain.count == 1);
    peer_kill(&child);
    process_kill(&family->process);
    stack_say(&its, "of the child");
    expect_stack(&base, "of the source");
    expect_stack(&its, "of the child");
}

/* The source runs all the while, and is killed; so is the template; the child goes on, and makes
 * children itself. */
static void test_lives_on(void **state)
{
    struct family *family = *state;
    struct peer first, second;
    make_template(family);
    struct reply reply = call(&family->source, "GET", "/", NULL);
    assert_string_equal(json_string_value(json_object_get(reply.body, "state")), "Running");
    reply_free(&reply);
    make_child(family, &first, "first");
    vm_pause(&family->source);
    assert_true(counted(family, &first) <= count_on(family, &family->source));
    process_kill(&family->process);
    count_on(family, &first);
    peer_kill(&family->template);
    uint64_t value = count_on(family, &first);
    family->source = first;
    make_template(family);
    make_child(family, &second, "second");
    peer_kill(&first);
    assert_true(counted(family, &second) == value);
    end_template(family);
    count_on(family, &second);
    peer_kill(&second);
}

static void compare_files(const struct family *family, const char *a, const char *b)
{
    static uint8_t page[4096], other[4096];
    char path[160];
    name_in(family, path, a, "child");
    _cleanup_(close) int first = open(path, O_RDONLY | O_CLOEXEC);
    name_in(family, path, b, "child");
    _cleanup_(close) int second = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(first >= 0 && second >= 0);
    for (off_t at = 0; at < MEMORY_BYTES; at += (off_t)sizeof(page)) {
        assert_int_equal(pread(first, page, sizeof(page), at), sizeof(page));
        assert_int_equal(pread(second, other, sizeof(other), at), sizeof(other));
        if (memcmp(page, other, sizeof(page)) != 0)
            fail_msg("page %lld differs", (long long)(at / (off_t)sizeof(page)));
    }
}

static void copy_to(const struct family *family, const char *from, const char *to)
{
    char path[160];
    static uint8_t page[4096];
    _cleanup_(close) int in = open(from, O_RDONLY | O_CLOEXEC);
    name_in(family, path, to, "child");
    _cleanup_(close) int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    while (read(in, page, sizeof(page)) == (ssize_t)sizeof(page))
        assert_int_equal(write(out, page, sizeof(page)), sizeof(page));
}

/* The child of a VM that was restored from a file: what differs from that file, put into a copy of
 * it, is all of the child. */
static void test_diff_of_child(void **state)
{
    struct family *family = *state;
    struct peer child;
    char memory[160], saved[160];
    struct stat st;
    vm_pause(&family->source);
    count_on(family, &family->source);
    name_in(family, memory, "memory", "source");
    name_in(family, saved, "state", "source");
    process_kill(&family->process);
    char vsock[160];
    name_in(family, vsock, "vsock", "source");
    unlink(vsock);
    begin_process(family);
    expect(&family->source, "PUT", "/snapshot/load",
           json_pack("{s:s, s:{s:s, s:s}, s:b}", "snapshot_path", saved, "mem_backend",
                     "backend_type", "File", "backend_path", memory, "resume_vm", 1),
           204);
    vm_pause(&family->source);
    make_template(family);
    make_child(family, &child, "child");
    /* Half of what differs is from before the template, half from after. */
    vm_resume(&child);
    vm_pause(&child);
    copy_to(family, memory, "diff");
    save(family, &child, "Diff", "diff");
    save(family, &child, "Full", "full");
    compare_files(family, "diff", "full");
    name_in(family, saved, "fresh", "child");
    save(family, &child, "Diff", "fresh");
    assert_int_equal(stat(saved, &st), 0);
    assert_true(st.st_blocks * 512 < MEMORY_BYTES / 8);
    peer_kill(&child);
}

/* That of a VM that was booted has no base: its diff is all of it. */
static void test_diff_of_booted_child(void **state)
{
    struct family *family = *state;
    struct peer child;
    make_template(family);
    make_child(family, &child, "child");
    save(family, &child, "Diff", "diff");
    save(family, &child, "Full", "full");
    compare_files(family, "diff", "full");
    peer_kill(&child);
}

/* With a mount of its own the child sees other files under the same names. */
static void test_own_mount(void **state)
{
    struct family *family = *state;
    struct peer child;
    char path[160];
    snprintf(path, sizeof(path), "%s/room", family->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    _cleanup_(close) int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0 && errno == EPERM)
        skip();
    assert_true(tree >= 0);
    make_template(family);
    peer_init(family, &child, "child");
    snprintf(child.api.control, sizeof(child.api.control), "%s/room/api", family->directory);
    json_t *body = child_body(family, &child);
    json_object_set_new(body, "socket_path", json_string("api"));
    json_object_set_new(body, "mount_point", json_string("/mnt"));
    json_object_set_new(body, "log_path", json_string("/mnt/log"));
    struct reply reply = pager_call(&family->template.api, "PUT", "/children", body, &tree, 1);
    child.pid = pid_of(&reply);
    wait_listening(&child);
    snprintf(path, sizeof(path), "%s/room/log", family->directory);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "/proc/%d/root/mnt/api", child.pid);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(access("/mnt/api", F_OK), -1);
    vm_pause(&child);
    count_on(family, &child);
    peer_kill(&child);
}

static void test_refused(void **state)
{
    struct family *family = *state;
    struct peer child;
    int fd = STDIN_FILENO;
    const struct peer *source = &family->source;
    peer_init(family, &family->template, "template");
    expect_refused(source, "/template", json_object(), "'socket_path' is missing");
    json_t *body = template_body(family);
    json_object_set_new(body, "mount_point", json_string("/mnt"));
    expect_refused(source, "/template", body, "0 descriptors came");
    struct reply reply =
        pager_call(&source->api, "PUT", "/template", template_body(family), &fd, 1);
    assert_int_equal(reply.status, 400);
    reply_free(&reply);
    make_template(family);
    expect_refused(&family->template, "/children", json_object(), "'id' is missing");
    expect_refused(&family->template, "/snapshot/create", json_object(), "a template has no PUT");
    expect_refused(&family->template, "/actions", json_pack("{s:s}", "action_type", "Run"),
                   "'action_type'");
    /* What only the child can find out ends the child alone, with a word in its log. */
    peer_init(family, &child, "child");
    body = child_body(family, &child);
    json_t *drives = json_object_get(body, "drives");
    json_object_set_new(json_array_get(drives, 0), "drive_id", json_string("other"));
    reply = call(&family->template, "PUT", "/children", body);
    child.pid = pid_of(&reply);
    wait_gone(&child);
    char path[160], *text = NULL;
    size_t length;
    name_in(family, path, "log", "child");
    assert_int_equal(file_read_all(AT_FDCWD, path, 1 << 20, &text, &length, NULL), 0);
    assert_non_null(strstr(text, "no drive 'other'"));
    free(text);
    make_child(family, &child, "good");
    peer_kill(&child);
}

static json_t *metrics_body(void)
{
    return json_pack("{s:s}", "action_type", "FlushMetrics");
}

/* A step that fails, or ends the process that takes it, is no other process's end. */
static void test_failures(void **state)
{
    struct family *family = *state;
    struct peer child;
    process_kill(&family->process);
    setenv("TINE_FAILPOINT", "vmm-template-fork=ENOMEM", 1);
    boot_again(family);
    peer_init(family, &family->template, "template");
    expect_refused(&family->source, "/template", template_body(family), "ENOMEM");
    expect(&family->source, "PUT", "/actions", metrics_body(), 204);
    process_kill(&family->process);
    setenv("TINE_FAILPOINT", "vmm-template-begin", 1);
    boot_again(family);
    struct reply reply = call(&family->source, "PUT", "/template", template_body(family));
    family->template.pid = pid_of(&reply);
    wait_gone(&family->template);
    family->template.pid = 0;
    vm_pause(&family->source);
    count_on(family, &family->source);
    process_kill(&family->process);
    setenv("TINE_FAILPOINT", "vmm-child-loaded", 1);
    boot_again(family);
    make_template(family);
    peer_init(family, &child, "child");
    reply = call(&family->template, "PUT", "/children", child_body(family, &child));
    child.pid = pid_of(&reply);
    wait_gone(&child);
    for (unsigned i = 0; status_of(family, "children") != 0; i++)
        assert_true(i < PATIENCE_MS);
    vm_pause(&family->source);
    count_on(family, &family->source);
}

/* One that ends before it can tell of its child takes it along; the source goes on. */
static void test_killed_in_birth(void **state)
{
    struct family *family = *state;
    struct peer child;
    struct error err = {0};
    process_kill(&family->process);
    setenv("TINE_FAILPOINT", "vmm-child-forked", 1);
    boot_again(family);
    make_template(family);
    peer_init(family, &child, "child");
    _cleanup_(json) json_t *body = child_body(family, &child);
    _cleanup_(free) char *text = json_dumps(body, 0);
    const struct http_call request = {.server = "template",
                                      .socket = family->template.api.control,
                                      .method = "PUT",
                                      .path = "/children",
                                      .body = text,
                                      .timeout_ms = PATIENCE_MS};
    _cleanup_(http_reply) struct http_reply reply = {.status = 0};
    assert_true(http_call(&request, &reply, &err) < 0);
    assert_int_equal(reply.status, 0);
    wait_gone(&family->template);
    family->template.pid = 0;
    vm_pause(&family->source);
    count_on(family, &family->source);
    process_kill(&family->process);
    for (unsigned i = 0; waitpid(-1, NULL, WNOHANG) >= 0; i++) {
        assert_true(i < PATIENCE_MS);
        time_sleep_ms(1);
    }
    assert_int_equal(errno, ECHILD);
}

static void test_idle(void **state)
{
    struct family *family = *state;
    peer_init(family, &family->template, "template");
    json_t *body = template_body(family);
    json_object_set_new(body, "idle_seconds", json_integer(1));
    struct reply reply = call(&family->source, "PUT", "/template", body);
    family->template.pid = pid_of(&reply);
    wait_gone(&family->template);
    family->template.pid = 0;
    vm_pause(&family->source);
    count_on(family, &family->source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_copies, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_stack, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_lives_on, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_diff_of_child, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_diff_of_booted_child, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_own_mount, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_refused, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_failures, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_killed_in_birth, family_setup, family_teardown),
        cmocka_unit_test_setup_teardown(test_idle, family_setup, family_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A driver against the fake VMM: whole lives of a VM, and every way to fail. The builtin one, or
 * Firecracker's where the second argument is a version. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/protocol.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "hypervisor/hypervisor.h"
#include "stack/disk_stack.h"
#include "stack/stack.h"
#include "support.h"

#define MIB ((uint64_t)1 << 20)

static struct hypervisor the_driver;

static struct hypervisor driver(void)
{
    return the_driver;
}

static bool is_builtin(void)
{
    return strcmp(the_driver.name, "builtin") == 0;
}

static struct vm_spec spec_of(const char *guest)
{
    return (struct vm_spec){
        .id = "abc-123", .guest_dir = guest, .vcpus = 2, .memory_bytes = 64 * MIB};
}

static struct vm_process boot(const struct vm_spec *spec)
{
    struct hypervisor hypervisor = driver();
    struct vm_process process;
    struct error err = {0};
    if (hypervisor.boot(&hypervisor, spec, &process, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(err.errnum, 0);
    assert_true(vm_process_alive(&process));
    return process;
}

static void end(struct vm_process *process)
{
    struct error err = {0};
    if (vm_process_kill(process, 10000, &err) != 0)
        fail_msg("%s", err.message);
    assert_no_children();
}

static void query_is(const struct vm_spec *spec, const char *expected)
{
    struct hypervisor hypervisor = driver();
    char state[16];
    struct error err = {0};
    if (hypervisor.query(&hypervisor, spec, state, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(state, expected);
}

/* Runs a command in the guest: standard output into `out`; returns its exit code. Frames are made
 * by hand here; the agent's client has tests of its own. */
static int guest_run(const char *guest, const char *command, const char *argument, char *out)
{
    uint8_t request[1024] = {0}, header[AGENT_FRAME_HEADER], payload[4096];
    size_t used = AGENT_FRAME_HEADER;
    const char *const arguments[] = {command, argument};
    for (unsigned i = 0; i < 2 && arguments[i]; i++) {
        const uint32_t length = (uint32_t)strlen(arguments[i]);
        request[used] = AGENT_TAG_ARG;
        memcpy(request + used + 4, &length, 4);
        memcpy(request + used + 8, arguments[i], length);
        used += 8 + length;
    }
    const uint32_t body = (uint32_t)used - AGENT_FRAME_HEADER;
    memcpy(request, &body, 4);
    request[4] = AGENT_EXEC;
    int fd = unix_connect(in_guest(guest, GUEST_VSOCK_SOCKET), 0, NULL);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "CONNECT 1024\n", 13), 13);
    char line[14];
    assert_int_equal(file_read_exact(fd, line, 14, "OK", NULL), 0);
    assert_int_equal(memcmp(line, "OK 1073741824\n", 14), 0);
    assert_int_equal(file_write_exact(fd, request, used, "request", NULL), 0);
    out[0] = '\0';
    for (;;) {
        uint32_t length;
        assert_int_equal(file_read_exact(fd, header, sizeof(header), "header", NULL), 0);
        memcpy(&length, header, 4);
        assert_in_range(length, 0, sizeof(payload) - 1);
        assert_int_equal(file_read_exact(fd, payload, length, "payload", NULL), 0);
        if (header[4] == AGENT_EXIT)
            break;
        assert_int_equal(header[4], AGENT_STDOUT);
        memcpy(out, payload, length);
        out[length] = '\0';
    }
    close(fd);
    int32_t code;
    assert_int_equal(payload[0], AGENT_TAG_EXIT_CODE);
    memcpy(&code, payload + 8, 4);
    return code;
}

static void test_boot(void **state)
{
    if (!is_builtin()) /* test_firecracker.c has its requests */
        return;
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    spec.has_initrd = true;
    spec.cmdline = "console=ttyS0 \"quoted\"";
    spec.disk_count = 2;
    spec.disks[0] = (struct vm_disk){.root = true, .read_only = true};
    write_file(in_guest(guest, "disks/0.img"), "disk");
    write_file(in_guest(guest, "disks/1.img"), "disk");
    write_file(in_guest(guest, GUEST_INITRD), "initrd");
    struct vm_process process = boot(&spec);
    char *requests = read_file(in_guest(guest, "log/requests"));
    assert_string_equal(
        requests,
        "PUT /machine-config {\"vcpu_count\":2,\"mem_size_mib\":64}\n"
        "PUT /boot-source {\"kernel_image_path\":\"/run/tine/guest/boot/kernel\","
        "\"initrd_path\":\"/run/tine/guest/boot/initrd\","
        "\"boot_args\":\"console=ttyS0 \\\"quoted\\\"\"}\n"
        "PUT /drives/disk0 {\"drive_id\":\"disk0\",\"path_on_host\":"
        "\"/run/tine/guest/disks/0.img\",\"is_root_device\":true,\"is_read_only\":true,"
        "\"cache_type\":\"Writeback\"}\n"
        "PUT /drives/disk1 {\"drive_id\":\"disk1\",\"path_on_host\":"
        "\"/run/tine/guest/disks/1.img\",\"is_root_device\":false,\"is_read_only\":false,"
        "\"cache_type\":\"Writeback\"}\n"
        "PUT /vsock {\"guest_cid\":3,\"uds_path\":\"/run/tine/guest/run/vsock.sock\"}\n"
        "PUT /entropy {}\n"
        "PUT /balloon {\"amount_mib\":0,\"deflate_on_oom\":true,\"free_page_reporting\":true}\n"
        "PUT /serial {\"serial_out_path\":\"/run/tine/guest/log/console.log\"}\n"
        "PUT /actions {\"action_type\":\"InstanceStart\"}\n");
    free(requests);
    query_is(&spec, "Running");
    char out[4096];
    assert_int_equal(guest_run(guest, "true", NULL, out), 0);
    assert_int_equal(guest_run(guest, "echo", "hello", out), 0);
    assert_string_equal(out, "hello\n");
    assert_int_equal(guest_run(guest, "nonsense", NULL, out), 127);
    end(&process);
    guest_remove(guest);
}

static void test_pause_resume_shutdown(void **state)
{
    struct hypervisor hypervisor = driver();
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    struct vm_process process = boot(&spec);
    assert_int_equal(hypervisor.pause(&hypervisor, &spec, NULL), 0);
    query_is(&spec, "Paused");
    assert_int_equal(hypervisor.pause(&hypervisor, &spec, NULL), 0);
    assert_int_equal(hypervisor.resume(&hypervisor, &spec, NULL), 0);
    query_is(&spec, "Running");
    assert_int_equal(hypervisor.shutdown(&hypervisor, &spec, NULL), 0);
    assert_int_equal(vm_process_wait(&process, 10000, NULL), 1);
    struct error err = {0};
    char text[16];
    assert_int_equal(hypervisor.query(&hypervisor, &spec, text, &err), -ECONNREFUSED);
    assert_true(contains(err.message, guest));
    end(&process);
    guest_remove(guest);
}

static void asked_of_disks(int (*ask)(const struct hypervisor *self, const struct vm_spec *spec,
                                      struct error *err),
                           const struct vm_spec *spec)
{
    struct hypervisor hypervisor = driver();
    struct error err = {0};
    if (ask(&hypervisor, spec, &err) != 0)
        fail_msg("%s", err.message);
}

static void write_to_stack(const struct stack_file *base)
{
    struct error err = {0};
    struct iovec buffer = {(void *)(uintptr_t) "text", 4};
    uint64_t done = 0;
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(base, true, &err);
    assert_non_null(stack);
    assert_int_equal(disk_stack_write(stack, &buffer, 1, 0, &done), 0);
    assert_int_equal(disk_stack_flush(stack), 0);
}

/* Disks that are stacks: sealed of a VM that is paused, and only then. */
static void test_disks(void **state)
{
    struct hypervisor hypervisor = driver();
    struct disk_chain chain;
    struct error err = {0};
    if (!is_builtin()) {
        assert_null(hypervisor.disks_flush);
        assert_null(hypervisor.disks_seal);
        return;
    }
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    spec.disk_count = 1;
    write_file(in_guest(guest, "disks/0.img"), "disk");
    assert_int_equal(truncate(in_guest(guest, "disks/0.img"), 1 << 20), 0);
    _cleanup_(close) int directory = dir_open(AT_FDCWD, in_guest(guest, "disks"), &err);
    const struct stack_file base = {directory, "0.img", NULL};
    assert_int_equal(disk_freeze(&base, &err), 0);
    write_to_stack(&base);
    struct vm_process process = boot(&spec);
    asked_of_disks(hypervisor.disks_flush, &spec);
    assert_true(hypervisor.disks_seal(&hypervisor, &spec, &err) < 0);
    assert_true(contains(err.message, "not paused"));
    assert_int_equal(hypervisor.pause(&hypervisor, &spec, &err), 0);
    write_file(in_guest(guest, "fake-vmm"), "full /actions no room\n");
    assert_int_equal(hypervisor.disks_seal(&hypervisor, &spec, &err), -ENOSPC);
    assert_int_equal(err.code, ERROR_RESOURCES);
    assert_int_equal(unlink(in_guest(guest, "fake-vmm")), 0);
    asked_of_disks(hypervisor.disks_seal, &spec);
    assert_int_equal(disk_chain_find(&base, &chain, &err), 0);
    assert_true(chain.frozen && chain.count == 1);
    end(&process);
    guest_remove(guest);
}

/* Sockets of a VMM that was killed are in nobody's way; the host's own listener stays. */
static void test_stale_sockets(void **state)
{
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    struct vm_process process = boot(&spec);
    end(&process);
    assert_int_equal(access(in_guest(guest, GUEST_API_SOCKET), F_OK), 0);
    assert_int_equal(access(in_guest(guest, GUEST_VSOCK_SOCKET), F_OK), 0);
    int listener = unix_listen(in_guest(guest, GUEST_VSOCK_SOCKET "_1025"), 0, NULL);
    process = boot(&spec);
    int fd = accept(listener, NULL, NULL); /* the guest says that it is ready */
    uint8_t header[AGENT_FRAME_HEADER];
    assert_int_equal(file_read_exact(fd, header, sizeof(header), "ready", NULL), 0);
    assert_int_equal(header[4], AGENT_OK);
    close(fd);
    close(listener);
    end(&process);
    guest_remove(guest);
}

/* run/ and log/ are made where missing. */
static void test_bare_guest_directory(void **state)
{
    char *guest = guest_make();
    assert_int_equal(rmdir(in_guest(guest, "run")), 0);
    assert_int_equal(rmdir(in_guest(guest, "log")), 0);
    struct vm_spec spec = spec_of(guest);
    struct vm_process process = boot(&spec);
    end(&process);
    guest_remove(guest);
}

static void test_long_guest_directory(void **state)
{
    char *guest = guest_make();
    char longer[512];
    snprintf(longer, sizeof(longer), "%s/%0180d", guest, 7);
    assert_int_equal(mkdir(longer, 0700), 0);
    assert_int_equal(rename(in_guest(guest, "boot"), in_guest(longer, "boot")), 0);
    struct vm_spec spec = spec_of(longer);
    struct vm_process process = boot(&spec);
    query_is(&spec, "Running");
    end(&process);
    guest_remove(guest);
}

/* Pauses, saves to "snapshot" and ends the VMM: a standby. */
static void standby(const struct vm_spec *spec, struct vm_process *process)
{
    struct hypervisor hypervisor = driver();
    struct error err = {0};
    assert_int_equal(mkdir(in_guest(spec->guest_dir, GUEST_SNAPSHOT), 0700), 0);
    assert_int_equal(hypervisor.pause(&hypervisor, spec, &err), 0);
    if (hypervisor.snapshot(&hypervisor, spec, GUEST_SNAPSHOT, false, &err) != 0)
        fail_msg("%s", err.message);
    end(process);
}

static const struct vm_restore running = {.resume = true};

static struct vm_process restore(const struct vm_spec *spec)
{
    struct hypervisor hypervisor = driver();
    struct vm_process process;
    struct error err = {0};
    if (hypervisor.restore(&hypervisor, spec, &running, &process, &err) != 0)
        fail_msg("%s", err.message);
    return process;
}

/* A guest directory of a fork: links to the source's snapshot, nothing else. */
static char *fork_of(const char *source)
{
    char *guest = guest_make();
    assert_int_equal(mkdir(in_guest(guest, GUEST_SNAPSHOT), 0700), 0);
    int from_dir = open(in_guest(source, GUEST_SNAPSHOT), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to_dir = open(in_guest(guest, GUEST_SNAPSHOT), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static const char *const names[] = {SNAPSHOT_STATE, SNAPSHOT_MEMORY};
    for (unsigned i = 0; i < 2; i++) {
        struct stack_file from = {from_dir, names[i], names[i]}, to = {to_dir, names[i], names[i]};
        struct stack_result result;
        assert_int_equal(stack_share(&from, &to, &result, NULL), 0);
        assert_int_equal(result.method, STACK_LINK);
    }
    close(from_dir);
    close(to_dir);
    return guest;
}

/* The thin slice in small: boot, standby, forks, source deleted, each fork with its own memory. */
static void test_standby_and_forks(void **state)
{
    enum { FORKS = 3 };
    char out[4096];
    char *source = guest_make(), *forks[FORKS];
    struct vm_spec spec = spec_of(source);
    struct vm_process process = boot(&spec), processes[FORKS];
    assert_int_equal(guest_run(source, "remember", "the source", out), 0);
    standby(&spec, &process);
    struct stat st;
    assert_int_equal(stat(in_guest(source, "snapshot/memory"), &st), 0);
    assert_int_equal(st.st_size, 64 * MIB);
    for (unsigned i = 0; i < FORKS; i++) {
        forks[i] = fork_of(source);
        struct vm_spec fork_spec = spec_of(forks[i]);
        processes[i] = restore(&fork_spec);
        query_is(&fork_spec, "Running");
    }
    guest_remove(source);
    for (unsigned i = 0; i < FORKS; i++) {
        char own[32];
        assert_int_equal(guest_run(forks[i], "recall", NULL, out), 0);
        assert_string_equal(out, "the source\n");
        snprintf(own, sizeof(own), "fork %u", i);
        assert_int_equal(guest_run(forks[i], "remember", own, out), 0);
    }
    for (unsigned i = 0; i < FORKS; i++) {
        char own[32];
        snprintf(own, sizeof(own), "fork %u\n", i);
        assert_int_equal(guest_run(forks[i], "recall", NULL, out), 0);
        assert_string_equal(out, own);
    }
    for (unsigned i = 0; i < FORKS; i++)
        assert_int_equal(vm_process_kill(&processes[i], 10000, NULL), 0);
    assert_no_children();
    for (unsigned i = 0; i < FORKS; i++)
        guest_remove(forks[i]);
}

static void test_restore_request(void **state)
{
    if (!is_builtin())
        return;
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    struct vm_process process = boot(&spec);
    standby(&spec, &process);
    assert_int_equal(unlink(in_guest(guest, "log/requests")), 0);
    process = restore(&spec);
    char *requests = read_file(in_guest(guest, "log/requests"));
    assert_string_equal(requests,
                        "PUT /serial {\"serial_out_path\":\"/run/tine/guest/log/console.log\"}\n"
                        "PUT /snapshot/load {\"snapshot_path\":\"/run/tine/guest/snapshot/state\","
                        "\"mem_backend\":{\"backend_type\":\"File\",\"backend_path\":"
                        "\"/run/tine/guest/snapshot/memory\"},\"resume_vm\":true,"
                        "\"clock_realtime\":true}\n");
    free(requests);
    end(&process);
    guest_remove(guest);
}

/* Restored but not resumed, the guest does nothing until it is let go. */
static void test_restore_paused(void **state)
{
    struct hypervisor hypervisor = driver();
    char *guest = guest_make(), out[4096];
    struct vm_spec spec = spec_of(guest);
    struct vm_process process = boot(&spec);
    struct error err = {0};
    assert_int_equal(guest_run(guest, "remember", "me", out), 0);
    standby(&spec, &process);
    if (hypervisor.restore(&hypervisor, &spec, &(struct vm_restore){0}, &process, &err) != 0)
        fail_msg("%s", err.message);
    query_is(&spec, "Paused");
    assert_int_equal(hypervisor.resume(&hypervisor, &spec, NULL), 0);
    query_is(&spec, "Running");
    assert_int_equal(guest_run(guest, "recall", NULL, out), 0);
    assert_string_equal(out, "me\n");
    end(&process);
    guest_remove(guest);
}

/* A boot that must fail: the message, and nothing left. */
static void boot_fails(const char *orders, int errnum, enum error_code code, const char *words)
{
    struct hypervisor hypervisor = driver();
    if (strncmp(orders, "no-listen", 9) == 0)
        hypervisor.ready_ms = 100;
    if (strncmp(orders, "hang", 4) == 0)
        hypervisor.request_ms = 100;
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    struct vm_process process;
    struct error err = {0};
    write_file(in_guest(guest, GUEST_VMM_LOG), "a line of an earlier VMM\n");
    write_file(in_guest(guest, "fake-vmm"), orders);
    assert_int_equal(hypervisor.boot(&hypervisor, &spec, &process, &err), -errnum);
    if (!contains(err.message, words) || contains(err.message, "earlier"))
        fail_msg("'%s' should hold '%s'", err.message, words);
    assert_int_equal(err.code, code);
    assert_int_equal(err.errnum, errnum);
    assert_no_children();
    assert_int_equal(unlink(in_guest(guest, "fake-vmm")), 0);
    process = boot(&spec); /* and it is still usable */
    end(&process);
    guest_remove(guest);
}

static void test_boot_fails(void **state)
{
    boot_fails("die-at-start /dev/kvm: No such file or directory", ECONNRESET, ERROR_SYSTEM,
               "abc-123 died at its start: the VMM exited with status 1; its log ends: "
               "fake-vmm: id abc-123 | /dev/kvm: No such file or directory");
    boot_fails("no-listen", ETIMEDOUT, ERROR_TIMEOUT, "does not listen after 100 ms");
    boot_fails("refuse /boot-source boot/kernel is no kernel", EREMOTEIO, ERROR_INVALID,
               "VMM refuses PUT /boot-source (status 400): boot/kernel is no kernel");
    boot_fails("refuse /actions no memory for it", EREMOTEIO, ERROR_INVALID, "no memory for it");
    boot_fails("die /actions bang", ECONNRESET, ERROR_SYSTEM,
               "PUT /actions: Empty reply from server: the VMM exited with status 3; its log ends: "
               "fake-vmm: id abc-123 | bang");
    boot_fails("hang /vsock", ETIMEDOUT, ERROR_TIMEOUT, "PUT /vsock within 100 ms");
    boot_fails("garbage /entropy", ECONNRESET, ERROR_SYSTEM, "PUT /entropy");
}

static void test_slow_start(void **state)
{
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    write_file(in_guest(guest, "fake-vmm"), "slow-listen 150");
    struct vm_process process = boot(&spec);
    end(&process);
    guest_remove(guest);
}

static void test_bad_specs(void **state)
{
    struct hypervisor hypervisor = driver();
    char *guest = guest_make();
    struct vm_process process;
    struct error err = {0};
    struct vm_spec spec = spec_of(guest);
    spec.memory_bytes = 64 * MIB + 1;
    assert_int_equal(hypervisor.boot(&hypervisor, &spec, &process, &err), -EINVAL);
    assert_true(contains(err.message, "67108865"));
    assert_no_children();
    spec = spec_of(guest);
    spec.disk_count = 1; /* there is no disks/0.img */
    assert_int_equal(hypervisor.boot(&hypervisor, &spec, &process, &err), -EREMOTEIO);
    assert_true(contains(err.message, "disks/0.img"));
    assert_no_children();
    spec = spec_of("/nowhere");
    assert_int_equal(hypervisor.boot(&hypervisor, &spec, &process, &err), -ENOENT);
    assert_true(contains(err.message, "/nowhere"));
    spec = spec_of(guest);
    hypervisor.binary = "/nowhere/tine-vmm";
    if (is_builtin()) {
        assert_int_equal(hypervisor.boot(&hypervisor, &spec, &process, &err), -ENOENT);
        assert_true(contains(err.message, "/nowhere/tine-vmm"));
    }
    guest_remove(guest);
}

static void test_bad_snapshot_names(void **state)
{
    static const char *const names[] = {"", ".", "..", "a/b", "/etc", "../other"};
    struct hypervisor hypervisor = driver();
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    struct vm_process process;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(hypervisor.restore(&hypervisor, &spec,
                                            &(struct vm_restore){.snapshot_dir = names[i]},
                                            &process, NULL),
                         -EINVAL);
        assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, names[i], false, NULL), -EINVAL);
    }
    assert_no_children();
    guest_remove(guest);
}

/* A restore that must fail: nothing is left, and the files are as they were. */
static void restore_fails(const struct vm_spec *spec, const char *words)
{
    struct hypervisor hypervisor = driver();
    struct vm_process process;
    struct error err = {0};
    assert_int_equal(hypervisor.restore(&hypervisor, spec, &running, &process, &err), -EREMOTEIO);
    if (!contains(err.message, words))
        fail_msg("'%s' lacks '%s'", err.message, words);
    assert_int_equal(err.code, ERROR_SYSTEM);
    assert_no_children();
}

static void test_restore_fails(void **state)
{
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    restore_fails(&spec, "snapshot/state");
    struct vm_process process = boot(&spec);
    standby(&spec, &process);
    const char *memory = in_guest(guest, "snapshot/memory"), *other = in_guest(guest, "other");
    assert_int_equal(truncate(memory, 64 * MIB - 4096), 0);
    restore_fails(&spec, "snapshot/memory");
    assert_int_equal(truncate(memory, 64 * MIB), 0);
    assert_int_equal(rename(memory, other), 0);
    restore_fails(&spec, "snapshot/memory");
    assert_int_equal(rename(other, memory), 0);
    process = restore(&spec); /* repaired, it works */
    end(&process);
    assert_int_equal(truncate(in_guest(guest, "snapshot/state"), 10), 0);
    restore_fails(&spec, "snapshot/state");
    guest_remove(guest);
}

static void test_snapshot_fails(void **state)
{
    struct hypervisor hypervisor = driver();
    char *guest = guest_make();
    struct vm_spec spec = spec_of(guest);
    struct error err = {0};
    struct vm_process process = boot(&spec);
    assert_int_equal(mkdir(in_guest(guest, GUEST_SNAPSHOT), 0700), 0);
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, false, &err),
                     -EREMOTEIO);
    assert_true(contains(err.message, "not paused"));
    assert_int_equal(hypervisor.pause(&hypervisor, &spec, &err), 0);
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, "missing", false, &err), -EREMOTEIO);
    assert_true(contains(err.message, "missing"));
    /* The VMM's disk is full. */
    write_file(in_guest(guest, "fake-vmm"), "full /snapshot/create no room for the memory");
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, false, &err), -ENOSPC);
    assert_int_equal(err.code, ERROR_RESOURCES);
    assert_true(contains(err.message, "no room for the memory"));
    /* The VMM says it is done, but the memory file is short: that is no standby. */
    write_file(in_guest(guest, "fake-vmm"), "short-memory");
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, false, &err), -EINVAL);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_true(contains(err.message, "67104768"));
    assert_int_equal(unlink(in_guest(guest, "fake-vmm")), 0);
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, false, &err), 0);
    assert_int_equal(hypervisor.resume(&hypervisor, &spec, &err), 0); /* it goes on */
    query_is(&spec, "Running");
    end(&process);
    guest_remove(guest);
}

/* A diff goes into the file that is there, or nowhere. */
static void test_merge(void **state)
{
    struct hypervisor hypervisor = driver();
    char *guest = guest_make(), out[4096];
    struct vm_spec spec = spec_of(guest);
    struct error err = {0};
    struct vm_process process = boot(&spec);
    assert_int_equal(guest_run(guest, "remember", "first", out), 0);
    standby(&spec, &process);
    process = restore(&spec);
    assert_int_equal(guest_run(guest, "remember", "second", out), 0);
    assert_int_equal(hypervisor.pause(&hypervisor, &spec, &err), 0);
    const char *memory = in_guest(guest, "snapshot/memory"), *away = in_guest(guest, "away");
    struct stat before, after;
    assert_int_equal(rename(memory, away), 0);
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, true, &err), -ENOENT);
    write_file(memory, "short");
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, true, &err), -EINVAL);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_int_equal(rename(away, memory), 0);
    /* Others have it. */
    assert_int_equal(link(memory, away), 0);
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, true, &err),
                     -EREMOTEIO);
    assert_true(contains(err.message, "write a diff into"));
    assert_int_equal(unlink(away), 0);
    assert_int_equal(stat(memory, &before), 0);
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, true, &err), 0);
    assert_int_equal(stat(memory, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    /* A VMM that makes a file of its own has made one of the changes alone. */
    assert_int_equal(link(memory, away), 0);
    write_file(in_guest(guest, "fake-vmm"), "fresh-diff");
    assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, true, &err), -ESTALE);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_int_equal(unlink(in_guest(guest, "fake-vmm")), 0);
    assert_int_equal(rename(away, memory), 0);
    end(&process);
    process = restore(&spec);
    assert_int_equal(guest_run(guest, "recall", NULL, out), 0);
    assert_string_equal(out, "second\n");
    end(&process);
    guest_remove(guest);
}

struct boot_thread {
    pthread_t thread;
    char *guest;
    struct vm_process process;
    int outcome;
};

static void *boot_run(void *context)
{
    struct boot_thread *boot_thread = context;
    struct hypervisor hypervisor = driver();
    struct vm_spec spec = spec_of(boot_thread->guest);
    boot_thread->outcome = hypervisor.boot(&hypervisor, &spec, &boot_thread->process, NULL);
    return NULL;
}

/* Many at once from one threaded daemon, each with its own memory and files. */
static void test_boot_at_once(void **state)
{
    struct boot_thread threads[10];
    char out[4096], ids[10][64];
    for (unsigned i = 0; i < 10; i++) {
        threads[i].guest = guest_make();
        assert_int_equal(pthread_create(&threads[i].thread, NULL, boot_run, &threads[i]), 0);
    }
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
        assert_int_equal(threads[i].outcome, 0);
    }
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(guest_run(threads[i].guest, "boot-id", NULL, out), 0);
        snprintf(ids[i], sizeof(ids[i]), "%.63s", out);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(vm_process_kill(&threads[i].process, 10000, NULL), 0);
        guest_remove(threads[i].guest);
    }
    assert_no_children();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_pause_resume_shutdown),
        cmocka_unit_test(test_disks),
        cmocka_unit_test(test_stale_sockets),
        cmocka_unit_test(test_bare_guest_directory),
        cmocka_unit_test(test_long_guest_directory),
        cmocka_unit_test(test_standby_and_forks),
        cmocka_unit_test(test_restore_request),
        cmocka_unit_test(test_restore_paused),
        cmocka_unit_test(test_boot_fails),
        cmocka_unit_test(test_slow_start),
        cmocka_unit_test(test_bad_specs),
        cmocka_unit_test(test_bad_snapshot_names),
        cmocka_unit_test(test_restore_fails),
        cmocka_unit_test(test_snapshot_fails),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_boot_at_once),
    };
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s FAKE_VMM [VERSION]\n", argv[0]);
        return 2;
    }
    char *firecracker = argc == 3 ? firecracker_make(argv[1], argv[2]) : NULL;
    if (!firecracker)
        the_driver = hypervisor_builtin(argv[1]);
    else if (hypervisor_firecracker(&(struct firecracker_options){.binary = firecracker},
                                    &the_driver, NULL) < 0)
        return 1;
    the_driver.ready_ms = 20000;
    int status = cmocka_run_group_tests_name("driver", tests, support_start, support_stop);
    hypervisor_release(&the_driver);
    if (firecracker)
        firecracker_remove(firecracker);
    return status;
}

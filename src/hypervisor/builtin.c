/* SPDX-License-Identifier: Apache-2.0 */
/* The driver for tine-vmm. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "hypervisor/firecracker_api.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/launch.h"
#include "hypervisor/process.h"
#include "hypervisor/vmm_log.h"
#include "stack/stack.h"

#define MIB                (1u << 20)
#define GUEST_CID          3    /* the same in every guest: it means something only per socket */
#define CONNECT_MS         5000 /* for a VMM that listens but is busy */
#define KILL_MS            10000
#define LAST_WORDS_MS      1000 /* a closed connection comes a little before the end of the process */
#define IN_GUEST_DIR(name) HYPERVISOR_GUEST_DIR "/" name

/* A VMM being started; on failure it is killed and its last words are added to the error. */
struct attempt {
    const struct hypervisor *self;
    const struct vm_spec *spec;
    struct vm_process process;
    uint64_t log_start;
    char *socket; /* on the host */
};

static char *host_path(const struct vm_spec *spec, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", spec->guest_dir, name) < 0 ? NULL : path;
}

/* Sends to the VMM of `spec`; used by all but the first connection. */
struct call {
    struct vmm_api api;
    char *socket;
};

static void cleanup_call(struct call *call)
{
    free(call->socket);
}

static int call_init(struct call *call, const struct vm_spec *spec, unsigned request_ms,
                     struct error *err)
{
    call->socket = host_path(spec, GUEST_API_SOCKET);
    if (!call->socket)
        return error_errno(err, ENOMEM, spec->guest_dir, "call the VMM of %s", spec->id);
    call->api = (struct vmm_api){
        .socket_path = call->socket, .connect_ms = CONNECT_MS, .request_ms = request_ms};
    return 0;
}

/* The VMM binds these two; left over from a process that was killed they would be in its way. */
static int remove_stale(int guest_fd, const struct vm_spec *spec, struct error *err)
{
    static const char *const names[] = {GUEST_API_SOCKET, GUEST_VSOCK_SOCKET};
    if (mkdirat(guest_fd, "run", 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, spec->guest_dir, "make %s/run", spec->guest_dir);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (unlinkat(guest_fd, names[i], 0) < 0 && errno != ENOENT)
            return error_errno(err, errno, spec->guest_dir, "remove the stale socket %s/%s",
                               spec->guest_dir, names[i]);
    }
    return 0;
}

/* 1 it listens, 0 not yet. A socket that refuses is bound but not listening yet. */
static int try_connect(const struct attempt *attempt, struct error *err)
{
    struct error cause = {0};
    int fd = unix_connect(attempt->socket, SOCK_NONBLOCK, &cause);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 || fd == -EAGAIN)
        return 1;
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return 0;
    if (err)
        *err = cause;
    return fd;
}

/* Tries ever less often, from 1 to 32 ms apart, and notices a VMM that dies meanwhile at once. */
static int wait_ready(const struct attempt *attempt, struct error *err)
{
    uint64_t deadline = time_monotonic_ns() + (uint64_t)attempt->self->ready_ms * 1000000u;
    struct pollfd end = {.fd = attempt->process.pidfd, .events = POLLIN};
    int pause_ms = 1;
    for (;;) {
        int r = try_connect(attempt, err);
        if (r != 0)
            return r < 0 ? r : 0;
        if (time_monotonic_ns() >= deadline)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "VMM of %s does not listen after %u ms",
                             attempt->spec->id, attempt->self->ready_ms);
        if (poll(&end, 1, pause_ms) > 0)
            return error_set(err, ERROR_SYSTEM, ECONNRESET, "VMM of %s died at its start",
                             attempt->spec->id);
        pause_ms = pause_ms < 32 ? pause_ms * 2 : 32;
    }
}

/* Ends the attempt. What the VMM refused in words is the cause itself; else, if it died, its exit
 * and the end of its log are. Returns `r`. */
static int attempt_fail(struct attempt *attempt, int r, struct error *err)
{
    char how[64], tail[512];
    bool vanished = r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT;
    if (vanished && process_wait_text(&attempt->process, LAST_WORDS_MS, how, NULL) > 0) {
        vmm_log_tail(attempt->spec->guest_dir, attempt->log_start, tail, sizeof(tail));
        char before[sizeof(err->message)];
        snprintf(before, sizeof(before), "%s", err ? err->message : "");
        error_set(err, ERROR_SYSTEM, -r, "%s: the VMM %s%s%s", before, how,
                  tail[0] ? "; its log ends: " : "", tail);
    }
    struct error kill_error = {0};
    if (vm_process_kill(&attempt->process, KILL_MS, &kill_error) < 0)
        error_wrap(err, "%s, after", kill_error.message);
    return r;
}

static int attempt_start(struct attempt *attempt, struct error *err)
{
    static const char socket[] = IN_GUEST_DIR(GUEST_API_SOCKET);
    const char *const arguments[] = {"--api-sock", socket, "--id", attempt->spec->id, NULL};
    const struct launch launch = {.binary = attempt->self->binary,
                                  .arguments = arguments,
                                  .guest_dir = attempt->spec->guest_dir};
    _cleanup_(close) int guest_fd = dir_open(AT_FDCWD, attempt->spec->guest_dir, err);
    if (guest_fd < 0)
        return guest_fd;
    int r = remove_stale(guest_fd, attempt->spec, err);
    return r < 0 ? r : launch_vmm(&launch, &attempt->process, &attempt->log_start, err);
}

static int put_machine(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    if (spec->memory_bytes == 0 || spec->memory_bytes % MIB != 0)
        return error_set(err, ERROR_INVALID, EINVAL, "%s: memory of %llu bytes is no whole MiB",
                         spec->id, (unsigned long long)spec->memory_bytes);
    return vmm_api_put(api, "/machine-config",
                       json_pack("{s:i, s:I}", "vcpu_count", (int)spec->vcpus, "mem_size_mib",
                                 (json_int_t)(spec->memory_bytes / MIB)),
                       err);
}

static int put_boot_source(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    return vmm_api_put(api, "/boot-source",
                       json_pack("{s:s, s:s*, s:s}", "kernel_image_path",
                                 IN_GUEST_DIR(GUEST_KERNEL), "initrd_path",
                                 spec->has_initrd ? IN_GUEST_DIR(GUEST_INITRD) : NULL, "boot_args",
                                 spec->cmdline ? spec->cmdline : HYPERVISOR_CMDLINE),
                       err);
}

static int put_drives(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    for (unsigned i = 0; i < spec->disk_count; i++) {
        const struct vm_disk *disk = &spec->disks[i];
        char id[16], resource[32], path[64];
        snprintf(id, sizeof(id), "disk%u", i);
        snprintf(resource, sizeof(resource), "/drives/%s", id);
        snprintf(path, sizeof(path), IN_GUEST_DIR(GUEST_DISKS) "/%u.img", i);
        /* Writeback: a guest's flush reaches the file, else it is not even offered. */
        int r = vmm_api_put(api, resource,
                            json_pack("{s:s, s:s, s:b, s:b, s:s}", "drive_id", id, "path_on_host",
                                      path, "is_root_device", disk->root, "is_read_only",
                                      disk->read_only, "cache_type", "Writeback"),
                            err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int put_vsock(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    return vmm_api_put(api, "/vsock",
                       json_pack("{s:i, s:s}", "guest_cid", GUEST_CID, "uds_path",
                                 IN_GUEST_DIR(GUEST_VSOCK_SOCKET)),
                       err);
}

static int put_entropy(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    return vmm_api_put(api, "/entropy", json_object(), err);
}

static int put_balloon(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    return vmm_api_put(api, "/balloon",
                       json_pack("{s:i, s:b, s:b}", "amount_mib", 0, "deflate_on_oom", 1,
                                 "free_page_reporting", 1),
                       err);
}

static int put_serial(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    return vmm_api_put(api, "/serial",
                       json_pack("{s:s}", "serial_out_path", IN_GUEST_DIR(GUEST_CONSOLE_LOG)), err);
}

static int put_start(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    return vmm_api_put(api, "/actions", json_pack("{s:s}", "action_type", "InstanceStart"), err);
}

static int configure(const struct vmm_api *api, const struct vm_spec *spec, struct error *err)
{
    static int (*const puts[])(const struct vmm_api *, const struct vm_spec *, struct error *) = {
        put_machine, put_boot_source, put_drives, put_vsock,
        put_entropy, put_balloon,     put_serial, put_start,
    };
    for (size_t i = 0; i < ARRAY_SIZE(puts); i++) {
        int r = puts[i](api, spec, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int builtin_boot(const struct hypervisor *self, const struct vm_spec *spec,
                        struct vm_process *process, struct error *err)
{
    struct attempt attempt = {.self = self, .spec = spec, .process.pidfd = -1};
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, spec, self->request_ms, err);
    if (r < 0)
        return r;
    attempt.socket = call.socket;
    r = attempt_start(&attempt, err);
    if (r < 0)
        return r;
    r = wait_ready(&attempt, err);
    if (r == 0)
        r = configure(&call.api, spec, err);
    if (r < 0)
        return attempt_fail(&attempt, r, err);
    *process = attempt.process;
    return 0;
}

/* The name of a directory of the guest directory, nothing that leads elsewhere. */
static int check_snapshot_dir(const char *name, struct error *err)
{
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "'%s' is no name of a snapshot directory",
                         name);
    return 0;
}

static json_t *load_body(const char *snapshot_dir, const struct vm_restore *how)
{
    char state[PATH_MAX], backend[PATH_MAX];
    snprintf(state, sizeof(state), HYPERVISOR_GUEST_DIR "/%s/" SNAPSHOT_STATE, snapshot_dir);
    if (how->pager_socket)
        snprintf(backend, sizeof(backend), HYPERVISOR_GUEST_DIR "/%s", how->pager_socket);
    else
        snprintf(backend, sizeof(backend), HYPERVISOR_GUEST_DIR "/%s/" SNAPSHOT_MEMORY,
                 snapshot_dir);
    return json_pack("{s:s, s:{s:s, s:s}, s:b, s:b, s:b}", "snapshot_path", state, "mem_backend",
                     "backend_type", how->pager_socket ? "Uffd" : "File", "backend_path", backend,
                     "track_dirty_pages", how->pager_socket != NULL, "resume_vm", how->resume,
                     "clock_realtime", 1);
}

static int load(const struct vmm_api *api, const struct vm_spec *spec, const char *snapshot_dir,
                const struct vm_restore *how, struct error *err)
{
    int r = put_serial(api, spec, err);
    if (r < 0)
        return r;
    r = vmm_api_put(api, "/snapshot/load", load_body(snapshot_dir, how), err);
    /* The request was ours: what the VMM can't load is the files' fault, not the user's. */
    if (r == -EREMOTEIO && err)
        err->code = ERROR_SYSTEM;
    return r;
}

static int builtin_restore(const struct hypervisor *self, const struct vm_spec *spec,
                           const struct vm_restore *how, struct vm_process *process,
                           struct error *err)
{
    const char *snapshot_dir = how->snapshot_dir ? how->snapshot_dir : GUEST_SNAPSHOT;
    struct attempt attempt = {.self = self, .spec = spec, .process.pidfd = -1};
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = check_snapshot_dir(snapshot_dir, err);
    if (r == 0)
        r = call_init(&call, spec, self->snapshot_ms, err);
    if (r < 0)
        return r;
    attempt.socket = call.socket;
    r = attempt_start(&attempt, err);
    if (r < 0)
        return r;
    r = wait_ready(&attempt, err);
    if (r == 0)
        r = load(&call.api, spec, snapshot_dir, how, err);
    if (r < 0)
        return attempt_fail(&attempt, r, err);
    *process = attempt.process;
    return 0;
}

static int patch_state(const struct hypervisor *self, const struct vm_spec *spec, const char *state,
                       struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, spec, self->request_ms, err);
    return r < 0 ? r : vmm_api_patch(&call.api, "/vm", json_pack("{s:s}", "state", state), err);
}

static int builtin_pause(const struct hypervisor *self, const struct vm_spec *spec,
                         struct error *err)
{
    return patch_state(self, spec, "Paused", err);
}

static int builtin_resume(const struct hypervisor *self, const struct vm_spec *spec,
                          struct error *err)
{
    return patch_state(self, spec, "Resumed", err);
}

static int snapshot_open(const struct vm_spec *spec, const char *snapshot_dir, struct error *err)
{
    _cleanup_(free) char *path = host_path(spec, snapshot_dir);
    if (!path)
        return error_errno(err, ENOMEM, spec->guest_dir, "check the snapshot of %s", spec->id);
    return dir_open(AT_FDCWD, path, err);
}

static int memory_stat(const struct vm_spec *spec, const char *snapshot_dir,
                       struct stack_stat *stat, struct error *err)
{
    _cleanup_(close) int dir = snapshot_open(spec, snapshot_dir, err);
    if (dir < 0)
        return dir;
    const struct stack_file memory = {dir, SNAPSHOT_MEMORY, "the snapshot's memory"};
    int r = stack_check_size(&memory, spec->memory_bytes, err);
    if (r == 0)
        r = stack_stat(&memory, stat, err);
    if (r < 0)
        error_wrap(err, "%s/%s", spec->guest_dir, snapshot_dir);
    return r;
}

/* A snapshot that is cut short must not become a standby. */
static int check_snapshot(const struct vm_spec *spec, const char *snapshot_dir, struct error *err)
{
    struct stack_stat stat;
    int r = memory_stat(spec, snapshot_dir, &stat, err);
    if (r < 0)
        return r;
    _cleanup_(close) int dir = snapshot_open(spec, snapshot_dir, err);
    if (dir < 0)
        return dir;
    const struct stack_file state = {dir, SNAPSHOT_STATE, "the snapshot's state"};
    r = stack_stat(&state, &stat, err);
    if (r == 0 && stat.size == 0)
        r = error_set(err, ERROR_CORRUPT, ENODATA, "the snapshot's state is empty");
    if (r < 0)
        error_wrap(err, "%s/%s", spec->guest_dir, snapshot_dir);
    return r;
}

static int create(const struct hypervisor *self, const struct vm_spec *spec,
                  const char *snapshot_dir, const char *type, struct error *err)
{
    char state[PATH_MAX], memory[PATH_MAX];
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, spec, self->snapshot_ms, err);
    if (r < 0)
        return r;
    snprintf(state, sizeof(state), HYPERVISOR_GUEST_DIR "/%s/" SNAPSHOT_STATE, snapshot_dir);
    snprintf(memory, sizeof(memory), HYPERVISOR_GUEST_DIR "/%s/" SNAPSHOT_MEMORY, snapshot_dir);
    return vmm_api_put(&call.api, "/snapshot/create",
                       json_pack("{s:s, s:s, s:s}", "snapshot_type", type, "snapshot_path", state,
                                 "mem_file_path", memory),
                       err);
}

/* The file that is there is what the VMM has to write into: where it is missing, or of another
 * size, a VMM makes one that has the changes alone. */
static int merge(const struct hypervisor *self, const struct vm_spec *spec,
                 const char *snapshot_dir, struct error *err)
{
    struct stack_stat before, after;
    int r = memory_stat(spec, snapshot_dir, &before, err);
    if (r == 0)
        r = create(self, spec, snapshot_dir, "Diff", err);
    if (r == 0)
        r = memory_stat(spec, snapshot_dir, &after, err);
    if (r == 0 && (before.inode != after.inode || before.device != after.device))
        r = error_set(err, ERROR_CORRUPT, ESTALE,
                      "%s: the VMM has not written into the memory file that was there", spec->id);
    return r;
}

static int builtin_snapshot(const struct hypervisor *self, const struct vm_spec *spec,
                            const char *snapshot_dir, bool merges, struct error *err)
{
    int r = check_snapshot_dir(snapshot_dir, err);
    if (r == 0)
        r = merges ? merge(self, spec, snapshot_dir, err)
                   : create(self, spec, snapshot_dir, "Full", err);
    return r < 0 ? r : check_snapshot(spec, snapshot_dir, err);
}

static int builtin_shutdown(const struct hypervisor *self, const struct vm_spec *spec,
                            struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, spec, self->request_ms, err);
    return r < 0 ? r
                 : vmm_api_put(&call.api, "/actions",
                               json_pack("{s:s}", "action_type", "SendCtrlAltDel"), err);
}

static int builtin_query(const struct hypervisor *self, const struct vm_spec *spec, char state[16],
                         struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, spec, self->request_ms, err);
    json_t *answer = NULL;
    if (r == 0)
        r = vmm_api_get(&call.api, "/", &answer, err);
    if (r < 0)
        return r;
    const char *text = json_string_value(json_object_get(answer, "state"));
    if (text && strlen(text) < 16)
        snprintf(state, 16, "%s", text);
    else
        r = error_set(err, ERROR_SYSTEM, EPROTO, "VMM of %s does not tell its state", spec->id);
    json_decref(answer);
    return r;
}

struct hypervisor hypervisor_builtin(const char *binary)
{
    return (struct hypervisor){
        .name = "builtin",
        .boot = builtin_boot,
        .restore = builtin_restore,
        .pause = builtin_pause,
        .resume = builtin_resume,
        .snapshot = builtin_snapshot,
        .shutdown = builtin_shutdown,
        .query = builtin_query,
        .binary = binary,
        .ready_ms = 10000,
        .request_ms = 30000,
        .snapshot_ms = 600000,
    };
}

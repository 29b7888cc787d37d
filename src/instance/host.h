/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the host, and what an operation holds while it works on one instance. */
#ifndef TINE_INSTANCE_HOST_H
#define TINE_INSTANCE_HOST_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "instance/instance.h"
#include "instance/lock.h"

#define VMM_KILL_MS \
    10000 /* how long a killed VMM may take to be gone: it frees its guest's memory */

#define HOST_HYPERVISORS 2

#define POWER_OFF_GRACE_MS 5000 /* the default of the REST contract */

struct compressor;
struct console_cap;
struct due;
struct image_store;
struct paging;
struct telemetry;
struct trace;
struct watch;

/* Nothing in it changes after host_open() but what its parts guard themselves. */
struct host {
    char *data_dir;      /* absolute */
    char *guests_dir;    /* <data_dir>/guests */
    char *snapshots_dir; /* <data_dir>/snapshots */
    char *kit_dir;       /* NULL: none */
    char *vmm_binary;
    unsigned agent_timeout_ms;
    struct hypervisor hypervisors[HOST_HYPERVISORS]; /* the first is that of who names none */
    bool has_compression;                            /* of memory images, by default */
    struct stack_compression compression;
    int lock_fd; /* holds the flock of <data_dir>/lock */
    int guests_fd, snapshots_fd;
    struct store *store;
    struct image_store *images;
    struct telemetry *telemetry;
    struct lock_table *locks;
    struct watch *watch;
    struct compressor *compressor;
    struct console_cap *console_cap;
    enum memory_backend memory_backend;
    enum standby_memory standby_memory;
    struct compaction_options compaction;
    struct paging *paging; /* NULL: there are no pagers */
    struct due *expiry;
    struct due *restarts[4]; /* a guest that never gets ready does not hold up the others */
};

/* An instance in somebody's hands: its lock, its row as it is known, its guest directory. */
struct operation {
    struct host *host;
    struct lock_hold hold;
    struct instance_record record;
    char *guest_dir;     /* absolute path, for VMMs and sockets */
    int guest_fd;        /* -1: not made yet, or missing */
    uint64_t waited_ns;  /* for the lock */
    struct trace *trace; /* what it is part of; NULL: nothing that anybody asked for */
    bool removed;        /* there is nothing left of the instance */
};

/* Resolves, waits for the lock, reads the row and puts it right if its VMM has died meanwhile. A
 * missing guest directory is an error. */
int operation_begin(struct host *host, const char *reference, enum lock_kind kind,
                    struct operation *op, struct error *err);
/* The same by id, without a look at VMM and directory: for delete, recovery and the watcher. */
int operation_begin_raw(struct host *host, const char *id, enum lock_kind kind,
                        struct operation *op, struct error *err);
/* Begins with a new instance: a fresh id, locked for writing; no row, no directory yet. */
int operation_begin_new(struct host *host, struct operation *op, struct error *err);
/* Opens op->guest_fd. */
int operation_open_directory(struct operation *op, struct error *err);
/* Releases what it holds; safe to call twice. */
void operation_end(struct operation *op);
/* For `_cleanup_(operation) struct operation op = OPERATION_NONE;` */
static inline void cleanup_operation(struct operation *op)
{
    operation_end(op);
}
/* clang-format off */ /* its versions differ on braces in macros */
#define OPERATION_NONE {.guest_fd = -1}
/* clang-format on */

/* One that is not held, or not any more, as it is now; what is gone is `removed`. */
void operation_look(struct operation *op);
/* Moves to the next state for everybody who looks: one legal hop (asserted). The row is not
 * written. */
void operation_show(struct operation *op, enum instance_state state);
/* Copies the row to the caller's record, if there is one; as it may be shown: without a VMM that is
 * gone. */
void operation_result(const struct operation *op, struct instance_record *record);
void record_tidy(struct instance_record *record);
/* True if the row's state means that a VMM runs. */
bool record_has_vmm(const struct instance_record *record);
bool record_has_writable_disk(const struct instance_record *record);
/* A fork that sleeps with what it was made of: by its row it never slept before. Whether a restore
 * was begun says nothing, its tined may have died before the first instruction. */
bool record_is_new_fork(const struct instance_record *record);

/* The driver of that name; NULL: none is called so. */
const struct hypervisor *host_hypervisor(const struct host *host, const char *name);
/* The one that is asked for in a request's `field`, if VMs can be started with it; else
 * ERROR_UNSUPPORTED, or what is wrong with its program. */
int host_hypervisor_find(const struct host *host, const char *field, const char *name,
                         const struct hypervisor **hypervisor, struct error *err);
/* The driver of the row, which operation_begin() has seen to be there. */
const struct hypervisor *operation_hypervisor(const struct operation *op);
/* ERROR_UNSUPPORTED where there is none. */
int operation_check_hypervisor(const struct operation *op, struct error *err);
/* The VM as a driver wants it; valid as long as the operation. */
struct vm_spec operation_spec(const struct operation *op);
/* The VMM of the row: true if it is alive; `process` then has a pidfd, which the caller closes
 * (process_release()). */
bool operation_process(const struct operation *op, struct vm_process *process);
void process_release(struct vm_process *process);
/* After it did not answer, with `r`: true if that is because it has ended, or is ending. Its
 * connections close a little before its end, which is waited for. */
bool process_has_ended(const struct vm_process *process, int r);
/* "guests/<id>/<name>", for messages. */
struct label {
    char text[128];
};
struct label operation_label(const struct operation *op, const char *name);
/* The file `name` of its directory `directory`, opened as `from`, gets that name in the directory
 * `to` that is being made, too (stack_share()). */
int operation_share(const struct operation *op, int from, const char *directory, int to,
                    const char *name, struct error *err);
/* Absolute path of a name in the guest directory; owner: caller, NULL: no memory. */
char *operation_path(const struct operation *op, const char *name);

/* How memory images are compressed where a request does not say: as the policy or else the host
 * does; NULL: not at all. Valid as long as both. */
const struct stack_compression *policy_compression(const struct host *host,
                                                   const struct snapshot_policy *policy);

/* A failpoint as a step that can fail: 0, or the error filled. */
int step(const char *name, struct error *err);

/* The operations themselves, on an instance already locked for writing and in the right state. */
int boot_locked(struct operation *op, struct error *err);
int standby_locked(struct operation *op, struct error *err);
int restore_locked(struct operation *op, struct error *err);
/* Ends the VMM of the row, if there is one, at once. It stays watched until the row says so too. */
int kill_locked(struct operation *op, struct error *err);
/* Asks the guest to power off, ends the VMM after `grace_ms` at the latest; the row says Stopped.
 */
int power_off_locked(struct operation *op, unsigned grace_ms, struct error *err);
/* The operation "delete". `note` says why, "" if somebody asked for it. */
int delete_locked(struct operation *op, const char *note, struct error *err);
/* Removes everything there is of an instance: VMM, directory, row. */
int remove_locked(struct operation *op, struct error *err);

#endif

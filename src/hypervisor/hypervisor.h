/* SPDX-License-Identifier: Apache-2.0 */
/* The driver interface: how tined starts, pauses, saves, restores and ends a VM, whatever VMM runs
 * it. Paths given to a VMM are those of its own mount namespace, where the guest directory is
 * always HYPERVISOR_GUEST_DIR, so a saved state means the right files in every fork. */
#ifndef TINE_HYPERVISOR_HYPERVISOR_H
#define TINE_HYPERVISOR_HYPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Where a VMM sees its guest directory: constant for every instance on every host. */
#define HYPERVISOR_GUEST_DIR "/run/tine/guest"

/* Names inside a guest directory (relative to it on the host, below HYPERVISOR_GUEST_DIR inside).
 */
#define GUEST_API_SOCKET   "run/api.sock"
#define GUEST_VSOCK_SOCKET "run/vsock.sock" /* guest port P: run/vsock.sock_P on the host */
#define GUEST_PAGER_SOCKET "run/pager.sock" /* made by the pager, connected to by the VMM */
#define GUEST_VMM_LOG      "log/vmm.log"
#define GUEST_CONSOLE_LOG  "log/console.log"
#define GUEST_KERNEL       "boot/kernel"
#define GUEST_INITRD       "boot/initrd"
#define GUEST_DISKS        "disks"    /* disks/0.img, disks/1.img ..., and their layers */
#define GUEST_SNAPSHOT     "snapshot" /* directory: state, memory; present only in Standby */
#define GUEST_BASE         "base"     /* directory: memory; what the running VM was restored from */
#define SNAPSHOT_STATE     "state"
#define SNAPSHOT_MEMORY    "memory"
#define SNAPSHOT_DIFF      "diff"  /* of VM_SAVE_DIFF, in place of memory */
#define SNAPSHOT_LAYER     "layer" /* of VM_SAVE_LAYER */

#define GUEST_MAX_DISKS 8

/* The kernel command line when vm_spec.cmdline is NULL. It is quiet, as each byte that a kernel
 * writes to its console is an exit of the VM: errors and panics are still shown, dmesg has the
 * rest. */
#define HYPERVISOR_CMDLINE \
    "console=ttyS0 quiet reboot=k panic=1 i8042.noaux i8042.nomux i8042.dumbkbd"

struct vm_disk {
    bool read_only;
    bool root;
};

/* What a VM is made of, as far as a VMM must be told; paths follow from the names above. */
struct vm_spec {
    const char *id;
    const char *guest_dir; /* on the host, absolute */
    unsigned vcpus;
    uint64_t memory_bytes; /* a multiple of 1 MiB */
    bool has_initrd;
    const char *cmdline; /* NULL: the driver's default */
    struct vm_disk disks[GUEST_MAX_DISKS];
    unsigned disk_count;
};

/* A running VMM process. It is a child of the tined that started it, so it stays a zombie until one
 * of vm_process_kill(), _wait() or _alive() has seen its end; a later tined adopts it by pid and
 * start_ticks with pidfd -1. */
struct vm_process {
    pid_t pid;
    int pidfd;
    uint64_t start_ticks; /* field 22 of /proc/<pid>/stat: tells a reused pid apart */
};

/* What the next standby of a VM does with its retained base, the memory file it was restored from.
 */
enum hypervisor_saving {
    /* A private base is merged: only what changed is written into it. One that other owners share
     * is unshared and merged where that is a reflink; where it would be a copy, a fresh file of all
     * memory is written instead: that has the changes in it and is not written twice. */
    HYPERVISOR_SAVES_CHEAPEST,
    /* Always unshared and merged, for VMMs that write into whatever file is there. */
    HYPERVISOR_SAVES_MERGED,
    /* A fresh file every time, for VMMs that know no diffs. */
    HYPERVISOR_SAVES_FULL,
};

/* How a paused VM is saved. */
enum vm_save {
    VM_SAVE_FULL,   /* all memory, into a fresh file `memory` */
    VM_SAVE_MERGED, /* what differs, into the `memory` that is there: the file that the VM was
                       restored from or a copy of it, with one name */
    VM_SAVE_DIFF,   /* what differs, alone, into a fresh sparse file `diff`: data, zeros too, where
                       it does. It need not be synced. */
    VM_SAVE_LAYER,  /* the same as a layer (stack/layer.h), `layer`, complete and synced */
};

/* How a snapshot is restored. */
struct vm_restore {
    const char *snapshot_dir; /* a name in the guest directory; NULL: GUEST_SNAPSHOT */
    bool resume;
    /* The socket, by its name in the guest directory, of the pager that the VMM hands its memory
     * to; NULL: the VMM maps the snapshot's memory file. */
    const char *pager_socket;
    unsigned layers; /* over the memory file, that the VMM maps too: where it `knows_layers` */
    /* A pager serves one process, and a state that the VMM refuses as it was asked for may need a
     * second one: makes the socket anew. NULL: there is no second attempt with a pager. */
    int (*pager_again)(void *context, struct error *err);
    void *context;
};

/* A template: a process that has a VM as it stood at one moment, and that VMs are made of. It has a
 * guest directory of its own, as they do, with run/ and log/. */
struct vm_template {
    const char *id;
    const char *guest_dir; /* on the host, absolute */
    unsigned idle_seconds; /* it ends when it was asked for nothing for so long; 0: never */
};

/* Pages of guest memory, by their place in a memory file. */
struct vm_pages {
    uint64_t page, count;
};
#define VM_POPULATE_MAX 512u /* runs at a time */

/* Pages that are to be there before the guest needs them. */
struct vm_populate {
    const struct vm_pages *runs;
    size_t count; /* at most VM_POPULATE_MAX */
    bool write;   /* as if the guest had written them: they are the VM's own afterwards */
    bool kvm;     /* in KVM's page tables, too, where it can; of a paused VM */
};

/* What a VM has needed so far; owner: caller. */
struct vm_touched {
    struct vm_pages *read, *written; /* written: is the VM's own */
    size_t read_count, written_count;
};
void vm_touched_free(struct vm_touched *touched);

struct api_variant;
struct firecracker;

struct hypervisor {
    const char *name; /* "builtin", "firecracker" */
    enum hypervisor_saving saving;
    bool knows_layers; /* its VMMs map stacks, and save layers (VM_SAVE_LAYER) */
    bool disk_stacks; /* a writable disk may be a stack (stack/disk_stack.h); else it is one file */

    /* Starts a VMM process and boots the VM. The guest directory holds boot/, disks/, and where
     * missing run/ and log/ are made. Stale api and vsock sockets are removed first; other names in
     * run/ (the host's own vsock listeners) are left alone. On failure no process is left; the
     * message carries the last lines of the VMM's log where that is the cause. */
    int (*boot)(const struct hypervisor *self, const struct vm_spec *spec,
                struct vm_process *process, struct error *err);
    /* Starts a VMM process and loads a snapshot into it. With `how->resume` the VM runs when it
     * returns; without, it is "Paused" and has not executed an instruction: the caller can still
     * give up and keep the snapshot. A pager is asked for pages before this returns. On failure no
     * process is left. */
    int (*restore)(const struct hypervisor *self, const struct vm_spec *spec,
                   const struct vm_restore *how, struct vm_process *process, struct error *err);
    int (*pause)(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
    int (*resume)(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
    /* 1 if saving the VM so gives all of it: a VMM may know no longer, or may never have known,
     * what differs from the memory it was restored from; 0 if not. The VM may run. */
    int (*can_save)(const struct hypervisor *self, const struct vm_spec *spec, enum vm_save how,
                    struct error *err);
    /* Snapshot of the paused VM into <guest directory>/<snapshot_dir>/{state,memory}; that
     * directory exists, without these. Files are complete and synced when it returns. A merge that
     * failed leaves a file that is good for another merge of this VM, and for nothing else. */
    int (*snapshot)(const struct hypervisor *self, const struct vm_spec *spec,
                    const char *snapshot_dir, enum vm_save how, struct error *err);
    /* Asks the guest to shut down (Ctrl-Alt-Del); does not wait. */
    int (*shutdown)(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
    /* Maps pages of a VM that was restored from a file, or is a template's, as if they had been
     * read. NULL, as the next, for VMMs without templates: nothing else needs them. */
    int (*populate)(const struct hypervisor *self, const struct vm_spec *spec,
                    const struct vm_populate *pages, struct error *err);
    /* Tells which pages the VM has mapped by now. It may run. */
    int (*touched)(const struct hypervisor *self, const struct vm_spec *spec,
                   struct vm_touched *touched, struct error *err);
    /* Live fork, of VMMs that know it; these five are NULL for others. 0 if the VM's knows it, else
     * ERROR_UNSUPPORTED. */
    int (*template_check)(const struct hypervisor *self, const struct vm_spec *spec,
                          struct error *err);
    /* What the guest wrote to disks that are stacks is durable when it returns. The VM may run:
     * what this takes is no part of a pause that follows. */
    int (*disks_flush)(const struct hypervisor *self, const struct vm_spec *spec,
                       struct error *err);
    /* The same of the paused VM, and it becomes a layer of each that forks can link
     * (stack/disk_stack.h). The VM goes on over new tops, also where one could not be sealed. */
    int (*disks_seal)(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
    /* Makes a template of the VM, which goes on as it was, running or paused; how long it stood
     * still is told in `paused_ns`, 0 if it was paused. The template may not answer yet.
     * ERROR_UNSUPPORTED: not of this VM. */
    int (*template_make)(const struct hypervisor *self, const struct vm_spec *source,
                         const struct vm_template *template, struct vm_process *process,
                         uint64_t *paused_ns, struct error *err);
    /* Makes a VM of the template, "Paused", in the guest directory of `spec`, which has disks/ and
     * where missing gets run/ and log/. `template_process` is waited for if it does not answer yet.
     * On failure no process of the VM is left. */
    int (*template_child)(const struct hypervisor *self, const struct vm_template *template,
                          const struct vm_process *template_process, const struct vm_spec *spec,
                          struct vm_process *process, struct error *err);
    /* "Running", "Paused", "Not started" into `state`; an error if the VMM does not answer. */
    int (*query)(const struct hypervisor *self, const struct vm_spec *spec, char state[16],
                 struct error *err);

    const char *binary;  /* path of the VMM program; NULL: there is none, VMs that run are driven */
    uid_t uid;           /* the user that VMMs run as */
    unsigned ready_ms;   /* how long a VMM may take until it answers; then it is killed */
    unsigned request_ms; /* how long one API request may take */
    unsigned snapshot_ms; /* the same for snapshot create and load, which move the guest's memory */

    const struct api_variant *variant; /* the driver's own */
    struct firecracker *firecracker;   /* the same; NULL: not that one */
};

/* The builtin driver for the tine-vmm at `binary` (borrowed). Owns nothing. */
struct hypervisor hypervisor_builtin(const char *binary);

struct firecracker_options {
    const char *binary; /* NULL: none on this host */
    const char *jailer; /* NULL: without */
    uid_t uid;          /* with the jailer: the user and group that Firecracker runs as */
    gid_t gid;
};
/* The driver for Firecracker, from version 1.8 on; the options are copied. What is wrong with the
 * program is told by hypervisor_check() and by every boot and restore. */
int hypervisor_firecracker(const struct firecracker_options *options, struct hypervisor *hypervisor,
                           struct error *err);
void hypervisor_release(struct hypervisor *hypervisor);

/* 0 if VMs can be started: the program is there, it is the right one and not too old. Firecracker
 * is asked for its version when its file has changed. ERROR_UNSUPPORTED or ERROR_NOT_FOUND. */
int hypervisor_check(const struct hypervisor *self, struct error *err);

/* Ends a VMM process at once (SIGKILL) and waits until it is gone, at most `timeout_ms`. Closes the
 * pidfd, but keeps it on ERROR_TIMEOUT. Gone already is success; another process that has the pid
 * by now is never touched. */
int vm_process_kill(struct vm_process *process, unsigned timeout_ms, struct error *err);
/* Waits for the process to end by itself: 1 ended, 0 timed out. */
int vm_process_wait(const struct vm_process *process, unsigned timeout_ms, struct error *err);
/* True if that very process (pid and start time) still runs; opens its pidfd if it was -1. Where
 * that can't be told (EMFILE) the answer is true and the pidfd stays -1: a VM that may live must
 * not be started again. */
bool vm_process_alive(struct vm_process *process);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The instances of one host: every operation of their life, one file per operation. All functions
 * are safe from any thread. Operations on one instance never interleave: each takes the instance's
 * lock, fork its source's for reading, everything that may write for writing (R5). Operations on
 * different instances run at the same time.
 *
 * A failed operation leaves the instance in its previous state, still usable, and nothing behind.
 */
#ifndef TINE_INSTANCE_INSTANCE_H
#define TINE_INSTANCE_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/client.h"
#include "base/error.h"
#include "hypervisor/hypervisor.h"
#include "image/program.h"
#include "paging/paging.h"
#include "stack/compression.h"
#include "store/store.h"

struct events;
struct host;
struct image_store;

/* What a restored VM has its memory from. */
enum memory_backend {
    MEMORY_AUTO,  /* its file, mapped, wherever that can be; else the pager, as with a fork's first
                     restore of a compressed file */
    MEMORY_FILE,  /* always its file */
    MEMORY_PAGER, /* at a fork's first restore the pager, later its file */
};

/* What a standby makes of the memory of a VM that was restored. */
enum standby_memory {
    STANDBY_AUTO,  /* a layer where the image that it was restored from is shared, is a stack or is
                      read by a pager, and such a layer can be had; else as STANDBY_MERGE */
    STANDBY_MERGE, /* one file: merged, or of all memory, whichever is less to write */
    STANDBY_LAYER, /* a layer wherever it can be had; else as STANDBY_MERGE */
    STANDBY_FULL,  /* one file of all memory */
};

struct pager_options {
    const char *binary;  /* tine-pager */
    const char *run_dir; /* absolute; NULL: there are no pagers */
    const char *version; /* of `binary`; NULL: this program's */
    enum memory_backend backend;
    struct paging_graduation graduation;
    unsigned cache_mib; /* of each pager that is started, for decoded pages; 0: its default */
};

/* Stacks of what sleeps get fewer files in the background (compaction.h). */
struct compaction_options {
    bool on;
    unsigned after_ms;         /* it has slept for so long */
    uint64_t bytes_per_second; /* written at most; 0: no limit */
};

/* What is kept warm (warm.h), all together. */
struct warm_options {
    uint64_t memory_bytes; /* that it may have for itself; 0: no limit */
    unsigned per_second;   /* so many forks are made ready; 0: the default */
    unsigned idle_ms;      /* without a fork of a source: then it ends for that; 0: never */
    unsigned retry_max_ms; /* from a failure to the next attempt; 0: the default */
    /* A fork that was ready is looked at so long after it was taken: what it has needed is mapped
     * in those that wait from then on; 0: the default. */
    unsigned learn_ms;
};

struct host_options {
    const char *data_dir;      /* guests/ and tine.db live here */
    const char *vmm_binary;    /* tine-vmm */
    const char *kit_dir;       /* guest kit: vmlinux, initrd.img; NULL: none */
    unsigned agent_timeout_ms; /* how long a guest may take to boot or wake; default 120000 */
    const struct hypervisor *hypervisor;    /* NULL: the builtin one, with vmm_binary; copied */
    struct firecracker_options firecracker; /* without a binary: no VM of it can be started */
    /* Of memory images, where neither a request nor the instance's snapshot_policy says anything;
     * NULL: none; copied. */
    const struct stack_compression *compression;
    struct pager_options pager; /* copied */
    enum standby_memory standby_memory;
    struct compaction_options compaction;
    struct warm_options warm;
};

/* Opens the data directory (made if missing), sweeps half-made things, adopts running VMMs, and
 * puts every instance into a state that is true. One host per data directory (-EBUSY: another
 * tined). A VMM that dies later is noticed at once and its instance becomes Stopped, with
 * exit_message. */
struct host *host_open(const struct host_options *options, struct error *err);
/* Nothing is begun any more that nobody asked for: what expires, what is to be started again. True
 * while something of that is under way. */
bool host_quiesce(struct host *host);
/* Leaves VMs running. No operation may be under way. */
void host_close(struct host *host);

/* Everything that is measured, in the text form of metrics/metrics.h; owner: caller. NULL and the
 * error. What it costs is bounded however many VMs run. */
char *host_metrics(struct host *host, size_t *length, struct error *err);
/* The host's latest events (events/events.h); valid as long as the host. */
struct events *host_events(struct host *host);
/* The images that instances are made from (image/image.h); valid as long as the host. */
struct image_store *host_images(struct host *host);

struct instance_disk_request {
    const char *path; /* on the host; copied (reflink or sparse) unless read_only, then shared */
    bool read_only;
    bool root;
};

/* Until when an instance lives; then it is deleted. All zero: for ever. */
struct instance_lifetime {
    uint64_t ttl_ns;        /* from now; a fork has as long from its own birth */
    uint64_t expires_at_ns; /* realtime, instead; a fork has the same */
};

struct instance_create_request {
    const char *name;       /* NULL: generated */
    const char *image;      /* by any spelling of its name; NULL: the guest kit */
    const char *kernel;     /* path; NULL: the image's */
    const char *initrd;     /* path; NULL: the image's, or none when a kernel is given */
    const char *cmdline;    /* NULL: default */
    const char *hypervisor; /* NULL: the host's, "builtin" */
    unsigned vcpus;         /* 0: 2 */
    uint64_t memory_bytes;  /* 0: 1 GiB */
    uint64_t overlay_bytes; /* of the disk for what is changed in an imported image; 0: 10 GiB */
    struct instance_disk_request disks[GUEST_MAX_DISKS];
    unsigned disk_count;
    bool skip_guest_agent; /* Running as soon as the VM runs; no exec */
    const char *tags;      /* a JSON object of strings, kept as it is; NULL: none */
    struct program_request program;
    const char *policies; /* canonical (policy/policy.h); NULL: none */
    struct instance_lifetime lifetime;
};

/* The rule for names: lowercase letters, digits and inner hyphens, 1 to INSTANCE_NAME_MAX. */
bool instance_name_valid(const char *name);

/* An imported image's disk is disk 0, read-only, and the instance's overlay disk 1: the guest's
 * agent lays the one over the other, and commands and files are those of that root. The disks of
 * the request follow. Kernel and initrd are the guest kit's. Where the request gives no part of the
 * main program, the image's counts.
 *
 * Makes the guest directory and boots. Returns when the guest's agent is ready (state Running) and
 * has started the main program, if there is one; if that could not be started the instance is
 * Stopped, with exit_code and exit_message. ERROR_INVALID names the part of the request that is
 * wrong. A failed create is rolled back whole. */
int instance_create(struct host *host, const struct instance_create_request *request,
                    struct instance_record *record, struct error *err);

/* `reference`: id, name or unique id prefix, everywhere below. `record` receives the result; it may
 * be NULL. While an operation is under way the state is the one it is passing through (Paused,
 * Initializing, Shutdown), which the database does not hold. Reading never waits for an operation.
 */
int instance_get(struct host *host, const char *reference, struct instance_record *record,
                 struct error *err);
int instance_list(struct host *host, struct instance_record **records, size_t *count,
                  struct error *err);

/* The operations below wait for their turn, check the state (ERROR_STATE), and return 0 without
 * doing anything where the contract says so: start and restore of a Running or Initializing
 * instance, stop of a Stopped one, standby of one in Standby. */
/* Cold boot of a Stopped instance; its main program as with instance_create(). */
int instance_start(struct host *host, const char *reference, struct instance_record *record,
                   struct error *err);
/* The same, and what of the program is given replaces what the instance had, for good. One that
 * runs already is ERROR_STATE. A failed start leaves the program as it was. */
int instance_start_with(struct host *host, const char *reference,
                        const struct program_request *program, struct instance_record *record,
                        struct error *err);
/* Asks the guest to power off, waits `grace_ms` (default 5000 when 0), then ends the VMM. */
int instance_stop(struct host *host, const char *reference, unsigned grace_ms,
                  struct instance_record *record, struct error *err);
/* Running to Standby. When it fails before the snapshot is complete (a full disk), the VM goes on
 * running. The memory image is compressed later, if the instance's snapshot_policy or else the host
 * says so, and it has no other owner by then. A restore calls that off. What becomes of it is in
 * the record's compression_status. */
int instance_standby(struct host *host, const char *reference, struct instance_record *record,
                     struct error *err);
struct standby_options {
    bool has_compression;                        /* else as without options */
    const struct stack_compression *compression; /* NULL: none */
    bool has_delay;                              /* else as the policy says */
    uint64_t compression_delay_ns;               /* from the end of the standby */
};
/* The same with other wishes for this time. An instance that sleeps already is ERROR_STATE: the
 * options come too late. */
int instance_standby_with(struct host *host, const char *reference,
                          const struct standby_options *options, struct instance_record *record,
                          struct error *err);
/* Standby to Running. When it fails before the guest has run, or when the guest can't have changed
 * a disk, the instance is in Standby as before. A guest with a writable disk that woke but whose
 * agent does not answer stays, Initializing: its snapshot no longer fits its disks; it becomes
 * Running when the agent answers. */
int instance_restore(struct host *host, const char *reference, struct instance_record *record,
                     struct error *err);
struct instance_changes {
    const char *tags;     /* a JSON object of strings, in place of those it has, "": none; NULL: as
                             they are */
    const char *policies; /* canonical; each in place of the one of its name; NULL: as they are */
    const struct instance_lifetime *lifetime; /* NULL: as it is */
};
/* In any state. ERROR_EXPIRED once its time is over. */
int instance_update(struct host *host, const char *reference,
                    const struct instance_changes *changes, struct instance_record *record,
                    struct error *err);
/* In any state. Forks and their files are not affected. */
int instance_delete(struct host *host, const char *reference, struct error *err);

struct instance_fork_request {
    const char *name; /* required */
    bool from_running;
    bool has_target;
    enum instance_state target; /* Running, Standby or Stopped; default: the source's state */
};
/* A new instance with files of its own (R1): memory, kernel, read-only disks and what is sealed of
 * the writable ones are links. A Running source (from_running) runs on, but for a pause, and the
 * fork has no memory image until it first sleeps (live.h); where its VMM can't do that it goes to
 * standby, is linked and runs again before the fork wakes; forks that wait for it meanwhile are
 * made of the same template, or linked in the same nap. A failed fork is removed whole and the
 * source is as before; only if that source itself could not be woken again the message says so and
 * it is in Standby. */
int instance_fork(struct host *host, const char *source,
                  const struct instance_fork_request *request, struct instance_record *record,
                  struct error *err);

#define INSTANCE_MAX_LAYERS 8 /* over the memory file */

/* What an instance costs and shares, now. */
struct instance_stats {
    uint64_t private_bytes;     /* Private_Dirty of the VMM process, guest pages included */
    uint64_t vmm_private_bytes; /* the same without the guest's memory mapping */
    uint64_t rss_bytes, vms_bytes;
    double cpu_seconds;
    /* Of its memory file (standby's or retained base), which may be compressed; 0: none. */
    uint64_t memory_link_count;
    uint64_t memory_file_bytes, memory_file_allocated;
    /* The layers over that file, lowest first. */
    struct layer_stats {
        uint64_t link_count, file_bytes, file_allocated;
    } layers[INSTANCE_MAX_LAYERS];
    unsigned layer_count;
};
int instance_stats(struct host *host, const char *reference, struct instance_stats *stats,
                   struct error *err);

#define INSTANCE_MAX_DISK_LAYERS 32 /* over the base of a disk */

/* A disk of an instance, by its files. */
struct disk_stats {
    uint64_t size_bytes; /* of the disk */
    uint64_t link_count; /* of its file, or of the base of its stack */
    /* Of one that is a stack (stack/disk_stack.h): what its top takes, and what is sealed over the
     * base, lowest first. */
    uint64_t top_allocated;
    struct disk_layer_stats {
        unsigned number;
        uint64_t link_count, data_bytes, zero_bytes; /* bytes of the disk, that it holds */
    } layers[INSTANCE_MAX_DISK_LAYERS];
    unsigned layer_count;
    bool stack;
};
/* In the order of the record's disks. An operation that is under way may be in the way. */
int instance_disk_stats(struct host *host, const char *reference,
                        struct disk_stats stats[GUEST_MAX_DISKS], struct error *err);

/* Opens a running guest's exec stream (agent frames); the caller owns the descriptor. The command
 * gets the instance's environment, under that of `exec`, and its working directory, if `exec` names
 * none. Operations may go on while it is open: their end of the VM ends the stream. */
int instance_exec(struct host *host, const char *reference, const struct agent_exec *exec,
                  struct error *err);
/* Files of a running guest, by the agent's protocol (agent/client.h). A put or get is a stream that
 * the caller owns, as with exec. */
int instance_file_stat(struct host *host, const char *reference, const char *path, bool follow,
                       struct agent_stat *info, struct error *err);
int instance_file_put(struct host *host, const char *reference, const struct agent_put *put,
                      struct error *err);
int instance_file_get(struct host *host, const char *reference, const struct agent_get *get,
                      struct error *err);
enum instance_log {
    INSTANCE_LOG_CONSOLE,
    INSTANCE_LOG_VMM,
    INSTANCE_LOG_OPERATIONS,       /* a line per operation that has ended */
    INSTANCE_LOG_OPERATIONS_OLDER, /* what was in it before it was full */
};
/* Opens it for reading. ERROR_NOT_FOUND: nothing was logged yet. */
int instance_log_open(struct host *host, const char *reference, enum instance_log log,
                      struct error *err);

/* One state transition table for all operations (docs/architecture.md). True if `from` -> `to` is
 * one legal hop. */
bool instance_transition_legal(enum instance_state from, enum instance_state to);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata in SQLite: one row per instance, snapshot or image. The only program that opens it is
 * tined. Safe from any thread; every call is one transaction. */
#ifndef TINE_STORE_STORE_H
#define TINE_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/id.h"
#include "hypervisor/hypervisor.h"
#include "policy/policy.h"

#define INSTANCE_ID_LENGTH ID_LENGTH
#define INSTANCE_NAME_MAX  63
#define INSTANCE_TAGS_SIZE 4096

/* As in the REST contract; the names are those of instance_state_name(). */
enum instance_state {
    INSTANCE_CREATED,
    INSTANCE_INITIALIZING,
    INSTANCE_RUNNING,
    INSTANCE_PAUSED,
    INSTANCE_SHUTDOWN,
    INSTANCE_STOPPED,
    INSTANCE_STANDBY,
    INSTANCE_UNKNOWN,
};

const char *instance_state_name(enum instance_state state); /* "Running", ... */
/* 0 and the state, or -EINVAL. */
int instance_state_parse(const char *name, enum instance_state *state);

enum compression_state {
    COMPRESSION_NONE,
    COMPRESSION_RUNNING,
    COMPRESSION_DONE,
    COMPRESSION_FAILED,
};

/* "none", "compressing", "compressed", "error" */
const char *compression_state_name(enum compression_state state);

/* How the memory image of what sleeps is kept. Found when it is asked for, never stored. */
struct compression_status {
    enum compression_state state;
    char error[256];          /* with COMPRESSION_FAILED */
    uint64_t compressed_size; /* bytes, with COMPRESSION_DONE */
};

/* Of a VM that a pager gives its memory to. Found when it is asked for, never stored. */
struct pager_status {
    char state[16];          /* "serving", ...; "lost": its VM waits for ever */
    char version[32];        /* of the pager; empty: it is being replaced */
    char reason[512];        /* what failed last; empty: nothing */
    uint64_t pages, present; /* of the image: all, and those that the VM has */
    unsigned takeovers;      /* so often its pager was replaced */
};

/* What is kept ready for forks of an instance or a snapshot. Found when it is asked for, never
 * stored but for `wanted`. */
struct warm_status {
    unsigned wanted;       /* forks; 0: it is not kept warm */
    unsigned ready;        /* forks that wait, just before their first instruction */
    unsigned prepared;     /* of these: what the first fork needed they have mapped */
    char state[16];        /* "ready", "warming", "asleep", ... (instance/warm.h) */
    char reason[256];      /* why it is not ready; empty: it is, or will be soon */
    uint64_t pinned_bytes; /* memory that would be free without */
    uint64_t taken, missed, refills, lost; /* forks, since tined's start */
};

/* The main program and what is around every command, as JSON text; empty: none. */
struct program {
    char entrypoint[2048], cmd[8192]; /* arrays of strings: the argv is one behind the other */
    char env[8192];                   /* an object of strings */
    char working_dir[1024];           /* a path, not JSON; empty: / */
};

#define INSTANCE_MEMORY_TOP_SIZE 17 /* 16 hex digits; "": no layer */

struct instance_record {
    char id[INSTANCE_ID_LENGTH + 1];
    char name[INSTANCE_NAME_MAX + 1];
    char image[256];     /* "tine/guest:latest", or the kernel's path as given */
    char hypervisor[32]; /* "builtin" */
    enum instance_state state;
    char state_error[512];  /* with INSTANCE_UNKNOWN, else empty */
    char exit_message[512]; /* why the VM ended by itself, or could not go on; cleared by a start */
    bool has_exit_code;     /* the main program is over; cleared by a start, a restore, in a fork */
    unsigned exit_code;     /* with has_exit_code: 0 to 255 */
    unsigned vcpus;
    uint64_t memory_bytes;
    bool has_initrd;
    bool skip_guest_agent; /* Running as soon as the VM runs; no exec */
    char cmdline[2048];    /* empty: the default */
    struct vm_disk disks[GUEST_MAX_DISKS];
    unsigned disk_count;
    char parent_id[INSTANCE_ID_LENGTH + 1]; /* forked from; empty if not */
    /* 0: no VMM. In the database it may outlive the VMM: vmm_start_ticks tells, within one boot
     * of the host (store_boot()) */
    pid_t vmm_pid;
    uint64_t vmm_start_ticks;
    uint64_t created_at_ns, started_at_ns, stopped_at_ns; /* realtime; 0: never */
    /* How the fork got its memory: for inspect and for the demo's table. */
    char memory_method[16]; /* "link", "reflink", "copy"; empty if not a fork */
    uint64_t memory_bytes_copied;
    uint64_t disk_bytes_copied;
    char tags[INSTANCE_TAGS_SIZE]; /* a JSON object of strings; empty: none */
    struct program program;
    char compression[16];   /* of the memory image in Standby, as wished: "zstd:1"; empty: none */
    uint64_t expires_at_ns; /* realtime: deleted then; 0: never */
    uint64_t ttl_ns;        /* what that was made of, counted from a birth; 0: given as a time */
    char policies[POLICIES_SIZE]; /* policy/policy.h; empty: none */
    /* With a restart_policy (instance/restart.h). Times are realtime; 0: none. */
    unsigned restart_attempts;
    uint64_t restart_last_ns, restart_next_ns;
    char restart_blocked[32]; /* why there is no next one: "manual_stop"; empty: it is not so */
    struct compression_status compression_status;
    /* Names the content of the memory image in Standby, or of the retained base; forks and
     * snapshots have the same. Empty: it has none yet. */
    char cache_key[33];
    /* How many layers lie over the base of that image, and, if any, the id of the topmost
     * (stack/layer.h) in 16 hex digits. */
    unsigned memory_layers;
    char memory_top[INSTANCE_MEMORY_TOP_SIZE];
    bool paged; /* its VM was restored through the pager, and may need it still */
    struct pager_status pager_status; /* with `paged` */
    struct warm_status warm;
};

/* A capture of an instance that is independent of it. */
struct snapshot_record {
    char id[INSTANCE_ID_LENGTH + 1];
    char name[INSTANCE_NAME_MAX + 1]; /* unique among its source's; empty: none */
    enum instance_state kind;         /* Standby: memory, devices and disks; Stopped: disks alone */
    uint64_t created_at_ns;           /* realtime */
    uint64_t size_bytes;              /* of all its files; holes count */
    char compression[16];             /* of the memory image, as wished: "zstd:1"; empty: none */
    struct compression_status compression_status;
    char tags[INSTANCE_TAGS_SIZE]; /* as an instance's; its source's are in `source` */
    struct warm_status warm;
    /* The source as it was: its identity (id, name, hypervisor), which may be gone by now, and the
     * configuration that an instance made from the snapshot gets. The rest is not kept. */
    struct instance_record source;
};

#define IMAGE_NAME_SIZE   256
#define IMAGE_DIGEST_SIZE 72 /* "sha256:", 64 hex digits, NUL */

/* What instances are made from. What its author wished for its program are JSON texts; empty: none.
 */
struct image {
    char id[INSTANCE_ID_LENGTH + 1]; /* names its disk; empty: it has none, it is the guest kit */
    char name[IMAGE_NAME_SIZE];      /* normalised: "docker.io/library/alpine:latest" */
    char digest[IMAGE_DIGEST_SIZE];  /* of its disk */
    uint64_t created_at_ns;          /* realtime */
    uint64_t size_bytes;             /* of its disk; holes count */
    struct program program;          /* what an instance gets that asks for no other */
    char tags[INSTANCE_TAGS_SIZE];   /* as an instance's */
};

/* Which snapshots; conditions that are not given (NULL, false) take all. */
struct snapshot_filter {
    const char *name, *source_instance_id;
    bool has_kind;
    enum instance_state kind;
};

struct store;

/* Opens or creates the database file and migrates it to the current schema; WAL, synchronous=FULL.
 * A newer schema than this program knows is an error naming both versions (ERROR_UNSUPPORTED); a
 * file that is no database or fails SQLite's check is ERROR_CORRUPT. Every error of this room names
 * the database file. */
struct store *store_open(const char *path, struct error *err);
void store_close(struct store *store);

/* Says which boot of the host this is. If the rows are of another one, or it isn't known of which,
 * no VMM of theirs lives, and their pids and start times may by chance name other processes: they
 * are forgotten, in all rows at once. */
int store_boot(struct store *store, const char *boot_id, struct error *err);

/* ERROR_NAME (-EEXIST) if the name is taken; ERROR_INVALID if a text is not UTF-8 or not
 * terminated. */
int store_insert(struct store *store, const struct instance_record *record, struct error *err);
/* Replaces the row of record->id; ERROR_NOT_FOUND if there is none. */
int store_update(struct store *store, const struct instance_record *record, struct error *err);
int store_delete(struct store *store, const char *id, struct error *err);
int store_get(struct store *store, const char *id, struct instance_record *record,
              struct error *err);
/* All rows in order of creation; owner: caller (free()). */
int store_list(struct store *store, struct instance_record **records, size_t *count,
               struct error *err);
/* What is to be done to an instance at a time of the wall clock, by itself. */
enum store_deadline { DEADLINE_EXPIRY, DEADLINE_RESTART };
struct store_due {
    char id[INSTANCE_ID_LENGTH + 1];
    uint64_t at_ns;
};
/* All that have such a deadline, the earliest first; owner: caller (free()). */
int store_list_due(struct store *store, enum store_deadline deadline, struct store_due **list,
                   size_t *count, struct error *err);
/* Exact id, else exact name, else unique id prefix; ERROR_NOT_FOUND (-ENOENT), ERROR_AMBIGUOUS
 * (-ENOTUNIQ). `id` holds INSTANCE_ID_LENGTH + 1 bytes. */
int store_resolve(struct store *store, const char *reference, char *id, struct error *err);

/* Snapshots, the same way; they are found by their full id only. */
/* ERROR_NAME (-EEXIST) if the source has a snapshot of that name. */
int store_snapshot_insert(struct store *store, const struct snapshot_record *record,
                          struct error *err);
int store_snapshot_delete(struct store *store, const char *id, struct error *err);
int store_snapshot_get(struct store *store, const char *id, struct snapshot_record *record,
                       struct error *err);
/* In order of creation; owner: caller (free()). */
int store_snapshot_list(struct store *store, const struct snapshot_filter *filter,
                        struct snapshot_record **records, size_t *count, struct error *err);

/* A wish that forks of an instance or a snapshot are kept ready; it goes with its owner. */
struct store_warm {
    char owner_id[INSTANCE_ID_LENGTH + 1];
    bool snapshot;  /* else an instance */
    unsigned ready; /* so many; 0: none, and no wish */
};
int store_warm_set(struct store *store, const struct store_warm *warm, struct error *err);
/* All; owner: caller (free()). */
int store_warm_list(struct store *store, struct store_warm **list, size_t *count,
                    struct error *err);

/* Images. Insert: ERROR_NAME if the name is taken. Get: by the normalised name. */
int store_image_insert(struct store *store, const struct image *image, struct error *err);
int store_image_delete(struct store *store, const char *id, struct error *err);
int store_image_get(struct store *store, const char *name, struct image *image, struct error *err);
/* In order of creation; owner: caller (free()). */
int store_image_list(struct store *store, struct image **images, size_t *count, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM is made of, as the API sets it and the state file keeps it. Strings are owned by the
 * struct; an absent optional string is NULL. Field names and limits are Firecracker's. */
#ifndef TINE_VMM_CONFIG_H
#define TINE_VMM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define VM_MAX_VCPUS   32
#define VM_MAX_DRIVES  12
#define VM_CMDLINE_MAX 2048 /* bytes with the terminating NUL, all that is appended included */

struct machine_config {
    uint32_t vcpu_count;   /* 1..32; default 1 */
    uint64_t mem_size_mib; /* default 128 */
    bool smt;
    bool track_dirty_pages;
    char huge_pages[16]; /* "None", "Transparent"; "2M" is refused */
};

struct boot_source {
    char *kernel_image_path; /* NULL: not configured */
    char *initrd_path;
    char *boot_args; /* NULL: the default command line */
};

struct drive_config {
    char *drive_id;
    char *path_on_host;
    bool is_root_device;
    bool is_read_only;
    bool is_stack;  /* layers lie beside path_on_host, which is the base (stack/disk_stack.h) */
    bool writeback; /* cache_type "Writeback": the guest is offered FLUSH */
    char *partuuid;
};

struct vsock_config {
    bool present;
    uint32_t guest_cid; /* 3 .. 2^32 - 2 */
    char *uds_path;
    char *vsock_id;
};

struct balloon_config {
    bool present;
    uint32_t amount_mib;
    bool deflate_on_oom;
    uint32_t stats_polling_interval_s;
    bool free_page_reporting;
    bool free_page_hinting; /* refused when true: not offered */
};

struct logger_config {
    char *log_path;
    char level[16];
    bool show_level, show_log_origin;
};

struct vm_config {
    struct machine_config machine;
    struct boot_source boot;
    struct drive_config
        drives[VM_MAX_DRIVES]; /* in the order given; the root drive attaches first */
    unsigned drive_count;
    struct vsock_config vsock;
    bool entropy_present;
    struct balloon_config balloon;
    struct logger_config logger;
    char *serial_out_path; /* PUT /serial; NULL: standard output */
};

void vm_config_init(struct vm_config *config); /* the defaults */
void vm_config_free(struct vm_config *config);

/* The configuration as the JSON text of GET /vm/config (Firecracker's kebab-case top level), fresh
 * memory, owner: caller; NULL when out of memory. */
char *vm_config_to_json(const struct vm_config *config);
/* Reads that text back into an initialised config: for the state file, so hostile input. */
int vm_config_from_json(struct vm_config *config, const char *text, size_t length,
                        struct error *err);

#endif

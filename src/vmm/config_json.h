/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a configuration as JSON objects: the bodies of the API's PUT and PATCH requests and
 * the values of GET /vm/config and of the state file are read by the same code. */
#ifndef TINE_VMM_CONFIG_JSON_H
#define TINE_VMM_CONFIG_JSON_H

#include <jansson.h>

#include "base/error.h"
#include "vmm/config.h"

#define VM_PATH_MAX    4095u      /* bytes of a path */
#define VM_ID_MAX      64u        /* bytes of a drive or vsock id */
#define VM_MEM_MAX_MIB (1u << 24) /* 16 TiB: keeps sums of bytes far from overflow */

/* Each reads one object strictly into `out`, which carries the defaults or the old values. They
 * check each field by itself; rules between fields are vm_config_check()'s. On failure `out` may be
 * half filled and must still be freed. */
int machine_config_read(const json_t *object, struct machine_config *out, struct error *err);
int boot_source_read(const json_t *object, struct boot_source *out, struct error *err);
int drive_config_read(const json_t *object, struct drive_config *out, struct error *err);
int vsock_config_read(const json_t *object, struct vsock_config *out, struct error *err);
int balloon_config_read(const json_t *object, struct balloon_config *out, struct error *err);
int entropy_config_read(const json_t *object, struct error *err);
int logger_config_read(const json_t *object, struct logger_config *out, struct error *err);
/* {"serial_out_path": ...}; `*path` is owned by the caller. */
int serial_config_read(const json_t *object, char **path, struct error *err);

/* Fresh objects; NULL when out of memory. */
json_t *machine_config_write(const struct machine_config *machine);
json_t *balloon_config_write(const struct balloon_config *balloon);
/* The whole configuration as an object. "metrics" is null: it is not the VM's but the API's. */
json_t *vm_config_write(const struct vm_config *config);

/* The rules that involve several fields or parts: vCPUs and SMT, memory and huge pages, ids, one
 * root drive, balloon within memory, a printable command line. */
int vm_config_check(const struct vm_config *config, struct error *err);
/* Letters, digits and underscores, 1 to VM_ID_MAX. */
bool vm_id_valid(const char *id);

void machine_config_init(struct machine_config *machine);
void logger_config_init(struct logger_config *logger);
void boot_source_free(struct boot_source *boot);
void drive_config_free(struct drive_config *drive);
void vsock_config_free(struct vsock_config *vsock);
void logger_config_free(struct logger_config *logger);

#endif

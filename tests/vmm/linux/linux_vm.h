/* SPDX-License-Identifier: Apache-2.0 */
/* A VM with a Linux guest in a tine-vmm of its own, driven by the raw API, and the oracle in it. */
#ifndef TINE_TESTS_LINUX_VM_H
#define TINE_TESTS_LINUX_VM_H

#include <stdint.h>

#include "../snapshot/process.h"

/* More than 3 GiB: two memory slots, and Linux uses the upper one first. */
#define VM_MIB   3264u
#define VM_PAGES ((uint64_t)VM_MIB << 20 >> 12)

struct linux_vm {
    struct process process;
    char directory[128]; /* of all files */
    char vsock[192];
};

/* A call that must be answered with 204. `body` is taken over. */
void vm_call(const struct linux_vm *vm, const char *method, const char *path, json_t *body);
void vm_boot(struct linux_vm *vm);
void vm_pause(const struct linux_vm *vm);
void vm_resume(const struct linux_vm *vm);
/* Of a paused VM, into "state" and `memory` of the directory. */
void vm_save(const struct linux_vm *vm, const char *type, const char *memory);
/* A new process with that VM, running: out of the memory file, or as a session of the pager, with
 * tracking. */
void vm_load_file(struct linux_vm *vm, const char *memory);
void vm_load_served(struct linux_vm *vm, const char *socket);
/* The path of a file of the directory. */
void vm_path(const struct linux_vm *vm, char path[192], const char *name);

void oracle_fill(const struct linux_vm *vm, unsigned mib, unsigned seed);
/* The number of pages that are wrong; -1: it could not say. */
int64_t oracle_bad_pages(const struct linux_vm *vm, unsigned seed);
#define assert_oracle(vm, seed) assert_int_equal(oracle_bad_pages(vm, seed), 0)

#endif

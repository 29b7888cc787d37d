/* SPDX-License-Identifier: Apache-2.0 */
/* A whole VMM without its API, and a guest of three instructions that counts. */
#ifndef TINE_TESTS_WORLD_H
#define TINE_TESTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/vmm_private.h"

#define COUNTER    0x300000ull /* what the guest counts lies there */
#define MEMORY_MIB 32

extern const uint8_t world_program[10];

struct world {
    char directory[64];
    char kernel[96], disk[96], state[96], memory[96], vsock[96];
    struct loop *loop;
    struct vmm *vmm;
};

void path_in(const struct world *world, char path[96], const char *name);
void write_file(const char *path, const void *data, size_t length);
/* Without a PVH note: Linux's 64-bit entry, long mode and paging on. */
void write_kernel(const char *path);
/* With another program, at most 64 bytes that run at 1 MiB. */
void write_kernel_of(const char *path, const uint8_t *program, size_t length);
void new_vmm(struct world *world);
void end_vmm(struct world *world);
void configure(struct world *world);
int world_setup(void **context);
int world_teardown(void **context);
void ok(int r, const struct error *err);
uint64_t counter(const struct world *world);
void wait_counter(const struct world *world, uint64_t above);
void start_and_pause(struct world *world);
int create(struct world *world, struct error *err);
int load(struct world *world, bool resume, struct error *err);
/* Another process would be a new VMM; the old one's socket goes with the old one's directory. */
void next_vmm(struct world *world);
unsigned count_names(const struct world *world);

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

#endif

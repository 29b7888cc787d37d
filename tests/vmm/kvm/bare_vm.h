/* SPDX-License-Identifier: Apache-2.0 */
/* A VM of a few MiB that runs a handful of 64-bit instructions without an operating system: enough
 * for KVM of any kind, one that only emulates included. */
#ifndef TINE_TESTS_VMM_KVM_BARE_VM_H
#define TINE_TESTS_VMM_KVM_BARE_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory.h"

#define BARE_MEMORY       (4ull << 20)
#define BARE_CODE         0x100000ull
#define BARE_COUNTERS     0x200000ull /* one 64-bit counter per vCPU */
#define BARE_COUNTER_STEP 64ull
#define BARE_MMIO         0x30000000ull /* within what the boot page tables map, behind memory */
#define BARE_PORT         0x510u

/* Programs; each ends by looping for ever. Registers at the start: rdi = the vCPU's counter. */
enum bare_program {
    BARE_COUNT,       /* counts in memory and in rax */
    BARE_MMIO_READ,   /* adds what it reads at BARE_MMIO to rax, and counts each read */
    BARE_MMIO_WRITE,  /* writes an increasing number to BARE_MMIO, and counts */
    BARE_PORT_READ,   /* the same with ports */
    BARE_PORT_STRING, /* rep outsb of 64 bytes to BARE_PORT, and counts */
    BARE_HALT,        /* halts; an interrupt would be needed to go on */
    BARE_TRIPLE_FAULT,
};

struct bare_vm {
    struct guest_memory memory;
    struct kvm kvm;
    struct vcpus *vcpus;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned accesses;   /* MMIO and port accesses seen */
    uint64_t last_write; /* what the last one wrote */
    uint64_t answer;     /* what reads get */
    bool hold;           /* accesses wait until this is false */
    unsigned held;       /* how many wait now */
    int ended;           /* status + 1 of the `end` handler; 0: not ended */
};

/* Fails the test if /dev/kvm can't be used. */
void bare_vm_create(struct bare_vm *vm, unsigned vcpu_count);
void bare_vm_destroy(struct bare_vm *vm);
/* Puts the program into memory, and every vCPU at its start, runnable. */
void bare_vm_load_program(struct bare_vm *vm, enum bare_program program);
/* Starts the threads and releases them. */
void bare_vm_run(struct bare_vm *vm);
uint64_t bare_vm_counter(const struct bare_vm *vm, unsigned vcpu);
/* Waits until vCPU's counter is above `value`; fails the test after a minute. */
void bare_vm_wait_counter(const struct bare_vm *vm, unsigned vcpu, uint64_t value);
void bare_vm_wait_accesses(struct bare_vm *vm, unsigned count);
/* Copies memory, as a snapshot and its mapping would. */
void bare_vm_copy_memory(struct bare_vm *to, const struct bare_vm *from);

#endif

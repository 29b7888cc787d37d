/* SPDX-License-Identifier: Apache-2.0 */
/* The vCPUs of a VM, one thread each. A thread is either inside the guest (or in a handler, on the
 * guest's behalf) or parked. Only parked vCPUs are saved, loaded, or looked at. */
#ifndef TINE_VMM_KVM_VCPU_H
#define TINE_VMM_KVM_VCPU_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/kvm/kvm.h"
#include "vmm/state.h"

struct vcpus;

/* Called on vCPU threads, several at once. `data` is zeroed before a read; `size` is 1, 2, 4 or 8
 * (1, 2 or 4 for ports). */
struct vcpu_handlers {
    void (*mmio)(void *context, uint64_t gpa, uint8_t *data, size_t size, bool is_write);
    void (*port)(void *context, uint16_t port, uint8_t *data, size_t size, bool is_write);
    /* The guest can't go on: 0 if KVM was asked to end it, 1 after a triple fault or an exit nobody
     * expected, which was logged. The vCPU that says so never runs again. */
    void (*end)(void *context, int status);
    void *context;
};

/* Creates `count` vCPUs without threads; `kvm` must outlive them. */
struct vcpus *vcpus_create(struct kvm *kvm, unsigned count, const struct vcpu_handlers *handlers,
                           struct error *err);
/* Stops and joins the threads. */
void vcpus_destroy(struct vcpus *vcpus);
unsigned vcpus_count(const struct vcpus *vcpus);

/* For a boot: CPUID (before everything that depends on it), boot MSRs, FPU and the LAPIC's local
 * interrupts of vCPU `index`. Secondary vCPUs wait for their SIPI, KVM's default. */
int vcpu_setup(struct vcpus *vcpus, unsigned index, bool smt, struct error *err);
int vcpu_get_registers(struct vcpus *vcpus, unsigned index, struct kvm_regs *regs,
                       struct kvm_sregs *sregs, struct error *err);
int vcpu_set_registers(struct vcpus *vcpus, unsigned index, const struct kvm_regs *regs,
                       const struct kvm_sregs *sregs, struct error *err);

/* Creates the threads, parked. */
int vcpus_start(struct vcpus *vcpus, struct error *err);
/* Releases the threads into the guest. */
void vcpus_resume(struct vcpus *vcpus);
/* Returns when every vCPU is parked with no access half done: what the guest asked of a device was
 * answered and taken in. The caller holds no lock that a handler takes. ERROR_TIMEOUT after 30 s
 * (a vCPU hangs in a page fault that nobody serves); then all go on running. */
int vcpus_pause(struct vcpus *vcpus, struct error *err);

/* Puts guest memory that this process has mapped into KVM's own page tables, so that the guest's
 * first access does not leave it. Parked vCPUs. 0: it is there; 1: this KVM can't, which has to be
 * 6.10 or later and use the processor's second page tables (KVM_PRE_FAULT_MEMORY). */
int vcpus_map(struct vcpus *vcpus, uint64_t gpa, uint64_t length, struct error *err);

/* All vCPUs' sections, parked or not yet started. */
int vcpus_save(struct vcpus *vcpus, struct state_writer *writer, struct error *err);
int vcpus_load(struct vcpus *vcpus, const struct state_reader *reader, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The VM as KVM sees it: descriptors, memory slots, irqchip, clock, event descriptors. The order of
 * calls matters: memory slots come before the irqchip (right after it each one waits for a grace
 * period). */
#ifndef TINE_VMM_KVM_KVM_H
#define TINE_VMM_KVM_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/memory.h"
#include "vmm/state.h"

struct kvm {
    int fd; /* /dev/kvm; -1: not created */
    int vm_fd;
    int run_size;   /* bytes of a vCPU's shared kvm_run mapping */
    int xsave_size; /* bytes of a vCPU's XSAVE area, at least 4096 */
    bool xsave2;    /* KVM_GET_XSAVE2 is there */
    bool tsc_deadline;
    bool tsc_scaling;              /* KVM_SET_TSC_KHZ can change the frequency */
    bool clock_realtime;           /* KVM_SET_CLOCK can add the time that has passed */
    struct kvm_cpuid2 *cpuid;      /* what the host supports; asked once, kvm_supported_cpuid() */
    struct kvm_msr_list *msr_list; /* what to save; asked once, kvm_saved_msrs() */
};

/* Opens /dev/kvm, creates the VM and one memory slot per region, which logs the guest's writes if
 * `memory` is tracked; then irqchip and PIT. A missing or forbidden /dev/kvm is named as such.
 * After a failure there is nothing to destroy. */
int kvm_create(struct kvm *kvm, const struct guest_memory *memory, struct error *err);
/* Of tracked memory: adds what KVM has logged since the last call to `memory->dirty`, where it
 * stays until it is in a snapshot. After a failure nothing that was logged is lost but what KVM
 * lost. */
int kvm_collect_dirty(const struct kvm *kvm, const struct guest_memory *memory, struct error *err);
/* Harmless on a struct whose `fd` is -1. */
void kvm_destroy(struct kvm *kvm);

/* One ioctl; a failure is named "<what>: <errno>". Returns what the ioctl returned, or -errno. */
int kvm_call(int fd, unsigned long request, const void *argument, const char *what,
             struct error *err);

/* A write to `eventfd` raises interrupt line `gsi` (edge). */
int kvm_irqfd(const struct kvm *kvm, int eventfd, uint32_t gsi, struct error *err);
/* A guest write of `datamatch` (32 bits) to `gpa` signals `eventfd` instead of leaving the guest.
 */
int kvm_ioeventfd(const struct kvm *kvm, int eventfd, uint64_t gpa, uint32_t datamatch,
                  struct error *err);

/* irqchip, PIT and clock into sections and back. Load comes after the vCPUs': the interrupt
 * controllers deliver into their LAPICs. With `clock_realtime` the guest's clock goes on from the
 * present instead of from the moment of the save. */
int kvm_save(const struct kvm *kvm, struct state_writer *writer, struct error *err);
int kvm_load(const struct kvm *kvm, const struct state_reader *reader, bool clock_realtime,
             struct error *err);

#endif

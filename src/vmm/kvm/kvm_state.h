/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of the state file that hold the VM-wide part of KVM. struct kvm_irqchip and struct
 * kvm_pit_state2 are fixed by the kernel's ABI and embedded as they are. */
#ifndef TINE_VMM_KVM_KVM_STATE_H
#define TINE_VMM_KVM_KVM_STATE_H

#include <linux/kvm.h>
#include <stdint.h>

#define IRQCHIP_STATE_VERSION 1u
#define IRQCHIP_COUNT         3u /* PIC master, PIC slave, IOAPIC */
#define PIT_STATE_VERSION     1u
#define CLOCK_STATE_VERSION   1u

struct clock_state {
    uint64_t kvmclock_ns; /* the guest's kvmclock */
    uint64_t realtime_ns; /* host CLOCK_REALTIME at that very moment, or, where the host's KVM does
                             not tell it, read just before */
    uint32_t exact;       /* 1: realtime_ns came from KVM with the clock */
    uint32_t reserved;    /* 0 */
};

_Static_assert(sizeof(struct kvm_irqchip) == 520, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_pit_state2) == 112, "the kernel's ABI");
_Static_assert(sizeof(struct clock_state) == 24, "the file format is fixed");

#endif

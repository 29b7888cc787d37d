/* SPDX-License-Identifier: Apache-2.0 */
/* The time-stamp counter over a save and a load: it goes on from the saved value, at the saved
 * frequency, and the vCPUs stay as far apart as they were: not at all, for Linux. */
#ifndef TINE_VMM_KVM_TSC_H
#define TINE_VMM_KVM_TSC_H

#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu_state.h"

/* Fills tsc_khz and, where the host's KVM tells it (5.16 and later), tsc_offset. */
int tsc_save(int vcpu_fd, struct vcpu_state *state, struct error *err);

/* Sets frequency and counter of one vCPU; `first` is vCPU 0's image and `first_fd` its descriptor,
 * loaded before this one. ERROR_UNSUPPORTED if this host can't run at the saved frequency. */
int tsc_load(const struct kvm *kvm, int vcpu_fd, const struct vcpu_image *image, int first_fd,
             const struct vcpu_image *first, struct error *err);

#endif

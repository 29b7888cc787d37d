/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_VMM_KVM_VCPU_RUN_H
#define TINE_VMM_KVM_VCPU_RUN_H

#include "vmm/kvm/vcpu.h"

/* Ends the threads that were started, and waits for them. */
void vcpus_join(struct vcpus *vcpus);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What to do when KVM_RUN comes back from the guest. */
#ifndef TINE_VMM_KVM_VCPU_EXIT_H
#define TINE_VMM_KVM_VCPU_EXIT_H

#include "vmm/kvm/vcpu_internal.h"

/* Serves the exit in vcpu->run; sets vcpu->ended, after calling the `end` handler, if there is no
 * going on. */
void vcpu_exit(struct vcpu *vcpu);
/* KVM_RUN itself failed with `errnum`. */
void vcpu_run_failed(struct vcpu *vcpu, int errnum);

#endif

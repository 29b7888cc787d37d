/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_VMM_KVM_VCPU_INTERNAL_H
#define TINE_VMM_KVM_VCPU_INTERNAL_H

#include <pthread.h>

#include "vmm/kvm/vcpu.h"

struct vcpu {
    struct vcpus *all;
    unsigned index;
    int fd;
    struct kvm_run *run;  /* shared with KVM */
    uint32_t cpuid_count; /* entries that were set: KVM_GET_CPUID2 does not tell on every kernel */
    pthread_t thread;
    bool started; /* the thread exists */
    bool parked;  /* guarded by all->lock */
    bool ended;   /* own thread only: never runs again */
};

struct vcpus {
    struct kvm *kvm;
    struct vcpu_handlers handlers;
    pthread_mutex_t lock; /* guards stop, quit and each vCPU's `parked` */
    pthread_cond_t changed;
    bool stop; /* vCPUs shall park, and stay so */
    bool quit; /* threads shall end */
    unsigned count;
    struct vcpu vcpu[];
};

/* KVM_SET_CPUID2. */
int vcpu_set_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's page tables are those of the VM: what one vCPU has mapped the others find. */
#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vcpu_internal.h"

/* linux/kvm.h has it from 6.10 on; the build need not. struct kvm_pre_fault_memory: */
struct pre_fault {
    uint64_t gpa, size; /* what is left to do, afterwards */
    uint64_t flags, padding[5];
};
#define PRE_FAULT _IOWR(KVMIO, 0xd5, struct pre_fault)

/* An unknown request is ENOTTY or EINVAL; EOPNOTSUPP: without second page tables. */
static bool is_unknown(int errnum)
{
    return errnum == ENOTTY || errnum == EINVAL || errnum == EOPNOTSUPP;
}

int vcpus_map(struct vcpus *vcpus, uint64_t gpa, uint64_t length, struct error *err)
{
    struct pre_fault range = {.gpa = gpa, .size = length};
    while (range.size > 0) {
        if (ioctl(vcpus->vcpu[0].fd, PRE_FAULT, &range) == 0 || errno == EINTR || errno == EAGAIN)
            continue;
        return is_unknown(errno) ? 1 : error_errno(err, errno, NULL, "KVM_PRE_FAULT_MEMORY");
    }
    return 0;
}

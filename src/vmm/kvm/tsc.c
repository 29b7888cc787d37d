/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/tsc.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/kvm/msr.h"

#define TOLERANCE_PPM 250 /* NTP's limit for a clock that can be disciplined */

static int offset_call(int vcpu_fd, unsigned long request, uint64_t *offset)
{
    struct kvm_device_attr attribute = {.group = KVM_VCPU_TSC_CTRL,
                                        .attr = KVM_VCPU_TSC_OFFSET,
                                        .addr = (uint64_t)(uintptr_t)offset};
    return ioctl(vcpu_fd, request, &attribute) < 0 ? -errno : 0;
}

int tsc_save(int vcpu_fd, struct vcpu_state *state, struct error *err)
{
    int khz = kvm_call(vcpu_fd, KVM_GET_TSC_KHZ, NULL, "KVM_GET_TSC_KHZ", err);
    if (khz < 0)
        return khz;
    state->tsc_khz = (uint32_t)khz;
    state->has_tsc_offset =
        offset_call(vcpu_fd, KVM_GET_DEVICE_ATTR, &state->tsc_offset) == 0 ? 1 : 0;
    return 0;
}

static int frequency_load(const struct kvm *kvm, int vcpu_fd, uint32_t saved_khz, struct error *err)
{
    int khz = kvm_call(vcpu_fd, KVM_GET_TSC_KHZ, NULL, "KVM_GET_TSC_KHZ", err);
    if (khz < 0)
        return khz;
    uint64_t difference =
        saved_khz > (uint32_t)khz ? saved_khz - (uint32_t)khz : (uint32_t)khz - saved_khz;
    if (saved_khz == 0 || difference * 1000000 <= (uint64_t)saved_khz * TOLERANCE_PPM)
        return 0;
    if (kvm->tsc_scaling && ioctl(vcpu_fd, KVM_SET_TSC_KHZ, (unsigned long)saved_khz) == 0)
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                     "the VM was saved with a TSC of %u kHz, this host runs at %d kHz and can't "
                     "scale it",
                     saved_khz, khz);
}

static const struct kvm_msr_entry *find_tsc(const struct vcpu_image *image)
{
    for (size_t i = 0; i < image->msr_count; i++) {
        if (image->msrs[i].index == MSR_IA32_TSC)
            return &image->msrs[i];
    }
    return NULL;
}

static int counter_write(int vcpu_fd, uint64_t value, struct error *err)
{
    struct kvm_msr_entry entry = {.index = MSR_IA32_TSC, .data = value};
    return msrs_set(vcpu_fd, &entry, 1, err);
}

/* Writing a secondary vCPU's own saved value would give it a slightly different offset, for it was
 * read, and is written, a little later than vCPU 0's. With offsets the distance is exact. */
static int counter_follow(int vcpu_fd, const struct vcpu_image *image, int first_fd,
                          const struct vcpu_image *first)
{
    uint64_t offset = 0;
    if (!image->fixed.has_tsc_offset || !first->fixed.has_tsc_offset)
        return -ENOTSUP;
    int r = offset_call(first_fd, KVM_GET_DEVICE_ATTR, &offset);
    if (r < 0)
        return r;
    offset += image->fixed.tsc_offset - first->fixed.tsc_offset;
    return offset_call(vcpu_fd, KVM_SET_DEVICE_ATTR, &offset);
}

/* Without offsets: KVM takes a value within a second of what another vCPU's counter shows now as
 * meant to be the same, so a vCPU that was in step is given vCPU 0's value. */
static int counter_guess(int vcpu_fd, uint64_t own, uint64_t first, uint32_t khz, struct error *err)
{
    uint64_t distance = own > first ? own - first : first - own;
    bool in_step = distance < (uint64_t)khz * 1000;
    return counter_write(vcpu_fd, in_step ? first : own, err);
}

int tsc_load(const struct kvm *kvm, int vcpu_fd, const struct vcpu_image *image, int first_fd,
             const struct vcpu_image *first, struct error *err)
{
    int r = frequency_load(kvm, vcpu_fd, image->fixed.tsc_khz, err);
    if (r < 0)
        return r;
    const struct kvm_msr_entry *own = find_tsc(image);
    const struct kvm_msr_entry *leader = find_tsc(first);
    if (!own || !leader)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the saved MSRs have no TSC");
    if (vcpu_fd == first_fd)
        return counter_write(vcpu_fd, own->data, err);
    if (counter_follow(vcpu_fd, image, first_fd, first) == 0)
        return 0;
    return counter_guess(vcpu_fd, own->data, leader->data, image->fixed.tsc_khz, err);
}

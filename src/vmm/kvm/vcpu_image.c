/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one vCPU out of a state file: hostile input, no KVM here. */
#include <errno.h>
#include <string.h>

#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/msr.h"
#include "vmm/kvm/vcpu_state.h"

struct array_rule {
    enum state_kind kind;
    const char *name;
    uint32_t version;
    size_t item, minimum, maximum; /* bytes of one item; number of items */
};

/* Finds a section that is an array of items. */
static int array_find(const struct state_reader *reader, uint32_t index,
                      const struct array_rule *rule, const void **items, size_t *count,
                      struct error *err)
{
    struct state_section section;
    if (!state_find(reader, rule->kind, index, &section))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "vCPU %u: its %s section is missing", index,
                         rule->name);
    if (section.version != rule->version)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "vCPU %u: its %s section has version %u, this VMM reads %u", index,
                         rule->name, section.version, rule->version);
    *count = section.length / rule->item;
    if (section.length % rule->item != 0 || *count < rule->minimum || *count > rule->maximum)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "vCPU %u: its %s section has %u bytes", index,
                         rule->name, section.length);
    *items = section.payload;
    return 0;
}

static int arrays_read(struct vcpu_image *image, const struct state_reader *reader, uint32_t index,
                       struct error *err)
{
    static const struct array_rule cpuid = {
        STATE_VCPU_CPUID, "CPUID", VCPU_CPUID_STATE_VERSION, sizeof(struct kvm_cpuid_entry2), 1,
        CPUID_MAX_ENTRIES};
    static const struct array_rule msrs = {
        STATE_VCPU_MSRS, "MSR", VCPU_MSRS_STATE_VERSION, sizeof(struct kvm_msr_entry), 1,
        MSR_MAX_COUNT};
    static const struct array_rule xsave = {
        STATE_VCPU_XSAVE, "XSAVE", VCPU_XSAVE_STATE_VERSION, 1, VCPU_XSAVE_MIN, VCPU_XSAVE_LIMIT};
    const void *items = NULL;
    int r = array_find(reader, index, &cpuid, &items, &image->cpuid_count, err);
    if (r < 0)
        return r;
    image->cpuid = items;
    r = array_find(reader, index, &msrs, &items, &image->msr_count, err);
    if (r < 0)
        return r;
    image->msrs = items;
    r = array_find(reader, index, &xsave, &items, &image->xsave_size, err);
    if (r < 0)
        return r;
    image->xsave = items;
    return 0;
}

int vcpu_image_read(struct vcpu_image *image, const struct state_reader *reader, uint32_t index,
                    struct error *err)
{
    memset(image, 0, sizeof(*image));
    int r = state_get(reader, STATE_VCPU, index, VCPU_STATE_VERSION, &image->fixed,
                      sizeof(image->fixed), err);
    if (r == 0)
        r = state_get(reader, STATE_VCPU_LAPIC, index, VCPU_LAPIC_STATE_VERSION, &image->lapic,
                      sizeof(image->lapic), err);
    if (r == 0)
        r = state_get(reader, STATE_VCPU_XCRS, index, VCPU_XCRS_STATE_VERSION, &image->xcrs,
                      sizeof(image->xcrs), err);
    if (r == 0)
        r = arrays_read(image, reader, index, err);
    if (r < 0)
        return r;
    if (image->xcrs.nr_xcrs > KVM_MAX_XCRS)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "vCPU %u: it has %u extended registers",
                         index, image->xcrs.nr_xcrs);
    return 0;
}

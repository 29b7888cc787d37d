/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/describe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "vmm/kvm/kvm_state.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/machine_state.h"

static inline void cleanup_vm_config(struct vm_config *config)
{
    vm_config_free(config);
}

static const struct {
    const char *name;
    enum state_kind kind;
    unsigned indices; /* how many the kind may have */
} kinds[] = {
    {"machine", STATE_MACHINE, 1},
    {"configuration", STATE_CONFIG, 1},
    {"vCPU registers", STATE_VCPU, VM_MAX_VCPUS},
    {"vCPU MSRs", STATE_VCPU_MSRS, VM_MAX_VCPUS},
    {"vCPU XSAVE area", STATE_VCPU_XSAVE, VM_MAX_VCPUS},
    {"vCPU CPUID", STATE_VCPU_CPUID, VM_MAX_VCPUS},
    {"vCPU LAPIC", STATE_VCPU_LAPIC, VM_MAX_VCPUS},
    {"vCPU extended control registers", STATE_VCPU_XCRS, VM_MAX_VCPUS},
    {"interrupt controller", STATE_IRQCHIP, IRQCHIP_COUNT},
    {"PIT", STATE_PIT, 1},
    {"clock", STATE_CLOCK, 1},
    {"serial port", STATE_SERIAL, 1},
    {"i8042", STATE_I8042, 1},
    {"VM generation id", STATE_VMGENID, 1},
    {"virtio transport", STATE_VIRTIO_MMIO, VIRTIO_MAX_DEVICES},
    {"virtio block", STATE_VIRTIO_BLOCK, VIRTIO_MAX_DEVICES},
    {"virtio vsock", STATE_VIRTIO_VSOCK, VIRTIO_MAX_DEVICES},
    {"virtio entropy", STATE_VIRTIO_RNG, VIRTIO_MAX_DEVICES},
    {"virtio balloon", STATE_VIRTIO_BALLOON, VIRTIO_MAX_DEVICES},
};

static void sections_print(const struct state_reader *reader, FILE *out)
{
    struct state_section section;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (unsigned index = 0; index < kinds[i].indices; index++) {
            if (state_find(reader, kinds[i].kind, index, &section))
                fprintf(out, "section: %s %u, version %u, %u bytes\n", kinds[i].name, index,
                        section.version, section.length);
        }
    }
}

static int vcpus_print(const struct state_reader *reader, unsigned count, FILE *out,
                       struct error *err)
{
    _cleanup_(free) struct vcpu_image *image = malloc(sizeof(*image));
    if (!image)
        return error_errno(err, ENOMEM, NULL, "describe the vCPUs");
    for (unsigned i = 0; i < count; i++) {
        int r = vcpu_image_read(image, reader, i, err);
        if (r < 0)
            return r;
        fprintf(out, "vcpu %u: rip 0x%llx, mp state %u, TSC %u kHz, %zu MSRs, %zu CPUID entries\n",
                i, (unsigned long long)image->fixed.regs.rip, image->fixed.mp_state,
                image->fixed.tsc_khz, image->msr_count, image->cpuid_count);
    }
    return 0;
}

static int clock_print(const struct state_reader *reader, FILE *out, struct error *err)
{
    struct clock_state clock;
    int r = state_get(reader, STATE_CLOCK, 0, CLOCK_STATE_VERSION, &clock, sizeof(clock), err);
    if (r < 0)
        return r;
    char text[32];
    time_format_rfc3339(clock.realtime_ns, text);
    fprintf(out, "saved at: %s, kvmclock %llu ns\n", text, (unsigned long long)clock.kvmclock_ns);
    return 0;
}

static int state_print(const struct state_reader *reader, FILE *out, struct error *err)
{
    _cleanup_(vm_config) struct vm_config config;
    struct machine_state machine;
    vm_config_init(&config);
    int r = machine_state_read(reader, &machine, &config, err);
    if (r < 0)
        return r;
    fprintf(out, "format: %u\nwritten by: tine-vmm %s\nvcpus: %u\nmemory: %llu MiB\ndevices: %u\n",
            STATE_FORMAT_VERSION, machine.vmm_version, machine.vcpu_count,
            (unsigned long long)(machine.memory_bytes >> 20), machine.virtio_count);
    r = clock_print(reader, out, err);
    if (r == 0)
        r = vcpus_print(reader, machine.vcpu_count, out, err);
    if (r < 0)
        return r;
    _cleanup_(free) char *json = vm_config_to_json(&config);
    fprintf(out, "configuration: %s\n", json ? json : "?");
    sections_print(reader, out);
    return 0;
}

int snapshot_describe(const char *path, FILE *out, struct error *err)
{
    _cleanup_(free) char *data = NULL;
    size_t length = 0;
    struct state_reader reader;
    int r = file_read_all(AT_FDCWD, path, STATE_FILE_LIMIT, &data, &length, err);
    if (r == 0)
        r = state_reader_open(&reader, data, length, err);
    if (r == 0)
        r = state_print(&reader, out, err);
    return r < 0 ? error_wrap(err, "snapshot %s", path) : 0;
}

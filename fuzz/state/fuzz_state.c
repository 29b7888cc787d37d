/* SPDX-License-Identifier: Apache-2.0 */
/* The state loader with hostile bytes, as far as it goes without KVM: container, machine and
 * configuration sections, vCPU images, VM-wide sections, and the devices' own. The first byte
 * chooses between two ways past the checksum: a file of the fuzzer's bytes with a header and a
 * checksum that fit, and a sound file of sections that the fuzzer fills. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "vmm/config.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/virtio.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/kvm/kvm_state.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/machine_state.h"
#include "vmm/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER_SIZE   24
#define CHECKSUM_SIZE 8

static void nothing(void *context)
{
    (void)context;
}

/* Layout of the header as in state.h; the section count stays the fuzzer's. */
static void seal(uint8_t *file, size_t length)
{
    const uint32_t format = STATE_FORMAT_VERSION;
    const uint64_t total = length;
    memcpy(file, "TINESTAT", 8);
    memcpy(file + 8, &format, sizeof(format));
    memcpy(file + 16, &total, sizeof(total));
    uint64_t checksum = XXH3_64bits(file, length - CHECKSUM_SIZE);
    memcpy(file + length - CHECKSUM_SIZE, &checksum, sizeof(checksum));
}

static void read_machine(const struct state_reader *reader)
{
    struct machine_state state;
    struct vm_config config;
    vm_config_init(&config);
    (void)machine_state_read(reader, &state, &config, NULL);
    vm_config_free(&config);
}

static void read_kvm(const struct state_reader *reader)
{
    struct error err = {0};
    struct kvm_irqchip chip;
    struct kvm_pit_state2 pit;
    struct clock_state clock;
    struct vcpu_image *image = malloc(sizeof(*image));
    for (uint32_t i = 0; image && i < 2; i++) {
        if (vcpu_image_read(image, reader, i, &err) == 0 && image->xsave[image->xsave_size - 1] &&
            image->msrs[image->msr_count - 1].index && image->cpuid[image->cpuid_count - 1].eax)
            error_clear(&err); /* reads the last byte of each array, for the sanitizer */
    }
    free(image);
    (void)state_get(reader, STATE_IRQCHIP, 0, IRQCHIP_STATE_VERSION, &chip, sizeof(chip), &err);
    (void)state_get(reader, STATE_PIT, 0, PIT_STATE_VERSION, &pit, sizeof(pit), &err);
    (void)state_get(reader, STATE_CLOCK, 0, CLOCK_STATE_VERSION, &clock, sizeof(clock), &err);
}

static void read_legacy(const struct state_reader *reader)
{
    struct error err = {0};
    int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct serial *serial = serial_create(-1, irq, &err);
    struct i8042 *i8042 = i8042_create(irq, nothing, NULL, &err);
    struct vmgenid vmgenid = {.gpa = 0x1000, .irq_fd = irq};
    if (!serial || !i8042)
        abort();
    (void)serial_load(serial, reader, &err);
    (void)i8042_load(i8042, reader, &err);
    (void)vmgenid_load(&vmgenid, reader, &err);
    serial_destroy(serial);
    i8042_destroy(i8042);
    close(irq);
}

static void read_virtio(const struct state_reader *reader)
{
    struct error err = {0};
    struct guest_memory memory;
    struct loop *loop = loop_create(&err);
    struct balloon_config balloon = {.present = true, .free_page_reporting = true};
    if (!loop || guest_memory_create(&memory, 2 << 20, &err) < 0)
        abort();
    struct virtio_device *devices[] = {virtio_balloon_create(&balloon, &memory, loop, &err),
                                       virtio_rng_create(&memory, loop, &err)};
    for (uint32_t slot = 0; slot < ARRAY_SIZE(devices); slot++) {
        struct virtio_mmio *transport = virtio_mmio_create(devices[slot], slot, &err);
        if (!transport)
            abort();
        if (virtio_mmio_load(transport, reader, &err) == 0)
            virtio_mmio_kick(transport);
        virtio_mmio_destroy(transport);
    }
    loop_destroy(loop);
    guest_memory_release(&memory);
}

static void read_all(const struct state_reader *reader)
{
    read_machine(reader);
    read_kvm(reader);
    read_legacy(reader);
    read_virtio(reader);
}

static void raw_file(const uint8_t *data, size_t size)
{
    struct state_reader reader;
    size_t length = size < HEADER_SIZE + CHECKSUM_SIZE ? HEADER_SIZE + CHECKSUM_SIZE : size;
    _cleanup_(free) uint8_t *file = calloc(1, length);
    if (!file)
        return;
    memcpy(file, data, size);
    seal(file, length);
    if (state_reader_open(&reader, file, length, NULL) == 0)
        read_all(&reader);
}

/* {kind, index, version, length of two bytes, payload} again and again. */
static void file_of_sections(const uint8_t *data, size_t size)
{
    struct state_writer writer;
    struct state_reader reader;
    state_writer_init(&writer);
    while (size >= 5) {
        size_t wanted = (size_t)data[3] | (size_t)data[4] << 8;
        size_t length = wanted < size - 5 ? wanted : size - 5;
        state_put(&writer, data[0], data[1], data[2], data + 5, length);
        data += 5 + length;
        size -= 5 + length;
    }
    if (state_writer_finish(&writer, NULL) == 0) {
        if (state_reader_open(&reader, writer.data, writer.length, NULL) < 0)
            abort(); /* what the writer makes, the reader takes */
        read_all(&reader);
    }
    state_writer_free(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        file_of_sections(data + 1, size - 1);
    else
        raw_file(data + 1, size - 1);
    return 0;
}

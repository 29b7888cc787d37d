/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/power.h"

#include "base/cleanup.h"
#include "vmm/boot/acpi.h"

/* ACPI 6.4, section 4.8.3.7: sleep control at offset 0, sleep status at offset 1. */
#define SLEEP_CONTROL    0u
#define SLEEP_TYPE_SHIFT 2u
#define SLEEP_TYPE_MASK  0x1cu
#define SLEEP_ENABLE     0x20u

/* Both registers read as zero: SLP_EN is write-only, and WAK_STS is never set, for nothing wakes a
 * VM that is off. */
static void power_read(struct bus_device *device, uint64_t offset, uint8_t *data, size_t size)
{
    (void)device, (void)offset, (void)data, (void)size;
}

static void power_write(struct bus_device *device, uint64_t offset, const uint8_t *data,
                        size_t size)
{
    const struct power *power = CONTAINER_OF(device, struct power, bus);
    if (offset != SLEEP_CONTROL || size != 1)
        return;
    unsigned type = (data[0] & SLEEP_TYPE_MASK) >> SLEEP_TYPE_SHIFT;
    if ((data[0] & SLEEP_ENABLE) && type == ACPI_S5_TYPE)
        power->off(power->context);
}

void power_init(struct power *power, void (*off)(void *context), void *context)
{
    *power = (struct power){
        .bus = {.name = "power",
                .start = ACPI_SLEEP_PORT,
                .length = 2,
                .read = power_read,
                .write = power_write},
        .off = off,
        .context = context,
    };
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/boot/acpi.h"
#include "vmm/devices/bus.h"
#include "vmm/devices/power.h"

struct recorder {
    struct bus_device bus;
    unsigned reads, writes;
    uint64_t offset;
    size_t size;
    uint8_t last[8];
};

static void recorder_read(struct bus_device *device, uint64_t offset, uint8_t *data, size_t size)
{
    struct recorder *recorder = CONTAINER_OF(device, struct recorder, bus);
    recorder->reads++;
    recorder->offset = offset;
    recorder->size = size;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(data[i], 0);
    memset(data, 0x5a, size);
}

static void recorder_write(struct bus_device *device, uint64_t offset, const uint8_t *data,
                           size_t size)
{
    struct recorder *recorder = CONTAINER_OF(device, struct recorder, bus);
    recorder->writes++;
    recorder->offset = offset;
    recorder->size = size;
    memcpy(recorder->last, data, size);
}

static struct recorder recorder_make(const char *name, uint64_t start, uint64_t length)
{
    return (struct recorder){.bus = {.name = name,
                                     .start = start,
                                     .length = length,
                                     .read = recorder_read,
                                     .write = recorder_write}};
}

static void accesses_reach_their_device(void **state)
{
    (void)state;
    struct bus bus = {0};
    struct recorder high = recorder_make("high", 0x3000, 0x1000);
    struct recorder low = recorder_make("low", 0x1000, 0x1000);
    struct recorder middle = recorder_make("middle", 0x2000, 0x10);
    uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(bus_add(&bus, &high.bus, NULL), 0);
    assert_int_equal(bus_add(&bus, &low.bus, NULL), 0);
    assert_int_equal(bus_add(&bus, &middle.bus, NULL), 0);
    bus_write(&bus, 0x2008, data, 8);
    assert_int_equal(middle.writes, 1);
    assert_int_equal(middle.offset, 8);
    assert_int_equal(middle.size, 8);
    assert_memory_equal(middle.last, data, 8);
    bus_read(&bus, 0x1fff, data, 1);
    assert_int_equal(low.reads, 1);
    assert_int_equal(low.offset, 0xfff);
    assert_int_equal(data[0], 0x5a);
    assert_int_equal(data[1], 2);
    bus_read(&bus, 0x3000, data, 4);
    assert_int_equal(high.reads, 1);
    assert_int_equal(high.offset, 0);
}

static void assert_unclaimed(const struct bus *bus, uint64_t address, size_t size)
{
    uint8_t data[8];
    memset(data, 0xff, sizeof(data));
    bus_read(bus, address, data, size);
    for (size_t i = 0; i < sizeof(data); i++)
        assert_int_equal(data[i], i < size ? 0 : 0xff);
    bus_write(bus, address, data, size);
}

static void unclaimed_reads_are_zero(void **state)
{
    (void)state;
    struct bus bus = {0};
    struct recorder device = recorder_make("device", 0x1000, 0x10);
    struct recorder last = recorder_make("last", UINT64_MAX - 4, 4);
    assert_unclaimed(&bus, 0x1000, 4);
    assert_int_equal(bus_add(&bus, &device.bus, NULL), 0);
    assert_int_equal(bus_add(&bus, &last.bus, NULL), 0);
    assert_unclaimed(&bus, 0xfff, 1);
    assert_unclaimed(&bus, 0xffe, 4);  /* begins before the device */
    assert_unclaimed(&bus, 0x100d, 4); /* ends behind it */
    assert_unclaimed(&bus, 0x1010, 1);
    assert_unclaimed(&bus, UINT64_MAX, 1);
    assert_unclaimed(&bus, UINT64_MAX - 1, 8); /* wraps around */
    assert_int_equal(device.reads + device.writes + last.reads + last.writes, 0);
}

static void refuses_overlaps(void **state)
{
    (void)state;
    struct bus bus = {0};
    struct error err = {0};
    struct recorder device = recorder_make("first", 0x1000, 0x1000);
    static const struct {
        uint64_t start, length;
        int status;
    } cases[] = {
        {0x1000, 0x1000, -EEXIST}, {0x1fff, 1, -EEXIST}, {0xfff, 2, -EEXIST},
        {0, 0x10000, -EEXIST},     {0x1800, 8, -EEXIST}, {0x5000, 0, -EINVAL},
        {0xff0, 0x10, 0},          {0x2000, 1, 0},       {UINT64_MAX, 2, -EINVAL},
    };
    assert_int_equal(bus_add(&bus, &device.bus, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static struct recorder other[ARRAY_SIZE(cases)];
        other[i] = recorder_make("other", cases[i].start, cases[i].length);
        assert_int_equal(bus_add(&bus, &other[i].bus, &err), cases[i].status);
    }
    assert_int_equal(bus.count, 3);
    assert_int_equal(bus_add(&bus, &device.bus, &err), -EEXIST);
    assert_string_equal(err.message, "first at 0x1000 overlaps first at 0x1000");
}

static void refuses_more_than_fit(void **state)
{
    (void)state;
    struct bus bus = {0};
    struct recorder devices[BUS_MAX_DEVICES + 1];
    for (unsigned i = 0; i <= BUS_MAX_DEVICES; i++) {
        /* Not in order of address: 7 is coprime to the count. */
        devices[i] = recorder_make("device", 0x1000ull * (i * 7 % (BUS_MAX_DEVICES + 1)), 0x1000);
        int status = bus_add(&bus, &devices[i].bus, NULL);
        assert_int_equal(status, i < BUS_MAX_DEVICES ? 0 : -ENOSPC);
    }
    for (unsigned i = 0; i < BUS_MAX_DEVICES; i++) {
        uint8_t data[4];
        bus_read(&bus, devices[i].bus.start + 4, data, 4);
        assert_int_equal(devices[i].reads, 1);
    }
}

/* ---- the power registers, the smallest device ---- */

static void count_off(void *context)
{
    ++*(unsigned *)context;
}

static void power_off_needs_type_and_enable(void **state)
{
    (void)state;
    unsigned off = 0;
    struct power power;
    struct bus bus = {0};
    uint8_t data[2] = {0};
    power_init(&power, count_off, &off);
    assert_int_equal(bus_add(&bus, &power.bus, NULL), 0);
    for (unsigned value = 0; value < 256; value++) {
        data[0] = (uint8_t)value;
        bus_write(&bus, ACPI_SLEEP_PORT + 1, data, 1);
        assert_int_equal(off, 0);
    }
    for (unsigned value = 0; value < 256; value++) {
        unsigned expected = (value & 0x20) && (value >> 2 & 7) == ACPI_S5_TYPE;
        off = 0;
        data[0] = (uint8_t)value;
        bus_write(&bus, ACPI_SLEEP_PORT, data, 1);
        assert_int_equal(off, expected);
    }
    off = 0;
    data[0] = 0x34;
    bus_write(&bus, ACPI_SLEEP_PORT, data, 2); /* not a byte access */
    assert_int_equal(off, 0);
    data[0] = 0xff;
    bus_read(&bus, ACPI_SLEEP_PORT, data, 1);
    assert_int_equal(data[0], 0);
    bus_read(&bus, ACPI_SLEEP_PORT + 1, data, 1);
    assert_int_equal(data[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accesses_reach_their_device),
        cmocka_unit_test(unclaimed_reads_are_zero),
        cmocka_unit_test(refuses_overlaps),
        cmocka_unit_test(refuses_more_than_fit),
        cmocka_unit_test(power_off_needs_type_and_enable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

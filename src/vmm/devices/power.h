/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI sleep control and status registers: writing SLP_TYP 5 with SLP_EN powers the VM off. */
#ifndef TINE_VMM_DEVICES_POWER_H
#define TINE_VMM_DEVICES_POWER_H

#include "vmm/devices/bus.h"

struct power {
    struct bus_device bus;
    void (*off)(void *context); /* on a vCPU thread, device lock held */
    void *context;
};

void power_init(struct power *power, void (*off)(void *context), void *context);

#endif

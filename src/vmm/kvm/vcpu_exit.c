/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/vcpu_exit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/log.h"

static void vcpu_end(struct vcpu *vcpu, int status)
{
    vcpu->ended = true;
    vcpu->all->handlers.end(vcpu->all->handlers.context, status);
}

/* Logs why the guest can't go on, with where it was, and ends it. */
static void vcpu_fail(struct vcpu *vcpu, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void vcpu_fail(struct vcpu *vcpu, const char *format, ...)
{
    char cause[512];
    va_list args;
    va_start(args, format);
    vsnprintf(cause, sizeof(cause), format, args);
    va_end(args);
    struct kvm_regs regs = {0};
    struct kvm_sregs sregs = {0};
    /* Only for the log line: zeros are printed where KVM does not tell any more. */
    (void)ioctl(vcpu->fd, KVM_GET_REGS, &regs);
    (void)ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
    log_error("vCPU %u: %s; rip 0x%llx rsp 0x%llx cr0 0x%llx cr2 0x%llx cr3 0x%llx cr4 0x%llx "
              "efer 0x%llx",
              vcpu->index, cause, regs.rip, regs.rsp, sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4,
              sregs.efer);
    vcpu_end(vcpu, 1);
}

static void exit_io(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    const struct vcpu_handlers *handlers = &vcpu->all->handlers;
    bool is_write = run->io.direction == KVM_EXIT_IO_OUT;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++) {
        if (!is_write)
            memset(data, 0, run->io.size);
        handlers->port(handlers->context, run->io.port, data, run->io.size, is_write);
        data += run->io.size;
    }
}

static void exit_mmio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    const struct vcpu_handlers *handlers = &vcpu->all->handlers;
    bool is_write = run->mmio.is_write != 0;
    if (!is_write)
        memset(run->mmio.data, 0, sizeof(run->mmio.data));
    handlers->mmio(handlers->context, run->mmio.phys_addr, run->mmio.data, run->mmio.len, is_write);
}

static void exit_interrupted(struct vcpu *vcpu)
{
    (void)vcpu; /* the caller looks whether it was told to stop */
}

static void exit_shutdown(struct vcpu *vcpu)
{
    vcpu_fail(vcpu, "triple fault");
}

static void exit_system_event(struct vcpu *vcpu)
{
    uint32_t type = vcpu->run->system_event.type;
    if (type == KVM_SYSTEM_EVENT_SHUTDOWN || type == KVM_SYSTEM_EVENT_RESET)
        vcpu_end(vcpu, 0);
    else
        vcpu_fail(vcpu, "system event %u", type);
}

static void exit_fail_entry(struct vcpu *vcpu)
{
    vcpu_fail(vcpu, "the processor refuses to enter the guest: reason 0x%llx on CPU %u",
              vcpu->run->fail_entry.hardware_entry_failure_reason, vcpu->run->fail_entry.cpu);
}

static void exit_internal_error(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    uint32_t count = run->internal.ndata;
    char data[128] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count && i < 4; i++)
        used +=
            (size_t)snprintf(data + used, sizeof(data) - used, " 0x%llx", run->internal.data[i]);
    vcpu_fail(vcpu, "KVM internal error %u%s%s", run->internal.suberror,
              run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                  ? " (instruction emulation failed), data"
                  : ", data",
              data);
}

static void (*const exit_handlers[])(struct vcpu *) = {
    [KVM_EXIT_IO] = exit_io,
    [KVM_EXIT_MMIO] = exit_mmio,
    [KVM_EXIT_INTR] = exit_interrupted,
    [KVM_EXIT_IRQ_WINDOW_OPEN] = exit_interrupted,
    [KVM_EXIT_SHUTDOWN] = exit_shutdown,
    [KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
    [KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
    [KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
};

void vcpu_exit(struct vcpu *vcpu)
{
    uint32_t reason = vcpu->run->exit_reason;
    if (reason < ARRAY_SIZE(exit_handlers) && exit_handlers[reason])
        exit_handlers[reason](vcpu);
    else
        vcpu_fail(vcpu, "unexpected exit %u", reason);
}

void vcpu_run_failed(struct vcpu *vcpu, int errnum)
{
    vcpu_fail(vcpu, "KVM_RUN: %s (%s)", strerrordesc_np(errnum), errno_name(errnum));
}

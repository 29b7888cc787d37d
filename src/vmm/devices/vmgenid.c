/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/vmgenid.h"

#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

#define VMGENID_SIZE          16u
#define VMGENID_STATE_VERSION 1u
#define LOW_MEMORY_END        (1u << 20)

struct vmgenid_state {
    uint64_t gpa;
};

int vmgenid_renew(const struct vmgenid *vmgenid, const struct guest_memory *memory, int announce,
                  struct error *err)
{
    uint8_t id[VMGENID_SIZE];
    /* Up to 256 bytes are never cut short or interrupted once the pool is ready (getrandom(2)). */
    if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
        return error_errno(err, errno, NULL, "get random bytes for the VM generation id");
    if (guest_write(memory, vmgenid->gpa, id, sizeof(id)) < 0)
        return error_set(err, ERROR_INVALID, EFAULT,
                         "VM generation id at 0x%llx is outside guest memory",
                         (unsigned long long)vmgenid->gpa);
    uint64_t one = 1;
    if (announce && write(vmgenid->irq_fd, &one, sizeof(one)) < 0)
        return error_errno(err, errno, NULL, "raise the VM generation id interrupt");
    return 0;
}

void vmgenid_save(const struct vmgenid *vmgenid, struct state_writer *writer)
{
    struct vmgenid_state state = {.gpa = vmgenid->gpa};
    state_put(writer, STATE_VMGENID, 0, VMGENID_STATE_VERSION, &state, sizeof(state));
}

int vmgenid_load(struct vmgenid *vmgenid, const struct state_reader *reader, struct error *err)
{
    struct vmgenid_state state;
    int status =
        state_get(reader, STATE_VMGENID, 0, VMGENID_STATE_VERSION, &state, sizeof(state), err);
    if (status < 0)
        return status;
    if (state.gpa % 8 != 0 || state.gpa == 0 || state.gpa > LOW_MEMORY_END - VMGENID_SIZE)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "state: VM generation id at 0x%llx is not in low memory",
                         (unsigned long long)state.gpa);
    vmgenid->gpa = state.gpa;
    return 0;
}

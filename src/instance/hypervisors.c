/* SPDX-License-Identifier: Apache-2.0 */
/* Which driver an instance has: the one that its row names. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "instance/host.h"

const struct hypervisor *host_hypervisor(const struct host *host, const char *name)
{
    for (size_t i = 0; i < HOST_HYPERVISORS; i++) {
        if (strcmp(host->hypervisors[i].name, name) == 0)
            return &host->hypervisors[i];
    }
    return NULL;
}

/* Those that VMs can be started with: "builtin, firecracker". */
static void list_names(const struct host *host, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < HOST_HYPERVISORS && used < size; i++) {
        if (host->hypervisors[i].binary)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     host->hypervisors[i].name);
    }
}

int host_hypervisor_find(const struct host *host, const char *field, const char *name,
                         const struct hypervisor **hypervisor, struct error *err)
{
    *hypervisor = host_hypervisor(host, name);
    if (*hypervisor && (*hypervisor)->binary) {
        int r = hypervisor_check(*hypervisor, err);
        if (r < 0)
            error_wrap(err, "%s", field);
        return r;
    }
    char names[128];
    list_names(host, names, sizeof(names));
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "%s: '%.80s' is not here; there is %s",
                     field, name, names);
}

const struct hypervisor *operation_hypervisor(const struct operation *op)
{
    const struct hypervisor *hypervisor = host_hypervisor(op->host, op->record.hypervisor);
    assert(hypervisor);
    return hypervisor;
}

int operation_check_hypervisor(const struct operation *op, struct error *err)
{
    if (host_hypervisor(op->host, op->record.hypervisor))
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "%s: its hypervisor '%.80s' is not known",
                     op->record.name, op->record.hypervisor);
}

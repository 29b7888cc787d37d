/* SPDX-License-Identifier: Apache-2.0 */
/* /vsock, /entropy and /network-interfaces/{id}. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vmm/api/api_private.h"
#include "vmm/config_json.h"

/* The socket is bound when the VM is built; what would make that fail is told now. */
static int socket_path_check(const char *path, struct error *err)
{
    int exists = file_exists(AT_FDCWD, path, err);
    if (exists < 0)
        return error_wrap(err, "vsock: uds_path");
    if (exists)
        return error_errno(err, EADDRINUSE, path, "vsock: uds_path %s", path);
    _cleanup_(free) char *copy = strdup(path);
    if (!copy)
        return error_errno(err, ENOMEM, path, "vsock: uds_path %s", path);
    const char *directory = dirname(copy);
    _cleanup_(close) int fd = dir_open(AT_FDCWD, directory, err);
    return fd < 0 ? error_wrap(err, "vsock: uds_path %s", path) : 0;
}

int put_vsock(struct api_call *call, struct error *err)
{
    struct vm_config *config = vmm_config(call->vmm);
    struct vsock_config vsock = {0};
    int r = vsock_config_read(call->body, &vsock, err);
    if (r == 0)
        r = socket_path_check(vsock.uds_path, err);
    if (r < 0) {
        vsock_config_free(&vsock);
        return r;
    }
    vsock_config_free(&config->vsock);
    config->vsock = vsock;
    call->api->boot_configured = true;
    return 0;
}

int put_entropy(struct api_call *call, struct error *err)
{
    int r = entropy_config_read(call->body, err);
    if (r < 0)
        return r;
    vmm_config(call->vmm)->entropy_present = true;
    call->api->boot_configured = true;
    return 0;
}

int put_network_interface(struct api_call *call, struct error *err)
{
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "network-interfaces: this version of the VMM has no network device");
}

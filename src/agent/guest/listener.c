/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/listener.h"

#include <errno.h>
#include <linux/vm_sockets.h> /* needs struct sockaddr from sys/socket.h */
#include <sys/socket.h>

#include "agent/protocol.h"
#include "base/cleanup.h"
#include "base/unix_socket.h"

#define BACKLOG 128

static int vsock_listen(struct error *err)
{
    _cleanup_(close) int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, errno, NULL, "vsock");
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = AGENT_PORT};
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, errno, NULL, "bind vsock port %u", AGENT_PORT);
    if (listen(fd, BACKLOG) < 0)
        return error_errno(err, errno, NULL, "listen on vsock port %u", AGENT_PORT);
    return TAKE_FD(fd);
}

int listener_open(const char *unix_path, struct error *err)
{
    return unix_path ? unix_listen(unix_path, SOCK_NONBLOCK, err) : vsock_listen(err);
}

int listener_accept(int listener)
{
    union {
        struct sockaddr any;
        struct sockaddr_vm vsock;
        struct sockaddr_storage storage;
    } peer = {0};
    socklen_t length = sizeof(peer);
    _cleanup_(close) int fd = accept4(listener, &peer.any, &length, SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (peer.any.sa_family == AF_VSOCK && peer.vsock.svm_cid != VMADDR_CID_HOST)
        return -EAGAIN;
    return TAKE_FD(fd);
}

int listener_connect_host(struct error *err)
{
    _cleanup_(close) int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, NULL, "vsock");
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = AGENT_READY_PORT};
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, errno, NULL, "connect to the host's vsock port %u",
                           AGENT_READY_PORT);
    return TAKE_FD(fd);
}

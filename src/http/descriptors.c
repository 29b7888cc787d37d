/* SPDX-License-Identifier: Apache-2.0 */
#include "http/descriptors.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT 16u

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(LIMIT * sizeof(int))];
};

static void take(struct cmsghdr *header, int *fds, size_t limit, size_t *count, bool *too_many)
{
    size_t sent = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < sent; i++) {
        int fd = -1;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
        if (*count < limit) {
            fds[(*count)++] = fd;
        } else {
            close(fd);
            *too_many = true;
        }
    }
}

ssize_t descriptors_receive(int socket, void *buffer, size_t length, int *fds, size_t limit,
                            size_t *count, bool *too_many)
{
    union control control;
    struct iovec bytes = {.iov_base = buffer, .iov_len = length};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    *count = 0;
    *too_many = false;
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return n;
    if (message.msg_flags & MSG_CTRUNC)
        *too_many = true; /* the kernel has closed what did not fit */
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
            take(h, fds, limit, count, too_many);
    }
    return n;
}

ssize_t descriptors_send(int socket, const void *buffer, size_t length, const int *fds,
                         size_t count)
{
    union control control;
    struct iovec bytes = {.iov_base = (void *)buffer, .iov_len = length};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    memset(&control, 0, sizeof(control));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

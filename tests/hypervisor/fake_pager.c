/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake with a pager, as Firecracker does it: one message with the regions and the
 * userfaultfd; both stay open until the VM ends. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake_vmm.h"

#define PAGE 4096u

static int uffd_make(void *memory, size_t size)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
    struct uffdio_register range = {.range = {.start = (uintptr_t)memory, .len = size},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    if (ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &range) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int introduce(int socket, int uffd, const void *memory, size_t size)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char text[256];
    snprintf(text, sizeof(text),
             "[{\"base_host_virt_addr\":%llu,\"size\":%zu,\"offset\":0,\"page_size\":%u,"
             "\"page_size_kib\":%u}]",
             (unsigned long long)(uintptr_t)memory, size, PAGE, PAGE);
    struct iovec bytes = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    memset(&control, 0, sizeof(control));
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &uffd, sizeof(uffd));
    return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)strlen(text) ? 0 : -1;
}

int fake_memory_paged(struct fake *fake, const char *path, size_t size)
{
    char *bad_order = fake_order("bad-handshake", NULL);
    size_t told = bad_order ? 2 * size : size;
    free(bad_order);
    void *memory = mmap(NULL, told, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    fake->memory = memory;
    fake->memory_size = size;
    fake->served = 1;
    int uffd = uffd_make(memory, told);
    int socket = uffd < 0 ? -1 : fake_unix_socket(path, 0);
    char *no_order = socket < 0 ? NULL : fake_order("no-handshake", NULL);
    int r = socket < 0 ? -1 : no_order ? 0 : introduce(socket, uffd, memory, told);
    free(no_order);
    return r;
}

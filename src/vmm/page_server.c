/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/page_server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"
#include "http/descriptors.h"
#include "vmm/memory.h"

#define DEVICE "/dev/userfaultfd"
/* An object of the array takes at most 170 bytes. */
#define TEXT_MAX (GUEST_MAX_REGIONS * 192)

struct page_server {
    int uffd;
    int socket; /* open for the VM's life: its end is how the server learns of the VM's */
};

static void cleanup_page_server(struct page_server **server)
{
    page_server_close(*server);
}

void page_server_close(struct page_server *server)
{
    if (!server)
        return;
    cleanup_close(&server->uffd);
    cleanup_close(&server->socket);
    free(server);
}

/* By the device, whose mode says who may (since Linux 6.1). */
static int open_by_device(struct error *err)
{
    _cleanup_(close) int device = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (device < 0)
        return -errno;
    int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? error_errno(err, errno, DEVICE, "userfaultfd from " DEVICE) : fd;
}

static int uffd_open(struct error *err)
{
    int fd = open_by_device(err);
    /* Not there, or not for us. */
    if (fd != -ENOENT && fd != -ENXIO && fd != -EACCES && fd != -EPERM)
        return fd;
    fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? error_errno(err, errno, NULL,
                                "userfaultfd: " DEVICE " can't be used, and the system call")
                  : fd;
}

static int uffd_begin(int fd, struct error *err)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
    return ioctl(fd, UFFDIO_API, &api) < 0
               ? error_errno(err, errno, NULL, "userfaultfd with UFFD_FEATURE_EVENT_REMOVE")
               : 0;
}

static int uffd_register(int fd, const struct guest_memory *memory, struct error *err)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        struct uffdio_register request = {
            .range = {.start = (uintptr_t)region->host, .len = region->size},
            .mode = UFFDIO_REGISTER_MODE_MISSING};
        if (ioctl(fd, UFFDIO_REGISTER, &request) < 0)
            return error_errno(err, errno, NULL, "register %llu bytes with userfaultfd",
                               (unsigned long long)region->size);
    }
    return 0;
}

int page_server_regions(const struct guest_memory *memory, char *text, size_t size,
                        struct error *err)
{
    size_t length = 0;
    for (unsigned i = 0; i < memory->region_count && length < size; i++) {
        const struct guest_region *region = &memory->regions[i];
        /* The older name of the page size says KiB and means bytes too. */
        int n =
            snprintf(text + length, size - length,
                     "%s{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu,"
                     "\"page_size\":%u,\"page_size_kib\":%u}%s",
                     i == 0 ? "[" : ",", (unsigned long long)(uintptr_t)region->host,
                     (unsigned long long)region->size, (unsigned long long)region->file_offset,
                     GUEST_PAGE_SIZE, GUEST_PAGE_SIZE, i + 1 == memory->region_count ? "]" : "");
        length += n < 0 ? size : (size_t)n;
    }
    return length < size
               ? (int)length
               : error_set(err, ERROR_SYSTEM, ENOSPC, "tell %u regions", memory->region_count);
}

static int introduce(const struct page_server *server, const struct guest_memory *memory,
                     const char *path, struct error *err)
{
    char text[TEXT_MAX];
    int length = page_server_regions(memory, text, sizeof(text), err);
    if (length < 0)
        return length;
    ssize_t sent = descriptors_send(server->socket, text, (size_t)length, &server->uffd, 1);
    if (sent < 0)
        return error_errno(err, errno, path, "send the guest's memory regions to %s", path);
    return sent == length ? 0
                          : error_errno(err, EAGAIN, path, "send all memory regions to %s", path);
}

int page_server_connect(struct page_server **result, const struct guest_memory *memory,
                        const char *path, struct error *err)
{
    _cleanup_(page_server) struct page_server *server = malloc(sizeof(*server));
    if (!server)
        return error_errno(err, ENOMEM, path, "connect to %s", path);
    *server = (struct page_server){.uffd = uffd_open(err), .socket = -1};
    if (server->uffd < 0)
        return server->uffd;
    int r = uffd_begin(server->uffd, err);
    if (r == 0)
        r = uffd_register(server->uffd, memory, err);
    if (r < 0)
        return r;
    /* Non-blocking: a listener that takes nobody in must not hold the VMM. */
    server->socket = unix_connect(path, SOCK_NONBLOCK, err);
    if (server->socket < 0)
        return server->socket;
    r = introduce(server, memory, path, err);
    if (r < 0)
        return r;
    *result = TAKE_PTR(server);
    return 0;
}

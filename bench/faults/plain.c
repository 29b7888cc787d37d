/* SPDX-License-Identifier: Apache-2.0 */
/* A page server as simple as can be. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "faults.h"
#include "http/descriptors.h"

struct plain_vm {
    int listener;
    const uint8_t *image;
    uint64_t base; /* where its memory begins */
};

static int take_handshake(struct plain_vm *vm)
{
    char text[4096];
    int uffd = -1;
    size_t count = 0;
    bool too_many = false;
    int fd = accept4(vm->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        die("accept");
    ssize_t n = descriptors_receive(fd, text, sizeof(text), &uffd, 1, &count, &too_many);
    json_t *regions = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
    json_t *base = json_object_get(json_array_get(regions, 0), "base_host_virt_addr");
    if (count != 1 || !json_is_integer(base))
        die("handshake");
    vm->base = (uint64_t)json_integer_value(base);
    json_decref(regions);
    return uffd; /* the connection stays open, as long as the VM */
}

static void answer(const struct plain_vm *vm, int uffd, uint64_t address)
{
    uint64_t page = address & ~(uint64_t)(PAGE - 1);
    struct uffdio_copy copy = {
        .dst = page, .src = (uintptr_t)vm->image + (page - vm->base), .len = PAGE};
    while (ioctl(uffd, UFFDIO_COPY, &copy) < 0 && errno == EAGAIN)
        ;
}

static void *serve_one(void *argument)
{
    struct plain_vm *vm = argument;
    int uffd = take_handshake(vm);
    for (;;) {
        struct pollfd ready = {.fd = uffd, .events = POLLIN};
        struct uffd_msg message;
        if (poll(&ready, 1, -1) < 0)
            return NULL;
        if (read(uffd, &message, sizeof(message)) == (ssize_t)sizeof(message) &&
            message.event == UFFD_EVENT_PAGEFAULT)
            answer(vm, uffd, message.arg.pagefault.address);
    }
}

static const uint8_t *image_map(const char *directory)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/memory", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        die(path);
    const uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        die(path);
    return map;
}

int plain_serve(const char *directory, unsigned vms)
{
    const uint8_t *image = image_map(directory);
    for (unsigned i = 0; i < vms; i++) {
        struct plain_vm *vm = calloc(1, sizeof(*vm));
        char path[256];
        pthread_t thread;
        snprintf(path, sizeof(path), "%s/%u.sock", directory, i);
        if (!vm || (vm->listener = unix_listen(path, 0, NULL)) < 0)
            die(path);
        vm->image = image;
        if (pthread_create(&thread, NULL, serve_one, vm) != 0)
            die("thread");
    }
    for (;;)
        pause();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A VM as far as its memory goes: registered, handed over as Firecracker does, touched. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/unix_socket.h"
#include "faults.h"
#include "http/descriptors.h"

static volatile uint8_t *memory_make(uint64_t pages, int *uffd)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
    uint8_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_register registration = {
        .range = {.start = (uintptr_t)memory, .len = pages * PAGE},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    if (memory == MAP_FAILED || *uffd < 0 || ioctl(*uffd, UFFDIO_API, &api) < 0 ||
        ioctl(*uffd, UFFDIO_REGISTER, &registration) < 0)
        die("userfaultfd");
    return memory;
}

static void introduce(const char *directory, unsigned vm, uint64_t base, uint64_t pages, int uffd)
{
    char path[256], text[256];
    snprintf(path, sizeof(path), "%s/%u.sock", directory, vm);
    int fd = unix_connect(path, 0, NULL);
    int length = snprintf(text, sizeof(text),
                          "[{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":0,"
                          "\"page_size\":4096,\"page_size_kib\":4096}]",
                          (unsigned long long)base, (unsigned long long)pages * PAGE);
    if (fd < 0 || descriptors_send(fd, text, (size_t)length, &uffd, 1) < 0)
        die(path); /* the connection stays open to the end */
}

static void run(const char *directory, unsigned vm, const struct pattern *pattern, uint64_t pages,
                struct touched *result)
{
    int uffd = -1;
    volatile uint8_t *memory = memory_make(pages, &uffd);
    uint64_t begin = time_monotonic_ns(), before = begin;
    introduce(directory, vm, (uintptr_t)memory, pages, uffd);
    for (uint32_t i = 0; i < pattern->count; i++) {
        (void)memory[(uint64_t)pattern->pages[i] * PAGE];
        uint64_t now = time_monotonic_ns();
        if (now - before >= WAIT_LEAST_NS && result->waits < MAX_WAITS)
            result->wait_ns[result->waits++] = (uint32_t)(now - before);
        before = now;
    }
    result->elapsed_ns = before - begin;
}

void touch_run(const char *directory, unsigned first, unsigned vms, const struct pattern *pattern,
               uint64_t pages, struct touched *results, double *cpu)
{
    pid_t pids[MAX_VMS];
    for (unsigned i = 0; i < vms; i++) {
        results[i].waits = 0;
        pids[i] = fork();
        if (pids[i] < 0)
            die("fork");
        if (pids[i] == 0) {
            run(directory, first + i, pattern, pages, &results[i]);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < vms; i++) {
        struct rusage usage;
        int status = 0;
        if (wait4(pids[i], &status, 0, &usage) < 0 || status != 0)
            die("a VM failed");
        *cpu += (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    }
}

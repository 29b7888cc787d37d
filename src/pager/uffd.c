/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

/* An address where no process has memory (vm.mmap_min_addr): fills there only ask the kernel. */
#define NOWHERE PAGE_SIZE

static struct uffd_result failure(int errnum)
{
    static const struct {
        int errnum;
        enum uffd_outcome outcome;
    } outcomes[] = {
        {EEXIST, UFFD_PRESENT},  {EAGAIN, UFFD_AGAIN}, {ENOMEM, UFFD_AGAIN},
        {ENOENT, UFFD_UNMAPPED}, {ESRCH, UFFD_GONE},   {EFAULT, UFFD_SOURCE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
        if (outcomes[i].errnum == errnum)
            return (struct uffd_result){.outcome = outcomes[i].outcome, .errnum = errnum};
    }
    return (struct uffd_result){.outcome = UFFD_FAILED, .errnum = errnum};
}

/* `count` is what the kernel wrote: bytes, or the negative errno that ended the first page. A part
 * that was filled comes as EAGAIN, like a change of mappings. */
static struct uffd_result result(int r, int errnum, int64_t count)
{
    if (count > 0)
        return (struct uffd_result){.outcome = UFFD_FILLED, .filled = (uint64_t)count};
    if (r < 0)
        return failure(count < 0 ? (int)-count : errnum);
    return failure(EAGAIN);
}

static struct uffd_result copy_pages(int uffd, uint64_t address, const void *from, uint64_t length,
                                     bool wake)
{
    struct uffdio_copy copy = {.dst = address,
                               .src = (uintptr_t)from,
                               .len = length,
                               .mode = wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE};
    int r = ioctl(uffd, UFFDIO_COPY, &copy);
    return result(r, errno, copy.copy);
}

static struct uffd_result zero_pages(int uffd, uint64_t address, uint64_t length, bool wake)
{
    struct uffdio_zeropage zero = {.range = {.start = address, .len = length},
                                   .mode = wake ? 0 : UFFDIO_ZEROPAGE_MODE_DONTWAKE};
    int r = ioctl(uffd, UFFDIO_ZEROPAGE, &zero);
    return result(r, errno, zero.zeropage);
}

struct uffd_result uffd_fill(int uffd, uint64_t address, const void *from, uint64_t length,
                             bool wake)
{
    return from ? copy_pages(uffd, address, from, length, wake)
                : zero_pages(uffd, address, length, wake);
}

void uffd_source_map(const void *from, uint64_t length)
{
    (void)madvise((void *)from, length, MADV_POPULATE_READ);
}

void uffd_wake(int uffd, uint64_t address, uint64_t length)
{
    struct uffdio_range range = {.start = address, .len = length};
    /* Fails only for a range that is no range: nobody waits there. */
    (void)ioctl(uffd, UFFDIO_WAKE, &range);
}

int uffd_unregister(int uffd, uint64_t address, uint64_t length, struct error *err)
{
    struct uffdio_range range = {.start = address, .len = length};
    if (ioctl(uffd, UFFDIO_UNREGISTER, &range) == 0 || errno == ENOMEM || errno == EINVAL)
        return 0; /* ENOMEM, EINVAL: nothing is mapped there, or what can't be registered */
    return error_errno(err, errno, NULL, "unregister 0x%" PRIx64, address);
}

enum uffd_outcome uffd_probe(int uffd, uint64_t address)
{
    /* The kernel looks at the destination before it reads, and here nothing can be read. */
    void *unreadable = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (unreadable == MAP_FAILED)
        return UFFD_AGAIN;
    enum uffd_outcome outcome = copy_pages(uffd, address, unreadable, PAGE_SIZE, true).outcome;
    munmap(unreadable, PAGE_SIZE);
    return outcome;
}

bool uffd_gone(int uffd)
{
    return zero_pages(uffd, NOWHERE, PAGE_SIZE, true).outcome == UFFD_GONE;
}

bool uffd_busy(int uffd)
{
    return zero_pages(uffd, NOWHERE, PAGE_SIZE, true).outcome == UFFD_AGAIN;
}

static bool is_uffd(int fd)
{
    char link[64], target[64] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    return n > 0 && strcmp(target, "anon_inode:[userfaultfd]") == 0;
}

/* The features that the peer asked for, from the line "API: aa:<features>:<all>" (hexadecimal). */
static int features_read(int fd, uint64_t *features, struct error *err)
{
    char path[64], line[128];
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    if (!file)
        return error_errno(err, errno, path, "open %s", path);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "API: %*x:%" SCNx64, features) == 1)
            return 0;
    }
    return error_set(err, ERROR_UNSUPPORTED, EPROTO, "%s has no line of the API", path);
}

int uffd_accept(int fd, struct error *err)
{
    uint64_t features = 0;
    if (!is_uffd(fd))
        return error_set(err, ERROR_INVALID, EINVAL, "the descriptor is not a userfaultfd");
    int r = features_read(fd, &features, err);
    if (r < 0)
        return r;
    if (!(features & UFFD_FEATURE_EVENT_REMOVE))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "the userfaultfd lacks UFFD_FEATURE_EVENT_REMOVE");
    if (features & UFFD_FEATURE_EVENT_FORK)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "the userfaultfd has UFFD_FEATURE_EVENT_FORK, which is not supported");
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_errno(err, errno, NULL, "make the userfaultfd non-blocking");
    return 0;
}

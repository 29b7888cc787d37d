/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel offers and allows. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/doctor.h"

#define THP_SETTING      "/sys/kernel/mm/transparent_hugepage/enabled"
#define MAP_COUNT        "/proc/sys/vm/max_map_count"
#define MAP_COUNT_WANTED 65530
#define FILES_WANTED     65536
#define SETTING_LIMIT    256

/* linux/fs.h has these from 6.7 on; the layout is the kernel's ABI. */
struct scan_arguments {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arguments)

void check_userfaultfd(const struct cli *cli, const struct doctor_options *options,
                       struct findings *findings)
{
    _cleanup_(close) int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        finding_add(findings, "userfaultfd", FINDING_WARN, "%s: no restore through a pager",
                    strerror(errno));
        return;
    }
    struct uffdio_api api = {.api = UFFD_API};
    if (ioctl(fd, UFFDIO_API, &api) < 0)
        finding_add(findings, "userfaultfd", FINDING_WARN, "UFFDIO_API: %s", strerror(errno));
    else if (!(api.features & UFFD_FEATURE_EVENT_REMOVE))
        finding_add(findings, "userfaultfd", FINDING_WARN,
                    "the kernel does not tell of removed pages: no restore through a pager");
    else
        finding_add(findings, "userfaultfd", FINDING_OK, "yes, features 0x%llx",
                    (unsigned long long)api.features);
}

void check_pagemap_scan(const struct cli *cli, const struct doctor_options *options,
                        struct findings *findings)
{
    _cleanup_(close) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    struct scan_arguments arguments = {.size = sizeof(arguments)};
    int r = fd < 0 ? -1 : ioctl(fd, SCAN_IOCTL, &arguments);
    if (r >= 0)
        finding_add(findings, "PAGEMAP_SCAN", FINDING_OK, "yes: finds dirty pages fast");
    else if (fd >= 0)
        finding_add(findings, "PAGEMAP_SCAN", FINDING_WARN,
                    "%s (Linux 6.7 has it): dirty pages are read from pagemap, which is slower",
                    strerror(errno));
    else
        finding_add(findings, "PAGEMAP_SCAN", FINDING_FAIL, "/proc/self/pagemap: %s",
                    strerror(errno));
}

/* A setting's one line. NULL if it can't be read. Owner: caller. */
static char *setting_read(const char *path)
{
    char text[SETTING_LIMIT];
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n < 0)
        return NULL;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return strdup(text);
}

void check_huge_pages(const struct cli *cli, const struct doctor_options *options,
                      struct findings *findings)
{
    _cleanup_(free) char *text = setting_read(THP_SETTING);
    if (!text)
        finding_add(findings, "huge pages", FINDING_WARN, "%s: %s", THP_SETTING, strerror(errno));
    else if (strstr(text, "[never]"))
        finding_add(findings, "huge pages", FINDING_WARN,
                    "transparent huge pages are off: forking a running VM pauses it longer");
    else
        finding_add(findings, "huge pages", FINDING_OK, "transparent: %s", text);
}

void check_map_count(const struct cli *cli, const struct doctor_options *options,
                     struct findings *findings)
{
    _cleanup_(free) char *text = setting_read(MAP_COUNT);
    long count = text ? strtol(text, NULL, 10) : 0;
    if (count < MAP_COUNT_WANTED)
        finding_add(findings, "vm.max_map_count", FINDING_WARN,
                    "%ld, %d or more is wanted: layered memory images need many mappings", count,
                    MAP_COUNT_WANTED);
    else
        finding_add(findings, "vm.max_map_count", FINDING_OK, "%ld", count);
}

void check_open_files(const struct cli *cli, const struct doctor_options *options,
                      struct findings *findings)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    unsigned long long hard = limit.rlim_max;
    if (hard < FILES_WANTED)
        finding_add(findings, "open file limit", FINDING_WARN,
                    "%llu (hard limit), %d is wanted for hundreds of VMs", hard, FILES_WANTED);
    else
        finding_add(findings, "open file limit", FINDING_OK, "%llu (hard limit)", hard);
}

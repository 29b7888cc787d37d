/* SPDX-License-Identifier: Apache-2.0 */
/* What tine doctor looks at: a list of checks that fill a list of findings. */
#ifndef TINE_CLI_DOCTOR_H
#define TINE_CLI_DOCTOR_H

#include <stddef.h>

#include "cli/cli.h"

enum finding_level {
    FINDING_OK,
    FINDING_WARN, /* slower, or not known */
    FINDING_FAIL, /* tine does not work so */
};

struct finding {
    const char *name;
    enum finding_level level;
    char cause[400]; /* what was found; for warn and fail also what follows from it */
};

#define FINDINGS_MAX 48
struct findings {
    struct finding items[FINDINGS_MAX];
    size_t count;
};

void finding_add(struct findings *findings, const char *name, enum finding_level level,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

struct doctor_options {
    const char *data_dir, *vmm, *pager, *kit, *kvm_probe;
};

typedef void doctor_check(const struct cli *cli, const struct doctor_options *options,
                          struct findings *findings);

doctor_check check_kvm_device, check_kvm_boot;
doctor_check check_data_dir;
doctor_check check_userfaultfd, check_pagemap_scan, check_huge_pages, check_map_count,
    check_open_files;
doctor_check check_vmm, check_pager, check_kit, check_tined;

#endif

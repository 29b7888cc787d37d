/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/cmdline.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SPACES " \t\n"

static int append(char cmdline[VM_CMDLINE_MAX], struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int append(char cmdline[VM_CMDLINE_MAX], struct error *err, const char *format, ...)
{
    size_t used = strlen(cmdline);
    va_list args;
    va_start(args, format);
    int added = vsnprintf(cmdline + used, VM_CMDLINE_MAX - used, format, args);
    va_end(args);
    if (added < 0 || (size_t)added >= VM_CMDLINE_MAX - used)
        return error_set(
            err, ERROR_INVALID, E2BIG,
            "the kernel command line with what the VMM appends is longer than %d bytes",
            VM_CMDLINE_MAX - 1);
    return 0;
}

static bool has_word(const char *cmdline, const char *word)
{
    size_t wanted = strlen(word);
    for (const char *p = cmdline + strspn(cmdline, SPACES); *p; p += strspn(p, SPACES)) {
        size_t length = strcspn(p, SPACES);
        if (length == wanted && strncmp(p, word, wanted) == 0)
            return true;
        p += length;
    }
    return false;
}

static const struct drive_config *root_drive(const struct vm_config *config)
{
    for (unsigned i = 0; i < config->drive_count; i++) {
        if (config->drives[i].is_root_device)
            return &config->drives[i];
    }
    return NULL;
}

int cmdline_build(const struct vm_config *config, char cmdline[VM_CMDLINE_MAX], struct error *err)
{
    const char *given = config->boot.boot_args;
    const struct drive_config *root = root_drive(config);
    cmdline[0] = '\0';
    int r = append(cmdline, err, "%s", given ? given : CMDLINE_DEFAULT);
    if (r == 0 && !has_word(cmdline, "pci=off"))
        r = append(cmdline, err, "%spci=off", cmdline[0] ? " " : "");
    if (r == 0 && root && root->partuuid)
        r = append(cmdline, err, " root=PARTUUID=%s", root->partuuid);
    else if (r == 0 && root)
        r = append(cmdline, err, " root=/dev/vda"); /* the root drive attaches first */
    if (r == 0 && root)
        r = append(cmdline, err, root->is_read_only ? " ro" : " rw");
    return r;
}

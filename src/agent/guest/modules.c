/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/guest/console.h"
#include "base/cleanup.h"

/* EEXIST: built in, or loaded before. ENODEV: nothing here for it to drive. */
static int module_load(int directory, const char *name)
{
    _cleanup_(close) int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV)
        return -errno;
    return 0;
}

void modules_load(const char *directory)
{
    _cleanup_(close) int dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0) {
        console_say("no modules: open %s: %s", directory, strerror(errno));
        return;
    }
    int order_fd = openat(dirfd, "order", O_RDONLY | O_CLOEXEC);
    _cleanup_(fclose) FILE *order = order_fd < 0 ? NULL : fdopen(order_fd, "r");
    if (!order) {
        console_say("no modules: open %s/order: %s", directory, strerror(errno));
        return;
    }
    char name[256];
    while (fgets(name, sizeof(name), order)) {
        name[strcspn(name, "\n")] = '\0';
        int r = module_load(dirfd, name);
        if (r < 0)
            console_say("module %s: %s", name, strerror(-r));
        else
            unlinkat(dirfd, name, 0);
    }
}

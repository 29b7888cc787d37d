/* SPDX-License-Identifier: Apache-2.0 */
#include "processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "instance/proc.h"

#define PATIENCE_MS 20000

bool guest_was_asked(const struct fixture *fixture, const char *id, const char *what)
{
    _cleanup_(free) char *requests = NULL;
    struct error err = {0};
    size_t length;
    const struct path path = guest_path(fixture, id, "log/requests");
    assert_ok(file_read_all(AT_FDCWD, path.text, 1 << 20, &requests, &length, &err), &err);
    return strstr(requests, what) != NULL;
}

unsigned temporary_each(const struct fixture *fixture, process_take *take, void *context)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    const struct path guests = guest_path(fixture, "", "");
    struct error err = {0};
    size_t count = 0;
    unsigned directories = 0;
    if (take)
        assert_ok(proc_vmms(&vmms, &count, &err), &err);
    _cleanup_(closedir) DIR *dir = opendir(guests.text);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if (!is_temporary_name(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
            continue;
        directories++;
        for (size_t i = 0; i < count; i++) {
            if (vmms[i].device == st.st_dev && vmms[i].inode == st.st_ino)
                take(context, vmms[i].pid);
        }
    }
    return directories;
}

void assert_no_vm_left(struct fixture *fixture)
{
    fixture_delete_instances(fixture);
    for (unsigned i = 0; waitpid(-1, NULL, WNOHANG) >= 0; i++) {
        assert_true(i < PATIENCE_MS);
        time_sleep_ms(1);
    }
    assert_int_equal(errno, ECHILD);
}

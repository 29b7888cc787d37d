/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"

int support_start(void **state)
{
    assert_int_equal(unshare(CLONE_NEWNS), 0); /* needs root */
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("none", "/run", "tmpfs", 0, NULL), 0);
    return 0;
}

int support_stop(void **state)
{
    return umount2("/run", MNT_DETACH);
}

char *firecracker_make(const char *fake_vmm, const char *version)
{
    char directory[] = "/tmp/tine-firecracker-XXXXXX", *path = NULL, *program;
    size_t length;
    assert_non_null(mkdtemp(directory));
    assert_true(asprintf(&path, "%s/firecracker-%s", directory, version) > 0);
    assert_int_equal(file_read_all(AT_FDCWD, fake_vmm, 64u << 20, &program, &length, NULL), 0);
    assert_int_equal(file_publish(AT_FDCWD, path, program, length, 0755, NULL), 0);
    free(program);
    return path;
}

void firecracker_remove(char *path)
{
    assert_int_equal(unlink(path), 0);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
    free(path);
}

const char *in_guest(const char *guest, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", guest, name);
    return path;
}

char *guest_make(void)
{
    static const char *const directories[] = {"boot", "disks", "run", "log"};
    char *guest = strdup("/tmp/tine-guest-XXXXXX");
    assert_non_null(guest);
    assert_non_null(mkdtemp(guest));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(mkdir(in_guest(guest, directories[i]), 0700), 0);
    write_file(in_guest(guest, GUEST_KERNEL), "\x7f"
                                              "ELF, as far as anybody looks");
    return guest;
}

void guest_remove(char *guest)
{
    assert_int_equal(tree_remove(AT_FDCWD, guest, NULL), 0);
    free(guest);
}

void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

char *read_file(const char *path)
{
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return text;
    assert_true(read(fd, text, (1 << 16) - 1) >= 0);
    close(fd);
    return text;
}

char *await_text(const char *path, const char *text)
{
    for (unsigned i = 0; i < 2000; i++) {
        char *content = read_file(path);
        if (contains(content, text))
            return content;
        free(content);
        time_sleep_ms(5);
    }
    fail_msg("%s never holds '%s'", path, text);
    return NULL;
}

void assert_no_children(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

bool contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

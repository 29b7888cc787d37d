/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"

#define AWAIT_NS 60000000000ull /* far more than it takes, also under sanitizers */

const char *path_in(const char *directory, const char *name)
{
    static char paths[16][512];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(file_write_exact(fd, text, strlen(text), path, NULL), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

void assert_content(const char *path, const char *text)
{
    char *content;
    size_t length;
    assert_int_equal(file_read_all(AT_FDCWD, path, 1 << 20, &content, &length, NULL), 0);
    assert_string_equal(content, text);
    free(content);
}

static bool is_alone(const char *directory, const char *name)
{
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    bool alone = true;
    for (struct dirent *entry; (entry = readdir(dir));)
        alone = alone && (entry->d_name[0] == '.' || strcmp(entry->d_name, name) == 0);
    closedir(dir);
    return alone;
}

void await_alone(const char *directory, const char *name)
{
    uint64_t deadline = time_monotonic_ns() + AWAIT_NS;
    while (!is_alone(directory, name)) {
        assert_true(time_monotonic_ns() < deadline);
        time_sleep_ms(5);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/vmm_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "hypervisor/hypervisor.h"

#define TAIL_BYTES 2048u
#define TAIL_LINES 3

/* Reads the last bytes of the log behind `start`; returns how many. */
static size_t read_tail(const char *guest_dir, uint64_t start, char *bytes)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s/" GUEST_VMM_LOG, guest_dir) < 0) {
        path = NULL;
        return 0;
    }
    _cleanup_(close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size <= start)
        return 0;
    uint64_t length = (uint64_t)st.st_size - start;
    length = length < TAIL_BYTES ? length : TAIL_BYTES;
    ssize_t n = pread(fd, bytes, (size_t)length, (off_t)((uint64_t)st.st_size - length));
    return n < 0 ? 0 : (size_t)n;
}

/* Where the last TAIL_LINES lines begin. */
static size_t lines_start(const char *bytes, size_t length)
{
    int lines = 0;
    for (size_t at = length; at > 0; at--) {
        if (bytes[at - 1] == '\n' && ++lines == TAIL_LINES)
            return at;
    }
    return 0;
}

void vmm_log_tail(const char *guest_dir, uint64_t start, char *text, size_t size)
{
    char bytes[TAIL_BYTES];
    size_t length = read_tail(guest_dir, start, bytes);
    while (length > 0 && bytes[length - 1] == '\n')
        length--;
    size_t used = 0;
    for (size_t at = lines_start(bytes, length); at < length && used + 4 < size; at++) {
        unsigned char byte = (unsigned char)bytes[at];
        if (byte == '\n') {
            memcpy(text + used, " | ", 3);
            used += 3;
        } else {
            text[used++] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
        }
    }
    text[used] = '\0';
}

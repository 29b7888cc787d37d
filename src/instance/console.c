/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/console.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define TAIL 1024

int console_loggable(const char *message)
{
    const char *guest = strstr(message, CONSOLE_ENDS);
    return (int)(guest ? (size_t)(guest - message) + strlen("console ends") : strlen(message));
}

/* Reads up to TAIL bytes from the end; a console that can't be read has no last line. */
static size_t read_tail(const struct operation *op, char tail[TAIL])
{
    _cleanup_(close) int fd =
        openat(op->guest_fd, GUEST_CONSOLE_LOG, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    ssize_t n = pread(fd, tail, TAIL, st.st_size > TAIL ? st.st_size - TAIL : 0);
    return n > 0 ? (size_t)n : 0;
}

static bool is_blank(char c)
{
    return c == '\n' || c == '\r' || c == ' ' || c == '\t' || c == '\0';
}

/* Where the last line that is not blank begins, in what ends at `*end`; `*end` becomes its end. */
static size_t line_before(const char *tail, size_t *end)
{
    while (*end > 0 && is_blank(tail[*end - 1]))
        --*end;
    size_t start = *end;
    while (start > 0 && tail[start - 1] != '\n')
        start--;
    return start;
}

/* What the kernel says of any guest that ends in order, by power-off or by reset. */
static bool is_farewell(const char *line, size_t length)
{
    static const char *const farewells[] = {"reboot: Power down", "reboot: Restarting system",
                                            "reboot: machine restart"};
    for (size_t i = 0; i < ARRAY_SIZE(farewells); i++) {
        if (memmem(line, length, farewells[i], strlen(farewells[i])))
            return true;
    }
    return false;
}

struct console_line console_last_line(const struct operation *op)
{
    struct console_line line = {.text = ""};
    char tail[TAIL];
    size_t end = read_tail(op, tail);
    size_t start = line_before(tail, &end);
    if (is_farewell(tail + start, end - start)) {
        end = start;
        start = line_before(tail, &end);
    }
    if (end - start > sizeof(line.text) - 1)
        start = end - (sizeof(line.text) - 1);
    for (size_t i = start; i < end; i++)
        line.text[i - start] = tail[i] >= 0x20 && tail[i] < 0x7f ? tail[i] : '?';
    return line;
}

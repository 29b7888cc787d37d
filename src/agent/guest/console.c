/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void console_write(const char *line)
{
    /* A console that fails has nowhere to complain to. */
    if (write(STDERR_FILENO, line, strlen(line)) < 0)
        return;
}

void console_say(const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char line[sizeof(text) + 16];
    snprintf(line, sizeof(line), "tine-agent: %s\n", text);
    console_write(line);
}

void console_ready(void)
{
    console_write("tine-agent ready\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_PROGRAM_LINE_H
#define TINE_BASE_PROGRAM_LINE_H

#include <stddef.h>

#include "base/error.h"

/* The first line that the program at `path`, started with one argument, prints on standard output,
 * cut to `size`; then it is killed, if it has not ended. It has no input, no environment but PATH,
 * and no other descriptor. -ENODATA: it printed nothing within `timeout_ms`. */
int program_line(const char *path, const char *argument, unsigned timeout_ms, char *line,
                 size_t size, struct error *err);

#endif

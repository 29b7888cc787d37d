/* SPDX-License-Identifier: Apache-2.0 */
/* One line on a terminal's standard error that says what is being waited for, from the second
 * second on. */
#ifndef TINE_CLI_PROGRESS_H
#define TINE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    const char *label;
    size_t total, done;
    uint64_t started_ns;
    bool terminal, shown;
    unsigned frame;
};

void progress_begin(struct progress *progress, const char *label, size_t total);
/* Draws or redraws the line if it is time. */
void progress_tick(struct progress *progress);
/* Takes the line away, before anything else is printed and at the end. */
void progress_clear(struct progress *progress);

#endif

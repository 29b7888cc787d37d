/* SPDX-License-Identifier: Apache-2.0 */
/* A process by its pid and the time of its start, in one word that can be exchanged at once. */
#ifndef TINE_PAGER_PROCESS_MARK_H
#define TINE_PAGER_PROCESS_MARK_H

#include <stdbool.h>
#include <stdint.h>

/* Of the calling process; never 0. */
uint64_t process_mark(void);
/* Whether a thread of that process is still there: one that is killed may for a moment be. */
bool process_lives(uint64_t mark);
static inline int process_mark_pid(uint64_t mark)
{
    return (int)(mark >> 32);
}

#endif

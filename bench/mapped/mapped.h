/* SPDX-License-Identifier: Apache-2.0 */
/* VMs as far as their memory goes: each a process that maps its own memory file privately, all of
 * them at once. */
#ifndef TINE_BENCH_MAPPED_H
#define TINE_BENCH_MAPPED_H

#include <stdint.h>

#include "faults.h"

/* Drops the files' pages from the page cache; none of them is left. */
void cache_drop(char *const *files, unsigned count);
/* Bytes of the files that are in the page cache; what has several names counts once. */
uint64_t cache_used(char *const *files, unsigned count);
/* Bytes read from a block device since it is there, by its name in /sys/class/block. */
uint64_t device_read(const char *device);

/* A process for each file touches the pages of the pattern. From the moment when all were let go to
 * the last touch of each, in nanoseconds. */
void mapped_touch(char *const *files, unsigned count, const struct pattern *pattern, uint64_t pages,
                  uint64_t *elapsed_ns);

#endif

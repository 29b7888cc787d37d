/* SPDX-License-Identifier: Apache-2.0 */
/* What tine top shows of each instance, measured and ordered. */
#ifndef TINE_CLI_TOP_ROWS_H
#define TINE_CLI_TOP_ROWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

struct top_row {
    char id[32], name[64], state[16], parent[64];
    char age[16]; /* "59m" */
    double cpu_seconds;
    uint64_t measured_ns; /* monotonic: when the CPU time was that */
    double cpu_percent;   /* of one CPU, since the measurement before; negative: not known yet */
    uint64_t private_bytes, shared_bytes, owners;
};

struct top_rows {
    struct top_row *list;
    size_t count;
    size_t asleep; /* left out */
};

enum top_order { TOP_CPU, TOP_PRIVATE, TOP_SHARED, TOP_OWNERS, TOP_NAME, TOP_AGE };

/* 0 and the order named "cpu", "private", "shared", "owners", "name" or "age"; -EINVAL. */
int top_order_parse(const char *name, enum top_order *order);

/* Asks tined for all instances that have a VM, with `all` for all there are. `before` (may be
 * empty) is the measurement that CPU use counts from. */
int top_rows_get(const struct cli *cli, bool all, const struct top_rows *before,
                 struct top_rows *rows, struct failure *failure);
/* Largest first, names and ages (youngest first) ascending; the same figures by name. */
void top_rows_sort(struct top_rows *rows, enum top_order order);
json_t *top_rows_json(const struct top_rows *rows);
void top_rows_release(struct top_rows *rows);

#endif

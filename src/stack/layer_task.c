/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/layer_task.h"

#include <errno.h>

#include "base/clock.h"

#define LOOK_MS 10 /* at the longest, while it waits */

struct layer_pace layer_pace_begin(struct layer_task *task)
{
    return (struct layer_pace){.task = task, .begin_ns = time_monotonic_ns()};
}

/* When the bytes so far may all have been written. */
static uint64_t due_ns(const struct layer_pace *pace)
{
    uint64_t rate = pace->task->bytes_per_second;
    return rate == 0 ? 0 : pace->begin_ns + (uint64_t)((double)pace->bytes / (double)rate * 1e9);
}

int layer_pace_step(struct layer_pace *pace, uint64_t bytes, const char *label, struct error *err)
{
    if (!pace->task)
        return 0;
    while (!atomic_load(&pace->task->cancelled) && time_monotonic_ns() < due_ns(pace))
        time_sleep_ms(LOOK_MS);
    pace->bytes += bytes;
    return atomic_load(&pace->task->cancelled)
               ? error_set(err, ERROR_STATE, ECANCELED, "the making of %s was cancelled", label)
               : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/patience.h"

#include "base/clock.h"

#define FIRST_TRY_MS 500

struct patience patience_start(unsigned timeout_ms)
{
    return (struct patience){.deadline_ns = time_after_ms(timeout_ms), .try_ms = FIRST_TRY_MS};
}

unsigned patience_next(struct patience *patience)
{
    unsigned left_ms = (unsigned)time_left_ms(patience->deadline_ns);
    unsigned try_ms = patience->try_ms;
    patience->last = left_ms <= try_ms;
    patience->try_ms *= 2;
    if (!patience->last)
        return try_ms;
    return left_ms > 0 ? left_ms : 1;
}

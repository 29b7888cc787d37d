/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/patience.h"

#include "base/clock.h"

#define FIRST_TRY_MS 500

struct patience patience_start(unsigned timeout_ms)
{
    return (struct patience){.deadline_ns = time_monotonic_ns() + (uint64_t)timeout_ms * 1000000u,
                             .try_ms = FIRST_TRY_MS};
}

unsigned patience_next(struct patience *patience)
{
    uint64_t now = time_monotonic_ns();
    uint64_t left_ms =
        now < patience->deadline_ns ? (patience->deadline_ns - now) / 1000000u + 1 : 1;
    unsigned try_ms = patience->try_ms;
    patience->last = left_ms <= try_ms;
    patience->try_ms *= 2;
    return patience->last ? (unsigned)left_ms : try_ms;
}

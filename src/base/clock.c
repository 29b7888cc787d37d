/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#define NS_PER_MS 1000000u

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t time_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t time_after_ms(unsigned milliseconds)
{
    return time_monotonic_ns() + (uint64_t)milliseconds * NS_PER_MS;
}

int time_left_ms(uint64_t deadline_ns)
{
    uint64_t now = time_monotonic_ns();
    uint64_t left_ms = now < deadline_ns ? (deadline_ns - now - 1) / NS_PER_MS + 1 : 0;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

uint64_t time_realtime_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

void time_format_rfc3339(uint64_t realtime_ns, char text[32])
{
    time_t seconds = (time_t)(realtime_ns / 1000000000u);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t used = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + used, 32 - used, ".%03uZ", (unsigned)(realtime_ns / NS_PER_MS % 1000u));
}

void time_sleep_ms(unsigned milliseconds)
{
    struct timespec left = {.tv_sec = milliseconds / 1000,
                            .tv_nsec = (long)(milliseconds % 1000 * NS_PER_MS)};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {
    }
}

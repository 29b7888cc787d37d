/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_CLOCK_H
#define TINE_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC; for durations and deadlines. */
uint64_t time_monotonic_ns(void);
/* Nanoseconds since 1970 of CLOCK_REALTIME. */
uint64_t time_realtime_ns(void);
/* RFC 3339 in UTC with milliseconds: "2026-01-31T12:00:00.123Z". `text` holds 32 bytes. */
void time_format_rfc3339(uint64_t realtime_ns, char text[32]);
/* Sleeps at least that long, signals notwithstanding. */
void time_sleep_ms(unsigned milliseconds);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_CLOCK_H
#define TINE_BASE_CLOCK_H

#include <stdint.h>

#include "base/error.h"

/* Nanoseconds of CLOCK_MONOTONIC; for durations and deadlines. */
uint64_t time_monotonic_ns(void);
/* The moment that many milliseconds from now, of CLOCK_MONOTONIC; a deadline. */
uint64_t time_after_ms(unsigned milliseconds);
/* Milliseconds until a deadline, as poll(2) takes them: rounded up, so that a loop never spins, 0
 * once it is reached and not before, INT_MAX at most. */
int time_left_ms(uint64_t deadline_ns);
/* Nanoseconds since 1970 of CLOCK_REALTIME. */
uint64_t time_realtime_ns(void);
/* RFC 3339 in UTC with milliseconds: "2026-01-31T12:00:00.123Z". `text` holds 32 bytes. */
void time_format_rfc3339(uint64_t realtime_ns, char text[32]);
/* Any RFC 3339 time from 1970 to 2262, with fraction and offset; what is below a nanosecond is
 * dropped. ERROR_INVALID names the text. */
int time_parse_rfc3339(const char *text, uint64_t *realtime_ns, struct error *err);
/* Sleeps at least that long, signals notwithstanding. */
void time_sleep_ms(unsigned milliseconds);

#endif

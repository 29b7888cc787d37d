/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 3339 section 5.6: full-date "T" full-time. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"

/* `digits` of them as a number; -1 if they are none, and `*at` stays. */
static int number_read(const char **at, int digits)
{
    int number = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return -1;
        number = number * 10 + (*at)[i] - '0';
    }
    *at += digits;
    return number;
}

static bool one_of(const char **at, const char *letters)
{
    for (; *letters; letters++) {
        if (**at == *letters) {
            (*at)++;
            return true;
        }
    }
    return false;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (leap && month == 2 ? 1 : 0);
}

static bool date_read(const char **at, struct tm *tm)
{
    int year = number_read(at, 4);
    bool good = year >= 0 && one_of(at, "-");
    int month = good ? number_read(at, 2) : -1;
    good = good && month >= 1 && month <= 12 && one_of(at, "-");
    int day = good ? number_read(at, 2) : -1;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    return good && day >= 1 && day <= days_of(year, month);
}

static bool clock_read(const char **at, struct tm *tm)
{
    tm->tm_hour = number_read(at, 2);
    bool good = tm->tm_hour >= 0 && tm->tm_hour <= 23 && one_of(at, ":");
    tm->tm_min = good ? number_read(at, 2) : -1;
    good = good && tm->tm_min >= 0 && tm->tm_min <= 59 && one_of(at, ":");
    tm->tm_sec = good ? number_read(at, 2) : -1;
    return good && tm->tm_sec >= 0 && tm->tm_sec <= 59;
}

/* What is below a nanosecond is dropped. */
static bool fraction_read(const char **at, uint64_t *nanoseconds)
{
    uint64_t unit = 100000000;
    if (!one_of(at, "."))
        return true;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++, unit /= 10)
        *nanoseconds += unit * (uint64_t)(**at - '0');
    return true;
}

static bool zone_read(const char **at, int *seconds)
{
    if (one_of(at, "Zz"))
        return true;
    int sign = **at == '-' ? -1 : 1;
    if (!one_of(at, "+-"))
        return false;
    int hours = number_read(at, 2);
    bool good = hours >= 0 && hours <= 23 && one_of(at, ":");
    int minutes = good ? number_read(at, 2) : -1;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return good && minutes >= 0 && minutes <= 59;
}

int time_parse_rfc3339(const char *text, uint64_t *realtime_ns, struct error *err)
{
    const char *at = text;
    struct tm tm = {.tm_isdst = 0};
    uint64_t fraction = 0, whole = 0;
    int zone = 0;
    if (!date_read(&at, &tm) || !one_of(&at, "Tt ") || !clock_read(&at, &tm) ||
        !fraction_read(&at, &fraction) || !zone_read(&at, &zone) || *at)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "\"%.64s\" is not a time as 2026-01-31T12:00:00Z is", text);
    time_t seconds = timegm(&tm) - zone;
    if (seconds < 0 || __builtin_mul_overflow((uint64_t)seconds, 1000000000u, &whole) ||
        __builtin_add_overflow(whole, fraction, &whole) || whole > INT64_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "\"%.64s\" is not within 1970 to 2262", text);
    *realtime_ns = whole;
    return 0;
}

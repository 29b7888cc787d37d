/* SPDX-License-Identifier: Apache-2.0 */
#include "base/duration.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* Longer names first where one begins with another. */
static const struct {
    const char *name;
    uint64_t nanoseconds;
} duration_units[] = {
    {"ns", 1},           {"us", 1000},      {"\xc2\xb5s", 1000}, /* U+00B5, the micro sign */
    {"\xce\xbcs", 1000},                                         /* U+03BC, the Greek letter */
    {"ms", 1000000},     {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
};

static int not_a_duration(const char *text, const char *cause, struct error *err)
{
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.64s\" is not a duration: %s", text, cause);
}

static uint64_t unit_read(const char **at)
{
    for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
        size_t length = strlen(duration_units[i].name);
        if (strncmp(*at, duration_units[i].name, length) == 0) {
            *at += length;
            return duration_units[i].nanoseconds;
        }
    }
    return 0;
}

/* One "12.5h". Digits of a fraction beyond what fits are dropped: they are below a nanosecond. */
struct component {
    uint64_t whole, fraction, scale;
    bool digits, overflow;
};

static void component_read(const char **at, struct component *c)
{
    *c = (struct component){.scale = 1};
    for (; isdigit((unsigned char)**at); (*at)++) {
        c->digits = true;
        c->overflow |= __builtin_mul_overflow(c->whole, 10, &c->whole);
        c->overflow |= __builtin_add_overflow(c->whole, (uint64_t)(**at - '0'), &c->whole);
    }
    if (**at != '.')
        return;
    for ((*at)++; isdigit((unsigned char)**at); (*at)++) {
        c->digits = true;
        if (c->scale >= 1000000000000000)
            continue;
        c->fraction = c->fraction * 10 + (uint64_t)(**at - '0');
        c->scale *= 10;
    }
}

int duration_parse(const char *text, int64_t *nanoseconds, struct error *err)
{
    const char *at = text;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    if (strcmp(at, "0") == 0) {
        *nanoseconds = 0;
        return 0;
    }
    if (*at == '\0')
        return not_a_duration(text, "a number and a unit are wanted, as in 30s or 5m", err);
    uint64_t sum = 0;
    while (*at) {
        struct component c;
        component_read(&at, &c);
        uint64_t unit = c.digits ? unit_read(&at) : 0;
        if (unit == 0)
            return not_a_duration(text, "numbers with units ns us ms s m h are wanted", err);
        uint64_t part;
        bool overflow = c.overflow || __builtin_mul_overflow(c.whole, unit, &part) ||
                        __builtin_add_overflow(sum, part, &sum);
        /* Less than one unit: at most 3.6e12, a double holds it exactly enough. */
        part = (uint64_t)((double)c.fraction * ((double)unit / (double)c.scale));
        if (overflow || __builtin_add_overflow(sum, part, &sum) || sum > INT64_MAX)
            return not_a_duration(text, "too long", err);
    }
    *nanoseconds = negative ? -(int64_t)sum : (int64_t)sum;
    return 0;
}

/* "1.5" for 1500 with unit 1000: the fraction without trailing zeros. */
static int format_decimal(char *text, size_t size, uint64_t value, uint64_t unit)
{
    int digits = 0;
    for (uint64_t u = unit; u > 1; u /= 10)
        digits++;
    uint64_t fraction = value % unit;
    int n = snprintf(text, size, "%" PRIu64, value / unit);
    if (fraction == 0)
        return n;
    n += snprintf(text + n, size - (size_t)n, ".%0*" PRIu64, digits, fraction);
    while (text[n - 1] == '0')
        text[--n] = '\0';
    return n;
}

void duration_format(int64_t nanoseconds, char text[40])
{
    const size_t size = 40;
    uint64_t ns = nanoseconds < 0 ? 0 - (uint64_t)nanoseconds : (uint64_t)nanoseconds;
    int n = nanoseconds < 0 ? snprintf(text, size, "-") : 0;
    if (ns == 0) {
        snprintf(text, size, "0s");
    } else if (ns < 1000) {
        snprintf(text + n, size - (size_t)n, "%" PRIu64 "ns", ns);
    } else if (ns < 1000000000) {
        bool micro = ns < 1000000;
        n += format_decimal(text + n, size - (size_t)n, ns, micro ? 1000 : 1000000);
        snprintf(text + n, size - (size_t)n, micro ? "\xc2\xb5s" : "ms");
    } else {
        uint64_t minutes = ns / 60000000000;
        if (minutes >= 60)
            n += snprintf(text + n, size - (size_t)n, "%" PRIu64 "h", minutes / 60);
        if (minutes > 0)
            n += snprintf(text + n, size - (size_t)n, "%" PRIu64 "m", minutes % 60);
        n += format_decimal(text + n, size - (size_t)n, ns % 60000000000, 1000000000);
        snprintf(text + n, size - (size_t)n, "s");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char size_units[] = "KMGTPE";

static int not_a_size(const char *text, const char *cause, struct error *err)
{
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.64s\" is not a size: %s", text, cause);
}

/* Reads the unit, the whole rest of the text, as a power of 1024; -1 if it is none. */
static int unit_exponent(const char *unit)
{
    if (*unit == '\0' || strcasecmp(unit, "B") == 0)
        return 0;
    const char *known = strchr(size_units, toupper((unsigned char)*unit));
    if (!known)
        return -1;
    const char *rest = unit + 1;
    bool bits = isupper((unsigned char)*unit) && strcmp(rest, "b") == 0;
    if (bits || (*rest != '\0' && strcasecmp(rest, "B") != 0 && strcasecmp(rest, "iB") != 0))
        return -1;
    return (int)(known - size_units) + 1;
}

int size_parse(const char *text, uint64_t *bytes, struct error *err)
{
    const char *at = text;
    uint64_t number = 0;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return not_a_size(text, "too large", err);
    }
    if (at == text)
        return not_a_size(text, "it must begin with digits, as in 512MB", err);
    while (*at == ' ')
        at++;
    int exponent = unit_exponent(at);
    if (exponent < 0)
        return not_a_size(text, "digits and a unit are wanted, as in 512MB or 2GB", err);
    if (number > UINT64_MAX >> (10 * exponent))
        return not_a_size(text, "too large", err);
    *bytes = number << (10 * exponent);
    return 0;
}

void size_format(uint64_t bytes, char text[32])
{
    for (int exponent = (int)strlen(size_units); exponent > 0; exponent--) {
        uint64_t unit = 1ull << (10 * exponent);
        if (bytes > unit) {
            snprintf(text, 32, "%.1f %cB", (double)bytes / (double)unit, size_units[exponent - 1]);
            return;
        }
    }
    snprintf(text, 32, "%llu B", (unsigned long long)bytes);
}

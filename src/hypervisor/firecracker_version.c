/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/firecracker_version.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define GIB        (1ull << 30)
#define NUMBER_MAX 9999u
#define PROGRAM    "Firecracker v"

/* The first with ACPI, by which guests find their devices, and with a VM generation id, by which
 * forks get random numbers of their own. */
#define OLDEST_MAJOR 1u
#define OLDEST_MINOR 8u

/* Since which minor version of 1 something is known. */
enum since {
    SINCE_TRACK_DIRTY_PAGES = 13, /* on load; before it was called enable_diff_snapshots */
    SINCE_REPORTING = 14,         /* of free pages, by the balloon */
    SINCE_RIGHT_DIFF = 15,        /* also of more than one memory slot, that is above 3 GiB */
    SINCE_CLOCK_REALTIME = 16,
    SINCE_BZIMAGE = 17,
};

/* A number without sign or leading zeros; moves behind it. */
static bool take_number(const char **at, unsigned *number)
{
    const char *start = *at;
    unsigned value = 0;
    for (; isdigit((unsigned char)**at) && value <= NUMBER_MAX; ++*at)
        value = value * 10 + (unsigned)(**at - '0');
    *number = value;
    return *at > start && value <= NUMBER_MAX && (*start != '0' || *at == start + 1);
}

static bool take_char(const char **at, char c)
{
    bool found = **at == c;
    *at += found;
    return found;
}

/* Nothing, or a hyphen and what a version control would add. */
static bool take_suffix(const char **at, bool *present)
{
    *present = take_char(at, '-');
    if (!*present)
        return true;
    const char *start = *at;
    while (isalnum((unsigned char)**at) || (**at && strchr("-.+_", **at)))
        ++*at;
    return *at > start;
}

int firecracker_version_parse(const char *text, struct firecracker_version *version,
                              struct error *err)
{
    *version = (struct firecracker_version){.major = 0};
    const char *at = text + (*text == 'v'), *start = at;
    bool whole = take_number(&at, &version->major) && take_char(&at, '.') &&
                 take_number(&at, &version->minor) && take_char(&at, '.') &&
                 take_number(&at, &version->patch) && take_suffix(&at, &version->unfinished);
    if (!whole || *at || (size_t)(at - start) >= sizeof(version->text))
        return error_set(err, ERROR_UNSUPPORTED, EPROTO, "'%.64s' is no version of Firecracker",
                         text);
    memcpy(version->text, start, (size_t)(at - start) + 1);
    return 0;
}

int firecracker_version_of_program(const char *path, const char *line,
                                   struct firecracker_version *version, struct error *err)
{
    size_t length = strlen(PROGRAM);
    if (strncmp(line, PROGRAM, length) != 0)
        return error_set(err, ERROR_UNSUPPORTED, EPROTO,
                         "%s is not Firecracker: with --version it says '%.64s'", path, line);
    int r = firecracker_version_parse(line + length, version, err);
    if (r < 0)
        error_wrap(err, "%s --version", path);
    return r;
}

int firecracker_version_check(const struct firecracker_version *version, struct error *err)
{
    if (version->major == OLDEST_MAJOR && version->minor >= OLDEST_MINOR)
        return 0;
    if (version->major > OLDEST_MAJOR)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "Firecracker %s: only versions %u.x are known", version->text,
                         OLDEST_MAJOR);
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "Firecracker %s: at least version %u.%u is needed, for ACPI and the VM "
                     "generation id",
                     version->text, OLDEST_MAJOR, OLDEST_MINOR);
}

struct api_abilities firecracker_abilities(const struct firecracker_version *version)
{
    unsigned minor = version->minor - (version->unfinished && version->patch == 0);
    return (struct api_abilities){
        .dirty_log =
            minor >= SINCE_TRACK_DIRTY_PAGES ? "track_dirty_pages" : "enable_diff_snapshots",
        .diff_limit = minor >= SINCE_RIGHT_DIFF ? UINT64_MAX : 3 * GIB,
        .writes_zeros = true,
        .free_page_reporting = minor >= SINCE_REPORTING,
        .clock_realtime = minor >= SINCE_CLOCK_REALTIME,
        .bzimage = minor >= SINCE_BZIMAGE,
    };
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "api/platform.h"

#include <string.h>

void platform_check(const char *platform, struct problem *problem)
{
    size_t length = platform ? strlen(platform) : 0;
    const char *slash = platform ? strchr(platform, '/') : NULL;
    if (!platform || strcmp(platform, PLATFORM) == 0)
        return;
    if (!slash || slash == platform || slash[1] == '\0' ||
        strspn(platform, "abcdefghijklmnopqrstuvwxyz0123456789/_.-") != length)
        problem_set(problem, 400, "invalid_platform",
                    "platform: \"%.64s\" is not OS/ARCHITECTURE[/VARIANT]", platform);
    problem_set(problem, 404, "platform_not_available",
                "platform: there is " PLATFORM " here, not %.64s", platform);
}

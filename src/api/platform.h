/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_PLATFORM_H
#define TINE_API_PLATFORM_H

#include "api/problem.h"

#define PLATFORM "linux/amd64" /* the only one there is */

/* A problem for any other, and for what is no platform. NULL passes. */
void platform_check(const char *platform, struct problem *problem);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Included before every file of the static agent: what base/ uses of glibc and musl lacks. */
#ifndef TINE_AGENT_GUEST_LIBC_COMPAT_H
#define TINE_AGENT_GUEST_LIBC_COMPAT_H

#include <features.h>

#ifndef __GLIBC__
/* "ENOENT" for ENOENT; NULL for an errno that the table lacks. */
const char *strerrorname_np(int errnum);
/* As strerror(). */
const char *strerrordesc_np(int errnum);
#endif

#endif

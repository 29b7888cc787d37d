/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_RELATIVE_PATH_H
#define TINE_BASE_RELATIVE_PATH_H

#include <stdbool.h>

/* True if a name that somebody else chose stays below the directory it is used in: components that
 * are not empty, "." or "..", none of them or the whole longer than Linux takes. Symbolic links are
 * another matter: whoever opens it must not follow them. */
bool relative_path_valid(const char *path);

#endif

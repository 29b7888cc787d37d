/* SPDX-License-Identifier: Apache-2.0 */
/* Where an absolute path's last name lies. */
#ifndef TINE_AGENT_GUEST_COPY_PATH_H
#define TINE_AGENT_GUEST_COPY_PATH_H

#include <limits.h>

#include "base/error.h"

/* The name a path ends in, however it is written ("/a/b/", "/a/b/."): "b"; "." for the root. The
 * path must be there if it ends in dots. */
int copy_base_name(const char *path, char name[NAME_MAX + 1], struct error *err);

/* Makes the directories that a path's last name needs, 0755. */
int copy_parents_make(const char *path, struct error *err);

/* Opens the directory that a path's last name lies in; the name, as written, is put in `name`.
 * -EISDIR if there is none ("/a/", "/a/."). */
int copy_parent_open(const char *path, char name[NAME_MAX + 1], struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* tined's configuration file: lines NAME = VALUE, comments behind # or ; at a line's start, and
 * behind " ;". */
#ifndef TINE_API_CONFIG_FILE_H
#define TINE_API_CONFIG_FILE_H

#include "base/error.h"

/* Takes one setting; both texts are the caller's. 0, or a negative errno and `err`. */
typedef int config_setter(void *data, const char *name, const char *value, struct error *err);

/* Hands on every setting of the text, in order, up to the first that is wrong. ERROR_INVALID names
 * `path`, the line and the cause. */
int config_parse(const char *text, const char *path, config_setter *set, void *data,
                 struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_NAME_H
#define TINE_INSTANCE_NAME_H

#include "base/error.h"

#define INSTANCE_NAME_GENERATED 10 /* "vm-" and six characters, with the NUL */

/* A name for those who gave none; it may be taken. */
int name_make(char name[INSTANCE_NAME_GENERATED], struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_ID_H
#define TINE_INSTANCE_ID_H

#include "store/store.h"

#define INSTANCE_NAME_GENERATED 10 /* "vm-" and six characters, with the NUL */

/* A fresh id in the form of a CUID2: a letter, then 23 of [a-z0-9], all from the kernel's random
 * numbers (about 123 bits, so never tested for being taken). */
int id_make(char id[INSTANCE_ID_LENGTH + 1], struct error *err);
/* A name for those who gave none; it may be taken. */
int name_make(char name[INSTANCE_NAME_GENERATED], struct error *err);

#endif

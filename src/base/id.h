/* SPDX-License-Identifier: Apache-2.0 */
/* Ids that nobody else has: from the kernel's random numbers, so never tested for being taken. */
#ifndef TINE_BASE_ID_H
#define TINE_BASE_ID_H

#include <stddef.h>

#include "base/error.h"

#define ID_LENGTH 24

/* A fresh id in the form of a CUID2: a letter, then 23 of [a-z0-9], about 123 bits. */
int id_make(char id[ID_LENGTH + 1], struct error *err);
/* `length` of [a-z0-9], without a NUL: for what is unlikely to be taken. */
int id_characters(char *characters, size_t length, struct error *err);

#endif

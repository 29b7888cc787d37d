/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_COMPRESSION_H
#define TINE_API_COMPRESSION_H

#include "api/fields.h"

/* The field "compression" of a request: part of the contract, but not of this server yet, so it is
 * refused where it is asked for (501; 400 where there is no memory to compress). */
void compression_check(const struct fields *fields, bool has_memory);

#endif

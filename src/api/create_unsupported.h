/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_CREATE_UNSUPPORTED_H
#define TINE_API_CREATE_UNSUPPORTED_H

#include "api/fields.h"

/* A request for what no instance has here (volumes, devices, a GPU, brokered credentials) is 501:
 * to make the instance without it would be a lie. An empty list or object asks for nothing. */
void create_unsupported_check(const struct fields *fields);

#endif

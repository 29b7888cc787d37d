/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_LIFETIME_H
#define TINE_API_LIFETIME_H

#include "api/fields.h"
#include "instance/instance.h"

/* The fields "ttl" and "expires_at" of a request: true if one of them is there. What is wrong with
 * them is a problem of its own kind (400). */
bool lifetime_read(const struct fields *fields, struct instance_lifetime *lifetime);

#endif

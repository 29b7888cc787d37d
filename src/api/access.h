/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what, where a listener asks for tokens. */
#ifndef TINE_API_ACCESS_H
#define TINE_API_ACCESS_H

#include "api/request.h"

/* Checks the Authorization header before the body is read: fills the problem (401), or notes in the
 * request which scope its token lacks for the route. */
void access_check(struct request *request, struct problem *problem);

/* 403 for a request whose token lacks the scope. */
void access_check_scope(const struct request *request, struct problem *problem);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The ways into tined: its unix socket, and TCP where it was told to. */
#ifndef TINE_API_DOORS_H
#define TINE_API_DOORS_H

#include "api/listen.h"
#include "api/options.h"
#include "api/server.h"

/* Listens and serves on all of them. After a failure nothing is left open. */
int doors_open(struct listen_claim *claim, struct server *server,
               const struct tined_options *options, struct error *err);

#endif

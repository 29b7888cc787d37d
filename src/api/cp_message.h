/* SPDX-License-Identifier: Apache-2.0 */
/* The texts that a cp connection sends. */
#ifndef TINE_API_CP_MESSAGE_H
#define TINE_API_CP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/entry.h"
#include "api/websocket.h"

/* Queues an entry's header. -EILSEQ if a name in it is not UTF-8, which JSON can't carry. */
int cp_send_header(struct websocket *socket, const struct agent_entry *entry);
/* Queues the end of an entry; with the last one, how many files were left out. */
void cp_send_end(struct websocket *socket, bool final, uint32_t skipped);
/* Queues why a copy out of the guest ends early. */
void cp_send_error(struct websocket *socket, const char *message, const char *path);
/* Queues how a copy into the guest went; `failure` NULL: well. */
void cp_send_result(struct websocket *socket, uint64_t bytes, const char *failure);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a stream of server-sent events whose data are JSON values. */
#ifndef TINE_CLI_EVENT_READER_H
#define TINE_CLI_EVENT_READER_H

#include <jansson.h>

#include "cli/http.h"

/* Takes one value, which stays the reader's; false ends the stream. */
typedef bool event_handler(void *data, const json_t *value);

/* GETs the path and hands on each event as it comes. Standard output is flushed after each piece;
 * an error there ends the stream. Returns the exit status; the failure says why if it is not 0. */
int events_get(const struct cli *cli, const char *path, event_handler *handle, void *data,
               struct failure *failure);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what people want to see out of the API's objects. */
#ifndef TINE_CLI_INSTANCE_VIEW_H
#define TINE_CLI_INSTANCE_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A string field; "" if it is absent or no string. */
const char *view_text(const json_t *object, const char *name);
/* The field "a.b" of an object in an object; NULL if absent. */
const json_t *view_inner(const json_t *object, const char *outer, const char *name);
/* The name of the instance it was forked from, or the beginning of its id if that is deleted; "" if
 * it is no fork. `list`: all instances. */
void view_parent(const json_t *list, const json_t *instance, char text[64]);
/* True for Standby and Stopped: there is no VM. */
bool view_is_asleep(const json_t *instance);
/* How long ago an RFC 3339 time was: "3 minutes"; "" for none. */
void view_age(const char *time, char text[32]);
/* How long there is until then: "3 minutes", "now"; "" for none. */
void view_left(const char *time, char text[32]);
/* Bytes as "1.5 MiB", for tables of figures. */
void view_bytes(const json_t *number, char text[32]);
/* Everything in an object, a line each. */
void view_print(const json_t *object);

#endif

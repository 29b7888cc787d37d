/* SPDX-License-Identifier: Apache-2.0 */
/* "source" sleeps, and forks of it that slept with layers over its memory. */
#ifndef TINE_TESTS_INSTANCE_LAYERED_H
#define TINE_TESTS_INSTANCE_LAYERED_H

#include "fixture.h"

#define TOKEN       8001
#define OTHER_TOKEN 8002
#define NOTE        "in the layer"

void fill(struct fixture *fixture, const char *name, uint64_t token);
void assert_holds(struct fixture *fixture, const char *name, uint64_t token);
void put_to_standby(struct fixture *fixture, const char *name);
void restore(struct fixture *fixture, const char *name);
/* The host is opened anew. */
void mode(struct fixture *fixture, enum standby_memory how);
/* Of a test: "source" sleeps, with a pattern in its memory. */
int layered_setup(void **state);
unsigned layers_of(struct fixture *fixture, const char *name);
/* A fork of the source that slept with one layer, in which a note is. */
struct instance_record layered(struct fixture *fixture, const char *name);
void assert_wakes(struct fixture *fixture, const char *name, uint64_t token, const char *note);

#endif

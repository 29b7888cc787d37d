/* SPDX-License-Identifier: Apache-2.0 */
/* A world whose VM is loaded through a real tine-pager, and whose guest walks over a part of its
 * memory: it adds one to the first word of page after page, then to the counter. */
#ifndef TINE_TESTS_SERVED_H
#define TINE_TESTS_SERVED_H

#include <stdbool.h>
#include <stdint.h>

#include "../../pager/fixture.h"
#include "world.h"

#define WALK_START 0x800000ull
#define WALK_END   0x880000ull /* 128 pages */

struct served {
    struct world world;
    struct place place; /* of the pager */
    char socket[128];   /* of the last session */
};

int served_setup(void **context);
int served_teardown(void **context);
/* A paused, saved VM that has walked. */
void walker_sleeps(struct served *served);
/* Every page was met as often as the counter says, but for the round that is under way. */
void walker_check(const struct world *world);
/* The body of POST /sessions for world's memory file. */
json_t *session_make_body(const struct served *served, const char *id);
/* The request that loads world's state through a new session of this id. */
struct snapshot_load_request session_make(struct served *served, const char *id, bool track);
/* The saved VM in a new VMM, paused. */
void load_served(struct served *served, const char *id, bool track);

#define WITH_SERVED(test) cmocka_unit_test_setup_teardown(test, served_setup, served_teardown)

#endif

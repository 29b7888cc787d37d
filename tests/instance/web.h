/* SPDX-License-Identifier: Apache-2.0 */
/* The instance "web" of the tests of what fails: operations on it in a form for tables. */
#ifndef TINE_TESTS_INSTANCE_WEB_H
#define TINE_TESTS_INSTANCE_WEB_H

#include "fixture.h"

#define WEB_NOTE "remember me"

typedef int web_operation(struct fixture *fixture, struct error *err);
int web_start(struct fixture *fixture, struct error *err);
int web_standby(struct fixture *fixture, struct error *err);
int web_restore(struct fixture *fixture, struct error *err);
/* To an instance "new", also of a running one. */
int web_fork_to(struct fixture *fixture, enum instance_state target, struct error *err);
int web_fork(struct fixture *fixture, struct error *err); /* to Running */
int web_fork_asleep(struct fixture *fixture, struct error *err);

/* From Running, with WEB_NOTE in its memory. */
void web_reach(struct fixture *fixture, enum instance_state state);
/* In whatever state it is, it works as it should. Leaves it Running. */
void assert_web_usable(struct fixture *fixture);

#endif

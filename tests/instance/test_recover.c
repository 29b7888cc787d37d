/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"
static const struct CMUnitTest tests[] = {{0}};
FIXTURE_MAIN(tests)

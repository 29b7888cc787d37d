/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the endpoints share. */
#ifndef TINE_TESTS_ROUTES_H
#define TINE_TESTS_ROUTES_H

#include "api_fixture.h"

#define MACHINE "/machine-config"

#define DRIVE(id, root) \
    "{\"drive_id\":\"" id "\",\"is_root_device\":" root ",\"path_on_host\":\"%s\"}"

#define ROUTE_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

#endif

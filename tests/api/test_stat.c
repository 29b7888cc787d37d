/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/stat of a real agent's files. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "files.h"
#include "http_client.h"

static json_t *stat_of(const struct daemon *daemon, const char *path, const char *more)
{
    char target[512];
    snprintf(target, sizeof(target), "/instances/vm/stat?path=%s%s", path, more);
    return http_expect(daemon, "GET", target, NULL, 200);
}

static void test_stat(void **state)
{
    const struct daemon *daemon = *state;
    write_file(path_in(daemon->dir, "f"), "12345", 0640);
    assert_int_equal(symlink("f", path_in(daemon->dir, "l")), 0);
    const struct {
        const char *path, *more;
        const char *wanted;
    } cases[] = {
        {path_in(daemon->dir, "f"), "",
         "{\"exists\":true,\"is_dir\":false,\"is_file\":true,\"is_symlink\":false,\"link_target\":"
         "null,\"mode\":416,\"size\":5,\"error\":null}"},
        {path_in(daemon->dir, "l"), "&follow_links=false",
         "{\"exists\":true,\"is_dir\":false,\"is_file\":false,\"is_symlink\":true,\"link_target\":"
         "\"f\",\"mode\":511,\"size\":0,\"error\":null}"},
        {path_in(daemon->dir, "l"), "&follow_links=true",
         "{\"exists\":true,\"is_dir\":false,\"is_file\":true,\"is_symlink\":false,\"link_target\":"
         "null,\"mode\":416,\"size\":5,\"error\":null}"},
        {path_in(daemon->dir, "none"), "",
         "{\"exists\":false,\"is_dir\":false,\"is_file\":false,\"is_symlink\":false,"
         "\"link_target\":null,\"mode\":0,\"size\":0,\"error\":null}"},
        {path_in(daemon->dir, "f/x"), "",
         "{\"exists\":false,\"is_dir\":false,\"is_file\":false,\"is_symlink\":false,"
         "\"link_target\":null,\"mode\":0,\"size\":0,\"error\":null}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *info = stat_of(daemon, cases[i].path, cases[i].more);
        json_t *wanted = json_loads(cases[i].wanted, 0, NULL);
        if (!json_equal(info, wanted))
            fail_msg("%s: %s", cases[i].path, json_dumps(info, 0));
        json_decref(wanted);
        json_decref(info);
    }
}

/* Another failure than "not there" is told, and is no success. */
static void test_stat_error(void **state)
{
    const struct daemon *daemon = *state;
    assert_int_equal(symlink("loop", path_in(daemon->dir, "loop")), 0);
    json_t *info = stat_of(daemon, path_in(daemon->dir, "loop/x"), "");
    assert_false(json_is_true(json_object_get(info, "exists")));
    assert_non_null(strstr(text_of(info, "error"), "symbolic links"));
    json_decref(info);
}

static void test_stat_refused(void **state)
{
    const struct daemon *daemon = *state;
    http_refused(daemon, "GET", "/instances/none/stat?path=/", NULL, 404, "not_found", "none");
    http_refused(daemon, "GET", "/instances/vm/stat", NULL, 400, "Bad Request", "path");
    http_refused(daemon, "GET", "/instances/vm/stat?path=x", NULL, 400, "Bad Request", "absolute");
    http_refused(daemon, "GET", "/instances/vm/stat?path=/&follow_links=1", NULL, 400,
                 "Bad Request", "follow_links");
    http_refused(daemon, "GET", "/instances/vm/stat?path=/hostile/old", NULL, 501, "not_supported",
                 "may be older than tined");
    http_refused(daemon, "GET", "/instances/vm/stat?path=/hostile/garble", NULL, 500,
                 "internal_error", "agent");
    json_decref(http_expect(daemon, "POST", "/instances/vm/standby", NULL, 200));
    http_refused(daemon, "GET", "/instances/vm/stat?path=/", NULL, 409, "invalid_state", "Standby");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup_vm, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stat),
        TEST(test_stat_error),
        TEST(test_stat_refused),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_fixture.h"

#include "http_client.h"

static const char *program;

void daemon_program_set(const char *path)
{
    program = path;
}

const char *daemon_program(void)
{
    return program;
}

int daemon_setup(void **state)
{
    static struct daemon daemon;
    daemon_start(&daemon, program, NULL);
    *state = &daemon;
    return 0;
}

int daemon_setup_vm(void **state)
{
    daemon_setup(state);
    json_decref(http_expect(*state, "POST", "/instances", "{\"name\":\"vm\"}", 201));
    return 0;
}

int daemon_teardown(void **state)
{
    daemon_stop(*state);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "layered.h"

#include "space.h"

static void expect_pattern(struct fixture *fixture, const char *name, const char *command,
                           uint64_t token)
{
    struct error err = {0};
    assert_ok(guest_pattern(fixture->host, name, command, token, 0, &err), &err);
}

void fill(struct fixture *fixture, const char *name, uint64_t token)
{
    expect_pattern(fixture, name, "fill", token);
}

void assert_holds(struct fixture *fixture, const char *name, uint64_t token)
{
    expect_pattern(fixture, name, "check", token);
}

void put_to_standby(struct fixture *fixture, const char *name)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, name, NULL, &err), &err);
}

void restore(struct fixture *fixture, const char *name)
{
    struct error err = {0};
    assert_ok(instance_restore(fixture->host, name, NULL, &err), &err);
    assert_false(fixture_get(fixture, name).paged);
}

void mode(struct fixture *fixture, enum standby_memory how)
{
    fixture->standby_memory = how;
    fixture_reopen(fixture);
}

int layered_setup(void **state)
{
    int r = fixture_setup(state);
    struct fixture *fixture = *state;
    mode(fixture, STANDBY_AUTO);
    fixture_create_diskless(fixture, "source");
    fill(fixture, "source", TOKEN);
    put_to_standby(fixture, "source");
    return r;
}

unsigned layers_of(struct fixture *fixture, const char *name)
{
    return fixture_get(fixture, name).memory_layers;
}

struct instance_record layered(struct fixture *fixture, const char *name)
{
    fixture_fork(fixture, "source", name, INSTANCE_RUNNING);
    guest_remember(fixture, name, NOTE);
    put_to_standby(fixture, name);
    struct instance_record record = fixture_get(fixture, name);
    assert_int_equal(record.memory_layers, 1);
    return record;
}

void assert_wakes(struct fixture *fixture, const char *name, uint64_t token, const char *note)
{
    restore(fixture, name);
    assert_holds(fixture, name, token);
    assert_recalls(fixture, name, note);
}

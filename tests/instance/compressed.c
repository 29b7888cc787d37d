/* SPDX-License-Identifier: Apache-2.0 */
#include "compressed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "exposition.h"
#include "listing.h"

const struct stack_compression zstd = {STACK_ZSTD, 1}, lz4 = {STACK_LZ4, 0};

enum compression_state state_of(struct fixture *fixture, const char *reference)
{
    return fixture_get(fixture, reference).compression_status.state;
}

void await(struct fixture *fixture, const char *reference, enum compression_state state)
{
    uint64_t deadline = time_monotonic_ns() + AWAIT_NS;
    while (state_of(fixture, reference) != state && time_monotonic_ns() < deadline)
        time_sleep_ms(5);
    assert_string_equal(compression_state_name(state_of(fixture, reference)),
                        compression_state_name(state));
}

void standby_with(struct fixture *fixture, const struct stack_compression *how, uint64_t delay_ns)
{
    const struct standby_options options = {how, delay_ns};
    struct instance_record record;
    struct error err = {0};
    assert_ok(instance_standby_with(fixture->host, "web", &options, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_STANDBY);
}

struct instance_record compressed_web(struct fixture *fixture, const struct stack_compression *how)
{
    fixture_create(fixture, "web");
    guest_remember(fixture, "web", NOTE);
    standby_with(fixture, how, 0);
    await(fixture, "web", COMPRESSION_DONE);
    return fixture_get(fixture, "web");
}

bool is_there(struct fixture *fixture, const char *id, const char *name)
{
    const struct path path = guest_path(fixture, id, name);
    struct stat st;
    int r = lstat(path.text, &st);
    assert_true(r == 0 || errno == ENOENT);
    return r == 0;
}

void assert_no_temporary(struct fixture *fixture)
{
    _cleanup_(free) char *names = listing(fixture->dir);
    assert_null(strstr(names, ".tine-tmp-"));
}

double sample(struct fixture *fixture, const char *series)
{
    size_t length = 0;
    struct error err = {0};
    _cleanup_(free) char *text = host_metrics(fixture->host, &length, &err);
    double value = 0;
    assert_non_null(text);
    assert_exposition(text);
    return exposition_value(text, series, &value) ? value : 0;
}

void restore_web(struct fixture *fixture)
{
    struct error err = {0};
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    assert_recalls(fixture, "web", NOTE);
}

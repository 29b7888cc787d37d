/* SPDX-License-Identifier: Apache-2.0 */
#include "web.h"

int web_start(struct fixture *fixture, struct error *err)
{
    return instance_start(fixture->host, "web", NULL, err);
}

int web_standby(struct fixture *fixture, struct error *err)
{
    return instance_standby(fixture->host, "web", NULL, err);
}

int web_restore(struct fixture *fixture, struct error *err)
{
    return instance_restore(fixture->host, "web", NULL, err);
}

int web_fork_to(struct fixture *fixture, enum instance_state target, struct error *err)
{
    const struct instance_fork_request request = {
        .name = "new", .from_running = true, .has_target = true, .target = target};
    return instance_fork(fixture->host, "web", &request, NULL, err);
}

int web_fork(struct fixture *fixture, struct error *err)
{
    return web_fork_to(fixture, INSTANCE_RUNNING, err);
}

int web_fork_asleep(struct fixture *fixture, struct error *err)
{
    return web_fork_to(fixture, INSTANCE_STANDBY, err);
}

void web_reach(struct fixture *fixture, enum instance_state state)
{
    struct error err = {0};
    guest_remember(fixture, "web", WEB_NOTE);
    if (state == INSTANCE_STANDBY)
        assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    else if (state == INSTANCE_STOPPED)
        assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
}

void assert_web_usable(struct fixture *fixture)
{
    struct error err = {0};
    struct instance_record record = fixture_get(fixture, "web");
    bool stopped = record.state == INSTANCE_STOPPED;
    if (record.state == INSTANCE_STANDBY)
        assert_ok(web_restore(fixture, &err), &err);
    else if (stopped)
        assert_ok(web_start(fixture, &err), &err);
    assert_recalls(fixture, "web", stopped ? "" : WEB_NOTE);
    assert_ok(web_standby(fixture, &err), &err);
    assert_ok(web_restore(fixture, &err), &err);
    assert_recalls(fixture, "web", stopped ? "" : WEB_NOTE);
}

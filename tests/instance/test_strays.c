/* SPDX-License-Identifier: Apache-2.0 */
/* tined comes back, and a template that it knew does only now what it was asked for. */
#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "hypervisor/launch.h"
#include "instance/host.h"
#include "instance/live.h"
#include "store/store.h"

struct legacy {
    struct fixture *fixture;
    struct instance_record early, source, fork;
    struct path directory; /* of the template, in that of "source" */
    struct vm_template template;
    struct vm_process process, child;
    unsigned asked; /* how often "early" was asked for its state before */
    int made;       /* 0: the child is there */
};

static struct vm_spec spec_of(const struct path *guest_dir, const struct instance_record *record)
{
    return (struct vm_spec){.id = record->id, .guest_dir = guest_dir->text};
}

static unsigned count_questions(const struct fixture *fixture, const char *id)
{
    const struct path path = guest_path(fixture, id, "log/requests");
    _cleanup_(free) char *requests = NULL;
    size_t length;
    unsigned count = 0;
    if (file_read_all(AT_FDCWD, path.text, 1 << 20, &requests, &length, NULL) < 0)
        return 0;
    for (const char *at = requests; (at = strstr(at, "GET / ")); at++)
        count++;
    return count;
}

/* The row as a tined that died while it made the fork has left it. */
static void make_fork(struct legacy *legacy)
{
    struct fixture *fixture = legacy->fixture;
    char path[128];
    struct error err = {0};
    legacy->fork = fixture_create(fixture, "fork");
    assert_ok(instance_stop(fixture->host, "fork", 0, &legacy->fork, &err), &err);
    fixture_close(fixture);
    legacy->fork.state = INSTANCE_CREATED;
    snprintf(path, sizeof(path), "%s/tine.db", fixture->data);
    struct store *store = store_open(path, &err);
    assert_non_null(store);
    assert_ok(store_update(store, &legacy->fork, &err), &err);
    store_close(store);
}

static void make_template(struct legacy *legacy)
{
    struct fixture *fixture = legacy->fixture;
    struct error err = {0};
    uint64_t paused_ns;
    char run[sizeof(struct path) + 8];
    const struct hypervisor driver = hypervisor_builtin(fixture->vmm);
    const struct path guest_dir = guest_path(fixture, legacy->source.id, "");
    const struct vm_spec spec = spec_of(&guest_dir, &legacy->source);
    _cleanup_(free) char *name = temporary_name(LIVE_DIRECTORY);
    legacy->directory = guest_path(fixture, legacy->source.id, name);
    snprintf(run, sizeof(run), "%s/run", legacy->directory.text);
    assert_int_equal(mkdir(legacy->directory.text, 0700), 0);
    assert_int_equal(mkdir(run, 0700), 0);
    legacy->template =
        (struct vm_template){.id = legacy->source.id, .guest_dir = legacy->directory.text};
    assert_ok(
        driver.template_make(&driver, &spec, &legacy->template, &legacy->process, &paused_ns, &err),
        &err);
}

/* When recovery has looked for VMMs, and waits for that of "early". It does not wait for ever: on a
 * host that is very slow there may be no child any more. */
static void *come_late(void *context)
{
    struct legacy *legacy = context;
    const struct hypervisor driver = hypervisor_builtin(legacy->fixture->vmm);
    const struct path guest_dir = guest_path(legacy->fixture, legacy->fork.id, "");
    const struct vm_spec spec = spec_of(&guest_dir, &legacy->fork);
    while (count_questions(legacy->fixture, legacy->early.id) == legacy->asked)
        time_sleep_ms(1);
    legacy->made = driver.template_child(&driver, &legacy->template, &legacy->process, &spec,
                                         &legacy->child, NULL);
    guest_orders(legacy->fixture, legacy->early.id, NULL);
    return NULL;
}

static void test_child_that_comes_late(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct legacy legacy = {
        .fixture = fixture, .process.pidfd = -1, .child = {.pid = -1, .pidfd = -1}};
    pthread_t thread;
    legacy.early = fixture_create(fixture, "early");
    legacy.source = fixture_create(fixture, "source");
    make_fork(&legacy);
    make_template(&legacy);
    legacy.asked = count_questions(fixture, legacy.early.id);
    guest_orders(fixture, legacy.early.id, "wait /");
    assert_int_equal(pthread_create(&thread, NULL, come_late, &legacy), 0);
    fixture_open(fixture);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_fails(instance_get(fixture->host, "fork", NULL, &err), &err, ERROR_NOT_FOUND, "fork");
    assert_absent(fixture, legacy.fork.id, "");
    assert_state(fixture, "source", INSTANCE_RUNNING);
    if (legacy.made == 0)
        assert_int_not_equal(waitpid(legacy.child.pid, NULL, WNOHANG), 0);
    process_release(&legacy.process);
    process_release(&legacy.child);
}

static const struct CMUnitTest tests[] = {FIXTURE_TEST(test_child_that_comes_late)};
FIXTURE_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed memory of Firecracker's, which maps nothing but raw files and knows no layers: forks
 * are served the compressed file by a real pager, and it stays with the VMM that wrote it. */
#include "pager_site.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../hypervisor/support.h"
#include "base/cleanup.h"
#include "compressed.h"

#define OTHER_TOKEN 7002

#define EXPANDED "tine_expansions_total{algorithm=\"zstd\",result=\"expanded\"}"

/* "web" under Firecracker: a snapshot "cold" of its disks alone, then compressed in Standby. */
static int setup(void **state)
{
    struct site *site = site_new(NULL);
    struct fixture *fixture = site->fixture;
    struct error err = {0};
    fixture->firecracker = firecracker_make(fixture->vmm, "1.17.0");
    fixture->standby_memory = STANDBY_AUTO;
    fixture->pager.backend = MEMORY_AUTO;
    site_reopen(site);
    struct instance_create_request request = fixture_request(fixture, "web");
    request.hypervisor = "firecracker";
    assert_ok(instance_create(fixture->host, &request, NULL, &err), &err);
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    fixture_snapshot(fixture, "web", INSTANCE_STOPPED, "cold");
    assert_ok(instance_start(fixture->host, "web", NULL, &err), &err);
    site_fill(site, "web", SITE_TOKEN);
    site_standby_packed(site, "web", &zstd);
    *state = site;
    return 0;
}

static int teardown(void **state)
{
    struct site *site = *state;
    char *program = (char *)site->fixture->firecracker;
    site_free(site);
    firecracker_remove(program);
    return 0;
}

static struct instance_record served(struct site *site, const char *source, const char *name)
{
    struct instance_record fork = site_fork(site, source, name);
    assert_string_equal(fork.hypervisor, "firecracker");
    assert_true(was_paged(site, &fork));
    assert_absent(site->fixture, fork.id, "base/memory");
    assert_holds(site, name, SITE_TOKEN);
    return fork;
}

static void test_forks_are_served(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    struct instance_record one = served(site, "web", "one");
    served(site, "web", "two");
    assert_int_equal(guest_stat(site->fixture, one.id, "base/memory.zst").st_nlink, 3);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
    assert_sleeps_packed(site, "web");
    assert_true(sample(site->fixture, EXPANDED) == 0);
    assert_ok(instance_delete(site->fixture->host, "web", &err), &err);
    assert_holds(site, "two", SITE_TOKEN);
}

/* Its diff could be a layer, but there is none over a compressed base: all memory is written. */
static void test_standby_of_a_fork(void **state)
{
    struct site *site = *state;
    struct instance_record one = served(site, "web", "one");
    served(site, "web", "two");
    site_fill(site, "one", OTHER_TOKEN);
    site_standby(site, "one");
    assert_int_equal(fixture_get(site->fixture, "one").memory_layers, 0);
    assert_int_equal(guest_stat(site->fixture, one.id, RAW).st_nlink, 1);
    assert_absent(site->fixture, one.id, ZSTD);
    site_restore(site, "one");
    assert_false(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", OTHER_TOKEN);
    assert_holds(site, "two", SITE_TOKEN);
    assert_sleeps_packed(site, "web");
    assert_true(sample(site->fixture, EXPANDED) == 0);
    site_standby_packed(site, "one", &lz4);
    site_fork(site, "one", "three");
    assert_holds(site, "three", OTHER_TOKEN);
    assert_sleeps_packed(site, "one");
}

/* The id of the snapshot "cold"; owner: caller. */
static char *cold_id(struct site *site)
{
    const struct snapshot_filter filter = {.name = "cold"};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(snapshot_list(site->fixture->host, &filter, &records, &count, &err), &err);
    assert_int_equal(count, 1);
    return strdup(records[0].id);
}

static struct snapshot_target to(const char *hypervisor)
{
    return (struct snapshot_target){
        .has_state = true, .state = INSTANCE_RUNNING, .hypervisor = hypervisor};
}

/* A refusal expands nothing. */
static void test_another_hypervisor_is_refused(void **state)
{
    static const char *const names[] = {"builtin", "firecracker"};
    struct site *site = *state;
    struct host *host = site->fixture->host;
    struct snapshot_record warm = fixture_snapshot(site->fixture, "web", INSTANCE_STANDBY, "warm");
    const struct snapshot_target builtin = to("builtin");
    _cleanup_(free) char *cold = cold_id(site);
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct snapshot_target target = to(names[i]);
        assert_fails(snapshot_fork(host, warm.id, "fork", &target, NULL, &err), &err, ERROR_INVALID,
                     "target_hypervisor: can't be chosen for a snapshot of kind Standby");
        assert_fails(snapshot_restore(host, "web", warm.id, &target, NULL, &err), &err,
                     ERROR_INVALID, "target_hypervisor: can't be chosen");
    }
    assert_fails(snapshot_restore(host, "web", cold, &builtin, NULL, &err), &err, ERROR_STATE,
                 "sleeps under firecracker and can't go over to builtin");
    assert_sleeps_packed(site, "web");
    assert_int_equal(snapshot_stat(site->fixture, warm.id, ZSTD).st_nlink, 2);
    assert_true(sample(site->fixture, EXPANDED) == 0);
}

/* The instance goes over with its disks; what it is restored from later brings its VMM along. */
static void test_there_and_back(void **state)
{
    struct site *site = *state;
    struct host *host = site->fixture->host;
    struct snapshot_record warm = fixture_snapshot(site->fixture, "web", INSTANCE_STANDBY, "warm");
    const struct snapshot_target builtin = to("builtin"), same = to(NULL);
    _cleanup_(free) char *cold = cold_id(site);
    struct instance_record web, fork;
    struct error err = {0};
    site_restore(site, "web");
    assert_ok(instance_stop(host, "web", 0, NULL, &err), &err);
    assert_ok(snapshot_restore(host, "web", cold, &builtin, &web, &err), &err);
    assert_string_equal(web.hypervisor, "builtin");
    assert_string_equal(web.compression, "");
    assert_int_equal(snapshot_stat(site->fixture, warm.id, ZSTD).st_nlink, 1);
    assert_ok(snapshot_fork(host, warm.id, "fork", &same, &fork, &err), &err);
    assert_string_equal(fork.hypervisor, "firecracker");
    assert_true(fork.paged);
    assert_holds(site, "fork", SITE_TOKEN);
    assert_ok(instance_stop(host, "web", 0, NULL, &err), &err);
    assert_ok(snapshot_restore(host, "web", warm.id, &same, &web, &err), &err);
    assert_string_equal(web.hypervisor, "firecracker");
    assert_false(web.paged);
    assert_holds(site, "web", SITE_TOKEN);
    assert_holds(site, "fork", SITE_TOKEN);
}

#define FIRECRACKER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
    FIRECRACKER_TEST(test_forks_are_served),
    FIRECRACKER_TEST(test_standby_of_a_fork),
    FIRECRACKER_TEST(test_another_hypervisor_is_refused),
    FIRECRACKER_TEST(test_there_and_back),
};

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

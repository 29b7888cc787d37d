/* SPDX-License-Identifier: Apache-2.0 */
/* Forks of compressed memory: a pager serves the compressed file, the source's is never expanded
 * for them, and what a pager can't serve is expanded or refused in words. */
#include "pager_site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "compressed.h"
#include "listing.h"
#include "space.h"
#include "stack/packed_format.h"

#define OTHER_TOKEN 7002
#define CACHE_MIB   32u

#define BASE_ZSTD "base/memory.zst"
#define BASE_LZ4  "base/memory.lz4"
#define BASE_RAW  "base/memory"

#define EXPANDED "tine_expansions_total{algorithm=\"zstd\",result=\"expanded\"}"
#define FULL     "tine_memory_saves_total{kind=\"full\"}"

static const enum memory_backend backends[] = {MEMORY_AUTO, MEMORY_PAGER};

/* "source" in Standby, compressed so. */
static struct site *compressed_site(const struct paging_graduation *graduation,
                                    enum memory_backend backend,
                                    const struct stack_compression *how)
{
    struct site *site = site_new(graduation);
    site->fixture->pager.backend = backend;
    site->fixture->pager.cache_mib = CACHE_MIB;
    site_reopen(site);
    site_restore(site, "source");
    site_standby_packed(site, "source", how);
    return site;
}

static int setup(void **state)
{
    *state = compressed_site(NULL, MEMORY_AUTO, &zstd);
    return 0;
}

static int setup_lz4(void **state)
{
    *state = compressed_site(NULL, MEMORY_PAGER, &lz4);
    return 0;
}

static int setup_graduation(void **state)
{
    const struct paging_graduation soon = {.after_ms = 1, .at_once = 2};
    *state = compressed_site(&soon, MEMORY_AUTO, &zstd);
    return 0;
}

static void reopen_with(struct site *site, enum memory_backend backend)
{
    site->fixture->pager.backend = backend;
    site_reopen(site);
}

static uint64_t links_of(struct site *site, const char *name, const char *file)
{
    return guest_stat(site->fixture, fixture_get(site->fixture, name).id, file).st_nlink;
}

/* ---- what is served ---- */

static void test_fork_is_served_as_it_is(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    const struct instance_record source = fixture_get(site->fixture, "source");
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        char name[16];
        reopen_with(site, backends[i]);
        snprintf(name, sizeof(name), "fork-%zu", i);
        struct instance_record fork = site_fork(site, "source", name);
        assert_true(was_paged(site, &fork));
        assert_string_equal(fork.compression, "");
        assert_absent(site->fixture, fork.id, BASE_RAW);
        assert_int_equal(guest_stat(site->fixture, fork.id, BASE_ZSTD).st_ino,
                         guest_stat(site->fixture, source.id, ZSTD).st_ino);
        assert_int_equal(links_of(site, "source", ZSTD), i + 2);
        assert_holds(site, name, SITE_TOKEN);
        assert_sleeps_packed(site, "source");
        assert_true(sample(site->fixture, EXPANDED) == 0);
    }
    assert_ok(instance_delete(site->fixture->host, "source", &err), &err);
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%zu", i);
        assert_holds(site, name, SITE_TOKEN);
    }
}

static void test_lz4(void **state)
{
    struct site *site = *state;
    struct instance_record one = site_fork(site, "source", "one");
    assert_int_equal(guest_stat(site->fixture, one.id, BASE_LZ4).st_nlink, 2);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
    site_reopen(site);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
}

/* What inspect shows of a fork that has not woken yet, and what its own fork gets. */
static void test_forks_that_sleep(void **state)
{
    struct site *site = *state;
    struct instance_stats stats;
    struct error err = {0};
    struct instance_record one = fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    assert_string_equal(one.compression, "zstd:1");
    one = fixture_get(site->fixture, "one");
    assert_int_equal(one.compression_status.state, COMPRESSION_DONE);
    assert_ok(instance_stats(site->fixture->host, "one", &stats, &err), &err);
    assert_int_equal(stats.memory_link_count, 2);
    assert_int_equal(stats.memory_file_bytes, one.compression_status.compressed_size);
    struct instance_record two = site_fork(site, "one", "two");
    assert_int_equal(links_of(site, "source", ZSTD), 3);
    assert_holds(site, "two", SITE_TOKEN);
    site_restore(site, "one");
    assert_true(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", SITE_TOKEN);
    assert_ok(instance_stats(site->fixture->host, "two", &stats, &err), &err);
    assert_int_equal(stats.memory_link_count, 3);
    struct instance_record cold = fixture_fork(site->fixture, "source", "cold", INSTANCE_STOPPED);
    assert_string_equal(cold.compression, "");
    assert_absent(site->fixture, two.id, RAW);
    assert_sleeps_packed(site, "source");
}

static void test_counters(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "one");
    assert_holds(site, "one", SITE_TOKEN);
    for (unsigned i = 0; site_metric(site, "tine_pager_cache_misses_total") == 0; i++) {
        assert_true(i < 6000);
        time_sleep_ms(10);
    }
    assert_true(site_metric(site, "tine_pager_cache_limit_bytes") == CACHE_MIB << 20);
    assert_true(site_metric(site, "tine_pager_cache_bytes") >= PACKED_CHUNK_SIZE);
    assert_true(site_metric(site, "tine_pager_cache_failures_total") == 0);
    assert_true(site_metric(site, "tine_pager_cache_evictions_total") == 0);
    double misses = site_metric(site, "tine_pager_cache_misses_total");
    /* Another process counts anew, and is added. */
    pager_kill(site, SITE_VERSION);
    site_fork(site, "source", "two");
    assert_holds(site, "two", SITE_TOKEN);
    for (unsigned i = 0; site_metric(site, "tine_pager_cache_misses_total") <= misses; i++) {
        assert_true(i < 6000);
        time_sleep_ms(10);
    }
}

/* ---- what comes after it ---- */

/* Nobody reads a stack over a compressed base but the pager: so there is none. */
static void test_standby_writes_all(void **state)
{
    static const struct {
        enum standby_memory memory;
        bool without_layers;
    } cases[] = {
        {STANDBY_AUTO, false}, {STANDBY_AUTO, true}, {STANDBY_LAYER, false}, {STANDBY_LAYER, true}};
    struct site *site = *state;
    site_fork(site, "source", "sibling");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[16];
        site->fixture->standby_memory = cases[i].memory;
        site->fixture->without_layers = cases[i].without_layers;
        site_reopen(site);
        snprintf(name, sizeof(name), "fork-%zu", i);
        struct instance_record fork = site_fork(site, "source", name);
        site_fill(site, name, OTHER_TOKEN);
        site_standby(site, name);
        fork = fixture_get(site->fixture, name);
        assert_int_equal(fork.memory_layers, 0);
        assert_int_equal(guest_stat(site->fixture, fork.id, RAW).st_nlink, 1);
        assert_absent(site->fixture, fork.id, ZSTD);
        assert_absent(site->fixture, fork.id, BASE_ZSTD);
        assert_true(sample(site->fixture, FULL) == 1);
        site_restore(site, name);
        assert_false(fixture_get(site->fixture, name).paged);
        assert_holds(site, name, OTHER_TOKEN);
        assert_holds(site, "sibling", SITE_TOKEN);
        assert_sleeps_packed(site, "source");
    }
    assert_int_equal(pager_sessions(site, SITE_VERSION), 1);
}

static void test_a_standby_that_fails_leaves_it_paged(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    struct instance_record one = site_fork(site, "source", "one");
    setenv("TINE_FAILPOINT", "standby-recorded=EIO", 1);
    assert_int_equal(instance_standby(site->fixture->host, "one", NULL, &err), -EIO);
    setenv("TINE_FAILPOINT", "", 1);
    await_pager(site, "one", "serving");
    assert_int_equal(guest_stat(site->fixture, one.id, BASE_ZSTD).st_nlink, 2);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
}

/* The one-shot rule: the source maps its file, which is made raw for it; forks keep theirs. */
static void test_the_source_wakes(void **state)
{
    struct site *site = *state;
    fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    site_fork(site, "source", "two");
    const struct instance_record source = fixture_get(site->fixture, "source");
    site_restore(site, "source");
    assert_false(fixture_get(site->fixture, "source").paged);
    assert_int_equal(guest_stat(site->fixture, source.id, BASE_RAW).st_nlink, 1);
    assert_absent(site->fixture, source.id, BASE_ZSTD);
    assert_true(sample(site->fixture, EXPANDED) == 1);
    site_fill(site, "source", OTHER_TOKEN);
    site_standby(site, "source");
    assert_int_equal(links_of(site, "two", BASE_ZSTD), 2);
    assert_holds(site, "two", SITE_TOKEN);
    site_restore(site, "one");
    assert_holds(site, "one", SITE_TOKEN);
    site_restore(site, "source");
    assert_holds(site, "source", OTHER_TOKEN);
}

/* A host that wants files has them: what was linked before is expanded when it wakes. */
static void test_backend_file(void **state)
{
    struct site *site = *state;
    fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    reopen_with(site, MEMORY_FILE);
    const struct instance_record one = fixture_get(site->fixture, "one");
    site_restore(site, "one");
    assert_false(fixture_get(site->fixture, "one").paged);
    assert_int_equal(guest_stat(site->fixture, one.id, BASE_RAW).st_nlink, 1);
    assert_holds(site, "one", SITE_TOKEN);
    assert_sleeps_packed(site, "source");
    fixture_fork(site->fixture, "source", "two", INSTANCE_RUNNING);
    assert_int_equal(links_of(site, "source", RAW), 2);
    assert_holds(site, "two", SITE_TOKEN);
    assert_int_equal(pager_pid(site, SITE_VERSION), 0);
}

static void test_graduation(void **state)
{
    struct site *site = *state;
    struct instance_record one = site_fork(site, "source", "one");
    await_pager(site, "one", "");
    await_no_session(site, SITE_VERSION);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
    site_fill(site, "one", OTHER_TOKEN);
    site_standby(site, "one");
    assert_int_equal(guest_stat(site->fixture, one.id, RAW).st_nlink, 1);
    site_restore(site, "one");
    assert_false(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", OTHER_TOKEN);
    assert_sleeps_packed(site, "source");
}

static void test_tined_starts_anew(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    site_reopen(site);
    await_pager(site, "one", "serving");
    assert_holds(site, "one", SITE_TOKEN);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "two", SITE_TOKEN);
    await_takeovers(site, "one", 1);
    assert_holds(site, "one", SITE_TOKEN);
}

/* ---- snapshots ---- */

static struct snapshot_record snapshot_of(struct site *site, const char *id)
{
    struct snapshot_record record;
    struct error err = {0};
    assert_ok(snapshot_get(site->fixture->host, id, &record, &err), &err);
    return record;
}

static void test_snapshot_and_its_forks(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    struct instance_record one, two;
    const struct snapshot_target awake = {.has_state = false};
    const struct snapshot_target asleep = {.has_state = true, .state = INSTANCE_STANDBY};
    struct snapshot_record made = fixture_snapshot(site->fixture, "source", INSTANCE_STANDBY, "s");
    assert_string_equal(made.compression, "zstd:1");
    assert_int_equal(snapshot_of(site, made.id).compression_status.state, COMPRESSION_DONE);
    assert_int_equal(snapshot_stat(site->fixture, made.id, ZSTD).st_nlink, 2);
    assert_sleeps_packed(site, "source");
    assert_ok(snapshot_fork(site->fixture->host, made.id, "one", &awake, &one, &err), &err);
    assert_true(one.paged);
    assert_ok(snapshot_fork(site->fixture->host, made.id, "two", &asleep, &two, &err), &err);
    assert_string_equal(two.compression, "zstd:1");
    assert_int_equal(snapshot_stat(site->fixture, made.id, ZSTD).st_nlink, 4);
    site_reopen(site);
    assert_ok(instance_delete(site->fixture->host, "source", &err), &err);
    assert_ok(snapshot_delete(site->fixture->host, made.id, &err), &err);
    assert_holds(site, "one", SITE_TOKEN);
    site_restore(site, "two");
    assert_true(fixture_get(site->fixture, "two").paged);
    assert_holds(site, "two", SITE_TOKEN);
}

/* In place it is a fork's first restore again, if that is one; else the snapshot is expanded. */
static void test_snapshot_restore(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    const struct snapshot_target awake = {.has_state = false};
    fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    struct snapshot_record of_fork =
        fixture_snapshot(site->fixture, "one", INSTANCE_STANDBY, "of-fork");
    struct snapshot_record of_source =
        fixture_snapshot(site->fixture, "source", INSTANCE_STANDBY, "of-source");
    site_restore(site, "one");
    site_fill(site, "one", OTHER_TOKEN);
    site_standby(site, "one");
    assert_ok(snapshot_restore(site->fixture->host, "one", of_fork.id, &awake, NULL, &err), &err);
    assert_true(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", SITE_TOKEN);
    assert_true(sample(site->fixture, EXPANDED) == 0);
    assert_ok(snapshot_restore(site->fixture->host, "source", of_source.id, &awake, NULL, &err),
              &err);
    assert_false(fixture_get(site->fixture, "source").paged);
    assert_holds(site, "source", SITE_TOKEN);
    assert_true(sample(site->fixture, EXPANDED) == 1);
    assert_int_equal(snapshot_stat(site->fixture, of_source.id, RAW).st_nlink, 2);
    assert_holds(site, "one", SITE_TOKEN);
}

/* ---- what can't be served ---- */

/* Nobody asked for a pager: where none can be had, or the VMM fails with it, there is the file. */
static void test_auto_does_without_a_pager(void **state)
{
    static const char *const binaries[] = {"/nowhere/tine-pager", "/bin/false", NULL};
    struct site *site = *state;
    const char *real = site->fixture->pager.binary;
    for (size_t i = 0; i < ARRAY_SIZE(binaries); i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%zu", i);
        struct instance_record fork = fixture_fork(site->fixture, "source", name, INSTANCE_STANDBY);
        site->fixture->pager.binary = binaries[i] ? binaries[i] : real;
        site_reopen(site);
        if (!binaries[i])
            guest_orders(site->fixture, fork.id, "bad-handshake");
        site_restore(site, name);
        assert_false(fixture_get(site->fixture, name).paged);
        assert_absent(site->fixture, fork.id, BASE_ZSTD);
        assert_holds(site, name, SITE_TOKEN);
        site->fixture->pager.binary = real;
        site_reopen(site);
        assert_sleeps_packed(site, "source");
    }
    assert_int_equal(pager_sessions(site, SITE_VERSION), 0);
}

static void test_pager_is_asked_for(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    struct instance_record one = fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    const char *real = site->fixture->pager.binary;
    site->fixture->pager.binary = "/bin/false";
    reopen_with(site, MEMORY_PAGER);
    assert_int_not_equal(instance_restore(site->fixture->host, "one", NULL, &err), 0);
    assert_non_null(strstr(err.message, "ended at its start"));
    assert_state(site->fixture, "one", INSTANCE_STANDBY);
    assert_int_equal(guest_stat(site->fixture, one.id, ZSTD).st_nlink, 2);
    site->fixture->pager.binary = real;
    site_reopen(site);
    site_restore(site, "one");
    assert_true(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", SITE_TOKEN);
}

/* The source's file, opened, and where in it its index begins. */
static int open_packed(struct site *site, uint64_t *index)
{
    const struct instance_record source = fixture_get(site->fixture, "source");
    const struct path path = guest_path(site->fixture, source.id, ZSTD);
    int fd = open(path.text, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    *index = (uint64_t)guest_stat(site->fixture, source.id, ZSTD).st_size - PACKED_FRAME_SIZE -
             packed_chunks(source.memory_bytes) * sizeof(struct packed_entry);
    return fd;
}

/* In the middle of a chunk's frame. */
static uint64_t middle_of(int fd, uint64_t index, uint64_t chunk)
{
    struct packed_entry entry;
    struct error err = {0};
    uint64_t offset = 0;
    for (uint64_t i = 0;; i++) {
        assert_ok(file_pread_exact(fd, &entry, sizeof(entry),
                                   index + sizeof(struct packed_head) + i * sizeof(entry), "entry",
                                   &err),
                  &err);
        if (i == chunk)
            return offset + entry.length / 2;
        offset += entry.length;
    }
}

static void flip(int fd, uint64_t offset)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0xff;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

/* As it was before there was an index: frames, and nothing behind them. */
static void test_without_an_index(void **state)
{
    struct site *site = *state;
    uint64_t index;
    _cleanup_(close) int fd = open_packed(site, &index);
    fixture_fork(site->fixture, "source", "early", INSTANCE_STANDBY);
    assert_int_equal(ftruncate(fd, (off_t)index), 0);
    site_restore(site, "early");
    assert_false(fixture_get(site->fixture, "early").paged);
    assert_holds(site, "early", SITE_TOKEN);
    struct instance_record one = fixture_fork(site->fixture, "source", "one", INSTANCE_RUNNING);
    assert_false(one.paged);
    assert_int_equal(guest_stat(site->fixture, one.id, BASE_RAW).st_nlink, 2);
    assert_holds(site, "one", SITE_TOKEN);
}

/* Nothing is made of it, and it is told at once. */
static void test_damaged_index(void **state)
{
    struct site *site = *state;
    const struct instance_fork_request request = {.name = "two"};
    uint64_t index;
    _cleanup_(close) int fd = open_packed(site, &index);
    struct instance_record one = fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    flip(fd, index + 100);
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        struct error err = {0};
        reopen_with(site, backends[i]);
        assert_fails(instance_restore(site->fixture->host, "one", NULL, &err), &err, ERROR_CORRUPT,
                     "snapshot/memory.zst is damaged: the checksum of its index does not match");
        assert_fails(instance_fork(site->fixture->host, "source", &request, NULL, &err), &err,
                     ERROR_CORRUPT, "snapshot/memory.zst is damaged");
        assert_sleeps_packed(site, "source");
        assert_state(site->fixture, "one", INSTANCE_STANDBY);
        assert_int_equal(guest_stat(site->fixture, one.id, ZSTD).st_nlink, 2);
    }
    flip(fd, index + 100);
    site_restore(site, "one");
    assert_holds(site, "one", SITE_TOKEN);
}

/* What is found out only when it is needed stops that VM, with the reason; its source and what is
 * made of it once it is whole again are well. */
static void test_damaged_chunk(void **state)
{
    const char *const argv[] = {"check", "7001", "7001", NULL}; /* SITE_TOKEN */
    const struct agent_exec exec = {.argv = argv};
    struct site *site = *state;
    struct error err = {0};
    uint64_t index;
    _cleanup_(close) int fd = open_packed(site, &index);
    flip(fd, middle_of(fd, index, 2));
    site_fork(site, "source", "one");
    _cleanup_(close) int stream = instance_exec(site->fixture->host, "one", &exec, &err);
    assert_true(stream >= 0);
    await_unknown(site, "one");
    struct instance_record one = fixture_get(site->fixture, "one");
    assert_non_null(strstr(one.state_error, "memory.zst is damaged: chunk 2 at "));
    assert_non_null(strstr(one.state_error, "delete it"));
    assert_true(site_metric(site, "tine_pager_sessions_lost_total") == 1);
    assert_sleeps_packed(site, "source");
    assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    flip(fd, middle_of(fd, index, 2));
    site_fork(site, "source", "two");
    assert_holds(site, "two", SITE_TOKEN);
}

/* What the VMM itself needs before it answers is needed by the restore. */
static void test_damage_where_the_vmm_looks(void **state)
{
    struct site *site = *state;
    uint64_t index;
    _cleanup_(close) int fd = open_packed(site, &index);
    struct instance_record one = fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    flip(fd, middle_of(fd, index, 0));
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        struct error err = {0};
        reopen_with(site, backends[i]);
        assert_int_not_equal(instance_restore(site->fixture->host, "one", NULL, &err), 0);
        assert_non_null(strstr(err.message, "memory.zst is damaged: chunk 0 at "));
        assert_state(site->fixture, "one", INSTANCE_STANDBY);
        assert_int_equal(guest_stat(site->fixture, one.id, ZSTD).st_nlink, 2);
        assert_absent(site->fixture, one.id, RAW);
    }
    assert_int_equal(pager_sessions(site, SITE_VERSION), 0);
    flip(fd, middle_of(fd, index, 0));
    for (unsigned i = 0; instance_restore(site->fixture->host, "one", NULL, NULL) < 0; i++) {
        assert_true(i < 600); /* the pager tries it again after a second */
        time_sleep_ms(10);
    }
    assert_holds(site, "one", SITE_TOKEN);
}

/* ---- tined is killed ---- */

static int run_child(struct host *host, struct error *err)
{
    const struct instance_fork_request request = {
        .name = "two", .has_target = true, .target = INSTANCE_STANDBY};
    if (strncmp(getenv("TINE_FAILPOINT"), "fork", 4) == 0)
        return instance_fork(host, "source", &request, NULL, err);
    return instance_restore(host, "one", NULL, err);
}

static const struct {
    const char *failpoint;
    bool sleeps; /* afterwards */
} crashes[] = {
    {"restore-prepared", true}, {"paging-wanted", true},    {"paging-begun", true},
    {"restore-loaded", true},   {"paging-kept", true},      {"restore-recorded", true},
    {"restore-renamed", false}, {"restore-resumed", false}, {"restore-told", false},
};

static void test_tined_is_killed_in_a_restore(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(crashes); i++) {
        struct instance_record one = fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
        fixture_close(site->fixture);
        site_crash(site, crashes[i].failpoint);
        fixture_open(site->fixture);
        if (crashes[i].sleeps) {
            assert_state(site->fixture, "one", INSTANCE_STANDBY);
            assert_int_equal(guest_stat(site->fixture, one.id, ZSTD).st_nlink, 2);
            site_restore(site, "one");
        } else {
            fixture_await(site->fixture, "one", INSTANCE_RUNNING);
            await_pager(site, "one", "serving");
        }
        assert_true(fixture_get(site->fixture, "one").paged);
        assert_holds(site, "one", SITE_TOKEN);
        _cleanup_(free) char *hostname = guest_run(site->fixture, "one", "hostname", NULL);
        assert_string_equal(hostname, "one");
        pager_kill(site, SITE_VERSION);
        assert_holds(site, "one", SITE_TOKEN);
        assert_sleeps_packed(site, "source");
        assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    }
}

static void test_tined_is_killed_in_a_fork(void **state)
{
    static const char *const points[] = {"fork-reserved", "fork-linked", "fork-published"};
    struct site *site = *state;
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        struct instance_record record;
        fixture_close(site->fixture);
        site_crash(site, points[i]);
        fixture_open(site->fixture);
        assert_int_equal(instance_get(site->fixture->host, "two", &record, NULL), -ENOENT);
        assert_sleeps_packed(site, "source");
        assert_int_equal(links_of(site, "source", ZSTD), 1);
    }
    site_fork(site, "source", "two");
    assert_holds(site, "two", SITE_TOKEN);
}

#define PAGER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, site_teardown)

static const struct CMUnitTest tests[] = {
    PAGER_TEST(test_fork_is_served_as_it_is),
    cmocka_unit_test_setup_teardown(test_lz4, setup_lz4, site_teardown),
    PAGER_TEST(test_forks_that_sleep),
    PAGER_TEST(test_counters),
    PAGER_TEST(test_standby_writes_all),
    PAGER_TEST(test_a_standby_that_fails_leaves_it_paged),
    PAGER_TEST(test_the_source_wakes),
    PAGER_TEST(test_backend_file),
    cmocka_unit_test_setup_teardown(test_graduation, setup_graduation, site_teardown),
    PAGER_TEST(test_tined_starts_anew),
    PAGER_TEST(test_snapshot_and_its_forks),
    PAGER_TEST(test_snapshot_restore),
    PAGER_TEST(test_auto_does_without_a_pager),
    PAGER_TEST(test_pager_is_asked_for),
    PAGER_TEST(test_without_an_index),
    PAGER_TEST(test_damaged_index),
    PAGER_TEST(test_damaged_chunk),
    PAGER_TEST(test_damage_where_the_vmm_looks),
    PAGER_TEST(test_tined_is_killed_in_a_restore),
    PAGER_TEST(test_tined_is_killed_in_a_fork),
};

int main(int argc, char **argv)
{
    if (site_is_child(argc, argv))
        return site_child(argv, run_child);
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

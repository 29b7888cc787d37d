/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs that compress what sleeps: when they run, what ends them, and that nothing is ever lost.
 */
#include "compressed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "listing.h"

#define HOUR_NS 3600000000000ull

static const struct stack_compression slow = {STACK_ZSTD, 19};

static void check_life(struct fixture *fixture, const struct stack_compression *how,
                       const char *name, const char *text)
{
    struct instance_record record = compressed_web(fixture, how);
    assert_false(is_there(fixture, record.id, RAW));
    assert_string_equal(record.compression, text);
    struct stat st = guest_stat(fixture, record.id, name);
    assert_int_equal(record.compression_status.compressed_size, st.st_size);
    assert_true(st.st_size > 0 && st.st_size < (off_t)(FIXTURE_MEMORY / 64));
    restore_web(fixture);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
    assert_string_equal(fixture_get(fixture, "web").compression, "");
    assert_absent(fixture, record.id, "base/memory.zst");
    st = guest_stat(fixture, record.id, "base/memory");
    assert_int_equal(st.st_size, FIXTURE_MEMORY);
    assert_true((uint64_t)st.st_blocks * 512 < FIXTURE_MEMORY / 2);
    /* A standby without the wish has none. */
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
    restore_web(fixture);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
}

static void test_life(void **state)
{
    struct fixture *fixture = *state;
    check_life(fixture, &zstd, ZSTD, "zstd:1");
    check_life(fixture, &lz4, LZ4, "lz4:0");
    check_life(fixture, &slow, ZSTD, "zstd:19");
    assert_int_equal(
        sample(fixture, "tine_compressions_total{algorithm=\"zstd\",result=\"compressed\"}"), 2);
    assert_int_equal(sample(fixture, "tine_compression_raw_bytes_total{algorithm=\"lz4\"}"),
                     FIXTURE_MEMORY);
    assert_true(sample(fixture, "tine_compression_compressed_bytes_total{algorithm=\"lz4\"}") > 0);
    assert_int_equal(sample(fixture, "tine_compression_duration_seconds_count{algorithm=\"lz4\"}"),
                     1);
    assert_int_equal(sample(fixture, "tine_expansion_duration_seconds_count{algorithm=\"lz4\"}"),
                     1);
}

static void test_bad_wishes(void **state)
{
    struct fixture *fixture = *state;
    const struct stack_compression bad = {STACK_LZ4, 10};
    struct standby_options options = {.has_compression = true, .compression = &bad};
    struct snapshot_create_request request = {
        .kind = INSTANCE_STANDBY, .has_compression = true, .compression = &bad};
    struct error err = {0};
    compressed_web(fixture, &lz4);
    assert_fails(instance_standby_with(fixture->host, "web", &options, NULL, &err), &err,
                 ERROR_INVALID, "levels 0 to 9, not 10");
    options.compression = &zstd;
    assert_fails(instance_standby_with(fixture->host, "web", &options, NULL, &err), &err,
                 ERROR_STATE, "web is Standby already, options come too late");
    assert_fails(snapshot_create(fixture->host, "web", &request, NULL, &err), &err, ERROR_INVALID,
                 "levels 0 to 9, not 10");
    request.kind = INSTANCE_STOPPED;
    request.compression = &zstd;
    assert_fails(snapshot_create(fixture->host, "web", &request, NULL, &err), &err, ERROR_INVALID,
                 "no memory to compress");
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_DONE);
}

#define SNAPSHOT_POLICY(compression) "{\"snapshot_policy\":{\"compression\":" compression "}}"

static const char *wish_after(struct fixture *fixture, const struct standby_options *options)
{
    static struct instance_record record;
    struct error err = {0};
    int r = options ? instance_standby_with(fixture->host, "web", options, &record, &err)
                    : instance_standby(fixture->host, "web", &record, &err);
    assert_ok(r, &err);
    restore_web(fixture);
    return record.compression;
}

/* The request, else the instance, else the host. */
static void check_precedence(struct fixture *fixture, const char *of_host)
{
    const struct standby_options off = {.has_compression = true},
                                 on = {.has_compression = true, .compression = &slow},
                                 late = {.has_delay = true, .compression_delay_ns = HOUR_NS};
    const struct snapshot_create_request plain = {.kind = INSTANCE_STANDBY},
                                         none = {.kind = INSTANCE_STANDBY, .has_compression = true};
    const struct instance_changes lz4_policy = {
        .policies = SNAPSHOT_POLICY("{\"enabled\":true,\"algorithm\":\"lz4\",\"level\":3}")};
    const struct instance_changes off_policy = {.policies = SNAPSHOT_POLICY("{\"enabled\":false}")};
    struct snapshot_record snapshot;
    struct error err = {0};
    guest_remember(fixture, "web", NOTE);
    assert_string_equal(wish_after(fixture, NULL), of_host);
    assert_string_equal(wish_after(fixture, &off), "");
    assert_string_equal(wish_after(fixture, &on), "zstd:19");
    assert_ok(snapshot_create(fixture->host, "web", &plain, &snapshot, &err), &err);
    assert_string_equal(snapshot.compression, of_host);

    assert_ok(instance_update(fixture->host, "web", &lz4_policy, NULL, &err), &err);
    assert_string_equal(wish_after(fixture, NULL), "lz4:3");
    assert_string_equal(wish_after(fixture, &late), "lz4:3");
    assert_string_equal(wish_after(fixture, &off), "");
    assert_string_equal(wish_after(fixture, &on), "zstd:19");
    assert_ok(snapshot_create(fixture->host, "web", &plain, &snapshot, &err), &err);
    assert_string_equal(snapshot.compression, "lz4:3");
    assert_ok(snapshot_create(fixture->host, "web", &none, &snapshot, &err), &err);
    assert_string_equal(snapshot.compression, "");
    assert_string_equal(snapshot.source.policies, lz4_policy.policies);

    assert_ok(instance_update(fixture->host, "web", &off_policy, NULL, &err), &err);
    assert_string_equal(wish_after(fixture, NULL), "");
    assert_string_equal(wish_after(fixture, &on), "zstd:19");
}

static void test_precedence(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    check_precedence(fixture, "");
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    fixture_close(fixture);
    const struct host_options options = {.data_dir = fixture->data,
                                         .vmm_binary = fixture->vmm,
                                         .kit_dir = fixture->kit,
                                         .compression = &lz4};
    fixture->host = host_open(&options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
    fixture_create(fixture, "web");
    check_precedence(fixture, "lz4:0");
}

/* The policy's delay, unless the request has one. */
static void test_delay_of_policy(void **state)
{
    struct fixture *fixture = *state;
    struct instance_create_request request = fixture_request(fixture, "web");
    const struct standby_options at_once = {.has_delay = true};
    struct error err = {0};
    request.policies = "{\"snapshot_policy\":{\"compression\":{\"enabled\":true,\"algorithm\":"
                       "\"zstd\",\"level\":1},\"standby_compression_delay\":\"1h0m0s\"}}";
    assert_ok(instance_create(fixture->host, &request, NULL, &err), &err);
    guest_remember(fixture, "web", NOTE);
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
    assert_string_equal(fixture_get(fixture, "web").compression, "zstd:1");
    assert_string_equal(fixture_fork(fixture, "web", "fork", INSTANCE_STOPPED).policies,
                        request.policies);
    restore_web(fixture);
    assert_ok(instance_standby_with(fixture->host, "web", &at_once, NULL, &err), &err);
    await(fixture, "web", COMPRESSION_DONE);
}

static void test_delay(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", NOTE);
    standby_with(fixture, &zstd, HOUR_NS);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
    assert_string_equal(fixture_get(fixture, "web").compression, "zstd:1");
    assert_true(is_there(fixture, record.id, RAW));
    restore_web(fixture);
    standby_with(fixture, &zstd, UINT64_MAX);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
    restore_web(fixture);
    standby_with(fixture, &zstd, 1000000);
    await(fixture, "web", COMPRESSION_DONE);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
}

/* A wish outlives tined, and so does what came of it. */
static void test_reopen(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", NOTE);
    standby_with(fixture, &zstd, HOUR_NS);
    fixture_reopen(fixture);
    await(fixture, "web", COMPRESSION_DONE);
    struct stat before = guest_stat(fixture, record.id, ZSTD);
    fixture_reopen(fixture);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_DONE);
    assert_int_equal(guest_stat(fixture, record.id, ZSTD).st_ino, before.st_ino);
    restore_web(fixture);
    fixture_reopen(fixture);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
}

/* A crash between the two steps of a change leaves both files. */
static void test_both_are_there(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    struct error err = {0};
    guest_remember(fixture, "web", NOTE);
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    const struct path both = guest_path(fixture, record.id, ZSTD);
    file_make(both.text, "of no use", 0);
    const struct path half = guest_path(fixture, record.id, LZ4 ".tine-tmp-0123456789abcdef");
    file_make(half.text, "half", 0);
    fixture_reopen(fixture);
    assert_false(is_there(fixture, record.id, ZSTD));
    assert_no_temporary(fixture);
    restore_web(fixture);
}

/* Fills the raw image behind what the guest uses, so that to compress it takes long. */
static void make_incompressible(struct fixture *fixture, const char *id)
{
    enum { CHUNK = 1 << 20 };
    const struct path path = guest_path(fixture, id, RAW);
    _cleanup_(free) uint8_t *bytes = malloc(CHUNK);
    _cleanup_(close) int fd = open(path.text, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t at = 0; at < CHUNK; at += 256)
        assert_int_equal(getrandom(bytes + at, 256, 0), 256);
    for (uint64_t at = FIXTURE_MEMORY / 2; at < FIXTURE_MEMORY; at += CHUNK) {
        memcpy(bytes, &at, sizeof(at));
        for (size_t i = 8; i < CHUNK; i++)
            bytes[i] = (uint8_t)(bytes[i] * 5 + bytes[i - 3] + 1);
        assert_int_equal(pwrite(fd, bytes, CHUNK, (off_t)at), CHUNK);
    }
}

/* "web" asleep, while its memory is being compressed, which takes seconds. */
static struct instance_record compressing_web(struct fixture *fixture)
{
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", NOTE);
    standby_with(fixture, &slow, HOUR_NS);
    fixture_close(fixture);
    make_incompressible(fixture, record.id);
    fixture_open(fixture);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_RUNNING);
    for (bool begun = false; !begun; time_sleep_ms(1)) {
        _cleanup_(free) char *names = listing(fixture->dir);
        begun = strstr(names, "memory.zst.tine-tmp-") != NULL;
    }
    return record;
}

static void assert_cancelled(struct fixture *fixture, double count)
{
    assert_int_equal(
        sample(fixture, "tine_compressions_total{algorithm=\"zstd\",result=\"cancelled\"}"), count);
}

static void test_restore_cancels(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = compressing_web(fixture);
    restore_web(fixture);
    assert_cancelled(fixture, 1);
    assert_no_temporary(fixture);
    assert_absent(fixture, record.id, "base/memory.zst");
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
}

static void test_delete_cancels(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    compressing_web(fixture);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    assert_cancelled(fixture, 1);
    assert_no_temporary(fixture);
}

static void test_close_cancels(void **state)
{
    struct fixture *fixture = *state;
    compressing_web(fixture);
    fixture_close(fixture);
    assert_no_temporary(fixture);
    fixture_open(fixture);
    restore_web(fixture);
    assert_no_temporary(fixture);
}

/* The fork has the image from then on, so the source's is not worth it; when the fork is gone it
 * is. */
static void test_fork_interrupts(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record web = compressing_web(fixture);
    struct instance_record fork = fixture_fork(fixture, "web", "fork", INSTANCE_STANDBY);
    struct error err = {0};
    assert_int_equal(guest_stat(fixture, web.id, RAW).st_ino,
                     guest_stat(fixture, fork.id, RAW).st_ino);
    await(fixture, "web", COMPRESSION_NONE);
    assert_true(is_there(fixture, web.id, RAW));
    assert_ok(instance_delete(fixture->host, "fork", &err), &err);
    await(fixture, "web", COMPRESSION_RUNNING);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
}

static void test_failure_is_visible(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", NOTE);
    assert_int_equal(setenv("TINE_FAILPOINT", "stack-pack-data=ENOSPC", 1), 0);
    standby_with(fixture, &zstd, 0);
    await(fixture, "web", COMPRESSION_FAILED);
    assert_int_equal(setenv("TINE_FAILPOINT", "", 1), 0);
    struct instance_record failed = fixture_get(fixture, "web");
    assert_non_null(strstr(failed.compression_status.error, "ENOSPC"));
    assert_non_null(strstr(failed.compression_status.error, record.id));
    assert_int_equal(sample(fixture, "tine_compressions_total{algorithm=\"zstd\",result="
                                     "\"error\"}"),
                     1);
    assert_no_temporary(fixture);
    assert_true(is_there(fixture, record.id, RAW));
    restore_web(fixture);
    assert_int_equal(state_of(fixture, "web"), COMPRESSION_NONE);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_life),
    FIXTURE_TEST(test_bad_wishes),
    FIXTURE_TEST(test_precedence),
    FIXTURE_TEST(test_delay_of_policy),
    FIXTURE_TEST(test_delay),
    FIXTURE_TEST(test_reopen),
    FIXTURE_TEST(test_both_are_there),
    FIXTURE_TEST(test_restore_cancels),
    FIXTURE_TEST(test_delete_cancels),
    FIXTURE_TEST(test_close_cancels),
    FIXTURE_TEST(test_fork_interrupts),
    FIXTURE_TEST(test_failure_is_visible),
};
FIXTURE_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* Standbys that add a layer, of VMMs that know them, without any pager: what they leave alone, what
 * is mapped again, and what every owner of such an image does with it. */
#include "layered.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "space.h"

static void test_only_what_changed_is_written(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = fixture_get(fixture, "source");
    struct path image = guest_path(fixture, source.id, "snapshot/memory");
    struct content before = content_of(&image);
    struct instance_record one = layered(fixture, "one");
    assert_content(&before, &image);
    struct stat base = guest_stat(fixture, one.id, "snapshot/memory");
    assert_int_equal(base.st_ino, guest_stat(fixture, source.id, "snapshot/memory").st_ino);
    assert_int_equal(base.st_nlink, 2);
    assert_true(guest_stat(fixture, one.id, "snapshot/memory.1").st_size < 64 << 10);
    assert_absent(fixture, one.id, "snapshot/layer");
    assert_absent(fixture, one.id, "base");
    assert_int_equal(strlen(one.memory_top), 16);
    assert_wakes(fixture, "one", TOKEN, NOTE);
    guest_remember(fixture, "one", "");
    put_to_standby(fixture, "one");
    assert_wakes(fixture, "one", TOKEN, "");
    assert_int_equal(layers_of(fixture, "one"), 2);
}

/* Forks of forks, each with a layer more, the ones before deleted: all that is needed is theirs. */
static void test_chain_of_forks(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    char names[INSTANCE_MAX_LAYERS + 2][8] = {"source"}, note[16] = "";
    for (unsigned i = 1; i <= INSTANCE_MAX_LAYERS; i++) {
        snprintf(names[i], sizeof(names[i]), "fork-%u", i);
        fixture_fork(fixture, names[i - 1], names[i], INSTANCE_RUNNING);
        assert_holds(fixture, names[i], TOKEN);
        assert_recalls(fixture, names[i], note);
        assert_ok(instance_delete(fixture->host, names[i - 1], &err), &err);
        snprintf(note, sizeof(note), "of %u", i);
        guest_remember(fixture, names[i], note);
        mode(fixture, STANDBY_LAYER); /* nobody shares it any more */
        put_to_standby(fixture, names[i]);
        assert_int_equal(layers_of(fixture, names[i]), i);
    }
    /* That is deep enough: once more all of it. */
    const char *last = names[INSTANCE_MAX_LAYERS];
    assert_wakes(fixture, last, TOKEN, note);
    put_to_standby(fixture, last);
    struct instance_record record = fixture_get(fixture, last);
    assert_int_equal(record.memory_layers, 0);
    assert_string_equal(record.memory_top, "");
    assert_absent(fixture, record.id, "snapshot/memory.1");
    assert_int_equal(guest_stat(fixture, record.id, "snapshot/memory").st_nlink, 1);
    assert_wakes(fixture, last, TOKEN, note);
}

static void test_siblings_are_apart(void **state)
{
    struct fixture *fixture = *state;
    layered(fixture, "one");
    struct instance_record two = fixture_fork(fixture, "one", "two", INSTANCE_RUNNING);
    struct path shared = guest_path(fixture, two.id, "base/memory.1");
    struct content before = content_of(&shared);
    fixture_fork(fixture, "one", "three", INSTANCE_RUNNING);
    fill(fixture, "two", OTHER_TOKEN);
    guest_remember(fixture, "three", "third");
    put_to_standby(fixture, "two");
    put_to_standby(fixture, "three");
    struct path kept = guest_path(fixture, two.id, "snapshot/memory.1");
    assert_content(&before, &kept);
    assert_int_equal(guest_stat(fixture, two.id, "snapshot/memory.1").st_nlink, 3);
    assert_wakes(fixture, "one", TOKEN, NOTE);
    assert_wakes(fixture, "two", OTHER_TOKEN, NOTE);
    assert_wakes(fixture, "three", TOKEN, "third");
}

static void test_snapshots(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    layered(fixture, "one");
    struct snapshot_record snapshot = fixture_snapshot(fixture, "one", INSTANCE_STANDBY, "s");
    assert_int_equal(snapshot.source.memory_layers, 1);
    assert_int_equal(snapshot_stat(fixture, snapshot.id, "snapshot/memory.1").st_nlink, 2);
    assert_wakes(fixture, "one", TOKEN, NOTE);
    fill(fixture, "one", OTHER_TOKEN);
    guest_remember(fixture, "one", "later");
    put_to_standby(fixture, "one");
    assert_int_equal(layers_of(fixture, "one"), 2);
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "two", &running, NULL, &err), &err);
    assert_holds(fixture, "two", TOKEN);
    assert_recalls(fixture, "two", NOTE);
    assert_ok(snapshot_restore(fixture->host, "one", snapshot.id, &running, NULL, &err), &err);
    assert_int_equal(layers_of(fixture, "one"), 1);
    assert_ok(snapshot_delete(fixture->host, snapshot.id, &err), &err);
    assert_holds(fixture, "one", TOKEN);
    assert_recalls(fixture, "one", NOTE);
    assert_ok(instance_stop(fixture->host, "one", 0, NULL, &err), &err);
    assert_ok(instance_start(fixture->host, "one", NULL, &err), &err);
    put_to_standby(fixture, "one"); /* it was booted: nothing is left of the stack */
    assert_int_equal(layers_of(fixture, "one"), 0);
}

/* The nap of its source adds a layer: the snapshot has it, and the key of the image with it. */
static void test_snapshot_of_a_running_one(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    struct instance_record one = fixture_fork(fixture, "source", "one", INSTANCE_RUNNING);
    guest_orders(fixture, one.id, "no-templates");
    fill(fixture, "one", OTHER_TOKEN);
    struct snapshot_record snapshot = fixture_snapshot(fixture, "one", INSTANCE_STANDBY, "s");
    assert_int_equal(snapshot.source.memory_layers, 1);
    assert_string_equal(snapshot.source.memory_top, fixture_get(fixture, "one").memory_top);
    assert_string_equal(snapshot.source.cache_key, fixture_get(fixture, "one").cache_key);
    assert_int_equal(snapshot_stat(fixture, snapshot.id, "snapshot/memory.1").st_nlink, 2);
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "two", &running, NULL, &err), &err);
    assert_holds(fixture, "two", OTHER_TOKEN);
    assert_holds(fixture, "one", OTHER_TOKEN);
}

/* Without a nap the layer is the snapshot's alone, over what it shares with the source, whose own
 * image and key are what they were. */
static void test_snapshot_of_one_that_runs_on(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    struct instance_record one = fixture_fork(fixture, "source", "one", INSTANCE_RUNNING);
    const nlink_t links = guest_stat(fixture, one.id, "base/memory").st_nlink;
    fill(fixture, "one", OTHER_TOKEN);
    struct snapshot_record first = fixture_snapshot(fixture, "one", INSTANCE_STANDBY, "first");
    assert_int_equal(first.source.memory_layers, 1);
    assert_int_equal(layers_of(fixture, "one"), 0);
    assert_string_equal(fixture_get(fixture, "one").cache_key, one.cache_key);
    assert_string_not_equal(first.source.cache_key, one.cache_key);
    assert_int_equal(snapshot_stat(fixture, first.id, "snapshot/memory.1").st_nlink, 1);
    assert_int_equal(snapshot_stat(fixture, first.id, "snapshot/memory").st_ino,
                     guest_stat(fixture, one.id, "base/memory").st_ino);
    assert_int_equal(guest_stat(fixture, one.id, "base/memory").st_nlink, links + 1);
    fill(fixture, "one", OTHER_TOKEN + 1);
    struct snapshot_record second = fixture_snapshot(fixture, "one", INSTANCE_STANDBY, "second");
    put_to_standby(fixture, "one");
    assert_int_equal(layers_of(fixture, "one"), 1);
    fixture_reopen(fixture);
    assert_ok(snapshot_fork(fixture->host, first.id, "of-first", &running, NULL, &err), &err);
    assert_holds(fixture, "of-first", OTHER_TOKEN);
    assert_ok(instance_delete(fixture->host, "one", &err), &err);
    assert_ok(snapshot_fork(fixture->host, second.id, "of-second", &running, NULL, &err), &err);
    assert_holds(fixture, "of-second", OTHER_TOKEN + 1);
    /* Of a stack: a second layer over the first, which is shared. */
    struct snapshot_record third = fixture_snapshot(fixture, "of-first", INSTANCE_STANDBY, "third");
    assert_int_equal(third.source.memory_layers, 2);
    assert_int_equal(snapshot_stat(fixture, third.id, "snapshot/memory.1").st_nlink, 3);
    assert_ok(snapshot_fork(fixture->host, third.id, "of-third", &running, NULL, &err), &err);
    assert_holds(fixture, "of-third", OTHER_TOKEN);
}

/* Who asks for compression gets it: all memory is written then, also over a stack. */
static void test_to_be_compressed(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct stack_compression zstd = {.algorithm = STACK_ZSTD, .level = 1};
    const struct standby_options options = {.has_compression = true, .compression = &zstd};
    struct instance_record one = layered(fixture, "one");
    restore(fixture, "one");
    assert_ok(instance_standby_with(fixture->host, "one", &options, NULL, &err), &err);
    assert_int_equal(layers_of(fixture, "one"), 0);
    struct path image = guest_path(fixture, one.id, "snapshot/memory.zst");
    for (int i = 0; i < 1000 && access(image.text, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(access(image.text, F_OK), 0);
    assert_wakes(fixture, "one", TOKEN, NOTE);
}

static void test_modes(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record one = layered(fixture, "one");
    restore(fixture, "one");
    struct path path = guest_path(fixture, one.id, "base/memory");
    struct content before = content_of(&path);
    mode(fixture, STANDBY_MERGE); /* of a stack there is nothing to merge into */
    put_to_standby(fixture, "one");
    assert_int_equal(layers_of(fixture, "one"), 0);
    struct instance_record source = fixture_get(fixture, "source");
    path = guest_path(fixture, source.id, "snapshot/memory");
    assert_content(&before, &path);
    assert_wakes(fixture, "one", TOKEN, NOTE);
    mode(fixture, STANDBY_FULL);
    ino_t inode = guest_stat(fixture, one.id, "base/memory").st_ino;
    put_to_standby(fixture, "one");
    assert_int_not_equal(guest_stat(fixture, one.id, "snapshot/memory").st_ino, inode);
    restore(fixture, "one");
    mode(fixture, STANDBY_AUTO); /* it is alone */
    inode = guest_stat(fixture, one.id, "base/memory").st_ino;
    put_to_standby(fixture, "one");
    assert_int_equal(layers_of(fixture, "one"), 0);
    assert_int_equal(guest_stat(fixture, one.id, "snapshot/memory").st_ino, inode);
    restore(fixture, "one");
    mode(fixture, STANDBY_LAYER);
    put_to_standby(fixture, "one");
    assert_int_equal(layers_of(fixture, "one"), 1);
    mode(fixture, STANDBY_FULL); /* what there is can always be woken */
    assert_wakes(fixture, "one", TOKEN, NOTE);
    assert_ok(instance_delete(fixture->host, "one", &err), &err);
}

/* ---- what is not as it should be ---- */

static int try_restore(struct fixture *fixture, struct error *err)
{
    return instance_restore(fixture->host, "one", NULL, err);
}

static void test_damaged_layers(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record one = layered(fixture, "one");
    struct path layer = guest_path(fixture, one.id, "snapshot/memory.1");
    struct path away = guest_path(fixture, one.id, "away");
    assert_int_equal(rename(layer.text, away.text), 0);
    assert_fails(try_restore(fixture, &err), &err, ERROR_CORRUPT, "the last are missing");
    file_make(layer.text, "no layer", 0);
    assert_fails(try_restore(fixture, &err), &err, ERROR_CORRUPT, "memory.1");
    assert_int_equal(rename(away.text, layer.text), 0);
    assert_state(fixture, "one", INSTANCE_STANDBY);
    assert_wakes(fixture, "one", TOKEN, NOTE);
}

/* The VM goes on, and its next standby is of all it has. */
static void test_damaged_base(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record one = layered(fixture, "one");
    assert_wakes(fixture, "one", TOKEN, NOTE);
    struct path layer = guest_path(fixture, one.id, "base/memory.1");
    assert_int_equal(unlink(layer.text), 0);
    put_to_standby(fixture, "one");
    assert_int_equal(layers_of(fixture, "one"), 0);
    assert_wakes(fixture, "one", TOKEN, NOTE);
}

/* ---- what fails on the way ---- */

static const char *const steps[] = {
    "layering-linked",   "standby-paused",
    "standby-saved",     "layering-saved",
    "layering-made",     "standby-synced",
    "layering-finished", "standby-published",
    "standby-recorded",  "stack-publish-before-rename",
};

static void test_every_failpoint(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = fixture_get(fixture, "source");
    struct path image = guest_path(fixture, source.id, "snapshot/memory");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        char failpoint[64], note[16];
        struct error err = {0};
        struct content before = content_of(&image);
        struct instance_record one = fixture_fork(fixture, "source", "one", INSTANCE_RUNNING);
        snprintf(note, sizeof(note), "note %zu", i);
        guest_remember(fixture, "one", note);
        snprintf(failpoint, sizeof(failpoint), "%s=EIO", steps[i]);
        setenv("TINE_FAILPOINT", failpoint, 1);
        int r = instance_standby(fixture->host, "one", NULL, &err);
        setenv("TINE_FAILPOINT", "", 1);
        if (r != -EIO)
            fail_msg("%s: %d %s", steps[i], r, err.message);
        assert_state(fixture, "one", INSTANCE_RUNNING);
        assert_absent(fixture, one.id, "snapshot");
        assert_recalls(fixture, "one", note);
        put_to_standby(fixture, "one");
        assert_int_equal(layers_of(fixture, "one"), 1); /* nothing has been forgotten */
        assert_content(&before, &image);
        assert_wakes(fixture, "one", TOKEN, note);
        assert_ok(instance_delete(fixture->host, "one", &err), &err);
    }
}

/* ---- tined is killed ---- */

static int child(char **argv)
{
    struct fixture *fixture = fixture_on(argv[3]);
    struct error err = {0};
    fixture->vmm = argv[1];
    fixture->standby_memory = STANDBY_AUTO;
    log_set_level(LOG_LEVEL_ERROR);
    fixture->host = fixture_host(fixture, &err);
    if (fixture->host) {
        setenv("TINE_FAILPOINT", argv[4], 1);
        instance_standby(fixture->host, "one", NULL, &err);
    }
    fprintf(stderr, "it was not killed at %s: %s\n", argv[4], err.message);
    return 1;
}

/* Standby with the layer, or Running without one; never anything between. */
static void test_tined_is_killed(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = fixture_get(fixture, "source");
    struct path image = guest_path(fixture, source.id, "snapshot/memory");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct error err = {0};
        struct content before = content_of(&image);
        char *const argv[] = {program_invocation_short_name,
                              (char *)fixture->vmm,
                              (char *)"child",
                              fixture->dir,
                              (char *)steps[i],
                              NULL};
        layered(fixture, "one");
        restore(fixture, "one");
        guest_remember(fixture, "one", steps[i]);
        fixture_close(fixture);
        child_is_killed(argv);
        fixture_open(fixture);
        assert_content(&before, &image);
        struct instance_record one = fixture_get(fixture, "one");
        if (one.state == INSTANCE_STANDBY) {
            assert_int_equal(one.memory_layers, 2);
            restore(fixture, "one");
        }
        fixture_await(fixture, "one", INSTANCE_RUNNING);
        assert_holds(fixture, "one", TOKEN);
        assert_recalls(fixture, "one", steps[i]);
        put_to_standby(fixture, "one");
        assert_wakes(fixture, "one", TOKEN, steps[i]);
        assert_ok(instance_delete(fixture->host, "one", &err), &err);
    }
}

#define STACK_TEST(name) cmocka_unit_test_setup_teardown(name, layered_setup, fixture_teardown)

static const struct CMUnitTest tests[] = {
    STACK_TEST(test_only_what_changed_is_written),
    STACK_TEST(test_chain_of_forks),
    STACK_TEST(test_siblings_are_apart),
    STACK_TEST(test_snapshots),
    STACK_TEST(test_snapshot_of_a_running_one),
    STACK_TEST(test_snapshot_of_one_that_runs_on),
    STACK_TEST(test_to_be_compressed),
    STACK_TEST(test_modes),
    STACK_TEST(test_damaged_layers),
    STACK_TEST(test_damaged_base),
    STACK_TEST(test_every_failpoint),
    STACK_TEST(test_tined_is_killed),
};

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[2], "child") == 0)
        return child(argv);
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

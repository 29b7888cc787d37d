/* SPDX-License-Identifier: Apache-2.0 */
/* Standbys that add a layer, of VMMs that know none: what they leave alone, what comes back through
 * a real pager, and what every owner of such an image does with it. */
#include "pager_site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "listing.h"
#include "space.h"

#define OTHER_TOKEN 7002
#define NOTE        "in the layer"

static struct site *site_with(const struct paging_graduation *graduation)
{
    struct site *site = site_new(graduation);
    site->fixture->standby_memory = STANDBY_AUTO;
    site->fixture->without_layers = true;
    site_reopen(site);
    return site;
}

static int setup(void **state)
{
    *state = site_with(NULL);
    return 0;
}

static unsigned layers_of(struct site *site, const char *name)
{
    return fixture_get(site->fixture, name).memory_layers;
}

static double saves(struct site *site, const char *kind)
{
    char series[64];
    snprintf(series, sizeof(series), "tine_memory_saves_total{kind=\"%s\"}", kind);
    return site_metric(site, series);
}

/* A fork of the source that slept with one layer, in which a note is. */
static struct instance_record layered(struct site *site, const char *name)
{
    site_fork(site, "source", name);
    guest_remember(site->fixture, name, NOTE);
    site_standby(site, name);
    struct instance_record record = fixture_get(site->fixture, name);
    assert_int_equal(record.memory_layers, 1);
    return record;
}

/* It wakes on its pager with the pages of every layer. */
static void assert_wakes(struct site *site, const char *name, uint64_t token, const char *note)
{
    site_restore(site, name);
    assert_true(fixture_get(site->fixture, name).paged);
    assert_holds(site, name, token);
    assert_recalls(site->fixture, name, note);
}

static void test_only_what_changed_is_written(void **state)
{
    struct site *site = *state;
    struct instance_record source = fixture_get(site->fixture, "source");
    struct path image = guest_path(site->fixture, source.id, "snapshot/memory");
    struct content before = content_of(&image);
    struct instance_record one = layered(site, "one");
    assert_content(&before, &image);
    struct stat base = guest_stat(site->fixture, one.id, "snapshot/memory");
    struct stat layer = guest_stat(site->fixture, one.id, "snapshot/memory.1");
    assert_int_equal(base.st_ino, guest_stat(site->fixture, source.id, "snapshot/memory").st_ino);
    assert_int_equal(base.st_nlink, 2);
    assert_true(layer.st_size < 64 << 10);
    assert_absent(site->fixture, one.id, "snapshot/diff");
    assert_absent(site->fixture, one.id, "base");
    assert_int_equal(strlen(one.memory_top), 16);
    assert_true(saves(site, "layer") == 1);
    assert_wakes(site, "one", SITE_TOKEN, NOTE);
    assert_int_equal(layers_of(site, "one"), 1);
    guest_remember(site->fixture, "one", "");
    site_standby(site, "one");
    assert_wakes(site, "one", SITE_TOKEN, "");
    assert_int_equal(layers_of(site, "one"), 2);
}

/* Forks of forks, each with a layer more, the ones before deleted: all that is needed is theirs. */
static void test_chain_of_forks(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    char names[INSTANCE_MAX_LAYERS + 2][8] = {"source"}, note[16] = "";
    for (unsigned i = 1; i <= INSTANCE_MAX_LAYERS; i++) {
        snprintf(names[i], sizeof(names[i]), "fork-%u", i);
        site_fork(site, names[i - 1], names[i]);
        assert_holds(site, names[i], SITE_TOKEN);
        assert_recalls(site->fixture, names[i], note);
        assert_ok(instance_delete(site->fixture->host, names[i - 1], &err), &err);
        snprintf(note, sizeof(note), "of %u", i);
        guest_remember(site->fixture, names[i], note);
        site_standby(site, names[i]);
        assert_int_equal(layers_of(site, names[i]), i);
    }
    assert_true(saves(site, "layer") == INSTANCE_MAX_LAYERS);
    /* That is deep enough: once more all of it. */
    const char *last = names[INSTANCE_MAX_LAYERS];
    assert_wakes(site, last, SITE_TOKEN, note);
    site_standby(site, last);
    struct instance_record record = fixture_get(site->fixture, last);
    assert_int_equal(record.memory_layers, 0);
    assert_string_equal(record.memory_top, "");
    assert_absent(site->fixture, record.id, "snapshot/memory.1");
    assert_int_equal(guest_stat(site->fixture, record.id, "snapshot/memory").st_nlink, 1);
    site_restore(site, last);
    assert_false(fixture_get(site->fixture, last).paged);
    assert_holds(site, last, SITE_TOKEN);
    assert_recalls(site->fixture, last, note);
}

/* Whatever a sibling writes, each has its own. */
static void test_siblings_are_apart(void **state)
{
    struct site *site = *state;
    layered(site, "one");
    struct instance_record two = site_fork(site, "one", "two");
    struct path shared = guest_path(site->fixture, two.id, "base/memory.1");
    struct content before = content_of(&shared);
    site_fork(site, "one", "three");
    site_fill(site, "two", OTHER_TOKEN);
    guest_remember(site->fixture, "three", "third");
    site_standby(site, "two");
    site_standby(site, "three");
    struct path kept = guest_path(site->fixture, two.id, "snapshot/memory.1");
    assert_content(&before, &kept);
    assert_int_equal(guest_stat(site->fixture, two.id, "snapshot/memory.1").st_nlink, 3);
    assert_wakes(site, "one", SITE_TOKEN, NOTE);
    assert_wakes(site, "two", OTHER_TOKEN, NOTE);
    assert_wakes(site, "three", SITE_TOKEN, "third");
}

/* Taken over by another pager, also of a tined that has begun anew. */
static void test_pager_is_replaced(void **state)
{
    struct site *site = *state;
    layered(site, "one");
    site_restore(site, "one");
    pager_kill(site, SITE_VERSION);
    await_takeovers(site, "one", 1);
    assert_recalls(site->fixture, "one", NOTE);
    site_reopen(site);
    pager_kill(site, SITE_VERSION);
    await_takeovers(site, "one", 1);
    assert_holds(site, "one", SITE_TOKEN);
    assert_recalls(site->fixture, "one", NOTE);
    site_standby(site, "one");
    assert_int_equal(layers_of(site, "one"), 2);
    assert_wakes(site, "one", SITE_TOKEN, NOTE);
}

static void test_snapshots(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    layered(site, "one");
    struct snapshot_record snapshot = fixture_snapshot(site->fixture, "one", INSTANCE_STANDBY, "s");
    assert_int_equal(snapshot.source.memory_layers, 1);
    assert_int_equal(snapshot_stat(site->fixture, snapshot.id, "snapshot/memory.1").st_nlink, 2);
    assert_wakes(site, "one", SITE_TOKEN, NOTE);
    site_fill(site, "one", OTHER_TOKEN);
    guest_remember(site->fixture, "one", "later");
    site_standby(site, "one");
    assert_int_equal(layers_of(site, "one"), 2);
    assert_ok(snapshot_fork(site->fixture->host, snapshot.id, "two", &running, NULL, &err), &err);
    assert_holds(site, "two", SITE_TOKEN);
    assert_recalls(site->fixture, "two", NOTE);
    assert_ok(snapshot_restore(site->fixture->host, "one", snapshot.id, &running, NULL, &err),
              &err);
    assert_int_equal(layers_of(site, "one"), 1);
    assert_ok(snapshot_delete(site->fixture->host, snapshot.id, &err), &err);
    assert_holds(site, "one", SITE_TOKEN);
    assert_recalls(site->fixture, "one", NOTE);
}

/* ---- what decides ---- */

static void mode(struct site *site, enum standby_memory how)
{
    site->fixture->standby_memory = how;
    site_reopen(site);
}

static void test_modes(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    site_fork(site, "source", "one");
    mode(site, STANDBY_FULL);
    site_standby(site, "one");
    assert_true(saves(site, "full") == 1);
    site_fork(site, "source", "two");
    mode(site, STANDBY_MERGE);
    site_standby(site, "two"); /* its pager reads the base */
    assert_true(saves(site, "full") == 1);
    /* Of a stack there is nothing to merge into. */
    mode(site, STANDBY_AUTO);
    struct instance_record three = layered(site, "three");
    site_restore(site, "three");
    struct content before;
    struct path base = guest_path(site->fixture, three.id, "base/memory");
    before = content_of(&base);
    mode(site, STANDBY_MERGE);
    site_standby(site, "three");
    assert_int_equal(layers_of(site, "three"), 0);
    struct instance_record source = fixture_get(site->fixture, "source");
    base = guest_path(site->fixture, source.id, "snapshot/memory");
    assert_content(&before, &base);
    /* A VM that maps its file has no log: the builtin's image is merged or written anew. */
    mode(site, STANDBY_LAYER);
    site_restore(site, "three");
    assert_recalls(site->fixture, "three", NOTE);
    assert_false(fixture_get(site->fixture, "three").paged);
    site_standby(site, "three");
    assert_int_equal(layers_of(site, "three"), 0);
    assert_ok(instance_delete(site->fixture->host, "three", &err), &err);
    /* Without pagers nobody could wake it. */
    site_fork(site, "source", "four");
    site->fixture->pager.backend = MEMORY_FILE;
    site_reopen(site);
    site_standby(site, "four");
    assert_int_equal(layers_of(site, "four"), 0);
    assert_true(saves(site, "full") == 1);
}

/* An image that only this VM has, and whose pager has gone. */
static void test_alone_and_graduated(void **state)
{
    static const struct paging_graduation soon = {.after_ms = 1, .at_once = 2};
    struct site *site = site_with(&soon);
    struct error err = {0};
    site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    await_pager(site, "one", "");
    await_pager(site, "two", "");
    guest_remember(site->fixture, "one", NOTE);
    site_standby(site, "one"); /* its base is shared */
    assert_int_equal(layers_of(site, "one"), 1);
    assert_wakes(site, "one", SITE_TOKEN, NOTE);
    await_pager(site, "one", "");
    await_no_session(site, SITE_VERSION);
    assert_recalls(site->fixture, "one", NOTE);
    guest_remember(site->fixture, "one", "again");
    site_standby(site, "one"); /* its base is a stack */
    assert_int_equal(layers_of(site, "one"), 2);
    assert_wakes(site, "one", SITE_TOKEN, "again");
    assert_ok(instance_delete(site->fixture->host, "source", &err), &err);
    assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    struct instance_record two = fixture_get(site->fixture, "two");
    ino_t inode = guest_stat(site->fixture, two.id, "base/memory").st_ino;
    site_standby(site, "two"); /* neither */
    assert_int_equal(layers_of(site, "two"), 0);
    assert_int_equal(guest_stat(site->fixture, two.id, "snapshot/memory").st_ino, inode);
    site_free(site);
}

static void test_file_system_without_holes(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "one");
    guest_remember(site->fixture, "one", NOTE);
    setenv("TINE_FAILPOINT", "stack-hole-probe=EIO", 1);
    site_standby(site, "one");
    setenv("TINE_FAILPOINT", "", 1);
    assert_int_equal(layers_of(site, "one"), 0);
    assert_true(saves(site, "full") == 1);
    site_restore(site, "one");
    assert_recalls(site->fixture, "one", NOTE);
}

/* ---- what is not as it should be ---- */

static int restore(struct site *site, struct error *err)
{
    return instance_restore(site->fixture->host, "one", NULL, err);
}

static void test_damaged_layers(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    struct instance_record one = layered(site, "one"), two = site_fork(site, "source", "two");
    guest_remember(site->fixture, "two", "another");
    site_standby(site, "two");
    struct path layer = guest_path(site->fixture, one.id, "snapshot/memory.1");
    struct path away = guest_path(site->fixture, one.id, "away");
    struct path other = guest_path(site->fixture, two.id, "snapshot/memory.1");
    struct path stray = guest_path(site->fixture, one.id, "snapshot/memory.2");
    assert_int_equal(rename(layer.text, away.text), 0);
    assert_fails(restore(site, &err), &err, ERROR_CORRUPT, "should have 1: the last are missing");
    assert_fails(instance_fork(site->fixture->host, "one",
                               &(struct instance_fork_request){.name = "new"}, NULL, &err),
                 &err, ERROR_SYSTEM, "memory.1: No such file");
    file_make(layer.text, "no layer", 0);
    assert_fails(restore(site, &err), &err, ERROR_CORRUPT, "memory.1");
    assert_int_equal(unlink(layer.text), 0);
    assert_int_equal(link(away.text, stray.text), 0);
    assert_fails(restore(site, &err), &err, ERROR_CORRUPT, "memory.1 is missing");
    assert_int_equal(link(away.text, layer.text), 0);
    assert_fails(restore(site, &err), &err, ERROR_CORRUPT, "should have 1: the last are not");
    assert_int_equal(unlink(stray.text), 0);
    assert_int_equal(unlink(layer.text), 0);
    assert_int_equal(link(other.text, layer.text), 0);
    assert_fails(restore(site, &err), &err, ERROR_CORRUPT, "is another layer");
    assert_int_equal(unlink(layer.text), 0);
    assert_int_equal(rename(away.text, layer.text), 0);
    assert_state(site->fixture, "one", INSTANCE_STANDBY);
    assert_wakes(site, "one", SITE_TOKEN, NOTE);
}

/* The VM goes on, and its next standby is of all it has. */
static void test_damaged_base(void **state)
{
    struct site *site = *state;
    struct instance_record one = layered(site, "one");
    assert_wakes(site, "one", SITE_TOKEN, NOTE);
    struct path layer = guest_path(site->fixture, one.id, "base/memory.1");
    assert_int_equal(unlink(layer.text), 0);
    site_standby(site, "one");
    assert_int_equal(layers_of(site, "one"), 0);
    site_restore(site, "one");
    assert_holds(site, "one", SITE_TOKEN);
    assert_recalls(site->fixture, "one", NOTE);
}

static void test_no_pager(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    const struct pager_options before = site->fixture->pager;
    layered(site, "one");
    site->fixture->pager.backend = MEMORY_FILE;
    site_reopen(site);
    setenv("TINE_FAILPOINT", "stack-flatten-data=ENOSPC", 1);
    assert_fails(restore(site, &err), &err, ERROR_RESOURCES,
                 "make one file of the memory of one, which its VMM needs");
    setenv("TINE_FAILPOINT", "", 1);
    assert_state(site->fixture, "one", INSTANCE_STANDBY);
    assert_int_equal(layers_of(site, "one"), 1);
    assert_ok(restore(site, &err), &err);
    assert_int_equal(layers_of(site, "one"), 0);
    assert_false(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", SITE_TOKEN);
    assert_recalls(site->fixture, "one", NOTE);
    site->fixture->pager = before;
    site_reopen(site);
}

static void test_layers_are_not_compressed(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    const struct stack_compression zstd = {STACK_ZSTD, 1};
    const struct standby_options options = {.has_compression = true, .compression = &zstd};
    mode(site, STANDBY_LAYER); /* auto would write no layer */
    struct instance_record one = site_fork(site, "source", "one");
    assert_ok(instance_standby_with(site->fixture->host, "one", &options, NULL, &err), &err);
    struct compression_status status;
    do {
        time_sleep_ms(5);
        status = fixture_get(site->fixture, "one").compression_status;
    } while (status.state != COMPRESSION_FAILED);
    assert_non_null(strstr(status.error, "has 1 layers over it: such memory is not compressed"));
    assert_absent(site->fixture, one.id, "snapshot/memory.zst");
    assert_wakes(site, "one", SITE_TOKEN, "");
}

static void test_stats(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    struct instance_stats stats;
    layered(site, "one");
    site_fork(site, "one", "two");
    assert_ok(instance_stats(site->fixture->host, "one", &stats, &err), &err);
    assert_int_equal(stats.layer_count, 1);
    assert_int_equal(stats.layers[0].link_count, 2);
    assert_true(stats.layers[0].file_bytes > 0 && stats.layers[0].file_allocated > 0);
    assert_int_equal(stats.memory_link_count, 3);
    assert_ok(instance_stats(site->fixture->host, "two", &stats, &err), &err);
    assert_int_equal(stats.layer_count, 1);
    assert_ok(instance_stats(site->fixture->host, "source", &stats, &err), &err);
    assert_int_equal(stats.layer_count, 0);
}

/* ---- what fails on the way ---- */

static const char *const steps[] = {
    "layering-linked",   "standby-paused",           "standby-saved",
    "layering-saved",    "stack-diff-before-rename", "layering-made",
    "layering-finished", "standby-synced",           "stack-diff-after-rename",
    "standby-published", "standby-recorded",         "stack-publish-before-rename",
};

static void test_every_failpoint(void **state)
{
    struct site *site = *state;
    struct instance_record source = fixture_get(site->fixture, "source");
    struct path image = guest_path(site->fixture, source.id, "snapshot/memory");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        char failpoint[64], note[16];
        struct error err = {0};
        struct content before = content_of(&image);
        struct instance_record one = site_fork(site, "source", "one");
        snprintf(note, sizeof(note), "note %zu", i);
        guest_remember(site->fixture, "one", note);
        snprintf(failpoint, sizeof(failpoint), "%s=EIO", steps[i]);
        setenv("TINE_FAILPOINT", failpoint, 1);
        int r = instance_standby(site->fixture->host, "one", NULL, &err);
        setenv("TINE_FAILPOINT", "", 1);
        if (r != -EIO)
            fail_msg("%s: %d %s", steps[i], r, err.message);
        assert_state(site->fixture, "one", INSTANCE_RUNNING);
        assert_absent(site->fixture, one.id, "snapshot");
        assert_recalls(site->fixture, "one", note);
        guest_remember(site->fixture, "one", "and more");
        site_standby(site, "one");
        assert_content(&before, &image);
        site_restore(site, "one");
        assert_holds(site, "one", SITE_TOKEN);
        assert_recalls(site->fixture, "one", "and more");
        assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    }
}

/* What changed before a standby that failed is in the next one, whatever kind that is of. */
static void test_lost_log_is_not_merged(void **state)
{
    static const struct paging_graduation never = {.off = true},
                                          soon = {.after_ms = 1, .at_once = 1};
    struct site *site = site_with(&never);
    struct error err = {0};
    mode(site, STANDBY_MERGE);
    site_fork(site, "source", "one");
    assert_ok(instance_delete(site->fixture->host, "source", &err), &err);
    site_fill(site, "one", OTHER_TOKEN);
    setenv("TINE_FAILPOINT", "standby-recorded=EIO", 1);
    assert_int_equal(instance_standby(site->fixture->host, "one", NULL, &err), -EIO);
    setenv("TINE_FAILPOINT", "", 1);
    site->fixture->pager.graduation = soon;
    site_reopen(site);
    await_pager(site, "one", "");
    guest_remember(site->fixture, "one", NOTE);
    site_standby(site, "one");
    site_restore(site, "one");
    assert_holds(site, "one", OTHER_TOKEN);
    assert_recalls(site->fixture, "one", NOTE);
    site_free(site);
}

/* ---- tined is killed ---- */

static int standby_one(struct host *host, struct error *err)
{
    return instance_standby(host, "one", NULL, err);
}

/* Standby with the layer, or Running without one; never anything between. */
static void test_tined_is_killed(void **state)
{
    struct site *site = *state;
    struct instance_record source = fixture_get(site->fixture, "source");
    struct path image = guest_path(site->fixture, source.id, "snapshot/memory");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct error err = {0};
        struct content before = content_of(&image);
        layered(site, "one");
        site_restore(site, "one");
        guest_remember(site->fixture, "one", steps[i]);
        fixture_close(site->fixture);
        site_crash(site, steps[i]);
        fixture_open(site->fixture);
        assert_content(&before, &image);
        struct instance_record one = fixture_get(site->fixture, "one");
        if (one.state == INSTANCE_STANDBY) {
            assert_int_equal(one.memory_layers, 2);
            site_restore(site, "one");
        }
        fixture_await(site->fixture, "one", INSTANCE_RUNNING);
        assert_holds(site, "one", SITE_TOKEN);
        assert_recalls(site->fixture, "one", steps[i]);
        site_standby(site, "one");
        site_restore(site, "one");
        assert_holds(site, "one", SITE_TOKEN);
        assert_recalls(site->fixture, "one", steps[i]);
        assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    }
}

#define LAYERS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, site_teardown)

static const struct CMUnitTest tests[] = {
    LAYERS_TEST(test_only_what_changed_is_written),
    LAYERS_TEST(test_chain_of_forks),
    LAYERS_TEST(test_siblings_are_apart),
    LAYERS_TEST(test_pager_is_replaced),
    LAYERS_TEST(test_snapshots),
    LAYERS_TEST(test_modes),
    cmocka_unit_test(test_alone_and_graduated),
    LAYERS_TEST(test_file_system_without_holes),
    LAYERS_TEST(test_damaged_layers),
    LAYERS_TEST(test_damaged_base),
    LAYERS_TEST(test_no_pager),
    LAYERS_TEST(test_layers_are_not_compressed),
    LAYERS_TEST(test_stats),
    LAYERS_TEST(test_every_failpoint),
    cmocka_unit_test(test_lost_log_is_not_merged),
    LAYERS_TEST(test_tined_is_killed),
};

int main(int argc, char **argv)
{
    if (site_is_child(argc, argv))
        return site_child(argv, standby_one);
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Many layers become few, or none, while the instance sleeps. */
#include "layered.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "instance/compaction.h"
#include "paging/paging.h"

static void compacting(struct fixture *fixture, bool on)
{
    fixture->compaction = (struct compaction_options){.on = on};
    fixture_reopen(fixture);
}

static void await_layers(struct fixture *fixture, const char *name, unsigned layers)
{
    for (unsigned i = 0; layers_of(fixture, name) != layers; i++) {
        if (i == 2000)
            fail_msg("%s has %u layers, not %u", name, layers_of(fixture, name), layers);
        time_sleep_ms(10);
    }
}

/* "one" with so many layers, in the last of which is the note. */
static struct instance_record deep(struct fixture *fixture, unsigned layers)
{
    layered(fixture, "one");
    while (layers_of(fixture, "one") < layers) {
        restore(fixture, "one");
        guest_remember(fixture, "one", layers_of(fixture, "one") + 1 < layers ? "below" : NOTE);
        put_to_standby(fixture, "one");
    }
    return fixture_get(fixture, "one");
}

static void test_layers_are_joined(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record one = deep(fixture, COMPACTION_DEPTH);
    struct instance_record two = fixture_fork(fixture, "one", "two", INSTANCE_STANDBY);
    struct path shared = guest_path(fixture, two.id, "snapshot/memory.4");
    struct content before = content_of(&shared);
    /* Others have them: nothing is gained. */
    compacting(fixture, true);
    assert_wakes(fixture, "one", TOKEN, NOTE);
    put_to_standby(fixture, "one");
    assert_wakes(fixture, "one", TOKEN, NOTE);
    guest_remember(fixture, "one", "more");
    put_to_standby(fixture, "one");
    await_layers(fixture, "one", 5); /* of these six two are its own */
    compacting(fixture, false);
    struct instance_record joined = fixture_get(fixture, "one");
    assert_string_not_equal(joined.memory_top, one.memory_top);
    assert_absent(fixture, one.id, "snapshot/memory.6");
    assert_absent(fixture, one.id, "snapshot/compacted");
    assert_int_equal(guest_stat(fixture, one.id, "snapshot/memory.4").st_nlink, 2);
    assert_int_equal(guest_stat(fixture, one.id, "snapshot/memory.5").st_nlink, 1);
    assert_content(&before, &shared);
    assert_wakes(fixture, "one", TOKEN, "more");
    assert_wakes(fixture, "two", TOKEN, NOTE);
}

/* Those of an instance alone, over a base that others have; taken up by the next tined. */
static void test_joined_by_the_next_tined(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record one = deep(fixture, COMPACTION_DEPTH);
    compacting(fixture, true);
    await_layers(fixture, "one", 1);
    compacting(fixture, false);
    assert_int_equal(guest_stat(fixture, one.id, "snapshot/memory").st_nlink, 2);
    assert_absent(fixture, one.id, "snapshot/memory.2");
    assert_wakes(fixture, "one", TOKEN, NOTE);
}

/* What was touched first is the same; what is no record is left behind. */
static void test_first_touches_stay(void **state)
{
    static const char *const name = "snapshot/" PAGING_RECORD;
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 2; i++) {
        struct error err = {0};
        struct instance_record one = deep(fixture, COMPACTION_DEPTH);
        struct path record = guest_path(fixture, one.id, name);
        if (i == 0)
            file_make(record.text, "the order", 4096);
        else
            assert_int_equal(symlink("/dev/zero", record.text), 0);
        struct stat before = {.st_ino = 0}, after;
        assert_int_equal(lstat(record.text, &before), 0);
        compacting(fixture, true);
        await_layers(fixture, "one", 1);
        compacting(fixture, false);
        if (i == 0) {
            after = guest_stat(fixture, one.id, name);
            assert_true(after.st_ino == before.st_ino && after.st_nlink == 1);
        } else {
            assert_absent(fixture, one.id, name);
        }
        assert_wakes(fixture, "one", TOKEN, NOTE);
        assert_ok(instance_delete(fixture->host, "one", &err), &err);
    }
}

/* What has only a little under it becomes one file. */
static void test_layers_are_flattened(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record one = layered(fixture, "one");
    assert_ok(instance_delete(fixture->host, "source", &err), &err);
    mode(fixture, STANDBY_LAYER);
    restore(fixture, "one");
    fill(fixture, "one", OTHER_TOKEN);
    put_to_standby(fixture, "one");
    compacting(fixture, true);
    await_layers(fixture, "one", 0);
    assert_string_equal(fixture_get(fixture, "one").memory_top, "");
    assert_absent(fixture, one.id, "snapshot/memory.1");
    assert_wakes(fixture, "one", OTHER_TOKEN, NOTE);
    fixture_create_diskless(fixture, "source");
}

static const char *const compaction_steps[] = {
    "compaction-begun",     "stack-layer-data",    "stack-join-before-rename",
    "compaction-made",      "compaction-linked",   "stack-exchange-before-sync",
    "compaction-exchanged", "compaction-recorded",
};

static unsigned entries_in(const struct fixture *fixture, const char *id)
{
    struct path path = guest_path(fixture, id, ".");
    unsigned count = 0;
    DIR *dir = opendir(path.text);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void await_end(struct fixture *fixture)
{
    struct error err = {0};
    size_t length = 0;
    for (unsigned i = 0; i < 2000; i++) {
        _cleanup_(free) char *text = host_metrics(fixture->host, &length, &err);
        if (text && strstr(text, "tine_compactions_total{result=\"error\"} 1"))
            return;
        time_sleep_ms(10);
    }
    fail_msg("no compaction has failed");
}

/* Whatever fails, it is as it was; nothing half-made stays. */
static void test_compaction_fails(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record one = deep(fixture, COMPACTION_DEPTH);
    unsigned entries = entries_in(fixture, one.id);
    for (size_t i = 0; i < ARRAY_SIZE(compaction_steps); i++) {
        char failpoint[64];
        snprintf(failpoint, sizeof(failpoint), "%s=EIO", compaction_steps[i]);
        setenv("TINE_FAILPOINT", failpoint, 1);
        compacting(fixture, true);
        await_end(fixture);
        compacting(fixture, false);
        setenv("TINE_FAILPOINT", "", 1);
        struct instance_record now = fixture_get(fixture, "one");
        if (now.memory_layers != COMPACTION_DEPTH || strcmp(now.memory_top, one.memory_top) != 0)
            fail_msg("%s: %u layers", compaction_steps[i], now.memory_layers);
        assert_int_equal(entries_in(fixture, one.id), entries);
        assert_absent(fixture, one.id, "snapshot/compacted");
    }
    assert_wakes(fixture, "one", TOKEN, NOTE);
}

/* Its layer has every other page behind what the guest uses, too, with zeros. */
static void shred(struct fixture *fixture, const struct instance_record *record)
{
    struct error err = {0};
    struct layer_info info;
    struct layer_run run;
    struct path path = guest_path(fixture, record->id, "snapshot/memory.1");
    char sql[160];
    int old = open(path.text, O_RDONLY | O_CLOEXEC);
    assert_int_equal(unlink(path.text), 0);
    _cleanup_(layer) struct layer *layer = layer_open_fd(old, "old", FIXTURE_MEMORY, &err);
    assert_non_null(layer);
    _cleanup_(close) int fd = open(path.text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "new", FIXTURE_MEMORY, &err);
    for (uint64_t page = 0; layer_next(layer, page, &run); page = run.page + run.count) {
        int r = run.kind == LAYER_ZERO ? layer_writer_add_zeros(writer, run.page, run.count, &err)
                                       : layer_writer_add_file(writer, run.page, layer_fd(layer),
                                                               run.offset, run.count, "old", &err);
        assert_ok(r, &err);
    }
    for (uint64_t page = FIXTURE_MEMORY / 2 / 4096 - 1024; page < FIXTURE_MEMORY / 4096; page += 2)
        assert_int_equal(layer_writer_add_zeros(writer, page, 1, &err), 0);
    assert_ok(layer_writer_finish(writer, &info, &err), &err);
    fixture_close(fixture);
    snprintf(sql, sizeof(sql), "UPDATE instances SET memory_top='%016" PRIx64 "' WHERE id='%s'",
             info.id, record->id);
    sqlite3 *db = NULL;
    struct path file;
    snprintf(file.text, sizeof(file.text), "%s/tine.db", fixture->data);
    assert_int_equal(sqlite3_open(file.text, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
    fixture_open(fixture);
}

/* An image of more pieces than are mapped is made one file on its way to its VM. */
static void test_too_many_pieces(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record one = layered(fixture, "one");
    shred(fixture, &one);
    setenv("TINE_FAILPOINT", "stack-flatten-data=ENOSPC", 1);
    assert_fails(instance_restore(fixture->host, "one", NULL, &err), &err, ERROR_RESOURCES,
                 "make one file of the memory of one");
    setenv("TINE_FAILPOINT", "", 1);
    assert_int_equal(layers_of(fixture, "one"), 1);
    assert_wakes(fixture, "one", TOKEN, NOTE);
    assert_int_equal(layers_of(fixture, "one"), 0);
}

/* ---- tined is killed ---- */

static int compacting_child(char **argv)
{
    struct fixture *fixture = fixture_on(argv[3]);
    struct error err = {0};
    fixture->vmm = argv[1];
    fixture->standby_memory = STANDBY_AUTO;
    fixture->compaction.on = true;
    log_set_level(LOG_LEVEL_ERROR);
    setenv("TINE_FAILPOINT", argv[4], 1);
    fixture->host = fixture_host(fixture, &err);
    for (unsigned i = 0; fixture->host && i < 2000; i++)
        time_sleep_ms(10);
    fprintf(stderr, "it was not killed at %s: %s\n", argv[4], err.message);
    return 1;
}

static void test_killed_while_compacting(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(compaction_steps); i++) {
        struct error err = {0};
        char *const argv[] = {program_invocation_short_name,
                              (char *)fixture->vmm,
                              (char *)"compact",
                              fixture->dir,
                              (char *)compaction_steps[i],
                              NULL};
        struct instance_record one = deep(fixture, COMPACTION_DEPTH);
        fixture_close(fixture);
        child_is_killed(argv);
        fixture_open(fixture);
        assert_state(fixture, "one", INSTANCE_STANDBY);
        unsigned layers = layers_of(fixture, "one");
        if (layers != 1 && layers != COMPACTION_DEPTH)
            fail_msg("%s: %u layers", compaction_steps[i], layers);
        assert_absent(fixture, one.id, "snapshot/compacted");
        assert_wakes(fixture, "one", TOKEN, NOTE);
        assert_ok(instance_delete(fixture->host, "one", &err), &err);
    }
}

#define COMPACTION_TEST(name) cmocka_unit_test_setup_teardown(name, layered_setup, fixture_teardown)

static const struct CMUnitTest tests[] = {
    COMPACTION_TEST(test_layers_are_joined),       COMPACTION_TEST(test_joined_by_the_next_tined),
    COMPACTION_TEST(test_first_touches_stay),      COMPACTION_TEST(test_layers_are_flattened),
    COMPACTION_TEST(test_compaction_fails),        COMPACTION_TEST(test_too_many_pieces),
    COMPACTION_TEST(test_killed_while_compacting),
};

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[2], "compact") == 0)
        return compacting_child(argv);
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}

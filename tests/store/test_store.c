/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/store.h"

#define ID_A "abcdefghijklmnopqrstuvw1"
#define ID_B "abcdefghijklmnopqrstuvw2"
#define ID_C "zbcdefghijklmnopqrstuvw3"

struct fixture {
    char dir[64];
    char path[96];
    struct store *store;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/tine-test-store-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    snprintf(fixture->path, sizeof(fixture->path), "%s/tine.db", fixture->dir);
    struct error err = {0};
    fixture->store = store_open(fixture->path, &err);
    assert_string_equal(err.message, "");
    assert_non_null(fixture->store);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    assert_int_equal(tree_remove(AT_FDCWD, fixture->dir, NULL), 0);
    free(fixture);
    return 0;
}

static struct instance_record sample(const char *id, const char *name)
{
    struct instance_record record = {
        .image = "tine/guest:latest",
        .hypervisor = "builtin",
        .state = INSTANCE_STANDBY,
        .state_error = "grün",
        .exit_message = "the guest powered off",
        .vcpus = 32,
        .memory_bytes = 1ull << 40,
        .has_initrd = true,
        .skip_guest_agent = true,
        .cmdline = "console=ttyS0",
        .disks = {{.read_only = true}, {.root = true}, {.read_only = true, .root = true}},
        .disk_count = 3,
        .parent_id = ID_C,
        .vmm_pid = INT32_MAX,
        .vmm_start_ticks = INT64_MAX,
        .created_at_ns = 1,
        .started_at_ns = 2,
        .stopped_at_ns = 3,
        .memory_method = "link",
        .memory_bytes_copied = 4,
        .disk_bytes_copied = 5,
        .tags = "{\"team\":\"backend\"}",
        .compression = "zstd:19",
        .program = {.entrypoint = "[\"/bin/server\"]",
                    .cmd = "[\"-v\",\"grün\"]",
                    .env = "{\"A\":\"b=c\"}",
                    .working_dir = "/srv"},
        .has_exit_code = true,
        .exit_code = 255,
        .expires_at_ns = 6,
        .ttl_ns = INT64_MAX,
        .policies = "{\"auto_standby\":{\"enabled\":false}}",
        .restart_attempts = 7,
        .restart_last_ns = 8,
        .restart_next_ns = 9,
        .restart_blocked = "manual_stop",
        .cache_key = "0123456789abcdef0123456789abcdef",
        .paged = true,
        .memory_layers = 3,
        .memory_top = "0123456789abcdef",
    };
    snprintf(record.id, sizeof(record.id), "%s", id);
    snprintf(record.name, sizeof(record.name), "%s", name);
    return record;
}

static void assert_same_program(const struct program *a, const struct program *b)
{
    assert_string_equal(a->entrypoint, b->entrypoint);
    assert_string_equal(a->cmd, b->cmd);
    assert_string_equal(a->env, b->env);
    assert_string_equal(a->working_dir, b->working_dir);
}

static void assert_same(const struct instance_record *a, const struct instance_record *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->image, b->image);
    assert_string_equal(a->hypervisor, b->hypervisor);
    assert_int_equal(a->state, b->state);
    assert_string_equal(a->state_error, b->state_error);
    assert_string_equal(a->exit_message, b->exit_message);
    assert_int_equal(a->vcpus, b->vcpus);
    assert_int_equal(a->memory_bytes, b->memory_bytes);
    assert_int_equal(a->has_initrd, b->has_initrd);
    assert_int_equal(a->skip_guest_agent, b->skip_guest_agent);
    assert_string_equal(a->cmdline, b->cmdline);
    assert_int_equal(a->disk_count, b->disk_count);
    for (unsigned i = 0; i < a->disk_count; i++) {
        assert_int_equal(a->disks[i].read_only, b->disks[i].read_only);
        assert_int_equal(a->disks[i].root, b->disks[i].root);
    }
    assert_string_equal(a->parent_id, b->parent_id);
    assert_int_equal(a->vmm_pid, b->vmm_pid);
    assert_int_equal(a->vmm_start_ticks, b->vmm_start_ticks);
    assert_int_equal(a->created_at_ns, b->created_at_ns);
    assert_int_equal(a->started_at_ns, b->started_at_ns);
    assert_int_equal(a->stopped_at_ns, b->stopped_at_ns);
    assert_string_equal(a->memory_method, b->memory_method);
    assert_string_equal(a->tags, b->tags);
    assert_string_equal(a->compression, b->compression);
    assert_same_program(&a->program, &b->program);
    assert_int_equal(a->has_exit_code, b->has_exit_code);
    assert_int_equal(a->exit_code, b->exit_code);
    assert_int_equal(a->expires_at_ns, b->expires_at_ns);
    assert_int_equal(a->ttl_ns, b->ttl_ns);
    assert_string_equal(a->policies, b->policies);
    assert_int_equal(a->restart_attempts, b->restart_attempts);
    assert_int_equal(a->restart_last_ns, b->restart_last_ns);
    assert_int_equal(a->restart_next_ns, b->restart_next_ns);
    assert_string_equal(a->restart_blocked, b->restart_blocked);
    assert_string_equal(a->cache_key, b->cache_key);
    assert_int_equal(a->paged, b->paged);
    assert_int_equal(a->memory_layers, b->memory_layers);
    assert_string_equal(a->memory_top, b->memory_top);
    assert_int_equal(a->memory_bytes_copied, b->memory_bytes_copied);
    assert_int_equal(a->disk_bytes_copied, b->disk_bytes_copied);
}

static void test_every_field_comes_back(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_record written = sample(ID_A, "a");
    struct instance_record read;
    assert_int_equal(store_insert(fixture->store, &written, NULL), 0);
    assert_int_equal(store_get(fixture->store, ID_A, &read, NULL), 0);
    assert_same(&written, &read);
    store_close(fixture->store);
    fixture->store = store_open(fixture->path, NULL);
    assert_int_equal(store_get(fixture->store, ID_A, &read, NULL), 0);
    assert_same(&written, &read);
}

static void test_update_replaces_all(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = sample(ID_A, "a"), read;
    struct error err = {0};
    assert_int_equal(store_update(fixture->store, &record, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(err.path, "tine.db"));
    assert_int_equal(store_insert(fixture->store, &record, NULL), 0);
    for (int i = INSTANCE_CREATED; i <= INSTANCE_UNKNOWN; i++) {
        record.state = (enum instance_state)i;
        record.disk_count = (unsigned)i % 4;
        snprintf(record.name, sizeof(record.name), "renamed-%d", i);
        record.vmm_pid = i;
        assert_int_equal(store_update(fixture->store, &record, NULL), 0);
        assert_int_equal(store_get(fixture->store, ID_A, &read, NULL), 0);
        assert_same(&record, &read);
    }
}

static void test_taken_name_and_id(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record a = sample(ID_A, "a"), b = sample(ID_B, "a");
    struct error err = {0};
    assert_int_equal(store_insert(fixture->store, &a, NULL), 0);
    assert_int_equal(store_insert(fixture->store, &b, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_NAME);
    assert_string_equal(err.message, "the name 'a' is taken");
    strcpy(b.name, "b");
    assert_int_equal(store_insert(fixture->store, &b, NULL), 0);
    strcpy(b.name, "a");
    assert_int_equal(store_update(fixture->store, &b, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_NAME);
    strcpy(a.name, "c");
    assert_int_equal(store_insert(fixture->store, &a, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_SYSTEM);
    assert_non_null(strstr(err.message, fixture->path));
    /* The failures were rolled back whole: the connection still works. */
    assert_int_equal(store_get(fixture->store, ID_B, &b, NULL), 0);
    assert_string_equal(b.name, "b");
}

static void test_delete_and_list(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record *list = NULL;
    size_t count = 7;
    struct error err = {0};
    assert_int_equal(store_list(fixture->store, &list, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(list);
    const char *ids[] = {ID_C, ID_A, ID_B};
    const char *names[] = {"c", "a", "b"};
    for (int i = 0; i < 3; i++) {
        struct instance_record record = sample(ids[i], names[i]);
        assert_int_equal(store_insert(fixture->store, &record, NULL), 0);
    }
    assert_int_equal(store_delete(fixture->store, ID_A, NULL), 0);
    assert_int_equal(store_delete(fixture->store, ID_A, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_int_equal(store_list(fixture->store, &list, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].name, "c");
    assert_string_equal(list[1].name, "b");
    assert_int_equal(list[1].disk_count, 3);
    free(list);
    /* A deleted instance's disks don't come back with its id. */
    struct instance_record record = sample(ID_A, "again");
    record.disk_count = 0;
    assert_int_equal(store_insert(fixture->store, &record, NULL), 0);
    assert_int_equal(store_get(fixture->store, ID_A, &record, NULL), 0);
    assert_int_equal(record.disk_count, 0);
}

static void check_due(struct fixture *fixture, enum store_deadline deadline, const char *first,
                      uint64_t first_ns, const char *second, uint64_t second_ns)
{
    struct store_due *list = NULL;
    size_t count = 7;
    assert_int_equal(store_list_due(fixture->store, deadline, &list, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].id, first);
    assert_int_equal(list[0].at_ns, first_ns);
    assert_string_equal(list[1].id, second);
    assert_int_equal(list[1].at_ns, second_ns);
    free(list);
}

static void test_due(void **state)
{
    struct fixture *fixture = *state;
    struct store_due *list = NULL;
    size_t count = 7;
    static const struct {
        const char *id, *name;
        uint64_t expires_ns, restart_ns;
    } rows[] = {{ID_A, "a", 30, 0}, {ID_B, "b", 0, 1}, {ID_C, "c", 20, 2}};
    assert_int_equal(store_list_due(fixture->store, DEADLINE_EXPIRY, &list, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(list);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct instance_record record = sample(rows[i].id, rows[i].name);
        record.expires_at_ns = rows[i].expires_ns;
        record.restart_next_ns = rows[i].restart_ns;
        assert_int_equal(store_insert(fixture->store, &record, NULL), 0);
    }
    check_due(fixture, DEADLINE_EXPIRY, ID_C, 20, ID_A, 30);
    check_due(fixture, DEADLINE_RESTART, ID_B, 1, ID_C, 2);
}

static void test_resolve(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *reference;
        int result;
        const char *id;
    } cases[] = {
        {ID_A, 0, ID_A},
        {"one", 0, ID_A},
        {"z", 0, ID_C},
        {"zbcdef", 0, ID_C},
        {"abcdefghijklmnopqrstuvw", -ENOTUNIQ, NULL},
        {"a", -ENOTUNIQ, NULL},
        {"abcdefghijklmnopqrstuvw3", -ENOENT, NULL},
        /* A name goes before a prefix. */
        {"ab", 0, ID_C},
        {"", -ENOENT, NULL},
        {"b", -ENOENT, NULL},
        {"%", -ENOENT, NULL},
        {"a'; DROP TABLE instances; --", -ENOENT, NULL},
        {"../a", -ENOENT, NULL},
        {ID_A "x", -ENOENT, NULL},
    };
    const struct instance_record records[] = {sample(ID_A, "one"), sample(ID_B, "two"),
                                              sample(ID_C, "ab")};
    for (int i = 0; i < 3; i++)
        assert_int_equal(store_insert(fixture->store, &records[i], NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char id[INSTANCE_ID_LENGTH + 1] = "";
        struct error err = {0};
        assert_int_equal(store_resolve(fixture->store, cases[i].reference, id, &err),
                         cases[i].result);
        if (cases[i].id)
            assert_string_equal(id, cases[i].id);
        else
            assert_int_equal(err.code,
                             cases[i].result == -ENOENT ? ERROR_NOT_FOUND : ERROR_AMBIGUOUS);
    }
}

static void test_bad_values_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = sample(ID_A, "a");
    strcpy(record.cmdline, "\xff\xfe");
    assert_int_equal(store_insert(fixture->store, &record, &err), -EINVAL);
    assert_non_null(strstr(err.message, "cmdline"));
    assert_non_null(strstr(err.message, fixture->path));
    record = sample(ID_A, "a");
    memset(record.exit_message, 'x', sizeof(record.exit_message));
    assert_int_equal(store_insert(fixture->store, &record, &err), -EINVAL);
    record = sample(ID_A, "a");
    record.memory_bytes = UINT64_MAX;
    assert_int_equal(store_insert(fixture->store, &record, &err), -ERANGE);
    record = sample(ID_A, "a");
    record.disk_count = GUEST_MAX_DISKS + 1;
    assert_int_equal(store_insert(fixture->store, &record, &err), -EINVAL);
    record = sample("short", "a");
    assert_true(store_insert(fixture->store, &record, &err) < 0);
    record = sample(ID_A, "");
    assert_true(store_insert(fixture->store, &record, &err) < 0);
    assert_int_equal(store_get(fixture->store, ID_A, &record, &err), -ENOENT);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_nonsense_in_the_file_is_told(void **state)
{
    static const char *const changes[] = {
        "UPDATE instances SET state = 'Sleepy'",
        "UPDATE instances SET vcpus = -1",
        "UPDATE instances SET vmm_pid = 99999999999",
        "UPDATE instances SET cmdline = CAST(x'ff' AS TEXT)",
        "UPDATE instances SET policies = 'never'",
        "UPDATE instances SET policies = '{\"restart_policy\":{\"policy\":\"maybe\"}}'",
        "UPDATE instances SET expires_at_ns = -1",
        "UPDATE instances SET hypervisor = printf('%.*c', 100, 'x')",
        "UPDATE disks SET slot = slot + 1 WHERE slot = 2",
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct instance_record record = sample(ID_A, "a");
        struct error err = {0};
        assert_int_equal(store_insert(fixture->store, &record, NULL), 0);
        run_sql(fixture->path, changes[i]);
        assert_int_equal(store_get(fixture->store, ID_A, &record, &err), -EUCLEAN);
        assert_int_equal(err.code, ERROR_CORRUPT);
        assert_non_null(strstr(err.message, fixture->path));
        struct instance_record *list = NULL;
        size_t count;
        assert_int_equal(store_list(fixture->store, &list, &count, NULL), -EUCLEAN);
        assert_null(list);
        assert_int_equal(store_delete(fixture->store, ID_A, NULL), 0);
    }
}

/* The schema as version 1 was, with a row: it is brought here, and the row with it. */
static void test_older_schema(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    assert_int_equal(tree_remove(AT_FDCWD, fixture->path, NULL), 0);
    run_sql(
        fixture->path,
        "CREATE TABLE instances (position INTEGER PRIMARY KEY AUTOINCREMENT,"
        " id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL,"
        " hypervisor TEXT NOT NULL, state TEXT NOT NULL, state_error TEXT NOT NULL,"
        " exit_message TEXT NOT NULL, vcpus INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,"
        " has_initrd INTEGER NOT NULL, skip_guest_agent INTEGER NOT NULL, cmdline TEXT NOT NULL,"
        " parent_id TEXT NOT NULL, vmm_pid INTEGER NOT NULL, vmm_start_ticks INTEGER NOT NULL,"
        " created_at_ns INTEGER NOT NULL, started_at_ns INTEGER NOT NULL,"
        " stopped_at_ns INTEGER NOT NULL, memory_method TEXT NOT NULL,"
        " memory_bytes_copied INTEGER NOT NULL, disk_bytes_copied INTEGER NOT NULL) STRICT;"
        "CREATE TABLE disks (instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE "
        "CASCADE, slot INTEGER NOT NULL, read_only INTEGER NOT NULL, root INTEGER NOT NULL,"
        " PRIMARY KEY (instance_id, slot)) STRICT, WITHOUT ROWID;"
        "INSERT INTO instances VALUES (1, '" ID_A "', 'old', 'tine/guest:latest', 'builtin',"
        " 'Stopped', '', '', 2, 1073741824, 1, 0, '', '', 0, 0, 1, 2, 3, '', 4, 5);"
        "PRAGMA user_version = 1");
    struct error err = {0};
    fixture->store = store_open(fixture->path, &err);
    assert_string_equal(err.message, "");
    struct instance_record record;
    assert_int_equal(store_get(fixture->store, ID_A, &record, NULL), 0);
    assert_string_equal(record.name, "old");
    assert_int_equal(record.disk_bytes_copied, 5);
    assert_string_equal(record.tags, "");
    assert_string_equal(record.program.cmd, "");
    assert_false(record.has_exit_code);
    assert_string_equal(record.cache_key, "");
    assert_false(record.paged);
    assert_int_equal(record.memory_layers, 0);
    assert_string_equal(record.memory_top, "");
}

static void assert_refused(const char *path, enum error_code code, const char *words)
{
    struct error err = {0};
    assert_null(store_open(path, &err));
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, words));
}

static void test_newer_schema(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    fixture->store = NULL;
    run_sql(fixture->path, "PRAGMA user_version = 99");
    assert_refused(fixture->path, ERROR_UNSUPPORTED, "99");
    run_sql(fixture->path, "PRAGMA user_version = -1");
    assert_refused(fixture->path, ERROR_UNSUPPORTED, "-1");
}

static void overwrite(const char *path, off_t offset, const char *data, size_t length)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, length, offset), (ssize_t)length);
    close(fd);
}

static void test_damaged_file(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = sample(ID_A, "a");
    char junk[4096], other[160];
    assert_int_equal(store_insert(fixture->store, &record, NULL), 0);
    store_close(fixture->store);
    fixture->store = NULL;
    memset(junk, 0xa5, sizeof(junk));
    overwrite(fixture->path, 4096, junk, sizeof(junk));
    assert_refused(fixture->path, ERROR_CORRUPT, "damaged");
    snprintf(other, sizeof(other), "%s/other.db", fixture->dir);
    overwrite(other, 0, "this is no database, not at all", 31);
    assert_refused(other, ERROR_CORRUPT, "not a database");
}

static void test_paths_that_cannot_be(void **state)
{
    struct fixture *fixture = *state;
    char path[160];
    assert_refused(fixture->dir, ERROR_SYSTEM, "EISDIR");
    snprintf(path, sizeof(path), "%s/missing/tine.db", fixture->dir);
    assert_refused(path, ERROR_SYSTEM, "ENOENT");
    struct stat st;
    assert_int_equal(stat(fixture->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void *insert_many(void *context)
{
    struct fixture *fixture = context;
    static _Atomic unsigned next;
    for (int i = 0; i < 20; i++) {
        unsigned number = next++;
        char id[INSTANCE_ID_LENGTH + 1], name[32];
        snprintf(id, sizeof(id), "t%023u", number);
        snprintf(name, sizeof(name), "t-%u", number);
        struct instance_record record = sample(id, name);
        if (store_insert(fixture->store, &record, NULL) < 0 ||
            store_get(fixture->store, id, &record, NULL) < 0 ||
            store_update(fixture->store, &record, NULL) < 0)
            return (void *)1;
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, insert_many, fixture), 0);
    for (int i = 0; i < 8; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    struct instance_record *list = NULL;
    size_t count = 0;
    assert_int_equal(store_list(fixture->store, &list, &count, NULL), 0);
    assert_int_equal(count, 160);
    free(list);
}

static void test_state_names(void **state)
{
    enum instance_state parsed;
    for (int i = INSTANCE_CREATED; i <= INSTANCE_UNKNOWN; i++) {
        assert_int_equal(instance_state_parse(instance_state_name((enum instance_state)i), &parsed),
                         0);
        assert_int_equal(parsed, i);
    }
    assert_int_equal(instance_state_parse("running", &parsed), -EINVAL);
    assert_int_equal(instance_state_parse("", &parsed), -EINVAL);
    assert_string_equal(instance_state_name((enum instance_state)99), "Unknown");
}

static struct snapshot_record sample_snapshot(const char *id, const char *name, const char *source)
{
    struct snapshot_record record = {
        .kind = INSTANCE_STANDBY,
        .created_at_ns = INT64_MAX,
        .size_bytes = 1ull << 40,
        .compression = "lz4:3",
        .tags = "{\"of\":\"the snapshot\"}",
        .source = sample(source, "source"),
    };
    snprintf(record.id, sizeof(record.id), "%s", id);
    snprintf(record.name, sizeof(record.name), "%s", name);
    return record;
}

/* What the row keeps of the source; all else must be empty. */
static struct instance_record kept_of(const struct instance_record *source)
{
    struct instance_record kept = {
        .vcpus = source->vcpus,
        .memory_bytes = source->memory_bytes,
        .has_initrd = source->has_initrd,
        .skip_guest_agent = source->skip_guest_agent,
        .disk_count = source->disk_count,
        .program = source->program,
        .ttl_ns = source->ttl_ns,
        .memory_layers = source->memory_layers,
    };
    memcpy(kept.policies, source->policies, sizeof(kept.policies));
    memcpy(kept.cache_key, source->cache_key, sizeof(kept.cache_key));
    memcpy(kept.memory_top, source->memory_top, sizeof(kept.memory_top));
    memcpy(kept.id, source->id, sizeof(kept.id));
    memcpy(kept.name, source->name, sizeof(kept.name));
    memcpy(kept.image, source->image, sizeof(kept.image));
    memcpy(kept.hypervisor, source->hypervisor, sizeof(kept.hypervisor));
    memcpy(kept.cmdline, source->cmdline, sizeof(kept.cmdline));
    memcpy(kept.tags, source->tags, sizeof(kept.tags));
    memcpy(kept.disks, source->disks, sizeof(kept.disks));
    return kept;
}

static void assert_same_snapshot(const struct snapshot_record *a, const struct snapshot_record *b)
{
    const struct instance_record kept = kept_of(&a->source);
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->created_at_ns, b->created_at_ns);
    assert_int_equal(a->size_bytes, b->size_bytes);
    assert_string_equal(a->compression, b->compression);
    assert_string_equal(a->tags, b->tags);
    assert_same(&kept, &b->source);
}

static void test_snapshot_comes_back(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct snapshot_record written = sample_snapshot(ID_A, "warm", ID_B);
    struct snapshot_record read;
    assert_int_equal(store_snapshot_get(fixture->store, ID_A, &read, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_string_equal(err.message, "no snapshot '" ID_A "'");
    assert_int_equal(store_snapshot_insert(fixture->store, &written, NULL), 0);
    store_close(fixture->store);
    fixture->store = store_open(fixture->path, NULL);
    assert_int_equal(store_snapshot_get(fixture->store, ID_A, &read, NULL), 0);
    assert_same_snapshot(&written, &read);
    /* Neither its beginning nor its name finds it. */
    assert_int_equal(store_snapshot_get(fixture->store, "abc", &read, NULL), -ENOENT);
    assert_int_equal(store_snapshot_get(fixture->store, "warm", &read, NULL), -ENOENT);
    assert_int_equal(store_snapshot_delete(fixture->store, ID_A, NULL), 0);
    assert_int_equal(store_snapshot_delete(fixture->store, ID_A, &err), -ENOENT);
    /* Its disks don't come back with its id. */
    struct snapshot_record again = written;
    again.source.disk_count = 0;
    assert_int_equal(store_snapshot_insert(fixture->store, &again, NULL), 0);
    assert_int_equal(store_snapshot_get(fixture->store, ID_A, &read, NULL), 0);
    assert_int_equal(read.source.disk_count, 0);
}

static void test_snapshot_names(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct snapshot_record first = sample_snapshot(ID_A, "one", ID_B);
    struct snapshot_record other = sample_snapshot(ID_B, "one", ID_B);
    assert_int_equal(store_snapshot_insert(fixture->store, &first, NULL), 0);
    assert_int_equal(store_snapshot_insert(fixture->store, &other, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_NAME);
    assert_string_equal(err.message, "source has a snapshot with the name 'one' already");
    /* Of another source, or none at all, as often as one likes. */
    other = sample_snapshot(ID_B, "one", ID_C);
    assert_int_equal(store_snapshot_insert(fixture->store, &other, NULL), 0);
    other = sample_snapshot(ID_C, "", ID_C);
    assert_int_equal(store_snapshot_insert(fixture->store, &other, NULL), 0);
    other = sample_snapshot("kbcdefghijklmnopqrstuvw4", "", ID_C);
    assert_int_equal(store_snapshot_insert(fixture->store, &other, NULL), 0);
    assert_int_equal(store_snapshot_insert(fixture->store, &other, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_SYSTEM);
}

static void test_snapshot_list(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot_record records[] = {sample_snapshot(ID_C, "one", ID_B),
                                        sample_snapshot(ID_A, "one", ID_C),
                                        sample_snapshot(ID_B, "two", ID_C)};
    records[2].kind = INSTANCE_STOPPED;
    static const struct {
        struct snapshot_filter filter;
        const char *ids;
    } cases[] = {
        {{.name = NULL}, ID_C ID_A ID_B},
        {{.name = "one"}, ID_C ID_A},
        {{.source_instance_id = ID_C}, ID_A ID_B},
        {{.has_kind = true, .kind = INSTANCE_STANDBY}, ID_C ID_A},
        {{.name = "two", .source_instance_id = ID_C, .has_kind = true, .kind = INSTANCE_STOPPED},
         ID_B},
        {{.name = "two", .source_instance_id = ID_B}, ""},
        {{.name = ""}, ""},
    };
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
        assert_int_equal(store_snapshot_insert(fixture->store, &records[i], NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct snapshot_record *list = NULL;
        char ids[4 * INSTANCE_ID_LENGTH] = "";
        size_t count = 0;
        assert_int_equal(store_snapshot_list(fixture->store, &cases[i].filter, &list, &count, NULL),
                         0);
        for (size_t n = 0; n < count; n++) {
            strcat(ids, list[n].id);
            assert_int_equal(list[n].source.disk_count, 3);
        }
        assert_string_equal(ids, cases[i].ids);
        free(list);
    }
}

static void test_bad_snapshots_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct snapshot_record record = sample_snapshot(ID_A, "a", ID_B);
    record.kind = INSTANCE_RUNNING;
    assert_true(store_snapshot_insert(fixture->store, &record, &err) < 0);
    record = sample_snapshot(ID_A, "\xff", ID_B);
    assert_int_equal(store_snapshot_insert(fixture->store, &record, &err), -EINVAL);
    assert_non_null(strstr(err.message, "name"));
    record = sample_snapshot(ID_A, "a", "short");
    assert_true(store_snapshot_insert(fixture->store, &record, &err) < 0);
    record = sample_snapshot(ID_A, "a", ID_B);
    record.source.disk_count = GUEST_MAX_DISKS + 1;
    assert_int_equal(store_snapshot_insert(fixture->store, &record, &err), -EINVAL);
    assert_int_equal(store_snapshot_get(fixture->store, ID_A, &record, &err), -ENOENT);
    record = sample_snapshot(ID_A, "a", ID_B);
    assert_int_equal(store_snapshot_insert(fixture->store, &record, NULL), 0);
    run_sql(fixture->path, "UPDATE snapshots SET vcpus = -1");
    assert_int_equal(store_snapshot_get(fixture->store, ID_A, &record, &err), -EUCLEAN);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "snapshot '" ID_A "' has a vcpus"));
    struct snapshot_record *list = NULL;
    size_t count;
    const struct snapshot_filter all = {.name = NULL};
    assert_int_equal(store_snapshot_list(fixture->store, &all, &list, &count, NULL), -EUCLEAN);
    assert_null(list);
}

/* A file of the version before snapshots is brought up to date with what it holds. */
static void test_migration_keeps_instances(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record written = sample(ID_A, "a");
    const struct snapshot_record snapshot = sample_snapshot(ID_B, "", ID_A);
    struct instance_record read;
    written.tags[0] = written.compression[0] = written.policies[0] = '\0';
    written.program = (struct program){.cmd = ""};
    written.has_exit_code = false;
    written.exit_code = 0;
    written.expires_at_ns = written.ttl_ns = 0;
    written.restart_attempts = 0;
    written.restart_last_ns = written.restart_next_ns = 0;
    written.restart_blocked[0] = written.cache_key[0] = '\0';
    written.paged = false;
    written.memory_layers = 0;
    written.memory_top[0] = '\0';
    assert_int_equal(store_insert(fixture->store, &written, NULL), 0);
    store_close(fixture->store);
    run_sql(fixture->path, "DROP TABLE warm; DROP TRIGGER warm_instance; DROP TABLE images; DROP "
                           "TABLE host; DROP TABLE snapshot_disks; DROP TABLE snapshots;"
                           "ALTER TABLE instances DROP COLUMN tags;"
                           "ALTER TABLE instances DROP COLUMN compression;"
                           "ALTER TABLE instances DROP COLUMN entrypoint;"
                           "ALTER TABLE instances DROP COLUMN cmd;"
                           "ALTER TABLE instances DROP COLUMN env;"
                           "ALTER TABLE instances DROP COLUMN working_dir;"
                           "ALTER TABLE instances DROP COLUMN has_exit_code;"
                           "ALTER TABLE instances DROP COLUMN exit_code;"
                           "ALTER TABLE instances DROP COLUMN expires_at_ns;"
                           "ALTER TABLE instances DROP COLUMN ttl_ns;"
                           "ALTER TABLE instances DROP COLUMN policies;"
                           "ALTER TABLE instances DROP COLUMN restart_attempts;"
                           "ALTER TABLE instances DROP COLUMN restart_last_ns;"
                           "ALTER TABLE instances DROP COLUMN restart_next_ns;"
                           "ALTER TABLE instances DROP COLUMN restart_blocked;"
                           "ALTER TABLE instances DROP COLUMN cache_key;"
                           "ALTER TABLE instances DROP COLUMN paged;"
                           "ALTER TABLE instances DROP COLUMN memory_layers;"
                           "ALTER TABLE instances DROP COLUMN memory_top;"
                           "PRAGMA user_version = 1");
    fixture->store = store_open(fixture->path, NULL);
    assert_non_null(fixture->store);
    assert_int_equal(store_get(fixture->store, ID_A, &read, NULL), 0);
    assert_same(&written, &read);
    assert_int_equal(store_snapshot_insert(fixture->store, &snapshot, NULL), 0);
    /* Without its source too. */
    assert_int_equal(store_delete(fixture->store, ID_A, NULL), 0);
    struct snapshot_record kept;
    assert_int_equal(store_snapshot_get(fixture->store, ID_B, &kept, NULL), 0);
}

static void assert_warm(struct fixture *fixture, const struct store_warm *expected, size_t count)
{
    struct store_warm *list = NULL;
    size_t found = 0;
    assert_int_equal(store_warm_list(fixture->store, &list, &found, NULL), 0);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list[i].owner_id, expected[i].owner_id);
        assert_int_equal(list[i].snapshot, expected[i].snapshot);
        assert_int_equal(list[i].ready, expected[i].ready);
    }
    free(list);
}

/* What is to be kept warm is so until it is not, or gone. */
static void test_warm(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_record instance = sample(ID_A, "a");
    const struct snapshot_record snapshot = sample_snapshot(ID_B, "", ID_A);
    struct store_warm wishes[] = {{.owner_id = ID_A, .ready = 3},
                                  {.owner_id = ID_B, .snapshot = true, .ready = 1}};
    assert_int_equal(store_insert(fixture->store, &instance, NULL), 0);
    assert_int_equal(store_snapshot_insert(fixture->store, &snapshot, NULL), 0);
    assert_warm(fixture, NULL, 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(store_warm_set(fixture->store, &wishes[i], NULL), 0);
    wishes[0].ready = 5;
    assert_int_equal(store_warm_set(fixture->store, &wishes[0], NULL), 0);
    assert_int_equal(store_update(fixture->store, &instance, NULL), 0);
    assert_warm(fixture, wishes, 2);
    assert_int_equal(store_delete(fixture->store, ID_A, NULL), 0);
    assert_warm(fixture, wishes + 1, 1);
    assert_int_equal(store_snapshot_delete(fixture->store, ID_B, NULL), 0);
    assert_warm(fixture, NULL, 0);
    assert_int_equal(store_insert(fixture->store, &instance, NULL), 0);
    assert_int_equal(store_warm_set(fixture->store, &wishes[0], NULL), 0);
    wishes[0].ready = 0;
    assert_int_equal(store_warm_set(fixture->store, &wishes[0], NULL), 0);
    assert_warm(fixture, NULL, 0);
}

static void test_images(void **state)
{
    struct fixture *fixture = *state;
    struct image image = {.id = ID_A,
                          .name = "docker.io/library/a:1",
                          .digest = "sha256:1",
                          .created_at_ns = 3,
                          .size_bytes = 4,
                          .program = {.entrypoint = "[\"e\"]",
                                      .cmd = "[\"c\"]",
                                      .env = "{\"e\":\"v\"}",
                                      .working_dir = "/w"},
                          .tags = "{\"t\":\"v\"}"};
    struct image other = {.id = ID_B, .name = "docker.io/library/b:1"}, read;
    struct image *list = NULL;
    struct error err = {0};
    size_t count = 0;
    assert_int_equal(store_image_insert(fixture->store, &image, NULL), 0);
    assert_int_equal(store_image_insert(fixture->store, &other, NULL), 0);
    assert_int_equal(store_image_get(fixture->store, image.name, &read, NULL), 0);
    assert_memory_equal(&read, &image, sizeof(image));
    assert_int_equal(store_image_list(fixture->store, &list, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_memory_equal(&list[0], &image, sizeof(image));
    assert_memory_equal(&list[1], &other, sizeof(other));
    free(list);
    memcpy(other.name, image.name, sizeof(other.name));
    other.id[0] = 'z';
    assert_int_equal(store_image_insert(fixture->store, &other, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_NAME);
    assert_non_null(strstr(err.message, "there is an image docker.io/library/a:1 already"));
    assert_int_equal(store_image_delete(fixture->store, ID_A, NULL), 0);
    assert_int_equal(store_image_delete(fixture->store, ID_A, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_int_equal(store_image_get(fixture->store, image.name, &read, &err), -ENOENT);
}

/* The pid of a VMM means something only until the host boots again. */
static void test_another_boot_forgets_vmms(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record a = sample(ID_A, "a"), b = sample(ID_B, "b"), read;
    assert_true(a.vmm_pid > 0 && a.vmm_start_ticks > 0);
    assert_int_equal(store_boot(fixture->store, "first", NULL), 0);
    assert_int_equal(store_insert(fixture->store, &a, NULL), 0);
    assert_int_equal(store_insert(fixture->store, &b, NULL), 0);
    assert_int_equal(store_boot(fixture->store, "first", NULL), 0);
    assert_int_equal(store_get(fixture->store, ID_A, &read, NULL), 0);
    assert_same(&a, &read);
    assert_int_equal(store_boot(fixture->store, "second", NULL), 0);
    a.vmm_pid = b.vmm_pid = 0;
    a.vmm_start_ticks = b.vmm_start_ticks = 0;
    assert_int_equal(store_get(fixture->store, ID_A, &read, NULL), 0);
    assert_same(&a, &read);
    assert_int_equal(store_get(fixture->store, ID_B, &read, NULL), 0);
    assert_same(&b, &read);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_field_comes_back),
        TEST(test_warm),
        TEST(test_images),
        TEST(test_update_replaces_all),
        TEST(test_taken_name_and_id),
        TEST(test_delete_and_list),
        TEST(test_due),
        TEST(test_resolve),
        TEST(test_bad_values_are_refused),
        TEST(test_nonsense_in_the_file_is_told),
        TEST(test_older_schema),
        TEST(test_newer_schema),
        TEST(test_damaged_file),
        TEST(test_paths_that_cannot_be),
        TEST(test_threads),
        TEST(test_snapshot_comes_back),
        TEST(test_snapshot_names),
        TEST(test_snapshot_list),
        TEST(test_bad_snapshots_are_refused),
        TEST(test_migration_keeps_instances),
        TEST(test_another_boot_forgets_vmms),
        cmocka_unit_test(test_state_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

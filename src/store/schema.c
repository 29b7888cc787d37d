/* SPDX-License-Identifier: Apache-2.0 */
/* The schema, as the steps that lead to it: step n takes a file of version n to version n + 1. A
 * step that was released is never changed; PRAGMA user_version says how many a file has had. */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "store/database.h"

static const char *const steps[] = {
    /* `position` keeps the order of creation, which the list of instances has. Disks are rows of
     * their own, so that a later version can say more about each. */
    "CREATE TABLE instances ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) = 24),"
    " name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 63),"
    " image TEXT NOT NULL,"
    " hypervisor TEXT NOT NULL,"
    " state TEXT NOT NULL,"
    " state_error TEXT NOT NULL,"
    " exit_message TEXT NOT NULL,"
    " vcpus INTEGER NOT NULL,"
    " memory_bytes INTEGER NOT NULL,"
    " has_initrd INTEGER NOT NULL CHECK (has_initrd IN (0, 1)),"
    " skip_guest_agent INTEGER NOT NULL CHECK (skip_guest_agent IN (0, 1)),"
    " cmdline TEXT NOT NULL,"
    " parent_id TEXT NOT NULL,"
    " vmm_pid INTEGER NOT NULL,"
    " vmm_start_ticks INTEGER NOT NULL,"
    " created_at_ns INTEGER NOT NULL,"
    " started_at_ns INTEGER NOT NULL,"
    " stopped_at_ns INTEGER NOT NULL,"
    " memory_method TEXT NOT NULL,"
    " memory_bytes_copied INTEGER NOT NULL,"
    " disk_bytes_copied INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE disks ("
    " instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,"
    " slot INTEGER NOT NULL,"
    " read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),"
    " root INTEGER NOT NULL CHECK (root IN (0, 1)),"
    " PRIMARY KEY (instance_id, slot)"
    ") STRICT, WITHOUT ROWID;",
    /* A snapshot outlives its source: source_instance_id refers to nothing. An empty name is none.
     */
    "CREATE TABLE snapshots ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) = 24),"
    " name TEXT NOT NULL CHECK (length(name) <= 63),"
    " kind TEXT NOT NULL CHECK (kind IN ('Standby', 'Stopped')),"
    " created_at_ns INTEGER NOT NULL,"
    " size_bytes INTEGER NOT NULL,"
    " compression_state TEXT NOT NULL,"
    " source_instance_id TEXT NOT NULL CHECK (length(source_instance_id) = 24),"
    " source_instance_name TEXT NOT NULL,"
    " source_hypervisor TEXT NOT NULL,"
    " image TEXT NOT NULL,"
    " vcpus INTEGER NOT NULL,"
    " memory_bytes INTEGER NOT NULL,"
    " has_initrd INTEGER NOT NULL CHECK (has_initrd IN (0, 1)),"
    " skip_guest_agent INTEGER NOT NULL CHECK (skip_guest_agent IN (0, 1)),"
    " cmdline TEXT NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX snapshot_names ON snapshots (source_instance_id, name) WHERE name <> '';"
    "CREATE TABLE snapshot_disks ("
    " snapshot_id TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,"
    " slot INTEGER NOT NULL,"
    " read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),"
    " root INTEGER NOT NULL CHECK (root IN (0, 1)),"
    " PRIMARY KEY (snapshot_id, slot)"
    ") STRICT, WITHOUT ROWID;",
    "ALTER TABLE instances ADD COLUMN tags TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN tags TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN source_tags TEXT NOT NULL DEFAULT '';",
    /* What is true of the host, not of one instance. */
    "CREATE TABLE host ("
    " key TEXT PRIMARY KEY,"
    " value TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;",
    /* What is wished; what is true is looked up. */
    "ALTER TABLE instances ADD COLUMN compression TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN compression TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots DROP COLUMN compression_state;",
    /* The main program, and how it ended. */
    "ALTER TABLE instances ADD COLUMN entrypoint TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE instances ADD COLUMN cmd TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE instances ADD COLUMN env TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE instances ADD COLUMN working_dir TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE instances ADD COLUMN has_exit_code INTEGER NOT NULL DEFAULT 0"
    " CHECK (has_exit_code IN (0, 1));"
    "ALTER TABLE instances ADD COLUMN exit_code INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE snapshots ADD COLUMN entrypoint TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN cmd TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN env TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN working_dir TEXT NOT NULL DEFAULT '';",
    /* A deadline is an instance's own; what its snapshots keep is how long what is made of them
     * lives. */
    "ALTER TABLE instances ADD COLUMN expires_at_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE instances ADD COLUMN ttl_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE instances ADD COLUMN policies TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE instances ADD COLUMN restart_attempts INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE instances ADD COLUMN restart_last_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE instances ADD COLUMN restart_next_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE instances ADD COLUMN restart_blocked TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN ttl_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE snapshots ADD COLUMN policies TEXT NOT NULL DEFAULT '';",
    /* Imported images. Instances hold links to an image's disk and refer to no row. */
    "CREATE TABLE images ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) = 24),"
    " name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),"
    " digest TEXT NOT NULL,"
    " created_at_ns INTEGER NOT NULL,"
    " size_bytes INTEGER NOT NULL,"
    " entrypoint TEXT NOT NULL,"
    " cmd TEXT NOT NULL,"
    " env TEXT NOT NULL,"
    " working_dir TEXT NOT NULL,"
    " tags TEXT NOT NULL"
    ") STRICT;",
    /* The name of a memory image's content, and whose VM needs a pager. */
    "ALTER TABLE instances ADD COLUMN cache_key TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE instances ADD COLUMN paged INTEGER NOT NULL DEFAULT 0 CHECK (paged IN (0, 1));"
    "ALTER TABLE snapshots ADD COLUMN cache_key TEXT NOT NULL DEFAULT '';",
    /* Memory images of more than one file, and which is the last. */
    "ALTER TABLE instances ADD COLUMN memory_layers INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE instances ADD COLUMN memory_top TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE snapshots ADD COLUMN memory_layers INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE snapshots ADD COLUMN memory_top TEXT NOT NULL DEFAULT '';",
    /* Of what forks are kept ready, and how many: a wish that ends with its owner. */
    "CREATE TABLE warm ("
    " owner_id TEXT PRIMARY KEY CHECK (length(owner_id) = 24),"
    " snapshot INTEGER NOT NULL CHECK (snapshot IN (0, 1)),"
    " ready INTEGER NOT NULL CHECK (ready > 0)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER warm_instance AFTER DELETE ON instances"
    " BEGIN DELETE FROM warm WHERE owner_id = OLD.id; END;"
    "CREATE TRIGGER warm_snapshot AFTER DELETE ON snapshots"
    " BEGIN DELETE FROM warm WHERE owner_id = OLD.id; END;",
};

static int version_read(struct store *store, int *version, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        r = database_error(store, err, "read the schema version");
    else
        *version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return r;
}

static int step_run(struct store *store, int version, struct error *err)
{
    char pragma[48];
    snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", version + 1);
    int r = database_run(store, "BEGIN IMMEDIATE", err);
    if (r < 0)
        return r;
    r = database_run(store, steps[version], err);
    if (r == 0)
        r = database_run(store, pragma, err);
    if (r == 0)
        r = database_run(store, "COMMIT", err);
    if (r < 0)
        database_run(store, "ROLLBACK", NULL); /* the first error is the one to tell */
    return r;
}

int schema_migrate(struct store *store, struct error *err)
{
    const int known = (int)ARRAY_SIZE(steps);
    int version = 0;
    int r = version_read(store, &version, err);
    if (r == 0 && (version > known || version < 0))
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "database %s has schema version %d, this program knows versions up to %d: "
                         "it was written by a newer tined",
                         store->path, version, known);
    while (r == 0 && version < known)
        r = step_run(store, version++, err);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/database.h"

/* Parameters 1 to 3: name, source instance, kind; null takes all. */
#define FILTER                                                                    \
    "WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL OR source_instance_id = ?2)" \
    " AND (?3 IS NULL OR kind = ?3) ORDER BY position"
#define DISKS \
    "SELECT slot, read_only, root FROM snapshot_disks WHERE snapshot_id = ?1 ORDER BY slot"

static const struct disk_statements disk_statements = {.read = STATEMENT_SNAPSHOT_DISKS,
                                                       .insert = STATEMENT_SNAPSHOT_DISK_INSERT,
                                                       .delete = STATEMENT_SNAPSHOT_DISKS_DELETE};

int snapshot_statements_prepare(struct store *store, struct error *err)
{
    _cleanup_(free) char *insert = columns_insert_sql(&snapshot_columns);
    _cleanup_(free) char *get = columns_select_sql(&snapshot_columns, "WHERE id = ?1");
    _cleanup_(free) char *list = columns_select_sql(&snapshot_columns, FILTER);
    const struct {
        enum store_statement statement;
        const char *sql;
    } texts[] = {
        {STATEMENT_SNAPSHOT_INSERT, insert},
        {STATEMENT_SNAPSHOT_GET, get},
        {STATEMENT_SNAPSHOT_LIST, list},
        {STATEMENT_SNAPSHOT_DELETE, "DELETE FROM snapshots WHERE id = ?1"},
        {STATEMENT_SNAPSHOT_DISKS, DISKS},
        {STATEMENT_SNAPSHOT_DISK_INSERT, "INSERT INTO snapshot_disks VALUES (?1, ?2, ?3, ?4)"},
        {STATEMENT_SNAPSHOT_DISKS_DELETE, "DELETE FROM snapshot_disks WHERE snapshot_id = ?1"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
        r = statement_prepare(store, texts[i].statement, texts[i].sql, err);
    return r;
}

static int not_found(struct store *store, const char *id, struct error *err)
{
    return database_name_file(
        store, error_set(err, ERROR_NOT_FOUND, ENOENT, "no snapshot '%.80s'", id), err);
}

/* As with instances: a taken name is the user's to change, a taken id would be a fault of ours. */
static int constraint_error(struct store *store, const struct snapshot_record *record,
                            struct error *err)
{
    if (sqlite3_extended_errcode(store->db) == SQLITE_CONSTRAINT_UNIQUE &&
        strstr(sqlite3_errmsg(store->db), "snapshots.name"))
        return database_name_file(store,
                                  error_set(err, ERROR_NAME, EEXIST,
                                            "%s has a snapshot with the name '%s' already",
                                            record->source.name, record->name),
                                  err);
    return database_error(store, err, "write snapshot '%s'", record->id);
}

static int record_write(struct store *store, enum store_statement statement, const void *data,
                        struct error *err)
{
    const struct snapshot_record *record = data;
    sqlite3_stmt *prepared = store->statements[statement];
    int r = columns_bind(store, prepared, &snapshot_columns, record, err);
    if (r < 0)
        return r;
    if (sqlite3_step(prepared) != SQLITE_DONE)
        r = constraint_error(store, record, err);
    sqlite3_reset(prepared);
    return r < 0 ? r : disks_write(store, &disk_statements, record->id, &record->source, err);
}

int store_snapshot_insert(struct store *store, const struct snapshot_record *record,
                          struct error *err)
{
    return database_transaction(store, record_write, STATEMENT_SNAPSHOT_INSERT, record, err);
}

int store_snapshot_delete(struct store *store, const char *id, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    statement_key(store, STATEMENT_SNAPSHOT_DELETE, id);
    int r = database_step_done(store, STATEMENT_SNAPSHOT_DELETE, "delete a snapshot", err);
    if (r == 0 && sqlite3_changes(store->db) == 0)
        r = not_found(store, id, err);
    pthread_mutex_unlock(&store->lock);
    return r;
}

static int row_read(struct store *store, sqlite3_stmt *statement, struct snapshot_record *record,
                    struct error *err)
{
    int r = columns_read(store, statement, &snapshot_columns, record, err);
    return r < 0 ? r : disks_read(store, &disk_statements, record->id, &record->source, err);
}

int store_snapshot_get(struct store *store, const char *id, struct snapshot_record *record,
                       struct error *err)
{
    pthread_mutex_lock(&store->lock);
    sqlite3_stmt *get = statement_key(store, STATEMENT_SNAPSHOT_GET, id);
    int step = sqlite3_step(get);
    int r = step == SQLITE_ROW    ? row_read(store, get, record, err)
            : step == SQLITE_DONE ? not_found(store, id, err)
                                  : database_error(store, err, "read snapshot '%.80s'", id);
    sqlite3_reset(get);
    pthread_mutex_unlock(&store->lock);
    return r;
}

static sqlite3_stmt *bind_filter(struct store *store, const struct snapshot_filter *filter)
{
    sqlite3_stmt *list = statement_key(store, STATEMENT_SNAPSHOT_LIST, filter->name);
    sqlite3_bind_text(list, 2, filter->source_instance_id, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(list, 3, filter->has_kind ? instance_state_name(filter->kind) : NULL, -1,
                      SQLITE_STATIC);
    return list;
}

int store_snapshot_list(struct store *store, const struct snapshot_filter *filter,
                        struct snapshot_record **records, size_t *count, struct error *err)
{
    _cleanup_(free) struct snapshot_record *found = NULL;
    size_t length = 0;
    int r = 0, step = SQLITE_DONE;
    pthread_mutex_lock(&store->lock);
    sqlite3_stmt *list = bind_filter(store, filter);
    while (r == 0 && (step = sqlite3_step(list)) == SQLITE_ROW) {
        r = list_grow(store, (void **)&found, length, sizeof(*found), err);
        if (r == 0)
            r = row_read(store, list, &found[length++], err);
    }
    if (r == 0 && step != SQLITE_DONE)
        r = database_error(store, err, "list snapshots");
    sqlite3_reset(list);
    pthread_mutex_unlock(&store->lock);
    if (r < 0)
        return r;
    *records = TAKE_PTR(found);
    *count = length;
    return 0;
}

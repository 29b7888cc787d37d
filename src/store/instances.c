/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/database.h"

/* '~' sorts behind every letter an id has. */
#define BY_PREFIX "SELECT id FROM instances WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT 2"
static const struct disk_statements disk_statements = {
    .read = STATEMENT_DISKS, .insert = STATEMENT_DISK_INSERT, .delete = STATEMENT_DISKS_DELETE};

#define DISKS "SELECT slot, read_only, root FROM disks WHERE instance_id = ?1 ORDER BY slot"

#define DUE(column) \
    "SELECT id, " column " FROM instances WHERE " column " > 0 ORDER BY " column ", id"

static int prepare_fixed(struct store *store, struct error *err)
{
    static const char *const texts[STATEMENT_COUNT] = {
        [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
        [STATEMENT_COMMIT] = "COMMIT",
        [STATEMENT_ROLLBACK] = "ROLLBACK",
        [STATEMENT_DELETE] = "DELETE FROM instances WHERE id = ?1",
        [STATEMENT_EXPIRIES] = DUE("expires_at_ns"),
        [STATEMENT_RESTARTS] = DUE("restart_next_ns"),
        [STATEMENT_DISKS] = DISKS,
        [STATEMENT_DISK_INSERT] = "INSERT INTO disks VALUES (?1, ?2, ?3, ?4)",
        [STATEMENT_DISKS_DELETE] = "DELETE FROM disks WHERE instance_id = ?1",
        [STATEMENT_BY_ID] = "SELECT id FROM instances WHERE id = ?1",
        [STATEMENT_BY_NAME] = "SELECT id FROM instances WHERE name = ?1",
        [STATEMENT_BY_PREFIX] = BY_PREFIX,
    };
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        int r = texts[i] ? statement_prepare(store, (enum store_statement)i, texts[i], err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int statements_prepare(struct store *store, struct error *err)
{
    _cleanup_(free) char *insert = columns_insert_sql(&instance_columns);
    _cleanup_(free) char *update = columns_update_sql(&instance_columns);
    _cleanup_(free) char *get = columns_select_sql(&instance_columns, "WHERE id = ?1");
    _cleanup_(free) char *list = columns_select_sql(&instance_columns, "ORDER BY position");
    int r = prepare_fixed(store, err);
    if (r == 0)
        r = statement_prepare(store, STATEMENT_INSERT, insert, err);
    if (r == 0)
        r = statement_prepare(store, STATEMENT_UPDATE, update, err);
    if (r == 0)
        r = statement_prepare(store, STATEMENT_GET, get, err);
    return r < 0 ? r : statement_prepare(store, STATEMENT_LIST, list, err);
}

static int not_found(struct store *store, const char *reference, struct error *err)
{
    return database_name_file(
        store, error_set(err, ERROR_NOT_FOUND, ENOENT, "no instance '%.80s'", reference), err);
}

/* A taken name is the user's to change; a taken id would be a fault of ours. */
static int constraint_error(struct store *store, const struct instance_record *record,
                            struct error *err)
{
    if (sqlite3_extended_errcode(store->db) == SQLITE_CONSTRAINT_UNIQUE &&
        strstr(sqlite3_errmsg(store->db), "instances.name"))
        return database_name_file(
            store, error_set(err, ERROR_NAME, EEXIST, "the name '%s' is taken", record->name), err);
    return database_error(store, err, "write instance '%s'", record->id);
}

static int record_write(struct store *store, enum store_statement statement, const void *data,
                        struct error *err)
{
    const struct instance_record *record = data;
    sqlite3_stmt *prepared = store->statements[statement];
    int r = columns_bind(store, prepared, &instance_columns, record, err);
    if (r < 0)
        return r;
    int step = sqlite3_step(prepared);
    if (step != SQLITE_DONE)
        r = constraint_error(store, record, err);
    else if (sqlite3_changes(store->db) == 0)
        r = not_found(store, record->id, err);
    sqlite3_reset(prepared);
    return r < 0 ? r : disks_write(store, &disk_statements, record->id, record, err);
}

int store_insert(struct store *store, const struct instance_record *record, struct error *err)
{
    return database_transaction(store, record_write, STATEMENT_INSERT, record, err);
}

int store_update(struct store *store, const struct instance_record *record, struct error *err)
{
    return database_transaction(store, record_write, STATEMENT_UPDATE, record, err);
}

int store_delete(struct store *store, const char *id, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    statement_key(store, STATEMENT_DELETE, id);
    int r = database_step_done(store, STATEMENT_DELETE, "delete an instance", err);
    if (r == 0 && sqlite3_changes(store->db) == 0)
        r = not_found(store, id, err);
    pthread_mutex_unlock(&store->lock);
    return r;
}

int store_get(struct store *store, const char *id, struct instance_record *record,
              struct error *err)
{
    pthread_mutex_lock(&store->lock);
    sqlite3_stmt *get = statement_key(store, STATEMENT_GET, id);
    int step = sqlite3_step(get);
    int r = step == SQLITE_ROW    ? columns_read(store, get, &instance_columns, record, err)
            : step == SQLITE_DONE ? not_found(store, id, err)
                                  : database_error(store, err, "read instance '%.80s'", id);
    sqlite3_reset(get);
    if (r == 0)
        r = disks_read(store, &disk_statements, record->id, record, err);
    pthread_mutex_unlock(&store->lock);
    return r;
}

/* Appends one row. */
static int list_row(struct store *store, struct instance_record **records, size_t *count,
                    struct error *err)
{
    int r = list_grow(store, (void **)records, *count, sizeof(**records), err);
    if (r < 0)
        return r;
    struct instance_record *record = &(*records)[*count];
    r = columns_read(store, store->statements[STATEMENT_LIST], &instance_columns, record, err);
    if (r == 0)
        r = disks_read(store, &disk_statements, record->id, record, err);
    if (r == 0)
        (*count)++;
    return r;
}

int store_list(struct store *store, struct instance_record **records, size_t *count,
               struct error *err)
{
    _cleanup_(free) struct instance_record *list = NULL;
    size_t found = 0;
    int r = 0, step;
    pthread_mutex_lock(&store->lock);
    while ((step = sqlite3_step(store->statements[STATEMENT_LIST])) == SQLITE_ROW && r == 0)
        r = list_row(store, &list, &found, err);
    if (r == 0 && step != SQLITE_DONE)
        r = database_error(store, err, "list instances");
    sqlite3_reset(store->statements[STATEMENT_LIST]);
    pthread_mutex_unlock(&store->lock);
    if (r < 0)
        return r;
    *records = TAKE_PTR(list);
    *count = found;
    return 0;
}

static void due_read(sqlite3_stmt *row, struct store_due *due)
{
    snprintf(due->id, sizeof(due->id), "%s", (const char *)sqlite3_column_text(row, 0));
    due->at_ns = (uint64_t)sqlite3_column_int64(row, 1);
}

int store_list_due(struct store *store, enum store_deadline deadline, struct store_due **list,
                   size_t *count, struct error *err)
{
    static const enum store_statement statements[] = {
        [DEADLINE_EXPIRY] = STATEMENT_EXPIRIES, [DEADLINE_RESTART] = STATEMENT_RESTARTS};
    _cleanup_(free) struct store_due *due = NULL;
    size_t found = 0;
    int r = 0, step = SQLITE_DONE;
    pthread_mutex_lock(&store->lock);
    sqlite3_stmt *rows = store->statements[statements[deadline]];
    while (r == 0 && (step = sqlite3_step(rows)) == SQLITE_ROW) {
        r = list_grow(store, (void **)&due, found, sizeof(*due), err);
        if (r == 0)
            due_read(rows, &due[found++]);
    }
    if (r == 0 && step != SQLITE_DONE)
        r = database_error(store, err, "list deadlines");
    sqlite3_reset(rows);
    pthread_mutex_unlock(&store->lock);
    if (r < 0)
        return r;
    *list = TAKE_PTR(due);
    *count = found;
    return 0;
}

/* Up to two ids that match: how many there are, 0 to 2. */
static int lookup(struct store *store, enum store_statement statement, const char *key,
                  char ids[2][INSTANCE_ID_LENGTH + 1], struct error *err)
{
    sqlite3_stmt *prepared = statement_key(store, statement, key);
    int found = 0, step;
    while ((step = sqlite3_step(prepared)) == SQLITE_ROW && found < 2)
        snprintf(ids[found++], INSTANCE_ID_LENGTH + 1, "%s",
                 (const char *)sqlite3_column_text(prepared, 0));
    int r = step == SQLITE_DONE || found == 2 ? found : database_error(store, err, "resolve");
    sqlite3_reset(prepared);
    return r;
}

static int resolve(struct store *store, const char *reference, char ids[2][INSTANCE_ID_LENGTH + 1],
                   struct error *err)
{
    size_t length = strlen(reference);
    bool maybe_id = length > 0 && length <= INSTANCE_ID_LENGTH &&
                    strspn(reference, "abcdefghijklmnopqrstuvwxyz0123456789") == length;
    int r = maybe_id ? lookup(store, STATEMENT_BY_ID, reference, ids, err) : 0;
    if (r == 0 && length > 0 && length <= INSTANCE_NAME_MAX)
        r = lookup(store, STATEMENT_BY_NAME, reference, ids, err);
    if (r == 0 && maybe_id)
        r = lookup(store, STATEMENT_BY_PREFIX, reference, ids, err);
    return r;
}

int store_resolve(struct store *store, const char *reference, char *id, struct error *err)
{
    char ids[2][INSTANCE_ID_LENGTH + 1];
    pthread_mutex_lock(&store->lock);
    int r = resolve(store, reference, ids, err);
    pthread_mutex_unlock(&store->lock);
    if (r < 0)
        return r;
    if (r == 0)
        return not_found(store, reference, err);
    if (r > 1) {
        r = error_set(err, ERROR_AMBIGUOUS, ENOTUNIQ,
                      "'%s' is the beginning of several ids, %s and %s among them: give more",
                      reference, ids[0], ids[1]);
        return database_name_file(store, r, err);
    }
    memcpy(id, ids[0], INSTANCE_ID_LENGTH + 1);
    return 0;
}

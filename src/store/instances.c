/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/database.h"

/* '~' sorts behind every letter an id has. */
#define BY_PREFIX "SELECT id FROM instances WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT 2"
#define DISKS     "SELECT slot, read_only, root FROM disks WHERE instance_id = ?1 ORDER BY slot"

static int prepare(struct store *store, enum store_statement statement, const char *sql,
                   struct error *err)
{
    if (!sql)
        return error_errno(err, ENOMEM, store->path, "database %s", store->path);
    if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &store->statements[statement], NULL) != SQLITE_OK)
        return database_error(store, err, "prepare '%.80s'", sql);
    return 0;
}

static int prepare_fixed(struct store *store, struct error *err)
{
    static const char *const texts[STATEMENT_COUNT] = {
        [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
        [STATEMENT_COMMIT] = "COMMIT",
        [STATEMENT_ROLLBACK] = "ROLLBACK",
        [STATEMENT_DELETE] = "DELETE FROM instances WHERE id = ?1",
        [STATEMENT_DISKS] = DISKS,
        [STATEMENT_DISK_INSERT] = "INSERT INTO disks VALUES (?1, ?2, ?3, ?4)",
        [STATEMENT_DISKS_DELETE] = "DELETE FROM disks WHERE instance_id = ?1",
        [STATEMENT_BY_ID] = "SELECT id FROM instances WHERE id = ?1",
        [STATEMENT_BY_NAME] = "SELECT id FROM instances WHERE name = ?1",
        [STATEMENT_BY_PREFIX] = BY_PREFIX,
    };
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        int r = texts[i] ? prepare(store, (enum store_statement)i, texts[i], err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int statements_prepare(struct store *store, struct error *err)
{
    _cleanup_(free) char *insert = columns_insert_sql();
    _cleanup_(free) char *update = columns_update_sql();
    _cleanup_(free) char *get = columns_select_sql(" FROM instances WHERE id = ?1");
    _cleanup_(free) char *list = columns_select_sql(" FROM instances ORDER BY position");
    int r = prepare_fixed(store, err);
    if (r == 0)
        r = prepare(store, STATEMENT_INSERT, insert, err);
    if (r == 0)
        r = prepare(store, STATEMENT_UPDATE, update, err);
    if (r == 0)
        r = prepare(store, STATEMENT_GET, get, err);
    return r < 0 ? r : prepare(store, STATEMENT_LIST, list, err);
}

/* For what is the caller's doing the message is about instances; the file is in err->path. */
static int name_file(struct store *store, int r, struct error *err)
{
    if (err)
        snprintf(err->path, sizeof(err->path), "%s", store->path);
    return r;
}

static int not_found(struct store *store, const char *reference, struct error *err)
{
    return name_file(
        store, error_set(err, ERROR_NOT_FOUND, ENOENT, "no instance '%.80s'", reference), err);
}

static sqlite3_stmt *bind_key(struct store *store, enum store_statement statement, const char *key)
{
    sqlite3_stmt *prepared = store->statements[statement];
    sqlite3_bind_text(prepared, 1, key, -1, SQLITE_TRANSIENT);
    return prepared;
}

static int disks_write(struct store *store, const struct instance_record *record, struct error *err)
{
    bind_key(store, STATEMENT_DISKS_DELETE, record->id);
    int r = database_step_done(store, STATEMENT_DISKS_DELETE, "write disks", err);
    if (record->disk_count > GUEST_MAX_DISKS)
        return error_set(err, ERROR_INVALID, EINVAL, "write %s: %u disks", store->path,
                         record->disk_count);
    for (unsigned i = 0; r == 0 && i < record->disk_count; i++) {
        sqlite3_stmt *insert = bind_key(store, STATEMENT_DISK_INSERT, record->id);
        sqlite3_bind_int(insert, 2, (int)i);
        sqlite3_bind_int(insert, 3, record->disks[i].read_only);
        sqlite3_bind_int(insert, 4, record->disks[i].root);
        r = database_step_done(store, STATEMENT_DISK_INSERT, "write disks", err);
    }
    return r;
}

static int disks_read(struct store *store, struct instance_record *record, struct error *err)
{
    sqlite3_stmt *disks = bind_key(store, STATEMENT_DISKS, record->id);
    int r;
    record->disk_count = 0;
    while ((r = sqlite3_step(disks)) == SQLITE_ROW) {
        unsigned slot = record->disk_count;
        if (slot >= GUEST_MAX_DISKS || sqlite3_column_int64(disks, 0) != slot)
            break;
        record->disks[slot].read_only = sqlite3_column_int(disks, 1) != 0;
        record->disks[slot].root = sqlite3_column_int(disks, 2) != 0;
        record->disk_count++;
    }
    int result = 0;
    if (r == SQLITE_ROW)
        result = error_set(err, ERROR_CORRUPT, EUCLEAN,
                           "database %s: the disks of instance '%s' make no sense", store->path,
                           record->id);
    else if (r != SQLITE_DONE)
        result = database_error(store, err, "read disks");
    sqlite3_reset(disks);
    return result;
}

/* A taken name is the user's to change; a taken id would be a fault of ours. */
static int constraint_error(struct store *store, const struct instance_record *record,
                            struct error *err)
{
    if (sqlite3_extended_errcode(store->db) == SQLITE_CONSTRAINT_UNIQUE &&
        strstr(sqlite3_errmsg(store->db), "instances.name"))
        return name_file(
            store, error_set(err, ERROR_NAME, EEXIST, "the name '%s' is taken", record->name), err);
    return database_error(store, err, "write instance '%s'", record->id);
}

static int record_write(struct store *store, enum store_statement statement,
                        const struct instance_record *record, struct error *err)
{
    sqlite3_stmt *prepared = store->statements[statement];
    int r = columns_bind(store, prepared, record, err);
    if (r < 0)
        return r;
    int step = sqlite3_step(prepared);
    if (step != SQLITE_DONE)
        r = constraint_error(store, record, err);
    else if (sqlite3_changes(store->db) == 0)
        r = not_found(store, record->id, err);
    sqlite3_reset(prepared);
    return r < 0 ? r : disks_write(store, record, err);
}

static int transaction(struct store *store, enum store_statement statement,
                       const struct instance_record *record, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    int r = database_step_done(store, STATEMENT_BEGIN, "begin", err);
    if (r == 0) {
        r = record_write(store, statement, record, err);
        if (r == 0)
            r = database_step_done(store, STATEMENT_COMMIT, "commit", err);
        /* SQLite may have rolled back by itself (full disk); else it is done here. */
        if (r < 0 && !sqlite3_get_autocommit(store->db))
            database_step_done(store, STATEMENT_ROLLBACK, "roll back", NULL);
    }
    pthread_mutex_unlock(&store->lock);
    return r;
}

int store_insert(struct store *store, const struct instance_record *record, struct error *err)
{
    return transaction(store, STATEMENT_INSERT, record, err);
}

int store_update(struct store *store, const struct instance_record *record, struct error *err)
{
    return transaction(store, STATEMENT_UPDATE, record, err);
}

int store_delete(struct store *store, const char *id, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    bind_key(store, STATEMENT_DELETE, id);
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
    sqlite3_stmt *get = bind_key(store, STATEMENT_GET, id);
    int step = sqlite3_step(get);
    int r = step == SQLITE_ROW    ? columns_read(store, get, record, err)
            : step == SQLITE_DONE ? not_found(store, id, err)
                                  : database_error(store, err, "read instance '%.80s'", id);
    sqlite3_reset(get);
    if (r == 0)
        r = disks_read(store, record, err);
    pthread_mutex_unlock(&store->lock);
    return r;
}

/* Appends one row, growing the array by doubling. */
static int list_row(struct store *store, struct instance_record **records, size_t *count,
                    struct error *err)
{
    if ((*count & (*count - 1)) == 0) {
        size_t room = *count == 0 ? 1 : *count * 2;
        void *grown = reallocarray(*records, room, sizeof(**records));
        if (!grown)
            return error_errno(err, ENOMEM, store->path, "list instances of %s", store->path);
        *records = grown;
    }
    struct instance_record *record = &(*records)[*count];
    int r = columns_read(store, store->statements[STATEMENT_LIST], record, err);
    if (r == 0)
        r = disks_read(store, record, err);
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

/* Up to two ids that match: how many there are, 0 to 2. */
static int lookup(struct store *store, enum store_statement statement, const char *key,
                  char ids[2][INSTANCE_ID_LENGTH + 1], struct error *err)
{
    sqlite3_stmt *prepared = bind_key(store, statement, key);
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
        return name_file(store, r, err);
    }
    memcpy(id, ids[0], INSTANCE_ID_LENGTH + 1);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Of what forks are to be kept ready. A row goes with that of its owner (a trigger). */
#include <stdio.h>

#include "base/cleanup.h"
#include "store/database.h"

int warm_statements_prepare(struct store *store, struct error *err)
{
    static const struct {
        enum store_statement statement;
        const char *sql;
    } texts[] = {
        {STATEMENT_WARM_SET, "INSERT OR REPLACE INTO warm VALUES (?1, ?2, ?3)"},
        {STATEMENT_WARM_DELETE, "DELETE FROM warm WHERE owner_id = ?1"},
        {STATEMENT_WARM_LIST, "SELECT owner_id, snapshot, ready FROM warm ORDER BY owner_id"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
        r = statement_prepare(store, texts[i].statement, texts[i].sql, err);
    return r;
}

static int warm_write(struct store *store, enum store_statement statement, const void *record,
                      struct error *err)
{
    const struct store_warm *warm = record;
    sqlite3_stmt *prepared = statement_key(store, statement, warm->owner_id);
    if (statement == STATEMENT_WARM_SET) {
        sqlite3_bind_int(prepared, 2, warm->snapshot);
        sqlite3_bind_int64(prepared, 3, warm->ready);
    }
    return database_step_done(store, statement, "write what is to be kept warm", err);
}

int store_warm_set(struct store *store, const struct store_warm *warm, struct error *err)
{
    return database_transaction(
        store, warm_write, warm->ready > 0 ? STATEMENT_WARM_SET : STATEMENT_WARM_DELETE, warm, err);
}

static void warm_read(sqlite3_stmt *row, struct store_warm *warm)
{
    snprintf(warm->owner_id, sizeof(warm->owner_id), "%s",
             (const char *)sqlite3_column_text(row, 0));
    warm->snapshot = sqlite3_column_int(row, 1) != 0;
    warm->ready = (unsigned)sqlite3_column_int64(row, 2);
}

int store_warm_list(struct store *store, struct store_warm **list, size_t *count, struct error *err)
{
    _cleanup_(free) struct store_warm *found = NULL;
    size_t length = 0;
    int r = 0, step = SQLITE_DONE;
    pthread_mutex_lock(&store->lock);
    sqlite3_stmt *rows = store->statements[STATEMENT_WARM_LIST];
    while (r == 0 && (step = sqlite3_step(rows)) == SQLITE_ROW) {
        r = list_grow(store, (void **)&found, length, sizeof(*found), err);
        if (r == 0)
            warm_read(rows, &found[length++]);
    }
    if (r == 0 && step != SQLITE_DONE)
        r = database_error(store, err, "list what is to be kept warm");
    sqlite3_reset(rows);
    pthread_mutex_unlock(&store->lock);
    if (r < 0)
        return r;
    *list = TAKE_PTR(found);
    *count = length;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/database.h"

int image_statements_prepare(struct store *store, struct error *err)
{
    _cleanup_(free) char *insert = columns_insert_sql(&image_columns);
    _cleanup_(free) char *get = columns_select_sql(&image_columns, "WHERE name = ?1");
    _cleanup_(free) char *list = columns_select_sql(&image_columns, "ORDER BY position");
    const struct {
        enum store_statement statement;
        const char *sql;
    } texts[] = {
        {STATEMENT_IMAGE_INSERT, insert},
        {STATEMENT_IMAGE_GET, get},
        {STATEMENT_IMAGE_LIST, list},
        {STATEMENT_IMAGE_DELETE, "DELETE FROM images WHERE id = ?1"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
        r = statement_prepare(store, texts[i].statement, texts[i].sql, err);
    return r;
}

static int not_found(struct store *store, const char *key, struct error *err)
{
    return database_name_file(
        store, error_set(err, ERROR_NOT_FOUND, ENOENT, "no image '%.200s'", key), err);
}

static int constraint_error(struct store *store, const struct image *image, struct error *err)
{
    if (sqlite3_extended_errcode(store->db) == SQLITE_CONSTRAINT_UNIQUE &&
        strstr(sqlite3_errmsg(store->db), "images.name"))
        return database_name_file(
            store, error_set(err, ERROR_NAME, EEXIST, "there is an image %s already", image->name),
            err);
    return database_error(store, err, "write image '%s'", image->id);
}

static int image_write(struct store *store, enum store_statement statement, const void *record,
                       struct error *err)
{
    sqlite3_stmt *prepared = store->statements[statement];
    int r = columns_bind(store, prepared, &image_columns, record, err);
    if (r < 0)
        return r;
    if (sqlite3_step(prepared) != SQLITE_DONE)
        r = constraint_error(store, record, err);
    sqlite3_reset(prepared);
    return r;
}

int store_image_insert(struct store *store, const struct image *image, struct error *err)
{
    return database_transaction(store, image_write, STATEMENT_IMAGE_INSERT, image, err);
}

int store_image_delete(struct store *store, const char *id, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    statement_key(store, STATEMENT_IMAGE_DELETE, id);
    int r = database_step_done(store, STATEMENT_IMAGE_DELETE, "delete an image", err);
    if (r == 0 && sqlite3_changes(store->db) == 0)
        r = not_found(store, id, err);
    pthread_mutex_unlock(&store->lock);
    return r;
}

int store_image_get(struct store *store, const char *name, struct image *image, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    sqlite3_stmt *get = statement_key(store, STATEMENT_IMAGE_GET, name);
    int step = sqlite3_step(get);
    int r = step == SQLITE_ROW    ? columns_read(store, get, &image_columns, image, err)
            : step == SQLITE_DONE ? not_found(store, name, err)
                                  : database_error(store, err, "read image '%.200s'", name);
    sqlite3_reset(get);
    pthread_mutex_unlock(&store->lock);
    return r;
}

int store_image_list(struct store *store, struct image **images, size_t *count, struct error *err)
{
    _cleanup_(free) struct image *found = NULL;
    size_t length = 0;
    int r = 0, step = SQLITE_DONE;
    pthread_mutex_lock(&store->lock);
    sqlite3_stmt *list = store->statements[STATEMENT_IMAGE_LIST];
    while (r == 0 && (step = sqlite3_step(list)) == SQLITE_ROW) {
        r = list_grow(store, (void **)&found, length, sizeof(*found), err);
        if (r == 0)
            r = columns_read(store, list, &image_columns, &found[length++], err);
    }
    if (r == 0 && step != SQLITE_DONE)
        r = database_error(store, err, "list images");
    sqlite3_reset(list);
    pthread_mutex_unlock(&store->lock);
    if (r < 0)
        return r;
    *images = TAKE_PTR(found);
    *count = length;
    return 0;
}

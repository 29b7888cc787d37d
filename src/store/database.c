/* SPDX-License-Identifier: Apache-2.0 */
#include "store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define BUSY_MS 10000 /* somebody looks into the database with another program */

static int errno_of_sqlite(struct store *store)
{
    static const struct {
        int code, errnum;
    } table[] = {
        {SQLITE_FULL, ENOSPC},    {SQLITE_CORRUPT, EUCLEAN},   {SQLITE_NOTADB, EUCLEAN},
        {SQLITE_NOMEM, ENOMEM},   {SQLITE_BUSY, EBUSY},        {SQLITE_LOCKED, EBUSY},
        {SQLITE_READONLY, EROFS}, {SQLITE_CONSTRAINT, EEXIST}, {SQLITE_PERM, EACCES},
    };
    int code = sqlite3_errcode(store->db) & 0xff;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (table[i].code == code)
            return table[i].errnum;
    }
    int system = sqlite3_system_errno(store->db);
    return (code == SQLITE_CANTOPEN || code == SQLITE_IOERR) && system > 0 ? system : EIO;
}

int database_error(struct store *store, struct error *err, const char *format, ...)
{
    int errnum = errno_of_sqlite(store);
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    enum error_code code = errnum == EUCLEAN                      ? ERROR_CORRUPT
                           : errnum == ENOSPC || errnum == ENOMEM ? ERROR_RESOURCES
                                                                  : ERROR_SYSTEM;
    error_set(err, code, errnum, "database %s: %s: %s", store->path, what,
              sqlite3_errmsg(store->db));
    if (err)
        snprintf(err->path, sizeof(err->path), "%s", store->path);
    return -errnum;
}

int database_run(struct store *store, const char *sql, struct error *err)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return database_error(store, err, "%.60s", sql);
    return 0;
}

int database_step_done(struct store *store, enum store_statement statement, const char *what,
                       struct error *err)
{
    sqlite3_stmt *prepared = store->statements[statement];
    int r = sqlite3_step(prepared);
    int result = r == SQLITE_DONE || r == SQLITE_ROW ? 0 : database_error(store, err, "%s", what);
    sqlite3_reset(prepared);
    return result;
}

int statement_prepare(struct store *store, enum store_statement statement, const char *sql,
                      struct error *err)
{
    if (!sql)
        return error_errno(err, ENOMEM, store->path, "database %s", store->path);
    if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &store->statements[statement], NULL) != SQLITE_OK)
        return database_error(store, err, "prepare '%.80s'", sql);
    return 0;
}

sqlite3_stmt *statement_key(struct store *store, enum store_statement statement, const char *key)
{
    sqlite3_stmt *prepared = store->statements[statement];
    sqlite3_bind_text(prepared, 1, key, -1, SQLITE_TRANSIENT);
    return prepared;
}

int database_transaction(struct store *store, store_write *write, enum store_statement statement,
                         const void *record, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    int r = database_step_done(store, STATEMENT_BEGIN, "begin", err);
    if (r == 0) {
        r = write(store, statement, record, err);
        if (r == 0)
            r = database_step_done(store, STATEMENT_COMMIT, "commit", err);
        /* SQLite may have rolled back by itself (full disk); else it is done here. */
        if (r < 0 && !sqlite3_get_autocommit(store->db))
            database_step_done(store, STATEMENT_ROLLBACK, "roll back", NULL);
    }
    pthread_mutex_unlock(&store->lock);
    return r;
}

int database_name_file(struct store *store, int r, struct error *err)
{
    if (err)
        snprintf(err->path, sizeof(err->path), "%s", store->path);
    return r;
}

int list_grow(struct store *store, void **list, size_t count, size_t record_size, struct error *err)
{
    if ((count & (count - 1)) != 0)
        return 0;
    void *grown = reallocarray(*list, count == 0 ? 1 : count * 2, record_size);
    if (!grown)
        return error_errno(err, ENOMEM, store->path, "list from %s", store->path);
    *list = grown;
    return 0;
}

/* The whole file is read once: it is small, and a broken page found later would be found in the
 * middle of an operation. */
static int check_pages(struct store *store, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        r = database_error(store, err, "check");
    } else {
        const char *answer = (const char *)sqlite3_column_text(statement, 0);
        if (!answer || strcmp(answer, "ok") != 0)
            r = error_set(err, ERROR_CORRUPT, EUCLEAN, "database %s is damaged: %s", store->path,
                          answer ? answer : "no answer");
    }
    sqlite3_finalize(statement);
    return r;
}

/* WAL is remembered in the file, the rest is set for each connection. synchronous=FULL: a commit
 * that was answered survives a power cut. */
static int configure(struct store *store, struct error *err)
{
    static const char *const pragmas[] = {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
                                          "PRAGMA foreign_keys = ON"};
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    for (size_t i = 0; i < ARRAY_SIZE(pragmas); i++) {
        int r = database_run(store, pragmas[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* SQLite would make the file readable for everybody. */
static int make_file(const char *path, struct error *err)
{
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, path, "open database %s", path);
    return 0;
}

static int open_all(struct store *store, struct error *err)
{
    int r = make_file(store->path, err);
    if (r < 0)
        return r;
    if (sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return store->db ? database_error(store, err, "open")
                         : error_errno(err, ENOMEM, store->path, "open database %s", store->path);
    r = configure(store, err);
    if (r == 0)
        r = check_pages(store, err);
    if (r == 0)
        r = schema_migrate(store, err);
    if (r == 0)
        r = statements_prepare(store, err);
    if (r == 0)
        r = snapshot_statements_prepare(store, err);
    if (r == 0)
        r = image_statements_prepare(store, err);
    if (r == 0)
        r = warm_statements_prepare(store, err);
    return r < 0 ? r : boot_statements_prepare(store, err);
}

struct store *store_open(const char *path, struct error *err)
{
    struct store *store = calloc(1, sizeof(*store));
    char *copy = strdup(path);
    if (!store || !copy) {
        free(store);
        free(copy);
        error_errno(err, ENOMEM, path, "open database %s", path);
        return NULL;
    }
    store->path = copy;
    pthread_mutex_init(&store->lock, NULL);
    if (open_all(store, err) < 0) {
        store_close(store);
        return NULL;
    }
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db);
    pthread_mutex_destroy(&store->lock);
    free(store->path);
    free(store);
}

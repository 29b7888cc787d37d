/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the connection, its prepared statements, and SQLite's errors in our words. */
#ifndef TINE_STORE_DATABASE_H
#define TINE_STORE_DATABASE_H

#include <pthread.h>
#include <sqlite3.h>

#include "store/store.h"

enum store_statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_INSERT,
    STATEMENT_UPDATE,
    STATEMENT_DELETE,
    STATEMENT_GET,
    STATEMENT_LIST,
    STATEMENT_DISKS,
    STATEMENT_DISK_INSERT,
    STATEMENT_DISKS_DELETE,
    STATEMENT_BY_ID,
    STATEMENT_BY_NAME,
    STATEMENT_BY_PREFIX,
    STATEMENT_COUNT,
};

struct store {
    pthread_mutex_t lock; /* guards the connection and its statements: one caller at a time */
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    char *path;
};

/* Fills `err` from SQLite's last error: "<formatted>: <SQLite's words>: <path>". The errno follows
 * from SQLite's code: SQLITE_FULL is ENOSPC, SQLITE_CORRUPT is EUCLEAN, ... Returns -errno. */
int database_error(struct store *store, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4), nonnull(3)));

/* Runs SQL that returns no rows. */
int database_run(struct store *store, const char *sql, struct error *err);
/* Runs one prepared statement to its end and resets it; `what` names it in messages. */
int database_step_done(struct store *store, enum store_statement statement, const char *what,
                       struct error *err);
/* Prepares every statement of the table. */
int statements_prepare(struct store *store, struct error *err);

/* schema.c: brings the file to this program's version, one transaction per step. */
int schema_migrate(struct store *store, struct error *err);

/* columns.c: the columns of the table `instances` and the fields of the record, in one table. */
char *columns_insert_sql(void); /* owner: caller; NULL: no memory */
char *columns_update_sql(void);
char *columns_select_sql(const char *rest);
/* Binds the record's fields, in order from parameter 1. */
int columns_bind(struct store *store, sqlite3_stmt *statement, const struct instance_record *record,
                 struct error *err);
/* Reads them back from a row of columns_select_sql(). A value that does not fit is ERROR_CORRUPT.
 */
int columns_read(struct store *store, sqlite3_stmt *statement, struct instance_record *record,
                 struct error *err);

#endif

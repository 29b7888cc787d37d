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
    STATEMENT_EXPIRIES,
    STATEMENT_RESTARTS,
    STATEMENT_DISKS,
    STATEMENT_DISK_INSERT,
    STATEMENT_DISKS_DELETE,
    STATEMENT_BY_ID,
    STATEMENT_BY_NAME,
    STATEMENT_BY_PREFIX,
    STATEMENT_SNAPSHOT_INSERT,
    STATEMENT_SNAPSHOT_DELETE,
    STATEMENT_SNAPSHOT_GET,
    STATEMENT_SNAPSHOT_LIST,
    STATEMENT_SNAPSHOT_DISKS,
    STATEMENT_SNAPSHOT_DISK_INSERT,
    STATEMENT_SNAPSHOT_DISKS_DELETE,
    STATEMENT_IMAGE_INSERT,
    STATEMENT_IMAGE_DELETE,
    STATEMENT_IMAGE_GET,
    STATEMENT_IMAGE_LIST,
    STATEMENT_WARM_SET,
    STATEMENT_WARM_DELETE,
    STATEMENT_WARM_LIST,
    STATEMENT_BOOT_GET,
    STATEMENT_BOOT_SET,
    STATEMENT_VMMS_FORGET,
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
/* Prepares one; `sql` NULL is lack of memory. */
int statement_prepare(struct store *store, enum store_statement statement, const char *sql,
                      struct error *err);
/* The statement with its first parameter bound to a text (NULL: SQL's null). */
sqlite3_stmt *statement_key(struct store *store, enum store_statement statement, const char *key);
/* A write is one transaction: `write` between begin and commit, rolled back when it fails. */
typedef int store_write(struct store *store, enum store_statement statement, const void *record,
                        struct error *err);
int database_transaction(struct store *store, store_write *write, enum store_statement statement,
                         const void *record, struct error *err);
/* For what is the caller's doing the message is about the record; the file goes to err->path.
 * Returns `r`. */
int database_name_file(struct store *store, int r, struct error *err);
/* Makes room for one more record in a list that grows by doubling. */
int list_grow(struct store *store, void **list, size_t count, size_t record_size,
              struct error *err);

/* instances.c, snapshots.c, images.c, warm.c, boot.c: prepare the statements of their tables. */
int statements_prepare(struct store *store, struct error *err);
int snapshot_statements_prepare(struct store *store, struct error *err);
int image_statements_prepare(struct store *store, struct error *err);
int warm_statements_prepare(struct store *store, struct error *err);
int boot_statements_prepare(struct store *store, struct error *err);

/* disks.c: the disks of an instance or a snapshot, in rows of their own. */
struct disk_statements {
    enum store_statement read, insert, delete;
};
int disks_write(struct store *store, const struct disk_statements *statements, const char *id,
                const struct instance_record *record, struct error *err);
int disks_read(struct store *store, const struct disk_statements *statements, const char *id,
               struct instance_record *record, struct error *err);

/* schema.c: brings the file to this program's version, one transaction per step. */
int schema_migrate(struct store *store, struct error *err);

/* columns.c: the columns of a table and the fields of its record, in one table. */
struct columns;
extern const struct columns instance_columns, snapshot_columns, image_columns;
char *columns_insert_sql(const struct columns *columns); /* owner: caller; NULL: no memory */
char *columns_update_sql(const struct columns *columns);
char *columns_select_sql(const struct columns *columns, const char *rest);
/* Binds the record's fields, in order from parameter 1. */
int columns_bind(struct store *store, sqlite3_stmt *statement, const struct columns *columns,
                 const void *record, struct error *err);
/* Reads them back from a row of columns_select_sql(). A value that does not fit is ERROR_CORRUPT.
 */
int columns_read(struct store *store, sqlite3_stmt *statement, const struct columns *columns,
                 void *record, struct error *err);

#endif

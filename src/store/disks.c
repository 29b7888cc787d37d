/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "store/database.h"

int disks_write(struct store *store, const struct disk_statements *statements, const char *id,
                const struct instance_record *record, struct error *err)
{
    statement_key(store, statements->delete, id);
    int r = database_step_done(store, statements->delete, "write disks", err);
    if (record->disk_count > GUEST_MAX_DISKS)
        return error_set(err, ERROR_INVALID, EINVAL, "write %s: %u disks", store->path,
                         record->disk_count);
    for (unsigned i = 0; r == 0 && i < record->disk_count; i++) {
        sqlite3_stmt *insert = statement_key(store, statements->insert, id);
        sqlite3_bind_int(insert, 2, (int)i);
        sqlite3_bind_int(insert, 3, record->disks[i].read_only);
        sqlite3_bind_int(insert, 4, record->disks[i].root);
        r = database_step_done(store, statements->insert, "write disks", err);
    }
    return r;
}

int disks_read(struct store *store, const struct disk_statements *statements, const char *id,
               struct instance_record *record, struct error *err)
{
    sqlite3_stmt *disks = statement_key(store, statements->read, id);
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
                           "database %s: the disks of '%s' make no sense", store->path, id);
    else if (r != SQLITE_DONE)
        result = database_error(store, err, "read disks");
    sqlite3_reset(disks);
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which boot of the host the rows are of: a pid and start time name a process only within one. */
#include <string.h>

#include "store/database.h"

int boot_statements_prepare(struct store *store, struct error *err)
{
    static const struct {
        enum store_statement statement;
        const char *sql;
    } texts[] = {
        {STATEMENT_BOOT_GET, "SELECT value FROM host WHERE key = 'boot_id' AND value = ?1"},
        {STATEMENT_BOOT_SET, "INSERT OR REPLACE INTO host VALUES ('boot_id', ?1)"},
        {STATEMENT_VMMS_FORGET, "UPDATE instances SET vmm_pid = 0, vmm_start_ticks = 0"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
        r = statement_prepare(store, texts[i].statement, texts[i].sql, err);
    return r;
}

static int boot_write(struct store *store, enum store_statement statement, const void *record,
                      struct error *err)
{
    sqlite3_stmt *get = statement_key(store, STATEMENT_BOOT_GET, record);
    int step = sqlite3_step(get);
    sqlite3_reset(get);
    if (step == SQLITE_ROW)
        return 0;
    if (step != SQLITE_DONE)
        return database_error(store, err, "read the boot id");
    statement_key(store, statement, record);
    int r = database_step_done(store, statement, "write the boot id", err);
    return r < 0 ? r : database_step_done(store, STATEMENT_VMMS_FORGET, "forget VMMs", err);
}

int store_boot(struct store *store, const char *boot_id, struct error *err)
{
    return database_transaction(store, boot_write, STATEMENT_BOOT_SET, boot_id, err);
}

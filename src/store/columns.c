/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "store/database.h"

enum column_kind {
    COLUMN_TEXT,
    COLUMN_STATE,
    COLUMN_BOOL,
    COLUMN_UNSIGNED,
    COLUMN_PID,
    COLUMN_U64,
    COLUMN_POLICIES, /* text, of policy/policy.h */
};

struct column {
    const char *name;
    enum column_kind kind;
    size_t offset, size;
};

struct columns {
    const char *table, *thing;
    const struct column *list; /* the id first */
    size_t count, record_size;
};

/* clang-format off */ /* its versions differ on braces in macros */
#define COLUMN_OF(record, column_name, field, column_kind)                                       \
    {.name = (column_name), .kind = (column_kind), .offset = offsetof(struct record, field),     \
     .size = sizeof(((struct record *)0)->field)}
/* clang-format on */
#define COLUMN(field, column_kind) COLUMN_OF(instance_record, #field, field, column_kind)

static const struct column instances[] = {
    COLUMN(id, COLUMN_TEXT),
    COLUMN(name, COLUMN_TEXT),
    COLUMN(image, COLUMN_TEXT),
    COLUMN(hypervisor, COLUMN_TEXT),
    COLUMN(state, COLUMN_STATE),
    COLUMN(state_error, COLUMN_TEXT),
    COLUMN(exit_message, COLUMN_TEXT),
    COLUMN(vcpus, COLUMN_UNSIGNED),
    COLUMN(memory_bytes, COLUMN_U64),
    COLUMN(has_initrd, COLUMN_BOOL),
    COLUMN(skip_guest_agent, COLUMN_BOOL),
    COLUMN(cmdline, COLUMN_TEXT),
    COLUMN(parent_id, COLUMN_TEXT),
    COLUMN(vmm_pid, COLUMN_PID),
    COLUMN(vmm_start_ticks, COLUMN_U64),
    COLUMN(created_at_ns, COLUMN_U64),
    COLUMN(started_at_ns, COLUMN_U64),
    COLUMN(stopped_at_ns, COLUMN_U64),
    COLUMN(memory_method, COLUMN_TEXT),
    COLUMN(memory_bytes_copied, COLUMN_U64),
    COLUMN(disk_bytes_copied, COLUMN_U64),
    COLUMN(tags, COLUMN_TEXT),
    COLUMN(compression, COLUMN_TEXT),
    COLUMN_OF(instance_record, "entrypoint", program.entrypoint, COLUMN_TEXT),
    COLUMN_OF(instance_record, "cmd", program.cmd, COLUMN_TEXT),
    COLUMN_OF(instance_record, "env", program.env, COLUMN_TEXT),
    COLUMN_OF(instance_record, "working_dir", program.working_dir, COLUMN_TEXT),
    COLUMN(has_exit_code, COLUMN_BOOL),
    COLUMN(exit_code, COLUMN_UNSIGNED),
    COLUMN(expires_at_ns, COLUMN_U64),
    COLUMN(ttl_ns, COLUMN_U64),
    COLUMN(policies, COLUMN_POLICIES),
    COLUMN(restart_attempts, COLUMN_UNSIGNED),
    COLUMN(restart_last_ns, COLUMN_U64),
    COLUMN(restart_next_ns, COLUMN_U64),
    COLUMN(restart_blocked, COLUMN_TEXT),
    COLUMN(cache_key, COLUMN_TEXT),
    COLUMN(paged, COLUMN_BOOL),
    COLUMN(memory_layers, COLUMN_UNSIGNED),
    COLUMN(memory_top, COLUMN_TEXT),
};

const struct columns instance_columns = {"instances", "instance", instances, ARRAY_SIZE(instances),
                                         sizeof(struct instance_record)};

#undef COLUMN
#define COLUMN(field, column_kind) COLUMN_OF(snapshot_record, #field, field, column_kind)
#define SOURCE(field, column_kind) COLUMN_OF(snapshot_record, #field, source.field, column_kind)

/* Of the source its identity, and what an instance made from the snapshot needs to be the same. */
static const struct column snapshots[] = {
    COLUMN(id, COLUMN_TEXT),
    COLUMN(name, COLUMN_TEXT),
    COLUMN(kind, COLUMN_STATE),
    COLUMN(created_at_ns, COLUMN_U64),
    COLUMN(size_bytes, COLUMN_U64),
    COLUMN(compression, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "source_instance_id", source.id, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "source_instance_name", source.name, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "source_hypervisor", source.hypervisor, COLUMN_TEXT),
    SOURCE(image, COLUMN_TEXT),
    SOURCE(vcpus, COLUMN_UNSIGNED),
    SOURCE(memory_bytes, COLUMN_U64),
    SOURCE(has_initrd, COLUMN_BOOL),
    SOURCE(skip_guest_agent, COLUMN_BOOL),
    SOURCE(cmdline, COLUMN_TEXT),
    COLUMN(tags, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "source_tags", source.tags, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "entrypoint", source.program.entrypoint, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "cmd", source.program.cmd, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "env", source.program.env, COLUMN_TEXT),
    COLUMN_OF(snapshot_record, "working_dir", source.program.working_dir, COLUMN_TEXT),
    SOURCE(ttl_ns, COLUMN_U64),
    SOURCE(policies, COLUMN_POLICIES),
    SOURCE(cache_key, COLUMN_TEXT),
    SOURCE(memory_layers, COLUMN_UNSIGNED),
    SOURCE(memory_top, COLUMN_TEXT),
};

const struct columns snapshot_columns = {"snapshots", "snapshot", snapshots, ARRAY_SIZE(snapshots),
                                         sizeof(struct snapshot_record)};

#undef COLUMN
#define COLUMN(field, column_kind) COLUMN_OF(image, #field, field, column_kind)

static const struct column images[] = {
    COLUMN(id, COLUMN_TEXT),
    COLUMN(name, COLUMN_TEXT),
    COLUMN(digest, COLUMN_TEXT),
    COLUMN(created_at_ns, COLUMN_U64),
    COLUMN(size_bytes, COLUMN_U64),
    COLUMN_OF(image, "entrypoint", program.entrypoint, COLUMN_TEXT),
    COLUMN_OF(image, "cmd", program.cmd, COLUMN_TEXT),
    COLUMN_OF(image, "env", program.env, COLUMN_TEXT),
    COLUMN_OF(image, "working_dir", program.working_dir, COLUMN_TEXT),
    COLUMN(tags, COLUMN_TEXT),
};

const struct columns image_columns = {"images", "image", images, ARRAY_SIZE(images),
                                      sizeof(struct image)};

typedef void column_writer(FILE *stream, const struct columns *columns, size_t i);

static void write_list(FILE *stream, const struct columns *columns, column_writer *write)
{
    for (size_t i = 0; i < columns->count; i++) {
        fputs(i > 0 ? ", " : "", stream);
        write(stream, columns, i);
    }
}

static void write_name(FILE *stream, const struct columns *columns, size_t i)
{
    fputs(columns->list[i].name, stream);
}

static void write_parameter(FILE *stream, const struct columns *columns, size_t i)
{
    fprintf(stream, "?%zu", i + 1);
}

static void write_assignment(FILE *stream, const struct columns *columns, size_t i)
{
    fprintf(stream, "%s = ?%zu", columns->list[i].name, i + 1);
}

static char *finish(FILE *stream, char **sql)
{
    if (fclose(stream) == 0)
        return *sql;
    free(*sql);
    return NULL;
}

char *columns_insert_sql(const struct columns *columns)
{
    char *sql = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&sql, &length);
    if (!stream)
        return NULL;
    fprintf(stream, "INSERT INTO %s (", columns->table);
    write_list(stream, columns, write_name);
    fputs(") VALUES (", stream);
    write_list(stream, columns, write_parameter);
    fputs(")", stream);
    return finish(stream, &sql);
}

char *columns_update_sql(const struct columns *columns)
{
    char *sql = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&sql, &length);
    if (!stream)
        return NULL;
    fprintf(stream, "UPDATE %s SET ", columns->table);
    write_list(stream, columns, write_assignment);
    fputs(" WHERE id = ?1", stream);
    return finish(stream, &sql);
}

char *columns_select_sql(const struct columns *columns, const char *rest)
{
    char *sql = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&sql, &length);
    if (!stream)
        return NULL;
    fputs("SELECT ", stream);
    write_list(stream, columns, write_name);
    fprintf(stream, " FROM %s %s", columns->table, rest);
    return finish(stream, &sql);
}

static bool text_ok(const char *text, size_t length)
{
    while (length > 0) {
        size_t taken = utf8_sequence(text, length);
        if (taken == 0 || *text == '\0')
            return false;
        text += taken;
        length -= taken;
    }
    return true;
}

static int bind_text(struct store *store, sqlite3_stmt *statement, int parameter,
                     const struct column *column, const char *text, struct error *err)
{
    size_t length = strnlen(text, column->size);
    if (length == column->size || !text_ok(text, length))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "write %s: %s is no UTF-8 text of at most %zu "
                         "bytes",
                         store->path, column->name, column->size - 1);
    return sqlite3_bind_text(statement, parameter, text, (int)length, SQLITE_TRANSIENT);
}

/* SQLite's integers are signed: a larger value would come back as another one. */
static int bind_u64(struct store *store, sqlite3_stmt *statement, int parameter,
                    const struct column *column, uint64_t value, struct error *err)
{
    if (value > INT64_MAX)
        return error_set(err, ERROR_INVALID, ERANGE, "write %s: %s is too large: %" PRIu64,
                         store->path, column->name, value);
    return sqlite3_bind_int64(statement, parameter, (sqlite3_int64)value);
}

static int bind_one(struct store *store, sqlite3_stmt *statement, int parameter,
                    const struct column *column, const void *record, struct error *err)
{
    const void *field = (const char *)record + column->offset;
    switch (column->kind) {
    case COLUMN_TEXT:
    case COLUMN_POLICIES:
        return bind_text(store, statement, parameter, column, field, err);
    case COLUMN_STATE:
        return sqlite3_bind_text(statement, parameter,
                                 instance_state_name(*(const enum instance_state *)field), -1,
                                 SQLITE_STATIC);
    case COLUMN_BOOL:
        return sqlite3_bind_int(statement, parameter, *(const bool *)field);
    case COLUMN_UNSIGNED:
        return sqlite3_bind_int64(statement, parameter, *(const unsigned *)field);
    case COLUMN_PID:
        return sqlite3_bind_int(statement, parameter, *(const pid_t *)field);
    default:
        return bind_u64(store, statement, parameter, column, *(const uint64_t *)field, err);
    }
}

int columns_bind(struct store *store, sqlite3_stmt *statement, const struct columns *columns,
                 const void *record, struct error *err)
{
    for (size_t i = 0; i < columns->count; i++) {
        int r = bind_one(store, statement, (int)i + 1, &columns->list[i], record, err);
        if (r > 0)
            return database_error(store, err, "bind %s", columns->list[i].name);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool read_text(sqlite3_stmt *statement, int i, const struct column *column, char *field)
{
    const char *text = (const char *)sqlite3_column_text(statement, i);
    size_t length = (size_t)sqlite3_column_bytes(statement, i);
    if (!text || length >= column->size || !text_ok(text, length))
        return false;
    memcpy(field, text, length);
    field[length] = '\0';
    return true;
}

static bool read_policies(sqlite3_stmt *statement, int i, const struct column *column, char *field)
{
    return read_text(statement, i, column, field) && policies_valid(field);
}

static bool read_state(sqlite3_stmt *statement, int i, enum instance_state *field)
{
    const char *text = (const char *)sqlite3_column_text(statement, i);
    return text && instance_state_parse(text, field) == 0;
}

static bool read_integer(sqlite3_stmt *statement, int i, const struct column *column, void *field)
{
    sqlite3_int64 value = sqlite3_column_int64(statement, i);
    int64_t limit = column->kind == COLUMN_BOOL       ? 1
                    : column->kind == COLUMN_UNSIGNED ? UINT32_MAX
                    : column->kind == COLUMN_PID      ? INT32_MAX
                                                      : INT64_MAX;
    if (value < 0 || value > limit)
        return false;
    if (column->kind == COLUMN_BOOL)
        *(bool *)field = value != 0;
    else if (column->kind == COLUMN_UNSIGNED)
        *(unsigned *)field = (unsigned)value;
    else if (column->kind == COLUMN_PID)
        *(pid_t *)field = (pid_t)value;
    else
        *(uint64_t *)field = (uint64_t)value;
    return true;
}

int columns_read(struct store *store, sqlite3_stmt *statement, const struct columns *columns,
                 void *record, struct error *err)
{
    memset(record, 0, columns->record_size);
    for (size_t i = 0; i < columns->count; i++) {
        const struct column *column = &columns->list[i];
        void *field = (char *)record + column->offset;
        bool ok = column->kind == COLUMN_TEXT ? read_text(statement, (int)i, column, field)
                  : column->kind == COLUMN_POLICIES
                      ? read_policies(statement, (int)i, column, field)
                  : column->kind == COLUMN_STATE ? read_state(statement, (int)i, field)
                                                 : read_integer(statement, (int)i, column, field);
        if (!ok)
            return error_set(err, ERROR_CORRUPT, EUCLEAN,
                             "database %s: %s '%s' has a %s that makes no sense", store->path,
                             columns->thing, (const char *)record + columns->list[0].offset,
                             column->name);
    }
    return 0;
}

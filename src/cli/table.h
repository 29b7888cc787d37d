/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people: aligned columns, made to fit the terminal by shortening the columns that may
 * be shortened. */
#ifndef TINE_CLI_TABLE_H
#define TINE_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#define TABLE_COLUMNS_MAX 12

struct table_column {
    const char *title;
    bool right;  /* align to the right: numbers */
    bool shrink; /* may be cut, ending in "..." */
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* row by row; owned */
    size_t row_count, capacity;
};

/* Adds a row of copies; the texts stay the caller's. */
void table_add(struct table *table, const char *const *cells);
/* Prints the rows under their titles, `width` columns wide at most (0: as wide as needed). */
void table_print(const struct table *table, size_t width);
void table_release(struct table *table);

/* The width of the terminal that standard output is, 0 if it is none. */
size_t terminal_width(void);

#endif

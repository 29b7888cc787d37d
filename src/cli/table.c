/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"

#define GAP          2
#define SHRUNK_MIN   8
#define CUT_MARK     "..."
#define CUT_MARK_LEN 3

size_t terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return 0;
    return size.ws_col;
}

void table_add(struct table *table, const char *const *cells)
{
    if (table->row_count == table->capacity) {
        size_t capacity = 2 * table->capacity + 16;
        char **grown = realloc(table->cells, capacity * table->column_count * sizeof(*grown));
        if (!grown)
            return;
        table->cells = grown;
        table->capacity = capacity;
    }
    char **row = table->cells + table->row_count++ * table->column_count;
    for (size_t i = 0; i < table->column_count; i++) {
        row[i] = strdup(cells[i]);
        /* Nothing in a cell may steer the terminal. */
        for (char *c = row[i]; c && *c; c++)
            *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
}

void table_release(struct table *table)
{
    for (size_t i = 0; i < table->row_count * table->column_count; i++)
        free(table->cells[i]);
    free(table->cells);
    table->cells = NULL;
    table->row_count = table->capacity = 0;
}

static const char *cell(const struct table *table, size_t row, size_t column)
{
    const char *text = table->cells[row * table->column_count + column];
    return text ? text : "";
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* Takes the excess off the widest columns that may shrink, one character at a time. */
static void widths_shrink(const struct table *table, size_t *widths, size_t excess)
{
    for (; excess > 0; excess--) {
        size_t widest = table->column_count;
        for (size_t i = 0; i < table->column_count; i++) {
            if (table->columns[i].shrink && widths[i] > SHRUNK_MIN &&
                (widest == table->column_count || widths[i] > widths[widest]))
                widest = i;
        }
        if (widest == table->column_count)
            return;
        widths[widest]--;
    }
}

static void widths_find(const struct table *table, size_t limit, size_t *widths)
{
    size_t total = GAP * (table->column_count - 1);
    for (size_t i = 0; i < table->column_count; i++) {
        widths[i] = text_width(table->columns[i].title);
        for (size_t row = 0; row < table->row_count; row++) {
            size_t width = text_width(cell(table, row, i));
            widths[i] = width > widths[i] ? width : widths[i];
        }
        total += widths[i];
    }
    if (limit > 0 && total > limit)
        widths_shrink(table, widths, total - limit);
}

static void print_cut(const char *text, size_t width)
{
    size_t shown = 0;
    for (; *text; text++) {
        bool starts = ((unsigned char)*text & 0xc0) != 0x80;
        if (starts && shown + CUT_MARK_LEN == width)
            break;
        shown += starts;
        fputc(*text, stdout);
    }
    fputs(CUT_MARK, stdout);
}

static void print_cell(const char *text, size_t width, bool right, bool last)
{
    size_t natural = text_width(text);
    int padding = natural < width ? (int)(width - natural) : 0;
    if (right)
        printf("%*s", padding, "");
    if (natural > width)
        print_cut(text, width);
    else
        fputs(text, stdout);
    if (!right && !last)
        printf("%*s", padding, "");
    fputs(last ? "\n" : "  ", stdout);
}

void table_print(const struct table *table, size_t width)
{
    size_t widths[TABLE_COLUMNS_MAX];
    widths_find(table, width, widths);
    for (size_t i = 0; i < table->column_count; i++)
        print_cell(table->columns[i].title, widths[i], table->columns[i].right,
                   i + 1 == table->column_count);
    for (size_t row = 0; row < table->row_count; row++) {
        for (size_t i = 0; i < table->column_count; i++)
            print_cell(cell(table, row, i), widths[i], table->columns[i].right,
                       i + 1 == table->column_count);
    }
}

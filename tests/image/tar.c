/* SPDX-License-Identifier: Apache-2.0 */
#include "tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CAPACITY ((size_t)16 << 20)

struct tar {
    struct archive *archive;
    char *data;
    size_t used;
};

struct tar *tar_begin(const char *filter)
{
    struct tar *tar = calloc(1, sizeof(*tar));
    assert_non_null(tar);
    tar->data = malloc(CAPACITY);
    assert_non_null(tar->data);
    tar->archive = archive_write_new();
    assert_int_equal(archive_write_set_format_pax(tar->archive), ARCHIVE_OK);
    if (strcmp(filter, "none") != 0)
        assert_int_equal(archive_write_add_filter_by_name(tar->archive, filter), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(tar->archive, tar->data, CAPACITY, &tar->used),
                     ARCHIVE_OK);
    return tar;
}

static void content_add(struct tar *tar, const struct tar_entry *entry, size_t size)
{
    static const char zeros[65536];
    size_t length = entry->content ? strlen(entry->content) : 0;
    assert_int_equal(archive_write_data(tar->archive, entry->content, length), length);
    for (size_t left = size - length; left > 0;) {
        size_t part = left < sizeof(zeros) ? left : sizeof(zeros);
        assert_int_equal(archive_write_data(tar->archive, zeros, part), part);
        left -= part;
    }
}

void tar_add(struct tar *tar, const struct tar_entry *wanted)
{
    /* Names are UTF-8, as they are in most archives. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
    locale_t before = uselocale(utf8);
    struct archive_entry *entry = archive_entry_new();
    size_t length = wanted->content ? strlen(wanted->content) : 0;
    size_t size = wanted->size > length ? wanted->size : length;
    archive_entry_set_pathname(entry, wanted->path);
    archive_entry_set_mode(entry, wanted->mode ? wanted->mode : (AE_IFREG | 0644));
    archive_entry_set_uid(entry, wanted->uid);
    archive_entry_set_gid(entry, wanted->gid);
    archive_entry_set_mtime(entry, 1000000000, 0);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_rdevmajor(entry, wanted->major);
    archive_entry_set_rdevminor(entry, wanted->minor);
    if (wanted->symlink)
        archive_entry_set_symlink(entry, wanted->symlink);
    if (wanted->hardlink)
        archive_entry_set_hardlink(entry, wanted->hardlink);
    if (wanted->attribute)
        archive_entry_xattr_add_entry(entry, wanted->attribute, wanted->value,
                                      strlen(wanted->value));
    assert_int_equal(archive_write_header(tar->archive, entry), ARCHIVE_OK);
    content_add(tar, wanted, size);
    uselocale(before);
    freelocale(utf8);
    archive_entry_free(entry);
}

char *tar_end(struct tar *tar, size_t *length)
{
    assert_int_equal(archive_write_close(tar->archive), ARCHIVE_OK);
    archive_write_free(tar->archive);
    char *data = tar->data;
    *length = tar->used;
    free(tar);
    return data;
}

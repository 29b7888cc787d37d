/* SPDX-License-Identifier: Apache-2.0 */
#include "import_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "tar.h"

#define PIECE     1000 /* no whole number of a tar's blocks */
#define DIRECTORY (S_IFDIR | 0755)

void import_open(struct import_fixture *fixture)
{
    char path[64];
    struct error err = {0};
    snprintf(path, sizeof(path), "%s/tine.db", fixture->data);
    fixture->store = store_open(path, &err);
    if (!fixture->store)
        fail_msg("%s", err.message);
    fixture->images = image_store_open(NULL, fixture->data, fixture->store, &err);
    if (!fixture->images)
        fail_msg("%s", err.message);
}

void import_close(struct import_fixture *fixture)
{
    image_store_close(fixture->images);
    store_close(fixture->store);
}

int import_setup(void **state)
{
    static struct import_fixture fixture;
    snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(fixture.dir));
    snprintf(fixture.data, sizeof(fixture.data), "%s/data", fixture.dir);
    assert_int_equal(mkdir(fixture.data, 0700), 0);
    char path[64];
    snprintf(path, sizeof(path), "%s/canary", fixture.dir);
    assert_int_equal(file_publish(AT_FDCWD, path, "alive", 5, 0644, NULL), 0);
    import_open(&fixture);
    *state = &fixture;
    return 0;
}

int import_teardown(void **state)
{
    struct import_fixture *fixture = *state;
    unsetenv("TINE_FAILPOINT");
    import_close(fixture);
    return tree_remove(AT_FDCWD, fixture->dir, NULL);
}

size_t names_left(const struct import_fixture *fixture)
{
    char path[64], *text = NULL;
    size_t count = 0, length;
    snprintf(path, sizeof(path), "%s/canary", fixture->dir);
    assert_int_equal(file_read_all(AT_FDCWD, path, 64, &text, &length, NULL), 0);
    assert_string_equal(text, "alive");
    free(text);
    snprintf(path, sizeof(path), "%s/images", fixture->data);
    _cleanup_(closedir) DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    return count;
}

size_t rows_left(const struct import_fixture *fixture)
{
    _cleanup_(free) struct image *list = NULL;
    size_t count = 0;
    assert_int_equal(image_list(fixture->images, &list, &count, NULL), 0);
    return count;
}

int import_request(const struct import_fixture *fixture, const struct image_import_request *request,
                   const char *data, size_t length, struct image *image, struct error *err)
{
    struct image_import *import = NULL;
    error_clear(err);
    int r = image_import_begin(fixture->images, request, &import, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < length; i += PIECE)
        image_import_feed(import, data + i, length - i < PIECE ? length - i : PIECE);
    return image_import_finish(import, image, err);
}

int import_tar(const struct import_fixture *fixture, const char *name, const char *data,
               size_t length, struct image *image, struct error *err)
{
    const struct image_import_request request = {.name = name};
    return import_request(fixture, &request, data, length, image, err);
}

void import_refused(const struct import_fixture *fixture, const char *data, size_t length,
                    enum error_code code, const char *words)
{
    struct image image;
    struct error err = {0};
    if (import_tar(fixture, "x", data, length, &image, &err) == 0)
        fail_msg("an import passes that should say \"%s\"", words);
    if (err.code != code || !strstr(err.message, words))
        fail_msg("not \"%s\" but %d \"%s\"", words, err.code, err.message);
    assert_non_null(strstr(err.message, "import docker.io/library/x:latest: "));
    assert_int_equal(names_left(fixture), 0);
    assert_int_equal(rows_left(fixture), 0);
}

char *disk_ask(const struct import_fixture *fixture, const struct image *image, const char *request)
{
    char command[512];
    char *text = calloc(1, 16384);
    assert_non_null(text);
    snprintf(command, sizeof(command),
             "PATH=$PATH:/usr/sbin:/sbin debugfs -R '%s' %s/images/%s.img 2>/dev/null", request,
             fixture->data, image->id);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    size_t n = fread(text, 1, 16383, pipe);
    text[n] = '\0';
    assert_int_equal(pclose(pipe), 0);
    return text;
}

void disk_says(const struct import_fixture *fixture, const struct image *image, const char *request,
               const char *words)
{
    _cleanup_(free) char *text = disk_ask(fixture, image, request);
    if (!strstr(text, words))
        fail_msg("%s: no \"%s\" in \"%s\"", request, words, text);
}

char *good_tar(const char *filter, size_t *length)
{
    static const struct tar_entry entries[] = {
        {.path = "./", .mode = DIRECTORY},
        {.path = "./etc/", .mode = S_IFDIR | 0555, .uid = 7, .gid = 8},
        {.path = "./etc/motd", .content = "hello", .uid = 1000, .gid = 1001},
        {.path = "etc/again", .hardlink = "./etc/motd"},
        {.path = "bin/tool", .mode = S_IFREG | 04755, .content = "#!"},
        {.path = "bin/link", .mode = S_IFLNK | 0777, .symlink = "/etc/../motd"},
        {.path = "a/b/c/d", .content = "deep"},
        {.path = "etc/\xc3\xa4", .content = "umlaut"},
        {.path = "noted", .attribute = "user.note", .value = "remember"},
        {.path = "pipe", .mode = S_IFIFO | 0600},
        {.path = "twice", .content = "first"},
        {.path = "twice", .content = "second"},
        {.path = "large", .content = "x", .size = 3 << 20},
    };
    struct tar *tar = tar_begin(filter);
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        tar_add(tar, &entries[i]);
    return tar_end(tar, length);
}

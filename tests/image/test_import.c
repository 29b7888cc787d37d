/* SPDX-License-Identifier: Apache-2.0 */
/* Imports of archives, good, hostile, cut off and too large, and what is left after each. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/digest.h"
#include "image/image.h"
#include "tar.h"

#define PIECE     1000 /* no whole number of a tar's blocks */
#define DIRECTORY (S_IFDIR | 0755)

struct fixture {
    char dir[32];  /* with what nobody may touch: "canary" */
    char data[48]; /* below it */
    struct store *store;
    struct image_store *images;
};

static void fixture_open(struct fixture *fixture)
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

static void fixture_close(struct fixture *fixture)
{
    image_store_close(fixture->images);
    store_close(fixture->store);
}

static int setup(void **state)
{
    static struct fixture fixture;
    snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(fixture.dir));
    snprintf(fixture.data, sizeof(fixture.data), "%s/data", fixture.dir);
    assert_int_equal(mkdir(fixture.data, 0700), 0);
    char path[64];
    snprintf(path, sizeof(path), "%s/canary", fixture.dir);
    assert_int_equal(file_publish(AT_FDCWD, path, "alive", 5, 0644, NULL), 0);
    fixture_open(&fixture);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    unsetenv("TINE_FAILPOINT");
    fixture_close(fixture);
    return tree_remove(AT_FDCWD, fixture->dir, NULL);
}

/* How many names there are in images/, and that nothing beside it has changed. */
static size_t names_left(const struct fixture *fixture)
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

static size_t rows_left(const struct fixture *fixture)
{
    _cleanup_(free) struct image *list = NULL;
    size_t count = 0;
    assert_int_equal(image_list(fixture->images, &list, &count, NULL), 0);
    return count;
}

static int import_request(const struct fixture *fixture, const struct image_import_request *request,
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

static int import(const struct fixture *fixture, const char *name, const char *data, size_t length,
                  struct image *image, struct error *err)
{
    const struct image_import_request request = {.name = name};
    return import_request(fixture, &request, data, length, image, err);
}

static void refused(const struct fixture *fixture, const char *data, size_t length,
                    enum error_code code, const char *words)
{
    struct image image;
    struct error err = {0};
    if (import(fixture, "x", data, length, &image, &err) == 0)
        fail_msg("an import passes that should say \"%s\"", words);
    if (err.code != code || !strstr(err.message, words))
        fail_msg("not \"%s\" but %d \"%s\"", words, err.code, err.message);
    assert_non_null(strstr(err.message, "import docker.io/library/x:latest: "));
    assert_int_equal(names_left(fixture), 0);
    assert_int_equal(rows_left(fixture), 0);
}

/* What debugfs(8) says about the image's disk. Owner: caller. */
static char *disk_ask(const struct fixture *fixture, const struct image *image, const char *request)
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

static void disk_says(const struct fixture *fixture, const struct image *image, const char *request,
                      const char *words)
{
    _cleanup_(free) char *text = disk_ask(fixture, image, request);
    if (!strstr(text, words))
        fail_msg("%s: no \"%s\" in \"%s\"", request, words, text);
}

static char *good_tar(const char *filter, size_t *length)
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

static void check_good(const struct fixture *fixture, const struct image *image)
{
    static const char *const says[][2] = {
        {"cat /etc/motd", "hello"},
        {"stat /etc/motd", "User:  1000   Group:  1001"},
        {"stat /etc/motd", "Links: 2"},
        {"stat /etc/motd", "Sun Sep  9 01:46:40 2001"},
        {"stat /etc", "Mode:  0555"},
        {"stat /etc", "User:     7   Group:     8"},
        {"cat /etc/again", "hello"},
        {"stat /bin/tool", "Mode:  04755"},
        {"stat /bin/link", "Fast link dest: \"/etc/../motd\""},
        {"stat /a/b/c", "Type: directory"},
        {"cat /a/b/c/d", "deep"},
        {"cat /etc/\xc3\xa4", "umlaut"},
        {"ea_list /noted", "user.note (8) = \"remember\""},
        {"stat /pipe", "Type: FIFO"},
        {"cat /twice", "second"},
        {"stat /large", "Size: 3145728"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(says); i++)
        disk_says(fixture, image, says[i][0], says[i][1]);
}

static void check_disk(const struct fixture *fixture, const struct image *image)
{
    char path[128], hex[DIGEST_HEX_SIZE];
    struct stat st;
    snprintf(path, sizeof(path), "%s/images/%s.img", fixture->data, image->id);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_size, image->size_bytes);
    assert_int_equal(digest_file(AT_FDCWD, path, hex, NULL), 0);
    assert_string_equal(image->digest + strlen(DIGEST_PREFIX), hex);
    char command[256];
    snprintf(command, sizeof(command),
             "PATH=$PATH:/usr/sbin:/sbin fsck.ext4 -f -n %s/images/%s.img >/dev/null 2>&1",
             fixture->data, image->id);
    assert_int_equal(system(command), 0);
}

static void test_filters(void **state)
{
    static const char *const filters[] = {"none", "gzip", "xz", "zstd"};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct image image, found;
        struct error err = {0};
        size_t length;
        _cleanup_(free) char *data = good_tar(filters[i], &length);
        if (import(fixture, filters[i], data, length, &image, &err) < 0)
            fail_msg("%s", err.message);
        check_good(fixture, &image);
        check_disk(fixture, &image);
        assert_int_equal(image_get(fixture->images, filters[i], &found, &err), 0);
        assert_string_equal(found.digest, image.digest);
        assert_int_equal(names_left(fixture), i + 1);
    }
}

static void test_record(void **state)
{
    struct fixture *fixture = *state;
    const struct image_import_request request = {.name = "ghcr.io/a/b:1",
                                                 .program = {.entrypoint = "[\"/bin/tool\"]",
                                                             .cmd = "[\"-x\"]",
                                                             .env = "{\"A\":\"b\"}",
                                                             .working_dir = "/etc"},
                                                 .tags = "{\"k\":\"v\"}"};
    struct image image, found;
    struct error err = {0};
    char reference[256];
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    assert_int_equal(import_request(fixture, &request, data, length, &image, &err), 0);
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(image_get(fixture->images, "ghcr.io/a/b:1", &found, &err), 0);
    assert_string_equal(found.name, "ghcr.io/a/b:1");
    assert_string_equal(found.program.entrypoint, request.program.entrypoint);
    assert_string_equal(found.program.cmd, request.program.cmd);
    assert_string_equal(found.program.env, request.program.env);
    assert_string_equal(found.program.working_dir, request.program.working_dir);
    assert_string_equal(found.tags, request.tags);
    assert_string_equal(found.digest, image.digest);
    assert_int_equal(found.size_bytes, image.size_bytes);
    assert_int_equal(found.created_at_ns, image.created_at_ns);
    snprintf(reference, sizeof(reference), "ghcr.io/a/b@%s", image.digest);
    assert_int_equal(image_get(fixture->images, reference, &found, &err), 0);
    assert_string_equal(found.id, image.id);
    snprintf(reference, sizeof(reference), "ghcr.io/a/bb@%s", image.digest);
    assert_int_equal(image_get(fixture->images, reference, &found, &err), -ENOENT);
    assert_int_equal(image_get(fixture->images, "ghcr.io/a/b", &found, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

/* Of this thread, and so of the threads it starts. Returns whether it had it. */
static bool may_make_devices(bool may)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    bool had = data[0].effective & (1u << CAP_MKNOD);
    data[0].effective &= ~(1u << CAP_MKNOD);
    data[0].effective |= may ? data[0].permitted & (1u << CAP_MKNOD) : 0;
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
    return had;
}

/* Kept by whoever may make them, left out by whoever may not. */
static void test_devices(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    size_t length;
    struct tar *tar = tar_begin("none");
    tar_add(tar, &(struct tar_entry){
                     .path = "dev/null", .mode = S_IFCHR | 0666, .major = 1, .minor = 3});
    tar_add(tar, &(struct tar_entry){.path = "dev/vda", .mode = S_IFBLK | 0600, .major = 254});
    tar_add(tar, &(struct tar_entry){.path = "dev/file", .content = "kept"});
    _cleanup_(free) char *data = tar_end(tar, &length);
    bool may = may_make_devices(false);
    int r = import(fixture, "without", data, length, &image, &err);
    may_make_devices(may);
    if (r < 0)
        fail_msg("%s", err.message);
    disk_says(fixture, &image, "cat /dev/file", "kept");
    _cleanup_(free) char *names = disk_ask(fixture, &image, "ls /dev");
    assert_null(strstr(names, "null"));
    assert_null(strstr(names, "vda"));
    if (!may)
        return;
    assert_int_equal(import(fixture, "with", data, length, &image, &err), 0);
    disk_says(fixture, &image, "stat /dev/null", "Type: character special");
    disk_says(fixture, &image, "stat /dev/vda", "Type: block special");
}

static void test_hostile(void **state)
{
    static const struct {
        struct tar_entry entries[3];
        const char *words;
    } cases[] = {
        {{{.path = "/etc/passwd", .content = "x"}}, "leads out of the archive"},
        {{{.path = "../canary", .content = "dead"}}, "\"../canary\": its name leads out"},
        {{{.path = "a/../../canary", .content = "dead"}}, "leads out"},
        {{{.path = "./../canary", .content = "dead"}}, "leads out"},
        {{{.path = "..", .mode = DIRECTORY}}, "leads out"},
        {{{.path = "a//b", .content = "x"}}, "leads out"},
        {{{.path = "a/./b", .content = "x"}}, "leads out"},
        {{{.path = "out", .mode = S_IFLNK | 0777, .symlink = "../../.."},
          {.path = "out/canary", .content = "dead"}},
         "\"out/canary\""},
        {{{.path = "out", .mode = S_IFLNK | 0777, .symlink = "/tmp"},
          {.path = "out/tine-test-x/y", .content = "dead"}},
         "\"out/tine-test-x/y\""},
        {{{.path = "here", .mode = DIRECTORY},
          {.path = "in", .mode = S_IFLNK | 0777, .symlink = "here"},
          {.path = "in/file", .content = "x"}},
         "\"in/file\""},
        {{{.path = "hard", .hardlink = "../../../canary"}}, "leads out"},
        {{{.path = "hard", .hardlink = "/etc/passwd"}}, "leads out"},
        {{{.path = "hard", .hardlink = "not/there"}}, "\"hard\""},
        {{{.path = "out", .mode = S_IFLNK | 0777, .symlink = "/etc"},
          {.path = "hard", .hardlink = "out/passwd"}},
         "\"hard\""},
        {{{.path = "d/f", .content = "x"}, {.path = "d", .content = "y"}}, "\"d\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length;
        struct tar *tar = tar_begin("none");
        for (size_t k = 0; k < 3 && cases[i].entries[k].path; k++)
            tar_add(tar, &cases[i].entries[k]);
        _cleanup_(free) char *data = tar_end(tar, &length);
        refused(*state, data, length, ERROR_INVALID, cases[i].words);
    }
}

/* A symbolic link that is replaced is replaced itself, and links may lead anywhere: who follows
 * them is in the guest. */
static void test_links(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    size_t length;
    struct tar *tar = tar_begin("none");
    tar_add(tar, &(struct tar_entry){.path = "l", .mode = S_IFLNK | 0777, .symlink = "/etc/motd"});
    tar_add(tar, &(struct tar_entry){.path = "l", .content = "own"});
    tar_add(tar, &(struct tar_entry){.path = "up", .mode = S_IFLNK | 0777, .symlink = "../../.."});
    tar_add(tar, &(struct tar_entry){.path = "same", .hardlink = "up"});
    _cleanup_(free) char *data = tar_end(tar, &length);
    if (import(fixture, "x", data, length, &image, &err) < 0)
        fail_msg("%s", err.message);
    disk_says(fixture, &image, "cat /l", "own");
    disk_says(fixture, &image, "stat /same", "link dest: \"../../..\"");
}

/* Wherever an archive is cut, that is noticed. */
static void test_cut(void **state)
{
    static const char *const filters[] = {"none", "gzip", "xz", "zstd"};
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct tar *tar = tar_begin(filters[i]);
        size_t length;
        tar_add(tar, &(struct tar_entry){.path = "a", .content = "text", .size = 700});
        tar_add(tar, &(struct tar_entry){.path = "b", .content = "text"});
        _cleanup_(free) char *data = tar_end(tar, &length);
        /* A plain tar is 1024 + 512 long with its entries, then come zeros. */
        size_t end = i == 0 ? 2560 : length;
        for (size_t cut = 0; cut < end; cut += i == 0 ? 256 : 7)
            refused(*state, data, cut, ERROR_INVALID, "the archive is");
    }
}

static void test_garbage(void **state)
{
    char noise[8192];
    unsigned value = 1;
    for (size_t i = 0; i < sizeof(noise); i++) {
        value = value * 1103515245u + 12345u;
        noise[i] = (char)(value >> 16);
    }
    refused(*state, noise, sizeof(noise), ERROR_INVALID, "the archive is no good tar");
    refused(*state, "", 0, ERROR_INVALID, "the archive is");
    memset(noise, 0, sizeof(noise));
    refused(*state, noise, sizeof(noise), ERROR_INVALID, "the archive is");
    size_t length;
    _cleanup_(free) char *data = good_tar("gzip", &length);
    memset(data + length / 2, 0x55, 16);
    refused(*state, data, length, ERROR_INVALID, "the archive is no good tar");
    _cleanup_(free) char *plain = good_tar("none", &length);
    plain[148] ^= 1; /* a header's checksum */
    refused(*state, plain, length, ERROR_INVALID, "the archive is no good tar");
}

static void test_limits(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    size_t length;
    struct tar *tar = tar_begin("none");
    tar_add(tar, &(struct tar_entry){.path = "a", .content = "12345678"});
    tar_add(tar, &(struct tar_entry){.path = "x/y/z", .content = "9"});
    _cleanup_(free) char *data = tar_end(tar, &length);
    struct image_import_request request = {.name = "x", .bytes_limit = 8};
    assert_int_equal(import_request(fixture, &request, data, length, &image, &err), -EFBIG);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_non_null(strstr(err.message, "more than the limit of 8 bytes (at \"x/y/z\")"));
    request = (struct image_import_request){.name = "x", .inodes_limit = 3};
    assert_int_equal(import_request(fixture, &request, data, length, &image, &err), -EFBIG);
    assert_non_null(strstr(err.message, "limit of 3 files and directories (at \"x/y/z\")"));
    assert_int_equal(names_left(fixture), 0);
    request = (struct image_import_request){.name = "x", .bytes_limit = 9, .inodes_limit = 4};
    assert_int_equal(import_request(fixture, &request, data, length, &image, &err), 0);
}

static void test_names(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *name;
        enum error_code code;
        const char *words;
    } cases[] = {
        {"a b", ERROR_INVALID, "is not an image reference"},
        {"", ERROR_INVALID, "is not an image reference"},
        {"tine/guest", ERROR_NAME, "the guest kit's name"},
        {"x@" DIGEST_PREFIX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         ERROR_INVALID, "its digest follows"},
        {"taken", ERROR_NAME, "there is an image docker.io/library/taken:latest already"},
        {"docker.io/library/taken:latest", ERROR_NAME, "already"},
    };
    struct image image;
    struct error err = {0};
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    assert_int_equal(import(fixture, "taken", data, length, &image, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(import(fixture, cases[i].name, data, length, &image, &err) < 0);
        assert_int_equal(err.code, cases[i].code);
        if (!strstr(err.message, cases[i].words))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].words, err.message);
    }
    char name[400];
    snprintf(name, sizeof(name), "%0200d:%0100d", 0, 0);
    assert_int_equal(import(fixture, name, data, length, &image, &err), -ENAMETOOLONG);
    assert_int_equal(names_left(fixture), 1);
}

/* What an instance would be refused with is not kept for it in an image. */
static void test_bad_program(void **state)
{
    struct fixture *fixture = *state;
    char words[300 * 4 + 2] = "[", tags[5000] = "";
    for (size_t i = 0; i < 300; i++)
        strcat(words, i == 299 ? "\"a\"]" : "\"a\",");
    memset(tags, ' ', sizeof(tags) - 1);
    const struct {
        struct image_import_request request;
        const char *words;
    } cases[] = {
        {{.program.working_dir = "relative"}, "working_dir: \"relative\" is not an absolute path"},
        {{.program.entrypoint = words}, "entrypoint: 300 strings, at most 256 are possible"},
        {{.program.cmd = words}, "cmd: 300 strings"},
        {{.program.cmd = "[\"\"]"}, "cmd: its first string is empty"},
        {{.program.cmd = "[1]"}, "cmd: must be an array of strings"},
        {{.program.env = "{\"a=b\":\"c\"}"}, "env: \"a=b\" is not a variable's name"},
        {{.program.env = "[]"}, "env: must be an object of strings"},
        {{.tags = tags}, "tags: more than 4095 bytes in all"},
    };
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image_import_request request = cases[i].request;
        struct image image;
        struct error err = {0};
        request.name = "x";
        if (import_request(fixture, &request, data, length, &image, &err) == 0)
            fail_msg("\"%s\" is expected", cases[i].words);
        assert_int_equal(err.code, ERROR_INVALID);
        if (!strstr(err.message, cases[i].words))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].words, err.message);
    }
    assert_int_equal(names_left(fixture), 0);
}

/* Two at once under one name: one of them gets it. */
static void test_race(void **state)
{
    struct fixture *fixture = *state;
    const struct image_import_request request = {.name = "x"};
    struct image_import *imports[2];
    struct image image;
    struct error err = {0};
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(image_import_begin(fixture->images, &request, &imports[i], &err), 0);
        assert_true(image_import_feed(imports[i], data, length));
    }
    assert_int_equal(image_import_finish(imports[0], &image, &err), 0);
    assert_int_equal(image_import_finish(imports[1], &image, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_NAME);
    assert_int_equal(names_left(fixture), 1);
}

static void test_cancel(void **state)
{
    struct fixture *fixture = *state;
    const struct image_import_request request = {.name = "x"};
    struct image_import *import = NULL;
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    for (size_t fed = 0; fed <= length; fed += length / 3) {
        assert_int_equal(image_import_begin(fixture->images, &request, &import, NULL), 0);
        image_import_feed(import, data, fed);
        image_import_cancel(import);
        assert_int_equal(names_left(fixture), 0);
        assert_int_equal(rows_left(fixture), 0);
    }
    image_import_cancel(NULL);
}

/* Whoever goes on feeding an import that has failed is not stopped by a signal. */
static void test_feed_on(void **state)
{
    struct fixture *fixture = *state;
    const struct image_import_request request = {.name = "x"};
    static const char noise[65536] = "no tar";
    struct image_import *import = NULL;
    struct image image;
    struct error err = {0};
    assert_int_equal(image_import_begin(fixture->images, &request, &import, NULL), 0);
    while (image_import_feed(import, noise, sizeof(noise))) {
    }
    assert_false(image_import_feed(import, noise, sizeof(noise)));
    assert_int_equal(image_import_finish(import, &image, &err), -EINVAL);
}

static void test_delete(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    struct stack_result result;
    struct stat st;
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    assert_int_equal(import(fixture, "x", data, length, &image, &err), 0);
    _cleanup_(close) int dirfd = dir_open(AT_FDCWD, fixture->dir, &err);
    const struct stack_file to = {dirfd, "0.img", "guests/x/disks/0.img"};
    assert_int_equal(image_share(fixture->images, &image, &to, &result, &err), 0);
    assert_int_equal(result.method, STACK_LINK);
    assert_int_equal(result.link_count, 2);
    assert_int_equal(image_delete(fixture->images, "x", &err), 0);
    assert_int_equal(names_left(fixture), 0);
    assert_int_equal(rows_left(fixture), 0);
    assert_int_equal(fstatat(dirfd, "0.img", &st, 0), 0);
    assert_int_equal(st.st_size, image.size_bytes);
    assert_int_equal(image_delete(fixture->images, "x", &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    const struct stack_file again = {dirfd, "1.img", "guests/x/disks/1.img"};
    assert_int_equal(image_share(fixture->images, &image, &again, &result, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_int_equal(import(fixture, "x", data, length, &image, &err), 0);
}

/* A step fails: nothing is left, and the name is free. */
static void test_failures(void **state)
{
    struct fixture *fixture = *state;
    static const char *const points[] = {"import-unpacked=ENOSPC", "import-disk=EIO",
                                         "import-inserted=EIO"};
    struct image image;
    struct error err = {0};
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_true(import(fixture, "x", data, length, &image, &err) < 0);
        assert_non_null(strstr(err.message, "failpoint"));
        assert_int_equal(names_left(fixture), 0);
        assert_int_equal(rows_left(fixture), 0);
    }
    unsetenv("TINE_FAILPOINT");
    assert_int_equal(import(fixture, "x", data, length, &image, &err), 0);
}

/* What a tined that was killed has left is gone at the next start. */
static void test_sweep(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    char path[192];
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    assert_int_equal(import(fixture, "kept", data, length, &image, &err), 0);
    struct image half = image;
    snprintf(half.id, sizeof(half.id), "%024d", 7);
    snprintf(half.name, sizeof(half.name), "docker.io/library/half:latest");
    assert_int_equal(store_image_insert(fixture->store, &half, &err), 0);
    snprintf(path, sizeof(path), "%s/images/%s.tine-tmp-0123456789abcdef/tree/etc", fixture->data,
             half.id);
    assert_int_equal(dir_make_all(path, &err), 0);
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(names_left(fixture), 1);
    assert_int_equal(rows_left(fixture), 1);
    check_good(fixture, &image);
}

/* While it unpacks, and while the disk image is made. */
static void test_full_disk(void **state)
{
    struct fixture *fixture = *state;
    static const char *const sizes[] = {"size=1m", "size=4m"};
    struct image image;
    size_t length;
    struct tar *tar = tar_begin("zstd");
    for (int i = 0; i < 8; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        char text[300000];
        memset(text, 'a' + i, sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        tar_add(tar, &(struct tar_entry){.path = name, .content = text});
    }
    _cleanup_(free) char *data = tar_end(tar, &length);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char path[64];
        struct error err = {0};
        snprintf(path, sizeof(path), "%s/images", fixture->data);
        assert_int_equal(mount("none", path, "tmpfs", 0, sizes[i]), 0);
        image_store_close(fixture->images);
        fixture->images = image_store_open(NULL, fixture->data, fixture->store, &err);
        int r = import(fixture, "x", data, length, &image, &err);
        size_t left = names_left(fixture);
        image_store_close(fixture->images);
        assert_int_equal(umount2(path, MNT_DETACH), 0);
        fixture->images = image_store_open(NULL, fixture->data, fixture->store, NULL);
        if (r >= 0 || err.code != ERROR_RESOURCES)
            fail_msg("%s: %d \"%s\"", sizes[i], r, err.message);
        assert_int_equal(left, 0);
        assert_int_equal(rows_left(fixture), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_filters),   TEST(test_record),      TEST(test_hostile),  TEST(test_devices),
        TEST(test_links),     TEST(test_cut),         TEST(test_garbage),  TEST(test_limits),
        TEST(test_names),     TEST(test_bad_program), TEST(test_race),     TEST(test_cancel),
        TEST(test_feed_on),   TEST(test_delete),      TEST(test_failures), TEST(test_sweep),
        TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

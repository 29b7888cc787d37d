/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that are hostile, cut off, garbage or too large, and requests that are wrong: none of
 * them leaves anything. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/digest.h"
#include "import_fixture.h"
#include "tar.h"

#define DIRECTORY (S_IFDIR | 0755)

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
        import_refused(*state, data, length, ERROR_INVALID, cases[i].words);
    }
}

/* A symbolic link that is replaced is replaced itself, and links may lead anywhere: who follows
 * them is in the guest. */
static void test_links(void **state)
{
    struct import_fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    size_t length;
    struct tar *tar = tar_begin("none");
    tar_add(tar, &(struct tar_entry){.path = "l", .mode = S_IFLNK | 0777, .symlink = "/etc/motd"});
    tar_add(tar, &(struct tar_entry){.path = "l", .content = "own"});
    tar_add(tar, &(struct tar_entry){.path = "up", .mode = S_IFLNK | 0777, .symlink = "../../.."});
    tar_add(tar, &(struct tar_entry){.path = "same", .hardlink = "up"});
    _cleanup_(free) char *data = tar_end(tar, &length);
    if (import_tar(fixture, "x", data, length, &image, &err) < 0)
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
            import_refused(*state, data, cut, ERROR_INVALID, "the archive is");
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
    import_refused(*state, noise, sizeof(noise), ERROR_INVALID, "the archive is no good tar");
    import_refused(*state, "", 0, ERROR_INVALID, "the archive is");
    memset(noise, 0, sizeof(noise));
    import_refused(*state, noise, sizeof(noise), ERROR_INVALID, "the archive is");
    size_t length;
    _cleanup_(free) char *data = good_tar("gzip", &length);
    memset(data + length / 2, 0x55, 16);
    import_refused(*state, data, length, ERROR_INVALID, "the archive is no good tar");
    _cleanup_(free) char *plain = good_tar("none", &length);
    plain[148] ^= 1; /* a header's checksum */
    import_refused(*state, plain, length, ERROR_INVALID, "the archive is no good tar");
}

static void test_limits(void **state)
{
    struct import_fixture *fixture = *state;
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
    struct import_fixture *fixture = *state;
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
    assert_int_equal(import_tar(fixture, "taken", data, length, &image, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(import_tar(fixture, cases[i].name, data, length, &image, &err) < 0);
        assert_int_equal(err.code, cases[i].code);
        if (!strstr(err.message, cases[i].words))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].words, err.message);
    }
    char name[400];
    snprintf(name, sizeof(name), "%0200d:%0100d", 0, 0);
    assert_int_equal(import_tar(fixture, name, data, length, &image, &err), -ENAMETOOLONG);
    assert_int_equal(names_left(fixture), 1);
}

/* What an instance would be refused with is not kept for it in an image. */
static void test_bad_program(void **state)
{
    struct import_fixture *fixture = *state;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, import_setup, import_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hostile), TEST(test_links), TEST(test_cut),         TEST(test_garbage),
        TEST(test_limits),  TEST(test_names), TEST(test_bad_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

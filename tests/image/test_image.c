/* SPDX-License-Identifier: Apache-2.0 */
/* References to images, and the guest kit as an image. */
#include <errno.h>
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
#include "image/reference.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_references(void **state)
{
    static const struct {
        const char *text, *normal;
    } cases[] = {
        {"alpine", "docker.io/library/alpine:latest"},
        {"alpine:3.20", "docker.io/library/alpine:3.20"},
        {"tine/guest", "docker.io/tine/guest:latest"},
        {"docker.io/alpine", "docker.io/library/alpine:latest"},
        {"docker.io/library/nginx:alpine", "docker.io/library/nginx:alpine"},
        {"ghcr.io/a/b/c:v1.2-x_y", "ghcr.io/a/b/c:v1.2-x_y"},
        {"localhost/x", "localhost/x:latest"},
        {"localhost:5000/x:1", "localhost:5000/x:1"},
        {"Registry.Example:443/x", "Registry.Example:443/x:latest"},
        {"a.b", "docker.io/library/a.b:latest"},
        {"a__b/c---d", "docker.io/a__b/c---d:latest"},
        {"x@sha256:" HEX, "docker.io/library/x@sha256:" HEX},
        {"x:tag@sha256:" HEX, "docker.io/library/x@sha256:" HEX},
        {"localhost:5000", "docker.io/library/localhost:5000"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image_reference reference;
        char normal[IMAGE_REFERENCE_SIZE];
        if (image_reference_parse(cases[i].text, &reference, NULL) < 0)
            fail_msg("\"%s\" does not parse", cases[i].text);
        image_reference_format(&reference, normal);
        assert_string_equal(normal, cases[i].normal);
    }
}

static void test_bad_references(void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        "@",
        "/",
        "a/",
        "/a",
        "a//b",
        "A",
        "a/B",
        "a b",
        "a:",
        "a:-x",
        "a:.x",
        "a:b:c",
        "a:b/c",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "../a",
        "a/../b",
        "a@",
        "a@sha256:",
        "a\n",
        "a\xc3\xa4",
        "a%2Fb",
        "a:b c",
        ".x.y/z",
        "a:b@c",
        "x.y:/z",
        "x.y:1a/z",
        "a@md5:" HEX,
        "a@sha256:0" HEX,
        "a@sha256:F" HEX,
        "x.y:123456/z",
        "2..2/2",
        "x-.y/z",
        "x.-y/z",
        "x.y./z",
        "x_.y/z",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct image_reference reference;
        struct error err = {0};
        if (image_reference_parse(bad[i], &reference, &err) == 0)
            fail_msg("\"%s\" passes", bad[i]);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(strstr(err.message, bad[i]));
    }
    struct image_reference reference;
    char text[1024];
    snprintf(text, sizeof(text), "%0250d", 0);
    assert_int_equal(image_reference_parse(text, &reference, NULL), -EINVAL);
    snprintf(text, sizeof(text), "a:%0129d", 0);
    assert_int_equal(image_reference_parse(text, &reference, NULL), -EINVAL);
    snprintf(text, sizeof(text), "a:%0128d", 0);
    assert_int_equal(image_reference_parse(text, &reference, NULL), 0);
    snprintf(text, sizeof(text), "%01000d", 0);
    assert_int_equal(image_reference_parse(text, &reference, NULL), -EINVAL);
}

static void test_kit_names(void **state)
{
    static const char *const kit[] = {"tine/guest", "tine/guest:latest", "docker.io/tine/guest",
                                      "docker.io/tine/guest:latest"};
    static const char *const other[] = {"guest", "tine/guest:1",          "ghcr.io/tine/guest", "",
                                        "T",     "tine/guest@sha256:" HEX};
    for (size_t i = 0; i < ARRAY_SIZE(kit); i++)
        assert_true(image_reference_is_kit(kit[i]));
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        assert_false(image_reference_is_kit(other[i]));
}

struct data {
    char path[32];
    struct store *store;
};

static int setup(void **state)
{
    static struct data data;
    char path[64];
    snprintf(data.path, sizeof(data.path), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(data.path));
    snprintf(path, sizeof(path), "%s/tine.db", data.path);
    data.store = store_open(path, NULL);
    assert_non_null(data.store);
    *state = &data;
    return 0;
}

static int teardown(void **state)
{
    struct data *data = *state;
    store_close(data->store);
    return tree_remove(AT_FDCWD, data->path, NULL);
}

static struct image_store *images_open(const struct data *data, const char *kit)
{
    struct image_store *images = image_store_open(kit, data->path, data->store, NULL);
    assert_non_null(images);
    return images;
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    assert_int_equal(file_publish(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

static size_t list_count(struct image_store *store)
{
    _cleanup_(free) struct image *images = NULL;
    size_t count = 7;
    struct error err = {0};
    assert_int_equal(image_list(store, &images, &count, &err), 0);
    assert_int_equal(err.errnum, 0);
    return count;
}

static void test_no_kit(void **state)
{
    char directory[] = "/tmp/tine-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    struct image image;
    struct error err = {0};
    const char *const kits[] = {NULL, "/nonexistent/kit", directory};
    for (size_t i = 0; i < ARRAY_SIZE(kits); i++) {
        struct image_store *store = images_open(*state, kits[i]);
        assert_int_equal(list_count(store), 0);
        assert_int_equal(image_get(store, "tine/guest", &image, &err), -ENOENT);
        assert_int_equal(err.code, ERROR_NOT_FOUND);
        image_store_close(store);
    }
    /* Half a kit is none. */
    write_file(directory, "vmlinux", "kernel");
    struct image_store *store = images_open(*state, directory);
    assert_int_equal(list_count(store), 0);
    image_store_close(store);
    assert_int_equal(tree_remove(AT_FDCWD, directory, NULL), 0);
}

/* $ printf initrd >initrd.img; printf kernel >vmlinux; sha256sum initrd.img vmlinux | sha256sum */
#define KIT_DIGEST "sha256:d5fb8adbea7ab23240670f24d2b86f07a0c705d94103800a528414f816b76100"

static void test_kit(void **state)
{
    char directory[] = "/tmp/tine-test-XXXXXX", by_digest[128];
    struct image image, changed;
    struct error err = {0};
    assert_non_null(mkdtemp(directory));
    write_file(directory, "initrd.img", "initrd");
    write_file(directory, "vmlinux", "kernel");
    struct image_store *store = images_open(*state, directory);
    assert_int_equal(list_count(store), 1);
    assert_int_equal(image_get(store, "docker.io/tine/guest", &image, &err), 0);
    assert_string_equal(image.name, IMAGE_KIT);
    assert_string_equal(image.digest, KIT_DIGEST);
    assert_int_equal(image.size_bytes, 12);
    assert_true(image.created_at_ns > 0);
    snprintf(by_digest, sizeof(by_digest), "tine/guest@%s", image.digest);
    assert_int_equal(image_get(store, by_digest, &image, &err), 0);
    write_file(directory, "vmlinux", "Kernel"); /* another file: another digest */
    assert_int_equal(image_get(store, by_digest, &changed, &err), -ENOENT);
    assert_int_equal(image_get(store, "tine/guest", &changed, NULL), 0);
    assert_string_not_equal(changed.digest, image.digest);
    assert_int_equal(image_get(store, "tine/guest:1", &image, NULL), -ENOENT);
    assert_int_equal(image_get(store, "alpine", &image, NULL), -ENOENT);
    assert_int_equal(image_get(store, "Alpine", &image, NULL), -EINVAL);
    image_store_close(store);
    assert_int_equal(tree_remove(AT_FDCWD, directory, NULL), 0);
}

/* What is there but can't be read is an error, not an absence. */
static void test_broken_kit(void **state)
{
    char directory[] = "/tmp/tine-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    write_file(directory, "initrd.img", "initrd");
    snprintf(path, sizeof(path), "%s/vmlinux", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    struct image_store *store = images_open(*state, directory);
    struct image image;
    struct error err = {0};
    assert_int_equal(image_get(store, "tine/guest", &image, &err), -EISDIR);
    assert_int_equal(err.code, ERROR_SYSTEM);
    image_store_close(store);
    assert_int_equal(tree_remove(AT_FDCWD, directory, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_bad_references),
        cmocka_unit_test(test_kit_names),
        cmocka_unit_test_setup_teardown(test_no_kit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_kit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

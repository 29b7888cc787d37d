/* SPDX-License-Identifier: Apache-2.0 */
/* The host's reading of what a guest sends of its files: nothing gets out of the tree, no size
 * lies. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/entry.h"

static uint8_t data[AGENT_FRAME_LIMIT];

static struct agent_frame frame_of(uint8_t type, const struct agent_fields *fields)
{
    return (struct agent_frame){type, (uint32_t)fields->length, data};
}

static struct agent_frame entry_frame(const char *path, uint32_t mode, uint64_t size,
                                      const char *target)
{
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    struct agent_entry entry = {.mode = mode, .size = size};
    snprintf(entry.path, sizeof(entry.path), "%s", path);
    snprintf(entry.link_target, sizeof(entry.link_target), "%s", target);
    agent_entry_put(&fields, &entry);
    return frame_of(AGENT_ENTRY, &fields);
}

static int take_entry(struct agent_tree *tree, const char *path, uint32_t mode, uint64_t size)
{
    struct agent_frame frame = entry_frame(path, mode, size, S_ISLNK(mode) ? "to" : "");
    return agent_tree_take(tree, &frame);
}

static int take(struct agent_tree *tree, uint8_t type, size_t length)
{
    struct agent_frame frame = {type, (uint32_t)length, data};
    return agent_tree_take(tree, &frame);
}

static void entry_is_kept(void **state)
{
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    struct agent_entry read, entry = {.path = "dir/file",
                                      .link_target = "../x",
                                      .mode = S_IFLNK | 0777,
                                      .mtime = -5,
                                      .uid = 1000,
                                      .gid = 0xfffffffe};
    agent_entry_put(&fields, &entry);
    agent_field_put_text(&fields, 999, "of a newer agent");
    struct agent_frame frame = frame_of(AGENT_ENTRY, &fields);
    assert_int_equal(agent_entry_parse(&read, &frame), 0);
    assert_memory_equal(&read, &entry, sizeof(entry));
}

static void paths(void **state)
{
    static const char *const good[] = {".", "a", "..a", "a/b", "a/...", "a b/\n"};
    static const char *const bad[] = {"",     "/",     "/a",   "..",    "a/..", "a/../b",
                                      "../a", "a//b",  "a/",   "./a",   "a/.",  "a/./b",
                                      "//",   "/etc/", "../.", "a/b/.."};
    struct agent_entry entry;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct agent_frame frame = entry_frame(good[i], S_IFREG, 0, "");
        assert_int_equal(agent_entry_parse(&entry, &frame), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct agent_frame frame = entry_frame(bad[i], S_IFREG, 0, "");
        if (agent_entry_parse(&entry, &frame) != -EPROTO)
            fail_msg("\"%s\" is taken", bad[i]);
    }
}

static void entries_that_make_no_sense(void **state)
{
    static const struct {
        uint16_t tag;
        const char *value;
        size_t length;
    } bad[] = {
        {AGENT_TAG_PATH, "a\0b", 3},       {AGENT_TAG_MODE, "\0\0\0", 3},
        {AGENT_TAG_MODE, "\0\x20\0\0", 4}, /* a character device */
        {AGENT_TAG_MODE, "\0\x10\0\0", 4}, /* a pipe */
        {AGENT_TAG_MODE, "\0\xa0\0\0", 4}, /* a link without a target */
        {AGENT_TAG_MODE, "\0\0\0\0", 4},   {AGENT_TAG_SIZE, "\0\0\0\0\0\0\0\x80", 8},
        {AGENT_TAG_SIZE, "1", 1},          {AGENT_TAG_MTIME, "1", 1},
        {AGENT_TAG_UID, "1", 1},           {AGENT_TAG_GID, "12345678", 8},
        {AGENT_TAG_LINK_TARGET, "to", 2}, /* of a file */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct agent_entry entry;
        struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
        agent_field_put_text(&fields, AGENT_TAG_PATH, "a");
        agent_field_put_u32(&fields, AGENT_TAG_MODE, S_IFREG);
        agent_field_put(&fields, bad[i].tag, bad[i].value, bad[i].length);
        struct agent_frame frame = frame_of(AGENT_ENTRY, &fields);
        assert_int_equal(agent_entry_parse(&entry, &frame), -EPROTO);
    }
}

static void tree_in_order(void **state)
{
    static struct agent_tree tree;
    memset(&tree, 0, sizeof(tree));
    assert_int_equal(take_entry(&tree, "dir", S_IFDIR | 0755, 4096), AGENT_TREE_ENTRY);
    assert_int_equal(tree.entry.size, 0); /* that of a directory is nobody's business */
    assert_int_equal(take(&tree, AGENT_END, 0), AGENT_TREE_END);
    assert_int_equal(take_entry(&tree, "dir/file", S_IFREG, 10), AGENT_TREE_ENTRY);
    assert_int_equal(take(&tree, AGENT_DATA, 4), AGENT_TREE_DATA);
    assert_int_equal(take(&tree, AGENT_DATA, 6), AGENT_TREE_DATA);
    assert_int_equal(take(&tree, AGENT_END, 0), AGENT_TREE_END);
    assert_int_equal(take_entry(&tree, "dir/link", S_IFLNK, 2), AGENT_TREE_ENTRY);
    assert_int_equal(take(&tree, AGENT_END, 0), AGENT_TREE_END);
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_SKIPPED, 3);
    struct agent_frame frame = frame_of(AGENT_OK, &fields);
    assert_int_equal(agent_tree_take(&tree, &frame), AGENT_TREE_OVER);
    assert_int_equal(tree.skipped, 3);
}

/* A guest that begins with a file of 10 bytes, and then. */
static void tree_out_of_order(void **state)
{
    static const struct {
        uint8_t types[4];
        uint32_t lengths[4];
    } bad[] = {
        {{AGENT_DATA}, {11}},                          /* more than announced */
        {{AGENT_DATA, AGENT_DATA}, {10, 1}},           /* likewise */
        {{AGENT_DATA, AGENT_END}, {9, 0}},             /* less */
        {{AGENT_END}, {0}},                            /* nothing */
        {{AGENT_DATA, AGENT_OK}, {10, 0}},             /* no end of the entry */
        {{AGENT_DATA, AGENT_END, AGENT_END}, {10}},    /* two of them */
        {{AGENT_DATA, AGENT_END, AGENT_DATA}, {10}},   /* content of nothing */
        {{AGENT_DATA, AGENT_END, AGENT_STDOUT}, {10}}, /* another conversation */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        static struct agent_tree tree;
        memset(&tree, 0, sizeof(tree));
        assert_int_equal(take_entry(&tree, "f", S_IFREG, 10), AGENT_TREE_ENTRY);
        int r = 0;
        for (size_t step = 0; step < 4 && bad[i].types[step] != 0; step++) {
            assert_true(r >= 0);
            r = take(&tree, bad[i].types[step], bad[i].lengths[step]);
        }
        assert_int_equal(r, -EPROTO);
    }
    static struct agent_tree none;
    assert_int_equal(take(&none, AGENT_OK, 0), -EPROTO); /* no entry at all */
    assert_int_equal(take(&none, AGENT_DATA, 0), -EPROTO);
}

/* The root is one name, everything else is below it. */
static void tree_that_strays(void **state)
{
    static const char *const strays[] = {"dir", "other", "other/a", "dirt/a", "di/a", "."};
    static struct agent_tree tree;
    assert_int_equal(take_entry(&tree, "a/b", S_IFREG, 0), -EPROTO);
    for (size_t i = 0; i < sizeof(strays) / sizeof(strays[0]); i++) {
        memset(&tree, 0, sizeof(tree));
        assert_int_equal(take_entry(&tree, "dir", S_IFDIR, 0), AGENT_TREE_ENTRY);
        assert_int_equal(take(&tree, AGENT_END, 0), AGENT_TREE_END);
        assert_int_equal(take_entry(&tree, strays[i], S_IFREG, 0), -EPROTO);
    }
    static const uint32_t childless[] = {S_IFREG, S_IFLNK};
    for (size_t i = 0; i < 2; i++) {
        memset(&tree, 0, sizeof(tree));
        assert_int_equal(take_entry(&tree, "dir", childless[i], 0), AGENT_TREE_ENTRY);
        assert_int_equal(take(&tree, AGENT_END, 0), AGENT_TREE_END);
        assert_int_equal(take_entry(&tree, "dir/a", S_IFREG, 0), -EPROTO);
    }
    memset(&tree, 0, sizeof(tree));
    assert_int_equal(take_entry(&tree, ".", S_IFDIR, 0), AGENT_TREE_ENTRY);
    assert_int_equal(take(&tree, AGENT_END, 0), AGENT_TREE_END);
    assert_int_equal(take_entry(&tree, "etc/passwd", S_IFREG, 0), AGENT_TREE_ENTRY);
    assert_int_equal(take(&tree, AGENT_END, 0), AGENT_TREE_END);
    assert_int_equal(take_entry(&tree, ".", S_IFDIR, 0), -EPROTO);
}

static void stat_is_read(void **state)
{
    static struct agent_stat info;
    struct agent_frame frame = entry_frame("", S_IFSOCK | 0600, 0, "");
    assert_int_equal(agent_stat_parse(&info, &frame), 0);
    assert_int_equal(info.errnum, 0);
    assert_true(S_ISSOCK(info.entry.mode));
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, EACCES);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, "no\x1b");
    frame = frame_of(AGENT_OK, &fields);
    assert_int_equal(agent_stat_parse(&info, &frame), 0);
    assert_int_equal(info.errnum, EACCES);
    assert_string_equal(info.message, "no?");
    frame.length--;
    assert_int_equal(agent_stat_parse(&info, &frame), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_is_kept),
        cmocka_unit_test(paths),
        cmocka_unit_test(entries_that_make_no_sense),
        cmocka_unit_test(tree_in_order),
        cmocka_unit_test(tree_out_of_order),
        cmocka_unit_test(tree_that_strays),
        cmocka_unit_test(stat_is_read),
    };
    return cmocka_run_group_tests_name("agent entries", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Files out of a guest and what is told of them, the whole way: client, fake VMM, a real agent on a
 * real file system. The agent is the first argument. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/client.h"
#include "base/clock.h"
#include "base/file.h"
#include "files.h"

static struct agent_stat look(const struct fixture *fixture, const char *path, bool follow)
{
    struct agent_stat info;
    struct error err = {0};
    if (agent_stat(fixture->vsock, TIMEOUT_MS, path, follow, &info, &err) < 0)
        fail_msg("%s", err.message);
    return info;
}

static void stat_says_what_is_there(void **state)
{
    const struct fixture *fixture = *state;
    write_file(path_in(fixture->directory, "file"), "12345", 0640);
    assert_int_equal(symlink("file", path_in(fixture->directory, "link")), 0);
    assert_int_equal(symlink("nowhere", path_in(fixture->directory, "dangling")), 0);
    struct agent_stat info = look(fixture, path_in(fixture->directory, "file"), false);
    assert_int_equal(info.errnum, 0);
    assert_int_equal(info.entry.mode, S_IFREG | 0640);
    assert_int_equal(info.entry.size, 5);
    assert_int_equal(info.entry.uid, getuid());
    info = look(fixture, path_in(fixture->directory, "link"), false);
    assert_true(S_ISLNK(info.entry.mode));
    assert_string_equal(info.entry.link_target, "file");
    info = look(fixture, path_in(fixture->directory, "link"), true);
    assert_true(S_ISREG(info.entry.mode));
    assert_string_equal(info.entry.link_target, "");
    info = look(fixture, "/", false);
    assert_true(S_ISDIR(info.entry.mode));
    info = look(fixture, "/dev/null", false);
    assert_true(S_ISCHR(info.entry.mode));
    assert_int_equal(look(fixture, path_in(fixture->directory, "none"), false).errnum, ENOENT);
    assert_int_equal(look(fixture, path_in(fixture->directory, "dangling"), true).errnum, ENOENT);
    assert_int_equal(look(fixture, path_in(fixture->directory, "file/x"), true).errnum, ENOTDIR);
}

static void stat_of_bad_paths(void **state)
{
    const struct fixture *fixture = *state;
    static char large[PATH_MAX + 1];
    memset(large, '/', PATH_MAX);
    const char *const bad[] = {"", "relative", large, NULL};
    look(fixture, "/", false); /* the agent is up: nothing below gets as far as it */
    for (size_t i = 0; i < 4; i++) {
        struct agent_stat info;
        struct error err = {0};
        assert_true(agent_stat(fixture->vsock, TIMEOUT_MS, bad[i], false, &info, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

/* What a get tells, as text: "d PATH MODE", "f PATH MODE SIZE:CONTENT", "l PATH > TARGET". */
struct listing {
    char text[8192];
    uint64_t bytes;
    struct agent_tree tree;
};

static void say(struct listing *listing, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(struct listing *listing, const char *format, ...)
{
    size_t used = strlen(listing->text);
    va_list args;
    va_start(args, format);
    vsnprintf(listing->text + used, sizeof(listing->text) - used, format, args);
    va_end(args);
}

static void say_entry(struct listing *listing)
{
    const struct agent_entry *entry = &listing->tree.entry;
    if (S_ISDIR(entry->mode))
        say(listing, "d %s %o", entry->path, entry->mode & 07777);
    else if (S_ISLNK(entry->mode))
        say(listing, "l %s > %s", entry->path, entry->link_target);
    else
        say(listing, "f %s %o %llu:", entry->path, entry->mode & 07777,
            (unsigned long long)entry->size);
}

/* Reads to the end: AGENT_TREE_OVER, AGENT_TREE_FAILED. */
static int get_read(int fd, struct listing *listing)
{
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    int event;
    do {
        assert_int_equal(
            agent_frame_read_until(fd, buffer, &frame, time_after_ms(TIMEOUT_MS), NULL), 1);
        event = agent_tree_take(&listing->tree, &frame);
        assert_true(event > 0);
        if (event == AGENT_TREE_ENTRY)
            say_entry(listing);
        if (event == AGENT_TREE_DATA && listing->bytes + frame.length < 64)
            say(listing, "%.*s", (int)frame.length, (const char *)frame.payload);
        if (event == AGENT_TREE_DATA)
            listing->bytes += frame.length;
        if (event == AGENT_TREE_END)
            say(listing, "\n");
    } while (event < AGENT_TREE_OVER);
    close(fd);
    return event;
}

static int get_begin(const struct fixture *fixture, const char *path, bool follow)
{
    struct error err = {0};
    int fd = agent_get_start(fixture->vsock, TIMEOUT_MS,
                             &(struct agent_get){.path = path, .follow = follow}, &err);
    if (fd < 0)
        fail_msg("%s", err.message);
    return fd;
}

static struct listing *get(const struct fixture *fixture, const char *path, bool follow, int event)
{
    static struct listing listing;
    memset(&listing, 0, sizeof(listing));
    assert_int_equal(get_read(get_begin(fixture, path, follow), &listing), event);
    return &listing;
}

static void tree_make(const struct fixture *fixture)
{
    assert_int_equal(mkdir(path_in(fixture->directory, "t"), 0755), 0);
    assert_int_equal(mkdir(path_in(fixture->directory, "t/b"), 0711), 0);
    write_file(path_in(fixture->directory, "t/b/z"), "in b", 0600);
    write_file(path_in(fixture->directory, "t/a"), "hello", 0644);
    write_file(path_in(fixture->directory, "t/b.c"), "", 0640);
    write_file(path_in(fixture->directory, "t/B"), "x", 0644);
    assert_int_equal(symlink("b", path_in(fixture->directory, "t/l")), 0);
    assert_int_equal(mkfifo(path_in(fixture->directory, "t/pipe"), 0600), 0);
}

static const char tree_text[] = "d t 755\n"
                                "f t/B 644 1:x\n"
                                "f t/a 644 5:hello\n"
                                "d t/b 711\n"
                                "f t/b/z 600 4:in b\n"
                                "f t/b.c 640 0:\n"
                                "l t/l > b\n";

static void get_a_tree(void **state)
{
    const struct fixture *fixture = *state;
    tree_make(fixture);
    static const char *const ways[] = {"t", "t/", "t/.", "t/b/.."};
    for (size_t i = 0; i < 4; i++) {
        struct listing *listing =
            get(fixture, path_in(fixture->directory, ways[i]), false, AGENT_TREE_OVER);
        assert_string_equal(listing->text, tree_text);
        assert_int_equal(listing->tree.skipped, 1);
    }
    assert_string_equal(
        get(fixture, path_in(fixture->directory, "t/a"), false, AGENT_TREE_OVER)->text,
        "f a 644 5:hello\n");
    assert_string_equal(
        get(fixture, path_in(fixture->directory, "t/l"), false, AGENT_TREE_OVER)->text,
        "l l > b\n");
    assert_string_equal(
        get(fixture, path_in(fixture->directory, "t/l/"), false, AGENT_TREE_OVER)->text,
        "d l 711\nf l/z 600 4:in b\n");
}

static void get_following(void **state)
{
    const struct fixture *fixture = *state;
    tree_make(fixture);
    assert_string_equal(
        get(fixture, path_in(fixture->directory, "t/l"), true, AGENT_TREE_OVER)->text,
        "d l 711\nf l/z 600 4:in b\n");
    assert_non_null(
        strstr(get(fixture, path_in(fixture->directory, "t"), true, AGENT_TREE_OVER)->text,
               "d t/l 711\nf t/l/z 600 4:in b\n"));
    assert_int_equal(symlink("..", path_in(fixture->directory, "t/b/up")), 0);
    struct listing *listing =
        get(fixture, path_in(fixture->directory, "t"), true, AGENT_TREE_FAILED);
    assert_int_equal(listing->tree.failure.errnum, ELOOP);
    assert_non_null(strstr(listing->tree.failure.message, "t/b/up leads to a directory it is in"));
}

static void get_that_fails(void **state)
{
    const struct fixture *fixture = *state;
    tree_make(fixture);
    assert_int_equal(symlink("nowhere", path_in(fixture->directory, "dangling")), 0);
    const struct {
        const char *path;
        bool follow;
        int errnum;
        const char *words;
    } cases[] = {
        {path_in(fixture->directory, "none"), false, ENOENT, "none"},
        {path_in(fixture->directory, "t/pipe"), false, EINVAL, "device, pipe or socket"},
        {"/dev/null", false, EINVAL, "device, pipe or socket"},
        {path_in(fixture->directory, "dangling"), true, ENOENT, "dangling"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct listing *listing = get(fixture, cases[i].path, cases[i].follow, AGENT_TREE_FAILED);
        assert_int_equal(listing->tree.failure.errnum, cases[i].errnum);
        if (!strstr(listing->tree.failure.message, cases[i].words))
            fail_msg("%s", listing->tree.failure.message);
    }
}

/* A file of the kernel's has content that its size does not say. */
static void get_a_kernel_file(void **state)
{
    struct listing *listing = get(*state, "/proc/version", false, AGENT_TREE_OVER);
    assert_int_equal(strncmp(listing->text, "f version ", 10), 0);
    assert_true(listing->tree.entry.size > 0);
    assert_int_equal(listing->bytes, listing->tree.entry.size);
}

static void file_of_size(const char *path, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void get_a_large_file(void **state)
{
    const struct fixture *fixture = *state;
    static const off_t sizes[] = {65535, 65536, 65537, 131072, 50 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        file_of_size(path_in(fixture->directory, "large"), sizes[i]);
        struct listing *listing =
            get(fixture, path_in(fixture->directory, "large"), false, AGENT_TREE_OVER);
        assert_true(listing->bytes == (uint64_t)sizes[i]);
    }
}

/* The host has read the header and holds up the agent; meanwhile the file changes. */
static void get_of_a_changing_file(void **state)
{
    const struct fixture *fixture = *state;
    const char *path = path_in(fixture->directory, "large");
    for (int grows = 0; grows < 2; grows++) {
        static struct listing listing;
        static uint8_t buffer[AGENT_FRAME_LIMIT];
        struct agent_frame frame;
        memset(&listing, 0, sizeof(listing));
        file_of_size(path, 50 << 20);
        int fd = get_begin(fixture, path, false);
        assert_int_equal(agent_frame_read(fd, buffer, &frame, NULL), 1);
        assert_int_equal(agent_tree_take(&listing.tree, &frame), AGENT_TREE_ENTRY);
        file_of_size(path, grows ? 60 << 20 : 40 << 20);
        assert_int_equal(get_read(fd, &listing), grows ? AGENT_TREE_OVER : AGENT_TREE_FAILED);
        if (grows)
            assert_true(listing.bytes == 50u << 20);
        else
            assert_non_null(strstr(listing.tree.failure.message, "large got shorter"));
    }
}

static void get_too_deep(void **state)
{
    const struct fixture *fixture = *state;
    char path[1024];
    int n = snprintf(path, sizeof(path), "%s/deep", fixture->directory);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(mkdir(path, 0700), 0);
        n += snprintf(path + n, sizeof(path) - (size_t)n, "/d");
    }
    struct listing *listing =
        get(fixture, path_in(fixture->directory, "deep"), false, AGENT_TREE_FAILED);
    assert_non_null(strstr(listing->tree.failure.message, "more than 128 directories deep"));
}

/* What a kernel makes up is left out of a tree that it is mounted in, and only there. Needs a mount
 * namespace of its own. */
static void get_past_a_kernel_mount(void **state)
{
    static struct fixture fixture;
    fixture_open(&fixture);
    assert_int_equal(mkdir(path_in(fixture.directory, "t"), 0755), 0);
    assert_int_equal(mkdir(path_in(fixture.directory, "t/proc"), 0755), 0);
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", path_in(fixture.directory, "t/proc"), "proc", 0, NULL) < 0) {
        fixture_close(&fixture);
        skip();
    }
    agent_start(&fixture, agent_program());
    assert_string_equal(
        get(&fixture, path_in(fixture.directory, "t"), false, AGENT_TREE_OVER)->text,
        "d t 755\nd t/proc 555\n");
    assert_non_null(strstr(get(&fixture, path_in(fixture.directory, "t/proc/sys/kernel/random"),
                               false, AGENT_TREE_OVER)
                               ->text,
                           "f random/boot_id 444 37:"));
    assert_int_equal(umount(path_in(fixture.directory, "t/proc")), 0);
    fixture_close(&fixture);
}

/* An agent that does not know the frames says so, in words that help. */
static void old_agent(void **state)
{
    static struct fixture fixture;
    uint8_t data[128], bytes[256];
    struct agent_stat info;
    struct error err = {0};
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, EOPNOTSUPP);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, "request type 6 is unknown to this agent");
    size_t length = frame_build(bytes, AGENT_FAILED, data, fields.length);
    fixture_open(&fixture);
    vmm_start(&fixture, &(struct behaviour){.treatment = SCRIPT, .bytes = bytes, .length = length});
    assert_int_equal(agent_stat(fixture.vsock, TIMEOUT_MS, "/", false, &info, &err), -EOPNOTSUPP);
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "older"));
    fixture_close(&fixture);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_agent(stat_says_what_is_there),
        with_agent(stat_of_bad_paths),
        with_agent(get_a_tree),
        with_agent(get_following),
        with_agent(get_that_fails),
        with_agent(get_a_kernel_file),
        with_agent(get_a_large_file),
        with_agent(get_of_a_changing_file),
        with_agent(get_too_deep),
        cmocka_unit_test(old_agent),
        cmocka_unit_test(get_past_a_kernel_mount),
    };
    if (argc != 2)
        return 2;
    agent_program_set(argv[1]);
    return cmocka_run_group_tests_name("agent copy out", tests, NULL, NULL);
}

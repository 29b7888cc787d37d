/* SPDX-License-Identifier: Apache-2.0 */
/* Files into a guest, the whole way: client, fake VMM, a real agent on a real file system. The
 * agent is the first argument. */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/client.h"
#include "base/clock.h"
#include "files.h"

static void assert_alone(const char *directory, const char *name)
{
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] != '.' && (!name || strcmp(entry->d_name, name) != 0))
            fail_msg("%s is left in %s", entry->d_name, directory);
    }
    closedir(dir);
}

static int put_begin(const struct fixture *fixture, const struct agent_put *put)
{
    struct error err = {0};
    int fd = agent_put_start(fixture->vsock, TIMEOUT_MS, put, &err);
    if (fd < 0)
        fail_msg("%s", err.message);
    return fd;
}

static void send_frame(int fd, uint8_t type, const void *payload, size_t length)
{
    assert_int_equal(agent_frame_write(fd, type, payload, length, NULL), 0);
}

/* The agent's last word: 0, or its errno and words. */
static int put_finish(int fd, struct agent_failure *failure)
{
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    struct agent_failure own;
    assert_int_equal(agent_frame_read_until(fd, buffer, &frame, time_after_ms(TIMEOUT_MS), NULL),
                     1);
    close(fd);
    if (frame.type == AGENT_OK)
        return 0;
    assert_int_equal(frame.type, AGENT_FAILED);
    assert_int_equal(agent_failure_parse(failure ? failure : &own, &frame), 0);
    return failure ? failure->errnum : own.errnum;
}

/* A whole put of this text (NULL: none). */
static int put_text(const struct fixture *fixture, const struct agent_put *put, const char *text)
{
    int fd = put_begin(fixture, put);
    if (text)
        send_frame(fd, AGENT_DATA, text, strlen(text));
    send_frame(fd, AGENT_END, NULL, 0);
    return put_finish(fd, NULL);
}

static void put_a_file(void **state)
{
    const struct fixture *fixture = *state;
    const char *path = path_in(fixture->directory, "a/b/c/file");
    struct stat st;
    const struct agent_put put = {.path = path, .mode = 0751};
    assert_int_equal(put_text(fixture, &put, "hello"), 0);
    assert_content(path, "hello");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0751);
    assert_int_equal(stat(path_in(fixture->directory, "a/b"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0755);
    assert_alone(path_in(fixture->directory, "a/b/c"), "file");
    assert_int_equal(put_text(fixture, &(struct agent_put){.path = path, .mode = 0600}, NULL), 0);
    assert_content(path, "");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
}

static void put_through_a_link(void **state)
{
    const struct fixture *fixture = *state;
    struct stat st;
    write_file(path_in(fixture->directory, "real"), "old", 0644);
    assert_int_equal(symlink("real", path_in(fixture->directory, "link")), 0);
    assert_int_equal(symlink("nowhere", path_in(fixture->directory, "dangling")), 0);
    struct agent_put put = {.path = path_in(fixture->directory, "link"), .mode = 0644};
    assert_int_equal(put_text(fixture, &put, "new"), 0);
    assert_content(path_in(fixture->directory, "real"), "new");
    assert_int_equal(lstat(path_in(fixture->directory, "link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    put.path = path_in(fixture->directory, "dangling");
    assert_int_equal(put_text(fixture, &put, "new"), ENOENT);
}

static void put_a_directory(void **state)
{
    const struct fixture *fixture = *state;
    struct stat st;
    struct agent_put put = {
        .path = path_in(fixture->directory, "x/y"), .directory = true, .mode = 0750};
    assert_int_equal(put_text(fixture, &put, NULL), 0);
    assert_int_equal(stat(put.path, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0750);
    put.mode = 0700;
    assert_int_equal(put_text(fixture, &put, NULL), 0); /* it may be there, and stays as it is */
    assert_int_equal(stat(put.path, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0750);
    put.path = path_in(fixture->directory, "x/y/");
    assert_int_equal(put_text(fixture, &put, NULL), 0);
    write_file(path_in(fixture->directory, "file"), "", 0644);
    put.path = path_in(fixture->directory, "file");
    assert_int_equal(put_text(fixture, &put, NULL), ENOTDIR);
    put.path = path_in(fixture->directory, "other");
    assert_int_equal(put_text(fixture, &put, "content"), EPROTO);
    assert_int_equal(lstat(put.path, &st), -1);
}

static void put_a_link(void **state)
{
    const struct fixture *fixture = *state;
    char target[16] = "";
    struct agent_put put = {.path = path_in(fixture->directory, "link"), .link_target = "../to"};
    assert_int_equal(put_text(fixture, &put, NULL), 0);
    assert_int_equal(readlink(put.path, target, sizeof(target)), 5);
    assert_string_equal(target, "../to");
    put.link_target = "x";
    assert_int_equal(put_text(fixture, &put, NULL), 0); /* another replaces it */
    assert_int_equal(readlink(put.path, target, sizeof(target)), 1);
    put.path = path_in(fixture->directory, "");
    assert_int_equal(put_text(fixture, &put, NULL), EISDIR);
}

static void put_that_is_refused(void **state)
{
    const struct fixture *fixture = *state;
    write_file(path_in(fixture->directory, "file"), "kept", 0644);
    assert_int_equal(mkdir(path_in(fixture->directory, "dir"), 0700), 0);
    assert_int_equal(mkfifo(path_in(fixture->directory, "pipe"), 0600), 0);
    const struct {
        const char *path;
        int errnum;
    } cases[] = {
        {"dir", EISDIR}, {"dir/", EISDIR}, {"dir/.", EISDIR}, {"file/x", ENOTDIR}, {"pipe", EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct agent_put put = {.path = path_in(fixture->directory, cases[i].path), .mode = 0644};
        assert_int_equal(put_text(fixture, &put, "new"), cases[i].errnum);
    }
    assert_content(path_in(fixture->directory, "file"), "kept");
    assert_alone(path_in(fixture->directory, "dir"), NULL);
}

/* The agent says no while the host is still sending: it takes the rest, so the host gets to read.
 */
static void put_refused_in_the_middle(void **state)
{
    const struct fixture *fixture = *state;
    static char block[AGENT_FRAME_LIMIT];
    struct agent_failure failure;
    int fd = put_begin(fixture, &(struct agent_put){.path = fixture->directory, .mode = 0644});
    for (int i = 0; i < 100; i++)
        send_frame(fd, AGENT_DATA, block, sizeof(block));
    send_frame(fd, AGENT_END, NULL, 0);
    assert_int_equal(put_finish(fd, &failure), EISDIR);
    assert_non_null(strstr(failure.message, fixture->directory));
}

static void put_owner(void **state)
{
    const struct fixture *fixture = *state;
    struct stat st;
    if (geteuid() != 0)
        skip(); /* only root gives files away */
    struct agent_put put = {
        .path = path_in(fixture->directory, "f"), .mode = 04755, .uid = 1234, .gid = 0};
    assert_int_equal(put_text(fixture, &put, "x"), 0);
    assert_int_equal(stat(put.path, &st), 0);
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(st.st_gid, 0);
    assert_int_equal(st.st_mode, S_IFREG | 04755);
}

static void put_that_is_cut(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(mkdir(path_in(fixture->directory, "d"), 0700), 0);
    write_file(path_in(fixture->directory, "d/file"), "old", 0644);
    static char block[AGENT_FRAME_LIMIT];
    for (int way = 0; way < 3; way++) {
        int fd =
            put_begin(fixture, &(struct agent_put){.path = path_in(fixture->directory, "d/file")});
        for (int i = 0; i < 8; i++)
            send_frame(fd, AGENT_DATA, block, sizeof(block));
        if (way == 1)
            send_frame(fd, AGENT_STDIN, "x", 1); /* no part of this conversation */
        if (way == 2)
            assert_int_equal(write(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), 8);
        close(fd);
        await_alone(path_in(fixture->directory, "d"), "file");
        assert_content(path_in(fixture->directory, "d/file"), "old");
    }
    int fd = put_begin(fixture, &(struct agent_put){.path = path_in(fixture->directory, "d/sub"),
                                                    .directory = true});
    close(fd);
    fd = put_begin(fixture, &(struct agent_put){.path = path_in(fixture->directory, "d/l"),
                                                .link_target = "x"});
    close(fd);
    struct agent_info info;
    assert_int_equal(agent_hello(fixture->vsock, TIMEOUT_MS, &info, NULL), 0);
    await_alone(path_in(fixture->directory, "d"), "file");
}

static void malformed_requests(void **state)
{
    static const struct {
        uint8_t type;
        uint16_t tag;
        const char *value;
        size_t length;
    } bad[] = {
        {AGENT_STAT, AGENT_TAG_PATH, "a", 1},        {AGENT_STAT, AGENT_TAG_PATH, "/a\0b", 4},
        {AGENT_GET, AGENT_TAG_PATH, "", 0},          {AGENT_PUT, AGENT_TAG_MODE, "1", 1},
        {AGENT_PUT, AGENT_TAG_PATH, "../x", 4},      {AGENT_PUT, AGENT_TAG_UID, "12", 2},
        {AGENT_GET, AGENT_TAG_FOLLOW, "", 0},        {AGENT_PUT, AGENT_TAG_GID, "", 0},
        {AGENT_PUT, AGENT_TAG_LINK_TARGET, "\0", 1},
    };
    const struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t data[64];
        struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
        agent_field_put(&fields, bad[i].tag, bad[i].value, bad[i].length);
        int fd = agent_connect(fixture->vsock, TIMEOUT_MS, NULL);
        assert_true(fd >= 0);
        send_frame(fd, bad[i].type, data, fields.length);
        assert_int_equal(put_finish(fd, NULL), EINVAL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_agent(put_a_file),          with_agent(put_through_a_link),
        with_agent(put_a_directory),     with_agent(put_a_link),
        with_agent(put_that_is_refused), with_agent(put_refused_in_the_middle),
        with_agent(put_owner),           with_agent(put_that_is_cut),
        with_agent(malformed_requests),
    };
    if (argc != 2)
        return 2;
    agent_program_set(argv[1]);
    return cmocka_run_group_tests_name("agent copy in", tests, NULL, NULL);
}

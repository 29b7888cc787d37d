/* SPDX-License-Identifier: Apache-2.0 */
#include "double_guest.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/entry.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"

#define HOSTILE "/hostile/"
#define TRIES   3000
#define STEP_MS 10

static struct {
    char vsock[PATH_MAX], socket[PATH_MAX];
    pid_t agent;
    int listener;
} guest;

const char *double_guest_vsock(void)
{
    return guest.vsock;
}

/* --- the scripts ----------------------------------------------------------------------------- */

static void say(int fd, uint8_t type, const void *payload, size_t length)
{
    agent_frame_write(fd, type, payload, length, NULL);
}

static void say_entry(int fd, const char *path, uint32_t mode, uint64_t size, const char *target)
{
    uint8_t data[AGENT_ENTRY_SIZE];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    struct agent_entry entry = {.mode = mode, .size = size, .mtime = 2000000000};
    snprintf(entry.path, sizeof(entry.path), "%s", path);
    snprintf(entry.link_target, sizeof(entry.link_target), "%s", target);
    agent_entry_put(&fields, &entry);
    say(fd, AGENT_ENTRY, data, fields.length);
}

static void say_file(int fd, const char *path)
{
    say_entry(fd, path, S_IFREG | 0644, 4, "");
    say(fd, AGENT_DATA, "evil", 4);
    say(fd, AGENT_END, NULL, 0);
}

static void say_directory(int fd, const char *path)
{
    say_entry(fd, path, S_IFDIR | 0755, 0, "");
    say(fd, AGENT_END, NULL, 0);
}

static void be_old(int fd)
{
    uint8_t data[128];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, EOPNOTSUPP);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, "request type 8 is unknown to this agent");
    say(fd, AGENT_FAILED, data, fields.length);
}

static void be_garbled(int fd)
{
    static const uint8_t bytes[AGENT_FRAME_HEADER] = {0xff, 0xff, 0xff, 0xff, AGENT_ENTRY};
    file_write_exact(fd, bytes, sizeof(bytes), "garble", NULL);
}

static void be_gone(int fd)
{
}

static void be_deaf(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLRDHUP};
    poll(&pollfd, 1, -1);
}

static void be_early(int fd)
{
    say(fd, AGENT_OK, NULL, 0);
}

static void be_dotted(int fd)
{
    say_directory(fd, "tree");
    say_file(fd, "tree/../../evil");
}

static void be_absolute(int fd)
{
    say_file(fd, "/tmp/evil");
}

static void be_stray(int fd)
{
    say_directory(fd, "tree");
    say_file(fd, "evil");
}

static void be_latin(int fd)
{
    say_file(fd, "caf\xe9");
}

static void be_long(int fd)
{
    say_entry(fd, "long", S_IFREG | 0644, 3, "");
    say(fd, AGENT_DATA, "more", 4);
}

static void be_short(int fd)
{
    say_entry(fd, "short", S_IFREG | 0644, 5, "");
    say(fd, AGENT_DATA, "less", 4);
    say(fd, AGENT_END, NULL, 0);
}

static void be_cut(int fd)
{
    say_entry(fd, "cut", S_IFREG | 0644, 1000, "");
    say(fd, AGENT_DATA, "some", 4);
}

static void be_unended(int fd)
{
    be_cut(fd);
    say(fd, AGENT_OK, NULL, 0);
}

static void be_endless(int fd)
{
    static uint8_t block[AGENT_FRAME_LIMIT];
    say_entry(fd, "endless", S_IFREG | 0644, 1ull << 62, "");
    while (agent_frame_write(fd, AGENT_DATA, block, sizeof(block), NULL) == 0) {
    }
}

static void be_linked(int fd)
{
    say_directory(fd, "tree");
    say_entry(fd, "tree/out", S_IFLNK | 0777, 0, "..");
    say(fd, AGENT_END, NULL, 0);
    say_file(fd, "tree/out/evil");
    say(fd, AGENT_OK, NULL, 0);
}

static const struct {
    const char *name;
    void (*run)(int fd);
} scripts[] = {
    {"old", be_old},         {"garble", be_garbled}, {"hangup", be_gone},       {"early", be_early},
    {"deaf", be_deaf},       {"dots", be_dotted},    {"absolute", be_absolute}, {"stray", be_stray},
    {"latin", be_latin},     {"long", be_long},      {"short", be_short},       {"cut", be_cut},
    {"unended", be_unended}, {"link", be_linked},    {"endless", be_endless},
};

/* True if the request's path was a script's. */
static bool run_script(int fd, const struct agent_frame *request)
{
    char path[PATH_MAX] = "";
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length;
    while (agent_field_next(request->payload, request->length, &offset, &tag, &value, &length) >
           0) {
        if (tag == AGENT_TAG_PATH)
            agent_value_text(value, length, path, sizeof(path));
    }
    if (strncmp(path, HOSTILE, strlen(HOSTILE)) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
        if (strcmp(path + strlen(HOSTILE), scripts[i].name) == 0)
            scripts[i].run(fd);
    }
    return true;
}

/* --- the relay ------------------------------------------------------------------------------- */

struct direction {
    int from, to;
};

static void *move_all(void *data)
{
    struct direction *direction = data;
    char block[65536];
    ssize_t n;
    while ((n = recv(direction->from, block, sizeof(block), 0)) > 0) {
        for (ssize_t sent = 0; sent < n;) {
            ssize_t m = send(direction->to, block + sent, (size_t)(n - sent), MSG_NOSIGNAL);
            if (m <= 0)
                n = 0;
            else
                sent += m;
        }
    }
    shutdown(direction->from, SHUT_RDWR);
    shutdown(direction->to, SHUT_RDWR);
    return NULL;
}

static void relay(int fd, const struct agent_frame *request)
{
    _cleanup_(close) int agent = unix_connect(guest.socket, 0, NULL);
    if (agent < 0 ||
        agent_frame_write(agent, request->type, request->payload, request->length, NULL) < 0)
        return;
    struct direction in = {fd, agent}, out = {agent, fd};
    pthread_t thread;
    if (pthread_create(&thread, NULL, move_all, &in) != 0)
        return;
    move_all(&out);
    pthread_join(thread, NULL);
}

static void *serve(void *data)
{
    static const char ok[] = "OK 1073741824\n";
    _cleanup_(close) int fd = (int)(intptr_t)data;
    _cleanup_(free) uint8_t *buffer = malloc(AGENT_FRAME_LIMIT);
    struct agent_frame request;
    char line[64];
    if (buffer && read(fd, line, sizeof(line)) > 0 &&
        file_write_exact(fd, ok, strlen(ok), "ok", NULL) == 0 &&
        agent_frame_read(fd, buffer, &request, NULL) > 0 && !run_script(fd, &request))
        relay(fd, &request);
    return NULL;
}

static void *accept_all(void *data)
{
    for (;;) {
        int fd = accept4(guest.listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_t thread;
        if (fd < 0)
            return NULL;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
}

static void agent_await(void)
{
    for (int i = 0; i < TRIES; i++) {
        _cleanup_(close) int fd = unix_connect(guest.socket, 0, NULL);
        if (fd >= 0)
            return;
        time_sleep_ms(STEP_MS);
    }
    abort();
}

void double_guest_start(const char *data_dir)
{
    snprintf(guest.vsock, sizeof(guest.vsock), "%s/vsock", data_dir);
    snprintf(guest.socket, sizeof(guest.socket), "%s/agent", data_dir);
    unlink(guest.vsock);
    unlink(guest.socket);
    guest.agent = fork();
    if (guest.agent == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execl(AGENT_BINARY, AGENT_BINARY, "--serve-unix", guest.socket, (char *)NULL);
        _exit(1);
    }
    agent_await();
    guest.listener = unix_listen(guest.vsock, 0, NULL);
    pthread_t thread;
    if (guest.listener < 0 || pthread_create(&thread, NULL, accept_all, NULL) != 0)
        abort();
    pthread_detach(thread);
}

void double_guest_stop(void)
{
    shutdown(guest.listener, SHUT_RDWR);
    kill(guest.agent, SIGTERM);
    waitpid(guest.agent, NULL, 0);
}

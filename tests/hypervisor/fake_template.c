/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, as tine-vmm makes them: the fake really forks, so that what a fork sees is the memory
 * of its source at that moment, and really moves into the mount that it was handed. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "fake_vmm.h"

static const char *text_of(json_t *body, const char *key)
{
    return json_string_value(json_object_get(body, key));
}

/* Nothing is the other process's any more but memory. */
static void become(struct fake *fake, json_t *body)
{
    const char *point = text_of(body, "mount_point");
    int mount_fd = dup2(fake->mount_fd, 3);
    if (mount_fd < 0 || close_range(4, ~0u, 0) < 0 || setsid() < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || umount2(point, MNT_DETACH) < 0 ||
        move_mount(mount_fd, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) < 0 || chdir(point) < 0)
        _exit(1);
    close(mount_fd);
    int log = open(text_of(body, "log_path"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(1);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    fake->turn = 0;
    fake->mount_fd = fake->vsock_fd = -1;
}

static void die_if(const struct fake *fake, const char *moment)
{
    if (!fake->dies || strcmp(fake->dies, moment) != 0)
        return;
    while (strcmp(moment, "second") == 0 && !*fake->ready)
        usleep(1000);
    raise(SIGKILL);
}

static void be_template(struct fake *fake, pid_t parent, json_t *body)
{
    fake->dies = fake_order("template-dies", NULL);
    fake->heritage = fake_order("children", NULL);
    fake->ready =
        mmap(NULL, sizeof(*fake->ready), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fake->ready == MAP_FAILED)
        _exit(1);
    become(fake, body);
    fake->state = FAKE_TEMPLATE;
    die_if(fake, "born");
    alarm((unsigned)json_integer_value(json_object_get(body, "idle_seconds")));
    _exit(fake_serve(fake, strdup(text_of(body, "socket_path"))));
}

static void inherit(const struct fake *fake)
{
    FILE *orders = fake->heritage ? fopen("fake-vmm", "we") : NULL;
    if (!orders)
        return;
    fprintf(orders, "%s\n", fake->heritage);
    fclose(orders);
}

/* Until it listens it ends with its template, as tine-vmm's do. */
static void be_child(struct fake *fake, pid_t parent, json_t *body)
{
    char fault[256];
    json_t *vsock = json_object_get(fake->config, "/vsock");
    alarm(0);
    become(fake, body);
    fake->parent = parent;
    inherit(fake);
    fake->id = strdup(text_of(body, "id"));
    fake->state = FAKE_PAUSED;
    if (vsock && fake_vsock_listen(fake, text_of(vsock, "uds_path"), fault, sizeof(fault)) < 0) {
        fprintf(stderr, "fake-vmm: %s\n", fault);
        _exit(1);
    }
    *fake->ready = 1;
    _exit(fake_serve(fake, strdup(text_of(body, "socket_path"))));
}

int fake_template(struct fake *fake, const char *path, json_t *body, struct fake_answer *answer)
{
    const int child = strcmp(path, "/children") == 0;
    const char *needed[] = {"socket_path", "log_path", "mount_point", child ? "id" : "log_path"};
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!text_of(body, needed[i]) || fake->mount_fd < 0)
            return -1;
    }
    if (child != (fake->state == FAKE_TEMPLATE) || fake->state == FAKE_NOT_STARTED || fake->served)
        return -1;
    if (child && fake->children++ == 0)
        die_if(fake, "asked");
    else if (child)
        die_if(fake, "second");
    const pid_t self = getpid();
    pid_t pid = fork();
    if (pid == 0)
        (child ? be_child : be_template)(fake, self, body);
    if (child)
        die_if(fake, "bearing");
    answer->status = 200;
    answer->body = json_pack("{s:i, s:i}", "pid", (int)pid, "paused_us",
                             fake->state == FAKE_RUNNING ? 1000 : 0);
    return pid < 0 ? -1 : 0;
}

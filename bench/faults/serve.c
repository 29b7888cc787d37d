/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers as processes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "faults.h"

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void control_path(const struct handler *handler, char path[256])
{
    snprintf(path, 256, "%s/pager/" TINE_VERSION "/control.sock", handler->directory);
}

/* True once the handler takes connections: the pager on its own socket, the plain one on its last.
 */
static bool is_ready(const struct handler *handler, unsigned vms)
{
    char path[256];
    if (handler->pager)
        control_path(handler, path);
    else
        snprintf(path, sizeof(path), "%s/%u.sock", handler->directory, vms - 1);
    if (!handler->pager)
        return exists(path);
    _cleanup_(close) int fd = unix_connect(path, 0, NULL);
    return fd >= 0;
}

void handler_start(struct handler *handler, unsigned vms)
{
    handler->pid = fork();
    if (handler->pid < 0)
        die("fork");
    if (handler->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!handler->pager)
            _exit(plain_serve(handler->directory, vms));
        execl(handler->pager, handler->pager, "--run-dir", handler->directory, "--log-level",
              "error", NULL);
        die(handler->pager);
    }
    while (!is_ready(handler, vms)) {
        if (waitpid(handler->pid, NULL, WNOHANG) != 0)
            die("the handler ended");
        time_sleep_ms(1);
    }
}

static void call(const struct handler *handler, const char *method, const char *target,
                 const char *body)
{
    char path[256], answer[4096];
    control_path(handler, path);
    _cleanup_(free) char *request = NULL;
    _cleanup_(close) int fd = unix_connect(path, 0, NULL);
    if (fd < 0 ||
        asprintf(&request, "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                 method, target, strlen(body), body) < 0)
        die(path);
    struct error err = {0};
    if (file_write_exact(fd, request, strlen(request), "request", &err) < 0)
        die(path);
    ssize_t n = read(fd, answer, sizeof(answer) - 1);
    answer[n > 0 ? n : 0] = '\0';
    if (strncmp(answer, "HTTP/1.1 20", 11) != 0) {
        fprintf(stderr, "%s %s: %s\n", method, target, answer);
        exit(1);
    }
}

void handler_expect(const struct handler *handler, unsigned first, unsigned vms)
{
    char body[1024];
    for (unsigned i = first; handler->pager && i < first + vms; i++) {
        snprintf(body, sizeof(body),
                 "{\"id\":\"%u\",\"directory\":\"%s\",\"layers\":[\"memory\"],"
                 "\"cache_key\":\"bench\",\"handshake_socket\":\"%s/%u.sock\"%s}",
                 i, handler->directory, handler->directory, i,
                 handler->records ? ",\"record\":\"record\",\"record_ms\":3600000" : "");
        call(handler, "POST", "/sessions", body);
    }
}

void handler_forget(const struct handler *handler, unsigned vm)
{
    char target[64];
    snprintf(target, sizeof(target), "/sessions/%u", vm);
    if (handler->pager)
        call(handler, "DELETE", target, "{\"detach\":true}");
}

double handler_stop(struct handler *handler)
{
    struct rusage usage;
    char path[256];
    kill(handler->pid, SIGKILL);
    if (wait4(handler->pid, NULL, 0, &usage) < 0)
        die("wait");
    for (unsigned i = 0; i < MAX_VMS; i++) {
        snprintf(path, sizeof(path), "%s/%u.sock", handler->directory, i);
        unlink(path); /* most are not there */
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

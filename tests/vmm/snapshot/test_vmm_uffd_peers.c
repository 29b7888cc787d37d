/* SPDX-License-Identifier: Apache-2.0 */
/* tine-vmm as a process, and what may sit behind backend_path: nothing, something else, a server
 * that hangs up, one that says nothing for a while, and one that does its work. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/unix_socket.h"
#include "http/descriptors.h"
#include "served.h"

#define PATIENCE_MS 60000

/* A VMM process, and the load that was asked of it. */
struct process {
    struct place api; /* for pager_call(): both speak HTTP on a socket */
    pid_t pid;
    int request; /* the connection of a load that is not answered yet */
};

static void process_begin(struct process *process, const struct world *world)
{
    const char *program = getenv("TINE_VMM");
    struct error err = {0};
    assert_non_null(program);
    *process = (struct process){.request = -1};
    snprintf(process->api.control, sizeof(process->api.control), "%s/api", world->directory);
    /* Of one that was killed. */
    unlink(process->api.control);
    unlink(world->vsock);
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, program, "--api-sock", process->api.control, "--id", "peers", "--level",
              "Error", NULL);
        _exit(127);
    }
    for (unsigned i = 0;; i++) {
        _cleanup_(close) int fd = unix_connect(process->api.control, 0, &err);
        if (fd >= 0)
            return;
        assert_true(i < PATIENCE_MS && waitpid(process->pid, NULL, WNOHANG) == 0);
        time_sleep_ms(1);
    }
}

static int process_wait(struct process *process)
{
    int status = 0;
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    cleanup_close(&process->request);
    return status;
}

static json_t *load_body(const struct world *world, const char *socket)
{
    return json_pack("{s:s, s:{s:s, s:s}, s:b, s:b}", "snapshot_path", world->state, "mem_backend",
                     "backend_type", "Uffd", "backend_path", socket, "track_dirty_pages", 1,
                     "resume_vm", 1);
}

static void load_begin(struct process *process, const struct world *world, const char *socket)
{
    struct error err = {0};
    _cleanup_(free) char *request = NULL;
    json_t *json = load_body(world, socket);
    _cleanup_(free) char *body = json_dumps(json, 0);
    json_decref(json);
    int length = asprintf(&request, "PUT /snapshot/load HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s",
                          strlen(body), body);
    process->request = unix_connect(process->api.control, 0, &err);
    assert_true(process->request >= 0);
    assert_int_equal(send(process->request, request, (size_t)length, MSG_NOSIGNAL), length);
}

static bool answered(const struct process *process, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = process->request, .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) > 0;
}

/* A saved VM, and nobody who runs it. */
static void sleeps(struct served *served)
{
    walker_sleeps(served);
    next_vmm(&served->world);
}

static void expect_refused(struct served *served, const char *socket, const char *errnum)
{
    struct process process;
    process_begin(&process, &served->world);
    struct reply reply = pager_call(&process.api, "PUT", "/snapshot/load",
                                    load_body(&served->world, socket), NULL, 0);
    const char *message = json_string_value(json_object_get(reply.body, "fault_message"));
    assert_int_equal(reply.status, 400);
    assert_non_null(message);
    if (!strstr(message, socket) || !strstr(message, errnum))
        fail_msg("%s and %s are not both in: %s", socket, errnum, message);
    assert_string_equal(json_string_value(json_object_get(reply.body, "errno")), errnum);
    reply_free(&reply);
    int status = process_wait(&process);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void test_nobody(void **context)
{
    struct served *served = *context;
    struct error err = {0};
    char path[96], directory[96];
    sleeps(served);
    path_in(&served->world, path, "socket");
    expect_refused(served, path, "ENOENT");
    path_in(&served->world, directory, "no/where");
    expect_refused(served, directory, "ENOENT");
    write_file(path, "no socket", 9);
    expect_refused(served, path, "ECONNREFUSED");
    assert_int_equal(unlink(path), 0);
    /* Nobody listens any more. */
    _cleanup_(close) int fd = unix_listen(path, 0, &err);
    assert_true(fd >= 0);
    cleanup_close(&fd);
    expect_refused(served, path, "ECONNREFUSED");
    assert_int_equal(unlink(path), 0);
    /* One that takes nobody in holds nobody up: a queue of one, and that place is taken. */
    fd = unix_listen(path, 0, &err);
    assert_true(fd >= 0 && listen(fd, 0) == 0);
    _cleanup_(close) int taken = unix_connect(path, SOCK_NONBLOCK, &err);
    assert_true(taken >= 0);
    expect_refused(served, path, "EAGAIN");
}

/* ---- a server of this test's own ---- */

struct server {
    int listener, connection, uffd;
    char text[1024];
};

static void cleanup_server(struct server *server)
{
    cleanup_close(&server->listener);
    cleanup_close(&server->connection);
    cleanup_close(&server->uffd);
}

static void server_listen(struct server *server, const char *path)
{
    struct error err = {0};
    *server = (struct server){.connection = -1, .uffd = -1};
    server->listener = unix_listen(path, 0, &err);
    assert_true(server->listener >= 0);
}

/* One read gets the text and exactly one descriptor, as Firecracker's own example wants it. */
static void server_accept(struct server *server)
{
    int fds[4];
    size_t count = 0;
    bool too_many = false;
    server->connection = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(server->connection >= 0);
    ssize_t n = descriptors_receive(server->connection, server->text, sizeof(server->text) - 1, fds,
                                    ARRAY_SIZE(fds), &count, &too_many);
    assert_true(n > 0 && count == 1 && !too_many);
    server->text[n] = '\0';
    server->uffd = fds[0];
}

/* The one region's address, after a look at all that was said. */
static uint64_t server_region(const struct server *server)
{
    json_error_t error;
    json_t *regions = json_loads(server->text, 0, &error);
    json_int_t base = 0, size = 0, offset = -1, page_size = 0, page_size_kib = 0;
    assert_int_equal(json_array_size(regions), 1);
    assert_int_equal(json_unpack(json_array_get(regions, 0), "{s:I, s:I, s:I, s:I, s:I !}",
                                 "base_host_virt_addr", &base, "size", &size, "offset", &offset,
                                 "page_size", &page_size, "page_size_kib", &page_size_kib),
                     0);
    json_decref(regions);
    assert_int_equal(size, (json_int_t)MEMORY_MIB << 20);
    assert_int_equal(offset, 0);
    assert_int_equal(page_size, PAGE);
    assert_int_equal(page_size_kib, PAGE);
    assert_true(fcntl(server->uffd, F_GETFL) & O_NONBLOCK);
    return (uint64_t)base;
}

static bool server_has_fault(const struct server *server, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = server->uffd, .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) > 0;
}

/* Answers one fault out of the memory file. */
static void server_answer(const struct server *server, uint64_t base, const uint8_t *image)
{
    struct uffd_msg message;
    if (read(server->uffd, &message, sizeof(message)) != sizeof(message))
        return; /* another thread of the VM had it answered meanwhile */
    assert_int_equal(message.event, UFFD_EVENT_PAGEFAULT);
    uint64_t address = message.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
    struct uffdio_copy fill = {
        .dst = address, .src = (uintptr_t)(image + (address - base)), .len = PAGE};
    if (ioctl(server->uffd, UFFDIO_COPY, &fill) < 0)
        assert_int_equal(errno, EEXIST);
}

/* For as long as it says nothing the load waits; then it is served page by page, and answered. */
static void test_late(void **context)
{
    struct served *served = *context;
    struct process process;
    char path[96];
    sleeps(served);
    path_in(&served->world, path, "socket");
    _cleanup_(server) struct server server;
    server_listen(&server, path);
    process_begin(&process, &served->world);
    load_begin(&process, &served->world, path);
    server_accept(&server);
    const uint64_t base = server_region(&server);
    assert_true(server_has_fault(&server, PATIENCE_MS));
    assert_false(answered(&process, 0));
    _cleanup_(close) int fd = open(served->world.memory, O_RDONLY | O_CLOEXEC);
    const size_t size = (size_t)MEMORY_MIB << 20;
    void *image = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(image, MAP_FAILED);
    for (int waited = 0; !answered(&process, 0); waited++) {
        assert_true(waited < PATIENCE_MS);
        if (server_has_fault(&server, 1))
            server_answer(&server, base, image);
    }
    char answer[64] = "";
    assert_true(read(process.request, answer, sizeof(answer) - 1) > 0);
    assert_non_null(strstr(answer, "HTTP/1.1 204"));
    munmap(image, size);
    /* The socket stays, and tells of the end. */
    struct pollfd end = {.fd = server.connection, .events = POLLIN};
    assert_int_equal(poll(&end, 1, 0), 0);
    assert_int_equal(kill(process.pid, SIGKILL), 0);
    process_wait(&process);
    assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
    assert_int_equal(read(server.connection, answer, 1), 0);
}

/* Whether the event loop's thread waits for a page. */
static bool waits_for_page(const struct process *process)
{
    char path[64], where[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/wchan", process->pid);
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, where, sizeof(where) - 1) > 0 && strstr(where, "userfault");
}

/* One that hangs up before it was sent anything is an error of the load; one that was, and never
 * answers, leaves the load waiting, killable: somebody else may have the descriptor. Which of the
 * two it is for one that hangs up at once is a matter of who is faster. */
static void test_hangs_up(void **context)
{
    struct served *served = *context;
    struct process process;
    char path[96];
    sleeps(served);
    path_in(&served->world, path, "socket");
    for (int keeps = 0; keeps < 2; keeps++) {
        _cleanup_(server) struct server server;
        unlink(path);
        server_listen(&server, path);
        process_begin(&process, &served->world);
        load_begin(&process, &served->world, path);
        if (keeps) {
            server_accept(&server);
            assert_true(server_has_fault(&server, PATIENCE_MS));
        } else {
            server.connection = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);
            assert_true(server.connection >= 0);
        }
        cleanup_close(&server.connection);
        for (int waited = 0; !answered(&process, 1) && !waits_for_page(&process); waited++)
            assert_true(waited < PATIENCE_MS);
        if (!answered(&process, 0)) {
            assert_int_equal(waitpid(process.pid, NULL, WNOHANG), 0);
            assert_int_equal(kill(process.pid, SIGKILL), 0);
            assert_true(WIFSIGNALED(process_wait(&process)));
        } else {
            assert_false(keeps);
            assert_int_equal(WEXITSTATUS(process_wait(&process)), 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVED(test_nobody),
        WITH_SERVED(test_late),
        WITH_SERVED(test_hangs_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

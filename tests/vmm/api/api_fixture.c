/* SPDX-License-Identifier: Apache-2.0 */
#include "api_fixture.h"

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/unix_socket.h"

static void *serve(void *argument)
{
    struct fixture *fixture = argument;
    fixture->status = loop_run(fixture->loop);
    return NULL;
}

int fixture_setup(void **state)
{
    struct error err = {0};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    log_configure("test", LOG_LEVEL_ERROR, STDERR_FILENO);
    strcpy(fixture->directory, "/tmp/tine-api-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->socket_path, sizeof(fixture->socket_path), "%s/api.sock", fixture->directory);
    snprintf(fixture->file, sizeof(fixture->file), "%s/file", fixture->directory);
    assert_int_equal(file_publish(AT_FDCWD, fixture->file, "content", 7, 0600, &err), 0);
    fixture->loop = loop_create(&err);
    fixture->vmm = vmm_create("test-vm", fixture->loop, &err);
    fixture->api =
        api_create(fixture->socket_path, API_BODY_LIMIT, fixture->loop, fixture->vmm, &err);
    assert_non_null(fixture->api);
    assert_int_equal(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
    fixture->client = client_connect(fixture);
    *state = fixture;
    return 0;
}

int fixture_join(struct fixture *fixture)
{
    if (!fixture->stopped)
        pthread_join(fixture->thread, NULL);
    fixture->stopped = true;
    return fixture->status;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    if (fixture->client >= 0)
        close(fixture->client);
    loop_stop(fixture->loop, 0);
    fixture_join(fixture);
    api_destroy(fixture->api);
    vmm_destroy(fixture->vmm);
    loop_destroy(fixture->loop);
    assert_int_equal(tree_remove(AT_FDCWD, fixture->directory, &err), 0);
    free(fixture);
    return 0;
}

int client_connect(const struct fixture *fixture)
{
    struct error err = {0};
    int fd = unix_connect(fixture->socket_path, 0, &err);
    assert_true(fd >= 0);
    /* Only so that a server that never answers fails the test instead of hanging it. */
    const struct timeval patience = {.tv_sec = 30};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return fd;
}

void client_send(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
        assert_true(n > 0);
        text += n;
        length -= (size_t)n;
    }
}

static bool read_head(int fd, struct response *response)
{
    size_t used = 0;
    while (used < 4 || memcmp(response->head + used - 4, "\r\n\r\n", 4) != 0) {
        assert_true(used + 1 < sizeof(response->head));
        ssize_t n = recv(fd, response->head + used, 1, 0);
        assert_true(n >= 0 || used == 0);
        if (n <= 0)
            return false;
        used++;
    }
    response->head[used] = '\0';
    return true;
}

bool client_receive(int fd, struct response *response)
{
    char *end = NULL;
    memset(response, 0, sizeof(*response));
    if (!read_head(fd, response))
        return false;
    /* No reason phrase, but the space before it. */
    assert_memory_equal(response->head, "HTTP/1.1 ", 9);
    response->status = (int)strtol(response->head + 9, &end, 10);
    assert_memory_equal(end, " \r\n", 3);
    assert_non_null(strstr(response->head, "\r\nServer: Firecracker API\r\n"));
    response->keep_alive = strstr(response->head, "\r\nConnection: keep-alive\r\n") != NULL;
    response->has_type = strstr(response->head, "\r\nContent-Type: application/json\r\n") != NULL;
    const char *length = strstr(response->head, "\r\nContent-Length: ");
    response->has_length = length != NULL;
    response->body_length = length ? strtoul(length + 18, NULL, 10) : 0;
    assert_true(response->body_length < sizeof(response->body));
    for (size_t used = 0; used < response->body_length;) {
        ssize_t n = recv(fd, response->body + used, response->body_length - used, 0);
        assert_true(n > 0);
        used += (size_t)n;
    }
    return true;
}

bool client_at_end(int fd)
{
    char byte = 0;
    return recv(fd, &byte, 1, 0) == 0;
}

const struct response *expect(struct fixture *fixture, int status, const char *part,
                              const char *method, const char *path, const char *body)
{
    static struct response response;
    char *request = NULL;
    int n = body ? asprintf(&request, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                            method, path, strlen(body), body)
                 : asprintf(&request, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, path);
    assert_true(n > 0);
    client_send(fixture->client, request, (size_t)n);
    free(request);
    assert_true(client_receive(fixture->client, &response));
    if (response.status != status || (part && !strstr(response.body, part)))
        fail_msg("%s %s %s: got %d %s, expected %d with '%s'", method, path, body ? body : "",
                 response.status, response.body, status, part ? part : "");
    assert_int_equal(response.has_type, status != 204);
    assert_int_equal(response.has_length, status != 204);
    if (status == 400)
        assert_non_null(strstr(response.body, "{\"fault_message\":\""));
    return &response;
}

const struct response *expect_file(struct fixture *fixture, int status, const char *part,
                                   const char *method, const char *path, const char *format,
                                   const char *file)
{
    char body[1024];
    const char *place = strstr(format, "%s");
    assert_non_null(place);
    snprintf(body, sizeof(body), "%.*s%s%s", (int)(place - format), format, file, place + 2);
    return expect(fixture, status, part, method, path, body);
}

void fixture_start(struct fixture *fixture)
{
    expect(fixture, 204, NULL, "PUT", "/actions", "{\"action_type\":\"InstanceStart\"}");
}

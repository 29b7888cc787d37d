/* SPDX-License-Identifier: Apache-2.0 */
/* The fake VMM's process and its HTTP server. */
#include "fake_vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/descriptors.h"

#define REQUEST_LIMIT (64u << 10)

/* One API connection. */
struct connection {
    struct fake *fake;
    unsigned number;
    int had_turn;
    int fd, mount_fd;
    char data[REQUEST_LIMIT + 1];
    size_t length;
};

char *fake_order(const char *order, const char *path)
{
    FILE *file = fopen("fake-vmm", "re");
    if (!file)
        return NULL;
    char prefix[256], line[1024];
    snprintf(prefix, sizeof(prefix), path ? "%s %s" : "%s", order, path ? path : "");
    char *found = NULL;
    while (!found && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        size_t length = strlen(prefix);
        if (strncmp(line, prefix, length) == 0 && (line[length] == ' ' || line[length] == '\0'))
            found = strdup(line + length + (line[length] == ' '));
    }
    fclose(file);
    return found;
}

void fake_thread(void *(*run)(void *), void *context)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, context) != 0)
        abort();
    pthread_detach(thread);
}

/* The constant paths are short, so sun_path is enough. */
int fake_unix_socket(const char *path, int listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = listening ? bind(fd, (struct sockaddr *)&address, sizeof(address))
                      : connect(fd, (struct sockaddr *)&address, sizeof(address));
    if (r == 0 && listening)
        r = listen(fd, 64);
    if (r < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int fake_print(int fd, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    ssize_t n = write(fd, text, (size_t)length);
    free(text);
    return (int)n;
}

static void record(const char *method, const char *path, const char *body)
{
    int fd = open("log/requests", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    fake_print(fd, "%s %s %s\n", method, path, body);
    close(fd);
}

static void answer_send(int fd, const struct fake_answer *answer)
{
    char *text = answer->body ? json_dumps(answer->body, JSON_COMPACT) : NULL;
    /* As Firecracker: no reason phrase, and a 204 carries no length. */
    if (text)
        fake_print(fd,
                   "HTTP/1.1 %d \r\nServer: Fake API\r\nConnection: keep-alive\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                   answer->status, strlen(text), text);
    else
        fake_print(fd, "HTTP/1.1 %d \r\nServer: Fake API\r\nConnection: keep-alive\r\n\r\n",
                   answer->status);
    free(text);
}

/* One event loop would serve connections in the order in which they came: what a tined that was
 * killed had asked for comes before what the next one asks. */
static void turn_await(struct connection *connection)
{
    struct fake *fake = connection->fake;
    pthread_mutex_lock(&fake->lock);
    while (!connection->had_turn && fake->turn != connection->number)
        pthread_cond_wait(&fake->changed, &fake->lock);
    pthread_mutex_unlock(&fake->lock);
}

static void turn_pass(struct connection *connection)
{
    struct fake *fake = connection->fake;
    pthread_mutex_lock(&fake->lock);
    fake->turn += !connection->had_turn;
    connection->had_turn = 1;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
}

/* Obeys an order about this path; returns 1 if the request is dealt with. */
static int misbehave(struct connection *connection, const char *path, struct fake_answer *answer)
{
    int fd = connection->fd;
    char *text = fake_order("die", path);
    if (text) {
        fprintf(stderr, "%s\n", text);
        _exit(3);
    }
    text = fake_order("die-slowly", path);
    if (text) {
        unlink("run/api.sock");
        close(fd);
        usleep((useconds_t)strtoul(text, NULL, 10) * 1000);
        _exit(3);
    }
    text = fake_order("hang", path);
    if (text)
        turn_pass(connection);
    while (text)
        pause();
    while ((text = fake_order("wait", path))) {
        free(text);
        usleep(1000);
    }
    text = fake_order("garbage", path);
    if (text) {
        free(text);
        fake_print(fd, "\001\002 this is no HTTP at all\r\n\r\n");
        return -1;
    }
    text = fake_order("refuse", path);
    char *full = text ? NULL : fake_order("full", path);
    if (!text && !full)
        return 0;
    answer->status = 400;
    answer->body = json_pack("{s:s, s:s*}", "fault_message", text ? text : full, "errno",
                             full ? "ENOSPC" : NULL);
    free(full);
    free(text);
    return 1;
}

/* Handles one whole request; returns 0 to go on with the connection. */
static int serve(struct connection *connection, const char *method, const char *path,
                 const char *body)
{
    struct fake_answer answer = {.status = 204, .exit_after = -1};
    turn_await(connection);
    record(method, path, body);
    int r = misbehave(connection, path, &answer);
    if (r == 0) {
        json_t *json = *body ? json_loads(body, 0, NULL) : NULL;
        pthread_mutex_lock(&connection->fake->lock);
        connection->fake->mount_fd = connection->mount_fd;
        fake_handle(connection->fake, method, path, json, &answer);
        pthread_mutex_unlock(&connection->fake->lock);
        json_decref(json);
    }
    turn_pass(connection);
    if (r >= 0)
        answer_send(connection->fd, &answer);
    json_decref(answer.body);
    if (answer.exit_after >= 0)
        _exit(answer.exit_after);
    return r < 0;
}

/* The body's length by its header; 0 without one. */
static size_t content_length(const char *head)
{
    for (const char *line = head; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            return strtoul(line + 15, NULL, 10);
    }
    return 0;
}

/* Takes one request out of what has arrived: 1 served, 0 incomplete, -1 end the connection. */
static int take_request(struct connection *connection)
{
    connection->data[connection->length] = '\0';
    char *end = strstr(connection->data, "\r\n\r\n");
    if (!end)
        return 0;
    *end = '\0';
    size_t head = (size_t)(end - connection->data) + 4;
    size_t body = content_length(connection->data);
    if (head + body > connection->length) {
        *end = '\r';
        return head + body > REQUEST_LIMIT ? -1 : 0;
    }
    char method[16], path[256];
    if (sscanf(connection->data, "%15s %255s", method, path) != 2)
        return -1;
    char *text = strndup(connection->data + head, body);
    const int last = strcasestr(connection->data, "Connection: close") != NULL;
    int r = serve(connection, method, path, text);
    free(text);
    if (last)
        return -1;
    connection->length -= head + body;
    memmove(connection->data, connection->data + head + body, connection->length);
    return r == 0 ? 1 : -1;
}

/* With what descriptor there is. */
static ssize_t receive(struct connection *connection)
{
    size_t count = 0;
    bool too_many = false;
    int fd = -1;
    ssize_t n = descriptors_receive(connection->fd, connection->data + connection->length,
                                    REQUEST_LIMIT - connection->length, &fd, 1, &count, &too_many);
    if (count > 0)
        connection->mount_fd = fd;
    return n;
}

static void *connection_run(void *context)
{
    struct connection *connection = context;
    for (;;) {
        int r = take_request(connection);
        if (r < 0 || connection->length == REQUEST_LIMIT)
            break;
        if (r > 0)
            continue;
        ssize_t n = receive(connection);
        if (n <= 0)
            break;
        connection->length += (size_t)n;
    }
    turn_await(connection);
    turn_pass(connection);
    if (connection->mount_fd >= 0)
        close(connection->mount_fd);
    shutdown(connection->fd, SHUT_RDWR); /* one that is being forked off may have it, too */
    close(connection->fd);
    free(connection);
    return NULL;
}

static void obey_before_listening(void)
{
    char *text = fake_order("die-at-start", NULL);
    if (text) {
        fprintf(stderr, "%s\n", text);
        _exit(1);
    }
    text = fake_order("no-listen", NULL);
    while (text)
        pause();
    text = fake_order("slow-listen", NULL);
    if (text)
        usleep((useconds_t)strtoul(text, NULL, 10) * 1000);
    free(text);
}

static void new_boot_id(struct fake *fake)
{
    uint64_t random[2] = {0};
    if (getrandom(random, sizeof(random), 0) < 0)
        abort();
    snprintf(fake->boot_id, sizeof(fake->boot_id), "%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
}

int fake_serve(struct fake *fake, const char *path)
{
    int listener = fake_unix_socket(path, 1);
    if (listener < 0) {
        fprintf(stderr, "fake-vmm: bind %s: %s\n", path, strerror(errno));
        return 1;
    }
    if (fake->parent && getppid() != fake->parent)
        return 1;
    fake->parent = 0;
    for (unsigned number = 0;; number++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct connection *connection = fd < 0 ? NULL : calloc(1, sizeof(*connection));
        if (!connection)
            return 1;
        connection->fake = fake;
        connection->fd = fd;
        connection->mount_fd = -1;
        connection->number = number;
        fake_thread(connection_run, connection);
    }
}

int main(int argc, char **argv)
{
    static struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER,
                               .hostname = "fake-guest",
                               .vsock_fd = -1,
                               .mount_fd = -1};
    const char *socket_path = NULL, *log_path = NULL;
    fake_become(&fake, argv[0]);
    if (fake.version && argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("Firecracker v%s\n\nand more\n", fake.version);
        return 0;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--api-sock") == 0)
            socket_path = argv[i + 1];
        else if (strcmp(argv[i], "--id") == 0)
            fake.id = argv[i + 1];
        else if (strcmp(argv[i], "--log-path") == 0)
            log_path = argv[i + 1];
    }
    if (!socket_path || !fake.id) {
        fprintf(stderr, "usage: fake_vmm --api-sock PATH --id ID\n");
        return 2;
    }
    if (fake.version)
        fake_check_arguments(&fake, argc, argv);
    if (fake.version && chdir("/run/tine/guest") < 0) /* a jailer leaves it in its root */
        return 1;
    if (log_path && open(log_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) < 0)
        return 152;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    fprintf(stderr, "fake-vmm: id %s\n", fake.id);
    obey_before_listening();
    fake.config = json_object();
    new_boot_id(&fake);
    return fake_serve(&fake, socket_path);
}

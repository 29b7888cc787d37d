/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "http/descriptors.h"
#include "stack/compression.h"

#define PATIENCE 30000u /* looks, one a millisecond or more */

/* ---- a directory, the image in it, the pager ---- */

void place_open(struct place *place)
{
    *place = (struct place){.directory = "/tmp/tine-pager-XXXXXX"};
    assert_non_null(mkdtemp(place->directory));
}

void place_close(struct place *place)
{
    struct error err = {0};
    pager_kill(place);
    assert_int_equal(tree_remove(AT_FDCWD, place->directory, &err), 0);
}

static bool answers(const struct place *place)
{
    struct error err = {0};
    _cleanup_(close) int fd = unix_connect(place->control, 0, &err);
    return fd >= 0;
}

void pager_begin(struct place *place, const char *variable, const char *version)
{
    const char *program = getenv(variable);
    assert_non_null(program);
    snprintf(place->control, sizeof(place->control), "%s/pager/%s/control.sock", place->directory,
             version);
    pid_t parent = getpid();
    place->pid = fork();
    assert_true(place->pid >= 0);
    if (place->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            execl(program, program, "--run-dir", place->directory, "--threads", "2", "--log-level",
                  getenv("TINE_TEST_LOG") ? getenv("TINE_TEST_LOG") : "error",
                  place->decoded_cache ? "--decoded-cache" : NULL, place->decoded_cache, NULL);
        _exit(127);
    }
    for (unsigned i = 0; !answers(place); i++) {
        assert_true(i < PATIENCE && waitpid(place->pid, NULL, WNOHANG) == 0);
        time_sleep_ms(1);
    }
}

void pager_kill(struct place *place)
{
    if (place->pid == 0)
        return;
    kill(place->pid, SIGKILL);
    assert_int_equal(waitpid(place->pid, NULL, 0), place->pid);
    place->pid = 0;
}

int pager_wait(struct place *place)
{
    int status = 0;
    assert_int_equal(waitpid(place->pid, &status, 0), place->pid);
    place->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_hole(uint64_t page)
{
    return page % 7 == 3;
}

void page_fill(uint64_t page, uint64_t words[PAGE / 8])
{
    memset(words, 0, PAGE);
    if (is_hole(page) || page % 11 == 5)
        return;
    for (uint64_t i = 0; i < PAGE / 8; i++)
        words[i] = (page * 512 + i + 1) * 0x9e3779b97f4a7c15ull;
}

void image_make(const struct place *place, const char *name, uint64_t pages)
{
    char path[128];
    uint64_t words[PAGE / 8];
    struct error err = {0};
    snprintf(path, sizeof(path), "%s/%s", place->directory, name);
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)(pages * PAGE)) == 0);
    for (uint64_t page = 0; page < pages; page++) {
        page_fill(page, words);
        if (!is_hole(page))
            assert_int_equal(file_pwrite_exact(fd, words, PAGE, page * PAGE, path, &err), 0);
    }
}

bool page_is_image(const void *memory, uint64_t page)
{
    uint64_t words[PAGE / 8];
    page_fill(page, words);
    return memcmp(memory, words, PAGE) == 0;
}

bool page_is_zeros(const void *memory)
{
    static const uint8_t zeros[PAGE];
    return memcmp(memory, zeros, PAGE) == 0;
}

/* ---- the API ---- */

static int send_request(const struct place *place, const char *text, const int *fds, size_t count)
{
    struct error err = {0};
    size_t length = strlen(text);
    int fd = unix_connect(place->control, 0, &err);
    assert_true(fd >= 0);
    if (count > 0) {
        assert_int_equal(descriptors_send(fd, text, 1, fds, count), 1);
        text++;
        length--;
    }
    assert_int_equal(file_write_exact(fd, text, length, "request", &err), 0);
    return fd;
}

/* Up to the peer's close; the answer's text with a NUL. */
static char *receive_all(int fd, struct reply *reply)
{
    size_t length = 0, capacity = 1 << 20;
    char *text = malloc(capacity);
    assert_non_null(text);
    for (;;) {
        size_t count = 0;
        bool too_many = false;
        ssize_t n = descriptors_receive(fd, text + length, capacity - length - 1,
                                        reply->fds + reply->fd_count, 4 - reply->fd_count, &count,
                                        &too_many);
        assert_true(n >= 0 && !too_many);
        reply->fd_count += count;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    text[length] = '\0';
    return text;
}

struct reply pager_call(const struct place *place, const char *method, const char *path,
                        json_t *body, const int *fds, size_t count)
{
    struct reply reply = {0};
    _cleanup_(free) char *request = NULL;
    _cleanup_(free) char *text = body ? json_dumps(body, 0) : strdup("");
    json_decref(body);
    assert_true(asprintf(&request,
                         "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                         method, path, strlen(text), text) > 0);
    _cleanup_(close) int fd = send_request(place, request, fds, count);
    _cleanup_(free) char *answer = receive_all(fd, &reply);
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &reply.status), 1);
    const char *content = strstr(answer, "\r\n\r\n");
    assert_non_null(content);
    reply.body = json_loads(content + 4, 0, NULL);
    return reply;
}

void reply_free(struct reply *reply)
{
    json_decref(reply->body);
    for (size_t i = 0; i < reply->fd_count; i++)
        close(reply->fds[i]);
}

void pager_expect(const struct place *place, const char *method, const char *path, json_t *body,
                  int status)
{
    struct reply reply = pager_call(place, method, path, body, NULL, 0);
    if (reply.status != status)
        print_error("%s %s: %s\n", method, path,
                    json_string_value(json_object_get(reply.body, "fault_message")));
    assert_int_equal(reply.status, status);
    reply_free(&reply);
}

json_t *session_body(const struct place *place, const char *id)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s.sock", place->directory, id);
    json_t *body = json_pack("{s:s, s:s, s:s, s:[s], s:s}", "id", id, "directory", place->directory,
                             "cache_key", "key", "layers", "memory", "handshake_socket", path);
    assert_non_null(body);
    return body;
}

json_t *packed_body(const struct place *place, const char *id, const char *name,
                    const char *compression)
{
    json_t *body = session_body(place, id);
    json_object_set_new(body, "layers", json_pack("[s]", name));
    json_object_set_new(body, "compression", json_string(compression));
    return body;
}

void image_pack(const struct place *place, const char *compression)
{
    struct error err = {0};
    struct stack_compression how;
    struct stack_task task = {.done = 0};
    struct stack_packing packing = {.dirfd = -1};
    _cleanup_(close) int directory = dir_open(AT_FDCWD, place->directory, &err);
    const struct stack_file raw = {directory, "memory", "memory"};
    assert_int_equal(stack_compression_parse(compression, &how, &err), 0);
    if (unlinkat(directory, how.algorithm == STACK_ZSTD ? "memory.zst" : "memory.lz4", 0) < 0)
        assert_int_equal(errno, ENOENT);
    assert_int_equal(stack_pack(&raw, &how, &task, &packing, &err), 0);
    assert_int_equal(stack_pack_publish(&raw, &packing, &err), 0);
    cleanup_stack_packing(&packing);
}

int64_t cache_counter(const struct place *place, const char *counter)
{
    struct reply reply = pager_call(place, "GET", "/stats", NULL, NULL, 0);
    assert_int_equal(reply.status, 200);
    json_t *value = json_object_get(json_object_get(reply.body, "cache"), counter);
    assert_true(json_is_integer(value));
    int64_t count = json_integer_value(value);
    reply_free(&reply);
    return count;
}

json_t *session_get(const struct place *place, const char *id)
{
    char path[128];
    snprintf(path, sizeof(path), "/sessions/%s", id);
    struct reply reply = pager_call(place, "GET", path, NULL, NULL, 0);
    assert_int_equal(reply.status, 200);
    return reply.body;
}

bool session_reaches(const struct place *place, const char *id, const char *state)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        json_t *session = session_get(place, id);
        const char *now = json_string_value(json_object_get(session, "state"));
        bool reached = strcmp(now, state) == 0;
        bool ended = strcmp(now, "failed") == 0 || strcmp(now, "ended") == 0;
        if (ended && !reached)
            print_error("%s: %s %s\n", id, now,
                        json_string_value(json_object_get(session, "reason")));
        json_decref(session);
        if (reached || ended)
            return reached;
        time_sleep_ms(1);
    }
    return false;
}

int64_t session_counter(const struct place *place, const char *id, const char *counter)
{
    json_t *session = session_get(place, id);
    json_t *value = json_object_get(json_object_get(session, "counters"), counter);
    assert_true(json_is_integer(value));
    int64_t count = json_integer_value(value);
    json_decref(session);
    return count;
}

/* ---- a VM ---- */

static int uffd_new(uint64_t features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
    return fd;
}

void vm_open(struct vm *vm, uint64_t pages, unsigned regions, uint64_t features)
{
    *vm = (struct vm){.uffd = uffd_new(features), .socket = -1, .count = regions};
    uint64_t first = 0;
    for (unsigned i = 0; i < regions; i++) {
        struct vm_region *region = &vm->regions[i];
        region->first = first;
        region->pages = i + 1 < regions ? pages / regions : pages - first;
        first += region->pages;
        /* A page more on both sides keeps the kernel from merging it with a neighbour. */
        uint8_t *memory = mmap(NULL, (region->pages + 2) * PAGE, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_ptr_not_equal(memory, MAP_FAILED);
        region->memory = memory + PAGE;
        assert_int_equal(mprotect(region->memory, region->pages * PAGE, PROT_READ | PROT_WRITE), 0);
        struct uffdio_register registration = {
            .range = {.start = (uintptr_t)region->memory, .len = region->pages * PAGE},
            .mode = UFFDIO_REGISTER_MODE_MISSING,
        };
        assert_int_equal(ioctl(vm->uffd, UFFDIO_REGISTER, &registration), 0);
    }
}

void vm_close(struct vm *vm)
{
    for (unsigned i = 0; i < vm->count; i++)
        munmap(vm->regions[i].memory - PAGE, (vm->regions[i].pages + 2) * PAGE);
    cleanup_close(&vm->uffd);
    cleanup_close(&vm->socket);
}

char *vm_regions_text(const struct vm *vm)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < vm->count; i++) {
        const struct vm_region *region = &vm->regions[i];
        json_array_append_new(array, json_pack("{s:I, s:I, s:I, s:i, s:i}", "base_host_virt_addr",
                                               (json_int_t)(uintptr_t)region->memory, "size",
                                               (json_int_t)(region->pages * PAGE), "offset",
                                               (json_int_t)(region->first * PAGE), "page_size",
                                               (int)PAGE, "page_size_kib", (int)PAGE));
    }
    char *text = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    assert_non_null(text);
    return text;
}

int handshake_send(const struct place *place, const char *id, const char *text, size_t length,
                   const int *fds, size_t count)
{
    char path[128];
    struct error err = {0};
    snprintf(path, sizeof(path), "%s/%s.sock", place->directory, id);
    int fd = unix_connect(path, 0, &err);
    assert_true(fd >= 0);
    if (count > 0)
        assert_int_equal(descriptors_send(fd, text, length, fds, count), length);
    else if (length > 0)
        assert_int_equal(send(fd, text, length, MSG_NOSIGNAL), length);
    return fd;
}

void vm_introduce(struct vm *vm, const struct place *place, const char *id)
{
    _cleanup_(free) char *text = vm_regions_text(vm);
    vm->socket = handshake_send(place, id, text, strlen(text), &vm->uffd, 1);
}

void vm_begin(struct vm *vm, const struct place *place, const char *id, uint64_t pages,
              unsigned regions)
{
    pager_expect(place, "POST", "/sessions", session_body(place, id), 200);
    vm_open(vm, pages, regions, UFFD_FEATURE_EVENT_REMOVE);
    vm_introduce(vm, place, id);
}

uint8_t *vm_page(const struct vm *vm, uint64_t page)
{
    for (unsigned i = 0; i < vm->count; i++) {
        const struct vm_region *region = &vm->regions[i];
        if (page >= region->first && page - region->first < region->pages)
            return region->memory + (page - region->first) * PAGE;
    }
    fail_msg("the VM has no page %llu", (unsigned long long)page);
    return NULL;
}

uint64_t vm_wrong_pages(const struct vm *vm)
{
    uint64_t wrong = 0;
    for (unsigned i = 0; i < vm->count; i++) {
        const struct vm_region *region = &vm->regions[i];
        for (uint64_t k = 0; k < region->pages; k++)
            wrong += !page_is_image(region->memory + k * PAGE, region->first + k);
    }
    return wrong;
}

/* ---- all of it ---- */

struct place *place_new(uint64_t pages)
{
    struct place *place = calloc(1, sizeof(*place));
    assert_non_null(place);
    place_open(place);
    image_make(place, "memory", pages);
    pager_begin(place, "TINE_PAGER", "0.1.0");
    return place;
}

void place_free(struct place *place)
{
    place_close(place);
    free(place);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Peers, requests and images that are not what they should be: one clear reason, and nobody else
 * notices. A good VM runs beside every bad one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fixture.h"

#define PAGES 512u

struct stage {
    struct place place;
    struct vm good;
};

static int setup(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    assert_non_null(stage);
    place_open(&stage->place);
    image_make(&stage->place, "memory", PAGES);
    pager_begin(&stage->place, "TINE_PAGER", "0.1.0");
    vm_begin(&stage->good, &stage->place, "good", PAGES, 2);
    assert_true(page_is_image(vm_page(&stage->good, 0), 0));
    *state = stage;
    return 0;
}

static int teardown(void **state)
{
    struct stage *stage = *state;
    /* Whatever the other one did: all pages are there and right. */
    int wrong = vm_wrong_pages(&stage->good) != 0;
    vm_close(&stage->good);
    place_close(&stage->place);
    free(stage);
    return wrong;
}

/* ---- handshakes ---- */

static void expect_failed(const struct place *place, const char *id, const char *reason)
{
    assert_true(session_reaches(place, id, "failed"));
    json_t *session = session_get(place, id);
    const char *told = json_string_value(json_object_get(session, "reason"));
    assert_non_null(told);
    if (!strstr(told, reason))
        print_error("\"%s\" does not say \"%s\"\n", told, reason);
    assert_non_null(strstr(told, reason));
    json_decref(session);
    char path[128];
    snprintf(path, sizeof(path), "/sessions/%s", id);
    pager_expect(place, "DELETE", path, NULL, 204);
}

static void shake(const struct place *place, const char *text, const int *fds, size_t count,
                  const char *reason)
{
    pager_expect(place, "POST", "/sessions", session_body(place, "bad"), 200);
    int fd = handshake_send(place, "bad", text, strlen(text), fds, count);
    expect_failed(place, "bad", reason);
    close(fd);
}

#define REGION(base, size, offset)                                              \
    "{\"base_host_virt_addr\":" #base ",\"size\":" #size ",\"offset\":" #offset \
    ",\"page_size\":4096,\"page_size_kib\":4096}"

static void test_regions(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"garbage", "not valid JSON"},
        {"[]", "0 regions"},
        {"{}", "not an array"},
        {"[1]", "region 0 is not an object"},
        {"[{}]", "region 0 has no field 'base_host_virt_addr'"},
        {"[{\"base_host_virt_addr\":-4096,\"size\":4096,\"offset\":0,\"page_size\":4096}]",
         "'base_host_virt_addr' is not a number"},
        {"[{\"base_host_virt_addr\":65536,\"size\":4096,\"offset\":0}]", "no field 'page_size'"},
        {"[{\"base_host_virt_addr\":65536,\"size\":4096,\"offset\":0,\"page_size\":2097152}]",
         "page_size 2097152 is not supported"},
        {"[{\"base_host_virt_addr\":65536,\"size\":4096,\"offset\":0,\"page_size\":4096,"
         "\"page_size_kib\":4}]",
         "page_size_kib 4 is not supported"},
        {"[" REGION(65536, 0, 0) "]", "region 0 is empty"},
        {"[" REGION(65537, 4096, 0) "]", "not page aligned"},
        {"[" REGION(65536, 4097, 0) "]", "not page aligned"},
        {"[" REGION(65536, 4096, 1) "]", "not page aligned"},
        {"[" REGION(0, 4096, 0) "]", "outside the address space"},
        {"[" REGION(72057594037923840, 8192, 0) "]", "outside the address space"},
        {"[" REGION(65536, 9223372036854771712, 0) "]", "outside the address space"},
        {"[" REGION(65536, 4194304, 0) "]", "region 0 ends at 4194304 in the image"},
        {"[" REGION(65536, 4096, 9223372036854771712) "]", "in the image, which has 2097152"},
        {"[" REGION(65536, 8192, 0) "," REGION(69632, 4096, 8192) "]", "regions 0 and 1 overlap"},
        {"[" REGION(65536, 8192, 0) "," REGION(1048576, 4096, 4096) "]", "regions 0 and 1 overlap"},
    };
    struct stage *stage = *state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct vm vm;
        vm_open(&vm, 4, 1, UFFD_FEATURE_EVENT_REMOVE);
        shake(&stage->place, cases[i].text, &vm.uffd, 1, cases[i].reason);
        vm_close(&vm);
    }
}

static void test_too_many_regions(void **state)
{
    struct stage *stage = *state;
    json_t *array = json_array();
    struct vm vm;
    for (int i = 0; i < 100; i++)
        json_array_append_new(array, json_pack("{s:i, s:i, s:i, s:i}", "base_host_virt_addr",
                                               (16 + i) * 4096, "size", 4096, "offset", i * 4096,
                                               "page_size", 4096));
    _cleanup_(free) char *text = json_dumps(array, 0);
    json_decref(array);
    vm_open(&vm, 4, 1, UFFD_FEATURE_EVENT_REMOVE);
    shake(&stage->place, text, &vm.uffd, 1, "100 regions, at most 64");
    vm_close(&vm);
}

static void test_text_without_end(void **state)
{
    struct stage *stage = *state;
    char *text = malloc(70001);
    assert_non_null(text);
    memset(text, ' ', 70000);
    text[0] = '[';
    text[70000] = '\0';
    signal(SIGPIPE, SIG_IGN);
    pager_expect(&stage->place, "POST", "/sessions", session_body(&stage->place, "bad"), 200);
    int fd = handshake_send(&stage->place, "bad", "", 0, NULL, 0);
    /* Cut off somewhere on the way. */
    for (size_t sent = 0; sent < 70000;) {
        ssize_t n = send(fd, text + sent, 70000 - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    expect_failed(&stage->place, "bad", "longer than 65536 bytes");
    close(fd);
    free(text);
}

static void test_descriptors(void **state)
{
    struct stage *stage = *state;
    struct vm vm;
    vm_open(&vm, 4, 1, UFFD_FEATURE_EVENT_REMOVE);
    _cleanup_(free) char *text = vm_regions_text(&vm);
    int two[] = {vm.uffd, vm.uffd}, pipe_ends[2];
    int many[] = {vm.uffd, vm.uffd, vm.uffd, vm.uffd, vm.uffd, vm.uffd};
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    shake(&stage->place, text, NULL, 0, "no descriptor came");
    shake(&stage->place, text, two, 2, "more than one descriptor");
    shake(&stage->place, text, many, 6, "more than one descriptor");
    shake(&stage->place, text, pipe_ends, 1, "not a userfaultfd");
    vm_close(&vm);
    vm_open(&vm, 4, 1, 0);
    shake(&stage->place, text, &vm.uffd, 1, "lacks UFFD_FEATURE_EVENT_REMOVE");
    vm_close(&vm);
    vm_open(&vm, 4, 1, UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_FORK);
    shake(&stage->place, text, &vm.uffd, 1, "UFFD_FEATURE_EVENT_FORK");
    vm_close(&vm);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void test_peer_that_leaves(void **state)
{
    struct stage *stage = *state;
    struct vm vm;
    vm_open(&vm, 4, 1, UFFD_FEATURE_EVENT_REMOVE);
    pager_expect(&stage->place, "POST", "/sessions", session_body(&stage->place, "bad"), 200);
    int fd = handshake_send(&stage->place, "bad", "[", 1, &vm.uffd, 1);
    int second = handshake_send(&stage->place, "bad", "", 0, NULL, 0); /* gets nowhere */
    close(second);
    close(fd);
    expect_failed(&stage->place, "bad", "closed before its regions were complete");
    vm_close(&vm);
}

static void test_byte_by_byte(void **state)
{
    struct stage *stage = *state;
    struct vm vm;
    pager_expect(&stage->place, "POST", "/sessions", session_body(&stage->place, "slow"), 200);
    vm_open(&vm, PAGES, 3, UFFD_FEATURE_EVENT_REMOVE);
    _cleanup_(free) char *text = vm_regions_text(&vm);
    vm.socket = handshake_send(&stage->place, "slow", text, 1, &vm.uffd, 1);
    for (size_t i = 1; text[i]; i++)
        assert_int_equal(send(vm.socket, text + i, 1, MSG_NOSIGNAL), 1);
    assert_int_equal(vm_wrong_pages(&vm), 0);
    vm_close(&vm);
}

static void test_silent_peer(void **state)
{
    struct stage *stage = *state;
    json_t *body = session_body(&stage->place, "bad");
    json_object_set_new(body, "handshake_timeout_ms", json_integer(200));
    pager_expect(&stage->place, "POST", "/sessions", body, 200);
    int fd = handshake_send(&stage->place, "bad", "", 0, NULL, 0);
    expect_failed(&stage->place, "bad", "did not send its regions in time");
    close(fd);
}

static void test_other_user(void **state)
{
    struct stage *stage = *state;
    json_t *body = session_body(&stage->place, "bad");
    json_object_set_new(body, "peer_uid", json_integer(65534));
    pager_expect(&stage->place, "POST", "/sessions", body, 200);
    struct stat st;
    char path[128];
    snprintf(path, sizeof(path), "%s/bad.sock", stage->place.directory);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* This user is turned away, and the session goes on waiting for the right one. */
    int fd = handshake_send(&stage->place, "bad", "", 0, NULL, 0);
    char byte = 0;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    assert_true(session_reaches(&stage->place, "bad", "waiting"));
    pager_expect(&stage->place, "DELETE", "/sessions/bad", NULL, 204);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- memory ---- */

static void *read_page(void *argument)
{
    return (void *)(uintptr_t) * (volatile uint8_t *)argument;
}

static void test_fault_outside_the_regions(void **state)
{
    struct stage *stage = *state;
    struct vm vm;
    pager_expect(&stage->place, "POST", "/sessions", session_body(&stage->place, "bad"), 200);
    vm_open(&vm, 64, 2, UFFD_FEATURE_EVENT_REMOVE);
    vm.count = 1; /* the second region is registered and never told of */
    vm_introduce(&vm, &stage->place, "bad");
    vm.count = 2;
    pthread_t thread;
    uint8_t *page = vm_page(&vm, 40);
    assert_int_equal(pthread_create(&thread, NULL, read_page, page), 0);
    assert_true(session_reaches(&stage->place, "bad", "failed"));
    /* It waits until its memory is in nobody's care: no zeros in between. */
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    pager_expect(&stage->place, "DELETE", "/sessions/bad", NULL, 409);
    pager_expect(&stage->place, "DELETE", "/sessions/bad", json_pack("{s:b}", "detach", 1), 204);
    struct uffdio_range range = {.start = (uintptr_t)page, .len = PAGE};
    assert_int_equal(ioctl(vm.uffd, UFFDIO_UNREGISTER, &range), 0);
    pthread_join(thread, NULL);
    vm_close(&vm);
}

struct flood {
    struct vm *vm;
    atomic_bool stop;
    atomic_uint rounds;
};

static void *flood(void *argument)
{
    struct flood *flood = argument;
    while (!atomic_load(&flood->stop)) {
        madvise(vm_page(flood->vm, 400), 100 * PAGE, MADV_DONTNEED);
        atomic_fetch_add(&flood->rounds, 1);
    }
    return NULL;
}

static void test_flood_of_removes(void **state)
{
    struct stage *stage = *state;
    struct vm vm;
    struct flood work = {.vm = &vm};
    pthread_t thread;
    vm_begin(&vm, &stage->place, "flood", PAGES, 1);
    assert_int_equal(pthread_create(&thread, NULL, flood, &work), 0);
    while (atomic_load(&work.rounds) < 100)
        sched_yield();
    for (uint64_t page = 0; page < 400; page++)
        assert_true(page_is_image(vm_page(&vm, page), page));
    assert_int_equal(vm_wrong_pages(&stage->good), 0); /* the other one is served all the while */
    atomic_store(&work.stop, true);
    pthread_join(thread, NULL);
    for (uint64_t page = 400; page < 500; page++)
        assert_true(page_is_zeros(vm_page(&vm, page)));
    for (uint64_t page = 500; page < PAGES; page++)
        assert_true(page_is_image(vm_page(&vm, page), page));
    vm_close(&vm);
}

/* ---- images ---- */

static void body_with_image(const struct place *place, const char *id, const char *image)
{
    json_t *body = session_body(place, id);
    json_object_set_new(body, "layers", json_pack("[s]", image));
    json_object_set_new(body, "cache_key", json_string(image));
    pager_expect(place, "POST", "/sessions", body, 200);
}

/* The image changes under a VM; what it touches next waits, and the reason is told. A pager that
 * finds the image whole again goes on. */
static void image_fails(struct stage *stage, void (*spoil)(const char *path, int fd),
                        const char *reason)
{
    struct vm vm;
    char path[128];
    pthread_t thread;
    struct place *place = &stage->place;
    snprintf(path, sizeof(path), "%s/other", place->directory);
    image_make(place, "other", PAGES);
    _cleanup_(close) int fd = open(path, O_RDWR | O_CLOEXEC);
    body_with_image(place, "bad", "other");
    vm_open(&vm, PAGES, 1, UFFD_FEATURE_EVENT_REMOVE);
    vm_introduce(&vm, place, "bad");
    assert_true(page_is_image(vm_page(&vm, 0), 0));
    spoil(path, fd);
    assert_int_equal(pthread_create(&thread, NULL, read_page, vm_page(&vm, 400)), 0);
    assert_true(session_reaches(place, "bad", "failed"));
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    json_t *session = session_get(place, "bad");
    assert_non_null(strstr(json_string_value(json_object_get(session, "reason")), reason));
    json_decref(session);
    pager_expect(place, "DELETE", "/sessions/bad", json_pack("{s:b}", "detach", 1), 204);
    struct uffdio_range range = {.start = (uintptr_t)vm_page(&vm, 0), .len = PAGES * PAGE};
    assert_int_equal(ioctl(vm.uffd, UFFDIO_UNREGISTER, &range), 0);
    pthread_join(thread, NULL);
    vm_close(&vm);
}

static void truncate_image(const char *path, int fd)
{
    assert_int_equal(ftruncate(fd, 100 * PAGE + 100), 0);
}

static void write_image(const char *path, int fd)
{
    assert_int_equal(pwrite(fd, "x", 1, 400 * PAGE), 1);
}

static void test_truncated_image(void **state)
{
    image_fails(*state, truncate_image, "had 2097152 bytes and has 409700 now");
}

static void test_written_image(void **state)
{
    image_fails(*state, write_image, "was written while it was in use");
}

/* ---- requests ---- */

static void expect_refused(const struct place *place, const char *field, json_t *value, int status,
                           const char *reason)
{
    json_t *body = session_body(place, "new");
    if (value)
        json_object_set_new(body, field, value);
    else
        json_object_del(body, field);
    struct reply reply = pager_call(place, "POST", "/sessions", body, NULL, 0);
    const char *message = json_string_value(json_object_get(reply.body, "fault_message"));
    assert_non_null(message);
    if (reply.status != status || !strstr(message, reason))
        print_error("%s: %d %s\n", field, reply.status, message);
    assert_int_equal(reply.status, status);
    assert_non_null(strstr(message, reason));
    reply_free(&reply);
}

static void test_requests(void **state)
{
    struct stage *stage = *state;
    const struct place *place = &stage->place;
    char path[160];
    expect_refused(place, "id", NULL, 400, "field 'id' is missing");
    expect_refused(place, "id", json_string("a/b"), 400, "id: only letters");
    expect_refused(place, "id", json_string("good"), 409, "there is a session 'good' already");
    expect_refused(place, "directory", json_string("tmp"), 400, "absolute path");
    expect_refused(place, "directory", json_string("/nowhere"), 500, "/nowhere");
    expect_refused(place, "layers", json_array(), 400, "layers must hold a file name");
    expect_refused(place, "layers", json_pack("[s]", "../memory"), 400, "not a plain file name");
    expect_refused(place, "layers", json_pack("[s]", "missing"), 500, "open missing");
    expect_refused(place, "layers", json_pack("[s]", "pager"), 400, "not a regular file");
    expect_refused(place, "handshake_socket", NULL, 400, "'handshake_socket' is missing");
    expect_refused(place, "take_over", json_true(), 400, "already");
    expect_refused(place, "unknown", json_true(), 400, "unknown field 'unknown'");
    expect_refused(place, "overlays", json_pack("[{s:s, s:i}]", "file", "memory", "page", 1), 400,
                   "memory has 2097152 bytes, not 4096");
    expect_refused(place, "overlays", json_pack("[{s:s, s:i}]", "file", "memory", "page", 512), 400,
                   "page 512 is outside the image");
    snprintf(path, sizeof(path), "%s/link", place->directory);
    assert_int_equal(symlink("memory", path), 0);
    expect_refused(place, "layers", json_pack("[s]", "link"), 500, "ELOOP");
    snprintf(path, sizeof(path), "%s/odd", place->directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    expect_refused(place, "layers", json_pack("[s]", "odd"), 400, "not a number of pages");
    int many[] = {1, 1, 1, 1, 1};
    struct reply reply = pager_call(place, "GET", "/health", NULL, many, 5);
    assert_int_equal(reply.status, 400);
    reply_free(&reply);
    reply = pager_call(place, "POST", "/sessions", session_body(place, "new"), many, 2);
    assert_int_equal(reply.status, 400);
    reply_free(&reply);
    pager_expect(place, "GET", "/sessions/none", NULL, 404);
    pager_expect(place, "GET", "/nothing", NULL, 404);
    pager_expect(place, "POST", "/sessions/good/complete", json_pack("{s:i}", "bandwidth_mib", 0),
                 400);
    pager_expect(place, "DELETE", "/sessions/good", NULL, 409);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_regions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_regions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent_peer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_user, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fault_outside_the_regions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood_of_removes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated_image, setup, teardown),
        cmocka_unit_test_setup_teardown(test_written_image, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

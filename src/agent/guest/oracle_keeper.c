/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "agent/guest/console.h"
#include "agent/guest/oracle.h"
#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define PAGE_BYTES (ORACLE_PAGE_WORDS * 8ull)
#define REQUEST_MS 10000u
#define MIB        (1ull << 20)
#define MIB_LIMIT  (1ull << 24)
#define SPARE_MIB  16u /* left to the guest: with a keeper that can't be killed it would panic */
#define PAUSE_MS   100

struct keeper {
    uint64_t *memory; /* NULL: nothing filled */
    uint64_t pages;
};

static void answer_set(struct oracle_answer *answer, enum oracle_status status, const char *format,
                       ...) __attribute__((format(printf, 3, 4)));

static void answer_set(struct oracle_answer *answer, enum oracle_status status, const char *format,
                       ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(answer->text, sizeof(answer->text), format, args);
    va_end(args);
    answer->status = status;
}

static uint64_t available_mib(void)
{
    _cleanup_(fclose) FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    uint64_t kib;
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1) /* NOLINT(cert-err34-c) */
            return kib >> 10;
    }
    return 0;
}

/* Refuses what the guest has not got; the old region then stays as it is. Else that is given back
 * before one of another size is taken. */
static int keeper_resize(struct keeper *keeper, uint64_t mib, struct oracle_answer *answer)
{
    uint64_t pages = mib * MIB / PAGE_BYTES;
    if (keeper->pages == pages)
        return 0;
    uint64_t available = available_mib() + keeper->pages * PAGE_BYTES / MIB;
    if (mib + SPARE_MIB > available) {
        answer_set(answer, ORACLE_FAILED, "%" PRIu64 " MiB wanted, %" PRIu64 " MiB available", mib,
                   available);
        return -ENOMEM;
    }
    if (keeper->memory)
        munmap(keeper->memory, keeper->pages * PAGE_BYTES);
    *keeper = (struct keeper){0};
    void *memory =
        mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        answer_set(answer, ORACLE_FAILED, "map %" PRIu64 " MiB: %s", mib, strerror(errno));
        return -ENOMEM;
    }
    keeper->memory = memory;
    keeper->pages = pages;
    return 0;
}

static void keeper_fill(struct keeper *keeper, const uint64_t *numbers,
                        struct oracle_answer *answer)
{
    if (numbers[0] < 1 || numbers[0] > MIB_LIMIT) {
        answer_set(answer, ORACLE_FAILED, "fill takes 1 to %llu MiB", MIB_LIMIT);
        return;
    }
    if (keeper_resize(keeper, numbers[0], answer) < 0)
        return;
    for (uint64_t page = 0; page < keeper->pages; page++)
        oracle_page_fill(keeper->memory + page * ORACLE_PAGE_WORDS, numbers[1], page);
    answer_set(answer, ORACLE_GOOD, "filled %" PRIu64 " pages", keeper->pages);
}

static void keeper_check(struct keeper *keeper, const uint64_t *numbers,
                         struct oracle_answer *answer)
{
    if (!keeper->memory) {
        answer_set(answer, ORACLE_FAILED, "nothing is filled");
        return;
    }
    uint64_t bad = 0;
    for (uint64_t page = 0; page < keeper->pages; page++)
        bad +=
            oracle_page_check(keeper->memory + page * ORACLE_PAGE_WORDS, numbers[0], page) ? 0 : 1;
    answer_set(answer, bad ? ORACLE_BAD_PAGES : ORACLE_GOOD, "bad_pages %" PRIu64 " of %" PRIu64,
               bad, keeper->pages);
}

/* For tests of the oracle itself: spoils one bit of a page. */
static void keeper_poke(struct keeper *keeper, const uint64_t *numbers,
                        struct oracle_answer *answer)
{
    if (numbers[0] >= keeper->pages) {
        answer_set(answer, ORACLE_FAILED, "page %" PRIu64 " of %" PRIu64, numbers[0],
                   keeper->pages);
        return;
    }
    keeper->memory[numbers[0] * ORACLE_PAGE_WORDS + ORACLE_PAGE_WORDS - 1] ^= 1ull << 63;
    answer_set(answer, ORACLE_GOOD, "poked page %" PRIu64, numbers[0]);
}

static void (*const operations[ORACLE_OPERATIONS])(struct keeper *keeper, const uint64_t *numbers,
                                                   struct oracle_answer *answer) = {
    [ORACLE_FILL] = keeper_fill,
    [ORACLE_CHECK] = keeper_check,
    [ORACLE_POKE] = keeper_poke,
};

static void keeper_serve(struct keeper *keeper, int fd)
{
    struct oracle_request request;
    struct oracle_answer answer = {0};
    size_t done = 0;
    if (stream_read(fd, &request, sizeof(request), time_after_ms(REQUEST_MS), &done) < 0 ||
        done != sizeof(request))
        return;
    if (request.operation < ORACLE_OPERATIONS)
        operations[request.operation](keeper, request.numbers, &answer);
    else
        answer_set(&answer, ORACLE_FAILED, "the request is not understood");
    struct iovec parts[2] = {{.iov_base = &answer, .iov_len = sizeof(answer)}};
    stream_write(fd, parts, time_after_ms(REQUEST_MS)); /* whoever asked may have gone */
}

int oracle_keep(const char *path)
{
    struct error err = {0};
    _cleanup_(close) int listener = oracle_listen(path, &err);
    if (listener < 0) {
        console_say("oracle: %s", err.message);
        return 1;
    }
    struct keeper keeper = {0};
    for (;;) {
        _cleanup_(close) int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            keeper_serve(&keeper, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            time_sleep_ms(PAUSE_MS); /* out of descriptors or memory: passes, or does not */
    }
}

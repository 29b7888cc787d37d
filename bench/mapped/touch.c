/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "mapped.h"

static void run(const char *path, int gate, const struct pattern *pattern, uint64_t pages)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    volatile uint8_t *memory =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (fd < 0 || memory == MAP_FAILED)
        die(path);
    if (read(gate, &byte, 1) < 0) /* the gate opens when its other end is closed */
        die("gate");
    for (uint32_t i = 0; i < pattern->count; i++)
        (void)memory[(uint64_t)pattern->pages[i] * PAGE];
}

void mapped_touch(char *const *files, unsigned count, const struct pattern *pattern, uint64_t pages,
                  uint64_t *elapsed_ns)
{
    uint64_t *ends = mmap(NULL, count * sizeof(*ends), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int gate[2];
    if (ends == MAP_FAILED || pipe2(gate, O_CLOEXEC) < 0)
        die("gate");
    for (unsigned i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid == 0) {
            close(gate[1]);
            run(files[i], gate[0], pattern, pages);
            ends[i] = time_monotonic_ns();
            _exit(0);
        }
    }
    uint64_t begin = time_monotonic_ns();
    close(gate[1]);
    for (unsigned i = 0; i < count; i++) {
        int status = 0;
        if (wait(&status) < 0 || status != 0)
            die("a process failed");
    }
    for (unsigned i = 0; i < count; i++)
        elapsed_ns[i] = ends[i] - begin;
    munmap(ends, count * sizeof(*ends));
    close(gate[0]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The cost of the memory figures is bounded, and every VMM gets its turn. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/proc_stat.h"
#include "instance/vmm_samples.h"

#define PROCESSES 6
#define DIRTY     (8u << 20)

/* Rows whose VMMs are children that hold some memory of their own. */
struct rows {
    struct instance_record list[PROCESSES];
};

static void child_run(int ready)
{
    char *memory = mmap(NULL, DIRTY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        _exit(1);
    memset(memory, 1, DIRTY);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (write(ready, "x", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static int setup(void **state)
{
    struct rows *rows = calloc(1, sizeof(*rows));
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    for (size_t i = 0; i < PROCESSES; i++) {
        struct proc_stat process;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            child_run(ends[1]);
        assert_int_equal(read(ends[0], &byte, 1), 1);
        assert_int_equal(proc_stat(pid, &process, NULL), 0);
        rows->list[i].vmm_pid = pid;
        rows->list[i].vmm_start_ticks = process.start_ticks;
    }
    close(ends[0]);
    close(ends[1]);
    *state = rows;
    return 0;
}

static void end(struct instance_record *record)
{
    kill(record->vmm_pid, SIGKILL);
    waitpid(record->vmm_pid, NULL, 0);
}

static int teardown(void **state)
{
    struct rows *rows = *state;
    for (size_t i = 0; i < PROCESSES; i++)
        end(&rows->list[i]);
    free(rows);
    return 0;
}

static void test_all_at_once(void **state)
{
    struct rows *rows = *state;
    struct vmm_samples *samples = vmm_samples_new();
    struct vmm_sums sums = vmm_samples_take(samples, rows->list, PROCESSES, UINT64_MAX);
    assert_int_equal(sums.vmms, PROCESSES);
    assert_true(sums.private_bytes >= (uint64_t)PROCESSES * DIRTY);
    assert_true(sums.shared_bytes > 0);
    vmm_samples_free(samples);
}

/* Without any time left each call measures one, which was not measured yet. */
static void test_one_at_a_time(void **state)
{
    struct rows *rows = *state;
    struct vmm_samples *samples = vmm_samples_new();
    uint64_t before = 0;
    for (size_t i = 1; i <= PROCESSES; i++) {
        struct vmm_sums sums = vmm_samples_take(samples, rows->list, PROCESSES, 0);
        assert_int_equal(sums.vmms, i);
        assert_true(sums.private_bytes >= before + DIRTY);
        before = sums.private_bytes;
    }
    vmm_samples_free(samples);
}

/* Rows without a VMM, VMMs that have ended, and a process that only has the same number. */
static void test_others(void **state)
{
    struct rows *rows = *state;
    struct vmm_samples *samples = vmm_samples_new();
    struct instance_record changed[PROCESSES];
    memcpy(changed, rows->list, sizeof(changed));
    changed[0].vmm_pid = 0;
    changed[1].vmm_start_ticks++;
    changed[2].vmm_pid = 0x7ffffff0;
    struct vmm_sums all = vmm_samples_take(samples, rows->list, PROCESSES, UINT64_MAX);
    struct vmm_sums some = vmm_samples_take(samples, changed, PROCESSES, UINT64_MAX);
    assert_int_equal(all.vmms, PROCESSES);
    assert_true(some.private_bytes >= (uint64_t)(PROCESSES - 3) * DIRTY);
    assert_true(some.private_bytes < (uint64_t)(PROCESSES - 2) * DIRTY);
    struct vmm_sums none = vmm_samples_take(samples, changed, 0, UINT64_MAX);
    assert_int_equal(none.vmms, 0);
    assert_int_equal(none.private_bytes, 0);
    vmm_samples_free(samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

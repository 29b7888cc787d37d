/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "pager/uffd.h"

/* Where this thread goes on after a SIGBUS; NULL: it dies. */
static __thread sigjmp_buf *volatile resume;

static void on_bus_error(int number)
{
    if (resume)
        siglongjmp(*resume, 1);
    /* Not ours: the default action, when the instruction is tried again. */
    signal(number, SIG_DFL);
}

int guard_install(struct error *err)
{
    struct sigaction action = {.sa_handler = on_bus_error, .sa_flags = SA_NODEFER};
    if (sigaction(SIGBUS, &action, NULL) < 0)
        return error_errno(err, errno, NULL, "set the handler of SIGBUS");
    return 0;
}

/* Not inlined: nothing of it is in registers that siglongjmp() loses. */
static __attribute__((noinline)) bool words_are_zero(const uint64_t *word, const uint64_t *end)
{
    for (; word < end; word += 8) {
        if (word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6] | word[7])
            return false;
    }
    return true;
}

bool page_is_zero(const void *page)
{
    sigjmp_buf here;
    const uint64_t *words = page;
    if (sigsetjmp(here, 0) != 0) {
        resume = NULL;
        return false;
    }
    resume = &here;
    bool zero = words_are_zero(words, words + PAGE_SIZE / sizeof(*words));
    resume = NULL;
    return zero;
}

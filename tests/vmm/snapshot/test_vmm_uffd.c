/* SPDX-License-Identifier: Apache-2.0 */
/* A VM whose memory a real tine-pager serves: it runs, is saved in full and by diffs, and what is
 * saved is what another VM gets. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../pager/fixture.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "served.h"
#include "vmm/vmm_private.h"
#include "world.h"

static void test_runs(void **context)
{
    struct served *served = *context;
    struct error err = {0};
    walker_sleeps(served);
    uint64_t rounds = counter(&served->world);
    load_served(served, "one", false);
    assert_true(counter(&served->world) == rounds);
    ok(vmm_resume(served->world.vmm, &err), &err);
    wait_counter(&served->world, rounds + 3);
    ok(vmm_pause(served->world.vmm, &err), &err);
    walker_check(&served->world);
    assert_true(session_counter(&served->place, "one", "faults") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVED(test_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a driver asks of the fake VMM about pages, and what it makes of the answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "hypervisor/hypervisor.h"
#include "support.h"

static const char *fake_vmm;

struct vm {
    struct hypervisor hypervisor;
    char *guest;
    struct vm_spec spec;
    struct vm_process process;
};

static int start(void **state)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    struct error err = {0};
    assert_non_null(vm);
    vm->hypervisor = hypervisor_builtin(fake_vmm);
    vm->guest = guest_make();
    vm->spec = (struct vm_spec){
        .id = "abc-123", .guest_dir = vm->guest, .vcpus = 1, .memory_bytes = 64ull << 20};
    if (vm->hypervisor.boot(&vm->hypervisor, &vm->spec, &vm->process, &err) != 0)
        fail_msg("%s", err.message);
    *state = vm;
    return 0;
}

static int stop(void **state)
{
    struct vm *vm = *state;
    assert_int_equal(vm_process_kill(&vm->process, 10000, NULL), 0);
    assert_no_children();
    guest_remove(vm->guest);
    free(vm);
    return 0;
}

static int populate(struct vm *vm, bool write, bool kvm, struct error *err)
{
    static const struct vm_pages runs[] = {{3, 1}, {700, 12}};
    const struct vm_populate pages = {.runs = runs, .count = 2, .write = write, .kvm = kvm};
    return vm->hypervisor.populate(&vm->hypervisor, &vm->spec, &pages, err);
}

/* What is not wanted is not said: an older VMM knows nothing of it. */
static void test_populate(void **state)
{
    struct vm *vm = *state;
    struct error err = {0};
    assert_int_equal(vm->hypervisor.pause(&vm->hypervisor, &vm->spec, &err), 0);
    assert_int_equal(populate(vm, false, false, &err), 0);
    assert_int_equal(populate(vm, true, true, &err), 0);
    _cleanup_(free) char *log =
        await_text(in_guest(vm->guest, "log/requests"),
                   "PUT /memory/populate {\"runs\":[[3,1],[700,12]],\"write\":true,\"kvm\":true}");
    assert_non_null(strstr(log, "PUT /memory/populate {\"runs\":[[3,1],[700,12]]}\n"));
    write_file(in_guest(vm->guest, "fake-vmm"), "refuse /memory/populate no such pages");
    assert_int_equal(populate(vm, false, false, &err), -EREMOTEIO);
    assert_non_null(strstr(err.message, "no such pages"));
}

static int touched(struct vm *vm, const char *answer, struct vm_touched *pages, struct error *err)
{
    char order[256];
    snprintf(order, sizeof(order), "touched %s", answer);
    write_file(in_guest(vm->guest, "fake-vmm"), order);
    return vm->hypervisor.touched(&vm->hypervisor, &vm->spec, pages, err);
}

static void test_touched(void **state)
{
    struct vm *vm = *state;
    struct error err = {0};
    struct vm_touched pages;
    assert_int_equal(
        touched(vm, "{\"read\":[[0,7],[9,1]],\"written\":[[4294967296,2]]}", &pages, &err), 0);
    assert_int_equal(pages.read_count, 2);
    assert_int_equal(pages.read[0].page, 0);
    assert_int_equal(pages.read[0].count, 7);
    assert_int_equal(pages.read[1].page, 9);
    assert_int_equal(pages.read[1].count, 1);
    assert_int_equal(pages.written_count, 1);
    assert_int_equal(pages.written[0].page, 4294967296);
    assert_int_equal(pages.written[0].count, 2);
    vm_touched_free(&pages);
    assert_int_equal(touched(vm, "{\"read\":[],\"written\":[]}", &pages, &err), 0);
    assert_int_equal(pages.read_count + pages.written_count, 0);
    vm_touched_free(&pages);
}

/* Nothing is left of half an answer. */
static void test_wrong_answers(void **state)
{
    static const char *const wrong[] = {
        "{}",
        "[]",
        "{\"read\":[]}",
        "{\"read\":{},\"written\":[]}",
        "{\"read\":[],\"written\":[3]}",
        "{\"read\":[[1]],\"written\":[]}",
        "{\"read\":[[1,2],[-1,2]],\"written\":[]}",
        "{\"read\":[],\"written\":[[1,0]]}",
        "{\"read\":[[1,2]],\"written\":[[1,\"2\"]]}",
        "{\"read\":[[1,2]],\"written\":[[1,1.5]]}",
    };
    struct vm *vm = *state;
    struct vm_touched pages;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct error err = {0};
        assert_int_equal(touched(vm, wrong[i], &pages, &err), -EPROTO);
        assert_non_null(strstr(err.message, "what VMM of abc-123 tells of its memory"));
        assert_null(pages.read);
        assert_null(pages.written);
    }
    struct error err = {0};
    write_file(in_guest(vm->guest, "fake-vmm"), "garbage /memory/touched");
    assert_true(vm->hypervisor.touched(&vm->hypervisor, &vm->spec, &pages, &err) < 0);
    assert_null(pages.read);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_populate, start, stop),
        cmocka_unit_test_setup_teardown(test_touched, start, stop),
        cmocka_unit_test_setup_teardown(test_wrong_answers, start, stop),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s FAKE_VMM\n", argv[0]);
        return 2;
    }
    fake_vmm = argv[1];
    return cmocka_run_group_tests_name("pages", tests, support_start, support_stop);
}

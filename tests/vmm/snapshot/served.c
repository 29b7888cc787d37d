/* SPDX-License-Identifier: Apache-2.0 */
#include "served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* 0: movq $WALK_START, %rdi
 * 1: incq (%rdi); addq $0x1000, %rdi; cmpq $WALK_END, %rdi; jb 1b; incq COUNTER; jmp 0b */
static const uint8_t walker[] = {
    0x48, 0xc7, 0xc7, 0x00, 0x00, 0x80, 0x00, 0x48, 0xff, 0x07, 0x48, 0x81,
    0xc7, 0x00, 0x10, 0x00, 0x00, 0x48, 0x81, 0xff, 0x00, 0x00, 0x88, 0x00,
    0x72, 0xed, 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00, 0xeb, 0xdc,
};

int served_setup(void **context)
{
    struct served *served = calloc(1, sizeof(*served));
    void *world = NULL;
    assert_non_null(served);
    world_setup(&world);
    served->world = *(struct world *)world;
    free(world);
    write_kernel_of(served->world.kernel, walker, sizeof(walker));
    vmm_config(served->world.vmm)->machine.vcpu_count = 1; /* two would lose count */
    place_open(&served->place);
    pager_begin(&served->place, "TINE_PAGER", TINE_VERSION);
    *context = served;
    return 0;
}

int served_teardown(void **context)
{
    struct served *served = *context;
    void *world = malloc(sizeof(served->world));
    assert_non_null(world);
    memcpy(world, &served->world, sizeof(served->world));
    /* The VMM first: it unmaps what the pager serves. */
    world_teardown(&world);
    place_close(&served->place);
    free(served);
    return 0;
}

void walker_sleeps(struct served *served)
{
    struct error err = {0};
    ok(vmm_start(served->world.vmm, &err), &err);
    wait_counter(&served->world, 2);
    ok(vmm_pause(served->world.vmm, &err), &err);
    ok(create(&served->world, &err), &err);
}

void walker_check(const struct world *world)
{
    const uint64_t rounds = counter(world);
    uint64_t ahead = 1;
    for (uint64_t gpa = WALK_START; gpa < WALK_END; gpa += GUEST_PAGE_SIZE) {
        const uint64_t *met = guest_view(&world->vmm->machine->memory, gpa, sizeof(*met));
        assert_non_null(met);
        if (*met == rounds)
            ahead = 0;
        if (*met != rounds + ahead)
            fail_msg("page 0x%llx was met %llu times in %llu rounds", (unsigned long long)gpa,
                     (unsigned long long)*met, (unsigned long long)rounds);
    }
}

json_t *session_make_body(const struct served *served, const char *id)
{
    json_t *body = session_body(&served->place, id);
    json_object_set_new(body, "directory", json_string(served->world.directory));
    return body;
}

struct snapshot_load_request session_make(struct served *served, const char *id, bool track)
{
    pager_expect(&served->place, "POST", "/sessions", session_make_body(served, id), 200);
    struct snapshot_load_request request = {.snapshot_path = served->world.state,
                                            .track_dirty_pages = track};
    snprintf(served->socket, sizeof(served->socket), "%s/%s.sock", served->place.directory, id);
    request.uffd_socket = served->socket;
    return request;
}

void load_served(struct served *served, const char *id, bool track)
{
    struct error err = {0};
    next_vmm(&served->world);
    const struct snapshot_load_request request = session_make(served, id, track);
    ok(vmm_snapshot_load(served->world.vmm, &request, &err), &err);
}

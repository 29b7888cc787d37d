/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "vmm/vmm_private.h"

#define ENTRY         0x100000ull
#define WAIT_LIMIT_MS 60000u

/* 1: incq 0x300000; jmp 1b */
const uint8_t world_program[10] = {0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00, 0xeb, 0xf6};

void path_in(const struct world *world, char path[96], const char *name)
{
    snprintf(path, 96, "%s/%s", world->directory, name);
}

void write_file(const char *path, const void *data, size_t length)
{
    _cleanup_(close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), length);
}

void write_kernel_of(const char *path, const uint8_t *program, size_t length)
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment;
        uint8_t code[64];
    } image = {
        .header = {.e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_version = EV_CURRENT,
                   .e_entry = ENTRY,
                   .e_phoff = sizeof(Elf64_Ehdr),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 1},
        .segment = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_X,
                    .p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
                    .p_vaddr = ENTRY,
                    .p_paddr = ENTRY,
                    .p_filesz = length,
                    .p_memsz = length},
    };
    assert_true(length <= sizeof(image.code));
    memcpy(image.header.e_ident, ELFMAG, SELFMAG);
    image.header.e_ident[EI_CLASS] = ELFCLASS64;
    image.header.e_ident[EI_DATA] = ELFDATA2LSB;
    image.header.e_ident[EI_VERSION] = EV_CURRENT;
    memcpy(image.code, program, length);
    write_file(path, &image, sizeof(image));
}

void write_kernel(const char *path)
{
    write_kernel_of(path, world_program, sizeof(world_program));
}

void new_vmm(struct world *world)
{
    struct error err = {0};
    world->loop = loop_create(&err);
    assert_non_null(world->loop);
    world->vmm = vmm_create("test", world->loop, &err);
    assert_non_null(world->vmm);
    vmm_config(world->vmm)->serial_out_path = strdup("/dev/null");
}

void end_vmm(struct world *world)
{
    vmm_destroy(world->vmm);
    loop_destroy(world->loop);
}

void configure(struct world *world)
{
    struct vm_config *config = vmm_config(world->vmm);
    config->machine.vcpu_count = 2;
    config->machine.mem_size_mib = MEMORY_MIB;
    config->boot.kernel_image_path = strdup(world->kernel);
    config->drives[0].drive_id = strdup("data");
    config->drives[0].path_on_host = strdup(world->disk);
    config->drives[1].drive_id = strdup("root");
    config->drives[1].path_on_host = strdup(world->disk);
    config->drives[1].is_root_device = true;
    config->drives[1].is_read_only = true;
    config->drive_count = 2;
    config->vsock =
        (struct vsock_config){.present = true, .guest_cid = 3, .uds_path = strdup(world->vsock)};
    config->entropy_present = true;
    config->balloon.present = true;
}

int world_setup(void **context)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    strcpy(world->directory, "/tmp/tine-test-vmm-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    path_in(world, world->kernel, "kernel");
    path_in(world, world->disk, "disk");
    path_in(world, world->state, "state");
    path_in(world, world->memory, "memory");
    path_in(world, world->vsock, "vsock");
    write_kernel(world->kernel);
    write_file(world->disk, world_program, sizeof(world_program));
    assert_int_equal(truncate(world->disk, 1 << 20), 0);
    new_vmm(world);
    configure(world);
    *context = world;
    return 0;
}

int world_teardown(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    end_vmm(world);
    unsetenv("TINE_FAILPOINT");
    assert_int_equal(tree_remove(AT_FDCWD, world->directory, &err), 0);
    free(world);
    return 0;
}

void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->message);
}

uint64_t counter(const struct world *world)
{
    const volatile uint64_t *value = guest_view(&world->vmm->machine->memory, COUNTER, 8);
    return *value;
}

void wait_counter(const struct world *world, uint64_t above)
{
    for (unsigned waited = 0; counter(world) <= above; waited++) {
        if (waited == WAIT_LIMIT_MS)
            fail_msg("the guest stands still at %llu", (unsigned long long)counter(world));
        time_sleep_ms(1);
    }
}

void start_and_pause(struct world *world)
{
    struct error err = {0};
    ok(vmm_start(world->vmm, &err), &err);
    wait_counter(world, 100);
    ok(vmm_pause(world->vmm, &err), &err);
}

int create(struct world *world, struct error *err)
{
    const struct snapshot_create_request request = {.snapshot_path = world->state,
                                                    .mem_file_path = world->memory};
    return vmm_snapshot_create(world->vmm, &request, err);
}

int load(struct world *world, bool resume, struct error *err)
{
    const struct snapshot_load_request request = {
        .snapshot_path = world->state, .mem_file_path = world->memory, .resume_vm = resume};
    return vmm_snapshot_load(world->vmm, &request, err);
}

void next_vmm(struct world *world)
{
    end_vmm(world);
    unlink(world->vsock);
    new_vmm(world);
}

unsigned count_names(const struct world *world)
{
    unsigned count = 0;
    _cleanup_(closedir) DIR *dir = opendir(world->directory);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    return count - 2;
}

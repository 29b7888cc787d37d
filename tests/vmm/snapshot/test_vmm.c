/* SPDX-License-Identifier: Apache-2.0 */
/* The whole VMM without its API: a guest of three instructions boots from an ELF file, sleeps and
 * wakes up in another VMM, and everything that can be wrong with a snapshot is told. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "vmm/snapshot_file.h"
#include "vmm/vmm_private.h"

#define ENTRY         0x100000ull
#define COUNTER       0x300000ull
#define MEMORY_MIB    32
#define WAIT_LIMIT_MS 60000u

/* 1: incq 0x300000; jmp 1b */
static const uint8_t program[] = {0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00, 0xeb, 0xf6};

struct world {
    char directory[64];
    char kernel[96], disk[96], state[96], memory[96], vsock[96];
    struct loop *loop;
    struct vmm *vmm;
};

static void path_in(const struct world *world, char path[96], const char *name)
{
    snprintf(path, 96, "%s/%s", world->directory, name);
}

static void write_file(const char *path, const void *data, size_t length)
{
    _cleanup_(close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), length);
}

/* Without a PVH note: Linux's 64-bit entry, long mode and paging on. */
static void write_kernel(const char *path)
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment;
        uint8_t code[16];
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
                    .p_filesz = sizeof(program),
                    .p_memsz = sizeof(program)},
    };
    memcpy(image.header.e_ident, ELFMAG, SELFMAG);
    image.header.e_ident[EI_CLASS] = ELFCLASS64;
    image.header.e_ident[EI_DATA] = ELFDATA2LSB;
    image.header.e_ident[EI_VERSION] = EV_CURRENT;
    memcpy(image.code, program, sizeof(program));
    write_file(path, &image, sizeof(image));
}

static void new_vmm(struct world *world)
{
    struct error err = {0};
    world->loop = loop_create(&err);
    assert_non_null(world->loop);
    world->vmm = vmm_create("test", world->loop, &err);
    assert_non_null(world->vmm);
    vmm_config(world->vmm)->serial_out_path = strdup("/dev/null");
}

static void end_vmm(struct world *world)
{
    vmm_destroy(world->vmm);
    loop_destroy(world->loop);
}

static void configure(struct world *world)
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

static int setup(void **context)
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
    write_file(world->disk, program, sizeof(program));
    assert_int_equal(truncate(world->disk, 1 << 20), 0);
    new_vmm(world);
    configure(world);
    *context = world;
    return 0;
}

static int teardown(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    end_vmm(world);
    unsetenv("TINE_FAILPOINT");
    assert_int_equal(tree_remove(AT_FDCWD, world->directory, &err), 0);
    free(world);
    return 0;
}

static void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->message);
}

static uint64_t counter(const struct world *world)
{
    const volatile uint64_t *value = guest_pointer(&world->vmm->machine->memory, COUNTER, 8);
    return *value;
}

static void wait_counter(const struct world *world, uint64_t above)
{
    for (unsigned waited = 0; counter(world) <= above; waited++) {
        if (waited == WAIT_LIMIT_MS)
            fail_msg("the guest stands still at %llu", (unsigned long long)counter(world));
        time_sleep_ms(1);
    }
}

static void start_and_pause(struct world *world)
{
    struct error err = {0};
    ok(vmm_start(world->vmm, &err), &err);
    wait_counter(world, 100);
    ok(vmm_pause(world->vmm, &err), &err);
}

static int create(struct world *world, struct error *err)
{
    const struct snapshot_create_request request = {.snapshot_path = world->state,
                                                    .mem_file_path = world->memory};
    return vmm_snapshot_create(world->vmm, &request, err);
}

static int load(struct world *world, bool resume, struct error *err)
{
    const struct snapshot_load_request request = {
        .snapshot_path = world->state, .mem_file_path = world->memory, .resume_vm = resume};
    return vmm_snapshot_load(world->vmm, &request, err);
}

/* Another process would be a new VMM; the old one's socket goes with the old one's directory. */
static void next_vmm(struct world *world)
{
    end_vmm(world);
    unlink(world->vsock);
    new_vmm(world);
}

static unsigned count_names(const struct world *world)
{
    unsigned count = 0;
    _cleanup_(closedir) DIR *dir = opendir(world->directory);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    return count - 2;
}

/* ---- the good way ---- */

static void test_states(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    assert_int_equal(vmm_state(world->vmm), VMM_NOT_STARTED);
    assert_true(vmm_pause(world->vmm, &err) < 0);
    assert_true(vmm_resume(world->vmm, &err) < 0);
    assert_int_equal(err.code, ERROR_STATE);
    assert_true(create(world, &err) < 0);
    ok(vmm_start(world->vmm, &err), &err);
    assert_int_equal(vmm_state(world->vmm), VMM_RUNNING);
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_true(create(world, &err) < 0); /* not while running */
    assert_int_equal(err.code, ERROR_STATE);
    assert_true(load(world, false, &err) < 0);
    wait_counter(world, 10);
    for (unsigned round = 0; round < 10; round++) {
        ok(vmm_pause(world->vmm, &err), &err);
        ok(vmm_pause(world->vmm, &err), &err);
        assert_int_equal(vmm_state(world->vmm), VMM_PAUSED);
        uint64_t stopped = counter(world);
        time_sleep_ms(2);
        assert_true(counter(world) == stopped);
        ok(vmm_resume(world->vmm, &err), &err);
        ok(vmm_resume(world->vmm, &err), &err);
        wait_counter(world, stopped);
    }
    assert_string_equal(vmm_state_name(VMM_NOT_STARTED), "Not started");
}

static void test_slots(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    static const uint32_t ids[] = {5, 2, 2, 19, 4}; /* balloon, root, data, vsock, rng */
    ok(vmm_start(world->vmm, &err), &err);
    const struct machine *machine = world->vmm->machine;
    assert_int_equal(machine->virtio_count, ARRAY_SIZE(ids));
    for (unsigned i = 0; i < machine->virtio_count; i++) {
        assert_int_equal(virtio_mmio_device(machine->virtio[i])->ops->device_id, ids[i]);
        assert_true(virtio_mmio_gpa(machine->virtio[i]) == 0xc0001000ull + i * 0x1000ull);
        assert_int_equal(virtio_mmio_gsi(machine->virtio[i]), 5 + i);
    }
    assert_ptr_equal(virtio_mmio_device(machine->virtio[1]), machine->drives[1]);
    assert_ptr_equal(virtio_mmio_device(machine->virtio[2]), machine->drives[0]);
}

static void test_sleep_and_wake(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    uint64_t saved = counter(world);
    uint8_t id[16], other[16];
    assert_int_equal(guest_read(&world->vmm->machine->memory, 0xdf000, id, sizeof(id)), 0);
    ok(vmm_resume(world->vmm, &err), &err); /* the source goes on */
    wait_counter(world, saved);
    struct stat st;
    assert_int_equal(stat(world->memory, &st), 0);
    assert_int_equal(st.st_size, (off_t)MEMORY_MIB << 20);
    for (unsigned generation = 0; generation < 3; generation++) {
        next_vmm(world);
        ok(load(world, false, &err), &err);
        assert_int_equal(vmm_state(world->vmm), VMM_PAUSED);
        assert_true(counter(world) == saved);
        assert_int_equal(vmm_config(world->vmm)->machine.vcpu_count, 2);
        /* A VM generation id of its own, before the first instruction. */
        assert_int_equal(guest_read(&world->vmm->machine->memory, 0xdf000, other, sizeof(other)),
                         0);
        assert_memory_not_equal(id, other, sizeof(id));
        memcpy(id, other, sizeof(id));
        ok(vmm_resume(world->vmm, &err), &err);
        wait_counter(world, saved + 100);
        /* And asleep again, over the files it was loaded from. */
        ok(vmm_pause(world->vmm, &err), &err);
        saved = counter(world);
        ok(create(world, &err), &err);
    }
    assert_int_equal(count_names(world), 5); /* kernel, disk, vsock, state, memory */
}

static void test_load_resumes(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    uint64_t saved = counter(world);
    ok(create(world, &err), &err);
    next_vmm(world);
    ok(load(world, true, &err), &err);
    assert_int_equal(vmm_state(world->vmm), VMM_RUNNING);
    wait_counter(world, saved + 100);
}

/* Two VMs at once from the same files, which stay as they are. */
static void test_two_from_one(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    uint64_t saved = counter(world);
    ok(create(world, &err), &err);
    struct world twin = *world;
    new_vmm(&twin);
    char other_socket[96];
    path_in(world, other_socket, "vsock2");
    const struct snapshot_load_request request = {.snapshot_path = world->state,
                                                  .mem_file_path = world->memory,
                                                  .resume_vm = true,
                                                  .vsock_uds_path = other_socket};
    ok(vmm_snapshot_load(twin.vmm, &request, &err), &err);
    wait_counter(&twin, saved + 1000);
    assert_true(counter(world) == saved);
    assert_string_equal(vmm_config(twin.vmm)->vsock.uds_path, other_socket);
    end_vmm(&twin);
    uint64_t in_file = 0;
    _cleanup_(close) int fd = open(world->memory, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, &in_file, sizeof(in_file), COUNTER), sizeof(in_file));
    assert_true(in_file == saved);
}

static void test_outputs_are_kept(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    next_vmm(world);
    char log[96];
    path_in(world, log, "serial.log");
    free(vmm_config(world->vmm)->serial_out_path);
    vmm_config(world->vmm)->serial_out_path = strdup(log);
    ok(load(world, false, &err), &err);
    assert_string_equal(vmm_config(world->vmm)->serial_out_path, log);
    assert_int_equal(access(log, F_OK), 0);
}

/* ---- what goes wrong with a start ---- */

static void test_start_fails_and_again(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    assert_int_equal(rename(world->disk, world->state), 0);
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_non_null(strstr(err.message, world->disk));
    assert_int_equal(vmm_state(world->vmm), VMM_NOT_STARTED);
    assert_int_equal(rename(world->state, world->disk), 0);
    assert_int_equal(access(world->vsock, F_OK), -1); /* the next attempt binds it */
    write_file(world->kernel, "no kernel", 9);
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_non_null(strstr(err.message, world->kernel));
    write_kernel(world->kernel);
    ok(vmm_start(world->vmm, &err), &err);
    wait_counter(world, 10);
}

static void test_no_kernel(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    free(TAKE_PTR(vmm_config(world->vmm)->boot.kernel_image_path));
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_int_equal(err.code, ERROR_INVALID);
}

/* ---- what goes wrong with a create ---- */

/* A create that failed left nothing, the VM is paused, runs on, and can be saved after all. */
static void expect_untouched(struct world *world, unsigned names)
{
    struct error err = {0};
    assert_int_equal(count_names(world), names);
    assert_int_equal(vmm_state(world->vmm), VMM_PAUSED);
    uint64_t stopped = counter(world);
    ok(vmm_resume(world->vmm, &err), &err);
    wait_counter(world, stopped);
    ok(vmm_pause(world->vmm, &err), &err);
}

static void test_create_at_failpoints(void **context)
{
    struct world *world = *context;
    static const char *const points[] = {"vmm-snapshot-memory=ENOSPC", "vmm-snapshot-state=EIO"};
    struct error err = {0};
    start_and_pause(world);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_true(create(world, &err) < 0);
        assert_non_null(strstr(err.message, i == 0 ? world->memory : world->state));
        assert_non_null(strstr(err.message, i == 0 ? "ENOSPC" : "EIO"));
        assert_int_equal(err.errnum, i == 0 ? ENOSPC : EIO);
        assert_int_equal(err.code, i == 0 ? ERROR_RESOURCES : ERROR_SYSTEM);
        unsetenv("TINE_FAILPOINT");
        expect_untouched(world, 3);
    }
    /* Over an older snapshot: that one is whole again after the failure. */
    write_file(world->state, "old state", 9);
    write_file(world->memory, "old memory", 10);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_true(create(world, &err) < 0);
        unsetenv("TINE_FAILPOINT");
        expect_untouched(world, 5);
        char text[16] = "";
        _cleanup_(close) int fd = open(world->memory, O_RDONLY | O_CLOEXEC);
        assert_int_equal(read(fd, text, sizeof(text)), 10);
        assert_string_equal(text, "old memory");
    }
    ok(create(world, &err), &err);
    assert_int_equal(count_names(world), 5);
}

/* How often a directory was synced while no state was there and the old memory still was. */
static struct {
    const struct world *world;
    unsigned between;
} syncs;

int __real_snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err);
int __wrap_snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err);
int __wrap_snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err)
{
    struct stat st;
    if (syncs.world && access(syncs.world->state, F_OK) < 0 &&
        stat(syncs.world->memory, &st) == 0 && st.st_size == 10)
        syncs.between++;
    return __real_snapshot_file_sync_directory(file, err);
}

/* In two directories nothing else orders the two renames: the old state must be gone for good
 * before the memory that belongs to it goes. */
static void test_create_in_two_directories(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char other[96];
    path_in(world, other, "other");
    assert_int_equal(mkdir(other, 0700), 0);
    path_in(world, world->memory, "other/memory");
    write_file(world->state, "old state", 9);
    write_file(world->memory, "old memory", 10);
    start_and_pause(world);
    syncs.world = world;
    ok(create(world, &err), &err);
    syncs.world = NULL;
    assert_int_equal(syncs.between, 1);
    next_vmm(world);
    ok(load(world, true, &err), &err);
}

static void test_create_without_room(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    struct rlimit before, low;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t limit = 1000; limit < 10u << 20; limit *= 100) {
        low = (struct rlimit){.rlim_cur = limit, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        int r = create(world, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(r, -EFBIG);
        assert_non_null(strstr(err.message, limit == 1000 ? world->state : world->memory));
        expect_untouched(world, 3);
    }
    signal(SIGXFSZ, SIG_DFL);
    ok(create(world, &err), &err);
}

static void expect_create_error(struct world *world, const char *state, const char *memory,
                                const char *words)
{
    struct error err = {0};
    const struct snapshot_create_request request = {.snapshot_path = state,
                                                    .mem_file_path = memory};
    assert_true(vmm_snapshot_create(world->vmm, &request, &err) < 0);
    assert_non_null(strstr(err.message, words));
    expect_untouched(world, 3);
}

static void test_create_bad_paths(void **context)
{
    struct world *world = *context;
    char nowhere[128];
    snprintf(nowhere, sizeof(nowhere), "%s/no/where", world->directory);
    start_and_pause(world);
    expect_create_error(world, world->state, nowhere, nowhere);
    expect_create_error(world, nowhere, world->memory, nowhere);
    expect_create_error(world, world->state, world->state, world->state);
    expect_create_error(world, world->directory, world->memory, world->directory);
    expect_create_error(world, world->state, "/dev/null", "/dev/null");
    char alias[128];
    snprintf(alias, sizeof(alias), "%s/./state", world->directory);
    expect_create_error(world, world->state, alias, world->state);
}

/* ---- what goes wrong with a load ---- */

/* One line that names the file; nothing runs. */
static void expect_load_error(struct world *world, const char *words)
{
    struct error err = {0};
    next_vmm(world);
    assert_true(load(world, true, &err) < 0);
    if (!strstr(err.message, words))
        fail_msg("expected '%s' in: %s", words, err.message);
    assert_null(strchr(err.message, '\n'));
    assert_int_equal(vmm_state(world->vmm), VMM_NOT_STARTED);
    assert_null(world->vmm->machine);
}

static void test_load_damaged_state(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    _cleanup_(free) char *data = NULL;
    size_t length = 0;
    ok(file_read_all(AT_FDCWD, world->state, 1 << 20, &data, &length, &err), &err);
    for (size_t cut = 0; cut < length; cut += 997) {
        write_file(world->state, data, cut);
        expect_load_error(world, world->state);
    }
    for (size_t at = 0; at < length; at += 499) {
        data[at] = (char)(data[at] ^ 0x10);
        write_file(world->state, data, length);
        data[at] = (char)(data[at] ^ 0x10);
        expect_load_error(world, world->state);
    }
    write_file(world->state, data, length);
    next_vmm(world);
    ok(load(world, true, &err), &err);
}

static void test_load_memory_of_wrong_size(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    static const off_t sizes[] = {0, 4096, ((off_t)MEMORY_MIB << 20) - 1,
                                  ((off_t)MEMORY_MIB << 20) + 4096};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_int_equal(truncate(world->memory, sizes[i]), 0);
        expect_load_error(world, world->memory);
    }
}

static void test_load_missing_things(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    char away[96];
    path_in(world, away, "away");
    const char *const things[] = {world->memory, world->disk, world->state};
    for (size_t i = 0; i < ARRAY_SIZE(things); i++) {
        assert_int_equal(rename(things[i], away), 0);
        expect_load_error(world, things[i]);
        assert_int_equal(rename(away, things[i]), 0);
    }
    /* A vsock socket that another process holds. */
    next_vmm(world);
    write_file(world->vsock, "", 0);
    assert_true(load(world, true, &err) < 0);
    assert_non_null(strstr(err.message, world->vsock));
    next_vmm(world);
    ok(load(world, true, &err), &err);
}

static void test_override_without_vsock(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    free(vmm_config(world->vmm)->vsock.uds_path);
    vmm_config(world->vmm)->vsock = (struct vsock_config){0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    next_vmm(world);
    const struct snapshot_load_request request = {.snapshot_path = world->state,
                                                  .mem_file_path = world->memory,
                                                  .vsock_uds_path = world->vsock};
    assert_true(vmm_snapshot_load(world->vmm, &request, &err) < 0);
    assert_non_null(strstr(err.message, "vsock"));
}

/* ---- after the start ---- */

static void test_drive_update(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char other[96];
    path_in(world, other, "other");
    write_file(other, program, sizeof(program));
    assert_int_equal(truncate(other, 2 << 20), 0);
    assert_true(vmm_drive_update(world->vmm, "data", other, &err) < 0); /* not started */
    ok(vmm_start(world->vmm, &err), &err);
    assert_int_equal(vmm_drive_update(world->vmm, "nix", other, &err), -ENOENT);
    assert_true(vmm_drive_update(world->vmm, "data", world->state, &err) < 0);
    assert_string_equal(vmm_config(world->vmm)->drives[0].path_on_host, world->disk);
    ok(vmm_drive_update(world->vmm, "data", other, &err), &err);
    assert_string_equal(vmm_config(world->vmm)->drives[0].path_on_host, other);
}

static void test_balloon_and_keyboard(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    assert_true(vmm_balloon_set(world->vmm, 1, &err) < 0);
    assert_true(vmm_send_ctrl_alt_del(world->vmm, &err) < 0);
    ok(vmm_start(world->vmm, &err), &err);
    /* This guest has no drivers. */
    assert_true(vmm_balloon_set(world->vmm, 1, &err) < 0);
    ok(vmm_send_ctrl_alt_del(world->vmm, &err), &err);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(test_states),
        WITH_WORLD(test_slots),
        WITH_WORLD(test_sleep_and_wake),
        WITH_WORLD(test_load_resumes),
        WITH_WORLD(test_two_from_one),
        WITH_WORLD(test_outputs_are_kept),
        WITH_WORLD(test_start_fails_and_again),
        WITH_WORLD(test_no_kernel),
        WITH_WORLD(test_create_at_failpoints),
        WITH_WORLD(test_create_in_two_directories),
        WITH_WORLD(test_create_without_room),
        WITH_WORLD(test_create_bad_paths),
        WITH_WORLD(test_load_damaged_state),
        WITH_WORLD(test_load_memory_of_wrong_size),
        WITH_WORLD(test_load_missing_things),
        WITH_WORLD(test_override_without_vsock),
        WITH_WORLD(test_drive_update),
        WITH_WORLD(test_balloon_and_keyboard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

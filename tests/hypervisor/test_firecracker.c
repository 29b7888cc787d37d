/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver for Firecracker does differently: versions, programs that can't be used, what is
 * told to which version, the log of dirty pages, the console, and the jailer. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "hypervisor/firecracker_version.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/jail.h"
#include "support.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#define JAIL_USER 64123u

static const char *fake_vmm, *fake_jailer;

static void test_versions(void **state)
{
    static const struct {
        const char *text;
        unsigned major, minor, patch;
        bool unfinished;
        const char *kept;
    } good[] = {
        {"1.16.1", 1, 16, 1, false, "1.16.1"},
        {"v1.8.0", 1, 8, 0, false, "1.8.0"},
        {"1.17.0-dev", 1, 17, 0, true, "1.17.0-dev"},
        {"v1.7.0-4-gd34db33f", 1, 7, 0, true, "1.7.0-4-gd34db33f"},
        {"0.25.2", 0, 25, 2, false, "0.25.2"},
        {"9999.9999.9999", 9999, 9999, 9999, false, "9999.9999.9999"},
    };
    static const char *const bad[] = {
        "",
        "v",
        "1",
        "1.2",
        "1.2.",
        "1..3",
        ".1.2",
        "1.2.3.4",
        "1.2.3-",
        "1.2.3 ",
        " 1.2.3",
        "vv1.2.3",
        "-1.2.3",
        "+1.2.3",
        "1.2.x",
        "01.2.3",
        "1.02.3",
        "1.2.3\n",
        "10000.0.0",
        "1.2.3-é",
        "1.2.3 -dev",
        "0x1.2.3",
        "1,2,3",
        "1.2.3--;",
        "latest",
        "1.99999999999999999999.0",
        "1.2.3-a-suffix-that-is-much-longer-than-a-version-ever-is",
    };
    struct firecracker_version version;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (firecracker_version_parse(good[i].text, &version, &err) != 0)
            fail_msg("%s", err.message);
        assert_int_equal(version.major, good[i].major);
        assert_int_equal(version.minor, good[i].minor);
        assert_int_equal(version.patch, good[i].patch);
        assert_int_equal(version.unfinished, good[i].unfinished);
        assert_string_equal(version.text, good[i].kept);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (firecracker_version_parse(bad[i], &version, &err) != -EPROTO)
            fail_msg("'%s' was taken for a version", bad[i]);
        assert_int_equal(err.code, ERROR_UNSUPPORTED);
        assert_true(contains(err.message, "is no version of Firecracker"));
    }
}

static void test_version_range(void **state)
{
    static const struct {
        const char *text, *words; /* NULL: it will do */
    } cases[] = {
        {"1.8.0", NULL},
        {"1.99.0", NULL},
        {"1.7.9", "Firecracker 1.7.9: at least version 1.8"},
        {"0.25.0", "at least version 1.8"},
        {"2.0.0", "Firecracker 2.0.0: only versions 1.x are known"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct firecracker_version version;
        struct error err = {0};
        assert_int_equal(firecracker_version_parse(cases[i].text, &version, NULL), 0);
        int r = firecracker_version_check(&version, &err);
        assert_int_equal(r, cases[i].words ? -EOPNOTSUPP : 0);
        if (cases[i].words && !contains(err.message, cases[i].words))
            fail_msg("'%s' lacks '%s'", err.message, cases[i].words);
    }
}

static void test_abilities(void **state)
{
    static const struct {
        const char *text, *dirty_log;
        bool reporting, clock, bzimage;
        uint64_t diff_limit;
    } cases[] = {
        {"1.8.0", "enable_diff_snapshots", false, false, false, 3 * GIB},
        {"1.12.1", "enable_diff_snapshots", false, false, false, 3 * GIB},
        {"1.13.0-dev", "enable_diff_snapshots", false, false, false, 3 * GIB},
        {"1.13.0", "track_dirty_pages", false, false, false, 3 * GIB},
        {"1.13.1-dev", "track_dirty_pages", false, false, false, 3 * GIB},
        {"1.14.4", "track_dirty_pages", true, false, false, 3 * GIB},
        {"1.15.0", "track_dirty_pages", true, false, false, UINT64_MAX},
        {"1.16.0", "track_dirty_pages", true, true, false, UINT64_MAX},
        {"1.17.0-dev", "track_dirty_pages", true, true, false, UINT64_MAX},
        {"1.17.0", "track_dirty_pages", true, true, true, UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct firecracker_version version;
        assert_int_equal(firecracker_version_parse(cases[i].text, &version, NULL), 0);
        struct api_abilities abilities = firecracker_abilities(&version);
        assert_string_equal(abilities.dirty_log, cases[i].dirty_log);
        assert_int_equal(abilities.free_page_reporting, cases[i].reporting);
        assert_int_equal(abilities.clock_realtime, cases[i].clock);
        assert_int_equal(abilities.bzimage, cases[i].bzimage);
        assert_true(abilities.diff_limit == cases[i].diff_limit);
    }
}

static struct hypervisor driver_of(const char *binary)
{
    struct hypervisor hypervisor;
    const struct firecracker_options options = {.binary = binary};
    assert_int_equal(hypervisor_firecracker(&options, &hypervisor, NULL), 0);
    hypervisor.ready_ms = 20000;
    return hypervisor;
}

/* A script as the program. */
static char *script_make(const char *text)
{
    char directory[] = "/tmp/tine-firecracker-XXXXXX", *path = NULL;
    assert_non_null(mkdtemp(directory));
    assert_true(asprintf(&path, "%s/firecracker", directory) > 0);
    assert_int_equal(file_publish(AT_FDCWD, path, text, strlen(text), 0755, NULL), 0);
    return path;
}

static void check_fails(const char *binary, int errnum, enum error_code code, const char *words)
{
    struct hypervisor hypervisor = driver_of(binary);
    struct error err = {0};
    assert_int_equal(hypervisor_check(&hypervisor, &err), -errnum);
    if (!contains(err.message, words))
        fail_msg("'%s' lacks '%s'", err.message, words);
    assert_int_equal(err.code, code);
    assert_no_children();
    hypervisor_release(&hypervisor);
}

static void script_fails(const char *text, int errnum, const char *words)
{
    char *path = script_make(text);
    check_fails(path, errnum, ERROR_UNSUPPORTED, words);
    firecracker_remove(path);
}

static void test_programs_that_are_none(void **state)
{
    check_fails(NULL, EOPNOTSUPP, ERROR_UNSUPPORTED, "there is no firecracker on this host");
    check_fails("/nowhere/firecracker", ENOENT, ERROR_NOT_FOUND, "/nowhere/firecracker");
    check_fails("/etc/passwd", EACCES, ERROR_UNSUPPORTED, "run /etc/passwd --version");
    check_fails("/tmp", EACCES, ERROR_UNSUPPORTED, "run /tmp --version");
    check_fails("/bin/ls", EPROTO, ERROR_UNSUPPORTED,
                "/bin/ls is not Firecracker: with --version "
                "it says 'ls (GNU coreutils)");
    check_fails("/bin/true", EPROTO, ERROR_UNSUPPORTED, "is not Firecracker");
    script_fails("#!/bin/sh\n", ENODATA, "says nothing");
    script_fails("#!/bin/sh\necho; echo Firecracker v1.16.1\n", ENODATA, "says nothing");
    script_fails("#!/bin/sh\necho Firecracker v1.7.0\n", EOPNOTSUPP, "at least version 1.8");
    script_fails("#!/bin/sh\necho Firecracker v1\n", EPROTO, "'1' is no version");
    script_fails("#!/bin/sh\necho Firecracker 1.16.1\n", EPROTO, "is not Firecracker");
    script_fails("#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x\n", EPROTO, "says 'xxxx");
}

/* Asked again only when the file is another. */
static void test_asked_once(void **state)
{
    char *path = script_make("#!/bin/sh\n"
                             "echo asked >>\"$(dirname \"$0\")\"/asked\n"
                             "echo Firecracker v1.16.1\n"
                             "exec sleep 1000\n");
    char asked[128];
    snprintf(asked, sizeof(asked), "%.*s/asked", (int)(strrchr(path, '/') - path), path);
    struct hypervisor hypervisor = driver_of(path);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hypervisor_check(&hypervisor, NULL), 0);
    char *text = read_file(asked);
    assert_string_equal(text, "asked\n");
    free(text);
    static const char other[] = "#!/bin/sh\necho Firecracker v1.2.0\n";
    assert_int_equal(file_publish(AT_FDCWD, path, other, strlen(other), 0755, NULL), 0);
    assert_int_equal(hypervisor_check(&hypervisor, NULL), -EOPNOTSUPP);
    hypervisor_release(&hypervisor);
    assert_int_equal(unlink(asked), 0);
    firecracker_remove(path);
}

static struct vm_spec spec_of(const char *guest)
{
    return (struct vm_spec){
        .id = "abc-123", .guest_dir = guest, .vcpus = 2, .memory_bytes = 64 * MIB};
}

static struct vm_process boot(const struct hypervisor *hypervisor, const struct vm_spec *spec)
{
    struct vm_process process;
    struct error err = {0};
    if (hypervisor->boot(hypervisor, spec, &process, &err) != 0)
        fail_msg("%s", err.message);
    return process;
}

static void end(struct vm_process *process)
{
    assert_int_equal(vm_process_kill(process, 10000, NULL), 0);
    assert_no_children();
}

static void pause_vm(const struct hypervisor *hypervisor, const struct vm_spec *spec)
{
    assert_int_equal(hypervisor->pause(hypervisor, spec, NULL), 0);
}

/* The requests since the last look, without what every test has. */
static void requests_are(const char *guest, const char *expected)
{
    const char *path = in_guest(guest, "log/requests");
    char *text = read_file(path);
    if (!contains(text, expected))
        fail_msg("'%s' lacks '%s'", text, expected);
    free(text);
    unlink(path);
}

/* Every version is told what it knows, and the fake refuses what it does not. */
static void test_requests(void **state)
{
    static const struct {
        const char *version, *balloon, *load;
    } cases[] = {
        {"1.8.0", "{\"amount_mib\":0,\"deflate_on_oom\":true}", "\"enable_diff_snapshots\":true}"},
        {"1.13.1", "{\"amount_mib\":0,\"deflate_on_oom\":true}",
         "\"resume_vm\":true,\"track_dirty_pages\":true}"},
        {"1.14.0", "\"free_page_reporting\":true}",
         "\"resume_vm\":true,\"track_dirty_pages\":true}"},
        {"1.16.0-dev", "\"free_page_reporting\":true}",
         "\"resume_vm\":true,\"track_dirty_pages\":true}"},
        {"1.17.0", "\"free_page_reporting\":true}", "\"track_dirty_pages\":true}"},
    };
    static const struct vm_restore running = {.resume = true};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *path = firecracker_make(fake_vmm, cases[i].version), *guest = guest_make();
        struct hypervisor hypervisor = driver_of(path);
        struct vm_spec spec = spec_of(guest);
        write_file(in_guest(guest, GUEST_KERNEL), "\x7f"
                                                  "ELF and more");
        struct vm_process process = boot(&hypervisor, &spec);
        char expected[256];
        snprintf(expected, sizeof(expected), "PUT /balloon %s", cases[i].balloon);
        char *requests = read_file(in_guest(guest, "log/requests"));
        assert_false(contains(requests, "/serial"));
        assert_true(contains(requests, "GET /version \nPUT /machine-config {\"vcpu_count\":2,"
                                       "\"mem_size_mib\":64,\"track_dirty_pages\":true}\n"));
        if (i == 0 || i == 1)
            assert_true(contains(requests, expected));
        else
            assert_true(contains(requests, cases[i].balloon));
        free(requests);
        assert_int_equal(mkdir(in_guest(guest, GUEST_SNAPSHOT), 0700), 0);
        pause_vm(&hypervisor, &spec);
        assert_int_equal(hypervisor.snapshot(&hypervisor, &spec, GUEST_SNAPSHOT, false, NULL), 0);
        end(&process);
        unlink(in_guest(guest, "log/requests"));
        struct error err = {0};
        if (hypervisor.restore(&hypervisor, &spec, &running, &process, &err) != 0)
            fail_msg("%s: %s", cases[i].version, err.message);
        requests_are(guest, cases[i].load);
        end(&process);
        hypervisor_release(&hypervisor);
        guest_remove(guest);
        firecracker_remove(path);
    }
}

/* A Firecracker 1.16.1 with a VM that runs. */
struct vm {
    char *path, *guest;
    struct hypervisor hypervisor;
    struct vm_spec spec;
    struct vm_process process;
};

static struct vm vm_prepare(const char *version)
{
    struct vm vm = {.path = firecracker_make(fake_vmm, version), .guest = guest_make()};
    vm.hypervisor = driver_of(vm.path);
    vm.spec = spec_of(vm.guest);
    write_file(in_guest(vm.guest, GUEST_KERNEL), "\x7f"
                                                 "ELF");
    return vm;
}

static void vm_release(struct vm *vm)
{
    hypervisor_release(&vm->hypervisor);
    guest_remove(vm->guest);
    firecracker_remove(vm->path);
}

static void boot_fails(struct vm *vm, int errnum, enum error_code code, const char *words)
{
    struct error err = {0};
    assert_int_equal(vm->hypervisor.boot(&vm->hypervisor, &vm->spec, &vm->process, &err), -errnum);
    if (!contains(err.message, words))
        fail_msg("'%s' lacks '%s'", err.message, words);
    assert_int_equal(err.code, code);
    assert_no_children();
}

static void test_what_can_not_boot(void **state)
{
    struct vm vm = vm_prepare("1.16.1");
    write_file(in_guest(vm.guest, "fake-vmm"), "other-version 1.15.0");
    boot_fails(&vm, EPROTO, ERROR_SYSTEM,
               "--version says 1.16.1, but its GET /version says 1.15.0");
    write_file(in_guest(vm.guest, "fake-vmm"), "other-version none");
    boot_fails(&vm, EPROTO, ERROR_UNSUPPORTED, "GET /version: 'none' is no version");
    assert_int_equal(unlink(in_guest(vm.guest, "fake-vmm")), 0);
    write_file(in_guest(vm.guest, GUEST_KERNEL), "MZ, a bzImage");
    boot_fails(&vm, ENOEXEC, ERROR_INVALID, "boots an ELF file (vmlinux) only");
    write_file(in_guest(vm.guest, GUEST_KERNEL), "\x7f"
                                                 "EL");
    boot_fails(&vm, ENOEXEC, ERROR_INVALID, "boots an ELF file (vmlinux) only");
    static const char *const ids[] = {
        "", "under_score", "a/b", "a b",
        "1234567890123456789012345678901234567890123456789012345678901"
        "2345"};
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        vm.spec.id = ids[i];
        boot_fails(&vm, EINVAL, ERROR_INVALID, "is no id for Firecracker");
    }
    vm_release(&vm);
}

static void snapshot_is(struct vm *vm, bool merge, const char *type)
{
    struct error err = {0};
    char expected[64];
    unlink(in_guest(vm->guest, "log/requests"));
    if (vm->hypervisor.snapshot(&vm->hypervisor, &vm->spec, GUEST_SNAPSHOT, merge, &err) != 0)
        fail_msg("%s", err.message);
    snprintf(expected, sizeof(expected), "{\"snapshot_type\":\"%s\"", type);
    requests_are(vm->guest, expected);
}

static void snapshot_fails(struct vm *vm, bool merge)
{
    assert_true(vm->hypervisor.snapshot(&vm->hypervisor, &vm->spec, GUEST_SNAPSHOT, merge, NULL) <
                0);
    unlink(in_guest(vm->guest, "log/requests"));
}

static void forget_snapshot(struct vm *vm)
{
    assert_int_equal(unlink(in_guest(vm->guest, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY)), 0);
}

static void restart(struct vm *vm)
{
    struct error err = {0};
    end(&vm->process);
    if (vm->hypervisor.restore(&vm->hypervisor, &vm->spec, &(struct vm_restore){0}, &vm->process,
                               &err) != 0)
        fail_msg("%s", err.message);
}

/* A Diff is asked for only where it has all there is to know. */
static void test_dirty_log(void **state)
{
    struct vm vm = vm_prepare("1.16.1");
    assert_int_equal(mkdir(in_guest(vm.guest, GUEST_SNAPSHOT), 0700), 0);
    vm.process = boot(&vm.hypervisor, &vm.spec);
    pause_vm(&vm.hypervisor, &vm.spec);
    snapshot_is(&vm, false, "Diff"); /* all since boot */
    forget_snapshot(&vm);            /* and it is lost: the next one can't lack it */
    snapshot_is(&vm, false, "Full");
    restart(&vm);
    snapshot_is(&vm, true, "Diff");
    snapshot_is(&vm, true, "Diff"); /* on top of the first */
    write_file(in_guest(vm.guest, "fake-vmm"), "half-diff");
    snapshot_fails(&vm, true);
    assert_int_equal(unlink(in_guest(vm.guest, "fake-vmm")), 0);
    snapshot_is(&vm, true, "Full");
    snapshot_is(&vm, true, "Diff");
    restart(&vm);
    forget_snapshot(&vm);
    snapshot_is(&vm, false, "Full"); /* a fresh file has not what was there before */
    forget_snapshot(&vm);
    snapshot_is(&vm, false, "Full");
    restart(&vm); /* what is saved is whole: the fake checks whose it is */
    /* A file that is not there to be merged into costs the log nothing. */
    const char *memory = in_guest(vm.guest, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY);
    assert_int_equal(rename(memory, in_guest(vm.guest, "away")), 0);
    snapshot_fails(&vm, true);
    assert_int_equal(rename(in_guest(vm.guest, "away"), memory), 0);
    snapshot_is(&vm, true, "Diff");
    end(&vm.process);
    vm_release(&vm);
}

static int can_diff(const struct vm *vm)
{
    return vm->hypervisor.can_save(&vm->hypervisor, &vm->spec, VM_SAVE_DIFF, NULL);
}

/* What changed alone: only of what was loaded, and only once. */
static void test_diff_into_a_fresh_file(void **state)
{
    struct vm vm = vm_prepare("1.16.1");
    struct error err = {0};
    struct stat before, after, diff;
    assert_int_equal(mkdir(in_guest(vm.guest, GUEST_SNAPSHOT), 0700), 0);
    vm.process = boot(&vm.hypervisor, &vm.spec);
    pause_vm(&vm.hypervisor, &vm.spec);
    assert_int_equal(can_diff(&vm), 0);
    assert_int_equal(
        vm.hypervisor.snapshot(&vm.hypervisor, &vm.spec, GUEST_SNAPSHOT, VM_SAVE_DIFF, &err),
        -ESTALE);
    assert_true(contains(err.message, "does not know all that has changed"));
    snapshot_is(&vm, false, "Diff");
    restart(&vm);
    assert_int_equal(can_diff(&vm), 1);
    char memory[256];
    snprintf(memory, sizeof(memory), "%s", in_guest(vm.guest, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY));
    assert_int_equal(stat(memory, &before), 0);
    if (vm.hypervisor.snapshot(&vm.hypervisor, &vm.spec, GUEST_SNAPSHOT, VM_SAVE_DIFF, &err) != 0)
        fail_msg("%s", err.message);
    requests_are(vm.guest, "\"mem_file_path\":\"/run/tine/guest/snapshot/diff\"");
    assert_int_equal(stat(in_guest(vm.guest, GUEST_SNAPSHOT "/" SNAPSHOT_DIFF), &diff), 0);
    assert_int_equal(diff.st_size, before.st_size);
    assert_int_equal(stat(memory, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    assert_int_equal(can_diff(&vm), 0); /* the log is used up */
    end(&vm.process);
    vm_release(&vm);
}

/* Before 1.15 a Diff is wrong where memory has a second slot. */
static void test_large_memory(void **state)
{
    static const struct {
        const char *version;
        uint64_t memory;
        const char *type;
    } cases[] = {
        {"1.14.0", 3 * GIB, "Diff"},
        {"1.14.0", 3 * GIB + MIB, "Full"},
        {"1.15.0", 3 * GIB + MIB, "Diff"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct vm vm = vm_prepare(cases[i].version);
        assert_int_equal(mkdir(in_guest(vm.guest, GUEST_SNAPSHOT), 0700), 0);
        vm.spec.memory_bytes = cases[i].memory;
        vm.process = boot(&vm.hypervisor, &vm.spec);
        pause_vm(&vm.hypervisor, &vm.spec);
        snapshot_is(&vm, false, cases[i].type);
        end(&vm.process);
        vm_release(&vm);
    }
}

/* A Full has every page; what is zero does not stay on the disk. */
static void test_full_is_made_sparse(void **state)
{
    struct vm vm = vm_prepare("1.16.1");
    struct stat st;
    assert_int_equal(mkdir(in_guest(vm.guest, GUEST_SNAPSHOT), 0700), 0);
    vm.process = boot(&vm.hypervisor, &vm.spec);
    pause_vm(&vm.hypervisor, &vm.spec);
    snapshot_is(&vm, false, "Diff");
    forget_snapshot(&vm);
    snapshot_is(&vm, false, "Full");
    assert_int_equal(stat(in_guest(vm.guest, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY), &st), 0);
    assert_int_equal(st.st_size, 64 * MIB);
    assert_in_range(st.st_blocks * 512, 4096, 64 << 10);
    restart(&vm);
    end(&vm.process);
    vm_release(&vm);
}

/* Each VMM's console is behind that of the one before; the VMM's own log is its own. */
static void test_console(void **state)
{
    struct vm vm = vm_prepare("1.16.1");
    write_file(in_guest(vm.guest, GUEST_VMM_LOG), "of an earlier VMM\n");
    vm.process = boot(&vm.hypervisor, &vm.spec);
    end(&vm.process);
    vm.process = boot(&vm.hypervisor, &vm.spec);
    char *console = read_file(in_guest(vm.guest, GUEST_CONSOLE_LOG));
    assert_string_equal(console, "console of abc-123\nconsole of abc-123\n");
    char *log = read_file(in_guest(vm.guest, GUEST_VMM_LOG));
    assert_string_equal(log, "fake-vmm: id abc-123\n");
    free(console);
    free(log);
    end(&vm.process);
    vm_release(&vm);
}

/* A state without the time of day: its clock is not advanced, but it is loaded. */
static void test_state_without_clock(void **state)
{
    struct vm vm = vm_prepare("1.16.1");
    assert_int_equal(mkdir(in_guest(vm.guest, GUEST_SNAPSHOT), 0700), 0);
    vm.process = boot(&vm.hypervisor, &vm.spec);
    pause_vm(&vm.hypervisor, &vm.spec);
    snapshot_is(&vm, false, "Diff");
    write_file(in_guest(vm.guest, "fake-vmm"), "no-clock");
    restart(&vm);
    snapshot_is(&vm, true, "Diff");
    end(&vm.process);
    vm_release(&vm);
}

/* 1: the mounts of that file system can map owners. */
static bool maps_owners(const char *guest)
{
    struct jail jail;
    assert_int_equal(jail_prepare(&jail, "/bin/true", "x", JAIL_USER, JAIL_USER, NULL), 0);
    int tree = open_tree(AT_FDCWD, guest, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct mount_attr mapped = {.attr_set = MOUNT_ATTR_IDMAP,
                                .userns_fd = (uint64_t)jail.userns_fd};
    assert_true(tree >= 0);
    bool maps = mount_setattr(tree, "", AT_EMPTY_PATH, &mapped, sizeof(mapped)) == 0;
    close(tree);
    cleanup_jail(&jail);
    return maps;
}

static void jail_vm(struct vm *vm, uid_t user, const char *jailer)
{
    hypervisor_release(&vm->hypervisor);
    const struct firecracker_options options = {
        .binary = vm->path, .jailer = jailer, .uid = user, .gid = user};
    assert_int_equal(hypervisor_firecracker(&options, &vm->hypervisor, NULL), 0);
    assert_int_equal(vm->hypervisor.uid, user);
    vm->hypervisor.ready_ms = 20000;
}

/* A life in a jail: what the VMM sees and makes is in the guest directory, and root's there. */
static void jailed_life(uid_t user)
{
    struct vm vm = vm_prepare("1.16.1");
    struct stat st;
    char path[64];
    jail_vm(&vm, user, fake_jailer);
    assert_int_equal(mkdir(in_guest(vm.guest, GUEST_SNAPSHOT), 0700), 0);
    write_file(in_guest(vm.guest, "disks/0.img"), "disk");
    assert_int_equal(chmod(in_guest(vm.guest, "disks/0.img"), 0600), 0);
    vm.spec.disk_count = 1;
    vm.process = boot(&vm.hypervisor, &vm.spec);
    snprintf(path, sizeof(path), "/proc/%d", vm.process.pid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, user);
    snprintf(path, sizeof(path), "/proc/%d/root/etc", vm.process.pid);
    assert_int_equal(access(path, F_OK), -1); /* it sees nothing else of the host */
    pause_vm(&vm.hypervisor, &vm.spec);
    snapshot_is(&vm, false, "Diff");
    assert_int_equal(stat(in_guest(vm.guest, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY), &st), 0);
    assert_int_equal(st.st_uid, 0);
    restart(&vm);
    snapshot_is(&vm, true, "Diff");
    end(&vm.process);
    vm_release(&vm);
}

static void test_jail_of_root(void **state)
{
    jailed_life(0);
}

static void test_jail_of_another(void **state)
{
    char *guest = guest_make();
    bool maps = maps_owners(guest);
    guest_remove(guest);
    if (maps) {
        jailed_life(JAIL_USER);
        return;
    }
    struct vm vm = vm_prepare("1.16.1");
    jail_vm(&vm, JAIL_USER, fake_jailer);
    boot_fails(&vm, EINVAL, ERROR_SYSTEM, "as the jail's user's: Invalid argument");
    vm_release(&vm);
}

static void test_no_jailer(void **state)
{
    struct vm vm = vm_prepare("1.16.1");
    jail_vm(&vm, 0, "/nowhere/jailer");
    boot_fails(&vm, ENOENT, ERROR_SYSTEM, "/nowhere/jailer");
    jail_vm(&vm, 0, "/bin/false");
    boot_fails(&vm, ECONNRESET, ERROR_SYSTEM, "the VMM exited with status 1");
    vm_release(&vm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_version_range),
        cmocka_unit_test(test_abilities),
        cmocka_unit_test(test_programs_that_are_none),
        cmocka_unit_test(test_asked_once),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_what_can_not_boot),
        cmocka_unit_test(test_dirty_log),
        cmocka_unit_test(test_diff_into_a_fresh_file),
        cmocka_unit_test(test_large_memory),
        cmocka_unit_test(test_full_is_made_sparse),
        cmocka_unit_test(test_console),
        cmocka_unit_test(test_state_without_clock),
        cmocka_unit_test(test_jail_of_root),
        cmocka_unit_test(test_jail_of_another),
        cmocka_unit_test(test_no_jailer),
    };
    if (argc != 3) {
        fprintf(stderr, "usage: %s FAKE_VMM FAKE_JAILER\n", argv[0]);
        return 2;
    }
    fake_vmm = argv[1];
    fake_jailer = argv[2];
    return cmocka_run_group_tests_name("firecracker", tests, support_start, support_stop);
}

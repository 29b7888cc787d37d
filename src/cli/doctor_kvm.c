/* SPDX-License-Identifier: Apache-2.0 */
/* Is KVM there, can it do what tine-vmm asks of it, and did a guest ever boot on it? */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/doctor.h"

#define API_VERSION     12
#define PROBE_DIRECTORY "/var/cache/tine"
#define PROBE_NAME      "kvm-probe"
#define PROBE_LIMIT     4096
#define BOOT_ID         "/proc/sys/kernel/random/boot_id"

static const struct {
    const char *name;
    int number;
    bool needed;
} capabilities[] = {
    {"IRQCHIP", KVM_CAP_IRQCHIP, true},
    {"USER_MEMORY", KVM_CAP_USER_MEMORY, true},
    {"SET_TSS_ADDR", KVM_CAP_SET_TSS_ADDR, true},
    {"EXT_CPUID", KVM_CAP_EXT_CPUID, true},
    {"MP_STATE", KVM_CAP_MP_STATE, true},
    {"VCPU_EVENTS", KVM_CAP_VCPU_EVENTS, true},
    {"DEBUGREGS", KVM_CAP_DEBUGREGS, true},
    {"XSAVE", KVM_CAP_XSAVE, true},
    {"XCRS", KVM_CAP_XCRS, true},
    {"IRQFD", KVM_CAP_IRQFD, true},
    {"IOEVENTFD", KVM_CAP_IOEVENTFD, true},
    {"PIT2", KVM_CAP_PIT2, true},
    {"PIT_STATE2", KVM_CAP_PIT_STATE2, true},
    {"ADJUST_CLOCK", KVM_CAP_ADJUST_CLOCK, true},
    {"IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT, false},
    {"TSC_CONTROL", KVM_CAP_TSC_CONTROL, false},
    {"KVMCLOCK_CTRL", KVM_CAP_KVMCLOCK_CTRL, false},
};

static void check_capabilities(int kvm, struct findings *findings)
{
    char missing[300] = "";
    enum finding_level level = FINDING_OK;
    for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
        if (ioctl(kvm, KVM_CHECK_EXTENSION, (long)capabilities[i].number) > 0)
            continue;
        size_t used = strlen(missing);
        snprintf(missing + used, sizeof(missing) - used, " %s", capabilities[i].name);
        if (capabilities[i].needed)
            level = FINDING_FAIL;
        else if (level == FINDING_OK)
            level = FINDING_WARN;
    }
    if (level == FINDING_OK)
        finding_add(findings, "kvm capabilities", level, "all %zu there", ARRAY_SIZE(capabilities));
    else
        finding_add(findings, "kvm capabilities", level, "missing:%s%s", missing,
                    level == FINDING_WARN ? " (tine works without)" : "");
    finding_add(findings, "kvm limits", FINDING_OK, "%d vCPUs, %d memory slots per VM",
                ioctl(kvm, KVM_CHECK_EXTENSION, (long)KVM_CAP_MAX_VCPUS),
                ioctl(kvm, KVM_CHECK_EXTENSION, (long)KVM_CAP_NR_MEMSLOTS));
}

void check_kvm_device(const struct cli *cli, const struct doctor_options *options,
                      struct findings *findings)
{
    _cleanup_(close) int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        finding_add(findings, "kvm", FINDING_FAIL, "/dev/kvm: %s%s", strerror(errno),
                    errno == ENOENT ? ": is virtualisation on, is the module loaded?" : "");
        return;
    }
    int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
    if (version != API_VERSION) {
        finding_add(findings, "kvm", FINDING_FAIL, "/dev/kvm answers API version %d, wanted is %d",
                    version, API_VERSION);
        return;
    }
    finding_add(findings, "kvm", FINDING_OK, "/dev/kvm opens, API version %d", version);
    check_capabilities(kvm, findings);
}

/* What the first words of a trial's key are on this host since it booted: "RELEASE BOOT-ID ". */
static bool key_is_current(const char *key)
{
    struct utsname host;
    _cleanup_(free) char *boot_id = NULL, *wanted = NULL;
    _cleanup_(fclose) FILE *file = fopen(BOOT_ID, "re");
    size_t size = 0;
    ssize_t n = file ? getline(&boot_id, &size, file) : -1;
    if (n < 1 || uname(&host) < 0)
        return false;
    boot_id[strcspn(boot_id, "\n")] = '\0';
    if (asprintf(&wanted, "%s %s ", host.release, boot_id) < 0)
        return false;
    return strncmp(key, wanted, strlen(wanted)) == 0;
}

/* The file has three lines: what the trial depended on, "native" or "lab", and the reason. */
static void probe_finding(char *text, const char *path, struct findings *findings)
{
    char *key = strsep(&text, "\n"), *where = strsep(&text, "\n"), *reason = strsep(&text, "\n");
    if (!reason)
        finding_add(findings, "kvm boots a guest", FINDING_WARN, "not known: %s is malformed",
                    path);
    else if (!key_is_current(key))
        finding_add(findings, "kvm boots a guest", FINDING_WARN,
                    "not known: %s is of another boot or kernel; ./run doctor tries again", path);
    else if (strcmp(where, "native") == 0)
        finding_add(findings, "kvm boots a guest", FINDING_OK, "yes: %s", reason);
    else
        finding_add(findings, "kvm boots a guest", FINDING_FAIL,
                    "no: %s; ./run lab gives a host whose KVM does", reason);
}

/* Written by the front script when it boots a guest to find out. */
void check_kvm_boot(const struct cli *cli, const struct doctor_options *options,
                    struct findings *findings)
{
    const char *directory = getenv("TINE_CACHE");
    _cleanup_(free) char *path = NULL, *text = NULL;
    size_t length = 0;
    if (options->kvm_probe)
        path = strdup(options->kvm_probe);
    else if (asprintf(&path, "%s/" PROBE_NAME, directory ? directory : PROBE_DIRECTORY) < 0)
        path = NULL;
    int r = path ? file_read_all(AT_FDCWD, path, PROBE_LIMIT, &text, &length, NULL) : -ENOMEM;
    if (r == 0)
        probe_finding(text, path, findings);
    else
        finding_add(findings, "kvm boots a guest", FINDING_WARN,
                    "not known: no trial boot in %s (%s); ./run doctor makes one",
                    path ? path : PROBE_NAME, strerror(-r));
}

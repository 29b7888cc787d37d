/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/console.h"
#include "agent/guest/modules.h"
#include "base/cleanup.h"

#define DEFAULT_HOSTNAME "tine"
#define HOSTNAME_LIMIT   64
#define CONSOLE_OFF      6 /* SYSLOG_ACTION_CONSOLE_OFF: what is not urgent is not shown */

struct mount {
    const char *type, *target, *options;
    unsigned long flags;
};

static void mount_one(const struct mount *mount_)
{
    if (mkdir(mount_->target, 0755) < 0 && errno != EEXIST)
        console_say("mkdir %s: %s", mount_->target, strerror(errno));
    /* EBUSY: the kernel mounted it already (CONFIG_DEVTMPFS_MOUNT). */
    if (mount(mount_->type, mount_->target, mount_->type, mount_->flags, mount_->options) < 0 &&
        errno != EBUSY)
        console_say("mount %s on %s: %s", mount_->type, mount_->target, strerror(errno));
}

/* The kernel gives init a console only if the initramfs has the node; with devtmpfs it is there. */
static void open_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        return;
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
        dup2(fd, i);
    if (fd > STDERR_FILENO)
        close(fd);
}

static void mount_all(void)
{
    static const struct mount dev = {"devtmpfs", "/dev", "mode=0755", MS_NOSUID};
    static const struct mount mounts[] = {
        {"proc", "/proc", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {"sysfs", "/sys", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {"devpts", "/dev/pts", "mode=0620,ptmxmode=0666,gid=5", MS_NOSUID | MS_NOEXEC},
        {"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
        {"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV},
        {"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV},
    };
    mount_one(&dev);
    open_console();
    for (size_t i = 0; i < ARRAY_SIZE(mounts); i++)
        mount_one(&mounts[i]);
}

static void make_links(void)
{
    static const struct {
        const char *target, *path;
    } links[] = {
        {"/proc/self/fd", "/dev/fd"},
        {"/proc/self/fd/0", "/dev/stdin"},
        {"/proc/self/fd/1", "/dev/stdout"},
        {"/proc/self/fd/2", "/dev/stderr"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        if (symlink(links[i].target, links[i].path) < 0 && errno != EEXIST)
            console_say("link %s: %s", links[i].path, strerror(errno));
    }
}

static void loopback_up(void)
{
    _cleanup_(close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
        console_say("loopback: %s", strerror(errno));
        return;
    }
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP | IFF_RUNNING);
    if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        console_say("loopback: %s", strerror(errno));
}

static void set_hostname(void)
{
    char name[HOSTNAME_LIMIT + 2] = "";
    _cleanup_(fclose) FILE *file = fopen("/etc/hostname", "re");
    if (file && fgets(name, sizeof(name), file))
        name[strcspn(name, "\n")] = '\0';
    size_t length = strlen(name);
    if (length == 0 || length > HOSTNAME_LIMIT)
        snprintf(name, sizeof(name), "%s", DEFAULT_HOSTNAME);
    if (sethostname(name, strlen(name)) < 0)
        console_say("hostname: %s", strerror(errno));
}

void machine_oom_score(int adjustment)
{
    _cleanup_(close) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    char text[16];
    int length = snprintf(text, sizeof(text), "%d", adjustment);
    if (fd < 0 || write(fd, text, (size_t)length) != length)
        console_say("oom_score_adj: %s", strerror(errno));
}

void machine_set_up(void)
{
    umask(022);
    mount_all();
    make_links();
    machine_oom_score(-1000);
    set_hostname();
    loopback_up();
    modules_load("/modules");
    reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del, which VMMs can send, becomes our SIGINT */
}

void machine_give_up(const char *why)
{
    klogctl(CONSOLE_OFF, NULL, 0);
    console_say("%s", why);
    machine_end(RB_POWER_OFF);
}

/* Hardware-reduced ACPI powers off through its sleep control register (ACPI 6.4, section 4.8.3.7).
 * What the table does not tell is taken to be possible. */
static bool can_power_off(void)
{
    enum { FLAGS = 112, SLEEP_CONTROL_ADDRESS = 248, SIZE = 256 }; /* ACPI 6.4, table 5.9 */
    const uint32_t hardware_reduced = 1u << 20;
    uint8_t table[SIZE];
    uint32_t flags;
    uint64_t address;
    _cleanup_(close) int fd = open("/sys/firmware/acpi/tables/FACP", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, table, sizeof(table)) != (ssize_t)sizeof(table))
        return true;
    memcpy(&flags, table + FLAGS, sizeof(flags));
    memcpy(&address, table + SLEEP_CONTROL_ADDRESS, sizeof(address));
    return !(flags & hardware_reduced) || address != 0;
}

/* A machine that can't power off would only halt, and its VMM stay: a reset ends that as well. */
void machine_end(int command)
{
    sync();
    reboot(command == RB_POWER_OFF && !can_power_off() ? RB_AUTOBOOT : command);
    console_say("reboot: %s", strerror(errno));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/control.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent/guest/console.h"
#include "agent/guest/machine.h"
#include "agent/guest/session.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define ANSWER_LIMIT  1024u
#define ANSWER_MS     30000u
#define ENTROPY_LIMIT 4096u
#define NAME_LIMIT    64u /* __NEW_UTS_LEN */
#define NS_PER_S      1000000000ull

static void answer(int fd, uint8_t type, const struct agent_fields *fields)
{
    /* Nobody is left to tell if the host is gone. */
    agent_frame_write_until(fd, type, fields->data, fields->length, time_after_ms(ANSWER_MS), NULL);
}

void control_answer(int fd, const struct agent_fields *fields)
{
    answer(fd, AGENT_OK, fields);
    session_linger(fd);
}

static void answer_ok(int fd)
{
    control_answer(fd, &(struct agent_fields){0});
}

static void answer_failed(int fd, int errnum, const char *message)
{
    uint8_t data[ANSWER_LIMIT];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, (uint32_t)errnum);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, message);
    answer(fd, AGENT_FAILED, &fields);
}

void control_fail(int fd, int errnum, const char *format, ...)
{
    char message[ANSWER_LIMIT / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    answer_failed(fd, errnum, message);
    session_linger(fd);
}

static void read_boot_id(char *text, int size)
{
    _cleanup_(fclose) FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file || !fgets(text, size, file))
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

void control_send_hello(int fd)
{
    uint8_t data[ANSWER_LIMIT];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    struct utsname names;
    char boot_id[40];
    struct timespec up = {0};
    uname(&names);
    read_boot_id(boot_id, sizeof(boot_id));
    clock_gettime(CLOCK_BOOTTIME, &up);
    agent_field_put_text(&fields, AGENT_TAG_VERSION, TINE_VERSION);
    agent_field_put_text(&fields, AGENT_TAG_KERNEL, names.release);
    agent_field_put_text(&fields, AGENT_TAG_HOSTNAME, names.nodename);
    agent_field_put_text(&fields, AGENT_TAG_BOOT_ID, boot_id);
    agent_field_put_u64(&fields, AGENT_TAG_UPTIME_MS,
                        (uint64_t)up.tv_sec * 1000 + (uint64_t)up.tv_nsec / 1000000);
    answer(fd, AGENT_OK, &fields);
}

void control_hello(int fd, const struct agent_frame *request, bool machine)
{
    control_send_hello(fd);
    session_linger(fd);
}

void control_sync(int fd, const struct agent_frame *request, bool machine)
{
    sync();
    answer_ok(fd);
}

struct restored {
    uint64_t wall_clock_ns; /* 0: not given */
    const uint8_t *entropy;
    uint32_t entropy_length;
    char hostname[NAME_LIMIT + 1];
};

static int hostname_parse(struct restored *restored, const uint8_t *value, uint32_t length)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    if (length == 0 || length > NAME_LIMIT)
        return -EINVAL;
    agent_value_text(value, length, restored->hostname, sizeof(restored->hostname));
    return strspn(restored->hostname, allowed) == length ? 0 : -EINVAL;
}

static int restored_parse(struct restored *restored, const struct agent_frame *request)
{
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length;
    int r;
    while ((r = agent_field_next(request->payload, request->length, &offset, &tag, &value,
                                 &length)) > 0) {
        if (tag == AGENT_TAG_WALL_CLOCK_NS)
            r = agent_value_u64(value, length, &restored->wall_clock_ns);
        else if (tag == AGENT_TAG_HOSTNAME)
            r = hostname_parse(restored, value, length);
        else if (tag == AGENT_TAG_ENTROPY && length > ENTROPY_LIMIT)
            r = -EINVAL;
        else if (tag == AGENT_TAG_ENTROPY) {
            restored->entropy = value;
            restored->entropy_length = length;
        }
        if (r < 0)
            return r;
    }
    return r;
}

/* Written and credited: every bit is random to us, the host's kernel made it. */
static int entropy_mix(const uint8_t *entropy, uint32_t length)
{
    _cleanup_(close) int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* The header, and the bytes right behind it. */
    _Alignas(struct rand_pool_info) uint8_t pool[sizeof(struct rand_pool_info) + ENTROPY_LIMIT];
    struct rand_pool_info info = {.entropy_count = (int)(length * 8), .buf_size = (int)length};
    memcpy(pool, &info, sizeof(info));
    memcpy(pool + offsetof(struct rand_pool_info, buf), entropy, length);
    int r = ioctl(fd, RNDADDENTROPY, pool) < 0 ? -errno : 0;
    explicit_bzero(pool, sizeof(pool));
    return r;
}

static int clock_set(uint64_t wall_clock_ns)
{
    struct timespec now = {.tv_sec = (time_t)(wall_clock_ns / NS_PER_S),
                           .tv_nsec = (long)(wall_clock_ns % NS_PER_S)};
    return clock_settime(CLOCK_REALTIME, &now) < 0 ? -errno : 0;
}

/* Returns 0, or a negative errno and in `what` the step that failed. */
static int restored_apply(const struct restored *restored, const char **what)
{
    *what = "mix entropy";
    int r = 0;
    if (restored->entropy_length > 0)
        r = entropy_mix(restored->entropy, restored->entropy_length);
    if (r == 0 && restored->wall_clock_ns != 0) {
        *what = "set the clock";
        r = clock_set(restored->wall_clock_ns);
    }
    if (r == 0 && restored->hostname[0]) {
        *what = "set the hostname";
        r = sethostname(restored->hostname, strlen(restored->hostname)) < 0 ? -errno : 0;
    }
    return r;
}

void control_send_restored(int fd, const struct agent_frame *request, bool machine)
{
    struct restored restored = {0};
    if (restored_parse(&restored, request) < 0) {
        answer_failed(fd, EINVAL, "the restore request is malformed");
        return;
    }
    const char *what = "";
    int r = machine ? restored_apply(&restored, &what) : 0;
    if (r == 0) {
        answer(fd, AGENT_OK, &(struct agent_fields){0});
        return;
    }
    char message[ANSWER_LIMIT / 2];
    snprintf(message, sizeof(message), "%s: %s", what, strerror(-r));
    answer_failed(fd, -r, message);
}

void control_restored(int fd, const struct agent_frame *request, bool machine)
{
    control_send_restored(fd, request, machine);
    session_linger(fd);
}

void control_power_off(bool machine)
{
    if (machine)
        machine_end(RB_POWER_OFF);
    else
        kill(getppid(), SIGTERM);
}

void control_poweroff(int fd, const struct agent_frame *request, bool machine)
{
    sync();
    answer_ok(fd); /* and waits until the host has it */
    control_power_off(machine);
}

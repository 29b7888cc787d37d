/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static void must(int r, const char *what)
{
    if (r < 0)
        fail_msg("%s: %s", what, strerror(errno));
}

void program_run(const char *const *argv)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    int status = -1;
    must(waitpid(pid, &status, 0), argv[0]);
    if (status != 0)
        fail_msg("%s: status %d", argv[0], status);
}

/* Takes the device that LOOP_CTL_GET_FREE proposes; -1 if somebody else was faster. */
static int loop_try(int control, int backing, char *path, size_t size)
{
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
        return -1;
    snprintf(path, size, "/dev/loop%d", number);
    int loop = open(path, O_RDWR | O_CLOEXEC);
    const struct loop_config config = {.fd = (unsigned)backing,
                                       .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    if (loop < 0 || ioctl(loop, LOOP_CONFIGURE, &config) == 0)
        return loop;
    int saved = errno;
    close(loop);
    errno = saved;
    return -1;
}

/* Other tests take devices at the same time, and devices are being cleared, so it is tried a few
 * times. */
int loop_attach(int backing, char *path, size_t size)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    must(control, "/dev/loop-control");
    int loop = -1;
    for (unsigned attempt = 0; loop < 0 && attempt < 200; attempt++) {
        loop = loop_try(control, backing, path, size);
        if (loop < 0)
            time_sleep_ms(5);
    }
    must(loop, "attach a loop device");
    close(control);
    return loop;
}

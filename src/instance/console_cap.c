/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/console_cap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "instance/operation_log.h"

#define LOOK_NS 10000000000ull
#define BLOCK   65536 /* a cut is a multiple of it, and so of any file system's blocks */
#define CONSOLE "console.log"

struct console_cap {
    struct host *host;
    pthread_t thread;
    pthread_mutex_t lock; /* guards `stopping` */
    pthread_cond_t changed;
    bool stopping;
};

int console_cut(int directory, const char *name, struct error *err)
{
    struct stat st;
    _cleanup_(close) int fd =
        openat(directory, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? 0
                                                 : error_errno(err, errno, name, "open %s", name);
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, name, "stat %s", name);
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size <= (off_t)CONSOLE_CAP)
        return 0;
    off_t older = st.st_size - (off_t)CONSOLE_CAP / 2;
    if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, older - older % BLOCK) < 0 &&
        ftruncate(fd, 0) < 0)
        return error_errno(err, errno, name, "cut %s", name);
    return 1;
}

static void look_at(struct host *host, const struct instance_record *record)
{
    struct error err = {0};
    if (!record_has_vmm(record) || strcmp(record->hypervisor, host->hypervisors[0].name) == 0)
        return;
    _cleanup_(close) int directory = log_directory(host, record->id);
    if (directory >= 0 && console_cut(directory, CONSOLE, &err) < 0)
        log_warning("instance %s: %s", record->id, err.message);
}

static void look(struct host *host)
{
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    if (store_list(host->store, &records, &count, &err) < 0)
        log_warning("consoles are not looked at: %s", err.message);
    for (size_t i = 0; i < count; i++)
        look_at(host, &records[i]);
}

/* False when it is time to end. */
static bool wait_turn(struct console_cap *cap)
{
    const uint64_t until_ns = time_monotonic_ns() + LOOK_NS;
    pthread_mutex_lock(&cap->lock);
    int r = 0;
    while (!cap->stopping && r != ETIMEDOUT)
        r = condition_wait_until(&cap->changed, &cap->lock, until_ns);
    bool goes_on = !cap->stopping;
    pthread_mutex_unlock(&cap->lock);
    return goes_on;
}

static void *run(void *context)
{
    struct console_cap *cap = context;
    while (wait_turn(cap))
        look(cap->host);
    return NULL;
}

struct console_cap *console_cap_start(struct host *host, struct error *err)
{
    struct console_cap *cap = calloc(1, sizeof(*cap));
    if (!cap) {
        error_errno(err, ENOMEM, NULL, "watch consoles");
        return NULL;
    }
    condition_init(&cap->changed);
    pthread_mutex_init(&cap->lock, NULL);
    cap->host = host;
    int r = pthread_create(&cap->thread, NULL, run, cap);
    if (r == 0)
        return cap;
    error_errno(err, r, NULL, "watch consoles");
    free(cap);
    return NULL;
}

void console_cap_stop(struct console_cap *cap)
{
    if (!cap)
        return;
    pthread_mutex_lock(&cap->lock);
    cap->stopping = true;
    pthread_cond_signal(&cap->changed);
    pthread_mutex_unlock(&cap->lock);
    pthread_join(cap->thread, NULL);
    pthread_cond_destroy(&cap->changed);
    pthread_mutex_destroy(&cap->lock);
    free(cap);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "image/image.h"
#include "instance/compressor.h"
#include "instance/console_cap.h"
#include "instance/expiry.h"
#include "instance/paged.h"
#include "instance/recover.h"
#include "instance/restart.h"
#include "instance/telemetry.h"
#include "instance/warm_pools.h"
#include "instance/watch.h"

#define AGENT_TIMEOUT_MS 120000
#define LOCK_WAIT_MS     5000 /* a busy host may keep that child from its exec for seconds */
#define LOCK_RETRY_MS    5
#define VMM_BINARY       "tine-vmm"

static int copy_options(struct host *host, const struct host_options *options, struct error *err)
{
    const char *binary = options->vmm_binary ? options->vmm_binary : VMM_BINARY;
    host->agent_timeout_ms =
        options->agent_timeout_ms > 0 ? options->agent_timeout_ms : AGENT_TIMEOUT_MS;
    host->has_compression = options->compression != NULL;
    if (options->compression)
        host->compression = *options->compression;
    host->vmm_binary = strdup(binary);
    host->kit_dir = options->kit_dir ? strdup(options->kit_dir) : NULL;
    if (!host->vmm_binary || (options->kit_dir && !host->kit_dir))
        return error_errno(err, ENOMEM, options->data_dir, "open %s", options->data_dir);
    return 0;
}

/* A program that can't be used is no reason not to start: there may be VMs that run. */
static void tell_hypervisor(const struct hypervisor *hypervisor)
{
    struct error err = {0};
    if (hypervisor->binary && hypervisor_check(hypervisor, &err) < 0)
        log_warning("hypervisor %s can't be used: %s", hypervisor->name, err.message);
}

static int open_hypervisors(struct host *host, const struct host_options *options,
                            struct error *err)
{
    host->hypervisors[0] =
        options->hypervisor ? *options->hypervisor : hypervisor_builtin(host->vmm_binary);
    int r = hypervisor_firecracker(&options->firecracker, &host->hypervisors[1], err);
    if (r == 0)
        tell_hypervisor(&host->hypervisors[1]);
    return r;
}

/* Makes and opens a directory in the data directory; returns the descriptor. */
static int open_room(struct host *host, const char *name, char **path, struct error *err)
{
    if (asprintf(path, "%s/%s", host->data_dir, name) < 0) {
        *path = NULL;
        return error_errno(err, ENOMEM, host->data_dir, "open %s", host->data_dir);
    }
    int r = dir_make_all(*path, err);
    return r < 0 ? r : dir_open(AT_FDCWD, *path, err);
}

/* The absolute path: VMMs are told it, and tined may be anywhere. */
static int open_directories(struct host *host, const char *data_dir, struct error *err)
{
    int r = dir_make_all(data_dir, err);
    if (r < 0)
        return r;
    host->data_dir = realpath(data_dir, NULL);
    if (!host->data_dir)
        return error_errno(err, errno, data_dir, "open %s", data_dir);
    host->guests_fd = open_room(host, "guests", &host->guests_dir, err);
    if (host->guests_fd < 0)
        return host->guests_fd;
    host->snapshots_fd = open_room(host, "snapshots", &host->snapshots_dir, err);
    return host->snapshots_fd < 0 ? host->snapshots_fd : 0;
}

/* A child on its way to become a VMM has the lock until its exec: a tined that follows one that was
 * killed waits for that, and then recovery sees the VMM. */
static int lock_wait(int fd)
{
    uint64_t deadline = time_after_ms(LOCK_WAIT_MS);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK && time_monotonic_ns() < deadline)
            time_sleep_ms(LOCK_RETRY_MS);
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

/* The lock goes with the process, however it ends. */
static int lock_data(struct host *host, struct error *err)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s/lock", host->data_dir) < 0) {
        path = NULL;
        return error_errno(err, ENOMEM, host->data_dir, "lock %s", host->data_dir);
    }
    host->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (host->lock_fd < 0)
        return error_errno(err, errno, path, "open %s", path);
    int r = lock_wait(host->lock_fd);
    if (r == 0)
        return 0;
    if (r != -EWOULDBLOCK)
        return error_errno(err, -r, path, "lock %s", path);
    return error_set(err, ERROR_STATE, EBUSY, "%s is in use by another tined", host->data_dir);
}

/* A file of /proc says no size: it is read until it ends. */
static int tell_boot(struct host *host, struct error *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char boot_id[64];
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    if (!file)
        return error_errno(err, errno, path, "open %s", path);
    if (!fgets(boot_id, sizeof(boot_id), file))
        return error_set(err, ERROR_SYSTEM, EIO, "read %s: it is empty", path);
    boot_id[strcspn(boot_id, "\n")] = '\0';
    return store_boot(host->store, boot_id, err);
}

static int open_store(struct host *host, struct error *err)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s/tine.db", host->data_dir) < 0) {
        path = NULL;
        return error_errno(err, ENOMEM, host->data_dir, "open %s", host->data_dir);
    }
    host->store = store_open(path, err);
    return host->store ? tell_boot(host, err) : -EIO;
}

static int start_threads(struct host *host, struct error *err)
{
    host->console_cap = console_cap_start(host, err);
    if (!host->console_cap)
        return -EIO;
    host->expiry = due_start(host, &expiry_kind, err);
    bool whole = host->expiry != NULL;
    for (size_t i = 0; whole && i < ARRAY_SIZE(host->restarts); i++) {
        host->restarts[i] = due_start(host, &restart_kind, err);
        whole = host->restarts[i] != NULL;
    }
    return whole ? 0 : -EIO;
}

static int open_images(struct host *host, struct error *err)
{
    host->images = image_store_open(host->kit_dir, host->data_dir, host->store, err);
    return host->images ? 0 : -EIO;
}

struct image_store *host_images(struct host *host)
{
    return host->images;
}

static int open_all(struct host *host, const struct host_options *options, struct error *err)
{
    int r = copy_options(host, options, err);
    if (r == 0)
        r = open_hypervisors(host, options, err);
    if (r == 0)
        r = open_directories(host, options->data_dir, err);
    if (r == 0)
        r = lock_data(host, err);
    if (r == 0)
        r = open_store(host, err);
    if (r == 0)
        r = open_images(host, err);
    if (r < 0)
        return r;
    host->telemetry = telemetry_new(err);
    if (!host->telemetry)
        return -ENOMEM;
    host->locks = lock_table_new();
    if (!host->locks)
        return error_errno(err, ENOMEM, host->data_dir, "open %s", host->data_dir);
    host->compaction = options->compaction;
    host->compressor = compressor_start(host, err);
    if (!host->compressor)
        return -EIO;
    host->watch = watch_start(host, err);
    if (!host->watch)
        return -EIO;
    host->standby_memory = options->standby_memory;
    r = paged_open(host, options, err);
    if (r == 0)
        r = recover(host, err);
    if (r == 0)
        paged_prune(host);
    if (r == 0)
        r = compressor_want_all(host, err);
    if (r < 0)
        return r;
    host->warm = warm_start(host, &options->warm, err);
    return host->warm ? start_threads(host, err) : -EIO;
}

struct host *host_open(const struct host_options *options, struct error *err)
{
    struct host *host = calloc(1, sizeof(*host));
    if (!host) {
        error_errno(err, ENOMEM, options->data_dir, "open %s", options->data_dir);
        return NULL;
    }
    host->lock_fd = host->guests_fd = host->snapshots_fd = -1;
    if (open_all(host, options, err) < 0) {
        host_close(host);
        return NULL;
    }
    return host;
}

const struct stack_compression *policy_compression(const struct host *host,
                                                   const struct snapshot_policy *policy)
{
    if (policy->has_compression)
        return policy->compress ? &policy->how : NULL;
    return host->has_compression ? &host->compression : NULL;
}

bool host_quiesce(struct host *host)
{
    bool busy = due_quiesce(host->expiry);
    busy = warm_quiesce(host->warm) || busy;
    for (size_t i = 0; i < ARRAY_SIZE(host->restarts); i++)
        busy = due_quiesce(host->restarts[i]) || busy;
    return busy;
}

void host_close(struct host *host)
{
    if (!host)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(host->restarts); i++)
        due_stop(host->restarts[i]);
    due_stop(host->expiry);
    warm_stop(TAKE_PTR(host->warm));
    console_cap_stop(host->console_cap);
    paging_stop(host->paging);
    watch_stop(host->watch);
    paging_close(host->paging);
    compressor_stop(host->compressor);
    lock_table_free(host->locks);
    image_store_close(host->images);
    store_close(host->store);
    telemetry_free(host->telemetry);
    if (host->guests_fd >= 0)
        close(host->guests_fd);
    if (host->snapshots_fd >= 0)
        close(host->snapshots_fd);
    if (host->lock_fd >= 0)
        close(host->lock_fd);
    free(host->data_dir);
    free(host->guests_dir);
    free(host->snapshots_dir);
    free(host->kit_dir);
    hypervisor_release(&host->hypervisors[1]);
    free(host->vmm_binary);
    free(host);
}

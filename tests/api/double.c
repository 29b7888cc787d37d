/* SPDX-License-Identifier: Apache-2.0 */
/* A double of instance.h: instances in memory, with the state rules of the real ones and without
 * VMs. What an instance does is in its name:
 *   fail-<code>...  making it (create or fork) fails with that error code
 *   meet-<n>-...    making it waits until n such operations are under way at the same time
 *   nap-...         making it takes two and a half seconds
 *   later-...       is Initializing when made, Running at the tenth look at it
 *   init-...        stays Initializing
 *   broken-...      is Unknown, with a state_error that is not UTF-8
 *   busy-...        keeps one CPU busy all the time
 *   flood-...       making it is followed by thousands of events
 *   late-...        has expired
 *   again-...       is started again by itself when stopped, at the tenth look at it
 * Files are those of this machine, by way of a real agent (double_guest.h).
 * Logs are files in the data directory: <name>.app.log, <name>.vmm.log. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "double.h"
#include "double_agent.h"
#include "double_guest.h"
#include "events/events.h"
#include "image/program.h"
#include "image/reference.h"
#include "metrics/metrics.h"

#define LOOKS_LATER 10
#define MEET_MS     20000
#define NAP_MS      2500
#define GUEST_MS    30000
#define EVENTS_HELD 64
#define FLOOD       10000

static const struct {
    const char *name;
    enum error_code code;
    int errnum;
} failures[] = {
    {"fail-system", ERROR_SYSTEM, EIO},
    {"fail-invalid", ERROR_INVALID, EINVAL},
    {"fail-resources", ERROR_RESOURCES, ENOSPC},
    {"fail-unsupported", ERROR_UNSUPPORTED, EOPNOTSUPP},
    {"fail-corrupt", ERROR_CORRUPT, EBADMSG},
    {"fail-timeout", ERROR_TIMEOUT, ETIMEDOUT},
    {"fail-state", ERROR_STATE, EBUSY},
};

struct host *host_open(const struct host_options *options, struct error *err)
{
    if (dir_make_all(options->data_dir, err) < 0)
        return NULL;
    struct host *host = calloc(1, sizeof(*host));
    if (!host)
        return NULL;
    char path[256];
    host->data_dir = strdup(options->data_dir);
    host->has_compression = options->compression != NULL;
    if (options->compression)
        host->compression = *options->compression;
    snprintf(path, sizeof(path), "%s/tine.db", options->data_dir);
    host->store = store_open(path, err);
    host->images = host->store
                       ? image_store_open(options->kit_dir, options->data_dir, host->store, err)
                       : NULL;
    if (!host->images)
        return NULL;
    host->events = events_new(EVENTS_HELD, NULL);
    host->metrics = metrics_new();
    host->operations = metrics_add(
        host->metrics,
        &(struct metric_spec){"double_operations_total", "x", METRIC_COUNTER, {"kind"}, NULL, 0});
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->met, NULL);
    double_guest_start(options->data_dir);
    return host;
}

void host_close(struct host *host)
{
    double_agents_join();
    double_guest_stop();
    pthread_mutex_destroy(&host->lock);
    pthread_cond_destroy(&host->met);
    image_store_close(host->images);
    store_close(host->store);
    events_free(host->events);
    metrics_free(host->metrics);
    free(host->data_dir);
    free(host);
}

bool host_quiesce(struct host *host)
{
    return false;
}

struct image_store *host_images(struct host *host)
{
    return host->images;
}

struct events *host_events(struct host *host)
{
    return host->events;
}

char *host_metrics(struct host *host, size_t *length, struct error *err)
{
    return metrics_text(host->metrics, length);
}

/* `err`: why it failed, or NULL. */
void double_tell(struct host *host, const struct instance_record *record, const char *kind,
                 const struct error *err)
{
    struct event event = {.operation_id = "0123456789abcdef"};
    bool gone = err || strcmp(kind, "delete") == 0;
    snprintf(event.instance_id, sizeof(event.instance_id), "%s", record->id);
    snprintf(event.instance_name, sizeof(event.instance_name), "%s", record->name);
    snprintf(event.kind, sizeof(event.kind), "%s", kind);
    snprintf(event.state, sizeof(event.state), "%s",
             gone ? "" : instance_state_name(record->state));
    snprintf(event.result, sizeof(event.result), "%s", err ? error_code_name(err->code) : "ok");
    snprintf(event.message, sizeof(event.message), "%.255s",
             err ? err->message : record->state_error);
    for (int i = 0; i < (begins(record->name, "flood-") ? FLOOD : 1); i++)
        events_add(host->events, &event);
    metric_add(host->operations, 1, (const char *const[]){kind});
}

struct entry *double_resolve(struct host *host, const char *reference, struct error *err)
{
    struct entry *by_prefix = NULL;
    unsigned matches = 0;
    for (size_t i = 0; i < INSTANCES_MAX; i++) {
        struct entry *entry = &host->entries[i];
        if (!entry->used)
            continue;
        if (strcmp(entry->record.id, reference) == 0 || strcmp(entry->record.name, reference) == 0)
            return entry;
        if (begins(entry->record.id, reference)) {
            by_prefix = entry;
            matches++;
        }
    }
    if (matches > 1)
        error_set(err, ERROR_AMBIGUOUS, EEXIST, "several ids begin with \"%s\"", reference);
    else if (matches == 0)
        error_set(err, ERROR_NOT_FOUND, ENOENT, "no instance \"%s\"", reference);
    return matches == 1 ? by_prefix : NULL;
}

static bool is_taken(struct host *host, const char *name)
{
    for (size_t i = 0; i < INSTANCES_MAX; i++) {
        if (host->entries[i].used && strcmp(host->entries[i].record.name, name) == 0)
            return true;
    }
    return false;
}

/* What the name asks for; called with the lock held, may let it go. */
static int behave(struct host *host, const char *name, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        if (begins(name, failures[i].name))
            return error_set(err, failures[i].code, failures[i].errnum, "%s: as told", name);
    }
    if (begins(name, "nap-") || begins(name, "meet-"))
        log_info("%s is under way", name);
    if (begins(name, "nap-")) {
        pthread_mutex_unlock(&host->lock);
        time_sleep_ms(NAP_MS);
        pthread_mutex_lock(&host->lock);
    }
    if (!begins(name, "meet-"))
        return 0;
    unsigned wanted = (unsigned)strtoul(name + strlen("meet-"), NULL, 10);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MEET_MS / 1000;
    host->meeting++;
    pthread_cond_broadcast(&host->met);
    while (host->meeting < wanted) {
        if (pthread_cond_timedwait(&host->met, &host->lock, &until) != 0)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "only %u of %u met", host->meeting,
                             wanted);
    }
    return 0;
}

static enum instance_state first_state(const char *name)
{
    if (begins(name, "broken-"))
        return INSTANCE_UNKNOWN;
    return begins(name, "init-") || begins(name, "later-") ? INSTANCE_INITIALIZING
                                                           : INSTANCE_RUNNING;
}

static void log_path(const struct host *host, const char *name, const char *kind, char path[4096])
{
    snprintf(path, 4096, "%s/%s.%s.log", host->data_dir, name, kind);
}

static void log_begin(const struct host *host, const char *name)
{
    char path[4096];
    log_path(host, name, "app", path);
    FILE *file = fopen(path, "we");
    if (!file)
        return;
    for (int i = 1; i <= 5; i++)
        fprintf(file, "line %d of %s\n", i, name);
    fclose(file);
}

bool instance_name_valid(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= INSTANCE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length && name[0] != '-' &&
           name[length - 1] != '-';
}

static int name_check(const char *name, struct error *err)
{
    if (instance_name_valid(name))
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is not a name", name);
}

/* A program "no-such" is never found, one "exit" has ended by the time anybody looks. */
void double_program_outcome(struct instance_record *record)
{
    const char *text =
        *record->program.entrypoint ? record->program.entrypoint : record->program.cmd;
    bool missing = begins(text, "[\"no-such\"");
    if (!missing && !begins(text, "[\"exit\""))
        return;
    record->state = INSTANCE_STOPPED;
    record->vmm_pid = 0;
    record->has_exit_code = true;
    record->exit_code = missing ? 127 : 3;
    snprintf(record->exit_message, sizeof(record->exit_message), "%s",
             missing ? "the program could not be started: exec no-such: No such file or directory"
                     : "the program exited with status 3");
}

int double_add(struct host *host, const char *name, struct instance_record record,
               struct instance_record *result, struct error *err)
{
    if (is_taken(host, name))
        return error_set(err, ERROR_NAME, EEXIST, "name \"%s\" is taken", name);
    snprintf(record.name, sizeof(record.name), "%.63s", name);
    int r = behave(host, name, err);
    if (r < 0) {
        snprintf(record.id, sizeof(record.id), "k99999abcdefghijklmnopqr");
        double_tell(host, &record, "create", err);
        return r;
    }
    struct entry *entry = host->entries;
    while (entry->used)
        entry++;
    unsigned number = ++host->made;
    snprintf(record.id, sizeof(record.id), "k%05uabcdefghijklmnopqr", number % 100000);
    snprintf(record.hypervisor, sizeof(record.hypervisor), "builtin");
    record.created_at_ns = record.started_at_ns = time_realtime_ns();
    *entry = (struct entry){.record = record, .used = true};
    log_begin(host, name);
    double_tell(host, &record, *record.parent_id ? "fork" : "create", NULL);
    if (result)
        *result = record;
    return 0;
}

static void begin_lifetime(struct instance_record *record, const struct instance_lifetime *lifetime)
{
    record->ttl_ns = lifetime->ttl_ns;
    record->expires_at_ns =
        lifetime->ttl_ns ? time_realtime_ns() + lifetime->ttl_ns : lifetime->expires_at_ns;
}

int instance_create(struct host *host, const struct instance_create_request *request,
                    struct instance_record *record, struct error *err)
{
    char name[64];
    if (request->name && name_check(request->name, err) < 0)
        return -EINVAL;
    const char *image = request->image ? request->image : "tine/guest:latest";
    struct image found = {.name = ""};
    bool imported = !image_reference_is_kit(image);
    if (imported && image_get(host->images, image, &found, err) < 0)
        return -err->errnum;
    image = imported ? found.name : IMAGE_KIT;
    pthread_mutex_lock(&host->lock);
    snprintf(name, sizeof(name), "vm-%u", host->made + 1);
    struct instance_record wanted = {
        .vcpus = request->vcpus ? request->vcpus : 2,
        .memory_bytes = request->memory_bytes ? request->memory_bytes : 1ull << 30,
        .has_initrd = request->initrd != NULL,
        .disk_count = request->disk_count,
        .vmm_pid = 4242,
    };
    const char *chosen = request->name ? request->name : name;
    wanted.state = first_state(chosen);
    if (wanted.state == INSTANCE_UNKNOWN)
        snprintf(wanted.state_error, sizeof(wanted.state_error), "broken \xff here");
    for (unsigned i = 0; i < request->disk_count; i++)
        wanted.disks[i] = (struct vm_disk){request->disks[i].read_only, request->disks[i].root};
    snprintf(wanted.image, sizeof(wanted.image), "%s", request->kernel ? request->kernel : image);
    snprintf(wanted.cmdline, sizeof(wanted.cmdline), "%s",
             request->cmdline ? request->cmdline : "");
    snprintf(wanted.tags, sizeof(wanted.tags), "%s", request->tags ? request->tags : "");
    begin_lifetime(&wanted, &request->lifetime);
    int r = program_set(&wanted.program, &request->program, err);
    if (r == 0 && request->policies)
        r = policies_merge(wanted.policies, request->policies, err);
    double_program_outcome(&wanted);
    if (r == 0)
        r = double_add(host, chosen, wanted, record, err);
    pthread_mutex_unlock(&host->lock);
    return r;
}

int instance_get(struct host *host, const char *reference, struct instance_record *record,
                 struct error *err)
{
    pthread_mutex_lock(&host->lock);
    struct entry *entry = double_resolve(host, reference, err);
    bool comes = entry && (begins(entry->record.name, "later-") || entry->record.restart_next_ns);
    if (comes && ++entry->looks >= LOOKS_LATER) {
        entry->record.state = INSTANCE_RUNNING;
        entry->record.restart_next_ns = 0;
    }
    if (entry)
        *record = entry->record;
    pthread_mutex_unlock(&host->lock);
    return entry ? 0 : (err ? -err->errnum : -ENOENT);
}

int instance_list(struct host *host, struct instance_record **records, size_t *count,
                  struct error *err)
{
    *records = calloc(INSTANCES_MAX, sizeof(**records));
    *count = 0;
    pthread_mutex_lock(&host->lock);
    for (size_t i = 0; i < INSTANCES_MAX; i++) {
        if (host->entries[i].used)
            (*records)[(*count)++] = host->entries[i].record;
    }
    pthread_mutex_unlock(&host->lock);
    return 0;
}

int instance_update(struct host *host, const char *reference,
                    const struct instance_changes *changes, struct instance_record *record,
                    struct error *err)
{
    pthread_mutex_lock(&host->lock);
    struct entry *entry = double_resolve(host, reference, err);
    int r = entry ? 0 : -err->errnum;
    if (entry && begins(entry->record.name, "late-"))
        r = error_set(err, ERROR_EXPIRED, EBUSY, "%s expired", entry->record.name);
    if (r == 0 && changes->policies)
        r = policies_merge(entry->record.policies, changes->policies, err);
    if (r == 0 && changes->tags)
        snprintf(entry->record.tags, sizeof(entry->record.tags), "%s", changes->tags);
    if (r == 0 && changes->lifetime)
        begin_lifetime(&entry->record, changes->lifetime);
    if (r == 0)
        *record = entry->record;
    pthread_mutex_unlock(&host->lock);
    return r;
}

int instance_delete(struct host *host, const char *reference, struct error *err)
{
    struct error own = {0};
    pthread_mutex_lock(&host->lock);
    struct entry *entry = double_resolve(host, reference, &own);
    if (entry) {
        char path[4096];
        log_path(host, entry->record.name, "app", path);
        unlink(path);
        double_tell(host, &entry->record, "delete", NULL);
        entry->used = false;
    }
    pthread_mutex_unlock(&host->lock);
    if (!entry && err)
        *err = own;
    return entry ? 0 : -own.errnum;
}

int instance_fork(struct host *host, const char *source,
                  const struct instance_fork_request *request, struct instance_record *record,
                  struct error *err)
{
    struct error own = {0};
    if (name_check(request->name, err) < 0)
        return -EINVAL;
    pthread_mutex_lock(&host->lock);
    struct entry *entry = double_resolve(host, source, &own);
    int r = entry ? 0 : -own.errnum;
    if (entry && entry->record.state == INSTANCE_RUNNING && !request->from_running)
        r = error_set(&own, ERROR_STATE, EBUSY, "%s is Running: from_running is needed",
                      entry->record.name);
    if (entry && r == 0) {
        struct instance_record fork = entry->record;
        snprintf(fork.parent_id, sizeof(fork.parent_id), "%s", entry->record.id);
        snprintf(fork.memory_method, sizeof(fork.memory_method), "link");
        if (request->has_target)
            fork.state = request->target;
        /* One that is on a pager. */
        fork.paged = strcmp(request->name, "paged") == 0;
        if (fork.paged)
            fork.pager_status = (struct pager_status){
                .state = "serving", .version = "1.2.3", .pages = 100, .present = 7, .takeovers = 1};
        r = double_add(host, request->name, fork, record, &own);
    }
    pthread_mutex_unlock(&host->lock);
    if (r < 0 && err)
        *err = own;
    return r;
}

int instance_stats(struct host *host, const char *reference, struct instance_stats *stats,
                   struct error *err)
{
    struct instance_record record = {0};
    int r = instance_get(host, reference, &record, err);
    *stats = (struct instance_stats){
        .private_bytes = 3 << 20,
        .vmm_private_bytes = 700 << 10,
        .rss_bytes = record.memory_bytes / 4,
        .vms_bytes = record.memory_bytes * 2,
        .cpu_seconds = 1.5,
        .memory_link_count = 26,
        .memory_file_bytes = record.memory_bytes,
        .memory_file_allocated = 64 << 20,
    };
    if (begins(record.name, "busy-"))
        stats->cpu_seconds = (double)time_monotonic_ns() / 1e9;
    return r;
}

/* A writable disk is a stack of a base and two layers. */
int instance_disk_stats(struct host *host, const char *reference,
                        struct disk_stats stats[GUEST_MAX_DISKS], struct error *err)
{
    struct instance_record record = {0};
    int r = instance_get(host, reference, &record, err);
    for (unsigned i = 0; r == 0 && i < record.disk_count; i++) {
        stats[i] = (struct disk_stats){.size_bytes = 64 << 20, .link_count = 26};
        if (record.disks[i].read_only)
            continue;
        stats[i].stack = true;
        stats[i].top_allocated = 8192;
        stats[i].layers[0] = (struct disk_layer_stats){3, 26, 40960, 0};
        stats[i].layers[1] = (struct disk_layer_stats){4, 2, 4096, 8192};
        stats[i].layer_count = 2;
    }
    return r;
}

static int running_check(struct host *host, const char *reference, struct error *err)
{
    struct instance_record record;
    int r = instance_get(host, reference, &record, err);
    if (r < 0)
        return r;
    if (record.state != INSTANCE_RUNNING)
        return error_set(err, ERROR_STATE, EBUSY, "%s is %s", record.name,
                         instance_state_name(record.state));
    return 0;
}

int instance_exec(struct host *host, const char *reference, const struct agent_exec *exec,
                  struct error *err)
{
    struct instance_record record;
    int r = instance_get(host, reference, &record, err);
    if (r < 0)
        return r;
    if (strcmp(exec->argv[0], "unreachable") == 0)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "the agent does not answer");
    return double_agent_start(exec, host->data_dir, err);
}

int instance_file_stat(struct host *host, const char *reference, const char *path, bool follow,
                       struct agent_stat *info, struct error *err)
{
    int r = running_check(host, reference, err);
    return r < 0 ? r : agent_stat(double_guest_vsock(), GUEST_MS, path, follow, info, err);
}

int instance_file_put(struct host *host, const char *reference, const struct agent_put *put,
                      struct error *err)
{
    int r = running_check(host, reference, err);
    return r < 0 ? r : agent_put_start(double_guest_vsock(), GUEST_MS, put, err);
}

int instance_file_get(struct host *host, const char *reference, const struct agent_get *get,
                      struct error *err)
{
    int r = running_check(host, reference, err);
    return r < 0 ? r : agent_get_start(double_guest_vsock(), GUEST_MS, get, err);
}

int instance_log_open(struct host *host, const char *reference, enum instance_log log,
                      struct error *err)
{
    static const char *const kinds[] = {"app", "vmm", "operations", "operations-older"};
    struct instance_record record;
    char path[4096];
    int r = instance_get(host, reference, &record, err);
    if (r < 0)
        return r;
    log_path(host, record.name, kinds[log], path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    return errno == ENOENT ? error_set(err, ERROR_NOT_FOUND, ENOENT, "no log yet")
                           : error_errno(err, errno, path, "open %s", path);
}

bool instance_transition_legal(enum instance_state from, enum instance_state to)
{
    return from != to;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The fake VM's memory and its files. Memory is a private mapping, of nothing or of the memory
 * file, so that what a fork sees really comes from its own file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_vmm.h"

#define MAGIC "tine fake memory "
#define PAGE  4096u

static int fail(char *fault, size_t size, const char *step, const char *path)
{
    snprintf(fault, size, "%s %s: %s", step, path ? path : "nothing", strerror(errno));
    return -1;
}

int fake_memory_new(struct fake *fake, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    fake->memory = memory;
    fake->memory_size = size;
    snprintf((char *)fake->memory, PAGE, MAGIC "%s", fake->boot_id);
    return 0;
}

/* Firecracker leaves a file alone that has the right size already. */
static int size_file(const struct fake *fake, int fd, size_t size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    if (st.st_nlink != 1) {
        errno = EMLINK;
        return -1;
    }
    if (fake->version && (size_t)st.st_size == size)
        return 0;
    return ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)size) < 0 ? -1 : 0;
}

/* Dense for Firecracker, as far as that is bearable. */
static int is_written(const struct fake *fake, size_t at)
{
    static const uint8_t zeros[PAGE];
    return fake->version || memcmp(fake->memory + at, zeros, PAGE) != 0;
}

static int write_memory(const struct fake *fake, const char *path)
{
    char *short_order = fake_order("short-memory", NULL);
    size_t size = fake->memory_size - (short_order ? PAGE : 0);
    free(short_order);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int r = size_file(fake, fd, size);
    for (size_t at = 0; r == 0 && at < FAKE_USED; at += PAGE) {
        if (is_written(fake, at) && pwrite(fd, fake->memory + at, PAGE, (off_t)at) != (ssize_t)PAGE)
            r = -1;
    }
    if (r == 0)
        r = fsync(fd);
    close(fd);
    return r;
}

/* Documentation/admin-guide/mm/pagemap.rst: present or swapped, and not the file's. */
static int page_is_own(int pagemap, const uint8_t *page)
{
    uint64_t entry = 0;
    off_t at = (off_t)((uintptr_t)page / PAGE * sizeof(entry));
    if (pread(pagemap, &entry, sizeof(entry), at) != (ssize_t)sizeof(entry))
        abort();
    return entry >> 62 != 0 && !(entry >> 61 & 1);
}

/* Of served memory every page that was touched may have been written, until a snapshot clears the
 * log: what was there before is not looked at, that would touch it. */
int fake_page_is_dirty(const struct fake *fake, int pagemap, size_t at)
{
    static const uint8_t zeros[PAGE];
    int has_log = fake->served ? fake->tracking && fake->logged : fake->version != NULL;
    if (!has_log)
        return page_is_own(pagemap, fake->memory + at);
    return memcmp(fake->memory + at, fake->logged ? fake->logged + at : zeros, PAGE) != 0;
}

/* From here on it is what is written next. */
static int clear_log(struct fake *fake)
{
    if (!fake->logged)
        fake->logged = malloc(FAKE_USED);
    if (!fake->logged)
        return -1;
    memcpy(fake->logged, fake->memory, FAKE_USED);
    return 0;
}

static int write_own_pages(const struct fake *fake, int fd)
{
    char *half_order = fake_order("half-diff", NULL);
    size_t end = half_order ? FAKE_USED / 2 : FAKE_USED;
    free(half_order);
    int pagemap = fake->version ? -1 : open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int r = pagemap < 0 && !fake->version ? -1 : 0;
    for (size_t at = 0; r == 0 && at < end; at += PAGE) {
        if (fake_page_is_dirty(fake, pagemap, at) &&
            pwrite(fd, fake->memory + at, PAGE, (off_t)at) != (ssize_t)PAGE)
            r = -1;
    }
    if (pagemap >= 0)
        close(pagemap);
    if (r == 0 && end < FAKE_USED) {
        errno = EIO;
        r = -1;
    }
    return r;
}

/* A diff goes into the file that is there, of which nobody else may have a name; or alone into a
 * fresh one, as large as memory. */
static int write_diff(const struct fake *fake, const char *path)
{
    struct stat st;
    int is_new = access(path, F_OK) < 0;
    char *fresh_order = fake_order("fresh-diff", NULL);
    int fresh = fresh_order != NULL;
    free(fresh_order);
    if (fresh)
        return unlink(path) < 0 ? -1 : write_memory(fake, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_CREAT, 0600);
    if (fd < 0)
        return -1;
    errno = 0;
    int r = fake->version || is_new ? size_file(fake, fd, fake->memory_size) : 0;
    if (r == 0)
        r = fstat(fd, &st);
    if (r == 0 && ((size_t)st.st_size != fake->memory_size || st.st_nlink != 1)) {
        errno = st.st_nlink != 1 ? EMLINK : EINVAL;
        r = -1;
    }
    if (r == 0)
        r = write_own_pages(fake, fd);
    if (r == 0)
        r = fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    return r;
}

static int write_state(const struct fake *fake, const char *path)
{
    json_t *state = json_pack("{s:s, s:s, s:O}", "boot_id", fake->boot_id, "hostname",
                              fake->hostname, "config", fake->config);
    char *text = json_dumps(state, JSON_INDENT(1));
    json_decref(state);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t length = (ssize_t)strlen(text);
    int r = fd >= 0 && write(fd, text, (size_t)length) == length && fsync(fd) == 0 ? 0 : -1;
    free(text);
    if (fd >= 0)
        close(fd);
    return r;
}

int fake_snapshot_create(struct fake *fake, json_t *request, char *fault, size_t size)
{
    const char *state = json_string_value(json_object_get(request, "snapshot_path"));
    const char *memory = json_string_value(json_object_get(request, "mem_file_path"));
    if (!state || write_state(fake, state) < 0)
        return fail(fault, size, "write state", state);
    const char *type = json_string_value(json_object_get(request, "snapshot_type"));
    int diff = type && strcmp(type, "Diff") == 0;
    if (type && strcmp(type, "Layer") == 0 && !fake->version)
        return fake_layer_write(fake, memory, fault, size) < 0 ? -1 : clear_log(fake);
    if (diff && fake->version && !fake->tracking) {
        errno = EOPNOTSUPP;
        return fail(fault, size, "Diff without a log of dirty pages", memory);
    }
    if (!memory || (diff ? write_diff(fake, memory) : write_memory(fake, memory)) < 0)
        return fail(fault, size, diff ? "write a diff into" : "write memory", memory);
    return clear_log(fake);
}

static int map_memory(struct fake *fake, const char *path, size_t expected)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    errno = EINVAL;
    void *memory = MAP_FAILED;
    if ((size_t)st.st_size == expected)
        memory = mmap(NULL, expected, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    int saved = errno;
    close(fd);
    errno = saved;
    if (memory == MAP_FAILED)
        return -1;
    fake->memory = memory;
    fake->memory_size = expected;
    return 0;
}

/* The two files must be of the same VM. */
static int memory_belongs(const struct fake *fake)
{
    char expected[PAGE];
    snprintf(expected, sizeof(expected), MAGIC "%s", fake->boot_id);
    return strncmp((const char *)fake->memory, expected, PAGE) == 0;
}

static int open_devices(struct fake *fake, char *fault, size_t size)
{
    const char *path;
    json_t *setting;
    json_object_foreach(fake->config, path, setting)
    {
        if (strncmp(path, "/drives/", 8) != 0)
            continue;
        const char *file = json_string_value(json_object_get(setting, "path_on_host"));
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return fail(fault, size, "open drive", file);
        close(fd);
    }
    json_t *vsock = json_object_get(fake->config, "/vsock");
    const char *uds = json_string_value(json_object_get(vsock, "uds_path"));
    return uds ? fake_vsock_listen(fake, uds, fault, size) : 0;
}

static int take_state(struct fake *fake, json_t *state)
{
    json_t *config = NULL;
    const char *boot_id, *hostname;
    if (json_unpack(state, "{s:s, s:s, s:O}", "boot_id", &boot_id, "hostname", &hostname, "config",
                    &config) < 0)
        return -1;
    snprintf(fake->boot_id, sizeof(fake->boot_id), "%s", boot_id);
    snprintf(fake->hostname, sizeof(fake->hostname), "%s", hostname);
    json_decref(fake->config);
    fake->config = config;
    return 0;
}

int fake_snapshot_load(struct fake *fake, json_t *request, char *fault, size_t size)
{
    const char *state_path = json_string_value(json_object_get(request, "snapshot_path"));
    json_t *backend = json_object_get(request, "mem_backend");
    const char *memory = json_string_value(json_object_get(backend, "backend_path"));
    json_t *state = state_path ? json_load_file(state_path, 0, NULL) : NULL;
    errno = EINVAL;
    int r = take_state(fake, state);
    json_decref(state);
    if (r < 0)
        return fail(fault, size, "load state", state_path);
    json_t *machine = json_object_get(fake->config, "/machine-config");
    json_int_t mib = json_integer_value(json_object_get(machine, "mem_size_mib"));
    const char *backend_type = json_string_value(json_object_get(backend, "backend_type"));
    int (*get)(struct fake *, const char *, size_t) =
        backend_type && strcmp(backend_type, "Uffd") == 0 ? fake_memory_paged : map_memory;
    if (!memory || get(fake, memory, (size_t)mib << 20) < 0)
        return fail(fault, size, "load memory", memory);
    unsigned layers = (unsigned)json_integer_value(json_object_get(backend, "layers"));
    if (layers > 0 && fake_layers_map(fake, memory, layers, fault, size) < 0)
        return -1;
    errno = EINVAL;
    if (!memory_belongs(fake))
        return fail(fault, size, "memory of another VM", memory);
    char *no_clock = fake_order("no-clock", NULL);
    int clock = json_is_true(json_object_get(request, "clock_realtime"));
    free(no_clock);
    if (no_clock && clock) {
        snprintf(fault, size, "clock_realtime requested but not present in the snapshot state");
        return -1;
    }
    if (open_devices(fake, fault, size) < 0)
        return -1;
    fake->tracking = json_is_true(json_object_get(request, "track_dirty_pages")) ||
                     json_is_true(json_object_get(request, "enable_diff_snapshots"));
    if (!fake->served && clear_log(fake) < 0)
        return -1;
    fake->state = json_is_true(json_object_get(request, "resume_vm")) ? FAKE_RUNNING : FAKE_PAUSED;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_json.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/json_fields.h"

/* A configuration has a dozen paths of a few KiB at most. */
#define CONFIG_TEXT_LIMIT (1u << 20)

static const char *const cpu_template_values[] = {"None", NULL};
static const char *const huge_pages_values[] = {"None", "Transparent", "2M", NULL};
static const char *const cache_values[] = {"Unsafe", "Writeback", NULL};
static const char *const io_engine_values[] = {"Sync", NULL};
static const char *const level_values[] = {"Off",  "Trace",   "Debug", "Info",
                                           "Warn", "Warning", "Error", NULL};

#define AT(type, member) .offset = offsetof(struct type, member)

static const struct json_field machine_fields[] = {
    {"vcpu_count", FIELD_U32, AT(machine_config, vcpu_count), .min = 1, .max = VM_MAX_VCPUS},
    {"mem_size_mib", FIELD_U64, AT(machine_config, mem_size_mib), .min = 1, .max = VM_MEM_MAX_MIB},
    {"smt", FIELD_BOOL, AT(machine_config, smt)},
    {"track_dirty_pages", FIELD_BOOL, AT(machine_config, track_dirty_pages)},
    {"huge_pages", FIELD_TEXT, AT(machine_config, huge_pages), .max = 16,
     .choices = huge_pages_values},
    {"cpu_template", FIELD_FIXED, .hidden = true, .choices = cpu_template_values},
};

static const struct json_field boot_fields[] = {
    {"kernel_image_path", FIELD_STRING, true, AT(boot_source, kernel_image_path), .min = 1,
     .max = VM_PATH_MAX},
    {"initrd_path", FIELD_STRING, AT(boot_source, initrd_path), .min = 1, .max = VM_PATH_MAX},
    {"boot_args", FIELD_STRING, AT(boot_source, boot_args), .max = VM_CMDLINE_MAX - 1},
};

static const struct json_field drive_fields[] = {
    {"drive_id", FIELD_STRING, true, AT(drive_config, drive_id), .min = 1, .max = VM_ID_MAX},
    {"path_on_host", FIELD_STRING, true, AT(drive_config, path_on_host), .min = 1,
     .max = VM_PATH_MAX},
    {"is_root_device", FIELD_BOOL, true, AT(drive_config, is_root_device)},
    {"is_read_only", FIELD_BOOL, AT(drive_config, is_read_only)},
    {"is_stack", FIELD_BOOL, AT(drive_config, is_stack)},
    {"cache_type", FIELD_FLAG, AT(drive_config, writeback), .choices = cache_values},
    {"partuuid", FIELD_STRING, AT(drive_config, partuuid), .min = 1, .max = VM_ID_MAX},
    {"io_engine", FIELD_FIXED, .choices = io_engine_values},
    {"rate_limiter", FIELD_RATE_LIMIT},
    {"socket", FIELD_UNSUPPORTED},
};

/* 2^32 - 1 is the "any" CID; 0 to 2 are reserved (virtio 1.2, section 5.10.4). */
static const struct json_field vsock_fields[] = {
    {"guest_cid", FIELD_U32, true, AT(vsock_config, guest_cid), .min = 3, .max = UINT32_MAX - 1},
    {"uds_path", FIELD_STRING, true, AT(vsock_config, uds_path), .min = 1, .max = VM_PATH_MAX},
    {"vsock_id", FIELD_STRING, AT(vsock_config, vsock_id), .min = 1, .max = VM_ID_MAX},
};

static const struct json_field balloon_fields[] = {
    {"amount_mib", FIELD_U32, true, AT(balloon_config, amount_mib), .max = UINT32_MAX},
    {"deflate_on_oom", FIELD_BOOL, true, AT(balloon_config, deflate_on_oom)},
    {"stats_polling_interval_s", FIELD_U32, AT(balloon_config, stats_polling_interval_s),
     .max = UINT16_MAX},
    {"free_page_hinting", FIELD_BOOL, AT(balloon_config, free_page_hinting)},
    {"free_page_reporting", FIELD_BOOL, AT(balloon_config, free_page_reporting)},
};

static const struct json_field entropy_fields[] = {{"rate_limiter", FIELD_RATE_LIMIT}};

static const struct json_field logger_fields[] = {
    {"log_path", FIELD_STRING, AT(logger_config, log_path), .min = 1, .max = VM_PATH_MAX},
    {"level", FIELD_TEXT, AT(logger_config, level), .max = 16, .choices = level_values},
    {"show_level", FIELD_BOOL, AT(logger_config, show_level)},
    {"show_log_origin", FIELD_BOOL, AT(logger_config, show_log_origin)},
    {"module", FIELD_UNSUPPORTED, .hidden = true},
};

struct serial_config {
    char *path;
};

static const struct json_field serial_fields[] = {
    {"serial_out_path", FIELD_STRING, AT(serial_config, path), .min = 1, .max = VM_PATH_MAX},
    {"rate_limiter", FIELD_UNSUPPORTED},
};

#define READ(object, what, fields, out, err) \
    json_fields_read(object, what, fields, ARRAY_SIZE(fields), out, err)

int machine_config_read(const json_t *object, struct machine_config *out, struct error *err)
{
    return READ(object, "machine-config", machine_fields, out, err);
}

int boot_source_read(const json_t *object, struct boot_source *out, struct error *err)
{
    return READ(object, "boot-source", boot_fields, out, err);
}

int drive_config_read(const json_t *object, struct drive_config *out, struct error *err)
{
    return READ(object, "drives", drive_fields, out, err);
}

int vsock_config_read(const json_t *object, struct vsock_config *out, struct error *err)
{
    out->present = true;
    return READ(object, "vsock", vsock_fields, out, err);
}

int balloon_config_read(const json_t *object, struct balloon_config *out, struct error *err)
{
    out->present = true;
    return READ(object, "balloon", balloon_fields, out, err);
}

int entropy_config_read(const json_t *object, struct error *err)
{
    return READ(object, "entropy", entropy_fields, NULL, err);
}

int logger_config_read(const json_t *object, struct logger_config *out, struct error *err)
{
    return READ(object, "logger", logger_fields, out, err);
}

int serial_config_read(const json_t *object, char **path, struct error *err)
{
    struct serial_config serial = {.path = *path};
    int r = READ(object, "serial", serial_fields, &serial, err);
    *path = serial.path;
    return r;
}

json_t *machine_config_write(const struct machine_config *machine)
{
    return json_fields_write(machine_fields, ARRAY_SIZE(machine_fields), machine);
}

json_t *balloon_config_write(const struct balloon_config *balloon)
{
    return json_fields_write(balloon_fields, ARRAY_SIZE(balloon_fields), balloon);
}

static json_t *drives_write(const struct vm_config *config)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < config->drive_count; i++) {
        json_t *drive =
            json_fields_write(drive_fields, ARRAY_SIZE(drive_fields), &config->drives[i]);
        if (json_array_append_new(array, drive) < 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *write_if(bool present, const struct json_field *fields, size_t count, const void *in)
{
    return present ? json_fields_write(fields, count, in) : json_null();
}

#define WRITE_IF(present, fields, in) write_if(present, fields, ARRAY_SIZE(fields), in)

json_t *vm_config_write(const struct vm_config *config)
{
    const struct serial_config serial = {.path = config->serial_out_path};
    /* "o" takes the reference over and makes the whole pack fail for NULL. */
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:n, s:[]}", "machine-config",
                     machine_config_write(&config->machine), "boot-source",
                     WRITE_IF(config->boot.kernel_image_path, boot_fields, &config->boot), "drives",
                     drives_write(config), "vsock",
                     WRITE_IF(config->vsock.present, vsock_fields, &config->vsock), "entropy",
                     WRITE_IF(config->entropy_present, entropy_fields, NULL), "balloon",
                     WRITE_IF(config->balloon.present, balloon_fields, &config->balloon), "logger",
                     WRITE_IF(true, logger_fields, &config->logger), "serial",
                     WRITE_IF(serial.path, serial_fields, &serial), "metrics",
                     "network-interfaces");
}

char *vm_config_to_json(const struct vm_config *config)
{
    json_t *object = vm_config_write(config);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

/* The top level of GET /vm/config, before its parts are read. */
struct config_parts {
    const json_t *machine, *boot, *drives, *vsock, *entropy, *balloon, *logger, *serial;
    const json_t *network;
};

static const struct json_field part_fields[] = {
    {"machine-config", FIELD_OBJECT, true, AT(config_parts, machine)},
    {"boot-source", FIELD_OBJECT, AT(config_parts, boot)},
    {"drives", FIELD_ARRAY, true, AT(config_parts, drives)},
    {"vsock", FIELD_OBJECT, AT(config_parts, vsock)},
    {"entropy", FIELD_OBJECT, AT(config_parts, entropy)},
    {"balloon", FIELD_OBJECT, AT(config_parts, balloon)},
    {"logger", FIELD_OBJECT, AT(config_parts, logger)},
    {"serial", FIELD_OBJECT, AT(config_parts, serial)},
    {"metrics", FIELD_UNSUPPORTED},
    {"network-interfaces", FIELD_ARRAY, AT(config_parts, network)},
};

static int drives_read(const json_t *array, struct vm_config *config, struct error *err)
{
    if (json_array_size(array) > VM_MAX_DRIVES)
        return error_set(err, ERROR_INVALID, EINVAL, "drives: %zu of them, at most %d are allowed",
                         json_array_size(array), VM_MAX_DRIVES);
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct drive_config *drive = &config->drives[config->drive_count++];
        int r = drive_config_read(json_array_get(array, i), drive, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parts_read(const struct config_parts *parts, struct vm_config *config, struct error *err)
{
    int r = machine_config_read(parts->machine, &config->machine, err);
    if (r == 0 && parts->boot)
        r = boot_source_read(parts->boot, &config->boot, err);
    if (r == 0)
        r = drives_read(parts->drives, config, err);
    if (r == 0 && parts->vsock)
        r = vsock_config_read(parts->vsock, &config->vsock, err);
    if (r == 0 && parts->entropy)
        r = entropy_config_read(parts->entropy, err);
    config->entropy_present = parts->entropy != NULL;
    if (r == 0 && parts->balloon)
        r = balloon_config_read(parts->balloon, &config->balloon, err);
    if (r == 0 && parts->logger)
        r = logger_config_read(parts->logger, &config->logger, err);
    if (r == 0 && parts->serial)
        r = serial_config_read(parts->serial, &config->serial_out_path, err);
    if (r == 0 && json_array_size(parts->network) > 0)
        r = error_set(err, ERROR_INVALID, EINVAL,
                      "network-interfaces: this version of the VMM has no network device");
    return r;
}

static int object_read(const json_t *object, struct vm_config *config, struct error *err)
{
    struct config_parts parts = {0};
    int r = READ(object, "configuration", part_fields, &parts, err);
    if (r == 0)
        r = parts_read(&parts, config, err);
    if (r == 0)
        r = vm_config_check(config, err);
    return r;
}

int vm_config_from_json(struct vm_config *config, const char *text, size_t length,
                        struct error *err)
{
    if (length > CONFIG_TEXT_LIMIT)
        return error_set(err, ERROR_INVALID, EFBIG,
                         "configuration: %zu bytes of JSON, at most %u are allowed", length,
                         CONFIG_TEXT_LIMIT);
    json_error_t cause;
    json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &cause);
    if (!object)
        return error_set(err, ERROR_INVALID, EINVAL, "configuration: not valid JSON: %s",
                         cause.text);
    struct vm_config read;
    vm_config_init(&read);
    int r = object_read(object, &read, err);
    json_decref(object);
    if (r < 0) {
        vm_config_free(&read);
        return r;
    }
    vm_config_free(config);
    *config = read;
    return 0;
}

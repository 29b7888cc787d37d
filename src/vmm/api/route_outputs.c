/* SPDX-License-Identifier: Apache-2.0 */
/* /logger, /serial and /metrics: where the VMM writes to. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "vmm/api/api_private.h"
#include "vmm/api/host_file.h"
#include "vmm/config_json.h"

static enum log_level log_level_of(const char *name)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"Error", LOG_LEVEL_ERROR}, {"Warn", LOG_LEVEL_WARNING}, {"Warning", LOG_LEVEL_WARNING},
        {"Debug", LOG_LEVEL_DEBUG}, {"Trace", LOG_LEVEL_DEBUG},  {"Off", LOG_LEVEL_ERROR},
    };
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].level;
    }
    return LOG_LEVEL_INFO;
}

/* The log has no level below Error: "Off" sends it nowhere instead. */
static int logger_target(const struct logger_config *logger, struct error *err)
{
    if (strcmp(logger->level, "Off") == 0)
        return host_output_open("/dev/null", "logger", err);
    if (logger->log_path)
        return host_output_open(logger->log_path, "logger: log_path", err);
    return STDERR_FILENO;
}

/* A request without a path leaves the log where it is. */
static int logger_keep_path(struct logger_config *logger, const struct logger_config *old,
                            struct error *err)
{
    if (logger->log_path || !old->log_path)
        return 0;
    logger->log_path = strdup(old->log_path);
    return logger->log_path ? 0 : error_errno(err, ENOMEM, NULL, "logger");
}

int put_logger(struct api_call *call, struct error *err)
{
    struct logger_config *current = &vmm_config(call->vmm)->logger;
    struct logger_config logger;
    int fd = -1;
    logger_config_init(&logger);
    int r = logger_config_read(call->body, &logger, err);
    if (r == 0)
        r = logger_keep_path(&logger, current, err);
    if (r == 0)
        r = fd = logger_target(&logger, err);
    if (r < 0) {
        logger_config_free(&logger);
        return r;
    }
    log_set_fd(fd);
    log_set_level(log_level_of(logger.level));
    logger_config_free(current);
    *current = logger;
    return 0;
}

int put_serial(struct api_call *call, struct error *err)
{
    struct vm_config *config = vmm_config(call->vmm);
    _cleanup_(free) char *path = NULL;
    int r = serial_config_read(call->body, &path, err);
    if (r < 0)
        return r;
    if (path) {
        _cleanup_(close) int fd = host_output_open(path, "serial: serial_out_path", err);
        if (fd < 0)
            return fd;
    }
    free(config->serial_out_path);
    config->serial_out_path = TAKE_PTR(path);
    return 0;
}

/* Unlike elsewhere, unknown fields are tolerated here, as in Firecracker. */
static int metrics_path_read(const json_t *body, char **path, struct error *err)
{
    const json_t *value = json_object_get(body, "metrics_path");
    if (!json_is_object(body))
        return error_set(err, ERROR_INVALID, EINVAL, "metrics: must be a JSON object");
    if (!value)
        return error_set(err, ERROR_INVALID, EINVAL, "metrics: field 'metrics_path' is missing");
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) > VM_PATH_MAX)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "metrics: field 'metrics_path' must be a path");
    *path = strdup(json_string_value(value));
    return *path ? 0 : error_errno(err, ENOMEM, NULL, "metrics");
}

int put_metrics(struct api_call *call, struct error *err)
{
    _cleanup_(free) char *path = NULL;
    int r = metrics_path_read(call->body, &path, err);
    if (r < 0)
        return r;
    if (call->api->metrics_path)
        return error_set(err, ERROR_STATE, EEXIST, "metrics: already configured as %s",
                         call->api->metrics_path);
    _cleanup_(close) int fd = host_output_open(path, "metrics: metrics_path", err);
    if (fd < 0)
        return fd;
    call->api->metrics_path = TAKE_PTR(path);
    return 0;
}

int metrics_flush(struct api *api, struct error *err)
{
    char line[256];
    if (!api->metrics_path)
        return 0;
    _cleanup_(close) int fd = host_output_open(api->metrics_path, "metrics: metrics_path", err);
    if (fd < 0)
        return fd;
    int n = snprintf(line, sizeof(line),
                     "{\"utc_timestamp_ms\":%" PRIu64 ",\"api_server\":{\"requests\":%" PRIu64
                     ",\"failures\":%" PRIu64 "}}\n",
                     time_realtime_ns() / 1000000, api->requests, api->failures);
    return file_write_exact(fd, line, (size_t)n, api->metrics_path, err);
}

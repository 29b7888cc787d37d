/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config_json.h"

void vm_config_init(struct vm_config *config)
{
    memset(config, 0, sizeof(*config));
    machine_config_init(&config->machine);
    logger_config_init(&config->logger);
}

void machine_config_init(struct machine_config *machine)
{
    *machine = (struct machine_config){.vcpu_count = 1, .mem_size_mib = 128, .huge_pages = "None"};
}

void logger_config_init(struct logger_config *logger)
{
    *logger = (struct logger_config){.level = "Info"};
}

void boot_source_free(struct boot_source *boot)
{
    free(boot->kernel_image_path);
    free(boot->initrd_path);
    free(boot->boot_args);
    memset(boot, 0, sizeof(*boot));
}

void drive_config_free(struct drive_config *drive)
{
    free(drive->drive_id);
    free(drive->path_on_host);
    free(drive->partuuid);
    memset(drive, 0, sizeof(*drive));
}

void vsock_config_free(struct vsock_config *vsock)
{
    free(vsock->uds_path);
    free(vsock->vsock_id);
    memset(vsock, 0, sizeof(*vsock));
}

void logger_config_free(struct logger_config *logger)
{
    free(logger->log_path);
    memset(logger, 0, sizeof(*logger));
}

void vm_config_free(struct vm_config *config)
{
    boot_source_free(&config->boot);
    for (unsigned i = 0; i < config->drive_count; i++)
        drive_config_free(&config->drives[i]);
    vsock_config_free(&config->vsock);
    logger_config_free(&config->logger);
    free(config->serial_out_path);
    memset(config, 0, sizeof(*config));
}

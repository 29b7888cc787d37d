/* SPDX-License-Identifier: Apache-2.0 */
/* A template as a process: the small API in front of it, and what becomes of its children. */
#ifndef TINE_VMM_API_TEMPLATE_API_H
#define TINE_VMM_API_TEMPLATE_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/api/own_process.h"
#include "vmm/vmm.h"

/* PUT /template; strings are owned. */
struct template_body {
    char *socket_path; /* of its API */
    uint32_t idle_seconds;
    struct own_process process;
};

/* The rest of the life of a process that vmm_template_fork() has just made: it answers on
 * `body->socket_path` until it is told to end, or nobody has asked for anything for
 * `idle_seconds`; 0: as long as it takes. */
_Noreturn void template_serve(struct template *template, struct template_body *body);

/* PUT /children; strings are owned. */
struct child_body {
    char *id;
    char *socket_path; /* of its API */
    char *serial_out_path, *vsock_path;
    bool resume_vm;
    bool clock_realtime;
    struct drive_path drives[VM_MAX_DRIVES]; /* that are elsewhere than the template's */
    unsigned drive_count;
    struct own_process process;
    const json_t *drives_given, *vsock_override; /* borrowed, while the body is read */
};

/* Reads and checks the body, and takes what descriptor there is. To be freed in any case. */
int child_body_read(const json_t *object, struct http_descriptors *descriptors,
                    struct child_body *body, struct error *err);
void child_body_free(struct child_body *body);

/* The rest of the life of a process that was forked off the template, process `parent`: the VM is
 * made, and run if that is wished for; then its API listens. Until then it ends with the template:
 * who asked for it may not know that it exists. */
_Noreturn void child_serve(struct template *template, pid_t parent, struct child_body *body);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* An API server in front of a fake vmm, on a loop in its own thread, and a raw client. */
#ifndef TINE_TESTS_API_FIXTURE_H
#define TINE_TESTS_API_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "fake_vmm.h"
#include "vmm/api/api.h"

struct fixture {
    char directory[64];
    char socket_path[96];
    char file[96]; /* an existing regular file */
    struct loop *loop;
    struct vmm *vmm;
    struct api *api;
    pthread_t thread;
    int status;   /* what loop_run() returned */
    bool stopped; /* the thread was joined */
    int client;   /* a connection kept open between calls */
};

/* cmocka group or test setup and teardown; *state is the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Joins the thread and returns the loop's status. */
int fixture_join(struct fixture *fixture);

struct response {
    int status;
    bool keep_alive, has_type, has_length;
    char head[1024];
    char body[8192];
    size_t body_length;
};

int client_connect(const struct fixture *fixture);
void client_send(int fd, const char *text, size_t length);
/* Reads one response; false at the end of the stream. */
bool client_receive(int fd, struct response *response);
/* True if the server closed its side and nothing is left to read. */
bool client_at_end(int fd);

/* Sends a request (body NULL: none) on the fixture's connection and checks status and, unless NULL,
 * that the answer's body contains `part`. The response is returned in a static buffer. */
const struct response *expect(struct fixture *fixture, int status, const char *part,
                              const char *method, const char *path, const char *body);
/* The same with a body made by printf; "%s" stands for the existing file. */
const struct response *expect_file(struct fixture *fixture, int status, const char *part,
                                   const char *method, const char *path, const char *format,
                                   const char *file);
/* InstanceStart. */
void fixture_start(struct fixture *fixture);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of the agent protocol (src/agent/protocol.h), over the VMM's vsock unix socket.
 * What comes from the guest is hostile input: lengths are bounded, nothing is trusted. */
#ifndef TINE_AGENT_CLIENT_H
#define TINE_AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/answer.h"
#include "agent/entry.h"
#include "base/error.h"

/* Connects to the agent of a running guest: `vsock_path` is the VMM's host-side socket. Retries
 * until the guest listens or `timeout_ms` is over (ERROR_TIMEOUT). Returns a stream descriptor. */
int agent_connect(const char *vsock_path, unsigned timeout_ms, struct error *err);

struct agent_info {
    char version[32];
    char kernel[96]; /* uname -r */
    char hostname[65];
    char boot_id[40]; /* /proc/sys/kernel/random/boot_id */
    uint64_t uptime_ms;
};
/* Says hello and reads who answers. */
int agent_hello(const char *vsock_path, unsigned timeout_ms, struct agent_info *info,
                struct error *err);

/* After a restore or fork: sets the guest's wall clock to the host's, mixes `entropy` into its
 * random numbers and, if `hostname` is not NULL, renames it. Waits for the acknowledgement. */
int agent_restored(const char *vsock_path, unsigned timeout_ms, const char *hostname,
                   const void *entropy, size_t entropy_length, struct error *err);

/* Asks the guest to sync its disks and power off (or just sync: agent_sync). */
int agent_poweroff(const char *vsock_path, unsigned timeout_ms, struct error *err);
int agent_sync(const char *vsock_path, unsigned timeout_ms, struct error *err);

struct agent_exec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in the guest's PATH */
    const char *const *env;  /* NULL-terminated "NAME=value"; NULL: none added */
    const char *cwd;         /* NULL: / */
    bool tty;
    uint16_t rows, cols; /* with tty; 0: 24 x 80 */
    uint32_t timeout_ms; /* 0: none; then the process group is killed */
};

/* Starts a command on a fresh connection. From then on the caller exchanges frames (protocol.h) on
 * the returned descriptor: STDIN, STDIN_EOF, SIGNAL and RESIZE out, STDOUT, STDERR and EXIT in. A
 * command that can't be started is reported in EXIT. Closing the descriptor kills its process
 * group. */
int agent_exec_start(const char *vsock_path, unsigned timeout_ms, const struct agent_exec *exec,
                     struct error *err);

/* Runs a command to its end, without input; collects up to `limit` bytes of each stream and drops
 * the rest (owner: caller, NUL behind the last byte). Why a command could not be started is told at
 * the end of `err_out`. `timeout_ms` is for reaching the agent; a command whose own timeout is over
 * gets that long again to be reported killed. After a failure nothing is left to free. */
struct agent_result {
    int exit_code; /* 0..255; 128 + signal if killed; 127 if it could not be started */
    bool timed_out;
    char *out, *err_out;
    size_t out_length, err_length;
};
int agent_exec_run(const char *vsock_path, unsigned timeout_ms, const struct agent_exec *exec,
                   size_t limit, struct agent_result *result, struct error *err);

/* Starts the guest's main program, its output on the console: once per boot, asked again it tells
 * how the first one goes. `outcome`: code -1 while it runs; else it is over, or could not be
 * started, with the code 127 and the reason. Of `program` terminal and timeout do not count. */
int agent_program_start(const char *vsock_path, unsigned timeout_ms,
                        const struct agent_exec *program, struct agent_exit *outcome,
                        struct error *err);

/* Says what a path in the guest is. A path that is not there, or not to be looked at, is an answer
 * too (info->errnum), not an error. */
int agent_stat(const char *vsock_path, unsigned timeout_ms, const char *path, bool follow,
               struct agent_stat *info, struct error *err);

struct agent_put {
    const char *path;        /* absolute, in the guest; missing parents are made */
    bool directory;          /* make a directory, or find one */
    const char *link_target; /* make a symbolic link; NULL: none */
    uint32_t mode;           /* permissions */
    uint32_t uid, gid;
};
/* Begins to write one file, directory or link. The caller sends DATA frames and END, and reads one
 * OK or FAILED, which may come before the END. Closing the descriptor before the END leaves what
 * was there before. */
int agent_put_start(const char *vsock_path, unsigned timeout_ms, const struct agent_put *put,
                    struct error *err);

struct agent_get {
    const char *path; /* absolute, in the guest */
    bool follow;      /* symbolic links */
};
/* Begins to read a file or a whole tree. The caller reads frames and gives them to
 * agent_tree_take() (entry.h) to its end. */
int agent_get_start(const char *vsock_path, unsigned timeout_ms, const struct agent_get *get,
                    struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* tine-agent: the guest's init, the agent that the host talks to, and the `oracle` command. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/guest/machine.h"
#include "agent/guest/oracle.h"
#include "agent/guest/root.h"
#include "agent/guest/server.h"

#define EXIT_USAGE 2

static const char usage[] =
    "tine-agent " TINE_VERSION ": init of a tine guest, as PID 1.\n"
    "usage: tine-agent --serve-unix PATH [--oracle-socket PATH]\n"
    "           serve the agent protocol on a unix socket, as an ordinary process\n"
    "       tine-agent oracle fill MIB SEED | check SEED\n"
    "           the memory oracle; also under the name \"oracle\"\n";

static int run_machine(void)
{
    static const struct server_options options = {.machine = true, .keeper = true};
    struct error err = {0};
    machine_set_up();
    if (root_set_up(&err) < 0)
        machine_give_up(err.message);
    return server_run(&options);
}

static int run_server(int argc, char **argv)
{
    struct server_options options = {0};
    for (int i = 1; i < argc; i += 2) {
        const char **option = NULL;
        if (strcmp(argv[i], "--serve-unix") == 0)
            option = &options.unix_path;
        else if (strcmp(argv[i], "--oracle-socket") == 0)
            option = &options.oracle_path;
        if (!option || i + 1 == argc) {
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
        *option = argv[i + 1];
    }
    if (!options.unix_path) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    options.keeper = options.oracle_path != NULL;
    return server_run(&options);
}

int main(int argc, char **argv)
{
    /* The kernel hands init whatever it does not know of its command line: not our business. */
    if (getpid() == 1)
        return run_machine();
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc > 0 ? (slash ? slash + 1 : argv[0]) : "";
    if (strcmp(name, "oracle") == 0)
        return oracle_command(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "oracle") == 0)
        return oracle_command(argc - 2, argv + 2);
    return run_server(argc, argv);
}

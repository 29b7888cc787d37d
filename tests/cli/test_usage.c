/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, wrong usage, and a tined that does not answer: no daemon is needed. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "http_client.h"
#include "program.h"

static const char *const names[] = {
    "run",     "ps",   "inspect", "logs",   "exec",       "cp",      "fork", "standby",
    "restore", "stop", "start",   "rm",     "snapshot",   "stats",   "top",  "events",
    "tree",    "wait", "token",   "doctor", "completion", "version", "help", "update"};
static const char *const snapshot_names[] = {"create", "ls", "inspect", "fork", "restore", "rm"};

/* Nobody listens there. */
static struct daemon nobody = {.socket = "/tmp/tine-test-nobody.sock"};

static void test_help(void **state)
{
    struct outcome all = program_run(&nobody, "help", NULL);
    assert_int_equal(all.status, 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char line[64], arguments[64];
        snprintf(line, sizeof(line), "\n  %-10s ", names[i]);
        assert_non_null(strstr(all.out, line));
        snprintf(arguments, sizeof(arguments), "help %s", names[i]);
        struct outcome one = program_run(&nobody, arguments, NULL);
        assert_int_equal(one.status, 0);
        snprintf(line, sizeof(line), "Usage: tine %s", names[i]);
        assert_int_equal(strncmp(one.out, line, strlen(line)), 0);
        assert_non_null(strstr(one.out, "\nOptions:\n"));
        assert_non_null(strstr(one.out, "\nExamples:\n  "));
        assert_string_equal(one.err, "");
        /* The same by option, wherever it stands. */
        snprintf(arguments, sizeof(arguments), "%s --help", names[i]);
        struct outcome same = program_run(&nobody, arguments, NULL);
        assert_int_equal(same.status, 0);
        assert_string_equal(same.out, one.out);
        outcome_release(&one);
        outcome_release(&same);
    }
    assert_non_null(strstr(all.out, "Exit status: 0 done, 1 the operation failed, 2 wrong usage, "
                                    "3 tined does not answer"));
    outcome_release(&all);
    expect_run(&nobody, "--help", 0, "Usage: tine", NULL);
    expect_run(&nobody, "-h", 0, "Usage: tine", NULL);
    expect_run(&nobody, "help fork", 0, "tine fork web --name web-test --from-running", NULL);
    expect_run(&nobody, "--version", 0, "tine 0.", NULL);
}

/* A command of a command has its help in both forms too. */
static void test_help_of_subcommands(void **state)
{
    struct outcome all = program_run(&nobody, "help snapshot", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(snapshot_names); i++) {
        char line[64], arguments[64];
        snprintf(line, sizeof(line), "\n  %-10s ", snapshot_names[i]);
        assert_non_null(strstr(all.out, line));
        snprintf(arguments, sizeof(arguments), "help snapshot %s", snapshot_names[i]);
        struct outcome one = program_run(&nobody, arguments, NULL);
        snprintf(line, sizeof(line), "Usage: tine snapshot %s [OPTION...]", snapshot_names[i]);
        assert_int_equal(strncmp(one.out, line, strlen(line)), 0);
        assert_non_null(strstr(one.out, "\nExamples:\n  tine "));
        snprintf(arguments, sizeof(arguments), "snapshot %s --help", snapshot_names[i]);
        struct outcome same = program_run(&nobody, arguments, NULL);
        assert_int_equal(same.status, 0);
        assert_string_equal(same.out, one.out);
        outcome_release(&one);
        outcome_release(&same);
    }
    outcome_release(&all);
}

static void test_wrong_usage(void **state)
{
    static const struct {
        const char *arguments, *line;
    } cases[] = {
        {"", "tine: a command is needed; see tine help\n"},
        {"frok", "tine: unknown command \"frok\", did you mean \"fork\"?; see tine help\n"},
        {"stanby web",
         "tine: unknown command \"stanby\", did you mean \"standby\"?; see tine help\n"},
        {"insp web", "tine: unknown command \"insp\", did you mean \"inspect\"?; see tine help\n"},
        {"xyzzy", "tine: unknown command \"xyzzy\"; see tine help\n"},
        {"help xyzzy", "tine: help: unknown command \"xyzzy\"; see tine help help\n"},
        {"--jsno ps", "tine: unknown option --jsno, did you mean --json?; see tine help\n"},
        {"fork web --cuont 3",
         "tine: fork: unknown option --cuont, did you mean --count?; see tine help fork\n"},
        {"fork web --zzz", "tine: fork: unknown option --zzz; see tine help fork\n"},
        {"fork web -z", "tine: fork: unknown option -z; see tine help fork\n"},
        {"fork web --count", "tine: fork: --count needs a value: N; see tine help fork\n"},
        {"fork web -n", "tine: fork: --count needs a value: N; see tine help fork\n"},
        {"fork web --count x",
         "tine: fork: --count: \"x\" is not a whole number up to 1000000; see tine help fork\n"},
        {"fork web --count -1",
         "tine: fork: --count: \"-1\" is not a whole number up to 1000000; see tine help fork\n"},
        {"fork web --count 99999", "tine: fork: --count: at most 10000; see tine help fork\n"},
        {"fork web --from-running=yes",
         "tine: fork: --from-running takes no value; see tine help fork\n"},
        {"fork web --target-state Asleep", "tine: fork: --target-state: \"Asleep\" is not Running, "
                                           "Standby or Stopped; see tine help fork\n"},
        {"fork web --name a --count 2",
         "tine: fork: --name is for one fork; --name-prefix names several; see tine help fork\n"},
        {"fork web --name a --name-prefix b",
         "tine: fork: --name is for one fork; --name-prefix names several; see tine help fork\n"},
        {"fork", "tine: fork: usage: tine fork SOURCE; see tine help fork\n"},
        {"fork a b", "tine: fork: unexpected argument \"b\"; see tine help fork\n"},
        {"ps web", "tine: ps: unexpected argument \"web\"; see tine help ps\n"},
        {"inspect", "tine: inspect: usage: tine inspect NAME; see tine help inspect\n"},
        {"exec", "tine: exec: usage: tine exec NAME [COMMAND [ARGUMENT...]]; see tine help exec\n"},
        {"rm", "tine: rm: usage: tine rm NAME...; see tine help rm\n"},
        {"logs -n x web", "tine: logs: --tail: \"x\" is not a whole number; see tine help logs\n"},
        {"logs --vmm --operations web",
         "tine: logs: --vmm and --operations are two logs; give one; see tine help logs\n"},
        {"run --memory 1.5GB",
         "tine: run: --memory: \"1.5GB\" is not a size: digits and a unit are "
         "wanted, as in 512MB or 2GB; see tine help run\n"},
        {"stop --grace 5 web",
         "tine: stop: --grace: \"5\" is not a duration: numbers with units ns "
         "us ms s m h are wanted; see tine help stop\n"},
        {"stop --grace -5s web", "tine: stop: --grace: \"-5s\" is negative; see tine help stop\n"},
        {"snapshot",
         "tine: snapshot: usage: tine snapshot COMMAND [ARGUMENT...]; see tine help snapshot\n"},
        {"snapshot frok web/a", "tine: snapshot: unknown command \"frok\", did you mean \"fork\"?; "
                                "see tine help snapshot\n"},
        {"snapshot --name a create web",
         "tine: snapshot: unknown option --name; see tine help snapshot\n"},
        {"help snapshot xyzzy", "tine: help: unknown command \"xyzzy\"; see tine help help\n"},
        {"help ps ls", "tine: help: unknown command \"ls\"; see tine help help\n"},
        {"snapshot create", "tine: snapshot create: usage: tine snapshot create NAME; see tine "
                            "help snapshot create\n"},
        {"snapshot create web --kind Running",
         "tine: snapshot create: --kind: \"Running\" is not "
         "Standby or Stopped; see tine help snapshot create\n"},
        {"snapshot create web --kind warm", "tine: snapshot create: --kind: \"warm\" is not "
                                            "Standby or Stopped; see tine help snapshot create\n"},
        {"snapshot fork web/a --name a --count 2",
         "tine: snapshot fork: --name is for one fork; --name-prefix names several; see tine help "
         "snapshot fork\n"},
        {"snapshot fork web/a --from-running",
         "tine: snapshot fork: unknown option --from-running; see tine help snapshot fork\n"},
        {"snapshot restore web",
         "tine: snapshot restore: usage: tine snapshot restore NAME SNAPSHOT; "
         "see tine help snapshot restore\n"},
        {"snapshot restore web web/a --target-state x",
         "tine: snapshot restore: --target-state: \"x\" is not Running, Standby or Stopped; see "
         "tine help snapshot restore\n"},
        {"snapshot rm",
         "tine: snapshot rm: usage: tine snapshot rm SNAPSHOT...; see tine help snapshot rm\n"},
        {"stop --grace 1h web", "tine: stop: --grace: at most 10m; see tine help stop\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct outcome outcome = program_run(&nobody, cases[i].arguments, NULL);
        assert_int_equal(outcome.status, 2);
        assert_string_equal(outcome.out, "");
        assert_string_equal(outcome.err, cases[i].line);
        outcome_release(&outcome);
    }
}

static void test_unreachable(void **state)
{
    static const char *const commands[] = {"run",
                                           "ps",
                                           "inspect web",
                                           "logs web",
                                           "exec web ls",
                                           "fork web",
                                           "fork web -n 3 --name-prefix x",
                                           "standby web",
                                           "restore web",
                                           "stop web",
                                           "start web",
                                           "rm web",
                                           "rm -f web",
                                           "update web --ttl 1h",
                                           "update web --untag a",
                                           "stats",
                                           "stats web",
                                           "snapshot create web",
                                           "snapshot ls",
                                           "snapshot inspect web/a",
                                           "snapshot fork web/a",
                                           "snapshot restore web web/a",
                                           "snapshot rm web/a"};
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        expect_run(&nobody, commands[i], 3, "",
                   "tined does not answer on /tmp/tine-test-nobody.sock: No such file or "
                   "directory; is it running?");
    expect_run(&nobody, "--json ps", 3, "\"code\": \"unreachable\"", "does not answer");
    expect_run(&nobody, "version", 0, "tined does not answer", NULL);
    /* A socket that nobody serves any more. */
    struct daemon dead = {.socket = "/tmp/tine-test-dead.sock"};
    unlink(dead.socket);
    close(unix_listen(dead.socket, 0, NULL));
    expect_run(&dead, "ps", 3, NULL, "Connection refused");
    expect_run(&dead, "exec web ls", 3, NULL, "Connection refused");
    unlink(dead.socket);
    char path[200];
    snprintf(path, sizeof(path), "--socket /tmp/%0150d ps", 0);
    expect_run(&nobody, path, 3, NULL, "tine: ps: tined does not answer");
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(file_write_exact(fd, text, strlen(text), path, NULL), 0);
    close(fd);
}

/* The "result" of one check in doctor's JSON, and that its text holds `part`. */
static void check_is(const json_t *doctor, const char *name, const char *result, const char *part)
{
    size_t i;
    json_t *check;
    json_array_foreach(json_object_get(doctor, "checks"), i, check)
    {
        if (strcmp(text_of(check, "check"), name) != 0)
            continue;
        assert_string_equal(text_of(check, "result"), result);
        if (!strstr(text_of(check, "found"), part))
            fail_msg("\"%s\" is not in \"%s\"", part, text_of(check, "found"));
        return;
    }
    fail_msg("doctor has no check \"%s\"", name);
}

static json_t *doctor(const char *dir, const char *extra, int status)
{
    char arguments[512];
    snprintf(arguments, sizeof(arguments),
             "doctor --json --data-dir %s/data --vmm %s/vmm --pager %s/pager --kit %s/kit "
             "--kvm-probe %s/probe %s",
             dir, dir, dir, dir, dir, extra);
    struct outcome outcome = program_run(&nobody, arguments, NULL);
    assert_true(outcome.status == status || (status < 0 && outcome.status <= 1));
    json_t *json = json_loads(outcome.out, 0, NULL);
    assert_non_null(json);
    outcome_release(&outcome);
    return json;
}

static void test_doctor(void **state)
{
    char dir[] = "/tmp/tine-test-XXXXXX", path[256], text[128], boot_id[64] = "";
    struct stat st;
    assert_non_null(mkdtemp(dir));
    json_t *json = doctor(dir, "", 1);
    assert_true(json_is_false(json_object_get(json, "ok")));
    check_is(json, "tine-vmm", "fail", "No such file");
    check_is(json, "tine-pager", "warn", "No such file or directory: no restore");
    check_is(json, "guest kit", "warn", "vmlinux: No such file");
    check_is(json, "kvm boots a guest", "warn", "not known");
    check_is(json, "data directory", "ok", "not made yet");
    check_is(json, "sparse files", "ok", "yes");
    check_is(json, "hard links", "ok", "yes");
    check_is(json, "tined", "warn", "does not answer");
    json_decref(json);

    snprintf(path, sizeof(path), "%s/vmm", dir);
    write_file(path, "#!/bin/sh\necho tine-vmm 9.9\nexec sleep 1000\n", 0700);
    snprintf(path, sizeof(path), "%s/pager", dir);
    write_file(path, "#!/bin/sh\necho tine-pager 9.8\n", 0700);
    snprintf(path, sizeof(path), "%s/kit", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/kit/vmlinux", dir);
    write_file(path, "x", 0600);
    snprintf(path, sizeof(path), "%s/kit/initrd.img", dir);
    write_file(path, "x", 0600);
    snprintf(path, sizeof(path), "%s/probe", dir);
    write_file(path, "5.0 other-boot 1 2\nnative\nyes\n", 0600);
    json = doctor(dir, "", -1);
    check_is(json, "tine-vmm", "ok", "tine-vmm 9.9");
    check_is(json, "tine-pager", "ok", "tine-pager 9.8");
    check_is(json, "guest kit", "ok", "/kit");
    check_is(json, "kvm boots a guest", "warn", "another boot or kernel");
    json_decref(json);

    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%63s", boot_id), 1);
    fclose(file);
    file = popen("uname -r", "re");
    assert_int_equal(fscanf(file, "%127s", text), 1);
    pclose(file);
    char probe[1024];
    snprintf(probe, sizeof(probe), "%s %s 1 2\nlab\nthe guest did not boot\n", text, boot_id);
    write_file(path, probe, 0600);
    json = doctor(dir, "", 1);
    check_is(json, "kvm boots a guest", "fail", "the guest did not boot");
    json_decref(json);
    snprintf(probe, sizeof(probe), "%s %s 1 2\nnative\nit boots\n", text, boot_id);
    write_file(path, probe, 0600);
    json = doctor(dir, "", -1);
    check_is(json, "kvm boots a guest", "ok", "yes: it boots");
    json_decref(json);
    write_file(path, "one line", 0600);
    json = doctor(dir, "", -1);
    check_is(json, "kvm boots a guest", "warn", "malformed");
    json_decref(json);
    /* It leaves nothing behind where it tried. */
    snprintf(path, sizeof(path), "%s/data", dir);
    assert_int_equal(stat(path, &st), -1);
    struct outcome people = program_run(&nobody, "doctor", NULL);
    assert_int_equal(strncmp(people.out, "CHECK ", 6), 0);
    assert_non_null(strstr(people.out, " warnings, "));
    outcome_release(&people);
    assert_int_equal(tree_remove(AT_FDCWD, dir, NULL), 0);
}

/* A full disk must not pass for success. */
static void test_output_error(void **state)
{
    char command[4096];
    snprintf(command, sizeof(command), "exec sh -c '\"$0\" help >/dev/full' %s", getenv("TINE"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),        cmocka_unit_test(test_help_of_subcommands),
        cmocka_unit_test(test_wrong_usage), cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_doctor),      cmocka_unit_test(test_output_error),
    };
    if (argc != 2)
        return 2;
    program_path_set(argv[1]);
    setenv("TINE", argv[1], 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

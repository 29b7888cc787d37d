/* SPDX-License-Identifier: Apache-2.0 */
/* tine cp, against a tined whose guest's files are this machine's, and against hostile guests. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "program.h"

/* "here" and "guest" in the daemon's directory. */
static int setup(void **state)
{
    static struct daemon daemon;
    char path[256];
    daemon_start(&daemon, daemon_program(), NULL);
    json_decref(http_expect(&daemon, "POST", "/instances", "{\"name\":\"vm\"}", 201));
    snprintf(path, sizeof(path), "%s/here", daemon.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chdir(path), 0);
    snprintf(path, sizeof(path), "%s/guest", daemon.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    *state = &daemon;
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(chdir("/"), 0);
    daemon_stop(*state);
    return 0;
}

/* Runs a shell in "here"; $G is the guest's directory. Fails unless it succeeds. */
static void shell(const struct daemon *daemon, const char *script)
{
    char command[4096];
    snprintf(command, sizeof(command), "set -e; G=%s/guest; %s", daemon->dir, script);
    if (system(command) != 0)
        fail_msg("%s", script);
}

/* Runs "tine cp" with each GUEST replaced by vm:<the guest's directory>. */
static void cp_expect(const struct daemon *daemon, const char *operands, int status,
                      const char *err)
{
    char arguments[1024] = "cp ";
    const char *at;
    while ((at = strstr(operands, "GUEST"))) {
        size_t used = strlen(arguments);
        snprintf(arguments + used, sizeof(arguments) - used, "%.*svm:%s/guest",
                 (int)(at - operands), operands, daemon->dir);
        operands = at + strlen("GUEST");
    }
    size_t used = strlen(arguments);
    snprintf(arguments + used, sizeof(arguments) - used, "%s", operands);
    expect_run(daemon, arguments, status, NULL, err);
}

static void tree_make(const struct daemon *daemon, const char *where)
{
    char script[1024];
    snprintf(script, sizeof(script),
             "mkdir -p %s/t/sub/deep %s/t/empty; echo a >%s/t/a; echo b >%s/t/sub/deep/b; "
             "ln -s sub/deep %s/t/l; ln -s nowhere %s/t/dangling; chmod 750 %s/t/sub; "
             "chmod 751 %s/t/a",
             where, where, where, where, where, where, where, where);
    shell(daemon, script);
}

static void test_file_in(void **state)
{
    const struct daemon *daemon = *state;
    shell(daemon, "echo hello >f; chmod 640 f; mkdir $G/d; echo old >$G/old");
    cp_expect(daemon, "f GUEST/new", 0, NULL);
    shell(daemon, "cmp f $G/new; [ $(stat -c %a $G/new) = 640 ]");
    cp_expect(daemon, "./f GUEST/d", 0, NULL);
    cp_expect(daemon, "f GUEST/d/g", 0, NULL);
    cp_expect(daemon, "f GUEST/old", 0, NULL);
    cp_expect(daemon, "f GUEST/made/on/the/way", 0, NULL);
    shell(daemon, "cmp f $G/d/f; cmp f $G/d/g; cmp f $G/old; cmp f $G/made/on/the/way");
    cp_expect(daemon, "f GUEST/none/", 1, "there is no directory");
    cp_expect(daemon, "nope GUEST/x", 1, "tine: cp vm: nope: No such file or directory\n");
    cp_expect(daemon, "f/ GUEST/x", 1, "Not a directory");
    cp_expect(daemon, "/dev/null GUEST/x", 1, "device, pipe or socket");
    shell(daemon, "mkfifo $G/pipe");
    cp_expect(daemon, "f GUEST/pipe", 1, "device, pipe or socket");
    cp_expect(daemon, "f GUEST/old/x", 1, "Not a directory");
}

static void test_file_out(void **state)
{
    const struct daemon *daemon = *state;
    shell(daemon, "echo hello >$G/f; chmod 640 $G/f; mkdir d; echo old >old; ln -s old link");
    cp_expect(daemon, "GUEST/f new", 0, NULL);
    shell(daemon, "cmp $G/f new; [ $(stat -c %a new) = 640 ]");
    cp_expect(daemon, "GUEST/f d", 0, NULL);
    cp_expect(daemon, "GUEST/f d/g", 0, NULL);
    cp_expect(daemon, "GUEST/f .", 0, NULL);
    cp_expect(daemon, "GUEST/f link", 0, NULL); /* what it leads to */
    shell(daemon, "cmp $G/f d/f; cmp $G/f d/g; cmp $G/f f; [ -L link ]; cmp $G/f old");
    cp_expect(daemon, "GUEST/f none/", 1, "No such file or directory");
    cp_expect(daemon, "GUEST/f none/x", 1, "No such file or directory");
    cp_expect(daemon, "GUEST/nope x", 1, "nope: No such file or directory");
    cp_expect(daemon, "GUEST/f /dev/null", 1, "device, pipe or socket");
    shell(daemon, "[ -c /dev/null ]; [ ! -e none ]");
}

static void test_tree_in(void **state)
{
    const struct daemon *daemon = *state;
    tree_make(daemon, ".");
    shell(daemon, "mkdir $G/d; echo x >$G/file; mkfifo t/pipe");
    cp_expect(daemon, "t GUEST/new", 0, "left out 1 devices, pipes and sockets");
    shell(daemon, "rm t/pipe; diff -r --no-dereference t $G/new; [ $(readlink $G/new/l) = sub/deep "
                  "]; [ $(stat -c %a $G/new/sub) = 750 ]; [ $(stat -c %a $G/new/a) = 751 ]");
    cp_expect(daemon, "t GUEST/d", 0, NULL);
    cp_expect(daemon, "t/ GUEST/d", 0, NULL); /* again, over itself */
    shell(daemon, "diff -r --no-dereference t $G/d/t");
    cp_expect(daemon, "t/. GUEST/", 0, NULL);
    shell(daemon, "cmp t/a $G/a; cmp t/sub/deep/b $G/sub/deep/b; [ -d $G/empty ]; [ ! -e $G/t ]");
    cp_expect(daemon, "t GUEST/file", 1, "not a directory");
    cp_expect(daemon, "t/l GUEST/link", 0, NULL);
    shell(daemon, "[ $(readlink $G/link) = sub/deep ]");
    cp_expect(daemon, "-L t/l GUEST/followed", 0, NULL);
    cp_expect(daemon, "t/l/ GUEST/slash", 0, NULL);
    shell(daemon, "cmp t/sub/deep/b $G/followed/b; cmp t/sub/deep/b $G/slash/b");
    cp_expect(daemon, "-L t GUEST/all", 1, "t/dangling: No such file or directory");
    shell(daemon, "rm t/dangling; ln -s .. t/sub/up");
    cp_expect(daemon, "-L t GUEST/all", 1, "symbolic links");
}

static void test_tree_out(void **state)
{
    const struct daemon *daemon = *state;
    tree_make(daemon, "$G");
    shell(daemon, "mkdir d; echo x >file; mkfifo $G/t/pipe");
    cp_expect(daemon, "GUEST/t new", 0, "left out 1 devices, pipes and sockets");
    shell(daemon, "rm $G/t/pipe; diff -r --no-dereference $G/t new; [ $(readlink new/l) = sub/deep "
                  "]; [ $(stat -c %a new/sub) = 750 ]; [ $(stat -c %a new/a) = 751 ]");
    cp_expect(daemon, "GUEST/t d", 0, NULL);
    cp_expect(daemon, "GUEST/t d/", 0, NULL);
    shell(daemon, "diff -r --no-dereference $G/t d/t");
    cp_expect(daemon, "GUEST/t/. d", 0, NULL);
    shell(daemon, "cmp $G/t/a d/a; cmp $G/t/sub/deep/b d/sub/deep/b; [ -d d/empty ]");
    cp_expect(daemon, "GUEST/t file", 1, "Not a directory");
    cp_expect(daemon, "-L GUEST/t/l followed", 0, NULL);
    shell(daemon, "cmp $G/t/sub/deep/b followed/b");
    cp_expect(daemon, "-L GUEST/t all", 1, "dangling: No such file or directory");
}

/* A directory that nobody may write into is filled before it gets that mode. */
static void test_read_only_directories(void **state)
{
    const struct daemon *daemon = *state;
    shell(daemon, "mkdir -p $G/t/ro/in; echo x >$G/t/ro/in/f; chmod 555 $G/t/ro/in $G/t/ro");
    cp_expect(daemon, "GUEST/t new", 0, NULL);
    shell(daemon, "cmp $G/t/ro/in/f new/ro/in/f; [ $(stat -c %a new/ro) = 555 ]; [ $(stat -c %a "
                  "new/ro/in) = 555 ]; chmod -R u+w new $G/t");
}

static void test_archive(void **state)
{
    const struct daemon *daemon = *state;
    shell(daemon, "umask 022; mkdir $G/t; echo x >$G/t/f; chmod 4777 $G/t/f; touch -d @1000000000 "
                  "$G/t/f $G/t; chown 12:34 $G/t/f $G/t");
    cp_expect(daemon, "GUEST/t plain", 0, NULL);
    shell(daemon, "[ \"$(stat -c %a:%u plain/f)\" = 755:0 ]");
    cp_expect(daemon, "-a GUEST/t kept", 0, NULL);
    /* A guest does not get to plant set-id programs. */
    shell(daemon, "[ \"$(stat -c %a:%u:%g:%Y kept/f)\" = 777:12:34:1000000000 ]; "
                  "[ \"$(stat -c %u:%g:%Y kept)\" = 12:34:1000000000 ]");
    cp_expect(daemon, "kept GUEST/plain", 0, NULL);
    cp_expect(daemon, "--archive kept GUEST/kept", 0, NULL);
    shell(daemon,
          "[ \"$(stat -c %u:%g $G/plain/f)\" = 0:0 ]; [ \"$(stat -c %a:%u:%g $G/kept/f)\" = "
          "777:12:34 ]; [ \"$(stat -c %u:%g $G/kept)\" = 12:34 ]");
}

/* More than every queue on the way holds, both ways, and names that need quoting. */
static void test_much(void **state)
{
    const struct daemon *daemon = *state;
    shell(daemon, "head -c 20000000 /dev/urandom >'%a&b=c?#'");
    cp_expect(daemon, "%a&b=c?# GUEST/%a&b=c?#", 0, NULL);
    cp_expect(daemon, "%a&b=c?# GUEST", 0, NULL);
    cp_expect(daemon, "GUEST/%a&b=c?# back", 0, NULL);
    shell(daemon, "cmp '%a&b=c?#' back");
}

static void test_json(void **state)
{
    const struct daemon *daemon = *state;
    char arguments[256];
    tree_make(daemon, "$G");
    snprintf(arguments, sizeof(arguments), "cp --json vm:%s/guest/t new", daemon->dir);
    struct outcome outcome = program_run(daemon, arguments, NULL);
    json_t *json = json_loads(outcome.out, 0, NULL);
    json_t *wanted = json_pack("{s:i, s:i, s:i, s:i, s:i}", "files", 2, "directories", 4, "links",
                               2, "skipped", 0, "bytes", 4);
    assert_true(json_equal(json, wanted));
    json_decref(json);
    json_decref(wanted);
    outcome_release(&outcome);
    outcome = program_run(daemon, "cp --json vm:/nope new", NULL);
    assert_int_equal(outcome.status, 1);
    json = json_loads(outcome.out, 0, NULL);
    assert_non_null(strstr(text_of(json, "message"), "nope"));
    json_decref(json);
    outcome_release(&outcome);
}

static void test_usage(void **state)
{
    const struct daemon *daemon = *state;
    expect_run(daemon, "cp a b", 2, NULL, "one of the two must be NAME:PATH");
    expect_run(daemon, "cp vm:/a vm:/b", 2, NULL, "one of the two must be NAME:PATH");
    expect_run(daemon, "cp ./vm:a b", 2, NULL, "one of the two must be NAME:PATH");
    expect_run(daemon, "cp :/a b", 2, NULL, "a name and a path are needed");
    expect_run(daemon, "cp vm: b", 2, NULL, "a name and a path are needed");
    expect_run(daemon, "cp vm:/a -", 2, NULL, "use tar with tine exec");
    expect_run(daemon, "cp - vm:/a", 2, NULL, "use tar with tine exec");
    expect_run(daemon, "cp vm:/a", 2, NULL, "usage: tine cp");
    expect_run(daemon, "cp nope:/a b", 1, NULL, "tine: cp nope: no instance \"nope\"");
    expect_run(daemon, "cp /etc/hostname nope:/b", 1, NULL, "tine: cp nope: no instance \"nope\"");
    json_decref(http_expect(daemon, "POST", "/instances/vm/standby", NULL, 200));
    expect_run(daemon, "cp vm:/a b", 1, NULL, "instance must be running");
    expect_run(daemon, "cp /etc/hostname vm:/b", 1, NULL, "Standby");
}

/* Nothing but the finished entries is here afterwards. */
static void test_hostile(void **state)
{
    const struct daemon *daemon = *state;
    static const struct {
        const char *name, *err, *left;
    } cases[] = {
        {"dots", "broke the protocol", "tree"},
        {"absolute", "broke the protocol", ""},
        {"stray", "broke the protocol", "tree"},
        {"latin", "not UTF-8", ""},
        {"long", "broke the protocol", ""},
        {"short", "broke the protocol", ""},
        {"cut", "closed the connection", ""},
        {"unended", "broke the protocol", ""},
        {"garble", "broke the protocol", ""},
        {"hangup", "closed the connection", ""},
        {"old", "may be older than tined", ""},
        {"link", "open directory out of the destination", "tree tree/out"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char operands[128], script[256];
        snprintf(operands, sizeof(operands), "vm:/hostile/%s .", cases[i].name);
        cp_expect(daemon, operands, 1, cases[i].err);
        snprintf(script, sizeof(script),
                 "[ \"$(find . -mindepth 1 -printf '%%P ')\" = \"%s%s\" ]; "
                 "rm -rf ./*; [ ! -e ../evil ] && [ ! -e /tmp/evil ]",
                 cases[i].left, *cases[i].left ? " " : "");
        shell(daemon, script);
    }
    shell(daemon, "echo x >f");
    cp_expect(daemon, "f vm:/hostile/old", 1, "may be older than tined");
}

/* A link of ours in the destination is not followed out of it either. */
static void test_links_of_ours(void **state)
{
    const struct daemon *daemon = *state;
    shell(daemon, "mkdir -p $G/t/sub outside; echo x >$G/t/sub/f; echo y >$G/t/g; mkdir t; "
                  "ln -s ../outside t/sub; echo kept >kept; ln -s ../kept t/g");
    cp_expect(daemon, "GUEST/t .", 1, "sub is there already");
    shell(daemon, "[ -z \"$(ls outside)\" ]; [ \"$(cat kept)\" = kept ]");
}

/* True once a temporary file of a copy under way is here. */
static bool temporary_there(void)
{
    bool there = false;
    DIR *dir = opendir(".");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        there = there || is_temporary_name(entry->d_name);
    closedir(dir);
    return there;
}

static void test_interrupted(void **state)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct daemon *daemon = *state;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct program program;
        program_start(&program, daemon, "cp vm:/hostile/endless f");
        for (int n = 0; !temporary_there() && n < 3000; n++)
            time_sleep_ms(10);
        kill(program.pid, numbers[i]);
        struct outcome outcome = program_finish(&program);
        assert_int_equal(outcome.status, 128 + numbers[i]);
        assert_non_null(strstr(outcome.err, "interrupted"));
        outcome_release(&outcome);
        shell(daemon, "[ -z \"$(ls -A .)\" ]");
    }
}

/* On a terminal a copy that takes its time says so; the file's name can't steer it. */
static void test_progress(void **state)
{
    const struct daemon *daemon = *state;
    struct program program;
    char text[8192];
    program_start_terminal(&program, daemon, "cp vm:/hostile/endless f", 24, 80);
    await_output(program.terminal, "copying f, ", text, sizeof(text));
    kill(program.pid, SIGINT);
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 128 + SIGINT);
    assert_non_null(strstr(outcome.out, "\r\033[K"));
    outcome_release(&outcome);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file_in),
        TEST(test_file_out),
        TEST(test_tree_in),
        TEST(test_tree_out),
        TEST(test_read_only_directories),
        TEST(test_archive),
        TEST(test_much),
        TEST(test_json),
        TEST(test_usage),
        TEST(test_hostile),
        TEST(test_links_of_ours),
        TEST(test_interrupted),
        TEST(test_progress),
    };
    if (argc != 3)
        return 2;
    umask(022);
    char *program = realpath(argv[1], NULL);
    daemon_program_set(realpath(argv[2], NULL));
    program_path_set(program);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Completion as bash does it: the script is loaded, the words are set, the function is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "program.h"

static const char *tine_path;

/* What bash has after the completion of the last of these words (separated by single spaces; the
 * last may be empty), on one line. */
static void complete(const struct daemon *daemon, const char *words, char answer[4096])
{
    static const char script[] =
        "tine=$1; source <(\"$tine\" completion bash) || exit 9\n"
        "complete -p tine | grep -q -- '-F _tine tine' || exit 9\n"
        "IFS=' ' read -r -a COMP_WORDS <<<\"$2\"\n"
        "[[ $2 != *' ' ]] || COMP_WORDS+=('')\n"
        "COMP_WORDS[0]=$tine; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tine\n"
        "echo \"${COMPREPLY[*]}\"\n";
    setenv("SCRIPT", script, 1);
    setenv("WORDS", words, 1);
    setenv("TINE_SOCKET", daemon->socket, 1);
    setenv("TINE", tine_path, 1);
    FILE *output = popen("exec bash --norc -c \"$SCRIPT\" bash \"$TINE\" \"$WORDS\" 2>&1", "re");
    assert_non_null(output);
    size_t length = fread(answer, 1, 4095, output);
    answer[length] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    assert_int_equal(pclose(output), 0);
}

static void expect(const struct daemon *daemon, const char *words, const char *wanted)
{
    char answer[4096];
    complete(daemon, words, answer);
    if (strcmp(answer, wanted) != 0)
        fail_msg("\"%s\": \"%s\" instead of \"%s\"", words, answer, wanted);
}

static void test_commands(void **state)
{
    char answer[4096];
    expect(*state, "tine st", "standby stop start stats");
    expect(*state, "tine fo", "fork");
    expect(*state, "tine xyz", "");
    complete(*state, "tine ", answer);
    assert_non_null(strstr(answer, "run ps inspect"));
    assert_non_null(strstr(answer, "completion"));
    expect(*state, "tine --json fo", "fork");
    expect(*state, "tine --v", "--version");
    expect(*state, "tine help ev", "events");
    expect(*state, "tine help events ", "");
    expect(*state, "tine xyz ", "");
    expect(*state, "tine completion ", "bash");
    expect(*state, "tine image ", "import ls inspect rm");
    expect(*state, "tine image import ", "");
    expect(*state, "tine snapshot ", "create ls inspect fork restore rm");
    expect(*state, "tine snapshot re", "restore");
    expect(*state, "tine snapshot ls --jso", "--json");
    expect(*state, "tine snapshot xyz ", "");
    expect(*state, "tine help snapshot r", "restore rm");
    expect(*state, "tine help snapshot rm ", "");
}

static void test_options(void **state)
{
    expect(*state, "tine fork --co", "--count");
    expect(*state, "tine fork web --name", "--name --name-prefix");
    expect(*state, "tine ps -", "--all --tag --socket --host --json --help");
    expect(*state, "tine fork --target-state ", "Running Standby Stopped");
    expect(*state, "tine update web --no", "--no-expiry");
    expect(*state, "tine run --restart ", "never always on-failure");
    expect(*state, "tine fork --target-state S", "Standby Stopped");
    expect(*state, "tine wait web -s R", "Running");
    expect(*state, "tine top --sort p", "private");
    /* Values that only the user knows, and file names: bash goes on by itself. */
    expect(*state, "tine run --kernel ", "");
    expect(*state, "tine fork --count ", "");
    /* Behind -- there are no options, and those of another program are not ours. */
    expect(*state, "tine rm -- -", "");
    expect(*state, "tine exec web -", "");
    expect(*state, "tine run --e", "--env --entrypoint --expires-at");
    expect(*state, "tine run -- -", "");
}

static void test_names(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "run --name web-2", 0, "", NULL);
    expect_run(daemon, "run --name db", 0, "", NULL);
    expect_run(daemon, "standby db", 0, "", NULL);
    expect(daemon, "tine inspect ", "web web-2 db");
    expect(daemon, "tine inspect we", "web web-2");
    expect(daemon, "tine inspect web ", "");
    expect(daemon, "tine rm web d", "db");
    expect(daemon, "tine start web d", "db");
    expect(daemon, "tine start web -- d", "");
    expect(daemon, "tine stats d", "db");
    expect(daemon, "tine fork --count 3 d", "db");
    expect(daemon, "tine exec -i we", "web web-2");
    expect(daemon, "tine exec web we", "");
    expect(daemon, "tine ps ", "");
    expect(daemon, "tine cp we", ""); /* files, or NAME:PATH */
    expect_run(daemon, "snapshot create db --name warm", 0, "", NULL);
    expect(daemon, "tine snapshot create we", "web web-2");
    expect(daemon, "tine snapshot fork ", "db/warm");
    expect(daemon, "tine snapshot fork db/w", "db/warm");
    expect(daemon, "tine snapshot restore d", "db");
    expect(daemon, "tine snapshot restore db ", "db/warm");
    expect(daemon, "tine snapshot restore db db/warm ", "");
    expect(daemon, "tine snapshot rm x ", "db/warm");
    char words[256];
    snprintf(words, sizeof(words), "tine --socket %s inspect d", daemon->socket);
    expect(daemon, words, "db");
    /* Without tined there are just no names. */
    expect(daemon, "tine --socket /nowhere inspect d", "");
    expect(daemon, "tine inspect --socket /nowhere --js", "--json");
}

static void test_usage(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "completion bash", 0, "complete -o bashdefault -o default -F _tine tine\n",
               NULL);
    expect_run(daemon, "completion zsh", 2, NULL,
               "tine: completion: \"zsh\" is not a shell that is known here: bash is");
    expect_run(daemon, "completion", 2, NULL, "usage: tine completion bash");
    expect_run(daemon, "completion bash bash", 2, NULL, "unexpected argument \"bash\"");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_commands),
        TEST(test_options),
        TEST(test_names),
        TEST(test_usage),
    };
    if (argc != 3)
        return 2;
    tine_path = argv[1];
    program_path_set(argv[1]);
    daemon_program_set(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

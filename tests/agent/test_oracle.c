/* SPDX-License-Identifier: Apache-2.0 */
/* The memory oracle: finds what is wrong, and nothing else. The agent is the first argument. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/client.h"
#include "agent/guest/oracle.h"

/* Runs "oracle <words>" through the agent; checks status and output (NULL: there is some on stderr
 * and none on stdout). The keeper may take a moment to listen. */
static void oracle(struct fixture *fixture, const char *words, int status, const char *output)
{
    char script[300];
    struct agent_result result;
    snprintf(script, sizeof(script),
             "while [ ! -S %s ]; do sleep 0.02; done; exec %s oracle --socket %s %s",
             fixture->oracle, agent_program(), fixture->oracle, words);
    const char *const argv[] = {"sh", "-c", script, NULL};
    const struct agent_exec exec = {.argv = argv, .timeout_ms = TIMEOUT_MS};
    assert_int_equal(agent_exec_run(fixture->vsock, TIMEOUT_MS, &exec, 4096, &result, NULL), 0);
    assert_string_equal(result.out, output ? output : "");
    assert_int_equal(result.exit_code, status);
    assert_true(output ? result.err_length == 0 : result.err_length > 0);
    free(result.out);
    free(result.err_out);
}

static void fill_and_check(void **state)
{
    oracle(*state, "fill 8 42", 0, "filled 2048 pages\n");
    oracle(*state, "check 42", 0, "bad_pages 0 of 2048\n");
    oracle(*state, "check 42", 0, "bad_pages 0 of 2048\n");
    oracle(*state, "check 43", 1, "bad_pages 2048 of 2048\n");
}

static void fill_again(void **state)
{
    oracle(*state, "fill 2 1", 0, "filled 512 pages\n");
    oracle(*state, "fill 2 2", 0, "filled 512 pages\n");
    oracle(*state, "check 2", 0, "bad_pages 0 of 512\n");
    oracle(*state, "fill 3 0xffffffffffffffff", 0, "filled 768 pages\n");
    oracle(*state, "check 18446744073709551615", 0, "bad_pages 0 of 768\n");
    oracle(*state, "fill 1 0", 0, "filled 256 pages\n");
    oracle(*state, "check 0", 0, "bad_pages 0 of 256\n");
}

static void corruption_is_found(void **state)
{
    oracle(*state, "fill 1 7", 0, "filled 256 pages\n");
    oracle(*state, "poke 0", 0, "poked page 0\n");
    oracle(*state, "check 7", 1, "bad_pages 1 of 256\n");
    oracle(*state, "poke 255", 0, "poked page 255\n");
    oracle(*state, "check 7", 1, "bad_pages 2 of 256\n");
    oracle(*state, "poke 0", 0, "poked page 0\n"); /* flips the bit back */
    oracle(*state, "check 7", 1, "bad_pages 1 of 256\n");
    oracle(*state, "poke 256", 2, NULL);
}

static void misuse(void **state)
{
    static const char *const words[] = {
        "",
        "check",
        "check x",
        "check 1 2",
        "check -1",
        "check ''",
        "check 1x",
        "fill 1",
        "fill 0 1",
        "fill 1 99999999999999999999",
        "fill 999999999 1",
        "fill ' 1' 1",
        "other",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        oracle(*state, words[i], 2, NULL);
    oracle(*state, "check 1", 2, NULL); /* nothing is filled */
    oracle(*state, "poke 0", 2, NULL);
}

/* What can't be had leaves the keeper, and what it keeps, as they were. */
static void too_much(void **state)
{
    oracle(*state, "fill 1 5", 0, "filled 256 pages\n");
    oracle(*state, "fill 16777216 5", 2, NULL); /* 16 TiB */
    oracle(*state, "check 5", 0, "bad_pages 0 of 256\n");
}

/* Every word counts, and pages and seeds have nothing in common. */
static void pattern(void **state)
{
    static uint64_t one[ORACLE_PAGE_WORDS], other[ORACLE_PAGE_WORDS];
    oracle_page_fill(one, 1, 1);
    assert_true(oracle_page_check(one, 1, 1));
    for (unsigned word = 0; word < ORACLE_PAGE_WORDS; word++) {
        one[word] ^= 1;
        assert_false(oracle_page_check(one, 1, 1));
        one[word] ^= 1;
    }
    static const uint64_t others[][2] = {{1, 0}, {1, 2}, {2, 1}, {0, 1}, {2, 0}, {0, 2}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        oracle_page_fill(other, others[i][0], others[i][1]);
        for (unsigned word = 0; word < ORACLE_PAGE_WORDS; word++)
            assert_true(one[word] != other[word]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_agent(fill_and_check), with_agent(fill_again), with_agent(corruption_is_found),
        with_agent(misuse),         with_agent(too_much),   cmocka_unit_test(pattern),
    };
    if (argc != 2)
        return 2;
    agent_program_set(argv[1]);
    return cmocka_run_group_tests_name("memory oracle", tests, NULL, NULL);
}

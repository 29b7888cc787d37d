/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_CLI_TERMINAL_H
#define TINE_CLI_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
    bool raw;
    struct termios saved;
};

/* Hands every key on unread. Nothing happens if standard input is no terminal. */
void terminal_raw(struct terminal *terminal);
/* As it was before. */
void terminal_restore(struct terminal *terminal);
/* The size of the terminal on standard output or input; false if neither is one. */
bool terminal_size(unsigned *rows, unsigned *cols);

#endif

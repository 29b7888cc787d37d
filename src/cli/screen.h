/* SPDX-License-Identifier: Apache-2.0 */
/* A full-screen view on the terminal, which is as before when the program ends, also by a signal or
 * a crash, and while it is stopped. */
#ifndef TINE_CLI_SCREEN_H
#define TINE_CLI_SCREEN_H

#include <stdbool.h>

/* Takes the screen: keys come one by one and unseen, the cursor is hidden. False if standard output
 * is no terminal that can do it. */
bool screen_begin(void);
/* Gives it back; nothing happens if it is not taken. */
void screen_end(void);

/* Everything printed between these two replaces what is on the screen. */
void screen_draw_begin(void);
void screen_draw_end(void);

/* Waits that long for a key. 0: none; -1: the window changed its size, or the program went on after
 * a stop: draw again. */
int screen_wait_key(int timeout_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_CONSOLE_H
#define TINE_INSTANCE_CONSOLE_H

#include "instance/host.h"

/* What stands before a guest's words in a message. They are for who asked, not for a log. */
#define CONSOLE_ENDS "console ends: "

/* The length of a message as it may be logged: up to what a guest said. */
int console_loggable(const char *message);

/* The last line that is not blank of the guest's console, for messages: printable ASCII only, since
 * the guest writes it. Empty if there is none. */
struct console_line {
    char text[160];
};
struct console_line console_last_line(const struct operation *op);

#endif

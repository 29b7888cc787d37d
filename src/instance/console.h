/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_CONSOLE_H
#define TINE_INSTANCE_CONSOLE_H

#include "instance/host.h"

/* The last line that is not blank of the guest's console, for messages: printable ASCII only, since
 * the guest writes it. Empty if there is none. */
/* What stands before a guest's words in a message. They are for who asked, not for the log. */
#define CONSOLE_ENDS "console ends: "

struct console_line {
    char text[160];
};
struct console_line console_last_line(const struct operation *op);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

void terminal_raw(struct terminal *terminal)
{
    if (tcgetattr(STDIN_FILENO, &terminal->saved) < 0)
        return;
    struct termios raw = terminal->saved;
    cfmakeraw(&raw);
    terminal->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void terminal_restore(struct terminal *terminal)
{
    if (!terminal->raw)
        return;
    /* Nothing can be done about a terminal that is gone. */
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->saved) == 0)
        terminal->raw = false;
}

bool terminal_size(unsigned *rows, unsigned *cols)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
        return false;
    *rows = size.ws_row;
    *cols = size.ws_col;
    return size.ws_row > 0 && size.ws_col > 0;
}

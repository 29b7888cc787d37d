/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into a mapped file that may become shorter at any moment. */
#ifndef TINE_PAGER_GUARD_H
#define TINE_PAGER_GUARD_H

#include <stdbool.h>

#include "base/error.h"

/* Makes SIGBUS survivable for page_is_zero(); anywhere else it ends the process as before. */
int guard_install(struct error *err);

/* True if the page is there and all zero; false for anything else, a page that can't be read
 * included. Needs guard_install(). */
bool page_is_zero(const void *page);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A flat memory file as a page source: mapped privately and read-only, never copied into a cache of
 * ours. Its holes, and pages of zeros once they were looked at, are known as zero pages. */
#ifndef TINE_PAGER_RAW_SOURCE_H
#define TINE_PAGER_RAW_SOURCE_H

#include <sys/stat.h>

#include "pager/page_source.h"

/* `fd` is a regular file open for reading, `st` its status; both borrowed. `label` names it in
 * messages and is copied. The reference belongs to the caller. */
struct page_source *raw_source_open(int fd, const struct stat *st, const char *label,
                                    struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/entry.h"
#include "agent/guest/control.h"
#include "agent/guest/copy.h"
#include "agent/guest/copy_request.h"

static int path_look(const struct copy_request *request, struct agent_entry *entry)
{
    struct stat st;
    int r = request->follow ? stat(request->path, &st) : lstat(request->path, &st);
    if (r < 0)
        return -errno;
    *entry = (struct agent_entry){
        .mode = st.st_mode,
        .size = (uint64_t)st.st_size,
        .mtime = st.st_mtime,
        .uid = st.st_uid,
        .gid = st.st_gid,
    };
    if (S_ISLNK(st.st_mode) &&
        readlink(request->path, entry->link_target, sizeof(entry->link_target) - 1) < 0)
        return -errno;
    return 0;
}

void copy_stat(int fd, const struct agent_frame *frame, bool machine)
{
    struct copy_request request;
    struct agent_entry entry;
    struct error err = {0};
    uint8_t data[AGENT_ENTRY_SIZE];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    if (copy_request_parse(&request, frame, &err) < 0) {
        control_fail(fd, err.errnum, "%s", err.message);
        return;
    }
    int r = path_look(&request, &entry);
    if (r == 0) {
        agent_entry_put(&fields, &entry);
    } else {
        agent_field_put_u32(&fields, AGENT_TAG_ERRNO, (uint32_t)-r);
        agent_field_put_text(&fields, AGENT_TAG_MESSAGE, strerror(-r));
    }
    control_answer(fd, &fields);
}

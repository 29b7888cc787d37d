/* SPDX-License-Identifier: Apache-2.0 */
/* A session's part in the records of first touches. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "pager/background.h"
#include "pager/pager_private.h"

static uint64_t image_pages(const struct session *session)
{
    return session->source->identity.size >> PAGE_SHIFT;
}

static struct stored_record *find(struct pager *pager, struct session *session)
{
    const char *key = session->block.header->cache_key;
    struct error err = {0};
    struct stored_record *stored = record_store_find(pager->records, key, image_pages(session));
    if (stored || !session->record_name)
        return stored;
    if (record_store_load(pager->records, session->directory_fd, session->record_name, key,
                          image_pages(session), &err) == 0)
        return record_store_find(pager->records, key, image_pages(session));
    if (err.errnum != ENOENT) /* one that can't be used is made anew */
        log_warning("session %s: %s", session->id, err.message);
    return NULL;
}

void session_record_begin(struct pager *pager, struct session *session)
{
    session->stored = find(pager, session);
    if (session->stored) {
        background_prefetch(session, stored_record_get(session->stored));
        return;
    }
    session->recording = session->record_ms > 0;
    if (session->recording)
        session->record_until_ns = time_after_ms(session->record_ms);
}

static void take_touched(struct session *session, void *data)
{
    struct touch_record *touched = data;
    *touched = session->touched;
    session->touched = (struct touch_record){0};
    session->recording = false;
}

static int publish(const struct session *session, const struct touch_record *record,
                   struct error *err)
{
    size_t length = 0;
    _cleanup_(free) uint8_t *data = touch_record_encode(record, session->block.header->cache_key,
                                                        image_pages(session), &length);
    if (!data)
        return error_errno(err, ENOMEM, session->record_name, "write %s", session->record_name);
    return file_publish(session->directory_fd, session->record_name, data, length, 0600, err);
}

static void read_over(struct session *session, void *data)
{
    *(bool *)data = session->state > SESSION_COMPLETING || !session->recording;
}

void session_record_tick(struct pager *pager, struct session *session, uint64_t now_ns)
{
    struct touch_record touched = {0};
    struct error err = {0};
    bool over = false;
    if (session->record_until_ns == 0)
        return;
    pager_session_visit(session, read_over, &over);
    if (!over && now_ns < session->record_until_ns)
        return;
    session->record_until_ns = 0;
    pager_session_visit(session, take_touched, &touched);
    if (touched.count > 0 && session->record_name) {
        session->recorded = publish(session, &touched, &err) == 0;
        if (!session->recorded)
            log_warning("session %s: %s", session->id, err.message);
    }
    if (touched.count > 0)
        record_store_put(pager->records, session->block.header->cache_key, image_pages(session),
                         &touched);
    touch_record_free(&touched);
}

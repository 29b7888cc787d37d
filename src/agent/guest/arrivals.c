/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/arrivals.h"

#include <errno.h>
#include <sys/socket.h>

#include "agent/guest/control.h"
#include "agent/protocol.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define REQUEST_MS    30000u /* for the request to arrive */
#define ANSWERED_MS   30000u /* for the host to close */
#define REQUEST_LIMIT 8192u  /* bytes of one that is answered here */

bool arrivals_add(struct arrivals *arrivals, int fd)
{
    if (arrivals->count == ARRIVALS_LIMIT)
        return false;
    arrivals->list[arrivals->count++] =
        (struct arrival){.fd = fd, .deadline_ns = time_after_ms(REQUEST_MS)};
    return true;
}

int arrivals_poll(const struct arrivals *arrivals, struct pollfd *fds)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < arrivals->count; i++) {
        fds[i] = (struct pollfd){.fd = arrivals->list[i].fd, .events = POLLIN};
        if (arrivals->list[i].deadline_ns < first)
            first = arrivals->list[i].deadline_ns;
    }
    return first == UINT64_MAX ? -1 : time_left_ms(first);
}

enum outcome { STAYS, OVER, NEEDS_PROCESS };

static bool is_short(uint8_t type)
{
    return type == AGENT_HELLO || type == AGENT_RESTORED;
}

/* Reads nothing unless the whole request is there. */
static enum outcome request_serve(struct arrival *arrival, bool machine)
{
    uint8_t buffer[REQUEST_LIMIT];
    struct agent_frame request;
    ssize_t n = recv(arrival->fd, buffer, sizeof(buffer), MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return OVER;
    if (n < 0)
        return STAYS;
    if (n < (ssize_t)AGENT_FRAME_HEADER ||
        agent_header_decode(buffer, &request.type, &request.length) < 0 ||
        !is_short(request.type) || request.length > (size_t)n - AGENT_FRAME_HEADER)
        return NEEDS_PROCESS;
    if (agent_frame_read(arrival->fd, buffer, &request, NULL) <= 0)
        return OVER;
    if (request.type == AGENT_HELLO)
        control_send_hello(arrival->fd);
    else
        control_send_restored(arrival->fd, &request, machine);
    arrival->answered = true;
    arrival->deadline_ns = time_after_ms(ANSWERED_MS);
    return STAYS;
}

/* A host that has its answer has nothing more to say. */
static enum outcome drain(const struct arrival *arrival)
{
    char dropped[512];
    ssize_t n = recv(arrival->fd, dropped, sizeof(dropped), MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)) ? STAYS : OVER;
}

static enum outcome outcome_of(struct arrival *arrival, short events, bool machine)
{
    if (events && !arrival->answered)
        return request_serve(arrival, machine);
    if (time_monotonic_ns() >= arrival->deadline_ns)
        return OVER;
    return events ? drain(arrival) : STAYS;
}

int arrivals_serve(struct arrivals *arrivals, struct pollfd *fds, bool machine)
{
    /* From the last one on: what is taken out moves later ones only, which were looked at. */
    for (size_t i = arrivals->count; i-- > 0;) {
        struct arrival *arrival = &arrivals->list[i];
        enum outcome outcome = outcome_of(arrival, fds[i].revents, machine);
        fds[i].revents = 0;
        if (outcome == STAYS)
            continue;
        int fd = arrival->fd;
        *arrival = arrivals->list[--arrivals->count];
        fds[i] = fds[arrivals->count];
        if (outcome == NEEDS_PROCESS)
            return fd;
        close(fd);
    }
    return -1;
}

void arrivals_drop(struct arrivals *arrivals)
{
    while (arrivals->count > 0)
        close(arrivals->list[--arrivals->count].fd);
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_SERVICE_H
#define TINE_API_SERVICE_H

/* Tells the service manager that started us ("READY=1", "STOPPING=1"): one datagram to the socket
 * that $NOTIFY_SOCKET names, see sd_notify(3). Does nothing if nobody asked for it. */
void service_notify(const char *state);

#endif

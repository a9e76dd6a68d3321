/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The link to libvirt: a read-only connection with two threads of its own. One
 * runs libvirt's event loop (keep-alive works only so), the other makes the
 * calls. The main thread asks and takes answers, and never waits for either.
 */

#include "platform/facts.h"

typedef struct Link Link;

typedef enum LinkState {
        LINK_CONNECTING, /* not connected; trying, with back-off */
        LINK_UP,
        LINK_DOWN,       /* was connected, has been lost; trying again */
} LinkState;

typedef struct LinkStatus {
        LinkState state;
        int64_t since_ns;   /* CLOCK_MONOTONIC of the last change of state */
        int64_t asked_at_ns; /* when the request under way was asked for; 0: none */
        char error[256];    /* one line: why it is not up, or why no list can be read; "" when all is well */
        char uri[256];
        unsigned long version; /* of the hypervisor's libvirt; 0: unknown */
} LinkStatus;

/*
 * Starts both threads. notify_fd is an eventfd that the link writes 1 to when
 * there is something to look at: an event that asks for a round, a fresh list,
 * or a change of state. Returns 0, or -errno. Not more than one per process.
 */
int link_new(const char *uri, int notify_fd, Link **ret);

/*
 * Asks for a fresh list. full: every VM is read anew; else only VMs that are
 * new or that an event named. Requests coalesce until they are begun, so that
 * an answer was always read after its request. Never blocks.
 *
 * After an event, and once it is connected, the link asks by itself: whoever
 * is poked should not ask, only take. For an event the link looks at the VMs
 * that it named and at no other, which waits for no VM that is just starting, as
 * a request may; and a full list is put off until the event has been served.
 */
void link_request(Link *link, bool full);

/* As if an event had named the VM, but without a hurry: it is read anew for the
 * next list, which is asked for. Never blocks. */
void link_doubt(Link *link, const char *uuid);

/* Whether an event since the last call asks for a look. Never blocks. */
bool link_poked(Link *link);

/* The newest list that has not been taken; NULL if there is none. The caller
 * frees it. A list is handed out only when all of it could be read. */
FactList *link_take(Link *link);

void link_status(Link *link, LinkStatus *ret);

/* Abandons the link without waiting; safe while libvirt hangs. Nothing is
 * written to notify_fd afterwards. Its connection is left to the end of the
 * process. Takes NULL. */
void link_abandon(Link *link);

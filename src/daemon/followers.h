/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Clients that follow the events. None has a queue of its own: the ring is the
 * queue, and a follower is a place in it. It gets the next few events when it has
 * taken those before; one that is too slow for the ring is told how many it lost.
 */

#include "daemon/control.h"
#include "daemon/events.h"

typedef struct Followers Followers;

/* Events are borrowed, and have their wake set. 0 or -errno. */
int followers_new(sd_event *event, Events *events, Followers **ret);
/* Ends all calls; the control must have gone. */
Followers *followers_free(Followers *followers);

/* Takes over a call with more: answers it from event number since on, as long as
 * its client stays. False: there are too many. */
bool followers_add(Followers *followers, ControlCall *call, uint64_t since);

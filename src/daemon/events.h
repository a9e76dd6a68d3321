/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What was decided, when and why, for those who ask later: a ring of fixed
 * size. Each event has a number, one more than the event before it; the oldest
 * gives way to the newest, and who asks for it is told how many are lost.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "core/snapshot.h"

enum { EVENTS_MAX = 4096, EVENT_TEXT_SIZE = 256 };

typedef enum EventKind {
        EVENT_STARTED,
        EVENT_CAME, /* a VM is seen for the first time */
        EVENT_WENT,
        EVENT_MOVED,
        EVENT_VERDICT, /* of a VM, or its reason, is another one */
        EVENT_RANGE, /* where a VM may run was changed */
        EVENT_REPAIRED, /* masks of ours that somebody changed were put back */
        EVENT_CONTESTED, /* somebody keeps changing them: we back off */
        EVENT_WRITE_FAILED,
        EVENT_REASSIGN, /* somebody asked for one */
        EVENT_CPUS, /* came online or went offline */
        EVENT_SETTINGS,
        EVENT_LIBVIRT, /* the link is lost or back */
        EVENT_TROUBLE,
        EVENT_PAUSED,
        EVENT_RESUMED,
        EVENT_RECOVERED,
        EVENT_KINDS,
} EventKind;

typedef struct Event {
        int64_t time_us; /* since 1970 */
        uint64_t round; /* 0: not of a round */
        EventKind kind;
        char uuid[VM_UUID_SIZE]; /* "": not of a VM */
        char name[VM_NAME_SIZE];
        char text[EVENT_TEXT_SIZE];
} Event;

typedef struct Events {
        uint64_t next; /* number of the event to come; the first has 1 */
        sd_event_source *wake; /* enabled, once, by each event; NULL: nobody waits. Borrowed */
        Event event[EVENTS_MAX];
} Events;

int events_new(Events **ret); /* 0 or -ENOMEM */
Events *events_free(Events *events);

const char *event_kind_name(EventKind kind);

/* Takes in one that is complete. */
void events_put(Events *events, const Event *event);
/* One of now. vm: NULL when it is of none. A text that is too long ends with "...". */
void events_add(Events *events, EventKind kind, uint64_t round, const Vm *vm, const char *format, ...)
        __attribute__((format(printf, 5, 6)));

/*
 * Where a reader goes on who wants event number since: there, or at the oldest
 * that is left, with the number of those lost between. A number that is not given
 * yet, but for the very next, is of a daemon before this one: all over again.
 */
uint64_t events_from(const Events *events, uint64_t since, uint64_t *ret_lost);

/* The parameters of GetEvents' reply: events number from and the following, at
 * most so many; lost is told too. NULL: no memory. */
json_t *view_events(const Events *events, uint64_t from, uint64_t most, uint64_t lost);

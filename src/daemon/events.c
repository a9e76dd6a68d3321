/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/events.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/view.h"

static const char *const kind_names[EVENT_KINDS] = {
        [EVENT_STARTED] = "started",   [EVENT_CAME] = "came",           [EVENT_WENT] = "went",
        [EVENT_MOVED] = "moved",       [EVENT_VERDICT] = "verdict",     [EVENT_RANGE] = "range",
        [EVENT_REPAIRED] = "repaired", [EVENT_CONTESTED] = "contested", [EVENT_WRITE_FAILED] = "write_failed",
        [EVENT_REASSIGN] = "reassign", [EVENT_CPUS] = "cpus",           [EVENT_SETTINGS] = "settings",
        [EVENT_LIBVIRT] = "libvirt",   [EVENT_TROUBLE] = "trouble",     [EVENT_PAUSED] = "paused",
        [EVENT_RESUMED] = "resumed",   [EVENT_RECOVERED] = "recovered",
};

const char *event_kind_name(EventKind kind) {
        return kind_names[kind];
}

int events_new(Events **ret) {
        Events *events = calloc(1, sizeof(*events));

        if (!events)
                return -ENOMEM;
        events->next = 1;
        /* Its pages are in use from the start, so that what the daemon takes is seen then, and
         * does not grow for days. */
        for (unsigned i = 0; i < EVENTS_MAX; i++)
                events->event[i].kind = EVENT_KINDS;
        *ret = events;
        return 0;
}

Events *events_free(Events *events) {
        free(events);
        return NULL;
}

void events_put(Events *events, const Event *event) {
        events->event[events->next++ % EVENTS_MAX] = *event;
        if (events->wake)
                sd_event_source_set_enabled(events->wake, SD_EVENT_ONESHOT);
}

/* An event's time is the wall clock's, as a log line's is; nothing is decided by it. */
static int64_t wall_us(void) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

void events_add(Events *events, EventKind kind, uint64_t round, const Vm *vm, const char *format, ...) {
        Event event = {.time_us = wall_us(), .round = round, .kind = kind};
        va_list args;

        if (vm) {
                memcpy(event.uuid, vm->uuid, sizeof(event.uuid));
                memcpy(event.name, vm->name, sizeof(event.name));
        }
        va_start(args, format);
        int n = vsnprintf(event.text, sizeof(event.text), format, args);
        va_end(args);
        if (n >= (int)sizeof(event.text))
                strcpy(event.text + sizeof(event.text) - 4, "...");
        events_put(events, &event);
}

uint64_t events_from(const Events *events, uint64_t since, uint64_t *ret_lost) {
        uint64_t oldest = events->next > EVENTS_MAX ? events->next - EVENTS_MAX : 1;

        if (since > events->next || since == 0)
                since = 1;
        *ret_lost = since < oldest ? oldest - since : 0;
        return since < oldest ? oldest : since;
}

static json_t *view_event(const Event *event, uint64_t sequence) {
        return json_pack("{s:I, s:I, s:s, s:o, s:s, s:o, s:o}", "sequence", (json_int_t)sequence, "time_us",
                         (json_int_t)event->time_us, "kind", event_kind_name(event->kind), "round",
                         event->round ? json_integer((json_int_t)event->round) : json_null(), "vm",
                         event->uuid, "name", view_text(event->name), "text", view_text(event->text));
}

json_t *view_events(const Events *events, uint64_t from, uint64_t most, uint64_t lost) {
        json_t *list = json_array();

        for (uint64_t i = from; list && i < events->next && i - from < most; i++)
                if (json_array_append_new(list, view_event(&events->event[i % EVENTS_MAX], i)) < 0) {
                        json_decref(list);
                        list = NULL;
                }
        return list ? json_pack("{s:o, s:I}", "events", list, "lost", (json_int_t)lost) : NULL;
}

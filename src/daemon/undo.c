/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/undo.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "daemon/verbs.h"
#include "util/log.h"

enum { UNDO_WAIT_MS = 1000 };

#define MS_NS INT64_C(1000000)

static void answer_all(Server *server, int r, unsigned restored, unsigned failed) {
        for (unsigned i = 0; i < server->n_undo_calls; i++)
                verbs_answer_recover(server->undo_call[i], r, restored, failed);
        server->n_undo_calls = 0;
        sd_event_source_set_enabled(server->undo_due, SD_EVENT_OFF);
}

/* True: they were asked for after that, so that the list has every change before. */
static bool list_is_newer(const Server *server, int64_t asked_ns) {
        return server->facts && server->facts->taken_at_ns >= asked_ns;
}

static int restore(Server *server, bool keep_homes, unsigned *ret_restored, unsigned *ret_failed) {
        if (!list_is_newer(server, server->undo_asked_ns))
                log_notice("libvirt does not answer at once: ranges are taken as they were last seen");
        if (server->facts)
                rounds_look(server->rounds, server->facts);
        return rounds_restore(server->rounds, keep_homes, ret_restored, ret_failed);
}

static void recover(Server *server) {
        unsigned restored, failed;
        int r;

        r = restore(server, false, &restored, &failed);
        log_notice("recovered: %u threads restored, %u could not be; paused until 'vasctl resume'", restored,
                   failed);
        events_add(server->events, EVENT_RECOVERED, 0, NULL,
                   "recovered: %u threads restored, %u could not be; paused", restored, failed);
        answer_all(server, r, restored, failed);
        server_poke(server, true);
}

void undo_now(Server *server) {
        if (server->n_undo_calls > 0)
                recover(server);
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *server = userdata;

        (void)source;
        (void)usec;
        undo_now(server);
        return 0;
}

/* False: nothing will wake us. */
static bool wake_when_due(Server *server) {
        int r = 0;

        if (!server->undo_due)
                r = sd_event_add_time(server->event, &server->undo_due, CLOCK_MONOTONIC, UINT64_MAX, 0,
                                      on_due, server);
        if (r >= 0)
                r = sd_event_source_set_time_relative(server->undo_due, UNDO_WAIT_MS * UINT64_C(1000));
        if (r >= 0)
                r = sd_event_source_set_enabled(server->undo_due, SD_EVENT_ONESHOT);
        return r >= 0;
}

void undo_ask(Server *server, ControlCall *call) {
        bool first = server->n_undo_calls == 0;

        if (server->n_undo_calls == UNDO_CALLS_MAX) {
                verbs_error(call, "Failed", "too many requests are waiting");
                return;
        }
        server->undo_call[server->n_undo_calls++] = call;
        if (!first)
                return;
        server->state->paused = true;
        server_cancel_round(server, "recovered and paused: 'vasctl resume' lets the daemon act again");
        server->undo_asked_ns = server_now(server);
        if (server->link_state == LINK_UP && wake_when_due(server))
                server_poke(server, true);
        else
                recover(server);
}

void undo_take_list(Server *server) {
        if (server->n_undo_calls > 0 && list_is_newer(server, server->undo_asked_ns))
                recover(server);
}

/* Takes lists until one is new enough, or time is up. */
static void wait_for_list(Server *server) {
        struct pollfd poll_fd = {.fd = server->notify_fd, .events = POLLIN};
        int64_t until = server->undo_asked_ns + UNDO_WAIT_MS * MS_NS, left;
        uint64_t count;

        link_request(server->link, true);
        while (!list_is_newer(server, server->undo_asked_ns) && (left = until - server_now(server)) > 0) {
                if (poll(&poll_fd, 1, (int)(left / MS_NS) + 1) < 0 && errno != EINTR)
                        return;
                if (read(server->notify_fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
                        return;
                FactList *facts = link_take(server->link);
                if (facts) {
                        fact_list_free(server->facts);
                        server->facts = facts;
                }
        }
}

void undo_at_stop(Server *server, unsigned *ret_restored, unsigned *ret_failed) {
        bool recovering = server->n_undo_calls > 0;
        int r;

        server->undo_asked_ns = server_now(server);
        if (server->link_state == LINK_UP)
                wait_for_list(server);
        r = restore(server, !recovering, ret_restored, ret_failed);
        if (recovering)
                answer_all(server, r, *ret_restored, *ret_failed);
}

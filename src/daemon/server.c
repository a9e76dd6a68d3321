/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/server_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/metrics.h"
#include "daemon/prefer.h"
#include "daemon/undo.h"
#include "daemon/verbs.h"
#include "daemon/view.h"
#include "util/log.h"
#include "util/monotonic.h"

#define SECOND_NS INT64_C(1000000000)
#define MS_NS INT64_C(1000000)

int64_t server_now(const Server *server) {
        (void)server;
        return monotonic_ns();
}

bool server_acts(const Server *server) {
        return server->settings->act && !server->state->paused;
}

void server_view(const Server *server, View *ret) {
        const Rounds *rounds = server->rounds;

        *ret = (View){.topology = rounds->topology,
                      .snapshot = rounds->snapshot,
                      .policy = &server->settings->policy,
                      .plan = rounds->plan,
                      .offline = &rounds->offline,
                      .acting = server_acts(server),
                      .paused = server->state->paused};
}

void server_poke(Server *server, bool full) {
        server->full_asked |= full;
        if (server->link)
                link_request(server->link, full);
}

bool server_wait(Server *server, ControlCall *call, const char *did, const char *reassign, bool dry_run) {
        Waiter waiter = {.call = call,
                         .did = did,
                         .dry_run = dry_run,
                         .asked_ns = server_now(server),
                         .until_ns = server_now(server) + WAITER_TIMEOUT_S * SECOND_NS};

        if (server->n_waiters == WAITERS_MAX)
                return false;
        if (reassign && !(waiter.reassign = strdup(reassign)))
                return false;
        server->waiter[server->n_waiters++] = waiter;
        server_poke(server, reassign != NULL);
        return true;
}

static void server_drop_waiter(Server *server, unsigned at) {
        free(server->waiter[at].reassign);
        server->n_waiters--;
        memmove(&server->waiter[at], &server->waiter[at + 1], (server->n_waiters - at) * sizeof(Waiter));
}

void server_fail_waiters(Server *server, bool all, const char *reason) {
        int64_t now = server_now(server);

        for (unsigned i = server->n_waiters; i-- > 0;)
                if (all || now >= server->waiter[i].until_ns) {
                        verbs_no_round(server->waiter[i].call, server->waiter[i].did, reason);
                        server_drop_waiter(server, i);
                }
}

/* Whether the newest list was read after the call: a VM that was started, or a
 * pin that was changed, before the call is in it. */
static bool server_can_serve(const Server *server, const Waiter *waiter) {
        return server->facts->taken_at_ns >= waiter->asked_ns;
}

/* The request that the next round serves: the first reassignment, if any. */
static Waiter *server_next_reassign(Server *server) {
        for (unsigned i = 0; i < server->n_waiters; i++)
                if (server->waiter[i].reassign && server_can_serve(server, &server->waiter[i]))
                        return &server->waiter[i];
        return NULL;
}

/* Refuses every call that waits for writes which will not come. */
static void server_refuse_reassigns(Server *server, const char *reason) {
        for (unsigned i = server->n_waiters; i-- > 0;)
                if (server->waiter[i].reassign && !server->waiter[i].dry_run) {
                        verbs_error(server->waiter[i].call, "Refused", reason);
                        server_drop_waiter(server, i);
                }
}

void server_cancel_round(Server *server, const char *reason) {
        server_refuse_reassigns(server, reason);
        rounds_cancel(server->rounds);
}

static void server_answer_waiters(Server *server) {
        for (unsigned i = server->n_waiters; i-- > 0;) {
                Waiter *waiter = &server->waiter[i];
                if (waiter->started && waiter->reassign)
                        verbs_answer_reassign(server, waiter->call, false, NULL);
                else if (waiter->started)
                        control_reply(waiter->call, NULL);
                else
                        continue;
                server_drop_waiter(server, i);
        }
}

static void server_try_reassign(Server *server, Waiter *waiter) {
        int r = rounds_try_reassign(server->rounds, waiter->reassign);

        verbs_answer_reassign(server, waiter->call, true, r == 0 ? NULL : waiter->reassign);
        server_drop_waiter(server, (unsigned)(waiter - server->waiter));
}

/* Wakes the loop for a source so long from now (and not from when the loop last
 * looked at the clock), if it is not to be woken before. */
static void wake_in_ms(const Server *server, sd_event_source *source, unsigned ms) {
        uint64_t at = (uint64_t)(server_now(server) / 1000) + ms * UINT64_C(1000), before = 0;
        int enabled = SD_EVENT_OFF;

        if (sd_event_source_get_enabled(source, &enabled) < 0 ||
            (enabled != SD_EVENT_OFF && sd_event_source_get_time(source, &before) >= 0 && before <= at))
                return;
        if (sd_event_source_set_time(source, at) >= 0)
                sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* A failure that passes is gone soon; one that stays must not keep us busy. */
static void server_retry_if_asked(Server *server) {
        if (!server->rounds->retry_soon) {
                server->retry_ms = RETRY_MS;
                return;
        }
        server->rounds->retry_soon = false;
        wake_in_ms(server, server->retry, server->retry_ms);
        if (server->retry_ms < RETRY_MOST_MS)
                server->retry_ms *= 2;
}

/* Asks libvirt again when its list and /proc have come to differ, and less and less
 * often while they go on to differ by as much: it may be another thread, or libvirt
 * may know of it a little later. Whatever a VM's process does to its threads, the
 * second time is not at once. */
static void server_refresh_list(Server *server) {
        uint32_t count = server->rounds->n_out_of_date, before = server->n_out_of_date;
        int64_t now = server_now(server);

        server->n_out_of_date = count;
        if (count != before)
                server->refresh_wait_ns = RETRY_MS * MS_NS;
        if (count == 0)
                return;
        if (now - server->refreshed_ns >= server->refresh_wait_ns) {
                if (count == before && server->refresh_wait_ns < REFRESH_MOST_S * SECOND_NS)
                        server->refresh_wait_ns *= 2;
                server->refreshed_ns = now;
                server_poke(server, true);
        } else
                wake_in_ms(server, server->retry,
                           (unsigned)((server->refresh_wait_ns - (now - server->refreshed_ns)) / MS_NS + 1));
}

bool server_choose_backend(Server *server) {
        Backend before = server->backend;
        ThreadRef example;

        server->backend_saw_vcpu = prefer_example(server->rounds, &example);
        backend_choose(server->real, server->backend_saw_vcpu ? &example : NULL, "", server->settings,
                       &server->backend);
        server->rounds->tidal = server->backend.way;
        server->rounds->tlbi_limited = server->backend.tlbi_limited;
        if (settings_want_dynamic(server->settings) && strcmp(before.why, server->backend.why) != 0)
                log_line(server->backend.kind == BACKEND_NONE ? LOG_WARNING : LOG_NOTICE, "dynamic binding: %s (%s)",
                         backend_name(server->backend.kind), server->backend.why);
        return before.way != server->backend.way;
}

/* The kernel's files are seen best at a vCPU's own thread. */
static void server_look_at_backend(Server *server) {
        ThreadRef example;

        if (!server->backend_saw_vcpu && settings_want_dynamic(server->settings) &&
            prefer_example(server->rounds, &example) && server_choose_backend(server))
                server_poke(server, false);
}

/* After each round: whoever is dynamic now is followed, or nobody. */
static void server_sync_dynamic(Server *server) {
        /* What the settings forbid is not done in place of what has gone. */
        bool can = server->backend.kind != BACKEND_NONE;
        int n = dynamic_sync(server->dynamic, can && server_acts(server));
        uint64_t now;

        if (n < 0)
                log_warning("dynamic binding rests: %s", strerror(-n));
        if (n <= 0)
                sd_event_source_set_enabled(server->beat, SD_EVENT_OFF);
        else {
                int enabled = SD_EVENT_OFF;

                if (sd_event_source_get_enabled(server->beat, &enabled) == 0 && enabled == SD_EVENT_OFF &&
                    sd_event_now(server->event, CLOCK_MONOTONIC, &now) >= 0 &&
                    sd_event_source_set_time(server->beat, now + BEAT_MS * 1000) >= 0)
                        sd_event_source_set_enabled(server->beat, SD_EVENT_ONESHOT);
        }
}

/* Somebody wrote a mask of the VM's: it may have been libvirt, for an operator of
 * whose wish no event told (yet). What else it says of the VM is asked for once;
 * who goes on to write is a quarrel, and no reason to go on asking. */
static void server_ask_about_changed(Server *server) {
        const Rounds *rounds = server->rounds;

        for (unsigned i = 0; i < rounds->n_changed_vms; i++)
                link_doubt(server->link, rounds->snapshot->vm[rounds->changed_vm[i]].uuid);
}

static void server_start_round(Server *server);

static void server_round_done(Server *server) {
        report_round(server->report, server->rounds);
        server_look_at_backend(server);
        server_sync_dynamic(server);
        server_write_metrics(server);
        server_answer_waiters(server);
        server_retry_if_asked(server);
        server_refresh_list(server);
        server_ask_about_changed(server);
        if (server->facts_fresh)
                server_start_round(server);
        else if (server->n_waiters > 0)
                server_poke(server, false);
}

void server_tell_of_stranger(Server *server) {
        Stranger stranger;

        if (real_host_take_stranger(server->real, &stranger))
                log_error("a vCPU thread died while it was bound, and thread %d (%s) of process %d has its number "
                          "now: %s",
                          stranger.tid, stranger.comm, stranger.pid,
                          stranger.widened ? "it was given its process's mask back"
                                           : "its mask could not be given back, see taskset(1)");
}

static int on_beat(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *server = userdata;
        uint64_t now;
        int r = 0;

        if (!server->rounds->applying && server_acts(server))
                r = dynamic_pass(server->dynamic);
        server_tell_of_stranger(server);
        if (r < 0)
                log_debug("a pass of the dynamic binding failed: %s", strerror(-r));
        /* A beat that comes late is not made up for. */
        if (sd_event_now(server->event, CLOCK_MONOTONIC, &now) >= 0 && now > usec + BEAT_MS * 1000)
                usec = now;
        r = sd_event_source_set_time(source, usec + BEAT_MS * 1000);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* A slice of the writes. The next comes when no client has anything to say, but
 * soon also if they never end. */
static void server_apply(Server *server) {
        bool done = rounds_apply_some(server->rounds, SLICE_MS * MS_NS);

        server_tell_of_stranger(server);
        sd_event_source_set_enabled(server->slice, done ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
        sd_event_source_set_enabled(server->slice_due, SD_EVENT_OFF);
        if (done)
                server_round_done(server);
        else
                wake_in_ms(server, server->slice_due, SLICE_PAUSE_MS);
}

/* Every call that waits for "a round" is served by the one that starts now. */
static void server_mark_served(Server *server, Waiter *reassign) {
        for (unsigned i = 0; i < server->n_waiters; i++)
                if (&server->waiter[i] == reassign ||
                    (!server->waiter[i].reassign && server_can_serve(server, &server->waiter[i])))
                        server->waiter[i].started = true;
}

static void server_start_round(Server *server) {
        Rounds *rounds = server->rounds;
        Waiter *reassign = server_next_reassign(server);
        bool dry_run = reassign && reassign->dry_run;
        RoundRequest request = {.act = server_acts(server),
                                .full = server->full_asked,
                                .only_events = server->facts->only_events,
                                .reassign = reassign && !dry_run ? reassign->reassign : NULL};

        server->facts_fresh = false;
        server->full_asked = false;
        int r = rounds_begin(rounds, server->facts, &request);
        if (r < 0) {
                report_round(server->report, rounds);
                server_write_metrics(server);
                server_fail_waiters(server, true, rounds->trouble);
                server->full_asked = true; /* whatever this one was to look at */
                rounds->retry_soon = true;
                server_retry_if_asked(server);
                return;
        }
        if (r > 0 && reassign) {
                verbs_answer_reassign(server, reassign->call, false, reassign->reassign);
                server_drop_waiter(server, (unsigned)(reassign - server->waiter));
                reassign = NULL;
        } else if (request.reassign)
                events_add(server->events, EVENT_REASSIGN, 0, NULL, "reassign of %.200s", request.reassign);
        if (dry_run) {
                server_try_reassign(server, reassign);
                reassign = NULL;
        }
        server_mark_served(server, reassign);
        server_apply(server);
}

/* Says once when the link comes, goes, or can not come. */
static void server_note_link(Server *server) {
        LinkStatus status;

        link_status(server->link, &status);
        if (status.state == server->link_state && strcmp(status.error, server->link_error) == 0)
                return;
        if (status.state == LINK_UP && server->link_state != LINK_UP) {
                log_notice("connected to libvirt at %s", status.uri);
                events_add(server->events, EVENT_LIBVIRT, 0, NULL, "connected to libvirt at %s", status.uri);
                server->ever_up = true;
                server_poke(server, true);
        } else if (status.state != LINK_UP && status.error[0]) {
                log_warning("no libvirt at %s: %s; all bindings stay as they are, trying again", status.uri,
                            status.error);
                events_add(server->events, EVENT_LIBVIRT, 0, NULL, "no libvirt at %s: %s; all bindings stay",
                           status.uri, status.error);
                server_fail_waiters(server, true, status.error);
        }
        server->link_state = status.state;
        server_write_metrics(server);
        memcpy(server->link_error, status.error, sizeof(server->link_error));
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Server *server = userdata;
        uint64_t count;

        (void)source;
        (void)events;
        /* What could not be read calls again. An error would be the end of this source, and we
         * deaf from then on, without a word. */
        (void)!read(fd, &count, sizeof(count));
        server_note_link(server);
        (void)link_poked(server->link); /* the link asks by itself after an event */
        FactList *facts = link_take(server->link);
        if (facts) {
                if (server->facts_fresh) /* what that list was to be looked at for, this one is */
                        facts->only_events &= server->facts->only_events;
                fact_list_free(server->facts);
                server->facts = facts;
                server->facts_fresh = true;
                undo_take_list(server);
                if (!server->rounds->applying)
                        server_start_round(server);
        }
        return 0;
}

static int on_slice(sd_event_source *source, void *userdata) {
        (void)source;
        server_apply(userdata);
        return 0;
}

static int on_slice_due(sd_event_source *source, uint64_t usec, void *userdata) {
        (void)source;
        (void)usec;
        server_apply(userdata);
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        (void)source;
        (void)usec;
        server_poke(userdata, true);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *server = userdata;
        int64_t now = server_now(server);
        (void)usec;
        bool full = now - server->last_full_ns >= FULL_RESYNC_S * SECOND_NS;

        if (full)
                server->last_full_ns = now;
        server_fail_waiters(server, false, "libvirt did not answer in time");
        if (server->link_state != LINK_UP)
                server_write_metrics(server); /* no round does */
        /* Libvirt tells all anew; a VM of which it tells something new is then
         * looked at in full, and so is each VM in its turn (see host.h). */
        link_request(server->link, full);
        int r = sd_event_source_set_time_relative(source, (uint64_t)(server->settings->interval_ns / 1000));
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        char why[SETTINGS_WHY_SIZE];
        Server *server = userdata;
        bool refused = server_reload(server, why) < 0;

        (void)source;
        (void)info;
        snprintf(server->reload_trouble, sizeof(server->reload_trouble), "%s", refused ? why : "");
        if (refused)
                log_error("settings not changed: %s", why);
        else
                log_notice("settings read again");
        events_add(server->events, EVENT_SETTINGS, 0, NULL, "settings %s%s", refused ? "not changed: " : "read again",
                   refused ? why : "");
        return 0;
}

static int server_add_slices(Server *server) {
        int r = sd_event_add_defer(server->event, &server->slice, on_slice, server);

        if (r >= 0)
                r = sd_event_source_set_enabled(server->slice, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_priority(server->slice, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_add_time(server->event, &server->slice_due, CLOCK_MONOTONIC, UINT64_MAX, 1, on_slice_due,
                                      server);
        return r < 0 ? r : sd_event_source_set_enabled(server->slice_due, SD_EVENT_OFF);
}

int server_add_sources(Server *server) {
        uint64_t now;
        int r = sd_event_now(server->event, CLOCK_MONOTONIC, &now);

        if (r >= 0)
                r = sd_event_add_io(server->event, NULL, server->notify_fd, EPOLLIN, on_link, server);
        if (r >= 0)
                r = sd_event_add_time(server->event, &server->timer, CLOCK_MONOTONIC,
                                      now + (uint64_t)(server->settings->interval_ns / 1000), 0, on_timer, server);
        if (r >= 0)
                r = sd_event_add_time(server->event, &server->retry, CLOCK_MONOTONIC, UINT64_MAX, 0, on_retry, server);
        if (r >= 0)
                r = sd_event_source_set_enabled(server->retry, SD_EVENT_OFF);
        if (r >= 0)
                r = server_add_slices(server);
        if (r >= 0)
                r = sd_event_add_time(server->event, &server->beat, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_beat, server);
        if (r >= 0)
                r = sd_event_source_set_enabled(server->beat, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_signal(server->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(server->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(server->event, NULL, SIGHUP, on_hangup, server);
        if (r >= 0)
                r = sd_event_set_watchdog(server->event, true);
        return r;
}

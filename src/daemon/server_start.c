/* SPDX-License-Identifier: Apache-2.0 */

/* The service's start and end: what it opens, in which order, and gives back. */

#include "daemon/server_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/metrics.h"
#include "daemon/undo.h"
#include "daemon/verbs.h"
#include "util/log.h"
#include "util/outside.h"
#include "wire/names.h"

static int server_open_state(Server *server) {
        char boot_id[VM_UUID_SIZE], why[256] = "";
        int r = state_new(&server->state);

        if (r == 0)
                r = state_boot_id("", boot_id);
        if (r < 0)
                return r;
        r = state_load(server->state, server->paths.state, boot_id, why);
        if (r < 0 && r != -EBADMSG) { /* it may be whole, and is not to be replaced by less */
                log_error("can not read %s: %s", server->paths.state, strerror(-r));
                return r;
        }
        if (r < 0)
                log_error("%s is not used: %s; threads that were bound before are left alone", server->paths.state,
                          why[0] ? why : strerror(-r));
        else if (server->state->n_threads > 0 || server->state->paused)
                log_info("%u threads known from before%s", server->state->n_threads,
                         server->state->paused ? "; paused until 'vasctl resume'" : "");
        return 0;
}

static int server_take_lock(Server *server) {
        pid_t holder = 0;
        int r = runtime_create(&server->paths);

        if (r < 0) {
                log_error("can not use %s: %s", server->paths.directory, strerror(-r));
                return r;
        }
        server->lock_fd = runtime_lock(&server->paths, &holder);
        if (server->lock_fd == -EWOULDBLOCK)
                log_error("another vas-daemon (process %d) already manages this host: %s is locked", (int)holder,
                          server->paths.lock);
        else if (server->lock_fd < 0)
                log_error("can not lock %s: %s", server->paths.lock, strerror(-server->lock_fd));
        return server->lock_fd < 0 ? server->lock_fd : 0;
}

static int server_listen(Server *server) {
        int r = control_new(server->event, server->paths.socket, outside_group("", server->settings->admin_group),
                            vas_interface_text, verbs_handle, server, &server->control);

        if (r < 0)
                log_error("can not listen on %s: %s", server->paths.socket, strerror(-r));
        return r;
}

static int server_start(Server *server) {
        int r = runtime_paths_init(&server->paths, server->settings->runtime_dir);

        if (r < 0)
                log_error("can not start: %s", strerror(-r));
        else
                r = server_take_lock(server);
        if (r < 0)
                return r;
        r = server_open_state(server);
        if (r == 0)
                r = real_host_new("", NULL, &server->real);
        if (r == 0)
                r = events_new(&server->events);
        if (r == 0)
                r = rounds_new(real_host_door(server->real), server->settings, server->state, server->paths.state,
                               &server->rounds);
        if (r == 0)
                server_choose_backend(server);
        if (r == 0)
                r = report_new(server->events, &server->report);
        if (r == 0)
                r = dynamic_new(server->rounds, server->settings, &server->dynamic);
        if (r == 0)
                r = sd_event_default(&server->event);
        if (r >= 0)
                r = followers_new(server->event, server->events, &server->followers);
        if (r >= 0) {
                server->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                r = server->notify_fd < 0 ? -errno : server_add_sources(server);
        }
        if (r >= 0)
                r = link_new(server->settings->connect, server->notify_fd, &server->link);
        if (r < 0) {
                log_error("can not start: %s", strerror(-r));
                return r;
        }
        return server_listen(server);
}

static void server_stop(Server *server) {
        unsigned restored = 0, failed = 0;

        sd_notify(false, "STOPPING=1");
        server_fail_waiters(server, true, "the daemon is stopping");
        server_remove_metrics(server);
        if (server->n_undo_calls == 0 && (server->state->paused || !server->settings->restore_on_stop)) {
                link_abandon(server->link);
                rounds_cancel(server->rounds);
                log_notice("stopped; bindings are kept (%s)", server->state->paused ? "paused" : "on-stop = keep");
                return;
        }
        undo_at_stop(server, &restored, &failed);
        link_abandon(server->link);
        server_tell_of_stranger(server);
        log_notice("stopped; %u thread%s restored%s", restored, restored == 1 ? "" : "s",
                   failed ? ", some could not be" : "");
}

static void server_done(Server *server) {
        for (SettingKey key = 0; key < SETTING_KEYS; key++)
                free(server->run_time[key]);
        control_free(server->control);
        followers_free(server->followers);
        sd_event_source_unref(server->timer);
        sd_event_source_unref(server->retry);
        sd_event_source_unref(server->slice);
        sd_event_source_unref(server->slice_due);
        sd_event_source_unref(server->beat);
        sd_event_source_unref(server->undo_due);
        sd_event_unref(server->event);
        dynamic_free(server->dynamic);
        rounds_free(server->rounds);
        report_free(server->report);
        events_free(server->events);
        state_free(server->state);
        real_host_free(server->real);
        fact_list_free(server->facts);
        if (server->lock_fd >= 0)
                close(server->lock_fd);
        runtime_paths_done(&server->paths);
}

int server_run(const Options *options, Settings *settings) {
        Server server = {.options = options, .settings = settings, .notify_fd = -1, .lock_fd = -1};
        int r;

        server.retry_ms = RETRY_MS;
        server.started_ns = server.last_full_ns = server_now(&server);
        r = server_start(&server);
        if (r >= 0) {
                log_notice("vas-daemon " VAS_VERSION " started, mode %s", settings->act ? "act" : "observe");
                events_add(server.events, EVENT_STARTED, 0, NULL, "vas-daemon " VAS_VERSION " started, mode %s",
                           settings->act ? "act" : "observe");
                sd_notify(false, "READY=1");
                server_poke(&server, true);
                r = sd_event_loop(server.event);
                if (r < 0)
                        log_error("the event loop failed: %s", strerror(-r));
                server_stop(&server);
        }
        server_done(&server);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

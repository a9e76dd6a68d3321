/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/view_metrics.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/replace.h"
#include "wire/exposition.h"

json_t *server_metrics(const Server *server) {
        View view;
        MetricsInput input = {.view = server->rounds->have_view ? &view : NULL,
                              .counters = &server->rounds->counters,
                              .dynamic = dynamic_counters(server->dynamic),
                              .version = VAS_VERSION,
                              .acting = server_acts(server),
                              .paused = server->state->paused,
                              .link_up = server->link_state == LINK_UP,
                              .uptime_s = (double)(server_now(server) - server->started_ns) / 1e9,
                              .credits_milli = server->rounds->history->credits_milli};

        server_view(server, &view);
        return view_metrics(&input);
}

static int write_metrics(const Server *server, const char *path) {
        json_t *metrics = server_metrics(server);
        AUTO_FREE char *text = NULL;
        int r = metrics ? exposition_new(metrics, EXPOSITION_PROMETHEUS, &text) : -ENOMEM;

        json_decref(metrics);
        return r < 0 ? r : file_replace(path, text, false);
}

void server_remove_metrics(Server *server) {
        if (server->metrics_written[0] && unlink(server->metrics_written) < 0 && errno != ENOENT)
                log_warning("can not remove %s: %s", server->metrics_written, strerror(errno));
        server->metrics_written[0] = '\0';
}

static void note_trouble(Server *server, const char *path, int r) {
        char text[sizeof(server->metrics_trouble)] = "";

        if (r < 0)
                snprintf(text, sizeof(text), "metrics-file: can not write %.150s: %s", path, strerror(-r));
        if (text[0] && strcmp(text, server->metrics_trouble) != 0)
                log_warning("%s", text);
        memcpy(server->metrics_trouble, text, sizeof(text));
}

void server_write_metrics(Server *server) {
        const char *path = server->settings->metrics_file;
        int r = 0;

        if (strcmp(server->metrics_written, path) != 0)
                server_remove_metrics(server); /* the setting has changed */
        if (*path) {
                r = write_metrics(server, path);
                if (r == 0)
                        strcpy(server->metrics_written, path);
        }
        note_trouble(server, path, r);
}

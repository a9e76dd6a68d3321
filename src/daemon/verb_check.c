/* SPDX-License-Identifier: Apache-2.0 */

/* The method Check: gathers, for view_check() to judge. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/leftovers.h"
#include "daemon/verbs_internal.h"
#include "daemon/view_check.h"
#include "platform/files.h"
#include "util/cleanup.h"
#include "wire/names.h"

static bool has_sys_nice(void) {
        static const char name[] = "\nCapEff:";
        char text[8192];
        const char *line;

        if (file_read_at(AT_FDCWD, "/proc/self/status", text, sizeof(text)) < 0)
                return false;
        line = strstr(text, name);
        return line && (strtoull(line + strlen(name), NULL, 16) >> CAP_SYS_NICE & 1);
}

/* Whether a file could be replaced there: 0 or an errno. */
static int try_directory_of(const char *path) {
        AUTO_FREE char *directory = strdup(path);
        char *slash = directory ? strrchr(directory, '/') : NULL;

        if (!directory)
                return ENOMEM;
        if (slash)
                *slash = '\0';
        return access(slash ? *directory ? directory : "/" : ".", W_OK | X_OK) < 0 ? errno : 0;
}

static void gather_narrow(const Rounds *rounds, CheckInput *input) {
        for (uint32_t vm = 0; vm < rounds->snapshot->n_vms; vm++) {
                uint32_t vcpu;

                if (leftovers_find(rounds->snapshot, &rounds->topology->online, vm, &vcpu) == 0)
                        continue;
                if (input->narrow_vms++ == 0)
                        input->narrow_example = rounds->snapshot->vm[vm].name;
        }
}

static void gather_dynamic(const Server *server, CheckInput *input) {
        input->want_dynamic = settings_want_dynamic(server->settings);
        input->backend = server->backend.kind == BACKEND_NONE ? NULL : backend_name(server->backend.kind);
        input->backend_why = server->backend.why;
}

static void gather_files(const Server *server, CheckInput *input) {
        input->state_file = server->paths.state;
        input->state_error = try_directory_of(server->paths.state);
        input->persist_file = server->options->persisted;
        if (input->persist_file)
                input->persist_error = try_directory_of(input->persist_file);
        input->reload_trouble = server->reload_trouble;
        input->metrics_file = server->settings->metrics_file;
        input->metrics_trouble = server->metrics_trouble;
}

static json_t *check(const Server *server) {
        const Rounds *rounds = server->rounds;
        CheckInput input = {.trouble = rounds->trouble,
                            .act = server->settings->act,
                            .paused = server->state->paused,
                            .can_bind = has_sys_nice(),
                            .denied = rounds->denied,
                            .admin_group = server->settings->admin_group};
        char version[32] = "unknown";
        LinkStatus status;
        Outside outside;
        View view;

        link_status(server->link, &status);
        if (status.version)
                snprintf(version, sizeof(version), "%lu.%lu.%lu", status.version / 1000000,
                         status.version / 1000 % 1000, status.version % 1000);
        input.link_up = status.state == LINK_UP;
        input.link_uri = status.uri;
        input.link_error = status.error;
        input.link_version = version;
        outside_read("", server->settings->admin_group, &outside);
        input.outside = &outside;
        gather_files(server, &input);
        gather_dynamic(server, &input);
        if (rounds->have_view) {
                server_view(server, &view);
                input.view = &view;
                gather_narrow(rounds, &input);
        }
        return view_check(&input);
}

void verb_check(const Request *request) {
        json_t *checks = check(request->server);

        request_reply(request,
                      checks ? json_pack("{s:s, s:o}", "version", VAS_VERSION, "checks", checks) : NULL);
}

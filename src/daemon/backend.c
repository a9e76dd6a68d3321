/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

/* The first number in a file below root. 0 or -errno. */
static int read_number(const char *root, const char *name, uint64_t *ret) {
        AUTO_FREE char *path = NULL;

        if (asprintf(&path, "%s%s", root, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        AUTO_FCLOSE FILE *file = fopen(path, "re");
        char text[128];

        if (!file)
                return -errno;
        if (!fgets(text, sizeof(text), file))
                return -EIO;
        *ret = strtoull(text + strcspn(text, "0123456789"), NULL, 10);
        return 0;
}

/* Whether our own controller can work on this host: 0; or 1 with the reason. */
static int probe_emulated(const char *root, char ret_why[256]) {
        uint64_t number;
        int r = read_number(root, "/proc/stat", &number);

        if (r < 0) {
                snprintf(ret_why, 256, "/proc/stat can not be read: %s", strerror(-r));
                return 1;
        }
        r = read_number(root, "/proc/self/schedstat", &number);
        if (r < 0)
                snprintf(ret_why, 256,
                         "/proc/PID/schedstat can not be read (%s): the kernel keeps no run delays",
                         strerror(-r));
        else if (number == 0)
                snprintf(ret_why, 256, "/proc/PID/schedstat stays zero: the kernel keeps no run delays");
        return r < 0 || number == 0;
}

/* What to know of the kernel's own way when it is used. */
static void explain_tidal(const TidalProbe *probe, const Settings *settings, Backend *ret) {
        const char *leave = settings->util_source == UTIL_LEAVE && settings_named(settings, SET_UTIL_THRESH)
                                    ? "; util-thresh is not written, since util-source = leave"
                                    : "";

        snprintf(ret->why, sizeof(ret->why), "the kernel's preferred_cpuset is there, on and writable%s%s%s",
                 probe->why[0] ? "; " : "", probe->why, leave);
}

void backend_choose(const RealHost *host, const ThreadRef *example, const char *root,
                    const Settings *settings, Backend *ret) {
        Backend backend = {.kind = BACKEND_TIDAL};
        char why[256] = "";
        TidalProbe probe;

        tidal_probe(host, example, &probe);
        backend.way = probe.way;
        backend.kunpeng = probe.kunpeng;
        backend.tlbi_limited = probe.tlbi_limited;
        if (probe.way != TIDAL_NONE)
                explain_tidal(&probe, settings, &backend);
        else if (!settings->emulate) {
                backend.kind = BACKEND_NONE;
                snprintf(backend.why, sizeof(backend.why),
                         "%s, and emulate = never forbids the daemon's own controller", probe.why);
        } else if (probe_emulated(root, why) != 0) {
                backend.kind = BACKEND_NONE;
                snprintf(backend.why, sizeof(backend.why),
                         "%s, and the daemon's own controller can not work: %s", probe.why, why);
        } else {
                backend.kind = BACKEND_EMULATED;
                snprintf(backend.why, sizeof(backend.why), "%s", probe.why);
        }
        *ret = backend;
}

int backend_check(const Settings *settings, const char *root, char ret_why[SETTINGS_WHY_SIZE]) {
        Backend backend;
        RealHost *host;
        int r;

        if (!settings_want_dynamic(settings))
                return 0;
        r = real_host_new(root, NULL, &host);
        if (r < 0) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "sched-policy = dynamic can not be checked: %s",
                         strerror(-r));
                return 1;
        }
        backend_choose(host, NULL, root, settings, &backend);
        real_host_free(host);
        if (backend.kind != BACKEND_NONE)
                return 0;
        snprintf(ret_why, SETTINGS_WHY_SIZE, "sched-policy = dynamic can not work on this host: %s",
                 backend.why);
        return 1;
}

const char *backend_name(BackendKind kind) {
        static const char *const names[] = {
                [BACKEND_NONE] = "none", [BACKEND_EMULATED] = "emulated", [BACKEND_TIDAL] = "tidal"};

        return names[kind];
}

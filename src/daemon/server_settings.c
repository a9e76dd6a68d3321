/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Settings that change while the service runs: by SIGHUP and by request. Either
 * way a whole new set of settings is made and checked first; one that is refused
 * leaves the old one in force.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/server.h"
#include "util/cleanup.h"
#include "util/log.h"

#define RUN_TIME "run time"

/* A key that is taken at the next start stays what it is, and so does its source. */
static void keep_until_start(const Settings *now, Settings *fresh, SettingKey key, const char *now_text,
                             char *fresh_text) {
        if (strcmp(now_text, fresh_text) == 0)
                return;
        log_warning("%s takes effect at the next start", setting_name(key));
        memcpy(fresh_text, now_text, SETTING_TEXT_MAX);
        memcpy(fresh->source[key], now->source[key], SETTING_TEXT_MAX);
}

/* What is in force now and was not. Sections of single VMs are not told of one by one. */
static void note_changes(Server *server, const Settings *fresh) {
        for (SettingKey key = 0; key < SETTING_KEYS; key++) {
                AUTO_FREE char *before = setting_text(server->settings, key), *after = setting_text(fresh, key);

                if (before && after && strcmp(before, after) != 0)
                        events_add(server->events, EVENT_SETTINGS, 0, NULL, "%s = %s, was %s (%s)", setting_name(key),
                                   *after ? after : "nothing", *before ? before : "nothing", fresh->source[key]);
        }
}

static void server_use(Server *server, Settings *fresh) {
        Settings *now = server->settings;
        int64_t interval_ns = now->interval_ns;

        keep_until_start(now, fresh, SET_RUNTIME_DIR, now->runtime_dir, fresh->runtime_dir);
        keep_until_start(now, fresh, SET_CONNECT, now->connect, fresh->connect);
        keep_until_start(now, fresh, SET_ADMIN_GROUP, now->admin_group, fresh->admin_group);
        note_changes(server, fresh);
        *now = *fresh;
        log_set_level(now->log_level);
        if (!now->act)
                server_cancel_round(server, "mode is observe: nothing is written");
        if (now->interval_ns != interval_ns)
                sd_event_source_set_time_relative(server->timer, (uint64_t)(now->interval_ns / 1000));
        server_choose_backend(server);
        server_poke(server, true);
}

/* Values that were set at run time, over what the files say. */
static int settings_add_run_time(Settings *settings, char *const run_time[SETTING_KEYS],
                                 char ret_why[SETTINGS_WHY_SIZE]) {
        int r = 0;

        for (SettingKey key = 0; r == 0 && key < SETTING_KEYS; key++)
                if (run_time[key])
                        r = settings_set(settings, key, run_time[key], RUN_TIME, ret_why);
        return r;
}

int server_reload(Server *server, char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FREE Settings *fresh = malloc(sizeof(*fresh));
        int r;

        snprintf(ret_why, SETTINGS_WHY_SIZE, "out of memory");
        if (!fresh)
                return -ENOMEM;
        r = options_settings(server->options, fresh, ret_why);
        if (r == 0)
                r = settings_add_run_time(fresh, server->run_time, ret_why);
        if (r == 0)
                r = settings_check(fresh, ret_why);
        if (r == 0 && backend_check(fresh, "", ret_why) != 0)
                r = -EINVAL;
        if (r < 0)
                return r;
        server_use(server, fresh);
        rounds_settings_changed(server->rounds);
        return 0;
}

/* Whether the value could be kept so that it wins at the next start. */
static int check_persist(const Options *options, SettingKey key, char ret_why[SETTINGS_WHY_SIZE]) {
        for (unsigned i = 0; i < options->n_overrides; i++)
                if (options->override[i].key == key) {
                        snprintf(ret_why, SETTINGS_WHY_SIZE,
                                 "%s is fixed by %s of vas-daemon's command line, which would win at each "
                                 "start; "
                                 "nothing was changed (without --persist it can be set until then)",
                                 setting_name(key), options->override[i].where);
                        return -EINVAL;
                }
        if (options->persisted)
                return 0;
        snprintf(ret_why, SETTINGS_WHY_SIZE,
                 "vas-daemon was started with --config, and then reads nothing but that file");
        return -EINVAL;
}

static int check_key(const Options *options, SettingKey key, bool persist, char ret_why[SETTINGS_WHY_SIZE]) {
        if (persist)
                return check_persist(options, key, ret_why);
        if (!setting_needs_start(key))
                return 0;
        snprintf(ret_why, SETTINGS_WHY_SIZE, "%s takes effect at the next start only: add --persist",
                 setting_name(key));
        return -EINVAL;
}

/* fresh has the value and passed every check: from here on it is in force. */
static int server_set_checked(Server *server, Settings *fresh, SettingKey key, bool persist,
                              char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FREE char *text = setting_text(fresh, key);
        int r;

        if (!text)
                return -ENOMEM;
        if (persist) {
                r = settings_persist(fresh, key, server->options->persisted, ret_why);
                if (r < 0)
                        return r;
                snprintf(fresh->source[key], SETTING_TEXT_MAX, "%.250s", server->options->persisted);
        }
        log_notice("%s set to '%s'%s", setting_name(key), text, persist ? ", also for later starts" : "");
        free(server->run_time[key]);
        server->run_time[key] = persist ? NULL : STEAL_PTR(text);
        if (key == SET_CLUSTER_LEVEL)
                rounds_settings_changed(server->rounds);
        server_use(server, fresh);
        return 0;
}

int server_set(Server *server, SettingKey key, const char *value, bool persist,
               char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FREE Settings *fresh = malloc(sizeof(*fresh));
        int r;

        snprintf(ret_why, SETTINGS_WHY_SIZE, "out of memory");
        if (!fresh)
                return -ENOMEM;
        *fresh = *server->settings;
        r = check_key(server->options, key, persist, ret_why);
        if (r == 0)
                r = settings_set(fresh, key, value, RUN_TIME, ret_why);
        if (r == 0)
                r = settings_check(fresh, ret_why);
        if (r == 0 && backend_check(fresh, "", ret_why) != 0)
                r = -EINVAL;
        return r < 0 ? r : server_set_checked(server, fresh, key, persist, ret_why);
}

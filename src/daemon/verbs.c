/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/verbs_internal.h"

#include <stdio.h>
#include <string.h>

#include "daemon/metrics.h"
#include "daemon/undo.h"
#include "daemon/view.h"
#include "daemon/view_settings.h"
#include "util/log.h"
#include "wire/names.h"

void verbs_error(ControlCall *call, const char *name, const char *reason) {
        char error[128];

        snprintf(error, sizeof(error), VAS_INTERFACE ".%s", name);
        control_error(call, error, json_pack("{s:o}", "reason", view_text(reason)));
}

void verbs_no_round(ControlCall *call, const char *did, const char *reason) {
        char text[1024];

        snprintf(text, sizeof(text), "%s%s%s", did ? did : "",
                 did ? ", but no round has come of it yet: " : "", reason);
        verbs_error(call, "Failed", text);
}

void request_reply(const Request *request, json_t *parameters) {
        if (parameters)
                control_reply(request->call, parameters);
        else
                verbs_error(request->call, "Failed", "out of memory");
}

void request_reply_named(const Request *request, const char *name, json_t *value) {
        request_reply(request, value ? json_pack("{s:o}", name, value) : NULL);
}

void request_invalid(const Request *request, const char *parameter) {
        control_error(request->call, "org.varlink.service.InvalidParameter",
                      json_pack("{s:s}", "parameter", parameter));
}

void request_no_such_vm(const Request *request, const char *vm) {
        control_error(request->call, VAS_INTERFACE ".NoSuchVm", json_pack("{s:s}", "vm", vm));
}

const char *request_string(const Request *request, const char *name) {
        const char *text = json_string_value(json_object_get(request->parameters, name));

        if (!text)
                request_invalid(request, name);
        return text;
}

bool request_bool(const Request *request, const char *name, bool *ret) {
        json_t *value = json_object_get(request->parameters, name);

        if (value && !json_is_boolean(value) && !json_is_null(value)) { /* null: left out */
                request_invalid(request, name);
                return false;
        }
        *ret = json_is_true(value);
        return true;
}

/* Why there is nothing to tell of VMs; NULL when there is a view. */
static const char *no_view_reason(const Server *server, char text[512]) {
        LinkStatus status;

        if (server->rounds->have_view)
                return NULL;
        link_status(server->link, &status);
        if (server->rounds->trouble[0])
                snprintf(text, 512, "%s", server->rounds->trouble);
        else if (status.state == LINK_UP)
                snprintf(text, 512, "the first look at the host is not finished");
        else
                snprintf(text, 512, "not connected to libvirt at %.200s: %.200s", status.uri,
                         status.error[0] ? status.error : "connecting");
        return text;
}

bool request_view(const Request *request, View *ret) {
        char text[512];
        const char *reason = no_view_reason(request->server, text);

        if (reason) {
                verbs_error(request->call, "Failed", reason);
                return false;
        }
        server_view(request->server, ret);
        return true;
}

/* The VMs of "all" (-1) or of a UUID or name; false, and the call is answered,
 * when there is no such VM. */
static bool take_scope(const Request *request, const View *view, const char *scope, int *ret) {
        *ret = -1;
        if (strcmp(scope, "all") == 0)
                return true;
        *ret = view_find_vm(view, scope);
        if (*ret < 0)
                request_no_such_vm(request, scope);
        return *ret >= 0;
}

static void verb_get_metrics(const Request *request) {
        request_reply_named(request, "metrics", server_metrics(request->server));
}

static void verb_list_vms(const Request *request) {
        const char *scope = request_string(request, "scope");
        json_t *vms;
        bool detail;
        View view;
        int vm;

        if (!scope || !request_bool(request, "detail", &detail) || !request_view(request, &view) ||
            !take_scope(request, &view, scope, &vm))
                return;
        vms = json_array();
        for (uint32_t v = 0; v < view.snapshot->n_vms; v++)
                if ((vm < 0 || (uint32_t)vm == v) && json_array_append_new(vms, view_vm(&view, v, detail)) < 0) {
                        json_decref(vms);
                        vms = NULL;
                        break;
                }
        request_reply_named(request, "vms", vms);
}

static void verb_get_host(const Request *request) {
        View view;

        if (request_view(request, &view))
                request_reply(request, view_host(&view));
}

static void verb_explain(const Request *request) {
        const char *name = request_string(request, "vm");
        View view;
        int vm;

        if (!name || !request_view(request, &view))
                return;
        vm = view_find_vm(&view, name);
        if (vm < 0)
                request_no_such_vm(request, name);
        else
                request_reply(request, view_explain(&view, (uint32_t)vm, request->server->rounds->history->credits_milli));
}

static void verb_query_affinity(const Request *request) {
        const char *scope = request_string(request, "scope");
        View view;
        int vm;

        if (scope && request_view(request, &view) && take_scope(request, &view, scope, &vm))
                request_reply_named(request, "affinity", view_affinity(&view, vm));
}

/* Whether libvirt can be asked for a fresh list; else the call is answered. */
static bool need_link(const Request *request) {
        LinkStatus status;
        char text[512];

        link_status(request->server->link, &status);
        if (status.state == LINK_UP)
                return true;
        snprintf(text, sizeof(text), "not connected to libvirt at %.200s: %.200s", status.uri,
                 status.error[0] ? status.error : "connecting");
        verbs_error(request->call, "Failed", text);
        return false;
}

static void wait_for_round(const Request *request, const char *did, const char *reassign, bool dry_run) {
        if (!server_wait(request->server, request->call, did, reassign, dry_run))
                verbs_no_round(request->call, did, "too many requests are waiting");
}

static void verb_reassign(const Request *request) {
        const char *scope = request_string(request, "scope");
        bool dry_run;

        if (!scope || !request_bool(request, "dry_run", &dry_run))
                return;
        if (!dry_run && !server_acts(request->server)) {
                verbs_error(request->call, "Refused",
                            request->server->state->paused ? "paused: 'vasctl resume' lets the daemon act again"
                                                           : "mode is observe: 'vasctl set mode act' lets the daemon act");
                return;
        }
        if (need_link(request))
                wait_for_round(request, NULL, scope, dry_run);
}

void verbs_answer_reassign(Server *server, ControlCall *call, bool dry_run, const char *missing) {
        Request request = {.server = server, .call = call};
        Rounds *rounds = server->rounds;
        const Plan *plan = dry_run ? rounds->trial : rounds->plan;
        unsigned failed = 0;
        View view;

        if (missing) {
                control_error(call, VAS_INTERFACE ".NoSuchVm", json_pack("{s:s}", "vm", missing));
                return;
        }
        server_view(server, &view);
        view.plan = plan;
        if (dry_run)
                view.snapshot = rounds->trial_snapshot;
        if (view.snapshot->n_vms == 0) {
                control_error(call, VAS_INTERFACE ".NoVms", NULL);
                return;
        }
        for (uint32_t v = 0; v < view.snapshot->n_vms; v++)
                failed += plan->verdict[v].reason == REASON_WRITE_FAILED;
        request_reply(&request, json_pack("{s:i, s:o, s:o, s:o, s:i}", "vms", (int)view.snapshot->n_vms, "moves",
                                  view_moves(&view), "before", view_score(&plan->before), "after",
                                  view_score(&plan->after), "failed", (int)failed));
}

/* Sets a key, and answers when a round has been made with it, if one can be. */
static void set_key(const Request *request, SettingKey key, const char *value, bool persist) {
        char why[SETTINGS_WHY_SIZE];
        LinkStatus status;

        if (server_set(request->server, key, value, persist, why) != 0) {
                verbs_error(request->call, "Refused", why);
                return;
        }
        link_status(request->server->link, &status);
        if (status.state == LINK_UP)
                wait_for_round(request, setting_needs_start(key) ? "it is kept" : "it is in force", NULL, false);
        else
                control_reply(request->call, NULL);
}

static void verb_set_policy(const Request *request) {
        const char *policy = request_string(request, "policy");

        if (policy)
                set_key(request, SET_SCHED_POLICY, policy, false);
}

static void verb_set(const Request *request) {
        const char *name = request_string(request, "key");
        const char *value = name ? request_string(request, "value") : NULL;
        SettingKey key;
        bool persist;

        if (!value || !request_bool(request, "persist", &persist))
                return; /* answered: the name has gone with its call */
        key = setting_by_name(name);
        if (key == SETTING_KEYS)
                request_invalid(request, "key");
        else
                set_key(request, key, value, persist);
}

static void verb_get_settings(const Request *request) {
        json_t *name = json_object_get(request->parameters, "key");
        SettingKey key = json_is_string(name) ? setting_by_name(json_string_value(name)) : SETTING_KEYS;

        if (name && !json_is_null(name) && key == SETTING_KEYS)
                request_invalid(request, "key");
        else
                request_reply_named(request, "settings", view_settings(request->server->settings, key));
}

static void set_paused(const Request *request, bool paused) {
        Server *server = request->server;
        bool before;
        char text[256];

        if (!paused)
                undo_now(server); /* one thing after the other */
        before = server->state->paused;
        server->state->paused = paused;
        if (paused)
                server_cancel_round(server, "paused: 'vasctl resume' lets the daemon act again");
        int r = state_save(server->state, server->paths.state);
        if (r < 0) {
                server->state->paused = before;
                snprintf(text, sizeof(text), "can not save the state: %s", strerror(-r));
                verbs_error(request->call, "Failed", text);
                return;
        }
        if (before != paused)
                events_add(server->events, paused ? EVENT_PAUSED : EVENT_RESUMED, 0, NULL,
                           paused ? "paused: bindings are kept, nothing is written" : "resumed");
        if (before != paused)
                log_notice(paused ? "paused: bindings are kept, nothing is written" : "resumed");
        LinkStatus status;
        link_status(server->link, &status);
        if (!paused && status.state == LINK_UP)
                wait_for_round(request, "resumed", NULL, false);
        else
                control_reply(request->call, NULL);
}

static void verb_recover(const Request *request) {
        undo_ask(request->server, request->call);
}

void verbs_answer_recover(ControlCall *call, int r, unsigned restored, unsigned failed) {
        char text[256];

        if (r >= 0) {
                control_reply(call, json_pack("{s:i, s:i}", "restored", (int)restored, "failed", (int)failed));
                return;
        }
        snprintf(text, sizeof(text), "%u threads restored, but the state can not be saved: %s", restored, strerror(-r));
        verbs_error(call, "Failed", text);
}

static void verb_settle(const Request *request) {
        if (need_link(request))
                wait_for_round(request, NULL, NULL, false);
}

static void verb_pause(const Request *request) {
        set_paused(request, true);
}

static void verb_resume(const Request *request) {
        set_paused(request, false);
}

typedef struct Verb {
        const char *method;
        bool changes; /* for those who may change things only */
        void (*run)(const Request *request);
} Verb;

static const Verb verbs[] = {
        {"GetStatus", false, verb_get_status},
        {"GetMetrics", false, verb_get_metrics},
        {"ListVms", false, verb_list_vms},
        {"GetEvents", false, verb_get_events},
        {"GetHost", false, verb_get_host},
        {"Explain", false, verb_explain},
        {"Plan", false, verb_plan},
        {"Check", false, verb_check},
        {"QueryAffinity", false, verb_query_affinity},
        {"Capture", true, verb_capture},
        {"Settle", false, verb_settle},
        {"Reassign", true, verb_reassign},
        {"GetSettings", false, verb_get_settings},
        {"SetPolicy", true, verb_set_policy},
        {"Set", true, verb_set},
        {"Pause", true, verb_pause},
        {"Resume", true, verb_resume},
        {"Recover", true, verb_recover},
};

void verbs_handle(void *userdata, ControlCall *call, const char *method, json_t *parameters, const Peer *peer) {
        Request request = {.server = userdata, .call = call, .parameters = parameters};
        const char *name = strrchr(method, '.');

        for (unsigned i = 0; name && i < sizeof(verbs) / sizeof(*verbs); i++) {
                if (strcmp(name + 1, verbs[i].method) != 0)
                        continue;
                if (verbs[i].changes && !peer->may_change)
                        verbs_error(call, "NotPermitted", "only root and members of the admin group may do this");
                else
                        verbs[i].run(&request);
                return;
        }
        control_error(call, "org.varlink.service.MethodNotFound", json_pack("{s:s}", "method", method));
}

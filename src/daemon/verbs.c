/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/verbs_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/metrics.h"
#include "daemon/undo.h"
#include "daemon/view.h"
#include "daemon/view_check.h"
#include "daemon/view_settings.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/log.h"
#include "wire/names.h"

#define SECOND_NS 1e9

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

static const char *link_state_name(LinkState state) {
        static const char *const names[] = {
                [LINK_CONNECTING] = "connecting", [LINK_UP] = "up", [LINK_DOWN] = "down"};

        return names[state];
}

static json_t *status_libvirt(const Server *server) {
        LinkStatus status;
        char version[32] = "";
        int64_t now = server_now(server);

        link_status(server->link, &status);
        if (status.version)
                snprintf(version, sizeof(version), "%lu.%lu.%lu", status.version / 1000000,
                         status.version / 1000 % 1000, status.version % 1000);
        return json_pack("{s:o, s:s, s:f, s:o, s:s, s:o}", "uri", view_text(status.uri), "state",
                         link_state_name(status.state), "since_s", (double)(now - status.since_ns) / SECOND_NS,
                         "error", view_text(status.error), "version", version, "asked_s",
                         status.asked_at_ns ? json_real((double)(now - status.asked_at_ns) / SECOND_NS)
                                            : json_null());
}

static void warn(json_t *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(json_t *warnings, const char *format, ...) {
        char text[512];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        json_array_append_new(warnings, view_text(text));
}

static void warn_of_link(const Server *server, json_t *warnings) {
        LinkStatus status;

        link_status(server->link, &status);
        if (status.state == LINK_UP)
                return;
        warn(warnings, "libvirt at %s does not answer (%s): bindings stay as they are, VMs that start now get none",
             status.uri, status.error[0] ? status.error : "connecting");
}

static void warn_of_vms(const Server *server, json_t *warnings) {
        const Rounds *rounds = server->rounds;
        unsigned by_kind[VERDICT_KINDS] = {}, write_failed = 0, hidden = 0;

        for (uint32_t v = 0; v < rounds->snapshot->n_vms; v++) {
                by_kind[rounds->plan->verdict[v].kind]++;
                write_failed += rounds->plan->verdict[v].reason == REASON_WRITE_FAILED;
                hidden += rounds->plan->verdict[v].reason == REASON_HIDDEN;
        }
        if (by_kind[VERDICT_UNSEEN])
                warn(warnings, "%u VM%s of libvirt can not be seen; 'vasctl list' says why",
                     by_kind[VERDICT_UNSEEN], by_kind[VERDICT_UNSEEN] == 1 ? "" : "s");
        if (hidden)
                warn(warnings, "/proc hides other users' processes (hidepid, ProtectProc): the daemon must see them");
        if (write_failed)
                warn(warnings, "the kernel refused to bind %u VM%s", write_failed, write_failed == 1 ? "" : "s");
        if (rounds->snapshot->n_beyond_limits)
                warn(warnings, "%u VMs are beyond the documented limits and are left alone",
                     rounds->snapshot->n_beyond_limits);
        if (by_kind[VERDICT_SHARED] && rounds->plan->supply_cpus < rounds->plan->demand_vcpus)
                warn(warnings,
                     "overcommitted: %u vCPUs want a CPU of their own and there are %u CPUs; %u VM%s run SHARED",
                     rounds->plan->demand_vcpus, rounds->plan->supply_cpus, by_kind[VERDICT_SHARED],
                     by_kind[VERDICT_SHARED] == 1 ? "" : "s");
}

static json_t *status_warnings(const Server *server) {
        json_t *warnings = json_array();

        if (!warnings)
                return NULL;
        warn_of_link(server, warnings);
        if (server->rounds->trouble[0])
                warn(warnings, "%s", server->rounds->trouble);
        if (server->metrics_trouble[0])
                warn(warnings, "%s", server->metrics_trouble);
        if (settings_want_dynamic(server->settings) && server->backend.kind == BACKEND_NONE)
                warn(warnings, "dynamic VMs stay on their CPUs: %s", server->backend.why);
        if (server->rounds->have_view)
                warn_of_vms(server, warnings);
        if (server->rounds->have_view && server_acts(server)) {
                View view;

                server_view(server, &view);
                if (!view_host_has_cpu(&view))
                        warn(warnings, "no CPU is left for the host itself: every one belongs to a vCPU (see skip-cpuset)");
        }
        return warnings;
}

static json_t *status_verdicts(const Rounds *rounds) {
        unsigned by_kind[VERDICT_KINDS] = {};
        json_t *verdicts = json_object();

        for (uint32_t v = 0; rounds->have_view && v < rounds->snapshot->n_vms; v++)
                by_kind[rounds->plan->verdict[v].kind]++;
        for (VerdictKind kind = 0; kind < VERDICT_KINDS; kind++)
                if (by_kind[kind])
                        json_object_set_new(verdicts, verdict_name(kind), json_integer(by_kind[kind]));
        return verdicts;
}

/* Sums over the VMs whose vCPUs own CPUs. */
typedef struct SpanSums {
        unsigned clusters_used, clusters_needed, nodes_used, nodes_needed;
} SpanSums;

static SpanSums status_spans(const Rounds *rounds) {
        SpanSums sums = {};

        for (uint32_t v = 0; rounds->have_view && v < rounds->snapshot->n_vms; v++) {
                const Verdict *verdict = &rounds->plan->verdict[v];
                if (verdict->n_exclusive == 0)
                        continue;
                sums.clusters_used += verdict->clusters;
                sums.clusters_needed += verdict->min_clusters;
                sums.nodes_used += verdict->nodes;
                sums.nodes_needed += verdict->min_nodes;
        }
        return sums;
}

/* Adds the members of more (a new reference, may be NULL) to object. */
static bool json_add(json_t *object, json_t *more) {
        int r = more ? json_object_update(object, more) : -1;

        json_decref(more);
        return r == 0;
}

static json_t *status_settings(const Server *server) {
        const Settings *settings = server->settings;
        AUTO_FREE char *skip = cpulist_new(&settings->policy.skip);

        return json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:b, s:s}", "mode", settings->act ? "act" : "observe",
                         "paused", server->state->paused, "policy", sched_name(settings->sched), "smt",
                         smt_name(settings->policy.smt), "layout", layout_name(settings->policy.layout),
                         "skip_cpuset", skip ? skip : "", "range_affinity", settings->policy.range_affinity,
                         "cluster_level", level_name(server->rounds->topology->level));
}

/* VMs that libvirt knows and we can not see. */
static unsigned status_unseen(const Rounds *rounds) {
        unsigned unseen = rounds->snapshot->n_beyond_limits;

        for (uint32_t v = 0; v < rounds->snapshot->n_vms; v++)
                unseen += rounds->plan->verdict[v].kind == VERDICT_UNSEEN;
        return unseen;
}

static json_t *status_host(const Server *server) {
        const Rounds *rounds = server->rounds;
        SpanSums sums = status_spans(rounds);
        bool have = rounds->have_view;
        const Plan *plan = rounds->plan;
        Score none = {};

        return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "vms",
                         have ? (int)rounds->snapshot->n_vms : 0, "vcpus", have ? (int)rounds->snapshot->n_vcpus : 0,
                         "unseen", have ? (int)status_unseen(rounds) : 0, "clusters_used",
                         sums.clusters_used, "clusters_needed", sums.clusters_needed, "nodes_used", sums.nodes_used,
                         "nodes_needed", sums.nodes_needed, "score", view_score(have ? &plan->after : &none),
                         "host_cpus", rounds->topology->n_cpus, "host_clusters", rounds->topology->n_clusters,
                         "host_nodes", rounds->topology->n_nodes, "owned_cpus",
                         have ? (int)cpuset_count(&plan->owned) : 0, "demand_vcpus",
                         have ? (int)plan->demand_vcpus : 0, "supply_cpus", have ? (int)plan->supply_cpus : 0,
                         "overcommitted", have && plan->demand_vcpus > plan->supply_cpus);
}

static json_t *status_counters(const Server *server) {
        const RoundCounters *counters = &server->rounds->counters;

        return json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "credits",
                         (double)server->rounds->history->credits_milli / 1000, "rounds",
                         (json_int_t)counters->rounds, "rounds_with_moves", (json_int_t)counters->rounds_with_moves,
                         "moves_done", (json_int_t)counters->moves_done, "moves_wanted",
                         (json_int_t)counters->moves_wanted, "writes", (json_int_t)counters->writes,
                         "writes_failed", (json_int_t)counters->writes_failed, "drift_repaired",
                         (json_int_t)counters->drift_repaired, "last_round_us",
                         (json_int_t)(counters->last_round_ns / 1000));
}

/* Who does the dynamic binding and what it does; null while nobody is to be dynamic. */
static json_t *status_dynamic(const Server *server) {
        const DynamicCounters *counters = dynamic_counters(server->dynamic);

        if (!settings_want_dynamic(server->settings))
                return json_null();
        return json_pack("{s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "backend",
                         backend_name(server->backend.kind), "backend_why", server->backend.why, "vcpus",
                         (int)counters->vcpus, "away", (int)counters->away, "passes",
                         (json_int_t)counters->passes, "left", (json_int_t)counters->left, "moved_on",
                         (json_int_t)counters->moved_on, "returned", (json_int_t)counters->returned, "failed",
                         (json_int_t)counters->failed, "last_pass_us",
                         (json_int_t)(counters->last_pass_ns / 1000));
}

static json_t *status_tlbi(const Server *server) {
        return json_pack("{s:b, s:b, s:I}", "kunpeng", server->backend.kunpeng, "tlbi_limited",
                         server->backend.tlbi_limited, "mask_union_changes",
                         (json_int_t)server->rounds->counters.mask_union_changes);
}

static void verb_get_status(const Request *request) {
        const Server *server = request->server;
        json_t *status = json_pack("{s:s, s:i, s:f, s:o, s:o, s:o, s:o}", "version", VAS_VERSION, "pid", (int)getpid(),
                                   "uptime_s", (double)(server_now(server) - server->started_ns) / SECOND_NS,
                                   "libvirt", status_libvirt(server), "verdicts", status_verdicts(server->rounds),
                                   "warnings", status_warnings(server), "dynamic", status_dynamic(server));

        if (!status || !json_add(status, status_settings(server)) || !json_add(status, status_host(server)) ||
            !json_add(status, status_counters(server)) || !json_add(status, status_tlbi(server))) {
                json_decref(status);
                status = NULL;
        }
        request_reply_named(request, "status", status);
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
        bool before = server->state->paused;
        char text[256];

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

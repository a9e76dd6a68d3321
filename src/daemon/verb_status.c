/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/verbs_internal.h"

#include <stdio.h>
#include <unistd.h>

#include "daemon/view.h"
#include "daemon/view_check.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "wire/names.h"

#define SECOND_NS 1e9

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

void verb_get_status(const Request *request) {
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

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The figures of one host, none of them by VM: a thousand VMs that come and go
 * would be a thousand series each. What is said of one VM is in ListVms.
 *
 * Names are without what a text form adds (a counter's _total): see
 * wire/exposition.h.
 */

#include "daemon/view_metrics.h"

#include <stdio.h>

#include "daemon/view_internal.h"
#include "wire/names.h"

#define PREFIX "vsched_"

/* The list that is being made, and the metric whose samples are added. */
typedef struct Build {
        json_t *list, *samples;
        bool failed;
} Build;

static void metric(Build *build, const char *name, const char *kind, const char *unit, const char *help) {
        char full[96];
        json_t *samples = json_array();

        snprintf(full, sizeof(full), PREFIX "%s", name);
        build->samples = samples;
        build->failed |= json_array_append_new(build->list, json_pack("{s:s, s:s, s:s, s:s, s:o}", "name",
                                                                      full, "kind", kind, "unit", unit,
                                                                      "help", help, "samples", samples)) < 0;
}

/* label may be NULL. value is stolen. */
static void sample(Build *build, const char *suffix, const char *label, const char *text, json_t *value) {
        json_t *labels = label ? json_pack("{s:s}", label, text) : json_object();

        if (build->failed || !labels || !value) {
                json_decref(labels);
                json_decref(value);
                build->failed = true;
                return;
        }
        build->failed |=
                json_array_append_new(build->samples, json_pack("{s:s, s:o, s:o}", "suffix", suffix, "labels",
                                                                labels, "value", value)) < 0;
}

static void gauge(Build *build, const char *name, const char *help, uint64_t value) {
        metric(build, name, "gauge", "", help);
        sample(build, "", NULL, NULL, json_integer((json_int_t)value));
}

static void gauge_real(Build *build, const char *name, const char *unit, const char *help, double value) {
        metric(build, name, "gauge", unit, help);
        sample(build, "", NULL, NULL, json_real(value));
}

static void counter(Build *build, const char *name, const char *help, uint64_t value) {
        metric(build, name, "counter", "", help);
        sample(build, "_total", NULL, NULL, json_integer((json_int_t)value));
}

static void add_daemon(Build *build, const MetricsInput *input) {
        metric(build, "build_info", "gauge", "", "Always 1; its label has the daemon's version.");
        sample(build, "", "version", input->version, json_integer(1));
        gauge(build, "acting", "1: masks are written. 0: mode = observe, or paused.", input->acting);
        gauge(build, "paused", "1: paused by vasctl pause or recover.", input->paused);
        gauge(build, "libvirt_up", "1: libvirt answers. 0: VMs that start now are not placed.",
              input->link_up);
        gauge(build, "host_seen",
              "1: the last look at the host succeeded. 0: nothing is said of VMs and CPUs.",
              input->view != NULL);
        gauge_real(build, "uptime_seconds", "seconds", "Time since the daemon was started.", input->uptime_s);
        gauge_real(build, "credits", "", "Move credits that are saved up.",
                   (double)input->credits_milli / 1000);
}

static void add_duration(Build *build, const Histogram *duration) {
        char bound[32];

        metric(build, "round_duration_seconds", "histogram", "seconds",
               "Time to look at the host and to plan, without the writes.");
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
                snprintf(bound, sizeof(bound), "%.9g", (double)histogram_bounds_ns[i] / 1e9);
                sample(build, "_bucket", "le", bound, json_integer((json_int_t)duration->bucket[i]));
        }
        sample(build, "_bucket", "le", "+Inf", json_integer((json_int_t)duration->count));
        sample(build, "_count", NULL, NULL, json_integer((json_int_t)duration->count));
        sample(build, "_sum", NULL, NULL, json_real((double)duration->sum_ns / 1e9));
}

static void add_rounds(Build *build, const RoundCounters *counters) {
        counter(build, "rounds", "Rounds: looks at the host, each with a plan.", counters->rounds);
        counter(build, "rounds_with_moves", "Rounds that wrote something.", counters->rounds_with_moves);
        counter(build, "rounds_failed", "Rounds that could not look at the host, or not save the state.",
                counters->rounds_failed);
        add_duration(build, &counters->duration);
        metric(build, "moves", "counter", "",
               "Masks that were written, by why; hold: the CPU is the same, but its policy holds another "
               "mask.");
        for (MoveKind kind = 0; kind < MOVE_KINDS; kind++)
                sample(build, "_total", "kind", move_kind_name(kind),
                       json_integer((json_int_t)counters->done[kind]));
        counter(build, "writes", "Times that the kernel was asked to change a mask, restores included.",
                counters->writes);
        counter(build, "writes_failed", "Moves that were planned and could not be made.",
                counters->writes_failed);
        counter(build, "drift_repaired", "Masks that somebody had changed and that were put back.",
                counters->drift_repaired);
        counter(build, "mask_union_changes", "Writes that changed the union of a VM's masks.",
                counters->mask_union_changes);
}

static void add_dynamic(Build *build, const DynamicCounters *counters) {
        gauge(build, "dynamic_vcpus", "vCPUs that the daemon's own controller follows.", counters->vcpus);
        gauge(build, "dynamic_away_vcpus", "Those of them that are away from their CPU now.", counters->away);
        metric(build, "dynamic_mask_changes", "counter", "",
               "Changes of mask by the dynamic binding: a vCPU left its CPU, went on from there, returned.");
        sample(build, "_total", "kind", "left", json_integer((json_int_t)counters->left));
        sample(build, "_total", "kind", "moved_on", json_integer((json_int_t)counters->moved_on));
        sample(build, "_total", "kind", "returned", json_integer((json_int_t)counters->returned));
        counter(build, "dynamic_failed", "Changes of the dynamic binding that could not be made.",
                counters->failed);
}

static void add_shape(Build *build, const View *view) {
        Fit fit;

        gauge(build, "host_cpus", "CPUs that are online.", view->topology->n_cpus);
        gauge(build, "host_clusters", "Clusters of the host.", view->topology->n_clusters);
        gauge(build, "host_nodes", "NUMA nodes of the host.", view->topology->n_nodes);
        gauge(build, "owned_cpus", "CPUs that one vCPU has to itself, or where some live in layers.",
              cpuset_count(&view->plan->owned));
        gauge(build, "demand_vcpus", "vCPUs that want a CPU of their own.", view->plan->demand_vcpus);
        gauge(build, "supply_cpus", "CPUs that these vCPUs may use.", view->plan->supply_cpus);
        if (view->plan->supply_cpus > 0)
                gauge_real(build, "overcommit_ratio", "ratio",
                           "vCPUs that want a CPU of their own, by the CPUs that they may use; above 1: "
                           "overcommitted.",
                           (double)view->plan->demand_vcpus / view->plan->supply_cpus);
        view_fit(view, &fit);
        metric(build, "largest_fit_vcpus", "gauge", "",
               "vCPUs of the largest VM that still fits without a move and with a CPU for each vCPU.");
        sample(build, "", "within", "cluster", json_integer(fit.cluster));
        sample(build, "", "within", "node", json_integer(fit.node));
        sample(build, "", "within", "host", json_integer(fit.host));
}

static void add_verdicts(Build *build, const View *view) {
        unsigned by_kind[VERDICT_KINDS] = {};

        for (uint32_t vm = 0; vm < view->snapshot->n_vms; vm++)
                by_kind[view->plan->verdict[vm].kind]++;
        metric(build, "vms", "gauge", "", "VMs by verdict.");
        for (VerdictKind kind = 0; kind < VERDICT_KINDS; kind++)
                sample(build, "", "verdict", verdict_name(kind), json_integer(by_kind[kind]));
        gauge(build, "vms_beyond_limits", "VMs past the documented limits, which are left alone.",
              view->snapshot->n_beyond_limits);
        gauge(build, "vcpus", "vCPUs of these VMs.", view->snapshot->n_vcpus);
}

/* The score now, and what the last plan comes to. */
static void add_score(Build *build, const View *view) {
        const Score *planned = &view->plan->after, *now = view->acting ? planned : &view->plan->before;

        gauge(build, "unplaced_vms", "Managed VMs without a CPU of its own for each vCPU, now.",
              now->unplaced);
        gauge(build, "excess_nodes", "NUMA nodes that placed VMs span above their minimum, now.",
              now->excess_nodes);
        gauge(build, "excess_clusters", "Clusters that placed VMs span above their minimum, now.",
              now->excess_clusters);
        gauge(build, "shared_cores", "Cores whose threads belong to two VMs, now.", now->shared_cores);
        metric(build, "planned", "gauge", "",
               "The same as the last plan leaves it; differs while the daemon only observes.");
        sample(build, "", "what", "unplaced_vms", json_integer(planned->unplaced));
        sample(build, "", "what", "excess_nodes", json_integer(planned->excess_nodes));
        sample(build, "", "what", "excess_clusters", json_integer(planned->excess_clusters));
        sample(build, "", "what", "shared_cores", json_integer(planned->shared_cores));
        gauge(build, "moves_wanted",
              "Moves of the last plan; while the daemon only observes they are not made.",
              view->plan->n_moves);
}

/* CPUs that vCPUs without a CPU of their own may use. */
static unsigned count_shared_cpus(const View *view) {
        CpuSet shared = {}, cpus;

        for (uint32_t vm = 0; vm < view->snapshot->n_vms; vm++) {
                VerdictKind kind = view->plan->verdict[vm].kind;

                if (kind != VERDICT_SHARED && kind != VERDICT_LAYERED)
                        continue;
                view_vm_cpus(view, vm, &cpus);
                cpuset_or(&shared, &cpus);
        }
        return cpuset_count(&shared);
}

/* CPUs to which operators pinned two vCPUs or more. */
static unsigned count_pinned_twice(const View *view) {
        CpuSet once = {}, twice = {};

        for (uint32_t i = 0; i < view->snapshot->n_vcpus; i++) {
                int cpu = view_vcpu_cpu(view, i);

                if (cpu < 0 || view_vcpu_state(view, i) != VCPU_PINNED)
                        continue;
                if (cpuset_has(&once, (unsigned)cpu))
                        cpuset_add(&twice, (unsigned)cpu);
                cpuset_add(&once, (unsigned)cpu);
        }
        return cpuset_count(&twice);
}

static void add_judgement(Build *build, const View *view) {
        unsigned pinned_excess = 0, doubled = 0, remote = 0;

        for (uint32_t vm = 0; vm < view->snapshot->n_vms; vm++) {
                const Verdict *verdict = &view->plan->verdict[vm];

                if (verdict->kind == VERDICT_PINNED && verdict->clusters > verdict->min_clusters)
                        pinned_excess += (unsigned)(verdict->clusters - verdict->min_clusters);
                doubled += verdict->doubled_cores;
                remote += verdict->remote_memory;
        }
        gauge(build, "shared_cpus", "CPUs where vCPUs of SHARED and LAYERED VMs may run.",
              count_shared_cpus(view));
        gauge(build, "pinned_excess_clusters", "Clusters that PINNED VMs span above their minimum.",
              pinned_excess);
        gauge(build, "cpus_pinned_twice", "CPUs to which operators pinned two vCPUs or more.",
              count_pinned_twice(view));
        gauge(build, "doubled_cores",
              "Cores with two vCPUs that are no siblings in the guest, counted for each VM.", doubled);
        gauge(build, "remote_memory_vms", "VMs that run off the node that holds most of their memory.",
              remote);
}

json_t *view_metrics(const MetricsInput *input) {
        Build build = {.list = json_array()};

        if (!build.list)
                return NULL;
        add_daemon(&build, input);
        add_rounds(&build, input->counters);
        add_dynamic(&build, input->dynamic);
        if (input->view) {
                add_shape(&build, input->view);
                add_verdicts(&build, input->view);
                add_score(&build, input->view);
                add_judgement(&build, input->view);
        }
        if (build.failed) {
                json_decref(build.list);
                return NULL;
        }
        return build.list;
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A VM, its vCPUs and the host as JSON. What a vCPU is (placed, pinned,
 * foreign...) follows from the last snapshot and plan alone, so that list, show,
 * map and explain never disagree.
 */

#include "daemon/view.h"

#include <string.h>
#include <strings.h>

#include "daemon/view_internal.h"
#include "util/cleanup.h"
#include "wire/names.h"

static const char *const state_names[] = {
        [VCPU_PLACED] = "placed",   [VCPU_SHARED] = "shared",       [VCPU_LAYERED] = "layered",
        [VCPU_PINNED] = "pinned",
        [VCPU_FOREIGN] = "foreign", [VCPU_UNMANAGED] = "unmanaged", [VCPU_UNSEEN] = "unseen",
};
static const char *const memory_source_names[] = {
        [MEM_UNKNOWN] = "unknown",
        [MEM_NUMATUNE] = "numatune",
        [MEM_STAT] = "stat",
        [MEM_LAST_RUN] = "last_run",
};

int view_find_vm(const View *view, const char *scope) {
        for (uint32_t i = 0; i < view->snapshot->n_vms; i++)
                if (strcasecmp(view->snapshot->vm[i].uuid, scope) == 0)
                        return (int)i;
        for (uint32_t i = 0; i < view->snapshot->n_vms; i++)
                if (strcmp(view->snapshot->vm[i].name, scope) == 0)
                        return (int)i;
        return -1;
}

static bool vcpu_is_pinned(const View *view, const Vcpu *vcpu) {
        const CpuSet *range = pool_get(&view->snapshot->pool, vcpu->range);

        return range && cpuset_single(range) >= 0;
}

/* Whether somebody narrowed the thread before us. */
static bool vcpu_is_foreign(const View *view, uint32_t vcpu) {
        const Vcpu *v = &view->snapshot->vcpu[vcpu];
        const CpuSet *mask = pool_get(&view->snapshot->pool, v->mask);
        CpuSet missing;

        if (!mask || v->mask == v->range || v->before != SET_NONE || v->written != SET_NONE ||
            v->intended != SET_NONE || view->plan->verdict[v->vm].n_foreign == 0)
                return false;
        vcpu_allowed(view->topology, view->snapshot, view->policy, vcpu, &missing);
        cpuset_subtract(&missing, mask);
        cpuset_subtract(&missing, &view->snapshot->fresh);
        return !cpuset_is_empty(&missing);
}

VcpuState view_vcpu_state(const View *view, uint32_t vcpu) {
        const Vcpu *v = &view->snapshot->vcpu[vcpu];
        VerdictKind verdict = view->plan->verdict[v->vm].kind;

        if (v->tid == 0 || v->mask == SET_NONE || verdict == VERDICT_UNSEEN)
                return VCPU_UNSEEN;
        if (vcpu_is_pinned(view, v))
                return VCPU_PINNED;
        if (verdict == VERDICT_EXCLUDED)
                return VCPU_UNMANAGED;
        if (vcpu_is_foreign(view, vcpu))
                return VCPU_FOREIGN;
        if (verdict == VERDICT_FOREIGN || verdict == VERDICT_UNPLACEABLE)
                return VCPU_UNMANAGED;
        if (view_vcpu_cpu(view, vcpu) >= 0)
                return verdict == VERDICT_LAYERED ? VCPU_LAYERED : VCPU_PLACED;
        return verdict == VERDICT_CONTESTED ? VCPU_UNMANAGED : VCPU_SHARED;
}

int view_vcpu_cpu(const View *view, uint32_t vcpu) {
        return view->plan->target[vcpu].cpu;
}

/* A VM's vCPUs mostly have the same few sets: what was worked out for the one
 * before need not be worked out again. */
static bool has_same_range(const View *view, uint32_t a, uint32_t b) {
        const Vcpu *x = &view->snapshot->vcpu[a], *y = &view->snapshot->vcpu[b];

        return x->range == y->range && x->cpuset == y->cpuset;
}

static bool has_same_masks(const View *view, uint32_t a, uint32_t b) {
        return has_same_range(view, a, b) && view->plan->target[a].mask == view->plan->target[b].mask &&
               view->snapshot->vcpu[a].mask == view->snapshot->vcpu[b].mask &&
               view->plan->target[b].cpu < 0 && view->snapshot->vcpu[a].tid && view->snapshot->vcpu[b].tid;
}

/* All that the vCPU may run on when the plan is carried out. */
static void vcpu_mask(const View *view, uint32_t vcpu, CpuSet *ret) {
        const CpuSetPool *pool = &view->snapshot->pool;
        const CpuSet *target = pool_get(pool, view->plan->target[vcpu].mask);
        const CpuSet *mask = pool_get(pool, view->snapshot->vcpu[vcpu].mask);
        const CpuSet *cpuset = pool_get(pool, view->snapshot->vcpu[vcpu].cpuset);

        if (target)
                *ret = *target;
        else if (mask)
                *ret = *mask;
        else
                vcpu_allowed(view->topology, view->snapshot, view->policy, vcpu, ret);
        if (cpuset)
                cpuset_and(ret, cpuset);
        cpuset_and(ret, &view->topology->online);
}

void view_vm_cpus(const View *view, uint32_t vm, CpuSet *ret) {
        const Vm *v = &view->snapshot->vm[vm];

        cpuset_clear(ret);
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                int cpu = view_vcpu_cpu(view, i);
                CpuSet mask;

                if (cpu >= 0)
                        cpuset_add(ret, (unsigned)cpu);
                if (cpu >= 0 || (i > v->first_vcpu && has_same_masks(view, i, i - 1)) ||
                    view_vcpu_state(view, i) == VCPU_UNSEEN)
                        continue;
                vcpu_mask(view, i, &mask);
                cpuset_or(ret, &mask);
        }
}

void view_vm_allowed(const View *view, uint32_t vm, CpuSet *ret) {
        const Vm *v = &view->snapshot->vm[vm];
        CpuSet allowed;

        cpuset_clear(ret);
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                if (i > v->first_vcpu && has_same_range(view, i, i - 1))
                        continue;
                vcpu_allowed(view->topology, view->snapshot, view->policy, i, &allowed);
                cpuset_or(ret, &allowed);
        }
}

static json_t *set_or_null(const View *view, SetId id) {
        const CpuSet *set = pool_get(&view->snapshot->pool, id);

        return set ? view_cpulist(set) : json_null();
}

/* The lists of the vCPU before, to be shared with those that have the same. */
typedef struct Lists {
        json_t *range, *allowed, *mask;
} Lists;

static void lists_done(Lists *lists) {
        json_decref(lists->range);
        json_decref(lists->allowed);
        json_decref(lists->mask);
}

static void lists_fill(const View *view, uint32_t vcpu, bool first, Lists *lists) {
        const Vcpu *v = &view->snapshot->vcpu[vcpu];
        CpuSet allowed;

        if (first || !has_same_range(view, vcpu, vcpu - 1)) {
                json_decref(lists->range);
                json_decref(lists->allowed);
                vcpu_allowed(view->topology, view->snapshot, view->policy, vcpu, &allowed);
                lists->range = set_or_null(view, v->range);
                lists->allowed = view_cpulist(&allowed);
        }
        if (first || v->mask != view->snapshot->vcpu[vcpu - 1].mask) {
                json_decref(lists->mask);
                lists->mask = set_or_null(view, v->mask);
        }
}

static json_t *vcpu_json(const View *view, uint32_t vcpu, const Lists *lists) {
        const Vcpu *v = &view->snapshot->vcpu[vcpu];

        return json_pack("{si,si,sO,sO,sO,si,ss,sb,sn}", "vcpu", v->number, "thread", v->tid, "range",
                         lists->range, "allowed", lists->allowed, "mask", lists->mask, "cpu",
                         view_vcpu_cpu(view, vcpu), "state", state_names[view_vcpu_state(view, vcpu)],
                         "written", v->written != SET_NONE, "run_delay_ms");
}

static json_t *vcpus_json(const View *view, const Vm *vm) {
        json_auto_t *list = json_array();
        Lists lists = {};
        bool failed = false;

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus && !failed; i++) {
                lists_fill(view, i, i == vm->first_vcpu, &lists);
                failed = json_array_append_new(list, vcpu_json(view, i, &lists)) < 0;
        }
        lists_done(&lists);
        return failed ? NULL : STEAL_PTR(list);
}

static json_t *memory_json(const Vm *vm) {
        json_auto_t *list = json_array();

        for (unsigned i = 0; i < vm->n_mem; i++)
                if (json_array_append_new(list, json_pack("{si,si}", "node", vm->mem[i].node, "permille",
                                                          vm->mem[i].permille)) < 0)
                        return NULL;
        return STEAL_PTR(list);
}

json_t *view_io_threads(const View *view, uint32_t vm) {
        json_auto_t *list = json_array();

        for (uint32_t i = 0; i < view->snapshot->n_helpers; i++) {
                const Helper *helper = &view->snapshot->helper[i];

                if (helper->vm == vm && helper->kind == HELPER_IOTHREAD &&
                    json_array_append_new(list, json_integer(helper->tid)) < 0)
                        return NULL;
        }
        return STEAL_PTR(list);
}

/* The indices of clusters and nodes that have a CPU of the set. */
static void touched(const View *view, const CpuSet *cpus, CpuSet *ret_clusters, CpuSet *ret_nodes) {
        cpuset_clear(ret_clusters);
        cpuset_clear(ret_nodes);
        CPUSET_FOREACH (cpu, cpus) {
                int slot = view->topology->slot_of[cpu];

                if (slot < 0)
                        continue;
                cpuset_add(ret_clusters, view->topology->cpu[slot].cluster);
                cpuset_add(ret_nodes, view->topology->cpu[slot].node);
        }
}

static json_t *numbers_json(const CpuSet *numbers) {
        json_auto_t *list = json_array();

        CPUSET_FOREACH (number, numbers)
                if (json_array_append_new(list, json_integer(number)) < 0)
                        return NULL;
        return STEAL_PTR(list);
}

/* The operating system's numbers of nodes that are given by index. */
static json_t *nodes_json(const View *view, const CpuSet *nodes) {
        json_auto_t *list = json_array();

        CPUSET_FOREACH (node, nodes)
                if (json_array_append_new(list, json_integer(view->topology->node[node].os)) < 0)
                        return NULL;
        return STEAL_PTR(list);
}

json_t *view_blocker(const View *view, uint32_t vm) {
        const Verdict *verdict = &view->plan->verdict[vm];
        bool known = verdict->blocker >= 0 && (uint32_t)verdict->blocker < view->snapshot->n_vms;

        return known ? view_text(view->snapshot->vm[verdict->blocker].name) : json_null();
}

json_t *view_vm(const View *view, uint32_t vm, bool detail) {
        const Vm *v = &view->snapshot->vm[vm];
        const Verdict *verdict = &view->plan->verdict[vm];
        json_auto_t *json = NULL;
        CpuSet cpus, allowed, clusters, nodes;

        view_vm_cpus(view, vm, &cpus);
        touched(view, &cpus, &clusters, &nodes);
        view_vm_allowed(view, vm, &allowed);
        json = json_pack(
                "{ss,so,si,ss,ss,ss,so,si,si,si,si,so,si,so,si,so,so,sb,si,si,sb,so,ss,so}", "uuid", v->uuid,
                "name", view_text(v->name), "pid", v->pid, "verdict", verdict_name(verdict->kind), "reason",
                reason_name(verdict->reason), "reason_text", reason_text(verdict->reason), "blocker",
                view_blocker(view, vm), "vcpus", v->n_vcpus, "exclusive", verdict->n_exclusive, "pinned",
                verdict->n_pinned, "foreign", verdict->n_foreign, "nodes", nodes_json(view, &nodes),
                "min_nodes", verdict->min_nodes, "clusters", numbers_json(&clusters), "min_clusters",
                verdict->min_clusters, "cpus", view_cpulist(&cpus), "allowed", view_cpulist(&allowed),
                "range_named", v->range_named, "cpus_twice", verdict->cpus_twice, "doubled_cores",
                verdict->doubled_cores, "remote_memory", verdict->remote_memory, "memory", memory_json(v),
                "memory_source", memory_source_names[v->mem_source], "io_threads", view_io_threads(view, vm));
        if (json && detail && json_object_set_new(json, "vcpu", vcpus_json(view, v)) < 0)
                return NULL;
        return STEAL_PTR(json);
}

json_t *view_score(const Score *score) {
        return json_pack("{si,si,si,si}", "unplaced", (int)score->unplaced, "excess_nodes",
                         (int)score->excess_nodes, "excess_clusters", (int)score->excess_clusters,
                         "shared_cores", (int)score->shared_cores);
}

static json_t *move_json(const View *view, const Move *move) {
        const Vcpu *vcpu = &view->snapshot->vcpu[move->vcpu];
        const Vm *vm = &view->snapshot->vm[vcpu->vm];

        return json_pack("{ss,so,si,ss,si,si,so}", "vm", vm->uuid, "name", view_text(vm->name), "vcpu",
                         vcpu->number, "kind", move_kind_name(move->kind), "from", move->from, "to", move->to,
                         "mask", set_or_null(view, move->mask));
}

json_t *view_moves(const View *view) {
        json_auto_t *list = json_array();

        for (uint32_t i = 0; i < view->plan->n_moves; i++)
                if (json_array_append_new(list, move_json(view, &view->plan->move[i])) < 0)
                        return NULL;
        return STEAL_PTR(list);
}

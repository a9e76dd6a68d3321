/* SPDX-License-Identifier: Apache-2.0 */

/* What the plan comes to: targets, one true verdict for each VM, and scores. */

#include "core/work.h"

#include <assert.h>
#include <string.h>

/* The slot that a vCPU sits on after the plan, owned or not. */
static int vcpu_slot(const PlanWork *work, uint32_t vcpu) {
        const VcpuWork *w = &work->vcpu[vcpu];

        return w->class == VCPU_MOVABLE ? w->seat : w->stand;
}

static void vm_excess(PlanWork *work, uint32_t vm, unsigned *ret_nodes, unsigned *ret_clusters) {
        const VmWork *vw = &work->vm[vm];
        Span span = vm_span(work, vm);

        *ret_nodes = span.nodes > vw->min_nodes ? span.nodes - vw->min_nodes : 0;
        *ret_clusters = span.clusters > vw->min_clusters ? span.clusters - vw->min_clusters : 0;
}

static uint32_t count_shared_cores(const PlanWork *work) {
        const Topology *topology = work->topology;
        uint32_t n = 0;

        if (topology->smt_width < 2)
                return 0;
        for (unsigned c = 0; c < topology->n_cores; c++) {
                const Core *core = &topology->core[c];
                int32_t vm = NOBODY;
                bool shared = false;

                if (work->board.core_used[c] < 2)
                        continue;
                for (unsigned slot = core->first_slot; slot < (unsigned)core->first_slot + core->n_cpus; slot++) {
                        int32_t owner = work->board.owner[slot];

                        if (owner == NOBODY)
                                continue;
                        if (vm != NOBODY && vm != (int32_t)work->snapshot->vcpu[owner].vm)
                                shared = true;
                        vm = work->snapshot->vcpu[owner].vm;
                }
                n += shared;
        }
        return n;
}

void work_score(PlanWork *work, Score *ret) {
        *ret = (Score){.shared_cores = count_shared_cores(work)};
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++) {
                unsigned nodes, clusters;

                if (work->topology->smt_width > 1)
                        work_minimum(work, vm);

                if (work->vm[vm].kind != VERDICT_PLACED)
                        continue;
                if (work->vm[vm].crowded || !vm_is_complete(work, vm)) {
                        ret->unplaced++;
                        continue;
                }
                vm_excess(work, vm, &nodes, &clusters);
                ret->excess_nodes += nodes;
                ret->excess_clusters += clusters;
        }
}

static int compare(uint32_t a, uint32_t b) {
        return (a > b) - (a < b);
}

int score_compare(const Score *a, const Score *b) {
        int r = compare(a->unplaced, b->unplaced);

        if (r == 0)
                r = compare(a->excess_nodes, b->excess_nodes);
        if (r == 0)
                r = compare(a->excess_clusters, b->excess_clusters);
        return r ? r : compare(a->shared_cores, b->shared_cores);
}

/* Targets: what each thread is to hold. */

static bool wants_release(const PlanWork *work, uint32_t vcpu) {
        const Vcpu *v = &work->snapshot->vcpu[vcpu];

        return work->vm[v->vm].release && work->vm[v->vm].kind == VERDICT_EXCLUDED &&
               work->vcpu[vcpu].class == VCPU_FROZEN && work->vcpu[vcpu].known && !work->vcpu[vcpu].changed;
}

/* We wrote over its operator's pin, which libvirt told of too late. */
static bool pin_is_covered(const PlanWork *work, uint32_t vcpu) {
        const Vcpu *v = &work->snapshot->vcpu[vcpu];
        VerdictKind kind = work->vm[v->vm].kind;

        return work->vcpu[vcpu].class == VCPU_PINNED && work->vcpu[vcpu].stand != NO_SLOT &&
               (kind == VERDICT_PLACED || kind == VERDICT_PINNED) && v->mask != SET_NONE && v->mask == v->written && v->mask != v->range;
}

void work_set_targets(PlanWork *work) {
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                const Vcpu *v = &work->snapshot->vcpu[i];
                VcpuWork *w = &work->vcpu[i];
                int slot = vcpu_slot(work, i);
                Target *target = &work->plan->target[i];

                *target = (Target){.cpu = -1, .mask = SET_NONE};
                if (slot != NO_SLOT)
                        target->cpu = (int16_t)work->topology->cpu[slot].os;
                if (wants_release(work, i)) {
                        w->why = MOVE_RELEASE;
                        target->mask = v->range == v->range_then && v->before != SET_NONE ? v->before : v->range;
                } else if (pin_is_covered(work, i)) {
                        w->why = MOVE_YIELD;
                        w->origin = single_slot(work, v->mask); /* and not its pin */
                        target->mask = v->range;
                } else if (w->class == VCPU_MOVABLE && slot != NO_SLOT)
                        target->mask = slot == w->origin ? v->mask : slot_mask(work, slot);
        }
}

/* Verdicts. */

static bool guest_siblings(const PlanWork *work, uint32_t a, uint32_t b) {
        const Vcpu *va = &work->snapshot->vcpu[a], *vb = &work->snapshot->vcpu[b];
        unsigned threads = work->snapshot->vm[va->vm].guest_threads;

        return va->vm == vb->vm && threads > 1 && va->number / threads == vb->number / threads;
}

static bool vcpu_is_doubled(const PlanWork *work, uint32_t vcpu, unsigned slot) {
        const Core *core = &work->topology->core[work->topology->cpu[slot].core];

        for (unsigned i = core->first_slot; i < (unsigned)core->first_slot + core->n_cpus; i++) {
                int32_t owner = work->board.owner[i];

                if (i != slot && owner != NOBODY && !guest_siblings(work, vcpu, (uint32_t)owner))
                        return true;
        }
        return false;
}

static bool cpu_has_two(const PlanWork *work, unsigned slot) {
        return work->n_sitting[slot] > 1;
}

/* Every slot's number of vCPUs that are fixed on it. */
static void count_sitting(PlanWork *work) {
        memset(work->n_sitting, 0, work->topology->n_cpus * sizeof(work->n_sitting[0]));
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                int slot = vcpu_slot(work, i);

                if (slot != NO_SLOT)
                        work->n_sitting[slot]++;
        }
}

static void verdict_count(PlanWork *work, const Vm *vm, Verdict *ret) {
        work->stamp++;
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int slot = vcpu_slot(work, i);
                const Cpu *cpu;

                ret->n_pinned = (uint16_t)(ret->n_pinned + (work->vcpu[i].class == VCPU_PINNED));
                ret->n_foreign = (uint16_t)(ret->n_foreign + (work->vcpu[i].class == VCPU_FOREIGN));
                if (slot == NO_SLOT)
                        continue;
                cpu = &work->topology->cpu[slot];
                ret->n_exclusive = (uint16_t)(ret->n_exclusive + !cpu_has_two(work, (unsigned)slot));
                if (cpu_has_two(work, (unsigned)slot) && work->slot_mark[slot] != work->stamp)
                        ret->cpus_twice++;
                work->slot_mark[slot] = work->stamp;
                if (vcpu_is_doubled(work, i, (unsigned)slot) && work->core_mark[cpu->core] != work->stamp) {
                        work->core_mark[cpu->core] = work->stamp;
                        ret->doubled_cores++;
                }
        }
}

static bool vm_memory_is_remote(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        int node = v->n_mem > 0 && v->mem_source != MEM_UNKNOWN ? topology_node_by_os(work->topology, v->mem[0].node)
                                                                : -1;
        bool seated = false;

        for (uint32_t i = v->first_vcpu; node >= 0 && i < v->first_vcpu + v->n_vcpus; i++) {
                int slot = vcpu_slot(work, i);

                if (slot != NO_SLOT && work->topology->cpu[slot].node == node)
                        return false;
                seated |= slot != NO_SLOT;
        }
        return node >= 0 && seated;
}

static bool stands_in_way(const PlanWork *work, const Group *group, unsigned slot, bool only_fixed) {
        int32_t owner = work->board.owner[slot];

        if (owner == NOBODY || !slots_have(&work->allowed[group->allowed].slots, slot))
                return false;
        if (work->vcpu[owner].class != VCPU_MOVABLE)
                return true; /* its own VM's pins too */
        return work->snapshot->vcpu[owner].vm != group->vm && !only_fixed;
}

/* CPUs of the group's range that are not for it: all that others own, or those
 * that can not be vacated. *ret_vm: the other VM with most of them. */
static unsigned owned_by_others(PlanWork *work, const Group *group, bool only_fixed, int32_t *ret_vm) {
        uint16_t *count = work->vm_count;
        unsigned n = 0;

        memset(count, 0, work->snapshot->n_vms * sizeof(*count));
        *ret_vm = -1;
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                if (stands_in_way(work, group, slot, only_fixed)) {
                        uint32_t vm = work->snapshot->vcpu[work->board.owner[slot]].vm;

                        n++;
                        if (vm == group->vm)
                                continue;
                        count[vm]++;
                        if (*ret_vm < 0 || count[vm] > count[*ret_vm])
                                *ret_vm = (int32_t)vm;
                }
        return n;
}

static VerdictReason group_why_shared(PlanWork *work, const Group *group, int32_t *ret_blocker) {
        const Allowed *allowed = &work->allowed[group->allowed];
        unsigned fixed, owned;

        *ret_blocker = -1;
        if (allowed->n_cpus < group->n)
                return REASON_RANGE_TOO_SMALL;
        fixed = owned_by_others(work, group, true, ret_blocker);
        if (allowed->n_cpus - fixed < group->n)
                return REASON_BLOCKED;
        owned = owned_by_others(work, group, false, ret_blocker);
        if (allowed->n_cpus - owned < group->n)
                return REASON_FULL;
        *ret_blocker = -1;
        return REASON_NONE;
}

static void verdict_why_shared(PlanWork *work, uint32_t vm, Verdict *ret) {
        const VmWork *vw = &work->vm[vm];

        for (unsigned g = 0; g < vw->n_groups && ret->reason == REASON_NONE; g++)
                ret->reason = group_why_shared(work, &work->group[vw->first_group + g], &ret->blocker);
        if (ret->reason == REASON_NONE)
                ret->reason = vw->bound ? REASON_MEMORY : REASON_FRAGMENTED;
}

/* A VM some of whose pins take no CPU of their own: the rest of it has them. */
static void verdict_why_crowded(PlanWork *work, uint32_t vm, Verdict *ret) {
        const Vm *v = &work->snapshot->vm[vm];

        ret->reason = REASON_BLOCKED;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                int slot = vcpu_slot(work, i);
                int32_t owner = slot == NO_SLOT ? NOBODY : work->board.owner[slot];

                if (slot == NO_SLOT)
                        ret->reason = REASON_RANGE_EMPTY; /* pinned to a CPU that is offline */
                if (owner != NOBODY && work->snapshot->vcpu[owner].vm != vm)
                        ret->blocker = work->snapshot->vcpu[owner].vm;
        }
}

/* Where all vCPUs sit now is proof that so few suffice: the minimum is counted
 * greedily where ranges differ, and for pins as if each had a CPU to itself. */
static void verdict_bound_minimum(const PlanWork *work, const Vm *vm, Verdict *ret) {
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++)
                if (vcpu_slot(work, i) == NO_SLOT)
                        return;
        if (ret->nodes > ret->min_nodes)
                return; /* on more nodes fewer clusters may do: that is no gain */
        ret->min_nodes = ret->nodes;
        if (ret->min_clusters > ret->clusters)
                ret->min_clusters = ret->clusters;
}

/* Where its homes are, and how high. */
static void vm_judge_layers(PlanWork *work, uint32_t vm, Verdict *ret) {
        const Vm *v = &work->snapshot->vm[vm];
        Span span = vm_home_span(work, vm);

        ret->kind = VERDICT_LAYERED;
        ret->clusters = (uint16_t)span.clusters;
        ret->nodes = (uint16_t)span.nodes;
        if (ret->nodes <= ret->min_nodes) {
                ret->min_nodes = ret->nodes;
                if (ret->min_clusters > ret->clusters)
                        ret->min_clusters = ret->clusters;
        }
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->plan->target[i].layer > ret->layer)
                        ret->layer = work->plan->target[i].layer;
        verdict_why_shared(work, vm, ret);
}

/* One that is only observed, by where it stands. */
static void vm_judge_observed(const Vm *vm, Verdict *ret) {
        if (ret->n_exclusive < vm->n_vcpus)
                ret->kind = VERDICT_SHARED;
        else if (ret->nodes > ret->min_nodes || ret->clusters > ret->min_clusters)
                ret->kind = VERDICT_SPREAD;
        else
                ret->kind = VERDICT_PLACED;
}

static void vm_judge(PlanWork *work, uint32_t vm, Verdict *ret) {
        const VmWork *vw = &work->vm[vm];
        Span span = vm_span(work, vm);

        *ret = (Verdict){.kind = vw->kind, .reason = vw->reason, .blocker = -1};
        ret->min_clusters = vw->min_clusters;
        ret->min_nodes = vw->min_nodes;
        ret->clusters = (uint16_t)span.clusters;
        ret->nodes = (uint16_t)span.nodes;
        verdict_bound_minimum(work, &work->snapshot->vm[vm], ret);
        verdict_count(work, &work->snapshot->vm[vm], ret);
        ret->remote_memory = vm_memory_is_remote(work, vm);
        if (vw->kind == VERDICT_EXCLUDED && work->snapshot->vm[vm].policy.manage == MANAGE_OBSERVE)
                vm_judge_observed(&work->snapshot->vm[vm], ret);
        if (vw->kind != VERDICT_PLACED)
                return;
        if (vw->layered)
                vm_judge_layers(work, vm, ret);
        else if (!vw->exclusive) {
                ret->kind = VERDICT_SHARED;
                verdict_why_shared(work, vm, ret);
        } else if (vw->crowded) {
                ret->kind = VERDICT_SHARED;
                verdict_why_crowded(work, vm, ret);
        } else if (span.nodes > vw->min_nodes || span.clusters > vw->min_clusters) {
                ret->kind = VERDICT_SPREAD;
                ret->reason = vw->hint != REASON_NONE ? vw->hint : REASON_FRAGMENTED;
        }
}

static void count_supply(PlanWork *work) {
        SlotSet supply;
        unsigned words = (work->topology->n_cpus + 63u) / 64;

        memset(&supply, 0, sizeof(supply));
        work->plan->demand_vcpus = 0;
        for (uint32_t i = 1; i <= work->n_allowed; i++)
                work->allowed[i].n_sharers = 0;
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                VerdictKind kind = work->vm[work->snapshot->vcpu[i].vm].kind;

                if (kind != VERDICT_PLACED && kind != VERDICT_PINNED)
                        continue;
                work->plan->demand_vcpus++;
                work->allowed[work->vcpu[i].allowed].n_sharers = 1;
        }
        for (uint32_t i = 1; i <= work->n_allowed; i++)
                for (unsigned word = 0; work->allowed[i].n_sharers && word < words; word++)
                        supply.word[word] |= work->allowed[i].slots.word[word];
        work->plan->supply_cpus = slots_count(&supply, 0, work->topology->n_cpus);
}

void work_judge(PlanWork *work) {
        count_sitting(work);
        work_score(work, &work->plan->after);
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                vm_judge(work, vm, &work->plan->verdict[vm]);
        cpuset_clear(&work->plan->owned);
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                if (work->board.owner[slot] != NOBODY && work->n_sitting[slot] == 1)
                        cpuset_add(&work->plan->owned, work->topology->cpu[slot].os);
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++)
                if (work->vcpu[i].home != NO_SLOT)
                        cpuset_add(&work->plan->owned, (unsigned)work->plan->target[i].cpu);
        count_supply(work);
}

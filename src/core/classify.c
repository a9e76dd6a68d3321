/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the planner may do with each VM and each vCPU, from what was observed
 * and what the state file knows. A thread is *known* when we wrote it once; a
 * known thread's mask is *ours* while it is one that we wrote, meant to write,
 * or found before our first write.
 */

#include "core/work.h"

#include <assert.h>
#include <string.h>

static VerdictReason sight_reason(VmSight sight) {
        switch (sight) {
        case SIGHT_STARTING:
                return REASON_STARTING;
        case SIGHT_NO_PID:
                return REASON_NO_PID;
        case SIGHT_NO_PROCESS:
                return REASON_NO_PROCESS;
        case SIGHT_HIDDEN:
                return REASON_HIDDEN;
        case SIGHT_STRANGER:
                return REASON_STRANGER;
        case SIGHT_LIMIT:
                return REASON_LIMIT;
        case SIGHT_OK:
        case SIGHT_NO_THREADS:
        default:
                return REASON_NO_THREADS;
        }
}

int16_t single_slot(const PlanWork *work, SetId set) {
        int cpu = pool_single(&work->snapshot->pool, set);

        return cpu < 0 ? (int16_t)NO_SLOT : work->topology->slot_of[cpu];
}

static bool mask_is_ours(const Vcpu *vcpu) {
        return vcpu->mask != SET_NONE &&
               (vcpu->mask == vcpu->written || vcpu->mask == vcpu->intended ||
                (vcpu->written == SET_NONE && vcpu->mask == vcpu->before));
}

static bool vcpu_is_pinned(const PlanWork *work, const Vcpu *vcpu) {
        return pool_single(&work->snapshot->pool, vcpu->range) >= 0;
}

/* Narrower than its allowed set, and not by a CPU that came online later. */
static bool vcpu_is_narrowed(const PlanWork *work, uint32_t vcpu) {
        const Vcpu *v = &work->snapshot->vcpu[vcpu];
        const CpuSet *mask = pool_get(&work->snapshot->pool, v->mask);
        CpuSet must;

        if (!mask || v->mask == v->range)
                return false;
        vcpu_allowed(work->topology, work->snapshot, work->policy, vcpu, &must);
        cpuset_subtract(&must, &work->snapshot->fresh);
        return !cpuset_is_subset(&must, mask);
}

static bool vm_takes_over(const PlanWork *work, uint32_t vm) {
        return work->snapshot->vm[vm].policy.manage == MANAGE_YES ||
               (work->request->kind == PLAN_REASSIGN && work->request->vm == (int32_t)vm);
}

static bool range_is_whole_nodes(const PlanWork *work, const Vcpu *vcpu) {
        const CpuSet *named = pool_get(&work->snapshot->pool, vcpu->range);
        const Topology *topology = work->topology;
        CpuSet range = topology->online, node;

        if (named)
                cpuset_and(&range, named);
        for (unsigned i = 0; i < topology->n_nodes; i++) {
                topology_node_cpus(topology, i, &node);
                if (cpuset_intersects(&range, &node) && !cpuset_is_subset(&node, &range))
                        return false;
        }
        return !cpuset_is_empty(&range);
}

static bool vm_ranges_are_whole_nodes(const PlanWork *work, const Vm *vm) {
        SetId last = SET_NONE;

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                const Vcpu *vcpu = &work->snapshot->vcpu[i];

                if (i > vm->first_vcpu && vcpu->range == last)
                        continue;
                last = vcpu->range;
                if (!range_is_whole_nodes(work, vcpu))
                        return false;
        }
        return true;
}

/* Where a thread that this round leaves alone owns a CPU, if it does. */
static int16_t frozen_slot(const PlanWork *work, const VmWork *vw, const Vcpu *vcpu) {
        SetId mask = vcpu->mask;

        if (vw->release && mask_is_ours(vcpu) && vcpu->before != SET_NONE)
                mask = vcpu->range == vcpu->range_then ? vcpu->before : vcpu->range;
        if (mask == SET_NONE)
                return vcpu->home >= 0 ? work->topology->slot_of[vcpu->home] : (int16_t)NO_SLOT;
        return single_slot(work, mask);
}

static void vm_freeze(PlanWork *work, uint32_t vm, VerdictKind kind, VerdictReason reason) {
        const Vm *v = &work->snapshot->vm[vm];
        VmWork *vw = &work->vm[vm];

        vw->kind = kind;
        vw->reason = reason;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                VcpuWork *w = &work->vcpu[i];

                if (w->class == VCPU_PINNED)
                        continue;
                if (w->class != VCPU_FOREIGN)
                        w->class = VCPU_FROZEN;
                w->stand = frozen_slot(work, vw, &work->snapshot->vcpu[i]);
                w->origin = single_slot(work, work->snapshot->vcpu[i].mask);
        }
}

static bool vcpu_is_legal(const PlanWork *work, const VcpuWork *w, int slot) {
        return slot >= 0 && slots_have(&work->allowed[w->allowed].slots, (unsigned)slot);
}

static void vcpu_classify(PlanWork *work, uint32_t vcpu) {
        const Vcpu *v = &work->snapshot->vcpu[vcpu];
        VcpuWork *w = &work->vcpu[vcpu];

        *w = (VcpuWork){.seat = NO_SLOT, .stand = NO_SLOT, .keep = NO_SLOT, .origin = NO_SLOT, .home = NO_SLOT,
                        .why = MOVE_PLACE};
        w->allowed = work_allowed(work, vcpu);
        w->known = v->before != SET_NONE || v->written != SET_NONE || v->intended != SET_NONE;
        if (vcpu_is_pinned(work, v)) {
                w->class = VCPU_PINNED;
                w->stand = w->origin = single_slot(work, v->range);
                return;
        }
        w->changed = w->known && v->mask != SET_NONE && !mask_is_ours(v);
        if (w->changed)
                w->why = v->range == v->range_then ? MOVE_REPAIR : MOVE_YIELD;
        else if (!w->known && vcpu_is_narrowed(work, vcpu) && !vm_takes_over(work, v->vm)) {
                w->class = VCPU_FOREIGN;
                return;
        }
        w->class = VCPU_MOVABLE;
        w->origin = single_slot(work, v->mask);
        if (w->changed || !vcpu_is_legal(work, w, w->origin)) {
                if (w->origin != NO_SLOT && !w->changed)
                        w->why = MOVE_YIELD;
                return;
        }
        if (!v->layered) /* else the CPU may be another's */
                w->stand = w->origin;
}

typedef struct Census {
        unsigned pinned, foreign, movable, empty, unlimited, unseen, contested;
} Census;

static Census vm_census(PlanWork *work, const Vm *vm) {
        Census census = {0};

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                const Vcpu *v = &work->snapshot->vcpu[i];
                const VcpuWork *w = &work->vcpu[i];

                census.pinned += w->class == VCPU_PINNED;
                census.foreign += w->class == VCPU_FOREIGN;
                census.unseen += v->mask == SET_NONE;
                census.unlimited += w->allowed == 0;
                if (w->class != VCPU_MOVABLE)
                        continue;
                census.movable++;
                census.empty += w->allowed && work->allowed[w->allowed].n_cpus == 0;
                census.contested += w->changed && w->why == MOVE_REPAIR && v->drift >= 2;
        }
        return census;
}

/* Whether its masks are to be left alone for now, since somebody else keeps
 * changing them. A back-off that has ended allows one more try. */
static bool vm_is_contested(PlanWork *work, uint32_t vm, const Census *census) {
        VmHistory *history = &work->history->vm[vm];

        if (history->contested_until_ns > work->now_ns)
                return true;
        if (history->contested_until_ns == 0 && census->contested > 0) {
                history->contested_until_ns = work->now_ns + work->policy->contested_back_off_ns;
                return true;
        }
        history->contested_until_ns = 0;
        return false;
}

static void vm_classify(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        VmWork *vw = &work->vm[vm];
        Census census;

        memset(vw, 0, sizeof(*vw));
        vw->blocker = -1;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                vcpu_classify(work, i);
        census = vm_census(work, v);
        vw->release = v->policy.manage == MANAGE_NO;

        if (v->sight != SIGHT_OK)
                vm_freeze(work, vm, VERDICT_UNSEEN, sight_reason(v->sight));
        else if (v->n_vcpus == 0 || census.unseen > 0)
                vm_freeze(work, vm, VERDICT_UNSEEN, REASON_NO_THREADS);
        else if (v->policy.manage == MANAGE_NO)
                vm_freeze(work, vm, VERDICT_EXCLUDED, REASON_CONFIGURED);
        else if (v->policy.manage == MANAGE_OBSERVE && census.pinned < v->n_vcpus)
                vm_freeze(work, vm, VERDICT_EXCLUDED, REASON_CONFIGURED); /* until it is judged: verdict.c */
        else if (!work->policy->range_affinity && !vm_ranges_are_whole_nodes(work, v)) {
                vw->release = true;
                vm_freeze(work, vm, VERDICT_EXCLUDED, REASON_RANGE_NOT_NODES);
        } else if (census.pinned == v->n_vcpus)
                vw->kind = VERDICT_PINNED;
        else if (vm_is_contested(work, vm, &census))
                vm_freeze(work, vm, VERDICT_CONTESTED, REASON_NONE);
        else if (census.foreign > 0)
                vm_freeze(work, vm, VERDICT_FOREIGN, REASON_NONE);
        else if (census.unlimited > 0)
                vm_freeze(work, vm, VERDICT_UNPLACEABLE, REASON_LIMIT);
        else if (census.empty > 0)
                vm_freeze(work, vm, VERDICT_UNPLACEABLE, REASON_RANGE_EMPTY);
        else {
                vw->kind = VERDICT_PLACED;
                vw->n_movable = (uint16_t)census.movable;
        }
}

/* Groups the movable vCPUs by allowed set, the narrowest set first. */
static void vm_group(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        VmWork *vw = &work->vm[vm];
        Group *group = &work->group[work->n_groups];

        vw->first_group = work->n_groups;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                unsigned g = 0;

                if (work->vcpu[i].class != VCPU_MOVABLE)
                        continue;
                while (g < vw->n_groups && group[g].allowed != work->vcpu[i].allowed)
                        g++;
                if (g == vw->n_groups) {
                        group[g] = (Group){.vm = (uint16_t)vm, .allowed = work->vcpu[i].allowed};
                        vw->n_groups++;
                }
                group[g].n++;
        }
        for (unsigned i = 1; i < vw->n_groups; i++)
                for (unsigned j = i; j > 0 && work->allowed[group[j].allowed].n_cpus <
                                                      work->allowed[group[j - 1].allowed].n_cpus; j--) {
                        Group g = group[j];

                        group[j] = group[j - 1];
                        group[j - 1] = g;
                }
        for (unsigned g = 0; g < vw->n_groups; g++) {
                group[g].first_member = work->n_members;
                for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                        if (work->vcpu[i].class == VCPU_MOVABLE && work->vcpu[i].allowed == group[g].allowed)
                                work->member[work->n_members++] = i;
        }
        work->n_groups += vw->n_groups;
}

void work_classify(PlanWork *work) {
        memset(work->allowed_of_range, 0, (work->snapshot->pool.n + 1) * sizeof(uint32_t));
        work->n_allowed = 0;
        work->n_groups = 0;
        work->n_members = 0;
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++) {
                vm_classify(work, vm);
                if (work->vm[vm].kind == VERDICT_PLACED)
                        vm_group(work, vm);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who takes which CPU, once it is settled how many of a group sit in each
 * cluster: vCPUs stay where they stand if they can, else in the cluster where
 * they stand, and the others take the best CPUs that are left.
 */

#include "core/work.h"

#include <assert.h>
#include <limits.h>

enum { KINDS_MAX = 8, ANY_KIND = KINDS_MAX, SLOT_GRADES = 8 };

/* Past the seventh, kinds are all one. */
static unsigned slot_kind(const PlanWork *work, unsigned slot) {
        unsigned kind = work->topology->cpu[slot].kind;

        return kind < KINDS_MAX ? kind : KINDS_MAX - 1;
}

bool vcpu_may_keep(const PlanWork *work, uint32_t vcpu) {
        int keep = work->vcpu[vcpu].keep;

        return keep != NO_SLOT && slot_suits(work, work->snapshot->vcpu[vcpu].vm, (unsigned)keep);
}

/* Without SMT any free slot is as good as another, but for the host's first. */
static int cluster_pick_any(const PlanWork *work, const Group *group, unsigned cluster) {
        const Cluster *c = &work->topology->cluster[cluster];
        const uint64_t *allowed = work->allowed[group->allowed].slots.word, *is_free = work->board.free.word;
        unsigned end = (unsigned)c->first_slot + c->n_cpus;
        int first = NO_SLOT;

        for (unsigned slot = c->first_slot; slot < end;) {
                uint64_t word = (allowed[slot / 64] & is_free[slot / 64]) >> (slot % 64);

                if (word == 0) {
                        slot = (slot / 64 + 1) * 64;
                        continue;
                }
                slot += (unsigned)__builtin_ctzll(word);
                if (slot >= end)
                        break;
                if (work->topology->cpu[slot].core != work->first_core)
                        return (int)slot;
                first = (int)slot++;
        }
        return first;
}

/* Of a hybrid cluster: the fastest kind that alone takes n of the group, so
 * that a guest's vCPUs are equally fast; ANY_KIND where none does. */
static unsigned cluster_kind(const PlanWork *work, const Group *group, unsigned cluster, unsigned n) {
        const Cluster *c = &work->topology->cluster[cluster];
        const SlotSet *allowed = &work->allowed[group->allowed].slots;
        Grain grain = vm_node_grain(work, group->vm, c->node);
        unsigned room[KINDS_MAX] = {0};

        for (unsigned core = c->first_core; core < (unsigned)c->first_core + c->n_cores; core++)
                room[slot_kind(work, work->topology->core[core].first_slot)] +=
                        core_room(work, group->vm, allowed, core, grain);
        for (unsigned kind = KINDS_MAX; kind-- > 0;)
                if (room[kind] >= n)
                        return kind;
        return ANY_KIND;
}

/* How unwelcome the slot's kind is: 0 is as good as can be. */
static unsigned kind_grade(const PlanWork *work, unsigned slot, unsigned kind) {
        if (!work->topology->hybrid)
                return 0;
        return kind == ANY_KIND ? KINDS_MAX - 1 - slot_kind(work, slot) : slot_kind(work, slot) != kind;
}

static int cluster_pick(const PlanWork *work, const Group *group, unsigned cluster, unsigned kind) {
        const Cluster *c = &work->topology->cluster[cluster];
        const SlotSet *allowed = &work->allowed[group->allowed].slots;
        unsigned best_grade = UINT_MAX;
        int best = NO_SLOT;

        if (work->topology->smt_width < 2 && !work->topology->hybrid)
                return cluster_pick_any(work, group, cluster);
        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++) {
                unsigned grade;

                if (!slots_have(allowed, slot) || !slot_suits(work, group->vm, slot))
                        continue;
                grade = slot_grade(work, group->vm, slot) + kind_grade(work, slot, kind) * SLOT_GRADES;
                if (grade == 0)
                        return (int)slot;
                if (grade < best_grade) {
                        best_grade = grade;
                        best = (int)slot;
                }
        }
        return best;
}

bool group_stands(const PlanWork *work, const Group *group) {
        for (unsigned i = 0; i < group->n; i++)
                if (work->vcpu[work->member[group->first_member + i]].keep != NO_SLOT)
                        return true;
        return false;
}

static int member_cluster(const PlanWork *work, uint32_t vcpu) {
        int keep = work->vcpu[vcpu].keep;

        return keep == NO_SLOT ? -1 : work->topology->cpu[keep].cluster;
}

/* Seats up to take members in a cluster. pass 0: where they stand; 1: those
 * that stand in the same cluster; 2: any. Returns how many it seated. */
static unsigned part_seat(PlanWork *work, const Group *group, unsigned cluster, unsigned take, unsigned pass) {
        unsigned seated = 0, kind = ANY_KIND;

        if (pass > 0 && work->topology->hybrid)
                kind = cluster_kind(work, group, cluster, take);
        for (unsigned i = 0; i < group->n && seated < take; i++) {
                uint32_t vcpu = work->member[group->first_member + i];
                int slot;

                if (work->vcpu[vcpu].seat != NO_SLOT ||
                    (pass < 2 && member_cluster(work, vcpu) != (int)cluster))
                        continue;
                if (pass == 0 && !vcpu_may_keep(work, vcpu))
                        continue;
                slot = pass == 0 ? work->vcpu[vcpu].keep : cluster_pick(work, group, cluster, kind);
                assert(slot != NO_SLOT);
                board_seat(work, vcpu, slot);
                seated++;
        }
        return seated;
}

void group_seat(PlanWork *work, const Group *group, const Fit *fit) {
        uint16_t left[FIT_PARTS_MAX];

        for (unsigned i = 0; i < fit->n_parts; i++)
                left[i] = fit->part[i].take;
        for (unsigned pass = group_stands(work, group) ? 0 : 2; pass < 3; pass++)
                for (unsigned i = 0; i < fit->n_parts; i++)
                        left[i] = (uint16_t)(left[i] -
                                             part_seat(work, group, fit->part[i].cluster, left[i], pass));
}

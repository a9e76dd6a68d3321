/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who takes which CPU, once it is settled how many of a group sit in each
 * cluster: vCPUs stay where they stand if they can, else in the cluster where
 * they stand, and the others take the best CPUs that are left.
 */

#include "core/work.h"

#include <assert.h>
#include <limits.h>

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

static int cluster_pick(const PlanWork *work, const Group *group, unsigned cluster) {
        const Cluster *c = &work->topology->cluster[cluster];
        const SlotSet *allowed = &work->allowed[group->allowed].slots;
        unsigned best_grade = UINT_MAX;
        int best = NO_SLOT;

        if (work->topology->smt_width < 2)
                return cluster_pick_any(work, group, cluster);
        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++) {
                unsigned grade;

                if (!slots_have(allowed, slot) || !slot_suits(work, group->vm, slot))
                        continue;
                grade = slot_grade(work, group->vm, slot);
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
        unsigned seated = 0;

        for (unsigned i = 0; i < group->n && seated < take; i++) {
                uint32_t vcpu = work->member[group->first_member + i];
                int slot;

                if (work->vcpu[vcpu].seat != NO_SLOT ||
                    (pass < 2 && member_cluster(work, vcpu) != (int)cluster))
                        continue;
                if (pass == 0 && !vcpu_may_keep(work, vcpu))
                        continue;
                slot = pass == 0 ? work->vcpu[vcpu].keep : cluster_pick(work, group, cluster);
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

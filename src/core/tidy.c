/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fewer clusters for VMs that live in layers. Evenness decides on which CPU
 * somebody lives, so a VM that spans too many clusters changes homes with
 * others: all that it has in one cluster goes to its other clusters, against
 * vCPUs that live there. That leaves as many on each CPU as before. It is done
 * where all VMs together then span fewer clusters, within the credits; so it
 * ends, and a plan made again finds nothing to do.
 */

#include "core/work.h"

#include <assert.h>

enum { SWAPS_MAX = VM_VCPUS_MAX, PASSES_MAX = 8, HOMES_A_MOVE = 10 };

/* Whom a vCPU could change homes with. vcpu: NOBODY: the slot has one sharer
 * less, and it just goes there. */
typedef struct Partner {
        int32_t vcpu;
        int slot;
        int change; /* clusters that the partner's VM spans more */
} Partner;

static void list_add(PlanWork *work, uint32_t vcpu) {
        int slot = work->vcpu[vcpu].home;

        work->next_on[vcpu] = work->first_on[slot];
        work->first_on[slot] = (int32_t)vcpu;
}

static void list_remove(PlanWork *work, uint32_t vcpu) {
        int32_t *link = &work->first_on[work->vcpu[vcpu].home];

        while (*link != (int32_t)vcpu) {
                assert(*link != NOBODY);
                link = &work->next_on[*link];
        }
        *link = work->next_on[vcpu];
}

static void go(PlanWork *work, uint32_t vcpu, int slot) {
        list_remove(work, vcpu);
        work->sharers[work->vcpu[vcpu].home]--;
        work->vcpu[vcpu].home = (int16_t)slot;
        work->sharers[slot]++;
        list_add(work, vcpu);
}

static void list_all(PlanWork *work) {
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                work->first_on[slot] = NOBODY;
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++)
                if (work->vcpu[i].home != NO_SLOT)
                        list_add(work, i);
}

static bool lives_on(const PlanWork *work, uint32_t vm, int slot) {
        for (int32_t i = work->first_on[slot]; i != NOBODY; i = work->next_on[i])
                if (work->snapshot->vcpu[i].vm == vm)
                        return true;
        return false;
}

static unsigned count_in(const PlanWork *work, uint32_t vm, unsigned cluster) {
        const Vm *v = &work->snapshot->vm[vm];
        unsigned n = 0;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                int slot = w->class == VCPU_MOVABLE ? w->home : w->stand;

                n += slot != NO_SLOT && work->topology->cpu[slot].cluster == cluster;
        }
        return n;
}

/* Whether the vCPU may go there, leaving evenness aside. */
static bool may_go(const PlanWork *work, uint32_t vcpu, int slot) {
        const VcpuWork *w = &work->vcpu[vcpu];
        uint32_t vm = work->snapshot->vcpu[vcpu].vm;
        const Cpu *from = &work->topology->cpu[w->home], *to = &work->topology->cpu[slot];

        if (!slots_have(&work->allowed[w->allowed].slots, (unsigned)slot) ||
            !vm_may_use_node(work, vm, to->node) || lives_on(work, vm, slot))
                return false;
        return from->node == to->node || work->snapshot->vm[vm].policy.cross_node || work->vm[vm].bound;
}

/* Whether two slots are alike enough that nobody is worse off who changes from one to the other. */
static bool are_even(const PlanWork *work, int a, int b) {
        return work->sharers[a] == work->sharers[b] ||
               (work->sharers[a] <= work->lowest + 1u && work->sharers[b] <= work->lowest + 1u);
}

static void consider(const PlanWork *work, uint32_t vcpu, int32_t other, int slot, Partner *best) {
        int home = work->vcpu[vcpu].home, change;
        unsigned a = work->topology->cpu[slot].cluster, b = work->topology->cpu[home].cluster;
        uint32_t vm = work->snapshot->vcpu[other].vm;

        if (vm == work->snapshot->vcpu[vcpu].vm || !may_go(work, (uint32_t)other, home))
                return;
        change = (count_in(work, vm, b) == 0) - (count_in(work, vm, a) == 1);
        if (best->slot == NO_SLOT || change < best->change)
                *best = (Partner){.vcpu = other, .slot = slot, .change = change};
}

/* The best partner among those that live in the cluster. */
static void find_partner(const PlanWork *work, uint32_t vcpu, unsigned cluster, Partner *best) {
        const Cluster *c = &work->topology->cluster[cluster];
        int home = work->vcpu[vcpu].home;

        for (int slot = c->first_slot; slot < c->first_slot + c->n_cpus; slot++) {
                if (work->sharers[slot] > work->policy->overcommit_layers || !may_go(work, vcpu, slot))
                        continue;
                if (work->sharers[slot] == work->lowest && work->sharers[home] == work->lowest + 1u &&
                    (best->slot == NO_SLOT || best->change > 0))
                        *best = (Partner){.vcpu = NOBODY, .slot = slot, .change = 0};
                if (!are_even(work, home, slot))
                        continue;
                for (int32_t i = work->first_on[slot]; i != NOBODY; i = work->next_on[i])
                        consider(work, vcpu, i, slot, best);
        }
}

/* What it costs that a vCPU leaves the home that it has had: a tenth of what it
 * costs to take a CPU of its own from a vCPU, which is what credits are for. */
static int64_t cost_of(const PlanWork *work, uint32_t vcpu, int from, int to) {
        const Cpu *cpu = work->topology->cpu;

        if (work->snapshot->vcpu[vcpu].home < 0)
                return 0;
        return (cpu[from].node == cpu[to].node ? COST_IN_NODE : COST_CROSS_NODE) / HOMES_A_MOVE;
}

typedef struct Swap {
        uint32_t vcpu;
        int32_t other;
        int16_t from, to;
} Swap;

static void undo(PlanWork *work, const Swap *swap, unsigned n) {
        while (n-- > 0) {
                go(work, swap[n].vcpu, swap[n].from);
                if (swap[n].other != NOBODY)
                        go(work, (uint32_t)swap[n].other, swap[n].to);
        }
}

/* One vCPU goes to one of its VM's other clusters. False: there is no way. */
static bool vcpu_join(PlanWork *work, uint32_t vcpu, Swap *ret, int *change, int64_t *cost_milli) {
        uint32_t vm = work->snapshot->vcpu[vcpu].vm;
        int home = work->vcpu[vcpu].home;
        Partner best = {.vcpu = NOBODY, .slot = NO_SLOT};

        for (unsigned c = 0; c < work->topology->n_clusters; c++)
                if (c != work->topology->cpu[home].cluster && count_in(work, vm, c) > 0)
                        find_partner(work, vcpu, c, &best);
        if (best.slot == NO_SLOT)
                return false;
        *ret = (Swap){vcpu, best.vcpu, (int16_t)home, (int16_t)best.slot};
        *change += best.change;
        *cost_milli += cost_of(work, vcpu, home, best.slot);
        if (best.vcpu != NOBODY) {
                *cost_milli += cost_of(work, (uint32_t)best.vcpu, best.slot, home);
                go(work, (uint32_t)best.vcpu, home);
        }
        go(work, vcpu, best.slot);
        return true;
}

/* All that the VM has in the cluster goes to its others, if that is worth it. */
static bool vm_leave_cluster(PlanWork *work, uint32_t vm, unsigned cluster) {
        const Vm *v = &work->snapshot->vm[vm];
        Swap swap[SWAPS_MAX];
        int64_t cost_milli = 0, limit_milli = work->unlimited ? COST_NONE : work_credits_left(work);
        unsigned n = 0;
        int change = -1;
        bool done = true;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus && done; i++) {
                const VcpuWork *w = &work->vcpu[i];
                int slot = w->class == VCPU_MOVABLE ? w->home : w->stand;

                if (slot == NO_SLOT || work->topology->cpu[slot].cluster != cluster)
                        continue;
                done = w->class == VCPU_MOVABLE && vcpu_join(work, i, &swap[n], &change, &cost_milli);
                n += done;
        }
        if (!done || change >= 0 || cost_milli > limit_milli) {
                undo(work, swap, n);
                return false;
        }
        work->spent_milli += cost_milli;
        return true;
}

/* Tries the clusters where it has the least first. */
static bool vm_tidy(PlanWork *work, uint32_t vm) {
        unsigned most = work->snapshot->vm[vm].n_vcpus / 2;

        for (unsigned n = 1; n <= most; n++)
                for (unsigned c = 0; c < work->topology->n_clusters; c++)
                        if (work->in_cluster[c] == n && vm_leave_cluster(work, vm, c))
                                return true;
        return false;
}

bool work_tidy_layers(PlanWork *work) {
        bool tidied = false, again = true;

        list_all(work);
        for (unsigned pass = 0; pass < PASSES_MAX && again; pass++) {
                again = false;
                for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                        while (work->vm[vm].layered &&
                               vm_home_span(work, vm).clusters > work->vm[vm].min_clusters &&
                               vm_tidy(work, vm))
                                again = true;
                tidied |= again;
        }
        return tidied;
}

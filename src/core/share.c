/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Masks of VMs that have no CPUs of their own. They get what nobody owns only
 * while that is at least as many CPUs as there are vCPUs to use them: a VM that
 * could not be placed is never squeezed, it runs as it would without us.
 */

#include "core/work.h"

#include <string.h>

static bool vm_shares(const PlanWork *work, uint32_t vm) {
        return work->vm[vm].kind == VERDICT_PLACED && !work->vm[vm].exclusive && !work->vm[vm].layered;
}

/* Takes the slots that somebody owns out of every set that a shared vCPU uses,
 * and counts those vCPUs by set. */
static void count_sharers(PlanWork *work) {
        for (uint32_t i = 1; i <= work->n_allowed; i++)
                work->allowed[i].n_sharers = 0;
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++)
                if (vm_shares(work, work->snapshot->vcpu[i].vm) && work->vcpu[i].class == VCPU_MOVABLE)
                        work->allowed[work->vcpu[i].allowed].n_sharers++;
}

static void find_unowned(PlanWork *work) {
        work->unowned = work->board.free;
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                int home = work->vcpu[i].home;

                if (home != NO_SLOT)
                        work->unowned.word[home / 64] &= ~(UINT64_C(1) << (home % 64));
        }
}

static bool unowned_meet(const PlanWork *work, uint32_t a, uint32_t b) {
        unsigned words = (work->topology->n_cpus + 63u) / 64;

        for (unsigned i = 0; i < words; i++)
                if (work->allowed[a].slots.word[i] & work->allowed[b].slots.word[i] & work->unowned.word[i])
                        return true;
        return false;
}

static SetId unowned_mask(PlanWork *work, uint32_t allowed) {
        CpuSet cpus;

        cpuset_clear(&cpus);
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                if (slots_have(&work->allowed[allowed].slots, slot) && slots_have(&work->unowned, slot))
                        cpuset_add(&cpus, work->topology->cpu[slot].os);
        return pool_intern(&work->snapshot->pool, &cpus);
}

static void allowed_share(PlanWork *work, uint32_t allowed) {
        Allowed *a = &work->allowed[allowed];
        unsigned unowned = slots_count_both(&a->slots, &work->unowned, 0, work->topology->n_cpus), users = 0;

        for (uint32_t i = 1; i <= work->n_allowed; i++)
                if (work->allowed[i].n_sharers && unowned_meet(work, allowed, i))
                        users += work->allowed[i].n_sharers;
        a->squeezed = unowned > 0 && unowned >= users;
        a->shared_mask = a->squeezed ? unowned_mask(work, allowed) : allowed_mask(work, allowed);
}

/* A thread that we never wrote and that may run everywhere needs no write. */
static bool mask_will_do(const PlanWork *work, uint32_t vcpu, const Allowed *allowed) {
        const CpuSet *mask = pool_get(&work->snapshot->pool, work->snapshot->vcpu[vcpu].mask);
        const CpuSet *want = pool_get(&work->snapshot->pool, allowed->shared_mask);

        if (!want || work->snapshot->vcpu[vcpu].mask == allowed->shared_mask)
                return true;
        return !work->vcpu[vcpu].known && !allowed->squeezed && cpuset_is_subset(want, mask);
}

void work_share(PlanWork *work) {
        count_sharers(work);
        find_unowned(work);
        for (uint32_t i = 1; i <= work->n_allowed; i++)
                if (work->allowed[i].n_sharers)
                        allowed_share(work, i);
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                VcpuWork *w = &work->vcpu[i];

                if (!vm_shares(work, work->snapshot->vcpu[i].vm) || w->class != VCPU_MOVABLE)
                        continue;
                w->why = MOVE_SHARE;
                work->plan->target[i].mask = mask_will_do(work, i, &work->allowed[w->allowed])
                                                     ? work->snapshot->vcpu[i].mask
                                                     : work->allowed[w->allowed].shared_mask;
        }
}

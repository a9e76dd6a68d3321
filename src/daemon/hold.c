/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A mask that somebody changed is not hidden: the planner sees the change and
 * repairs it, to what is held for the home. An away mask is kept over a round
 * only while its home stays the same and it lies inside the allowed set; how
 * long it is kept otherwise is the controller's business (dynamic_loop.h).
 */

#include "daemon/hold.h"

#include <stdlib.h>
#include <string.h>

ThreadState *hold_entry(State *state, const Snapshot *snapshot, uint32_t index) {
        const Vcpu *vcpu = &snapshot->vcpu[index];
        const Vm *vm = &snapshot->vm[vcpu->vm];
        ThreadRef ref = {.pid = vm->pid,
                         .tid = vcpu->tid,
                         .process_start_ticks = vm->start_ticks,
                         .thread_start_ticks = vcpu->start_ticks,
                         .number = vcpu->number};

        memcpy(ref.uuid, vm->uuid, sizeof(ref.uuid));
        return state_find(state, &ref);
}

static SetId single_mask(Snapshot *snapshot, int cpu) {
        CpuSet set = {};

        cpuset_add(&set, (unsigned)cpu);
        return pool_intern(&snapshot->pool, &set);
}

/* The entry of a thread that holds, and still has, a mask of ours for its home. */
static const ThreadState *held_entry(State *state, const Snapshot *snapshot, uint32_t vcpu) {
        const ThreadState *entry = hold_entry(state, snapshot, vcpu);

        return entry && entry->held && entry->home >= 0 && entry->written != SET_NONE ? entry : NULL;
}

void hold_hide(State *state, Snapshot *snapshot) {
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                Vcpu *vcpu = &snapshot->vcpu[i];
                const ThreadState *entry = held_entry(state, snapshot, i);

                if (!entry || vcpu->mask == SET_NONE || vcpu->mask != vcpu->written)
                        continue;
                vcpu->mask = vcpu->written = single_mask(snapshot, entry->home);
        }
}

/* The mask that hold_hide() hid; SET_NONE: it hid none. */
static SetId hidden_mask(State *state, Snapshot *snapshot, uint32_t index) {
        const ThreadState *entry = held_entry(state, snapshot, index);
        const Vcpu *vcpu = &snapshot->vcpu[index];
        const CpuSet *shown = pool_get(&snapshot->pool, vcpu->mask);

        if (!entry || !shown || vcpu->mask != vcpu->written || cpuset_single(shown) != entry->home)
                return SET_NONE;
        return pool_intern(&snapshot->pool, pool_get(state->pool, entry->written));
}

/* Whether the vCPU has a home in the plan, and its mask is ours to choose. */
static bool has_home(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        VerdictKind kind = plan->verdict[snapshot->vcpu[vcpu].vm].kind;

        return plan->target[vcpu].cpu >= 0 && plan->target[vcpu].mask != SET_NONE &&
               (kind == VERDICT_PLACED || kind == VERDICT_SPREAD || kind == VERDICT_LAYERED);
}

/* CPUs that belong to one vCPU alone: of static VMs, and of all that is not ours. */
static void static_owned(const Snapshot *snapshot, const Plan *plan, CpuSet *ret) {
        cpuset_clear(ret);
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                if (plan->target[i].cpu >= 0 &&
                    (!has_home(snapshot, plan, i) ||
                     snapshot->vm[snapshot->vcpu[i].vm].policy.sched == SCHED_STATIC))
                        cpuset_add(ret, (unsigned)plan->target[i].cpu);
}

static void vm_clusters(const Topology *topology, const Vm *vm, const Plan *plan, CpuSet *ret) {
        cpuset_clear(ret);
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int cpu = plan->target[i].cpu, slot = cpu < 0 ? -1 : topology->slot_of[cpu];
                CpuSet cluster;

                if (slot < 0 || cpuset_has(ret, (unsigned)cpu))
                        continue;
                topology_cluster_cpus(topology, topology->cpu[slot].cluster, &cluster);
                cpuset_or(ret, &cluster);
        }
}

typedef struct Hold {
        State *state;
        const Topology *topology;
        const Policy *policy;
        bool prefer;
        Snapshot *snapshot;
        Plan *plan;
        CpuSet owned;    /* by static VMs */
        CpuSet clusters; /* of the VM at hand */
} Hold;

/* Where a dynamic vCPU is away, if it may stay there; else -1. */
static int away_cpu(const Hold *hold, uint32_t vcpu, SetId hidden) {
        const CpuSet *mask = pool_get(&hold->snapshot->pool, hidden);
        const ThreadState *entry = hold_entry(hold->state, hold->snapshot, vcpu);
        int at = mask ? cpuset_single(mask) : -1;
        CpuSet allowed;

        if (at < 0 || !entry || entry->home != hold->plan->target[vcpu].cpu)
                return -1;
        vcpu_allowed(hold->topology, hold->snapshot, hold->policy, vcpu, &allowed);
        return cpuset_has(&allowed, (unsigned)at) ? at : -1;
}

static SetId wanted_mask(const Hold *hold, uint32_t vcpu, SetId hidden) {
        const Vm *vm = &hold->snapshot->vm[hold->snapshot->vcpu[vcpu].vm];
        int home = hold->plan->target[vcpu].cpu, at;
        CpuSet mask;

        switch (vm->policy.sched) {
        case SCHED_DYNAMIC:
                if (hold->prefer) {
                        vcpu_allowed(hold->topology, hold->snapshot, hold->policy, vcpu, &mask);
                        cpuset_add(&mask, (unsigned)home);
                        return pool_intern(&hold->snapshot->pool, &mask);
                }
                at = away_cpu(hold, vcpu, hidden);
                return single_mask(hold->snapshot, at >= 0 ? at : home);
        case SCHED_CLUSTER:
                vcpu_allowed(hold->topology, hold->snapshot, hold->policy, vcpu, &mask);
                cpuset_and(&mask, &hold->clusters);
                cpuset_subtract(&mask, &hold->owned);
                cpuset_add(&mask, (unsigned)home);
                return pool_intern(&hold->snapshot->pool, &mask);
        case SCHED_STATIC:
        default:
                return single_mask(hold->snapshot, home);
        }
}

/* Whether the thread prefers another CPU than it should: its mask alone does
 * not show that. */
static bool prefers_wrongly(const Hold *hold, uint32_t vcpu, SetId want) {
        const Snapshot *snapshot = hold->snapshot;
        const ThreadState *entry = hold_entry(hold->state, snapshot, vcpu);
        int home = hold->plan->target[vcpu].cpu,
            prefers = entry && entry->way != TIDAL_NONE ? entry->prefers : -1;
        bool should = hold->prefer && snapshot->vm[snapshot->vcpu[vcpu].vm].policy.sched == SCHED_DYNAMIC &&
                      cpuset_single(pool_get(&snapshot->pool, want)) < 0;

        return prefers != (should ? home : -1);
}

/* The vCPU's last move; NULL: it has none. */
static Move *last_move(Plan *plan, uint32_t n_planned, uint32_t vcpu) {
        for (uint32_t m = n_planned; m-- > 0;)
                if (plan->move[m].vcpu == vcpu)
                        return &plan->move[m];
        return NULL;
}

static void vcpu_hold(const Hold *hold, uint32_t n_planned, uint32_t vcpu) {
        Vcpu *v = &hold->snapshot->vcpu[vcpu];
        SetId hidden = hidden_mask(hold->state, hold->snapshot, vcpu);
        Target *target = &hold->plan->target[vcpu];
        SetId now = hidden != SET_NONE ? hidden : v->mask;

        const ThreadState *entry = hold_entry(hold->state, hold->snapshot, vcpu);
        bool prefers = entry && entry->way != TIDAL_NONE && entry->prefers != -1;

        if (hidden == SET_NONE && !prefers && hold->snapshot->vm[v->vm].policy.sched == SCHED_STATIC)
                return; /* what the planner says is what is held */
        if (hidden != SET_NONE && target->mask == v->mask && !has_home(hold->snapshot, hold->plan, vcpu))
                target->mask = now; /* it is left as it is */
        if (has_home(hold->snapshot, hold->plan, vcpu)) {
                SetId want = wanted_mask(hold, vcpu, hidden);
                Move *move = last_move(hold->plan, n_planned, vcpu);

                if (want == SET_NONE)
                        want = target->mask; /* the pool is full */
                target->mask = want;
                if (move)
                        move->mask = want;
                else if (want != now || prefers_wrongly(hold, vcpu, want))
                        hold->plan->move[hold->plan->n_moves++] = (Move){
                                .vcpu = vcpu, .kind = MOVE_HOLD, .from = -1, .to = target->cpu, .mask = want};
        } else if (prefers && entry->before != SET_NONE &&
                   hold->plan->verdict[v->vm].kind == VERDICT_SHARED &&
                   !last_move(hold->plan, n_planned, vcpu) && target->mask == now)
                hold->plan->move[hold->plan->n_moves++] =
                        (Move){.vcpu = vcpu, .kind = MOVE_HOLD, .from = -1, .to = target->cpu, .mask = now};
        if (hidden != SET_NONE)
                v->mask = v->written = hidden;
}

void hold_plan(State *state, const Topology *topology, const Policy *policy, bool prefer, Snapshot *snapshot,
               Plan *plan) {
        Hold hold = {.state = state,
                     .topology = topology,
                     .policy = policy,
                     .prefer = prefer,
                     .snapshot = snapshot,
                     .plan = plan};
        uint32_t n_planned = plan->n_moves;

        static_owned(snapshot, plan, &hold.owned);
        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                const Vm *vm = &snapshot->vm[v];

                if (vm->policy.sched == SCHED_CLUSTER)
                        vm_clusters(topology, vm, plan, &hold.clusters);
                for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++)
                        vcpu_hold(&hold, n_planned, i);
        }
}

void hold_note_layers(State *state, const Snapshot *snapshot, const Plan *plan) {
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                ThreadState *entry = hold_entry(state, snapshot, i);

                if (entry && entry->home >= 0 && entry->home == plan->target[i].cpu)
                        entry->layered = plan->verdict[snapshot->vcpu[i].vm].kind == VERDICT_LAYERED;
        }
}

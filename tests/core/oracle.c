/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Level-triggered loops hide a planner's mistakes: the next round repairs
 * them. So each plan is judged alone, by applying its moves one by one.
 */

#include "oracle.h"

#include <stdio.h>
#include <string.h>

#include "model.h"

#define WRONG(...)                                                             \
        do {                                                                   \
                snprintf(ret_why, ORACLE_WHY_SIZE, __VA_ARGS__);               \
                return 1;                                                      \
        } while (0)

static int set_single(const Snapshot *snapshot, SetId id) {
        const CpuSet *set = pool_get(&snapshot->pool, id);

        return set ? cpuset_single(set) : -1;
}

static bool vcpu_pinned(const Snapshot *snapshot, uint32_t vcpu) {
        return set_single(snapshot, snapshot->vcpu[vcpu].range) >= 0;
}

/* Its verdict is of where its vCPUs are: it is managed, or only observed. */
static bool vm_judged(const Plan *plan, uint32_t vm) {
        VerdictKind kind = plan->verdict[vm].kind;

        return kind == VERDICT_PLACED || kind == VERDICT_SPREAD || kind == VERDICT_SHARED || kind == VERDICT_LAYERED;
}

static bool vm_managed(const Plan *plan, uint32_t vm) {
        return vm_judged(plan, vm) && plan->verdict[vm].reason != REASON_CONFIGURED;
}

static bool vcpu_movable(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        return vm_managed(plan, snapshot->vcpu[vcpu].vm) && !vcpu_pinned(snapshot, vcpu);
}

static bool known(const Vcpu *v) {
        return v->before != SET_NONE || v->written != SET_NONE || v->intended != SET_NONE;
}

/* Whether its home is on a CPU that it shares. */
static bool lives_in_layer(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        return plan->verdict[snapshot->vcpu[vcpu].vm].kind == VERDICT_LAYERED && !vcpu_pinned(snapshot, vcpu);
}

/* vCPUs that are meant to sit on each CPU, whether they own it or not; layers do not count. */
static void count_sitting(const Snapshot *snapshot, const Plan *plan, uint16_t *ret) {
        memset(ret, 0, CPUS_MAX * sizeof(*ret));
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                if (plan->target[i].cpu >= 0 && !lives_in_layer(snapshot, plan, i))
                        ret[plan->target[i].cpu]++;
}

static bool sits_alone(const Plan *plan, uint32_t vcpu, const uint16_t *sitting) {
        return plan->target[vcpu].cpu >= 0 && sitting[plan->target[vcpu].cpu] == 1;
}

/* Whether one of its pins shares its CPU, or has none: the others may own theirs. */
static bool pins_are_crowded(const Snapshot *snapshot, const Plan *plan, const Vm *vm, const uint16_t *sitting) {
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++)
                if (vcpu_pinned(snapshot, i) && !sits_alone(plan, i, sitting))
                        return true;
        return false;
}

/* A pin that our own mask hides is the one that may be uncovered. */
static bool uncovers_pin(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        const Vcpu *v = &snapshot->vcpu[vcpu];

        return vcpu_pinned(snapshot, vcpu) && v->mask == v->written && plan->target[vcpu].mask == v->range;
}

static int check_targets(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                         char *ret_why) {
        static uint16_t sitting[CPUS_MAX];
        static int owner[CPUS_MAX];

        memset(owner, 0xff, sizeof(owner));
        count_sitting(snapshot, plan, sitting);
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                const Target *target = &plan->target[i];
                const CpuSet *mask = pool_get(&snapshot->pool, target->mask);
                VerdictKind kind = plan->verdict[snapshot->vcpu[i].vm].kind;
                CpuSet allowed;

                if (!vcpu_movable(snapshot, plan, i)) {
                        if (mask && kind != VERDICT_EXCLUDED && !uncovers_pin(snapshot, plan, i))
                                WRONG("vCPU %u must not be touched and has a target mask", i);
                        continue;
                }
                vcpu_allowed(topology, snapshot, policy, i, &allowed);
                if (!mask)
                        WRONG("vCPU %u has no target", i);
                if (known(&snapshot->vcpu[i]) && !cpuset_is_subset(mask, &allowed))
                        WRONG("vCPU %u: mask outside its allowed set", i);
                if ((kind == VERDICT_SHARED) != (target->cpu < 0) &&
                    !(kind == VERDICT_SHARED &&
                      pins_are_crowded(snapshot, plan, &snapshot->vm[snapshot->vcpu[i].vm], sitting)))
                        WRONG("vCPU %u: verdict %d and CPU %d", i, kind, target->cpu);
                if (target->cpu < 0)
                        continue;
                if (cpuset_single(mask) != target->cpu || !cpuset_has(&allowed, (unsigned)target->cpu))
                        WRONG("vCPU %u: CPU %d is not its mask or not allowed", i, target->cpu);
                if (lives_in_layer(snapshot, plan, i))
                        continue;
                if (owner[target->cpu] >= 0)
                        WRONG("CPU %d given to vCPU %d and %u", target->cpu, owner[target->cpu], i);
                owner[target->cpu] = (int)i;
        }
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                if (!vcpu_movable(snapshot, plan, i) && plan->target[i].cpu >= 0 &&
                    owner[plan->target[i].cpu] >= 0)
                        WRONG("CPU %d of fixed vCPU %u given to vCPU %d", plan->target[i].cpu, i,
                              owner[plan->target[i].cpu]);
        return 0;
}

/* CPUs on which more than one thread sits before the plan: nobody can promise
 * anything about these while it is carried out. */
static void find_crowded(const Snapshot *snapshot, const SetId *mask, CpuSet *ret) {
        CpuSet seen;

        cpuset_clear(ret);
        cpuset_clear(&seen);
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                int cpu = set_single(snapshot, mask[i]);

                if (cpu < 0)
                        continue;
                if (cpuset_has(&seen, (unsigned)cpu))
                        cpuset_add(ret, (unsigned)cpu);
                cpuset_add(&seen, (unsigned)cpu);
        }
}

static bool spare_exists(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                         const SetId *mask, uint32_t vcpu) {
        CpuSet allowed;

        vcpu_allowed(topology, snapshot, policy, vcpu, &allowed);
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                int cpu = set_single(snapshot, mask[i]);

                if (cpu >= 0)
                        cpuset_remove(&allowed, (unsigned)cpu);
                if (plan->target[i].cpu >= 0)
                        cpuset_remove(&allowed, (unsigned)plan->target[i].cpu);
        }
        return !cpuset_is_empty(&allowed);
}

/* Whether its VM's policy lets others live where it lives. */
static bool shares(const Snapshot *snapshot, uint32_t vcpu) {
        return snapshot->vm[snapshot->vcpu[vcpu].vm].policy.sched != SCHED_STATIC;
}

static int check_moves(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                       char *ret_why) {
        static SetId mask[VCPUS_MAX];
        CpuSet crowded;

        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                mask[i] = snapshot->vcpu[i].mask;
        find_crowded(snapshot, mask, &crowded);
        for (uint32_t m = 0; m < plan->n_moves; m++) {
                const Move *move = &plan->move[m];
                VerdictKind kind = plan->verdict[snapshot->vcpu[move->vcpu].vm].kind;

                if (move->from == move->to && move->to >= 0)
                        WRONG("move %u goes nowhere", m);
                if (move->mask == mask[move->vcpu])
                        WRONG("move %u writes what is there", m);
                if (move->mask == SET_NONE)
                        WRONG("move %u has no mask", m);
                if (!vcpu_movable(snapshot, plan, move->vcpu) &&
                    !(kind == VERDICT_EXCLUDED && move->kind == MOVE_RELEASE) &&
                    !uncovers_pin(snapshot, plan, move->vcpu))
                        WRONG("move %u touches vCPU %u, verdict %d", m, move->vcpu, kind);
                for (uint32_t i = 0; move->to >= 0 && i < snapshot->n_vcpus; i++)
                        if (i != move->vcpu && !(shares(snapshot, i) && shares(snapshot, move->vcpu)) && set_single(snapshot, mask[i]) == move->to &&
                            !cpuset_has(&crowded, (unsigned)move->to) &&
                            spare_exists(topology, snapshot, policy, plan, mask, move->vcpu))
                                WRONG("move %u: CPU %d given to vCPU %u while vCPU %u has it", m, move->to,
                                      move->vcpu, i);
                mask[move->vcpu] = move->mask;
        }
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                if (plan->target[i].mask != SET_NONE && plan->target[i].mask != mask[i])
                        WRONG("vCPU %u does not end at its target", i);
        return 0;
}

/* The fewest clusters for n vCPUs of one allowed set, by plain counting. */
static unsigned fewest(const Topology *topology, const CpuSet *allowed, unsigned n) {
        unsigned best = 0;

        for (int node = -1; node < topology->n_nodes; node++) {
                unsigned left = n, used = 0;
                static bool taken[CLUSTERS_MAX];

                if (node < 0)
                        continue;
                memset(taken, 0, sizeof(taken));
                for (;;) {
                        int pick = -1;
                        unsigned most = 0;

                        for (unsigned c = 0; c < topology->n_clusters; c++) {
                                CpuSet cpus;

                                if (topology->cluster[c].node != node || taken[c])
                                        continue;
                                topology_cluster_cpus(topology, c, &cpus);
                                cpuset_and(&cpus, allowed);
                                if (cpuset_count(&cpus) > most) {
                                        most = cpuset_count(&cpus);
                                        pick = (int)c;
                                }
                        }
                        if (left == 0 || pick < 0)
                                break;
                        taken[pick] = true;
                        used++;
                        left -= most < left ? most : left;
                }
                if (left == 0 && (best == 0 || used < best))
                        best = used;
        }
        return best;
}

static int check_verdict(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                         uint32_t vm, char *ret_why) {
        const Vm *v = &snapshot->vm[vm];
        const Verdict *verdict = &plan->verdict[vm];
        static uint16_t sitting[CPUS_MAX];
        CpuSet clusters, nodes, first, allowed;
        bool same = true, any = false;
        unsigned alone = 0, seated = 0;

        cpuset_clear(&clusters);
        cpuset_clear(&nodes);
        count_sitting(snapshot, plan, sitting);
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                int slot = plan->target[i].cpu < 0 ? -1 : topology->slot_of[plan->target[i].cpu];

                vcpu_allowed(topology, snapshot, policy, i, &allowed);
                if (!any)
                        first = allowed;
                any = true;
                same = same && cpuset_equal(&first, &allowed);
                alone += sits_alone(plan, i, sitting) && !lives_in_layer(snapshot, plan, i);
                seated += slot >= 0;
                if (slot < 0)
                        continue;
                cpuset_add(&clusters, topology->cpu[slot].cluster);
                cpuset_add(&nodes, topology->cpu[slot].node);
        }
        if (verdict->clusters != cpuset_count(&clusters) || verdict->nodes != cpuset_count(&nodes))
                WRONG("VM %u: verdict says %u clusters, %u nodes; it has %u, %u", vm, verdict->clusters,
                      verdict->nodes, cpuset_count(&clusters), cpuset_count(&nodes));
        if (seated == v->n_vcpus &&
            (verdict->min_nodes > verdict->nodes ||
             (verdict->min_nodes == verdict->nodes && verdict->min_clusters > verdict->clusters)))
                WRONG("VM %u: a minimum of %u clusters, %u nodes; it sits on %u, %u", vm, verdict->min_clusters,
                      verdict->min_nodes, verdict->clusters, verdict->nodes);
        if (verdict->n_exclusive != alone)
                WRONG("VM %u: %u own CPUs, not %u", vm, alone, verdict->n_exclusive);
        if (!vm_judged(plan, vm))
                return 0;
        if (same && topology->smt_width == 1 && verdict->kind != VERDICT_LAYERED) {
                unsigned minimum = fewest(topology, &first, v->n_vcpus);

                if (minimum && (verdict->min_clusters != minimum || verdict->min_nodes != 1))
                        WRONG("VM %u: minimum %u, should be %u", vm, verdict->min_clusters, minimum);
        }
        bool over = verdict->clusters > verdict->min_clusters || verdict->nodes > verdict->min_nodes;

        if (verdict->kind != VERDICT_SHARED && verdict->kind != VERDICT_LAYERED && over != (verdict->kind == VERDICT_SPREAD))
                WRONG("VM %u: verdict %d, %u clusters of %u", vm, verdict->kind, verdict->clusters,
                      verdict->min_clusters);
        if ((verdict->kind == VERDICT_SHARED || verdict->kind == VERDICT_LAYERED) != (alone < v->n_vcpus))
                WRONG("VM %u: verdict %d, and %u of %u vCPUs own a CPU", vm, verdict->kind, alone, v->n_vcpus);
        if (verdict->kind == VERDICT_SPREAD && verdict->reason == REASON_NONE)
                WRONG("VM %u: SPREAD without a reason", vm);
        if ((verdict->kind == VERDICT_SHARED || verdict->kind == VERDICT_LAYERED) && verdict->reason == REASON_NONE)
                WRONG("VM %u: SHARED without a reason", vm);
        return 0;
}

/* No SHARED vCPU has fewer CPUs than there are SHARED vCPUs to use them, unless
 * it has its whole allowed set. */
static int check_sharing(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                         char *ret_why) {
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                const CpuSet *mask = pool_get(&snapshot->pool, plan->target[i].mask);
                unsigned users = 0;
                CpuSet allowed;

                if (plan->verdict[snapshot->vcpu[i].vm].kind != VERDICT_SHARED || plan->target[i].cpu >= 0 || !mask)
                        continue;
                vcpu_allowed(topology, snapshot, policy, i, &allowed);
                if (cpuset_is_subset(&allowed, mask))
                        continue;
                for (uint32_t j = 0; j < snapshot->n_vcpus; j++) {
                        const CpuSet *other = pool_get(&snapshot->pool, plan->target[j].mask);

                        if (plan->verdict[snapshot->vcpu[j].vm].kind == VERDICT_SHARED &&
                            plan->target[j].cpu < 0 && other && cpuset_is_subset(other, mask))
                                users++;
                }
                if (cpuset_count(mask) < users)
                        WRONG("vCPU %u is squeezed: %u CPUs for %u vCPUs", i, cpuset_count(mask), users);
                if (cpuset_intersects(mask, &plan->owned))
                        WRONG("vCPU %u shares a CPU that somebody owns", i);
        }
        return 0;
}

int oracle_check(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                 char ret_why[ORACLE_WHY_SIZE]) {
        if (check_targets(topology, snapshot, policy, plan, ret_why) ||
            check_moves(topology, snapshot, policy, plan, ret_why) ||
            check_sharing(topology, snapshot, policy, plan, ret_why) ||
            oracle_layers(topology, snapshot, policy, plan, ret_why))
                return 1;
        for (uint32_t vm = 0; vm < snapshot->n_vms; vm++)
                if (check_verdict(topology, snapshot, policy, plan, vm, ret_why))
                        return 1;
        /* With SMT a change of regime changes what the minima count. */
        if (plan->after.unplaced > plan->before.unplaced ||
            (topology->smt_width == 1 && score_compare(&plan->after, &plan->before) > 0))
                WRONG("the score got worse");
        return 0;
}

static bool score_is_perfect(const Score *score) {
        return score->unplaced == 0 && score->excess_nodes == 0 && score->excess_clusters == 0;
}

/* Whoever lives in layers makes way for what is cleaned. */
static bool only_cleans_cores(const Plan *plan) {
        bool cleans = false;

        for (uint32_t i = 0; i < plan->n_moves; i++) {
                cleans |= plan->move[i].kind == MOVE_SMT;
                if (plan->move[i].kind != MOVE_SMT && plan->move[i].kind != MOVE_SHARE)
                        return false;
        }
        return cleans;
}

int oracle_step(const Topology *topology, Snapshot *snapshot, const Policy *policy, History *history,
                const Plan *plan, int64_t now_ns, PlanWork *work, Plan *again, char ret_why[ORACLE_WHY_SIZE]) {
        const PlanRequest round = {.kind = PLAN_ROUND, .vm = -1};

        if (oracle_check(topology, snapshot, policy, plan, ret_why))
                return 1;
        if (plan->credits_spent_milli > history->credits_milli)
                WRONG("spent %lld of %lld credits", (long long)plan->credits_spent_milli,
                      (long long)history->credits_milli);
        history_commit(history, snapshot, policy, plan, now_ns);
        model_apply(snapshot, plan);
        plan_make(topology, snapshot, policy, history, &round, now_ns, work, again);
        /* The search has a limit, so a second one may find what the first did
         * not: never anything but a strict gain, and nothing where nothing is to gain. */
        if (again->n_moves && !only_cleans_cores(again) &&
            (score_is_perfect(&plan->after) || score_compare(&again->after, &again->before) >= 0)) {
                const Move *move = &again->move[0];

                WRONG("planned again: %u moves, the first: vCPU %u of VM %u, kind %d, %d -> %d", again->n_moves,
                      move->vcpu, snapshot->vcpu[move->vcpu].vm, move->kind, move->from, move->to);
        }
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * SMT and layout: what counts as room for a VM.
 *
 * Each node is in one of two regimes. At first each vCPU gets a core of its
 * own there, in the emptiest clusters. A little beyond the border, where the
 * node holds as many vCPUs as cores, only those share cores that find none;
 * clearly beyond it threads are equal and clusters are filled up, until the
 * node is clearly below it: a load that swings about it does not move
 * everybody twice. Only VMs with smt=auto follow it.
 */

#include "core/work.h"

enum {
        OVER_NUMERATOR = 5, OVER_DENOMINATOR = 4, /* of the border: beyond it threads are equal */
        BACK_NUMERATOR = 7, BACK_DENOMINATOR = 8, /* and not any more from here downwards */
        RESERVE_MILLI = 16000, /* credits that cleaning up cores leaves untouched */
};

static const VmPolicy *policy_of(const PlanWork *work, uint32_t vm) {
        return &work->snapshot->vm[vm].policy;
}

bool vm_locks_cores(const PlanWork *work, uint32_t vm) {
        Smt smt = policy_of(work, vm)->smt;

        return work->topology->smt_width > 1 && (smt == SMT_FALSE || smt == SMT_OWN_CORES) &&
               work->vm[vm].kind == VERDICT_PLACED;
}

Grain vm_node_grain(const PlanWork *work, uint32_t vm, unsigned node) {
        Smt smt = policy_of(work, vm)->smt;

        if (work->topology->smt_width < 2 || smt == SMT_TRUE || smt == SMT_OWN_CORES)
                return GRAIN_THREAD;
        if (smt == SMT_FALSE)
                return GRAIN_CORE;
        if (work->history->threads_regime[node] || work->vm[vm].threads)
                return GRAIN_THREAD;
        return work->snapshot->vm[vm].guest_threads > 1 ? GRAIN_PAIR : GRAIN_CORE;
}

Grain vm_grain(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].seat != NO_SLOT)
                        return vm_node_grain(work, vm, work->topology->cpu[work->vcpu[i].seat].node);
        for (unsigned node = 0; node < work->topology->n_nodes; node++)
                if (vm_node_grain(work, vm, node) == GRAIN_THREAD)
                        return GRAIN_THREAD;
        return vm_node_grain(work, vm, 0);
}

bool vm_spreads(const PlanWork *work, uint32_t vm, unsigned node) {
        Layout layout = policy_of(work, vm)->layout;

        return layout == LAYOUT_SPREAD || (layout == LAYOUT_AUTO && !work->history->threads_regime[node]);
}

/* Whether nobody but the VM sits on the core. */
static bool core_is_own(const PlanWork *work, uint32_t vm, const Core *core) {
        for (unsigned slot = core->first_slot; slot < (unsigned)core->first_slot + core->n_cpus; slot++) {
                int32_t owner = work->board.owner[slot];

                if (owner != NOBODY && work->snapshot->vcpu[owner].vm != vm)
                        return false;
        }
        return true;
}

bool slot_suits(const PlanWork *work, uint32_t vm, unsigned slot) {
        const Cpu *cpu = &work->topology->cpu[slot];
        unsigned used = work->board.core_used[cpu->core];

        if (work->board.owner[slot] != NOBODY)
                return false;
        if (work->topology->smt_width < 2)
                return true;
        switch (vm_node_grain(work, vm, cpu->node)) {
        case GRAIN_CORE:
                return used == 0;
        case GRAIN_PAIR:
                return used == 0 || (used == 1 && core_is_own(work, vm, &work->topology->core[cpu->core]));
        case GRAIN_THREAD:
        default:
                if (policy_of(work, vm)->smt == SMT_OWN_CORES)
                        return core_is_own(work, vm, &work->topology->core[cpu->core]);
                return slot_is_free(&work->board, slot);
        }
}

unsigned core_room(const PlanWork *work, uint32_t vm, const SlotSet *allowed, unsigned core, Grain grain) {
        const Core *c = &work->topology->core[core];
        unsigned room = 0, most = grain == GRAIN_CORE ? 1 : grain == GRAIN_PAIR ? 2 : c->n_cpus;

        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++)
                room += slots_have(allowed, slot) && slot_suits(work, vm, slot);
        if (grain == GRAIN_PAIR)
                most -= work->board.core_used[core] < most ? work->board.core_used[core] : most;
        return room < most ? room : most;
}

static unsigned thread_room(const PlanWork *work, const Allowed *allowed, unsigned cluster) {
        const Cluster *c = &work->topology->cluster[cluster];

        if (work->board.cluster_free[cluster] == 0 || !allowed_has_cluster(allowed, cluster))
                return 0;
        if (allowed->whole)
                return work->board.cluster_free[cluster];
        return slots_count_both(&work->board.free, &allowed->slots, c->first_slot, c->n_cpus);
}

unsigned cluster_room(const PlanWork *work, uint32_t vm, const Allowed *allowed, unsigned cluster) {
        const Cluster *c = &work->topology->cluster[cluster];
        Grain grain = vm_node_grain(work, vm, c->node);
        unsigned room = 0;

        if (grain == GRAIN_THREAD && (work->topology->smt_width < 2 || policy_of(work, vm)->smt != SMT_OWN_CORES))
                return thread_room(work, allowed, cluster);
        for (unsigned core = c->first_core; core < (unsigned)c->first_core + c->n_cores; core++)
                room += core_room(work, vm, &allowed->slots, core, grain);
        return room;
}

/* Own cores first while threads are equal, idle ones first while there is one
 * for each; then those of strangers. The host's first core comes last. */
unsigned slot_grade(const PlanWork *work, uint32_t vm, unsigned slot) {
        const Cpu *cpu = &work->topology->cpu[slot];
        const Core *core = &work->topology->core[cpu->core];
        bool packed = work->history->threads_regime[cpu->node] || policy_of(work, vm)->smt != SMT_AUTO ||
                      work->snapshot->vm[vm].guest_threads > 1;
        unsigned last = cpu->core == work->first_core, used = work->board.core_used[cpu->core];

        if (used == 0)
                return (packed ? 2 : 0) | last;
        if (core_is_own(work, vm, core))
                return (packed ? 0 : 2) | last;
        return 4 | last;
}

/* Regimes. */

/* The most vCPUs with which a node is still lightly loaded. */
static unsigned node_border(const PlanWork *work, unsigned node) {
        const Node *nd = &work->topology->node[node];

        return work->topology->smt_width > 1 ? nd->n_cores : nd->n_cpus / 2u;
}

void work_follow_regimes(PlanWork *work) {
        for (unsigned node = 0; node < work->topology->n_nodes; node++)
                if (work->board.node_used[node] * OVER_DENOMINATOR > node_border(work, node) * OVER_NUMERATOR)
                        work->history->threads_regime[node] = 1;
}

void work_begin_regimes(PlanWork *work) {
        for (unsigned node = 0; node < work->topology->n_nodes; node++)
                if (work->board.node_used[node] * BACK_DENOMINATOR <= node_border(work, node) * BACK_NUMERATOR)
                        work->history->threads_regime[node] = 0;
        work_follow_regimes(work);
}

/* Cleaning up. */

static bool core_has_strangers(const PlanWork *work, unsigned core) {
        const Core *c = &work->topology->core[core];
        int32_t vm = NOBODY;

        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++) {
                int32_t owner = work->board.owner[slot];

                if (owner == NOBODY)
                        continue;
                if (vm != NOBODY && vm != (int32_t)work->snapshot->vcpu[owner].vm)
                        return true;
                vm = work->snapshot->vcpu[owner].vm;
        }
        return false;
}

/* Whether a vCPU would rather be elsewhere: its core carries strangers, or a
 * second vCPU where each is to have its own. */
static bool seat_is_crowded(const PlanWork *work, uint32_t vcpu) {
        const Cpu *cpu = &work->topology->cpu[work->vcpu[vcpu].seat];

        if (work->board.core_used[cpu->core] < 2)
                return false;
        if (core_has_strangers(work, cpu->core))
                return true;
        return vm_node_grain(work, work->snapshot->vcpu[vcpu].vm, cpu->node) == GRAIN_CORE;
}

static bool seat_is_better(const PlanWork *work, uint32_t vcpu, unsigned slot) {
        uint32_t vm = work->snapshot->vcpu[vcpu].vm;
        const Cpu *cpu = &work->topology->cpu[slot];

        if (!slots_have(&work->allowed[work->vcpu[vcpu].allowed].slots, slot) || !slot_suits(work, vm, slot) ||
            cpu->core == work->topology->cpu[work->vcpu[vcpu].seat].core)
                return false;
        if (work->board.core_used[cpu->core] == 0)
                return true;
        return vm_node_grain(work, vm, cpu->node) == GRAIN_THREAD && core_is_own(work, vm, &work->topology->core[cpu->core]);
}

/* Moves a vCPU within its cluster to a core of its own or its VM's. */
static bool vcpu_uncrowd(PlanWork *work, uint32_t vcpu) {
        const Cluster *c = &work->topology->cluster[work->topology->cpu[work->vcpu[vcpu].seat].cluster];
        int64_t before = work_cost(work);
        int seat = work->vcpu[vcpu].seat;

        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++) {
                if (!seat_is_better(work, vcpu, slot))
                        continue;
                board_unseat(work, vcpu);
                board_seat(work, vcpu, (int)slot);
                if (work->unlimited || work_cost(work) == before ||
                    work_credits_left(work) >= RESERVE_MILLI) {
                        work_note_moves(work, MOVE_SMT);
                        return true;
                }
                board_unseat(work, vcpu);
                board_seat(work, vcpu, seat);
                return false;
        }
        return false;
}

/* Whether some vCPU of the VM shares a core where each is to have its own. */
static bool vm_is_doubled(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];

                if (w->class == VCPU_MOVABLE && w->seat != NO_SLOT && seat_is_crowded(work, i) &&
                    vm_node_grain(work, vm, work->topology->cpu[w->seat].node) != GRAIN_THREAD)
                        return true;
        }
        return false;
}

/* Places a doubled VM anew where each vCPU has a core, others making room. */
static bool vm_undouble(PlanWork *work, uint32_t vm) {
        const VmWork *vw = &work->vm[vm];
        const Group *group = &work->group[vw->first_group];
        uint32_t mark = board_mark(work);
        int64_t limit = work->unlimited ? INT64_MAX / 2 : work_credits_left(work) - RESERVE_MILLI;
        SpanLimit needed;

        if (vw->n_groups != 1 || vw->n_movable != work->snapshot->vm[vm].n_vcpus || limit <= 0)
                return false;
        vm_unseat(work, vm);
        needed = group_span_limit(work, group, 0);
        needed.of[GRAIN_THREAD] = -1;
        work->defragging = true;
        if (group_make_room(work, group, needed, false, limit) &&
            (work->unlimited || work_credits_left(work) >= RESERVE_MILLI)) {
                work->defragging = false;
                work_note_moves(work, MOVE_SMT);
                return true;
        }
        work->defragging = false;
        board_roll_back(work, mark);
        return false;
}

static bool work_undouble(PlanWork *work) {
        if (work->undoubled)
                return false;
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (work->vm[vm].kind == VERDICT_PLACED && work->vm[vm].exclusive && !vm_is_cooling(work, vm) &&
                    vm_is_doubled(work, vm) && vm_undouble(work, vm))
                        return work->undoubled = true; /* one a round: the load may rise again soon */
        return false;
}

/* Only above the reserve: else it would starve what matters more. */
bool work_unshare_cores(PlanWork *work) {
        bool changed = false;

        if (work->topology->smt_width < 2)
                return false;
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                uint32_t vm = work->snapshot->vcpu[i].vm;

                if (w->class != VCPU_MOVABLE || w->seat == NO_SLOT || vm_is_cooling(work, vm) ||
                    !seat_is_crowded(work, i))
                        continue;
                changed |= vcpu_uncrowd(work, i);
        }
        return changed || work_undouble(work);
}

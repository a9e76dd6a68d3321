/* SPDX-License-Identifier: Apache-2.0 */

/*
 * When a vCPU leaves its home, and when it returns.
 *
 * The signal is the vCPU thread's own waiting (runnable, but not running): it
 * is nought for a thread that is alone, however busy it is, and it can not be
 * mistaken. A CPU is left when that waiting and the use are both high in a few
 * samples in a row, *and* an idle CPU exists: without one a loaded host would
 * only get worse. Idle CPUs are looked for where the VM's caches are first: an
 * idle core in its clusters, an idle core elsewhere in its range, then a CPU
 * whose core is busy with something else. Of equal ones a CPU that nobody owns
 * is taken, then the nearest. A CPU that was promised in this pass, or carries
 * somebody who is away, is not idle however it looks.
 *
 * Who is away goes on when it is crowded there too or when the owner of that
 * CPU has become busy; with no idle CPU left it goes home, where it is at least
 * no worse off than with a static binding. It returns as soon as its home has
 * room for it, or is idle. Who had to leave again soon after a return needs
 * twice as many calm samples for the next one: a load that swings in step with
 * us can not make us swing.
 *
 * Every change keeps to the vCPU's dwell time and to the VM's rate.
 */

#include "core/dynamic.h"

#include <assert.h>

enum { IDLE_SAMPLES = 2, CLASSES_NONE = 100 };

void dynamic_policy_defaults(DynamicPolicy *ret) {
        *ret = (DynamicPolicy){
                .thresh_permille = 850,
                .source = DYNAMIC_CPU,
                .wait_permille = 150,
                .idle_permille = 100,
                .leave_samples = 2,
                .return_samples = 5,
                .return_samples_max = 80,
                .again_ns = INT64_C(10000000000),
                .dwell_ns = INT64_C(2000000000),
                .vm_window_ns = INT64_C(1000000000),
        };
}

typedef struct Pass {
        const Topology *topology;
        const DynamicPolicy *policy;
        const DynamicCpus *cpus;
        const DynamicVcpu *vcpu;
        uint32_t n;
        DynamicTrack *track;
        DynamicVm *vm;
        DynamicWork *work;
        int64_t now_ns;
} Pass;

static unsigned cpu_use(const Pass *pass, int cpu) {
        return cpuset_has(&pass->cpus->sampled, (unsigned)cpu) ? pass->cpus->busy_permille[cpu] : PERMILLE;
}

/* How long each CPU has been idle, without those that somebody away sits on. */
static void find_idle_cpus(const Pass *pass) {
        DynamicWork *work = pass->work;

        cpuset_clear(&work->idle);
        for (unsigned slot = 0; slot < pass->topology->n_cpus; slot++) {
                unsigned cpu = pass->topology->cpu[slot].os;

                work->visitors_permille[cpu] = 0;
                if (cpu_use(pass, (int)cpu) >= pass->policy->idle_permille)
                        work->idle_for[cpu] = 0;
                else if (work->idle_for[cpu] < UINT8_MAX)
                        work->idle_for[cpu]++;
                if (work->idle_for[cpu] >= IDLE_SAMPLES)
                        cpuset_add(&work->idle, cpu);
        }
        for (uint32_t i = 0; i < pass->n; i++) {
                int at = pass->track[i].at;

                if (at < 0 || at == pass->vcpu[i].home)
                        continue;
                cpuset_remove(&work->idle, (unsigned)at);
                if (pass->vcpu[i].sampled)
                        work->visitors_permille[at] = pass->vcpu[i].run_permille;
        }
}

static void find_idle_cores(const Pass *pass) {
        const Topology *topology = pass->topology;
        DynamicWork *work = pass->work;

        work->idle_cores = work->idle;
        if (topology->smt_width < 2)
                return;
        for (unsigned c = 0; c < topology->n_cores; c++) {
                CpuSet core;

                topology_core_cpus(topology, c, &core);
                if (!cpuset_is_subset(&core, &work->idle))
                        cpuset_subtract(&work->idle_cores, &core);
        }
}

/* A CPU that is given away in this pass; its core is not idle any more. */
static void promise(const Pass *pass, int cpu) {
        int slot = pass->topology->slot_of[cpu];
        CpuSet core;

        cpuset_remove(&pass->work->idle, (unsigned)cpu);
        if (slot < 0)
                return;
        topology_core_cpus(pass->topology, pass->topology->cpu[slot].core, &core);
        cpuset_subtract(&pass->work->idle_cores, &core);
}

/* Whether the VM has a home in that cluster. */
static bool vm_lives_in(const Pass *pass, uint32_t vcpu, unsigned cluster) {
        const Topology *topology = pass->topology;
        uint32_t first = vcpu;

        while (first > 0 && pass->vcpu[first - 1].vm == pass->vcpu[vcpu].vm)
                first--;
        for (uint32_t i = first; i < pass->n && pass->vcpu[i].vm == pass->vcpu[vcpu].vm; i++) {
                int slot = topology->slot_of[pass->vcpu[i].home];

                if (slot >= 0 && topology->cpu[slot].cluster == cluster)
                        return true;
        }
        return false;
}

/* Lower is better: the kind of place first, then whose it is, then how near. */
static unsigned target_class(const Pass *pass, uint32_t vcpu, unsigned cpu) {
        const Topology *topology = pass->topology;
        const Cpu *target = &topology->cpu[topology->slot_of[cpu]];
        int home_slot = topology->slot_of[pass->vcpu[vcpu].home];
        bool core = cpuset_has(&pass->work->idle_cores, cpu);
        bool mine = vm_lives_in(pass, vcpu, target->cluster);
        bool owned = cpuset_has(&pass->cpus->owned, cpu);
        bool far = home_slot < 0 || topology->cpu[home_slot].node != target->node;

        return (core ? (mine ? 0u : 8u) : (mine ? 16u : 24u)) + (owned ? 2u : 0u) + (far ? 1u : 0u);
}

/* The best idle CPU that the vCPU may use; -1: none. */
static int find_target(const Pass *pass, uint32_t vcpu) {
        CpuSet candidates = pass->work->idle;
        unsigned best_class = CLASSES_NONE;
        int best = -1;

        cpuset_and(&candidates, pass->vcpu[vcpu].allowed);
        CPUSET_FOREACH(cpu, &candidates) {
                unsigned class;

                if (cpu == pass->track[vcpu].at || pass->topology->slot_of[cpu] < 0)
                        continue;
                class = target_class(pass, vcpu, (unsigned)cpu);
                if (class < best_class) {
                        best_class = class;
                        best = cpu;
                }
        }
        return best;
}

static unsigned vcpu_demand(const DynamicVcpu *vcpu) {
        unsigned demand = (unsigned)vcpu->run_permille + vcpu->wait_permille;

        return demand > PERMILLE ? PERMILLE : demand;
}

/* Whether where it is now is too busy for it. */
static bool is_crowded(const Pass *pass, uint32_t vcpu) {
        const DynamicVcpu *v = &pass->vcpu[vcpu];
        unsigned use = pass->policy->source == DYNAMIC_TASKGROUP ? vcpu_demand(v)
                                                                 : cpu_use(pass, pass->track[vcpu].at);

        return v->wait_permille >= pass->policy->wait_permille && use >= pass->policy->thresh_permille;
}

/* Whether somebody who is away sits on the CPU of an owner who needs it. */
static bool is_in_the_way(const Pass *pass, uint32_t vcpu) {
        unsigned use = cpu_use(pass, pass->track[vcpu].at), own = pass->vcpu[vcpu].run_permille;

        return cpuset_has(&pass->cpus->owned, (unsigned)pass->track[vcpu].at) &&
               use >= own + pass->policy->idle_permille;
}

/* Whether its home, on which it does not run now, has room for it. A visitor
 * does not count: he makes way for it. */
static bool home_is_calm(const Pass *pass, uint32_t vcpu) {
        int home = pass->vcpu[vcpu].home;
        unsigned use = cpu_use(pass, home), visitors = pass->work->visitors_permille[home];

        use -= visitors < use ? visitors : use;
        return use < pass->policy->idle_permille ||
               use + pass->vcpu[vcpu].run_permille < pass->policy->thresh_permille;
}

static bool may_change(const Pass *pass, uint32_t vcpu) {
        const DynamicTrack *track = &pass->track[vcpu];
        const DynamicVm *vm = &pass->vm[pass->vcpu[vcpu].vm];

        if (track->changed && pass->now_ns - track->changed_ns < pass->policy->dwell_ns)
                return false;
        if (vm->n_changes > 0 && pass->now_ns - vm->change_ns[0] < pass->policy->vm_gap_ns)
                return false;
        return vm->n_changes < 2 || pass->now_ns - vm->change_ns[1] >= pass->policy->vm_window_ns;
}

static unsigned return_need(const DynamicPolicy *policy, const DynamicTrack *track) {
        return track->return_need ? track->return_need : policy->return_samples;
}

/* It leaves: twice the patience if it came back only just now. */
static void note_leaving(const Pass *pass, DynamicTrack *track) {
        unsigned need = pass->policy->return_samples;

        if (track->returned && pass->now_ns - track->returned_ns < pass->policy->again_ns)
                need = 2 * return_need(pass->policy, track);
        if (need > pass->policy->return_samples_max)
                need = pass->policy->return_samples_max;
        track->return_need = (uint8_t)need;
}

static void change(const Pass *pass, uint32_t vcpu, DynamicKind kind, int to, DynamicChange *ret) {
        DynamicTrack *track = &pass->track[vcpu];
        DynamicVm *vm = &pass->vm[pass->vcpu[vcpu].vm];

        assert(cpuset_has(pass->vcpu[vcpu].allowed, (unsigned)to));
        *ret = (DynamicChange){.vcpu = vcpu, .kind = kind, .from = track->at, .to = (int16_t)to};
        if (kind == DYNAMIC_LEAVE)
                note_leaving(pass, track);
        if (kind == DYNAMIC_RETURN) {
                track->returned = true;
                track->returned_ns = pass->now_ns;
        }
        track->at = (int16_t)to;
        track->bad = track->calm = 0;
        track->changed = true;
        track->changed_ns = pass->now_ns;
        vm->change_ns[1] = vm->change_ns[0];
        vm->change_ns[0] = pass->now_ns;
        vm->n_changes = vm->n_changes < 2 ? (uint8_t)(vm->n_changes + 1) : 2;
        promise(pass, to);
}

static void count(uint8_t *counter, bool yes) {
        if (!yes)
                *counter = 0;
        else if (*counter < UINT8_MAX)
                (*counter)++;
}

static bool step_at_home(const Pass *pass, uint32_t vcpu, DynamicChange *ret) {
        DynamicTrack *track = &pass->track[vcpu];
        int target;

        count(&track->bad, is_crowded(pass, vcpu));
        if (track->bad < pass->policy->leave_samples || !may_change(pass, vcpu))
                return false;
        target = find_target(pass, vcpu);
        if (target < 0)
                return false;
        change(pass, vcpu, DYNAMIC_LEAVE, target, ret);
        return true;
}

static bool step_away(const Pass *pass, uint32_t vcpu, DynamicChange *ret) {
        DynamicTrack *track = &pass->track[vcpu];
        int home = pass->vcpu[vcpu].home, target;

        count(&track->bad, is_crowded(pass, vcpu) || is_in_the_way(pass, vcpu));
        count(&track->calm, home_is_calm(pass, vcpu));
        if (!may_change(pass, vcpu))
                return false;
        if (track->calm >= return_need(pass->policy, track)) {
                change(pass, vcpu, DYNAMIC_RETURN, home, ret);
                return true;
        }
        if (track->bad < pass->policy->leave_samples)
                return false;
        target = find_target(pass, vcpu);
        if (target < 0 || target == home)
                change(pass, vcpu, DYNAMIC_RETURN, home, ret);
        else
                change(pass, vcpu, DYNAMIC_MOVE_ON, target, ret);
        return true;
}

/* A place that is not its own any more (its range or the host's CPUs changed):
 * home at once, whatever the limits say. */
static bool is_outside(const Pass *pass, uint32_t vcpu) {
        int at = pass->track[vcpu].at;

        return at < 0 || !cpuset_has(pass->vcpu[vcpu].allowed, (unsigned)at) || pass->topology->slot_of[at] < 0;
}

uint32_t dynamic_step(const Topology *topology, const DynamicPolicy *policy, const DynamicCpus *cpus,
                      const DynamicVcpu *vcpu, uint32_t n, DynamicTrack *track, DynamicVm *vm, DynamicWork *work,
                      int64_t now_ns, DynamicChange *ret) {
        Pass pass = {.topology = topology, .policy = policy, .cpus = cpus, .vcpu = vcpu, .n = n,
                     .track = track, .vm = vm, .work = work, .now_ns = now_ns};
        uint32_t changes = 0;

        find_idle_cpus(&pass);
        find_idle_cores(&pass);
        for (uint32_t i = 0; i < n; i++) {
                assert(vcpu[i].home >= 0 && cpuset_has(vcpu[i].allowed, (unsigned)vcpu[i].home));
                if (is_outside(&pass, i))
                        change(&pass, i, DYNAMIC_RETURN, vcpu[i].home, &ret[changes++]);
                else if (!vcpu[i].sampled)
                        track[i].bad = track[i].calm = 0;
                else if (track[i].at == vcpu[i].home)
                        changes += step_at_home(&pass, i, &ret[changes]);
                else
                        changes += step_away(&pass, i, &ret[changes]);
        }
        return changes;
}

void dynamic_undo(DynamicTrack *track, const DynamicChange *change) {
        track->at = change->from;
}

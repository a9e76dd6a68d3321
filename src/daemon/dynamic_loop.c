/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is remembered between passes is kept by thread, in the order of the
 * snapshot, and handed over when a round brings a new snapshot. Where a vCPU is
 * bound is never remembered here alone: it is read from its mask, which the
 * state file knows as ours (see hold.h), so a crash loses only the counting.
 */

#include "daemon/dynamic_loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hold.h"
#include "util/cleanup.h"
#include "util/log.h"

/* Between two changes of the union of a VM's masks, where each costs a flush. */
#define TLBI_GAP_NS INT64_C(10000000000)

/* One vCPU that is followed. */
typedef struct Member {
        ThreadRef thread;
        uint32_t vcpu;  /* index into the snapshot */
        uint32_t place; /* index into the crew's arrays */
} Member;

/* All that are followed, as arrays of one length. */
typedef struct Crew {
        uint32_t n, n_vms;
        Member *member;
        Member *by_thread; /* the same, sorted */
        ThreadRef *thread;
        DynamicVcpu *vcpu;
        DynamicTrack *track;
        DynamicVm *vm;     /* by DynamicVcpu.vm */
        ThreadSample *sample;
        DynamicChange *change;
        Move *move;
        CpuSet *allowed;
} Crew;

struct Dynamic {
        Rounds *rounds;
        const Settings *settings;
        DynamicPolicy policy;
        Crew crew;
        uint64_t round; /* the crew is of this round's snapshot */
        DynamicCpus cpus;
        DynamicWork work;
        DynamicCounters counters;
};

static void crew_done(Crew *crew) {
        free(crew->member);
        free(crew->by_thread);
        free(crew->thread);
        free(crew->vcpu);
        free(crew->track);
        free(crew->vm);
        free(crew->sample);
        free(crew->change);
        free(crew->move);
        free(crew->allowed);
        *crew = (Crew){};
}

static int crew_init(Crew *crew, uint32_t n) {
        size_t room = n ? n : 1;

        *crew = (Crew){.member = calloc(room, sizeof(*crew->member)),
                       .by_thread = calloc(room, sizeof(*crew->by_thread)),
                       .thread = calloc(room, sizeof(*crew->thread)),
                       .vcpu = calloc(room, sizeof(*crew->vcpu)),
                       .track = calloc(room, sizeof(*crew->track)),
                       .vm = calloc(room, sizeof(*crew->vm)),
                       .sample = calloc(room, sizeof(*crew->sample)),
                       .change = calloc(room, sizeof(*crew->change)),
                       .move = calloc(room, sizeof(*crew->move)),
                       .allowed = calloc(room, sizeof(*crew->allowed))};
        if (crew->member && crew->by_thread && crew->thread && crew->vcpu && crew->track && crew->vm &&
            crew->sample && crew->change && crew->move && crew->allowed)
                return 0;
        crew_done(crew);
        return -ENOMEM;
}

int dynamic_new(Rounds *rounds, const Settings *settings, Dynamic **ret) {
        Dynamic *dynamic = calloc(1, sizeof(*dynamic));

        if (!dynamic)
                return -ENOMEM;
        dynamic->rounds = rounds;
        dynamic->settings = settings;
        *ret = dynamic;
        return 0;
}

Dynamic *dynamic_free(Dynamic *dynamic) {
        if (dynamic)
                crew_done(&dynamic->crew);
        free(dynamic);
        return NULL;
}

const DynamicCounters *dynamic_counters(const Dynamic *dynamic) {
        return &dynamic->counters;
}

/* The CPU that the vCPU is bound to now, if the controller may handle it. */
static int vcpu_at(const Rounds *rounds, uint32_t index) {
        const Snapshot *snapshot = rounds->snapshot;
        const Vcpu *vcpu = &snapshot->vcpu[index];
        const CpuSet *mask = pool_get(&snapshot->pool, vcpu->mask);
        VerdictKind kind = rounds->plan->verdict[vcpu->vm].kind;

        if (snapshot->vm[vcpu->vm].policy.sched != SCHED_DYNAMIC || vcpu->tid <= 0 || !mask ||
            (kind != VERDICT_PLACED && kind != VERDICT_SPREAD && kind != VERDICT_LAYERED) || rounds->plan->target[index].cpu < 0 ||
            rounds->plan->target[index].mask != vcpu->mask)
                return -1;
        return cpuset_single(mask);
}

static int member_compare(const void *a, const void *b) {
        const ThreadRef *x = &((const Member *)a)->thread, *y = &((const Member *)b)->thread;

        if (x->pid != y->pid)
                return x->pid < y->pid ? -1 : 1;
        return (x->tid > y->tid) - (x->tid < y->tid);
}

static bool same_thread(const ThreadRef *a, const ThreadRef *b) {
        return a->tid == b->tid && a->thread_start_ticks == b->thread_start_ticks && a->pid == b->pid &&
               a->process_start_ticks == b->process_start_ticks && a->number == b->number;
}

static void crew_add(Crew *crew, const Rounds *rounds, uint32_t index, int at) {
        const Vcpu *vcpu = &rounds->snapshot->vcpu[index];
        const Vm *vm = &rounds->snapshot->vm[vcpu->vm];
        uint32_t i = crew->n++;

        crew->thread[i] = (ThreadRef){.pid = vm->pid,
                                      .tid = vcpu->tid,
                                      .process_start_ticks = vm->start_ticks,
                                      .thread_start_ticks = vcpu->start_ticks,
                                      .number = vcpu->number};
        memcpy(crew->thread[i].uuid, vm->uuid, sizeof(vm->uuid));
        crew->member[i] = (Member){.thread = crew->thread[i], .vcpu = index, .place = i};
        crew->n_vms += i == 0 || rounds->snapshot->vcpu[crew->member[i - 1].vcpu].vm != vcpu->vm;
        vcpu_allowed(rounds->topology, rounds->snapshot, &rounds->settings->policy, index, &crew->allowed[i]);
        crew->vcpu[i] = (DynamicVcpu){.vm = crew->n_vms - 1,
                                      .home = rounds->plan->target[index].cpu,
                                      .allowed = &crew->allowed[i]};
        crew->track[i].at = (int16_t)at;
}

/* What was remembered of the thread and of its VM. */
static void crew_inherit(Crew *crew, uint32_t i, const Crew *old) {
        const Member *found =
                old->n ? bsearch(&crew->member[i], old->by_thread, old->n, sizeof(Member), member_compare) : NULL;

        if (!found || !same_thread(&found->thread, &crew->thread[i]))
                return;
        crew->vm[crew->vcpu[i].vm] = old->vm[old->vcpu[found->place].vm];
        if (old->track[found->place].at == crew->track[i].at &&
            old->vcpu[found->place].home == crew->vcpu[i].home)
                crew->track[i] = old->track[found->place];
}

static int crew_gather(Crew *crew, const Rounds *rounds, const Crew *old) {
        uint32_t n = 0;
        int r;

        for (uint32_t i = 0; i < rounds->snapshot->n_vcpus; i++)
                n += vcpu_at(rounds, i) >= 0;
        r = crew_init(crew, n);
        if (r < 0)
                return r;
        for (uint32_t i = 0; i < rounds->snapshot->n_vcpus; i++) {
                int at = vcpu_at(rounds, i);

                if (at >= 0)
                        crew_add(crew, rounds, i, at);
        }
        for (uint32_t i = 0; i < n; i++)
                crew_inherit(crew, i, old);
        memcpy(crew->by_thread, crew->member, n * sizeof(Member));
        qsort(crew->by_thread, n, sizeof(Member), member_compare);
        return 0;
}

static void policy_of(const Settings *settings, bool tlbi_limited, DynamicPolicy *ret) {
        dynamic_policy_defaults(ret);
        if (tlbi_limited)
                ret->vm_gap_ns = TLBI_GAP_NS;
        ret->thresh_permille = (uint16_t)(settings->util_thresh * (PERMILLE / 100));
        ret->source = settings->util_source == UTIL_TASKGROUP ? DYNAMIC_TASKGROUP : DYNAMIC_CPU;
}

/* Dynamic vCPUs that prefer a home: the kernel does the rest. */
static uint32_t count_dynamic(const Rounds *rounds) {
        uint32_t n = 0;

        for (uint32_t i = 0; rounds->have_view && i < rounds->snapshot->n_vcpus; i++)
                n += rounds->snapshot->vm[rounds->snapshot->vcpu[i].vm].policy.sched == SCHED_DYNAMIC &&
                     rounds->snapshot->vcpu[i].tid > 0 && rounds->plan->target[i].cpu >= 0;
        return n;
}

static uint32_t count_away(const Crew *crew) {
        uint32_t away = 0;

        for (uint32_t i = 0; i < crew->n; i++)
                away += crew->track[i].at != crew->vcpu[i].home;
        return away;
}

int dynamic_sync(Dynamic *dynamic, bool acting) {
        const Host *host = &dynamic->rounds->host;
        Crew crew = {};
        int r = 0;

        /* The kernel does it all. */
        if (acting && dynamic->rounds->have_view && dynamic->rounds->tidal == TIDAL_NONE)
                r = crew_gather(&crew, dynamic->rounds, &dynamic->crew);
        if (r < 0)
                return r;
        crew_done(&dynamic->crew);
        dynamic->crew = crew;
        dynamic->round = dynamic->rounds->counters.rounds;
        dynamic->counters.vcpus =
                dynamic->rounds->tidal == TIDAL_NONE ? crew.n : count_dynamic(dynamic->rounds);
        dynamic->counters.away = count_away(&crew);
        policy_of(dynamic->settings, dynamic->rounds->tlbi_limited, &dynamic->policy);
        if (crew.n == 0)
                memset(dynamic->work.idle_for, 0, sizeof(dynamic->work.idle_for));
        r = host->ops->follow ? host->ops->follow(host->self, crew.thread, crew.n) : -EOPNOTSUPP;
        return r < 0 && crew.n ? r : (int)crew.n;
}

static int crew_sample(Dynamic *dynamic) {
        const Host *host = &dynamic->rounds->host;
        Crew *crew = &dynamic->crew;
        int r = host->ops->sample(host->self, crew->sample, &dynamic->cpus);

        if (r < 0)
                return r;
        dynamic->cpus.owned = dynamic->rounds->plan->owned;
        for (uint32_t i = 0; i < crew->n; i++) {
                crew->vcpu[i].sampled = crew->sample[i].valid;
                crew->vcpu[i].run_permille = crew->sample[i].run_permille;
                crew->vcpu[i].wait_permille = crew->sample[i].wait_permille;
        }
        return 0;
}

/* The changes as moves. A change for which there is no room is taken back. */
static uint32_t changes_to_moves(Dynamic *dynamic, uint32_t n_changes) {
        Crew *crew = &dynamic->crew;
        uint32_t n = 0;

        for (uint32_t c = 0; c < n_changes; c++) {
                const DynamicChange *change = &crew->change[c];
                CpuSet mask = {};
                SetId id;

                cpuset_add(&mask, (unsigned)change->to);
                id = pool_intern(&dynamic->rounds->snapshot->pool, &mask);
                if (id == SET_NONE)
                        dynamic_undo(&crew->track[change->vcpu], change);
                else
                        crew->move[n++] = (Move){.vcpu = crew->member[change->vcpu].vcpu,
                                                 .kind = MOVE_HOLD,
                                                 .from = -1,
                                                 .to = crew->vcpu[change->vcpu].home,
                                                 .mask = id};
        }
        return n;
}

/* Whether the thread is now bound to that CPU alone. */
static bool is_at(const Rounds *rounds, uint32_t vcpu, int cpu) {
        const CpuSet *mask = pool_get(&rounds->snapshot->pool, rounds->snapshot->vcpu[vcpu].mask);

        return mask && cpuset_single(mask) == cpu;
}

static void change_note(Dynamic *dynamic, const DynamicChange *change) {
        DynamicCounters *counters = &dynamic->counters;
        Crew *crew = &dynamic->crew;
        const Rounds *rounds = dynamic->rounds;
        uint32_t vcpu = crew->member[change->vcpu].vcpu;
        static const char *const words[] = {
                [DYNAMIC_LEAVE] = "leaves", [DYNAMIC_MOVE_ON] = "moves on from", [DYNAMIC_RETURN] = "returns from"};

        if (!is_at(rounds, vcpu, change->to)) {
                dynamic_undo(&crew->track[change->vcpu], change);
                counters->failed++;
                return;
        }
        rounds->plan->target[vcpu].mask = rounds->snapshot->vcpu[vcpu].mask;
        counters->left += change->kind == DYNAMIC_LEAVE;
        counters->moved_on += change->kind == DYNAMIC_MOVE_ON;
        counters->returned += change->kind == DYNAMIC_RETURN;
        log_debug("%s vCPU %u %s CPU %d for CPU %d (home %d)",
                  rounds->snapshot->vm[rounds->snapshot->vcpu[vcpu].vm].name, rounds->snapshot->vcpu[vcpu].number,
                  words[change->kind], change->from, change->to, crew->vcpu[change->vcpu].home);
}

int dynamic_pass(Dynamic *dynamic) {
        Rounds *rounds = dynamic->rounds;
        const Host *host = &rounds->host;
        Crew *crew = &dynamic->crew;
        int64_t started = host->ops->now_ns(host->self);

        /* A round that failed has left another snapshot, or none. */
        if (!rounds->have_view || rounds->counters.rounds != dynamic->round)
                return 0;
        int r = crew_sample(dynamic);
        if (r < 0)
                return r;
        uint32_t n = dynamic_step(rounds->topology, &dynamic->policy, &dynamic->cpus, crew->vcpu, crew->n, crew->track,
                                  crew->vm, &dynamic->work, started, crew->change);
        uint32_t n_moves = changes_to_moves(dynamic, n);
        if (n_moves > 0)
                r = rounds_hold(rounds, crew->move, n_moves);
        for (uint32_t c = 0; c < n; c++)
                change_note(dynamic, &crew->change[c]);
        dynamic->counters.passes++;
        dynamic->counters.away = count_away(crew);
        dynamic->counters.last_pass_ns = host->ops->now_ns(host->self) - started;
        return r;
}

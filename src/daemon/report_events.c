/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A round as events, each a sentence of one VM that needs no other to be
 * understood: what became of it, and why. A mask counts as moved when it is what
 * the plan wanted it to be: a refused write moved nothing.
 */

#include "daemon/report_internal.h"

#include <string.h>

#include "util/cpulist.h"
#include "wire/names.h"

enum { LIST_SIZE = 96, WHY_SIZE = 160 };

/* "CPUs 4-7", cut where it is too long for a sentence. */
static const char *list_text(const CpuSet *set, char ret[LIST_SIZE]) {
        char text[CPULIST_SIZE];

        if (cpulist_format(set, text, sizeof(text)) < 0)
                text[0] = '\0';
        if (snprintf(ret, LIST_SIZE, "CPU%s %s", cpuset_count(set) == 1 ? "" : "s", text) >= LIST_SIZE)
                strcpy(ret + LIST_SIZE - 4, "...");
        return text[0] ? ret : "no CPU";
}

static uint64_t set_hash(const CpuSet *set) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (unsigned i = 0; set && i < CPUSET_WORDS; i++)
                hash = (hash ^ set->word[i]) * UINT64_C(0x100000001b3);
        return hash;
}

void report_ranges(const Snapshot *snapshot, const Vm *vm, Said *ret) {
        SetId last = SET_NONE;
        uint64_t hash = 0;

        ret->ranges = 0;
        cpuset_clear(&ret->range);
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                SetId id = snapshot->vcpu[i].range;

                /* Most often all are the same one. */
                if (id != last || i == vm->first_vcpu) {
                        hash = set_hash(pool_get(&snapshot->pool, id));
                        if (id != SET_NONE)
                                cpuset_or(&ret->range, pool_get(&snapshot->pool, id));
                }
                last = id;
                ret->ranges = ret->ranges * 31 + hash;
        }
}

/* "PLACED on 1 cluster (minimum 1)"; else with the reason, and who is in the way. */
static void verdict_text(const Rounds *rounds, uint32_t v, const Said *said, char ret[EVENT_TEXT_SIZE]) {
        const Verdict *verdict = &rounds->plan->verdict[v];
        bool spans = verdict->kind == VERDICT_PLACED || verdict->kind == VERDICT_SPREAD;
        bool reason = verdict->reason != REASON_NONE, blocked = verdict->blocker >= 0;
        bool was = said && said->kind != verdict->kind;
        char span[64] = "";

        if (spans)
                snprintf(span, sizeof(span), " on %u cluster%s (minimum %u)", verdict->clusters,
                         verdict->clusters == 1 ? "" : "s", verdict->min_clusters);
        snprintf(ret, EVENT_TEXT_SIZE, "%s%s%s%s%s%s%s%.60s", verdict_name(verdict->kind), span,
                 was ? ", was " : "", was ? verdict_name(said->kind) : "", reason ? ": " : "",
                 reason ? reason_text(verdict->reason) : "", blocked ? "; in the way: " : "",
                 blocked ? rounds->snapshot->vm[verdict->blocker].name : "");
}

void report_count_moves(Report *report, const Rounds *rounds) {
        const Plan *plan = rounds->plan;

        memset(report->moved, 0, sizeof(report->moved));
        for (uint32_t m = 0; m < plan->n_moves; m++) {
                const Vcpu *vcpu = &rounds->snapshot->vcpu[plan->move[m].vcpu];

                if (vcpu->mask == plan->move[m].mask)
                        report->moved[vcpu->vm][plan->move[m].kind]++;
        }
}

static void moves_event(const Report *report, const Rounds *rounds, uint32_t v) {
        const Vm *vm = &rounds->snapshot->vm[v];
        const uint32_t *by_kind = report->moved[v];
        unsigned moves = 0;
        char why[WHY_SIZE] = "", list[LIST_SIZE];
        CpuSet now = {};
        size_t used = 0;

        for (MoveKind kind = 0; kind < MOVE_KINDS; moves += by_kind[kind++])
                if (by_kind[kind] && used < sizeof(why))
                        used += (size_t)snprintf(why + used, sizeof(why) - used, "%s%u %s", used ? ", " : "",
                                                 by_kind[kind], move_kind_text(kind));
        if (moves == 0)
                return;
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                const CpuSet *mask = pool_get(&rounds->snapshot->pool, rounds->snapshot->vcpu[i].mask);

                if (mask)
                        cpuset_or(&now, mask);
        }
        events_add(report->events, by_kind[MOVE_REPAIR] == moves ? EVENT_REPAIRED : EVENT_MOVED,
                   rounds->counters.rounds, vm, "vCPUs moved: %s; now on %s", why, list_text(&now, list));
}

static void range_event(const Report *report, const Rounds *rounds, uint32_t v, const Said *said) {
        const Vm *vm = &rounds->snapshot->vm[v];
        char list[LIST_SIZE], list_then[LIST_SIZE];
        Said now;

        report_ranges(rounds->snapshot, vm, &now);
        if (now.ranges == said->ranges || cpuset_is_empty(&now.range) || cpuset_is_empty(&said->range))
                return; /* the same, or not known */
        if (cpuset_equal(&now.range, &said->range))
                events_add(report->events, EVENT_RANGE, rounds->counters.rounds, vm,
                           "some vCPUs may run elsewhere now, all together still on %s",
                           list_text(&now.range, list));
        else
                events_add(report->events, EVENT_RANGE, rounds->counters.rounds, vm,
                           "may run on %s now, before on %s", list_text(&now.range, list),
                           list_text(&said->range, list_then));
}

static void verdict_event(const Report *report, const Rounds *rounds, uint32_t v, const Said *said) {
        const Verdict *verdict = &rounds->plan->verdict[v];
        EventKind kind = verdict->kind == VERDICT_CONTESTED       ? EVENT_CONTESTED
                         : verdict->reason == REASON_WRITE_FAILED ? EVENT_WRITE_FAILED
                                                                  : EVENT_VERDICT;
        char text[EVENT_TEXT_SIZE];

        verdict_text(rounds, v, said, text);
        events_add(report->events, kind, rounds->counters.rounds, &rounds->snapshot->vm[v], "%s", text);
}

static void came_event(const Report *report, const Rounds *rounds, uint32_t v) {
        const Vm *vm = &rounds->snapshot->vm[v];
        char text[EVENT_TEXT_SIZE];

        verdict_text(rounds, v, NULL, text);
        events_add(report->events, EVENT_CAME, rounds->counters.rounds, vm, "%s with %u vCPU%s: %s",
                   report->seen ? "came" : "was there at the first look,", vm->n_vcpus,
                   vm->n_vcpus == 1 ? "" : "s", text);
}

void report_vm_events(const Report *report, const Rounds *rounds, uint32_t v, const Said *said) {
        const Verdict *verdict = &rounds->plan->verdict[v];
        const Vm *vm = &rounds->snapshot->vm[v];

        if (!said)
                came_event(report, rounds, v);
        else {
                range_event(report, rounds, v, said);
                if (said->kind != verdict->kind || said->reason != verdict->reason)
                        verdict_event(report, rounds, v, said);
        }
        if (vm->wish.fault && (!said || said->fault != vm->wish.fault))
                events_add(report->events, EVENT_SETTINGS, rounds->counters.rounds, vm, "%s",
                           wish_fault_text(vm->wish.fault));
        moves_event(report, rounds, v);
}

void report_vm_went(const Report *report, const Rounds *rounds, const Said *said) {
        Vm vm = {};

        memcpy(vm.name, said->name, sizeof(vm.name));
        memcpy(vm.uuid, said->uuid, sizeof(vm.uuid));
        events_add(report->events, EVENT_WENT, rounds->counters.rounds, &vm, "went; it was %s",
                   verdict_name(said->kind));
}

void report_cpu_events(Report *report, const Rounds *rounds) {
        const CpuSet *now = &rounds->topology->online;
        CpuSet came = *now, went = report->online;
        char list[LIST_SIZE];

        cpuset_subtract(&came, &report->online);
        cpuset_subtract(&went, now);
        if (report->seen && !cpuset_is_empty(&came))
                events_add(report->events, EVENT_CPUS, rounds->counters.rounds, NULL, "%s came online",
                           list_text(&came, list));
        if (report->seen && !cpuset_is_empty(&went))
                events_add(report->events, EVENT_CPUS, rounds->counters.rounds, NULL, "%s went offline",
                           list_text(&went, list));
        report->online = *now;
}

/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/report_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/leftovers.h"
#include "util/log.h"
#include "wire/names.h"

int report_new(Events *events, Report **ret) {
        Report *report = calloc(1, sizeof(*report));

        if (!report)
                return -ENOMEM;
        report->events = events;
        *ret = report;
        return 0;
}

Report *report_free(Report *report) {
        free(report);
        return NULL;
}

/* Adds a piece to the line; a piece that does not fit is counted instead. */
__attribute__((format(printf, 2, 3))) static void line_add(Report *report, const char *format, ...) {
        size_t left = sizeof(report->line) - report->used;
        va_list args;

        va_start(args, format);
        int n = vsnprintf(report->line + report->used, left, format, args);
        va_end(args);
        if (n < 0 || (size_t)n >= left) {
                report->line[report->used] = '\0';
                report->n_left_out++;
        } else
                report->used += (size_t)n;
}

static void add_moves(Report *report, const Rounds *rounds) {
        const Plan *plan = rounds->plan;
        unsigned by_kind[MOVE_KINDS] = {};

        for (uint32_t m = 0; m < plan->n_moves; m++)
                by_kind[plan->move[m].kind]++;
        line_add(report, "%u write%s%s (", plan->n_moves, plan->n_moves == 1 ? "" : "s",
                 rounds->acting ? "" : " wanted");
        const char *comma = "";
        for (MoveKind kind = 0; kind < MOVE_KINDS; kind++)
                if (by_kind[kind]) {
                        line_add(report, "%s%u %s", comma, by_kind[kind], move_kind_name(kind));
                        comma = ", ";
                }
        line_add(report, ")");
}

static void add_verdict(Report *report, const Vm *vm, const Verdict *verdict, const Said *said) {
        line_add(report, "%s%s ", report->used ? "; " : "", vm->name);
        if (said && said->kind != verdict->kind)
                line_add(report, "%s -> ", verdict_name(said->kind));
        line_add(report, "%s", verdict_name(verdict->kind));
        if (verdict->kind == VERDICT_PLACED || verdict->kind == VERDICT_SPREAD)
                line_add(report, " on %u cluster%s (minimum %u)", verdict->clusters, verdict->clusters == 1 ? "" : "s",
                         verdict->min_clusters);
        else if (verdict->reason != REASON_NONE)
                line_add(report, " (%s)", reason_name(verdict->reason));
}

static uint16_t *bucket_of(Report *report, const char *uuid) {
        uint32_t hash = 5381;

        for (; *uuid; uuid++)
                hash = hash * 33 + (unsigned char)*uuid;
        return &report->bucket[hash % REPORT_BUCKETS];
}

/* A VM that was not seen yet has no start time; it is the same one all the same. */
static Said *find_said(Report *report, const Vm *vm) {
        for (uint32_t s = *bucket_of(report, vm->uuid); s; s = report->said[s - 1].next) {
                Said *said = &report->said[s - 1];

                if (strcmp(said->uuid, vm->uuid) == 0 && (said->start_ticks == vm->start_ticks ||
                                                          said->start_ticks == 0 || vm->start_ticks == 0))
                        return said;
        }
        return NULL;
}

/* Those who have gone are told of first: one may have come back. */
static void tell_of_gone(Report *report, const Rounds *rounds) {
        for (uint32_t v = 0; v < rounds->snapshot->n_vms; v++) {
                Said *said = find_said(report, &rounds->snapshot->vm[v]);

                if (said)
                        said->here = true;
        }
        for (uint32_t s = 0; s < report->n; s++)
                if (!report->said[s].here)
                        report_vm_went(report, rounds, &report->said[s]);
}

static void tell_of_vms(Report *report, const Rounds *rounds) {
        const Snapshot *snapshot = rounds->snapshot;

        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                const Vm *vm = &snapshot->vm[v];
                const Verdict *verdict = &rounds->plan->verdict[v];
                const Said *said = find_said(report, vm);

                if (!said || said->kind != verdict->kind || said->reason != verdict->reason)
                        add_verdict(report, vm, verdict, said);
                if (vm->wish.fault && (!said || said->fault != vm->wish.fault))
                        log_warning("VM %s: %s", vm->name, wish_fault_text(vm->wish.fault));
                report_vm_events(report, rounds, v, said);
        }
}

static void remember(Report *report, const Rounds *rounds) {
        report->n = rounds->snapshot->n_vms;
        memset(report->bucket, 0, sizeof(report->bucket));
        for (uint32_t v = 0; v < report->n; v++) {
                const Vm *vm = &rounds->snapshot->vm[v];
                report->said[v] = (Said){.start_ticks = vm->start_ticks,
                                         .kind = rounds->plan->verdict[v].kind,
                                         .reason = rounds->plan->verdict[v].reason,
                                         .fault = vm->wish.fault};
                memcpy(report->said[v].uuid, vm->uuid, sizeof(vm->uuid));
                memcpy(report->said[v].name, vm->name, sizeof(vm->name));
                report_ranges(rounds->snapshot, vm, &report->said[v]);
                uint16_t *bucket = bucket_of(report, vm->uuid);
                report->said[v].next = *bucket;
                *bucket = (uint16_t)(v + 1);
        }
        report->seen = true;
}

static void report_trouble(Report *report, const Rounds *rounds) {
        if (strcmp(report->trouble, rounds->trouble) == 0)
                return;
        memcpy(report->trouble, rounds->trouble, sizeof(report->trouble));
        if (!rounds->trouble[0])
                return;
        log_error("%s", rounds->trouble);
        events_add(report->events, EVENT_TROUBLE, 0, NULL, "%s", rounds->trouble);
}

void report_round(Report *report, const Rounds *rounds) {
        report_trouble(report, rounds);
        if (!rounds->have_view)
                return;
        if (!report->leftovers_told)
                leftovers_report(rounds->snapshot, &rounds->topology->online);
        report->leftovers_told = true;
        report->used = 0;
        report->n_left_out = 0;
        report->line[0] = '\0';
        if (rounds->plan->n_moves > 0 && rounds->acting)
                add_moves(report, rounds);
        report_count_moves(report, rounds);
        report_cpu_events(report, rounds);
        tell_of_gone(report, rounds);
        tell_of_vms(report, rounds);
        remember(report, rounds);
        if (report->n_left_out)
                log_info("round %llu: %s; and more", (unsigned long long)rounds->counters.rounds, report->line);
        else if (report->used)
                log_info("round %llu: %s", (unsigned long long)rounds->counters.rounds, report->line);
}

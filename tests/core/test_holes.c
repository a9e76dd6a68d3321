/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Choosing a place from counts of holes (core/holes.c) gives the very place
 * that looking at every cluster does (core/fit.c): on random boards, for all
 * sizes and spans.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/probe.h"
#include "core/work.h"
#include "model.h"

enum { BOARDS = 300 };

static Topology topology;
static Snapshot snapshot;
static Policy policy;
static History history;
static Plan plan;
static PlanWork *work;
static Fit quick, slow;

static void random_host(Dice *dice) {
        static const unsigned uneven[] = {3, 5, 8, 0, 6, 2, 4, 4, 0, 16, 4, 4, 0, 0};

        if (dice_below(dice, 3) == 0)
                model_topology_uneven(&topology, uneven);
        else
                model_topology(&topology, 1 + dice_below(dice, 4), 1 + dice_below(dice, 9), 1 + dice_below(dice, 8), 1);
}

/* VMs that sit anywhere, on up to all of the host, and one that arrives. */
static uint32_t random_board(Dice *dice) {
        unsigned n = 1 + dice_below(dice, topology.n_cpus < 24 ? topology.n_cpus : 24);
        const Node *node = &topology.node[dice_below(dice, topology.n_nodes)];
        bool tied = dice_below(dice, 3) == 0 && node->n_cpus >= n;

        snapshot_clear(&snapshot);
        for (unsigned cpu = 0; cpu < topology.n_cpus; cpu++)
                if (dice_below(dice, 2)) {
                        uint32_t vm = model_add_vm(&snapshot, &topology, 1, 0, topology.n_cpus - 1u, cpu + 2);

                        model_seat(&snapshot, snapshot.vm[vm].first_vcpu, cpu);
                }
        return model_add_vm(&snapshot, &topology, n, tied ? node->first_slot : 0,
                            tied ? node->first_slot + node->n_cpus - 1u : topology.n_cpus - 1u, 1);
}

static void fits_are_equal(unsigned board, unsigned span) {
        if (quick.n_parts != slow.n_parts || quick.span_more != slow.span_more || quick.loss != slow.loss)
                fail_msg("board %u, span %u: %u parts and %u parts", board, span, quick.n_parts, slow.n_parts);
        for (unsigned i = 0; i < quick.n_parts; i++) {
                assert_int_equal(quick.part[i].cluster, slow.part[i].cluster);
                assert_int_equal(quick.part[i].take, slow.part[i].take);
        }
}

static unsigned compare(unsigned board, const Group *group, unsigned span) {
        bool known = work->board.holes_known, found;

        if (!holes_suffice(work, group, span) || group_stands(work, group))
                return 0;
        found = group_fit(work, group, span_limit(span), &quick);
        work->board.holes_known = false;
        assert_int_equal(group_fit(work, group, span_limit(span), &slow), found);
        work->board.holes_known = known;
        if (found)
                fits_are_equal(board, span);
        return found;
}

static void same_as_cluster_by_cluster(void **state) {
        unsigned n_found = 0;

        (void)state;
        for (unsigned board = 0; board < BOARDS; board++) {
                Dice dice = {.state = board};
                PlanRequest request = {.kind = PLAN_ROUND};
                uint32_t vm;

                random_host(&dice);
                vm = random_board(&dice);
                policy_defaults(&policy);
                history_clear(&history);
                snapshot.vm[vm].policy.layout = (Layout)dice_below(&dice, 3);
                plan_make(&topology, &snapshot, &policy, &history, &request, 0, work, &plan);
                if (!probe_take_off(work, vm))
                        continue;
                for (unsigned span = 1; span < 10; span++)
                        n_found += compare(board, &work->group[work->vm[vm].first_group], span);
                probe_undo(work);
        }
        assert_true(n_found >= BOARDS && n_found <= 9 * BOARDS);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_cluster_by_cluster)};
        int r;

        work = malloc(plan_work_size());
        if (!work)
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        free(work);
        return r;
}

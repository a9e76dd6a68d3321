/* SPDX-License-Identifier: Apache-2.0 */

/* What a plan that is only asked for would change: VM by VM, as it is and as it
 * would be. */

#include <string.h>

#include "daemon/view_internal.h"
#include "util/cleanup.h"
#include "wire/names.h"

enum { NO_VM = UINT32_MAX };

static json_t *place_json(const View *view, uint32_t vm) {
        const Verdict *verdict;
        CpuSet cpus;

        if (vm == NO_VM)
                return json_null();
        verdict = &view->plan->verdict[vm];
        view_vm_cpus(view, vm, &cpus);
        return json_pack("{ss,ss,ss,so,si,si,si,si,so}", "verdict", verdict_name(verdict->kind), "reason",
                         reason_name(verdict->reason), "reason_text", reason_text(verdict->reason), "blocker",
                         view_blocker(view, vm), "clusters", verdict->clusters, "min_clusters",
                         verdict->min_clusters, "nodes", verdict->nodes, "min_nodes", verdict->min_nodes,
                         "cpus", view_cpulist(&cpus));
}

/* By VM of the snapshot. */
static void count_moves(const View *view, int ret[VMS_MAX]) {
        memset(ret, 0, VMS_MAX * sizeof(*ret));
        for (uint32_t m = 0; m < view->plan->n_moves; m++)
                ret[view->snapshot->vcpu[view->plan->move[m].vcpu].vm]++;
}

static json_t *change_json(const View *now, uint32_t a, const View *then, uint32_t b, const int *moves) {
        const Vm *vm = b == NO_VM ? &now->snapshot->vm[a] : &then->snapshot->vm[b];

        return json_pack("{ss,so,ss,si,si,so,so}", "uuid", vm->uuid, "name", view_text(vm->name), "change",
                         a == NO_VM   ? "added"
                         : b == NO_VM ? "removed"
                                      : "kept",
                         "vcpus", vm->n_vcpus, "moves", b == NO_VM ? 0 : moves[b], "before",
                         place_json(now, a), "after", place_json(then, b));
}

/* Whether a VM that is in both is to be told of. */
static bool differs(const json_t *change) {
        return json_integer_value(json_object_get(change, "moves")) > 0 ||
               !json_equal(json_object_get(change, "before"), json_object_get(change, "after"));
}

json_t *view_changes(const View *now, const View *then) {
        json_auto_t *list = json_array();
        uint32_t a = 0, b = 0;
        int moves[VMS_MAX];

        count_moves(then, moves);
        while (a < now->snapshot->n_vms || b < then->snapshot->n_vms) {
                bool here = a < now->snapshot->n_vms, there = b < then->snapshot->n_vms;
                bool same =
                        here && there && strcmp(now->snapshot->vm[a].uuid, then->snapshot->vm[b].uuid) == 0;
                json_auto_t *change =
                        change_json(now, here ? a : NO_VM, then, same || !here ? b : NO_VM, moves);

                if (!change || ((!same || differs(change)) && json_array_append(list, change) < 0))
                        return NULL;
                a += here;
                b += same || !here;
        }
        return STEAL_PTR(list);
}

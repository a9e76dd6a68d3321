/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Brings the planner's memory forward from the last round to this one.
 *
 * The history's VMs are kept in the snapshot's order. Snapshots list VMs in
 * order of arrival, so as a rule the next VM of the snapshot is the next VM of
 * the history: one cursor walks both, and only what it can not match is sought.
 */

#include "core/work.h"

#include <assert.h>
#include <string.h>

enum { CREDIT_PERIOD_NS = 1000000000 }; /* times ten: credits are set per 10 s */

void history_clear(History *history) {
        history->credits_milli = 0;
        history->accrued_at_ns = 0;
        history->started = false;
        history->n_vms = 0;
        memset(history->threads_regime, 0, sizeof(history->threads_regime));
}

static bool same_vm(const VmHistory *old, const Vm *vm) {
        if (old->start_ticks != vm->start_ticks)
                return false;
        for (unsigned i = 0; i < VM_UUID_SIZE; i++) {
                if (old->uuid[i] != vm->uuid[i])
                        return false;
                if (vm->uuid[i] == '\0')
                        break;
        }
        return true;
}

/* The history's entry of a VM, sought from cursor onwards and around; NULL: none. */
static const VmHistory *history_find(const History *history, const Vm *vm, uint32_t *cursor) {
        for (uint32_t i = 0; i < history->n_vms; i++) {
                uint32_t at = (*cursor + i) % history->n_vms;

                if (same_vm(&history->vm[at], vm)) {
                        *cursor = at + 1;
                        return &history->vm[at];
                }
        }
        return NULL;
}

static void vm_history_begin(VmHistory *entry, const Vm *vm) {
        *entry = (VmHistory){.start_ticks = vm->start_ticks};
        for (unsigned i = 0; i < VM_UUID_SIZE - 1 && vm->uuid[i]; i++)
                entry->uuid[i] = vm->uuid[i];
}

/* Makes history->vm[i] the entry of snapshot->vm[i]; returns how many VMs have
 * appeared and disappeared. */
static uint32_t history_match(History *history, const Snapshot *snapshot, VmHistory *scratch) {
        uint32_t cursor = 0, same = 0, appeared = 0;

        while (same < history->n_vms && same < snapshot->n_vms && same_vm(&history->vm[same], &snapshot->vm[same]))
                same++;
        cursor = same;
        for (uint32_t i = same; i < snapshot->n_vms; i++) {
                const VmHistory *old = history_find(history, &snapshot->vm[i], &cursor);

                if (old)
                        scratch[i] = *old;
                else {
                        vm_history_begin(&scratch[i], &snapshot->vm[i]);
                        appeared++;
                }
        }
        uint32_t kept = snapshot->n_vms - appeared;
        uint32_t disappeared = history->n_vms > kept ? history->n_vms - kept : 0;

        if (snapshot->n_vms > same)
                memcpy(&history->vm[same], &scratch[same], (snapshot->n_vms - same) * sizeof(*scratch));
        history->n_vms = snapshot->n_vms;
        return appeared + disappeared;
}

/* Only whole thousandths are added; the clock stays behind by what is left. */
static int64_t credits_by_time(History *history, const Policy *policy, int64_t now_ns) {
        int64_t rate = policy->credits_per_10s_milli, elapsed = now_ns - history->accrued_at_ns, milli;

        if (rate <= 0 || elapsed <= 0) {
                if (rate <= 0)
                        history->accrued_at_ns = now_ns;
                return 0;
        }
        if (elapsed / (INT64_C(10) * CREDIT_PERIOD_NS) > policy->burst_milli / rate) {
                history->accrued_at_ns = now_ns;
                return policy->burst_milli;
        }
        milli = elapsed / 1000 * rate / (10 * (CREDIT_PERIOD_NS / 1000));
        history->accrued_at_ns += (int64_t)((__int128)milli * 10 * CREDIT_PERIOD_NS / rate);
        return milli;
}

void history_forward(History *history, const Snapshot *snapshot, const Policy *policy, int64_t now_ns,
                     VmHistory *scratch) {
        uint32_t events = history_match(history, snapshot, scratch);

        if (!history->started) {
                history->started = true;
                history->accrued_at_ns = now_ns;
                history->credits_milli = 0;
                return;
        }
        history->credits_milli += (int64_t)events * policy->credits_per_event_milli;
        history->credits_milli += credits_by_time(history, policy, now_ns);
        if (history->credits_milli > policy->burst_milli)
                history->credits_milli = policy->burst_milli;
        if (history->credits_milli < 0)
                history->credits_milli = 0;
}

/* What defrag must leave alone for a while after such a move. */
static bool move_cools(MoveKind kind) {
        return kind == MOVE_MAKE_ROOM || kind == MOVE_DEFRAG || kind == MOVE_SMT;
}

void history_commit(History *history, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                    int64_t now_ns) {
        history->credits_milli -= plan->credits_spent_milli;
        if (history->credits_milli < 0)
                history->credits_milli = 0;
        for (uint32_t i = 0; i < plan->n_moves; i++) {
                uint32_t vm = snapshot->vcpu[plan->move[i].vcpu].vm;

                if (!move_cools(plan->move[i].kind))
                        continue;
                assert(vm < snapshot->n_vms);
                if (vm < history->n_vms && same_vm(&history->vm[vm], &snapshot->vm[vm]))
                        history->vm[vm].cool_until_ns = now_ns + policy->cool_down_ns;
        }
}

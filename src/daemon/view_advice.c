/* SPDX-License-Identifier: Apache-2.0 */

/* What would help a VM, by its verdict and the reason for it. */

#include "daemon/view_internal.h"

/* Whether a wider range could give the VM CPUs that it may not use now. */
static bool could_be_wider(const View *view, uint32_t vm, const CpuSet *allowed) {
        CpuSet others = view->topology->online;

        cpuset_subtract(&others, &view->policy->skip);
        return view->snapshot->vm[vm].range_named && !cpuset_is_subset(&others, allowed);
}

static const char *shared_advice(VerdictReason reason, bool wider) {
        switch (reason) {
        case REASON_RANGE_TOO_SMALL:
                return wider ? "A range of at least as many CPUs as it has vCPUs would help (virsh vcpupin), "
                               "or "
                               "fewer vCPUs."
                             : "It needs fewer vCPUs, or a larger host.";
        case REASON_MEMORY:
                return "With cross-node = yes for this VM the daemon may place it away from its memory.";
        case REASON_BLOCKED:
                return wider ? "A wider range would help (virsh vcpupin), or to free the VMs in its way: "
                               "they are "
                               "pinned, foreign, held by their memory, or not to be managed."
                             : "It would help to free the VMs in its way: they are pinned, foreign, held by "
                               "their "
                               "memory, or not to be managed.";
        default:
                return wider ? "A wider range would help (virsh vcpupin), fewer vCPUs, or one of those VMs "
                               "gone. It "
                               "is tried again whenever a CPU of its range is freed."
                             : "Fewer vCPUs would help, or one of those VMs gone. It is tried again whenever "
                               "a CPU "
                               "of its range is freed.";
        }
}

static const char *spread_advice(VerdictReason reason, bool wider, bool *ret_reassign) {
        switch (reason) {
        case REASON_NO_CREDITS:
        case REASON_COOL_DOWN:
                *ret_reassign = true;
                return "moves it now; else it will be moved by itself.";
        case REASON_MEMORY:
                return "With cross-node = yes for this VM the daemon may move it away from its memory.";
        case REASON_BLOCKED:
                return wider ? "A wider range would help (virsh vcpupin), or to free the VMs in its way."
                             : "It would help to free the VMs in its way.";
        default:
                *ret_reassign = true;
                return "looks for a better place without regard to move credits.";
        }
}

const char *view_advice(const View *view, uint32_t vm, const CpuSet *allowed, bool *ret_reassign) {
        const Verdict *verdict = &view->plan->verdict[vm];
        bool wider = could_be_wider(view, vm, allowed);

        *ret_reassign = verdict->kind == VERDICT_FOREIGN;
        if (verdict->reason == REASON_CONFIGURED && verdict->kind != VERDICT_EXCLUDED)
                return "With manage = yes in the settings the daemon would place it.";
        switch (verdict->kind) {
        case VERDICT_SHARED:
        case VERDICT_LAYERED:
                return shared_advice(verdict->reason, wider);
        case VERDICT_SPREAD:
                return spread_advice(verdict->reason, wider, ret_reassign);
        case VERDICT_FOREIGN:
                return "takes it over, and so does manage = yes in the settings.";
        case VERDICT_PINNED:
                return "To let the daemon place it, give its vCPUs a wider range (virsh vcpupin).";
        case VERDICT_CONTESTED:
                return "Find out who writes these masks: a libvirt hook, tuned or a cron job are usual.";
        case VERDICT_UNPLACEABLE:
                return "A range that leaves some CPU would help (virsh vcpupin), or a smaller skip-cpuset.";
        case VERDICT_EXCLUDED:
                return verdict->reason == REASON_RANGE_NOT_NODES
                               ? "A range of whole NUMA nodes would help, or range-affinity = true."
                               : NULL;
        case VERDICT_UNSEEN:
                return verdict->reason == REASON_HIDDEN ? "If /proc is mounted with hidepid, the daemon's "
                                                          "user must be in the group that "
                                                          "gid= names."
                                                        : NULL;
        case VERDICT_PLACED:
        case VERDICT_KINDS:
                break;
        }
        return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One line for each thing that has to be so, also where it is: an operator who
 * looks for what is wrong wants to know what is not. A problem is what keeps the
 * daemon from doing what its settings say; all else is a warning.
 */

#include "daemon/view_check.h"

#include <string.h>

#include "util/cpulist.h"
#include "wire/check.h"

static const char *plural(unsigned n) {
        return n == 1 ? "" : "s";
}

static void check_mode(json_t *checks, const CheckInput *input) {
        if (input->paused)
                check_add(checks, CHECK_WARNING, "daemon", "vasctl resume",
                          "paused: nothing is moved");
        else if (!input->act)
                check_add(checks, CHECK_OK, "daemon",
                          "'vasctl set mode act --persist', once 'vasctl plan' pleases",
                          "observing: it decides and changes nothing");
        else
                check_add(checks, CHECK_OK, "daemon", "", "acting");
        if (input->trouble[0])
                check_add(checks, CHECK_PROBLEM, "rounds", "its log says more (journalctl -u vas-daemon)",
                          "%s", input->trouble);
}

static void check_link(json_t *checks, const CheckInput *input) {
        if (input->link_up)
                check_add(checks, CHECK_OK, "libvirt", "", "connected to %s, version %s", input->link_uri,
                          input->link_version);
        else
                check_add(checks, CHECK_PROBLEM, "libvirt",
                          "start libvirt (virtqemud.socket or libvirtd.socket) with its driver for QEMU, open its "
                          "read-only socket to the daemon's user, or set another 'connect'",
                          "%s does not answer (%s): VMs that start now are not seen", input->link_uri,
                          input->link_error[0] ? input->link_error : "connecting");
}

static void check_rights(json_t *checks, const CheckInput *input) {
        static const char remedy[] = "AmbientCapabilities=CAP_SYS_NICE in its unit; no PrivateUsers= there";
        CheckState state = input->act ? CHECK_PROBLEM : CHECK_WARNING;

        if (input->denied)
                check_add(checks, state, "rights", remedy,
                          "the kernel has refused to bind a thread: operation not permitted");
        else if (!input->can_bind)
                check_add(checks, state, "rights", remedy,
                          "CAP_SYS_NICE is missing: threads can not be bound");
        else
                check_add(checks, CHECK_OK, "rights", "", "CAP_SYS_NICE is there: threads can be bound");
}

static void check_file(json_t *checks, const char *name, CheckState state, const char *path, int error,
                       const char *lost, const char *remedy) {
        if (error)
                check_add(checks, state, name, remedy, "%s can not be written (%s): %s", path,
                          strerror(error), lost);
        else
                check_add(checks, CHECK_OK, name, "", "%s can be written", path);
}

static void check_files(json_t *checks, const CheckInput *input) {
        check_file(checks, "state", CHECK_PROBLEM, input->state_file, input->state_error,
                   "nothing is bound without a note of whose mask it was",
                   "RuntimeDirectory=vas in its unit; room in that file system");
        if (input->persist_file)
                check_file(checks, "settings", CHECK_WARNING, input->persist_file, input->persist_error,
                           "'vasctl set --persist' does not work", "StateDirectory=vas in its unit");
        if (input->reload_trouble[0])
                check_add(checks, CHECK_WARNING, "settings", "mend the file, then 'systemctl reload vas-daemon'",
                          "the files were not taken at the last reload: %s", input->reload_trouble);
        if (input->metrics_trouble[0])
                check_add(checks, CHECK_WARNING, "metrics",
                          "ReadWritePaths= of its directory in the unit, and rights on it", "%s",
                          input->metrics_trouble);
        else if (input->metrics_file[0])
                check_add(checks, CHECK_OK, "metrics", "", "written to %s", input->metrics_file);
}

static void check_dynamic(json_t *checks, const CheckInput *input) {
        if (!input->want_dynamic)
                check_add(checks, CHECK_OK, "dynamic", "", "not asked for");
        else if (input->backend)
                check_add(checks, CHECK_OK, "dynamic", "", "%s: %s", input->backend, input->backend_why);
        else
                check_add(checks, CHECK_PROBLEM, "dynamic",
                          "emulate = auto, or a kernel with preferred_cpuset; see 'man vas-daemon.conf'",
                          "dynamic VMs stay on their CPUs: %s", input->backend_why);
}

typedef struct VmCounts {
        unsigned unseen, hidden, refused, contested, foreign, wishes;
} VmCounts;

static VmCounts count_vms(const View *view) {
        VmCounts counts = {};

        for (uint32_t vm = 0; vm < view->snapshot->n_vms; vm++) {
                const Verdict *verdict = &view->plan->verdict[vm];

                counts.unseen += verdict->kind == VERDICT_UNSEEN && verdict->reason != REASON_STARTING;
                counts.hidden += verdict->reason == REASON_HIDDEN;
                counts.refused += verdict->reason == REASON_WRITE_FAILED;
                counts.contested += verdict->kind == VERDICT_CONTESTED;
                counts.foreign += verdict->kind == VERDICT_FOREIGN;
                counts.wishes += view->snapshot->vm[vm].wish.fault != WISH_FINE;
        }
        return counts;
}

static void check_sight(json_t *checks, const View *view, const VmCounts *counts) {
        unsigned beyond = view->snapshot->n_beyond_limits, all = view->snapshot->n_vms;

        if (counts->hidden)
                check_add(checks, CHECK_PROBLEM, "vms", "see proc", "/proc hides the process%s of %u VM%s",
                          counts->hidden == 1 ? "" : "es", counts->hidden, plural(counts->hidden));
        if (counts->unseen > counts->hidden)
                check_add(checks, CHECK_WARNING, "vms", "'vasctl list' says why for each",
                          "%u of %u VMs can not be seen", counts->unseen - counts->hidden, all);
        if (beyond)
                check_add(checks, CHECK_WARNING, "vms", "", "%u VM%s beyond the limits and left alone",
                          beyond, beyond == 1 ? " is" : "s are");
        if (!counts->unseen && !beyond)
                check_add(checks, CHECK_OK, "vms", "", "%u run%s, and their threads are seen", all,
                          all == 1 ? "s" : "");
}

static void check_masks(json_t *checks, const VmCounts *counts) {
        if (counts->refused)
                check_add(checks, CHECK_PROBLEM, "masks",
                          "'vasctl explain VM' for each; see rights and cpusets",
                          "the kernel refused to bind %u VM%s", counts->refused, plural(counts->refused));
        if (counts->contested)
                check_add(checks, CHECK_WARNING, "masks",
                          "find who writes them: a libvirt hook, tuned or a cron job are usual",
                          "somebody else keeps changing the masks of %u VM%s", counts->contested,
                          plural(counts->contested));
        if (counts->foreign)
                check_add(checks, CHECK_WARNING, "masks",
                          "'vasctl reassign VM' takes one over, manage = yes too",
                          "%u VM%s narrowed by somebody before and left alone", counts->foreign,
                          counts->foreign == 1 ? " was" : "s were");
        if (!counts->refused && !counts->contested && !counts->foreign)
                check_add(checks, CHECK_OK, "masks", "", "nobody else writes them");
}

static void check_cpusets(json_t *checks, const CheckInput *input) {
        if (input->narrow_vms == 0)
                check_add(checks, CHECK_OK, "cpusets", "", "no narrower than the VMs' ranges");
        else
                check_add(checks, CHECK_WARNING, "cpusets",
                          "widen the slice or partition; if another program left them (as virt-awaresched), "
                          "'virsh vcpupin VM VCPU RANGE --live' writes one anew",
                          "narrower than the range%s of %u VM%s, as %s's: the rest of the range can not be "
                          "used",
                          plural(input->narrow_vms), input->narrow_vms, plural(input->narrow_vms),
                          input->narrow_example);
}

bool view_host_has_cpu(const View *view) {
        CpuSet left = view->topology->online;

        cpuset_subtract(&left, &view->topology->isolated);
        cpuset_subtract(&left, &view->plan->owned);
        return !cpuset_is_empty(&left);
}

static void check_vms(json_t *checks, const CheckInput *input) {
        VmCounts counts = count_vms(input->view);

        check_sight(checks, input->view, &counts);
        check_cpusets(checks, input);
        check_masks(checks, &counts);
        if (counts.wishes)
                check_add(checks, CHECK_WARNING, "metadata",
                          "its log says what is wrong with each (journalctl -u vas-daemon)",
                          "the settings in the metadata of %u VM%s are not all taken", counts.wishes,
                          plural(counts.wishes));
        if (view_host_has_cpu(input->view))
                check_add(checks, CHECK_OK, "host", "",
                          "some CPU belongs to no vCPU: the host's own threads have it");
        else
                check_add(checks, CHECK_WARNING, "host",
                          "skip-cpuset = CPUs for the host, one core of each node for a start",
                          "every CPU belongs to a vCPU: QEMU, libvirt and interrupts run beside guests");
}

json_t *view_check(const CheckInput *input) {
        json_t *checks = json_array();

        if (!checks)
                return NULL;
        check_mode(checks, input);
        check_link(checks, input);
        check_rights(checks, input);
        check_outside(checks, input->outside, input->admin_group);
        check_files(checks, input);
        check_dynamic(checks, input);
        if (input->view)
                check_vms(checks, input);
        return checks;
}

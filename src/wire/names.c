/* SPDX-License-Identifier: Apache-2.0 */

#include "wire/names.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static const char *const verdict_names[] = {
        [VERDICT_PLACED] = "PLACED",           [VERDICT_SPREAD] = "SPREAD",
        [VERDICT_SHARED] = "SHARED",           [VERDICT_LAYERED] = "LAYERED",
        [VERDICT_PINNED] = "PINNED",
        [VERDICT_FOREIGN] = "FOREIGN",         [VERDICT_EXCLUDED] = "EXCLUDED",
        [VERDICT_UNPLACEABLE] = "UNPLACEABLE", [VERDICT_CONTESTED] = "CONTESTED",
        [VERDICT_UNSEEN] = "UNSEEN",
};
static_assert(N_ELEMENTS(verdict_names) == VERDICT_KINDS, "every verdict has a name");

typedef struct ReasonWords {
        const char *name, *text;
} ReasonWords;

static const ReasonWords reason_words[] = {
        [REASON_NONE] = {"", ""},
        [REASON_FULL] = {"full", "its range has fewer free CPUs than it has vCPUs"},
        [REASON_BLOCKED] = {"blocked", "there are CPUs enough, but those who own them may not be moved"},
        [REASON_NO_CREDITS] = {"no-credits",
                               "a better place is known, and it waits until move credits have been saved up"},
        [REASON_COOL_DOWN] = {"cool-down",
                              "a better place is known, and it waits because it was moved a short while ago"},
        [REASON_FRAGMENTED] = {"fragmented", "no better place was found by moving a few others"},
        [REASON_MEMORY] = {"memory", "its memory or its devices hold it on a NUMA node"},
        [REASON_RANGE_EMPTY] =
                {"range-empty",
                 "its range, its cpuset, the CPUs online and skip-cpuset have no CPU in common"},
        [REASON_RANGE_TOO_SMALL] = {"range-too-small", "it has more vCPUs than its whole range has CPUs"},
        [REASON_RANGE_NOT_NODES] = {"range-not-nodes",
                                    "range-affinity is false and its range is not made of whole NUMA nodes"},
        [REASON_CONFIGURED] = {"configured", "the configuration says that it is not to be touched"},
        [REASON_STARTING] = {"starting", "libvirt has not finished starting it"},
        [REASON_NO_PID] = {"no-pid",
                           "its process id is not known: the pid file is missing or can not be read"},
        [REASON_NO_PROCESS] = {"no-process", "its process has gone"},
        [REASON_HIDDEN] = {"hidden",
                           "/proc hides its process from the daemon (hidepid, or a missing capability)"},
        [REASON_STRANGER] = {"stranger", "the process behind its pid file is not that of this VM"},
        [REASON_NO_THREADS] = {"no-threads", "its process has no vCPU threads, or none yet"},
        [REASON_LIMIT] = {"limit", "it is past a documented limit on VMs or vCPUs"},
        [REASON_WRITE_FAILED] = {"write-failed", "the kernel refused the last change of its CPU masks"},
};
static_assert(N_ELEMENTS(reason_words) == REASONS, "every reason has its words");

static const char *const move_kind_names[] = {
        [MOVE_PLACE] = "place",         [MOVE_REPAIR] = "repair",   [MOVE_YIELD] = "yield",
        [MOVE_MAKE_ROOM] = "make-room", [MOVE_DEFRAG] = "defrag",   [MOVE_SMT] = "smt",
        [MOVE_SHARE] = "share",         [MOVE_RELEASE] = "release", [MOVE_HOLD] = "hold",
};
static_assert(N_ELEMENTS(move_kind_names) == MOVE_KINDS, "every kind of move has a name");

static const char *const move_kind_texts[] = {
        [MOVE_PLACE] = "to CPUs of their own",
        [MOVE_REPAIR] = "back, as somebody else had changed their masks",
        [MOVE_YIELD] = "away, as a range changed or an operator pinned another vCPU there",
        [MOVE_MAKE_ROOM] = "to let another VM in",
        [MOVE_DEFRAG] = "to span fewer clusters or nodes",
        [MOVE_SMT] = "so that fewer VMs meet on a core",
        [MOVE_SHARE] = "as the CPUs that they share are others",
        [MOVE_RELEASE] = "back to their range, as they are no longer managed",
        [MOVE_HOLD] = "to another mask, as the policy wants it",
};
static_assert(N_ELEMENTS(move_kind_texts) == MOVE_KINDS, "every kind of move has a text");

static const char *const level_names[] = {
        [LEVEL_AUTO] = "auto", [LEVEL_CLUSTER] = "cluster", [LEVEL_L3] = "l3",
        [LEVEL_NUMA] = "numa", [LEVEL_PACKAGE] = "package",
};
static const char *const manage_names[] = {
        [MANAGE_AUTO] = "auto",
        [MANAGE_YES] = "yes",
        [MANAGE_NO] = "no",
        [MANAGE_OBSERVE] = "observe",
};
static const char *const smt_names[] = {
        [SMT_AUTO] = "auto",
        [SMT_TRUE] = "true",
        [SMT_FALSE] = "false",
        [SMT_OWN_CORES] = "own-cores",
};
static const char *const layout_names[] = {
        [LAYOUT_AUTO] = "auto",
        [LAYOUT_PACK] = "pack",
        [LAYOUT_SPREAD] = "spread",
};
static const char *const helpers_names[] = {
        [HELPERS_LEAVE] = "leave",
        [HELPERS_CLUSTER] = "cluster",
        [HELPERS_HOUSEKEEPING] = "housekeeping",
};
static const char *const sched_names[] = {
        [SCHED_STATIC] = "static",
        [SCHED_DYNAMIC] = "dynamic",
        [SCHED_CLUSTER] = "cluster",
};

static const char *const wish_fault_texts[] = {
        [WISH_FINE] = "",
        [WISH_TWICE] = "its metadata is ignored: it has more than one element of this namespace",
        [WISH_NOT_VM] = "its metadata is ignored: the element is not <vm>",
        [WISH_CONTENT] = "its metadata is ignored: <vm> has attributes only, and nothing inside",
        [WISH_UNKNOWN] = "its metadata is ignored: <vm> has an attribute that is not manage, layout or sched-policy",
        [WISH_BAD_VALUE] = "its metadata is ignored: legal are manage = yes, no or observe, layout = auto, pack or "
                           "spread, sched-policy = static, dynamic or cluster",
        [WISH_SMT] = "smt in its metadata is ignored: the host's settings alone decide that",
        [WISH_WIDENS] = "manage in its metadata is ignored: it may only do less than the host's settings say",
        [WISH_SCHED] = "sched-policy in its metadata is ignored: no [vm] section with metadata-sched-policy = yes "
                       "matches",
};
static_assert(N_ELEMENTS(wish_fault_texts) == WISH_FAULTS, "every fault has its words");

static const char *name_of(const char *const names[], size_t n_names, unsigned value) {
        assert(value < n_names);
        return names[value];
}

const char *wish_fault_text(WishFault fault) {
        return name_of(wish_fault_texts, N_ELEMENTS(wish_fault_texts), fault);
}

const char *verdict_name(VerdictKind kind) {
        return name_of(verdict_names, N_ELEMENTS(verdict_names), kind);
}

const char *reason_name(VerdictReason reason) {
        assert((unsigned)reason < REASONS);
        return reason_words[reason].name;
}

const char *reason_text(VerdictReason reason) {
        assert((unsigned)reason < REASONS);
        return reason_words[reason].text;
}

const char *move_kind_name(MoveKind kind) {
        return name_of(move_kind_names, N_ELEMENTS(move_kind_names), kind);
}

const char *move_kind_text(MoveKind kind) {
        return name_of(move_kind_texts, N_ELEMENTS(move_kind_texts), kind);
}

const char *level_name(ClusterLevel level) {
        return name_of(level_names, N_ELEMENTS(level_names), level);
}

const char *manage_name(Manage manage) {
        return name_of(manage_names, N_ELEMENTS(manage_names), manage);
}

const char *smt_name(Smt smt) {
        return name_of(smt_names, N_ELEMENTS(smt_names), smt);
}

const char *layout_name(Layout layout) {
        return name_of(layout_names, N_ELEMENTS(layout_names), layout);
}

const char *sched_name(SchedPolicy sched) {
        return name_of(sched_names, N_ELEMENTS(sched_names), sched);
}

const char *helpers_name(HelperPolicy helpers) {
        return name_of(helpers_names, N_ELEMENTS(helpers_names), helpers);
}

/* The position of text among the names; -EINVAL when it is none of them. */
static int find_name(const char *const names[], size_t n_names, const char *text) {
        for (size_t i = 0; i < n_names; i++)
                if (strcmp(names[i], text) == 0)
                        return (int)i;
        return -EINVAL;
}

int manage_parse(const char *text, Manage *ret) {
        int found = find_name(manage_names, N_ELEMENTS(manage_names), text);

        if (found < 0)
                return found;
        *ret = (Manage)found;
        return 0;
}

int smt_parse(const char *text, Smt *ret) {
        int found = find_name(smt_names, N_ELEMENTS(smt_names), text);

        if (found < 0)
                return found;
        *ret = (Smt)found;
        return 0;
}

int layout_parse(const char *text, Layout *ret) {
        int found = find_name(layout_names, N_ELEMENTS(layout_names), text);

        if (found < 0)
                return found;
        *ret = (Layout)found;
        return 0;
}

int sched_parse(const char *text, SchedPolicy *ret) {
        int found = find_name(sched_names, N_ELEMENTS(sched_names), text);

        if (strcmp(text, "affinity") == 0)
                found = SCHED_STATIC;
        else if (strcmp(text, "dynamicAffinity") == 0)
                found = SCHED_DYNAMIC;
        if (found < 0)
                return found;
        *ret = (SchedPolicy)found;
        return 0;
}

int level_parse(const char *text, ClusterLevel *ret) {
        int found = find_name(level_names, N_ELEMENTS(level_names), text);

        if (found < 0)
                return found;
        *ret = (ClusterLevel)found;
        return 0;
}

int helpers_parse(const char *text, HelperPolicy *ret) {
        int found = find_name(helpers_names, N_ELEMENTS(helpers_names), text);

        if (found < 0)
                return found;
        *ret = (HelperPolicy)found;
        return 0;
}

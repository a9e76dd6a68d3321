/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The planner's own data, shared by its files and by nobody else.
 *
 * All of it lives in PlanWork, which the caller allocates once. Nothing in it
 * is cleared as a whole: each round touches what its host and VMs need.
 *
 * Vocabulary: a vCPU's *seat* is the slot that it owns on the board while the
 * plan is made; its *stand* is the seat that it had when the round began. The
 * board can be changed on trial: every change is written to a journal, and a
 * trial that is given up is rolled back.
 */

#include "core/plan.h"

enum {
        SLOT_WORDS = CPUS_MAX / 64,
        ALLOWED_MAX = 16384,
        MEMO_SIZE = 32,
        JOURNAL_MAX = 1 << 17,
        FIT_PARTS_MAX = VM_VCPUS_MAX,
        NODE_WORDS = NODES_MAX / 64,
        COST_IN_CLUSTER = 500, /* thousandths of a credit */
        COST_IN_NODE = 1000,
        COST_CROSS_NODE = 4000,
        COST_UNSETTLED = 10, /* of what has been seated in this very round: only a preference */
        ROOM_SPAN_MAX = 16, ROOM_TARGETS_MAX = 160, ROOM_PIECES_MAX = 64, ROOM_CHANGES_MAX = 4096, ROOM_DEPTH_MAX = 2,
        HOLE_MAX = 64,
        /* What a free CPU in a node counts against future fit. VMs that are tied
         * to a node arrive in any: what is free is better spread over all nodes. */
        NODE_BALANCE = 30,
        NOBODY = -1,
        NO_SLOT = -1,
};

static const int64_t COST_NONE = INT64_MAX / 4; /* it can not be had */

/* A set of slots; bit n is slot n. */
typedef struct SlotSet {
        uint64_t word[SLOT_WORDS];
} SlotSet;

/* The fewest clusters and nodes for n vCPUs, remembered. */
typedef struct Memo {
        uint16_t n, clusters, nodes;
        uint8_t grain;
} Memo;

/* One distinct allowed set, in slots. */
typedef struct Allowed {
        SetId range, cpuset; /* what it was made from */
        bool range_named;
        uint32_t next;       /* next with the same range; 0: none */
        SetId mask;          /* as CPU numbers, once asked for */
        uint32_t n_sharers;  /* vCPUs of SHARED VMs that have it */
        bool squeezed;       /* these get only what nobody owns */
        SetId shared_mask;
        uint16_t n_cpus;
        uint16_t first_cluster, end_cluster; /* the clusters that it touches lie between */
        bool whole; /* holds every CPU of these clusters */
        Memo memo[MEMO_SIZE];
        SlotSet slots;
} Allowed;

/* How one VM counts room on the host. */
typedef enum Grain {
        GRAIN_THREAD, /* each thread is a CPU */
        GRAIN_CORE,   /* a core takes one vCPU */
        GRAIN_PAIR,   /* a core takes two guest siblings */
} Grain;

/* The most clusters that a group may take beside those of its VM, by the grain
 * that counts in a node; negative: not there. */
typedef struct SpanLimit {
        int of[3];
} SpanLimit;

/* Movable vCPUs of one VM with the same allowed set. */
typedef struct Group {
        uint16_t vm;
        uint16_t n;
        uint32_t allowed;
        uint32_t first_member; /* into PlanWork.member[] */
} Group;

/* What the planner may do with a vCPU. */
typedef enum VcpuClass {
        VCPU_MOVABLE,
        VCPU_PINNED,   /* by its operator: owns its CPU, is never touched, but to undo a mask of ours */
        VCPU_FOREIGN,  /* narrowed by somebody before us: never touched */
        VCPU_FROZEN,   /* its VM is left alone in this round */
} VcpuClass;

typedef struct VcpuWork {
        VcpuClass class;
        bool known;     /* its mask was written by us once */
        bool changed;   /* known, and its mask is not ours any more */
        MoveKind why;   /* why its seat changed */
        int16_t seat;   /* slot that it owns now; NO_SLOT */
        int16_t stand;  /* the same when the round began; of a vCPU that is not movable: always */
        int16_t keep;   /* where it had better stay when its VM is placed anew: its stand, or its seat before */
        int16_t origin; /* the only slot in its mask when the round began, legal or not */
        int16_t home;   /* of a vCPU in a layer: the slot where it lives, which is not its own; NO_SLOT */
        bool late;      /* order.c: has left where it was, and waits until its home is free */
        uint32_t allowed;
} VcpuWork;

typedef struct VmWork {
        VerdictKind kind;     /* VERDICT_PLACED stands for every managed VM */
        VerdictReason reason;
        bool release;         /* give its threads their old masks back */
        bool exclusive;       /* every vCPU has a seat */
        bool layered;         /* every vCPU has a home in some layer */
        bool stood;           /* the same when the round began */
        bool crowded;         /* one that may not be touched has no CPU to itself: it can never be placed exclusively */
        bool locked;          /* takes part in the search for room: not to be ejected (again) */
        bool threads;         /* its ranges leave no core for each vCPU: threads are equal to it */
        bool forced;          /* has to move: that costs no credits */
        bool bound;           /* only the nodes in node[] are open to it */
        bool bound_by_seats;  /* for want of better knowledge: those where it is */
        uint16_t n_groups;
        uint32_t first_group;
        uint16_t n_movable;
        uint16_t min_clusters, min_nodes;
        uint64_t node[NODE_WORDS]; /* by index */
        VerdictReason hint;   /* why it is not better placed */
        int32_t blocker;
} VmWork;

typedef struct JournalEntry {
        uint32_t vcpu;
        int16_t seat; /* before the change */
} JournalEntry;

/* How many clusters of a node have how many free CPUs. */
typedef struct Holes {
        uint64_t sizes; /* bit i: n[i + 1] is not 0 */
        uint16_t n[HOLE_MAX + 1];
} Holes;

/* Who owns what. */
typedef struct Board {
        SlotSet free;
        int32_t owner[CPUS_MAX]; /* vCPU by slot; NOBODY */
        uint16_t cluster_free[CLUSTERS_MAX];
        uint16_t cluster_idle[CLUSTERS_MAX]; /* CPUs of cores that nobody uses */
        uint16_t node_free[NODES_MAX];
        uint16_t node_used[NODES_MAX]; /* vCPUs that own a CPU there */
        uint8_t core_used[CORES_MAX];
        bool holes_known; /* no cluster is larger than HOLE_MAX */
        Holes holes[NODES_MAX];
        bool journaling;
        uint32_t n_journal;
        JournalEntry journal[JOURNAL_MAX];
} Board;

/* Where a group could sit: so many of its vCPUs in each of these clusters. */
typedef struct Fit {
        uint16_t n_parts;
        struct {
                uint16_t cluster, take;
        } part[FIT_PARTS_MAX];
        uint32_t span_more;  /* clusters that the VM did not use yet */
        uint32_t nodes_more; /* nodes that the VM did not use yet */
        int64_t cost_milli;
        uint32_t strangers;  /* cores that would be shared with other VMs */
        int64_t loss;        /* of future fit: fall of the sum of free^3 */
} Fit;

/* A cluster that could take some of a group's vCPUs. */
typedef struct Option {
        uint16_t cluster;
        uint16_t room;  /* vCPUs that fit */
        uint16_t kept;  /* of these: in the seats where they stand */
        uint16_t free;  /* CPUs that nobody owns */
        uint16_t idle;  /* of these: on cores that nobody uses */
        bool base;      /* the VM sits there anyhow: costs no span */
        bool first_core; /* holds the host's first core, which is used last */
        bool chosen;
} Option;

/* Clusters of one node that could take a group if others made room. */
typedef struct RoomTarget {
        uint16_t node, n_clusters;
        uint16_t cluster[ROOM_SPAN_MAX];
        uint16_t deficit; /* CPUs that must be vacated */
        int64_t bound_milli; /* the least that it can cost */
} RoomTarget;

/* What one VM owns of a target. */
typedef struct RoomPiece {
        uint16_t vm, n_vcpus, count;
        uint32_t allowed;
        int64_t bound_milli; /* moving it away costs at least so much */
} RoomPiece;

/* One level of the search for room; see room.c. */
typedef struct RoomLevel {
        const Group *group;
        unsigned depth;
        SpanLimit limit;
        int64_t step_milli; /* vacating a CPU costs at least so much */
        bool nest; /* VMs without a place may make room in turn */
        bool cut;  /* the group's range cuts clusters */
        const uint64_t *nodes; /* nodes that are used together; NULL: one node */
        const RoomTarget *target;
        uint32_t n_targets, n_pieces, n_ejected;
        uint16_t ejected[ROOM_PIECES_MAX];
        RoomTarget targets[ROOM_TARGETS_MAX];
        RoomPiece piece[ROOM_PIECES_MAX];
        int64_t best_milli; /* cost of the best solution; at first what it may cost */
        bool found;
        uint32_t n_changes;
        JournalEntry change[ROOM_CHANGES_MAX]; /* the best solution: seats after it */
} RoomLevel;

struct PlanWork {
        /* arguments of the round */
        const Topology *topology;
        Snapshot *snapshot;
        const Policy *policy;
        History *history;
        const PlanRequest *request;
        int64_t now_ns;
        Plan *plan;

        int64_t spent_milli; /* on what has been settled in this round */
        bool unlimited;
        bool undoubled; /* a VM was given cores of its own in this round */
        bool any_locks; /* some VM keeps its cores' siblings from others */
        bool defragging; /* cool-downs bind */

        VmWork vm[VMS_MAX];
        VcpuWork vcpu[VCPUS_MAX];
        uint32_t n_groups, n_members;
        Group group[VCPUS_MAX];
        uint32_t member[VCPUS_MAX];

        uint32_t n_allowed; /* in use are 1 .. n */
        uint32_t allowed_of_range[POOL_SETS_MAX + 1];
        Allowed allowed[ALLOWED_MAX + 1];

        Board board;

        /* marks that are set when they equal the stamp: cleared by counting on */
        int first_core, first_core_cluster; /* of CPU 0; -1 where CPUs to skip are configured */
        uint32_t stamp;
        uint32_t cluster_mark[CLUSTERS_MAX];
        uint32_t node_mark[NODES_MAX];
        uint32_t core_mark[CORES_MAX];
        uint32_t slot_mark[CPUS_MAX];
        uint16_t vm_count[VMS_MAX];
        uint16_t n_sitting[CPUS_MAX]; /* vCPUs on a slot after the plan */

        uint16_t kept[CLUSTERS_MAX]; /* of the group being fitted; true where kept_mark says so */
        uint32_t kept_mark[CLUSTERS_MAX];
        Option option[CLUSTERS_MAX], one[1];
        Fit fit, trial, part;

        /* room.c */
        RoomLevel room[ROOM_DEPTH_MAX];
        bool unsettled;      /* somebody could move for next to nothing */
        uint32_t hole_stamp, hole_mark[VMS_MAX];
        int64_t hole_cost[VMS_MAX]; /* true where hole_mark says so */
        const uint64_t *room_node_set; /* nodes on which together room is sought; NULL: on one node */
        unsigned round_nodes; /* steps that this round's searches may still take */
        unsigned room_nodes; /* that the search may still visit */

        /* layers.c */
        uint16_t sharers[CPUS_MAX]; /* vCPUs that live on a slot; UINT16_MAX: nobody may share it */
        uint16_t in_cluster[CLUSTERS_MAX], in_node[NODES_MAX]; /* vCPUs of the VM at hand */
        SlotSet in_slot;     /* where these are */
        bool doubling;       /* it can not but live on a CPU twice */
        uint16_t level_room[CLUSTERS_MAX]; /* CPUs of the level at hand that the group may use */
        uint16_t lowest; /* no CPU has fewer sharers */
        int32_t first_on[CPUS_MAX], next_on[VCPUS_MAX]; /* who lives on a slot */

        SlotSet unowned; /* share.c: slots that nobody owns, and where nobody lives */

        /* order.c */
        int32_t holder[CPUS_MAX];     /* vCPU that has the slot until it is written; NOBODY */
        int32_t next_owner[CPUS_MAX]; /* vCPU that has it after the plan; NOBODY */
        bool emitted[VCPUS_MAX];

        VmHistory history_scratch[VMS_MAX];
};

/* history.c */
void history_forward(History *history, const Snapshot *snapshot, const Policy *policy, int64_t now_ns,
                     VmHistory *scratch);

/* allowed.c */
/* Index into work->allowed[]; 0 when there are too many distinct sets. */
uint32_t work_allowed(PlanWork *work, uint32_t vcpu);
SetId allowed_mask(PlanWork *work, uint32_t allowed);
/* The fewest clusters (*ret_clusters) and nodes that hold n vCPUs. */
void allowed_minimum(PlanWork *work, uint32_t allowed, unsigned n, Grain grain, unsigned *ret_clusters,
                     unsigned *ret_nodes);
static inline bool allowed_has_cluster(const Allowed *allowed, unsigned cluster) {
        return cluster >= allowed->first_cluster && cluster < allowed->end_cluster;
}

/* vCPUs that cluster could take if nobody were there. */
unsigned allowed_capacity(const PlanWork *work, uint32_t allowed, unsigned cluster, Grain grain);

/* classify.c */
/* The slot of a set of one online CPU; NO_SLOT for any other set. */
int16_t single_slot(const PlanWork *work, SetId set);
void work_classify(PlanWork *work);

/* board.c */
void board_init(PlanWork *work);
void board_seat(PlanWork *work, uint32_t vcpu, int slot);
void board_unseat(PlanWork *work, uint32_t vcpu);
/* A trial begins at the mark that this returns; keep and roll back end it. */
uint32_t board_mark(PlanWork *work);
void board_roll_back(PlanWork *work, uint32_t mark);
unsigned slots_count(const SlotSet *set, unsigned first, unsigned n);
unsigned slots_count_both(const SlotSet *a, const SlotSet *b, unsigned first, unsigned n);
static inline bool slots_have(const SlotSet *set, unsigned slot) {
        return set->word[slot / 64] >> (slot % 64) & 1;
}

static inline bool slot_is_free(const Board *board, unsigned slot) {
        return slots_have(&board->free, slot);
}

/* seat.c: seats the round begins with */
void work_seat_standing(PlanWork *work);
void work_seat_homes(PlanWork *work);

/* What a hole is worth to future fit. */
static inline int64_t cube(int64_t n) {
        return n * n * n;
}

/* holes.c */
void holes_note(Board *board, unsigned node, unsigned n_free, int change);
/* Whether holes_fit() may be asked for a group of which nothing stands anywhere. */
bool holes_suffice(const PlanWork *work, const Group *group, unsigned span);
/* As group_fit(), for such a group. */
bool holes_fit(const PlanWork *work, const Group *group, unsigned span, Fit *ret);

/* fit.c */
/* The best place within one node for a whole group of which nothing is seated. */
bool group_fit(PlanWork *work, const Group *group, SpanLimit limit, Fit *ret);
/* The same over several nodes. */
bool group_fit_nodes(PlanWork *work, const Group *group, Fit *ret);
/* Seats the group in these clusters; false when they do not suffice. */
bool group_seat_in(PlanWork *work, const Group *group, const RoomTarget *target);
unsigned group_room(const PlanWork *work, const Group *group, unsigned cluster);

/* span.c */
/* Marks the clusters and nodes that the VM uses already, with a new stamp; whether there are any. */
bool vm_mark_base(PlanWork *work, uint32_t vm);
/* The fewest clusters that the group needs in one node beside those that its VM
 * uses, on an empty host, and extra more. */
SpanLimit group_span_limit(PlanWork *work, const Group *group, unsigned extra);
SpanLimit span_limit(unsigned clusters);
bool span_limit_is_none(SpanLimit limit);

/* take.c */
/* Whether it could stay where it stands. */
bool vcpu_may_keep(const PlanWork *work, uint32_t vcpu);
/* Whether any of the group has a place to be kept. */
bool group_stands(const PlanWork *work, const Group *group);
void group_seat(PlanWork *work, const Group *group, const Fit *fit);

/* smt.c */
/* How the VM counts room in a node, and where it sits (or, unseated, anywhere). */
Grain vm_node_grain(const PlanWork *work, uint32_t vm, unsigned node);
Grain vm_grain(const PlanWork *work, uint32_t vm);
/* Whether the siblings of its vCPUs' cores are closed to others. */
bool vm_locks_cores(const PlanWork *work, uint32_t vm);
/* Whether the VM could sit on that slot as the board is now. */
bool slot_suits(const PlanWork *work, uint32_t vm, unsigned slot);
/* vCPUs of the VM that a core, or a cluster, could take. */
unsigned core_room(const PlanWork *work, uint32_t vm, const SlotSet *allowed, unsigned core, Grain grain);
unsigned cluster_room(const PlanWork *work, uint32_t vm, const Allowed *allowed, unsigned cluster);
/* How good a suitable slot is: lower is better, 0 is as good as can be. */
unsigned slot_grade(const PlanWork *work, uint32_t vm, unsigned slot);
/* Whether the VM wants the emptiest clusters of a node rather than the fullest. */
bool vm_spreads(const PlanWork *work, uint32_t vm, unsigned node);
void work_begin_regimes(PlanWork *work);
void work_follow_regimes(PlanWork *work);
bool work_unshare_cores(PlanWork *work);

/* room.c */
/*
 * Seats the whole group (nothing of it is seated) within the limit in one node, moving others out of its way where that is needed, so that the
 * moves cost as little as can be found, and at most limit_milli. False, and
 * nothing changed, when that can not be. raise: others may be spread.
 */
bool group_make_room(PlanWork *work, const Group *group, SpanLimit span, bool raise, int64_t limit_milli);
/* The same on these nodes together (a bit for each node). */
bool group_make_room_on(PlanWork *work, const Group *group, SpanLimit span, const uint64_t *nodes, int64_t limit_milli);
/* What the VM's moves weigh in a search: as vm_cost, and a little for seats
 * that were taken in this very round. */
int64_t vm_weight(const PlanWork *work, uint32_t vm);

/* place.c */
bool vm_is_complete(const PlanWork *work, uint32_t vm);
/* Seats what has no seat yet. False, and nothing changed, when that can not be. */
bool vm_place(PlanWork *work, uint32_t vm);
/* The same without moving anybody else. */
bool vm_place_free(PlanWork *work, uint32_t vm);
int64_t work_cost(const PlanWork *work);
int64_t work_credits_left(const PlanWork *work);
bool work_place_all(PlanWork *work);
void work_note_moves(PlanWork *work, MoveKind why);
void vm_unseat(PlanWork *work, uint32_t vm);
int64_t vm_cost(const PlanWork *work, uint32_t vm);
typedef struct Span {
        unsigned clusters, nodes;
} Span;
Span vm_span(PlanWork *work, uint32_t vm);
bool vm_may_use_node(const PlanWork *work, uint32_t vm, unsigned node);

int64_t work_limit(const PlanWork *work);
/* defrag.c */
bool vm_is_cooling(const PlanWork *work, uint32_t vm);
bool work_defrag(PlanWork *work);

/* layers.c */
/* Gives VMs that may share, and have no CPUs of their own, homes in layers. */
void work_layers(PlanWork *work);
Span vm_home_span(PlanWork *work, uint32_t vm);

/* tidy.c: fewer clusters for these VMs, by changing homes with others. Whether any changed. */
bool work_tidy_layers(PlanWork *work);

/* memory.c, minimum.c, share.c, order.c, verdict.c */
void work_bind_to_memory(PlanWork *work);
void work_minimum(PlanWork *work, uint32_t vm);
void work_share(PlanWork *work);
/* The set of that slot's CPU alone. */
SetId slot_mask(PlanWork *work, int slot);
void work_order_moves(PlanWork *work);
void work_set_targets(PlanWork *work);
void work_judge(PlanWork *work);
void work_score(PlanWork *work, Score *ret);

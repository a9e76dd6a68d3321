/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Making room: a group is to sit on few clusters of one node, where others
 * sit. Which of them leave, and where to, so that their moves cost least?
 *
 * A target is a set of clusters that is large enough. Targets are tried in the
 * order of the CPUs that must be vacated in them, since that bounds the cost
 * from below. In a target, subsets of the VMs found there are taken off the
 * board (branch), the group is seated, and those taken off are seated again
 * with as few of their vCPUs moved as possible; a subset is given up once it
 * costs more than the best solution so far (bound). A VM that finds no place
 * may in turn make room for itself, one level down. The search ends at a fixed
 * number of steps, never by time: the planner has no clock.
 */

#include "core/work.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

enum {
        ROOM_NODES = 56,        /* steps of one search */
        DEFRAG_NODES = 50,      /* the same for a VM that has a place, if not a good one */
        ROOM_NODES_NESTED = 8,  /* of these for one VM one level down */
        COMBINATIONS = 300,      /* of clusters in one node */
        TARGET_SLACK = 4,        /* wide groups: targets that are this much worse than the best are left out */
};

int64_t vm_weight(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        const Cpu *cpu = work->topology->cpu;
        int64_t weight = 0;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];

                if (w->class != VCPU_MOVABLE || w->keep == NO_SLOT || w->seat == NO_SLOT || w->seat == w->keep)
                        continue;
                if (w->stand == NO_SLOT || work->vm[vm].forced)
                        weight += COST_UNSETTLED;
                else if (cpu[w->seat].node != cpu[w->keep].node)
                        weight += COST_CROSS_NODE;
                else if (cpu[w->seat].cluster != cpu[w->keep].cluster)
                        weight += COST_IN_NODE;
                else
                        weight += COST_IN_CLUSTER;
        }
        return weight;
}

/* Targets. */

typedef struct Room {
        uint16_t cluster, room, whole; /* free CPUs, and all that are not fixed */
} Room;

static bool vm_may_leave(const PlanWork *work, uint32_t vm) {
        const VmWork *vw = &work->vm[vm];

        return vw->kind == VERDICT_PLACED && vw->exclusive && !vw->locked &&
               !(work->defragging && vm_is_cooling(work, vm));
}

static bool slot_could_be_had(const PlanWork *work, unsigned slot) {
        int32_t owner = work->board.owner[slot];

        return owner == NOBODY ||
               (work->vcpu[owner].class == VCPU_MOVABLE && vm_may_leave(work, work->snapshot->vcpu[owner].vm));
}

/* vCPUs of the group that a cluster could take if all left who may. */
static unsigned cluster_whole(const PlanWork *work, const Group *group, unsigned cluster) {
        const Cluster *c = &work->topology->cluster[cluster];
        const SlotSet *slots = &work->allowed[group->allowed].slots;
        Grain grain = vm_node_grain(work, group->vm, c->node);
        unsigned n = 0;

        for (unsigned i = c->first_core; i < (unsigned)c->first_core + c->n_cores; i++) {
                const Core *core = &work->topology->core[i];
                unsigned here = 0, most = grain == GRAIN_THREAD ? core->n_cpus : grain == GRAIN_PAIR ? 2 : 1;

                for (unsigned slot = core->first_slot; slot < (unsigned)core->first_slot + core->n_cpus; slot++)
                        here += slots_have(slots, slot) && slot_could_be_had(work, slot);
                n += here < most ? here : most;
        }
        return n;
}

/* Adds a node's clusters to the n rooms, which are sorted downwards. */
static unsigned node_rooms(const PlanWork *work, const Group *group, unsigned node, unsigned n, Room *ret) {
        const Node *nd = &work->topology->node[node];
        const Allowed *allowed = &work->allowed[group->allowed];

        for (unsigned c = nd->first_cluster; c < (unsigned)nd->first_cluster + nd->n_clusters; c++) {
                Room room = {.cluster = (uint16_t)c};
                unsigned at = n;

                if (c < allowed->first_cluster || c >= allowed->end_cluster)
                        continue;
                room.whole = (uint16_t)cluster_whole(work, group, c);
                if (room.whole == 0)
                        continue;
                room.room = (uint16_t)group_room(work, group, c);
                for (; at > 0 && ret[at - 1].room < room.room; at--)
                        ret[at] = ret[at - 1];
                ret[at] = room;
                n++;
        }
        return n;
}

static bool target_has(const RoomTarget *target, unsigned cluster) {
        for (unsigned i = 0; i < target->n_clusters; i++)
                if (target->cluster[i] == cluster)
                        return true;
        return false;
}

/* What the group's own vCPUs cost that stand outside of the target. */
static int64_t target_own_cost(const PlanWork *work, const Group *group, const RoomTarget *target) {
        int64_t cost = 0;

        if (work->vm[group->vm].forced)
                return 0;
        for (unsigned i = 0; i < group->n; i++) {
                int stand = work->vcpu[work->member[group->first_member + i]].stand;

                if (stand == NO_SLOT || target_has(target, work->topology->cpu[stand].cluster))
                        continue;
                cost += work->topology->cpu[stand].node == target->node ? COST_IN_NODE : COST_CROSS_NODE;
        }
        return cost;
}

/* Keeps the targets sorted by what they cost at least, the best ones only. */
static void level_add_target(const PlanWork *work, RoomLevel *level, RoomTarget *target) {
        uint32_t at = level->n_targets;

        target->bound_milli = target->deficit * level->step_milli;
        if (target->bound_milli >= level->best_milli)
                return;
        if (!level->nodes)
                target->bound_milli += target_own_cost(work, level->group, target);
        if (target->bound_milli >= level->best_milli)
                return;
        if (at == ROOM_TARGETS_MAX) {
                if (level->targets[at - 1].bound_milli <= target->bound_milli)
                        return;
                at--;
        } else
                level->n_targets++;
        for (; at > 0 && level->targets[at - 1].bound_milli > target->bound_milli; at--)
                level->targets[at] = level->targets[at - 1];
        level->targets[at] = *target;
}

typedef struct Combine {
        const PlanWork *work;
        RoomLevel *level;
        const Room *room;
        unsigned before[CLUSTERS_MAX + 1]; /* room in all rooms before that one */
        unsigned n_rooms, n, most; /* vCPUs to seat; the largest deficit to look at */
        unsigned left;             /* combinations that may still be looked at */
        RoomTarget target;
} Combine;

/* Chooses further clusters from rooms[from ..], which are sorted downwards. */
static void combine(Combine *c, unsigned from, unsigned left, unsigned room, unsigned whole) {
        if (left == 0 || (room >= c->n && c->target.n_clusters > 0)) {
                c->left--;
                if (whole < c->n)
                        return;
                c->target.deficit = (uint16_t)(room < c->n ? c->n - room : 0);
                level_add_target(c->work, c->level, &c->target);
                return;
        }
        for (unsigned i = from; i < c->n_rooms && c->left > 0; i++) {
                unsigned end = i + left < c->n_rooms ? i + left : c->n_rooms;

                if (room + c->before[end] - c->before[i] + c->most < c->n)
                        return;
                c->target.cluster[c->target.n_clusters++] = c->room[i].cluster;
                combine(c, i + 1, left - 1, room + c->room[i].room, whole + c->room[i].whole);
                c->target.n_clusters--;
        }
}

/* Targets among the clusters of the rooms. */
static void rooms_targets(const PlanWork *work, RoomLevel *level, unsigned node, const Room *rooms, unsigned n_rooms, int limit) {
        unsigned span = limit < 0 ? 0 : (unsigned)limit;
        Combine c;
        unsigned best;

        if (span == 0 || span > ROOM_SPAN_MAX)
                return;
        c.work = work;
        c.level = level;
        c.room = rooms;
        c.n_rooms = n_rooms;
        c.n = level->group->n;
        c.left = COMBINATIONS;
        c.target.node = (uint16_t)node;
        c.target.n_clusters = 0;
        c.before[0] = 0;
        for (unsigned i = 0; i < n_rooms; i++)
                c.before[i + 1] = c.before[i] + rooms[i].room;
        best = c.before[span < n_rooms ? span : n_rooms];
        best = best < c.n ? c.n - best : 0;
        c.most = span <= 2 ? c.n : best + TARGET_SLACK;
        combine(&c, 0, span, 0, 0);
}

/* Targets in each node that the VM may use; or, to stay on several nodes, in
 * all of those together where it stands. */
static void level_find_targets(PlanWork *work, RoomLevel *level) {
        Room rooms[CLUSTERS_MAX];
        unsigned n = 0;

        level->n_targets = 0;
        for (unsigned node = 0; node < work->topology->n_nodes; node++) {
                if (!vm_may_use_node(work, level->group->vm, node) ||
                    (level->nodes && !(level->nodes[node / 64] >> (node % 64) & 1)))
                        continue;
                n = node_rooms(work, level->group, node, n, rooms);
                if (level->nodes)
                        continue;
                rooms_targets(work, level, node, rooms, n, level->limit.of[vm_node_grain(work, level->group->vm, node)]);
                n = 0;
        }
        if (level->nodes)
                rooms_targets(work, level, 0, rooms, n, level->limit.of[GRAIN_THREAD]);
}

/* Pieces. */

static bool piece_before(const RoomPiece *a, const RoomPiece *b) {
        if (a->count != b->count)
                return a->count > b->count;
        if (a->bound_milli != b->bound_milli)
                return a->bound_milli < b->bound_milli;
        return a->vm < b->vm;
}

static void level_add_piece(PlanWork *work, RoomLevel *level, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = 0; i < level->n_pieces; i++)
                if (level->piece[i].vm == vm) {
                        level->piece[i].count++;
                        return;
                }
        if (level->n_pieces == ROOM_PIECES_MAX)
                return;
        level->piece[level->n_pieces++] = (RoomPiece){
                .vm = (uint16_t)vm,
                .n_vcpus = v->n_vcpus,
                .count = 1,
                .allowed = work->vcpu[v->first_vcpu].allowed,
        };
}

/* Whether the VM's seats could be moved for next to nothing. */
static bool vm_is_settled(const PlanWork *work, uint32_t vm) {
        return work->vcpu[work->snapshot->vm[vm].first_vcpu].stand != NO_SLOT && !work->vm[vm].forced;
}

/* What it costs to move a VM that sits on one cluster to another, as the board
 * is when the search begins; COST_NONE when no other has room for it. */
static int64_t vm_hole_cost(PlanWork *work, uint32_t vm) {
        const VmWork *vw = &work->vm[vm];

        if (work->hole_mark[vm] == work->hole_stamp)
                return work->hole_cost[vm];
        work->hole_mark[vm] = work->hole_stamp;
        work->hole_cost[vm] = COST_NONE;
        if (vw->n_groups == 1 && group_fit(work, &work->group[vw->first_group], span_limit(1), &work->fit))
                work->hole_cost[vm] = vm_is_settled(work, vm) ? work->fit.cost_milli : COST_UNSETTLED * vw->n_movable;
        return work->hole_cost[vm];
}

/* The least that moving the piece away can cost; COST_NONE when it can not be
 * moved without others making room in turn. */
static int64_t piece_bound(PlanWork *work, const RoomLevel *level, const RoomPiece *piece) {
        const Vm *v = &work->snapshot->vm[piece->vm];
        int64_t step = vm_is_settled(work, piece->vm) ? COST_IN_NODE : COST_UNSETTLED, hole;

        if (vm_span(work, piece->vm).clusters > 1 || work->vm[piece->vm].n_groups > 1)
                return step;
        if (level->cut)
                return step * piece->count / 2;
        hole = vm_hole_cost(work, piece->vm);
        if (hole == COST_NONE && level->nest)
                return step * (v->n_vcpus + 1);
        return hole;
}

static void level_find_pieces(PlanWork *work, RoomLevel *level) {
        const SlotSet *slots = &work->allowed[level->group->allowed].slots;
        uint32_t n = 0;

        level->n_pieces = 0;
        for (unsigned i = 0; i < level->target->n_clusters; i++) {
                const Cluster *c = &work->topology->cluster[level->target->cluster[i]];

                for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++) {
                        int32_t owner = work->board.owner[slot];

                        if (owner != NOBODY && slots_have(slots, slot) &&
                            work->vcpu[owner].class == VCPU_MOVABLE &&
                            vm_may_leave(work, work->snapshot->vcpu[owner].vm))
                                level_add_piece(work, level, work->snapshot->vcpu[owner].vm);
                }
        }
        for (uint32_t i = 0; i < level->n_pieces; i++) {
                RoomPiece piece;
                uint32_t at;

                level->piece[i].bound_milli = piece_bound(work, level, &level->piece[i]);
                piece = level->piece[i];
                if (piece.bound_milli == COST_NONE)
                        continue;
                at = n++;
                for (; at > 0 && piece_before(&piece, &level->piece[at - 1]); at--)
                        level->piece[at] = level->piece[at - 1];
                level->piece[at] = piece;
        }
        level->n_pieces = n;
}

/* Solutions. */

static void level_record(PlanWork *work, RoomLevel *level, uint32_t mark, int64_t cost_milli) {
        const Board *board = &work->board;
        uint32_t n = 0;

        if (board->n_journal - mark > ROOM_CHANGES_MAX)
                return;
        for (uint32_t i = mark; i < board->n_journal; i++) {
                uint32_t vcpu = board->journal[i].vcpu;

                level->change[n++] = (JournalEntry){.vcpu = vcpu, .seat = work->vcpu[vcpu].seat};
        }
        level->n_changes = n;
        level->best_milli = cost_milli;
        level->found = true;
}

/* Brings the board to the recorded solution. A vCPU may be listed twice. */
static void level_replay(PlanWork *work, const RoomLevel *level) {
        for (uint32_t i = 0; i < level->n_changes; i++)
                if (work->vcpu[level->change[i].vcpu].seat != NO_SLOT)
                        board_unseat(work, level->change[i].vcpu);
        for (uint32_t i = 0; i < level->n_changes; i++)
                if (work->vcpu[level->change[i].vcpu].seat == NO_SLOT && level->change[i].seat != NO_SLOT)
                        board_seat(work, level->change[i].vcpu, level->change[i].seat);
}

static bool level_search(PlanWork *work, unsigned depth, const Group *group, SpanLimit limit, bool raise,
                         int64_t limit_milli);

/* Seats a VM again that was taken off the board, on no more clusters than it
 * had; or, to raise, wherever it fits. */
static bool vm_seat_again(PlanWork *work, unsigned depth, uint32_t vm, Span before, bool raise, int64_t limit_milli) {
        const VmWork *vw = &work->vm[vm];
        uint32_t mark = board_mark(work);
        Span after;

        for (unsigned g = 0; g < vw->n_groups; g++) {
                const Group *group = &work->group[vw->first_group + g];

                if (before.nodes == 1 && group_fit(work, group, span_limit(before.clusters), &work->fit)) {
                        group_seat(work, group, &work->fit);
                        continue;
                }
                if (work->room[depth].nest && before.nodes == 1 && vw->n_groups == 1 &&
                    level_search(work, depth + 1, group, span_limit(before.clusters), false, limit_milli))
                        continue;
                if (raise && group_fit_nodes(work, group, &work->fit)) {
                        group_seat(work, group, &work->fit);
                        continue;
                }
                board_roll_back(work, mark);
                return false;
        }
        after = vm_span(work, vm);
        if (raise || (after.nodes <= before.nodes && after.clusters <= before.clusters))
                return true;
        board_roll_back(work, mark);
        return false;
}

/* Cost of what the deeper levels moved is found in the journal: every VM that
 * was touched since the mark counts once. */
static int64_t touched_weight(PlanWork *work, uint32_t mark) {
        int64_t weight = 0;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                work->vm_count[vm] = 0;
        for (uint32_t i = mark; i < work->board.n_journal; i++) {
                uint32_t vm = work->snapshot->vcpu[work->board.journal[i].vcpu].vm;

                if (work->vm_count[vm]++ == 0)
                        weight += vm_weight(work, vm);
        }
        return weight;
}

/* All that must leave are off the board: seats the group, then them. */
static void level_complete(PlanWork *work, RoomLevel *level, uint32_t begin, bool raise) {
        uint32_t mark = board_mark(work);
        uint16_t order[ROOM_PIECES_MAX];
        Span before[ROOM_PIECES_MAX];
        int64_t cost;
        bool done = true;

        work->room_nodes--;
        for (uint32_t i = 0; i < level->n_ejected; i++) {
                before[i] = vm_span(work, level->ejected[i]);
                work->vm[level->ejected[i]].locked = true;
                vm_unseat(work, level->ejected[i]);
        }
        done = group_seat_in(work, level->group, level->target);
        for (uint32_t i = 0; i < level->n_ejected; i++) {
                uint32_t at = i;

                for (; at > 0 && work->snapshot->vm[level->ejected[order[at - 1]]].n_vcpus <
                                         work->snapshot->vm[level->ejected[i]].n_vcpus; at--)
                        order[at] = order[at - 1];
                order[at] = (uint16_t)i;
        }
        cost = vm_weight(work, level->group->vm);
        for (uint32_t i = 0; i < level->n_ejected && done; i++) {
                uint32_t vm = level->ejected[order[i]];

                done = cost < level->best_milli &&
                       vm_seat_again(work, level->depth, vm, before[order[i]], raise, level->best_milli - cost);
                cost += vm_weight(work, vm);
        }
        if (done && level->nest)
                cost = touched_weight(work, begin);
        if (done && cost < level->best_milli)
                level_record(work, level, begin, cost);
        board_roll_back(work, mark);
        for (uint32_t i = 0; i < level->n_ejected; i++)
                work->vm[level->ejected[i]].locked = false;
}

static bool same_piece(const RoomPiece *a, const RoomPiece *b) {
        return a->count == b->count && a->n_vcpus == b->n_vcpus && a->allowed == b->allowed &&
               a->bound_milli == b->bound_milli && a->n_vcpus == a->count;
}

/* Chooses further pieces from piece[from ..] until enough is vacated. */
static void level_eject(PlanWork *work, RoomLevel *level, uint32_t begin, unsigned from, unsigned vacated,
                        int64_t bound, bool raise) {
        unsigned left = 0;

        if (vacated >= level->target->deficit) {
                if (work->room_nodes > 0)
                        level_complete(work, level, begin, raise);
                return;
        }
        for (unsigned i = from; i < level->n_pieces; i++)
                left += level->piece[i].count;
        for (unsigned i = from; i < level->n_pieces && work->room_nodes > 0; i++) {
                const RoomPiece *piece = &level->piece[i];

                if (vacated + left < level->target->deficit)
                        return;
                left -= piece->count;
                if (bound + piece->bound_milli >= level->best_milli ||
                    (i > from && same_piece(piece, &level->piece[i - 1])))
                        continue;
                level->ejected[level->n_ejected++] = piece->vm;
                level_eject(work, level, begin, i + 1, vacated + piece->count, bound + piece->bound_milli, raise);
                level->n_ejected--;
        }
}

/* Whether the group's range cuts clusters, so that others may move within one. */
static bool group_is_cut(const PlanWork *work, const Group *group) {
        const Allowed *allowed = &work->allowed[group->allowed];

        for (unsigned c = allowed->first_cluster; c < allowed->end_cluster; c++) {
                unsigned n = allowed_capacity(work, group->allowed, c, GRAIN_THREAD);

                if (n > 0 && n < work->topology->cluster[c].n_cpus)
                        return true;
        }
        return false;
}

static void level_begin(PlanWork *work, RoomLevel *level, const Group *group, SpanLimit limit, int64_t limit_milli) {
        level->group = group;
        level->limit = limit;
        level->best_milli = limit_milli;
        level->found = false;
        level->n_ejected = 0;
        level->cut = group_is_cut(work, group);
        level->step_milli = work->unsettled ? COST_UNSETTLED : level->cut ? COST_IN_CLUSTER : COST_IN_NODE;
        level_find_targets(work, level);
}

static void level_try_targets(PlanWork *work, RoomLevel *level, uint32_t begin, bool raise) {
        work->hole_stamp++;
        for (uint32_t i = 0; i < level->n_targets && work->room_nodes > 0; i++) {
                level->target = &level->targets[i];
                work->room_nodes--;
                if (level->target->bound_milli >= level->best_milli)
                        break;
                level_find_pieces(work, level);
                level_eject(work, level, begin, 0, 0,
                            level->target->bound_milli - level->target->deficit * level->step_milli, raise);
        }
}

/* First without letting others make room in turn, which is much cheaper. */
static bool level_search(PlanWork *work, unsigned depth, const Group *group, SpanLimit limit, bool raise,
                         int64_t limit_milli) {
        RoomLevel *level = &work->room[depth];
        uint32_t begin = board_mark(work);

        if (limit_milli <= 0)
                return false;
        work->vm[group->vm].locked = true;
        level->depth = depth;
        level->nodes = depth == 0 ? work->room_node_set : NULL;
        level_begin(work, level, group, limit, limit_milli);
        for (unsigned nest = 0; nest < 2 && !level->found && depth + nest < ROOM_DEPTH_MAX; nest++) {
                unsigned spare = work->room_nodes;

                if (spare == 0)
                        break;
                if (depth > 0 && work->room_nodes > ROOM_NODES_NESTED)
                        work->room_nodes = ROOM_NODES_NESTED;
                spare -= work->room_nodes;
                level->nest = nest > 0;
                level_try_targets(work, level, begin, raise);
                work->room_nodes += spare;
        }
        work->vm[group->vm].locked = depth > 0;
        assert(work->board.n_journal == begin);
        if (level->found)
                level_replay(work, level);
        return level->found;
}

bool group_make_room_on(PlanWork *work, const Group *group, SpanLimit limit, const uint64_t *nodes, int64_t limit_milli) {
        bool found;

        work->room_node_set = nodes;
        found = group_make_room(work, group, limit, false, limit_milli);
        work->room_node_set = NULL;
        return found;
}

bool group_make_room(PlanWork *work, const Group *group, SpanLimit limit, bool raise, int64_t limit_milli) {
        unsigned left = work->round_nodes, most = work->defragging ? DEFRAG_NODES : ROOM_NODES;
        bool found;

        if (left == 0)
                return false;
        work->room_nodes = left < most ? left : most;
        left -= work->room_nodes;
        work->unsettled = false;
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (vm_may_leave(work, vm) && !vm_is_settled(work, vm))
                        work->unsettled = true;
        found = level_search(work, 0, group, limit, raise, limit_milli);
        work->round_nodes = left + work->room_nodes;
        return found;
}

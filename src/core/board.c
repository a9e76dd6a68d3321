/* SPDX-License-Identifier: Apache-2.0 */

/* The board: who owns each slot, how much is free where, and the journal. */

#include "core/work.h"

#include <assert.h>
#include <string.h>

static uint64_t word_mask(unsigned word, unsigned first, unsigned end) {
        uint64_t mask = ~UINT64_C(0);

        if (word == first / 64)
                mask &= ~UINT64_C(0) << (first % 64);
        if (word == (end - 1) / 64)
                mask &= ~UINT64_C(0) >> (63 - (end - 1) % 64);
        return mask;
}

unsigned slots_count_both(const SlotSet *a, const SlotSet *b, unsigned first, unsigned n) {
        unsigned count = 0, end = first + n;

        if (n == 0)
                return 0;
        for (unsigned word = first / 64; word <= (end - 1) / 64; word++)
                count += (unsigned)__builtin_popcountll(a->word[word] & b->word[word] & word_mask(word, first, end));
        return count;
}

unsigned slots_count(const SlotSet *set, unsigned first, unsigned n) {
        return slots_count_both(set, set, first, n);
}

static void board_init_holes(PlanWork *work) {
        const Topology *topology = work->topology;

        work->board.holes_known = true;
        memset(work->board.holes, 0, topology->n_nodes * sizeof(work->board.holes[0]));
        for (unsigned i = 0; i < topology->n_clusters; i++) {
                work->board.holes_known &= topology->cluster[i].n_cpus <= HOLE_MAX;
                holes_note(&work->board, topology->cluster[i].node, topology->cluster[i].n_cpus, 1);
        }
}

void board_init(PlanWork *work) {
        const Topology *topology = work->topology;
        Board *board = &work->board;

        memset(board->free.word, 0, sizeof(board->free.word));
        for (unsigned slot = 0; slot < topology->n_cpus; slot++) {
                board->free.word[slot / 64] |= UINT64_C(1) << (slot % 64);
                board->owner[slot] = NOBODY;
        }
        for (unsigned i = 0; i < topology->n_clusters; i++)
                board->cluster_free[i] = board->cluster_idle[i] = topology->cluster[i].n_cpus;
        board_init_holes(work);
        for (unsigned i = 0; i < topology->n_nodes; i++)
                board->node_free[i] = topology->node[i].n_cpus;
        memset(board->node_used, 0, topology->n_nodes * sizeof(board->node_used[0]));
        memset(board->core_used, 0, topology->n_cores);
        board->n_journal = 0;
        board->journaling = false;
}

static void slot_set_free(PlanWork *work, unsigned slot, bool is_free) {
        const Cpu *cpu = &work->topology->cpu[slot];
        Board *board = &work->board;

        if (slot_is_free(board, slot) == is_free)
                return;
        board->free.word[slot / 64] ^= UINT64_C(1) << (slot % 64);
        holes_note(board, cpu->node, board->cluster_free[cpu->cluster], -1);
        board->cluster_free[cpu->cluster] = (uint16_t)(board->cluster_free[cpu->cluster] + (is_free ? 1 : -1));
        holes_note(board, cpu->node, board->cluster_free[cpu->cluster], 1);
        board->node_free[cpu->node] = (uint16_t)(board->node_free[cpu->node] + (is_free ? 1 : -1));
}

/* Whether somebody on the core keeps its siblings from others. */
static bool core_is_locked(const PlanWork *work, const Core *core) {
        for (unsigned slot = core->first_slot; slot < (unsigned)core->first_slot + core->n_cpus; slot++) {
                int32_t owner = work->board.owner[slot];

                if (owner != NOBODY && vm_locks_cores(work, work->snapshot->vcpu[owner].vm))
                        return true;
        }
        return false;
}

/* Opens or closes what nobody owns on a core. */
static void core_follow_lock(PlanWork *work, unsigned core) {
        const Core *c = &work->topology->core[core];
        bool locked;

        if (c->n_cpus < 2 || !work->any_locks)
                return;
        locked = core_is_locked(work, c);
        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++)
                if (work->board.owner[slot] == NOBODY)
                        slot_set_free(work, slot, !locked);
}

/* The CPU's core has become idle (1), or has ceased to be (-1). */
static void core_note_idle(PlanWork *work, const Cpu *cpu, int change) {
        uint16_t *idle = &work->board.cluster_idle[cpu->cluster];

        *idle = (uint16_t)(*idle + change * work->topology->core[cpu->core].n_cpus);
}

static void slot_take(PlanWork *work, unsigned slot, uint32_t vcpu) {
        const Cpu *cpu = &work->topology->cpu[slot];
        Board *board = &work->board;

        assert(board->owner[slot] == NOBODY);
        slot_set_free(work, slot, false);
        board->owner[slot] = (int32_t)vcpu;
        board->node_used[cpu->node]++;
        if (board->core_used[cpu->core]++ == 0)
                core_note_idle(work, cpu, -1);
        work->vcpu[vcpu].seat = (int16_t)slot;
        core_follow_lock(work, cpu->core);
}

static void slot_give_back(PlanWork *work, unsigned slot) {
        const Cpu *cpu = &work->topology->cpu[slot];
        Board *board = &work->board;

        assert(board->owner[slot] != NOBODY);
        work->vcpu[board->owner[slot]].seat = NO_SLOT;
        board->owner[slot] = NOBODY;
        slot_set_free(work, slot, true);
        board->node_used[cpu->node]--;
        if (--board->core_used[cpu->core] == 0)
                core_note_idle(work, cpu, 1);
        core_follow_lock(work, cpu->core);
}

static void journal_note(PlanWork *work, uint32_t vcpu) {
        Board *board = &work->board;

        if (!board->journaling)
                return;
        assert(board->n_journal < JOURNAL_MAX);
        board->journal[board->n_journal++] = (JournalEntry){.vcpu = vcpu, .seat = work->vcpu[vcpu].seat};
}

void board_seat(PlanWork *work, uint32_t vcpu, int slot) {
        assert(work->vcpu[vcpu].seat == NO_SLOT);
        journal_note(work, vcpu);
        slot_take(work, (unsigned)slot, vcpu);
}

void board_unseat(PlanWork *work, uint32_t vcpu) {
        assert(work->vcpu[vcpu].seat != NO_SLOT);
        journal_note(work, vcpu);
        slot_give_back(work, (unsigned)work->vcpu[vcpu].seat);
}

uint32_t board_mark(PlanWork *work) {
        work->board.journaling = true;
        return work->board.n_journal;
}

void board_roll_back(PlanWork *work, uint32_t mark) {
        Board *board = &work->board;

        assert(mark <= board->n_journal);
        while (board->n_journal > mark) {
                const JournalEntry *entry = &board->journal[--board->n_journal];

                if (work->vcpu[entry->vcpu].seat != NO_SLOT)
                        slot_give_back(work, (unsigned)work->vcpu[entry->vcpu].seat);
                if (entry->seat != NO_SLOT)
                        slot_take(work, (unsigned)entry->seat, entry->vcpu);
        }
}

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

bool slots_have(const SlotSet *set, unsigned slot) {
        return set->word[slot / 64] >> (slot % 64) & 1;
}

bool slot_is_free(const Board *board, unsigned slot) {
        return slots_have(&board->free, slot);
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
                board->cluster_free[i] = topology->cluster[i].n_cpus;
        for (unsigned i = 0; i < topology->n_nodes; i++)
                board->node_free[i] = topology->node[i].n_cpus;
        memset(board->core_used, 0, topology->n_cores);
        board->n_journal = 0;
        board->journaling = false;
}

static void slot_take(PlanWork *work, unsigned slot, uint32_t vcpu) {
        const Cpu *cpu = &work->topology->cpu[slot];
        Board *board = &work->board;

        assert(slot_is_free(board, slot));
        board->free.word[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        board->owner[slot] = (int32_t)vcpu;
        board->cluster_free[cpu->cluster]--;
        board->node_free[cpu->node]--;
        board->core_used[cpu->core]++;
        work->vcpu[vcpu].seat = (int16_t)slot;
}

static void slot_give_back(PlanWork *work, unsigned slot) {
        const Cpu *cpu = &work->topology->cpu[slot];
        Board *board = &work->board;

        assert(!slot_is_free(board, slot));
        work->vcpu[board->owner[slot]].seat = NO_SLOT;
        board->free.word[slot / 64] |= UINT64_C(1) << (slot % 64);
        board->owner[slot] = NOBODY;
        board->cluster_free[cpu->cluster]++;
        board->node_free[cpu->node]++;
        board->core_used[cpu->core]--;
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

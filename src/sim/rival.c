/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The rivals' common part. A rival works on slots, so a core's threads and a
 * cluster's CPUs lie together; a CPU is taken once somebody owns it. Ranges
 * count for all of them, though Kubernetes has none.
 */

#include "sim/rival_board.h"

bool board_is_free(const Board *board, const Want *want, unsigned slot) {
        return want->allowed[slot] && !board->taken[slot];
}

void board_take(Board *board, Want *want, unsigned slot) {
        board->taken[slot] = true;
        want->slot[want->n_got++] = (uint16_t)slot;
}

void want_undo(Board *board, Want *want) {
        while (want->n_got > 0)
                board->taken[want->slot[--want->n_got]] = false;
}

unsigned board_free(const Board *board, const Want *want, unsigned first, unsigned n) {
        unsigned count = 0;

        for (unsigned slot = first; slot < first + n; slot++)
                count += board_is_free(board, want, slot);
        return count;
}

void board_take_from(Board *board, Want *want, unsigned first, unsigned n) {
        for (unsigned slot = first; slot < first + n && want->n_got < want->n; slot++)
                if (board_is_free(board, want, slot))
                        board_take(board, want, slot);
}

static bool take_first_fit(Board *board, Want *want) {
        const Topology *topology = board->topology;

        if (board_free(board, want, 0, topology->n_cpus) < want->n)
                return false;
        CPUSET_FOREACH(cpu, &topology->online)
                if (want->n_got < want->n && board_is_free(board, want, (unsigned)topology->slot_of[cpu]))
                        board_take(board, want, (unsigned)topology->slot_of[cpu]);
        return true;
}

static bool take_random(Board *board, Want *want, Random *random) {
        const Topology *topology = board->topology;
        unsigned n_free = board_free(board, want, 0, topology->n_cpus);

        if (n_free < want->n)
                return false;
        for (; want->n_got < want->n; n_free--) {
                unsigned skip = random_below(random, n_free), slot = 0;
                for (;; slot++)
                        if (board_is_free(board, want, slot) && skip-- == 0)
                                break;
                board_take(board, want, slot);
        }
        return true;
}

static bool take(Rival *rival, Board *board, Want *want) {
        switch (rival->kind) {
        case RIVAL_RANDOM:
                return take_random(board, want, &rival->random);
        case RIVAL_FIRST_FIT:
                return take_first_fit(board, want);
        case RIVAL_BEST_FIT:
                return take_best_fit(board, want);
        case RIVAL_K8S_UNCORE:
                return take_k8s_uncore(board, want);
        case RIVAL_NOVA:
                return take_nova(board, want);
        case RIVAL_VSCHED:
                return take_vsched(board, want, true);
        case RIVAL_VSCHED_ANY:
                return take_vsched(board, want, false);
        }
        return false;
}

static void board_init(const Model *model, Board *ret) {
        *ret = (Board){.topology = model->topology};
        for (uint32_t i = 0; i < model->host->n_vcpus; i++) {
                int cpu = model_own_cpu(model, i);
                int slot = cpu < 0 ? -1 : model->topology->slot_of[cpu];
                if (slot >= 0)
                        ret->taken[slot] = true;
        }
}

void want_init(const Model *model, uint32_t index, Want *ret) {
        const Vm *vm = &model->host->vm[index];
        const CpuSet *range = pool_get(&model->host->pool, model->host->vcpu[vm->first_vcpu].range);

        *ret = (Want){.n = vm->n_vcpus};
        for (unsigned slot = 0; slot < model->topology->n_cpus; slot++)
                ret->allowed[slot] = cpuset_has(range, model->topology->cpu[slot].os);
}

static void try_vm(Rival *rival, Board *board, Model *model, uint32_t index) {
        const Vm *vm = &model->host->vm[index];
        Want want;

        if (model_own_cpu(model, vm->first_vcpu) >= 0)
                return;
        want_init(model, index, &want);
        if (!take(rival, board, &want))
                return;
        for (unsigned i = 0; i < want.n; i++)
                model_give(model, vm->first_vcpu + i, model->topology->cpu[want.slot[i]].os);
}

void rival_round(Rival *rival, Model *model, bool destroyed) {
        Board board;

        board_init(model, &board);
        if (destroyed && (rival->kind == RIVAL_VSCHED || rival->kind == RIVAL_VSCHED_ANY))
                vsched_compact(&board, model, rival->kind == RIVAL_VSCHED);
        if (model->host->n_vms > 0)
                try_vm(rival, &board, model, model->host->n_vms - 1);
        for (uint32_t i = 0; i + 1 < model->host->n_vms; i++)
                try_vm(rival, &board, model, i);
}

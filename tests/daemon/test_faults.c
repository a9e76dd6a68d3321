/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The daemon's own rounds, behind the host door, on a host that does what hosts
 * do: VMs come and die, also between two writes of a round; writes fail, or
 * nobody knows whether they did; operators change ranges in the middle; masks are
 * changed by others; the daemon is killed, stopped and started again. All from a
 * seed: run with one as argument to replay it.
 *
 * Judged is what the host's threads have, after each single write, and whether
 * what the daemon says of them is true, after each round. At the end of a seed
 * the faults stop: then the host has to come to rest.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../core/model.h"
#include "../core/oracle.h"
#include "daemon/rounds.h"
#include "model_host.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define SECOND_NS INT64_C(1000000000)

enum { SEEDS = 40, ROUNDS = 60, CALM_ROUNDS = 300, REST_ROUNDS = 10 };

static uint64_t first_seed = 1, n_seeds = SEEDS;
static char path[] = "/tmp/vas-faults-XXXXXX";

/* How often each fault has struck, over all seeds: a test of faults that do not happen tests nothing. */
static struct {
        unsigned failed_writes, unknown_writes, deaths, ranges, crashes, stops, cancels, changed_masks,
                rounds_with_writes;
} struck;

typedef struct Ground {
        uint64_t seed;
        unsigned round;
        Dice dice;
        ModelHost host;
        Settings settings;
        State *state;
        Rounds *rounds;
        bool shares[MODEL_VMS]; /* by this round's plan: that VM has no CPUs of its own */
        bool disturbed; /* in the middle of this round, so that its plan is of another host */
} Ground;

#define check(ground, what)                                                                                  \
        do {                                                                                                 \
                if (!(what))                                                                                 \
                        fail_msg("seed %llu, round %u: " #what, (unsigned long long)(ground)->seed,          \
                                 (ground)->round);                                                           \
        } while (0)

static bool chance(Ground *ground, unsigned one_in) {
        return dice_below(&ground->dice, one_in) == 0;
}

static unsigned n_cpus(const Ground *ground) {
        return ground->host.n_clusters * ground->host.cpus_per_cluster;
}

static void daemon_start(Ground *ground) {
        char why[256];

        assert_int_equal(state_new(&ground->state), 0);
        check(ground, state_load(ground->state, path, BOOT, why) >= 0);
        assert_int_equal(rounds_new(model_door(&ground->host), &ground->settings, ground->state, path,
                                    &ground->rounds),
                         0);
}

/* kill -9: the state file and the masks stay. */
static void daemon_kill(Ground *ground) {
        ground->rounds = rounds_free(ground->rounds);
        ground->state = state_free(ground->state);
}

/* Whether the operator left that vCPU a single CPU. */
static bool is_pinned(const ModelThread *thread) {
        return cpuset_single(&thread->range) >= 0;
}

/* No CPU is the only one of two threads that we placed. A VM that shares what
 * nobody owns may be left one CPU, and be there before its owner has left. */
static void nobody_shares_a_cpu(Ground *ground) {
        CpuSet owned = {};

        for (unsigned v = 0; v < ground->host.n_vms; v++)
                for (unsigned i = 0; i < ground->host.vm[v].n_vcpus; i++) {
                        const ModelThread *thread = &ground->host.vm[v].thread[i];
                        int cpu = cpuset_single(&thread->mask);

                        if (!thread->alive || cpu < 0 || is_pinned(thread) || ground->shares[v])
                                continue;
                        if (cpuset_has(&owned, (unsigned)cpu))
                                fail_msg("seed %llu, round %u: CPU %d has two owners",
                                         (unsigned long long)ground->seed, ground->round, cpu);
                        cpuset_add(&owned, (unsigned)cpu);
                }
}

static ModelVm *vm_by_uuid(Ground *ground, const char *uuid) {
        for (unsigned v = 0; v < ground->host.n_vms; v++)
                if (strcmp(ground->host.vm[v].uuid, uuid) == 0)
                        return &ground->host.vm[v];
        return NULL;
}

static void note_who_shares(Ground *ground) {
        const Snapshot *snapshot = ground->rounds->snapshot;

        memset(ground->shares, 0, sizeof(ground->shares));
        for (uint32_t v = 0; v < snapshot->n_vms; v++)
                ground->shares[vm_by_uuid(ground, snapshot->vm[v].uuid) - ground->host.vm] =
                        ground->rounds->plan->verdict[v].kind == VERDICT_SHARED;
}

/* A VM that is said to be placed has a CPU of its own for each vCPU, in its range. */
static void verdicts_are_true(Ground *ground) {
        const Snapshot *snapshot = ground->rounds->snapshot;

        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                const Verdict *verdict = &ground->rounds->plan->verdict[v];
                const ModelVm *vm = vm_by_uuid(ground, snapshot->vm[v].uuid);

                if (verdict->kind != VERDICT_PLACED && verdict->kind != VERDICT_SPREAD)
                        continue;
                check(ground, vm && verdict->n_exclusive + verdict->n_pinned >= vm->n_vcpus);
                for (unsigned i = 0; i < vm->n_vcpus; i++) {
                        int cpu = model_cpu(vm, i);
                        check(ground, cpu >= 0 && cpuset_has(&vm->thread[i].range, (unsigned)cpu));
                }
        }
}

/* What an operator pinned to one CPU is written by nobody. */
static unsigned writes_to_pinned(const Ground *ground) {
        unsigned n = 0;

        for (unsigned v = 0; v < ground->host.n_vms; v++)
                for (unsigned i = 0; i < ground->host.vm[v].n_vcpus; i++)
                        if (is_pinned(&ground->host.vm[v].thread[i]))
                                n += ground->host.vm[v].thread[i].writes;
        return n;
}

static void plan_is_sound(Ground *ground) {
        char why[ORACLE_WHY_SIZE];

        if (oracle_check(ground->rounds->topology, ground->rounds->snapshot, &ground->settings.policy,
                         ground->rounds->plan, why))
                fail_msg("seed %llu, round %u: %s", (unsigned long long)ground->seed, ground->round, why);
}

static void random_range(Ground *ground, unsigned at_least, unsigned *ret_first, unsigned *ret_last) {
        unsigned n = n_cpus(ground), width = at_least + dice_below(&ground->dice, 6);

        if (width > n || chance(ground, 2))
                width = n;
        *ret_first = dice_below(&ground->dice, n - width + 1);
        *ret_last = *ret_first + width - 1;
}

static void vm_arrive(Ground *ground) {
        unsigned n = 1 + dice_below(&ground->dice, 6), first, last;
        char name[16];

        if (ground->host.n_vms == MODEL_VMS)
                return;
        random_range(ground, n, &first, &last);
        snprintf(name, sizeof(name), "vm%u", ground->host.last_serial);
        model_start(&ground->host, name, n, first, last);
}

static ModelVm *vm_any(Ground *ground) {
        ModelVm *vm =
                ground->host.n_vms ? &ground->host.vm[dice_below(&ground->dice, ground->host.n_vms)] : NULL;

        return vm && vm->listed ? vm : NULL;
}

/* For the whole VM, or one vCPU, which may be left a single CPU. */
static void range_change(Ground *ground, ModelVm *vm) {
        unsigned first, last, one = dice_below(&ground->dice, vm->n_vcpus);
        bool all = chance(ground, 2);

        random_range(ground, vm->n_vcpus, &first, &last);
        if (!all && chance(ground, 3))
                last = first;
        for (unsigned i = 0; i < vm->n_vcpus; i++)
                if (all || i == one) {
                        vm->thread[i].writes = 0; /* the count is of writes in this range */
                        model_vcpupin(vm, i, first, last);
                }
        struck.ranges++;
}

/* Somebody else gives a thread the mask that it would have without us. */
static void mask_change(Ground *ground) {
        ModelVm *vm = vm_any(ground);

        if (vm) {
                ModelThread *thread = &vm->thread[dice_below(&ground->dice, vm->n_vcpus)];
                thread->mask = thread->range;
                struck.changed_masks++;
        }
}

static void vm_die(ModelVm *vm) {
        model_destroy(vm);
        struck.deaths++;
}

static void between_rounds(Ground *ground) {
        ModelVm *vm = vm_any(ground);

        if (vm && chance(ground, 4))
                vm_die(vm);
        for (unsigned v = ground->host.n_vms; v-- > 0;)
                if (!ground->host.vm[v].listed)
                        model_forget(&ground->host, v);
        while (chance(ground, 2))
                vm_arrive(ground);
        vm = vm_any(ground);
        if (vm && chance(ground, 6))
                range_change(ground, vm);
        if (chance(ground, 8))
                mask_change(ground);
}

/* How the round's writes will end. */
static void writes_to_fail(Ground *ground) {
        static const WriteStatus bad[] = {WRITE_DENIED, WRITE_REFUSED, WRITE_RETRY};
        ModelHost *host = &ground->host;

        host->at_next = 0;
        host->n_next = chance(ground, 3) ? 8 : 0;
        host->unknown_writes = chance(ground, 2);
        for (unsigned i = 0; i < host->n_next; i++)
                host->next_status[i] = chance(ground, 3) ? bad[dice_below(&ground->dice, 3)] : WRITE_OK;
}

static void writes_that_failed(const ModelHost *host) {
        for (unsigned i = 0; i < host->at_next; i++) {
                struck.failed_writes += host->next_status[i] != WRITE_OK;
                struck.unknown_writes += host->next_status[i] == WRITE_RETRY && host->unknown_writes;
        }
}

/* Between two writes of one round. False: the daemon is not at it any more. */
static bool amid_round(Ground *ground) {
        ModelVm *vm = vm_any(ground);

        if (vm && chance(ground, 20)) {
                vm_die(vm);
                ground->disturbed = true;
        } else if (vm && chance(ground, 20)) {
                range_change(ground, vm);
                ground->disturbed = true;
        } else if (chance(ground, 60)) {
                rounds_cancel(ground->rounds);
                struck.cancels++;
                return false;
        } else if (chance(ground, 60)) {
                daemon_kill(ground);
                daemon_start(ground);
                struck.crashes++;
                return false;
        }
        return true;
}

/* True: it was carried through, on the host that it was planned for. */
static bool round_apply(Ground *ground, bool faults) {
        ground->disturbed = false;
        while (!rounds_apply_some(ground->rounds, 0)) {
                nobody_shares_a_cpu(ground);
                if (faults && !amid_round(ground))
                        return false;
        }
        nobody_shares_a_cpu(ground);
        return !ground->disturbed;
}

/* Returns how many writes there were. */
static unsigned round_run(Ground *ground, bool faults) {
        RoundRequest request = {.act = true, .full = chance(ground, 10)};
        unsigned writes = ground->host.writes, pinned = writes_to_pinned(ground),
                 clipped = ground->host.clipped;

        ground->host.now_ns += 5 * SECOND_NS;
        check(ground, rounds_begin(ground->rounds, NULL, &request) == 0);
        plan_is_sound(ground);
        note_who_shares(ground);
        if (round_apply(ground, faults)) {
                verdicts_are_true(ground);
                check(ground, pinned == writes_to_pinned(ground));
                check(ground, clipped == ground->host.clipped);
        }
        struck.rounds_with_writes += ground->host.writes > writes;
        return ground->host.writes - writes;
}

/* A clean stop gives every thread the mask that it would have without us. */
static void daemon_stop(Ground *ground) {
        unsigned restored, failed;

        ground->host.n_next = 0;
        rounds_look(ground->rounds, NULL);
        check(ground, rounds_restore(ground->rounds, true, &restored, &failed) == 0);
        check(ground, failed == 0);
        for (unsigned v = 0; v < ground->host.n_vms; v++)
                for (unsigned i = 0; i < ground->host.vm[v].n_vcpus; i++) {
                        const ModelThread *thread = &ground->host.vm[v].thread[i];
                        check(ground, !thread->alive || cpuset_equal(&thread->mask, &thread->range));
                }
        daemon_kill(ground);
}

static void faulty_round(Ground *ground) {
        between_rounds(ground);
        writes_to_fail(ground);
        round_run(ground, true);
        writes_that_failed(&ground->host);
        if (chance(ground, 15)) {
                daemon_stop(ground);
                daemon_start(ground);
                struck.stops++;
        }
}

/* Nothing happens any more: some rounds later nothing is written any more. */
static void comes_to_rest(Ground *ground) {
        unsigned at_rest = 0;

        ground->host.n_next = 0;
        for (unsigned v = ground->host.n_vms; v-- > 0;)
                if (!ground->host.vm[v].listed)
                        model_forget(&ground->host, v);
        for (unsigned i = 0; i < CALM_ROUNDS && at_rest < REST_ROUNDS; i++, ground->round++)
                at_rest = round_run(ground, false) ? 0 : at_rest + 1;
        check(ground, at_rest == REST_ROUNDS);
}

static void run_seed(uint64_t seed) {
        Ground *ground = calloc(1, sizeof(*ground));

        assert_non_null(ground);
        ground->seed = ground->dice.state = seed;
        settings_defaults(&ground->settings);
        ground->settings.policy.contested_back_off_ns = 60 * SECOND_NS;
        model_init(&ground->host, 2 + dice_below(&ground->dice, 6), 2 + dice_below(&ground->dice, 7));
        daemon_start(ground);
        for (ground->round = 0; ground->round < ROUNDS; ground->round++)
                faulty_round(ground);
        comes_to_rest(ground);
        daemon_stop(ground);
        unlink(path);
        free(ground);
}

static void test_rounds_amid_faults(void **state) {
        (void)state;
        for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++)
                run_seed(seed);
        if (n_seeds < SEEDS)
                return;
        assert_true(struck.rounds_with_writes > n_seeds * ROUNDS / 4);
        assert_true(struck.failed_writes > n_seeds && struck.unknown_writes > 0);
        assert_true(struck.deaths > n_seeds && struck.ranges > n_seeds && struck.changed_masks > n_seeds);
        assert_true(struck.crashes > 0 && struck.cancels > 0 && struck.stops > n_seeds);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_rounds_amid_faults)};
        int fd = mkstemp(path);

        if (fd < 0 || close(fd) < 0 || unlink(path) < 0)
                return 1;
        if (argc > 1) {
                first_seed = strtoull(argv[1], NULL, 10);
                n_seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
        }
        int r = cmocka_run_group_tests_name("daemon/faults", tests, NULL, NULL);

        unlink(path); /* what a failed seed left */
        return r;
}

/* SPDX-License-Identifier: Apache-2.0 */

/* The policies dynamic and cluster over a modelled host: what is held for a
 * home, over rounds, crashes, switches and stops; the controller's loop on CPUs
 * that are fair. The planner and the controller are the real ones. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/backend.h"
#include "daemon/dynamic_loop.h"
#include "model_host.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define MS INT64_C(1000000)

enum { THREADS_MAX = MODEL_VMS * MODEL_VCPUS, CPUS_N = 16 };

typedef struct Place {
        ModelHost host; /* first: the door's self points at it */
        HostOps ops;
        char path[64];
        Settings settings;
        State *state;
        Rounds *rounds;
        Dynamic *dynamic;
        ThreadRef followed[THREADS_MAX];
        unsigned n_followed;
        unsigned hog[CPUS_N];       /* permille of others */
        unsigned demand;            /* permille that every vCPU wants */
        int named_home;             /* what the state file said at the last write: the intended mask's home */
} Place;

static int model_follow(void *self, const ThreadRef *thread, unsigned n) {
        Place *place = self;

        if (n > 0)
                memcpy(place->followed, thread, n * sizeof(*thread));
        place->n_followed = n;
        return 0;
}

/* A CPU with two who want more than it has gives each his half. */
static int model_sample(void *self, ThreadSample *ret, DynamicCpus *ret_cpus) {
        Place *place = self;
        unsigned guests[CPUS_N] = {}, cpu_of[THREADS_MAX];

        for (unsigned i = 0; i < place->n_followed; i++) {
                CpuSet mask;

                assert_int_equal(place->ops.read_mask(place, &place->followed[i], &mask), 0);
                cpu_of[i] = (unsigned)cpuset_next(&mask, 0);
                guests[cpu_of[i]]++;
        }
        for (unsigned i = 0; i < place->n_followed; i++) {
                unsigned wanted = guests[cpu_of[i]] * place->demand + place->hog[cpu_of[i]];
                unsigned run = wanted <= PERMILLE ? place->demand : place->demand * PERMILLE / wanted;

                ret[i] = (ThreadSample){.valid = true, .run_permille = (uint16_t)run,
                                        .wait_permille = (uint16_t)(place->demand - run)};
        }
        ret_cpus->sampled = place->host.online;
        for (unsigned cpu = 0; cpu < CPUS_N; cpu++) {
                unsigned wanted = guests[cpu] * place->demand + place->hog[cpu];

                ret_cpus->busy_permille[cpu] = (uint16_t)(wanted < PERMILLE ? wanted : PERMILLE);
        }
        return 0;
}

/* Looks into the state file as it is at the moment of a write. */
static WriteStatus model_write(void *self, const ThreadRef *thread, const CpuSet *mask, CpuSet *ret_mask) {
        Place *place = self;
        char why[256];
        State *state;

        assert_int_equal(state_new(&state), 0);
        assert_int_equal(state_load(state, place->path, BOOT, why), 0);
        ThreadState *entry = state_find(state, thread);
        place->named_home = entry ? entry->intended_home : -2;
        state_free(state);
        return model_door(&place->host).ops->write_mask(self, thread, mask, ret_mask);
}

static void daemon_start(Place *place) {
        Host door = model_door(&place->host);
        char why[256];

        place->ops = *door.ops;
        place->ops.follow = model_follow;
        place->ops.sample = model_sample;
        place->ops.write_mask = model_write;
        door = (Host){.ops = &place->ops, .self = place};
        assert_int_equal(state_new(&place->state), 0);
        assert_true(state_load(place->state, place->path, BOOT, why) >= 0);
        assert_int_equal(rounds_new(door, &place->settings, place->state, place->path, &place->rounds), 0);
        assert_int_equal(dynamic_new(place->rounds, &place->settings, &place->dynamic), 0);
}

static void daemon_crash(Place *place) {
        place->dynamic = dynamic_free(place->dynamic);
        place->rounds = rounds_free(place->rounds);
        place->state = state_free(place->state);
}

static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));

        strcpy(place->path, "/tmp/vas-dynamic-XXXXXX");
        int fd = mkstemp(place->path);
        if (fd < 0 || close(fd) < 0 || unlink(place->path) < 0)
                return -1;
        settings_defaults(&place->settings);
        place->settings.sched = SCHED_DYNAMIC;
        place->demand = 900;
        model_init(&place->host, 4, 4);
        daemon_start(place);
        *state = place;
        return 0;
}

static int teardown(void **state) {
        Place *place = *state;

        daemon_crash(place);
        unlink(place->path);
        free(place);
        return 0;
}

/* No thread is ever seen outside its range. */
static void assert_inside(const Place *place) {
        for (unsigned v = 0; v < place->host.n_vms; v++)
                for (unsigned i = 0; place->host.vm[v].listed && i < place->host.vm[v].n_vcpus; i++) {
                        const ModelThread *thread = &place->host.vm[v].thread[i];

                        assert_false(cpuset_is_empty(&thread->mask));
                        assert_true(cpuset_is_subset(&thread->mask, &thread->range));
                }
}

/* A round and all that follows it; returns the writes. */
static unsigned round_run(Place *place) {
        RoundRequest request = {.act = true};
        unsigned before = place->host.writes;

        place->host.now_ns += 5000 * MS;
        assert_true(rounds_begin(place->rounds, NULL, &request) >= 0);
        while (!rounds_apply_some(place->rounds, 1))
                assert_inside(place);
        assert_true(dynamic_sync(place->dynamic, true) >= 0);
        assert_inside(place);
        return place->host.writes - before;
}

static unsigned passes(Place *place, unsigned n) {
        unsigned before = place->host.writes;

        for (unsigned i = 0; i < n; i++) {
                place->host.now_ns += 250 * MS;
                assert_int_equal(dynamic_pass(place->dynamic), 0);
                assert_inside(place);
        }
        return place->host.writes - before;
}

static void assert_mask(const ModelVm *vm, unsigned vcpu, unsigned first, unsigned last) {
        CpuSet expected = {};

        cpuset_add_range(&expected, first, last);
        assert_true(cpuset_equal(&vm->thread[vcpu].mask, &expected));
}

static VerdictKind verdict(const Place *place, uint32_t vm) {
        return place->rounds->plan->verdict[vm].kind;
}

static void test_leaves_and_returns(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        assert_int_equal(round_run(place), 1);
        unsigned home = (unsigned)model_cpu(a, 0);
        assert_int_equal(passes(place, 8), 0);
        place->hog[home] = PERMILLE;
        assert_int_equal(passes(place, 8), 1);
        assert_int_not_equal(model_cpu(a, 0), home);
        assert_int_equal(model_cpu(a, 0) / 4, home / 4); /* in its own cluster */
        assert_int_equal(dynamic_counters(place->dynamic)->away, 1);
        /* Rounds leave it where it is, and say the same of it as before. */
        for (int i = 0; i < 5; i++)
                assert_int_equal(round_run(place), 0);
        assert_int_equal(verdict(place, 0), VERDICT_PLACED);
        assert_int_equal(place->rounds->plan->target[0].cpu, home);
        assert_int_equal(passes(place, 20), 0);
        place->hog[home] = 0;
        assert_int_equal(passes(place, 20), 1);
        assert_int_equal(model_cpu(a, 0), home);
        assert_int_equal(dynamic_counters(place->dynamic)->returned, 1);
        assert_int_equal(place->rounds->counters.drift_repaired, 0);
}

static unsigned send_away(Place *place, const ModelVm *vm) {
        unsigned home = (unsigned)model_cpu(vm, 0);

        place->hog[home] = PERMILLE;
        assert_int_equal(passes(place, 8), 1);
        assert_int_not_equal(model_cpu(vm, 0), home);
        return home;
}

/* Where each change of the union of a VM's masks costs a flush: none within 10 s
 * of the last. Each is counted. */
static void test_gap_where_changes_cost_a_flush(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        place->rounds->tlbi_limited = true;
        round_run(place);
        uint64_t changes = place->rounds->counters.mask_union_changes;
        assert_int_equal(changes, 1); /* the first of two that is narrowed leaves the union as it was */
        for (unsigned i = 0; i < 2; i++)
                place->hog[model_cpu(a, i)] = PERMILLE;
        assert_int_equal(passes(place, 8), 1);
        assert_int_equal(passes(place, 30), 0); /* 250 ms each */
        assert_int_equal(passes(place, 12), 1);
        assert_int_equal(place->rounds->counters.mask_union_changes, changes + 2);
}

static void test_crash_while_away_writes_nothing(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        unsigned home = send_away(place, a);
        int at = model_cpu(a, 0);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(model_cpu(a, 0), at);
        assert_int_equal(place->rounds->plan->target[0].cpu, home);
        place->hog[home] = 0;
        assert_int_equal(passes(place, 8), 1);
        assert_int_equal(model_cpu(a, 0), home);
}

/* The state names an away mask before it is written: killed between the two. */
static void test_crash_in_the_middle_of_leaving(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        unsigned home = (unsigned)model_cpu(a, 0);
        CpuSet away = {};
        cpuset_add(&away, home + 1);
        for (int happened = 0; happened < 2; happened++) {
                place->state->thread[0].intended = state_intern(place->state, &away);
                place->state->thread[0].intended_home = (int16_t)home;
                assert_int_equal(state_save(place->state, place->path), 0);
                if (happened)
                        a->thread[0].mask = away;
                daemon_crash(place);
                daemon_start(place);
                assert_int_equal(round_run(place), 0);
                assert_int_equal(model_cpu(a, 0), happened ? home + 1 : home);
                assert_int_equal(place->rounds->plan->target[0].cpu, home);
        }
}

static void test_stop_restores(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 2, 13);
        unsigned restored, failed;

        round_run(place);
        unsigned home = send_away(place, a);
        rounds_restore(place->rounds, true, &restored, &failed);
        assert_int_equal(restored, 1);
        assert_mask(a, 0, 2, 13);
        daemon_crash(place);
        daemon_start(place);
        round_run(place);
        assert_int_equal(model_cpu(a, 0), home);
}

static void test_changed_away_mask_is_repaired(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        unsigned home = send_away(place, a);
        a->thread[0].mask = a->thread[0].range;
        assert_int_equal(round_run(place), 1);
        assert_int_equal(model_cpu(a, 0), home);
        assert_int_equal(place->rounds->counters.drift_repaired, 1);
}

static void test_range_that_leaves_the_away_cpu_out(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        assert_true(send_away(place, a) < 8);
        model_vcpupin(a, 0, 8, 11);
        round_run(place);
        assert_true(model_cpu(a, 0) >= 8 && model_cpu(a, 0) <= 11);
}

static void test_away_cpu_that_is_skipped(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        unsigned home = send_away(place, a);
        cpuset_add(&place->settings.policy.skip, (unsigned)model_cpu(a, 0));
        assert_int_equal(round_run(place), 1);
        assert_int_equal(model_cpu(a, 0), home);
}

static void test_home_that_is_skipped_while_away(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        unsigned home = send_away(place, a);
        cpuset_add(&place->settings.policy.skip, home);
        round_run(place);
        assert_int_not_equal(place->rounds->plan->target[0].cpu, home);
        assert_int_equal(model_cpu(a, 0), place->rounds->plan->target[0].cpu);
}

static void test_state_names_the_home_before_the_write(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        assert_int_equal(place->named_home, -1); /* the home alone */
        unsigned home = send_away(place, a);
        assert_int_equal(place->named_home, home);
}

static void test_static_neighbour_is_not_disturbed(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 1);
        ModelVm *b = model_start(&place->host, "b", 1, 0, 1);

        snprintf(place->settings.rule[0].glob, sizeof(place->settings.rule[0].glob), "b");
        place->settings.rule[0].policy.sched = SCHED_STATIC;
        place->settings.rule[0].has_sched = true;
        place->settings.n_rules = 1;
        round_run(place);
        assert_int_equal(place->n_followed, 1);
        place->hog[model_cpu(a, 0)] = PERMILLE;
        place->hog[model_cpu(b, 0)] = 300; /* b itself, busy */
        assert_int_equal(passes(place, 100), 0);
}

static void test_nobody_dynamic_nobody_followed(void **state) {
        Place *place = *state;

        model_start(&place->host, "a", 2, 0, 15);
        round_run(place);
        assert_int_equal(place->n_followed, 2);
        place->settings.sched = SCHED_STATIC;
        round_run(place);
        assert_int_equal(place->n_followed, 0);
        place->settings.sched = SCHED_DYNAMIC;
        round_run(place);
        assert_int_equal(place->n_followed, 2);
        assert_int_equal(dynamic_sync(place->dynamic, false), 0); /* paused */
        assert_int_equal(place->n_followed, 0);
}

static void test_failed_write_is_taken_back(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        unsigned home = (unsigned)model_cpu(a, 0);
        place->hog[home] = PERMILLE;
        place->host.next_status[0] = WRITE_DENIED;
        place->host.n_next = 1;
        place->host.at_next = 0;
        passes(place, 3);
        assert_int_equal(model_cpu(a, 0), home);
        assert_int_equal(dynamic_counters(place->dynamic)->failed, 1);
        assert_int_equal(dynamic_counters(place->dynamic)->away, 0);
}

/* A round that fails leaves a snapshot that is not the one that is followed. */
static void test_failed_round(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);
        RoundRequest request = {.act = true};

        round_run(place);
        place->hog[model_cpu(a, 0)] = PERMILLE;
        place->host.observe_fails = true;
        assert_true(rounds_begin(place->rounds, NULL, &request) < 0);
        assert_int_equal(passes(place, 20), 0);
        place->host.observe_fails = false;
        assert_int_equal(rounds_begin(place->rounds, NULL, &request), 0);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_int_equal(passes(place, 20), 0); /* not synced yet */
        round_run(place);
        assert_int_equal(passes(place, 20), 1);
}

static void test_thread_that_dies(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        place->hog[model_cpu(a, 0)] = PERMILLE;
        place->host.die_tid = a->thread[0].tid;
        for (int i = 0; i < 2; i++) {
                place->host.now_ns += 250 * MS;
                assert_int_equal(dynamic_pass(place->dynamic), 0);
        }
        assert_false(a->thread[0].alive);
        assert_int_equal(place->state->n_threads, 0);
        model_destroy(a);
        round_run(place);
        assert_int_equal(place->n_followed, 0);
}

static void test_cluster_holds_the_cluster(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 3, 0, 15), *b = model_start(&place->host, "b", 1, 0, 15);

        place->settings.sched = SCHED_CLUSTER;
        assert_int_equal(round_run(place), 4);
        unsigned first = (unsigned)place->rounds->plan->target[0].cpu / 4 * 4;
        for (unsigned i = 0; i < 3; i++)
                assert_mask(a, i, first, first + 3);
        assert_int_equal(cpuset_count(&b->thread[0].mask), 4);
        assert_int_equal(verdict(place, 0), VERDICT_PLACED);
        for (int i = 0; i < 5; i++)
                assert_int_equal(round_run(place), 0);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        /* A range that cuts the cluster is the outer mask. */
        model_vcpupin(b, 0, 5, 6);
        round_run(place);
        assert_mask(b, 0, 5, 6);
}

static unsigned count_verdicts(const Place *place, VerdictKind kind) {
        unsigned n = 0;

        for (uint32_t v = 0; v < place->rounds->snapshot->n_vms; v++)
                n += verdict(place, v) == kind;
        return n;
}

/* 32 vCPUs on 16 CPUs: homes in layers survive rounds and crashes without a write. */
static void test_layers_are_kept(void **state) {
        Place *place = *state;
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
        ModelVm *vm[8];

        for (unsigned i = 0; i < 8; i++)
                vm[i] = model_start(&place->host, names[i], 4, 0, 15);
        assert_int_equal(round_run(place), 32);
        assert_int_equal(count_verdicts(place, VERDICT_PLACED), 4);
        assert_int_equal(count_verdicts(place, VERDICT_LAYERED), 4);
        for (unsigned i = 0; i < 32; i++)
                assert_true(model_cpu(vm[i / 4], i % 4) >= 0);
        assert_int_equal(round_run(place), 0);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(count_verdicts(place, VERDICT_LAYERED), 4);
        for (uint32_t v = 0; v < 8; v++) /* layer 0 is whose it was */
                assert_int_equal(verdict(place, v), v < 4 ? VERDICT_PLACED : VERDICT_LAYERED);
        place->settings.sched = SCHED_CLUSTER;
        assert_int_equal(round_run(place), 32);
        for (unsigned i = 0; i < 8; i++)
                assert_int_equal(cpuset_count(&vm[i]->thread[0].mask), 4);
        assert_int_equal(round_run(place), 0);
        /* Those whose CPUs are nobody's now own them where they are. */
        for (unsigned i = 0; i < 4; i++)
                model_destroy(vm[i]);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(count_verdicts(place, VERDICT_PLACED), 4);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(count_verdicts(place, VERDICT_PLACED), 4);
        /* Static VMs do not share: those that fit have CPUs of their own. */
        place->settings.sched = SCHED_STATIC;
        round_run(place);
        assert_int_equal(count_verdicts(place, VERDICT_PLACED), 4);
}

/* Who owns a CPU and who lives there beside it is told by the state file, not
 * by the VMs' order. */
static void test_layers_know_the_owner(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15);

        for (unsigned i = 1; i < 5; i++)
                model_start(&place->host, (char[]){(char)('a' + i), '\0'}, 4, 0, 15);
        round_run(place);
        assert_int_equal(verdict(place, 0), VERDICT_PLACED);
        for (unsigned i = 0; i < 4; i++)
                model_vcpupin(a, i, 0, 1); /* too few for CPUs of its own: another takes those that it had */
        round_run(place);
        assert_int_equal(verdict(place, 0), VERDICT_LAYERED);
        for (unsigned i = 0; i < 4; i++)
                model_vcpupin(a, i, 0, 15);
        round_run(place);
        for (unsigned starts = 0; starts < 2; starts++) {
                assert_int_equal(round_run(place), 0);
                assert_int_equal(verdict(place, 0), VERDICT_LAYERED);
                for (uint32_t v = 1; v < 5; v++)
                        assert_int_equal(verdict(place, v), VERDICT_PLACED);
                daemon_crash(place);
                daemon_start(place);
        }
}

/* Who was left alone on CPUs that he shared owns them from then on, though
 * nothing was written: a VM that comes to them lives beside him. */
static void test_layers_note_a_new_owner(void **state) {
        Place *place = *state;
        ModelVm *later = model_start(&place->host, "later", 2, 4, 5);
        ModelVm *first = model_start(&place->host, "first", 2, 0, 1);

        model_start(&place->host, "heir", 2, 0, 1);
        round_run(place);
        assert_int_equal(verdict(place, 1), VERDICT_PLACED);
        assert_int_equal(verdict(place, 2), VERDICT_LAYERED);
        model_destroy(first);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(count_verdicts(place, VERDICT_PLACED), 2);
        for (unsigned i = 0; i < 2; i++)
                model_vcpupin(later, i, 0, 1);
        for (unsigned starts = 0; starts < 2; starts++) {
                round_run(place);
                assert_int_equal(verdict(place, 0), VERDICT_LAYERED);
                assert_int_equal(verdict(place, 1), VERDICT_PLACED); /* the heir, who moved up */
                daemon_crash(place);
                daemon_start(place);
        }
}

static void test_cluster_leaves_static_owners_alone(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 3), *b;

        place->settings.sched = SCHED_CLUSTER;
        snprintf(place->settings.rule[0].glob, sizeof(place->settings.rule[0].glob), "b");
        place->settings.rule[0].policy.sched = SCHED_STATIC;
        place->settings.rule[0].has_sched = true;
        place->settings.n_rules = 1;
        round_run(place);
        assert_mask(a, 0, 0, 3);
        b = model_start(&place->host, "b", 1, 0, 3);
        round_run(place);
        assert_true(model_cpu(b, 0) >= 0);
        for (unsigned i = 0; i < 2; i++) {
                assert_false(cpuset_intersects(&a->thread[i].mask, &b->thread[0].mask));
                assert_int_equal(cpuset_count(&a->thread[i].mask), 3);
        }
        model_destroy(b);
        round_run(place);
        assert_mask(a, 0, 0, 3);
}

/* Switches among the policies while VMs come and go and leave their homes. */
static void test_switching_under_churn(void **state) {
        Place *place = *state;
        ModelVm *vms[4];
        CpuSet before[4];
        unsigned restored, failed;

        for (unsigned v = 0; v < 4; v++) {
                vms[v] = model_start(&place->host, "vm", 2, 2 * v, 15);
                before[v] = vms[v]->thread[0].range;
        }
        srand(7);
        for (unsigned i = 0; i < 300; i++) {
                place->settings.sched = (SchedPolicy)(rand() % 3);
                place->hog[rand() % CPUS_N] = rand() % 2 ? PERMILLE : 0;
                vms[rand() % 4]->listed = rand() % 4 != 0;
                round_run(place);
                passes(place, (unsigned)(rand() % 12));
                if (rand() % 20 == 0) {
                        daemon_crash(place);
                        daemon_start(place);
                }
        }
        for (unsigned v = 0; v < 4; v++)
                vms[v]->listed = true;
        place->settings.sched = SCHED_STATIC;
        round_run(place);
        for (unsigned v = 0; v < 4; v++)
                for (unsigned i = 0; i < 2; i++)
                        assert_true(model_cpu(vms[v], i) >= 0);
        assert_int_equal(round_run(place), 0);
        rounds_restore(place->rounds, false, &restored, &failed);
        assert_int_equal(failed, 0);
        assert_int_equal(place->state->n_threads, 0);
        for (unsigned v = 0; v < 4; v++)
                for (unsigned i = 0; i < 2; i++)
                        assert_true(cpuset_equal(&vms[v]->thread[i].mask, &before[v]));
}

static void test_check(void **state) {
        Place *place = *state;
        char why[SETTINGS_WHY_SIZE] = "";

        assert_int_equal(backend_check(&place->settings, "", why), 0);
        assert_int_equal(backend_check(&place->settings, "/nonexistent", why), 1);
        assert_non_null(strstr(why, "can not be checked"));
        place->settings.emulate = false;
        assert_int_equal(backend_check(&place->settings, "", why), 1);
        assert_non_null(strstr(why, "emulate = never"));
        place->settings.sched = SCHED_CLUSTER;
        assert_int_equal(backend_check(&place->settings, "/nonexistent", why), 0);
        place->settings.n_rules = 1;
        place->settings.rule[0].has_sched = true;
        place->settings.rule[0].policy.sched = SCHED_DYNAMIC;
        assert_int_equal(backend_check(&place->settings, "", why), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                CASE(test_leaves_and_returns),
                CASE(test_gap_where_changes_cost_a_flush),
                CASE(test_crash_while_away_writes_nothing),
                CASE(test_crash_in_the_middle_of_leaving),
                CASE(test_stop_restores),
                CASE(test_changed_away_mask_is_repaired),
                CASE(test_range_that_leaves_the_away_cpu_out),
                CASE(test_away_cpu_that_is_skipped),
                CASE(test_home_that_is_skipped_while_away),
                CASE(test_state_names_the_home_before_the_write),
                CASE(test_static_neighbour_is_not_disturbed),
                CASE(test_nobody_dynamic_nobody_followed),
                CASE(test_failed_write_is_taken_back),
                CASE(test_failed_round),
                CASE(test_thread_that_dies),
                CASE(test_cluster_holds_the_cluster),
                CASE(test_cluster_leaves_static_owners_alone),
                CASE(test_layers_are_kept),
                CASE(test_layers_know_the_owner),
                CASE(test_layers_note_a_new_owner),
                CASE(test_switching_under_churn),
                CASE(test_check),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

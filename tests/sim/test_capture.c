/* SPDX-License-Identifier: Apache-2.0 */

/* Captures: what was packed plans the same again, and what nobody packed is refused. */

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
#include "platform/topology_hwloc.h"
#include "sim/capture.h"
#include "wire/capture.h"

#define SPEC "numa:2 l3:3 core:4 pu:2"
#define SECOND_NS INT64_C(1000000000)

enum { HOSTS = 20, N_CPUS = 48 };

typedef struct Host {
        Topology topology;
        Snapshot snapshot;
        History history;
        Policy policy;
        Plan plan;
        char path[64];
} Host;

static PlanWork *work;

static int setup(void **state) {
        Host *host = calloc(1, sizeof(*host));
        char why[256];

        work = calloc(1, plan_work_size());
        assert_non_null(work);
        assert_non_null(host);
        assert_int_equal(topology_from_hwloc(SPEC, NULL, LEVEL_AUTO, &host->topology, why), 0);
        strcpy(host->path, "/tmp/test-capture-XXXXXX");
        close(mkstemp(host->path));
        *state = host;
        return 0;
}

static int teardown(void **state) {
        Host *host = *state;

        unlink(host->path);
        free(host);
        free(work);
        return 0;
}

/* A crowded host in the middle of its life: some VMs placed, some scattered, one
 * just come, credits and cool-downs of all sorts. */
static void roll(Host *host, Dice *dice) {
        unsigned next = 0;

        snapshot_clear(&host->snapshot);
        history_clear(&host->history);
        policy_defaults(&host->policy);
        host->policy.layout = dice_below(dice, 3);
        host->policy.smt = dice_below(dice, 4);
        cpuset_add(&host->policy.skip, dice_below(dice, N_CPUS));
        host->history.started = true;
        host->history.credits_milli = dice_below(dice, 8000);
        host->history.accrued_at_ns = 5 * SECOND_NS;
        for (unsigned v = 0; v < 8; v++) {
                unsigned n = 1 + dice_below(dice, 6), wide = dice_below(dice, 2),
                         stride = 1 + dice_below(dice, 7);
                uint32_t vm = model_add_vm(&host->snapshot, &host->topology, n, wide ? 0 : 24,
                                           wide ? N_CPUS - 1 : 47, 100 + v);
                VmHistory *known = &host->history.vm[host->history.n_vms++];

                *known = (VmHistory){.start_ticks = host->snapshot.vm[vm].start_ticks,
                                     .cool_until_ns = dice_below(dice, 20) * SECOND_NS};
                memcpy(known->uuid, host->snapshot.vm[vm].uuid, sizeof(known->uuid));
                for (uint32_t i = 0; v < 7 && i < n && next + stride < N_CPUS; i++, next += stride)
                        if (wide || next >= 24)
                                model_seat(&host->snapshot, host->snapshot.vm[vm].first_vcpu + i, next);
        }
}

/* Plans as the daemon does: a capture is written before the planner touches anything. */
static json_t *plan(Host *host, PlanKind kind) {
        Snapshot *snapshot = malloc(sizeof(*snapshot));
        History history = host->history;

        assert_non_null(snapshot);
        *snapshot = host->snapshot;
        plan_make(&host->topology, snapshot, &host->policy, &history, &(PlanRequest){.kind = kind, .vm = -1},
                  10 * SECOND_NS, work, &host->plan);
        json_t *json = capture_plan(snapshot, &host->plan);
        free(snapshot);
        return json;
}

static json_t *capture(Host *host) {
        char *xml = topology_export_xml(SPEC, NULL, host->topology.level);
        json_t *json = capture_pack(&host->snapshot, &host->history, &host->policy, 10 * SECOND_NS);

        assert_non_null(xml);
        json_object_set_new(json, "vsched_capture", json_integer(CAPTURE_FORM));
        json_object_set_new(json, "topology_xml", json_string(xml));
        json_object_set_new(json, "cluster_level", json_string("l3"));
        json_object_set_new(json, "isolated", json_string(""));
        json_object_set_new(json, "plan", plan(host, PLAN_ROUND));
        json_object_set_new(json, "reassign", plan(host, PLAN_REASSIGN));
        free(xml);
        return json;
}

static int replan(const Host *host, const json_t *json, const char *reassign, json_t **ret, Complaint *why) {
        assert_int_equal(json_dump_file(json, host->path, JSON_COMPACT), 0);
        return capture_replan(host->path, reassign, ret, why);
}

static bool is_same(const Host *host, const json_t *json, const char *reassign, size_t *ret_moves) {
        json_t *found = NULL;
        Complaint why;

        if (replan(host, json, reassign, &found, &why) != 0)
                fail_msg("%s", why.text);
        bool same = json_is_true(json_object_get(found, "same"));
        *ret_moves = json_array_size(json_object_get(json_object_get(found, "plan"), "moves"));
        json_decref(found);
        return same;
}

static void what_was_packed_plans_the_same(void **state) {
        size_t moves = 0, of_round = 0, of_all = 0;
        Host *host = *state;

        for (uint64_t seed = 1; seed <= HOSTS; seed++) {
                Dice dice = {seed};
                roll(host, &dice);
                json_t *json = capture(host);
                if (!is_same(host, json, NULL, &moves))
                        fail_msg("seed %d: another round", (int)seed);
                of_round += moves;
                if (!is_same(host, json, "all", &moves))
                        fail_msg("seed %d: another reassignment", (int)seed);
                of_all += moves;
                json_decref(json);
        }
        /* Else the hosts are too easy to tell anything. */
        assert_true(of_round > HOSTS);
        assert_true(of_all > of_round);
}

/* Each part counts: where it is another one, some plan is another one. */
static void each_part_matters(void **state) {
        static const char *const parts[] = {"history.credits_milli", "policy.skip", "snapshot.sets",
                                            "now_ns"};
        Host *host = *state;

        for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
                unsigned others = 0;

                for (uint64_t seed = 1; seed <= 3 * HOSTS && others == 0; seed++) {
                        Dice dice = {seed};
                        size_t moves;

                        roll(host, &dice);
                        json_t *json = capture(host);
                        json_t *object = json_object_get(json, p == 0   ? "history"
                                                               : p == 1 ? "policy"
                                                                        : "snapshot");
                        if (p == 0)
                                json_object_set_new(object, "credits_milli", json_integer(0));
                        else if (p == 1)
                                json_object_set_new(object, "skip", json_string("24-29"));
                        else if (p == 2)
                                json_array_set_new(json_object_get(object, "sets"), 0, json_string("0-7"));
                        else
                                json_object_set_new(json, "now_ns", json_integer(100 * SECOND_NS));
                        others += !is_same(host, json, NULL, &moves);
                        json_decref(json);
                }
                if (others == 0)
                        fail_msg("%s does not matter", parts[p]);
        }
}

static void hashed_names_plan_the_same(void **state) {
        const uint64_t key[2] = {1, 2};
        Host *host = *state;
        Dice dice = {3};
        size_t moves;

        roll(host, &dice);
        strcpy(host->snapshot.vm[0].name, "secret");
        json_t *plain = plan(host, PLAN_ROUND);
        capture_hash_names(&host->snapshot, &host->history, key);
        json_t *json = capture(host), *hashed = json_object_get(json, "plan");
        assert_true(is_same(host, json, NULL, &moves));
        assert_int_equal(json_array_size(json_object_get(plain, "moves")), moves);
        assert_true(json_equal(json_object_get(plain, "after"), json_object_get(hashed, "after")));
        char *text = json_dumps(json, 0);
        assert_null(strstr(text, "secret"));
        assert_null(strstr(text, json_string_value(json_object_get(
                                         json_array_get(json_object_get(plain, "verdicts"), 0), "vm"))));
        free(text);
        json_decref(json);
        json_decref(plain);
}

static void the_hash_is_siphash(void **state) {
        const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
        unsigned char data[15];

        (void)state;
        for (unsigned i = 0; i < sizeof(data); i++)
                data[i] = (unsigned char)i;
        assert_true(capture_hash(key, data, sizeof(data)) == UINT64_C(0xa129ca6149be45e5));
        assert_true(capture_hash(key, data, 0) == UINT64_C(0x726fdb47dd0e0e31));
}

/* Refused with one line; or, where the value happens to be legal, planned. */
static bool is_refused(const Host *host, const json_t *json) {
        json_t *found = NULL;
        Complaint why = {};
        int r = replan(host, json, NULL, &found, &why);

        json_decref(found);
        if (r == 0)
                return false;
        assert_int_equal(r, INPUT_BAD);
        assert_true(strncmp(why.text, host->path, strlen(host->path)) == 0);
        assert_null(strchr(why.text, '\n'));
        return true;
}

static json_t *bad_value(unsigned kind) {
        switch (kind) {
        case 0:
                return json_integer(-2);
        case 1:
                return json_integer(INT64_MAX);
        case 2:
                return json_string("9999999\n\033[2J");
        default:
                return json_null();
        }
}

enum { BAD_VALUES = 4 };

/* Every member of every object that is reached, one after the other. Returns how
 * many values were refused. */
static unsigned spoil(const Host *host, json_t *root, json_t *value) {
        unsigned refused = 0;
        const char *key;
        json_t *member;
        size_t i;
        void *next;

        if (json_is_array(value)) {
                json_array_foreach (value, i, member)
                        if (i < 1)
                                refused += spoil(host, root, member);
                return refused;
        }
        json_object_foreach_safe(value, next, key, member) {
                json_t *good = json_incref(member);

                if (value == root && (strcmp(key, "plan") == 0 || strcmp(key, "reassign") == 0)) {
                        json_decref(good);
                        continue;
                }
                for (unsigned kind = 0; kind < BAD_VALUES; kind++) {
                        json_object_set_new(value, key, bad_value(kind));
                        refused += is_refused(host, root);
                }
                json_object_set(value, key, good);
                refused += spoil(host, root, good);
                json_decref(good);
        }
        return refused;
}

static void hostile_captures_are_refused(void **state) {
        Host *host = *state;
        Dice dice = {5};

        roll(host, &dice);
        json_t *json = capture(host);
        assert_false(is_refused(host, json));
        assert_true(spoil(host, json, json) > 150);
        assert_false(is_refused(host, json));

        json_object_set_new(json, "vsched_capture", json_integer(CAPTURE_FORM + 1));
        assert_true(is_refused(host, json));
        json_object_set_new(json, "vsched_capture", json_integer(CAPTURE_FORM));
        json_t *vms = json_object_get(json_object_get(json, "snapshot"), "vms");
        json_t *vcpus = json_object_get(json_array_get(vms, 0), "vcpus"), *vcpu = json_array_get(vcpus, 0);
        while (json_array_size(vcpus) <= VM_VCPUS_MAX)
                json_array_append(vcpus, vcpu);
        assert_true(is_refused(host, json));
        json_array_remove(vcpus, 0);
        assert_false(is_refused(host, json));
        while (json_array_size(vms) <= VMS_MAX)
                json_array_append(vms, json_array_get(vms, 0));
        assert_true(is_refused(host, json));
        json_array_remove(vms, 0);
        assert_true(is_refused(host, json)); /* too many vCPUs in all */
        json_decref(json);
}

/* To the last legal value, and not one further. */
static void bounds_are_exact(void **state) {
        Host *host = *state;
        Dice dice = {7};

        roll(host, &dice);
        json_t *json = capture(host), *snapshot = json_object_get(json, "snapshot");
        json_t *vcpu = json_array_get(json_object_get(json_array_get(json_object_get(snapshot, "vms"), 0), "vcpus"), 0);
        json_int_t n_sets = (json_int_t)json_array_size(json_object_get(snapshot, "sets"));
        const struct {
                const char *key;
                json_int_t legal, good;
        } bounds[] = {{"home", CPUS_MAX - 1, 0}, {"range", n_sets, 1}, {"drift", UINT8_MAX, 0}};

        for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
                json_object_set_new(vcpu, bounds[i].key, json_integer(bounds[i].legal));
                assert_false(is_refused(host, json));
                json_object_set_new(vcpu, bounds[i].key, json_integer(bounds[i].legal + 1));
                assert_true(is_refused(host, json));
                json_object_set_new(vcpu, bounds[i].key, json_integer(bounds[i].good));
        }
        json_decref(json);
}

static void what_is_no_capture_is_refused(void **state) {
        static const char *const texts[] = {"",
                                            "{",
                                            "[]",
                                            "{}",
                                            "\"x\033[2J",
                                            "{\"vsched_capture\":1}",
                                            "{\"vsched_capture\":1,\"vsched_capture\":1}"};
        Host *host = *state;
        json_t *found = NULL;

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                Complaint why = {};
                FILE *file = fopen(host->path, "we");

                assert_non_null(file);
                fputs(texts[i], file);
                fclose(file);
                assert_int_equal(capture_replan(host->path, NULL, &found, &why), INPUT_BAD);
                assert_null(strpbrk(why.text, "\n\033"));
                assert_null(found);
        }
        Complaint why = {};
        assert_int_equal(truncate(host->path, CAPTURE_BYTES_MAX + 1), 0);
        assert_int_equal(capture_replan(host->path, NULL, &found, &why), INPUT_BAD);
        assert_non_null(strstr(why.text, "larger than 64 MB"));
        assert_int_equal(capture_replan("/nonexistent/capture", NULL, &found, &why), INPUT_BAD);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(what_was_packed_plans_the_same, setup, teardown),
                cmocka_unit_test_setup_teardown(each_part_matters, setup, teardown),
                cmocka_unit_test_setup_teardown(hashed_names_plan_the_same, setup, teardown),
                cmocka_unit_test_setup_teardown(the_hash_is_siphash, setup, teardown),
                cmocka_unit_test_setup_teardown(hostile_captures_are_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(bounds_are_exact, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_no_capture_is_refused, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The view over hosts put together by hand, and over rounds that the planner
 * made: every VM, CPU and move as it is, each CPU with one owner.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static const char *text_of(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        assert_non_null(text);
        return text;
}

static long long number_of(const json_t *object, const char *key) {
        assert_true(json_is_integer(json_object_get(object, key)));
        return json_integer_value(json_object_get(object, key));
}

static void assert_json(json_t *value, const char *wanted) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        assert_non_null(text);
        assert_string_equal(text, wanted);
        free(text);
}

static void vms_are_found_by_uuid_then_name(void **state) {
        Scene *scene = scene_by_name("mixed");

        (void)state;
        assert_int_equal(view_find_vm(&scene->view, "web1"), 0);
        assert_int_equal(view_find_vm(&scene->view, "00000000-0000-4000-8000-000000000001"), 1);
        assert_int_equal(view_find_vm(&scene->view, "WEB1"), -1);
        assert_int_equal(view_find_vm(&scene->view, ""), -1);
        /* A VM that is named like another's UUID does not hide that one. */
        strcpy(scene->snapshot.vm[0].name, scene->snapshot.vm[1].uuid);
        assert_int_equal(view_find_vm(&scene->view, scene->snapshot.vm[1].uuid), 1);
        scene_free(scene);
}

static void a_vm_has_all_members(void **state) {
        Scene *scene = scene_by_name("mixed");
        json_t *vm = view_vm(&scene->view, 1, false);

        (void)state;
        assert_json(vm,
                    "{\"uuid\":\"00000000-0000-4000-8000-000000000001\",\"name\":\"db1\",\"pid\":2000,"
                    "\"verdict\":\"SPREAD\",\"reason\":\"no-credits\",\"reason_text\":\"a better place is "
                    "known, and "
                    "it waits until move credits have been saved "
                    "up\",\"blocker\":null,\"vcpus\":4,\"exclusive\":4,"
                    "\"pinned\":0,\"foreign\":0,\"nodes\":[0,1],\"min_nodes\":1,\"clusters\":[1,2],"
                    "\"min_clusters\":1,\"cpus\":\"4-6,8\",\"allowed\":\"0-15\",\"range_named\":false,"
                    "\"cpus_twice\":0,\"doubled_cores\":0,\"remote_memory\":false,\"memory\":[{\"node\":0,"
                    "\"permille\":975},{\"node\":1,\"permille\":25}],\"memory_source\":\"stat\","
                    "\"io_threads\":[2005,2006]}");
        json_decref(vm);
        scene_free(scene);
}

static void a_vcpu_has_all_members(void **state) {
        Scene *scene = scene_by_name("mixed");
        json_t *vm = view_vm(&scene->view, 1, true);

        (void)state;
        assert_int_equal(json_array_size(json_object_get(vm, "vcpu")), 4);
        assert_json(json_array_get(json_object_get(vm, "vcpu"), 3),
                    "{\"vcpu\":3,\"thread\":2013,\"range\":\"0-15\",\"allowed\":\"0-15\",\"mask\":\"8\","
                    "\"cpu\":8,"
                    "\"state\":\"placed\",\"written\":true,\"run_delay_ms\":null}");
        json_decref(vm);
        scene_free(scene);
}

static void every_kind_of_vcpu_is_told_apart(void **state) {
        static const struct {
                uint32_t vm;
                const char *state, *cpus;
                long long cpu;
        } cases[] = {{0, "placed", "0-3", 0},   {2, "pinned", "12-13", 12},   {3, "foreign", "14-15", -1},
                     {4, "shared", "8-15", -1}, {5, "unmanaged", "0-15", -1}, {6, "unseen", "", -1}};
        Scene *scene = scene_by_name("mixed");

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                json_t *vm = view_vm(&scene->view, cases[i].vm, true);
                json_t *vcpu = json_array_get(json_object_get(vm, "vcpu"), 0);

                assert_string_equal(text_of(vcpu, "state"), cases[i].state);
                assert_int_equal(number_of(vcpu, "cpu"), cases[i].cpu);
                assert_string_equal(text_of(vm, "cpus"), cases[i].cpus);
                json_decref(vm);
        }
        scene_free(scene);
}

static void a_mask_without_a_fresh_cpu_is_not_foreign(void **state) {
        Scene *scene = scene_by_name("mixed");
        json_t *vm;

        (void)state;
        cpuset_add_range(&scene->snapshot.fresh, 0, 13);
        vm = view_vm(&scene->view, 3, true);
        assert_string_equal(text_of(json_array_get(json_object_get(vm, "vcpu"), 0), "state"), "unmanaged");
        json_decref(vm);
        scene_free(scene);
}

static void a_blocker_is_named(void **state) {
        Scene *scene = scene_by_name("mixed");
        json_t *vm = view_vm(&scene->view, 4, false);

        (void)state;
        assert_string_equal(text_of(vm, "blocker"), "legacy");
        json_decref(vm);
        scene_free(scene);
}

static void names_that_are_no_utf8_are_still_shown(void **state) {
        static const struct {
                const char *name, *shown;
        } cases[] = {{"a\xff"
                      "b",
                      "a\xef\xbf\xbd"
                      "b"},
                     {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
                     {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                     {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                     {"cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd"},
                     {"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"}};
        Scene *scene = scene_by_name("tiny");

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                strcpy(scene->snapshot.vm[0].name, cases[i].name);
                json_t *vm = view_vm(&scene->view, 0, true);

                assert_string_equal(text_of(vm, "name"), cases[i].shown);
                json_decref(vm);
        }
        scene_free(scene);
}

static void the_host_is_drawn(void **state) {
        Scene *scene = scene_by_name("tiny");
        json_t *host;

        (void)state;
        cpuset_add(&scene->offline, 2);
        cpuset_add(&scene->policy.skip, 0);
        host = view_host(&scene->view);
        assert_json(
                host,
                "{\"nodes\":[{\"node\":0,\"clusters\":[{\"cluster\":0,\"cores\":[{\"cpus\":[0]},"
                "{\"cpus\":[1]}]}]}],\"owners\":[{\"cpu\":1,\"vm\":\"00000000-0000-4000-8000-000000000000\","
                "\"name\":\"only\",\"vcpu\":0,\"kind\":\"placed\"}],\"skip_cpuset\":\"0\",\"isolated\":\"\","
                "\"offline\":\"2\",\"cluster_level\":\"l3\"}");
        json_decref(host);
        scene_free(scene);
}

static void a_cpu_with_two_pins_has_two_owners(void **state) {
        Scene *scene = scene_by_name("smt");
        json_t *host = view_host(&scene->view), *owner;
        unsigned n = 0;
        size_t i;

        (void)state;
        json_array_foreach (json_object_get(host, "owners"), i, owner)
                n += number_of(owner, "cpu") == 12;
        assert_int_equal(n, 2);
        json_decref(host);
        scene_free(scene);
}

static void moves_are_told(void **state) {
        Scene *scene = scene_by_name("mixed");
        json_t *moves = view_moves(&scene->view), *score = view_score(&scene->plan.before);

        (void)state;
        assert_int_equal(json_array_size(moves), 2);
        assert_json(json_array_get(moves, 0),
                    "{\"vm\":\"00000000-0000-4000-8000-000000000001\",\"name\":\"db1\",\"vcpu\":3,"
                    "\"kind\":\"defrag\",\"from\":9,\"to\":8,\"mask\":\"0-15\"}");
        assert_json(score, "{\"unplaced\":2,\"excess_nodes\":0,\"excess_clusters\":2,\"shared_cores\":0}");
        json_decref(moves);
        json_decref(score);
        scene_free(scene);
}

static void affinity_is_as_documented(void **state) {
        Scene *scene = scene_by_name("mixed");
        json_t *one = view_affinity(&scene->view, 1), *none = view_affinity(&scene->view, 4),
               *all = view_affinity(&scene->view, -1);

        (void)state;
        assert_json(
                one,
                "{\"00000000-0000-4000-8000-000000000001\":{\"uuid\":\"00000000-0000-4000-8000-"
                "000000000001\","
                "\"name\":\"db1\",\"tgid\":2000,\"ioThreadIds\":[2005,2006],\"domainAffinityMap\":{\"0\":{"
                "\"numaId\":0,\"groups\":[{\"id\":\"00000000-0000-4000-8000-000000000001_0_1_0\","
                "\"clusterId\":1,"
                "\"layerId\":0,\"start\":0,\"nrCpus\":3,\"usedBitmap\":\"1110\",\"entityPids\":[2010,2011,"
                "2012]}],"
                "\"vcpuAffinityInfoMap\":{\"0\":{\"vcpu\":0,\"pid\":2010,\"cpuIdx\":4},\"1\":{\"vcpu\":1,"
                "\"pid\":2011,\"cpuIdx\":5},\"2\":{\"vcpu\":2,\"pid\":2012,\"cpuIdx\":6}}},\"1\":{\"numaId\":"
                "1,"
                "\"groups\":[{\"id\":\"00000000-0000-4000-8000-000000000001_1_2_0\",\"clusterId\":2,"
                "\"layerId\":0,"
                "\"start\":0,\"nrCpus\":1,\"usedBitmap\":\"1000\",\"entityPids\":[2013]}],"
                "\"vcpuAffinityInfoMap\":{\"3\":{\"vcpu\":3,\"pid\":2013,\"cpuIdx\":8}}}}}}");
        assert_int_equal(json_object_size(none), 0);
        assert_int_equal(json_object_size(all), 4);
        json_decref(one);
        json_decref(none);
        json_decref(all);
        scene_free(scene);
}

/* CPUs of one cluster whose numbers are far apart: 4-7 and 20-23. */
static void a_bitmap_follows_the_cluster_s_own_order(void **state) {
        Scene *scene = scene_new(2, 2, 4, 2);
        uint32_t vm = scene_vm(scene, "apart", 3, VERDICT_PLACED, REASON_NONE);
        json_t *affinity, *group;

        (void)state;
        scene_place(scene, vm, "5,7,22");
        scene_judge(scene, vm, 1, 1);
        affinity = view_affinity(&scene->view, (int)vm);
        group = json_array_get(
                json_object_get(json_object_get(json_object_get(json_object_get(affinity,
                                                                                scene->snapshot.vm[vm].uuid),
                                                                "domainAffinityMap"),
                                                "0"),
                                "groups"),
                0);
        assert_string_equal(text_of(group, "usedBitmap"), "01010010");
        assert_int_equal(number_of(group, "start"), 1);
        assert_int_equal(number_of(group, "nrCpus"), 3);
        json_decref(affinity);
        scene_free(scene);
}

static void while_observing_affinity_tells_facts_only(void **state) {
        Scene *scene = scene_by_name("observed");
        json_t *affinity = view_affinity(&scene->view, -1);

        (void)state;
        assert_int_equal(json_object_size(affinity), 1);
        assert_non_null(json_object_get(affinity, scene->snapshot.vm[1].uuid));
        json_decref(affinity);
        scene_free(scene);
}

/* Every sentence, joined by newlines; the caller frees it. */
static char *explanation_of(const Scene *scene, uint32_t vm) {
        json_t *explained = view_explain(&scene->view, vm, 1500), *sentence;
        char *text = NULL;
        size_t size, i;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        assert_non_null(explained);
        json_array_foreach (json_object_get(explained, "sentences"), i, sentence)
                fprintf(f, "%s\n", json_string_value(sentence));
        fclose(f);
        json_decref(explained);
        return text;
}

static void assert_explains(const Scene *scene, uint32_t vm, const char *wanted) {
        char *text = explanation_of(scene, vm);

        if (!strstr(text, wanted))
                fail_msg("\"%s\" is not in:\n%s", wanted, text);
        free(text);
}

static void explanations_name_facts(void **state) {
        Scene *scene = scene_by_name("mixed");

        (void)state;
        assert_explains(scene, 0, "Each of its 4 vCPUs has a CPU of its own: 0-3, in cluster 0 of node 0.");
        assert_explains(scene, 1, "It spans 2 NUMA nodes and 2 clusters; 1 node and 1 cluster would do.");
        assert_explains(scene, 1, "The bucket of move credits holds 1.5 now.");
        scene->plan.verdict[1].reason = REASON_CONFIGURED;
        assert_explains(scene, 1, "It is only observed (manage = observe): where its vCPUs are is not the daemon's choice.");
        assert_explains(scene, 1, "With manage = yes in the settings the daemon would place it.");
        assert_explains(scene, 4,
                        "Its range, named by its operator, is CPUs 8-15: 8 CPUs, in clusters 2-3 of node 1.");
        assert_explains(scene, 4, "Of the 8 CPUs that it may use, 3 are owned and 5 free.");
        assert_explains(scene, 4, "legacy (2) and db1 (1).");
        assert_explains(scene, 4, "Most in the way is legacy: its operator bound it there.");
        scene_free(scene);
}

static void explains_dynamic(void **state) {
        Scene *scene = scene_new(1, 2, 4, 1);
        uint32_t vm = scene_vm(scene, "a", 1, VERDICT_PLACED, REASON_NONE);
        CpuSet all = {};

        (void)state;
        scene_place(scene, vm, "1");
        scene->snapshot.vm[vm].policy.sched = SCHED_DYNAMIC;
        assert_explains(scene, vm, "bound to an idle one instead. 0 are away now.");
        cpuset_add_range(&all, 0, 7); /* as it is where the kernel has preferred sets */
        scene->plan.target[scene->snapshot.vm[vm].first_vcpu].mask = pool_intern(&scene->snapshot.pool, &all);
        assert_explains(scene, vm, "prefers its CPU, and the kernel runs it elsewhere on CPUs 0-7 while");
        scene_free(scene);
}

static void explanations_say_what_takes_cpus_away(void **state) {
        Scene *scene = scene_new(1, 2, 4, 1);
        uint32_t vm = scene_vm(scene, "a", 1, VERDICT_PLACED, REASON_NONE);
        CpuSet cpuset = {};

        (void)state;
        scene_range(scene, vm, "0-9");
        cpuset_add_range(&cpuset, 0, 5);
        scene->snapshot.vcpu[0].cpuset = pool_intern(&scene->snapshot.pool, &cpuset);
        cpuset_add(&scene->policy.skip, 0);
        scene_place(scene, vm, "1");
        assert_explains(scene, vm, "CPUs 8-9 of that are not for its vCPUs: they are offline.");
        assert_explains(scene, vm, "CPUs 0 of that are not for its vCPUs: skip-cpuset names them.");
        assert_explains(
                scene, vm,
                "CPUs 6-7 of that are not for its vCPUs: the cpuset of its control group lacks them.");
        scene_free(scene);
}

static void every_verdict_and_reason_is_explained(void **state) {
        Scene *scene = scene_by_name("mixed");

        (void)state;
        for (unsigned kind = 0; kind < VERDICT_KINDS; kind++)
                for (unsigned reason = 0; reason < REASONS; reason++)
                        for (uint32_t vm = 0; vm < scene->snapshot.n_vms; vm++) {
                                scene->plan.verdict[vm].kind = kind;
                                scene->plan.verdict[vm].reason = reason;
                                char *text = explanation_of(scene, vm);

                                assert_true(strlen(text) > 20);
                                free(text);
                        }
        scene_free(scene);
}

/* The planner's own rounds: what the view says of them must agree with itself. */

static void plan_scene(Scene *scene, bool acting) {
        History *history = calloc(1, sizeof(*history));
        PlanWork *work = calloc(1, plan_work_size());
        PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};

        assert_non_null(history);
        assert_non_null(work);
        history_clear(history);
        plan_make(&scene->topology, &scene->snapshot, &scene->policy, history, &request, 1000000000, work,
                  &scene->plan);
        scene->view.acting = acting;
        free(history);
        free(work);
}

static void assert_owners_are_single(const Scene *scene) {
        json_t *host = view_host(&scene->view), *owner;
        CpuSet seen = {};
        size_t i;

        json_array_foreach (json_object_get(host, "owners"), i, owner) {
                unsigned cpu = (unsigned)number_of(owner, "cpu");

                assert_false(cpuset_has(&seen, cpu));
                cpuset_add(&seen, cpu);
        }
        assert_true(cpuset_equal(&seen, &scene->plan.owned));
        json_decref(host);
}

static void a_planned_round_is_shown_as_it_is(void **state) {
        Scene *scene = scene_new(2, 2, 4, 1);
        uint32_t a = scene_vm(scene, "a", 4, VERDICT_UNSEEN, REASON_NONE),
                 b = scene_vm(scene, "b", 3, VERDICT_UNSEEN, REASON_NONE),
                 c = scene_vm(scene, "c", 6, VERDICT_UNSEEN, REASON_NONE),
                 d = scene_vm(scene, "d", 1, VERDICT_UNSEEN, REASON_NONE);
        json_t *vm, *affinity;

        (void)state;
        scene_range(scene, a, "4-15");
        scene_range(scene, b, "0-3");
        scene_range(scene, c, "0-3");
        scene_pin(scene, d, 0, 9);
        plan_scene(scene, true);
        assert_owners_are_single(scene);
        vm = view_vm(&scene->view, a, true);
        assert_string_equal(text_of(vm, "verdict"), "PLACED");
        assert_int_equal(json_array_size(json_object_get(vm, "clusters")), scene->plan.verdict[a].clusters);
        json_decref(vm);
        vm = view_vm(&scene->view, c, true);
        assert_string_equal(text_of(vm, "verdict"), "SHARED");
        assert_string_equal(text_of(json_array_get(json_object_get(vm, "vcpu"), 0), "state"), "shared");
        json_decref(vm);
        vm = view_vm(&scene->view, d, true);
        assert_string_equal(text_of(vm, "verdict"), "PINNED");
        assert_string_equal(text_of(vm, "cpus"), "9");
        json_decref(vm);
        affinity = view_affinity(&scene->view, -1);
        assert_int_equal(json_object_size(affinity), 3);
        json_decref(affinity);
        scene->view.acting = false;
        affinity = view_affinity(&scene->view, -1);
        assert_int_equal(json_object_size(affinity), 1);
        json_decref(affinity);
        scene_free(scene);
}

static void layers_are_shown(void **state) {
        Scene *scene = scene_new(1, 1, 4, 1);
        uint32_t a = scene_vm(scene, "a", 4, VERDICT_UNSEEN, REASON_NONE),
                 b = scene_vm(scene, "b", 2, VERDICT_UNSEEN, REASON_NONE);
        json_t *vm, *affinity, *nodes, *groups, *story;

        (void)state;
        scene->snapshot.vm[a].policy.sched = scene->snapshot.vm[b].policy.sched = SCHED_DYNAMIC;
        plan_scene(scene, true);
        assert_owners_are_single(scene);
        vm = view_vm(&scene->view, b, true);
        assert_string_equal(text_of(vm, "verdict"), "LAYERED");
        assert_string_equal(text_of(json_array_get(json_object_get(vm, "vcpu"), 0), "state"), "layered");
        json_decref(vm);
        affinity = view_affinity(&scene->view, (int)b);
        nodes = json_object_get(json_object_get(affinity, scene->snapshot.vm[b].uuid), "domainAffinityMap");
        groups = json_object_get(json_object_iter_value(json_object_iter(nodes)), "groups");
        assert_int_equal(json_array_size(groups), 1);
        assert_int_equal(number_of(json_array_get(groups, 0), "layerId"), 1);
        assert_int_equal(number_of(json_array_get(groups, 0), "nrCpus"), 2);
        json_decref(affinity);
        story = view_explain(&scene->view, b, 0);
        assert_non_null(strstr(json_string_value(json_array_get(json_object_get(story, "sentences"), 0)),
                               "they live on CPUs 0-1"));
        json_decref(story);
        scene_free(scene);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(vms_are_found_by_uuid_then_name),
                cmocka_unit_test(layers_are_shown),
                cmocka_unit_test(a_vm_has_all_members),
                cmocka_unit_test(a_vcpu_has_all_members),
                cmocka_unit_test(every_kind_of_vcpu_is_told_apart),
                cmocka_unit_test(a_mask_without_a_fresh_cpu_is_not_foreign),
                cmocka_unit_test(a_blocker_is_named),
                cmocka_unit_test(names_that_are_no_utf8_are_still_shown),
                cmocka_unit_test(the_host_is_drawn),
                cmocka_unit_test(a_cpu_with_two_pins_has_two_owners),
                cmocka_unit_test(moves_are_told),
                cmocka_unit_test(affinity_is_as_documented),
                cmocka_unit_test(a_bitmap_follows_the_cluster_s_own_order),
                cmocka_unit_test(while_observing_affinity_tells_facts_only),
                cmocka_unit_test(explanations_name_facts),
                cmocka_unit_test(explanations_say_what_takes_cpus_away),
                cmocka_unit_test(explains_dynamic),
                cmocka_unit_test(every_verdict_and_reason_is_explained),
                cmocka_unit_test(a_planned_round_is_shown_as_it_is),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */

/* Cpusets that another program left narrower than libvirt's ranges. */

#include "daemon/leftovers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scene.h"
#include "util/cpulist.h"

/* Gives vCPU number vcpu a cpuset of its own. */
static void narrow(Scene *scene, uint32_t vm, unsigned vcpu, const char *list) {
        CpuSet set;

        assert_int_equal(cpulist_parse(list, &set), 0);
        scene->snapshot.vcpu[scene->snapshot.vm[vm].first_vcpu + vcpu].cpuset = pool_intern(&scene->snapshot.pool, &set);
}

static unsigned found(const Scene *scene, uint32_t vm, uint32_t *ret_vcpu) {
        return leftovers_find(&scene->snapshot, &scene->topology.online, vm, ret_vcpu);
}

static void whole_cpusets_are_no_leftovers(void **state) {
        Scene *scene = scene_new(1, 2, 4, 1);
        uint32_t vm = scene_vm(scene, "web", 2, VERDICT_PLACED, REASON_NONE), vcpu = UINT32_MAX;

        (void)state;
        assert_int_equal(found(scene, vm, &vcpu), 0);
        scene_range(scene, vm, "0-3");
        narrow(scene, vm, 0, "0-3");
        narrow(scene, vm, 1, "0-7"); /* libvirt's is AND-ed with what is wider */
        assert_int_equal(found(scene, vm, &vcpu), 0);
        assert_int_equal(vcpu, UINT32_MAX);
        scene_free(scene);
}

static void narrow_ones_are_found_and_the_first_is_named(void **state) {
        Scene *scene = scene_new(1, 2, 4, 1);
        uint32_t vm = scene_vm(scene, "web", 3, VERDICT_PLACED, REASON_NONE);
        uint32_t other = scene_vm(scene, "db", 1, VERDICT_PLACED, REASON_NONE), vcpu = 0;

        (void)state;
        narrow(scene, vm, 1, "0-3");
        narrow(scene, vm, 2, "4");
        assert_int_equal(found(scene, vm, &vcpu), 2);
        assert_int_equal(vcpu, scene->snapshot.vm[vm].first_vcpu + 1);
        assert_int_equal(found(scene, other, &vcpu), 0);
        scene_free(scene);
}

static void cpus_that_came_and_went_are_the_kernels_doing(void **state) {
        Scene *scene = scene_new(1, 2, 4, 1);
        uint32_t vm = scene_vm(scene, "web", 1, VERDICT_PLACED, REASON_NONE), vcpu = 0;

        (void)state;
        scene_range(scene, vm, "0-9"); /* 8 and 9 are offline */
        narrow(scene, vm, 0, "0-6");
        assert_int_equal(found(scene, vm, &vcpu), 1);
        cpuset_add(&scene->snapshot.fresh, 7);
        assert_int_equal(found(scene, vm, &vcpu), 0);
        scene_free(scene);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(whole_cpusets_are_no_leftovers),
                cmocka_unit_test(narrow_ones_are_found_and_the_first_is_named),
                cmocka_unit_test(cpus_that_came_and_went_are_the_kernels_doing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

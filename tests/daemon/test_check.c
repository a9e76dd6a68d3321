/* SPDX-License-Identifier: Apache-2.0 */

/* What is judged of the host, where no golden answer shows it. */

#include "daemon/view_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static void the_host_has_a_cpu_that_no_vcpu_owns(void **state) {
        Scene *scene = scene_new(1, 2, 2, 1);
        uint32_t vm = scene_vm(scene, "a", 3, VERDICT_PLACED, REASON_NONE);

        (void)state;
        assert_true(view_host_has_cpu(&scene->view));
        scene_place(scene, vm, "0-2");
        scene_judge(scene, vm, 1, 1);
        assert_true(view_host_has_cpu(&scene->view));
        cpuset_add(&scene->topology.isolated, 3); /* nobody is put there */
        assert_false(view_host_has_cpu(&scene->view));
        scene_free(scene);
}

static const char *state_of(json_t *checks, const char *name) {
        json_t *check;
        size_t i;

        json_array_foreach (checks, i, check)
                if (strcmp(json_string_value(json_object_get(check, "name")), name) == 0)
                        return json_string_value(json_object_get(check, "state"));
        return NULL;
}

/* What can not be done is a problem only for whom it should be done. */
static void rights_matter_to_whom_acts(void **state) {
        Scene *scene = scene_new(1, 2, 2, 1);
        uint32_t vm = scene_vm(scene, "a", 4, VERDICT_PLACED, REASON_NONE);
        Outside outside = {};
        CheckInput input = {.reload_trouble = "",
                            .view = &scene->view,
                            .trouble = "",
                            .link_uri = "",
                            .link_error = "",
                            .state_file = "",
                            .metrics_file = "",
                            .metrics_trouble = "",
                            .admin_group = "",
                            .outside = &outside};
        json_t *checks = view_check(&input);

        (void)state;
        scene_place(scene, vm, "0-3");
        scene_judge(scene, vm, 1, 1);
        assert_string_equal(state_of(checks, "rights"), "warning");
        assert_string_equal(state_of(checks, "host"), "ok");
        json_decref(checks);
        input.act = true;
        checks = view_check(&input);
        assert_string_equal(state_of(checks, "rights"), "problem");
        assert_string_equal(state_of(checks, "host"), "warning");
        json_decref(checks);
        input.can_bind = input.denied = true;
        checks = view_check(&input);
        assert_string_equal(state_of(checks, "rights"), "problem");
        json_decref(checks);
        scene_free(scene);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_host_has_a_cpu_that_no_vcpu_owns),
                cmocka_unit_test(rights_matter_to_whom_acts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

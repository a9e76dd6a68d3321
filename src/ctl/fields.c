/* SPDX-License-Identifier: Apache-2.0 */

/* Reading answers: a member that is missing or of another type counts as
 * nothing, so a daemon of another version is shown as far as it is understood. */

#include <stdlib.h>

#include "ctl/ctl.h"
#include "util/cpulist.h"

const char *get_string(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

long long get_number(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

double get_real(const json_t *object, const char *key) {
        return json_number_value(json_object_get(object, key));
}

bool get_bool(const json_t *object, const char *key) {
        return json_is_true(json_object_get(object, key));
}

char *get_list(const json_t *object, const char *key) {
        CpuSet numbers = {};
        const json_t *value;
        size_t i;

        json_array_foreach (json_object_get(object, key), i, value) {
                json_int_t number = json_integer_value(value);

                if (number >= 0 && number < CPUS_MAX)
                        cpuset_add(&numbers, (unsigned)number);
        }
        return cpulist_new(&numbers);
}

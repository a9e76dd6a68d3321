/* SPDX-License-Identifier: Apache-2.0 */

/* Reading answers: a member that is missing or of another type counts as
 * nothing, so a daemon of another version is shown as far as it is understood. */

#include <stdlib.h>
#include <string.h>

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

void node_cpus(const json_t *node, CpuSet *ret) {
        const json_t *cluster, *core, *number;
        size_t i, j, k;

        cpuset_clear(ret);
        json_array_foreach (json_object_get(node, "clusters"), i, cluster)
                json_array_foreach (json_object_get(cluster, "cores"), j, core)
                        json_array_foreach (json_object_get(core, "cpus"), k, number) {
                                json_int_t cpu = json_integer_value(number);

                                if (cpu >= 0 && cpu < CPUS_MAX)
                                        cpuset_add(ret, (unsigned)cpu);
                        }
}

time_t event_time(const json_t *event) {
        return (time_t)(get_number(event, "time_us") / 1000000);
}

void time_text(time_t seconds, const char *format, char ret[TIME_TEXT_SIZE]) {
        struct tm local;

        if (!localtime_r(&seconds, &local) || strftime(ret, TIME_TEXT_SIZE, format, &local) == 0)
                strcpy(ret, "?");
}

const char *plural(long long n) {
        return n == 1 ? "" : "s";
}

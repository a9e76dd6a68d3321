/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For how long vCPUs had to wait. Read here from /proc where the daemon does not
 * send it: the file is world-readable, and who may not see it does without.
 */

#include "ctl/ctl.h"
#include "util/cleanup.h"

double run_delay_ms(const json_t *vm, const json_t *vcpu) {
        const json_t *sent = json_object_get(vcpu, "run_delay_ms");
        AUTO_FCLOSE FILE *f = NULL;
        unsigned long long ran, waited;
        char path[96];

        if (json_is_number(sent))
                return json_number_value(sent);
        if (get_number(vcpu, "thread") <= 0)
                return -1;
        snprintf(path, sizeof(path), "/proc/%lld/task/%lld/schedstat", get_number(vm, "pid"),
                 get_number(vcpu, "thread"));
        f = fopen(path, "re");
        if (!f || fscanf(f, "%llu %llu", &ran, &waited) != 2)
                return -1;
        return (double)waited / 1e6;
}

void table_add_delay(Table *table, double ms) {
        if (ms < 0)
                table_add(table, COLOUR_NONE, "-");
        else if (ms < 10000)
                table_add(table, COLOUR_NONE, "%.0f ms", ms);
        else
                table_add(table, COLOUR_NONE, "%.0f s", ms / 1000);
}

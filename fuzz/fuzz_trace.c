/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a trace, and as a file of snapshots, for vas-sim: refused in one
 * line, or within the limits that the replay relies on. */

#include "fuzz.h"

#include "core/cpuset.h"
#include "sim/trace.h"

static void read_as(const uint8_t *data, size_t size, TraceForm form) {
        FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
        Complaint why = {};
        Trace *trace = NULL;

        must(file != NULL);
        if (trace_read(file, "a file", form, &trace, &why) == 0) {
                must(trace != NULL);
                for (uint32_t i = 0; i < trace->n_vms; i++)
                        must(trace->vm[i].n_vcpus > 0 && trace->vm[i].n_vcpus <= CPUS_MAX);
        } else {
                must(trace == NULL);
                must_say_why(why.text, sizeof(why.text));
        }
        trace_free(trace);
        fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0; /* fmemopen() refuses it */
        read_as(data, size, FORM_TRACE);
        read_as(data, size, FORM_SNAPSHOTS);
        return 0;
}

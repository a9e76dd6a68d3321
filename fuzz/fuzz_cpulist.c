/* SPDX-License-Identifier: Apache-2.0 */

/* Any text as a list of CPUs: what is taken, is the same when it is written and
 * read again, and a refusal leaves the set as it was. */

#include "fuzz.h"

#include "util/cpulist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = fuzz_text(data, size), *written;
        CpuSet set, before, again;

        memset(&set, 0x55, sizeof(set));
        before = set;
        if (cpulist_parse(text, &set) < 0)
                must(cpuset_equal(&set, &before));
        else {
                written = cpulist_new(&set);
                must(written && cpulist_parse(written, &again) == 0 && cpuset_equal(&set, &again));
                free(written);
        }
        free(text);
        return 0;
}

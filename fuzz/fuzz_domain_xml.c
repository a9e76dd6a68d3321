/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever bytes libvirt might hand over as a domain's XML: no crash, and what is
 * understood keeps to its limits.
 */

#include "fuzz.h"

#include "platform/domain_xml.h"

static void check(const VmFact *fact) {
        must(fact->name && strlen(fact->uuid) == VM_UUID_SIZE - 1);
        must(fact->over_limit == (fact->n_vcpus == 0) && fact->n_vcpus <= VM_VCPUS_MAX);
        must(fact->guest_threads > 0 && fact->n_ranges == 0);
        for (unsigned i = 0; i < fact->n_vcpus; i++) {
                must(fact->vcpu[i].number < CPUS_MAX);
                must(i == 0 || fact->vcpu[i - 1].number < fact->vcpu[i].number);
        }
        for (unsigned i = 0; i < fact->n_devices; i++)
                must(memchr(fact->device[i], '\0', sizeof(fact->device[i])));
        must(fact->wish.fault < WISH_FAULTS);
        must(fact->wish.fault == WISH_FINE || fact->wish.fault > WISH_BAD_LAST ||
               (!fact->wish.has_manage && !fact->wish.has_layout && !fact->wish.has_sched));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char why[DOMAIN_WHY_SIZE];
        VmFact *fact = NULL, *again = NULL;

        if (domain_xml_parse((const char *)data, size, &fact, why) != 0) {
                must(!fact);
                return 0;
        }
        check(fact);
        must(domain_xml_parse((const char *)data, size, &again, why) == 0 && vm_fact_equal(fact, again));
        vm_fact_free(again);
        vm_fact_free(fact);
        return 0;
}

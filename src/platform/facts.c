/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/facts.h"

#include <stdlib.h>
#include <string.h>

VmFact *vm_fact_free(VmFact *fact) {
        if (!fact || atomic_fetch_sub(&fact->n_sharers, 1) > 0)
                return NULL;
        free(fact->name);
        free(fact->vcpu);
        free(fact->range);
        free(fact->device);
        free(fact);
        return NULL;
}

FactList *fact_list_free(FactList *list) {
        if (!list)
                return NULL;
        for (unsigned i = 0; list->vm && i < list->n; i++)
                vm_fact_free(list->vm[i]);
        free(list->vm);
        free(list);
        return NULL;
}

VmFact *vm_fact_share(VmFact *fact) {
        atomic_fetch_add(&fact->n_sharers, 1);
        return fact;
}

static bool text_equal(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

static bool wish_equal(const VmWish *a, const VmWish *b) {
        return a->has_manage == b->has_manage && a->has_layout == b->has_layout && a->has_sched == b->has_sched &&
               a->manage == b->manage && a->layout == b->layout && a->sched == b->sched && a->fault == b->fault;
}

static bool vcpus_equal(const VmFact *a, const VmFact *b) {
        if (a->n_vcpus != b->n_vcpus)
                return false;
        for (unsigned i = 0; i < a->n_vcpus; i++)
                if (a->vcpu[i].number != b->vcpu[i].number || a->vcpu[i].guest_cell != b->vcpu[i].guest_cell ||
                    a->vcpu[i].range != b->vcpu[i].range)
                        return false;
        return true;
}

static bool ranges_equal(const VmFact *a, const VmFact *b) {
        if (a->n_ranges != b->n_ranges)
                return false;
        for (unsigned i = 0; i < a->n_ranges; i++)
                if (!cpuset_equal(&a->range[i], &b->range[i]))
                        return false;
        return true;
}

static bool devices_equal(const VmFact *a, const VmFact *b) {
        if (a->n_devices != b->n_devices)
                return false;
        for (unsigned i = 0; i < a->n_devices; i++)
                if (strcmp(a->device[i], b->device[i]) != 0)
                        return false;
        return true;
}

bool vm_fact_equal(const VmFact *a, const VmFact *b) {
        return a->id == b->id && a->starting == b->starting && a->range_named == b->range_named &&
               a->emulator_named == b->emulator_named && a->over_limit == b->over_limit &&
               a->guest_threads == b->guest_threads && a->numatune_named == b->numatune_named &&
               strcmp(a->uuid, b->uuid) == 0 && text_equal(a->name, b->name) &&
               wish_equal(&a->wish, &b->wish) && cpuset_equal(&a->numatune, &b->numatune) &&
               vcpus_equal(a, b) && ranges_equal(a, b) && devices_equal(a, b);
}

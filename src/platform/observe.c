/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One observation: each VM that libvirt names is looked at, cheaply where its
 * record of the last look still holds, else in full; then all is written down
 * in order of arrival. A cheap look does not notice everything, so each VM has
 * its turn of being looked at in full, a few in each observation: one
 * in full costs as much as thirty cheap ones.
 *
 * Records name CPU sets by the host's own pool, so that equal sets are kept
 * once; the pool only grows. When it is well filled everything is forgotten and
 * looked at anew, as for a full observation.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/real_host.h"

enum {
        POOL_WELL_FILLED = POOL_SETS_MAX / 4 * 3,
        HELPERS_EVERY = 6,
        TURN_EVERY = 120, /* observations of all between a VM's turns */
};

/* Where among the first n records that UUID is; -1: nowhere. */
static int find_record(const VmRecordList *list, unsigned n, const char *uuid) {
        unsigned low = 0, high = n;

        while (low < high) {
                unsigned middle = (low + high) / 2;
                int order = strcmp(uuid, list->record[middle]->uuid);

                if (order == 0)
                        return (int)middle;
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return -1;
}

static int by_uuid(const void *a, const void *b) {
        return strcmp((*(VmRecord *const *)a)->uuid, (*(VmRecord *const *)b)->uuid);
}

/* In order of arrival; what has not arrived for us comes last. */
static int by_arrival(const void *a, const void *b) {
        uint64_t start_a = (*(VmRecord *const *)a)->start_ticks,
                 start_b = (*(VmRecord *const *)b)->start_ticks;

        if (start_a != start_b)
                return start_a - 1 < start_b - 1 ? -1 : 1;
        return by_uuid(a, b);
}

static void list_done(RealHost *host, VmRecordList *list) {
        for (unsigned i = 0; i < list->n; i++)
                vm_record_free(host, list->record[i]);
        free(list->record);
        *list = (VmRecordList){};
}

void vm_record_written(RealHost *host, int32_t pid) {
        for (unsigned i = 0; i < host->records.n; i++)
                if (host->records.record[i]->pid == pid)
                        host->records.record[i]->written = true;
}

void vm_record_list_done(RealHost *host) {
        list_done(host, &host->records);
}

/* The records that the list of facts no longer names. */
static void drop_gone(RealHost *host) {
        VmRecordList *list = &host->records;
        unsigned kept = 0;

        for (unsigned i = 0; i < list->n; i++)
                if (list->record[i]->fact)
                        list->record[kept++] = list->record[i];
                else
                        vm_record_free(host, list->record[i]);
        list->n = kept;
}

static int list_reserve(VmRecordList *list, unsigned room) {
        VmRecord **grown;

        if (room <= list->room)
                return 0;
        grown = reallocarray(list->record, room, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        list->record = grown;
        list->room = room;
        return 0;
}

/* Process numbers spread the turns well enough. */
static bool has_its_turn(const RealHost *host, const VmRecord *record) {
        return (host->n_observed + (uint64_t)record->pid) % TURN_EVERY == 0;
}

/* A thread that came may be hidden by one that went: as many as before. Whether it is
 * the helpers that we know is looked at now and then. */
static bool helpers_turn(const RealHost *host, const VmRecord *record) {
        return (host->n_observed + (uint64_t)record->pid) % HELPERS_EVERY == 0;
}

static bool is_to_be_read(RealHost *host, VmRecord *record, const VmFact *fact, Look look) {
        if (look == LOOK_VCPUS && helpers_turn(host, record))
                look = LOOK_HELPERS;
        return look == LOOK_FULL || (look != LOOK_NEWS && has_its_turn(host, record)) ||
               !vm_record_holds(host, record, fact, look);
}

/* Brings the record of one VM up to date, or makes one at the list's end. */
static int look_at(RealHost *host, const VmFact *fact, const Topology *topology, Look look,
                   unsigned n_known) {
        VmRecordList *list = &host->records;
        int at = find_record(list, n_known, fact->uuid), r;
        VmRecord *known = at < 0 ? NULL : list->record[at], *fresh = NULL;

        if (!known || is_to_be_read(host, known, fact, look)) {
                if (known)
                        vm_record_let_go(host, known);
                r = vm_record_read(host, fact, topology, known, &fresh);
                if (r < 0)
                        return r;
                vm_record_free(host, known);
                list->record[at < 0 ? list->n++ : (unsigned)at] = known = fresh;
        }
        known->fact = fact;
        return 0;
}

/* Leaves the host with a record for each fact, by UUID, made or proven now. */
static int look_at_all(RealHost *host, const FactList *facts, const Topology *topology, Look look) {
        VmRecordList *list = &host->records;
        unsigned n_known = list->n;
        int r = list_reserve(list, n_known + facts->n + 1);

        for (unsigned i = 0; i < n_known; i++)
                list->record[i]->fact = NULL;
        for (unsigned i = 0; r == 0 && i < facts->n; i++)
                r = look_at(host, facts->vm[i], topology, look, n_known);
        if (r < 0)
                return r;
        drop_gone(host);
        qsort(list->record, list->n, sizeof(*list->record), by_uuid);
        return 0;
}

/* One observation's way from the host's sets to the snapshot's. */
typedef struct Writer {
        RealHost *host;
        Snapshot *to;
        SetId *translated; /* by id in the host's pool; SET_NONE: not yet */
} Writer;

static SetId translate(Writer *writer, SetId id) {
        if (id == SET_NONE)
                return SET_NONE;
        if (writer->translated[id] == SET_NONE)
                writer->translated[id] = pool_intern(&writer->to->pool, pool_get(writer->host->pool, id));
        return writer->translated[id];
}

static Vm describe_vm(const VmRecord *record) {
        bool seen = record->sight == SIGHT_OK || record->sight == SIGHT_NO_THREADS;
        const VmFact *fact = record->fact;
        Vm vm = {.pid = seen ? record->pid : 0,
                 .start_ticks = seen ? record->start_ticks : 0,
                 .sight = record->sight,
                 .n_unlisted = (uint16_t)record->n_unlisted,
                 .guest_threads = fact->guest_threads,
                 .range_named = fact->range_named,
                 .emulator_named = fact->emulator_named,
                 .wish = fact->wish,
                 .mem_source = record->memory.source,
                 .n_mem = record->memory.n,
                 .n_device_nodes = record->devices.n};

        snprintf(vm.name, sizeof(vm.name), "%s", fact->name);
        snprintf(vm.uuid, sizeof(vm.uuid), "%s", fact->uuid);
        memcpy(vm.mem, record->memory.share, sizeof(vm.mem));
        memcpy(vm.device_node, record->devices.node, sizeof(vm.device_node));
        vm_policy_defaults(&vm.policy);
        return vm;
}

/* False when the snapshot's pool has no room for its sets. */
static bool write_vcpu(Writer *writer, const VmRecord *record, const SeenVcpu *seen, Vcpu *ret) {
        const VmFact *fact = record->fact;
        const VcpuFact *said = &fact->vcpu[seen->fact];
        bool ranged = said->range < fact->n_ranges;
        Vcpu vcpu = {.vm = (uint16_t)writer->to->n_vms,
                     .number = seen->number,
                     .guest_cell = said->guest_cell,
                     .tid = seen->tid,
                     .start_ticks = seen->start_ticks,
                     .range = ranged ? pool_intern(&writer->to->pool, &fact->range[said->range]) : SET_NONE,
                     .cpuset = translate(writer, seen->cpuset),
                     .mask = translate(writer, seen->mask),
                     .home = -1,
                     .last_ran = seen->last_ran};

        *ret = vcpu;
        return (vcpu.range != SET_NONE || !ranged) && (vcpu.mask != SET_NONE || vcpu.tid == 0) &&
               (vcpu.cpuset != SET_NONE || seen->cpuset == SET_NONE);
}

static bool write_vcpus(Writer *writer, const VmRecord *record) {
        Snapshot *to = writer->to;

        if (record->n_vcpus > VCPUS_MAX - to->n_vcpus)
                return false;
        for (unsigned i = 0; i < record->n_vcpus; i++)
                if (!write_vcpu(writer, record, &record->vcpu[i], &to->vcpu[to->n_vcpus + i]))
                        return false;
        return true;
}

/* Helpers past the limit are left out: no VM depends on them. */
static void write_helpers(Writer *writer, const VmRecord *record) {
        Snapshot *to = writer->to;

        for (unsigned i = 0; i < record->n_helpers && to->n_helpers < HELPERS_MAX; i++) {
                const SeenHelper *seen = &record->helper[i];

                to->helper[to->n_helpers++] = (Helper){.vm = (uint16_t)to->n_vms,
                                                       .kind = seen->kind,
                                                       .tid = seen->tid,
                                                       .start_ticks = seen->start_ticks,
                                                       .mask = translate(writer, seen->mask)};
        }
}

static void write_vm(Writer *writer, const VmRecord *record) {
        Snapshot *to = writer->to;

        if (to->n_vms == VMS_MAX) {
                to->n_beyond_limits++;
                return;
        }
        Vm vm = describe_vm(record);
        vm.first_vcpu = to->n_vcpus;
        if (write_vcpus(writer, record)) {
                vm.n_vcpus = (uint16_t)record->n_vcpus;
                to->n_vcpus += record->n_vcpus;
                write_helpers(writer, record);
        } else
                vm.sight = SIGHT_LIMIT;
        to->vm[to->n_vms++] = vm;
}

static int write_all(RealHost *host, Snapshot *ret) {
        size_t n = host->records.n;
        Writer writer = {.host = host, .to = ret};
        VmRecord **order = malloc((n ? n : 1) * sizeof(*order));

        writer.translated = calloc(host->pool->n + 1, sizeof(SetId));
        if (!order || !writer.translated) {
                free(order);
                free(writer.translated);
                return -ENOMEM;
        }
        memcpy(order, host->records.record, n * sizeof(*order));
        qsort(order, n, sizeof(*order), by_arrival);
        snapshot_clear(ret);
        for (size_t i = 0; i < n; i++)
                write_vm(&writer, order[i]);
        free(order);
        free(writer.translated);
        return 0;
}

int real_host_observe(RealHost *host, const FactList *facts, const Topology *topology, Look look,
                      Snapshot *ret) {
        int r;

        host->n_observed += look != LOOK_NEWS;
        if (host->pool->n >= POOL_WELL_FILLED)
                look = LOOK_FULL;
        if (look == LOOK_FULL)
                pool_clear(host->pool);
        r = look_at_all(host, facts, topology, look);
        if (r < 0) {
                /* Some records may be of sets forgotten: start anew next time. */
                vm_record_list_done(host);
                pool_clear(host->pool);
                return r;
        }
        return write_all(host, ret);
}

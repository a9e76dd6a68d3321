/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One domain takes two calls: its XML and its live pin info, about 0.35 ms together
 * (and one for its state, until it has started). (virDomainGetVcpus would tell more and costs 2 ms.)
 * They are not one transaction: what changes in between raises an event, and
 * the domain is read again.
 */

#include "platform/link_read.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/domain_xml.h"
#include "util/cleanup.h"

enum { MAP_BYTES = CPUS_MAX / 8, GONE = 1 };

static void cleanup_fact(VmFact **fact) {
        vm_fact_free(*fact);
}

void virt_error_line(char *ret, size_t size) {
        const char *text = virGetLastErrorMessage();

        snprintf(ret, size, "%s", text ? text : "unknown error");
        for (char *c = ret; *c; c++)
                if ((unsigned char)*c < ' ')
                        *c = ' ';
}

int virt_failure(const char *what, char why[LINK_WHY_SIZE]) {
        char error[LINK_WHY_SIZE];

        virt_error_line(error, sizeof(error));
        snprintf(why, LINK_WHY_SIZE, "%s: %.200s", what, error);
        return -EIO;
}

/* What a failed call means. (The next call, whichever, forgets its error.) */
static int read_failure(virDomainPtr domain, const char *what, char ret_why[LINK_WHY_SIZE]) {
        int code = virGetLastErrorCode();
        char error[LINK_WHY_SIZE];
        const char *name;

        virt_error_line(error, sizeof(error));
        if (code == VIR_ERR_NO_DOMAIN || (code == VIR_ERR_OPERATION_INVALID && virDomainIsActive(domain) == 0))
                return GONE;
        name = virDomainGetName(domain);
        snprintf(ret_why, LINK_WHY_SIZE, "can not read the %s of VM %.60s: %.160s", what, name ? name : "?", error);
        return -EIO;
}

static int read_starting(virDomainPtr domain, bool *ret, char ret_why[LINK_WHY_SIZE]) {
        int state, reason;

        if (virDomainGetState(domain, &state, &reason, 0) < 0)
                return read_failure(domain, "state", ret_why);
        *ret = state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_STARTING_UP;
        return 0;
}

/* A domain that is there, but of which no more is known. */
static VmFact *fact_of_identity(virDomainPtr domain) {
        CLEANUP(cleanup_fact) VmFact *fact = calloc(1, sizeof(*fact));
        const char *name = virDomainGetName(domain);

        if (!fact || virDomainGetUUIDString(domain, fact->uuid) < 0)
                return NULL;
        fact->name = strdup(name ? name : fact->uuid);
        fact->id = (int)virDomainGetID(domain);
        fact->guest_threads = 1;
        fact->over_limit = true;
        return fact->name ? STEAL_PTR(fact) : NULL;
}

static int read_description(virDomainPtr domain, VmFact **ret, char ret_why[LINK_WHY_SIZE]) {
        AUTO_FREE char *xml = virDomainGetXMLDesc(domain, 0);
        char why[DOMAIN_WHY_SIZE];
        int r;

        if (!xml)
                return read_failure(domain, "XML", ret_why);
        r = domain_xml_parse(xml, strlen(xml), ret, why);
        if (r <= 0)
                return r;
        *ret = fact_of_identity(domain);
        return *ret ? 0 : -ENOMEM;
}

/* The index of that range in the fact, which has room for one more. */
static uint16_t range_index(VmFact *fact, const CpuSet *range) {
        unsigned i;

        for (i = 0; i < fact->n_ranges; i++)
                if (cpuset_equal(&fact->range[i], range))
                        return (uint16_t)i;
        fact->range[fact->n_ranges++] = *range;
        return (uint16_t)i;
}

static void map_to_set(const unsigned char *map, CpuSet *ret) {
        cpuset_clear(ret);
        for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
                if (cpu % 8 == 0 && !map[cpu / 8]) {
                        cpu += 7;
                        continue;
                }
                if (map[cpu / 8] >> (cpu % 8) & 1)
                        cpuset_add(ret, cpu);
        }
}

/* Live pin info by vCPU number; libvirt's mock driver knows it only as "current". */
static int get_pins(virDomainPtr domain, unsigned n_maps, unsigned char *maps) {
        int n = virDomainGetVcpuPinInfo(domain, (int)n_maps, maps, MAP_BYTES, VIR_DOMAIN_AFFECT_LIVE);

        if (n < 0 && virGetLastErrorCode() == VIR_ERR_INVALID_ARG)
                n = virDomainGetVcpuPinInfo(domain, (int)n_maps, maps, MAP_BYTES, VIR_DOMAIN_AFFECT_CURRENT);
        return n;
}

static int read_ranges(virDomainPtr domain, VmFact *fact, char ret_why[LINK_WHY_SIZE]) {
        unsigned n_maps = fact->n_vcpus ? fact->vcpu[fact->n_vcpus - 1].number + 1U : 0;
        AUTO_FREE unsigned char *maps = calloc(n_maps ? n_maps : 1, MAP_BYTES);
        CpuSet range;
        int n;

        if (!maps)
                return -ENOMEM;
        if (n_maps == 0)
                return 0;
        n = get_pins(domain, n_maps, maps);
        if (n < 0)
                return read_failure(domain, "pin info", ret_why);
        if ((unsigned)n < n_maps) {
                snprintf(ret_why, LINK_WHY_SIZE, "VM %.60s changed while it was read", fact->name);
                return -EAGAIN;
        }
        fact->range = calloc(fact->n_vcpus, sizeof(*fact->range));
        if (!fact->range)
                return -ENOMEM;
        for (unsigned i = 0; i < fact->n_vcpus; i++) {
                map_to_set(maps + (size_t)fact->vcpu[i].number * MAP_BYTES, &range);
                fact->vcpu[i].range = range_index(fact, &range);
        }
        return 0;
}

int domain_read(virDomainPtr domain, const VmFact *known, VmFact **ret, char ret_why[LINK_WHY_SIZE]) {
        CLEANUP(cleanup_fact) VmFact *fact = NULL;
        bool starting = false;
        int r;

        /* Once started, a run is never starting again. */
        r = known && !known->starting ? 0 : read_starting(domain, &starting, ret_why);
        if (r != 0)
                return r;
        r = read_description(domain, &fact, ret_why);
        if (r != 0)
                return r;
        if (fact->id < 0 || (unsigned)fact->id != virDomainGetID(domain))
                return GONE;
        fact->starting = starting;
        r = read_ranges(domain, fact, ret_why);
        if (r != 0)
                return r;
        *ret = STEAL_PTR(fact);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into the daemon under test: of libvirt's events some never come, and
 * others come twice. VAS_DROP_EVENTS is a seed, or "all": then none comes. With a
 * seed, half of them are lost and half of the others come twice; which, depends on
 * the seed and on how many there were before. Each is noted as a line in the file
 * VAS_EVENTS_NOTE: how often it was delivered, which kind it was, and of a VM's life
 * what happened (both are libvirt's numbers).
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KINDS = VIR_DOMAIN_EVENT_ID_METADATA_CHANGE + 1 }; /* the highest that the daemon asks for */

/* What the daemon registered last for each kind, which is the same at each connection. */
static struct Wanted {
        virConnectDomainEventGenericCallback call;
        void *data;
} wanted[KINDS];

static uint64_t mixed(uint64_t x) {
        x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15;
        x = (x ^ (x >> 29)) * 0xd6e8feb86659fd93;
        return x ^ (x >> 32);
}

/* How often this event is delivered. */
static unsigned times(const struct Wanted *to, int what) {
        static atomic_uint n_events;
        const char *which = getenv("VAS_DROP_EVENTS"), *path = getenv("VAS_EVENTS_NOTE");
        uint64_t dice = mixed(strtoull(which, NULL, 10) * 1000003 + atomic_fetch_add(&n_events, 1));
        unsigned n = strcmp(which, "all") == 0 || dice & 1 ? 0 : dice & 2 ? 2 : 1;
        int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;

        if (fd >= 0) {
                dprintf(fd, "%u %d %d\n", n, (int)(to - wanted), what);
                close(fd);
        }
        return n;
}

/* One for each shape of callback that the daemon has; data is a kind of events. */

#define THE_REAL(type) ((type)(void (*)(void))to->call)

static int lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *data) {
        const struct Wanted *to = data;

        for (unsigned n = times(to, event); n > 0; n--)
                THE_REAL(virConnectDomainEventCallback)(connection, domain, event, detail, to->data);
        return 0;
}

static void tunable(virConnectPtr connection, virDomainPtr domain, virTypedParameterPtr params, int n_params,
                    void *data) {
        const struct Wanted *to = data;

        for (unsigned n = times(to, 0); n > 0; n--)
                THE_REAL(virConnectDomainEventTunableCallback)
        (connection, domain, params, n_params, to->data);
}

static void device(virConnectPtr connection, virDomainPtr domain, const char *alias, void *data) {
        const struct Wanted *to = data;

        for (unsigned n = times(to, 0); n > 0; n--)
                THE_REAL(virConnectDomainEventDeviceAddedCallback)(connection, domain, alias, to->data);
}

static void metadata(virConnectPtr connection, virDomainPtr domain, int type, const char *uri, void *data) {
        const struct Wanted *to = data;

        for (unsigned n = times(to, 0); n > 0; n--)
                THE_REAL(virConnectDomainEventMetadataChangeCallback)
        (connection, domain, type, uri, to->data);
}

static const virConnectDomainEventGenericCallback in_between[KINDS] = {
        [VIR_DOMAIN_EVENT_ID_LIFECYCLE] = VIR_DOMAIN_EVENT_CALLBACK(lifecycle),
        [VIR_DOMAIN_EVENT_ID_TUNABLE] = VIR_DOMAIN_EVENT_CALLBACK(tunable),
        [VIR_DOMAIN_EVENT_ID_DEVICE_ADDED] = VIR_DOMAIN_EVENT_CALLBACK(device),
        [VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED] = VIR_DOMAIN_EVENT_CALLBACK(device),
        [VIR_DOMAIN_EVENT_ID_METADATA_CHANGE] = VIR_DOMAIN_EVENT_CALLBACK(metadata),
};

int virConnectDomainEventRegisterAny(virConnectPtr connection, virDomainPtr domain, int event,
                                     virConnectDomainEventGenericCallback call, void *data,
                                     virFreeCallback release) {
        int (*real)(virConnectPtr, virDomainPtr, int, virConnectDomainEventGenericCallback, void *,
                    virFreeCallback);
        *(void **)&real = dlsym(RTLD_NEXT, "virConnectDomainEventRegisterAny");

        if (!getenv("VAS_DROP_EVENTS"))
                return real(connection, domain, event, call, data, release);
        if (event < 0 || event >= KINDS || !in_between[event] || release)
                abort(); /* it would come unharmed, and the test would prove nothing */
        wanted[event] = (struct Wanted){.call = call, .data = data};
        return real(connection, domain, event, in_between[event], &wanted[event], NULL);
}

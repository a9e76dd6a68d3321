/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The link's loop thread: libvirt's event loop, and the callbacks that run in it.
 *
 * A callback notes which domain an event named and wakes the others up. Of what
 * events say it looks at one thing only: of all that happens in a VM's life, threads
 * and ranges come and go with its start and its end alone. (Each of the two has
 * another event before it, that the guest runs or shuts down, and a guest may be
 * paused and go on all the time.) One that is lost or comes twice costs time, not
 * correctness.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "platform/link_private.h"

static void note_event(Link *link, virDomainPtr domain) {
        unsigned char uuid[VIR_UUID_BUFLEN];
        bool named = virDomainGetUUID(domain, uuid) == 0;

        pthread_mutex_lock(&link->lock);
        link_mark(link, named ? uuid : NULL);
        link->work.event = link->poked = true;
        link_wake_caller(link);
        link_notify(link);
        pthread_mutex_unlock(&link->lock);
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *link) {
        (void)connection;
        (void)detail;
        if (event == VIR_DOMAIN_EVENT_STARTED || event == VIR_DOMAIN_EVENT_STOPPED)
                note_event(link, domain);
        return 0;
}

static void on_tunable(virConnectPtr connection, virDomainPtr domain, virTypedParameterPtr params, int n,
                       void *link) {
        (void)connection;
        (void)params;
        (void)n;
        note_event(link, domain);
}

static void on_device(virConnectPtr connection, virDomainPtr domain, const char *alias, void *link) {
        (void)connection;
        (void)alias;
        note_event(link, domain);
}

static void on_metadata(virConnectPtr connection, virDomainPtr domain, int type, const char *uri, void *link) {
        (void)connection;
        (void)type;
        (void)uri;
        note_event(link, domain);
}

bool link_events_register(Link *link, virConnectPtr connection, int ret_id[LINK_CALLBACKS]) {
        const struct {
                int event;
                virConnectDomainEventGenericCallback call;
        } wanted[LINK_CALLBACKS] = {
                { VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
                { VIR_DOMAIN_EVENT_ID_TUNABLE, VIR_DOMAIN_EVENT_CALLBACK(on_tunable) },
                { VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
                { VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
                { VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
        };

        for (unsigned i = 0; i < LINK_CALLBACKS; i++)
                ret_id[i] = -1;
        for (unsigned i = 0; i < LINK_CALLBACKS && (i == 0 || ret_id[0] >= 0); i++)
                ret_id[i] = virConnectDomainEventRegisterAny(connection, NULL, wanted[i].event, wanted[i].call,
                                                             link, NULL);
        return ret_id[0] >= 0;
}

void link_events_deregister(virConnectPtr connection, const int id[LINK_CALLBACKS]) {
        for (unsigned i = 0; i < LINK_CALLBACKS; i++)
                if (id[i] >= 0)
                        (void)virConnectDomainEventDeregisterAny(connection, id[i]);
}

void link_on_close(virConnectPtr connection, int reason, void *data) {
        static const char *const why[] = {
                [VIR_CONNECT_CLOSE_REASON_ERROR] = "an I/O error",
                [VIR_CONNECT_CLOSE_REASON_EOF] = "libvirtd closed it",
                [VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "libvirtd does not answer",
                [VIR_CONNECT_CLOSE_REASON_CLIENT] = "closed",
        };
        const bool known = reason >= 0 && (size_t)reason < sizeof(why) / sizeof(*why);
        Link *link = data;

        (void)connection;
        pthread_mutex_lock(&link->lock);
        snprintf(link->lost_why, sizeof(link->lost_why), "%s", known ? why[reason] : "unknown reason");
        link->work.lost = true;
        pthread_cond_signal(&link->wake);
        pthread_mutex_unlock(&link->lock);
}

static bool caller_has_ended(Link *link) {
        bool ended;

        pthread_mutex_lock(&link->lock);
        ended = link->caller_ended;
        pthread_mutex_unlock(&link->lock);
        return ended;
}

void *link_loop_main(void *data) {
        const struct timespec breath = { .tv_nsec = 100000000 };
        Link *link = data;

        while (!caller_has_ended(link))
                if (virEventRunDefaultImpl() < 0)
                        nanosleep(&breath, NULL);
        link_leave(link);
        return NULL;
}

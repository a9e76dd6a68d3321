/* SPDX-License-Identifier: Apache-2.0 */

#include "model_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/monotonic.h"

Link the_link;
ModelHost the_model;

/* The linker puts it in place of what it is named after. */
Host __wrap_real_host_door(RealHost *host);

static int follow(void *self, const ThreadRef *thread, unsigned n) {
        (void)self, (void)thread, (void)n;
        return 0;
}

static int sample(void *self, ThreadSample *ret, DynamicCpus *ret_cpus) {
        (void)self, (void)ret, (void)ret_cpus;
        return -EIO; /* nobody stays until a beat */
}

Host __wrap_real_host_door(RealHost *host) {
        static HostOps ops;
        Host door = model_door(&the_model);

        (void)host;
        ops = *door.ops;
        ops.follow = follow;
        ops.sample = sample;
        return (Host){.ops = &ops, .self = door.self};
}

static void notify(void) {
        uint64_t one = 1;

        if (write(the_link.notify_fd, &one, sizeof(one)) != sizeof(one))
                abort();
}

void model_event(void) {
        the_link.asked = true;
        notify();
}

int link_new(const char *uri, int notify_fd, Link **ret) {
        (void)uri;
        the_link = (Link){.notify_fd = notify_fd, .up = true};
        *ret = &the_link;
        notify();
        return 0;
}

void link_request(Link *link, bool full) {
        link->n_asked_full += full;
        link->asked = true;
        if (link->up)
                notify();
}

void link_doubt(Link *link, const char *uuid) {
        if (*uuid == '\0')
                abort();
        link_request(link, false);
}

bool link_poked(Link *link) {
        (void)link;
        return false;
}

FactList *link_take(Link *link) {
        FactList *facts;

        if (!link->up || link->silent || !link->asked)
                return NULL;
        facts = calloc(1, sizeof(*facts));
        if (!facts)
                abort();
        link->asked = false;
        facts->serial = ++link->serial;
        facts->taken_at_ns = monotonic_ns();
        return facts;
}

void link_status(Link *link, LinkStatus *ret) {
        *ret = (LinkStatus){
                .state = link->up ? LINK_UP : LINK_DOWN, .version = 10000000, .uri = "test:///default"};
        if (!link->up)
                strcpy(ret->error, "gone");
}

void link_abandon(Link *link) {
        (void)link;
}

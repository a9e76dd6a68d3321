/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The link's caller thread: connects, lists and reads, and may hang in any of it.
 *
 * After an event only the VMs that it named are looked at. Libvirtd holds a VM's
 * lock for 0.1 s and more while it starts, and whoever lists all VMs waits for
 * each such lock: of twenty VMs started at once the first would be seen
 * together with the last. Requests do list: what no event told is found then.
 *
 * A full list is read after all else, and is put off whenever an event or a
 * quick request comes, so that a VM's start never waits for a resync of two
 * thousand others.
 *
 * The first event after a quiet time is served at once. In a storm the thread
 * rests for twice the time that the last one took. So it does, apart from that,
 * between quick requests, which any local user may cause.
 *
 * No event tells of vCPUs that came or went (`virsh setvcpus --live`): their
 * threads do, and the main thread then asks for a full list.
 */

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "platform/link_cache.h"
#include "platform/link_private.h"
#include "util/cleanup.h"
#include "util/monotonic.h"

enum {
        KEEPALIVE_INTERVAL_S = 2, /* a silent libvirtd is given up after interval * (count + 1) */
        KEEPALIVE_COUNT = 2,
        STALE_AT_LEAST = 4, /* read whatever happens, so that a storm can not put a full list off for ever */
};

#define BACK_OFF_FIRST_NS INT64_C(200000000)
#define BACK_OFF_MOST_NS INT64_C(5000000000)
#define REST_MOST_NS INT64_C(50000000)

typedef struct Caller {
        Link *link;
        virConnectPtr connection; /* NULL: none */
        int callback[LINK_CALLBACKS];
        LinkCache cache;
        LinkMarks *marks;      /* swapped with the link's */
        bool list_needed;      /* the cache may lack VMs, or facts of VMs */
        bool full_pending;     /* a full list is owed */
        bool listed_untold;    /* all were listed since the last list that was handed out */
        int64_t listed_ns;     /* when the last listing began */
        int64_t back_off_ns;   /* to wait after the next failure */
        int64_t not_before_ns; /* after a failure: nothing is tried before */
        int64_t events_rest_ns; /* events are not served before */
        int64_t quicks_rest_ns; /* nor quick requests before this */
} Caller;

static void failed(Caller *caller) {
        caller->not_before_ns = monotonic_ns() + caller->back_off_ns;
        caller->back_off_ns *= 2;
        if (caller->back_off_ns > BACK_OFF_MOST_NS)
                caller->back_off_ns = BACK_OFF_MOST_NS;
}

static void succeeded(Caller *caller) {
        caller->not_before_ns = 0;
        caller->back_off_ns = BACK_OFF_FIRST_NS;
}

static void say(Caller *caller, LinkState state, const char *error) {
        pthread_mutex_lock(&caller->link->lock);
        link_set_state(caller->link, state, error);
        pthread_mutex_unlock(&caller->link->lock);
}

/* With the lock held. Waits for a signal, or until then; INT64_MAX: for ever. */
static void wait_until(Link *link, int64_t until_ns) {
        struct timespec until = { .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000 };

        if (until_ns == INT64_MAX)
                pthread_cond_wait(&link->wake, &link->lock);
        else
                pthread_cond_timedwait(&link->wake, &link->lock, &until);
}

static int64_t later(int64_t a_ns, int64_t b_ns) {
        return a_ns > b_ns ? a_ns : b_ns;
}

/* When the work that is there may be begun: 0 at once, INT64_MAX there is none. */
static int64_t work_due_ns(const Caller *caller, const LinkWork *work) {
        int64_t due_ns = INT64_MAX;

        if (work->quit || work->lost)
                return 0;
        if (work->full || caller->full_pending)
                due_ns = 0;
        if (work->quick && caller->quicks_rest_ns < due_ns)
                due_ns = caller->quicks_rest_ns;
        if (work->event && caller->events_rest_ns < due_ns)
                due_ns = caller->events_rest_ns;
        return later(due_ns, caller->not_before_ns);
}

/* Waits until there is something to do, and takes it together with the marks. */
static LinkWork wait_for_work(Caller *caller) {
        Link *link = caller->link;
        LinkWork work;
        LinkMarks *marks;
        int64_t due_ns;

        pthread_mutex_lock(&link->lock);
        for (;;) {
                due_ns = work_due_ns(caller, &link->work);
                if (due_ns <= monotonic_ns())
                        break;
                wait_until(link, due_ns);
        }
        work = link->work;
        work.quick &= caller->quicks_rest_ns <= monotonic_ns();
        link->work = (LinkWork){ .quit = work.quit, .lost = work.lost, .quick = link->work.quick && !work.quick };
        marks = link->marks;
        link->marks = caller->marks;
        caller->marks = marks;
        pthread_mutex_unlock(&link->lock);
        return work;
}

/* What a failed attempt was for is still to be done. */
static void give_work_back(Caller *caller, const LinkWork *work) {
        Link *link = caller->link;

        pthread_mutex_lock(&link->lock);
        link->work.event |= work->event;
        link->work.quick |= work->quick;
        pthread_mutex_unlock(&link->lock);
}

static void apply_marks(Caller *caller) {
        LinkMarks *marks = caller->marks;

        if (marks->all)
                cache_mark_all(&caller->cache);
        for (unsigned i = 0; i < marks->n; i++)
                cache_mark(&caller->cache, marks->uuid[i]);
}

/* Each step returns 0, or -errno and says why. */

/* Each run of a VM has a number of its own: where these are the ones that are known,
 * so are the VMs. (A list of their names costs ten times as much.) */
static bool nothing_came_or_went(Caller *caller) {
        int ids[VMS_MAX];
        int n = virConnectListDomains(caller->connection, ids, VMS_MAX);

        return n >= 0 && n < VMS_MAX && cache_is(&caller->cache, ids, (unsigned)n);
}

static int list_domains(Caller *caller, char why[LINK_WHY_SIZE]) {
        virDomainPtr *domains = NULL;
        int n, r;

        if (nothing_came_or_went(caller))
                return 0;
        n = virConnectListAllDomains(caller->connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
        if (n < 0)
                return virt_failure("can not list the VMs", why);
        r = cache_sync(&caller->cache, domains, (unsigned)n);
        free(domains);
        return r;
}

/* named: by an event. Libvirt may have written the VM's masks, though all that it says is
 * what it said: the VM is to be looked at. */
static int read_entry(Caller *caller, CacheEntry *entry, bool named, char why[LINK_WHY_SIZE]) {
        VmFact *fact;
        /* Libvirt started anew may have given its number to another run. */
        int r = domain_read(entry->domain, entry->stale ? NULL : entry->fact, &fact, why);

        if (r < 0)
                return r;
        if (r > 0)
                entry->gone = true;
        else
                cache_update(&caller->cache, entry, fact, named);
        return 0;
}

static int read_dirty(Caller *caller, char why[LINK_WHY_SIZE]) {
        for (unsigned i = 0; i < caller->cache.n; i++) {
                CacheEntry *entry = &caller->cache.entry[i];
                int r = entry->dirty ? read_entry(caller, entry, false, why) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int hand_out(Caller *caller, bool full, bool only_events) {
        Link *link = caller->link;
        FactList *list = cache_list(&caller->cache, full, caller->listed_ns), *old;

        if (!list)
                return -ENOMEM;
        caller->full_pending &= !full;
        pthread_mutex_lock(&link->lock);
        old = link->fresh;
        list->only_events = only_events && !caller->listed_untold && (!old || old->only_events);
        caller->listed_untold = false;
        link->fresh = list;
        if (!caller->full_pending && !link->work.full && !link->work.event && !link->work.quick)
                link->status.asked_at_ns = 0;
        link_set_state(link, LINK_UP, "");
        link_notify(link);
        pthread_mutex_unlock(&link->lock);
        fact_list_free(old);
        return 0;
}

/* When to work again after what began then. */
static int64_t rest_after_ns(int64_t began_ns) {
        int64_t now_ns = monotonic_ns(), rest_ns = 2 * (now_ns - began_ns);

        return now_ns + (rest_ns < REST_MOST_NS ? rest_ns : REST_MOST_NS);
}

static int look_at(Caller *caller, const unsigned char *uuid, char why[LINK_WHY_SIZE]) {
        virDomainPtr domain = virDomainLookupByUUID(caller->connection, uuid);
        CacheEntry *entry;

        if (!domain) {
                if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN)
                        return virt_failure("can not look up a VM", why);
                cache_drop(&caller->cache, uuid);
                return 0;
        }
        if ((int)virDomainGetID(domain) < 0) {
                cache_drop(&caller->cache, uuid);
                virDomainFree(domain);
                return 0;
        }
        entry = cache_put(&caller->cache, domain);
        return entry ? read_entry(caller, entry, true, why) : -ENOMEM;
}

/* Serves events: looks at the VMs they named, and at nothing else. */
static int look_at_marked(Caller *caller, char why[LINK_WHY_SIZE]) {
        int64_t began_ns = monotonic_ns();

        for (unsigned i = 0; i < caller->marks->n; i++) {
                int r = look_at(caller, caller->marks->uuid[i], why);
                if (r < 0)
                        return r;
        }
        caller->events_rest_ns = rest_after_ns(began_ns);
        return hand_out(caller, false, true);
}

static bool something_urgent(Caller *caller) {
        LinkWork work;

        pthread_mutex_lock(&caller->link->lock);
        work = caller->link->work;
        pthread_mutex_unlock(&caller->link->lock);
        return work.quit || work.lost || work.event || work.quick;
}

/* Reads on for the full list. 1: put off, something more urgent came. */
static int read_stale(Caller *caller, char why[LINK_WHY_SIZE]) {
        for (unsigned i = 0, n_read = 0; i < caller->cache.n; i++) {
                CacheEntry *entry = &caller->cache.entry[i];
                if (!entry->stale || entry->gone)
                        continue;
                if (n_read++ >= STALE_AT_LEAST && something_urgent(caller))
                        return 1;
                int r = read_entry(caller, entry, false, why);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Lists all, and reads what is new or dirty. */
static int refresh(Caller *caller, char why[LINK_WHY_SIZE]) {
        int64_t began_ns = monotonic_ns();
        int r;

        caller->list_needed = true;
        r = list_domains(caller, why);
        if (r == 0)
                r = read_dirty(caller, why);
        if (r < 0)
                return r;
        caller->list_needed = false;
        caller->listed_untold = true;
        caller->listed_ns = began_ns;
        caller->quicks_rest_ns = rest_after_ns(began_ns);
        return 0;
}

/* Reads on for the full list that is owed, until it is there or something more
 * urgent is. */
static int serve_full(Caller *caller, char why[LINK_WHY_SIZE]) {
        int r = read_stale(caller, why);

        return r == 0 ? hand_out(caller, true, false) : r;
}

static int serve(Caller *caller, const LinkWork *work, char why[LINK_WHY_SIZE]) {
        bool list = caller->list_needed || caller->marks->all || work->quick || work->full;
        int r = 0;

        apply_marks(caller);
        if (work->full) {
                cache_mark_stale(&caller->cache);
                caller->full_pending = true;
        }
        if (work->event && !caller->list_needed && !caller->marks->all)
                r = look_at_marked(caller, why);
        if (r == 0 && list)
                r = refresh(caller, why);
        if (r < 0)
                return r;
        if (list && (!caller->full_pending || (work->quick && cache_has_stale(&caller->cache))))
                r = hand_out(caller, false, false);
        return r == 0 && caller->full_pending ? serve_full(caller, why) : r;
}

/* Where libvirtd is still there, as a proxy is for one that has gone, nothing is
 * deregistered (see link.c): what is left of the connection stays behind. */
static void disconnect(Caller *caller) {
        if (!caller->connection)
                return;
        cache_release(&caller->cache);
        if (virConnectIsAlive(caller->connection) != 1)
                link_events_deregister(caller->connection, caller->callback);
        (void)virConnectUnregisterCloseCallback(caller->connection, link_on_close);
        (void)virConnectClose(caller->connection);
        caller->connection = NULL;
}

/* Not connected (yet, or any more): says so, and when to try again. */
static void say_not_up(Caller *caller, const char *what, const char *error) {
        Link *link = caller->link;
        char text[sizeof(link->status.error)];

        snprintf(text, sizeof(text), "%s %.100s: %.120s", what, link->uri, error);
        pthread_mutex_lock(&link->lock);
        link_set_state(link, link->status.state == LINK_CONNECTING ? LINK_CONNECTING : LINK_DOWN, text);
        pthread_mutex_unlock(&link->lock);
        failed(caller);
}

static void lose_connection(Caller *caller) {
        char why[sizeof(caller->link->lost_why)];

        pthread_mutex_lock(&caller->link->lock);
        snprintf(why, sizeof(why), "%s", caller->link->work.lost ? caller->link->lost_why : "it broke");
        caller->link->work.lost = false;
        pthread_mutex_unlock(&caller->link->lock);
        say_not_up(caller, "lost the connection to", why);
        disconnect(caller);
}

static void work_off(Caller *caller, const LinkWork *work) {
        char why[LINK_WHY_SIZE] = "out of memory";
        int r = serve(caller, work, why);

        caller->marks->n = 0;
        caller->marks->all = false;
        if (r >= 0) {
                succeeded(caller);
                return;
        }
        caller->list_needed = true; /* and what was marked is dirty */
        give_work_back(caller, work);
        failed(caller);
        if (virConnectIsAlive(caller->connection) == 1)
                say(caller, LINK_UP, why);
        else
                lose_connection(caller);
}

static void set_opening(Caller *caller, bool opening) {
        pthread_mutex_lock(&caller->link->lock);
        caller->link->opening_since_ns = opening ? monotonic_ns() : 0;
        caller->link->work.lost = false;
        pthread_mutex_unlock(&caller->link->lock);
}

/* From here on everything that was known is in doubt. */
static void begin_anew(Caller *caller) {
        Link *link = caller->link;
        unsigned long version;

        if (virConnectGetLibVersion(caller->connection, &version) < 0)
                version = 0;
        cache_mark_all(&caller->cache);
        cache_mark_stale(&caller->cache);
        caller->list_needed = caller->full_pending = true;
        pthread_mutex_lock(&link->lock);
        link->status.version = version;
        link->poked = true;
        if (link->status.asked_at_ns == 0)
                link->status.asked_at_ns = monotonic_ns();
        link_set_state(link, LINK_UP, "");
        pthread_mutex_unlock(&link->lock);
}

static void try_to_connect(Caller *caller) {
        char error[LINK_WHY_SIZE];

        set_opening(caller, true);
        caller->connection = virConnectOpenReadOnly(caller->link->uri);
        virt_error_line(error, sizeof(error));
        set_opening(caller, false);
        if (!caller->connection) {
                say_not_up(caller, "no libvirtd answers at", error);
                return;
        }
        /* Some drivers know neither of the two: such connections can not hang. */
        (void)virConnectRegisterCloseCallback(caller->connection, link_on_close, caller->link, NULL);
        (void)virConnectSetKeepAlive(caller->connection, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
        if (!link_events_register(caller->link, caller->connection, caller->callback)) {
                virt_error_line(error, sizeof(error));
                disconnect(caller);
                say_not_up(caller, "no events from", error);
                return;
        }
        begin_anew(caller);
}

/* Waits for the next attempt to connect; false: the link was abandoned. */
static bool wait_for_attempt(Caller *caller) {
        Link *link = caller->link;
        bool quit;

        pthread_mutex_lock(&link->lock);
        while (!link->work.quit && monotonic_ns() < caller->not_before_ns)
                wait_until(link, caller->not_before_ns);
        quit = link->work.quit;
        pthread_mutex_unlock(&link->lock);
        return !quit;
}

static void run(Caller *caller) {
        LinkWork work;

        for (;;) {
                if (!caller->connection) {
                        if (!wait_for_attempt(caller))
                                return;
                        try_to_connect(caller);
                        continue;
                }
                work = wait_for_work(caller);
                if (work.quit)
                        return;
                if (work.lost)
                        lose_connection(caller);
                else
                        work_off(caller, &work);
        }
}

static void end(Caller *caller) {
        Link *link = caller->link;

        cache_clear(&caller->cache);
        free(caller->marks);
        pthread_mutex_lock(&link->lock);
        link->left_open = caller->connection;
        link->caller_ended = true;
        pthread_mutex_unlock(&link->lock);
        (void)eventfd_write(link->loop_fd, 1);
        link_leave(link);
}

void *link_caller_main(void *link) {
        Caller caller = { .link = link, .back_off_ns = BACK_OFF_FIRST_NS };

        caller.marks = calloc(1, sizeof(*caller.marks));
        if (caller.marks)
                run(&caller);
        else
                say(&caller, LINK_CONNECTING, "out of memory");
        end(&caller);
        return NULL;
}

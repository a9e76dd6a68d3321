/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The main thread's side of the link, and what all three threads share.
 *
 * Libvirt's calls block, and while libvirtd hangs they block until keep-alive
 * gives the connection up. So the main thread never makes one. All it does is
 * take a mutex that nobody holds across a call into libvirt, and look at or set a
 * few flags.
 *
 *     main --request--> [flags] --cond--> caller thread: connects, lists, reads
 *     loop thread: libvirt's event loop --marks, flags--> caller thread
 *     caller thread --fresh list, state, eventfd--> main
 *
 * Both threads are detached, and the Link belongs to whoever leaves it last: an
 * abandoned link whose call never returns stays behind and is no worse than
 * unreachable.
 *
 * An abandoned link leaves its connection open, for the end of the process to close.
 * Whoever takes back his registrations for events has them removed by one of
 * libvirtd's worker threads; with the last one it removes a timer of its main loop,
 * and of libvirtd 9.0 about each thousandth such end was the end. After a client
 * that is just gone it cleans up in its main loop itself.
 */

#include "platform/link.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <systemd/sd-id128.h>

#include "platform/link_private.h"
#include "util/cleanup.h"
#include "util/monotonic.h"

enum { SILENT_OPEN_NS = 2000000000 }; /* an attempt to connect this old is worth a word */

void link_notify(Link *link) {
        if (!link->work.quit)
                (void)eventfd_write(link->notify_fd, 1);
}

void link_set_state(Link *link, LinkState state, const char *error) {
        LinkStatus *status = &link->status;

        if (status->state == state && strcmp(status->error, error) == 0)
                return;
        if (status->state != state)
                status->since_ns = monotonic_ns();
        status->state = state;
        snprintf(status->error, sizeof(status->error), "%s", error);
        link_notify(link);
}

static bool marks_have(const LinkMarks *marks, const unsigned char *uuid) {
        for (unsigned i = 0; i < marks->n; i++)
                if (memcmp(marks->uuid[i], uuid, VIR_UUID_BUFLEN) == 0)
                        return true;
        return false;
}

void link_mark(Link *link, const unsigned char *uuid) {
        LinkMarks *marks = link->marks;

        if (!uuid || (marks->n == VMS_MAX && !marks_have(marks, uuid)))
                marks->all = true;
        else if (!marks->all && !marks_have(marks, uuid))
                memcpy(marks->uuid[marks->n++], uuid, VIR_UUID_BUFLEN);
}

/* Those with open connections. Events may still name them, where another link's
 * loop runs. */
static Link *left_behind;
static pthread_mutex_t left_behind_lock = PTHREAD_MUTEX_INITIALIZER;

static void leave_behind(Link *link) {
        pthread_mutex_lock(&left_behind_lock);
        link->next_left = left_behind;
        left_behind = link;
        pthread_mutex_unlock(&left_behind_lock);
}

static Link *link_free(Link *link) {
        if (!link)
                return NULL;
        if (link->loop_watch >= 0)
                virEventRemoveHandle(link->loop_watch);
        if (link->loop_fd >= 0)
                close(link->loop_fd);
        if (link->left_open) {
                leave_behind(link);
                return NULL;
        }
        pthread_mutex_destroy(&link->lock);
        pthread_cond_destroy(&link->wake);
        fact_list_free(link->fresh);
        free(link->marks);
        free(link);
        return NULL;
}

static void cleanup_link(Link **link) {
        link_free(*link);
}

void link_leave(Link *link) {
        bool last;

        pthread_mutex_lock(&link->lock);
        last = --link->users == 0;
        pthread_mutex_unlock(&link->lock);
        if (last)
                link_free(link);
}

/* Libvirt would print each error on stderr; the status tells them. */
static void ignore_error(void *data, virErrorPtr error) {
        (void)data;
        (void)error;
}

static void on_loop_end(int watch, int fd, int events, void *data) {
        /* Nothing to do: the loop has woken up, and its thread looks for itself. */
        (void)watch;
        (void)fd;
        (void)events;
        (void)data;
}

static pthread_once_t libvirt_once = PTHREAD_ONCE_INIT;

static void libvirt_set_up(void) {
        xmlInitParser();
        if (virInitialize() < 0)
                return;
        virSetErrorFunc(NULL, ignore_error);
        (void)virEventRegisterDefaultImpl();
}

static int locks_init(Link *link) {
        pthread_condattr_t attr;
        int r;

        r = pthread_mutex_init(&link->lock, NULL);
        if (r != 0)
                return -r;
        r = pthread_condattr_init(&attr);
        if (r == 0) {
                pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
                r = pthread_cond_init(&link->wake, &attr);
                pthread_condattr_destroy(&attr);
        }
        if (r != 0)
                pthread_mutex_destroy(&link->lock);
        return -r;
}

static int link_alloc(const char *uri, int notify_fd, Link **ret) {
        AUTO_FREE Link *raw = calloc(1, sizeof(*raw));
        int r;

        if (!raw)
                return -ENOMEM;
        r = locks_init(raw);
        if (r < 0)
                return r;
        CLEANUP(cleanup_link) Link *link = STEAL_PTR(raw);
        link->loop_watch = -1;
        link->notify_fd = notify_fd;
        link->status.since_ns = monotonic_ns();
        snprintf(link->uri, sizeof(link->uri), "%s", uri);
        snprintf(link->status.uri, sizeof(link->status.uri), "%s", uri);
        snprintf(link->status.error, sizeof(link->status.error), "not yet connected");
        link->marks = calloc(1, sizeof(*link->marks));
        link->loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (link->loop_fd < 0)
                return -errno;
        if (!link->marks)
                return -ENOMEM;
        link->loop_watch = virEventAddHandle(link->loop_fd, VIR_EVENT_HANDLE_READABLE, on_loop_end, NULL, NULL);
        if (link->loop_watch < 0)
                return -EIO;
        *ret = STEAL_PTR(link);
        return 0;
}

/* A detached thread that no signal is delivered to. It gets one use of the link. */
static int thread_start(Link *link, void *(*body)(void *), const char *name) {
        pthread_attr_t attr;
        pthread_t thread;
        sigset_t all, before;
        int r;

        r = pthread_attr_init(&attr);
        if (r != 0)
                return -r;
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_mutex_lock(&link->lock);
        r = pthread_create(&thread, &attr, body, link);
        if (r == 0) {
                link->users++;
                pthread_setname_np(thread, name);
        }
        pthread_mutex_unlock(&link->lock);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        return -r;
}

/* Without a caller thread the loop thread has to be told to end. */
static void end_loop(Link *link) {
        pthread_mutex_lock(&link->lock);
        link->caller_ended = true;
        pthread_mutex_unlock(&link->lock);
        (void)eventfd_write(link->loop_fd, 1);
}

int link_new(const char *uri, int notify_fd, Link **ret) {
        Link *link = NULL;
        int r;

        if (strlen(uri) >= sizeof(link->uri))
                return -ENAMETOOLONG;
        pthread_once(&libvirt_once, libvirt_set_up);
        r = link_alloc(uri, notify_fd, &link);
        if (r < 0)
                return r;
        link->users = 1;
        r = thread_start(link, link_loop_main, "libvirt-loop");
        if (r == 0) {
                r = thread_start(link, link_caller_main, "libvirt-calls");
                if (r < 0)
                        end_loop(link);
        }
        if (r < 0) {
                link_leave(link);
                return r;
        }
        *ret = link;
        return 0;
}

void link_wake_caller(Link *link) {
        if (link->status.asked_at_ns == 0)
                link->status.asked_at_ns = monotonic_ns();
        pthread_cond_signal(&link->wake);
}

void link_request(Link *link, bool full) {
        pthread_mutex_lock(&link->lock);
        if (full)
                link->work.full = true;
        else
                link->work.quick = true;
        link_wake_caller(link);
        pthread_mutex_unlock(&link->lock);
}

void link_doubt(Link *link, const char *uuid) {
        sd_id128_t id;
        bool named = sd_id128_from_string(uuid, &id) >= 0;

        pthread_mutex_lock(&link->lock);
        link_mark(link, named ? id.bytes : NULL);
        link->work.quick = true;
        link_wake_caller(link);
        pthread_mutex_unlock(&link->lock);
}

bool link_poked(Link *link) {
        bool poked;

        pthread_mutex_lock(&link->lock);
        poked = link->poked;
        link->poked = false;
        pthread_mutex_unlock(&link->lock);
        return poked;
}

FactList *link_take(Link *link) {
        FactList *list;

        pthread_mutex_lock(&link->lock);
        list = STEAL_PTR(link->fresh);
        pthread_mutex_unlock(&link->lock);
        return list;
}

void link_status(Link *link, LinkStatus *ret) {
        bool silent;

        pthread_mutex_lock(&link->lock);
        *ret = link->status;
        silent = link->opening_since_ns && monotonic_ns() - link->opening_since_ns > SILENT_OPEN_NS;
        pthread_mutex_unlock(&link->lock);
        if (silent)
                snprintf(ret->error, sizeof(ret->error), "libvirtd at %.200s hangs: it accepts no connection", ret->uri);
}

void link_abandon(Link *link) {
        if (!link)
                return;
        pthread_mutex_lock(&link->lock);
        link->work.quit = true;
        pthread_cond_signal(&link->wake);
        pthread_mutex_unlock(&link->lock);
        link_leave(link);
}

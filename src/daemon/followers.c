/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/followers.h"

#include <errno.h>
#include <stdlib.h>

enum {
        FOLLOWERS_MAX = CONTROL_CONNECTIONS_MAX,
        BATCH = 64, /* events in a reply: a follower costs no more memory than these */
};

typedef struct Follower {
        ControlCall *call;
        uint64_t next; /* number of the first event that it has not been sent */
        bool greeted; /* has had a reply */
} Follower;

struct Followers {
        Events *events;
        sd_event_source *pump;
        unsigned n;
        Follower follower[FOLLOWERS_MAX];
};

static void follower_feed(const Events *events, Follower *follower) {
        uint64_t lost;

        if (follower->greeted && follower->next == events->next)
                return;
        follower->next = events_from(events, follower->next, &lost);
        json_t *reply = view_events(events, follower->next, BATCH, lost);
        follower->next = events->next - follower->next > BATCH ? follower->next + BATCH : events->next;
        follower->greeted = true;
        control_continue(follower->call, reply);
}

/* Feeding one may close the connection of another, whose call stays until it is
 * looked at here: so nothing else than this one ever leaves the list. */
static void followers_pump(Followers *followers) {
        for (unsigned i = followers->n; i-- > 0;) {
                Follower *follower = &followers->follower[i];

                switch (control_pulse(follower->call)) {
                case PULSE_GONE:
                        control_reply(follower->call, NULL);
                        *follower = followers->follower[--followers->n];
                        break;
                case PULSE_READY:
                        follower_feed(followers->events, follower);
                        break;
                case PULSE_BUSY:
                        break;
                }
        }
}

static int on_pump(sd_event_source *source, void *userdata) {
        (void)source;
        followers_pump(userdata);
        return 0;
}

int followers_new(sd_event *event, Events *events, Followers **ret) {
        Followers *followers = calloc(1, sizeof(*followers));
        int r;

        if (!followers)
                return -ENOMEM;
        followers->events = events;
        r = sd_event_add_defer(event, &followers->pump, on_pump, followers);
        if (r >= 0)
                r = sd_event_source_set_enabled(followers->pump, SD_EVENT_OFF);
        if (r < 0) {
                followers_free(followers);
                return r;
        }
        events->wake = followers->pump;
        *ret = followers;
        return 0;
}

Followers *followers_free(Followers *followers) {
        if (!followers)
                return NULL;
        for (unsigned i = 0; i < followers->n; i++)
                control_reply(followers->follower[i].call, NULL);
        followers->events->wake = NULL;
        sd_event_source_disable_unref(followers->pump);
        free(followers);
        return NULL;
}

bool followers_add(Followers *followers, ControlCall *call, uint64_t since) {
        if (followers->n == FOLLOWERS_MAX)
                followers_pump(followers); /* some may have gone */
        if (followers->n == FOLLOWERS_MAX)
                return false;
        control_follow(call, followers->pump);
        followers->follower[followers->n++] = (Follower){.call = call, .next = since};
        sd_event_source_set_enabled(followers->pump, SD_EVENT_ONESHOT);
        return true;
}

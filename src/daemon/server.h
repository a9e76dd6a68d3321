/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The running service: event loop, pokes, rounds, requests.
 *
 *   libvirt event | timer | request | signal --poke--> list from the link --> round
 *
 * The loop never waits for libvirt: it asks the link for a list and goes on; a
 * round starts when the list is there. Writes are applied in slices, so that a
 * query is answered while many running threads are being moved.
 */

#include "daemon/backend.h"
#include "daemon/control.h"
#include "daemon/dynamic_loop.h"
#include "daemon/events.h"
#include "daemon/followers.h"
#include "daemon/options.h"
#include "daemon/report.h"
#include "daemon/rounds.h"
#include "daemon/runtime.h"
#include "daemon/view.h"
#include "platform/link.h"

enum {
        WAITERS_MAX = 128,
        UNDO_CALLS_MAX = 16,
        WAITER_TIMEOUT_S = 30,
        FULL_RESYNC_S = 600,
        REFRESH_MOST_S = 60,
        SLICE_MS = 20,
        RETRY_MS = 500,        /* doubled while rounds keep asking for one, up to: */
        RETRY_MOST_MS = 32000,
        SLICE_PAUSE_MS = 20,   /* at most, between two slices: clients have their turn */
        BEAT_MS = 250,         /* between two passes of the dynamic binding */
};

/* A call that is answered after a round. */
typedef struct Waiter {
        ControlCall *call;
        const char *did;   /* what stays done if no round comes of it, such as "resumed"; NULL: nothing */
        char *reassign;    /* NULL: any round will do; else "all", a UUID or a name */
        bool dry_run;
        bool started;      /* its round is being applied */
        int64_t asked_ns;  /* only a list taken later can serve it */
        int64_t until_ns;
} Waiter;

typedef struct Server {
        const Options *options;
        Settings *settings;
        char *run_time[SETTING_KEYS]; /* values set by requests; NULL: none */
        RuntimePaths paths;
        RealHost *real;
        Link *link;
        LinkState link_state; /* as last logged */
        char link_error[256];
        State *state;
        Rounds *rounds;
        Report *report;
        Events *events;
        Followers *followers;
        Dynamic *dynamic;
        Backend backend;
        bool backend_saw_vcpu; /* it was chosen by a look at a vCPU's thread */
        Control *control;
        char metrics_written[SETTING_TEXT_MAX]; /* path of the file that is there because of us */
        char reload_trouble[SETTINGS_WHY_SIZE]; /* why the files were not taken at the last reload; "" */
        char metrics_trouble[256];              /* "" when it could be written */
        FactList *facts;   /* the newest list */
        bool facts_fresh;  /* not yet used by a round */
        bool full_asked;   /* the next round takes nothing from a cache */
        uint32_t n_out_of_date; /* as the last round found it */
        bool ever_up;
        unsigned retry_ms; /* until the next retry */
        int64_t refreshed_ns; /* when a list was last asked for because /proc differed */
        int64_t refresh_wait_ns; /* before it is asked for again while they differ */
        sd_event *event;
        sd_event_source *timer, *retry, *slice, *slice_due, *beat;
        int notify_fd, lock_fd;
        ControlCall *undo_call[UNDO_CALLS_MAX]; /* see undo.h */
        unsigned n_undo_calls;
        int64_t undo_asked_ns;
        sd_event_source *undo_due; /* NULL until it is needed */
        int64_t last_full_ns, started_ns;
        unsigned n_waiters;
        Waiter waiter[WAITERS_MAX];
} Server;

/* Runs the service until a signal ends it. Returns the process's exit code. */
int server_run(const Options *options, Settings *settings);

/* Asks for a round soon. full: nothing is taken from a cache. */
void server_poke(Server *server, bool full);
/* Answers call after the next round; false when too many calls wait already. did: see Waiter. */
bool server_wait(Server *server, ControlCall *call, const char *did, const char *reassign, bool dry_run);
/* Whether rounds write. */
bool server_acts(const Server *server);
/* Leaves the writes under way undone; calls that wait for them are refused. */
void server_cancel_round(Server *server, const char *reason);
/* Reads the settings again (SIGHUP). 0 or negative with one line in ret_why. */
int server_reload(Server *server, char ret_why[SETTINGS_WHY_SIZE]);
/*
 * Sets a key at run time: it outlives a reload, and with persist a restart.
 * Applied before it returns, but for keys that are taken at the next start. 0;
 * else one line in ret_why, and nothing has changed.
 */
int server_set(Server *server, SettingKey key, const char *value, bool persist, char ret_why[SETTINGS_WHY_SIZE]);
/* Who binds dynamic vCPUs. Reads only. True: in another way than before. */
bool server_choose_backend(Server *server);
void server_view(const Server *server, View *ret);
int64_t server_now(const Server *server);

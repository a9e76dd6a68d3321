/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A daemon with nothing behind it: the real control socket and the real view
 * over a scene put together by hand. fake_daemon SOCKET SCENE [MOOD]; it says
 * "ready" when it listens and ends when its stdin does.
 *
 * Moods: denied (nobody may change), failing (what is changed fails), refusing,
 * broken (answers are no Varlink), deaf (connections are closed), old (knows no
 * method), down (libvirt is not there), tidal and emulated (who binds dynamic vCPUs),
 * blind (has not seen the host), confused (sends metrics that are none), sick (what
 * can be wrong with it is), other (of another version),
 * busy (has had more events than it keeps; another one each 20 ms).
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../daemon/scene.h"
#include "daemon/control.h"
#include "daemon/followers.h"
#include "daemon/view_check.h"
#include "daemon/view_metrics.h"
#include "daemon/view_settings.h"
#include "wire/capture.h"
#include "wire/names.h"

typedef struct Fake {
        Scene *scene;
        const char *mood;
        Events *events;
        Followers *followers;
} Fake;

static bool mood_is(const Fake *fake, const char *mood) {
        return strcmp(fake->mood, mood) == 0;
}

static void error(ControlCall *call, const char *name, const char *key, const char *value) {
        char full[128];

        snprintf(full, sizeof(full), VAS_INTERFACE ".%s", name);
        control_error(call, full, key ? json_pack("{ss}", key, value) : NULL);
}

static json_t *verdicts_of(const Scene *scene) {
        json_t *verdicts = json_object();

        for (VerdictKind kind = 0; kind < VERDICT_KINDS; kind++) {
                int n = 0;

                for (uint32_t i = 0; i < scene->snapshot.n_vms; i++)
                        n += scene->plan.verdict[i].kind == kind;
                if (n)
                        json_object_set_new(verdicts, verdict_name(kind), json_integer(n));
        }
        return verdicts;
}

static json_t *libvirt_of(const Fake *fake) {
        bool down = mood_is(fake, "down");

        return json_pack("{ss,ss,sf,ss,ss,so}", "uri", "qemu:///system", "state", down ? "down" : "up",
                         "since_s", down ? 12.0 : 7380.0, "error",
                         down ? "Cannot recv data: Connection reset by peer" : "", "version", "9.0.0",
                         "asked_s", down ? json_real(12.0) : json_null());
}

/* Moods tidal and emulated: somebody is dynamic, on a Kunpeng. */
static json_t *dynamic_of(const Fake *fake) {
        bool tidal = mood_is(fake, "tidal"), emulated = mood_is(fake, "emulated");
        json_t *dynamic = json_null();

        if (tidal || emulated)
                dynamic = json_pack("{ss,ss,si,si,si,si,si,si,si,si}", "backend", fake->mood, "backend_why",
                                    tidal ? "the kernel's preferred_cpuset is there, on and writable"
                                          : "the kernel has preferred_cpuset, but it is off: boot with "
                                            "dynamic_affinity=enable",
                                    "vcpus", 4, "away", emulated, "passes", 100, "left", 2 * emulated,
                                    "moved_on", 0, "returned", emulated, "failed", 0, "last_pass_us", 40);
        return json_pack("{so,sb,sb,si}", "dynamic", dynamic, "kunpeng", tidal || emulated, "tlbi_limited",
                         tidal, "mask_union_changes", 12);
}

static json_t *status_of(const Fake *fake) {
        const Scene *scene = fake->scene;
        json_t *status =
                json_pack("{ss,si,ss,sb,ss,ss,ss,ss,sb,sf,so,si,so,si,si,si,si,si,si,so}", "version", "1.2.3",
                          "pid", 4711, "mode", scene->view.acting ? "act" : "observe", "paused", 0, "policy",
                          "static", "smt", "auto", "layout", "auto", "skip_cpuset", "0-1", "range_affinity",
                          1, "uptime_s", 7384.5, "libvirt", libvirt_of(fake), "vms",
                          (int)scene->snapshot.n_vms, "verdicts", verdicts_of(scene), "vcpus",
                          (int)scene->snapshot.n_vcpus, "unseen", 0, "clusters_used", 5, "clusters_needed", 4,
                          "nodes_used", 4, "nodes_needed", 4, "score", view_score(&scene->plan.after));
        json_t *more = json_pack(
                "{si,si,si,ss,si,si,si,sb,sf,si,si,si,si,si,si,si,si,so}", "host_cpus",
                (int)scene->topology.n_cpus, "host_clusters", (int)scene->topology.n_clusters, "host_nodes",
                (int)scene->topology.n_nodes, "cluster_level", level_name(scene->topology.level),
                "owned_cpus", (int)cpuset_count(&scene->plan.owned), "demand_vcpus",
                (int)scene->plan.demand_vcpus, "supply_cpus", (int)scene->plan.supply_cpus, "overcommitted",
                scene->plan.demand_vcpus > scene->plan.supply_cpus, "credits", 2.5, "rounds", 1234,
                "rounds_with_moves", 7, "moves_done", 42, "moves_wanted", 2, "writes", 50, "writes_failed", 0,
                "drift_repaired", 1, "last_round_us", 85, "warnings",
                json_pack("[s]", "1 VM of libvirt can not be seen; 'vasctl list' says why"));

        if (!status || !more || json_object_update(status, more) < 0)
                abort();
        if (json_object_update_new(status, dynamic_of(fake)) < 0)
                abort();
        json_decref(more);
        return json_pack("{so}", "status", status);
}

/* Counters of a daemon that has lived. */
static void count(RoundCounters *rounds, DynamicCounters *dynamic) {
        *rounds = (RoundCounters){.rounds = 1234,
                                  .rounds_with_moves = 7,
                                  .rounds_failed = 2,
                                  .writes = 50,
                                  .writes_failed = 1,
                                  .drift_repaired = 1,
                                  .mask_union_changes = 12};
        for (MoveKind kind = 0; kind < MOVE_KINDS; kind++)
                rounds->done[kind] = kind + 1;
        histogram_add(&rounds->duration, 85000);
        histogram_add(&rounds->duration, 120000);
        histogram_add(&rounds->duration, 700000000);
        *dynamic = (DynamicCounters){.vcpus = 4, .away = 1, .left = 3, .moved_on = 1, .returned = 2, .failed = 1};
}

static json_t *metrics_of(const Fake *fake) {
        RoundCounters rounds;
        DynamicCounters dynamic;
        bool blind = mood_is(fake, "blind");
        MetricsInput input = {.view = blind ? NULL : &fake->scene->view,
                              .counters = &rounds,
                              .dynamic = &dynamic,
                              .version = "1.2.3",
                              .acting = fake->scene->view.acting,
                              .link_up = !blind,
                              .uptime_s = 7384.5,
                              .credits_milli = 2500};

        count(&rounds, &dynamic);
        if (mood_is(fake, "confused"))
                return json_pack("{s:[{ss,ss,ss,ss,s[]}]}", "metrics", "name", "no\033[2Jname", "kind", "gauge",
                                 "unit", "", "help", "", "samples");
        return json_pack("{so}", "metrics", view_metrics(&input));
}

/* As the scene is; in the mood sick all is wrong that can be. */
static json_t *checks_of(const Fake *fake) {
        bool sick = mood_is(fake, "sick");
        Outside outside = {.proc_hidden = sick,
                           .run_delay = sick ? RUN_DELAY_OFF : RUN_DELAY_ON,
                           .has_group = !sick,
                           .offline = fake->scene->offline};
        CheckInput input = {.reload_trouble = "",
                            .view = mood_is(fake, "blind") ? NULL : &fake->scene->view,
                            .trouble = sick ? "the topology can not be read: no NUMA node" : "",
                            .act = fake->scene->view.acting,
                            .link_up = !sick,
                            .link_uri = "qemu:///system",
                            .link_error = "Failed to connect socket: \033[2JPermission denied\xff",
                            .link_version = "9.0.0",
                            .can_bind = !sick,
                            .want_dynamic = sick,
                            .backend_why = "emulate = never, and the kernel has no preferred_cpuset",
                            .state_file = "/run/vas/state.json",
                            .state_error = sick ? EROFS : 0,
                            .persist_file = "/var/lib/vas/settings.conf",
                            .persist_error = sick ? EACCES : 0,
                            .metrics_file = "",
                            .metrics_trouble = sick ? "/var/lib/x.prom can not be written: Permission denied" : "",
                            .narrow_vms = sick ? 2 : 0,
                            .narrow_example = "db1",
                            .admin_group = "vas-admin",
                            .outside = &outside};

        return json_pack("{ss,so}", "version", mood_is(fake, "other") ? "0.0.1" : VAS_VERSION, "checks",
                         view_check(&input));
}

/* A VM with a run delay for each vCPU: else vasctl looks in this machine's /proc.
 * more: by so much vCPU 1 has waited longer. */
static json_t *vm_of(const View *view, uint32_t vm, bool detail, json_int_t more) {
        json_t *json = view_vm(view, vm, detail), *vcpu;
        size_t i;

        json_array_foreach (json_object_get(json, "vcpu"), i, vcpu)
                json_object_set_new(vcpu, "run_delay_ms", json_integer(7000 * (json_int_t)i + (i == 1 ? more : 0)));
        return json;
}

static void answer_list(const Fake *fake, ControlCall *call, const char *scope, bool detail) {
        const View *view = &fake->scene->view;
        int vm = strcmp(scope, "all") == 0 ? -1 : view_find_vm(view, scope);
        json_int_t more = mood_is(fake, "busy") ? (json_int_t)fake->events->next : 0;
        json_t *vms = json_array();

        if (vm < 0 && strcmp(scope, "all") != 0) {
                error(call, "NoSuchVm", "vm", scope);
                json_decref(vms);
                return;
        }
        for (uint32_t i = 0; i < view->snapshot->n_vms; i++)
                if (vm < 0 || (uint32_t)vm == i)
                        json_array_append_new(vms, vm_of(view, i, detail, more));
        control_reply(call, json_pack("{so}", "vms", vms));
}

static void answer_of_vm(const Fake *fake, ControlCall *call, const char *method, const char *scope) {
        const View *view = &fake->scene->view;
        int vm = strcmp(scope, "all") == 0 ? -1 : view_find_vm(view, scope);

        if (vm < 0 && (strcmp(scope, "all") != 0 || strcmp(method, "Explain") == 0))
                error(call, "NoSuchVm", "vm", scope);
        else if (strcmp(method, "Explain") == 0)
                control_reply(call, view_explain(view, (uint32_t)vm, 300));
        else if (strcmp(method, "QueryAffinity") == 0)
                control_reply(call, json_pack("{so}", "affinity", view_affinity(view, vm)));
        else if (view->snapshot->n_vms == 0)
                error(call, "NoVms", NULL, NULL);
        else
                control_reply(call, json_pack("{si,so,so,so,si}", "vms", (int)view->snapshot->n_vms, "moves",
                                              view_moves(view), "before", view_score(&view->plan->before),
                                              "after", view_score(&view->plan->after), "failed",
                                              mood_is(fake, "failing") ? 2 : 0));
}

/* Whatever is asked comes to the same plan. */
static void answer_plan(const Fake *fake, ControlCall *call, json_t *parameters) {
        const char *removed = json_string_value(json_object_get(parameters, "remove"));
        Scene *planned = scene_by_name(json_object_size(parameters) ? "planned" : "mixed");
        View then = planned->view;

        if (removed && view_find_vm(&fake->scene->view, removed) < 0)
                error(call, "NoSuchVm", "vm", removed);
        else {
                if (json_object_size(parameters) == 0) {
                        planned->plan.n_moves = 0;
                        planned->plan.after = fake->scene->plan.before;
                }
                control_reply(call,
                              json_pack("{so,so,so,so,sb,si,si}", "changes", view_changes(&fake->scene->view, &then),
                                        "moves", view_moves(&then), "before",
                                        view_score(&fake->scene->plan.before), "after",
                                        view_score(&planned->plan.after), "acting", fake->scene->view.acting,
                                        "demand_vcpus", (int)planned->plan.demand_vcpus, "supply_cpus",
                                        (int)planned->plan.supply_cpus));
        }
        scene_free(planned);
}

/* One value of each source, and a [vm] section. */
static void answer_settings(ControlCall *call, const char *key) {
        Settings *settings = malloc(sizeof(*settings));
        char why[SETTINGS_WHY_SIZE];

        if (!settings)
                abort();
        settings_defaults(settings);
        settings_set(settings, SET_MODE, "observe", "/etc/vas/vas-daemon.conf", why);
        settings_set(settings, SET_SKIP_CPUSET, "0,1,2,3,16", "/etc/vas/vas-daemon.conf.d/10-host.conf", why);
        settings_set(settings, SET_CREDITS_PER_EVENT, "0.50", "/var/lib/vas/settings.conf", why);
        settings_set(settings, SET_SMT, "true", "option -smt", why);
        settings_set(settings, SET_COOL_DOWN, "120", "run time", why);
        settings->n_rules = 1;
        settings->rule[0] = (VmRule){.glob = "bu\033ild-*", .source = "/etc/vas/vas-daemon.conf", .has_manage = true};
        settings->rule[0].policy.manage = MANAGE_NO;
        control_reply(call, json_pack("{so}", "settings",
                                      view_settings(settings, key ? setting_by_name(key) : SETTING_KEYS)));
        free(settings);
}

/* A second later than the one before. vm: its index; -1: none. */
static void happen(Fake *fake, EventKind kind, int vm, const char *text) {
        Event event = {.time_us = 1790000000000000 + (int64_t)fake->events->next * 1000000,
                       .round = vm < 0 ? 0 : fake->events->next,
                       .kind = kind};

        if (vm >= 0) {
                memcpy(event.uuid, fake->scene->snapshot.vm[vm].uuid, sizeof(event.uuid));
                memcpy(event.name, fake->scene->snapshot.vm[vm].name, sizeof(event.name));
        }
        snprintf(event.text, sizeof(event.text), "%s", text);
        events_put(fake->events, &event);
}

static void live(Fake *fake) {
        happen(fake, EVENT_STARTED, -1, "vas-daemon 1.2.3 started, mode act");
        for (uint32_t v = 0; v < fake->scene->snapshot.n_vms; v++)
                happen(fake, EVENT_CAME, (int)v, "came with 2 vCPUs: PLACED on 1 cluster (minimum 1)");
        if (fake->scene->snapshot.n_vms > 1) {
                happen(fake, EVENT_MOVED, 1, "vCPUs moved: 2 to let another VM in, 1 to span fewer clusters or nodes; "
                                             "now on CPUs 4-6");
                happen(fake, EVENT_CONTESTED, 0, "CONTESTED, was PLACED");
        }
        happen(fake, EVENT_LIBVIRT, -1, "no libvirt at qemu:///system: Cannot\nrecv \033[2Jdata: reset; all bindings stay");
        happen(fake, EVENT_PAUSED, -1, "paused: bindings are kept, nothing is written");
        for (unsigned i = 0; mood_is(fake, "busy") && i < EVENTS_MAX; i++)
                happen(fake, EVENT_RESUMED, -1, "resumed");
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Fake *fake = userdata;

        happen(fake, EVENT_RESUMED, -1, "resumed");
        (void)usec;
        sd_event_source_set_time_relative(source, 20000);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void answer_events(const Fake *fake, ControlCall *call, json_t *parameters) {
        json_t *last = json_object_get(parameters, "last");
        uint64_t n = last ? (uint64_t)json_integer_value(last) : EVENTS_MAX, lost;
        uint64_t from = events_from(fake->events, 1, &lost), next = fake->events->next;

        if (n < next - from) {
                from = next - n;
                lost = 0;
        }
        if (!control_wants_more(call))
                control_reply(call, view_events(fake->events, from, n, lost));
        else if (!followers_add(fake->followers, call, lost ? 1 : from))
                abort();
}

static void answer_capture(const Fake *fake, ControlCall *call, bool hash_names) {
        History *history = calloc(1, sizeof(*history));
        Snapshot *snapshot = malloc(sizeof(*snapshot));
        json_t *capture;

        if (!history || !snapshot)
                abort();
        *snapshot = fake->scene->snapshot;
        if (hash_names)
                capture_hash_names(snapshot, history, (const uint64_t[2]){1, 2});
        capture = capture_pack(snapshot, history, &fake->scene->policy, 0);
        json_object_set_new(capture, "vsched_capture", json_integer(CAPTURE_FORM));
        control_reply(call, mood_is(fake, "confused") ? NULL : json_pack("{so}", "capture", json_incref(capture)));
        json_decref(capture);
        free(snapshot);
        free(history);
}

static bool changes(const char *method) {
        return strcmp(method, "Reassign") == 0 || strcmp(method, "Set") == 0 || strcmp(method, "SetPolicy") == 0 ||
               strcmp(method, "Capture") == 0 || strcmp(method, "Pause") == 0 || strcmp(method, "Resume") == 0 ||
               strcmp(method, "Recover") == 0;
}

static void on_call(void *userdata, ControlCall *call, const char *full, json_t *parameters,
                    const Peer *peer) {
        const Fake *fake = userdata;
        const char *method = strrchr(full, '.') + 1;
        const char *scope = json_string_value(json_object_get(parameters, "scope"));
        const char *vm = json_string_value(json_object_get(parameters, "vm"));

        (void)peer;
        if (mood_is(fake, "denied") && changes(method))
                error(call, "NotPermitted", "reason", "only root and members of the admin group may do this");
        else if (mood_is(fake, "refusing") && (changes(method) || strcmp(method, "Plan") == 0))
                error(call, "Refused", "reason", "paused:\n'vasctl resume' lets the daemon act again");
        else if (strcmp(method, "GetStatus") == 0)
                control_reply(call, status_of(fake));
        else if (strcmp(method, "GetMetrics") == 0)
                control_reply(call, metrics_of(fake));
        else if (strcmp(method, "Check") == 0)
                control_reply(call, checks_of(fake));
        else if (strcmp(method, "ListVms") == 0 && scope)
                answer_list(fake, call, scope, json_is_true(json_object_get(parameters, "detail")));
        else if (strcmp(method, "GetSettings") == 0)
                answer_settings(call, json_string_value(json_object_get(parameters, "key")));
        else if (strcmp(method, "Capture") == 0)
                answer_capture(fake, call, json_is_true(json_object_get(parameters, "hash_names")));
        else if (strcmp(method, "GetEvents") == 0)
                answer_events(fake, call, parameters);
        else if (strcmp(method, "GetHost") == 0)
                control_reply(call, view_host(&fake->scene->view));
        else if (strcmp(method, "Plan") == 0)
                answer_plan(fake, call, parameters);
        else if (scope || vm)
                answer_of_vm(fake, call, method, scope ? scope : vm);
        else if (strcmp(method, "Recover") == 0)
                control_reply(call, json_pack("{si,si}", "restored", 12, "failed",
                                              mood_is(fake, "failing") ? 3 : 0));
        else if (strcmp(method, "SetPolicy") == 0 && mood_is(fake, "failing"))
                control_error(call, "org.varlink.service.InvalidParameter",
                              json_pack("{ss}", "parameter", "policy"));
        else
                control_reply(call, NULL);
}

static int on_stdin(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void)fd;
        (void)revents;
        (void)userdata;
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

/* Answers everybody with bytes that are no answer, or with none. */
static int run_broken(const char *path, bool deaf) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char byte[4096];

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0)
                return 1;
        puts("ready");
        fflush(stdout);
        for (;;) {
                struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
                int client;

                if (poll(wait, 2, -1) < 0 || wait[1].revents)
                        return 0;
                client = accept(fd, NULL, NULL);
                if (client < 0)
                        return 1;
                if (!deaf && recv(client, byte, sizeof(byte), 0) > 0)
                        (void)send(client, "{\"error\":\033[2J}", 15, MSG_NOSIGNAL);
                close(client);
        }
}

int main(int argc, char **argv) {
        Fake fake = {.mood = argc > 3 ? argv[3] : ""};
        sd_event *event = NULL;
        Control *control = NULL;
        int r;

        if (argc < 3)
                return 2;
        if (mood_is(&fake, "broken") || mood_is(&fake, "deaf"))
                return run_broken(argv[1], mood_is(&fake, "deaf"));
        fake.scene = scene_by_name(argv[2]);
        if (!fake.scene)
                return 2;
        r = sd_event_new(&event);
        if (r >= 0)
                r = sd_event_add_io(event, NULL, STDIN_FILENO, EPOLLIN | EPOLLHUP, on_stdin, NULL);
        if (r >= 0)
                r = events_new(&fake.events);
        if (r >= 0)
                r = followers_new(event, fake.events, &fake.followers);
        if (r >= 0 && mood_is(&fake, "busy"))
                r = sd_event_add_time(event, NULL, CLOCK_MONOTONIC, 0, 1, on_tick, &fake);
        if (r >= 0)
                r = control_new(event, argv[1], (gid_t)-1,
                                mood_is(&fake, "old") ? "interface io.vsched.Daemon\n" : vas_interface_text,
                                on_call, &fake, &control);
        if (r < 0) {
                fprintf(stderr, "fake_daemon: %s\n", strerror(-r));
                return 1;
        }
        live(&fake);
        puts("ready");
        fflush(stdout);
        r = sd_event_loop(event);
        control_free(control);
        followers_free(fake.followers);
        events_free(fake.events);
        sd_event_unref(event);
        scene_free(fake.scene);
        return r;
}

/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/once.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "daemon/backend.h"
#include "daemon/prefer.h"
#include "daemon/rounds.h"
#include "daemon/runtime.h"
#include "platform/link.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/monotonic.h"
#include "util/utf8.h"
#include "wire/names.h"

#define MS_NS INT64_C(1000000)

enum { LINK_TIMEOUT_MS = 15000, RECOVER_TIMEOUT_MS = 1500, POLL_MS = 100 };

/* The pieces that a round needs, without a loop around them. */
typedef struct Once {
        RuntimePaths paths;
        int lock_fd;
        State *state;
        RealHost *real;
        Rounds *rounds;
} Once;

static void once_done(Once *once) {
        rounds_free(once->rounds);
        real_host_free(once->real);
        state_free(once->state);
        if (once->lock_fd >= 0)
                close(once->lock_fd);
        runtime_paths_done(&once->paths);
}

static int once_lock(Once *once) {
        pid_t holder = 0;
        int r = runtime_create(&once->paths);

        if (r == 0) {
                r = once->lock_fd = runtime_lock(&once->paths, &holder);
                if (r == -EWOULDBLOCK)
                        log_error("vas-daemon is running (process %d): use vasctl", (int)holder);
                else if (r < 0)
                        log_error("can not lock %s: %s", once->paths.lock, strerror(-r));
        } else
                log_error("can not use %s: %s", once->paths.directory, strerror(-r));
        return r < 0 ? r : 0;
}

/* Dynamic vCPUs are bound as the running service would bind them at first. */
static void once_choose_backend(Once *once, const Settings *settings) {
        ThreadRef example;
        Backend backend;
        bool found = prefer_example(once->rounds, &example);

        backend_choose(once->real, found ? &example : NULL, "", settings, &backend);
        once->rounds->tidal = backend.way;
}

static int once_init(Once *once, const Settings *settings, bool lock) {
        char boot_id[VM_UUID_SIZE], why[256] = "";
        int r;

        *once = (Once){.lock_fd = -1};
        r = runtime_paths_init(&once->paths, settings->runtime_dir);
        if (r == 0 && lock && (r = once_lock(once)) < 0)
                return r;
        if (r == 0)
                r = state_new(&once->state);
        if (r == 0)
                r = state_boot_id("", boot_id);
        if (r == 0) {
                r = state_load(once->state, once->paths.state, boot_id, why);
                if (r < 0) {
                        log_error("can not use %s: %s", once->paths.state, why[0] ? why : strerror(-r));
                        return r;
                }
                r = real_host_new("", NULL, &once->real);
        }
        if (r == 0)
                r = rounds_new(real_host_door(once->real), settings, once->state, once->paths.state, &once->rounds);
        if (r < 0)
                log_error("can not start: %s", strerror(-r));
        else
                once_choose_backend(once, settings);
        return r;
}

/* Waits for the link's first list; NULL when none came in time. */
static FactList *take_list(Link *link, int notify_fd, int timeout_ms) {
        int64_t until_ms = monotonic_ns() / MS_NS + timeout_ms, left_ms;
        FactList *facts;

        while (!(facts = link_take(link)) && (left_ms = until_ms - monotonic_ns() / MS_NS) > 0) {
                struct pollfd poll_fd = {.fd = notify_fd, .events = POLLIN};
                uint64_t count;

                if (poll(&poll_fd, 1, left_ms < POLL_MS ? (int)left_ms : POLL_MS) > 0)
                        (void)!read(notify_fd, &count, sizeof(count)); /* what could not be read calls again */
        }
        return facts;
}

static FactList *ask_libvirt(const Settings *settings, int timeout_ms) {
        AUTO_CLOSE int notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        LinkStatus status;
        FactList *facts;
        Link *link;

        if (notify_fd < 0 || link_new(settings->connect, notify_fd, &link) < 0) {
                log_error("can not start the link to libvirt");
                return NULL;
        }
        link_request(link, true);
        facts = take_list(link, notify_fd, timeout_ms);
        link_status(link, &status);
        if (!facts)
                log_error("no answer from libvirt at %s: %s", status.uri,
                          status.error[0] ? status.error : "it takes too long");
        link_abandon(link);
        return facts;
}

static void print_moves(const Rounds *rounds, bool act) {
        const Plan *plan = rounds->plan;

        for (uint32_t m = 0; m < plan->n_moves; m++) {
                const Move *move = &plan->move[m];
                const Vcpu *vcpu = &rounds->snapshot->vcpu[move->vcpu];
                char name[VM_NAME_SIZE];
                memcpy(name, rounds->snapshot->vm[vcpu->vm].name, sizeof(name));
                text_disarm(name);
                printf("%s vCPU %u: ", name, vcpu->number);
                if (move->to >= 0 && move->from >= 0)
                        printf("CPU %d -> %d", move->from, move->to);
                else if (move->to >= 0)
                        printf("CPU %d", move->to);
                else
                        printf("%u shared CPUs", cpuset_count(pool_get(&rounds->snapshot->pool, move->mask)));
                printf(" (%s)\n", move_kind_name(move->kind));
        }
        printf("%u VM%s, %u move%s of a vCPU %s; VMs without CPUs of their own %u -> %u, "
               "clusters above the minimum %u -> %u\n",
               rounds->snapshot->n_vms, rounds->snapshot->n_vms == 1 ? "" : "s", plan->n_moves,
               plan->n_moves == 1 ? "" : "s", act ? "done" : "wanted", plan->before.unplaced,
               plan->after.unplaced, plan->before.excess_clusters, plan->after.excess_clusters);
}

/* Says which VMs libvirt knows and we can not see, and why. Whether one of them
 * should have been: all but those that are just starting. */
static bool tell_unseen(const Rounds *rounds) {
        const Snapshot *snapshot = rounds->snapshot;
        bool bad = snapshot->n_beyond_limits > 0;

        if (bad)
                log_error("%u VMs are beyond the documented limits and are left alone", snapshot->n_beyond_limits);
        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                VerdictReason reason = rounds->plan->verdict[v].reason;

                if (rounds->plan->verdict[v].kind != VERDICT_UNSEEN)
                        continue;
                log_line(reason == REASON_STARTING ? LOG_NOTICE : LOG_ERR, "%s is not placed, it can not be seen: %s",
                         snapshot->vm[v].name, reason_text(reason));
                bad |= reason != REASON_STARTING;
        }
        return bad;
}

/* All that was not done as it was planned is said. 0 or -EIO. */
static int once_judge(const Rounds *rounds) {
        bool bad = tell_unseen(rounds);

        if (rounds->counters.writes_failed)
                log_error("%llu writes failed: %s", (unsigned long long)rounds->counters.writes_failed,
                          rounds->trouble[0] ? rounds->trouble : "the kernel refused them");
        else if (rounds->trouble[0])
                log_error("%s", rounds->trouble);
        return bad || rounds->counters.writes_failed || rounds->trouble[0] ? -EIO : 0;
}

/* Ends it; the exit code for result r. */
static int once_end(Once *once, int r) {
        bool denied = r == -EACCES || r == -EPERM || (once->rounds && once->rounds->denied);

        once_done(once);
        if (r >= 0)
                return EXIT_SUCCESS;
        return denied ? EXIT_DENIED : EXIT_FAILURE;
}

int once_round(const Settings *settings, bool act) {
        RoundRequest request = {.act = act, .full = true};
        FactList *facts = NULL;
        Once once;
        int r;

        if (act && !settings->act) {
                log_error("mode is observe, so nothing is written; '--mode act' with --oneshot says otherwise");
                return EXIT_FAILURE;
        }
        r = once_init(&once, settings, act);
        if (r == 0 && act && once.state->paused) {
                log_error("paused: 'vasctl resume', with vas-daemon running, lets it act again");
                r = -EBUSY;
        }
        if (r == 0) {
                facts = ask_libvirt(settings, LINK_TIMEOUT_MS);
                r = facts ? rounds_begin(once.rounds, facts, &request) : -EIO;
                if (facts && r < 0)
                        log_error("%s", once.rounds->trouble);
        }
        if (r == 0) {
                while (!rounds_apply_some(once.rounds, INT64_C(1000000000)))
                        ;
                print_moves(once.rounds, act);
                r = once_judge(once.rounds);
        }
        fact_list_free(facts);
        return once_end(&once, r);
}

int once_recover(const Settings *settings) {
        unsigned restored = 0, failed = 0;
        Once once;
        int r = once_init(&once, settings, true);

        if (r == 0) {
                FactList *facts = ask_libvirt(settings, RECOVER_TIMEOUT_MS);

                if (facts)
                        rounds_look(once.rounds, facts);
                else
                        log_notice("ranges are taken as they were last seen");
                fact_list_free(facts);
                once.state->paused = true;
                r = rounds_restore(once.rounds, false, &restored, &failed);
                printf("%u thread%s restored, %u could not be%s\n", restored, restored == 1 ? "" : "s", failed,
                       r < 0 ? "" : "; a daemon stays paused until 'vasctl resume'");
                if (failed)
                        log_error("some threads could not be restored%s",
                                  once.rounds->denied ? ": root or CAP_SYS_NICE is needed" : "");
        }
        return once_end(&once, failed ? -EIO : r);
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every call of our own code that can fail does so once, in a start, a round, a
 * cheap round, and a stop: over real threads of processes that look like QEMU.
 * Then a run follows in which nothing fails. Judged are the masks that the
 * kernel has, after each write and at the end, and what is left open.
 *
 * The same with an end as by kill -9 before and after each of these calls: these
 * are all the points at which a round can be cut in two.
 */

#include "../platform/support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rounds.h"
#include "daemon/runtime.h"
#include "fail_once.h"
#include "platform/domain_xml.h"
#include "platform/real_host.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/log.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000002"
#define UUID_C "cccccccc-0000-4000-8000-000000000003"

enum { VMS = 3, THREADS_MAX = 4, CALLS_MAX = 100000 };

static const char *const uuids[VMS] = {UUID_A, UUID_B, UUID_C};
static const unsigned sizes[VMS] = {1, 1, 2};

static struct {
        char *tree;
        Qemu qemu[VMS];
        pid_t vcpu[THREADS_MAX];
        unsigned n_vcpus;
        CpuSet usable;
        FactList *facts;
        Settings settings;
        RuntimePaths paths;
        const char *wrong; /* what a write did that it must not */
} place;

static CpuSet mask_of(pid_t tid) {
        CpuSet set = {};

        assert_true(sched_getaffinity(tid, sizeof(set), (cpu_set_t *)&set) == 0);
        return set;
}

/* No two vCPUs have the same CPU alone; there are two VMs of one vCPU, and one
 * more that may have to share. */
static bool cpus_are_owned_once(void) {
        CpuSet owned = {};

        for (unsigned i = 0; i < place.n_vcpus; i++) {
                CpuSet mask = mask_of(place.vcpu[i]);
                int cpu = cpuset_single(&mask);

                if (cpu >= 0 && cpuset_has(&owned, (unsigned)cpu))
                        return false;
                if (cpu >= 0)
                        cpuset_add(&owned, (unsigned)cpu);
        }
        return true;
}

static void on_mask(int tid) {
        bool ours = false;

        for (unsigned i = 0; i < place.n_vcpus; i++)
                ours |= place.vcpu[i] == tid;
        if (!ours)
                place.wrong = "a thread that is no vCPU was written";
        else if (!cpus_are_owned_once())
                place.wrong = "a CPU has two owners";
}

static int set_up(void **state) {
        char list[CPULIST_SIZE], directory[256];
        FactList *facts;

        (void)state;
        place.usable = mask_of(0);
        place.tree = tree_new();
        assert_int_equal(setenv("XDG_RUNTIME_DIR", place.tree, 1), 0);
        assert_true(cpulist_format(&place.usable, list, sizeof(list)) >= 0);
        facts = facts_new();
        for (unsigned v = 0; v < VMS; v++) {
                char name[32];

                snprintf(name, sizeof(name), "vm%u", v);
                place.qemu[v] =
                        qemu_start(uuids[v], sizes[v], (const char *const[]){"-iothreads", "1", NULL});
                pid_file_write(place.tree, name, place.qemu[v].pid);
                facts_add(facts, fact_new(name, uuids[v], sizes[v], list));
                for (unsigned i = 0; i < sizes[v]; i++) {
                        snprintf(name, sizeof(name), "CPU %u/KVM", i);
                        place.vcpu[place.n_vcpus++] = thread_by_comm(place.qemu[v].pid, name);
                }
        }
        place.facts = facts;
        settings_defaults(&place.settings);
        snprintf(directory, sizeof(directory), "%s/vas", place.tree);
        assert_int_equal(runtime_paths_init(&place.paths, directory), 0);
        fault_on_mask = on_mask;
        return 0;
}

static int tear_down(void **state) {
        (void)state;
        for (unsigned v = 0; v < VMS; v++)
                qemu_stop(&place.qemu[v]);
        facts_free(place.facts);
        runtime_paths_done(&place.paths);
        tree_free(place.tree);
        return 0;
}

/* --- one life of the daemon --- */

typedef struct Life {
        int lock_fd;
        State *state;
        RealHost *host;
        Rounds *rounds;
        unsigned failed; /* threads that could not be restored */
        bool looked; /* a round was carried through */
        bool stopped;
} Life;

/* As the service starts. */
static int life_start(Life *life) {
        char boot_id[VM_UUID_SIZE], why[256] = "";
        pid_t holder;
        int r = runtime_create(&place.paths);

        if (r == 0)
                r = life->lock_fd = runtime_lock(&place.paths, &holder);
        if (r >= 0)
                r = state_new(&life->state);
        if (r == 0)
                r = state_boot_id("", boot_id);
        if (r == 0) {
                r = state_load(life->state, place.paths.state, boot_id, why);
                if (r == -EBADMSG)
                        place.wrong = "a sound state file is said to be broken";
        }
        if (r >= 0)
                r = real_host_new("", NULL, &life->host);
        return r < 0 ? r
                     : rounds_new(real_host_door(life->host), &place.settings, life->state, place.paths.state,
                                  &life->rounds);
}

static void life_round(Life *life, bool full) {
        RoundRequest request = {.act = true, .full = full};

        if (rounds_begin(life->rounds, place.facts, &request) < 0) {
                if (!life->rounds->trouble[0])
                        place.wrong = "a round failed and did not say why";
                return;
        }
        while (!rounds_apply_some(life->rounds, INT64_C(1000000000)))
                ;
        life->looked = true;
}

static void life_stop(Life *life) {
        unsigned restored;

        rounds_look(life->rounds, place.facts);
        life->stopped = rounds_restore(life->rounds, true, &restored, &life->failed) == 0;
}

static void life_end(Life *life) {
        rounds_free(life->rounds);
        real_host_free(life->host);
        state_free(life->state);
        cleanup_close(&life->lock_fd);
}

/* A life that ends as by kill -9: all memory is gone, file and masks stay. */
static void live_and_crash(void) {
        Life life = {.lock_fd = -1};

        assert_true(life_start(&life) >= 0);
        life_round(&life, true);
        life_end(&life);
}

/* Returns 0; or what it did not start for. */
static int live(Life *ret, void (*between)(void)) {
        Life life = {.lock_fd = -1};
        int r = life_start(&life);

        if (r >= 0) {
                life_round(&life, true);
                life_round(&life, false);
                if (between)
                        between();
                life_stop(&life);
        }
        life_end(&life);
        if (ret)
                *ret = life;
        return r < 0 ? r : 0;
}

/* --- what must hold --- */

static unsigned n_open(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 256; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

#define must(what, message)                                                                                  \
        do {                                                                                                 \
                if (!(what))                                                                                 \
                        fail_msg("call %u (%s), kind %d: %s", at, call ? call : "none", (int)kind, message); \
        } while (0)

static const char *call;
static unsigned at;
static FaultKind kind;
static bool after_crash; /* the life before has left its file and masks */
static unsigned step = 1; /* every so manieth call is struck */

static void nobody_else_was_touched(void) {
        for (unsigned v = 0; v < VMS; v++) {
                static const char *const others[] = {"fake-qemu", "IO iothread1", "worker"};

                for (unsigned i = 0; i < 3; i++) {
                        CpuSet mask = mask_of(thread_by_comm(place.qemu[v].pid, others[i]));
                        must(cpuset_equal(&mask, &place.usable), "another thread has another mask");
                }
        }
}

static bool all_restored(void) {
        for (unsigned i = 0; i < place.n_vcpus; i++) {
                CpuSet mask = mask_of(place.vcpu[i]);
                if (!cpuset_equal(&mask, &place.usable))
                        return false;
        }
        return true;
}

static void two_are_placed(void) {
        for (unsigned i = 0; i < 2; i++) {
                CpuSet mask = mask_of(place.vcpu[i]);
                must(cpuset_single(&mask) >= 0, "a VM has no CPU of its own in the next life");
        }
        must(cpus_are_owned_once(), "a CPU has two owners");
}

/* The next life, of which nothing fails, comes to the right end whatever the one before left. */
static void next_life_is_right(void) {
        Life life;

        place.wrong = NULL;
        must(live(&life, two_are_placed) == 0, "the next life does not start");
        must(life.looked && life.stopped && life.failed == 0, "the next life fails");
        must(all_restored(), "the next life leaves a mask");
        must(!place.wrong, place.wrong);
        nobody_else_was_touched();
        unlink(place.paths.state);
}

/* --- failures --- */

static void read_masks(CpuSet ret[THREADS_MAX]) {
        for (unsigned i = 0; i < place.n_vcpus; i++)
                ret[i] = mask_of(place.vcpu[i]);
}

static bool masks_are(const CpuSet expected[THREADS_MAX]) {
        for (unsigned i = 0; i < place.n_vcpus; i++) {
                CpuSet mask = mask_of(place.vcpu[i]);
                if (!cpuset_equal(&mask, &expected[i]))
                        return false;
        }
        return true;
}

/* True while there is a call of that number. */
static bool fail_call(void) {
        unsigned open_before = n_open();
        CpuSet before[THREADS_MAX];
        Life life;

        place.wrong = NULL;
        if (after_crash)
                live_and_crash();
        read_masks(before);
        fault_arm(kind, at);
        int r = live(&life, NULL);
        fault_disarm();
        call = fault.call;
        must(!place.wrong, place.wrong);
        must(n_open() == open_before, "a descriptor is left open");
        /* One failure can spoil one of two rounds, and what does not start leaves all as it is. */
        must(r < 0 || life.looked, "it started, and made neither of two rounds");
        must(r == 0 || masks_are(before), "it did not start, and yet wrote a mask");
        /* What it says that it restored is restored. */
        must(r < 0 || life.failed > 0 || !life.stopped || all_restored(),
             "a mask is left, and it does not say so");
        next_life_is_right();
        return fault.n >= at;
}

static void every_call_fails_once(void **state) {
        unsigned n = 0;

        (void)state;
        if (cpuset_count(&place.usable) < 2)
                skip_because("it takes two CPUs");
        for (unsigned i = 0; i < 4; i++) {
                kind = i % 2 ? FAULT_OTHER : FAULT_PLAIN;
                after_crash = i / 2;
                for (at = 1 + i * step / 4; fail_call(); at += step, n++)
                        must(at < CALLS_MAX, "there is no end");
        }
        print_message("# %u calls failed\n", n);
        assert_true(n > 400 / step);
}

/* --- what is no round --- */

static void strike_each(const char *what, void (*job)(void), unsigned at_least) {
        unsigned n = 0;

        call = what;
        for (kind = FAULT_PLAIN; kind <= FAULT_OTHER; kind++)
                for (at = 1;; at++, n++) {
                        unsigned open_before = n_open();

                        place.wrong = NULL;
                        fault_arm(kind, at);
                        job();
                        fault_disarm();
                        call = fault.call ? fault.call : what;
                        must(!place.wrong, place.wrong);
                        must(n_open() == open_before, "a descriptor is left open");
                        if (fault.n < at)
                                break;
                }
        print_message("# %s: %u calls failed\n", what, n);
        assert_true(n >= at_least);
}

static void read_settings(void) {
        AUTO_FREE Settings *settings = malloc(sizeof(*settings));
        char conf[256], why[SETTINGS_WHY_SIZE] = "";

        if (!settings)
                return;
        settings_defaults(settings);
        snprintf(conf, sizeof(conf), "%s/conf", place.tree);
        if (settings_read_all(settings, conf, NULL, why) < 0) {
                if (!why[0] || strchr(why, '\n'))
                        place.wrong = "settings can not be read, and it is not said why in a line";
        } else if (settings->act || cpuset_count(&settings->policy.skip) != 2 || settings->n_rules != 1)
                place.wrong = "a part of the settings was passed over in silence";
}

static void settings_are_read_whole_or_not(void **state) {
        (void)state;
        tree_write(place.tree, "conf", "[daemon]\nmode = observe\n");
        tree_write(place.tree, "conf.d/10-a.conf", "[placement]\nskip-cpuset = 0-1\n");
        tree_write(place.tree, "conf.d/20-b.conf", "[vm a*]\nmanage = no\n");
        strike_each("settings_read_all", read_settings, 10);
}

static const char *kept_path(void) {
        static char path[256];

        snprintf(path, sizeof(path), "%s/kept.conf", place.tree);
        return path;
}

static bool kept_says(const char *budget) {
        AUTO_FREE Settings *settings = malloc(sizeof(*settings));
        char why[SETTINGS_WHY_SIZE];

        settings_defaults(settings);
        assert_int_equal(settings_read_file(settings, kept_path(), why), 0);
        AUTO_FREE char *text = setting_text(settings, SET_BURST),
                       *cool_down = setting_text(settings, SET_COOL_DOWN);
        return strcmp(text, budget) == 0 && strcmp(cool_down, "77s") == 0;
}

static void persist_setting(void) {
        char why[SETTINGS_WHY_SIZE] = "";
        int r = settings_persist(&place.settings, SET_BURST, kept_path(), why);
        bool armed = fault.armed;

        fault.armed = false;
        if (!kept_says(r < 0 ? "11" : "12") && !(r < 0 && kept_says("12")))
                place.wrong = "a kept setting is half there";
        if (r < 0 && (!why[0] || strchr(why, '\n')))
                place.wrong = "a setting can not be kept, and it is not said why in a line";
        tree_write(place.tree, "kept.conf", "[defrag]\nburst = 11\ncool-down = 77s\n");
        fault.armed = armed;
}

static void a_setting_is_kept_whole_or_not(void **state) {
        char why[SETTINGS_WHY_SIZE];

        (void)state;
        tree_write(place.tree, "kept.conf", "[defrag]\nburst = 11\ncool-down = 77s\n");
        assert_int_equal(settings_set(&place.settings, SET_BURST, "12", "run time", why), 0);
        strike_each("settings_persist", persist_setting, 20);
        assert_int_equal(settings_set(&place.settings, SET_BURST, "64", "run time", why), 0);
}

static const char domain[] = "<domain type='kvm' id='3'><name>a</name><uuid>" UUID_A "</uuid>"
                             "<vcpu placement='static' cpuset='0-1'>2</vcpu>"
                             "<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>"
                             "<numatune><memory mode='strict' nodeset='0'/></numatune></domain>";

static void parse_domain(void) {
        char why[DOMAIN_WHY_SIZE] = "";
        VmFact *fact = NULL;
        int r = domain_xml_parse(domain, strlen(domain), &fact, why);

        if (r != 0 && fact)
                place.wrong = "a domain that was not understood left a fact";
        if (r != 0)
                return;
        if (strcmp(fact->name, "a") != 0 || fact->n_vcpus != 2 || !fact->range_named)
                place.wrong = "a domain was half understood";
        vm_fact_free(fact);
}

static void a_domain_is_understood_whole_or_not(void **state) {
        (void)state;
        strike_each("domain_xml_parse", parse_domain, 4);
}

/* --- ends --- */

static bool kill_at_call(void) {
        int status;

        place.wrong = NULL;
        if (after_crash)
                live_and_crash();
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                fault_arm(kind, at);
                live(NULL, NULL);
                _exit(place.wrong ? 1 : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        must(WIFEXITED(status) && WEXITSTATUS(status) != 1, "it did what it must not, or crashed");
        must(cpus_are_owned_once(), "a CPU has two owners");
        next_life_is_right();
        return WEXITSTATUS(status) == FAULT_KILLED;
}

static void killed_at_every_call(void **state) {
        unsigned n = 0;

        (void)state;
        if (cpuset_count(&place.usable) < 2)
                skip_because("it takes two CPUs");
        for (unsigned i = 0; i < 4; i++) {
                kind = i % 2 ? FAULT_KILL_AFTER : FAULT_KILL_BEFORE;
                after_crash = i / 2;
                for (at = 1 + i * step / 4; kill_at_call(); at += step, n++)
                        must(at < CALLS_MAX, "there is no end");
        }
        print_message("# killed at %u points\n", n);
        assert_true(n > 1600 / step);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(settings_are_read_whole_or_not),
                cmocka_unit_test(a_setting_is_kept_whole_or_not),
                cmocka_unit_test(a_domain_is_understood_whole_or_not),
                cmocka_unit_test(every_call_fails_once),
                cmocka_unit_test(killed_at_every_call),
        };

        if (argc > 1)
                step = (unsigned)atoi(argv[1]);
        log_set_level(LOG_EMERG); /* each failure says so */
        return step == 0 || cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */

/* Real threads of real processes: who may be pinned, and who must not be. */

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/affinity.h"

#define UUID "abcdabcd-0000-4000-8000-000000000001"

static char *runtime;
static RealHost *host;
static Host door;
static FactList *facts;
static Topology *topology;
static Snapshot *seen;
static Qemu qemu;
static CpuSet usable; /* CPUs this test may use */

static CpuSet mask_of(pid_t tid) {
        CpuSet set = {};

        assert_true(sched_getaffinity(tid, sizeof(set), (cpu_set_t *)&set) == 0);
        return set;
}

static void pin(pid_t tid, const CpuSet *set) {
        assert_int_equal(sched_setaffinity(tid, sizeof(*set), (const cpu_set_t *)set), 0);
}

static CpuSet only(int cpu) {
        CpuSet set = {};

        cpuset_add(&set, (unsigned)cpu);
        return set;
}

static CpuSet first_cpu(void) {
        return only(cpuset_next(&usable, 0));
}

static CpuSet last_cpu(void) {
        int last = -1;

        CPUSET_FOREACH(cpu, &usable)
                last = cpu;
        return only(last);
}

static int set_up(void **state) {
        char why[256];

        (void)state;
        usable = mask_of(0);
        runtime = tree_new();
        assert_int_equal(setenv("XDG_RUNTIME_DIR", runtime, 1), 0);
        topology = malloc(sizeof(*topology));
        seen = malloc(sizeof(*seen));
        assert_true(topology && seen);
        assert_int_equal(real_host_new("", NULL, &host), 0);
        door = real_host_door(host);
        assert_int_equal(door.ops->read_topology(door.self, LEVEL_AUTO, topology, why), 0);
        facts = facts_new();
        qemu = qemu_start(UUID, 3, (const char *const[]){"-iothreads", "1", NULL});
        pid_file_write(runtime, "a vm", qemu.pid);
        facts_add(facts, fact_new("a vm", UUID, 3, "0-1"));
        return 0;
}

static int tear_down(void **state) {
        (void)state;
        if (qemu.pid)
                qemu_stop(&qemu);
        facts_free(facts);
        real_host_free(host);
        free(topology);
        free(seen);
        tree_free(runtime);
        return 0;
}

static void look_at(Look look) {
        assert_int_equal(door.ops->observe(door.self, facts, topology, look, seen), 0);
        assert_int_equal(seen->n_vms, 1);
}

static void assert_mask(unsigned vcpu, const CpuSet *set) {
        assert_true(cpuset_equal(pool_get(&seen->pool, seen->vcpu[vcpu].mask), set));
}

static ThreadRef seen_ref(unsigned vcpu) {
        ThreadRef ref = {.uuid = UUID,
                         .pid = seen->vm[0].pid,
                         .tid = seen->vcpu[vcpu].tid,
                         .process_start_ticks = seen->vm[0].start_ticks,
                         .thread_start_ticks = seen->vcpu[vcpu].start_ticks,
                         .number = seen->vcpu[vcpu].number};

        return ref;
}

/* What an emulator or a sanitizer has in each process: this one has started no thread. */
static unsigned foreign_threads(void) {
        unsigned n = 0;
        DIR *dir = opendir("/proc/self/task");

        assert_non_null(dir);
        for (struct dirent *entry; (entry = readdir(dir));)
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n - 1;
}

static void sees_threads(void **state) {
        CpuSet one = last_cpu();

        (void)state;
        pin(thread_by_comm(qemu.pid, "CPU 1/KVM"), &one);
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].sight, SIGHT_OK);
        assert_int_equal(seen->vm[0].pid, qemu.pid);
        assert_int_equal(seen->vm[0].start_ticks, start_ticks_of(qemu.pid, qemu.pid));
        assert_int_equal(seen->n_vcpus, 3);
        assert_int_equal(seen->vcpu[2].tid, thread_by_comm(qemu.pid, "CPU 2/KVM"));
        assert_int_equal(seen->vcpu[2].start_ticks, start_ticks_of(qemu.pid, seen->vcpu[2].tid));
        assert_true(seen->vcpu[2].last_ran >= 0);
        assert_mask(0, &usable);
        assert_mask(1, &one);
        assert_int_equal(seen->n_helpers, 3 + foreign_threads()); /* emulator, I/O thread, worker */
}

/* Each change happens behind the back of a cheap look. */
static void cheap_look(void **state) {
        CpuSet one = first_cpu();

        (void)state;
        look_at(LOOK_FULL);
        pin(seen->vcpu[1].tid, &one);
        look_at(LOOK_HELPERS);
        assert_mask(1, &one);
        assert_int_equal(qemu_say(&qemu, "stop 2"), 0);
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vcpu[2].tid, 0);
        int tid = qemu_say(&qemu, "start 2");
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vcpu[2].tid, tid);
        assert_int_equal(qemu_say(&qemu, "stop 2"), 0);
        tid = qemu_say(&qemu, "start 2"); /* as many threads as before */
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vcpu[2].tid, tid);
        unsigned helpers = seen->n_helpers;
        tid = qemu_say(&qemu, "worker");
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->n_helpers, helpers + 1);
        qemu_stop(&qemu);
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vm[0].sight, SIGHT_NO_PROCESS);
        assert_int_equal(seen->vcpu[0].tid, 0);
}

static bool helper_has(unsigned helper, const CpuSet *set) {
        return cpuset_equal(pool_get(&seen->pool, seen->helper[helper].mask), set);
}

/* Helpers are looked at where that is asked for, where one was written, and now and then:
 * a new vCPU may be hidden by one that went. */
static void helpers(void **state) {
        CpuSet one = first_cpu(), found;

        (void)state;
        look_at(LOOK_FULL);
        pin(seen->helper[1].tid, &one);
        for (unsigned i = 0; i < 20; i++)
                look_at(LOOK_NEWS);
        assert_true(helper_has(1, &usable));
        for (unsigned i = 0; i < 6; i++)
                look_at(LOOK_VCPUS);
        assert_true(helper_has(1, &one));
        pin(seen->helper[1].tid, &usable);
        look_at(LOOK_HELPERS);
        assert_true(helper_has(1, &usable));
        ThreadRef ref = {.uuid = UUID,
                         .pid = seen->vm[0].pid,
                         .tid = seen->helper[1].tid,
                         .process_start_ticks = seen->vm[0].start_ticks,
                         .thread_start_ticks = seen->helper[1].start_ticks,
                         .number = THREAD_HELPER};
        assert_int_equal(door.ops->write_mask(door.self, &ref, &one, &found), WRITE_OK);
        look_at(LOOK_NEWS);
        assert_true(helper_has(1, &one));
}

static void restarted_vm(void **state) {
        (void)state;
        look_at(LOOK_FULL);
        qemu_stop(&qemu);
        qemu = qemu_start(UUID, 3, NULL);
        pid_file_write(runtime, "a vm", qemu.pid);
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vm[0].sight, SIGHT_OK);
        assert_int_equal(seen->vm[0].pid, qemu.pid);
        assert_int_equal(seen->vcpu[0].tid, thread_by_comm(qemu.pid, "CPU 0/KVM"));
}

static void stranger_in_the_pid_file(void **state) {
        (void)state;
        pid_file_write(runtime, "a vm", getpid());
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].sight, SIGHT_STRANGER);
        qemu_stop(&qemu);
        qemu = qemu_start("12345678-0000-4000-8000-000000000001", 3,
                          (const char *const[]){"-append", "-uuid " UUID, NULL});
        pid_file_write(runtime, "a vm", qemu.pid);
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].sight, SIGHT_STRANGER);
}

static void zombie(void **state) {
        (void)state;
        look_at(LOOK_FULL);
        kill(qemu.pid, SIGKILL);
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)qemu.pid, &info, WEXITED | WNOWAIT), 0);
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vm[0].sight, SIGHT_NO_PROCESS);
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].sight, SIGHT_NO_PROCESS);
}

static void writes_and_reads_back(void **state) {
        CpuSet one = last_cpu(), found, now;

        (void)state;
        look_at(LOOK_FULL);
        for (unsigned i = 0; i < 3; i++) {
                ThreadRef ref = seen_ref(i);

                assert_int_equal(door.ops->write_mask(door.self, &ref, &one, &found), WRITE_OK);
                assert_true(cpuset_equal(&found, &one));
                now = mask_of(ref.tid);
                assert_true(cpuset_equal(&now, &one));
                assert_int_equal(door.ops->read_mask(door.self, &ref, &now), 0);
                assert_true(cpuset_equal(&now, &one));
        }
        now = mask_of(qemu.pid);
        assert_true(cpuset_equal(&now, &usable));
        look_at(LOOK_HELPERS);
        assert_mask(0, &one);
}

static void assert_stale(const ThreadRef *ref) {
        CpuSet one = first_cpu(), found = cpus("4000"), now;

        assert_int_equal(door.ops->write_mask(door.self, ref, &one, &found), WRITE_STALE);
        assert_cpus(&found, "4000");
        assert_int_equal(door.ops->read_mask(door.self, ref, &found), -ESRCH);
        assert_cpus(&found, "4000");
        if (qemu.pid && ref->tid > 0 && thread_by_comm(qemu.pid, "CPU 0/KVM")) {
                now = mask_of(thread_by_comm(qemu.pid, "CPU 0/KVM"));
                assert_true(cpuset_equal(&now, &usable));
        }
}

static void every_part_of_the_identity(void **state) {
        const ThreadRef right = thread_ref(qemu.pid, UUID, 0);
        ThreadRef ref;

        (void)state;
        ref = right, ref.process_start_ticks++, assert_stale(&ref);
        ref = right, ref.thread_start_ticks--, assert_stale(&ref);
        ref = right, ref.uuid[0] = 'b', assert_stale(&ref);
        ref = right, ref.number = 1, assert_stale(&ref);
        ref = right, ref.pid = getpid(), assert_stale(&ref);
        ref = right, ref.pid = 0, assert_stale(&ref);
        ref = right, ref.tid = -1, assert_stale(&ref);
        ref = right, ref.tid = qemu.pid, assert_stale(&ref);
        ref = right, ref.tid = thread_by_comm(qemu.pid, "CPU 1/KVM"), ref.number = 0, assert_stale(&ref);
        assert_int_equal(qemu_say(&qemu, "comm 0 CPU 0/XXX"), 0);
        assert_stale(&right);
}

static void dead_thread(void **state) {
        ThreadRef ref = thread_ref(qemu.pid, UUID, 2);

        (void)state;
        assert_int_equal(qemu_say(&qemu, "stop 2"), 0);
        assert_stale(&ref);
        qemu_stop(&qemu);
        assert_stale(&ref);
}

static void recycled_number(void **state) {
        ThreadRef ref = thread_ref(qemu.pid, UUID, 2);
        CpuSet now;

        (void)state;
        look_at(LOOK_FULL);
        assert_int_equal(qemu_say(&qemu, "stop 2"), 0);
        pid_t stranger = process_with_number(ref.tid);
        if (stranger == -EPERM || stranger == -ENOSYS)
                skip_because("no process can be given a number of our choice");
        assert_int_equal(stranger, ref.tid);
        assert_stale(&ref);
        qemu_say(&qemu, "worker"); /* as many threads as before */
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vcpu[2].tid, 0);
        now = mask_of(stranger);
        assert_true(cpuset_equal(&now, &usable));
        kill(stranger, SIGKILL);
        waitpid(stranger, NULL, 0);
}

static void refused(void **state) {
        ThreadRef ref = thread_ref(qemu.pid, UUID, 0);
        CpuSet outside = cpus("4000"), partly = first_cpu(), empty = {}, found;

        (void)state;
        assert_int_equal(door.ops->write_mask(door.self, &ref, &outside, &found), WRITE_REFUSED);
        assert_true(cpuset_equal(&found, &usable));
        assert_int_equal(door.ops->write_mask(door.self, &ref, &empty, &found), WRITE_REFUSED);
        cpuset_or(&partly, &outside);
        assert_int_equal(door.ops->write_mask(door.self, &ref, &partly, &found), WRITE_REFUSED);
        CpuSet first = first_cpu();
        assert_true(cpuset_equal(&found, &first)); /* what the kernel made of it */
}

/* As a user without CAP_SYS_NICE. */
static void denied(void **state) {
        ThreadRef ref = thread_ref(qemu.pid, UUID, 0);
        CpuSet one = first_cpu(), found = {};
        int status;

        (void)state;
        if (geteuid() != 0)
                skip_because("it takes root");
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (setgid(65534) < 0 || setuid(65534) < 0)
                        _exit(99);
                _exit((int)door.ops->write_mask(door.self, &ref, &one, &found));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), WRITE_DENIED);
}

static void widens_a_stranger(void **state) {
        CpuSet one = first_cpu(), other = last_cpu(), now;
        pid_t tid = thread_by_comm(qemu.pid, "CPU 0/KVM");
        Stranger who;

        (void)state;
        if (cpuset_equal(&one, &other))
                skip_because("it takes two CPUs");
        assert_false(affinity_widen_stranger(tid, &one, &who)); /* its mask is not ours */
        pin(tid, &one);
        pin(qemu.pid, &other);
        assert_true(affinity_widen_stranger(tid, &one, &who));
        assert_int_equal(who.tid, tid);
        assert_int_equal(who.pid, qemu.pid);
        assert_string_equal(who.comm, "CPU 0/KVM");
        assert_true(who.widened);
        now = mask_of(tid);
        assert_true(cpuset_equal(&now, &other)); /* its process's */
        assert_true(affinity_widen_stranger(qemu.pid, &other, &who));
        now = mask_of(qemu.pid);
        assert_true(cpuset_is_subset(&usable, &now)); /* all there are */
        qemu_stop(&qemu);
        assert_false(affinity_widen_stranger(tid, &one, &who));
        assert_false(real_host_take_stranger(host, &who));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(sees_threads),
                CASE(cheap_look),
                CASE(helpers),
                CASE(restarted_vm),
                CASE(stranger_in_the_pid_file),
                CASE(zombie),
                CASE(writes_and_reads_back),
                CASE(every_part_of_the_identity),
                CASE(dead_thread),
                CASE(recycled_number),
                CASE(refused),
                CASE(denied),
                CASE(widens_a_stranger),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

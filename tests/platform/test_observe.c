/* SPDX-License-Identifier: Apache-2.0 */

#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/vm_record.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000002"

static char *tree;
static RealHost *host;
static Host door;
static FactList *facts;
static Topology *topology;
static Snapshot *seen;

static const char CGROUP[] = "0::/machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt/vcpu0\n";

static void open_host(void) {
        char why[256];

        assert_int_equal(real_host_new(tree, "numa:2 l3:2 core:2 pu:1", &host), 0);
        door = real_host_door(host);
        assert_int_equal(door.ops->read_topology(door.self, LEVEL_AUTO, topology, why), 0);
}

/* A host of eight CPUs on two nodes, without a VM. */
static int set_up(void **state) {
        (void)state;
        unsetenv("XDG_RUNTIME_DIR");
        tree = tree_new();
        topology = malloc(sizeof(*topology));
        seen = malloc(sizeof(*seen));
        facts = facts_new();
        assert_true(topology && seen);
        tree_write(tree, "proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n");
        tree_write(tree, "sys/fs/cgroup/machine.slice/cpuset.cpus.effective", "0-6\n");
        open_host();
        return 0;
}

static int tear_down(void **state) {
        (void)state;
        real_host_free(host);
        facts_free(facts);
        free(topology);
        free(seen);
        tree_free(tree);
        return 0;
}

static void look_at(Look look) {
        assert_int_equal(door.ops->observe(door.self, facts, topology, look, seen), 0);
}

static void vcpu_thread(int pid, int tid, const char *comm, const char *list, int last_ran) {
        fake_thread(tree, &(FakeTask){pid, tid, comm, list, CGROUP, 1000 + (unsigned)(tid - pid), last_ran});
}

/* VM "a": process 500 with two vCPUs and an I/O thread. */
static void start_a(void) {
        fake_process(tree, "a", 500, UUID_A, CGROUP);
        vcpu_thread(500, 503, "CPU 0/KVM", "2", 2);
        vcpu_thread(500, 502, "CPU 1/KVM", "0-7", 3);
        vcpu_thread(500, 504, "IO iothread1", "0-3", 0);
        facts_add(facts, fact_new("a", UUID_A, 2, "0-7"));
}

static void assert_set(SetId id, const char *list) {
        assert_cpus(pool_get(&seen->pool, id), list);
}

static void sees_a_vm(void **state) {
        (void)state;
        start_a();
        facts->vm[0]->vcpu[1].guest_cell = 1;
        facts->vm[0]->range_named = true;
        facts->vm[0]->guest_threads = 2;
        look_at(LOOK_FULL);
        assert_int_equal(seen->n_vms, 1);
        assert_int_equal(seen->n_vcpus, 2);
        assert_string_equal(seen->vm[0].name, "a");
        assert_string_equal(seen->vm[0].uuid, UUID_A);
        assert_int_equal(seen->vm[0].sight, SIGHT_OK);
        assert_int_equal(seen->vm[0].pid, 500);
        assert_int_equal(seen->vm[0].start_ticks, 1000);
        assert_int_equal(seen->vm[0].guest_threads, 2);
        assert_true(seen->vm[0].range_named);
        assert_int_equal(seen->vcpu[0].tid, 503);
        assert_int_equal(seen->vcpu[0].start_ticks, 1003);
        assert_int_equal(seen->vcpu[0].last_ran, 2);
        assert_int_equal(seen->vcpu[0].home, -1);
        assert_int_equal(seen->vcpu[1].number, 1);
        assert_int_equal(seen->vcpu[1].guest_cell, 1);
        assert_set(seen->vcpu[0].mask, "2");
        assert_set(seen->vcpu[1].mask, "0-7");
        assert_set(seen->vcpu[0].range, "0-7");
        assert_set(seen->vcpu[0].cpuset, "0-6");
        assert_int_equal(seen->n_helpers, 2);
        for (unsigned i = 0; i < 2; i++)
                if (seen->helper[i].tid == 500)
                        assert_int_equal(seen->helper[i].kind, HELPER_EMULATOR);
                else {
                        assert_int_equal(seen->helper[i].kind, HELPER_IOTHREAD);
                        assert_set(seen->helper[i].mask, "0-3");
                }
}

static void a_name_is_escaped_in_its_pid_file(void **state) {
        (void)state;
        fake_process(tree, "&lt;a&gt; &amp;amp; &apos;b&quot;", 500, UUID_A, CGROUP);
        vcpu_thread(500, 503, "CPU 0/KVM", "2", 2);
        facts_add(facts, fact_new("<a> &amp; 'b\"", UUID_A, 1, "0-7"));
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].sight, SIGHT_OK);
        assert_int_equal(seen->vm[0].pid, 500);
}

static void assert_sight(VmSight sight) {
        look_at(LOOK_FULL);
        assert_int_equal(seen->n_vms, 1);
        assert_int_equal(seen->vm[0].sight, sight);
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vm[0].sight, sight);
        if (sight != SIGHT_OK && sight != SIGHT_NO_THREADS)
                assert_int_equal(seen->vm[0].pid, 0);
        for (unsigned i = 0; i < seen->n_vcpus; i++)
                assert_int_equal(seen->vcpu[i].tid, 0);
}

static void no_pid_file(void **state) {
        (void)state;
        start_a();
        tree_remove(tree, "run/libvirt/qemu/a.pid");
        assert_sight(SIGHT_NO_PID);
        assert_int_equal(seen->n_vcpus, 2);
}

static void broken_pid_file(void **state) {
        static const char *const texts[] = {"",
                                            "x\n",
                                            "0\n",
                                            "-5\n",
                                            "500x\n",
                                            "99999999999\n",
                                            "1111111111111111111111111111111111111111111111111\n"};

        (void)state;
        start_a();
        for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
                tree_write(tree, "run/libvirt/qemu/a.pid", "%s", texts[i]);
                assert_sight(SIGHT_NO_PID);
        }
}

/* Whoever may write a pid file could name any process. */
static void pid_file_of_somebody(void **state) {
        char path[128];

        (void)state;
        if (geteuid() != 0)
                skip_because("it takes root");
        start_a();
        snprintf(path, sizeof(path), "%s/run/libvirt/qemu/a.pid", tree);
        assert_int_equal(chown(path, 4242, 4242), 0);
        assert_sight(SIGHT_NO_PID);
}

static void process_gone(void **state) {
        (void)state;
        start_a();
        tree_remove(tree, "proc/500");
        assert_sight(SIGHT_NO_PROCESS);
}

static void process_hidden(void **state) {
        (void)state;
        start_a();
        tree_remove(tree, "proc/500");
        tree_write(tree, "proc/self/mounts", "proc /proc proc rw,hidepid=invisible 0 0\n");
        assert_sight(SIGHT_HIDDEN);
}

/* The number went to somebody else, who even mentions the UUID. */
static void recycled_pid(void **state) {
        (void)state;
        start_a();
        tree_write(tree, "proc/500/cmdline", "sshd%c-o%c-uuid %s%c", 0, 0, UUID_A, 0);
        assert_sight(SIGHT_STRANGER);
        tree_write(tree, "proc/500/cmdline", "qemu%c-uuid%c%s%c-append%c-uuid%c%s%c", 0, 0, UUID_B, 0, 0, 0,
                   UUID_A, 0);
        assert_sight(SIGHT_STRANGER);
}

static void no_threads_yet(void **state) {
        (void)state;
        start_a();
        tree_remove(tree, "proc/500/task/502");
        tree_remove(tree, "proc/500/task/503");
        assert_sight(SIGHT_NO_THREADS);
}

static void still_starting(void **state) {
        (void)state;
        start_a();
        facts->vm[0]->starting = true;
        assert_sight(SIGHT_STARTING);
        facts->vm[0]->starting = false;
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vm[0].sight, SIGHT_OK);
}

static void over_limit(void **state) {
        (void)state;
        start_a();
        facts->vm[0]->over_limit = true;
        assert_sight(SIGHT_LIMIT);
        assert_int_equal(seen->n_vcpus, 0);
}

static void odd_names(void **state) {
        static const char *const names[] = {"two words", "a.b-c_d", "-dash", "ümlaut",
                                            "%s%n",      "a b) (c", "..x"};

        (void)state;
        for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
                char uuid[VM_UUID_SIZE];

                snprintf(uuid, sizeof(uuid), "cccccccc-0000-4000-8000-%012u", i);
                fake_process(tree, names[i], 600 + 10 * (int)i, uuid, CGROUP);
                vcpu_thread(600 + 10 * (int)i, 601 + 10 * (int)i, "CPU 0/KVM", "1", 1);
                facts_add(facts, fact_new(names[i], uuid, 1, "0-7"));
        }
        fake_process(tree, "../x", 900, "ffffffff-0000-4000-8000-000000000000", CGROUP);
        facts_add(facts, fact_new("../x", "ffffffff-0000-4000-8000-000000000000", 1, "0-7"));
        look_at(LOOK_FULL);
        for (unsigned i = 0; i < facts->n - 1; i++) {
                assert_string_equal(seen->vm[i].name, names[i]);
                assert_int_equal(seen->vm[i].sight, SIGHT_OK);
        }
        assert_int_equal(seen->vm[facts->n - 1].sight, SIGHT_NO_PID);
}

/* Numbers 0, 2 and 5 are online; 2 has no thread, and 1 has one nobody wants. */
static void vcpu_numbers(void **state) {
        VmFact *fact;

        (void)state;
        fake_process(tree, "b", 700, UUID_B, CGROUP);
        vcpu_thread(700, 701, "CPU 5/TCG", "5", 5);
        vcpu_thread(700, 702, "CPU 1/TCG", "1", 1);
        vcpu_thread(700, 703, "CPU 0/TCG", "0", 0);
        fact = facts_add(facts, fact_new("b", UUID_B, 3, "0-7"));
        fact->vcpu[0].number = 5; /* in no order */
        fact->vcpu[1].number = 0;
        fact->vcpu[2].number = 2;
        look_at(LOOK_FULL);
        assert_int_equal(seen->n_vcpus, 3);
        assert_int_equal(seen->vcpu[0].number, 0);
        assert_int_equal(seen->vcpu[0].tid, 703);
        assert_int_equal(seen->vcpu[1].number, 2);
        assert_int_equal(seen->vcpu[1].tid, 0);
        assert_int_equal(seen->vcpu[1].mask, SET_NONE);
        assert_int_equal(seen->vcpu[2].number, 5);
        assert_int_equal(seen->vcpu[2].tid, 701);
        assert_int_equal(seen->vm[0].n_unlisted, 1);
        assert_int_equal(seen->n_helpers, 1);
}

/* While one ends and the next begins, the younger thread is the vCPU. */
static void two_of_a_name(void **state) {
        (void)state;
        fake_process(tree, "b", 700, UUID_B, CGROUP);
        vcpu_thread(700, 701, "CPU 0/KVM", "1", 1);
        vcpu_thread(700, 790, "CPU 0/KVM", "2", 2);
        vcpu_thread(700, 702, "CPU 0/KVM", "3", 3);
        facts_add(facts, fact_new("b", UUID_B, 1, "0-7"));
        look_at(LOOK_FULL);
        assert_int_equal(seen->vcpu[0].tid, 790);
        assert_set(seen->vcpu[0].mask, "2");
}

static void order_of_arrival(void **state) {
        (void)state;
        fake_process(tree, "b", 700, UUID_B, CGROUP);
        facts_add(facts, fact_new("gone", "00000000-0000-4000-8000-000000000000", 1, "0-7"));
        facts_add(facts, fact_new("b", UUID_B, 1, "0-7"));
        start_a();
        look_at(LOOK_FULL); /* equal start times: by UUID */
        assert_string_equal(seen->vm[0].name, "a");
        assert_string_equal(seen->vm[1].name, "b");
        assert_string_equal(seen->vm[2].name, "gone");
        assert_int_equal(seen->vm[0].first_vcpu, 0);
        assert_int_equal(seen->vm[1].first_vcpu, 2);
        assert_int_equal(seen->vcpu[2].vm, 1);
        tree_write(tree, "proc/700/stat", "700 (q) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 999 1\n");
        look_at(LOOK_FULL);
        assert_string_equal(seen->vm[0].name, "b");
}

static void memory_and_devices(void **state) {
        (void)state;
        start_a();
        look_at(LOOK_FULL); /* vCPUs last ran on CPUs 2 and 3: the first node */
        assert_int_equal(seen->vm[0].mem_source, MEM_LAST_RUN);
        assert_int_equal(seen->vm[0].n_mem, 1);
        assert_int_equal(seen->vm[0].mem[0].node, 0);
        vcpu_thread(500, 503, "CPU 0/KVM", "2", 6);
        vcpu_thread(500, 502, "CPU 1/KVM", "0-7", 7);
        look_at(LOOK_FULL); /* where it first ran is what counts */
        assert_int_equal(seen->vm[0].mem[0].node, 0);

        tree_write(tree, "sys/fs/cgroup/machine.slice/machine-qemu\\x2d1\\x2da.scope/memory.numa_stat",
                   "anon N0=1000000 N1=3000000\n");
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].mem_source, MEM_STAT);
        assert_int_equal(seen->vm[0].n_mem, 2);
        assert_int_equal(seen->vm[0].mem[0].node, 1);
        assert_int_equal(seen->vm[0].mem[0].permille, 750);
        assert_int_equal(seen->vm[0].mem[1].permille, 250);

        /* Guest memory in huge pages, which the group does not show. */
        tree_write(tree, "proc/500/status",
                   "Name:\tq\nHugetlbPages:\t 1048576 kB\nCpus_allowed_list:\t0-7\n");
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].mem_source, MEM_LAST_RUN);

        facts->vm[0]->numatune_named = true;
        cpuset_add(&facts->vm[0]->numatune, 1);
        facts->vm[0]->n_devices = 3;
        facts->vm[0]->device = calloc(3, sizeof(*facts->vm[0]->device));
        strcpy(facts->vm[0]->device[0], "0000:03:00.0");
        strcpy(facts->vm[0]->device[1], "0000:04:00.0");
        strcpy(facts->vm[0]->device[2], "0000:05:00.0");
        tree_write(tree, "sys/bus/pci/devices/0000:03:00.0/numa_node", "1\n");
        tree_write(tree, "sys/bus/pci/devices/0000:04:00.0/numa_node", "-1\n");
        look_at(LOOK_FULL);
        assert_int_equal(seen->vm[0].mem_source, MEM_NUMATUNE);
        assert_int_equal(seen->vm[0].mem[0].node, 1);
        assert_int_equal(seen->vm[0].mem[0].permille, 1000);
        assert_int_equal(seen->vm[0].n_device_nodes, 1);
        assert_int_equal(seen->vm[0].device_node[0], 1);
}

static unsigned helpers_of_a(void) {
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vm[0].sight, SIGHT_OK);
        return seen->n_helpers;
}

/* What a cheap look must notice, and what shows that it was cheap. */
static void cheap_look(void **state) {
        (void)state;
        start_a();
        look_at(LOOK_FULL);
        tree_write(tree, "sys/fs/cgroup/machine.slice/cpuset.cpus.effective", "1-5\n");
        look_at(LOOK_HELPERS);
        assert_set(seen->vcpu[0].cpuset, "0-6"); /* not read again */
        assert_set(seen->vcpu[1].mask, "0-7");
        facts->vm[0]->generation++;
        look_at(LOOK_HELPERS);
        assert_set(seen->vcpu[0].cpuset, "1-5");

        vcpu_thread(500, 502, "CPU 1/KVM", "4", 3);
        look_at(LOOK_HELPERS);
        assert_set(seen->vcpu[1].mask, "4");

        assert_int_equal(helpers_of_a(), 2);
        vcpu_thread(500, 505, "worker", "0-7", 0);
        assert_int_equal(helpers_of_a(), 3);
        tree_remove(tree, "proc/500/task/505");
        tree_remove(tree, "proc/500/task/504");
        assert_int_equal(helpers_of_a(), 1);

        tree_remove(tree, "proc/500/task/502"); /* one ends, one begins: as many threads */
        vcpu_thread(500, 590, "CPU 1/KVM", "4", 3);
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vcpu[1].tid, 590);

        tree_remove(tree, "proc/500");
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->vm[0].sight, SIGHT_NO_PROCESS);
}

/* What a cheap look can not notice comes to light when the VM has its turn. */
static void every_vm_has_its_turn(void **state) {
        (void)state;
        start_a();
        look_at(LOOK_FULL);
        tree_write(tree, "sys/fs/cgroup/machine.slice/cpuset.cpus.effective", "1-5\n");
        for (unsigned i = 0; i < 120; i++)
                look_at(LOOK_HELPERS);
        assert_set(seen->vcpu[0].cpuset, "1-5");
}

/* After an event a VM is looked at if it was named, or if we wrote a mask of it. */
static void only_the_news(void **state) {
        CpuSet one = {}, found;
        ThreadRef ref = {.pid = 500, .tid = 503};

        (void)state;
        start_a();
        look_at(LOOK_FULL);
        vcpu_thread(500, 503, "CPU 0/KVM", "5", 2);
        for (unsigned i = 0; i < 200; i++) /* nor is it a VM's turn */
                look_at(LOOK_NEWS);
        assert_set(seen->vcpu[0].mask, "2");
        facts->vm[0]->generation++;
        look_at(LOOK_NEWS);
        assert_set(seen->vcpu[0].mask, "5");
        vcpu_thread(500, 503, "CPU 0/KVM", "6", 2);
        look_at(LOOK_NEWS);
        assert_set(seen->vcpu[0].mask, "5");
        door.ops->write_mask(door.self, &ref, &one, &found);
        look_at(LOOK_NEWS);
        assert_set(seen->vcpu[0].mask, "6");
        vcpu_thread(500, 503, "CPU 0/KVM", "7", 2);
        look_at(LOOK_NEWS);
        assert_set(seen->vcpu[0].mask, "6");
        look_at(LOOK_VCPUS);
        assert_set(seen->vcpu[0].mask, "7");
}

static void vms_come_and_go(void **state) {
        VmFact *a;

        (void)state;
        start_a();
        look_at(LOOK_HELPERS);
        a = facts->vm[0];
        fake_process(tree, "b", 700, UUID_B, CGROUP);
        vcpu_thread(700, 701, "CPU 0/KVM", "1", 1);
        facts_add(facts, fact_new("b", UUID_B, 1, "0-7"));
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->n_vms, 2);
        facts->vm[0] = facts->vm[1];
        facts->n = 1;
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->n_vms, 1);
        assert_string_equal(seen->vm[0].name, "b");
        facts->vm[1] = a;
        facts->n = 2;
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->n_vms, 2);
        facts_free(facts);
        facts = facts_new();
        look_at(LOOK_HELPERS);
        assert_int_equal(seen->n_vms, 0);
}

/* Without descriptors to spare every look is one in full. */
static void few_descriptors(void **state) {
        struct rlimit before, few = {.rlim_cur = 64, .rlim_max = 64};

        (void)state;
        start_a();
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        few.rlim_max = before.rlim_max; /* the soft one is raised to this */
        few.rlim_cur = 64;
        real_host_free(host);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        open_host();
        struct rlimit now;
        getrlimit(RLIMIT_NOFILE, &now);
        assert_int_equal(now.rlim_cur, before.rlim_max);
        look_at(LOOK_FULL);
        tree_write(tree, "sys/fs/cgroup/machine.slice/cpuset.cpus.effective", "1-5\n");
        look_at(LOOK_HELPERS);
        assert_set(seen->vcpu[0].cpuset, "0-6");
        setrlimit(RLIMIT_NOFILE, &before);
}

/* Runs as a process that may have so many descriptors; 0: it went well. */
static int with_descriptors(unsigned n, int (*run)(RealHost *)) {
        int status;

        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                struct rlimit few = {.rlim_cur = n, .rlim_max = n};
                RealHost *poor;

                if (setrlimit(RLIMIT_NOFILE, &few) < 0)
                        _exit(77); /* valgrind keeps these for itself */
                if (real_host_new(tree, "core:8 pu:1", &poor) < 0)
                        _exit(1);
                _exit(run(poor));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip_because("valgrind keeps the last descriptors for itself");
        return status;
}

static int look_often(RealHost *poor) {
        for (int i = 0; i < 100; i++)
                if (real_host_door(poor).ops->observe(poor, facts, topology, i % 2 ? LOOK_FULL : LOOK_HELPERS, seen) < 0 ||
                    seen->vm[0].sight != SIGHT_OK || seen->vcpu[0].tid != 503)
                        return 2;
        return 0;
}

/* Descriptors that a record gave back serve the next one. */
static int look_often_then_cheaply(RealHost *poor) {
        if (look_often(poor) != 0)
                return 2;
        tree_write(tree, "sys/fs/cgroup/machine.slice/cpuset.cpus.effective", "1-5\n");
        if (real_host_door(poor).ops->observe(poor, facts, topology, LOOK_HELPERS, seen) < 0)
                return 3;
        return cpuset_has(pool_get(&seen->pool, seen->vcpu[0].cpuset), 6) ? 0 : 4;
}

static void no_descriptors(void **state) {
        (void)state;
        start_a();
        assert_int_equal(with_descriptors(64, look_often), 0);
        assert_int_equal(with_descriptors(512 + 4, look_often_then_cheaply), 0);
}

static void too_many_vms(void **state) {
        (void)state;
        for (unsigned i = 0; i < VMS_MAX + 3; i++) {
                char uuid[VM_UUID_SIZE];

                snprintf(uuid, sizeof(uuid), "dddddddd-0000-4000-8000-%012u", i);
                facts_add(facts, fact_new("absent", uuid, 1, "0-7"));
        }
        look_at(LOOK_FULL);
        assert_int_equal(seen->n_vms, VMS_MAX);
        assert_int_equal(seen->n_beyond_limits, 3);
}

static void too_many_vcpus(void **state) {
        (void)state;
        for (unsigned i = 0; i < VCPUS_MAX / VM_VCPUS_MAX + 1; i++) {
                char uuid[VM_UUID_SIZE];

                snprintf(uuid, sizeof(uuid), "dddddddd-0000-4000-8000-%012u", i);
                facts_add(facts, fact_new("absent", uuid, VM_VCPUS_MAX, "0-7"));
        }
        look_at(LOOK_FULL);
        assert_int_equal(seen->n_vms, VCPUS_MAX / VM_VCPUS_MAX + 1);
        assert_int_equal(seen->n_vcpus, VCPUS_MAX);
        assert_int_equal(seen->vm[0].sight, SIGHT_NO_PID);
        assert_int_equal(seen->vm[seen->n_vms - 1].sight, SIGHT_LIMIT);
        assert_int_equal(seen->vm[seen->n_vms - 1].n_vcpus, 0);
}

static void no_writes_below_another_root(void **state) {
        ThreadRef ref = {.uuid = UUID_A,
                         .pid = 500,
                         .tid = 503,
                         .process_start_ticks = 1000,
                         .thread_start_ticks = 1003};
        CpuSet mask = cpus("1"), found;

        (void)state;
        start_a();
        assert_int_equal(door.ops->write_mask(door.self, &ref, &mask, &found), WRITE_DENIED);
        assert_int_equal(door.ops->read_mask(door.self, &ref, &found), 0);
        assert_cpus(&found, "2");
}

static void online_cpus(void **state) {
        RealHost *other;
        CpuSet set;

        (void)state;
        tree_write(tree, "sys/devices/system/cpu/online", "0-3,6\n");
        assert_int_equal(door.ops->read_online(door.self, &set), 0);
        assert_cpus(&set, "0-7"); /* the description's */
        assert_int_equal(real_host_new(tree, NULL, &other), 0);
        assert_int_equal(real_host_door(other).ops->read_online(other, &set), 0);
        assert_cpus(&set, "0-3,6");
        real_host_free(other);
        assert_true(real_host_new("/nowhere", NULL, &other) < 0);
        assert_true(real_host_new(tree, "nonsense", &other) < 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(sees_a_vm),
                CASE(a_name_is_escaped_in_its_pid_file),
                CASE(no_pid_file),
                CASE(broken_pid_file),
                CASE(pid_file_of_somebody),
                CASE(process_gone),
                CASE(process_hidden),
                CASE(recycled_pid),
                CASE(no_threads_yet),
                CASE(still_starting),
                CASE(over_limit),
                CASE(odd_names),
                CASE(vcpu_numbers),
                CASE(two_of_a_name),
                CASE(order_of_arrival),
                CASE(memory_and_devices),
                CASE(cheap_look),
                CASE(every_vm_has_its_turn),
                CASE(only_the_news),
                CASE(vms_come_and_go),
                CASE(few_descriptors),
                CASE(no_descriptors),
                CASE(too_many_vms),
                CASE(too_many_vcpus),
                CASE(no_writes_below_another_root),
                CASE(online_cpus),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

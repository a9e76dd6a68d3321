/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What looking at a host costs: processes that look like QEMU, observed in full
 * and cheaply; and what one checked write costs. Arguments: vCPUs of each, and
 * numbers of VMs.
 */

#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VMS_AT_MOST = 512, ROUNDS = 120 };

static char *runtime;
static pid_t pids[VMS_AT_MOST];
static unsigned vcpus;

static void die(const char *what) {
        fprintf(stderr, "bench_observe: %s\n", what);
        exit(1);
}

/* CPU time of this process, user and system. */
static double cpu_us(void) {
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void uuid_of(unsigned vm, char ret[VM_UUID_SIZE]) {
        snprintf(ret, VM_UUID_SIZE, "eeeeeeee-0000-4000-8000-%012u", vm);
}

static void start_vm(unsigned vm) {
        char uuid[VM_UUID_SIZE], name[16], path[256], smp[16];

        uuid_of(vm, uuid);
        snprintf(smp, sizeof(smp), "%u", vcpus);
        snprintf(name, sizeof(name), "vm%u", vm);
        snprintf(path, sizeof(path), "%s/libvirt/qemu/run/%s.pid", runtime, name);
        tree_write(runtime, "libvirt/qemu/run/x", "%s", "");
        pids[vm] = fork();
        if (pids[vm] == 0) {
                execl(VAS_FAKE_QEMU, "fake-qemu", "-uuid", uuid, "-smp", smp, "-iothreads", "1", "-workers",
                      "2", "-pidfile", path, NULL);
                _exit(127);
        }
        while (access(path, F_OK) < 0)
                usleep(1000);
}

static void measure(RealHost *host, unsigned n_vms) {
        Host door = real_host_door(host);
        Topology *topology = malloc(sizeof(*topology));
        Snapshot *seen = malloc(sizeof(*seen));
        FactList *facts = facts_new();
        char why[256], uuid[VM_UUID_SIZE], name[16];
        double cost[2];

        if (!topology || !seen || door.ops->read_topology(door.self, LEVEL_AUTO, topology, why) < 0)
                die("no topology");
        for (unsigned vm = 0; vm < n_vms; vm++) {
                uuid_of(vm, uuid);
                snprintf(name, sizeof(name), "vm%u", vm);
                facts_add(facts, fact_new(name, uuid, vcpus, "0-1"));
        }
        door.ops->observe(door.self, facts, topology, LOOK_FULL, seen);
        for (unsigned full = 0; full < 2; full++) {
                double before = cpu_us();

                for (unsigned i = 0; i < ROUNDS; i++) /* every VM has its turn once */
                        if (door.ops->observe(door.self, facts, topology, full ? LOOK_FULL : LOOK_VCPUS, seen) < 0)
                                die("it can not be observed");
                cost[full] = (cpu_us() - before) / ROUNDS;
        }
        if (seen->n_vcpus != n_vms * vcpus || seen->vm[n_vms - 1].sight != SIGHT_OK)
                die("not all was seen");
        printf("%4u VMs %5u vCPU threads: full %8.0f us, cheap %7.0f us; cheap every 5 s: %.3f %% of a CPU\n",
               n_vms, seen->n_vcpus, cost[1], cost[0], cost[0] / 5e6 * 100);

        CpuSet mask = *pool_get(&seen->pool, seen->vcpu[0].mask), found;
        ThreadRef ref = {.pid = seen->vm[0].pid,
                         .tid = seen->vcpu[0].tid,
                         .process_start_ticks = seen->vm[0].start_ticks,
                         .thread_start_ticks = seen->vcpu[0].start_ticks};
        snprintf(ref.uuid, sizeof(ref.uuid), "%s", seen->vm[0].uuid);
        double before = cpu_us();
        for (unsigned i = 0; i < 1000; i++)
                if (door.ops->write_mask(door.self, &ref, &mask, &found) != WRITE_OK)
                        die("a write failed");
        printf("     one checked write: %.1f us\n", (cpu_us() - before) / 1000);
        facts_free(facts);
        free(seen);
        free(topology);
}

int main(int argc, char **argv) {
        unsigned started = 0;
        RealHost *host;

        runtime = tree_new();
        setenv("XDG_RUNTIME_DIR", runtime, 1);
        if (real_host_new("", NULL, &host) < 0)
                die("no host");
        vcpus = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
        if (vcpus == 0 || vcpus > 64)
                die("1 to 64 vCPUs");
        for (int i = 2; i < argc; i++) {
                unsigned n_vms = (unsigned)atoi(argv[i]);

                if (n_vms == 0 || n_vms > VMS_AT_MOST)
                        die("1 to 512 VMs");
                while (started < n_vms)
                        start_vm(started++);
                measure(host, n_vms);
        }
        for (unsigned vm = 0; vm < started; vm++) {
                kill(pids[vm], SIGKILL);
                waitpid(pids[vm], NULL, 0);
        }
        real_host_free(host);
        tree_free(runtime);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the dynamic binding costs while nothing has to change:
 *
 *   bench_dynamic THREADS SECONDS
 *
 * samples that many real vCPU threads four times a second, lets the controller
 * think, and prints one JSON object: share of one CPU, and resident memory after
 * the first second and at the end.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/dynamic.h"
#include "platform/real_host.h"
#include "support.h"

enum { PERIOD_US = 250 * 1000, VM_VCPUS = 8 };

static double seconds_of(clockid_t clock) {
        struct timespec now;

        clock_gettime(clock, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long resident_kb(void) {
        long total, resident;
        FILE *file = fopen("/proc/self/statm", "re");

        assert_non_null(file);
        assert_int_equal(fscanf(file, "%ld %ld", &total, &resident), 2);
        fclose(file);
        return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv) {
        unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 500, seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 10;
        static const char uuid[] = "11111111-2222-3333-4444-555555555555";
        Qemu qemu = qemu_start(uuid, n, NULL);
        ThreadRef *ref = calloc(n, sizeof(*ref));
        ThreadSample *sample = calloc(n, sizeof(*sample));
        DynamicVcpu *vcpu = calloc(n, sizeof(*vcpu));
        DynamicTrack *track = calloc(n, sizeof(*track));
        DynamicVm *vm = calloc(n, sizeof(*vm));
        DynamicChange *change = calloc(n, sizeof(*change));
        Topology *topology = calloc(1, sizeof(*topology));
        DynamicWork *work = calloc(1, sizeof(*work));
        DynamicCpus *cpus_now = calloc(1, sizeof(*cpus_now));
        DynamicPolicy policy;
        char why[256];
        RealHost *real;
        uint32_t changes = 0;

        dynamic_policy_defaults(&policy);
        assert_int_equal(real_host_new("", NULL, &real), 0);
        Host host = real_host_door(real);
        assert_int_equal(host.ops->read_topology(host.self, LEVEL_AUTO, topology, why), 0);
        for (unsigned i = 0; i < n; i++) {
                ref[i] = thread_ref(qemu.pid, uuid, i);
                track[i].at = (int16_t)topology->cpu[i % topology->n_cpus].os;
                vcpu[i] = (DynamicVcpu){.vm = i / VM_VCPUS, .home = track[i].at, .allowed = &topology->online};
        }
        assert_int_equal(host.ops->follow(host.self, ref, n), 0);
        double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), wall = seconds_of(CLOCK_MONOTONIC);
        long resident = 0;
        for (unsigned pass = 0; pass < seconds * 4; pass++) {
                usleep(PERIOD_US);
                assert_int_equal(host.ops->sample(host.self, sample, cpus_now), 0);
                for (unsigned i = 0; i < n; i++) {
                        vcpu[i].sampled = sample[i].valid;
                        vcpu[i].run_permille = sample[i].run_permille;
                        vcpu[i].wait_permille = sample[i].wait_permille;
                }
                changes += dynamic_step(topology, &policy, cpus_now, vcpu, n, track, vm, work,
                                        host.ops->now_ns(host.self), change);
                if (pass == 4)
                        resident = resident_kb();
        }
        cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        wall = seconds_of(CLOCK_MONOTONIC) - wall;
        printf("{\"threads\":%u,\"seconds\":%.1f,\"cpu_percent\":%.3f,\"changes\":%u,\"rss_kb_first\":%ld,"
               "\"rss_kb_last\":%ld}\n",
               n, wall, 100 * cpu / wall, changes, resident, resident_kb());
        host.ops->follow(host.self, NULL, 0);
        real_host_free(real);
        qemu_stop(&qemu);
        free(ref);
        free(sample);
        free(vcpu);
        free(track);
        free(vm);
        free(change);
        free(topology);
        free(work);
        free(cpus_now);
        return 0;
}

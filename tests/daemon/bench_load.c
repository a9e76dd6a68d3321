/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What rounds cost on hosts that are not at hand: the daemon's own, with its
 * state file, behind the host door, on a modelled host that VMs come to and leave
 * one by one, a round for each. Not in it is the look at the real /proc, which
 * platform/observe measures. Times are processor time, the model's share included.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../core/model.h"
#include "daemon/rounds.h"

enum { VM_VCPUS = 32, EVENTS = 600, EVENTS_A_SECOND = 10, PID_STEP = 64 };

#define BOOT "11111111-2222-3333-4444-555555555555"
#define SECOND_NS INT64_C(1000000000)

typedef struct LoadVm {
        int32_t serial;
        uint16_t n_vcpus;
        SetId range;
        SetId mask[VM_VCPUS];
} LoadVm;

/* Sets are of the host's own pool. VMs are in order of arrival. */
typedef struct LoadHost {
        unsigned nodes, clusters, cores;
        CpuSetPool pool;
        SetId everywhere, node[NODES_MAX];
        int32_t last_serial;
        unsigned n_vms, n_vcpus;
        LoadVm vm[VMS_MAX];
        int64_t now_ns;
        uint64_t writes;
} LoadHost;

typedef struct Load {
        const char *name;
        unsigned nodes, clusters, cores; /* clusters of a node, cores of a cluster */
        SchedPolicy sched;
        unsigned n_vcpus; /* to be kept up */
} Load;

static const Load loads[] = {
        {"static, 3,700 vCPUs on 4,096 CPUs", 16, 32, 8, SCHED_STATIC, 3700},
        {"dynamic, 6,000 vCPUs on 1,024 CPUs", 8, 16, 8, SCHED_DYNAMIC, 6000},
        {"cluster, 6,000 vCPUs on 1,024 CPUs", 8, 16, 8, SCHED_CLUSTER, 6000},
        {"dynamic, 8,000 vCPUs on 4,096 CPUs", 16, 32, 8, SCHED_DYNAMIC, 8000},
};

static _Noreturn void die(const char *what) {
        fprintf(stderr, "bench_load: %s\n", what);
        exit(1);
}

static unsigned n_cpus(const LoadHost *host) {
        return host->nodes * host->clusters * host->cores;
}

static SetId range_of(LoadHost *host, unsigned first, unsigned last) {
        CpuSet set = {};

        cpuset_add_range(&set, first, last);
        return pool_intern(&host->pool, &set);
}

static void host_init(LoadHost *host, const Load *load) {
        memset(host, 0, sizeof(*host));
        host->nodes = load->nodes;
        host->clusters = load->clusters;
        host->cores = load->cores;
        host->now_ns = 1;
        pool_clear(&host->pool);
        host->everywhere = range_of(host, 0, n_cpus(host) - 1);
        for (unsigned i = 0; i < host->nodes; i++)
                host->node[i] = range_of(host, i * n_cpus(host) / host->nodes,
                                         (i + 1) * n_cpus(host) / host->nodes - 1);
}

/* Mostly small ones; every fourth may use one node only. */
static void vm_arrive(LoadHost *host, Dice *dice) {
        static const uint16_t sizes[] = {1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 16, 32};
        LoadVm *vm = &host->vm[host->n_vms];

        if (host->n_vms == VMS_MAX)
                return;
        *vm = (LoadVm){.serial = ++host->last_serial,
                       .n_vcpus = sizes[dice_below(dice, sizeof(sizes) / sizeof(*sizes))]};
        vm->range = dice_below(dice, 4) ? host->everywhere : host->node[dice_below(dice, host->nodes)];
        for (unsigned i = 0; i < vm->n_vcpus; i++)
                vm->mask[i] = vm->range;
        host->n_vms++;
        host->n_vcpus += vm->n_vcpus;
}

static void vm_leave(LoadHost *host, Dice *dice) {
        unsigned v = dice_below(dice, host->n_vms);

        host->n_vcpus -= host->vm[v].n_vcpus;
        memmove(&host->vm[v], &host->vm[v + 1], (host->n_vms - v - 1) * sizeof(host->vm[0]));
        host->n_vms--;
}

static LoadVm *vm_find(LoadHost *host, int32_t serial) {
        unsigned low = 0, high = host->n_vms;

        while (low < high) {
                unsigned middle = (low + high) / 2;

                if (host->vm[middle].serial == serial)
                        return &host->vm[middle];
                if (host->vm[middle].serial < serial)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

static int load_read_topology(void *self, ClusterLevel level, Topology *ret, char ret_why[256]) {
        const LoadHost *host = self;
        static CpuFact fact[CPUS_MAX];
        const char *why;

        (void)level;
        for (unsigned cpu = 0; cpu < n_cpus(host); cpu++)
                fact[cpu] = (CpuFact){.os = (uint16_t)cpu,
                                      .node = (uint16_t)(cpu / (host->clusters * host->cores)),
                                      .cluster = cpu / host->cores,
                                      .core = cpu};
        if (topology_build(fact, n_cpus(host), NULL, 0, LEVEL_L3, NULL, ret, &why) != 0) {
                snprintf(ret_why, 256, "%s", why);
                return -1;
        }
        return 0;
}

static int load_read_online(void *self, CpuSet *ret) {
        const LoadHost *host = self;

        *ret = *pool_get(&host->pool, host->everywhere);
        return 0;
}

/* The snapshot's name for each of the host's sets; SET_NONE: none yet. */
static SetId set_seen(const LoadHost *host, SetId *seen, SetId id, Snapshot *ret) {
        if (seen[id] == SET_NONE)
                seen[id] = pool_intern(&ret->pool, pool_get(&host->pool, id));
        return seen[id];
}

static int load_observe(void *self, const FactList *facts, const Topology *topology, Look look,
                        Snapshot *ret) {
        const LoadHost *host = self;
        static SetId seen[POOL_SETS_MAX + 1];

        (void)facts;
        (void)topology;
        (void)look;
        snapshot_clear(ret);
        memset(seen, 0, sizeof(seen));
        for (unsigned v = 0; v < host->n_vms; v++) {
                const LoadVm *from = &host->vm[v];
                Vm *vm = &ret->vm[ret->n_vms];

                memset(vm, 0, sizeof(*vm));
                snprintf(vm->name, sizeof(vm->name), "vm%d", from->serial);
                snprintf(vm->uuid, sizeof(vm->uuid), "00000000-0000-0000-0000-%012d", from->serial);
                vm->pid = from->serial * PID_STEP;
                vm->start_ticks = (uint64_t)from->serial;
                vm->guest_threads = 1;
                vm->range_named = true;
                vm->first_vcpu = ret->n_vcpus;
                vm->n_vcpus = from->n_vcpus;
                for (unsigned i = 0; i < from->n_vcpus; i++)
                        ret->vcpu[ret->n_vcpus++] = (Vcpu){.vm = (uint16_t)ret->n_vms,
                                                           .number = (uint16_t)i,
                                                           .tid = vm->pid + 1 + (int32_t)i,
                                                           .start_ticks = vm->start_ticks,
                                                           .range = set_seen(host, seen, from->range, ret),
                                                           .cpuset = set_seen(host, seen, from->range, ret),
                                                           .mask = set_seen(host, seen, from->mask[i], ret),
                                                           .home = -1,
                                                           .last_ran = -1};
                ret->n_vms++;
        }
        return 0;
}

static WriteStatus load_write_mask(void *self, const ThreadRef *ref, const CpuSet *mask, CpuSet *ret_mask) {
        LoadHost *host = self;
        LoadVm *vm = vm_find(host, ref->pid / PID_STEP);

        if (!vm)
                return WRITE_STALE;
        vm->mask[ref->number] = pool_intern(&host->pool, mask);
        if (vm->mask[ref->number] == SET_NONE)
                die("too many different masks");
        *ret_mask = *mask;
        host->writes++;
        return WRITE_OK;
}

static int load_read_mask(void *self, const ThreadRef *ref, CpuSet *ret) {
        LoadHost *host = self;
        const LoadVm *vm = vm_find(host, ref->pid / PID_STEP);

        if (!vm)
                return -ESRCH;
        *ret = *pool_get(&host->pool, vm->mask[ref->number]);
        return 0;
}

static int64_t load_now(void *self) {
        return ((LoadHost *)self)->now_ns;
}

static double cpu_ms(void) {
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

/* The dearest ten events in a row: what a second of them costs, in percent. */
static double worst_second(const double *ms, unsigned n) {
        double worst = 0;

        for (unsigned i = 0; i + EVENTS_A_SECOND <= n; i++) {
                double sum = 0;

                for (unsigned k = 0; k < EVENTS_A_SECOND; k++)
                        sum += ms[i + k];
                worst = sum > worst ? sum : worst;
        }
        return worst / 10;
}

/* Exclusive CPUs that two vCPUs have. */
static unsigned owned_twice(const Rounds *rounds) {
        const Snapshot *snapshot = rounds->snapshot;
        CpuSet owned = {};
        unsigned n = 0;

        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                int cpu = cpuset_single(pool_get(&snapshot->pool, snapshot->vcpu[i].mask));

                if (cpu < 0 || rounds->plan->target[i].layer > 0)
                        continue;
                n += cpuset_has(&owned, (unsigned)cpu);
                cpuset_add(&owned, (unsigned)cpu);
        }
        return n;
}

static double round_ms(LoadHost *host, Rounds *rounds) {
        RoundRequest request = {.act = true};
        double before = cpu_ms();

        host->now_ns += SECOND_NS / EVENTS_A_SECOND;
        if (rounds_begin(rounds, NULL, &request) < 0)
                die(rounds->trouble);
        while (!rounds_apply_some(rounds, 0))
                ;
        double took = cpu_ms() - before;
        if (owned_twice(rounds) > 0)
                die("a CPU has two owners");
        return took;
}

static void measure(const Load *load, LoadHost *host, Rounds *rounds) {
        static double ms[EVENTS], sorted[EVENTS];
        Dice dice = {.state = 1};
        double sum = 0;

        while (host->n_vcpus < load->n_vcpus)
                vm_arrive(host, &dice);
        double first = round_ms(host, rounds);
        uint64_t writes = host->writes;

        for (unsigned i = 0; i < EVENTS; i++) {
                if (host->n_vcpus > load->n_vcpus)
                        vm_leave(host, &dice);
                else
                        vm_arrive(host, &dice);
                sum += ms[i] = round_ms(host, rounds);
        }
        memcpy(sorted, ms, sizeof(sorted));
        qsort(sorted, EVENTS, sizeof(*sorted), by_size);
        printf("%s: %u VMs, %u vCPUs; all at once %.0f ms; a round: median %.1f, p99 %.1f, maximum %.1f ms "
               "CPU; "
               "%.1f writes; 10 events a second: %.1f %% of a CPU, the worst second %.1f %%\n",
               load->name, host->n_vms, host->n_vcpus, first, sorted[EVENTS / 2], sorted[EVENTS * 99 / 100],
               sorted[EVENTS - 1], (double)(host->writes - writes) / EVENTS, sum / EVENTS,
               worst_second(ms, EVENTS));
        fflush(stdout);
}

static void run(const Load *load, const char *path) {
        static const HostOps ops = {.read_topology = load_read_topology,
                                    .read_online = load_read_online,
                                    .observe = load_observe,
                                    .write_mask = load_write_mask,
                                    .read_mask = load_read_mask,
                                    .now_ns = load_now};
        LoadHost *host = malloc(sizeof(*host));
        Settings *settings = malloc(sizeof(*settings));
        State *state;
        Rounds *rounds;
        char why[256];

        if (!host || !settings || state_new(&state) < 0)
                die("out of memory");
        host_init(host, load);
        settings_defaults(settings);
        settings->sched = load->sched;
        if (state_load(state, path, BOOT, why) < 0 ||
            rounds_new((Host){.ops = &ops, .self = host}, settings, state, path, &rounds) < 0)
                die("can not begin");
        measure(load, host, rounds);
        rounds_free(rounds);
        state_free(state);
        free(settings);
        free(host);
        unlink(path);
}

/* An argument: only the rows whose names hold it. */
int main(int argc, char **argv) {
        char path[] = "/tmp/vas-load-XXXXXX";
        int fd = mkstemp(path);

        if (fd < 0 || close(fd) < 0 || unlink(path) < 0)
                die("no file in /tmp");
        for (unsigned i = 0; i < sizeof(loads) / sizeof(*loads); i++)
                if (argc < 2 || strstr(loads[i].name, argv[1]))
                        run(&loads[i], path);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The generator keeps a host at an occupancy: while the next VM fits, it
 * arrives, else the VM whose life is over soonest goes. Lives are spread as in
 * real clouds, most of them short and a few very long (log-normal). A fifth of
 * the VMs is tied to a node, a tenth to an odd range: an interval of CPU
 * numbers about twice as wide as the VM, anywhere, across clusters and nodes.
 */

#include "sim/generate.h"

#include "core/snapshot.h"
#include "sim/random.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
        EVENT_SECONDS = 60,
        DAY_EVENTS = 1440,
        TIED_PER_MILLION = 200000,
        ODD_PER_MILLION = 100000,
        ODD_WIDTH_LEAST = 4,
        ODD_WIDTH_MOST = 30,
};

static const char *const mix_names[MIXES] = {"azure", "huawei", "odd", "swing"};

const char *mix_name(Mix mix) {
        return mix_names[mix];
}

typedef struct Size {
        uint16_t n_vcpus, weight;
} Size;

static const Size azure_sizes[] = {{1, 310}, {2, 280}, {4, 265}, {8, 90}, {16, 40}, {32, 15}, {}};
static const Size huawei_sizes[] = {{1, 680}, {2, 155}, {4, 110}, {8, 39}, {12, 6}, {16, 5}, {32, 2}, {64, 3}, {}};
static const Size odd_sizes[] = {{1, 105}, {2, 165}, {3, 82}, {4, 170}, {5, 42}, {6, 118}, {8, 120},
                                 {10, 53}, {12, 56}, {16, 45}, {20, 17}, {24, 18}, {32, 9}, {}};

typedef struct Guest {
        uint32_t number;
        uint16_t n_vcpus;
        double dies_at; /* in events */
} Guest;

typedef struct Generator {
        const Topology *topology;
        const GenerateOptions *options;
        FILE *file;
        Random random;
        uint32_t event, born;
        unsigned used, n_guests;
        Guest guest[VMS_MAX];
} Generator;

static unsigned draw_size(Generator *generator) {
        static const Size *const sizes[MIXES] = {azure_sizes, huawei_sizes, odd_sizes, odd_sizes};
        const Size *size = sizes[generator->options->mix];
        uint32_t total = 0, draw;

        for (const Size *s = size; s->weight; s++)
                total += s->weight;
        draw = random_below(&generator->random, total);
        while (draw >= size->weight)
                draw -= (size++)->weight;
        return size->n_vcpus;
}

/* Uniform in (0, 1). */
static double draw_fraction(Generator *generator) {
        return ((double)(random_next(&generator->random) >> 11) + 0.5) / 9007199254740992.0;
}

/* A life in events: half of the VMs live less than 8, the mean is about 60. */
static double draw_life(Generator *generator) {
        double radius = sqrt(-2 * log(draw_fraction(generator)));

        return 8 * exp(2 * radius * cos(6.283185307179586 * draw_fraction(generator)));
}

static bool draw_node_range(Generator *generator, unsigned n_vcpus, CpuSet *ret) {
        unsigned node = random_below(&generator->random, generator->topology->n_nodes);

        topology_node_cpus(generator->topology, node, ret);
        return cpuset_count(ret) >= n_vcpus;
}

static bool draw_odd_range(Generator *generator, unsigned n_vcpus, CpuSet *ret) {
        unsigned n_cpus = generator->topology->n_cpus;
        unsigned width = 2 * n_vcpus + random_between(&generator->random, ODD_WIDTH_LEAST, ODD_WIDTH_MOST);

        if (width >= n_cpus)
                return false;
        /* Odd ranges begin on even numbers: whole cores where siblings are neighbours. */
        unsigned first = random_below(&generator->random, (n_cpus - width) / 2 + 1) * 2;
        cpuset_clear(ret);
        for (int cpu = cpuset_next(&generator->topology->online, 0); cpu >= 0 && width > 0;
             cpu = cpuset_next(&generator->topology->online, (unsigned)cpu + 1))
                if (first > 0)
                        first--;
                else {
                        cpuset_add(ret, (unsigned)cpu);
                        width--;
                }
        return true;
}

static void draw_range(Generator *generator, unsigned n_vcpus, CpuSet *ret) {
        uint32_t draw = random_below(&generator->random, 1000000);

        if (draw < TIED_PER_MILLION && draw_node_range(generator, n_vcpus, ret))
                return;
        if (draw >= TIED_PER_MILLION && draw < TIED_PER_MILLION + ODD_PER_MILLION &&
            draw_odd_range(generator, n_vcpus, ret))
                return;
        *ret = generator->topology->online;
}

/* How many CPUs may be used now. */
static unsigned capacity_now(const Generator *generator) {
        double share = generator->options->occupancy_pct / 100;

        if (generator->options->mix == MIX_SWING) {
                double day = 6.283185307179586 * generator->event / DAY_EVENTS;
                share *= 0.6 - 0.4 * cos(day);
        }
        return (unsigned)(share * generator->topology->n_cpus);
}

static uint64_t seconds(const Generator *generator) {
        return (uint64_t)(generator->event + 1) * EVENT_SECONDS;
}

static int arrive(Generator *generator, unsigned n_vcpus) {
        CpuSet range;

        draw_range(generator, n_vcpus, &range);
        AUTO_FREE char *text = cpulist_new(&range);
        if (!text)
                return -ENOMEM;
        generator->guest[generator->n_guests++] =
                (Guest){generator->born, (uint16_t)n_vcpus, generator->event + draw_life(generator)};
        generator->used += n_vcpus;
        fprintf(generator->file, "%" PRIu64 " create vm%u %u %s\n", seconds(generator), generator->born++, n_vcpus, text);
        return 0;
}

static void leave(Generator *generator) {
        unsigned first = 0;

        for (unsigned i = 1; i < generator->n_guests; i++)
                if (generator->guest[i].dies_at < generator->guest[first].dies_at)
                        first = i;
        fprintf(generator->file, "%" PRIu64 " destroy vm%u\n", seconds(generator), generator->guest[first].number);
        generator->used -= generator->guest[first].n_vcpus;
        generator->guest[first] = generator->guest[--generator->n_guests];
}

static int generate_events(Generator *generator) {
        unsigned wanted = draw_size(generator);

        for (; generator->event < generator->options->n_events; generator->event++) {
                unsigned capacity = capacity_now(generator);
                /* A VM that needs half of the host would empty it first. */
                while (wanted > 1 && wanted > capacity / 2)
                        wanted = capacity < 4 ? 1 : draw_size(generator);
                bool fits = generator->used + wanted <= capacity && generator->n_guests < VMS_MAX;
                if (generator->n_guests > 0 && !fits) {
                        leave(generator);
                        continue;
                }
                int r = arrive(generator, wanted);
                if (r < 0)
                        return r;
                wanted = draw_size(generator);
        }
        return 0;
}

int generate_trace(const Topology *topology, const GenerateOptions *options, FILE *file) {
        AUTO_FREE Generator *generator = calloc(1, sizeof(*generator));

        if (!generator)
                return -ENOMEM;
        *generator = (Generator){
                .topology = topology,
                .options = options,
                .file = file,
                .random = {options->seed},
        };
        fprintf(file, "# topology: %s\n", options->topology_text);
        fprintf(file, "# time_s create NAME VCPUS CPULIST | time_s destroy NAME; %s %g %% seed %" PRIu64 "\n",
                mix_name(options->mix), options->occupancy_pct, options->seed);
        int r = generate_events(generator);
        if (r == 0 && (fflush(file) != 0 || ferror(file)))
                r = -EIO;
        return r;
}

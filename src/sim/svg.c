/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Three panels above each other over the same time axis: how full the host is,
 * how many clusters its VMs span beyond their minimum, and how many VMs have no
 * CPUs of their own. One line a policy. A line has at most one point for each
 * pixel column, the mean of the events that fall into it, so the file stays
 * small however long the trace is. Colours come in a light and a dark form.
 */

#include "sim/svg.h"

#include <inttypes.h>
#include <math.h>

enum {
        WIDTH = 960,
        LEFT = 64,
        RIGHT = 150,
        PLOT = WIDTH - LEFT - RIGHT,
        PANEL = 150,
        GAP = 48,
        TOP = 64,
};

typedef enum Measure { MEASURE_OCCUPANCY, MEASURE_EXCESS, MEASURE_UNPLACED, MEASURES } Measure;

static const char *const titles[MEASURES] = {
        [MEASURE_OCCUPANCY] = "CPUs wanted, % of the host",
        [MEASURE_EXCESS] = "clusters beyond the minimum, %",
        [MEASURE_UNPLACED] = "VMs without CPUs of their own",
};

static double measure_of(Measure measure, const Judgement *judgement, const Topology *topology) {
        switch (measure) {
        case MEASURE_OCCUPANCY:
                return 100.0 * judgement->vcpus / topology->n_cpus;
        case MEASURE_EXCESS:
                return judgement->minima ? 100.0 * judgement->excess / judgement->minima : 0;
        default:
                return judgement->unplaced;
        }
}

/* The mean of a measure over the events of one pixel column. */
static double column_mean(const Replay *replay, Measure measure, unsigned column) {
        uint64_t n = replay->trace->n_events;
        uint32_t first = (uint32_t)(n * column / PLOT), end = (uint32_t)(n * (column + 1) / PLOT);
        double sum = 0;

        if (end <= first)
                end = first + 1;
        for (uint32_t i = first; i < end; i++)
                sum += measure_of(measure, &replay->series[i], replay->topology);
        return sum / (end - first);
}

/* A round number that is no smaller: 1, 2 or 5 times a power of ten. */
static double round_up(double value) {
        double power = 1;

        if (value <= 0)
                return 1;
        while (power > value)
                power /= 10;
        while (power * 10 <= value)
                power *= 10;
        return value <= power ? power : value <= 2 * power ? 2 * power : value <= 5 * power ? 5 * power : 10 * power;
}

static double panel_top(Replay *const *replay, unsigned n, Measure measure) {
        double most = 0;

        for (unsigned i = 0; i < n; i++)
                for (unsigned column = 0; column < PLOT; column++)
                        most = fmax(most, column_mean(replay[i], measure, column));
        return measure == MEASURE_OCCUPANCY ? fmax(100, most) : round_up(most);
}

static void write_line(const Replay *replay, Measure measure, unsigned series, double bottom, double top, FILE *file) {
        fprintf(file, "<polyline class=\"s%u\" points=\"", series);
        for (unsigned column = 0; column < PLOT; column++)
                fprintf(file, "%s%u,%.1f", column ? " " : "", LEFT + column,
                        bottom - PANEL * column_mean(replay, measure, column) / top);
        fputs("\"/>\n", file);
}

static void write_panel(Replay *const *replay, unsigned n, Measure measure, FILE *file) {
        unsigned upper = TOP + measure * (PANEL + GAP), bottom = upper + PANEL;
        double top = panel_top(replay, n, measure);

        fprintf(file, "<text class=\"h\" x=\"%d\" y=\"%u\">%s</text>\n", LEFT, upper - 10, titles[measure]);
        for (unsigned tick = 0; tick <= 2; tick++) {
                double y = bottom - PANEL * tick / 2.0;
                fprintf(file, "<path class=\"g\" d=\"M%d %.1fh%d\"/><text class=\"n\" x=\"%d\" y=\"%.1f\">%g</text>\n",
                        LEFT, y, PLOT, LEFT - 8, y + 4, top * tick / 2);
        }
        /* What is wanted of the host is the same for every policy. */
        for (unsigned i = measure == MEASURE_OCCUPANCY ? 1 : n; i-- > 0;) /* the first on top */
                write_line(replay[i], measure, i, bottom, top, file);
}

static void write_hours(const Trace *trace, FILE *file) {
        unsigned y = TOP + MEASURES * (PANEL + GAP) - GAP + 18;

        for (unsigned tick = 0; tick <= 4; tick++) {
                const Event *event = &trace->event[(uint64_t)(trace->n_events - 1) * tick / 4];
                fprintf(file, "<text class=\"m\" x=\"%u\" y=\"%u\">%" PRId64 " h</text>\n", LEFT + PLOT * tick / 4, y,
                        event->time_ns / 3600000000000);
        }
}

static void write_legend(Replay *const *replay, unsigned n, FILE *file) {
        for (unsigned i = 0; i < n; i++) {
                unsigned y = TOP + PANEL + GAP + 8 + 20 * i;
                fprintf(file, "<path class=\"s%u\" d=\"M%d %uh20\"/><text class=\"l\" x=\"%d\" y=\"%u\">%s</text>\n", i,
                        LEFT + PLOT + 12, y, LEFT + PLOT + 38, y + 4, policy_name(replay[i]->policy));
        }
}

static const char style[] =
        "<style>"
        "text{font:12px system-ui,sans-serif;fill:#444}.h{font-weight:600;fill:#222}.t{font-size:17px;font-weight:600;fill:#111}"
        ".n{text-anchor:end}.m{text-anchor:middle}.g{stroke:#ddd;fill:none}rect{fill:#fff}"
        "polyline,path{fill:none;stroke-width:1.6;stroke-linejoin:round}"
        ".s0{stroke:#0b7a75}.s1{stroke:#d1495b}.s2{stroke:#edae49}.s3{stroke:#30638e}"
        ".s4{stroke:#8f5aa8}.s5{stroke:#7a7a7a}.s6{stroke:#3c8d2f}.s7{stroke:#b5651d}"
        "@media(prefers-color-scheme:dark){rect{fill:#16181c}text{fill:#b8bcc4}.h{fill:#dde0e5}.t{fill:#fff}.g{stroke:#333840}"
        ".s0{stroke:#2ec4b6}.s3{stroke:#6ea8dc}}"
        "</style>\n";

void svg_write(Replay *const *replay, unsigned n, FILE *file) {
        const Topology *topology = replay[0]->topology;
        unsigned height = TOP + MEASURES * (PANEL + GAP);

        fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %u\" role=\"img\">\n%s", WIDTH, height,
                style);
        fprintf(file, "<rect width=\"%d\" height=\"%u\"/>\n", WIDTH, height);
        fprintf(file, "<text class=\"t\" x=\"%d\" y=\"26\">%u CPUs, %u clusters, %u nodes: %u events</text>\n", LEFT,
                topology->n_cpus, topology->n_clusters, topology->n_nodes, replay[0]->trace->n_events);
        for (Measure measure = 0; measure < MEASURES; measure++)
                write_panel(replay, n, measure, file);
        write_hours(replay[0]->trace, file);
        write_legend(replay, n, file);
        fputs("</svg>\n", file);
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The same churn hits two hosts. On the left any free CPU is taken, which is
 * what a host without pins comes to; on the right VSched's planner works. A CPU
 * is one character: a dot is free; letters are VMs, calm colours (lower case)
 * where a VM is on the fewest clusters it can be, red (upper case) where it
 * is scattered or has no CPUs of its own. Clusters are separated by blanks, nodes by lines.
 *
 * The picture is drawn over itself and its last state stays on the screen.
 * Frames follow a clock, so that it ends on time however slow the terminal is.
 */

#include "sim/watch.h"

#include "util/cleanup.h"
#include "util/monotonic.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

enum {
        SHOW_MS = 15000,
        FRAME_MS = 50,
        DAY_S = 86400,
        SUMMARY_S = 7200,
        SIDE_LEAST = 30,
        SIDE_MOST = 100,
        SECOND_NS = 1000000000,
};

typedef struct Watch {
        Replay *side[2];
        const char *title[2];
        bool terminal, colour;
        unsigned side_width, rows;
        unsigned lines_drawn;
        int64_t began_ns, ends_ns; /* in the trace's time */
} Watch;

static void measure_terminal(Watch *watch) {
        struct winsize size = {};

        watch->terminal = isatty(STDOUT_FILENO);
        watch->colour = watch->terminal && !getenv("NO_COLOR");
        if (!watch->terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
                size = (struct winsize){.ws_col = 80, .ws_row = 200};
        watch->side_width = (size.ws_col - 3U) / 2;
        if (size.ws_col < 2 * SIDE_LEAST + 3)
                watch->side_width = SIDE_LEAST;
        if (watch->side_width > SIDE_MOST)
                watch->side_width = SIDE_MOST;
        watch->rows = size.ws_row > 10 ? size.ws_row - 7U : 3;
}

static void put_cpu(const Watch *watch, const Replay *replay, unsigned slot, FILE *out) {
        static const char calm[] = "bcdefghijklmnopqrstuvwxyz";
        static const unsigned char colours[] = {30, 36, 37, 66, 67, 72, 73, 78, 79, 108, 109, 114};
        uint32_t owner = replay->judge.owner[slot];
        int vm = owner ? model_find(replay->model, owner - 1) : -1;

        if (vm < 0) {
                fputs(watch->colour ? "\033[38;5;240m·\033[0m" : ".", out);
                return;
        }
        char letter = calm[owner % (sizeof(calm) - 1)];
        bool above = replay->model->vm[vm].above;
        if (above)
                letter = (char)(letter - 'a' + 'A');
        if (!watch->colour)
                fputc(letter, out);
        else if (above)
                fprintf(out, "\033[48;5;160;38;5;231m%c\033[0m", letter);
        else
                fprintf(out, "\033[48;5;%u;38;5;234m%c\033[0m", colours[owner % sizeof(colours)], letter);
}

/* One map row: as many clusters as fit, from *cluster on, of one node. */
static void put_row(const Watch *watch, const Replay *replay, unsigned first, unsigned end, FILE *out) {
        const Topology *topology = replay->topology;
        unsigned used = 0;

        for (unsigned i = first; i < end; i++) {
                const Cluster *cluster = &topology->cluster[i];
                if (i > first) {
                        fputc(' ', out);
                        used++;
                }
                for (unsigned k = 0; k < cluster->n_cpus && used < watch->side_width; k++, used++)
                        put_cpu(watch, replay, cluster->first_slot + k, out);
        }
        fprintf(out, "%*s", (int)(watch->side_width - used), "");
}

/* The first cluster that does not fit into a row that begins with that one. */
static unsigned row_end(const Watch *watch, const Topology *topology, unsigned first) {
        unsigned width = topology->cluster[first].n_cpus, end = first + 1;

        while (end < topology->n_clusters && topology->cluster[end].node == topology->cluster[first].node &&
               width + 1 + topology->cluster[end].n_cpus <= watch->side_width)
                width += 1U + topology->cluster[end++].n_cpus;
        return end;
}

static void put_line(Watch *watch, FILE *out) {
        fputs(watch->terminal ? "\033[K\n" : "\n", out);
        watch->lines_drawn++;
}

static void put_maps(Watch *watch, FILE *out) {
        const Topology *topology = watch->side[0]->topology;
        unsigned rows = 0;

        for (unsigned first = 0, end; first < topology->n_clusters; first = end) {
                end = row_end(watch, topology, first);
                if (rows++ == watch->rows) {
                        fprintf(out, "... and %u clusters more", topology->n_clusters - first);
                        put_line(watch, out);
                        return;
                }
                put_row(watch, watch->side[0], first, end, out);
                fputs("   ", out);
                put_row(watch, watch->side[1], first, end, out);
                put_line(watch, out);
        }
}

/* Puts two texts beside each other, cut to their sides. */
static void put_pair(Watch *watch, const char *left, const char *right, FILE *out) {
        int width = (int)watch->side_width;

        fprintf(out, "%-*.*s   %.*s", width, width, left, width, right);
        put_line(watch, out);
}

static const Judgement *latest(const Replay *replay) {
        static const Judgement none;

        return replay->next ? &replay->series[replay->next - 1] : &none;
}

static void put_counts(Watch *watch, FILE *out) {
        char text[2][128];

        for (unsigned i = 0; i < 2; i++) {
                const Judgement *j = latest(watch->side[i]);
                snprintf(text[i], sizeof(text[i]), "%u of %u VMs scattered, %u waiting", j->above, j->vms, j->unplaced);
        }
        put_pair(watch, text[0], text[1], out);
        for (unsigned i = 0; i < 2; i++) {
                const Judgement *j = latest(watch->side[i]);
                snprintf(text[i], sizeof(text[i]), "%u clusters where %u would do", j->minima + j->excess, j->minima);
        }
        put_pair(watch, text[0], text[1], out);
}

static void put_time(const Watch *watch, FILE *out) {
        int64_t minutes = (watch->side[0]->last_ns - watch->began_ns) / SECOND_NS / 60;
        const Judgement *j = latest(watch->side[0]);

        fprintf(out, "%02" PRId64 ":%02" PRId64 "  %u VMs want %.0f %% of %u CPUs", minutes / 60, minutes % 60, j->vms,
                100.0 * j->vcpus / watch->side[0]->topology->n_cpus, watch->side[0]->topology->n_cpus);
}

/* Draws over what was drawn before, in one write. */
static int draw(Watch *watch) {
        AUTO_FREE char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);

        if (!out)
                return -ENOMEM;
        if (watch->terminal && watch->lines_drawn > 0)
                fprintf(out, "\033[%uA\r", watch->lines_drawn);
        watch->lines_drawn = 0;
        put_time(watch, out);
        put_line(watch, out);
        put_pair(watch, watch->title[0], watch->title[1], out);
        put_maps(watch, out);
        put_counts(watch, out);
        if (fclose(out) != 0)
                return -ENOMEM;
        fwrite(text, 1, size, stdout);
        fflush(stdout);
        return 0;
}

/* Brings both sides forward to a time of the trace. */
static int advance(Watch *watch, int64_t until_ns) {
        for (unsigned i = 0; i < 2; i++) {
                Replay *replay = watch->side[i];
                while (!replay_is_done(replay) && replay->trace->event[replay->next].time_ns <= until_ns) {
                        int r = replay_step(replay);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int64_t clock_ms(void) {
        return monotonic_ns() / 1000000;
}

static int show_live(Watch *watch) {
        int64_t start_ms = clock_ms(), passed_ms = 0;
        int64_t span_ns = watch->ends_ns - watch->began_ns;
        int r = 0;

        while (r == 0 && passed_ms < SHOW_MS) {
                struct timespec pause = {.tv_nsec = FRAME_MS * 1000000L};
                nanosleep(&pause, NULL);
                passed_ms = clock_ms() - start_ms;
                if (passed_ms > SHOW_MS)
                        passed_ms = SHOW_MS;
                r = advance(watch, watch->began_ns + span_ns / SHOW_MS * passed_ms);
                if (r == 0)
                        r = draw(watch);
        }
        return r;
}

static void print_summary(Watch *watch) {
        const Judgement *left = latest(watch->side[0]), *right = latest(watch->side[1]);

        put_time(watch, stdout);
        printf(": scattered VMs %u without, %u with; clusters %u, %u; waiting VMs %u, %u\n", left->above, right->above,
               left->minima + left->excess, right->minima + right->excess, left->unplaced, right->unplaced);
}

static int show_text(Watch *watch) {
        int r = 0;

        for (int64_t at_ns = watch->began_ns; r == 0 && at_ns < watch->ends_ns;) {
                at_ns += (int64_t)SUMMARY_S * SECOND_NS;
                r = advance(watch, at_ns < watch->ends_ns ? at_ns : watch->ends_ns);
                if (r == 0)
                        print_summary(watch);
        }
        if (r == 0)
                putchar('\n');
        return r < 0 ? r : draw(watch);
}

int watch_run(const Trace *trace, const Topology *topology, const Options *options) {
        CLEANUP(cleanup_replay) Replay *without = NULL, *with = NULL;
        PolicyKind other = options->policy[0] == POLICY_PLANNER ? POLICY_RANDOM : options->policy[0];
        Watch watch = {.title = {"without VSched", "with VSched"}};
        int r = replay_new(trace, topology, options, other, &without);

        if (r == 0)
                r = replay_new(trace, topology, options, POLICY_PLANNER, &with);
        if (r < 0)
                return r;
        if (other != POLICY_RANDOM)
                watch.title[0] = policy_name(other);
        watch.side[0] = without;
        watch.side[1] = with;
        watch.began_ns = trace->event[0].time_ns;
        watch.ends_ns = trace->event[trace->n_events - 1].time_ns;
        if (watch.ends_ns > watch.began_ns + (int64_t)DAY_S * SECOND_NS)
                watch.ends_ns = watch.began_ns + (int64_t)DAY_S * SECOND_NS;
        measure_terminal(&watch);
        return watch.terminal ? show_live(&watch) : show_text(&watch);
}

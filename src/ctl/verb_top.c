/* SPDX-License-Identifier: Apache-2.0 */

/*
 * top: who waits for a CPU, over what the daemon says of the host. On a terminal
 * a screen of its own, drawn anew until a key ends it; elsewhere one screen.
 *
 * Between two screens the kernel's count of each thread's run delay tells for
 * which part of the time its vCPU was ready and did not run. Before the second
 * one nothing is known of that.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "util/monotonic.h"

#define WAITING_PERMILLE 10.0 /* a vCPU that waited for more of the time is counted */

typedef struct Sample {
        json_t *status, *vms; /* owned */
        double at_s;
} Sample;

/* A VM between two samples. */
typedef struct Row {
        const json_t *vm;
        double delay_ms; /* in all; negative: unknown */
        double permille; /* of the time, mean of its vCPUs; negative: unknown */
        unsigned waiting;
} Row;

static void sample_done(Sample *sample) {
        json_decref(sample->status);
        json_decref(sample->vms);
        *sample = (Sample){};
}

/* Each vCPU gets what /proc says of it, as if the daemon had sent it. */
static void note_delays(json_t *vms) {
        json_t *vm, *vcpu;
        size_t i, j;

        json_array_foreach (vms, i, vm)
                json_array_foreach (json_object_get(vm, "vcpu"), j, vcpu) {
                        double ms = run_delay_ms(vm, vcpu);

                        json_object_set_new(vcpu, "run_delay_ms", ms < 0 ? json_null() : json_real(ms));
                }
}

static int sample_take(const Ctl *ctl, Sample *ret, Answer *answer) {
        Sample sample = {};

        daemon_call(ctl, "GetStatus", NULL, answer);
        if (answer->status != EXIT_DONE)
                return answer->status;
        sample.status = json_incref(json_object_get(answer->parameters, "status"));
        answer_done(answer);
        daemon_call(ctl, "ListVms", json_pack("{ss,sb}", "scope", "all", "detail", 1), answer);
        if (answer->status != EXIT_DONE && !answer->no_vms) {
                sample_done(&sample);
                return answer->status;
        }
        sample.vms = json_incref(json_object_get(answer->parameters, "vms"));
        answer_done(answer);
        sample.at_s = (double)monotonic_ns() / 1e9;
        note_delays(sample.vms);
        *ret = sample;
        return EXIT_DONE;
}

/* Objects by the text that they have under a key; borrowed members. */
static json_t *index_by(json_t *array, const char *key) {
        json_t *index = json_object(), *object;
        size_t i;

        json_array_foreach (array, i, object)
                json_object_set(index, get_string(object, key), object);
        return index;
}

/* The delay of that vCPU's thread in an older sample; -1: it was another one. */
static double delay_then(const json_t *vm_then, const json_t *vcpu) {
        const json_t *then =
                json_array_get(json_object_get(vm_then, "vcpu"), (size_t)get_number(vcpu, "vcpu"));

        if (!then || get_number(then, "thread") != get_number(vcpu, "thread") ||
            !json_is_number(json_object_get(then, "run_delay_ms")))
                return -1;
        return get_real(then, "run_delay_ms");
}

static Row row_of(const json_t *vm, const json_t *vm_then, double passed_s) {
        Row row = {.vm = vm, .delay_ms = -1, .permille = -1};
        double sum = 0;
        unsigned n = 0;
        json_t *vcpu;
        size_t i;

        json_array_foreach (json_object_get(vm, "vcpu"), i, vcpu) {
                double then = delay_then(vm_then, vcpu), now = get_real(vcpu, "run_delay_ms");

                if (!json_is_number(json_object_get(vcpu, "run_delay_ms")))
                        continue;
                row.delay_ms = (row.delay_ms < 0 ? 0 : row.delay_ms) + now;
                if (then < 0 || passed_s <= 0)
                        continue;
                double permille = now > then ? (now - then) / passed_s : 0;
                row.waiting += permille > WAITING_PERMILLE;
                sum += permille;
                n++;
        }
        if (n > 0)
                row.permille = sum / n;
        return row;
}

static int row_compare(const void *a, const void *b) {
        const Row *x = a, *y = b;

        if (x->permille != y->permille)
                return x->permille > y->permille ? -1 : 1;
        if (x->delay_ms != y->delay_ms)
                return x->delay_ms > y->delay_ms ? -1 : 1;
        return strcmp(get_string(x->vm, "name"), get_string(y->vm, "name"));
}

/* Those who wait most come first. NULL: no memory, or no VM. */
static Row *rows_new(const Sample *now, const Sample *then, size_t *ret_n) {
        json_t *index = index_by(then->vms, "uuid"), *vm;
        size_t n = json_array_size(now->vms), i;
        Row *rows = calloc(n + 1, sizeof(*rows));

        if (rows)
                json_array_foreach (now->vms, i, vm)
                        rows[i] = row_of(vm, json_object_get(index, get_string(vm, "uuid")),
                                         then->vms ? now->at_s - then->at_s : 0);
        json_decref(index);
        if (rows)
                qsort(rows, n, sizeof(*rows), row_compare);
        *ret_n = rows ? n : 0;
        return rows;
}

/* What has grown since the last screen. */
static void print_growth(const Sample *now, const Sample *then, const char *key) {
        long long growth = get_number(now->status, key) - get_number(then->status, key);

        if (then->status && growth > 0)
                printf(" (+%lld)", growth);
}

/* The first of the daemon's, or why it can not be asked any more. */
static unsigned print_warning(const Ctl *ctl, const json_t *status, const char *trouble) {
        const json_t *warnings = json_object_get(status, "warnings");
        const char *text = trouble ? trouble : json_string_value(json_array_get(warnings, 0));
        AUTO_FREE char *clean = text_clean(text ? text : "");

        if (!text || !clean)
                return 0;
        text_cut(clean, ctl->width - LABEL_WIDTH);
        printf("%s%-*s%s%s\n", colour_start(ctl, COLOUR_WARN), LABEL_WIDTH, "Warning", clean,
               colour_end(ctl, COLOUR_WARN));
        return 1;
}

/* Returns how many lines it took. */
static unsigned print_host(const Ctl *ctl, const Sample *now, const Sample *then, const char *trouble) {
        const json_t *status = now->status, *libvirt = json_object_get(status, "libvirt");
        long long cpus = get_number(status, "host_cpus"), owned = get_number(status, "owned_cpus");
        bool acting = strcmp(get_string(status, "mode"), "act") == 0, paused = get_bool(status, "paused");
        bool up = strcmp(get_string(libvirt, "state"), "up") == 0;
        Colour mode = acting && !paused ? COLOUR_GOOD : COLOUR_WARN;

        print_label(ctl, "Daemon");
        printf("%s%s%s, libvirt %s", colour_start(ctl, mode),
               paused   ? "paused"
               : acting ? "acting"
                        : "observing",
               colour_end(ctl, mode), colour_start(ctl, up ? COLOUR_GOOD : COLOUR_BAD));
        print_clean(get_string(libvirt, "state"));
        printf("%s; %lld VMs with %lld vCPUs\n", colour_end(ctl, COLOUR_GOOD), get_number(status, "vms"),
               get_number(status, "vcpus"));
        print_label(ctl, "Owned");
        print_bar(ctl, owned, cpus);
        printf(" %lld of %lld CPUs (%lld %%)\n", owned, cpus, cpus > 0 ? owned * 100 / cpus : 0);
        print_label(ctl, "Spread");
        printf("clusters over all VMs %lld, at least %lld\n", get_number(status, "clusters_used"),
               get_number(status, "clusters_needed"));
        print_label(ctl, "Moves");
        printf("%lld done", get_number(status, "moves_done"));
        print_growth(now, then, "moves_done");
        printf(", %lld wanted; credits %.1f; put back %lld", get_number(status, "moves_wanted"),
               get_real(status, "credits"), get_number(status, "drift_repaired"));
        print_growth(now, then, "drift_repaired");
        printf("; refused %lld", get_number(status, "writes_failed"));
        print_growth(now, then, "writes_failed");
        putchar('\n');
        return 4 + print_warning(ctl, status, trouble);
}

static void add_row(Table *table, const Row *row) {
        const char *verdict = get_string(row->vm, "verdict"), *cpus = get_string(row->vm, "cpus");
        size_t clusters = json_array_size(json_object_get(row->vm, "clusters"));
        long long minimum = get_number(row->vm, "min_clusters");
        bool known = row->permille >= 0;
        Colour colour = row->waiting ? COLOUR_WARN : COLOUR_NONE;

        table_add(table, COLOUR_NONE, "%s", get_string(row->vm, "name"));
        table_add(table, COLOUR_NONE, "%lld", get_number(row->vm, "vcpus"));
        table_add(table, colour, known ? "%u" : "-", row->waiting);
        table_add(table, colour, known ? "%.1f %%" : "-", row->permille / 10);
        table_add_delay(table, row->delay_ms);
        table_add(table, verdict_colour(verdict), "%s", verdict);
        table_add(table, COLOUR_NONE,
                  !clusters     ? "-"
                  : minimum > 0 ? "%zu (%lld)"
                                : "%zu",
                  clusters, minimum);
        table_add(table, COLOUR_NONE, "%s", *cpus ? cpus : "-");
}

/* most: lines that there is room for; the cursor takes one, where no name is left out. */
static void print_rows(const Ctl *ctl, const Row *rows, size_t n, unsigned most) {
        size_t shown = n + 2 > most ? (most > 2 ? most - 2 : 0) : n;
        Table table = {};

        table_title(&table, "VM", false);
        table_title(&table, "vCPUs", true);
        table_title(&table, "WAITING", true);
        table_title(&table, "TIME", true);
        table_title(&table, "DELAY", true);
        table_title(&table, "VERDICT", false);
        table_title(&table, "CLUSTERS", false);
        table_title(&table, "CPUS", false);
        for (size_t i = 0; i < shown; i++)
                add_row(&table, &rows[i]);
        if (!table.failed)
                table_print(ctl, &table);
        if (shown < n)
                printf("and %zu more", n - shown); /* no newline: it may be the last line of the screen */
        table_done(&table);
}

static void draw(const Ctl *ctl, const Sample *now, const Sample *then, const char *trouble,
                 unsigned height) {
        size_t n;
        AUTO_FREE Row *rows = rows_new(now, then, &n);
        unsigned used = print_host(ctl, now, then, trouble) + 1;

        putchar('\n');
        if (n > 0)
                print_rows(ctl, rows, n, height > used ? height - used : 0);
        else
                puts("There are no running VMs.");
}

static int run_once(const Ctl *ctl, const Sample *sample) {
        if (ctl->json) {
                json_t *both = json_pack("{sO,sO?}", "status", sample->status, "vms", sample->vms);

                print_json(both, false);
                json_decref(both);
        } else
                draw(ctl, sample, &(Sample){}, NULL, UINT_MAX);
        return EXIT_DONE;
}

/* A daemon that has gone may come back: until then its trouble is shown with what
 * was seen last. */
static int run_live(Ctl *ctl, Sample *sample, int interval_ms) {
        Answer answer = {};
        Sample then = {};
        int key = 0;

        while (key != 'q' && key != 'Q') {
                Sample fresh = {};

                ctl_measure(ctl);
                screen_clear();
                draw(ctl, sample, &then, answer.why, ctl->height);
                key = screen_wait(interval_ms);
                if (key)
                        continue;
                answer_done(&answer);
                if (sample_take(ctl, &fresh, &answer) == EXIT_DONE) {
                        sample_done(&then);
                        then = *sample;
                        *sample = fresh;
                }
        }
        answer_done(&answer);
        sample_done(&then);
        screen_end();
        return EXIT_DONE;
}

static bool take_interval(const char *text, int *ret_ms) {
        char *end;
        double seconds = strtod(text, &end);

        if (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
                return false;
        *ret_ms = (int)(seconds * 1000);
        return true;
}

int run_top(Ctl *ctl, int argc, char **argv) {
        const char *interval = NULL;
        const Option options[] = {{"-d", "--delay", &interval, NULL}};
        Answer answer = {};
        Sample sample = {};
        int interval_ms = 2000;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, NULL, 0, &n_words);

        if (status != EXIT_DONE)
                return status;
        if (interval && !take_interval(interval, &interval_ms))
                return fail(ctl, EXIT_USAGE, "--delay wants seconds, 0.1 to 3600, not '%s'", interval);
        status = sample_take(ctl, &sample, &answer);
        if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else if (!ctl->json && screen_begin(ctl))
                status = run_live(ctl, &sample, interval_ms);
        else
                status = run_once(ctl, &sample);
        answer_done(&answer);
        sample_done(&sample);
        return status;
}

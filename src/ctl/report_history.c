/* SPDX-License-Identifier: Apache-2.0 */

/* What happened: a line of time to be seen at a glance, and every event as a row. */

#include <string.h>
#include <time.h>

#include "ctl/report.h"

enum {
        LINE_LEFT = 70,
        LINE_WIDTH = 960,
        LANE_HEIGHT = 18,
        LANES = 4,
        LINE_HEIGHT = LANES * LANE_HEIGHT + 18
};

static bool is_one_of(const char *kind, const char *const kinds[4]) {
        for (unsigned i = 0; i < 4 && kinds[i]; i++)
                if (strcmp(kind, kinds[i]) == 0)
                        return true;
        return false;
}

/* What is no VM's coming, move or verdict is worth a look. */
static unsigned lane_of(const char *kind) {
        static const char *const kinds[LANES - 1][4] = {
                {"came", "went"}, {"moved", "reassign", "repaired"}, {"verdict", "range"}};

        for (unsigned lane = 0; lane < LANES - 1; lane++)
                if (is_one_of(kind, kinds[lane]))
                        return lane;
        return LANES - 1;
}

static void print_mark(FILE *file, const json_t *event, time_t first, time_t last) {
        static const char *const classes[LANES] = {"good", "accent", "calm", "warn"};
        unsigned lane = lane_of(get_string(event, "kind"));
        time_t at = event_time(event);
        long x = LINE_LEFT + 4 +
                 (last > first ? (long)((LINE_WIDTH - LINE_LEFT - 10) * (at - first) / (last - first)) : 0);
        char when[TIME_TEXT_SIZE];

        time_text(at, "%H:%M:%S", when);
        fprintf(file, "<rect class=\"m %s\" x=\"%ld\" y=\"%u\" width=\"3\" height=\"%d\"><title>%s ",
                classes[lane], x, lane * LANE_HEIGHT + 3, LANE_HEIGHT - 5, when);
        html_text(file, get_string(event, "name"));
        fputs(*get_string(event, "name") ? ": " : "", file);
        html_text(file, get_string(event, "text"));
        fputs("</title></rect>\n", file);
}

static void print_time_at(FILE *file, const char *class, int x, time_t at) {
        char when[TIME_TEXT_SIZE];

        time_text(at, "%Y-%m-%d %H:%M", when);
        fprintf(file, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class, x, LINE_HEIGHT - 4, when);
}

static void print_line(const Report *report) {
        static const char *const names[LANES] = {"VMs", "moves", "verdicts", "other"};
        size_t n = json_array_size(report->events);
        time_t first = event_time(json_array_get(report->events, 0)),
               last = event_time(json_array_get(report->events, n - 1));

        fprintf(report->file, "<svg class=\"line\" viewBox=\"0 0 %d %d\" role=\"img\">\n", LINE_WIDTH,
                LINE_HEIGHT);
        for (unsigned lane = 0; lane < LANES; lane++)
                fprintf(report->file,
                        "<rect class=\"f\" x=\"%d\" y=\"%u\" width=\"%d\" height=\"%d\" rx=\"3\"/><text "
                        "class=\"l\" x=\"0\" "
                        "y=\"%u\">%s</text>\n",
                        LINE_LEFT, lane * LANE_HEIGHT + 1, LINE_WIDTH - LINE_LEFT, LANE_HEIGHT - 2,
                        lane * LANE_HEIGHT + 13, names[lane]);
        for (size_t i = 0; i < n; i++)
                print_mark(report->file, json_array_get(report->events, i), first, last);
        print_time_at(report->file, "l", LINE_LEFT, first);
        print_time_at(report->file, "l end", LINE_WIDTH, last);
        fputs("</svg>\n", report->file);
}

static void print_counters(const Report *report) {
        const json_t *status = report->status, *score = json_object_get(status, "score");

        fprintf(report->file,
                "<p>Up for %.1f h. Rounds: %lld, with moves: %lld. Masks put back after somebody changed "
                "them: %lld. Writes: "
                "%lld, refused: %lld. Above the minimum now: nodes %lld, clusters %lld; cores with two VMs: "
                "%lld.</p>\n",
                get_real(status, "uptime_s") / 3600, get_number(status, "rounds"),
                get_number(status, "rounds_with_moves"), get_number(status, "drift_repaired"),
                get_number(status, "writes"), get_number(status, "writes_failed"),
                get_number(score, "excess_nodes"), get_number(score, "excess_clusters"),
                get_number(score, "shared_cores"));
}

static void print_event(const Report *report, const json_t *event) {
        const char *name = get_string(event, "name");
        char when[TIME_TEXT_SIZE];

        time_text(event_time(event), "%Y-%m-%d %H:%M:%S", when);
        fprintf(report->file, "<tr><td class=\"n\">%s</td><td class=\"name\"><bdi>", when);
        html_text(report->file, *name ? name : "-");
        fputs("</bdi></td><td>", report->file);
        html_text(report->file, get_string(event, "text"));
        fputs("</td></tr>\n", report->file);
}

void report_print_history(const Report *report) {
        size_t n = json_array_size(report->events);

        fputs("<h2>What happened</h2>\n", report->file);
        print_counters(report);
        if (n == 0)
                return;
        print_line(report);
        fputs("<div class=\"scroll\"><table>\n<thead><tr><th>When</th><th>VM</th><th>What, and "
              "why</th></tr></thead>\n<tbody>\n",
              report->file);
        while (n-- > 0) /* the newest first */
                print_event(report, json_array_get(report->events, n));
        fputs("</tbody></table></div>\n", report->file);
}

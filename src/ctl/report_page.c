/* SPDX-License-Identifier: Apache-2.0 */

/* The page: its head, the figures and the VMs. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/report.h"
#include "util/cleanup.h"

enum { CARE_SHOWN = 40 };

static void html_escape(FILE *file, const char *clean) {
        for (; *clean; clean++)
                switch (*clean) {
                case '&':
                        fputs("&amp;", file);
                        break;
                case '<':
                        fputs("&lt;", file);
                        break;
                case '>':
                        fputs("&gt;", file);
                        break;
                case '"':
                        fputs("&quot;", file);
                        break;
                case '\'':
                        fputs("&#39;", file);
                        break;
                default:
                        putc(*clean, file);
                }
}

void html_text(FILE *file, const char *text) {
        AUTO_FREE char *clean = text_clean(text);

        html_escape(file, clean ? clean : "?");
}

/* The class of a verdict's colour; the words are the same as on a terminal. */
static const char *verdict_class(const char *verdict) {
        switch (verdict_colour(verdict)) {
        case COLOUR_GOOD:
                return "good";
        case COLOUR_WARN:
                return "warn";
        case COLOUR_BAD:
                return "bad";
        default:
                return "calm";
        }
}

/* --- head --- */

/* Hues as far apart as so many can be: the golden angle. */
static void print_colours(const Report *report) {
        for (unsigned i = 0; i < json_array_size(report->vms); i++)
                if (report->cpus_of[i] > 0)
                        fprintf(report->file, ".v%u{--h:%u}", i + 1, i * 13751u / 100 % 360);
}

static void print_head(const Report *report) {
        char now[TIME_TEXT_SIZE];

        time_text(time(NULL), "%Y-%m-%d %H:%M %Z", now);
        fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
              "'unsafe-inline'; img-src data:\">\n"
              "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" "
              "href=\"data:,\">\n<title>",
              report->file);
        html_text(report->file, report->host_name);
        fprintf(report->file, ": VSched</title>\n<style>\n%s", report_css);
        print_colours(report);
        fputs("\n</style>\n</head>\n<body>\n<header>\n<h1>", report->file);
        html_text(report->file, report->host_name);
        fprintf(report->file, "</h1>\n<p class=\"faint\">VSched, %s. vas-daemon ", now);
        html_text(report->file, get_string(report->status, "version"));
        fprintf(report->file, ", %s; policy ",
                get_bool(report->status, "paused") ? "paused: nothing is moved"
                : strcmp(get_string(report->status, "mode"), "observe") == 0
                        ? "observing: this is where it would have the vCPUs"
                        : "acting");
        html_text(report->file, get_string(report->status, "policy"));
        fputs(".</p>\n</header>\n", report->file);
}

/* --- figures --- */

static void print_figure(FILE *file, const char *class, const char *label, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
static void print_figure(FILE *file, const char *class, const char *label, const char *format, ...) {
        va_list args;

        fprintf(file, "<div><b class=\"%s\">", class);
        va_start(args, format);
        vfprintf(file, format, args);
        va_end(args);
        fprintf(file, "</b><span>%s</span></div>\n", label);
}

/* The value of a gauge's sample with that label; -1: it is not there. */
static double gauge(const Report *report, const char *name, const char *key, const char *value) {
        const json_t *metric, *sample;
        size_t i, j;

        json_array_foreach (report->metrics, i, metric) {
                if (strcmp(get_string(metric, "name"), name) != 0)
                        continue;
                json_array_foreach (json_object_get(metric, "samples"), j, sample)
                        if (strcmp(get_string(json_object_get(sample, "labels"), key), value) == 0)
                                return get_real(sample, "value");
        }
        return -1;
}

static void print_figures(const Report *report) {
        const json_t *status = report->status, *score = json_object_get(status, "score");
        long long used = get_number(status, "clusters_used"), needed = get_number(status, "clusters_needed"),
                  owned = get_number(status, "owned_cpus"), cpus = get_number(status, "host_cpus"),
                  unplaced = get_number(score, "unplaced");
        double cluster = gauge(report, "vsched_largest_fit_vcpus", "within", "cluster"),
               node = gauge(report, "vsched_largest_fit_vcpus", "within", "node");

        fputs("<div class=\"figures\">\n", report->file);
        print_figure(report->file, "", "VMs, vCPUs", "%lld, %lld", get_number(status, "vms"),
                     get_number(status, "vcpus"));
        print_figure(report->file, unplaced ? "warn" : "good", "VMs without CPUs of their own", "%lld",
                     unplaced);
        print_figure(report->file, used > needed ? "warn" : "good", "clusters spanned (fewest)",
                     "%lld (%lld)", used, needed);
        print_figure(report->file, "", "CPUs owned", "%lld of %lld", owned, cpus);
        if (cluster >= 0 && node >= 0)
                print_figure(report->file, "", "vCPUs that still fit one cluster, one node", "%.0f, %.0f",
                             cluster, node);
        print_figure(report->file, "", "moves done, wanted", "%lld, %lld", get_number(status, "moves_done"),
                     get_number(status, "moves_wanted"));
        fputs("</div>\n", report->file);
}

static void print_verdicts(const Report *report) {
        json_t *verdicts = json_object_get(report->status, "verdicts"), *count;
        const char *name;

        fputs("<div class=\"bar\">", report->file);
        json_object_foreach (verdicts, name, count)
                fprintf(report->file, "<i class=\"%s\" style=\"flex:%lld\"></i>", verdict_class(name),
                        (long long)json_integer_value(count));
        fputs("</div>\n<ul class=\"key\">\n", report->file);
        json_object_foreach (verdicts, name, count) {
                fprintf(report->file, "<li class=\"%s\">%lld ", verdict_class(name),
                        (long long)json_integer_value(count));
                html_text(report->file, name);
                fputs("</li>\n", report->file);
        }
        fputs("</ul>\n", report->file);
}

static void print_warnings(const Report *report) {
        const json_t *warnings = json_object_get(report->status, "warnings"), *warning;
        size_t i;

        if (json_array_size(warnings) == 0)
                return;
        fputs("<div class=\"warnings\">\n", report->file);
        json_array_foreach (warnings, i, warning) {
                fputs("<p>", report->file);
                html_text(report->file, json_is_string(warning) ? json_string_value(warning) : "");
                fputs("</p>\n", report->file);
        }
        fputs("</div>\n", report->file);
}

/* Whether somebody should look at it. */
static bool wants_care(const json_t *vm) {
        AUTO_FREE char *pins = pins_judged(vm);
        Colour colour = verdict_colour(get_string(vm, "verdict"));

        return pins || colour == COLOUR_WARN || colour == COLOUR_BAD;
}

/* The VMs to look at, each a link to its row: on a large host they are far below. */
static void print_care(const Report *report) {
        unsigned shown = 0, more = 0;
        const json_t *vm;
        size_t i;

        fputs("<div class=\"care\">\n", report->file);
        json_array_foreach (report->vms, i, vm) {
                const char *verdict = get_string(vm, "verdict");

                if (!wants_care(vm))
                        continue;
                if (shown == CARE_SHOWN) {
                        more++;
                        continue;
                }
                if (shown++ == 0)
                        fputs("<span class=\"faint\">To look at:</span>\n", report->file);
                fprintf(report->file, "<a href=\"#vm%zu\"><bdi>", i + 1);
                html_text(report->file, get_string(vm, "name"));
                fprintf(report->file, "</bdi> <span class=\"%s\">", verdict_class(verdict));
                html_text(report->file, verdict);
                fputs("</span></a>\n", report->file);
        }
        if (more)
                fprintf(report->file, "<span class=\"faint\">and %u more</span>\n", more);
        fputs("</div>\n", report->file);
}

/* --- VMs --- */

/* Why it is not simply placed. */
static void print_why(const Report *report, const json_t *vm) {
        AUTO_FREE char *pins = pins_judged(vm);
        const char *blocker = get_string(vm, "blocker");

        fputs("<td>", report->file);
        html_text(report->file, pins ? pins : get_string(vm, "reason_text"));
        if (*blocker) {
                fputs(" (<bdi>", report->file);
                html_text(report->file, blocker);
                fputs("</bdi>)", report->file);
        }
        if (!pins && get_bool(vm, "remote_memory"))
                fprintf(report->file, "%soff its memory", *get_string(vm, "reason_text") ? "; " : "");
        fputs("</td></tr>\n", report->file);
}

static void print_vm(const Report *report, unsigned index, const json_t *vm) {
        const char *verdict = get_string(vm, "verdict"), *cpus = get_string(vm, "cpus");
        AUTO_FREE char *nodes = get_list(vm, "nodes");
        size_t clusters = json_array_size(json_object_get(vm, "clusters"));
        long long fewest = get_number(vm, "min_clusters");
        FILE *file = report->file;

        fprintf(file,
                "<tr id=\"vm%u\"><td class=\"n\"><span class=\"chip %s%u\">%u</span></td><td "
                "class=\"name\"><bdi>",
                index + 1, report->cpus_of[index] ? "v" : "none v", index + 1, index + 1);
        html_text(file, get_string(vm, "name"));
        fprintf(file, "</bdi></td><td class=\"r\">%lld</td><td class=\"v %s\">", get_number(vm, "vcpus"),
                verdict_class(verdict));
        html_text(file, verdict);
        fprintf(file, "</td><td class=\"n\">%s</td><td class=\"n\">", nodes && *nodes ? nodes : "-");
        if (clusters == 0)
                fputs("-", file);
        else if (fewest > 0)
                fprintf(file, "<span class=\"%s\">%zu</span> (%lld)",
                        (long long)clusters > fewest ? "warn" : "", clusters, fewest);
        else
                fprintf(file, "%zu", clusters);
        fputs("</td><td class=\"cpus\">", file);
        html_text(file, *cpus ? cpus : "-");
        fputs("</td>", file);
        print_why(report, vm);
}

static void print_vms(const Report *report) {
        const json_t *vm;
        size_t i;

        fputs("<h2>Virtual machines</h2>\n", report->file);
        if (json_array_size(report->vms) == 0) {
                fputs("<p>There are no running VMs.</p>\n", report->file);
                return;
        }
        fputs("<div class=\"scroll\"><table>\n<thead><tr><th></th><th>VM</th><th "
              "class=\"r\">vCPUs</th><th>Verdict</th><th>Nodes</th>"
              "<th>Clusters (fewest)</th><th>CPUs</th><th>Why</th></tr></thead>\n<tbody>\n",
              report->file);
        json_array_foreach (report->vms, i, vm)
                print_vm(report, (unsigned)i, vm);
        fputs("</tbody></table></div>\n", report->file);
}

void report_print_page(const Report *report) {
        print_head(report);
        print_figures(report);
        print_verdicts(report);
        print_care(report);
        print_warnings(report);
        report_print_map(report);
        print_vms(report);
        report_print_history(report);
        fputs("<footer>Made by vasctl report. This page loads nothing and runs "
              "nothing.</footer>\n</body>\n</html>\n",
              report->file);
}

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The host as SVG: each cluster is a picture of its own, so that the page's width
 * decides how many stand side by side. A core is a frame, its threads stand in it
 * above each other. Each CPU that somebody owns shows the VM's number on the page,
 * since colours of hundreds of VMs can not all differ, and is a link to its row.
 */

#include <string.h>

#include "ctl/report.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

enum { CELL_WIDTH = 24, CELL_HEIGHT = 16, GAP = 3, HEAD = 15, CORES_A_ROW = 8, SMALL_CPUS = 128 };

static const char *state_class(const char *kind) {
        return strcmp(kind, "placed") == 0 ? "" : strcmp(kind, "pinned") == 0 ? " pin" : " odd";
}

/* What is said of a CPU that no single VM has. */
static void print_unowned(const Report *report, unsigned cpu, int x, int y) {
        int vm = report->owner[cpu].vm;
        bool skip = cpuset_has(&report->skip, cpu), isolated = cpuset_has(&report->isolated, cpu);
        const char *class = vm == CPU_TWICE ? "t" : skip ? "s" : isolated ? "i" : "f";
        const char *sign = vm == CPU_TWICE ? "!" : skip ? "#" : isolated ? "%" : NULL;
        const char *words = vm == CPU_TWICE ? "claimed by more than one vCPU"
                            : skip          ? "in skip-cpuset"
                            : isolated      ? "isolated by the kernel"
                                            : "free";

        fprintf(report->file, "<g><rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>", class,
                x, y, CELL_WIDTH, CELL_HEIGHT);
        if (sign)
                fprintf(report->file, "<text x=\"%d\" y=\"%d\">%s</text>", x + CELL_WIDTH / 2, y + 12, sign);
        fprintf(report->file, "<title>CPU %u\n%s</title></g>", cpu, words);
}

static void print_cpu(const Report *report, unsigned cpu, int x, int y) {
        const ReportOwner *owner = &report->owner[cpu];
        const char *kind = get_string(owner->as, "kind");

        if (owner->vm < 0) {
                print_unowned(report, cpu, x, y);
                return;
        }
        fprintf(report->file,
                "<a href=\"#vm%d\"><rect class=\"c v%d%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>",
                owner->vm + 1, owner->vm + 1, state_class(kind), x, y, CELL_WIDTH, CELL_HEIGHT);
        fprintf(report->file, "<text x=\"%d\" y=\"%d\">%d</text><title>CPU %u\n", x + CELL_WIDTH / 2, y + 12,
                owner->vm + 1, cpu);
        html_text(report->file, get_string(owner->as, "name"));
        fprintf(report->file, ", vCPU %lld (", get_number(owner->as, "vcpu"));
        html_text(report->file, kind);
        fputs(")</title></a>", report->file);
}

static void print_core(const Report *report, const json_t *core, int x, int y) {
        const json_t *cpus = json_object_get(core, "cpus"), *number;
        size_t i;

        if (json_array_size(cpus) > 1)
                fprintf(report->file,
                        "<rect class=\"k\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%zu\" rx=\"2\"/>", x - 1,
                        y - 1, CELL_WIDTH + 2, json_array_size(cpus) * (CELL_HEIGHT + 1) + 1);
        json_array_foreach (cpus, i, number) {
                json_int_t cpu = json_integer_value(number);

                if (cpu >= 0 && cpu < CPUS_MAX)
                        print_cpu(report, (unsigned)cpu, x, y + (int)i * (CELL_HEIGHT + 1));
        }
}

static size_t threads_of(const json_t *cores) {
        size_t most = 1, i;
        const json_t *core;

        json_array_foreach (cores, i, core) {
                size_t n = json_array_size(json_object_get(core, "cpus"));

                most = n > most ? n : most;
        }
        return most;
}

static void print_cluster(const Report *report, const json_t *cluster) {
        const json_t *cores = json_object_get(cluster, "cores"), *core;
        int n = (int)json_array_size(cores), columns = n < CORES_A_ROW ? n : CORES_A_ROW,
            row = (int)threads_of(cores) * (CELL_HEIGHT + 1) + GAP;
        int width = columns * (CELL_WIDTH + GAP) + GAP,
            height = HEAD + (n + CORES_A_ROW - 1) / CORES_A_ROW * row + 1;
        /* A small host is not a small picture. */
        int percent = get_number(report->status, "host_cpus") <= SMALL_CPUS ? 140 : 100;
        size_t i;

        if (n == 0)
                return;
        width = width < 60 ? 60 : width; /* room for its name */
        fprintf(report->file,
                "<svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\"><text class=\"l\" "
                "x=\"2\" y=\"10\">cluster "
                "%lld</text>",
                width * percent / 100, height * percent / 100, width, height, get_number(cluster, "cluster"));
        json_array_foreach (cores, i, core)
                print_core(report, core, 2 + (int)(i % CORES_A_ROW) * (CELL_WIDTH + GAP),
                           HEAD + (int)(i / CORES_A_ROW) * row);
        fputs("</svg>\n", report->file);
}

static void print_node(const Report *report, const json_t *node) {
        const json_t *cluster;
        AUTO_FREE char *list = NULL;
        unsigned owned = 0;
        CpuSet cpus;
        size_t i;

        node_cpus(node, &cpus);
        CPUSET_FOREACH (cpu, &cpus)
                owned += report->owner[cpu].vm != CPU_FREE;
        list = cpulist_new(&cpus);
        fprintf(report->file,
                "<h3>Node %lld <small>%u of %u CPUs owned; CPUs %s</small></h3>\n<div class=\"clusters\">\n",
                get_number(node, "node"), owned, cpuset_count(&cpus), list ? list : "?");
        json_array_foreach (json_object_get(node, "clusters"), i, cluster)
                print_cluster(report, cluster);
        fputs("</div>\n", report->file);
}

static void print_sample(FILE *file, const char *class, const char *sign, const char *words) {
        fprintf(file,
                "<li><svg width=\"24\" height=\"16\"><rect class=\"%s\" x=\"1\" y=\"1\" width=\"22\" "
                "height=\"14\"/><text x=\"12\" "
                "y=\"12\">%s</text></svg>%s</li>\n",
                class, sign, words);
}

static void print_key(const Report *report) {
        FILE *file = report->file;

        fputs("<ul class=\"key\">\n", file);
        print_sample(file, "c", "7", "owned by VM 7 of the table");
        print_sample(file, "c pin", "7", "pinned by its operator");
        print_sample(file, "c odd", "7", "bound by somebody else");
        print_sample(file, "f", "", "free");
        print_sample(file, "s", "#", "in skip-cpuset");
        print_sample(file, "i", "%", "isolated by the kernel");
        print_sample(file, "t", "!", "claimed twice");
        fputs("</ul>\n", file);
}

void report_print_map(const Report *report) {
        const char *offline = get_string(report->host, "offline");
        const json_t *node;
        size_t i;

        fputs("<h2>Who has which CPU</h2>\n", report->file);
        print_key(report);
        json_array_foreach (json_object_get(report->host, "nodes"), i, node)
                print_node(report, node);
        if (*offline) {
                fputs("<p class=\"faint\">Offline: CPUs ", report->file);
                html_text(report->file, offline);
                fputs("</p>\n", report->file);
        }
}

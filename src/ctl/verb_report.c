/* SPDX-License-Identifier: Apache-2.0 */

/* report: asks the daemon for all that a page about the host shows, and writes it. */

#include <stdlib.h>
#include <string.h>

#include "ctl/report.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/replace.h"

enum { EVENTS_SHOWN = 300 };

static void read_owners(Report *report) {
        const json_t *owners = json_object_get(report->host, "owners"), *vm, *owner;
        json_auto_t *index = json_object();
        size_t i;

        for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++)
                report->owner[cpu] = (ReportOwner){.vm = CPU_FREE};
        json_array_foreach (report->vms, i, vm)
                json_object_set_new(index, get_string(vm, "uuid"), json_integer((json_int_t)i));
        json_array_foreach (owners, i, owner) {
                const json_t *known = json_object_get(index, get_string(owner, "vm"));
                long long cpu = get_number(owner, "cpu");

                if (!known || cpu < 0 || cpu >= CPUS_MAX)
                        continue;
                if (report->owner[cpu].vm == CPU_FREE)
                        report->owner[cpu] = (ReportOwner){.vm = (int)json_integer_value(known), .as = owner};
                else
                        report->owner[cpu].vm = CPU_TWICE;
                report->cpus_of[json_integer_value(known)]++;
        }
}

static void read_set(const json_t *object, const char *key, CpuSet *ret) {
        if (cpulist_parse(get_string(object, key), ret) < 0)
                cpuset_clear(ret);
}

static void read_host_name(const Ctl *ctl, char *ret, size_t size) {
        AUTO_FREE char *path = NULL;
        AUTO_FCLOSE FILE *file = NULL;

        strcpy(ret, "host");
        if (asprintf(&path, "%s/proc/sys/kernel/hostname", ctl->root) < 0) {
                path = NULL;
                return;
        }
        file = fopen(path, "re");
        if (file && fgets(ret, (int)size, file))
                ret[strcspn(ret, "\n")] = '\0';
}

/* The page as newly allocated text; NULL: no memory. */
static char *page_new(Report *report) {
        char *text = NULL;
        size_t size;
        bool failed;

        read_owners(report);
        read_set(report->host, "skip_cpuset", &report->skip);
        read_set(report->host, "isolated", &report->isolated);
        report->file = open_memstream(&text, &size);
        if (!report->file)
                return NULL;
        report_print_page(report);
        failed = ferror(report->file);
        failed |= fclose(report->file) != 0;
        if (failed) {
                free(text);
                text = NULL;
        }
        return text;
}

static int write_page(const Ctl *ctl, const char *path, Report *report) {
        AUTO_FREE char *page = NULL;
        int r;

        if (json_array_size(report->vms) > VMS_MAX)
                return fail(ctl, EXIT_FAILED, "the daemon names more than %d VMs", VMS_MAX);
        page = page_new(report);
        if (!page)
                return fail(ctl, EXIT_FAILED, "out of memory");
        if (strcmp(path, "-") == 0) {
                fputs(page, stdout);
                return EXIT_DONE;
        }
        r = file_replace(path, page, false);
        if (r < 0)
                return fail(ctl, EXIT_FAILED, "%s: %s", path, strerror(-r));
        printf("Written to ");
        print_clean(path);
        putchar('\n');
        return EXIT_DONE;
}

static int report_to(const Ctl *ctl, const char *path) {
        AUTO_FREE Report *report = calloc(1, sizeof(*report));
        Answer status = {}, host = {}, vms = {}, events = {}, metrics = {};
        char host_name[256];
        int r = report ? EXIT_DONE : fail(ctl, EXIT_FAILED, "out of memory");

        if (r == EXIT_DONE && daemon_ask(ctl, "GetStatus", NULL, &status, &r) &&
            daemon_ask(ctl, "GetHost", NULL, &host, &r) &&
            daemon_ask(ctl, "ListVms", json_pack("{ss,sb}", "scope", "all", "detail", 0), &vms, &r) &&
            daemon_ask(ctl, "GetMetrics", NULL, &metrics, &r) &&
            daemon_ask(ctl, "GetEvents", json_pack("{si}", "last", EVENTS_SHOWN), &events, &r)) {
                read_host_name(ctl, host_name, sizeof(host_name));
                report->host_name = host_name;
                report->status = json_object_get(status.parameters, "status");
                report->host = host.parameters;
                report->vms = json_object_get(vms.parameters, "vms");
                report->events = json_object_get(events.parameters, "events");
                report->metrics = json_object_get(metrics.parameters, "metrics");
                r = write_page(ctl, path, report);
        }
        answer_done(&status);
        answer_done(&host);
        answer_done(&vms);
        answer_done(&events);
        answer_done(&metrics);
        return r;
}

int run_report(Ctl *ctl, int argc, char **argv) {
        const char *path = NULL;
        const Option options[] = {{"-o", "--output", &path, NULL}};
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, NULL, 0, &n_words);

        if (status == EXIT_DONE && !path)
                return fail(ctl, EXIT_USAGE, "-o FILE is missing: where the page is to be written");
        return status == EXIT_DONE ? report_to(ctl, path) : status;
}

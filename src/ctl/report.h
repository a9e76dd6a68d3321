/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The page that "vasctl report" writes. Everything that came from outside goes
 * through html_text(). */

#include <time.h>

#include "core/snapshot.h"
#include "ctl/ctl.h"

extern const char report_css[];

enum { CPU_FREE = -1, CPU_TWICE = -2 };

/* Who has a CPU, from GetHost's owners. */
typedef struct ReportOwner {
        int vm; /* index into vms; CPU_FREE, CPU_TWICE */
        const json_t *as; /* the owner; of CPU_TWICE the first of them */
} ReportOwner;

typedef struct Report {
        FILE *file;
        const char *host_name;
        const json_t *status, *vms, *host, *events, *metrics; /* what the daemon answered */
        CpuSet skip, isolated;
        ReportOwner owner[CPUS_MAX];
        unsigned cpus_of[VMS_MAX]; /* by VM: CPUs that are drawn as its own */
} Report;

/* Text as it is, whatever it holds: no markup, no control character gets through. */
void html_text(FILE *file, const char *text);

void report_print_map(const Report *report);
void report_print_history(const Report *report);
void report_print_page(const Report *report);

/* SPDX-License-Identifier: Apache-2.0 */

/* The daemon, its VMs and the host, on one screen. */

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

static void print_duration(double seconds) {
        long long s = seconds > 0 ? (long long)seconds : 0;

        if (s < 120)
                printf("%lld s", s);
        else if (s < 7200)
                printf("%lld min", s / 60);
        else if (s < 172800)
                printf("%lld h %lld min", s / 3600, s % 3600 / 60);
        else
                printf("%lld days", s / 86400);
}

static void print_daemon(const Ctl *ctl, const json_t *status) {
        bool acting = strcmp(get_string(status, "mode"), "act") == 0, paused = get_bool(status, "paused");
        Colour colour = acting && !paused ? COLOUR_GOOD : COLOUR_WARN;

        print_label(ctl, "Daemon");
        printf("%s%s%s, version ", colour_start(ctl, colour),
               paused   ? "paused (nothing is moved until 'vasctl resume')"
               : acting ? "acting"
                        : "observing (changes nothing)",
               colour_end(ctl, colour));
        print_clean(get_string(status, "version"));
        printf(", pid %lld, up ", get_number(status, "pid"));
        print_duration(get_real(status, "uptime_s"));
        putchar('\n');
}

static void print_libvirt(const Ctl *ctl, const json_t *libvirt) {
        const char *state = get_string(libvirt, "state"), *version = get_string(libvirt, "version");
        bool up = strcmp(state, "up") == 0;
        Colour colour = up ? COLOUR_GOOD : COLOUR_BAD;

        print_label(ctl, "libvirt");
        printf("%s", colour_start(ctl, colour));
        print_clean(state);
        printf("%s for ", colour_end(ctl, colour));
        print_duration(get_real(libvirt, "since_s"));
        printf(", ");
        print_clean(get_string(libvirt, "uri"));
        if (*version) {
                printf(", version ");
                print_clean(version);
        }
        putchar('\n');
        if (!up && *get_string(libvirt, "error")) {
                AUTO_FREE char *clean = text_clean(get_string(libvirt, "error"));

                print_wrapped(ctl, "          ", clean ? clean : "");
        }
        if (get_real(libvirt, "asked_s") >= 1) {
                printf("          a question to it has been waiting for ");
                print_duration(get_real(libvirt, "asked_s"));
                putchar('\n');
        }
}

static void print_policy(const Ctl *ctl, const json_t *status) {
        const char *skip = get_string(status, "skip_cpuset");

        print_label(ctl, "Policy");
        print_clean(get_string(status, "policy"));
        printf(", smt ");
        print_clean(get_string(status, "smt"));
        printf(", layout ");
        print_clean(get_string(status, "layout"));
        if (*skip) {
                printf(", skip-cpuset ");
                print_clean(skip);
        }
        if (!get_bool(status, "range_affinity"))
                printf(", range-affinity false");
        putchar('\n');
}

static void print_dynamic(const Ctl *ctl, const json_t *dynamic) {
        if (!json_is_object(dynamic))
                return;
        const char *backend = get_string(dynamic, "backend");
        AUTO_FREE char *why = text_clean(get_string(dynamic, "backend_why"));
        long long vcpus = get_number(dynamic, "vcpus");

        print_label(ctl, "Dynamic");
        print_clean(backend);
        printf(", %lld vCPU%s", vcpus, plural(vcpus));
        if (strcmp(backend, "emulated") == 0)
                printf(", %lld away; %lld left, %lld moved on, %lld returned", get_number(dynamic, "away"),
                       get_number(dynamic, "left"), get_number(dynamic, "moved_on"),
                       get_number(dynamic, "returned"));
        putchar('\n');
        print_wrapped(ctl, "          ", why ? why : "");
}

/* Who hears a guest's TLB invalidations; of interest on such hosts alone. */
static void print_tlbi(const Ctl *ctl, const json_t *status) {
        bool limited = get_bool(status, "tlbi_limited");
        long long changes = get_number(status, "mask_union_changes");

        if (!limited && !get_bool(status, "kunpeng"))
                return;
        print_label(ctl, "TLBI");
        if (limited)
                printf("limited to a VM's CPUs (kvm-arm.dvmbm_enabled=1), which changed %lld time%s\n",
                       changes, plural(changes));
        else
                puts("sent to all CPUs (booted without kvm-arm.dvmbm_enabled=1)");
}

/* "3 SPREAD" for each verdict, folded where the line is full. */
static void print_verdicts(const Ctl *ctl, json_t *verdicts, unsigned column) {
        const char *name, *separator = ": ";
        json_t *count;

        json_object_foreach (verdicts, name, count) {
                AUTO_FREE char *clean = text_clean(name);
                Colour colour = verdict_colour(name);
                char number[32];
                unsigned width;

                if (!clean || json_integer_value(count) == 0)
                        continue;
                snprintf(number, sizeof(number), "%lld ", (long long)json_integer_value(count));
                width = (unsigned)strlen(number) + text_width(clean);
                if (column + 3 + width > ctl->width) {
                        printf("%.1s\n%*s", separator, LABEL_WIDTH, "");
                        column = LABEL_WIDTH;
                } else {
                        printf("%s", separator);
                        column += 2;
                }
                printf("%s%s%s%s", colour_start(ctl, colour), number, clean, colour_end(ctl, colour));
                column += width;
                separator = ", ";
        }
}

static void print_vms(const Ctl *ctl, const json_t *status) {
        long long vms = get_number(status, "vms"), vcpus = get_number(status, "vcpus");
        int column;

        print_label(ctl, "VMs");
        column = printf("%lld with %lld vCPU%s", vms, vcpus, plural(vcpus));
        print_verdicts(ctl, json_object_get(status, "verdicts"), LABEL_WIDTH + (unsigned)column);
        putchar('\n');
}

static void print_spans(const Ctl *ctl, const json_t *status) {
        const json_t *score = json_object_get(status, "score");
        long long shared_cores = get_number(score, "shared_cores");

        print_label(ctl, "Spread");
        printf("clusters over all VMs %lld, at least %lld; nodes %lld, at least %lld", get_number(status, "clusters_used"),
               get_number(status, "clusters_needed"), get_number(status, "nodes_used"),
               get_number(status, "nodes_needed"));
        if (shared_cores > 0)
                printf("; %lld core%s with two VMs", shared_cores, plural(shared_cores));
        putchar('\n');
}

static void print_host(const Ctl *ctl, const json_t *status) {
        long long cpus = get_number(status, "host_cpus"), owned = get_number(status, "owned_cpus"),
                  clusters = get_number(status, "host_clusters"), nodes = get_number(status, "host_nodes");

        print_label(ctl, "Host");
        printf("%lld CPU%s, %lld cluster%s (", cpus, plural(cpus), clusters, plural(clusters));
        print_clean(get_string(status, "cluster_level"));
        printf("), %lld node%s\n", nodes, plural(nodes));
        print_label(ctl, "Owned");
        print_bar(ctl, owned, cpus);
        printf(" %lld of %lld CPUs (%lld %%)\n", owned, cpus, cpus > 0 ? owned * 100 / cpus : 0);
}

static void print_moves(const Ctl *ctl, const json_t *status) {
        long long failed = get_number(status, "writes_failed"), drift = get_number(status, "drift_repaired"),
                  rounds = get_number(status, "rounds");

        print_label(ctl, "Moves");
        printf("%lld done, %lld wanted; %.1f credits in the bucket", get_number(status, "moves_done"),
               get_number(status, "moves_wanted"), get_real(status, "credits"));
        if (drift > 0)
                printf("; %lld mask%s put back", drift, plural(drift));
        if (failed > 0)
                printf("; %s%lld write%s refused%s", colour_start(ctl, COLOUR_BAD), failed, plural(failed),
                       colour_end(ctl, COLOUR_BAD));
        putchar('\n');
        print_label(ctl, "Rounds");
        printf("%lld, %lld with moves; the last took %lld us\n", rounds,
               get_number(status, "rounds_with_moves"), get_number(status, "last_round_us"));
}

static void print_warnings(const Ctl *ctl, const json_t *status) {
        const json_t *warning;
        size_t i;

        json_array_foreach (json_object_get(status, "warnings"), i, warning) {
                const char *text = json_string_value(warning);
                AUTO_FREE char *clean = text_clean(text ? text : "");

                printf("%s", colour_start(ctl, COLOUR_WARN));
                print_wrapped(ctl, "Warning   ", clean ? clean : "");
                printf("%s", colour_end(ctl, COLOUR_WARN));
        }
}

static void print_status(const Ctl *ctl, const json_t *status) {
        print_daemon(ctl, status);
        print_libvirt(ctl, json_object_get(status, "libvirt"));
        print_policy(ctl, status);
        print_dynamic(ctl, json_object_get(status, "dynamic"));
        print_tlbi(ctl, status);
        if (get_number(status, "rounds") > 0) {
                print_vms(ctl, status);
                print_spans(ctl, status);
                print_host(ctl, status);
                print_moves(ctl, status);
        } else { /* zeros would claim knowledge that it does not have */
                print_label(ctl, "VMs");
                puts("unknown: the daemon has not seen them yet");
        }
        print_warnings(ctl, status);
}

int run_status(Ctl *ctl, int argc, char **argv) {
        Answer answer;
        int status = options_none(ctl, argc, argv);

        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, "GetStatus", NULL, &answer);
        if (answer.status != EXIT_DONE)
                status = fail_answer(ctl, &answer);
        else if (ctl->json)
                print_json(json_object_get(answer.parameters, "status"), false);
        else
                print_status(ctl, json_object_get(answer.parameters, "status"));
        answer_done(&answer);
        return status;
}

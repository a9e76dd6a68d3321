/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/generate.h"
#include "sim/host_spec.h"
#include "sim/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static Topology topology;

static char *generate(Mix mix, double occupancy_pct, uint64_t seed, uint32_t n_events) {
        GenerateOptions options = {mix, occupancy_pct, n_events, seed, "numa:4 l3:10 core:8 pu:1"};
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        Complaint why;

        assert_int_equal(host_spec_load(options.topology_text, LEVEL_AUTO, &topology, &why), 0);
        assert_int_equal(generate_trace(&topology, &options, out), 0);
        fclose(out);
        return text;
}

static Trace *parse(char *text) {
        FILE *file = fmemopen(text, strlen(text), "r");
        Trace *trace = NULL;
        Complaint why = {};

        if (trace_read(file, "generated", FORM_TRACE, &trace, &why) != 0)
                fail_msg("%s", why.text);
        fclose(file);
        return trace;
}

static uint32_t hash(const char *text) {
        uint32_t value = 2166136261U;

        for (; *text; text++)
                value = (value ^ (unsigned char)*text) * 16777619U;
        return value;
}

static void a_seed_is_a_trace(void **state) {
        char *one = generate(MIX_ODD, 90, 7, 500), *again = generate(MIX_ODD, 90, 7, 500);
        char *other = generate(MIX_ODD, 90, 8, 500);

        (void)state;
        assert_string_equal(one, again);
        assert_string_not_equal(one, other);
        assert_int_equal(hash(one), 0xb240fbddU); /* on any machine */
        free(one);
        free(again);
        free(other);
}

/* Mean share of the host that is wanted, after the fill. */
static double occupancy(const Trace *trace, double *ret_least, double *ret_most) {
        unsigned used = 0;
        double sum = 0;

        *ret_least = 1;
        *ret_most = 0;
        for (uint32_t i = 0; i < trace->n_events; i++) {
                const Event *event = &trace->event[i];
                used += event->kind == EVENT_CREATE ? trace->vm[event->vm].n_vcpus : 0U;
                used -= event->kind == EVENT_DESTROY ? trace->vm[event->vm].n_vcpus : 0U;
                if (i < trace->n_events / 10)
                        continue;
                double share = (double)used / topology.n_cpus;
                sum += share;
                *ret_least = share < *ret_least ? share : *ret_least;
                *ret_most = share > *ret_most ? share : *ret_most;
        }
        return sum / (trace->n_events - trace->n_events / 10);
}

static void occupancy_is_kept(void **state) {
        double least, most;

        (void)state;
        for (Mix mix = MIX_AZURE; mix <= MIX_ODD; mix++) {
                char *text = generate(mix, 90, 3, 4000);
                Trace *trace = parse(text);
                double mean = occupancy(trace, &least, &most);
                if (mean < 0.84 || mean > 0.9 || most > 0.9)
                        fail_msg("%s: mean %f, most %f", mix_name(mix), mean, most);
                trace_free(trace);
                free(text);
        }
}

static void swing_swings(void **state) {
        char *text = generate(MIX_SWING, 90, 3, 8000);
        Trace *trace = parse(text);
        double least, most;

        (void)state;
        occupancy(trace, &least, &most);
        assert_true(least < 0.3);
        assert_true(most > 0.85);
        trace_free(trace);
        free(text);
}

static void ranges_are_mixed(void **state) {
        char *text = generate(MIX_ODD, 90, 5, 8000);
        Trace *trace = parse(text);
        unsigned whole = 0, node = 0, odd = 0;

        (void)state;
        for (uint32_t i = 0; i < trace->n_events; i++) {
                if (trace->event[i].kind != EVENT_CREATE)
                        continue;
                const CpuSet *range = pool_get(&trace->ranges, trace->event[i].range);
                unsigned n = cpuset_count(range);
                assert_true(n >= trace->vm[trace->event[i].vm].n_vcpus);
                whole += n == 320;
                node += n == 80 && cpuset_next(range, 0) % 80 == 0;
                odd += n < 80;
        }
        unsigned all = whole + node + odd;
        assert_true(node * 100 / all >= 17 && node * 100 / all <= 23);
        assert_true(odd * 100 / all >= 7 && odd * 100 / all <= 13);
        trace_free(trace);
        free(text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_seed_is_a_trace),
                cmocka_unit_test(occupancy_is_kept),
                cmocka_unit_test(swing_swings),
                cmocka_unit_test(ranges_are_mixed),
        };

        return cmocka_run_group_tests_name("sim/generate", tests, NULL, NULL);
}

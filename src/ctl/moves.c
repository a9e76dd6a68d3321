/* SPDX-License-Identifier: Apache-2.0 */

/* Moves and scores, as reassign and plan print them. */

#include "ctl/ctl.h"

enum { MOVES_SHOWN = 40 };

/* A VM that does not exist yet is placed, not moved. */
static bool is_of_new_vm(const json_t *move) {
        return *get_string(move, "vm") == '\0';
}

static void print_move(const json_t *move) {
        long long from = get_number(move, "from"), to = get_number(move, "to");

        printf("  ");
        print_clean(get_string(move, "name"));
        printf(" vCPU %lld: ", get_number(move, "vcpu"));
        if (to >= 0 && from >= 0)
                printf("CPU %lld -> %lld", from, to);
        else if (to >= 0)
                printf("CPU %lld", to);
        else {
                printf("CPUs ");
                print_clean(get_string(move, "mask"));
        }
        printf(" (");
        print_clean(get_string(move, "kind"));
        puts(")");
}

size_t print_plan_moves(const json_t *moves, bool would) {
        size_t n = 0, shown = 0, i;
        const json_t *move;

        json_array_foreach (moves, i, move)
                n += !is_of_new_vm(move);
        if (n > 0)
                printf("%zu %s of a vCPU%s:\n", n, n == 1 ? "move" : "moves", would ? " would be made" : "");
        json_array_foreach (moves, i, move)
                if (!is_of_new_vm(move) && shown++ < MOVES_SHOWN)
                        print_move(move);
        if (n > MOVES_SHOWN)
                printf("  and %zu more (--json shows all)\n", n - MOVES_SHOWN);
        return n;
}

static void print_score(const json_t *before, const json_t *after, const char *key, const char *what) {
        long long from = get_number(before, key), to = get_number(after, key);

        if (from != to)
                printf("  %-38s %lld -> %lld\n", what, from, to);
        else if (from > 0)
                printf("  %-38s %lld\n", what, from);
}

void print_scores(const json_t *before, const json_t *after) {
        print_score(before, after, "unplaced", "VMs without CPUs of their own");
        print_score(before, after, "excess_nodes", "NUMA nodes above the minimum");
        print_score(before, after, "excess_clusters", "clusters above the minimum");
        print_score(before, after, "shared_cores", "cores that carry two VMs");
}

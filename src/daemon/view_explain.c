/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Why a VM is where it is, in sentences for the person who runs the host: where
 * it is, what it may use and what takes CPUs away from that, the fewest clusters
 * it could have, what stands in the way and who, and what would help. Facts come
 * with their numbers and names, so that the next command can be typed from them.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/view_internal.h"
#include "util/cleanup.h"
#include "wire/names.h"

enum { NEIGHBOURS_NAMED = 4 }; /* as many owners are named, then "and N more" */

typedef struct Story {
        const View *view;
        uint32_t index;
        const Vm *vm;
        const Verdict *verdict;
        const char *name;
        CpuSet cpus, allowed;
        json_t *sentences;
        bool failed;
} Story;

static void __attribute__((format(printf, 2, 3))) tell(Story *story, const char *format, ...) {
        AUTO_FREE char *text = NULL;
        va_list args;
        int r;

        va_start(args, format);
        r = vasprintf(&text, format, args);
        va_end(args);
        if (r < 0) {
                text = NULL;
                story->failed = true;
        } else if (json_array_append_new(story->sentences, view_text(text)) < 0)
                story->failed = true;
}

/* "1 cluster", "3 clusters": for one sentence at a time. */
#define COUNTED(n, noun) (unsigned)(n), (n) == 1 ? noun : noun "s"

/* Room for the words of one sentence. */
typedef struct Words {
        char text[CPULIST_SIZE + 64];
} Words;

static const char *cpus_words(const CpuSet *set, Words *words) {
        if (cpulist_format(set, words->text, sizeof(words->text)) <= 0)
                strcpy(words->text, "none");
        return words->text;
}

static const char *list_words(const char *noun, const CpuSet *numbers, Words *words) {
        unsigned n = cpuset_count(numbers);
        int used = snprintf(words->text, sizeof(words->text), "%s%s ", noun, n == 1 ? "" : "s");

        if (cpulist_format(numbers, words->text + used, sizeof(words->text) - (size_t)used) <= 0)
                snprintf(words->text, sizeof(words->text), "no %s", noun);
        return words->text;
}

/* "node 0", "nodes 0-1", by the operating system's numbers. */
static const char *nodes_words(const View *view, const CpuSet *cpus, Words *words) {
        CpuSet nodes = {};

        CPUSET_FOREACH (cpu, cpus)
                if (view->topology->slot_of[cpu] >= 0)
                        cpuset_add(
                                &nodes,
                                view->topology->node[view->topology->cpu[view->topology->slot_of[cpu]].node]
                                        .os);
        return list_words("node", &nodes, words);
}

static const char *clusters_words(const View *view, const CpuSet *cpus, Words *words) {
        CpuSet clusters = {};

        CPUSET_FOREACH (cpu, cpus)
                if (view->topology->slot_of[cpu] >= 0)
                        cpuset_add(&clusters, view->topology->cpu[view->topology->slot_of[cpu]].cluster);
        return list_words("cluster", &clusters, words);
}

static void present_masks(const Story *story, CpuSet *ret) {
        cpuset_clear(ret);
        for (uint32_t i = story->vm->first_vcpu; i < story->vm->first_vcpu + story->vm->n_vcpus; i++) {
                const CpuSet *mask =
                        pool_get(&story->view->snapshot->pool, story->view->snapshot->vcpu[i].mask);

                if (mask)
                        cpuset_or(ret, mask);
        }
}

static void tell_whether_acting(Story *story) {
        CpuSet masks;
        Words words;

        if (story->view->acting)
                return;
        present_masks(story, &masks);
        tell(story,
             "%s: what follows is what it would do. At present the threads may run on CPUs %s.",
             story->view->paused ? "The daemon is paused" : "The daemon only observes now",
             cpus_words(&masks, &words));
}

static void tell_own_cpus(Story *story) {
        Words cpus, clusters, nodes;

        tell(story, "Each of its %u %s has a CPU of its own: %s, in %s of %s.",
             COUNTED(story->vm->n_vcpus, "vCPU"), cpus_words(&story->cpus, &cpus),
             clusters_words(story->view, &story->cpus, &clusters),
             nodes_words(story->view, &story->cpus, &nodes));
}

static void tell_excess(Story *story) {
        const Verdict *verdict = story->verdict;

        if (verdict->nodes > verdict->min_nodes)
                tell(story, "It spans %u NUMA nodes and %u %s; %u %s and %u %s would do.", verdict->nodes,
                     COUNTED(verdict->clusters, "cluster"), COUNTED(verdict->min_nodes, "node"),
                     COUNTED(verdict->min_clusters, "cluster"));
        else
                tell(story, "It spans %u %s; %u would do.", COUNTED(verdict->clusters, "cluster"),
                     verdict->min_clusters);
}

static void tell_shared(Story *story) {
        unsigned without = story->vm->n_vcpus - story->verdict->n_exclusive;
        Words words;

        if (story->vm->n_vcpus == 1)
                tell(story, "Its one vCPU has no CPU of its own.");
        else if (without == story->vm->n_vcpus)
                tell(story, "None of its %u vCPUs has a CPU of its own.", without);
        else
                tell(story, "%u of its %u vCPUs %s no CPU of %s own.", without, (unsigned)story->vm->n_vcpus,
                     without == 1 ? "has" : "have", without == 1 ? "its" : "their");
        tell(story, "It runs on CPUs %s, which it may have to share with others.",
             cpus_words(&story->cpus, &words));
}

static void tell_layers(Story *story) {
        Words cpus, clusters, nodes;

        tell(story,
             "No CPUs of its own are to be had for its %u %s: %s on CPUs %s, in %s of %s, together with vCPUs of "
             "other VMs whose policy is dynamic or cluster; at most %u %s there before one of its own.",
             COUNTED(story->vm->n_vcpus, "vCPU"), story->vm->n_vcpus == 1 ? "it lives" : "they live",
             cpus_words(&story->cpus, &cpus), clusters_words(story->view, &story->cpus, &clusters),
             nodes_words(story->view, &story->cpus, &nodes), story->verdict->layer,
             story->verdict->layer == 1 ? "is" : "are");
}

/* A mask of more than its CPU is held only where the kernel does the leaving. */
static void tell_dynamic(Story *story, unsigned away, bool prefers, const CpuSet *cpus) {
        Words words;

        if (prefers)
                tell(story,
                     "Its policy is dynamic: each vCPU prefers its CPU, and the kernel runs it elsewhere on "
                     "CPUs %s "
                     "while that is too busy.",
                     cpus_words(cpus, &words));
        else
                tell(story,
                     "Its policy is dynamic: a vCPU whose CPU is too busy is bound to an idle one instead. "
                     "%u %s away now.",
                     away, away == 1 ? "is" : "are");
}

/* What its policy makes of the CPUs of its own. */
static void tell_policy(Story *story) {
        unsigned away = 0;
        bool prefers = false;
        CpuSet cpus = {};
        Words words;

        for (uint32_t i = story->vm->first_vcpu; i < story->vm->first_vcpu + story->vm->n_vcpus; i++) {
                const Target *target = &story->view->plan->target[i];
                const CpuSet *mask = pool_get(&story->view->snapshot->pool, target->mask);

                if (!mask || target->cpu < 0)
                        continue;
                away += !cpuset_has(mask, (unsigned)target->cpu);
                prefers |= cpuset_single(mask) < 0;
                cpuset_or(&cpus, mask);
        }
        if (story->vm->policy.sched == SCHED_DYNAMIC)
                tell_dynamic(story, away, prefers, &cpus);
        else if (story->vm->policy.sched == SCHED_CLUSTER)
                tell(story, "Its policy is cluster: the kernel runs its vCPUs on any of the CPUs %s, which are those of "
                            "its clusters that no static VM owns.",
                     cpus_words(&cpus, &words));
}

/* One that the settings say to observe only. */
static void tell_observed(Story *story) {
        if (story->verdict->kind == VERDICT_SHARED)
                tell(story, "It is only observed (manage = observe), and not every vCPU is bound to a CPU of its own.");
        else {
                tell(story, "It is only observed (manage = observe): where its vCPUs are is not the daemon's choice.");
                tell_own_cpus(story);
                if (story->verdict->kind == VERDICT_SPREAD)
                        tell_excess(story);
        }
}

/* What the VM is, or would be if the daemon acted. */
static void tell_where(Story *story) {
        const char *why = reason_text(story->verdict->reason);
        Words words;

        if (story->verdict->reason == REASON_CONFIGURED && story->verdict->kind != VERDICT_EXCLUDED) {
                tell_observed(story);
                return;
        }
        switch (story->verdict->kind) {
        case VERDICT_PLACED:
                tell_own_cpus(story);
                tell_policy(story);
                return;
        case VERDICT_SPREAD:
                tell_own_cpus(story);
                tell_policy(story);
                tell_excess(story);
                return;
        case VERDICT_SHARED:
                tell_shared(story);
                return;
        case VERDICT_LAYERED:
                tell_layers(story);
                tell_policy(story);
                return;
        case VERDICT_PINNED:
                tell(story,
                     "Its operator bound every vCPU to one CPU: %s. The daemon leaves them there and gives "
                     "these CPUs to nobody else.",
                     cpus_words(&story->cpus, &words));
                if (story->verdict->nodes > story->verdict->min_nodes ||
                    story->verdict->clusters > story->verdict->min_clusters)
                        tell_excess(story);
                return;
        case VERDICT_FOREIGN:
                tell(story,
                     "Somebody else narrowed %u of its %u vCPU %s before the daemon came (taskset, a hook, "
                     "tuned). The daemon leaves %s alone.",
                     story->verdict->n_foreign, COUNTED(story->vm->n_vcpus, "thread"),
                     story->verdict->n_foreign == 1 ? "it" : "them");
                return;
        case VERDICT_EXCLUDED:
                tell(story, "The daemon does not manage it: %s.", *why ? why : "it is excluded");
                return;
        case VERDICT_UNPLACEABLE:
                tell(story, "It can not be placed: %s.", *why ? why : "some vCPU has no CPU that it may use");
                return;
        case VERDICT_CONTESTED:
                tell(story, "Somebody else keeps changing the CPU masks of its threads. The daemon has put "
                            "them back twice, and now leaves them alone for a while.");
                return;
        case VERDICT_UNSEEN:
                tell(story, "libvirt runs it, but the daemon can not see its vCPU threads: %s.",
                     *why ? why : "no reason is known");
                return;
        case VERDICT_KINDS:
                break;
        }
}

/* The union of the operator's ranges; how many different ones there are. */
static unsigned ranges_of(const Story *story, CpuSet *ret) {
        unsigned n = 0;

        cpuset_clear(ret);
        for (uint32_t i = story->vm->first_vcpu; i < story->vm->first_vcpu + story->vm->n_vcpus; i++) {
                const Vcpu *vcpu = &story->view->snapshot->vcpu[i];
                const CpuSet *range = pool_get(&story->view->snapshot->pool, vcpu->range);
                bool seen = false;

                for (uint32_t j = story->vm->first_vcpu; j < i && !seen; j++)
                        seen = story->view->snapshot->vcpu[j].range == vcpu->range;
                n += !seen;
                if (range)
                        cpuset_or(ret, range);
        }
        return n;
}

/* Says which CPUs of the range are lost to one cause, and takes them off. */
static void tell_lost(Story *story, CpuSet *lost, const CpuSet *cause, bool outside, const char *what) {
        CpuSet here = *lost;
        Words words;

        if (outside)
                cpuset_subtract(&here, cause);
        else
                cpuset_and(&here, cause);
        if (cpuset_is_empty(&here))
                return;
        cpuset_subtract(lost, &here);
        tell(story, "CPUs %s of that are not for its vCPUs: %s.", cpus_words(&here, &words), what);
}

static void tell_range(Story *story) {
        CpuSet range, lost;
        Words words, clusters, nodes;
        unsigned n_ranges;

        if (story->verdict->kind == VERDICT_PINNED)
                return;
        n_ranges = ranges_of(story, &range);
        if (!story->vm->range_named)
                tell(story, "Its operator named no range: it may use the %u %s of the host.",
                     COUNTED(cpuset_count(&story->allowed), "CPU"));
        else if (n_ranges == 1)
                tell(story, "Its range, named by its operator, is CPUs %s: %u %s, in %s of %s.",
                     cpus_words(&range, &words), COUNTED(cpuset_count(&range), "CPU"),
                     clusters_words(story->view, &range, &clusters),
                     nodes_words(story->view, &range, &nodes));
        else
                tell(story,
                     "Its vCPUs have %u different ranges, named by its operator; together they are CPUs %s, "
                     "in %s of %s.",
                     n_ranges, cpus_words(&range, &words), clusters_words(story->view, &range, &clusters),
                     nodes_words(story->view, &range, &nodes));
        lost = range;
        cpuset_subtract(&lost, &story->allowed);
        tell_lost(story, &lost, &story->view->topology->online, true, "they are offline");
        tell_lost(story, &lost, &story->view->policy->skip, false, "skip-cpuset names them");
        if (!story->vm->range_named)
                tell_lost(story, &lost, &story->view->topology->isolated, false,
                          "the kernel isolates them, and no range of the VM names them");
        tell_lost(story, &lost, &range, false, "the cpuset of its control group lacks them");
}

static void tell_minimum(Story *story) {
        const Verdict *verdict = story->verdict;

        if (verdict->min_clusters == 0 || verdict->kind == VERDICT_PINNED)
                return;
        tell(story, "At best it needs %u %s in %u %s.", COUNTED(verdict->min_clusters, "cluster"),
             COUNTED(verdict->min_nodes, "node"));
}

/* How many CPUs of the VM's allowed set another VM owns. */
static unsigned owned_inside(const Story *story, uint32_t other) {
        const Vm *vm = &story->view->snapshot->vm[other];
        unsigned n = 0;

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int cpu = view_vcpu_cpu(story->view, i);

                n += cpu >= 0 && cpuset_has(&story->allowed, (unsigned)cpu);
        }
        return n;
}

typedef struct Neighbour {
        uint32_t vm;
        unsigned cpus;
} Neighbour;

static int by_cpus(const void *a, const void *b) {
        const Neighbour *x = a, *y = b;

        return x->cpus != y->cpus ? (x->cpus < y->cpus ? 1 : -1) : x->vm < y->vm ? -1 : x->vm > y->vm;
}

/* "db1 (16), web3 (8) and 5 more VMs" */
static char *neighbours_words(const Story *story, const Neighbour *neighbours, unsigned n) {
        AUTO_FREE char *text = NULL;
        AUTO_FCLOSE FILE *f = NULL;
        size_t size;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;
        for (unsigned i = 0; i < n && i < NEIGHBOURS_NAMED; i++)
                fprintf(f, "%s%s (%u)",
                        i == 0       ? ""
                        : i + 1 == n ? " and "
                                     : ", ",
                        story->view->snapshot->vm[neighbours[i].vm].name, neighbours[i].cpus);
        if (n > NEIGHBOURS_NAMED)
                fprintf(f, " and %u more %s", COUNTED(n - NEIGHBOURS_NAMED, "VM"));
        if (fclose(STEAL_PTR(f)) != 0)
                return NULL;
        return STEAL_PTR(text);
}

static void tell_neighbours(Story *story) {
        AUTO_FREE Neighbour *neighbours = calloc(story->view->snapshot->n_vms, sizeof(*neighbours));
        AUTO_FREE char *words = NULL;
        unsigned n = 0, taken = 0, all = cpuset_count(&story->allowed);
        CpuSet free_cpus = story->allowed;

        if (!neighbours) {
                story->failed = true;
                return;
        }
        for (uint32_t i = 0; i < story->view->snapshot->n_vms; i++) {
                unsigned cpus = i == story->index ? 0 : owned_inside(story, i);

                if (cpus > 0)
                        neighbours[n++] = (Neighbour){.vm = i, .cpus = cpus};
        }
        cpuset_subtract(&free_cpus, &story->view->plan->owned);
        taken = all - cpuset_count(&free_cpus);
        if (n == 0) {
                tell(story, "Nobody else owns any of the %u %s that it may use.", COUNTED(all, "CPU"));
                return;
        }
        qsort(neighbours, n, sizeof(*neighbours), by_cpus);
        words = neighbours_words(story, neighbours, n);
        if (!words) {
                story->failed = true;
                return;
        }
        tell(story,
             "Of the %u %s that it may use, %u are owned and %u free. Others there, with the CPUs they own: "
             "%s.",
             COUNTED(all, "CPU"), taken, cpuset_count(&free_cpus), words);
}

static void tell_memory(Story *story) {
        const Vm *vm = story->vm;

        if (story->verdict->remote_memory && vm->n_mem > 0)
                tell(story, "It runs away from its memory, of which %u %% is on node %u.",
                     vm->mem[0].permille / 10u, (unsigned)vm->mem[0].node);
        else if (story->verdict->reason == REASON_MEMORY && vm->n_device_nodes > 0)
                tell(story, "A PCI device of its host side is on node %u.", (unsigned)vm->device_node[0]);
        else if (story->verdict->reason == REASON_MEMORY && vm->n_mem > 0)
                tell(story, "%u %% of its memory is on node %u.", vm->mem[0].permille / 10u,
                     (unsigned)vm->mem[0].node);
}

/* What keeps a VM where it is, by its verdict. */
static const char *why_it_stays(const Verdict *verdict) {
        if (verdict->reason == REASON_CONFIGURED)
                return "it is not to be managed";
        switch (verdict->kind) {
        case VERDICT_PINNED:
                return "its operator bound it there";
        case VERDICT_FOREIGN:
                return "somebody else bound it there";
        case VERDICT_EXCLUDED:
                return "it is not to be managed";
        case VERDICT_CONTESTED:
                return "somebody else keeps changing its masks";
        case VERDICT_UNSEEN:
                return "its threads can not be seen";
        default:
                return NULL;
        }
}

static void tell_blocker(Story *story, uint32_t blocker) {
        const char *why = why_it_stays(&story->view->plan->verdict[blocker]);

        tell(story, "Most in the way is %s%s%s.", story->view->snapshot->vm[blocker].name, why ? ": " : "",
             why ? why : "");
}

static void tell_twice(Story *story) {
        const Snapshot *snapshot = story->view->snapshot;
        int other = view_pinned_twice(story->view, story->index);

        tell(story, "%u of its CPUs %s claimed by more than one vCPU: two pins name the same CPU.",
             story->verdict->cpus_twice, story->verdict->cpus_twice == 1 ? "is" : "are");
        if (other >= 0)
                tell(story, "On CPU %d it meets vCPU %u of %s.", view_vcpu_cpu(story->view, (uint32_t)other),
                     (unsigned)snapshot->vcpu[other].number, snapshot->vm[snapshot->vcpu[other].vm].name);
}

static void tell_obstacles(Story *story, int64_t credits_milli) {
        const Verdict *verdict = story->verdict;
        bool judged = verdict->kind == VERDICT_SPREAD || verdict->kind == VERDICT_SHARED ||
                      verdict->kind == VERDICT_LAYERED;

        if (judged && verdict->reason != REASON_NONE)
                tell(story, "The reason: %s.", reason_text(verdict->reason));
        else if (verdict->reason == REASON_WRITE_FAILED)
                tell(story, "But %s.", reason_text(verdict->reason));
        if (judged && verdict->reason != REASON_RANGE_TOO_SMALL)
                tell_neighbours(story);
        if (verdict->blocker >= 0 && (uint32_t)verdict->blocker < story->view->snapshot->n_vms)
                tell_blocker(story, (uint32_t)verdict->blocker);
        if (verdict->reason == REASON_NO_CREDITS)
                tell(story, "The bucket of move credits holds %lld.%lld now.",
                     (long long)(credits_milli / 1000), (long long)(credits_milli % 1000 / 100));
        tell_memory(story);
        if (verdict->cpus_twice > 0)
                tell_twice(story);
        if (verdict->doubled_cores > 0)
                tell(story, "%u physical %s two vCPUs that are no siblings in the guest.",
                     verdict->doubled_cores, verdict->doubled_cores == 1 ? "core carries" : "cores carry");
}

static void tell_help(Story *story) {
        bool reassign = false;
        const char *advice = view_advice(story->view, story->index, &story->allowed, &reassign);

        if (advice && reassign)
                tell(story, "\"vasctl reassign %s\" %s", story->name, advice);
        else if (advice)
                tell(story, "%s", advice);
}

json_t *view_explain(const View *view, uint32_t vm, int64_t credits_milli) {
        json_auto_t *sentences = json_array();
        Story story = {
                .view = view,
                .index = vm,
                .vm = &view->snapshot->vm[vm],
                .verdict = &view->plan->verdict[vm],
                .name = view->snapshot->vm[vm].name,
                .sentences = sentences,
                .failed = !sentences,
        };

        view_vm_cpus(view, vm, &story.cpus);
        view_vm_allowed(view, vm, &story.allowed);
        if (!story.failed) {
                tell_whether_acting(&story);
                tell_where(&story);
                tell_range(&story);
                tell_minimum(&story);
                tell_obstacles(&story, credits_milli);
                tell_help(&story);
        }
        if (story.failed)
                return NULL;
        return json_pack("{so,sO}", "vm", view_vm(view, vm, true), "sentences", sentences);
}

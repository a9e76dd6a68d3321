/* SPDX-License-Identifier: Apache-2.0 */

#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cpulist.h"

enum { FIRST_PID = 1000, PID_STEP = 1000 };

static unsigned facts_of(unsigned nodes, unsigned clusters, unsigned cores, unsigned threads, CpuFact *ret) {
        unsigned n = 0;

        for (unsigned t = 0; t < threads; t++)
                for (unsigned core = 0; core < nodes * clusters * cores; core++)
                        ret[n++] = (CpuFact){.os = (uint16_t)(t * nodes * clusters * cores + core),
                                             .node = (uint16_t)(core / (clusters * cores)),
                                             .cluster = core / cores,
                                             .core = core,
                                             .package = 0};
        return n;
}

Scene *scene_new(unsigned nodes, unsigned clusters, unsigned cores, unsigned threads) {
        Scene *scene = calloc(1, sizeof(*scene));
        CpuFact *facts = calloc(CPUS_MAX, sizeof(*facts));
        CpuSet isolated = {};
        const char *why;
        unsigned n;

        if (!scene || !facts)
                abort();
        n = facts_of(nodes, clusters, cores, threads, facts);
        if (topology_build(facts, n, NULL, 0, LEVEL_L3, &isolated, &scene->topology, &why) != 0) {
                fprintf(stderr, "scene: %s\n", why);
                abort();
        }
        free(facts);
        policy_defaults(&scene->policy);
        scene->view = (View){.topology = &scene->topology,
                             .snapshot = &scene->snapshot,
                             .policy = &scene->policy,
                             .plan = &scene->plan,
                             .offline = &scene->offline,
                             .acting = true};
        return scene;
}

Scene *scene_free(Scene *scene) {
        free(scene);
        return NULL;
}

static SetId intern(Scene *scene, const CpuSet *set) {
        return pool_intern(&scene->snapshot.pool, set);
}

static CpuSet list_of(const char *text) {
        CpuSet set;

        if (cpulist_parse(text, &set) < 0)
                abort();
        return set;
}

uint32_t scene_vm(Scene *scene, const char *name, unsigned vcpus, VerdictKind kind, VerdictReason reason) {
        uint32_t index = scene->snapshot.n_vms++;
        Vm *vm = &scene->snapshot.vm[index];
        SetId all = intern(scene, &scene->topology.online);

        *vm = (Vm){.pid = (int32_t)(FIRST_PID + PID_STEP * index),
                   .start_ticks = index + 1,
                   .first_vcpu = scene->snapshot.n_vcpus,
                   .n_vcpus = (uint16_t)vcpus,
                   .guest_threads = 1};
        vm_policy_defaults(&vm->policy);
        snprintf(vm->name, sizeof(vm->name), "%s", name);
        snprintf(vm->uuid, sizeof(vm->uuid), "00000000-0000-4000-8000-%012u", index);
        for (unsigned i = 0; i < vcpus; i++) {
                uint32_t vcpu = scene->snapshot.n_vcpus++;

                scene->snapshot.vcpu[vcpu] = (Vcpu){.vm = (uint16_t)index,
                                                    .number = (uint16_t)i,
                                                    .tid = vm->pid + 10 + (int32_t)i,
                                                    .start_ticks = 1,
                                                    .range = all,
                                                    .mask = all,
                                                    .home = -1,
                                                    .last_ran = -1};
                scene->plan.target[vcpu] = (Target){.cpu = -1, .mask = SET_NONE};
        }
        scene->plan.verdict[index] = (Verdict){.kind = kind, .reason = reason, .blocker = -1};
        return index;
}

static Vcpu *vcpu_of(Scene *scene, uint32_t vm, unsigned number) {
        return &scene->snapshot.vcpu[scene->snapshot.vm[vm].first_vcpu + number];
}

void scene_range(Scene *scene, uint32_t vm, const char *list) {
        CpuSet set = list_of(list);

        scene->snapshot.vm[vm].range_named = true;
        for (unsigned i = 0; i < scene->snapshot.vm[vm].n_vcpus; i++)
                vcpu_of(scene, vm, i)->range = vcpu_of(scene, vm, i)->mask = intern(scene, &set);
}

void scene_pin(Scene *scene, uint32_t vm, unsigned vcpu, unsigned cpu) {
        CpuSet set = {};

        cpuset_add(&set, cpu);
        scene->snapshot.vm[vm].range_named = true;
        vcpu_of(scene, vm, vcpu)->range = vcpu_of(scene, vm, vcpu)->mask = intern(scene, &set);
        scene->plan.target[scene->snapshot.vm[vm].first_vcpu + vcpu].cpu = (int16_t)cpu;
        scene->plan.verdict[vm].n_pinned++;
}

void scene_place(Scene *scene, uint32_t vm, const char *list) {
        CpuSet set = list_of(list), one;
        unsigned vcpu = 0;

        CPUSET_FOREACH (cpu, &set) {
                Vcpu *v = vcpu_of(scene, vm, vcpu);

                cpuset_clear(&one);
                cpuset_add(&one, (unsigned)cpu);
                v->before = v->mask;
                v->mask = v->written = intern(scene, &one);
                v->home = (int16_t)cpu;
                scene->plan.target[scene->snapshot.vm[vm].first_vcpu + vcpu++] =
                        (Target){.cpu = (int16_t)cpu, .mask = v->written};
        }
        scene->plan.verdict[vm].n_exclusive = (uint16_t)vcpu;
}

void scene_mask(Scene *scene, uint32_t vm, const char *list) {
        CpuSet set = list_of(list);

        for (unsigned i = 0; i < scene->snapshot.vm[vm].n_vcpus; i++)
                vcpu_of(scene, vm, i)->mask = intern(scene, &set);
}

void scene_judge(Scene *scene, uint32_t vm, unsigned min_nodes, unsigned min_clusters) {
        const Vm *v = &scene->snapshot.vm[vm];
        Verdict *verdict = &scene->plan.verdict[vm];
        CpuSet clusters = {}, nodes = {};

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                int cpu = scene->plan.target[i].cpu;

                if (cpu < 0)
                        continue;
                const Cpu *slot = &scene->topology.cpu[scene->topology.slot_of[cpu]];

                cpuset_add(&scene->plan.owned, (unsigned)cpu);
                cpuset_add(&clusters, slot->cluster);
                cpuset_add(&nodes, slot->node);
        }
        verdict->clusters = (uint16_t)cpuset_count(&clusters);
        verdict->nodes = (uint16_t)cpuset_count(&nodes);
        verdict->min_clusters = (uint16_t)min_clusters;
        verdict->min_nodes = (uint16_t)min_nodes;
        scene->plan.demand_vcpus += v->n_vcpus;
        scene->plan.supply_cpus = scene->topology.n_cpus;
}

static void add_placed(Scene *scene, const char *name, const char *cpus, unsigned min_clusters) {
        CpuSet set = list_of(cpus);
        uint32_t vm = scene_vm(scene, name, cpuset_count(&set), VERDICT_PLACED, REASON_NONE);

        scene_place(scene, vm, cpus);
        scene_judge(scene, vm, 1, min_clusters);
}

static void add_helper(Scene *scene, uint32_t vm, HelperKind kind, int tid) {
        scene->snapshot.helper[scene->snapshot.n_helpers++] =
                (Helper){.vm = (uint16_t)vm, .kind = kind, .tid = tid, .mask = SET_NONE};
}

static void add_spread(Scene *scene) {
        uint32_t vm = scene_vm(scene, "db1", 4, VERDICT_SPREAD, REASON_NO_CREDITS);

        scene_place(scene, vm, "4-6,8");
        scene_judge(scene, vm, 1, 1);
        add_helper(scene, vm, HELPER_EMULATOR, 2000);
        add_helper(scene, vm, HELPER_IOTHREAD, 2005);
        add_helper(scene, vm, HELPER_IOTHREAD, 2006);
        scene->snapshot.vm[vm].mem_source = MEM_STAT;
        scene->snapshot.vm[vm].n_mem = 2;
        scene->snapshot.vm[vm].mem[0] = (MemShare){.node = 0, .permille = 975};
        scene->snapshot.vm[vm].mem[1] = (MemShare){.node = 1, .permille = 25};
}

static void add_pinned(Scene *scene) {
        uint32_t vm = scene_vm(scene, "legacy", 2, VERDICT_PINNED, REASON_NONE);

        scene_pin(scene, vm, 0, 12);
        scene_pin(scene, vm, 1, 13);
        scene_judge(scene, vm, 1, 1);
}

static void add_foreign(Scene *scene) {
        uint32_t vm = scene_vm(scene, "tuned", 1, VERDICT_FOREIGN, REASON_NONE);

        scene_mask(scene, vm, "14-15");
        scene->plan.verdict[vm].n_foreign = 1;
        scene_judge(scene, vm, 1, 1);
}

static void add_shared(Scene *scene) {
        uint32_t vm = scene_vm(scene, "big", 8, VERDICT_SHARED, REASON_FULL);
        SetId range;

        scene_range(scene, vm, "8-15");
        range = scene->snapshot.vcpu[scene->snapshot.vm[vm].first_vcpu].range;
        for (uint32_t i = 0; i < 8; i++)
                scene->plan.target[scene->snapshot.vm[vm].first_vcpu + i].mask = range;
        scene->plan.verdict[vm].blocker = 2;
        scene_judge(scene, vm, 1, 2);
}

static void add_unseen(Scene *scene) {
        uint32_t vm = scene_vm(scene, "hidden", 2, VERDICT_UNSEEN, REASON_HIDDEN);

        scene->snapshot.vm[vm].sight = SIGHT_HIDDEN;
        scene->snapshot.vm[vm].pid = 0;
        for (uint32_t i = 0; i < 2; i++) {
                Vcpu *vcpu = &scene->snapshot.vcpu[scene->snapshot.vm[vm].first_vcpu + i];

                vcpu->tid = 0;
                vcpu->mask = SET_NONE;
        }
}

/* 16 CPUs in 4 clusters of 2 nodes, and one VM of most kinds. */
static Scene *scene_mixed(void) {
        Scene *scene = scene_new(2, 2, 4, 1);

        add_placed(scene, "web1", "0-3", 1);
        add_spread(scene);
        add_pinned(scene);
        add_foreign(scene);
        add_shared(scene);
        scene_vm(scene, "appliance", 1, VERDICT_EXCLUDED, REASON_CONFIGURED);
        add_unseen(scene);
        /* What a name can be made of: a command to the terminal, a change of the
         * direction of writing, a byte that is no UTF-8, a line's end. */
        add_placed(scene, "evil\033[2J\xe2\x80\xae\xff\nname\xc2\x9b", "7", 1);
        cpuset_add_range(&scene->offline, 16, 17);
        scene->plan.before = (Score){.unplaced = 2, .excess_clusters = 2};
        scene->plan.after = (Score){.unplaced = 1, .excess_clusters = 1};
        scene->plan.n_moves = 2;
        scene->plan.move[0] = (Move){.vcpu = 7, .kind = MOVE_DEFRAG, .from = 9, .to = 8, .mask = 1};
        scene->plan.move[1] = (Move){.vcpu = 11, .kind = MOVE_SHARE, .from = -1, .to = -1, .mask = 1};
        return scene;
}

/* What the mixed one would be without web1, and with a VM that is not there yet:
 * the other VMs are the same, and so are their UUIDs. */
static Scene *scene_planned(void) {
        Scene *scene = scene_new(2, 2, 4, 1);
        uint32_t vm = scene_vm(scene, "db1", 4, VERDICT_PLACED, REASON_NONE);

        scene_place(scene, vm, "0-3");
        scene_judge(scene, vm, 1, 1);
        add_pinned(scene);
        add_foreign(scene);
        add_shared(scene);
        scene->plan.verdict[3].blocker = 1;
        scene_vm(scene, "appliance", 1, VERDICT_EXCLUDED, REASON_CONFIGURED);
        add_unseen(scene);
        add_placed(scene, "evil\033[2J\xe2\x80\xae\xff\nname\xc2\x9b", "7", 1);
        vm = scene_vm(scene, "(new)", 6, VERDICT_SPREAD, REASON_BLOCKED);
        scene_place(scene, vm, "4-6,8-10");
        scene_judge(scene, vm, 1, 1);
        scene->plan.verdict[vm].blocker = 3;
        for (uint32_t i = 0; i < vm; i++)
                snprintf(scene->snapshot.vm[i].uuid, VM_UUID_SIZE, "00000000-0000-4000-8000-%012u", i + 1);
        scene->snapshot.vm[vm].uuid[0] = '\0';
        scene->plan.after = (Score){.unplaced = 1, .excess_clusters = 1};
        for (unsigned i = 0; i < 4; i++)
                scene->plan.move[scene->plan.n_moves++] = (Move){
                        .vcpu = i, .kind = MOVE_DEFRAG, .from = (int16_t)(i < 3 ? 4 + i : 8), .to = (int16_t)i,
                        .mask = scene->plan.target[i].mask};
        for (unsigned i = 0; i < 6; i++) {
                uint32_t vcpu = scene->snapshot.vm[vm].first_vcpu + i;

                scene->plan.move[scene->plan.n_moves++] = (Move){.vcpu = vcpu,
                                                                 .kind = MOVE_PLACE,
                                                                 .from = -1,
                                                                 .to = scene->plan.target[vcpu].cpu,
                                                                 .mask = scene->plan.target[vcpu].mask};
        }
        return scene;
}

/* SMT: 32 threads of 16 cores in 4 clusters, some skipped and isolated. */
static Scene *scene_smt(void) {
        Scene *scene = scene_new(2, 2, 4, 2);

        cpuset_add(&scene->policy.skip, 0);
        cpuset_add(&scene->policy.skip, 16);
        cpuset_add_range(&scene->topology.isolated, 14, 15);
        add_placed(scene, "web1", "1-3,17-19", 1);
        add_placed(scene, "db1", "4-7", 1);
        add_placed(scene, "db2", "8-11,24-27", 1);
        for (unsigned i = 0; i < 2; i++) {
                uint32_t vm = scene_vm(scene, i ? "twin2" : "twin1", 1, VERDICT_PINNED, REASON_NONE);

                scene_pin(scene, vm, 0, 12);
                scene->plan.verdict[vm].cpus_twice = 1;
                scene_judge(scene, vm, 1, 1);
        }
        return scene;
}

/* The largest host: 4096 CPUs, as many VMs as there are letters and more. */
static Scene *scene_large(void) {
        Scene *scene = scene_new(16, 16, 8, 2);
        char name[32], cpus[32];

        for (unsigned i = 0; i < 1000; i++) {
                snprintf(name, sizeof(name), "vm-%04u", i);
                snprintf(cpus, sizeof(cpus), "%u-%u", 2 * i, 2 * i + 1);
                add_placed(scene, name, cpus, 1);
        }
        return scene;
}

/* What operators' pins can be: apart, doubled, twice, off their memory. */
static Scene *scene_pinned(void) {
        static const uint8_t pins[] = {1, 4, 8, 24}; /* 8 and 24 are one core */
        Scene *scene = scene_new(2, 2, 4, 2);
        uint32_t copy = scene_vm(scene, "copy", 1, VERDICT_PINNED, REASON_NONE),
                 oracle = scene_vm(scene, "oracle", 4, VERDICT_PINNED, REASON_NONE);
        Vm *vm = &scene->snapshot.vm[oracle];

        scene_pin(scene, copy, 0, 1);
        for (unsigned i = 0; i < 4; i++)
                scene_pin(scene, oracle, i, pins[i]);
        scene_judge(scene, copy, 1, 1);
        scene_judge(scene, oracle, 1, 1);
        scene->plan.verdict[copy].cpus_twice = scene->plan.verdict[oracle].cpus_twice = 1;
        scene->plan.verdict[oracle].doubled_cores = 1;
        scene->plan.verdict[oracle].remote_memory = true;
        vm->mem_source = MEM_STAT;
        vm->n_mem = 1;
        vm->mem[0] = (MemShare){.node = 1, .permille = 1000};
        add_pinned(scene);
        return scene;
}

/* Names that are markup where they are not escaped. */
static Scene *scene_markup(void) {
        static const char *const names[] = {"<script>alert(1)</script>", "\"><img src=http://127.0.0.1:9/x onerror=alert(1)>",
                                            "'</title></style><b>&lt;", "]]>--><!--"};
        Scene *scene = scene_new(1, 2, 4, 1);

        for (unsigned i = 0; i < 4; i++) {
                uint32_t vm = scene_vm(scene, names[i], 1, i ? VERDICT_PLACED : VERDICT_SHARED, i ? REASON_NONE : REASON_FULL);

                scene_pin(scene, vm, 0, 2 * i);
                scene_judge(scene, vm, 1, 1);
                scene->plan.verdict[vm].blocker = (int32_t)(3 - i);
        }
        return scene;
}

static Scene *scene_tiny(void) {
        Scene *scene = scene_new(1, 1, 2, 1);

        add_placed(scene, "only", "1", 1);
        return scene;
}

static Scene *scene_observed(void) {
        Scene *scene = scene_new(1, 2, 4, 1);

        add_placed(scene, "web1", "0-3", 1);
        add_placed(scene, "lucky", "4", 1);
        for (uint32_t i = 0; i < 4; i++) {
                scene->snapshot.vcpu[i].mask = scene->snapshot.vcpu[i].range;
                scene->snapshot.vcpu[i].written = SET_NONE;
        }
        scene->view.acting = false;
        return scene;
}

static Scene *scene_empty(void) {
        return scene_new(1, 2, 4, 1);
}

/* What whoever may define a VM could call it, to do harm to who lists it. */
static Scene *scene_names(void) {
        static const char *const names[] = {
                "two\nweb1  4  PLACED  0  0 (1)  0-3", "cr\rweb1", "tab\tbell\abackspace\b\b\b\bnul",
                "\033[2J\033[1;1Hcleared", "\033]0;title\a\033]52;c;cm0gLXJm\a", "\033P1$r\033\\\033[6n\033c",
                "\xc2\x9b" "31mred\xc2\x9d" "0;title\xc2\x9c", "\x9b" "2J\x90\x85", "del\x7f\x7f",
                "\"quoted\" 'twice' `sh` $(sh) {a=\"b\"} \\n\\", "%s%n%99999d", "--json", "-", " ", "<b>&amp;</b>",
                "\xd0\xb2\xd0\xb5\xd0\xb1-\xe4\xb8\xad\xe6\x96\x87-\xf0\x9f\x92\xbb",
                "abc\xe2\x80\xae" "gnp\xe2\x81\xa6.exe\xe2\x80\x8b\xef\xbb\xbf\xd8\x9c\xc2\xad", "line\xe2\x80\xa8sep\xe2\x80\xa9",
                "\xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xe2\x80", "a\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81",
                "\\x1b[2J\\u{9b}"};
        Scene *scene = scene_new(2, 4, 8, 1);
        char longest[VM_NAME_SIZE], cpu[16];
        unsigned n = 0;

        for (; n < sizeof(names) / sizeof(names[0]); n++) {
                snprintf(cpu, sizeof(cpu), "%u", n);
                add_placed(scene, names[n], cpu, 1);
        }
        memset(longest, 'x', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = '\0';
        snprintf(cpu, sizeof(cpu), "%u", n);
        add_placed(scene, longest, cpu, 1);
        for (size_t i = 0; i + 1 < sizeof(longest); i++)
                longest[i] = "\033\xe2\x80\xae\n"[i % 5];
        uint32_t vm = scene_vm(scene, longest, 2, VERDICT_SHARED, REASON_FULL);
        scene->plan.verdict[vm].blocker = 3;
        scene->plan.n_moves = 4;
        for (unsigned i = 0; i < 4; i++)
                scene->plan.move[i] = (Move){.vcpu = i, .kind = MOVE_DEFRAG, .from = 40, .to = (int16_t)i, .mask = 1};
        return scene;
}

Scene *scene_by_name(const char *name) {
        static const struct {
                const char *name;
                Scene *(*make)(void);
        } scenes[] = {{"mixed", scene_mixed}, {"planned", scene_planned},   {"smt", scene_smt},           {"large", scene_large},
                      {"tiny", scene_tiny},   {"observed", scene_observed}, {"empty", scene_empty},   {"pinned", scene_pinned}, {"markup", scene_markup},
                      {"names", scene_names}};

        for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
                if (strcmp(scenes[i].name, name) == 0)
                        return scenes[i].make();
        return NULL;
}

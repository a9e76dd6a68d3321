/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as one of the files that the daemon reads of a host: those of /proc,
 * of cgroups, and a pid file. The first byte says which. All others are as they
 * should be, a host of eight CPUs with one VM. Whatever the file says, no thread
 * is taken for a vCPU but one of the VM's own, and none for two.
 */

#include "../tests/platform/support.h"
#include "fuzz.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define GROUP "/machine.slice/machine-qemu\\x2d1\\x2da.scope"

static const char *const files[] = {
        "proc/500/stat",
        "proc/500/cmdline",
        "proc/500/status",
        "proc/500/cgroup",
        "proc/500/task/503/stat",
        "proc/500/task/503/status",
        "proc/500/task/503/cgroup",
        "proc/500/task/503/schedstat",
        "proc/stat",
        "proc/self/mounts",
        "run/libvirt/qemu/a.pid",
        "sys/fs/cgroup" GROUP "/cpuset.cpus.effective",
        "sys/fs/cgroup" GROUP "/memory.numa_stat",
};
enum { FILES = sizeof(files) / sizeof(*files) };

static char *tree;
static FactList *facts;
static Topology topology;
static Snapshot *seen;

static void remove_tree(void) {
        tree_free(tree);
}

static void set_up(void) {
        static const char cgroup[] = "0::" GROUP "/libvirt/vcpu0\n";

        unsetenv("XDG_RUNTIME_DIR");
        tree = tree_new();
        atexit(remove_tree);
        seen = malloc(sizeof(*seen));
        facts = facts_new();
        must(seen && facts);
        fake_process(tree, "a", 500, UUID, cgroup);
        fake_thread(tree, &(FakeTask){500, 503, "CPU 0/KVM", "2", cgroup, 1003, 2});
        fake_thread(tree, &(FakeTask){500, 502, "CPU 1/KVM", "0-7", cgroup, 1002, 3});
        tree_write(tree, "proc/500/task/503/schedstat", "12 34 56\n");
        tree_write(tree, "proc/stat", "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\nintr 0\n");
        tree_write(tree, "proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n");
        tree_write(tree, "sys/fs/cgroup" GROUP "/cpuset.cpus.effective", "0-6\n");
        tree_write(tree, "sys/fs/cgroup" GROUP "/memory.numa_stat", "anon N0=4096 N1=0\nshmem N0=0 N1=8192\n");
        facts_add(facts, fact_new("a", UUID, 2, "0-7"));
}

/* The file's own content comes back after. */
static char *swap(const char *path, const uint8_t *data, size_t size, size_t *ret_size) {
        char *before = NULL;
        FILE *file = fopen(path, "r+e");

        must(file != NULL);
        before = malloc(4096);
        must(before != NULL);
        *ret_size = fread(before, 1, 4096, file);
        rewind(file);
        must(ftruncate(fileno(file), 0) == 0 && fwrite(data, 1, size, file) == size && fclose(file) == 0);
        return before;
}

static void check_threads(void) {
        must(seen->n_vms == 1 && seen->n_vcpus <= 2);
        must(seen->vm[0].pid == 0 || seen->vm[0].pid == 500);
        for (uint32_t i = 0; i < seen->n_vcpus; i++) {
                int32_t tid = seen->vcpu[i].tid;
                must(tid == 0 || tid == 502 || tid == 503);
                must(i == 0 || tid == 0 || tid != seen->vcpu[0].tid);
        }
        must(seen->vm[0].sight == SIGHT_OK || seen->vm[0].sight == SIGHT_NO_THREADS || seen->vm[0].pid == 0);
}

static void sample(const Host *door) {
        ThreadRef vcpu = {.uuid = UUID, .pid = 500, .tid = 503, .process_start_ticks = 1000, .thread_start_ticks = 1003};
        ThreadSample one;
        DynamicCpus *cpus = malloc(sizeof(*cpus));

        must(cpus != NULL);
        if (door->ops->follow(door->self, &vcpu, 1) == 0) {
                door->ops->sample(door->self, &one, cpus);
                door->ops->sample(door->self, &one, cpus);
        }
        free(cpus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char path[256], *before, why[256];
        size_t before_size;
        RealHost *host;
        Host door;

        if (size == 0)
                return 0;
        if (!tree)
                set_up();
        snprintf(path, sizeof(path), "%s/%s", tree, files[*data % FILES]);
        before = swap(path, data + 1, size - 1, &before_size);
        must(real_host_new(tree, "numa:2 l3:2 core:2 pu:1", &host) == 0);
        door = real_host_door(host);
        must(door.ops->read_topology(door.self, LEVEL_AUTO, &topology, why) == 0);
        if (door.ops->observe(door.self, facts, &topology, LOOK_FULL, seen) == 0)
                check_threads();
        sample(&door);
        real_host_free(host);
        free(swap(path, (const uint8_t *)before, before_size, &before_size));
        free(before);
        return 0;
}

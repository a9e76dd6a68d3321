/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is true of the VMs' threads, straight from the kernel, in one go.
 *
 * An emulated host pays dearly for each process that is started, so this one
 * stays: it answers a line on its standard input at once.
 *
 *   threads    one line for each vCPU thread of each VM that has a pid file:
 *              NAME PID VCPU TID STATE LAST-CPU MASK
 *   memory     one line for each VM: NAME PID, then pages on node 0, 1, ...
 *
 * A line with a single dot ends each answer.
 */

#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPUS = 4096, NODES = 64 };

static const char pid_dir[] = "/run/libvirt/qemu";

/* The first bytes of a file, as a string; false: it can not be read. */
static bool read_text(const char *path, char *ret, size_t size) {
        FILE *file = fopen(path, "re");
        if (!file)
                return false;
        size_t n = fread(ret, 1, size - 1, file);
        ret[n] = '\0';
        fclose(file);
        return n > 0;
}

static void print_mask(int tid) {
        cpu_set_t *mask = CPU_ALLOC(CPUS);
        size_t size = CPU_ALLOC_SIZE(CPUS);
        const char *comma = "";

        if (!mask || sched_getaffinity(tid, size, mask) < 0) {
                printf("?");
                CPU_FREE(mask);
                return;
        }
        for (int cpu = 0; cpu < CPUS; cpu++) {
                int last = cpu;
                if (!CPU_ISSET_S(cpu, size, mask))
                        continue;
                while (last + 1 < CPUS && CPU_ISSET_S(last + 1, size, mask))
                        last++;
                printf(last > cpu ? "%s%d-%d" : "%s%d", comma, cpu, last);
                comma = ",";
                cpu = last;
        }
        CPU_FREE(mask);
}

/* Fields 3 and 39 of a stat file: its state and the CPU it last ran on. */
static bool parse_stat(const char *stat, char *ret_state, int *ret_cpu) {
        const char *at = strrchr(stat, ')');
        if (!at || sscanf(at, ") %c", ret_state) != 1)
                return false;
        for (int field = 2; field < 39; field++) {
                at = strchr(at + 1, ' ');
                if (!at)
                        return false;
        }
        *ret_cpu = atoi(at + 1);
        return true;
}

static void print_thread(const char *name, int pid, int tid) {
        char path[256], text[1024], state;
        int vcpu, cpu;

        snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
        if (!read_text(path, text, sizeof(text)) || sscanf(text, "CPU %d/", &vcpu) != 1)
                return;
        snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
        if (!read_text(path, text, sizeof(text)) || !parse_stat(text, &state, &cpu))
                return;
        printf("%s %d %d %d %c %d ", name, pid, vcpu, tid, state, cpu);
        print_mask(tid);
        printf("\n");
}

static void print_threads(const char *name, int pid) {
        char path[64];
        const struct dirent *entry;

        snprintf(path, sizeof(path), "/proc/%d/task", pid);
        DIR *tasks = opendir(path);
        if (!tasks)
                return;
        while ((entry = readdir(tasks)))
                if (atoi(entry->d_name) > 0)
                        print_thread(name, pid, atoi(entry->d_name));
        closedir(tasks);
}

/* Adds the N0=pages words of a line of numa_maps. */
static void count_pages(char *line, unsigned long pages[NODES]) {
        char *rest = NULL;
        unsigned long count;
        unsigned node;

        for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
                if (sscanf(word, "N%u=%lu", &node, &count) == 2 && node < NODES)
                        pages[node] += count;
}

/* Anonymous pages only: the program's own are wherever they were first read. */
static void print_memory(const char *name, int pid) {
        char path[64], *line = NULL;
        size_t size = 0;
        unsigned long pages[NODES] = {0};

        snprintf(path, sizeof(path), "/proc/%d/numa_maps", pid);
        FILE *maps = fopen(path, "re");
        if (!maps)
                return;
        while (getline(&line, &size, maps) > 0)
                if (!strstr(line, " file="))
                        count_pages(line, pages);
        free(line);
        fclose(maps);
        printf("%s %d", name, pid);
        for (unsigned node = 0; node < 8; node++)
                printf(" %lu", pages[node]);
        printf("\n");
}

static void for_each_vm(void (*print)(const char *name, int pid)) {
        const struct dirent *entry;
        DIR *dir = opendir(pid_dir);
        if (!dir)
                return;
        while ((entry = readdir(dir))) {
                char path[512], text[32], name[256];
                size_t length = strlen(entry->d_name);

                if (length < 5 || strcmp(entry->d_name, "driver.pid") == 0 || length >= sizeof(name) ||
                    strcmp(entry->d_name + length - 4, ".pid") != 0)
                        continue;
                snprintf(path, sizeof(path), "%s/%s", pid_dir, entry->d_name);
                snprintf(name, sizeof(name), "%.*s", (int)(length - 4), entry->d_name);
                if (read_text(path, text, sizeof(text)) && atoi(text) > 0)
                        print(name, atoi(text));
        }
        closedir(dir);
}

int main(void) {
        char line[64];

        while (fgets(line, sizeof(line), stdin)) {
                if (strcmp(line, "threads\n") == 0)
                        for_each_vm(print_threads);
                else if (strcmp(line, "memory\n") == 0)
                        for_each_vm(print_memory);
                else
                        return 2;
                printf(".\n");
                fflush(stdout);
        }
        return 0;
}

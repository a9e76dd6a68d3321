/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One VM's process and threads: a look in full, and the cheap look that proves
 * the last one still true.
 *
 * In full: libvirt's pid file names the process; its -uuid argument must be the
 * VM's; its threads are found by name. Start times, cpusets and masks are read.
 * All is read through descriptors of the directories in /proc, which belong to
 * that process and those threads and not to their numbers.
 *
 * The cheap look keeps two sorts of those descriptors. The number of links of
 * /proc/PID/task tells how many threads the process has (and that it lives).
 * Then for each vCPU thread: the mask is read by number, and after that the
 * thread's own descriptor is asked whether it still lives. Whoever lives now
 * has had its number all the while, so the mask was its own; and as a thread
 * that is not the process's first does not outlive exec(), its process is still
 * the one whose arguments were checked. A mask that differs, a thread that died,
 * a changed fact: the VM is read in full. Threads that came or went without
 * touching a vCPU (QEMU's I/O workers do so all the time), or a helper's new mask,
 * cost only a new list of helpers.
 *
 * What the cheap look does not notice: a cpuset that grew (one that shrinks
 * takes the mask with it), memory that moved. The next full look does.
 *
 * After an event even that is too much for the VMs that it did not name: their
 * records are taken as they are, until the next round that looks at all. What is
 * to be written on such knowledge is read again first (daemon/rounds.c).
 */

#include "platform/vm_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/affinity.h"
#include "platform/files.h"
#include "platform/pid_file.h"
#include "platform/real_host.h"
#include "platform/task.h"
#include "util/cleanup.h"

enum { MEMBERSHIP_SIZE = 16 * 1024 };

static void release_fd(RealHost *host, int *fd) {
        if (*fd < 0)
                return;
        close(*fd);
        *fd = -1;
        host->fds_spare++;
}

/* Keeps a descriptor with the record, if there are descriptors to spare. */
static int keep_fd(RealHost *host, int *fd) {
        if (host->fds_spare == 0)
                return -1;
        host->fds_spare--;
        return steal_fd(fd);
}

void vm_record_let_go(RealHost *host, VmRecord *record) {
        for (unsigned i = 0; i < record->n_vcpus; i++)
                release_fd(host, &record->vcpu[i].fd);
        release_fd(host, &record->task_fd);
}

VmRecord *vm_record_free(RealHost *host, VmRecord *record) {
        if (!record)
                return NULL;
        vm_record_let_go(host, record);
        free(record->vcpu);
        free(record->helper);
        free(record);
        return NULL;
}

/* Errors that say something of us and not of the process looked at. */
static bool is_ours(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

static VmSight sight_of(int r) {
        return r == -EACCES || r == -EPERM ? SIGHT_HIDDEN : SIGHT_NO_PROCESS;
}

/* A thread that came and went while we looked is no error. */
static int passing(int r) {
        return is_ours(r) ? r : 0;
}

static int by_number(const void *a, const void *b) {
        return (int)((const SeenVcpu *)a)->number - (int)((const SeenVcpu *)b)->number;
}

static int make_vcpus(VmRecord *record, const VmFact *fact) {
        record->vcpu = calloc(fact->n_vcpus ? fact->n_vcpus : 1, sizeof(*record->vcpu));
        if (!record->vcpu)
                return -ENOMEM;
        record->n_vcpus = fact->n_vcpus;
        for (unsigned i = 0; i < fact->n_vcpus; i++)
                record->vcpu[i] = (SeenVcpu){
                        .fact = (uint16_t)i, .number = fact->vcpu[i].number, .last_ran = -1, .fd = -1};
        qsort(record->vcpu, record->n_vcpus, sizeof(*record->vcpu), by_number);
        return 0;
}

static SeenVcpu *find_vcpu(VmRecord *record, int number) {
        SeenVcpu key = {.number = (uint16_t)number};

        return bsearch(&key, record->vcpu, record->n_vcpus, sizeof(key), by_number);
}

/* A set of the host's own pool. A full pool leaves SET_NONE: "not known". */
static SetId intern(RealHost *host, const CpuSet *set) {
        return pool_intern(host->pool, set);
}

/* The thread's mask, proven to be its own by its living afterwards. */
static int read_mask(RealHost *host, int32_t tid, int task_fd, SetId *ret) {
        CpuSet mask;
        int r = affinity_read(host, tid, task_fd, &mask);

        if (r < 0)
                return r;
        r = task_lives(task_fd);
        if (r < 0)
                return r;
        *ret = intern(host, &mask);
        return 0;
}

static int read_cpuset(RealHost *host, int task_fd, SetId *ret) {
        char membership[MEMBERSHIP_SIZE];
        CpuSet cpus;
        int r = file_read_at(task_fd, "cgroup", membership, sizeof(membership));

        if (r == -ENOENT) /* a kernel without control groups */
                return task_lives(task_fd);
        if (r >= 0)
                r = cgroup_effective_cpus(&host->cgroups, host->root_fd, membership, &cpus);
        if (r == 0)
                *ret = intern(host, &cpus);
        return r < 0 ? r : 0;
}

static int read_vcpu(RealHost *host, SeenVcpu *vcpu, int32_t tid, const TaskStat *stat, int *task_fd) {
        SeenVcpu seen = {.fact = vcpu->fact,
                         .number = vcpu->number,
                         .last_ran = stat->last_ran,
                         .tid = tid,
                         .start_ticks = stat->start_ticks};
        int r;

        /* Two of a name: one is just ending, and the younger is the vCPU. */
        if (vcpu->tid && vcpu->start_ticks > stat->start_ticks)
                return 0;
        r = read_cpuset(host, *task_fd, &seen.cpuset);
        if (r == 0)
                r = read_mask(host, tid, *task_fd, &seen.mask);
        if (r < 0)
                return passing(r);
        release_fd(host, &vcpu->fd);
        seen.fd = keep_fd(host, task_fd);
        *vcpu = seen;
        return 0;
}

static int add_helper(RealHost *host, VmRecord *record, int32_t tid, const TaskStat *stat, int task_fd) {
        SeenHelper helper = {.tid = tid, .start_ticks = stat->start_ticks};
        int r = read_mask(host, tid, task_fd, &helper.mask);

        if (r < 0)
                return passing(r);
        if (record->n_helpers == record->helpers_room) {
                unsigned room = record->helpers_room ? 2 * record->helpers_room : 8;
                SeenHelper *grown = reallocarray(record->helper, room, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                record->helper = grown;
                record->helpers_room = room;
        }
        helper.kind = tid == record->pid ? HELPER_EMULATOR : comm_helper_kind(stat->comm);
        record->helper[record->n_helpers++] = helper;
        return 0;
}

/* A vCPU thread whose number libvirt does not name is neither vCPU nor helper:
 * it is being plugged or unplugged. */
static int read_thread(RealHost *host, VmRecord *record, int task_fd, const char *name) {
        AUTO_CLOSE int fd = openat(task_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int32_t tid = (int32_t)strtol(name, NULL, 10);
        TaskStat stat;
        int r, number;

        if (fd < 0)
                return passing(-errno);
        r = task_stat_read(fd, &stat);
        if (r < 0)
                return passing(r);
        number = comm_vcpu_number(stat.comm);
        if (number < 0)
                return add_helper(host, record, tid, &stat, fd);
        SeenVcpu *vcpu = find_vcpu(record, number);
        if (vcpu)
                return read_vcpu(host, vcpu, tid, &stat, &fd);
        record->n_unlisted++;
        return 0;
}

static bool is_known_vcpu(const VmRecord *record, int32_t tid) {
        for (unsigned i = 0; i < record->n_vcpus; i++)
                if (record->vcpu[i].tid == tid)
                        return true;
        return false;
}

/* Reads every thread that is not known as a vCPU. The links are counted first,
 * so that a thread started meanwhile shows as a difference next time. */
static int read_threads(RealHost *host, VmRecord *record, int task_fd) {
        int fd = openat(task_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        AUTO_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        struct stat st;

        if (!dir) {
                r = -errno;
                if (fd >= 0)
                        close(fd);
                return r;
        }
        if (fstat(task_fd, &st) < 0)
                return -errno;
        record->n_links = st.st_nlink;
        record->n_helpers = 0;
        record->n_unlisted = 0;
        while (r == 0 && (entry = readdir(dir)))
                if (entry->d_name[0] != '.' &&
                    !is_known_vcpu(record, (int32_t)strtol(entry->d_name, NULL, 10)))
                        r = read_thread(host, record, task_fd, entry->d_name);
        return r;
}

/* Without a way to signal into a fixture, its mount table says whether /proc
 * hides processes. */
static bool is_hidden(const RealHost *host, int32_t pid) {
        char mounts[16 * 1024];

        if (!host->is_fixture)
                return kill(pid, 0) == 0 || errno == EPERM;
        return file_read_at(host->root_fd, "proc/self/mounts", mounts, sizeof(mounts)) > 0 &&
               strstr(mounts, "hidepid=");
}

/* Opens /proc/PID and checks that it is the VM's. Condition or error in *ret. */
static int open_process(RealHost *host, const VmFact *fact, VmRecord *record, int *ret_fd, VmSight *ret) {
        AUTO_CLOSE int fd = -1;
        char path[32];
        TaskStat stat;
        int r;

        *ret = SIGHT_NO_PID;
        r = pid_file_read(host, fact->name, &record->pid);
        if (r < 0)
                return passing(r);
        snprintf(path, sizeof(path), "proc/%d", record->pid);
        fd = openat(host->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = fd < 0 ? -errno : task_stat_read(fd, &stat);
        if (r < 0) {
                *ret = is_hidden(host, record->pid) ? SIGHT_HIDDEN : sight_of(r);
                return passing(r);
        }
        *ret = SIGHT_NO_PROCESS;
        if (stat.state == 'Z' || stat.state == 'X')
                return 0;
        r = process_has_uuid(fd, fact->uuid);
        *ret = r < 0 ? sight_of(r) : r == 0 ? SIGHT_STRANGER : SIGHT_OK;
        if (r == 1)
                record->start_ticks = stat.start_ticks;
        *ret_fd = steal_fd(&fd);
        return passing(r < 0 ? r : 0);
}

static bool same_process(const VmRecord *a, const VmRecord *b) {
        return a && a->pid == b->pid && a->start_ticks == b->start_ticks;
}

static MemorySeen where_it_runs(const VmRecord *record, const Topology *topology) {
        int16_t cpu[VM_VCPUS_MAX];

        for (unsigned i = 0; i < record->n_vcpus; i++)
                cpu[i] = record->vcpu[i].last_ran;
        return memory_from_cpus(topology, cpu, record->n_vcpus);
}

/* Where it first ran is remembered: later it runs where it was put. */
static void read_memory(RealHost *host, VmRecord *record, const VmFact *fact, const Topology *topology,
                        const VmRecord *previous, int process_fd) {
        record->first_ran = same_process(previous, record) && previous->first_ran.source != MEM_UNKNOWN
                                    ? previous->first_ran
                                    : where_it_runs(record, topology);
        record->memory = memory_from_numatune(fact);
        if (record->memory.source == MEM_UNKNOWN)
                record->memory = memory_from_cgroup(&host->cgroups, host->root_fd, process_fd);
        if (record->memory.source == MEM_UNKNOWN)
                record->memory = record->first_ran;
        record->devices = devices_read(host->root_fd, fact);
}

static bool has_threads(const VmRecord *record) {
        for (unsigned i = 0; i < record->n_vcpus; i++)
                if (record->vcpu[i].tid)
                        return true;
        return record->n_vcpus == 0;
}

static int look(RealHost *host, const VmFact *fact, const Topology *topology, const VmRecord *previous,
                VmRecord *record) {
        AUTO_CLOSE int process_fd = -1, task_fd = -1;
        int r;

        r = open_process(host, fact, record, &process_fd, &record->sight);
        if (r < 0 || record->sight != SIGHT_OK)
                return r;
        task_fd = openat(process_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = task_fd < 0 ? -errno : read_threads(host, record, task_fd);
        if (r < 0) {
                record->sight = sight_of(r);
                return passing(r);
        }
        if (!has_threads(record))
                record->sight = SIGHT_NO_THREADS;
        read_memory(host, record, fact, topology, previous, process_fd);
        record->task_fd = keep_fd(host, &task_fd);
        return 0;
}

int vm_record_read(RealHost *host, const VmFact *fact, const Topology *topology, const VmRecord *previous,
                   VmRecord **ret) {
        VmRecord *record = calloc(1, sizeof(*record));
        bool over_limit = fact->over_limit || fact->n_vcpus > VM_VCPUS_MAX;
        int r = 0;

        if (!record)
                return -ENOMEM;
        record->task_fd = -1;
        record->generation = fact->generation;
        snprintf(record->uuid, sizeof(record->uuid), "%s", fact->uuid);
        if (over_limit)
                record->sight = SIGHT_LIMIT;
        else
                r = make_vcpus(record, fact);
        if (r == 0 && fact->starting && !over_limit)
                record->sight = SIGHT_STARTING;
        else if (r == 0 && !over_limit)
                r = look(host, fact, topology, previous, record);
        if (r < 0) {
                vm_record_free(host, record);
                return r;
        }
        *ret = record;
        return 0;
}

static bool vcpu_holds(RealHost *host, const SeenVcpu *vcpu, const VmFact *fact) {
        const CpuSet *known = pool_get(host->pool, vcpu->mask);
        CpuSet mask;

        return vcpu->fd >= 0 && known && fact->vcpu[vcpu->fact].number == vcpu->number &&
               affinity_read(host, vcpu->tid, vcpu->fd, &mask) == 0 && cpuset_equal(&mask, known) &&
               task_lives(vcpu->fd) == 0;
}

/* A hint, by number alone: whoever has a helper's number now, a mask that differs
 * makes us read the helpers anew. */
static bool helpers_hold(const RealHost *host, const VmRecord *record) {
        CpuSet mask;

        for (unsigned i = 0; i < record->n_helpers && !host->is_fixture; i++) {
                const SeenHelper *helper = &record->helper[i];
                const CpuSet *known = pool_get(host->pool, helper->mask);

                if (!known || affinity_read(host, helper->tid, -1, &mask) < 0 || !cpuset_equal(&mask, known))
                        return false;
        }
        return true;
}

bool vm_record_holds(RealHost *host, VmRecord *record, const VmFact *fact, Look look) {
        struct stat st;

        if (record->sight != SIGHT_OK || record->task_fd < 0 || fact->starting ||
            fact->generation != record->generation || fact->n_vcpus != record->n_vcpus)
                return false;
        if (record->written) /* vCPUs or helpers */
                look = LOOK_HELPERS;
        else if (look == LOOK_NEWS)
                return true;
        if (fstat(record->task_fd, &st) < 0)
                return false;
        for (unsigned i = 0; i < record->n_vcpus; i++)
                if (!vcpu_holds(host, &record->vcpu[i], fact))
                        return false;
        record->written = false;
        return (st.st_nlink == record->n_links && (look < LOOK_HELPERS || helpers_hold(host, record))) ||
               read_threads(host, record, record->task_fd) == 0;
}

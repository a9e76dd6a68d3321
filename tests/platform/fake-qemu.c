/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A process that looks like QEMU to whoever reads /proc: it has -name and -uuid
 * in its arguments, one thread "CPU n/KVM" for each vCPU, "IO iothreadN", and
 * other helpers. It dies with its parent, unless -keep is given.
 *
 *   fake-qemu -name guest=vm1,debug-threads=on -uuid UUID [-smp N] [-first N]
 *             [-accel kvm|tcg] [-iothreads N] [-workers N] [-spin]
 *             [-pidfile FILE] [-stdin] [-keep] [-append ANYTHING]
 *
 * With FAKE_QEMU_LENIENT in the environment, words that it does not know are
 * passed over, so that it can have the command line of a real QEMU.
 * -first: number of the first vCPU. -spin: vCPUs burn CPU, else they sleep.
 * The pid file appears once all threads have their names. With -stdin it obeys
 * lines, answers each with a line, and exits at their end:
 *   stop N     vCPU thread N ends           -> ok
 *   start N    vCPU thread N starts         -> its thread id
 *   comm N TEXT   vCPU thread N is renamed  -> ok
 *   worker     one more worker thread       -> its thread id
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS_MAX = 8192, STACK_BYTES = 64 * 1024 };

typedef struct FakeThread {
        pthread_t thread;
        char comm[16];
        bool spin;
        atomic_int tid; /* 0 until it has its name */
        atomic_bool stop;
} FakeThread;

static FakeThread vcpus[THREADS_MAX], helpers[THREADS_MAX];
static unsigned n_helpers;

static void die(const char *what) {
        fprintf(stderr, "fake-qemu: %s\n", what);
        exit(2);
}

static void wake(int sig) {
        (void)sig;
}

static void *thread_main(void *arg) {
        FakeThread *self = arg;
        struct timespec second = {.tv_sec = 1};

        prctl(PR_SET_NAME, self->comm);
        atomic_store(&self->tid, (int)syscall(SYS_gettid));
        while (!atomic_load(&self->stop))
                if (!self->spin)
                        nanosleep(&second, NULL);
        return NULL;
}

static int thread_start(FakeThread *self, const char *comm, bool spin) {
        pthread_attr_t attr;

        snprintf(self->comm, sizeof(self->comm), "%s", comm);
        self->spin = spin;
        atomic_store(&self->tid, 0);
        atomic_store(&self->stop, false);
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, STACK_BYTES);
        if (pthread_create(&self->thread, &attr, thread_main, self) != 0)
                die("out of threads");
        pthread_attr_destroy(&attr);
        while (!atomic_load(&self->tid))
                usleep(100);
        return atomic_load(&self->tid);
}

/* Joining returns a moment before the thread has left /proc. */
static void thread_stop(FakeThread *self) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/task/%d", atomic_load(&self->tid));
        atomic_store(&self->stop, true);
        pthread_kill(self->thread, SIGUSR1);
        pthread_join(self->thread, NULL);
        while (access(path, F_OK) == 0)
                usleep(100);
        atomic_store(&self->tid, 0);
}

static int helper_start(const char *comm) {
        if (n_helpers == THREADS_MAX)
                die("too many helpers");
        return thread_start(&helpers[n_helpers++], comm, false);
}

static int thread_rename(FakeThread *self, const char *comm) {
        char path[64];
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%d/comm", atomic_load(&self->tid));
        file = fopen(path, "we");
        if (!file || fputs(comm, file) < 0 || fclose(file) != 0)
                die("a thread can not be renamed");
        return 0;
}

static void write_pid_file(const char *path) {
        char temporary[4096];
        FILE *file;

        snprintf(temporary, sizeof(temporary), "%s.new", path);
        file = fopen(temporary, "we");
        if (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file) != 0 ||
            rename(temporary, path) != 0)
                die("the pid file can not be written");
}

static void obey(const char *accel, bool spin) {
        char line[256], text[128], comm[32];
        unsigned n;

        setvbuf(stdout, NULL, _IOLBF, 0);
        while (fgets(line, sizeof(line), stdin)) {
                if (sscanf(line, "stop %u", &n) == 1 && n < THREADS_MAX) {
                        thread_stop(&vcpus[n]);
                        puts("ok");
                } else if (sscanf(line, "start %u", &n) == 1 && n < THREADS_MAX) {
                        snprintf(comm, sizeof(comm), "CPU %u/%s", n, accel);
                        printf("%d\n", thread_start(&vcpus[n], comm, spin));
                } else if (sscanf(line, "comm %u %127[^\n]", &n, text) == 2 && n < THREADS_MAX) {
                        thread_rename(&vcpus[n], text);
                        puts("ok");
                } else if (strcmp(line, "worker\n") == 0)
                        printf("%d\n", helper_start("worker"));
                else
                        puts("what?");
        }
}

typedef struct Options {
        unsigned n_vcpus, first, iothreads, workers;
        const char *accel, *pid_file;
        bool spin, obey, keep;
} Options;

/* Takes the option at argv[0]; returns how many arguments it was. */
static int take_option(Options *o, char **argv) {
        const char *name = argv[0], *value = argv[1];
        bool lenient = getenv("FAKE_QEMU_LENIENT");

        if (strcmp(name, "-spin") == 0)
                return o->spin = true;
        if (strcmp(name, "-stdin") == 0)
                return o->obey = true;
        if (strcmp(name, "-keep") == 0)
                return o->keep = true;
        if (!value && lenient)
                return 1;
        if (!value)
                die("an option lacks its value");
        if (strcmp(name, "-smp") == 0)
                o->n_vcpus = (unsigned)atoi(value);
        else if (strcmp(name, "-first") == 0)
                o->first = (unsigned)atoi(value);
        else if (strcmp(name, "-iothreads") == 0)
                o->iothreads = (unsigned)atoi(value);
        else if (strcmp(name, "-workers") == 0)
                o->workers = (unsigned)atoi(value);
        else if (strcmp(name, "-accel") == 0)
                o->accel = strcmp(value, "tcg") == 0 ? "TCG" : "KVM";
        else if (strcmp(name, "-pidfile") == 0)
                o->pid_file = value;
        else if (strcmp(name, "-name") != 0 && strcmp(name, "-uuid") != 0 && strcmp(name, "-append") != 0) {
                if (lenient)
                        return 1;
                die("unknown option");
        }
        return 2;
}

int main(int argc, char **argv) {
        Options o = {.n_vcpus = 1, .accel = "KVM"};
        char comm[32];

        for (int i = 1; i < argc;)
                i += take_option(&o, argv + i);
        if (o.first + o.n_vcpus > THREADS_MAX)
                die("too many vCPUs");
        if (!o.keep)
                prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGUSR1, wake);
        for (unsigned i = o.first; i < o.first + o.n_vcpus; i++) {
                snprintf(comm, sizeof(comm), "CPU %u/%s", i, o.accel);
                thread_start(&vcpus[i], comm, o.spin);
        }
        for (unsigned i = 1; i <= o.iothreads; i++) {
                snprintf(comm, sizeof(comm), "IO iothread%u", i);
                helper_start(comm);
        }
        for (unsigned i = 0; i < o.workers; i++)
                helper_start("worker");
        if (o.pid_file)
                write_pid_file(o.pid_file);
        if (o.obey) {
                obey(o.accel, o.spin);
                return 0;
        }
        for (;;)
                pause();
}

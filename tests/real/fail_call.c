/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into vas-daemon: its call number VAS_FAIL_AT fails, of those that can.
 * Counted are the calls that the program itself makes, told by where they return
 * to, not those that one library makes of another. With VAS_FAIL_KILL the process
 * is killed there instead. The file VAS_FAIL_NOTE gets the name of the call that
 * was struck, and how many there were.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libvirt/libvirt.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static uintptr_t program_start, program_end;
static unsigned fail_at;
static bool kills;
static atomic_uint n_calls;

static int find_program(struct dl_phdr_info *info, size_t size, void *data) {
        (void)size, (void)data;
        for (unsigned i = 0; i < info->dlpi_phnum; i++)
                if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
                        program_start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                        program_end = program_start + info->dlpi_phdr[i].p_memsz;
                }
        return 1; /* the first one is the program */
}

/* Without the C library's files: these are what is counted. */
static void note(const char *call, unsigned n) {
        const char *path = getenv("VAS_FAIL_NOTE");
        int (*real)(const char *, int, ...) = NULL;
        char line[128];

        *(void **)&real = dlsym(RTLD_NEXT, "open64");
        int fd = path ? real(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
        if (fd < 0)
                return;
        snprintf(line, sizeof(line), "%s %u\n", call, n);
        ssize_t (*put)(int, const void *, size_t) = NULL;
        *(void **)&put = dlsym(RTLD_NEXT, "write");
        (void)!put(fd, line, strlen(line));
        close(fd);
}

static __attribute__((constructor)) void begin(void) {
        const char *at = getenv("VAS_FAIL_AT");

        kills = getenv("VAS_FAIL_KILL");
        dl_iterate_phdr(find_program, NULL);
        fail_at = at ? (unsigned)atoi(at) : 0;
}

static __attribute__((destructor)) void end(void) {
        note("calls", atomic_load(&n_calls));
}

static bool struck(const char *call, void *from) {
        if ((uintptr_t)from < program_start || (uintptr_t)from >= program_end)
                return false;
        unsigned n = atomic_fetch_add(&n_calls, 1) + 1;
        if (n != fail_at)
                return false;
        note(call, n);
        if (kills)
                kill(getpid(), SIGKILL);
        return true;
}

#define FROM __builtin_return_address(0)

#define CALL(type, name, parameters, arguments, bad, error)                                                  \
        type name parameters {                                                                               \
                static type(*real) parameters;                                                               \
                if (struck(#name, FROM)) {                                                                   \
                        errno = error;                                                                       \
                        return bad;                                                                          \
                }                                                                                            \
                if (!real)                                                                                   \
                        *(void **)&real = dlsym(RTLD_NEXT, #name);                                           \
                return real arguments;                                                                       \
        }

#define ALLOCATION(name, parameters, arguments)                                                              \
        void *name parameters {                                                                              \
                if (struck(#name, FROM)) {                                                                   \
                        errno = ENOMEM;                                                                      \
                        return NULL;                                                                         \
                }                                                                                            \
                return __libc_##name arguments;                                                              \
        }

ALLOCATION(malloc, (size_t n), (n))
ALLOCATION(calloc, (size_t n, size_t size), (n, size))
ALLOCATION(realloc, (void *p, size_t n), (p, n))

CALL(char *, strdup, (const char *text), (text), NULL, ENOMEM)
CALL(FILE *, fopen64, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
CALL(FILE *, open_memstream, (char **text, size_t *size), (text, size), NULL, ENOMEM)
CALL(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM)
CALL(struct dirent64 *, readdir64, (DIR * dir), (dir), NULL, EIO)
CALL(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n), -1, EIO)
CALL(ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at), -1, EIO)
CALL(ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at), -1, ENOSPC)
CALL(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n), -1, ENOSPC)
CALL(int, fsync, (int fd), (fd), -1, EIO)
CALL(int, rename, (const char *from, const char *to), (from, to), -1, ENOSPC)
CALL(int, unlink, (const char *path), (path), -1, EROFS)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC)
CALL(int, chmod, (const char *path, mode_t mode), (path, mode), -1, EPERM)
CALL(int, flock, (int fd, int operation), (fd, operation), -1, ENOLCK)
CALL(int, ftruncate64, (int fd, off64_t length), (fd, length), -1, EIO)
CALL(int, fstat64, (int fd, struct stat64 *ret), (fd, ret), -1, EIO)
CALL(int, stat64, (const char *path, struct stat64 *ret), (path, ret), -1, EIO)
CALL(int, lstat64, (const char *path, struct stat64 *ret), (path, ret), -1, EIO)
CALL(int, access, (const char *path, int mode), (path, mode), -1, EIO)
CALL(int, faccessat, (int fd, const char *path, int mode, int flags), (fd, path, mode, flags), -1, ENOMEM)
CALL(int, eventfd, (unsigned n, int flags), (n, flags), -1, EMFILE)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE)
CALL(int, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), -1, EACCES)
CALL(int, listen, (int fd, int n), (fd, n), -1, EADDRINUSE)
CALL(int, accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags), (fd, address, size, flags),
     -1, EMFILE)
CALL(int, getsockopt, (int fd, int level, int name, void *to, socklen_t *size), (fd, level, name, to, size),
     -1, ENOBUFS)
CALL(ssize_t, recv, (int fd, void *to, size_t n, int flags), (fd, to, n, flags), -1, ECONNRESET)
CALL(ssize_t, send, (int fd, const void *from, size_t n, int flags), (fd, from, n, flags), -1, EPIPE)
CALL(int, sched_getaffinity, (pid_t tid, size_t size, cpu_set_t *ret), (tid, size, ret), -1, EINVAL)
CALL(int, sched_setaffinity, (pid_t tid, size_t size, const cpu_set_t *mask), (tid, size, mask), -1, EPERM)
CALL(int, pthread_create, (pthread_t * ret, const pthread_attr_t *how, void *(*run)(void *), void *arg),
     (ret, how, run, arg), EAGAIN, 0)

CALL(int, sd_event_default, (sd_event * *ret), (ret), -ENOMEM, 0)
CALL(int, sd_event_add_io,
     (sd_event * e, sd_event_source **ret, int fd, uint32_t events, sd_event_io_handler_t f, void *data),
     (e, ret, fd, events, f, data), -ENOMEM, 0)
CALL(int, sd_event_add_signal,
     (sd_event * e, sd_event_source **ret, int number, sd_event_signal_handler_t f, void *data),
     (e, ret, number, f, data), -ENOMEM, 0)
CALL(int, sd_event_add_defer, (sd_event * e, sd_event_source **ret, sd_event_handler_t f, void *data),
     (e, ret, f, data), -ENOMEM, 0)
CALL(int, sd_event_add_time_relative,
     (sd_event * e, sd_event_source **ret, clockid_t clock, uint64_t usec, uint64_t accuracy,
      sd_event_time_handler_t f, void *data),
     (e, ret, clock, usec, accuracy, f, data), -ENOMEM, 0)

CALL(json_t *, json_array, (void), (), NULL, ENOMEM)
CALL(json_t *, json_object, (void), (), NULL, ENOMEM)
CALL(json_t *, json_string, (const char *text), (text), NULL, ENOMEM)
CALL(json_t *, json_string_nocheck, (const char *text), (text), NULL, ENOMEM)
CALL(json_t *, json_integer, (json_int_t n), (n), NULL, ENOMEM)
CALL(char *, json_dumps, (const json_t *json, size_t flags), (json, flags), NULL, ENOMEM)
CALL(json_t *, json_loadb, (const char *from, size_t n, size_t flags, json_error_t *error),
     (from, n, flags, error), NULL, ENOMEM)

CALL(virConnectPtr, virConnectOpenReadOnly, (const char *uri), (uri), NULL, 0)
CALL(int, virConnectListAllDomains, (virConnectPtr c, virDomainPtr **ret, unsigned flags), (c, ret, flags),
     -1, 0)
CALL(char *, virDomainGetXMLDesc, (virDomainPtr d, unsigned flags), (d, flags), NULL, 0)
CALL(int, virDomainGetVcpuPinInfo, (virDomainPtr d, int n, unsigned char *maps, int length, unsigned flags),
     (d, n, maps, length, flags), -1, 0)
CALL(int, virConnectDomainEventRegisterAny,
     (virConnectPtr c, virDomainPtr d, int event, virConnectDomainEventGenericCallback f, void *data,
      virFreeCallback done),
     (c, d, event, f, data, done), -1, 0)
CALL(int, virConnectSetKeepAlive, (virConnectPtr c, int seconds, unsigned n), (c, seconds, n), -1, 0)

json_t *json_pack(const char *format, ...) {
        bool hit = struck("json_pack", FROM);
        json_error_t error;
        va_list args;

        va_start(args, format);
        json_t *json = json_vpack_ex(&error, 0, format, args);
        va_end(args);
        if (!hit)
                return json;
        json_decref(json); /* with what it was given to pack */
        return NULL;
}

int asprintf(char **ret, const char *format, ...) {
        va_list args;

        if (struck("asprintf", FROM))
                return -1;
        va_start(args, format);
        int n = vasprintf(ret, format, args);
        va_end(args);
        return n;
}

static mode_t mode_of(int flags, va_list args) {
        return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

int open64(const char *path, int flags, ...) {
        static int (*real)(const char *, int, ...);
        va_list args;

        if (struck("open", FROM)) {
                errno = EMFILE;
                return -1;
        }
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "open64");
        va_start(args, flags);
        int fd = real(path, flags, mode_of(flags, args));
        va_end(args);
        return fd;
}

int openat64(int dir, const char *path, int flags, ...) {
        static int (*real)(int, const char *, int, ...);
        va_list args;

        if (struck("openat", FROM)) {
                errno = EMFILE;
                return -1;
        }
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "openat64");
        va_start(args, flags);
        int fd = real(dir, path, flags, mode_of(flags, args));
        va_end(args);
        return fd;
}

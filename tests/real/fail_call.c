/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into vas-daemon: one of its calls fails, or it is killed there
 * (strike.c: which one). A call fails as the real one does, with its errno or its
 * library's error. Left out is what can fail only when it is called wrongly
 * (sd_event_source_set_time), what has no failure (free), and writes into a
 * memory stream, which show when it is closed.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <hwloc.h>
#include <ini.h>
#include <jansson.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <mntent.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "strike.h"

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

#define REAL(real, name)                                                                                     \
        do {                                                                                                 \
                if (!(real))                                                                                 \
                        *(void **)&(real) = dlsym(RTLD_NEXT, name);                                          \
        } while (0)

/* excuse: a statement that leaves the reason where the caller looks for it. */
#define INTERPOSE(type, name, parameters, arguments, bad, excuse)                                            \
        type name parameters {                                                                               \
                static type(*real) parameters;                                                               \
                bool hit = struck(#name, FROM);                                                              \
                if (fails(hit)) {                                                                            \
                        excuse;                                                                              \
                        return bad;                                                                          \
                }                                                                                            \
                REAL(real, #name);                                                                           \
                type result = real arguments;                                                                \
                after(hit);                                                                                  \
                return result;                                                                               \
        }

#define CALL(type, name, parameters, arguments, bad, error)                                                  \
        INTERPOSE(type, name, parameters, arguments, bad, errno = error)

#define ALLOCATION(name, parameters, arguments)                                                              \
        void *name parameters {                                                                              \
                bool hit = struck(#name, FROM);                                                              \
                if (fails(hit)) {                                                                            \
                        errno = ENOMEM;                                                                      \
                        return NULL;                                                                         \
                }                                                                                            \
                void *result = __libc_##name arguments;                                                      \
                after(hit);                                                                                  \
                return result;                                                                               \
        }

static void no_memory(json_error_t *error) {
        *error = (json_error_t){.line = 1, .text = "no memory"};
        error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
}

ALLOCATION(malloc, (size_t n), (n))
ALLOCATION(calloc, (size_t n, size_t size), (n, size))
ALLOCATION(realloc, (void *p, size_t n), (p, n))

CALL(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), NULL, ENOMEM)
CALL(char *, strdup, (const char *text), (text), NULL, ENOMEM)
CALL(char *, strndup, (const char *text, size_t n), (text, n), NULL, ENOMEM)
CALL(int, vasprintf, (char **ret, const char *format, va_list args), (ret, format, args), -1, ENOMEM)
CALL(FILE *, fopen64, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
CALL(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL, ENOMEM)
CALL(FILE *, open_memstream, (char **text, size_t *size), (text, size), NULL, ENOMEM)
CALL(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM)
CALL(int, scandir64,
     (const char *path, struct dirent64 ***ret, int (*wanted)(const struct dirent64 *),
      int (*compare)(const struct dirent64 **, const struct dirent64 **)),
     (path, ret, wanted, compare), -1, ENOMEM)
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
CALL(int, eventfd_write, (int fd, eventfd_t n), (fd, n), -1, EAGAIN)
CALL(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), -1, ENOMEM)
CALL(int, nanosleep, (const struct timespec *wanted, struct timespec *left), (wanted, left), -1, EINTR)
CALL(int, getrlimit64, (__rlimit_resource_t what, struct rlimit64 *ret), (what, ret), -1, EPERM)
CALL(int, setrlimit64, (__rlimit_resource_t what, const struct rlimit64 *limit), (what, limit), -1, EPERM)
CALL(int, setenv, (const char *name, const char *value, int over), (name, value, over), -1, ENOMEM)
CALL(struct group *, fgetgrent, (FILE * file), (file), NULL, EIO)
CALL(struct mntent *, getmntent_r, (FILE * file, struct mntent *ret, char *buffer, int size),
     (file, ret, buffer, size), NULL, EIO)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE)
CALL(int, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), -1, EACCES)
CALL(int, connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), -1, EACCES)
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
CALL(int, pthread_attr_init, (pthread_attr_t * ret), (ret), ENOMEM, 0)
CALL(int, pthread_cond_init, (pthread_cond_t * ret, const pthread_condattr_t *how), (ret, how), EAGAIN, 0)
CALL(int, pthread_setname_np, (pthread_t thread, const char *name), (thread, name), EIO, 0)

CALL(int, sd_event_default, (sd_event * *ret), (ret), -ENOMEM, 0)
CALL(int, sd_event_add_io,
     (sd_event * e, sd_event_source **ret, int fd, uint32_t events, sd_event_io_handler_t f, void *data),
     (e, ret, fd, events, f, data), -ENOMEM, 0)
CALL(int, sd_event_add_signal,
     (sd_event * e, sd_event_source **ret, int number, sd_event_signal_handler_t f, void *data),
     (e, ret, number, f, data), -ENOMEM, 0)
CALL(int, sd_event_add_defer, (sd_event * e, sd_event_source **ret, sd_event_handler_t f, void *data),
     (e, ret, f, data), -ENOMEM, 0)
CALL(int, sd_event_add_time,
     (sd_event * e, sd_event_source **ret, clockid_t clock, uint64_t usec, uint64_t accuracy,
      sd_event_time_handler_t f, void *data),
     (e, ret, clock, usec, accuracy, f, data), -ENOMEM, 0)
CALL(int, sd_event_add_time_relative,
     (sd_event * e, sd_event_source **ret, clockid_t clock, uint64_t usec, uint64_t accuracy,
      sd_event_time_handler_t f, void *data),
     (e, ret, clock, usec, accuracy, f, data), -ENOMEM, 0)

CALL(int, sd_event_source_set_io_events, (sd_event_source * source, uint32_t events), (source, events),
     -ENOMEM, 0)
CALL(int, sd_event_set_watchdog, (sd_event * e, int on), (e, on), -ENOMEM, 0)
CALL(int, sd_event_loop, (sd_event * e), (e), -ENOMEM, 0)
CALL(int, sd_notify, (int unset, const char *state), (unset, state), -ECONNREFUSED, 0)

/* The kernel can refuse to wait for a descriptor; for all else nobody is asked. */
int sd_event_source_set_enabled(sd_event_source *source, int enabled) {
        static int (*real)(sd_event_source *, int);
        bool asks = enabled != SD_EVENT_OFF && sd_event_source_get_io_fd(source) >= 0;
        bool hit = asks && struck("sd_event_source_set_enabled", FROM);

        if (fails(hit))
                return -ENOMEM;
        REAL(real, "sd_event_source_set_enabled");
        int r = real(source, enabled);
        after(hit);
        return r;
}

CALL(json_t *, json_array, (void), (), NULL, ENOMEM)
CALL(json_t *, json_object, (void), (), NULL, ENOMEM)
CALL(json_t *, json_string, (const char *text), (text), NULL, ENOMEM)
CALL(json_t *, json_string_nocheck, (const char *text), (text), NULL, ENOMEM)
CALL(json_t *, json_integer, (json_int_t n), (n), NULL, ENOMEM)
CALL(json_t *, json_real, (double n), (n), NULL, ENOMEM)
CALL(char *, json_dumps, (const json_t *json, size_t flags), (json, flags), NULL, ENOMEM)
CALL(int, json_dumpf, (const json_t *json, FILE *file, size_t flags), (json, file, flags), -1, ENOMEM)
CALL(int, json_object_update, (json_t * object, json_t *more), (object, more), -1, ENOMEM)
INTERPOSE(json_t *, json_loadb, (const char *from, size_t n, size_t flags, json_error_t *error),
          (from, n, flags, error), NULL, no_memory(error))
INTERPOSE(json_t *, json_loadf, (FILE * file, size_t flags, json_error_t *error), (file, flags, error), NULL,
          no_memory(error))
/* These take what they are given also when they fail. */
INTERPOSE(int, json_array_append_new, (json_t * array, json_t *value), (array, value), -1, json_decref(value))
INTERPOSE(int, json_object_set_new, (json_t * object, const char *key, json_t *value), (object, key, value),
          -1, json_decref(value))

CALL(int, hwloc_topology_init, (hwloc_topology_t * ret), (ret), -1, ENOMEM)
CALL(int, hwloc_topology_load, (hwloc_topology_t topology), (topology), -1, ENOMEM)
CALL(hwloc_bitmap_t, hwloc_bitmap_alloc, (void), (), NULL, ENOMEM)
CALL(int, ini_parse_string, (const char *text, ini_handler f, void *data), (text, f, data), -2, ENOMEM)
CALL(xmlParserCtxtPtr, xmlNewParserCtxt, (void), (), NULL, ENOMEM)
CALL(xmlChar *, xmlNodeGetContent, (const xmlNode *node), (node), NULL, ENOMEM)
INTERPOSE(xmlDocPtr, xmlCtxtReadMemory,
          (xmlParserCtxtPtr context, const char *text, int n, const char *url, const char *encoding,
           int options),
          (context, text, n, url, encoding, options), NULL, context->lastError.code = XML_ERR_NO_MEMORY)

/* Libvirt's own error of a thread can not be set: that its last call failed is known here. */
static _Thread_local bool libvirt_failed;

int virGetLastErrorCode(void) {
        static int (*real)(void);

        REAL(real, "virGetLastErrorCode");
        return libvirt_failed ? VIR_ERR_INTERNAL_ERROR : real();
}

const char *virGetLastErrorMessage(void) {
        static const char *(*real)(void);

        REAL(real, "virGetLastErrorMessage");
        return libvirt_failed ? "a call that was made to fail" : real();
}

#define VIRT(type, name, parameters, arguments, bad)                                                         \
        type name parameters {                                                                               \
                static type(*real) parameters;                                                               \
                bool hit = struck(#name, FROM);                                                              \
                libvirt_failed = fails(hit);                                                                 \
                if (libvirt_failed)                                                                          \
                        return bad;                                                                          \
                REAL(real, #name);                                                                           \
                type result = real arguments;                                                                \
                after(hit);                                                                                  \
                return result;                                                                               \
        }

/* Called before libvirt can say why. */
CALL(int, virInitialize, (void), (), -1, ENOMEM)
VIRT(int, virEventRegisterDefaultImpl, (void), (), -1)
VIRT(int, virEventRunDefaultImpl, (void), (), -1)
VIRT(int, virEventAddHandle, (int fd, int events, virEventHandleCallback f, void *data, virFreeCallback done),
     (fd, events, f, data, done), -1)
VIRT(int, virConnectGetLibVersion, (virConnectPtr c, unsigned long *ret), (c, ret), -1)
VIRT(int, virConnectIsAlive, (virConnectPtr c), (c), -1)
VIRT(int, virConnectListDomains, (virConnectPtr c, int *ids, int n), (c, ids, n), -1)
VIRT(int, virConnectRegisterCloseCallback,
     (virConnectPtr c, virConnectCloseFunc f, void *data, virFreeCallback done), (c, f, data, done), -1)
VIRT(virDomainPtr, virDomainLookupByUUID, (virConnectPtr c, const unsigned char *uuid), (c, uuid), NULL)
VIRT(int, virDomainGetState, (virDomainPtr d, int *state, int *reason, unsigned flags),
     (d, state, reason, flags), -1)
VIRT(int, virDomainIsActive, (virDomainPtr d), (d), -1)
VIRT(virConnectPtr, virConnectOpenReadOnly, (const char *uri), (uri), NULL)
VIRT(int, virConnectListAllDomains, (virConnectPtr c, virDomainPtr **ret, unsigned flags), (c, ret, flags),
     -1)
VIRT(char *, virDomainGetXMLDesc, (virDomainPtr d, unsigned flags), (d, flags), NULL)
VIRT(int, virDomainGetVcpuPinInfo, (virDomainPtr d, int n, unsigned char *maps, int length, unsigned flags),
     (d, n, maps, length, flags), -1)
VIRT(int, virConnectDomainEventRegisterAny,
     (virConnectPtr c, virDomainPtr d, int event, virConnectDomainEventGenericCallback f, void *data,
      virFreeCallback done),
     (c, d, event, f, data, done), -1)
VIRT(int, virConnectSetKeepAlive, (virConnectPtr c, int seconds, unsigned n), (c, seconds, n), -1)

json_t *json_pack(const char *format, ...) {
        bool hit = struck("json_pack", FROM);
        json_error_t error;
        va_list args;

        va_start(args, format);
        json_t *json = json_vpack_ex(&error, 0, format, args);
        va_end(args);
        after(hit);
        if (!fails(hit))
                return json;
        json_decref(json); /* with what it was given to pack */
        return NULL;
}

int asprintf(char **ret, const char *format, ...) {
        bool hit = struck("asprintf", FROM);
        va_list args;

        if (fails(hit))
                return -1;
        va_start(args, format);
        int n = vasprintf(ret, format, args);
        va_end(args);
        after(hit);
        return n;
}

/* The stream of which the last read failed; libc's own mark on it can not be set. */
static _Thread_local FILE *broken;

static FILE *unbroken(FILE *file) {
        broken = NULL;
        return file;
}

static void break_stream(FILE *file) {
        broken = file;
        errno = EIO;
}

INTERPOSE(char *, fgets, (char *to, int n, FILE *file), (to, n, unbroken(file)), NULL, break_stream(file))
INTERPOSE(size_t, fread, (void *to, size_t size, size_t n, FILE *file), (to, size, n, unbroken(file)), 0,
          break_stream(file))
INTERPOSE(int, fgetc, (FILE * file), (unbroken(file)), EOF, break_stream(file))

int ferror(FILE *file) {
        static int (*real)(FILE *);

        REAL(real, "ferror");
        return file == broken || real(file);
}

/* It is closed all the same. */
int fclose(FILE *file) {
        static int (*real)(FILE *);
        bool hit = struck("fclose", FROM);

        REAL(real, "fclose");
        int r = real(file);
        after(hit);
        if (!fails(hit))
                return r;
        errno = EIO;
        return EOF;
}

static mode_t mode_of(int flags, va_list args) {
        return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

int open64(const char *path, int flags, ...) {
        static int (*real)(const char *, int, ...);
        bool hit = struck("open", FROM);
        va_list args;

        if (fails(hit)) {
                errno = EMFILE;
                return -1;
        }
        REAL(real, "open64");
        va_start(args, flags);
        int fd = real(path, flags, mode_of(flags, args));
        va_end(args);
        after(hit);
        return fd;
}

int openat64(int dir, const char *path, int flags, ...) {
        static int (*real)(int, const char *, int, ...);
        bool hit = struck("openat", FROM);
        va_list args;

        if (fails(hit)) {
                errno = EMFILE;
                return -1;
        }
        REAL(real, "openat64");
        va_start(args, flags);
        int fd = real(dir, path, flags, mode_of(flags, args));
        va_end(args);
        after(hit);
        return fd;
}

/* Both have fewer arguments than are handed on; the others are not looked at. */
long syscall(long number, ...) {
        static long (*real)(long, ...);
        bool hit = struck("syscall", FROM);
        long a[6];
        va_list args;

        if (fails(hit)) {
                errno = ENOSYS;
                return -1;
        }
        REAL(real, "syscall");
        va_start(args, number);
        for (unsigned i = 0; i < 6; i++)
                a[i] = va_arg(args, long);
        va_end(args);
        long r = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        after(hit);
        return r;
}

int prctl(int option, ...) {
        static int (*real)(int, ...);
        bool hit = struck("prctl", FROM);
        long a[4];
        va_list args;

        if (fails(hit)) {
                errno = EINVAL;
                return -1;
        }
        REAL(real, "prctl");
        va_start(args, option);
        for (unsigned i = 0; i < 4; i++)
                a[i] = va_arg(args, long);
        va_end(args);
        int r = real(option, a[0], a[1], a[2], a[3]);
        after(hit);
        return r;
}

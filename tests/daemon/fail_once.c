/* SPDX-License-Identifier: Apache-2.0 */

#include "fail_once.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hwloc.h>
#include <ini.h>
#include <jansson.h>
#include <libxml/parser.h>
#include <mntent.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

Fault fault;
void (*fault_on_mask)(int tid);

void fault_arm(FaultKind kind, unsigned at) {
        fault = (Fault){.kind = kind, .armed = true, .at = at};
}

void fault_disarm(void) {
        fault.armed = false;
}

static bool struck(const char *call) {
        if (!fault.armed || ++fault.n != fault.at)
                return false;
        fault.call = call;
        if (fault.kind == FAULT_KILL_BEFORE)
                _exit(FAULT_KILLED);
        return true;
}

static bool fails(bool hit, int plain, int other) {
        if (!hit || (fault.kind != FAULT_PLAIN && fault.kind != FAULT_OTHER))
                return false;
        errno = fault.kind == FAULT_PLAIN ? plain : other;
        return true;
}

static void after(bool hit) {
        if (hit && fault.kind == FAULT_KILL_AFTER)
                _exit(FAULT_KILLED);
}

/* One call: its type, name, parameters and arguments, what it returns when it
 * fails, and the two reasons. */
#define CALL(type, name, parameters, arguments, bad, plain, other)                                           \
        type __real_##name parameters;                                                                       \
        type __wrap_##name parameters;                                                                       \
        type __wrap_##name parameters {                                                                      \
                bool hit = struck(#name);                                                                    \
                if (fails(hit, plain, other))                                                                \
                        return bad;                                                                          \
                type result = __real_##name arguments;                                                       \
                after(hit);                                                                                  \
                return result;                                                                               \
        }

CALL(void *, malloc, (size_t n), (n), NULL, ENOMEM, ENOMEM)
CALL(void *, calloc, (size_t n, size_t size), (n, size), NULL, ENOMEM, ENOMEM)
CALL(void *, realloc, (void *p, size_t n), (p, n), NULL, ENOMEM, ENOMEM)
CALL(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), NULL, ENOMEM, ENOMEM)
CALL(char *, strdup, (const char *text), (text), NULL, ENOMEM, ENOMEM)
CALL(char *, strndup, (const char *text, size_t n), (text, n), NULL, ENOMEM, ENOMEM)
CALL(int, vasprintf, (char **ret, const char *format, va_list args), (ret, format, args), -1, ENOMEM, ENOMEM)
CALL(FILE *, fopen64, (const char *path, const char *mode), (path, mode), NULL, EMFILE, EACCES)
CALL(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL, ENOMEM, EMFILE)
CALL(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM, EMFILE)
CALL(FILE *, open_memstream, (char **text, size_t *size), (text, size), NULL, ENOMEM, ENOMEM)
CALL(struct dirent *, readdir64, (DIR * dir), (dir), NULL, EIO, 0)
CALL(ssize_t, pread64, (int fd, void *to, size_t n, off_t at), (fd, to, n, at), -1, EIO, EINTR)
CALL(ssize_t, pwrite64, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at), -1, ENOSPC, EIO)
CALL(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n), -1, ENOSPC, EINTR)
CALL(char *, fgets, (char *to, int n, FILE *file), (to, n, file), NULL, EIO, 0)
CALL(int, fsync, (int fd), (fd), -1, EIO, EIO)
CALL(int, rename, (const char *from, const char *to), (from, to), -1, ENOSPC, EROFS)
CALL(int, unlink, (const char *path), (path), -1, EROFS, ENOENT)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC, EROFS)
CALL(int, flock, (int fd, int operation), (fd, operation), -1, ENOLCK, EINTR)
CALL(int, ftruncate64, (int fd, off_t length), (fd, length), -1, EIO, EIO)
CALL(int, fstat64, (int fd, struct stat *ret), (fd, ret), -1, EIO, EIO)
CALL(int, stat64, (const char *path, struct stat *ret), (path, ret), -1, EIO, EACCES)
CALL(int, access, (const char *path, int mode), (path, mode), -1, EIO, EACCES)
CALL(int, faccessat, (int fd, const char *path, int mode, int flags), (fd, path, mode, flags), -1, EIO,
     EACCES)
CALL(int, scandir64,
     (const char *path, struct dirent ***ret, int (*wanted)(const struct dirent *),
      int (*compare)(const struct dirent **, const struct dirent **)),
     (path, ret, wanted, compare), -1, ENOMEM, EACCES)
CALL(int, sched_getaffinity, (pid_t tid, size_t size, cpu_set_t *ret), (tid, size, ret), -1, EINVAL, EPERM)
CALL(json_t *, json_array, (void), (), NULL, ENOMEM, ENOMEM)
CALL(json_t *, json_object, (void), (), NULL, ENOMEM, ENOMEM)
CALL(json_t *, json_string, (const char *text), (text), NULL, ENOMEM, ENOMEM)
CALL(json_t *, json_string_nocheck, (const char *text), (text), NULL, ENOMEM, ENOMEM)
CALL(json_t *, json_integer, (json_int_t n), (n), NULL, ENOMEM, ENOMEM)
CALL(json_t *, json_real, (double n), (n), NULL, ENOMEM, ENOMEM)
CALL(char *, json_dumps, (const json_t *json, size_t flags), (json, flags), NULL, ENOMEM, ENOMEM)

CALL(struct mntent *, getmntent_r, (FILE * file, struct mntent *ret, char *buffer, int size),
     (file, ret, buffer, size), NULL, EIO, ENOMEM)
CALL(int, getrlimit64, (__rlimit_resource_t what, struct rlimit *ret), (what, ret), -1, EPERM, EPERM)
CALL(int, setrlimit64, (__rlimit_resource_t what, const struct rlimit *limit), (what, limit), -1, EPERM,
     EINVAL)
CALL(int, ini_parse_string, (const char *text, ini_handler f, void *data), (text, f, data), -2, ENOMEM,
     ENOMEM)
CALL(int, hwloc_topology_init, (hwloc_topology_t * ret), (ret), -1, ENOMEM, ENOMEM)
CALL(int, hwloc_topology_load, (hwloc_topology_t topology), (topology), -1, ENOMEM, EINVAL)
CALL(hwloc_bitmap_t, hwloc_bitmap_alloc, (void), (), NULL, ENOMEM, ENOMEM)
CALL(xmlParserCtxtPtr, xmlNewParserCtxt, (void), (), NULL, ENOMEM, ENOMEM)
CALL(xmlChar *, xmlNodeGetContent, (const xmlNode *node), (node), NULL, ENOMEM, ENOMEM)

/* It is closed all the same. */
int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file) {
        bool hit = struck("fclose");
        int r = __real_fclose(file);

        after(hit);
        return fails(hit, EIO, ENOSPC) ? EOF : r;
}

/* These take what they are given also when they fail. */
int __real_json_array_append_new(json_t *array, json_t *value);
int __wrap_json_array_append_new(json_t *array, json_t *value);
int __wrap_json_array_append_new(json_t *array, json_t *value) {
        bool hit = struck("json_array_append_new");

        if (fails(hit, ENOMEM, ENOMEM)) {
                json_decref(value);
                return -1;
        }
        after(hit);
        return __real_json_array_append_new(array, value);
}

int __real_json_object_set_new(json_t *object, const char *key, json_t *value);
int __wrap_json_object_set_new(json_t *object, const char *key, json_t *value);
int __wrap_json_object_set_new(json_t *object, const char *key, json_t *value) {
        bool hit = struck("json_object_set_new");

        if (fails(hit, ENOMEM, ENOMEM)) {
                json_decref(value);
                return -1;
        }
        after(hit);
        return __real_json_object_set_new(object, key, value);
}

/* A failure takes what it was given to pack, as memory that runs out inside does. */
json_t *__wrap_json_pack(const char *format, ...);
json_t *__wrap_json_pack(const char *format, ...) {
        bool hit = struck("json_pack");
        json_error_t error;
        va_list args;

        va_start(args, format);
        json_t *json = json_vpack_ex(&error, 0, format, args);
        va_end(args);
        if (fails(hit, ENOMEM, ENOMEM)) {
                json_decref(json);
                return NULL;
        }
        after(hit);
        return json;
}

static json_t *out_of_memory(json_error_t *error) {
        *error = (json_error_t){.line = 1, .text = "no memory"};
        error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
        return NULL;
}

json_t *__real_json_loadb(const char *from, size_t n, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *from, size_t n, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *from, size_t n, size_t flags, json_error_t *error) {
        bool hit = struck("json_loadb");

        if (fails(hit, ENOMEM, ENOMEM))
                return out_of_memory(error);
        json_t *json = __real_json_loadb(from, n, flags, error);
        after(hit);
        return json;
}

json_t *__real_json_loadf(FILE *file, size_t flags, json_error_t *error);
json_t *__wrap_json_loadf(FILE *file, size_t flags, json_error_t *error);
json_t *__wrap_json_loadf(FILE *file, size_t flags, json_error_t *error) {
        bool hit = struck("json_loadf");

        if (fails(hit, ENOMEM, EIO))
                return out_of_memory(error);
        json_t *json = __real_json_loadf(file, flags, error);
        after(hit);
        return json;
}

int __wrap_asprintf(char **ret, const char *format, ...);
int __wrap_asprintf(char **ret, const char *format, ...) {
        bool hit = struck("asprintf");
        va_list args;

        if (fails(hit, ENOMEM, ENOMEM))
                return -1;
        va_start(args, format);
        int n = __real_vasprintf(ret, format, args);
        va_end(args);
        after(hit);
        return n;
}

static mode_t mode_of(int flags, va_list args) {
        return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...) {
        bool hit = struck("open");
        va_list args;

        if (fails(hit, EMFILE, EACCES))
                return -1;
        va_start(args, flags);
        int fd = __real_open64(path, flags, mode_of(flags, args));
        va_end(args);
        after(hit);
        return fd;
}

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...) {
        bool hit = struck("openat");
        va_list args;

        if (fails(hit, EMFILE, EACCES))
                return -1;
        va_start(args, flags);
        int fd = __real_openat64(dir, path, flags, mode_of(flags, args));
        va_end(args);
        after(hit);
        return fd;
}

static bool fread_failed; /* the last one did */

size_t __real_fread(void *to, size_t size, size_t n, FILE *file);
size_t __wrap_fread(void *to, size_t size, size_t n, FILE *file);
size_t __wrap_fread(void *to, size_t size, size_t n, FILE *file) {
        bool hit = struck("fread");

        if (fails(hit, EIO, EIO)) {
                fread_failed = true;
                return 0;
        }
        fread_failed = false;
        after(hit);
        return __real_fread(to, size, n, file);
}

int __real_ferror(FILE *file);
int __wrap_ferror(FILE *file);
int __wrap_ferror(FILE *file) {
        return fread_failed || __real_ferror(file);
}

int __real_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask);
int __wrap_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask);
int __wrap_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask) {
        bool hit = struck("sched_setaffinity");

        if (fails(hit, EPERM, EINVAL))
                return -1;
        int r = __real_sched_setaffinity(tid, size, mask);
        if (fault.armed && fault_on_mask) {
                fault.armed = false; /* its calls are not ours */
                fault_on_mask(tid);
                fault.armed = true;
        }
        after(hit);
        return r;
}

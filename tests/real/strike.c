/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Counted are the calls that the program itself makes, told by where they return
 * to, not those that one library makes of another. Each is known by that place,
 * VAS_FAIL_SITE, and by its number among the calls from there, VAS_FAIL_AT: so it
 * is the same call in the next life, however often its threads wait for each other.
 * With VAS_FAIL_KILL the process is killed there, "before" or "after" the call.
 * The file VAS_FAIL_NOTE gets a line "struck NAME", and at the end "calls NUMBER"
 * and, if no call was to be struck, "site NAME PLACE NUMBER" of each place.
 */

#include "strike.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SITES_MAX = 8192 }; /* several times as many as there are */

static uintptr_t program_at, program_start, program_end;
static uintptr_t fail_site;
static unsigned fail_at;
static enum { FAIL, KILL_BEFORE, KILL_AFTER } kind;
static atomic_uint n_calls;

static struct {
        atomic_uintptr_t place; /* 0: free */
        atomic_uint n;
        const char *call;
} sites[SITES_MAX];

static int find_program(struct dl_phdr_info *info, size_t size, void *data) {
        (void)size, (void)data;
        program_at = info->dlpi_addr;
        for (unsigned i = 0; i < info->dlpi_phnum; i++)
                if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
                        program_start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                        program_end = program_start + info->dlpi_phdr[i].p_memsz;
                }
        return 1; /* the first one is the program */
}

/* Without the C library's files: these are what is counted. */
__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
        const char *path = getenv("VAS_FAIL_NOTE");
        int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
        char line[160];
        va_list args;

        if (fd < 0)
                return;
        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        (void)!write(fd, line, strlen(line));
        close(fd);
}

static __attribute__((constructor)) void begin(void) {
        const char *site = getenv("VAS_FAIL_SITE"), *at = getenv("VAS_FAIL_AT"),
                   *when = getenv("VAS_FAIL_KILL");

        if (when)
                kind = strcmp(when, "after") == 0 ? KILL_AFTER : KILL_BEFORE;
        fail_site = site ? strtoul(site, NULL, 16) : 0;
        fail_at = at ? (unsigned)atoi(at) : 0;
        dl_iterate_phdr(find_program, NULL);
}

static __attribute__((destructor)) void end(void) {
        note("calls %u\n", atomic_load(&n_calls));
        for (unsigned i = 0; fail_at == 0 && i < SITES_MAX; i++)
                if (atomic_load(&sites[i].place))
                        note("site %s %lx %u\n", sites[i].call, (unsigned long)atomic_load(&sites[i].place),
                             atomic_load(&sites[i].n));
}

/* Its number among the calls from that place, from 1. */
static unsigned count(const char *call, uintptr_t place) {
        for (unsigned i = (unsigned)(place * 2654435761u % SITES_MAX);; i = (i + 1) % SITES_MAX) {
                uintptr_t found = 0;

                if (atomic_compare_exchange_strong(&sites[i].place, &found, place))
                        sites[i].call = call;
                if (found == 0 || found == place)
                        return atomic_fetch_add(&sites[i].n, 1) + 1;
        }
}

static void end_here(void) {
        kill(getpid(), SIGKILL);
        for (;;)
                pause();
}

bool struck(const char *call, void *from) {
        uintptr_t place = (uintptr_t)from - program_at;

        if ((uintptr_t)from < program_start || (uintptr_t)from >= program_end)
                return false;
        atomic_fetch_add(&n_calls, 1);
        if (count(call, place) != fail_at || place != fail_site)
                return false;
        note("struck %s\n", call);
        if (kind == KILL_BEFORE)
                end_here();
        return true;
}

bool fails(bool hit) {
        return hit && kind == FAIL;
}

void after(bool hit) {
        if (hit && kind == KILL_AFTER)
                end_here();
}

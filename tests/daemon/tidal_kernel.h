/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon on a host made of files that behave as the kernel with preferred
 * sets does: a set that is no proper part of the allowed one is swallowed without
 * an error, a new allowed set that does not hold it clears it. Every write is
 * noted in order. Writes of files and of masks are taken over by the linker
 * (--wrap).
 */

#include "../platform/support.h"
#include "daemon/backend.h"
#include "daemon/dynamic_loop.h"
#include "daemon/rounds.h"
#include "platform/real_host.h"

enum { LOG_SIZE = 8192 };

typedef struct TidalKernel {
        char *tree;
        char state_path[64];
        TidalValues named; /* by the state file, when a host-wide value was last written */
        char log[LOG_SIZE]; /* "TID file=text;" of every write, newlines as '|' */
        int error;  /* -errno of the next file writes */
        int refuse; /* the same, of those that prefer something */
        WriteStatus mask_status; /* what writes of masks end with; not WRITE_OK: nothing is written */
        bool grouped; /* there is no file for each thread: the vCPUs' groups have it */
        unsigned writes, crash_at; /* dies before this write, counted from 1; 0: does not */
        bool dead;
        RealHost *host;
        FactList *facts;
        Settings settings;
        State *state;
        Rounds *rounds;
        Dynamic *dynamic;
        Backend backend;
} TidalKernel;

extern TidalKernel kernel;

int tidal_setup(void **state);
int tidal_teardown(void **state);

/* One VM, "a", of two vCPUs. What its threads have, and what its operator does. */
CpuSet mask_of(unsigned number);
CpuSet preferred_of(unsigned number);
void assert_state(unsigned number, const char *mask, const char *preferred);
void write_thread(unsigned number, const char *list);
char *preferred_path(unsigned number);
void store(const char *path, const char *text);
void use_groups(void); /* has no files for threads from now on */
void groups_are_shared(void); /* the vCPUs are in the VM's own group */
void write_cmdline(const char *text);
void read_values(int threshold, int task_group); /* asserts them */

void choose(void); /* probes, as the daemon does at its start and later */
void daemon_start(void);
void daemon_crash(void);
void daemon_die_at(unsigned write); /* in the coming round, which goes on unheard */
void daemon_restart(void); /* with the state as it was when it died */
void round_run(void);
void set_threshold(const char *percent);
void daemon_stop(void);

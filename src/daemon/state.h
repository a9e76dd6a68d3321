/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The state file: whose mask a thread's mask is.
 *
 * Threads are vCPUs and, where emulator-threads says so, a VM's helpers.
 *
 * The kernel knows where a thread may run, but not who said so. For each thread
 * that we have written, or had written before a clean stop, the state keeps its
 * identity, the mask from before us, the mask that we wrote and the CPU that it
 * has. It is saved, atomically, before a round's first write (with the masks
 * that are about to be written as "intended") and again after the last.
 *
 * It is never believed over the kernel: an entry counts for a thread only when
 * the whole identity matches, and losing the file moves nothing (the threads
 * are then FOREIGN).
 */

#include "core/snapshot.h"
#include "platform/host.h"

enum { STATE_VERSION = 1 };

typedef struct ThreadState {
        ThreadRef thread;
        SetId before;       /* SET_NONE: we do not hold this thread's mask */
        SetId range_before; /* its range when `before` was read */
        SetId range_then;   /* its range when we last looked */
        SetId written;
        SetId intended;
        int16_t home;       /* OS number; -1: none */
        bool held;          /* written is what its policy holds for that home, not the home alone */
        bool layered;       /* home is not its own: it lives there in a layer */
        int16_t intended_home; /* the same of intended: its home; -1: intended is the home alone, or no home */
        TidalWay way;       /* how we wrote its preferred set; TIDAL_NONE: we did not */
        SetId preferred_before; /* that set before us; SET_NONE: empty */
        int16_t prefers;    /* not saved, while way is set: the one CPU that it prefers; -1: none, -2: others */
        uint8_t drift;      /* not saved */
        bool drift_counted; /* not saved: the change that is seen is in drift; we have written nothing since */
        int64_t drift_at_ns; /* not saved */
        bool seen;          /* not saved: the round under way has met the thread */
} ThreadState;

typedef struct State {
        char boot_id[VM_UUID_SIZE];
        bool paused;
        CpuSet cpus_seen;   /* CPUs online at the first start in this boot; empty: not known */
        TidalValues values_before, values_written; /* host-wide, of what we changed; -1: we did not */
        unsigned n_threads, capacity;
        ThreadState *thread; /* sorted by thread id */
        CpuSetPool *pool;   /* of the sets above */
} State;

int state_new(State **ret); /* 0 or -ENOMEM */
State *state_free(State *state);

/*
 * Reads the file into an empty state. Returns 0; 1 when there is no file, or
 * it is of another boot (state stays empty); -EBADMSG with *ret_why when it can
 * not be understood (state stays empty); or -errno.
 */
int state_load(State *state, const char *path, const char *boot_id, char ret_why[256]);

/* Replaces the file atomically. 0 or -errno. */
int state_save(const State *state, const char *path);

/* The entry of exactly that thread; NULL if there is none. */
ThreadState *state_find(State *state, const ThreadRef *thread);
/* The same, created empty if there is none; NULL: out of memory. Entries move
 * when one is created: do not hold on to them. */
ThreadState *state_get(State *state, const ThreadRef *thread);
void state_drop(State *state, ThreadState *entry);

/* Whether the mask is not (any more) the one that we wrote. CPUs that are not
 * online are nobody's doing. */
bool state_differs(const State *state, const ThreadState *entry, const CpuSet *online, const CpuSet *mask);

/* Stores a set; SET_NONE when no more fit. */
SetId state_intern(State *state, const CpuSet *set);
/* Throws away sets that no entry uses, when there are many. 0 or -ENOMEM. */
int state_compact(State *state);

/* This boot's id, from root/proc. 0 or -errno. */
int state_boot_id(const char *root, char ret[VM_UUID_SIZE]);

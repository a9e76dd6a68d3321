/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Makes the Nth call of our own code that can fail, fail. The linker hands us the
 * calls of every object that is linked in (--wrap; the list is fail_calls in
 * meson.build), and none of those that a library makes of another.
 */

#include <stdbool.h>

typedef enum FaultKind {
        FAULT_NONE,
        FAULT_PLAIN, /* the call does nothing and says why: no memory, no descriptor, I/O error */
        FAULT_OTHER, /* the same for another reason: not permitted, interrupted, gone */
        FAULT_KILL_BEFORE, /* the process ends there, as by kill -9 */
        FAULT_KILL_AFTER,
        FAULT_KINDS
} FaultKind;

enum { FAULT_KILLED = 77 }; /* the exit code of who was killed */

typedef struct Fault {
        FaultKind kind;
        bool armed; /* calls are counted */
        unsigned at; /* the call that it strikes; 0: none */
        unsigned n; /* calls so far */
        const char *call; /* that was struck */
} Fault;

extern Fault fault;

/* Counts from the start, and strikes call number at. */
void fault_arm(FaultKind kind, unsigned at);
void fault_disarm(void);

/* Is told of every mask that our code has set. */
extern void (*fault_on_mask)(int tid);

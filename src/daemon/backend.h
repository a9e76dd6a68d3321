/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who does the leaving and the returning of dynamic vCPUs: the kernel, where it
 * has preferred sets of CPUs ("tidal"), else our own controller ("emulated").
 */

#include "daemon/settings.h"
#include "platform/tidal.h"

typedef enum BackendKind { BACKEND_NONE, BACKEND_EMULATED, BACKEND_TIDAL } BackendKind;

typedef struct Backend {
        BackendKind kind;
        TidalWay way; /* TIDAL_NONE unless tidal */
        bool kunpeng; /* HiSilicon's CPUs */
        bool tlbi_limited; /* see TidalProbe */
        char why[768]; /* why this one */
} Backend;

/* Reads, writes nothing. example: a vCPU's thread to look at, NULL: ourselves.
 * root: directory that stands for /, the host's own. */
void backend_choose(const RealHost *host, const ThreadRef *example, const char *root,
                    const Settings *settings, Backend *ret);

/* Whether the settings ask for a binding that this host can not have. 0; or 1
 * with one line that says why. */
int backend_check(const Settings *settings, const char *root, char ret_why[SETTINGS_WHY_SIZE]);

const char *backend_name(BackendKind kind);

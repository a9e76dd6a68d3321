/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What vas-daemon does without becoming a service. Each returns an exit code:
 * 0, EXIT_FAILURE, or EXIT_DENIED when the rights to do it are missing. */

#include "daemon/settings.h"

enum { EXIT_DENIED = 5 };

/* One round: act places everything and keeps the bindings (--oneshot); else it
 * prints what that would do and changes nothing (--dry-run). */
int once_round(const Settings *settings, bool act);

/* Undoes every binding that the state file knows of, and pauses. Needs no
 * libvirt, and no daemon may be running. */
int once_recover(const Settings *settings);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the daemon can not see or do, and what mends it: pure, from what the caller
 * has gathered. */

#include "daemon/view.h"
#include "util/outside.h"

typedef struct CheckInput {
        const View *view; /* NULL: the host was not seen yet */
        const char *trouble; /* what keeps rounds from working; "" */
        bool act, paused;
        bool link_up;
        const char *link_uri, *link_error, *link_version;
        bool can_bind; /* CAP_SYS_NICE is in effect */
        bool denied; /* and yet the kernel has refused a write */
        bool want_dynamic;
        const char *backend; /* who binds dynamic vCPUs; NULL: nobody can */
        const char *backend_why;
        const char *state_file;
        int state_error; /* errno of writing there; 0 */
        const char *persist_file; /* of 'vasctl set --persist'; NULL: not kept */
        int persist_error;
        const char *reload_trouble; /* why the settings files were not taken at the last reload; "" */
        const char *metrics_file; /* "": none is wanted */
        const char *metrics_trouble;
        unsigned narrow_vms; /* with cpusets narrower than their ranges */
        const char *narrow_example; /* one of them; NULL without */
        const char *admin_group;
        const Outside *outside;
} CheckInput;

json_t *view_check(const CheckInput *input); /* []Check; NULL: no memory */

/* Whether some online CPU that the kernel does not isolate belongs to no vCPU: one
 * for the host's own threads. */
bool view_host_has_cpu(const View *view);

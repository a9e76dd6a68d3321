/* SPDX-License-Identifier: Apache-2.0 */

/* The method Plan: what would happen if. */

#include <stdlib.h>

#include "daemon/verbs_internal.h"
#include "daemon/whatif.h"
#include "util/cleanup.h"
#include "wire/names.h"

/* An optional string; false, and the call is answered, when it is something else. */
static bool take_optional(const Request *request, const char *name, const char **ret) {
        json_t *value = json_object_get(request->parameters, name);

        *ret = json_string_value(value);
        if (*ret || !value || json_is_null(value))
                return true;
        request_invalid(request, name);
        return false;
}

static bool take_add(const Request *request, unsigned *ret) {
        json_t *value = json_object_get(request->parameters, "add");
        json_int_t vcpus = json_integer_value(value);

        *ret = 0;
        if (!value || json_is_null(value))
                return true;
        if (!json_is_integer(value) || vcpus < 1 || vcpus > VM_VCPUS_MAX) {
                request_invalid(request, "add");
                return false;
        }
        *ret = (unsigned)vcpus;
        return true;
}

static bool take_policy(const Request *request, WhatIf *ret) {
        const char *policy;

        if (!take_optional(request, "policy", &policy))
                return false;
        ret->has_sched = policy != NULL;
        if (policy && sched_parse(policy, &ret->sched) < 0) {
                request_invalid(request, "policy");
                return false;
        }
        return true;
}

static bool take_what(const Request *request, WhatIf *ret) {
        if (!take_add(request, &ret->add_vcpus) || !take_optional(request, "range", &ret->range) ||
            !take_optional(request, "remove", &ret->remove) ||
            !take_optional(request, "reassign", &ret->reassign) || !take_policy(request, ret))
                return false;
        if (ret->range && !ret->add_vcpus) {
                request_invalid(request, "range");
                return false;
        }
        return true;
}

static void answer(const Request *request, const View *now, const Score *before) {
        const Rounds *rounds = request->server->rounds;
        View then = *now;

        then.snapshot = rounds->trial_snapshot;
        then.plan = rounds->trial;
        request_reply(request,
                      json_pack("{s:o, s:o, s:o, s:o, s:b, s:i, s:i}", "changes", view_changes(now, &then),
                                "moves", view_moves(&then), "before", view_score(before), "after",
                                view_score(&rounds->trial->after), "acting", now->acting, "demand_vcpus",
                                (int)rounds->trial->demand_vcpus, "supply_cpus",
                                (int)rounds->trial->supply_cpus));
}

/* Whether this host can bind as that policy wants; else the call is answered. */
static bool can_bind(const Request *request, const WhatIf *what) {
        AUTO_FREE Settings *settings = what->has_sched ? malloc(sizeof(*settings)) : NULL;
        char why[SETTINGS_WHY_SIZE] = "out of memory";

        if (!what->has_sched)
                return true;
        if (settings) {
                *settings = *request->server->settings;
                settings->sched = what->sched;
                if (backend_check(settings, "", why) == 0)
                        return true;
        }
        verbs_error(request->call, "Refused", why);
        return false;
}

void verb_plan(const Request *request) {
        char why[WHATIF_WHY_SIZE];
        WhatIf what = {};
        Score before;
        View now;

        if (!take_what(request, &what) || !can_bind(request, &what) || !request_view(request, &now))
                return;
        switch (whatif_plan(request->server->rounds, &what, &before, why)) {
        case WHATIF_PLANNED:
                answer(request, &now, &before);
                break;
        case WHATIF_NO_REMOVE:
                request_no_such_vm(request, what.remove);
                break;
        case WHATIF_NO_REASSIGN:
                request_no_such_vm(request, what.reassign);
                break;
        case WHATIF_REFUSED:
                verbs_error(request->call, "Refused", why);
                break;
        }
}

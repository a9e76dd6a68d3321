/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/verbs_internal.h"

/* An optional number from 0 on; false, and the call is answered, when it is
 * something else. */
static bool take_number(const Request *request, const char *name, uint64_t unset, uint64_t *ret) {
        json_t *value = json_object_get(request->parameters, name);

        *ret = unset;
        if (!value || json_is_null(value))
                return true;
        if (!json_is_integer(value) || json_integer_value(value) < 0) {
                request_invalid(request, name);
                return false;
        }
        *ret = (uint64_t)json_integer_value(value);
        return true;
}

void verb_get_events(const Request *request) {
        const Events *events = request->server->events;
        uint64_t since, last, from, lost;

        if (!take_number(request, "since", 1, &since) || !take_number(request, "last", EVENTS_MAX, &last))
                return;
        from = events_from(events, since, &lost);
        if (last < events->next - from) {
                from = events->next - last; /* those before are not wanted, rather than lost */
                lost = 0;
        }
        if (!control_wants_more(request->call))
                request_reply(request, view_events(events, from, EVENTS_MAX, lost));
        else if (!followers_add(request->server->followers, request->call, lost ? since : from))
                verbs_error(request->call, "Failed", "too many clients follow the events");
}

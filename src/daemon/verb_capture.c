/* SPDX-License-Identifier: Apache-2.0 */

/* The method Capture. For those who may change things: a look at the topology takes
 * the whole service's time. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/capture_take.h"
#include "daemon/events.h"
#include "daemon/verbs_internal.h"
#include "platform/topology_hwloc.h"
#include "util/cleanup.h"

enum { EVENTS_TAKEN = 200 };

/* The last events, which tell of the rounds before; their sentences may name VMs. */
static int add_events(const Server *server, json_t *capture) {
        uint64_t next = server->events->next, lost;
        uint64_t from = events_from(server->events, next > EVENTS_TAKEN ? next - EVENTS_TAKEN : 1, &lost);
        json_t *events = view_events(server->events, from, EVENTS_TAKEN, lost);

        return events ? json_object_update_new(capture, events) : -1;
}

/* The machine's own name and serial numbers, which hwloc writes down, too: such a
 * line says nothing of the topology. */
static void drop_machine_names(char *xml) {
        static const char begin[] = "<info name=\"";
        char *to = xml;

        for (char *line = xml; *line;) {
                size_t length = strcspn(line, "\n");
                const char *info = memmem(line, length, begin, sizeof(begin) - 1);

                length += line[length] == '\n';
                if (!info || (strncmp(info + sizeof(begin) - 1, "HostName", 8) != 0 &&
                              strncmp(info + sizeof(begin) - 1, "DMI", 3) != 0)) {
                        memmove(to, line, length);
                        to += length;
                }
                line += length;
        }
        *to = '\0';
}

static json_t *take(Server *server, bool hash_names, char *xml) {
        uint64_t key[2];
        json_t *capture;

        if (hash_names)
                drop_machine_names(xml);
        if (hash_names && getrandom(key, sizeof(key), 0) != sizeof(key))
                return NULL;
        capture = capture_take(server->rounds, xml, hash_names ? key : NULL);
        if (capture && !hash_names && add_events(server, capture) < 0) {
                json_decref(capture);
                return NULL;
        }
        return capture;
}

void verb_capture(const Request *request) {
        AUTO_FREE char *xml = NULL;
        bool hash_names;
        View view;

        if (!request_bool(request, "hash_names", &hash_names) || !request_view(request, &view))
                return;
        if (request->server->rounds->applying) {
                verbs_error(request->call, "Failed", "a round is under way: try again");
                return;
        }
        xml = topology_export_xml(NULL, "", view.topology->level);
        if (!xml)
                verbs_error(request->call, "Failed", "the topology can not be read");
        else
                request_reply_named(request, "capture", take(request->server, hash_names, xml));
}

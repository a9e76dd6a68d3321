/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/host_spec.h"

#include "platform/topology_hwloc.h"
#include "util/cleanup.h"

#include <errno.h>
#include <string.h>

enum { LINE_BYTES_MAX = 65536 };

/* The description in a text file; *ret stays NULL for XML, for what is no
 * file and for what can not be opened, on which hwloc has the last word. */
static int read_description(const char *path, char **ret) {
        AUTO_FCLOSE FILE *file = fopen(path, "re");
        AUTO_FREE char *line = NULL;
        size_t size = 0;
        ssize_t length;

        while (file && (length = getline(&line, &size, file)) >= 0 && length <= LINE_BYTES_MAX) {
                char *text = line + strspn(line, " \t\r\n");
                if (*text == '<')
                        return 0;
                if (*text == '#' || !*text)
                        continue;
                text[strcspn(text, "\r\n")] = '\0';
                *ret = strdup(text);
                return *ret ? 0 : -ENOMEM;
        }
        return 0;
}

int host_spec_load(const char *spec, ClusterLevel level, Topology *ret, Complaint *ret_why) {
        AUTO_FREE char *description = NULL;
        char why[256];
        int r = read_description(spec, &description);

        if (r < 0)
                return r;
        r = topology_from_hwloc(description ? description : spec, NULL, level, ret, why);
        if (r == -ENOMEM)
                return r;
        return r < 0 ? complain(ret_why, "topology %.150s: %s", spec, why) : 0;
}

char *host_spec_text(const char *spec) {
        char *description = NULL;

        if (read_description(spec, &description) < 0)
                return NULL;
        return description ? description : strdup(spec);
}

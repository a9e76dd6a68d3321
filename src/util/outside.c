/* SPDX-License-Identifier: Apache-2.0 */

#include "util/outside.h"

#include <grp.h>
#include <limits.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/cpulist.h"

static FILE *open_below(const char *root, const char *path) {
        char full[PATH_MAX];
        int n = snprintf(full, sizeof(full), "%s/%s", root, path);

        return n > 0 && (size_t)n < sizeof(full) ? fopen(full, "re") : NULL;
}

static bool is_there(const char *root, const char *path) {
        char full[PATH_MAX];
        int n = snprintf(full, sizeof(full), "%s/%s", root, path);

        return n > 0 && (size_t)n < sizeof(full) && access(full, F_OK) == 0;
}

/* The first process is root's: where a stranger can not read it, /proc hides all. */
static bool proc_is_hidden(const char *root) {
        AUTO_FCLOSE FILE *file = open_below(root, "proc/1/stat");

        return !file || fgetc(file) == EOF;
}

/* Where the kernel does not count, the file is not there, or is all zeros. */
static RunDelay read_run_delay(const char *root) {
        AUTO_FCLOSE FILE *file = open_below(root, "proc/self/schedstat");
        unsigned long long ran;

        if (!file || fscanf(file, "%llu", &ran) != 1)
                return RUN_DELAY_MISSING;
        return ran > 0 ? RUN_DELAY_ON : RUN_DELAY_OFF;
}

static void read_offline(const char *root, CpuSet *ret) {
        AUTO_FCLOSE FILE *file = open_below(root, "sys/devices/system/cpu/offline");
        char text[CPULIST_SIZE];
        size_t n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

        text[n] = '\0';
        if (cpulist_parse(text, ret) < 0)
                cpuset_clear(ret);
}

gid_t outside_group(const char *root, const char *name) {
        AUTO_FCLOSE FILE *file = open_below(root, "etc/group");
        struct group *group;

        if (!file || !*name)
                return (gid_t)-1;
        while ((group = fgetgrent(file)))
                if (strcmp(group->gr_name, name) == 0)
                        return group->gr_gid;
        return (gid_t)-1;
}

void outside_read(const char *root, const char *admin_group, Outside *ret) {
        *ret = (Outside){.proc_hidden = proc_is_hidden(root),
                         .run_delay = read_run_delay(root),
                         .has_group = outside_group(root, admin_group) != (gid_t)-1,
                         .has_libvirt = is_there(root, "run/libvirt/libvirt-sock-ro") ||
                                        is_there(root, "run/libvirt/virtqemud-sock-ro")};
        read_offline(root, &ret->offline);
}

/* SPDX-License-Identifier: Apache-2.0 */

#include "wire/check.h"

#include <stdarg.h>

#include "util/cleanup.h"
#include "util/cpulist.h"

enum { TEXT_SIZE = 1024 };

static json_t *text_json(const char *text) {
        char plain[TEXT_SIZE];
        json_t *json = json_string(text);

        if (json)
                return json;
        snprintf(plain, sizeof(plain), "%s", text);
        for (char *c = plain; *c; c++)
                if ((unsigned char)*c >= 0x80)
                        *c = '?';
        return json_string(plain);
}

void check_add(json_t *checks, CheckState state, const char *name, const char *remedy, const char *format,
               ...) {
        static const char *const names[] = {"ok", "warning", "problem"};
        char text[TEXT_SIZE];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        json_array_append_new(checks, json_pack("{ss,ss,so,so}", "name", name, "state", names[state], "text",
                                                text_json(text), "remedy", text_json(remedy)));
}

static void check_proc(json_t *checks, const Outside *outside) {
        if (outside->proc_hidden)
                check_add(
                        checks, CHECK_PROBLEM, "proc",
                        "mount /proc without hidepid, or with gid= of a group that the daemon's user is in; "
                        "no ProtectProc= in its unit",
                        "/proc hides other users' processes: VMs' threads can not be found");
        else
                check_add(checks, CHECK_OK, "proc", "", "/proc shows other users' processes");
}

static void check_run_delay(json_t *checks, RunDelay delay) {
        if (delay == RUN_DELAY_ON)
                check_add(checks, CHECK_OK, "run-delay", "",
                          "the kernel counts for how long threads wait for a CPU");
        else
                check_add(checks, CHECK_WARNING, "run-delay",
                          delay == RUN_DELAY_OFF
                                  ? "boot with delayacct, or sysctl kernel.task_delayacct=1"
                                  : "a kernel with CONFIG_SCHEDSTATS or CONFIG_TASK_DELAY_ACCT",
                          "the kernel does not count for how long threads wait: 'show' and 'measure' can not "
                          "say, and "
                          "the daemon's own dynamic binding can not work");
}

static void check_offline(json_t *checks, const CpuSet *offline) {
        AUTO_FREE char *list = cpulist_new(offline);
        char remedy[TEXT_SIZE];

        snprintf(remedy, sizeof(remedy), "'chcpu -e %s', if this is not meant to be so",
                 list ? list : "LIST");
        if (cpuset_is_empty(offline))
                check_add(checks, CHECK_OK, "cpus", "", "all CPUs are online");
        else
                check_add(checks, CHECK_WARNING, "cpus", remedy, "CPUs %s are offline: nobody can have them",
                          list ? list : "?");
}

void check_outside(json_t *checks, const Outside *outside, const char *admin_group) {
        char remedy[512];

        check_proc(checks, outside);
        check_run_delay(checks, outside->run_delay);
        check_offline(checks, &outside->offline);
        snprintf(remedy, sizeof(remedy),
                 "groupadd --system %s, add who may change things, and restart vas-daemon", admin_group);
        if (!*admin_group || outside->has_group)
                check_add(checks, CHECK_OK, "admins", "", "root %s%s may change things",
                          *admin_group ? "and the group " : "alone", admin_group);
        else
                check_add(checks, CHECK_WARNING, "admins", remedy,
                          "there is no local group %s: only root may change things", admin_group);
}

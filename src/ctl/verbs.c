/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/ctl.h"

const Verb verbs[] = {
        {NULL, "status", "", "the daemon, its VMs and the host on one screen", NULL, true, run_status},
        {NULL, "list", "", "the VMs: verdict, nodes, clusters, CPUs",
         "CLUSTERS: how many it spans, and in brackets the fewest that its range allows.\n"
         "VERDICT:\n"
         "  PLACED       every vCPU has its own CPU, on the fewest clusters\n"
         "  SPREAD       every vCPU has its own CPU, on more clusters than that\n"
         "  SHARED       not exclusively placed: runs on what nobody owns, or its range\n"
         "  LAYERED      not exclusively placed: lives on CPUs that it shares with others\n"
         "  PINNED       its operator bound every vCPU to one CPU; twice: another vCPU is\n"
         "               pinned there too; doubled: two share a core and are no siblings\n"
         "               in the guest; remote: it runs off its memory\n"
         "  FOREIGN      somebody else narrowed its threads before the daemon came\n"
         "  EXCLUDED     the configuration says: not managed\n"
         "  UNPLACEABLE  some vCPU has no CPU that it may use\n"
         "  CONTESTED    somebody else keeps changing its masks\n"
         "  UNSEEN       libvirt knows it, but its threads can not be seen",
         true, run_list},
        {NULL, "show", "VM", "one VM's vCPUs: thread, CPU, masks, run delay",
         "VM is a name or a UUID.\n"
         "MASK: where the kernel lets the thread run. ALLOWED: its range without CPUs that\n"
         "are offline, in skip-cpuset, or not in its cpuset. DELAY: for how long, in all,\n"
         "the thread was ready to run and had to wait.",
         true, run_show},
        {NULL, "map", "", "the host as a picture: who owns which CPU",
         "Each CPU is one sign, or two where the VMs are many: its owner's letters, or\n"
         "  .  free                       #  in skip-cpuset: never given to a vCPU\n"
         "  %  isolated by the kernel     !  claimed by two vCPUs\n"
         "[...] is a cluster; where cores have several threads, each core stands apart.",
         true, run_map},
        {NULL, "top", "[-d SECONDS]", "live: who waits for a CPU, moves, occupancy",
         "Drawn anew every 2 s until q or Ctrl-C; off a terminal, one screen. WAITING: vCPUs\n"
         "that were ready and not running for more than 1 % of the time since the screen\n"
         "before; TIME: for how much of it, mean of the VM's vCPUs; DELAY: how long in all.\n"
         "  -d, --delay SECONDS   between two screens, 0.1 to 3600",
         true, run_top},
        {NULL, "explain", "VM", "why a VM is where it is, and what would help", "VM is a name or a UUID.",
         true, run_explain},
        {NULL, "events", "[-f] [-n N]", "what was decided, when and why",
         "VMs that came, went or moved, verdicts, ranges, repaired masks, settings, the link\n"
         "to libvirt. The daemon keeps the last 4096, until it ends.\n"
         "  -f, --follow    the last 10, then those that come, until Ctrl-C; with --json\n"
         "                  one object a line\n"
         "  -n, --last N    only the last N",
         true, run_events},
        {NULL, "measure", "[SECONDS]", "where vCPUs really ran, and how long they waited",
         "For 10 seconds, or so many; ^C ends it earlier. Reads /proc, whoever bound the\n"
         "threads, for about 2 % of a CPU at most. RAN: CPU time of all its vCPUs. NODES,\n"
         "CLUSTERS: on how many they ran; in brackets the fewest that the VM's range allows.\n"
         "OUTSIDE: the share of that time outside the clusters that the daemon has for it,\n"
         "or would have if it acted. WAITED: of the time in which they were ready to run,\n"
         "the share in which they had no CPU.\n"
         "  --before FILE   what \"measure --json\" printed earlier: before > now",
         true, run_measure},
        {NULL, "metrics", "[--openmetrics]", "the figures of metrics-file, for Prometheus",
         "In Prometheus' text format, as node_exporter's textfile collector reads it.\n"
         "  --openmetrics   in OpenMetrics 1.0, with units",
         true, run_metrics},
        {NULL, "plan", "[OPTIONS]", "what would happen if; changes nothing",
         "Without options: what the daemon would do next. CLUSTERS: in brackets the fewest\n"
         "that the VM's range allows.\n"
         "  --add N[:RANGE]      if a VM of N vCPUs came; RANGE is where it may run, CPUs\n"
         "                       like 0-7,12 or a NUMA node like node0; without: everywhere\n"
         "  --remove VM          if that VM went\n"
         "  --reassign VM|all    if it were placed anew, without regard to move credits\n"
         "  --policy POLICY      if the host's policy were static, dynamic or cluster",
         true, run_plan},
        {NULL, "check", "", "what the daemon can not see or do; what mends it",
         "One line each: ok, warning or problem, and behind \"->\" what mends it. A problem\n"
         "is what keeps the daemon from doing what its settings say. Exit status 0 only\n"
         "without a problem, else 1. Without a daemon: what can be seen from outside, and 4.",
         true, run_check},
        {NULL, "report", "-o FILE", "a page about the host, in one HTML file",
         "The map of CPUs, the VMs, what happened: to be looked at in a browser, printed or\n"
         "sent. It loads nothing from anywhere and holds no script. FILE is replaced in one\n"
         "go.\n"
         "  -o, --output FILE   where to write it; -: to the standard output",
         false, run_report},
        {NULL, "get", "[KEY]", "the settings in force, and where each comes from",
         "KEY is section.key, or the bare key. SOURCE is default, a file, an option of\n"
         "vas-daemon's command line, or run time (vasctl set). With --json and a KEY: one\n"
         "object, which also says what is legal.",
         true, run_get},
        {NULL, "set", "KEY VALUE [--persist]", "change a setting, at once",
         "KEY is section.key, or the bare key; see vas-daemon.conf(5) and \"vasctl get\".\n"
         "Until the daemon ends; reading the files again does not undo it.\n"
         "  --persist   also at later starts; not for what vas-daemon's options set",
         false, run_set},
        {NULL, "capture", "FILE [--hash-names]", "what the planner sees, for vas-sim --capture",
         "The topology, the VMs with ranges and masks, credits and cool-downs, and the plans\n"
         "that the daemon makes of them; and the last events. Written by vasctl, mode 0600.\n"
         "  --hash-names   other names and UUIDs for the VMs, and no events",
         false, run_capture},
        {NULL, "pause", "", "keep all pins, move nothing until resume", NULL, false, run_pause},
        {NULL, "resume", "", "act again", NULL, false, run_resume},
        {NULL, "reassign", "VM|all [--dry-run]", "place anew, as well as it can be done",
         "Without regard to move credits and cool-down. VM is a name or a UUID; a VM that is\n"
         "named is taken over if it is FOREIGN.\n"
         "  --dry-run   say what would move, and move nothing",
         true, run_reassign},
        {NULL, "recover", "", "give all threads the masks from before, and pause",
         "Without a daemon this runs \"vas-daemon recover\", which needs the right to change\n"
         "the threads.",
         false, run_recover},
        {"set", "config", "-sp|--sched-policy affinity|dynamicAffinity", "set the scheduling policy",
         "Also understood: static (affinity), dynamic (dynamicAffinity), cluster.", false, run_set_config},
        {"query", "affinity", "-s|--scope all|UUID|NAME", "which vCPU has which CPU, as JSON",
         "Prints one line of JSON: an object by UUID.", true, run_query_affinity},
        {"opt", "reassign", "-s|--scope all|UUID|NAME", "place all VMs or one VM anew", NULL, false,
         run_opt_reassign},
        {"opt", "recover", "", "restore the masks from before the daemon, and pause", NULL, false,
         run_opt_recover},
};
const size_t n_verbs = sizeof(verbs) / sizeof(verbs[0]);

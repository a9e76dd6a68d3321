/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/options.h"

#include "wire/names.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char options_help[] =
        "Usage: vas-sim [--topology SPEC|XML] --trace FILE|- [OPTION]...\n"
        "       vas-sim [--topology SPEC|XML] --snapshot FILE [OPTION]...\n"
        "       vas-sim --capture FILE [--reassign VM|all] [--json]\n"
        "       vas-sim --generate MIX --topology SPEC|XML [--occupancy P] [--seed N] [--events N]\n"
        "Replays the arrivals and departures of virtual machines through VSched's planner.\n"
        "\n"
        "What to replay:\n"
        "  --topology SPEC|XML  an hwloc synthetic description (\"numa:4 l3:10 core:8 pu:1\") or the path\n"
        "                       of a file with one, or of hwloc XML; default: what the trace says\n"
        "  --cluster-level L    auto|cluster|l3|numa|package: what a cluster is (auto)\n"
        "  --trace FILE|-       a trace; - is standard input\n"
        "  --snapshot FILE      place each set of VMs of the file from scratch\n"
        "  --capture FILE       what vasctl capture wrote on a host: plan its next round again\n"
        "  --reassign VM|all    of a capture: place that VM or all anew, without regard to credits\n"
        "\n"
        "How to place:\n"
        "  --policy P[,P]...    planner (ours, the default), or, to compare: random, first-fit, best-fit,\n"
        "                       k8s-uncore, nova, vsched, vsched-any; all\n"
        "  --budget CREDITS     move credits before each event (1); the bucket holds 64\n"
        "  --cool-down SECONDS  how long a moved VM is left alone, in the trace's time (30)\n"
        "  --smt MODE           auto|true|false|own-cores (auto)\n"
        "  --layout MODE        auto|pack|spread (auto)\n"
        "  --sched-policy P     static|dynamic|cluster (static): the last two share CPUs in layers\n"
        "  --overcommit-layers N  so many vCPUs on a CPU, at most (6)\n"
        "  --memory MODE        none: VMs may change nodes (the default); first-touch: memory stays where\n"
        "                       the VM first ran, and the VM with it\n"
        "  --ticks              also rounds every 5 s and credits by time, as the daemon has them\n"
        "  --faults LIST        writes=P,deaths=P,ranges=P in percent: refused writes, VMs that die and\n"
        "                       ranges that change between a plan and its application\n"
        "\n"
        "What to show:\n"
        "  --json               figures for programs\n"
        "  --svg FILE           occupancy and excess over time as a picture\n"
        "  --watch              two maps side by side: without and with VSched\n"
        "\n"
        "Writing traces:\n"
        "  --generate MIX       azure|huawei|odd|swing, to standard output\n"
        "  --occupancy P        percent of the host's CPUs to fill (85), up to 600\n"
        "  --events N           how many arrivals and departures (8000)\n"
        "  --seed N             another seed, another trace (1); also seeds faults and --policy random\n"
        "\n"
        "  -h, --help           this text\n"
        "  -V, --version        the version\n"
        "\n"
        "Exit: 0 done, 1 failed, 2 wrong usage or input that can not be read.\n";

static const char *const policy_names[POLICY_KINDS] = {
        [POLICY_PLANNER] = "planner",       [POLICY_RANDOM] = "random",
        [POLICY_FIRST_FIT] = "first-fit",   [POLICY_BEST_FIT] = "best-fit",
        [POLICY_K8S_UNCORE] = "k8s-uncore", [POLICY_NOVA] = "nova",
        [POLICY_VSCHED] = "vsched",         [POLICY_VSCHED_ANY] = "vsched-any",
};

const char *policy_name(PolicyKind policy) {
        return policy_names[policy];
}

static int refuse(Complaint *why, const char *option, const char *value, const char *legal) {
        return complain(why, "--%s: \"%.100s\" is not %s", option, value, legal);
}

/* A decimal number of least..most. */
static int take_number(const char *option, const char *text, double least, double most, double *ret,
                       Complaint *why) {
        char *end, legal[64];
        double value = strtod(text, &end);

        if (end != text && !*end && isfinite(value) && value >= least && value <= most) {
                *ret = value;
                return 0;
        }
        snprintf(legal, sizeof(legal), "a number from %g to %g", least, most);
        return refuse(why, option, text, legal);
}

static int take_policies(const char *text, Options *options, Complaint *why) {
        char copy[256], *rest = NULL;

        options->n_policies = 0;
        if (strcmp(text, "all") == 0) {
                for (PolicyKind kind = 0; kind < POLICY_KINDS; kind++)
                        options->policy[options->n_policies++] = kind;
                return 0;
        }
        snprintf(copy, sizeof(copy), "%s", text);
        for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
                PolicyKind kind = 0;
                while (kind < POLICY_KINDS && strcmp(word, policy_names[kind]) != 0)
                        kind++;
                if (kind == POLICY_KINDS || options->n_policies == POLICY_KINDS)
                        return refuse(why, "policy", word,
                                      "planner, random, first-fit, best-fit, k8s-uncore, nova, vsched, vsched-any or all");
                options->policy[options->n_policies++] = kind;
        }
        return options->n_policies ? 0 : complain(why, "--policy needs a policy");
}

static int take_faults(const char *text, FaultRates *ret, Complaint *why) {
        char copy[256], *rest = NULL;

        snprintf(copy, sizeof(copy), "%s", text);
        for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
                char *value = strchr(word, '=');
                double percent = 0;
                if (value)
                        *value++ = '\0';
                uint32_t *rate = strcmp(word, "writes") == 0   ? &ret->writes
                                 : strcmp(word, "deaths") == 0 ? &ret->deaths
                                 : strcmp(word, "ranges") == 0 ? &ret->ranges
                                                               : NULL;
                if (!value || !rate)
                        return refuse(why, "faults", word, "writes=PERCENT, deaths=PERCENT or ranges=PERCENT");
                int r = take_number("faults", value, 0, 100, &percent, why);
                if (r)
                        return r;
                *rate = (uint32_t)(percent * 10000);
        }
        return 0;
}

static int take_mix(const char *text, Mix *ret, Complaint *why) {
        for (Mix mix = 0; mix < MIXES; mix++)
                if (strcmp(text, mix_name(mix)) == 0) {
                        *ret = mix;
                        return 0;
                }
        return refuse(why, "generate", text, "azure, huawei, odd or swing");
}

static int take_memory(const char *text, bool *ret, Complaint *why) {
        if (strcmp(text, "none") != 0 && strcmp(text, "first-touch") != 0)
                return refuse(why, "memory", text, "none or first-touch");
        *ret = strcmp(text, "first-touch") == 0;
        return 0;
}

static int take_mode(Options *options, Mode mode, Complaint *why) {
        if (options->mode != MODE_HELP && options->mode != mode)
                return complain(why, "--trace, --snapshot, --capture and --generate exclude each other");
        options->mode = mode;
        return 0;
}

enum {
        OPT_TOPOLOGY = 1000,
        OPT_LEVEL,
        OPT_TRACE,
        OPT_SNAPSHOT,
        OPT_CAPTURE,
        OPT_REASSIGN,
        OPT_POLICY,
        OPT_BUDGET,
        OPT_COOL_DOWN,
        OPT_SMT,
        OPT_LAYOUT,
        OPT_SCHED,
        OPT_LAYERS,
        OPT_MEMORY,
        OPT_TICKS,
        OPT_FAULTS,
        OPT_JSON,
        OPT_SVG,
        OPT_WATCH,
        OPT_GENERATE,
        OPT_OCCUPANCY,
        OPT_EVENTS,
        OPT_SEED,
};

static const struct option long_options[] = {
        {"topology", required_argument, NULL, OPT_TOPOLOGY},
        {"cluster-level", required_argument, NULL, OPT_LEVEL},
        {"trace", required_argument, NULL, OPT_TRACE},
        {"snapshot", required_argument, NULL, OPT_SNAPSHOT},
        {"capture", required_argument, NULL, OPT_CAPTURE},
        {"reassign", required_argument, NULL, OPT_REASSIGN},
        {"policy", required_argument, NULL, OPT_POLICY},
        {"budget", required_argument, NULL, OPT_BUDGET},
        {"cool-down", required_argument, NULL, OPT_COOL_DOWN},
        {"smt", required_argument, NULL, OPT_SMT},
        {"layout", required_argument, NULL, OPT_LAYOUT},
        {"sched-policy", required_argument, NULL, OPT_SCHED},
        {"overcommit-layers", required_argument, NULL, OPT_LAYERS},
        {"memory", required_argument, NULL, OPT_MEMORY},
        {"ticks", no_argument, NULL, OPT_TICKS},
        {"faults", required_argument, NULL, OPT_FAULTS},
        {"json", no_argument, NULL, OPT_JSON},
        {"svg", required_argument, NULL, OPT_SVG},
        {"watch", no_argument, NULL, OPT_WATCH},
        {"generate", required_argument, NULL, OPT_GENERATE},
        {"occupancy", required_argument, NULL, OPT_OCCUPANCY},
        {"events", required_argument, NULL, OPT_EVENTS},
        {"seed", required_argument, NULL, OPT_SEED},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {},
};

/* Options whose value is a number. */
static int take_numeric(int option, Options *options, Complaint *why) {
        double value = 0;
        int r;

        switch (option) {
        case OPT_BUDGET:
                r = take_number("budget", optarg, 0, 1000000, &value, why);
                options->budget_milli = (int32_t)lround(value * 1000);
                return r;
        case OPT_COOL_DOWN:
                r = take_number("cool-down", optarg, 0, 1000000, &value, why);
                options->cool_down_s = (int32_t)value;
                return r;
        case OPT_OCCUPANCY:
                return take_number("occupancy", optarg, 1, 600, &options->occupancy_pct, why);
        case OPT_LAYERS:
                r = take_number("overcommit-layers", optarg, 1, 100, &value, why);
                options->overcommit_layers = (uint8_t)value;
                return r;
        case OPT_EVENTS:
                r = take_number("events", optarg, 1, 10000000, &value, why);
                options->n_events = (uint32_t)value;
                return r;
        default:
                r = take_number("seed", optarg, 0, 9e15, &value, why);
                options->seed = (uint64_t)value;
                return r;
        }
}

static int take_option(int option, Options *options, Complaint *why) {
        switch (option) {
        case OPT_TOPOLOGY:
                options->topology = optarg;
                return 0;
        case OPT_LEVEL:
                return level_parse(optarg, &options->level) < 0
                               ? refuse(why, "cluster-level", optarg, "auto, cluster, l3, numa or package") : 0;
        case OPT_TRACE:
                options->file = optarg;
                return take_mode(options, MODE_TRACE, why);
        case OPT_SNAPSHOT:
                options->file = optarg;
                return take_mode(options, MODE_SNAPSHOTS, why);
        case OPT_CAPTURE:
                options->file = optarg;
                return take_mode(options, MODE_CAPTURE, why);
        case OPT_REASSIGN:
                options->reassign = optarg;
                return 0;
        case OPT_POLICY:
                return take_policies(optarg, options, why);
        case OPT_SMT:
                return smt_parse(optarg, &options->smt) < 0
                               ? refuse(why, "smt", optarg, "auto, true, false or own-cores") : 0;
        case OPT_LAYOUT:
                return layout_parse(optarg, &options->layout) < 0
                               ? refuse(why, "layout", optarg, "auto, pack or spread") : 0;
        case OPT_SCHED:
                return sched_parse(optarg, &options->sched) < 0
                               ? refuse(why, "sched-policy", optarg, "static, dynamic or cluster") : 0;
        case OPT_MEMORY:
                return take_memory(optarg, &options->first_touch, why);
        case OPT_TICKS:
                options->ticks = true;
                return 0;
        case OPT_FAULTS:
                return take_faults(optarg, &options->faults, why);
        case OPT_JSON:
                options->json = true;
                return 0;
        case OPT_SVG:
                options->svg = optarg;
                return 0;
        case OPT_WATCH:
                options->watch = true;
                return 0;
        case OPT_GENERATE: {
                int r = take_mix(optarg, &options->mix, why);
                return r ? r : take_mode(options, MODE_GENERATE, why);
        }
        default:
                return take_numeric(option, options, why);
        }
}

static int check_combination(const Options *options, Complaint *why) {
        if (options->mode == MODE_HELP)
                return complain(why, "nothing to do: give --trace, --snapshot, --capture or --generate (--help tells more)");
        if (options->mode == MODE_GENERATE && !options->topology)
                return complain(why, "--generate needs --topology");
        if (options->mode == MODE_CAPTURE && options->topology)
                return complain(why, "--capture excludes --topology: the host's is in the file");
        if (options->mode != MODE_CAPTURE && options->reassign)
                return complain(why, "--reassign needs --capture");
        if (options->mode != MODE_TRACE && (options->svg || options->watch))
                return complain(why, "--svg and --watch need --trace");
        if (options->watch && options->json)
                return complain(why, "--watch and --json exclude each other");
        return 0;
}

int options_parse(int argc, char **argv, Options *ret, Complaint *ret_why) {
        Options options = {
                .n_policies = 1,
                .budget_milli = 1000,
                .cool_down_s = 30,
                .overcommit_layers = 6,
                .occupancy_pct = 85,
                .n_events = 8000,
                .seed = 1,
        };
        int option;

        opterr = 0;
        optind = 0; /* 1 would go on inside a word of the call before */
        while ((option = getopt_long(argc, argv, ":hV", long_options, NULL)) != -1) {
                if (option == 'h' || option == 'V') {
                        options.mode = option == 'h' ? MODE_HELP : MODE_VERSION;
                        *ret = options;
                        return 0;
                }
                if (option == ':')
                        return complain(ret_why, "%.100s needs a value", argv[optind - 1]);
                if (option == '?')
                        return complain(ret_why, "unknown option %.100s (--help tells them all)", argv[optind - 1]);
                int r = take_option(option, &options, ret_why);
                if (r)
                        return r;
        }
        if (optind < argc)
                return complain(ret_why, "\"%.100s\" is no option (--help tells them all)", argv[optind]);
        int r = check_combination(&options, ret_why);
        if (r == 0)
                *ret = options;
        return r;
}

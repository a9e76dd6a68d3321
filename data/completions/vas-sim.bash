# SPDX-License-Identifier: Apache-2.0
# bash completion for vas-sim

_vas_sim() {
	local cur prev words
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	case $prev in
	--topology | --trace | --snapshot | --svg) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
	--policy) words="planner random first-fit best-fit k8s-uncore nova vsched vsched-any all" ;;
	--smt) words="auto true false own-cores" ;;
	--layout) words="auto pack spread" ;;
	--sched-policy) words="static dynamic cluster" ;;
	--memory) words="none first-touch" ;;
	--cluster-level) words="auto cluster l3 numa package" ;;
	--generate) words="azure huawei odd swing" ;;
	--budget | --cool-down | --faults | --occupancy | --events | --seed | --overcommit-layers) return ;;
	*) words="--topology --cluster-level --trace --snapshot --policy --budget --cool-down --smt --layout --memory --ticks
		--sched-policy --overcommit-layers --faults --json --svg --watch --generate --occupancy --events --seed --help --version" ;;
	esac
	local IFS=$' \t\n'
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -o filenames -F _vas_sim vas-sim

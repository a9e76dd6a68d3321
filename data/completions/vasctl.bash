# SPDX-License-Identifier: Apache-2.0
# bash completion for vasctl

_vasctl_vms() {
	vasctl list --json 2>/dev/null | grep -o '"name": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/'
}

_vasctl_keys() {
	vasctl get --json 2>/dev/null | grep -o '"key": *"[a-z-]*\.[a-z0-9-]*"' | sed 's/.*"\([^"]*\)"$/\1/'
}

_vasctl() {
	local cur prev verb words
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	verb=${COMP_WORDS[1]}
	case $prev in
	vasctl) words="status list show map explain plan check metrics get pause resume reassign recover set query opt --help --version" ;;
	get) words="$(_vasctl_keys) --json" ;;
	set) words="config $(_vasctl_keys)" ;;
	query) words="affinity" ;;
	opt) words="reassign recover" ;;
	config) words="-sp --sched-policy" ;;
	-sp | --sched-policy) words="affinity dynamicAffinity" ;;
	affinity) words="-s --scope" ;;
	-s | --scope) words="all $(_vasctl_vms)" ;;
	show | explain | --remove) words="$(_vasctl_vms)" ;;
	plan) words="--add --remove --reassign --policy --json" ;;
	--reassign) words="all $(_vasctl_vms)" ;;
	--policy) words="static dynamic cluster" ;;
	--add) words="" ;;
	reassign) if [ "$verb" = opt ]; then words="-s --scope"; else words="all $(_vasctl_vms)"; fi ;;
	*)
		case $verb in
		plan) words="--add --remove --reassign --policy --json" ;;
		set) words="--persist" ;;
		*) words="--json" ;;
		esac
		;;
	esac
	local IFS=$' \t\n'
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _vasctl vasctl

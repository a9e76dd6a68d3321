# SPDX-License-Identifier: Apache-2.0
# bash completion for vasctl, which knows its own words

_vasctl() {
	local line words
	# What is behind a tab is a description. Status 1: a file name is wanted, too.
	words=$("$1" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || compopt -o default 2>/dev/null
	COMPREPLY=()
	while IFS= read -r line; do
		[ -z "$line" ] || COMPREPLY+=("$(printf %q "${line%%$'\t'*}")")
	done <<<"$words"
}

complete -F _vasctl vasctl

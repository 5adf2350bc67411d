# lib.sh - what the steps share; sourced from the root of the tree.
# A step prints "ok NAME" or "not ok NAME" for each check, anything else beside is shown only
# when something failed.

# check NAME SECONDS COMMAND...: one check, with a time limit.
check() {
	check_name=$1
	check_seconds=$2
	shift 2
	check_output=$(mktemp)
	if timeout -k 5 "$check_seconds" "$@" </dev/null >"$check_output" 2>&1; then
		echo "ok $check_name"
		check_result=0
	else
		check_result=$?
		echo "not ok $check_name (exit status $check_result)"
		tail -n 40 "$check_output" | sed 's/^/  /'
	fi
	rm -f "$check_output"
	return $check_result
}

# unit TREE TEST...: run cmocka tests of a build tree; each test function is a check.
unit() {
	unit_tree=$1
	shift
	for unit_test; do
		unit_output=$(mktemp)
		# shellcheck disable=SC2086
		CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 5 120 $fixed "$unit_tree/$unit_test" \
			</dev/null >"$unit_output" 2>&1
		unit_status=$?
		sed -n "s|^\(ok\) [0-9]* - |\1 $unit_tree $(basename "$unit_test"): |p
			s|^\(not ok\) [0-9]* - |\1 $unit_tree $(basename "$unit_test"): |p" "$unit_output"
		if [ $unit_status -ne 0 ]; then
			grep -q '^not ok ' "$unit_output" ||
				echo "not ok $unit_tree $(basename "$unit_test") (exit status $unit_status)"
			tail -n 60 "$unit_output" | sed 's/^/  /'
		fi
		rm -f "$unit_output"
	done
}

# A sandbox may forbid to switch off the random layout of memory; only TSan needs that.
fixed='setarch -R'
$fixed true 2>/dev/null || fixed=

# listed VARIABLE: a list of sources.mk.
listed() { sed -n "s/^$1 = *//p" sources.mk; }

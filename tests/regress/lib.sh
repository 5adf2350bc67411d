# lib.sh - what the scripts of the tools share; sourced from the root of the tree.
# Each check prints "ok NAME" or "not ok NAME".  BUILD: the build tree (default build).
build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
gneiss=$build/bin/gneiss
work=$(mktemp -d) || exit 1
server_data=
failed=0
clean_up() {
	[ -z "$server_data" ] || "$gneiss" stop --data "$server_data" --immediate >/dev/null 2>&1
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM
HOME=$work
export HOME

# expect NAME STATUS PATTERN COMMAND...: exit status and a pattern (grep -E) that its output has.
expect() {
	expect_name=$1
	expect_status=$2
	expect_pattern=$3
	shift 3
	timeout -k 5 120 "$@" >"$work/out" 2>&1 </dev/null
	expect_got=$?
	if [ "$expect_got" -eq "$expect_status" ] && grep -Eq -- "$expect_pattern" "$work/out"; then
		echo "ok $expect_name"
	else
		echo "not ok $expect_name (exit status $expect_got)"
		sed 's/^/  /' "$work/out" | head -n 20
		failed=1
	fi
}
# same NAME FILE FILE
same() {
	if cmp -s "$2" "$3"; then
		echo "ok $1"
	else
		echo "not ok $1"
		diff "$2" "$3" | head -n 10
		failed=1
	fi
}

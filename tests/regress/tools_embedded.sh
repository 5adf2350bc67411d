#!/bin/sh
# The program gneiss on a directory that no server holds: init, import, export, check, inspect,
# config, the shell; and the example program against the library.
. tests/regress/lib.sh
data=$work/data

expect 'init makes a directory' 0 'page size 16384' "$gneiss" init --page-size 16384 "$data"
expect 'init refuses one that holds a database' 1 'holds a database already' "$gneiss" init "$data"
expect 'init refuses an odd page size' 2 'must be 4096' "$gneiss" init --page-size 5000 "$work/other"
expect 'an unknown verb is told' 2 "no verb 'frobnicate'" "$gneiss" frobnicate
expect 'an unknown option is told' 2 'unknown option --nonsense' "$gneiss" init --nonsense "$data"
expect 'help tells of every verb' 0 'import +insert' "$gneiss" help
expect 'help tells of one verb' 0 'usage: gneiss import' "$gneiss" help import
expect 'config lists settings with their help' 0 'shared_buffers = "128MB"' "$gneiss" config
expect 'version' 0 '^gneiss [0-9]' "$gneiss" version
expect 'status of a directory without a server' 3 'not running' "$gneiss" status --data "$data"

# ---- import and export ----
awk 'BEGIN { for (i = 0; i < 2500; i++)
	printf "{\"_id\":%d,\"name\":\"n%d\",\"at\":{\"$date\":\"2026-01-01T00:00:00Z\"},\"x\":%d.5}\n", i, i, i }' \
	>"$work/lines.json"
expect 'import reads lines' 0 '^2500 documents into test.lines in ' \
	"$gneiss" import --data "$data" "$work/lines.json"
{ printf '[\n'; sed '$!s/$/,/' "$work/lines.json"; printf ']\n'; } >"$work/array.json"
expect 'import reads an array' 0 '^2500 documents into d.c in ' \
	"$gneiss" import --data "$data" --db d --collection c "$work/array.json"
expect 'import replaces with --drop' 0 '^2500 documents' \
	"$gneiss" import --data "$data" --db d --collection c --drop "$work/array.json"
expect 'a document that is there already is refused with its lines' 1 'lines 1 to 1000 .*E11000' \
	"$gneiss" import --data "$data" --db d --collection c "$work/lines.json"
{ head -n 1200 "$work/lines.json"; echo '{"_id": oops}'; } >"$work/bad.json"
expect 'damage is told with its line' 1 'bad.json:1201: expected value \(column 9\)' \
	"$gneiss" import --data "$data" --db d --collection bad "$work/bad.json"
printf '[1]' >"$work/number.json"
expect 'what is no document is told' 1 'number.json:1: not a document' \
	"$gneiss" import --data "$data" "$work/number.json"
printf '{"a":1}\n{"b":\n' >"$work/open.json"
expect 'a file that ends too early is told' 1 'open.json:[23]: EOF' \
	"$gneiss" import --data "$data" "$work/open.json"
expect 'a missing file is told' 1 "could not open '/nowhere.json'" \
	"$gneiss" import --data "$data" /nowhere.json
expect 'export writes a file' 0 '2500 documents' \
	"$gneiss" export --data "$data" --db d --output "$work/out.json" c
sort "$work/out.json" >"$work/out.sorted"
sort "$work/lines.json" >"$work/lines.sorted"
same 'what comes out is what went in' "$work/out.sorted" "$work/lines.sorted"
expect 'export filters, and tells every type' 0 '^\{"_id":\{"\$numberInt":"7"\}' \
	"$gneiss" export --data "$data" --db d --canonical --filter '{"_id":7}' c

# ---- the shell ----
shell() { "$gneiss" shell --data "$data" --eval "$@"; }
uuid='[0-9a-f]{8}-[0-9a-f-]{27}'
expect 'the shell inserts with relaxed JSON' 0 "^Inserted: $uuid" \
	"$gneiss" shell --data "$data" --eval "use myapp; db.users.insert({name: 'Ada; \"A\"', tags: [1, 2.0,],})"
expect 'what it inserted is there' 0 '"name": "Ada; \\"A\\""' \
	"$gneiss" shell --data "$data" --eval 'use myapp; db.users.find()'
expect 'floats keep their fraction' 0 '^ +2\.0$' \
	"$gneiss" shell --data "$data" --eval 'use myapp; db.users.find()'
expect 'it counts' 0 '^1$' "$gneiss" shell --data "$data" --eval 'use myapp; db.users.count()'
expect 'it lists collections' 0 '"users"' \
	"$gneiss" shell --data "$data" --eval 'use myapp; db.collections()'
expect 'without a database it says so' 1 'No database selected. Use: use <database_name>' \
	"$gneiss" shell --data "$data" --eval 'db.users.count()'
expect 'an unknown method is told' 1 'Error: unknown method: db.users.foo\(\)' \
	"$gneiss" shell --data "$data" --eval 'use myapp; db.users.foo()'
expect 'an unknown command is told' 1 'Error: unknown command: foo' \
	"$gneiss" shell --data "$data" --eval 'foo'
id=$(shell 'use myapp; db.users.insert({a: 1})' | sed -n 's/^Inserted: //p')
expect 'it gets by id, _id first' 0 "\"_id\": \"$id\"" \
	"$gneiss" shell --data "$data" --eval "use myapp; db.users.get('$id')"
expect 'it gets by the beginning of an id' 0 "\"_id\": \"$id\"" \
	"$gneiss" shell --data "$data" --eval "use myapp; db.users.get(\"$(printf %s "$id" | cut -c1-13)\")"
expect 'it updates' 0 "^Updated: $id" \
	"$gneiss" shell --data "$data" --eval "use myapp; db.users.update(\"$id\", {a: 2})"
expect 'it deletes' 0 "^Deleted: $id" \
	"$gneiss" shell --data "$data" --eval "use myapp; db.users.delete(\"$id\")"
expect 'a deleted document is gone' 0 '^null$' \
	"$gneiss" shell --data "$data" --eval "use myapp; db.users.get(\"$id\")"

# ---- looking inside ----
expect 'check finds all well' 0 'all is well' "$gneiss" check "$data"
expect 'inspect wal prints records' 0 'CHECKPOINT|checkpoint' "$gneiss" inspect wal "$data"
page=$(find "$data/data" -type f -size +60k | head -n 1)
if [ -n "$page" ]; then
	printf 'garbage' | dd of="$page" bs=1 seek=20000 conv=notrunc 2>/dev/null
	expect 'check finds a damaged page' 1 'fault|checksum|damaged' "$gneiss" check "$data"
else
	echo 'not ok check finds a damaged page (no file to damage)'
	failed=1
fi

# ---- the library, as a stranger uses it ----
if ${CC:-cc} -o "$work/embedded" -Iclient doc/examples/embedded.c "$build/libgneiss.so" \
	-Wl,-rpath,"$build" >"$work/out" 2>&1; then
	expect 'the example runs' 0 'now: .*"loans":1' "$work/embedded" "$work/books"
	expect 'it finds its books again' 0 'now: .*"loans":2' "$work/embedded" "$work/books"
else
	echo 'not ok the example compiles'
	sed 's/^/  /' "$work/out" | head -n 20
	failed=1
fi
exit $failed

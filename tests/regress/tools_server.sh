#!/bin/sh
# A server's life by the program gneiss: start, status, import, export, shell, reload, stop.
. tests/regress/lib.sh
data=$work/data
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
text=$(free_port)
json=$(free_port)
GNEISS_BOOTSTRAP_PASSWORD=correct-horse
GNEISS_SERVER_BIND=127.0.0.1:$text
GNEISS_JSON_BIND=127.0.0.1:$json
GNEISS_MONGO_BIND=
GNEISS_HTTP_BIND=
export GNEISS_BOOTSTRAP_PASSWORD GNEISS_SERVER_BIND GNEISS_JSON_BIND GNEISS_MONGO_BIND GNEISS_HTTP_BIND

expect 'stop says that nothing runs' 3 'no server is running' "$gneiss" stop --data "$data"
server_data=$data
expect 'start waits until the server listens' 0 "json +127.0.0.1:$json" "$gneiss" start --data "$data"
expect 'a second start is refused' 1 'in use by process' "$gneiss" start --data "$data"
expect 'status tells pid and listeners' 0 "text +127.0.0.1:$text" "$gneiss" status --data "$data"
expect 'check refuses a directory in use' 1 'in use by process' "$gneiss" check "$data"
expect 'so does the embedded shell' 1 'in use by process' "$gneiss" shell --data "$data" --eval 'use a'
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "{\"_id\":\"k%d\",\"n\":%d}\n", i, i }' >"$work/lines.json"
expect 'import over the JSON listener' 0 '^3000 documents into d.c' \
	"$gneiss" import --uri "json://127.0.0.1:$json" --db d --collection c "$work/lines.json"
expect 'a refused batch names its lines' 1 'lines 1 to 1000 are refused: Duplicate key' \
	"$gneiss" import --uri "json://127.0.0.1:$json" --db d --collection c "$work/lines.json"
expect 'import --drop' 0 '^3000 documents' \
	"$gneiss" import --uri "json://127.0.0.1:$json" --db d --collection c --drop "$work/lines.json"
expect 'export over the JSON listener' 0 '3000 documents' \
	"$gneiss" export --uri "json://127.0.0.1:$json" --db d --output "$work/out.json" c
expect 'the shell logs in and inserts' 0 'Inserted: ' \
	"$gneiss" shell --host 127.0.0.1 --port "$text" --tenant _system --user admin \
	--password correct-horse --eval 'use app; db.users.insert({name: "Bo"}); db.users.find()'
expect 'a wrong password is refused' 1 'Connection failed: invalid credentials' \
	"$gneiss" shell --host 127.0.0.1 --port "$text" --tenant _system --user admin \
	--password wrong --eval 'use app'
expect 'reload' 0 'rereads' "$gneiss" reload --data "$data"
expect 'stop waits until it has ended' 0 '^stopped$' "$gneiss" stop --data "$data"
expect 'status says that nothing runs' 3 'not running' "$gneiss" status --data "$data"
expect 'it starts again' 0 'gneissd is running' "$gneiss" start --data "$data"
expect 'what was written is there' 0 '^1$' \
	"$gneiss" shell --host 127.0.0.1 --port "$text" --tenant _system --user admin \
	--password correct-horse --eval 'use app; db.users.count()'
expect 'stop at once' 0 '^stopped$' "$gneiss" stop --data "$data" --immediate
server_data=
expect 'a directory left like that is recovered and well' 0 'all is well' "$gneiss" check "$data"
expect 'a server that cannot start is told with its log' 1 'did not start' \
	"$gneiss" start --data "$data" --set server.bind=nonsense
exit $failed

#!/bin/sh
# `gneiss bench` over each listener: every workload once, every answer checked; and that it notices
# wrong answers.
. tests/regress/lib.sh
data=$work/data
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
GNEISS_BOOTSTRAP_PASSWORD=correct:horse
GNEISS_SERVER_BIND=127.0.0.1:$(free_port)
GNEISS_JSON_BIND=127.0.0.1:$(free_port)
GNEISS_MONGO_BIND=127.0.0.1:$(free_port)
GNEISS_HTTP_BIND=
export GNEISS_BOOTSTRAP_PASSWORD GNEISS_SERVER_BIND GNEISS_JSON_BIND GNEISS_MONGO_BIND GNEISS_HTTP_BIND
server_data=$data
expect 'a server starts' 0 'gneissd is running' "$gneiss" start --data "$data"
text=text://admin:correct%3ahorse@$GNEISS_SERVER_BIND
json=json://$GNEISS_JSON_BIND/other
mongo=mongodb://$GNEISS_MONGO_BIND

for uri in "$mongo" "$json" "$text"; do
	scheme=${uri%%:*}
	for workload in get insert update delete scan index range mixed connect; do
		case $scheme-$workload in text-index | text-range) continue ;; esac
		expect "$scheme: $workload" 0 "^  300 operations in " \
			"$gneiss" bench --docs 1500 --count 300 --uri "$uri" --workload $workload --clients 3
	done
	expect "$scheme: a pipeline" 0 '^  300 operations in ' \
		"$gneiss" bench --docs 1500 --count 300 --uri "$uri" --pipeline 16 --size medium --workload mixed
	expect "$scheme: the result as JSON" 0 \
		'"clients":2,.*"idle":5,.*"docs":1500,.*"ops":300,"errors":0,"ops_per_sec":[0-9.]+,.*"p50_us":[0-9.]+,.*"p99_us":' \
		"$gneiss" bench --docs 1500 --count 300 --uri "$uri" --json --clients 2 --idle 5
done
for workload in ycsb-a ycsb-b ycsb-c ycsb-d ycsb-e ycsb-f; do
	expect "$workload" 0 '^  300 operations in ' \
		"$gneiss" bench --docs 1500 --count 300 --uri "$mongo" --workload $workload --clients 2 --pipeline 4
done
expect 'it ends when its time is over' 0 'operations in 0\.[2-9]' \
	"$gneiss" bench --docs 1500 --uri "$mongo" --seconds 0.2
expect 'writes that need not be durable' 0 'not durable' \
	"$gneiss" bench --docs 1500 --count 300 --uri "$json" --workload insert --durable off
expect 'deleting ends with the documents' 0 '^  1500 operations in ' \
	"$gneiss" bench --docs 1500 --uri "$mongo" --workload delete --clients 2 --seconds 60

expect 'it loads only' 0 '^1500 documents of 51 bytes loaded' "$gneiss" bench --docs 1500 --uri "$mongo" --load-only
expect 'runs follow each other on what was loaded' 0 '^  300 operations' \
	"$gneiss" bench --docs 1500 --count 300 --uri "$mongo" --no-load --workload mixed
expect 'documents that are missing are noticed' 1 'answers were wrong; the first: 0 documents came back' \
	"$gneiss" bench --docs 9000 --count 300 --uri "$mongo" --no-load
expect 'documents that are others are noticed' 1 '300 of 300 answers were wrong' \
	"$gneiss" bench --docs 1500 --count 300 --uri "$mongo" --no-load --size medium
expect 'so they are over text' 1 'the first: a wrong document' \
	"$gneiss" bench --docs 1500 --count 300 --uri "$text" --no-load --size 300
expect 'so they are over JSON' 1 'the first: a wrong answer' \
	"$gneiss" bench --docs 1500 --count 300 --uri "$json" --no-load --size 300
expect 'a wrong password is told' 1 'could not log in: .*invalid credentials' \
	"$gneiss" bench --uri "text://admin:wrong@$GNEISS_SERVER_BIND"
expect 'text wants a login' 2 'user and password are wanted' "$gneiss" bench --uri "text://$GNEISS_SERVER_BIND"
for workload in index range; do
	expect "text has no $workload yet, and that is told" 2 'does not offer yet: use mongodb' \
		"$gneiss" bench --uri "$text" --workload $workload
done
expect 'an unknown workload is told' 2 "no workload 'nonsense'" "$gneiss" bench --workload nonsense
expect 'a wrong address is told' 2 'no address' "$gneiss" bench --uri http://nowhere
expect 'a size that is none is told' 2 'size must be' "$gneiss" bench --size tiny
expect 'the server stops' 0 '^stopped$' "$gneiss" stop --data "$data"
server_data=
expect 'no server is told' 1 'could not connect' "$gneiss" bench --uri "$mongo" --docs 10
exit $failed

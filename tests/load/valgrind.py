#!/usr/bin/python3
"""A smoke run of the whole server under valgrind: no error, no definite leak, in any process."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
os.environ.setdefault("SLOW", "20")
from server import Checks, Server  # noqa: E402
from wire import Json, Mongo, Text  # noqa: E402

KEY = "00000000-0000-4000-8000-00000000000%d"


def work(server):
    """each language writes, reads and errs under valgrind"""
    with Text(server.port["text"]) as text:
        for line in ("CREATE DATABASE v", "USE v", "CREATE COLLECTION c"):
            text.ask(line)
        for number in range(5):
            text.ask("INSERT c %s [%d]" % (KEY % number, number))
        assert len(text.ask("SCAN c")) == 5
        text.ask("DELETE c " + KEY % 1)
        text.ask("FLUSH")
        text.send(b"FROB \x01\n" + b"x" * 70000 + b"\n")
    with Json(server.port["json"]) as conn:
        where = {"database": "v", "collection": "j"}
        conn.ask("insert_many", documents=[{"_id": n, "a": "x" * n} for n in range(300)], **where)
        assert conn.ask("find", filter={"_id": {"$gte": 290}}, sort={"a": 1}, **where)["count"] == 10
        conn.ask("update_many", filter={"_id": {"$lt": 20}}, update={"$inc": {"n": 1}}, **where)
        assert conn.ask("delete_many", filter={"n": 1}, **where)["deleted_count"] == 20
        conn.send(b'{"request_id":[[[{"a":1e999}\n')
    with Mongo(server.port["mongo"]) as conn:
        conn.ask({"createIndexes": "m", "indexes": [{"key": {"a": 1}, "name": "a_1"}]}, "v")
        for number in range(10):
            conn.ask({"insert": "m", "documents": [{"_id": number * 50 + n, "a": n % 7} for n in range(50)]}, "v")
        conn.ask({"insert": "m", "documents": [{"_id": "large", "a": "y" * 200000}]}, "v")
        reply = conn.ask({"find": "m", "filter": {"a": 3}, "batchSize": 5}, "v")
        conn.ask({"getMore": reply["cursor"]["id"], "collection": "m"}, "v")
        conn.ask({"delete": "m", "deletes": [{"q": {"a": {"$lt": 5}}, "limit": 0}]}, "v")
        conn.send(b"\xff" * 64)


def main():
    checks = Checks()
    wrapper = ["valgrind", "--trace-children=yes", "--leak-check=full", "--show-leak-kinds=definite",
               "--errors-for-leak-kinds=definite", "--error-exitcode=0", "--child-silent-after-fork=no",
               "--num-callers=20"]
    with Server({"memory.shared_buffers": "2MB", "server.spare_backends_min": 1,
                 "server.spare_backends_max": 2}, wrapper=[]) as server:
        logs = os.path.join(server.directory, "valgrind.%p")
        server.wrapper = wrapper + ["--log-file=" + logs]
        server.start()
        checks.run(work, server)
        checks.check(server.stop() == 0, "valgrind: TERM: exit 0")
        found, summaries = [], 0
        for name in sorted(os.listdir(server.directory)):
            if not name.startswith("valgrind."):
                continue
            with open(os.path.join(server.directory, name), encoding="utf-8", errors="replace") as file:
                text = file.read()
            errors = re.findall(r"ERROR SUMMARY: (\d+) errors", text)
            summaries += bool(errors)
            if errors and errors[-1] != "0":
                found.append(text)
        for text in found[:3]:
            print(text[:6000])
        checks.check(summaries >= 6 and not found,
                     "valgrind: %d processes, %d of them with errors" % (summaries, len(found)))
    checks.done()


if __name__ == "__main__":
    main()

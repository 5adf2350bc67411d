#!/usr/bin/python3
"""Backends die while they build a unique index, at each step and at random moments.

Beside each build a session goes on inserting documents that are all alike in the field.  When the
builder is dead, either the index is there, finished, and refuses them, or soon nothing is left of
it: they are accepted, and the index can be built or its file is gone.  `validate` finds nothing.

    BUILD=build-faults tests/crash/builds.py [--random 4] [--seed N]
"""
import argparse
import os
import random
import sys
import threading
import time

os.environ.setdefault("BUILD", "build-faults")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from deaths import pids  # noqa: E402
from oracle import Unknown  # noqa: E402
from faultload import Wire  # noqa: E402
from server import SLOW, Checks, Server, wait_for  # noqa: E402
from wire import Closed, Mongo, Refused  # noqa: E402

# Where the builder is killed: point, and the how-manieth time that it comes by.
STEPS = (("CATALOG_ROW", 1), ("INDEX_ANNOUNCED", 1), ("INDEX_FILLED", 1), ("TREE_SPLIT", 2),
         ("CATALOG_COMMITTED", 1), ("CATALOG_COMMITTED", 2), ("COMMIT_FLUSHED", 1),
         ("COMMIT_FLUSHED", 2), ("COMMIT_FLUSHED", 3), ("COMMIT_LOGGED", 1), ("COMMIT_LOGGED", 2),
         ("COMMIT_LOGGED", 3))
INDEX = {"createIndexes": "c", "indexes": [{"key": {"k": 1}, "name": "k", "unique": True}]}
ROWS = 3000


def prepare(server):
    """A collection without any key twice."""
    with Mongo(server.port["mongo"], timeout=60) as conn:
        if "c" in collections(conn):
            conn.ask({"drop": "c"}, "builds")
        for first in range(0, ROWS, 1000):
            conn.ask({"insert": "c", "documents": [
                {"_id": i, "k": "%08d" % random.getrandbits(26) + 100 * "k" + str(i)}
                for i in range(first, first + 1000)]}, "builds")


def collections(conn):
    return [row["name"] for row in
            conn.ask({"listCollections": 1}, "builds")["cursor"]["firstBatch"]]


def has_index(conn):
    names = [row["name"] for row in
             conn.ask({"listIndexes": "c"}, "builds")["cursor"]["firstBatch"]]
    return "k" in names


def build(server, kill):
    """A session builds the index and is killed; yields whether it was."""
    with Mongo(server.port["mongo"], timeout=60) as conn:
        conn.ping()
        strike = kill(conn)
        try:
            conn.ask(INDEX, "builds")
            return False
        except (Closed, ConnectionError):
            return True
        finally:
            if strike is not None:
                strike.join()  # while the process is still this session's


def insert_twice(conn, serial):
    """Is a key that is there accepted?"""
    reply = conn.ask({"insert": "c", "documents": [
        {"_id": "x%d" % serial, "k": "same"}, {"_id": "y%d" % serial, "k": "same"}]}, "builds")
    codes = {error["code"] for error in reply.get("writeErrors", ())}
    if codes - {11000}:
        raise Refused(str(reply))
    return not codes


def after(server, serial):
    """What is wrong when the builder is dead."""
    with Mongo(server.port["mongo"], timeout=60) as conn:
        until, serial = time.monotonic() + 5 * SLOW, serial * 1000
        while not has_index(conn) and not insert_twice(conn, serial):
            if time.monotonic() > until:
                return ["duplicates are refused by an index that is not there"]
            serial += 1
            time.sleep(0.05)
        wrong = []
        if has_index(conn):
            if insert_twice(conn, serial + 1):
                wrong.append("duplicates are accepted by an index that is there")
        else:
            conn.ask({"delete": "c", "deletes": [{"q": {"k": "same"}, "limit": 0}]}, "builds")
            conn.ask(INDEX, "builds")
        done = conn.ask({"validate": "c"}, "builds")
        return wrong + ([] if done["valid"] else [str(done["errors"][:2])])


def after_all(server, serial):
    """The same; one that was killed in the middle of a change takes all sessions along, once."""
    try:
        return after(server, serial)
    except (Closed, ConnectionError):
        return after(server, serial + 500)


def at_step(server, point, nth):
    def kill(_conn):
        with Mongo(server.port["mongo"]) as admin:
            admin.ask({"faultPoint": "%s=kill:%d:backend" % (point, nth)}, "admin")
    return kill


def at_random(server, rng):
    def kill(conn):
        pid = pids(server, "backend 127.0.0.1:%d" % conn.sock.getsockname()[1])[0]

        def strike():
            time.sleep(rng.uniform(0, 0.05))
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        return thread
    return kill


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.randrange(10000))
    options = parser.parse_args()
    rng, wrong, died = random.Random(options.seed), [], 0
    settings = {"storage.autovacuum": False, "server.enable_test_commands": True}
    with Server(settings) as server:
        server.start()
        kills = [("%s, %d" % step, at_step(server, *step)) for step in STEPS]
        kills += [("at random", at_random(server, rng))] * options.random
        for serial, (what, kill) in enumerate(kills):
            prepare(server)
            killed = build(server, kill)
            died += killed
            if not killed and what != "at random":
                wrong.append("%s: nobody died" % what)
                Wire(server).ask({"faultPoint": what.split(",")[0] + "=off"}, "admin")
            wrong += ["%s: %s" % (what, one) for one in after_all(server, serial)]
        if "restarting all" in server.log() and "in the middle of a change" not in server.log():
            wrong.append("all were restarted")
        if server.stop() != 0:
            wrong.append("the server did not end well")
    for text in wrong:
        print("  " + text)
    print("%s builders of a unique index are killed at each step: it is there or it is not "
          "(seed %d, %d builds, %d killed, %d wrong)" % (
              "not ok" if wrong else "ok", options.seed, len(kills), died, len(wrong)))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

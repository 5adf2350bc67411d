#!/usr/bin/python3
"""Statements that change many documents, the same ones, each in another order: every one ends.

They lock what they change until they end, so they meet in circles again and again, and one of each
circle has to give way.  Whatever they give up they begin anew; none may do so for ever, none may be
answered "deadlock", and each must be done once.  `SESSIONS=64` and `DOCUMENTS=1000` say how many.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import FULL, SLOW, Checks, Server  # noqa: E402
from wire import Mongo  # noqa: E402

SESSIONS = int(os.environ.get("SESSIONS", "64" if FULL else "24"))
DOCUMENTS = int(os.environ.get("DOCUMENTS", "1000"))
PATIENCE = 90
ORDERS = {  # an index each: forwards, backwards, shuffled
    "forwards": ({"_id": {"$gte": 0}}, {"_id": 1}),
    "backwards": ({"b": {"$lte": 0}}, {"b": 1}),
    "shuffled": ({"s": {"$gte": 0}}, {"s": 1}),
}


def prepare(conn):
    shuffled = list(range(DOCUMENTS))
    random.Random(1).shuffle(shuffled)
    conn.ask({"insert": "c", "documents": [
        {"_id": number, "n": 0, "b": -number, "s": shuffled[number], "p": "x" * 100}
        for number in range(DOCUMENTS)]})
    for field in ("b", "s"):
        conn.ask({"createIndexes": "c", "indexes": [{"key": {field: 1}, "name": field}]})


def statement(server, order, ended, failed):
    query, hint = ORDERS[order]
    began = time.monotonic()
    try:
        with Mongo(server.port["mongo"], timeout=PATIENCE) as conn:
            reply = conn.ask({"update": "c", "updates": [
                {"q": query, "u": {"$inc": {"n": 1}}, "hint": hint, "multi": True}]})
        assert reply.get("nModified") == DOCUMENTS, reply
        ended.append(time.monotonic() - began)
    except Exception as error:  # pylint: disable=broad-except  -- told by the check
        failed.append("%s: %s" % (order, str(error)[:200]))


def deadlocks(conn):
    return conn.ask({"serverStatus": 1}, "admin")["gneiss"]["deadlocks"]


def all_end(server, orders):
    with Mongo(server.port["mongo"]) as conn:
        conn.ask({"update": "c", "updates": [{"q": {}, "u": {"$set": {"n": 0}}, "multi": True}]})
        before = deadlocks(conn)
        ended, failed = [], []
        threads = [threading.Thread(target=statement, daemon=True, args=(
            server, orders[number % len(orders)], ended, failed)) for number in range(SESSIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join((PATIENCE + 10) * SLOW)
        assert len(ended) == SESSIONS and not failed, "%d ended; %s" % (len(ended), failed[:3])
        counts = conn.ask({"find": "c", "batchSize": DOCUMENTS + 1})["cursor"]["firstBatch"]
        assert {doc["n"] for doc in counts} == {SESSIONS} and len(counts) == DOCUMENTS
        gave_way = deadlocks(conn) - before
        assert len(orders) == 1 or gave_way > 0, "they never met"
    ended.sort()
    return "%d sessions, %d documents: the last after %.2f s, the middle one %.2f s; %d gave way" % (
        SESSIONS, DOCUMENTS, ended[-1], ended[len(ended) // 2], gave_way)


def one_way(server):
    """many changes of the same documents in one order all end"""
    return all_end(server, ["forwards"])


def two_ways(server):
    """many changes of the same documents, half of them backwards, all end"""
    return all_end(server, ["forwards", "backwards"])


def three_ways(server):
    """many changes of the same documents in three orders all end"""
    return all_end(server, ["forwards", "backwards", "shuffled"])


def main():
    checks = Checks()
    with Server({"memory.shared_buffers": "16MB"}) as server:
        server.start()
        with Mongo(server.port["mongo"]) as conn:
            prepare(conn)
        for test in (one_way, two_ways, three_ways):
            checks.run(test, server)
        checks.check(server.stop() == 0, "TERM: exit 0")
    checks.done()


if __name__ == "__main__":
    main()

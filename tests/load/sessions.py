#!/usr/bin/python3
"""Many sessions: 200 at work at once; the one too many is refused in its own language; silent
connections keep nobody out; memory at rest; process titles.

max_connections is 40 and 40 connections are silent; with FULL=1 1,000 each.
"""
import os
import re
import resource
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import FULL, MIB, PROTOCOLS, SLOW, Checks, Server, wait_for  # noqa: E402
from wire import Closed, Connection, Json, Mongo, Refused, Text, connect  # noqa: E402

MOST = 1000 if FULL else 40


def at_rest(server):
    """memory at rest besides shared_buffers is below 50 MB"""
    used = server.pss()
    assert used < 50_000_000, "%.1f MB" % (used / 1e6)
    return "%.1f MB, %d processes" % (used / 1e6, len(server.tree()))


def at_rest_filled(server, pool):
    """the same once the pool is full of pages and sessions have come and gone"""
    with Json(server.port["json"]) as conn:
        for number in range(60):
            conn.ask("insert_many", database="rest", collection="c", documents=[
                {"a": "%07d" % (number * 100 + i) * 140} for i in range(100)])
        conn.ask("count", database="rest", collection="c", filter={"a": "x"})
    sessions = [connect(server, protocol) for protocol in PROTOCOLS * 20]
    for session in sessions:
        session.ping()
        session.close()
    used = 0

    def small():  # once the backends beyond server.spare_backends_max have ended
        nonlocal used
        used = server.pss() - pool
        return used < 50_000_000
    try:
        wait_for(small, 5 * SLOW, "below 50 MB")
    except AssertionError as error:
        raise AssertionError("%s: %.1f MB" % (error, used / 1e6)) from None
    return "%.1f MB, %d processes" % (used / 1e6, len(server.tree()))


def titles(server):
    """process titles say what each is"""
    def told():
        found = sorted(server.titles().values())
        for title in found:
            assert title.startswith("gneissd: "), found
        return found
    for wanted in ("checkpointer", "wal writer", "buffer writer", "autovacuum", "backend idle"):
        wait_for(lambda: "gneissd: " + wanted in told(), 3 * SLOW, "a process titled " + wanted)
    with Mongo(server.port["mongo"]) as conn:
        conn.ping()
        port = conn.sock.getsockname()[1]
        wait_for(lambda: any(re.match(r"gneissd: backend 127\.0\.0\.1:%d( idle)?$" % port, title)
                             for title in told()), 3 * SLOW, "a title with the client's address: %s" % told())
        conn.ask({"insert": "t", "documents": [{"_id": n} for n in range(20000)]})
        stop = threading.Event()

        def work():
            while not stop.is_set():
                conn.ask({"find": "t", "filter": {"a": {"$gt": 5}}})
        worker = threading.Thread(target=work)
        worker.start()
        try:
            wait_for(lambda: any(title.startswith("gneissd: backend 127.0.0.1:%d find" % port)
                                 for title in told()), 10 * SLOW, "a title with the verb: %s" % told())
        finally:
            stop.set()
            worker.join()


def two_hundred(server):
    """200 connections at work at once"""
    count, each = 200, 20
    wrong, done = [], []

    def work(number):
        protocol = PROTOCOLS[number % 3]
        try:
            if protocol == "text":
                with Text(server.port["text"], database="many", timeout=120) as text:
                    barrier.wait(120)
                    for i in range(each):
                        key = "%08x-0000-4000-8000-%012x" % (number, i)
                        text.ask('INSERT c %s {"n":%d}' % (key, i))
                        assert text.ask("GET c " + key) == b'{"n":%d}' % i
            elif protocol == "json":
                with Json(server.port["json"], timeout=120) as conn:
                    conn.ping()
                    barrier.wait(120)
                    for i in range(each):
                        key = "%d.%d" % (number, i)
                        conn.ask("insert_one", database="many", collection="c", document={"_id": key, "n": i})
                        conn.ask("update_one", database="many", collection="c", filter={"_id": "hot"},
                                 update={"$inc": {"n": 1}})
            else:
                with Mongo(server.port["mongo"], timeout=120) as conn:
                    conn.ping()
                    barrier.wait(120)
                    for i in range(each):
                        key = "%d.%d" % (number, i)
                        conn.ask({"insert": "c", "documents": [{"_id": key, "n": i}]}, "many")
                        reply = conn.ask({"find": "c", "filter": {"_id": key}}, "many")
                        assert reply["cursor"]["firstBatch"] == [{"_id": key, "n": i}]
            done.append(number)
        except Exception as error:
            wrong.append("%s: %s %s" % (protocol, type(error).__name__, error))

    with Text(server.port["text"]) as text:
        for line in ("CREATE DATABASE many", "USE many", "CREATE COLLECTION c"):
            text.ask(line)
    with Json(server.port["json"]) as conn:
        conn.ask("insert_one", database="many", collection="c", document={"_id": "hot", "n": 0})
    barrier = threading.Barrier(count)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(done) == count, "%d well; %s" % (len(done), wrong[:3])
    jsons = len([number for number in range(count) if PROTOCOLS[number % 3] == "json"])
    with Json(server.port["json"]) as conn:
        hot = conn.ask("find_one", database="many", collection="c", filter={"_id": "hot"})["document"]
        assert hot["n"] == jsons * each, "lost increments: %d of %d" % (hot["n"], jsons * each)
    return "%.1f s, %d increments of one document, none lost" % (time.monotonic() - began, jsons * each)


def refused(server, protocol):
    """What a client hears when every place is taken."""
    with Connection(server.port[protocol], timeout=5) as conn:
        if protocol == "json":
            conn.send(b'{"request_id":"1","command":{"type":"ping"}}\n')
            line = conn.line().decode()
            assert '"request_id":"unknown"' in line and "Network error: too many connections" in line, line
            assert '"execution_time_us":null' in line, line
        elif protocol == "text":
            line = conn.line()
            assert line == b"-ERR rate limited (too many connections from your IP)\r", line
        else:
            with Mongo(server.port[protocol], timeout=5) as mongo:
                try:
                    mongo.ask({"ping": 1})
                except Refused as error:
                    assert "too many connections" in str(error), error
                else:
                    raise AssertionError("was served")
        if protocol != "mongo":
            assert conn.rest() == b"", "not closed"


def one_too_many(server):
    """the client over max_connections is refused cleanly in each language, and served once there is room"""
    sessions = []
    for number in range(MOST):
        session = connect(server, ("mongo", "json", "text")[number % 3] if number < 60 else "json", timeout=60)
        session.ping()
        sessions.append(session)
    for protocol in PROTOCOLS:
        began = time.monotonic()
        refused(server, protocol)
        assert time.monotonic() - began < 2 * SLOW, "%s: refused after %.1f s" % (
            protocol, time.monotonic() - began)
    for session in sessions[:60]:
        session.ping()
    for session in sessions[:3]:
        session.close()

    def served():
        try:
            with connect(server, "json") as conn:
                conn.ping()
            return True
        except (Refused, Closed, OSError):
            return False
    wait_for(served, 3 * SLOW, "served when there is room")
    used = server.pss()
    for session in sessions:
        session.close()
    return "%d sessions, %.1f MB in all" % (MOST, used / 1e6)


def silent(server):
    """silent connections do not keep a login out longer than a second"""
    held = []
    slowest = 0.0
    for number in range(MOST):
        held.append(socket.create_connection(("127.0.0.1", server.port[PROTOCOLS[number % 3]]), timeout=10))
    for protocol in PROTOCOLS * 2:
        began = time.monotonic()
        with connect(server, protocol) as session:  # text: with login
            session.ping()
        slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1.0 * SLOW, "%s: %.2f s" % (protocol, slowest)
    for sock in held:
        sock.close()
    return "%d silent, slowest login %.0f ms" % (MOST, slowest * 1000)


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    checks = Checks()
    pool = 4 * MIB
    with Server({"memory.shared_buffers": pool, "server.max_connections": 400}) as server:
        server.start()
        time.sleep(0.5)
        checks.run(at_rest, server)
        checks.run(titles, server)
        checks.run(two_hundred, server)
        checks.run(at_rest_filled, server, pool)
        checks.check(not server.crashes(), "nothing crashed", server.crashes()[:3])
        checks.check(server.stop() == 0, "TERM: exit 0")
    with Server({"memory.shared_buffers": pool, "server.max_connections": MOST}) as server:
        server.start()
        checks.run(silent, server)
        checks.run(one_too_many, server)
        checks.run(silent, server)
        checks.check(not server.crashes(), "nothing crashed", server.crashes()[:3])
        checks.check(server.stop() == 0, "TERM: exit 0")
    checks.done()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Memory that runs out: by the limit of the address space, and by the kernel's killer.

ulimit -v: a request that wants more hears so, its session goes on, and nobody dies.  A memory
cgroup around the whole server (as root, version 1): the kernel kills the fattest process, which is
a backend; sessions beside it and the postmaster live on, what was acknowledged is there.

    tests/crash/memory.py [--rounds 5]
"""
import argparse
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import MIB, SLOW, Checks, Server, wait_for  # noqa: E402
from wire import Closed, Json, Mongo, Refused  # noqa: E402

CGROUPS = "/sys/fs/cgroup/memory"
LIMIT = 300 * MIB  # of the cgroup
DOCUMENT = 4 * MIB
SESSIONS = 8


def want_much(conn, documents):
    """An insert of so many large documents in one request; yields the error, "" if none."""
    body = b",".join(b'{"p":"%s"}' % (b"x" * DOCUMENT) for _ in range(documents))
    conn.send(b'{"request_id":"1","command":{"type":"insert_many","database":"memory","collection":"c",'
              b'"documents":[' + body + b"]}}\n")
    reply = conn.receive()
    return "" if reply["ok"] else reply["error"]


def too_little_address_space(_checks):
    """under ulimit -v a request that wants more is told so, its session goes on, nobody dies"""
    with Server({"memory.shared_buffers": "4MB", "json.max_request_bytes": "512MB",
                 "memory.session_memory_max": "2GB"},
                wrapper=["sh", "-c", 'ulimit -v %d; exec "$@"' % (400 * 1024), "sh"]) as server:
        server.start()
        said = set()
        with Json(server.port["json"], timeout=120) as conn:
            conn.ping()
            conn.ask("insert_one", database="memory", collection="c", document={"_id": "kept"})
            for _ in range(40):
                assert want_much(conn, 1) == ""
            for question in ({"filter": {}}, {"filter": {}, "sort": {"p": 1}}):
                try:
                    conn.ask("find", database="memory", collection="c", **question)
                except Refused as error:
                    said.add(str(error))
            conn.ping()
        assert any("memory" in error.lower() for error in said), "void: nothing ran out: %s" % said
        with Json(server.port["json"]) as conn:
            assert conn.ask("find_one", database="memory", collection="c", filter={"_id": "kept"})["document"]
        assert not server.crashes(), server.crashes()[:3]
        assert server.stop() == 0
    return "; ".join(sorted(said))[:200]


def oom_kills(group):
    """How often the kernel killed somebody there."""
    with open(os.path.join(group, "memory.oom_control"), encoding="ascii") as file:
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def fatten(port):
    """A session that takes more and more."""
    try:
        with Json(port, timeout=120) as conn:
            conn.ping()
            want_much(conn, 100)
    except (Closed, ConnectionError, OSError, AssertionError):
        pass


def one_round(server, group):
    """Yields how many of the sessions beside it broke, and the full restarts."""
    before, restarts, at = oom_kills(group), server.log().count("restarting all"), len(server.log())
    beside = [Mongo(server.port["mongo"]) for _ in range(SESSIONS)]
    for conn in beside:
        conn.ping()
    postmaster = server.process.pid
    fat = threading.Thread(target=fatten, args=(server.port["json"],))
    fat.start()
    fat.join()
    assert oom_kills(group) > before, "void: the kernel killed nobody"
    assert server.process.poll() is None and server.process.pid == postmaster, "the postmaster died"
    wait_for(lambda: "cleaned up after process" in server.log()[at:] or '"msg":"ready"' in server.log()[at:], 20 * SLOW,
             "the death is seen to")
    broken = 0
    for conn in beside:
        try:
            conn.ping()
        except (Closed, ConnectionError):
            broken += 1
        conn.close()
    wait_for(server.answers, 20 * SLOW, "served again")
    return broken, server.log().count("restarting all") - restarts


def kernel_kills(rounds):
    """in a memory cgroup the kernel kills the fattest backend, and it alone"""
    group = os.path.join(CGROUPS, "gneiss-test-%d" % os.getpid())
    os.mkdir(group)
    try:
        with open(os.path.join(group, "memory.limit_in_bytes"), "w", encoding="ascii") as file:
            file.write(str(LIMIT))
        join = 'echo $$ >%s/cgroup.procs; exec "$@"' % group
        with Server({"memory.shared_buffers": "4MB", "json.max_request_bytes": "1GB",
                     "memory.session_memory_max": "2GB"}, wrapper=["sh", "-c", join, "sh"]) as server:
            server.start()
            broken = restarts = 0
            with Json(server.port["json"]) as conn:
                for number in range(rounds * 10):
                    conn.ask("insert_one", database="memory", collection="c", document={"_id": number})
            for _ in range(rounds):
                more_broken, more_restarts = one_round(server, group)
                broken += more_broken
                restarts += more_restarts
            with Json(server.port["json"]) as conn:
                count = conn.ask("count", database="memory", collection="c", filter={})["count"]
            kills = oom_kills(group)
            assert count == rounds * 10, "%d documents of %d" % (count, rounds * 10)
            # A death in a critical section is a restart: those sessions are not counted as dropped.
            assert broken == 0 or restarts > 0, "%d of %d sessions beside it broke" % (
                broken, rounds * SESSIONS)
            assert restarts <= max(1, rounds // 5), "%d full restarts" % restarts
            assert server.stop() == 0
    finally:
        until = time.time() + 5
        while time.time() < until:
            try:
                os.rmdir(group)
                break
            except OSError:
                time.sleep(0.05)
    return "%d rounds, %d killed by the kernel, 0 of %d sessions beside them, %d full restarts" % (
        rounds, kills, rounds * SESSIONS, restarts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "2")))
    options = parser.parse_args()
    checks = Checks()
    checks.run(too_little_address_space, checks)
    if os.geteuid() == 0 and os.access(os.path.join(CGROUPS, "memory.limit_in_bytes"), os.W_OK):
        checks.run(kernel_kills, options.rounds)
    else:
        print("# skipped: a memory limit by cgroup: no writable %s" % CGROUPS)
    checks.done()


if __name__ == "__main__":
    main()

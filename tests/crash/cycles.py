#!/usr/bin/python3
"""Sessions are begun and ended badly, many thousand times: nothing may be left of them.

Half of the cycles kill -9 the backend that serves the connection; in the other half the client cuts
it by a reset.  Before the cut a session is idle, has half a request sent, has a long query or an
insert under way, or a cursor open.  Measured before and after, when all is quiet: locks, pins,
transactions, snapshots, cursors, slots, processes; file descriptors, memory and mappings of the
postmaster; files of the data directory; shared memory.  All must be as they were.

    tests/crash/cycles.py [--cycles 100000] [--seed N] [--control]

--control leaves 20 cursors open that never end: snapshots and cursors must be found.
"""
import argparse
import glob
import os
import random
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from crowd import SETTINGS, children, held, restarts, title, wait_until_nothing_held  # noqa: E402
from server import SLOW, Server  # noqa: E402
from wire import Closed, Json, Mongo, Refused, Text, message, section0  # noqa: E402

WARM = 200  # cycles before the first measurement
SPARE = 4
REST = 5  # s, for the server to come to rest
MEMORY_MAY_GROW = 256 * 1024


# ---- one session ----
def begin(server, rng):
    kind = rng.random()
    if kind < 0.5:
        return Json(server.port["json"])
    if kind < 0.9:
        return Mongo(server.port["mongo"])
    return Text(server.port["text"], login=False)


def do_something(conn, rng):
    """Bring the session into some state, without waiting for the end of it."""
    conn.ping()
    what = rng.random()
    if isinstance(conn, Text) or what < 0.2:
        return  # idle
    if isinstance(conn, Mongo):
        if what < 0.4:
            conn.send(message(section0({"find": "many", "$db": "cycles"}))[:30])
        elif what < 0.6:
            conn.ask({"find": "many", "batchSize": 3}, "cycles")
        elif what < 0.8:
            conn.send(message(section0({"find": "many", "filter": {}, "sort": {"p": 1}, "$db": "cycles"})))
        else:
            conn.send(message(section0({"insert": "few", "documents": [{"p": "x" * 3000}] * 3,
                                        "$db": "cycles"})))
    elif what < 0.4:
        conn.send(b'{"request_id":"1","command":{"type":"find","database":"cyc')
    elif what < 0.7:
        conn.send(b'{"request_id":"1","command":{"type":"find","database":"cycles","collection":"many",'
                  b'"filter":{},"sort":{"p":1}}}\n')
    else:
        conn.send(b'{"request_id":"1","command":{"type":"update_many","database":"cycles",'
                  b'"collection":"few","filter":{"_id":{"$lt":20}},"update":{"$inc":{"n":1}}}}\n')


def kill_its_backend(server, conn):
    """kill -9 for the process that serves this connection."""
    ending = ":%d" % conn.sock.getsockname()[1]
    for pid in children(server.process.pid):
        if ending in (title(pid) + " ").replace(" ", "  ") and (title(pid) + " ").find(ending + " ") > 0:
            try:
                os.kill(pid, signal.SIGKILL)
                return True
            except ProcessLookupError:
                return False
    return False


def cut(conn):
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def cycle(server, rng, counts):
    try:
        conn = begin(server, rng)
        do_something(conn, rng)
    except (Closed, ConnectionError, Refused):
        counts["dropped"] += 1
        return
    try:
        if rng.random() < 0.5:
            counts["killed"] += kill_its_backend(server, conn)
        else:
            cut(conn)
            counts["cut"] += 1
    finally:
        conn.close()


# ---- what is there ----
def postmaster_memory(pid):
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
        for line in file:
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    return 0


def at_rest(server):
    """No backend works still for a session that was cut, and there are no more than are kept."""
    backends = [name for name in map(title, children(server.process.pid)) if name.startswith("gneissd: backend")]
    if len(backends) > SPARE:
        with Json(server.port["json"]) as conn:  # those beyond the most end when they are next woken
            conn.ping()
    return len(backends) <= SPARE and all(name == "gneissd: backend idle" for name in backends)


def look(server):
    """Everything that could leak: a name -> a number."""
    pid = server.process.pid
    counts = {name: number for name, number in held(server).items() if name != "slots"}
    with open("/proc/%d/maps" % pid, encoding="ascii") as file:
        maps = file.read().splitlines()
    return {
        **counts,
        "postmaster's descriptors": len(os.listdir("/proc/%d/fd" % pid)),
        "postmaster's mappings": len(maps),
        "postmaster's threads": len(os.listdir("/proc/%d/task" % pid)),
        "shared memory": sum(int(line.split("-")[1].split()[0], 16) - int(line.split("-")[0], 16)
                             for line in maps if "/dev/shm" in line),
        "files in /dev/shm": len(glob.glob("/dev/shm/gneiss.%d*" % pid)),
        "temporary files": sum(len(files) for _, _, files in os.walk(os.path.join(server.data, "tmp"))),
        "data files": sum(len(files) for _, _, files in os.walk(os.path.join(server.data, "data"))),
    }


def measure(server, wanted=None, quiet=True):
    """look(), once it says the same twice, and what was `wanted` if it ever does.  What leaked stays; what a worker
    or the postmaster has in hand for a moment (a file of the log's, a dead child) does not."""
    complaint = wait_until_nothing_held(server) if quiet else ""
    until, found = time.monotonic() + REST * SLOW, None
    while True:
        if at_rest(server):
            before, found = found, look(server)
            if found == before and wanted in (None, found):
                break
        if time.monotonic() > until:
            complaint = complaint or ("" if found else "the backends do not come to rest")
            break
        time.sleep(0.1)
    return found or look(server), postmaster_memory(server.process.pid), complaint


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=int(os.environ.get("CYCLES", "1000")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    rng = random.Random(seed)
    counts = {"killed": 0, "cut": 0, "dropped": 0}
    began, bad = time.time(), 0
    with Server({**SETTINGS, "memory.shared_buffers": "4MB", "memory.work_mem": 65536, "log.level": "warn",
                 "server.spare_backends_min": SPARE, "server.spare_backends_max": SPARE}) as server:
        server.start()
        with Mongo(server.port["mongo"]) as conn:
            conn.ask({"insert": "many", "documents": [{"p": "%08d" % rng.randrange(10**8) * 40}
                                                      for _ in range(1500)]}, "cycles")
            conn.ask({"insert": "few", "documents": [{"_id": n, "n": 0} for n in range(20)]}, "cycles")
        for _ in range(WARM):
            cycle(server, rng, counts)
        before, memory, complaint = measure(server)
        warm = dict(counts)
        for number in range(options.cycles):
            cycle(server, rng, counts)
            if number % 5000 == 4999:
                # Else what cycles insert and the log of deaths fill the disk.
                with Mongo(server.port["mongo"]) as conn:
                    conn.ask({"delete": "few", "deletes": [{"q": {"p": {"$exists": True}}, "limit": 0}]},
                             "cycles")
                print("  %d cycles, %.0f s" % (number + 1, time.time() - began), flush=True)
        held_open = []
        if options.control:
            for _ in range(20):
                held_open.append(Mongo(server.port["mongo"]))
                held_open[-1].ask({"find": "many", "batchSize": 3, "noCursorTimeout": True}, "cycles")
        after, memory_after, complaint_after = measure(server, before, not options.control)
        differing = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
        for text in (complaint, complaint_after):
            if text:
                bad += 1
                print("  " + text)
        for name, (was, now) in differing.items():
            bad += 1
            print("  %s: %s before, %s after" % (name, was, now))
        if memory_after > memory + MEMORY_MAY_GROW:
            bad += 1
            print("  the postmaster's memory grew from %d to %d bytes" % (memory, memory_after))
        restarted = restarts(server, 0)
        for restart in restarted:
            print("  restart: %s" % restart.why)
        for conn in held_open:
            conn.close()
        if server.stop() != 0:
            bad += 1
            print("  the stop did not exit with 0")
    done = {name: counts[name] - warm[name] for name in counts}
    print("cycles: seed %d, %d cycles, %d backends killed, %d connections cut, %d not begun, %d full restarts; "
          "%d counts unequal of %d; the postmaster's private memory %d KiB before, %d KiB after; %.0f s" % (
              seed, options.cycles, done["killed"], done["cut"], done["dropped"], len(restarted),
              len(differing), len(before), memory >> 10, memory_after >> 10, time.time() - began))
    if options.control:
        red = {"cursors", "snapshots"} <= set(differing)
        print("red, as it must be: %s" % differing if red else "NOTHING FOUND: void")
        sys.exit(0 if red else 1)
    if done["killed"] < options.cycles * 0.3 or done["cut"] < options.cycles * 0.3:
        bad += 1
        print("void: too few sessions were ended")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

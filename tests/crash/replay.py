#!/usr/bin/python3
"""Crashes in the middle of what mends crashes, and of what works on whole files.

* Recovery is killed after 10, 20, … 90 % of the records that it has to replay, five times in a row;
  then it comes through, and everything acknowledged is there, whole, in every index.
* All processes are killed at once while a checkpoint, an index build or a vacuum stands at each of
  its fault points; the recovery after that is killed half-way once, too.

    tests/crash/replay.py [--seed N] [--seconds 3] [--steps 10]

--seconds: of writing before the crash.  --steps 30: only 30, 60 and 90 %.
"""
import argparse
import os
import random
import shutil
import sys
import tempfile
import time

os.environ.setdefault("BUILD", "build-faults")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sweep  # noqa: E402
from faultload import COLLECTION, Load, Wire, make_burnt, verify  # noqa: E402
from oracle import Unknown  # noqa: E402
from server import Checks, Server, become_subreaper  # noqa: E402

SETTINGS = {**sweep.SETTINGS, "wal.checkpoint_timeout_secs": 3600, "wal.max_wal_size": 1 << 30,
            "storage.autovacuum_naptime_secs": 1}
TIMES = 5
WORK = {
    "a checkpoint": ("CHECKPOINT_REDO", "CHECKPOINT_MARKED", "CHECKPOINT_SYNCING",
                     "CHECKPOINT_FLUSHED", "CHECKPOINT_LOGGED", "CHECKPOINT_CONTROL"),
    "an index build": ("INDEX_ANNOUNCED", "INDEX_FILLED", "CATALOG_COMMITTED", "TREE_SPLIT"),
    "a vacuum": ("VACUUM_PAGE", "VACUUM_FORGOT", "TREE_EMPTIED", "ROW_PRUNED", "GRAVE_EMPTYING"),
}


def new_server(data=None):
    server = Server(settings=SETTINGS,
                    directory=tempfile.mkdtemp(prefix="replay-", dir=sweep.SCRATCH))
    if data is not None:
        shutil.copytree(data, server.data)
    return server


def begin(server, seed):
    server.start()
    wire = Wire(server)
    wire.ask({"create": COLLECTION})
    wire.ask({"createIndexes": COLLECTION, "indexes": [
        {"key": {"client": 1}, "name": "client"}, {"key": {"n": 1}, "name": "n"}]})
    make_burnt(server)
    wire.close()
    load = Load(server, seed)
    load.start()
    return load


def records(data):
    """How many records a recovery of this directory replays."""
    with new_server(data) as server:
        sweep.arm_at_start(server, "")
        server.start()
        return sweep.Points(server).read()["RECOVERY_RECORD"]["passes"]


def kill_recovery(server, nth):
    """Start, and be killed, all of it, before the nth record; false: it came through."""
    sweep.arm_at_start(server, "RECOVERY_RECORD=stop:%d" % nth)
    server.launch()
    sweep.wait_until(lambda: sweep.stopped_process(server) is not None or server.answers(),
                     sweep.DEADLINE, "the recovery stands at a record")
    stood = sweep.stopped_process(server) is not None
    server.kill()
    return stood


def come_through(server, load):
    """The last start: yields what is wrong then."""
    sweep.arm_at_start(server, "")
    server.start()
    load.server = server
    return verify(load) + sweep.at_rest(server) + sweep.check_all(server)


def at_fractions(checks, arguments):
    with new_server() as server:
        load = begin(server, arguments.seed)
        time.sleep(arguments.seconds)
        server.kill()
        wrong = load.stop()
        total = records(server.data)
        acked = sum(writer.oracle.acked for writer in load.writers)
        checks.check(not wrong and total > 100, "%d acknowledged, all killed, %d records to replay" % (
            acked, total), wrong)
        for percent in range(arguments.steps, 100, arguments.steps):
            with new_server(server.data) as copy:
                died = [kill_recovery(copy, max(1, total * percent // 100)) for _ in range(TIMES)]
                wrong = come_through(copy, load)
            checks.check(all(died) and not wrong, "killed %d times after %d %% of replay" % (
                TIMES, percent), wrong or "it was not killed: %s" % died)


def standing(server, point, rng):
    """Let a process stop at a point, under load; yields the load."""
    load = begin(server, rng.randrange(1 << 20))
    points = sweep.Points(server)
    sweep.wait_until(lambda: load.changer.turn >= 6, sweep.DEADLINE, "the load has begun")
    points.ask("%s=stop:%d" % (point, rng.randint(1, 3)))
    sweep.wait_until(lambda: sweep.stopped_process(server) is not None, sweep.DEADLINE,
                     "a process stands at %s" % point, sweep.Void)
    server.kill()
    return load


def in_work(checks, arguments):
    for what, points in WORK.items():
        for point in points:
            rng = random.Random("%d %s" % (arguments.seed, point))
            with new_server() as server:
                sweep.arm_at_start(server, "")
                try:
                    load = standing(server, point, rng)
                    wrong = load.stop()
                    total = records(server.data)
                    died = total < 2 or kill_recovery(server, max(1, total // 2))
                    wrong += come_through(server, load)
                    wrong += [] if died else ["its recovery was not killed"]
                except (sweep.Broken, Unknown, AssertionError, OSError) as error:
                    wrong = ["%s: %s" % (type(error).__name__, error)]
                checks.check(not wrong, "all killed in %s, at %s, then in the recovery" % (
                    what, point), wrong)


def main():
    become_subreaper()
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.randrange(10000))
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    print("# seed %d" % arguments.seed, flush=True)
    checks = Checks()
    at_fractions(checks, arguments)
    in_work(checks, arguments)
    checks.done()


if __name__ == "__main__":
    main()

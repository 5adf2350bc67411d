#!/usr/bin/python3
"""A server is killed while it makes its data directory.

At each fault point at which the postmaster itself makes, opens, writes, syncs or renames something
before there is a database, at its first pass, its second, its fourth and so on until it passes no
more, the process is killed, or the write torn.  Then the directory is nothing or unfinished, and the
next start must make a whole one of it.

    BUILD=build-faults tests/crash/births.py        # FULL=1: at every pass
"""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import FULL, SLOW, Checks, Server, StartFailed, wait_for  # noqa: E402
from wire import Mongo, Refused  # noqa: E402

POINTS = (
    ("FILE_OPEN", 8), ("FILE_RENAME", 1), ("DIR_MAKE", 2), ("DIR_SYNC", 4), ("CONTROL_WRITE", 2), ("CONTROL_SYNC", 2),
    ("CONTROL_READ", 1), ("WAL_CREATE", 8), ("WAL_CREATE_SYNC", 1), ("WAL_HEAD", 1), ("WAL_HEAD_SYNC", 1),
)  # and how often it is passed at least: fewer, and nothing was shown
TORN = ("CONTROL_WRITE", "WAL_CREATE", "WAL_HEAD")


def has_points():
    with Server({"memory.shared_buffers": "8MB"}) as server:
        server.start()
        with Mongo(server.port["mongo"]) as conn:
            try:
                return bool(conn.ask({"faultPoint": ""}, "admin")["points"])
            except Refused:
                return False


def dies(server, point, action, nth):
    """Does the start die there?"""
    os.environ["GNEISS_FAULTS"] = "%s=%s:%d" % (point, action, nth)
    try:
        server.launch()
    finally:
        del os.environ["GNEISS_FAULTS"]
    wait_for(lambda: server.process.poll() is not None or '"msg":"ready"' in server.log(), 60 * SLOW, "up or dead")
    died = server.process.poll() == -signal.SIGKILL
    server.kill()
    return died


def born(point, action, nth):
    """None: it did not die there; else what was wrong afterwards, or ""."""
    with Server({"memory.shared_buffers": "8MB"}) as server:
        if not dies(server, point, action, nth):
            return None
        try:
            server.start()
        except StartFailed as error:
            return "%s %s %d: %s" % (point, action, nth, str(error)[:300])
        with Mongo(server.port["mongo"]) as conn:
            conn.ask({"insert": "c", "documents": [{"_id": 1}]})
            if conn.ask({"count": "c"})["n"] != 1 or not conn.ask({"validate": "c"})["valid"]:
                return "%s %s %d: not sound" % (point, action, nth)
        return "" if server.stop() == 0 else "%s %s %d: did not stop in order" % (point, action, nth)


def main():
    checks = Checks()
    if not has_points():
        print("# skipped: deaths while a directory is made: this build has no fault points")
        return
    deaths, wrong, seldom = 0, [], []
    for point, least in POINTS:
        for action in ("kill", "torn") if point in TORN else ("kill",):
            passed, nth = 0, 1
            while (said := born(point, action, nth)) is not None:
                wrong += [said] if said else []
                deaths += 1
                passed, nth = nth, nth + 1 if FULL else nth * 2
            if passed < least:
                seldom.append("%s %s %d" % (point, action, passed))
    checks.check(not seldom, "void otherwise: the making of a directory passes each point", seldom)
    checks.check(deaths > 0 and not wrong, "a server that was killed while it made its directory (%d times) "
                 "makes it at the next start" % deaths, wrong)
    checks.done()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Deaths of single processes: what dies, in which state, and what follows for everybody else.

Each check has a session of each language open, and looks whether they live on (the death was the
undertaker's business) or end (everything was restarted), as postmaster/README.md says.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import FULL, SLOW, Checks, Server, wait_for  # noqa: E402
from wire import Closed, Json, Mongo, Refused, connect  # noqa: E402

ROUNDS = 20 if FULL else 2
WORKERS = ("checkpointer", "wal writer", "buffer writer", "autovacuum", "undertaker")
RESTART = "restarting all processes from the log"


def pids(server, title):
    """Of the server's processes whose title begins so."""
    return [pid for pid, one in server.titles().items() if one.startswith("gneissd: " + title)]


class Bystanders:
    """Sessions that have nothing to do with what dies."""

    def __init__(self, server):
        self.server = server
        self.sessions = [connect(server, protocol) for protocol in ("text", "json", "mongo")]
        self.log = len(server.log())
        self.ping()

    def ping(self):
        for session in self.sessions:
            session.ping()

    def said(self):
        """What the log got since."""
        return self.server.log()[self.log:]

    def unharmed(self):
        self.ping()
        assert RESTART not in self.said(), self.said()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for session in self.sessions:
            session.close()


def add(server, key):
    with Json(server.port["json"]) as conn:
        conn.ask("insert_one", database="deaths", collection="c", document={"_id": key})


def count(server):
    with Json(server.port["json"]) as conn:
        return conn.ask("count", database="deaths", collection="c", filter={})["count"]


def replaced(server, title, dead):
    wait_for(lambda: pids(server, title) and dead not in pids(server, title), 5 * SLOW, "another " + title)


def workers(server):
    """kill -9 of each auxiliary process: another takes its place, nobody else notices"""
    longest = 0
    with Bystanders(server) as others:
        for number in range(ROUNDS):
            for title in WORKERS:
                before = count(server)
                add(server, "%s %d" % (title, number))
                wait_for(lambda title=title: pids(server, title), 5 * SLOW, "a " + title)
                victim = pids(server, title)[0]
                began = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                replaced(server, title, victim)
                longest = max(longest, time.monotonic() - began)
                assert count(server) == before + 1
                wait_for(lambda victim=victim: "cleaned up after process %d" % victim in others.said(), 5 * SLOW,
                         "the undertaker's word on a dead %s" % title)
        others.unharmed()
    return "%d deaths, longest without one %.2f s" % (ROUNDS * len(WORKERS), longest)


def dead_undertaker(server):
    """an undertaker that dies with work before it: its successor cleans up after it, and does the work"""
    with Bystanders(server) as others:
        undertaker = pids(server, "undertaker")[0]
        os.kill(undertaker, signal.SIGSTOP)
        with Mongo(server.port["mongo"]) as victim:
            victim.ping()
            pid = pids(server, "backend 127.0.0.1:%d" % victim.sock.getsockname()[1])[0]
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: "backend (process %d)" % pid in others.said(), 5 * SLOW, "the death was seen")
            os.kill(undertaker, signal.SIGKILL)
        for dead in (undertaker, pid):
            wait_for(lambda dead=dead: "cleaned up after process %d" % dead in others.said(), 5 * SLOW,
                     "process %d cleaned up after" % dead)
        said = others.said()
        assert said.index("up after process %d" % undertaker) < said.index("up after process %d" % pid), said
        others.unharmed()


def quit_one(server):
    """QUIT for one busy backend ends that one, and what it held is let go of"""
    with Bystanders(server) as others, Json(server.port["json"]) as busy:
        busy.ping()
        port = busy.sock.getsockname()[1]
        pid = pids(server, "backend 127.0.0.1:%d" % port)[0]
        os.kill(pid, signal.SIGQUIT)
        wait_for(lambda: "cleaned up after process %d" % pid in others.said(), 5 * SLOW, "cleaned up")
        others.unharmed()


def main():
    checks = Checks()
    with Server({"memory.shared_buffers": "8MB"}) as server:
        server.start()
        add(server, "first")
        for test in (workers, dead_undertaker, quit_one):
            if not checks.run(test, server) and (server.process is None or server.process.poll() is not None):
                server.kill()
                server.start()
        checks.check(server.stop() == 0, "TERM: exit 0")
    checks.done()


if __name__ == "__main__":
    main()

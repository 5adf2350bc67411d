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
from wire import Json, Mongo, Refused, connect, message, section0  # noqa: E402

ROUNDS = 20 if FULL else 2
WORKERS = ("checkpointer", "wal writer", "buffer writer", "autovacuum", "undertaker")
RESTART = "restarting all processes from the log"
SIGNALS = {"SEGV from outside": signal.SIGSEGV, "ABRT from outside": signal.SIGABRT}
WAYS = list(SIGNALS)


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


def set_policy(server, policy):
    server.settings["server.crash_isolation"] = policy
    server.write_config()
    at = len(server.log())
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in server.log()[at:], 5 * SLOW, "reloaded")
    time.sleep(0.1 * SLOW)  # the undertaker's own reading


def crash(server, way):
    """One session dies this way: by its own hand where the build can do it, else by a signal."""
    with Mongo(server.port["mongo"]) as victim:
        victim.ping()
        if way in SIGNALS:
            port = victim.sock.getsockname()[1]
            os.kill(pids(server, "backend 127.0.0.1:%d" % port)[0], SIGNALS[way])
        else:
            victim.send(message(section0({"crashMe": way, "$db": "admin"})))
        said = victim.rest()
        assert b"errmsg" not in said, said


def restarted(server, others):
    """All are restarted: the bystanders end, and new clients are served.  Yields the outage in seconds."""
    began = time.monotonic()
    for session in others.sessions:
        session.rest()
    with Json(server.port["json"]) as conn:  # waits in the backlog until somebody serves it
        conn.ping()
    outage = time.monotonic() - began
    assert RESTART in others.said(), others.said()
    return outage


def policies(server):
    """internal faults: fast and verify isolate, strict restarts all; nothing acknowledged is lost"""
    outages = []
    for policy in ("fast", "verify", "strict"):
        set_policy(server, policy)
        for way in WAYS:
            before = count(server)
            add(server, "%s %s" % (policy, way))
            with Bystanders(server) as others:
                crash(server, way)
                if policy == "strict":
                    outages.append(restarted(server, others))
                else:
                    wait_for(lambda: "cleaned up after" in others.said(), 5 * SLOW, "%s, %s" % (policy, way))
                    others.unharmed()
            assert count(server) == before + 1
    set_policy(server, "verify")
    return "%d ways each; longest outage under strict %.2f s" % (len(WAYS), max(outages))


def in_doubt(server):
    """in a critical section, after a panic, or with traces of a stray write, all are restarted whatever the policy"""
    outages = []
    for policy, way in (("fast", "critical"), ("fast", "panic"), ("verify", "scribble")):
        set_policy(server, policy)
        with Bystanders(server) as others:
            crash(server, way)
            outages.append(restarted(server, others))
    set_policy(server, "verify")
    return "longest outage %.2f s" % max(outages)


def left_quietly(server):
    """a process that leaves with 0 and all that it holds is cleaned up after, too"""
    with Bystanders(server) as others:
        crash(server, "exit")
        wait_for(lambda: "cleaned up after" in others.said(), 5 * SLOW, "cleaned up")
        others.unharmed()


def can_crash(server):
    with Mongo(server.port["mongo"]) as conn:
        try:
            conn.ask({"crashMe": "?"}, "admin")
        except Refused as refused:
            return "no such command" not in str(refused)


def main():
    checks = Checks()
    settings = {"memory.shared_buffers": "8MB", "server.enable_test_commands": True}
    with Server(settings) as server:
        server.start()
        add(server, "first")
        tests = [workers, dead_undertaker, quit_one, policies]
        if can_crash(server):
            WAYS.extend(["segv", "bus", "abort", "overflow"])
            tests += [in_doubt, left_quietly]
        else:
            print("# skipped: deaths by the session's own hand: this build has no fault points (--enable-faults)")
        for test in tests:
            if not checks.run(test, server) and (server.process is None or server.process.poll() is not None):
                server.kill()
                server.start()
        checks.check(server.stop() == 0, "TERM: exit 0")
    checks.done()


if __name__ == "__main__":
    main()

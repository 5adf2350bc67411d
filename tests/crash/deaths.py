#!/usr/bin/python3
"""Deaths of single processes: what dies, in which state, and what follows for everybody else.

Each check has a session of each language open, and looks whether they live on (the death was the
undertaker's business) or end (everything was restarted), as postmaster/README.md says.
"""
import contextlib
import glob
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import disk  # noqa: E402
from server import FULL, SLOW, Checks, Server, wait_for  # noqa: E402
from wire import Closed, Json, Mongo, Refused, connect, message, section0  # noqa: E402

ROUNDS = 20 if FULL else 2
WORKERS = ("checkpointer", "wal writer", "buffer writer", "autovacuum", "undertaker")
RESTART = "restarting all processes from the log"
SIGNALS = {"SEGV from outside": signal.SIGSEGV, "ABRT from outside": signal.SIGABRT}
WAYS = list(SIGNALS)
SETTINGS = {"memory.shared_buffers": "8MB", "server.enable_test_commands": True, "server.lock_holder_timeout_secs": 2}


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
    with Json(server.port["json"]):  # not refused; whom it meets may be about to be killed too
        wait_for(lambda: "recovered " in others.said().rpartition(RESTART)[2], 20 * SLOW, "recovered")
    with Json(server.port["json"]) as conn:
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


def oom_order(server):
    """when memory runs out, the kernel takes a backend before a worker, and the postmaster last"""
    def adjusted(pid):
        with open("/proc/%d/oom_score_adj" % pid, encoding="ascii") as file:
            return int(file.read())
    wait_for(lambda: pids(server, "backend idle") and pids(server, "wal writer"), 5 * SLOW, "children")
    backend, worker = adjusted(pids(server, "backend idle")[0]), adjusted(pids(server, "wal writer")[0])
    assert backend > worker > adjusted(server.process.pid), (backend, worker)


def state(pid):
    """T: stopped, Z: a zombie, …; empty: it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def end(pid):
    """kill -9, if it is there still."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def current(server, **more):
    with Mongo(server.port["mongo"]) as conn:
        return conn.ask({"currentOp": 1, **more}, "admin")["inprog"]


def stopped(server):
    """a session that is stopped with a document: currentOp says who waits for whom, then it is ended"""
    with Mongo(server.port["mongo"]) as admin, Mongo(server.port["mongo"]) as holder, \
            Mongo(server.port["mongo"]) as waiter, Bystanders(server) as others:
        admin.ask({"insert": "s", "documents": [{"_id": 1, "n": 0}]}, "deaths")
        holder.ping()
        pid = pids(server, "backend 127.0.0.1:%d" % holder.sock.getsockname()[1])[0]
        change = {"update": "s", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}], "$db": "deaths"}
        admin.ask({"faultPoint": "COMMIT_LOGGED=stop:1:backend"}, "admin")
        holder.send(message(section0(change)))
        wait_for(lambda: state(pid) == "T", 5 * SLOW, "stopped")
        waiter.send(message(section0(change)))
        seen = []

        def told():
            seen[:] = [op for op in current(server) if op.get("waitsFor", {}).get("what") == "transaction"]
            return seen and seen[0]["waitsFor"]["heldBy"]
        wait_for(told, 5 * SLOW, "currentOp shows the wait")
        assert seen[0]["waitsFor"]["heldBy"][0]["pid"] == pid, seen
        assert seen[0]["op"] == "update" and seen[0]["waitingForLock"], seen
        listed = admin.ask({"aggregate": 1, "pipeline": [{"$currentOp": {}}, {"$match": {"opid": seen[0]["opid"]}}],
                            "cursor": {}}, "admin")["cursor"]["firstBatch"]
        assert [op["pid"] for op in listed] == [seen[0]["pid"]], listed
        assert waiter.receive()[1]["n"] == 1, "the waiter goes on"
        assert "has not run for" in others.said() and str(pid) in others.said(), others.said()
        others.unharmed()


def stopped_workers(server):
    """workers that are stopped are ended after a while, although nobody waits for them, and replaced"""
    titles = ("checkpointer", "wal writer", "buffer writer", "autovacuum")
    with Bystanders(server) as others:
        victims = [pids(server, title)[0] for title in titles]
        for pid in victims:
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: not any(map(state, victims)), 10 * SLOW, "ended: %s" % list(map(state, victims)))
        wait_for(lambda: all(pids(server, title) for title in titles), 5 * SLOW, "replaced")
        assert "checkpointer %d has been stopped" % victims[0] in others.said(), others.said()
        others.unharmed()


def many_at_once(server):
    """an undertaker that waits for what another dead one left half done: all are restarted at once, not after ten seconds"""
    with Mongo(server.port["mongo"]) as admin, Mongo(server.port["mongo"]) as halfway, \
            Mongo(server.port["mongo"]) as committing, Bystanders(server) as others:
        for session in halfway, committing:
            session.ping()
        pid, dead = [pids(server, "backend 127.0.0.1:%d" % one.sock.getsockname()[1])[0] for one in (halfway, committing)]
        insert = message(section0({"insert": "s", "documents": [{"n": 7}], "$db": "deaths"}))
        admin.ask({"insert": "s", "documents": [{"n": 6}]}, "deaths")  # so that the collection is there
        admin.ask({"faultPoint": "WAL_RESERVED=stop:1:backend"}, "admin")
        halfway.send(insert)
        wait_for(lambda: state(pid) == "T", 5 * SLOW, "one stopped with space in the log")
        # The next commit's record lies behind that space, and cannot be flushed.
        admin.ask({"faultPoint": "COMMIT_LOGGED=kill:1:backend"}, "admin")
        committing.send(insert)
        wait_for(lambda: "backend (process %d)" % dead in others.said(), 5 * SLOW, "the other one's death")
        time.sleep(0.2 * SLOW)  # the undertaker begins, and waits
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        restarted(server, others)
        took = time.monotonic() - began
        assert "process %d died in the middle of a change" % pid in others.said(), others.said()
        assert took < 5 * SLOW, took


def stopped_undertaker(server):
    """an undertaker that stands still while others wait for it is replaced, alone"""
    with Bystanders(server) as others, Mongo(server.port["mongo"]) as victim:
        victim.ping()
        pid = pids(server, "backend 127.0.0.1:%d" % victim.sock.getsockname()[1])[0]
        os.kill(pids(server, "undertaker")[0], signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "cleaned up after process %d" % pid in others.said(), 9 * SLOW, "cleaned up")
        others.unharmed()


def dead_undertakers(server):
    """undertakers that are killed one after the other while many wait: none of these is blamed for it, all are cleaned up after"""
    with contextlib.ExitStack() as stack:
        admin, *victims = [stack.enter_context(Mongo(server.port["mongo"])) for _ in range(13)]
        for session in admin, *victims:
            session.ping()
        titles = {title: pid for pid, title in server.titles().items()}
        waiting = [titles["gneissd: backend 127.0.0.1:%d" % one.sock.getsockname()[1]] for one in victims]
        others = stack.enter_context(Bystanders(server))
        admin.ask({"faultPoint": "BURY_HELD=stop:3:undertaker"}, "admin")
        killed = pids(server, "undertaker")
        os.kill(killed[0], signal.SIGSTOP)
        for pid in waiting:
            os.kill(pid, signal.SIGKILL)
        for pid in waiting:
            wait_for(lambda pid=pid: "backend (process %d) was ended" % pid in others.said(), 5 * SLOW, "their deaths")
        for number in range(5):
            end(killed[-1])
            wait_for(lambda: [pid for pid in pids(server, "undertaker") if pid not in killed and state(pid) == "T"],
                     5 * SLOW, "another undertaker that has begun")
            killed += pids(server, "undertaker")
            # Not the same number again, so that nobody is whom the next one is stopped over, too.
            admin.ask({"faultPoint": "BURY_HELD=" + ("stop:%d:undertaker" % (4 - number % 2) if number < 4 else "off")}, "admin")
        end(killed[-1])
        for pid in killed + waiting:
            wait_for(lambda pid=pid: "cleaned up after process %d;" % pid in others.said(), 5 * SLOW, "process %d cleaned up after" % pid)
        last = others.said().index("undertaker (process %d) was ended" % killed[-1])
        late = sum("cleaned up after process %d;" % pid in others.said()[last:] for pid in waiting)
        assert late >= 3, others.said()
        others.unharmed()
    return "%d undertakers, %d sessions that waited to the end" % (len(killed), late)


def stalled_disk(_server):
    """a disk that stands still for twelve seconds, below an undertaker that ends a commit: it is waited for, and costs no session"""
    with disk.Disk("ext4", size="512M") as device, Server(SETTINGS) as server:
        server.data = os.path.join(device.mountpoint, "data")
        server.start()
        with Mongo(server.port["mongo"]) as admin, Mongo(server.port["mongo"]) as committing, \
                Mongo(server.port["mongo"]) as idle, Bystanders(server) as others:
            for session in committing, idle:
                session.ping()
            dead, later = [pids(server, "backend 127.0.0.1:%d" % one.sock.getsockname()[1])[0] for one in (committing, idle)]
            admin.ask({"insert": "s", "documents": [{"n": 6}]}, "deaths")  # so that the collection is there
            admin.ask({"faultPoint": "COMMIT_LOGGED=kill:1:backend"}, "admin")
            undertaker = pids(server, "undertaker")[0]
            disk.sh("xfs_io", "-x", "-c", "freeze", device.mountpoint)
            try:
                committing.send(message(section0({"insert": "s", "documents": [{"n": 7}], "$db": "deaths"})))
                wait_for(lambda: state(undertaker) == "D", 5 * SLOW, "the undertaker is stuck in the disk")
                os.kill(later, signal.SIGKILL)  # an order that it cannot read
                time.sleep(12)
                assert state(undertaker) == "D", others.said()
            finally:
                disk.sh("xfs_io", "-x", "-c", "thaw", device.mountpoint)
            for pid in dead, later:
                wait_for(lambda pid=pid: "cleaned up after process %d;" % pid in others.said(), 5 * SLOW, "cleaned up")
            assert pids(server, "undertaker") == [undertaker], others.said()
            others.unharmed()
        assert server.stop() == 0


def killed_op(server):
    """killOp interrupts the one command that it names; the session lives on"""
    with Mongo(server.port["mongo"]) as admin, Mongo(server.port["mongo"]) as waiter, \
            Mongo(server.port["mongo"]) as holder:
        holder.ping()
        pid = pids(server, "backend 127.0.0.1:%d" % holder.sock.getsockname()[1])[0]
        change = {"update": "s", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}], "$db": "deaths"}
        admin.ask({"faultPoint": "COMMIT_LOGGED=stop:1:backend"}, "admin")
        holder.send(message(section0(change)))
        wait_for(lambda: state(pid) == "T", 5 * SLOW, "stopped")
        waiter.send(message(section0(change)))
        wait_for(lambda: [op for op in current(server) if "waitsFor" in op], 5 * SLOW, "the wait")
        opid = [op for op in current(server) if "waitsFor" in op][0]["opid"]
        assert admin.ask({"killOp": 1, "op": opid}, "admin")["info"] == "attempting to kill op"
        answer = waiter.receive()[1]
        assert 11601 in (answer.get("code"), *[one["code"] for one in answer.get("writeErrors", [])]), answer
        waiter.ping()
        os.kill(pid, signal.SIGCONT)
        assert holder.receive()[1]["n"] == 1


def saved_sorts(server):
    """a backend killed while it saves a sort for the next batch, or goes on with a saved one: no file is left"""
    def files():
        return glob.glob(os.path.join(server.data, "tmp", "*"))

    find = {"find": "sorted", "sort": {"p": 1}, "batchSize": 2}
    with Mongo(server.port["mongo"]) as conn:
        conn.ask({"insert": "sorted", "documents": [{"p": "%04d" % n * 250} for n in range(500)]}, "deaths")
        cursor = conn.ask(find, "deaths")["cursor"]["id"]
        assert len(files()) == 1, files()
        conn.ask({"killCursors": "sorted", "cursors": [cursor]}, "deaths")
    with Bystanders(server) as others:
        for point, more in (("TEMP_NAMED", False), ("TEMP_READ", True)):
            with Mongo(server.port["mongo"]) as victim, Mongo(server.port["mongo"]) as admin:
                request = find
                if more:
                    request = {"getMore": victim.ask(find, "deaths")["cursor"]["id"], "collection": "sorted"}
                admin.ask({"faultPoint": point + "=kill:1:backend"}, "admin")
                with contextlib.suppress(Closed):
                    raise AssertionError("%s: it lives, and answers %s" % (point, victim.ask(request, "deaths")))
            wait_for(lambda: not files(), 5 * SLOW, "%s: no file is left of %s" % (point, files()))
        others.unharmed()


def unheard(server):
    """a backend that was woken for a client is killed or stopped before it accepts: the client is served all the same"""
    with Mongo(server.port["mongo"]) as admin:
        for action in ("kill", "stop") * ROUNDS:
            admin.ask({"faultPoint": "CLIENT_WAITS=%s:1:backend" % action}, "admin")
            with Json(server.port["json"], timeout=10 * SLOW) as client:
                client.ping()
            admin.ask({"faultPoint": "CLIENT_WAITS=off"}, "admin")
            for pid in pids(server, "backend"):
                if state(pid) == "T":
                    os.kill(pid, signal.SIGCONT)
        admin.ping()


def can_crash(server):
    with Mongo(server.port["mongo"]) as conn:
        try:
            conn.ask({"crashMe": "?"}, "admin")
        except Refused as refused:
            return "no such command" not in str(refused)


def main():
    checks = Checks()
    with Server(SETTINGS) as server:
        server.start()
        add(server, "first")
        tests = [workers, dead_undertaker, stopped_undertaker, stopped_workers, quit_one, oom_order, policies]
        if can_crash(server):
            WAYS.extend(["segv", "bus", "abort", "overflow"])
            tests += [in_doubt, left_quietly, stopped, many_at_once, dead_undertakers, killed_op, saved_sorts, unheard]
            why = disk.why_not("ext4")
            if why:
                print("# skipped: a disk that stands still: " + why)
            else:
                tests.append(stalled_disk)
        else:
            print("# skipped: deaths by the session's own hand: this build has no fault points (--enable-faults)")
        for test in tests if len(sys.argv) < 2 else [globals()[name] for name in sys.argv[1:]]:
            if not checks.run(test, server) and (server.process is None or server.process.poll() is not None):
                server.kill()
                server.start()
        checks.check(server.stop() == 0, "TERM: exit 0")
    checks.done()


if __name__ == "__main__":
    main()

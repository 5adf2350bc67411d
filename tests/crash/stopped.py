#!/usr/bin/python3
"""A process is stopped (SIGSTOP) while it holds what others wait for.

Clients count in a few documents each of which several want, and others in documents of their own.
In every second round all of them have no patience: they give up after less than a second, and ask
again.  Under them one process is stopped, and nobody starts it again.  What must follow:

  - who needs nothing of it goes on;
  - currentOp names who waits for whom, for what and, for light locks, where;
  - once it has kept others waiting for server.lock_holder_timeout_secs it is ended, and they go on;
  - nothing acknowledged is lost or done twice, and of the stopped statement all is there or nothing.

    tests/crash/stopped.py [--rounds 10] [--seed N] [--control] [POINT …]

In every build a backend is stopped at random in an update of many documents.  With fault points
(BUILD=build-faults) processes also stop by themselves, at each point of POINTS.  --control switches
the watchdog off: the waiters must be found waiting still.
"""
import argparse
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from crowd import state  # noqa: E402
from deaths import can_crash, pids  # noqa: E402
from server import SLOW, Server, wait_for  # noqa: E402
from wire import Closed, Mongo, message, section0  # noqa: E402

TIMEOUT = 2  # server.lock_holder_timeout_secs
ROWS = 3000  # of the update that is stopped
WANTED = 8  # rows that others want, too: the first and the last ones
OWN = 3  # clients that need nothing of the stopped one, and as many that do
IMPATIENT = (600, 950)  # ms; not all at once
EXPIRED = 50  # the code of an error
DEADLINE = 8  # s, after which the waiters must have gone on
RESTART = "restarting all processes from the log"

# Where a process stops by itself, and of which kind it is.
POINTS = (
    ("COMMIT_LOGGED", "backend"), ("COMMIT_FLUSHED", "backend"), ("COMMIT_MARKED", "backend"),
    ("COMMIT_NUMBERED", "backend"), ("ROW_MOVED", "backend"), ("WAL_RESERVED", "backend"),
    ("WAL_COPIED", "backend"), ("WAL_WRITTEN", "backend"), ("LOCK_TAKEN", "backend"),
    ("LOCK_FREED", "backend"), ("PIN_TAKEN", "backend"), ("WAL_WRITTEN", "wal writer"),
)


class Client(threading.Thread):
    """Counts in documents of one collection until it is told to end; connects again."""

    def __init__(self, server, collection, keys, seed):
        super().__init__(daemon=True)
        self.server, self.collection, self.keys = server, collection, keys
        self.rng = random.Random(seed)
        self.acked, self.unknown = dict.fromkeys(keys, 0), dict.fromkeys(keys, 0)
        self.when = [time.monotonic()]  # of each answer
        self.stop = False
        self.impatient = False
        self.port = 0  # on this side
        self.wrong = []

    def run(self):
        conn, sent = None, False
        while not self.stop:
            key = self.rng.choice(self.keys)
            try:
                if conn is None:
                    conn = Mongo(self.server.port["mongo"], timeout=60)
                    self.port = conn.sock.getsockname()[1]
                    conn.ping()
                sent = True
                reply = conn.ask({"update": self.collection, "updates": [
                    {"q": {"_id": key}, "u": {"$inc": {"n": 1}}}], "maxTimeMS": self.rng.randint(*IMPATIENT) if self.impatient else 0}, "stopped")
                if [one["code"] for one in reply.get("writeErrors", ())] == [EXPIRED]:
                    time.sleep(self.rng.uniform(0.21, 0.25))  # longer than what counts as waiting on
                    continue
                if reply.get("nModified") != 1:
                    self.wrong.append(str(reply))
                self.acked[key] += 1
                self.when.append(time.monotonic())
                time.sleep(0.002)
            except (Closed, ConnectionError):
                if conn is not None and sent:
                    self.unknown[key] += 1
                conn, sent = None, False
                time.sleep(0.01)
            except Exception as error:  # pylint: disable=broad-except  -- told at the end
                self.wrong.append("%s: %s" % (type(error).__name__, error))
                return

    def longest_gap(self, since, until):
        """Between two answers, of that stretch of time."""
        times = [since] + [when for when in self.when if since < when < until] + [until]
        return max(after - before for before, after in zip(times, times[1:]))

    def went_on(self, since):
        return self.when[-1] > since


class Figures:
    def __init__(self):
        self.rounds = self.void = self.ended = self.isolated = self.restarted = 0
        self.needless = 0  # stopped where nobody needed it
        self.named = set()
        self.gap, self.waited = 0.0, []
        self.bad = []


def crowd(server, seed):
    wanted = list(range(WANTED // 2)) + list(range(ROWS - WANTED // 2, ROWS))
    clients = [Client(server, "rows", wanted, seed + number) for number in range(OWN)]
    clients += [Client(server, "own", [number], seed + 50 + number) for number in range(OWN)]
    for client in clients:
        client.start()
    return clients[:OWN], clients[OWN:]


EVERY_ROW = {"update": "rows", "updates": [{"q": {}, "u": {"$inc": {"m": 1}}, "multi": True}]}


def prepare(server):
    """Yields how long an update of all rows takes, in seconds."""
    with Mongo(server.port["mongo"]) as conn:
        for first in range(0, ROWS, 1000):
            conn.ask({"insert": "rows", "documents": [
                {"_id": key, "n": 0, "m": -1, "p": "x" * 100} for key in range(first, first + 1000)]}, "stopped")
        conn.ask({"insert": "own", "documents": [{"_id": key, "n": 0} for key in range(OWN)]}, "stopped")
        began = time.monotonic()
        conn.ask(EVERY_ROW, "stopped")  # and m is 0
        return time.monotonic() - began


def waits(conn):
    """All waits, for a complaint."""
    return [(op["desc"] if "desc" in op else op.get("pid"), op["waitsFor"]["what"], op["waitsFor"].get("where", ""),
             [one["pid"] for one in op["waitsFor"]["heldBy"]])
            for op in conn.ask({"currentOp": 1, "$all": True}, "admin")["inprog"] if "waitsFor" in op]


def waits_for(conn, pid):
    """What others wait for of this process: pairs of what and where."""
    ops = conn.ask({"currentOp": 1, "$all": True}, "admin")["inprog"]
    return {(op["waitsFor"]["what"], op["waitsFor"].get("where", "")) for op in ops if "waitsFor" in op
            if pid in [one["pid"] for one in op["waitsFor"]["heldBy"]]}


def watch(server, pid, needing, free, figures, what):
    """It is stopped: follow what happens.  Yields whether anyone waited for it."""
    since, at = time.monotonic(), len(server.log())
    named, first, last = set(), None, []
    names = server.titles().get(pid, "") + " "
    needing, free = ([client for client in some if ":%d " % client.port not in names]
                     for some in (needing, free))
    # One look of the watchdog's in which all of the impatient pause begins its time anew.
    until = since + DEADLINE * SLOW * (2 if any(client.impatient for client in needing) else 1)
    try:
        with Mongo(server.port["mongo"], timeout=DEADLINE) as conn:
            while state(pid) == "T" and time.monotonic() < until:
                found = waits_for(conn, pid)
                if found and first is None:
                    first = time.monotonic()
                named |= found
                if time.monotonic() - since > 0.5 * SLOW and not last:
                    last = waits(conn)
                if not named and time.monotonic() - since > 1.0 * SLOW and all(
                        client.went_on(time.monotonic() - 0.5 * SLOW) for client in needing + free):
                    os.kill(pid, signal.SIGCONT)  # nobody needs what it holds
                    figures.needless += 1
                    print("  %s: all went on beside it" % what)
                    return False
                time.sleep(0.02)
    except (Closed, ConnectionError, TimeoutError):
        pass  # everything was restarted
    ended = time.monotonic()
    said = lambda: server.log()[at:]  # noqa: E731
    if state(pid) == "T":
        figures.bad.append("%s: process %d is stopped still; waiting for it: %s; all waits: %s" % (
            what, pid, sorted(named), last))
        os.kill(pid, signal.SIGCONT)
    elif not named:
        figures.bad.append("%s: currentOp never said that anyone waits for it" % what)
    elif "%d (" % pid not in said() or "has not run for" not in said():
        figures.bad.append("%s: the log does not say why process %d was ended" % (what, pid))
    try:
        wait_for(lambda: all(client.went_on(ended) for client in needing + free), DEADLINE * SLOW,
                 "all go on after %s" % what)
    except AssertionError as error:
        figures.bad.append(str(error))
    restarted = RESTART in said()
    figures.ended += 1
    figures.restarted += restarted
    figures.isolated += not restarted
    figures.named |= named
    figures.waited.append(ended - (first or since))
    only_rows = {one for one, _ in named} <= {"transaction"}
    gap = max(client.longest_gap(since, ended) for client in free)
    if only_rows and not restarted:
        figures.gap = max(figures.gap, gap)
        if gap > 1.0 * SLOW:
            figures.bad.append("%s: somebody who did not need it waited %.1f s; all waits: %s" % (what, gap, last))
    print("  %s: waited for: %s; %s after %.1f s; the longest wait of those that need no row of it %.2f s" % (
        what, ", ".join(sorted(("%s %s" % one).strip() for one in named)),
        "all restarted" if restarted else "ended", ended - (first or since), gap), flush=True)
    return True


def stop_an_update(server, rng, takes, needing, free, figures):
    """In the middle of what `takes` so long.  Yields (acknowledged, unknown) of the update of all rows, (0, 0) too if it was no use."""
    with Mongo(server.port["mongo"], timeout=60) as holder:
        holder.ping()
        found = pids(server, "backend 127.0.0.1:%d" % holder.sock.getsockname()[1])
        if not found:
            return 0, 0
        pid = found[0]
        holder.send(message(section0({**EVERY_ROW, "$db": "stopped"})))
        time.sleep(rng.uniform(0.1, 0.7) * takes)
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: state(pid) == "T", 5 * SLOW, "stopped")
        figures.rounds += 1
        if not watch(server, pid, needing, free, figures, "an update of %d documents" % ROWS):
            figures.void += 1
        try:
            return int(holder.receive()[1].get("nModified", 0) == ROWS), 0
        except (Closed, ConnectionError):
            return 0, 1


def stop_at(server, point, kind, needing, free, figures):
    with Mongo(server.port["mongo"], timeout=60) as conn:
        before = set(server.children())
        conn.ask({"faultPoint": "%s=stop:1:%s" % (point, kind)}, "admin")
        found = []

        def there():
            found[:] = [pid for pid in server.children() if state(pid) == "T"]
            return found
        try:
            wait_for(there, 3 * SLOW, "stopped at %s" % point)
        except AssertionError:
            conn.ask({"faultPoint": "%s=off" % point}, "admin")
            if not there():
                print("  %s of a %s: not passed" % (point, kind))
                figures.void += 1
                return
        assert set(found) <= before | set(server.children())
    figures.rounds += 1
    watch(server, found[0], needing, free, figures, "%s of a %s" % (point, kind))


def compare(server, clients, whole, figures):
    """What is there with what was acknowledged; yields what was acknowledged, and lost."""
    acked = lost = 0
    with Mongo(server.port["mongo"], timeout=60) as conn:
        for collection, count in (("rows", ROWS), ("own", OWN)):
            docs = conn.ask({"find": collection, "batchSize": ROWS + 1}, "stopped")["cursor"]["firstBatch"]
            if len(docs) != count:
                figures.bad.append("%s: %d documents of %d" % (collection, len(docs), count))
            there = {doc["_id"]: doc["n"] for doc in docs}
            for key, value in there.items():
                mine = [one for one in clients if one.collection == collection and key in one.acked]
                sure = sum(one.acked[key] for one in mine)
                may = sum(one.unknown[key] for one in mine)
                acked += sure
                lost += max(0, sure - value)
                if not sure <= value <= sure + may:
                    figures.bad.append("%s %d: %d, acknowledged %d, unknown %d" % (
                        collection, key, value, sure, may))
            if collection == "rows":
                changed = {doc["m"] for doc in docs}
                if len(changed) != 1 or not whole[0] <= min(changed) <= sum(whole):
                    figures.bad.append("updates of all rows: %s, acknowledged %d, unknown %d" % (
                        changed, *whole))
            if not conn.ask({"validate": collection}, "stopped")["valid"]:
                figures.bad.append("validate: %s is damaged" % collection)
    return acked, lost


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "10")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--control", action="store_true")
    parser.add_argument("point", nargs="*", help="only these of POINTS")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    rng, figures, whole = random.Random(seed), Figures(), [0, 0]
    with Server({"memory.shared_buffers": "4MB", "server.enable_test_commands": True,
                 "server.lock_holder_timeout_secs": 0 if options.control else TIMEOUT}) as server:
        server.start()
        takes = prepare(server)
        needing, free = crowd(server, seed)
        while figures.rounds - figures.void < options.rounds and figures.void < 3 * options.rounds + 3:
            for client in needing + free:
                client.impatient = (figures.rounds - figures.void) % 2 == 1
            for number, one in enumerate(stop_an_update(server, rng, takes, needing, free, figures)):
                whole[number] += one
            if options.control and figures.bad:
                break
        for client in needing + free:
            client.impatient = False
        if not options.control and can_crash(server):
            for point, kind in POINTS:
                if not options.point or point in options.point:
                    stop_at(server, point, kind, needing, free, figures)
        elif not options.control:
            print("# skipped: processes that stop at a fault point: this build has none (--enable-faults)")
        for client in needing + free:
            client.stop = True
        for client in needing + free:
            client.join(60 * SLOW)
            figures.bad += client.wrong + (["a client hangs"] if client.is_alive() else [])
        acked, lost = compare(server, needing + free, whole, figures)
        if server.stop() != 0:
            figures.bad.append("the server did not end well")
    if figures.ended == 0:
        figures.bad.append("nothing that others waited for was stopped: void")
    for text in figures.bad:
        print("  " + text)
    if options.control:
        red = any("is stopped still" in text for text in figures.bad)
        print("red, as it should be: who waits for a stopped one waits for ever" if red else
              "the control did not fail")
        sys.exit(0 if red else 1)
    print("stopped: seed %d, %d stops, %d that others waited for (%d ended alone, %d by a restart of all), "
          "waited for %.1f s at most with a limit of %d s; who needed none of it waited %.2f s at most; "
          "%d acknowledged, %d lost, %d complaints" % (
              seed, figures.rounds, figures.ended, figures.isolated, figures.restarted,
              max(figures.waited or [0]), TIMEOUT, figures.gap, acked, lost, len(figures.bad)))
    sys.exit(1 if figures.bad else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""No memory: for every kind of statement, its first allocation fails, then its second, and so on.

A session is told the number of the allocation that fails (the fault points MALLOC: of the house and
of its libraries; ARENA_TAKE: of what a request has; places of cursors and transactions, buffers);
the loop ends with the first run in which nothing failed.  Each run must be right, or say clearly that
there is no memory, and then have changed nothing, or done single documents of many wholly.  Its
session goes on.  Afterwards nothing is held, no cursor, descriptor or temporary file is left, and
`validate` finds every collection sound.  "once": that allocation fails; "onward": all from it on, until
the statement is over (then its session may end, alone).  "cold": a new session, in a new process.

    tests/crash/allocations.py [--seed N] [--share 1] [--only NAME] [--modes once,onward,cold] [--beside] [--verbose]

--share: of the statements only so many, by the seed.  Beside statements (--beside alone): sessions that
cannot begin, no cursor left, forks that fail, workers without memory.
"""
import argparse
import os
import random
import re
import signal
import socket
import sys
import time

os.environ.setdefault("BUILD", "build-faults")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import statements  # noqa: E402
from server import SLOW, Checks, Server, wait_for  # noqa: E402
from statements import TEXT_DATABASE  # noqa: E402
from wire import Closed, Json, Mongo, Refused, Text  # noqa: E402

POINTS = ("MALLOC", "ARENA_TAKE")
PLACES = ("TXN_PLACE_TAKE", "CURSOR_TAKE", "POOL_ROOM")  # what else there is only so much of
SIGNS = re.compile(r"memory|could not allocate|more than the limit of|fault point", re.I)
MOST = 3000  # allocations of one statement
SETTINGS = {"memory.shared_buffers": "4MB", "memory.work_mem": 1 << 16, "server.sessions_per_backend": 1,
            "wal.checkpoint_timeout_secs": 3600, "storage.autovacuum_naptime_secs": 3600,
            "server.spare_backends_min": 2, "mongo.cursor_timeout_secs": 3600}


class Wrong(Exception):
    pass


class Control:
    """Sessions that see everything and in which nothing fails."""

    def __init__(self, server):
        self.server = server
        self.mongo = Mongo(server.port["mongo"])
        self.text = Text(server.port["text"])
        self.points = {}

    def of(self, protocol):
        return self.text if protocol == "text" else self.mongo

    def arm(self, text):
        self.mongo.ask({"faultPoint": text}, "admin")

    def hits(self, point):
        return self.mongo.ask({"faultPoint": "", "only": point}, "admin")["points"][point]["hits"]

    def pid_of(self, protocol, conn):
        me = "%s:%d" % conn.sock.getsockname()
        for one in self.mongo.ask({"currentOp": 1, "$all": True}, "admin")["inprog"]:
            if (one.get("protocol"), one.get("client")) == (protocol, me):
                return one["pid"]
        raise Wrong("no process serves %s" % me)

    def held(self):
        status = self.mongo.ask({"serverStatus": 1, "held": True}, "admin")["held"]
        return {name: status[name] for name in (
            "locks", "pins", "pinsCounted", "io", "places", "transactions", "snapshots", "cursors",
            "critical", "slotsDead") if status[name] != 0}


def connect(server, protocol):
    if protocol == "text":
        conn = Text(server.port["text"])
        return conn
    return {"mongo": Mongo, "json": Json}[protocol](server.port[protocol])


def files_left(server):
    folder = os.path.join(server.data, "tmp")
    return os.listdir(folder) if os.path.isdir(folder) else []


def open_files(pid, folder):
    """Sockets, and temporary files."""
    links = []
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            links.append(os.readlink("/proc/%d/fd/%s" % (pid, name)))
        except OSError:
            pass
    return sum(link.startswith(("socket:", folder)) for link in links)


class Trial:
    """One statement on one session."""

    def __init__(self, server, control, statement, figures):
        self.server, self.control, self.statement = server, control, statement
        self.figures = figures
        self.state, self.restore = statements.STATES[statement.protocol]
        self.conn = None
        self.restore(control.of(statement.protocol))
        self.before = self.look()
        self.held = control.held()
        self.right = self.after = None

    def look(self):
        return self.state(self.control.of(self.statement.protocol))

    def session(self):
        if self.conn is None:
            self.conn = connect(self.server, self.statement.protocol)
            if self.statement.protocol == "text":
                self.conn.ask("USE " + TEXT_DATABASE)
            self.conn.ping()
            self.pid = self.control.pid_of(self.statement.protocol, self.conn)
            self.files = open_files(self.pid, os.path.join(self.server.data, "tmp"))
        return self.conn

    def leave(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def begin(self):
        """What the statement needs to be there."""
        conn = self.session()
        return self.statement.begin(conn) if self.statement.begin else None

    def end(self, answer):
        if self.statement.end:
            self.statement.end(self.conn, answer)

    def learn(self):
        """What the statement is right to answer and to change, without a fault."""
        context = self.begin()
        self.right, answer = self.statement.ask(self.session(), context)
        self.end(answer)
        self.after = self.look()
        if not self.statement.changes and self.after != self.before:
            raise Wrong("it changes something")
        self.put_back()

    def put_back(self):
        if self.statement.changes:
            self.restore(self.control.of(self.statement.protocol))

    def run(self, point, n, onward):
        """One run; yields whether the fault happened."""
        context = self.begin()
        self.control.arm("%s=error:%d%s:%d" % (point, n, "+" if onward else "", self.pid))
        error = closed = picked = answer = None
        try:
            picked, answer = self.statement.ask(self.conn, context)
        except Refused as refused:
            error = str(refused)
        except (Closed, ConnectionError) as ended:
            closed = str(ended) or "closed"
        except TimeoutError as hung:
            raise Wrong("no answer to %s" % self) from hung
        hit = self.control.hits(point) > 0
        self.control.arm(point + "=off")
        self.figures["runs"] += 1
        self.judge(hit, onward, picked, answer, error, closed)
        if closed:
            self.leave()
        elif error is None:
            self.end(answer)
        elif context is not None and self.statement.protocol != "text":
            self.close_cursor(context)
        return hit

    def close_cursor(self, context):
        """A cursor that the statement went on with, or did not."""
        if self.statement.protocol == "mongo":
            self.conn.ask({"killCursors": "c", "cursors": [context]}, statements.DATABASE)
        else:
            try:
                self.conn.ask("kill_cursor", cursor_id=context)
            except Refused:
                pass

    def judge(self, hit, onward, picked, answer, error, closed):
        errors = []
        if isinstance(answer, dict) and picked != self.right:
            errors = [one["errmsg"] for one in answer.get("writeErrors") or []]
        if closed:
            if not hit:
                raise Wrong("the session ended by itself: %s" % closed)
            if not onward and not self.statement.long:
                raise Wrong("the session ended")
            self.figures["ended"] += 1
        elif error is not None or errors:
            for text in errors or [error]:
                if not hit or not SIGNS.search(text):
                    raise Wrong("it says '%s'" % text[:200])
            self.figures["refused"] += 1
        elif picked != self.right:
            raise Wrong("it answers %s, right is %s" % (str(picked)[:300], str(self.right)[:300]))
        else:
            self.figures["done"] += 1
        if self.statement.changes:
            self.judge_state(done=not closed and error is None and not errors, closed=closed)

    def judge_state(self, done, closed):
        now = self.look()
        if done:
            if now != self.after:
                raise Wrong("it is said to be done, and is not: %s" % differs(now, self.after))
        elif now == self.before:
            return
        elif self.statement.parts or closed:
            odd = parts_wrong(now, self.before, self.after)
            if odd:
                raise Wrong("half of it is done: %s" % odd)
        else:
            raise Wrong("it is said to have failed, and is %s" % (
                "done" if now == self.after else "half done: %s" % differs(now, self.before)))
        self.put_back()

    def at_the_end(self):
        if self.conn is not None:
            self.conn.ping()
            files = open_files(self.pid, os.path.join(self.server.data, "tmp"))
            if files != self.files:
                raise Wrong("%d descriptors are left open" % (files - self.files))
        self.leave()
        held = {}

        def rests():
            nonlocal held
            held = {name: count for name, count in self.control.held().items()
                    if count != self.held.get(name, 0)}
            return not held
        try:
            wait_for(rests, 3 * SLOW, "nothing held")
        except AssertionError:
            raise Wrong("left over: %s" % held) from None
        if files_left(self.server):
            raise Wrong("files are left: %s" % files_left(self.server)[:3])


def differs(now, then):
    names = [name for name in set(now) | set(then) if now.get(name) != then.get(name)]
    return ", ".join("%s: %s" % (name, sorted(
        key for key in set(now.get(name, ({},))[0]) | set(then.get(name, ({},))[0])
        if now.get(name, ({},))[0].get(key) != then.get(name, ({},))[0].get(key))[:5]) for name in names[:3])


def parts_wrong(now, before, after):
    """Each collection there or not, each document and each index old or new: else what is wrong."""
    for name in set(now) | set(before) | set(after):
        if name not in now:
            if name in before and name in after:
                return name + " is gone"
            continue
        if name not in before and name not in after:
            return name + " is there"
        were, will = before.get(name, ({}, [])), after.get(name, ({}, []))
        for key in set(now[name][0]) | set(were[0]) | set(will[0]):
            if now[name][0].get(key) not in (were[0].get(key), will[0].get(key)):
                return "%s %s" % (name, key)
        if not set(were[1]) & set(will[1]) <= set(now[name][1]) <= set(were[1]) | set(will[1]):
            return "indexes of %s" % name
    return ""


def loop(trial, point, mode, wrong):
    """n = 1, 2, … until nothing fails; yields how many it took."""
    n = 0
    while n < MOST:
        n += 1
        try:
            if mode == "cold":
                trial.leave()
            if not trial.run(point, n, mode == "onward"):
                return n
        except (Wrong, AssertionError, OSError, Refused) as error:
            trial.control.arm(point + "=off")
            wrong.append("%s, %s %d, %s: %s%s" % (
                trial.statement, point, n, mode, "" if isinstance(error, Wrong) else type(error).__name__ + ": ",
                str(error)[:500]))
            trial.leave()
            if len(wrong) >= 3 or trial.server.process.poll() is not None:
                return n
            trial.put_back()
    wrong.append("%s, %s: %d allocations, and no end" % (trial.statement, point, n))
    return n


def statement_check(server, control, statement, modes, figures):
    """All points and modes for one; yields (what is wrong, {point: number of allocations})."""
    wrong, counts = [], {}
    trial = Trial(server, control, statement, figures)
    try:
        trial.learn()
        for mode in modes:
            points = POINTS + PLACES if mode == "once" else POINTS[:1] if mode == "cold" else POINTS
            for point in points:
                counts[point if mode == "once" else point + " " + mode] = loop(trial, point, mode, wrong) - 1
                if len(wrong) >= 3:
                    return wrong, counts
        trial.at_the_end()
    except (Wrong, AssertionError, OSError, Refused) as error:
        wrong.append("%s: %s: %s" % (statement, type(error).__name__, str(error)[:500]))
    finally:
        trial.leave()
    return wrong, counts


def validate_all(control):
    odd = []
    for database in statements.DATABASES:
        for one in control.mongo.ask({"listCollections": 1}, database)["cursor"]["firstBatch"]:
            reply = control.mongo.ask({"validate": one["name"]}, database)
            if not reply["valid"]:
                odd.append("%s.%s: %s" % (database, one["name"], reply["errors"][:2]))
    return odd


def every_statement(checks, options, rng):
    chosen = [one for one in statements.ALL if options.only in str(one)]
    if options.share < 1:
        chosen = [one for one in chosen if not one.slow]
        chosen = rng.sample(chosen, max(1, int(len(chosen) * options.share)))
    figures = {"runs": 0, "done": 0, "refused": 0, "ended": 0}
    wrong, began = [], time.monotonic()
    with Server(SETTINGS) as server:
        server.start()
        control = Control(server)
        for statement in chosen:
            more, counts = statement_check(server, control, statement, options.modes.split(","), figures)
            if options.verbose:
                print("# %-40s %s" % (statement, " ".join("%s %d" % pair for pair in counts.items() if pair[1])))
            for text in more:
                print("# " + text, flush=True)
            wrong += more + ["%s: %s" % (statement, odd) for odd in validate_all(control)]
        crashes = [line for line in server.crashes() if "fault point" not in line]
        checks.check(not wrong and not crashes, "the n-th allocation fails: %d statements, %d runs: %d done, %d "
                     "refused for want of memory, %d sessions ended; 0 processes died (%.0f s)" % (
                         len(chosen), figures["runs"], figures["done"], figures["refused"], figures["ended"],
                         time.monotonic() - began), (wrong + crashes)[:3])
        checks.check(server.stop() == 0, "and the server stops in order")


# ---- beside statements ----
def sessions_begin(server, control):
    """A new session whose n-th allocation fails is closed or answered, and never left waiting."""
    for protocol in ("mongo", "json", "text"):
        for n in range(1, 40):
            control.arm("MALLOC=error:%d:backend" % n)
            conn = None
            try:
                if protocol == "text":
                    conn = Text(server.port["text"], login=False, timeout=10)
                else:
                    conn = {"mongo": Mongo, "json": Json}[protocol](server.port[protocol], timeout=10)
                conn.ping()
            except (Closed, ConnectionError, Refused):
                pass
            except TimeoutError as hung:
                raise Wrong("%s: a session that could not begin is left waiting" % protocol) from hung
            finally:
                control.arm("MALLOC=off")
                if conn is not None:
                    conn.close()
    connect(server, "mongo").ping()


def cursors_at_their_ceiling(server, control):
    """When no cursor is left, a find says so, and goes on when there is one."""
    statements.mongo_restore(control.mongo)
    open_cursors = []
    with connect(server, "mongo") as conn:
        def find():
            return conn.ask({"find": "c", "batchSize": 1}, statements.DATABASE)["cursor"]["id"]
        try:
            while len(open_cursors) < 100:
                open_cursors.append(find())
            raise Wrong("100 cursors of 16 are open")
        except Refused as error:
            if "cursor" not in str(error):
                raise Wrong("it says '%s'" % error) from error
        conn.ask({"killCursors": "c", "cursors": open_cursors[:1]}, statements.DATABASE)
        open_cursors[0] = find()
        conn.ask({"killCursors": "c", "cursors": open_cursors}, statements.DATABASE)
    if control.held():
        raise Wrong("left over: %s" % control.held())


def forks_fail(server, control):
    """When no process can be started, the server lives, says it once, and serves all afterwards."""
    control.arm("FORK=error")
    waiting = []
    try:
        for _ in range(6):  # each backend serves one session; then there are none
            try:
                connect(server, "mongo").close()
            except OSError:
                break
        waiting = [socket.create_connection(("127.0.0.1", server.port["text"]), timeout=60 * SLOW)
                   for _ in range(3)]
        wait_for(lambda: control.hits("FORK") >= 3, 20 * SLOW, "forks that fail")
    finally:
        control.arm("FORK=off")
    for sock in waiting:
        if not sock.recv(64).startswith(b"+"):
            raise Wrong("a client that waited is not served")
        sock.close()
    said = server.log().count("trying again until it can be started")
    if said != 1 or server.process.poll() is not None:
        raise Wrong("it is said %d times" % said)


def first_fork_fails():
    """A start whose first process cannot be started tries again, and serves."""
    with Server(SETTINGS, wrapper=["env", "GNEISS_FAULTS=FORK=error:1"]) as server:
        server.start()
        if "trying again until it can be started" not in server.log():
            raise Wrong("void: no fork failed")
        if server.stop() != 0:
            raise Wrong("it does not stop in order")


def workers_lack_memory(server, control):
    """A worker that gets no memory costs no session, and works when there is memory again."""
    hits = {}
    for kind in ("checkpointer", "wal writer", "buffer writer", "autovacuum", "undertaker"):
        control.arm("MALLOC=error:1+:" + kind)
        until = time.monotonic() + 2
        number = 0
        # The first checkpoint that is due comes within the timeout, and what one takes that is under way.
        while time.monotonic() < until or (
                kind == "checkpointer" and control.hits("MALLOC") == 0 and time.monotonic() < until + 20 * SLOW):
            number += 1
            control.mongo.ask({"update": "c", "updates": [
                {"q": {"_id": number % 11}, "u": {"$inc": {"n": 1}, "$set": {"p": "p" * 3000}}}]}, statements.DATABASE)
            if kind == "undertaker" and number % 50 == 1:
                victim = connect(server, "mongo")
                victim.ping()
                os.kill(control.pid_of("mongo", victim), signal.SIGKILL)
                victim.close()
            time.sleep(0.005)
        hits[kind] = control.hits("MALLOC")
        control.arm("MALLOC=off")
    if "restarting all" in server.log():
        raise Wrong("all were restarted")
    wait_for(lambda: not control.held(), 20 * SLOW, "nothing is held")
    odd = validate_all(control)
    if odd:
        raise Wrong(odd[0])
    if hits["checkpointer"] == 0:
        raise Wrong("void: the checkpointer wanted no memory")
    return "allocations refused: " + ", ".join("%s %d" % pair for pair in hits.items())


def others(checks):
    settings = {**SETTINGS, "memory.max_cursors": 16, "wal.checkpoint_timeout_secs": 5,
                "wal.checkpoint_completion_percent": 10, "wal.writer_delay_ms": 50,
                "storage.buffer_writer_delay_ms": 20, "storage.autovacuum_naptime_secs": 1}
    with Server(settings) as server:
        server.start()
        control = Control(server)
        for function in (sessions_begin, cursors_at_their_ceiling, forks_fail, workers_lack_memory):
            checks.run(function, server, control)
        checks.check(server.stop() == 0, "and that server stops in order")
    checks.run(first_fork_fails)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 30))
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--beside", action="store_true", help="only what is no statement")
    parser.add_argument("--modes", default="once,onward,cold")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    print("# seed %d" % options.seed)
    checks = Checks()
    if not options.beside:
        every_statement(checks, options, random.Random(options.seed))
    if not options.only:
        others(checks)
    checks.done()


if __name__ == "__main__":
    main()

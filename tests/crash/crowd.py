"""A crowd at work while processes of its server are being ended: clients that connect again.

16 writers (six speak MongoDB's wire, five text, five JSON; oracle.py's own documents, counters that
all share, and unique values that all fight for), 4 readers, a long cursor, and a client that does
nothing but knock.  All notes are taken outside the server, by wall-clock time, as the log's are:

  writers   what was acknowledged, refused, unknown; how long each answer took
  readers   no counter goes back, no unique value is seen twice, no document is torn
  cursor    every document once and in order, over connections that come and go
  knocker   refused connections, and the longest wait for the banner
  each      when a connection broke, and which port it had on this side

    crowd = Crowd(server, seed)         # makes the collections
    crowd.begin()
    … victims = [kill(server, rng, …)] …
    report = crowd.end()                # what the clients noted, set against the victims
    crowd.judge(report, victims)        # adds what the server's log says of it
    problems = crowd.read_back()        # everything compared with what was acknowledged
"""
import array
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import select
import signal
import sys
import time
import traceback
from datetime import datetime, timezone

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import oracle as oracles_of  # noqa: E402
from oracle import (ABSENT, COLLECTION, DATABASE, KINDS, ByJson, ByText, Oracle,  # noqa: E402
                    Unknown, was_ended)
from server import SLOW, wait_for  # noqa: E402
from wire import Closed, Json, Mongo, Refused, Text  # noqa: E402

COUNTERS = 4  # documents that all writers count in
CLAIMS = 48  # unique values that they fight for
LONG = 4000  # documents of the long cursor
BATCH = 50
LIVING = 150  # documents of a writer, about
READERS = 4
PATIENCE = 60
SETTINGS = {"mongo.cursor_timeout_secs": 5, "storage.autovacuum_naptime_secs": 1}
SLACK = 0.25  # s: how much later than it happened a busy client may notice


# ---- writing by MongoDB's wire, hiding nothing ----
class ByWire(oracles_of.BySocket):
    def __init__(self, port, durable):
        self.more = {} if durable else {"writeConcern": {"w": 1, "j": False}}
        self.socket = Mongo.__new__(Mongo)
        self.socket.__init__(port, timeout=PATIENCE)
        self.socket.ping()

    def write(self, verb, collection, name, statements):
        reply = self.run({verb: collection, name: statements, **self.more}, DATABASE)
        if "writeErrors" in reply:
            error = Refused(str(reply["writeErrors"]))
            raise Unknown() if was_ended(error) else error
        return reply["n"]

    @staticmethod
    def document(key, client, number, text):
        return {"_id": key, "client": client, "n": number, "p": text,
                "h": hashlib.sha1(text.encode()).hexdigest()}

    def insert(self, key, client, number, text):
        self.put(COLLECTION, self.document(key, client, number, text))

    def insert_batch(self, rows, client):
        self.write("insert", COLLECTION, "documents",
                   [self.document(key, client, 0, text) for key, text in rows])

    def replace(self, key, client, number, text):
        changes = self.document(key, client, number, text)
        del changes["_id"]
        self.change(COLLECTION, key, {"$set": changes})

    def increment(self, key, _client, _number, _text):
        self.change(COLLECTION, key, {"$inc": {"n": 1}})

    def delete(self, key):
        self.take_away(COLLECTION, key)

    def put(self, collection, document):
        self.write("insert", collection, "documents", [document])

    def change(self, collection, key, update):
        count = self.write("update", collection, "updates", [{"q": {"_id": key}, "u": update}])
        assert count == 1, "%d matched" % count

    def take_away(self, collection, key):
        count = self.write("delete", collection, "deletes", [{"q": {"_id": key}, "limit": 1}])
        assert count == 1, "%d deleted" % count


class ByLines(ByJson):
    def __init__(self, port, durable):
        super().__init__(port, durable)
        self.socket.ping()

    def put(self, collection, document):
        self.run("insert_one", document=document, **{**self.more, "collection": collection})

    def change(self, collection, key, update):
        data = self.run("update_one", filter={"_id": key}, update=update,
                        **{**self.more, "collection": collection})
        assert data["matched_count"] == 1, data

    def take_away(self, collection, key):
        data = self.run("delete_one", filter={"_id": key}, **{**self.more, "collection": collection})
        assert data["deleted_count"] == 1, data


WRITERS = {"mongo": ByWire, "text": ByText, "json": ByLines}


# ---- notes ----
class Notes:
    """What one client saw; plain data that goes through a pipe."""

    def __init__(self, who):
        self.who = who
        self.begun = array.array("d")  # of each answered operation
        self.took = array.array("d")
        self.broken = []  # (port, connected at, noticed at)
        self.refused = 0  # connections
        self.wrong = []
        self.cycles = 0  # whole passes of a reader or the cursor
        self.survived = self.ended = 0  # of cursors whose connection broke
        self.slowest = 0.0

    def tell(self, text):
        if len(self.wrong) < 20:
            self.wrong.append("%s: %s" % (self.who, text))


def connected(make, notes, stop):
    """A new connection by make(), however long it takes; its port and time; None: it is over."""
    while not stop.is_set():
        since = time.time()
        try:
            conn = make()
            sock = getattr(conn, "socket", conn).sock
            return conn, sock.getsockname()[1], since
        except ConnectionRefusedError:
            notes.refused += 1
        except TimeoutError:
            notes.tell("no answer to a new connection for %d s" % PATIENCE)
        except (Unknown, Closed, OSError):
            notes.broken.append((0, since, time.time()))
        except Refused as error:
            if was_ended(error):
                notes.broken.append((0, since, time.time()))
            else:
                notes.tell("turned away: %s" % error)
        time.sleep(0.02)
    return None, 0, 0.0


def client_main(work, make, notes, stop, pipe):
    """work(conn) does one operation; connects again whenever the connection breaks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = True
    try:
        while not stop.is_set():
            conn, port, since = connected(make, notes, stop)
            if first:
                pipe.send("ready")
                first = False
            if conn is None:
                break
            try:
                while not stop.is_set():
                    began = time.time()
                    work(conn)
                    notes.begun.append(began)
                    notes.took.append(time.time() - began)
            except (Unknown, Closed, OSError):
                if time.time() - began > PATIENCE * SLOW - 1:
                    notes.tell("no answer for %d s" % PATIENCE)
                notes.broken.append((port, since, time.time()))
            except Refused as error:
                if was_ended(error):
                    notes.broken.append((port, since, time.time()))
                else:
                    notes.tell("refused: %s" % str(error)[:300])
            except AssertionError as error:  # what was acknowledged is not there any more
                notes.tell(str(error)[:300])
            finally:
                getattr(conn, "socket", conn).close()
    except Exception:
        notes.tell(traceback.format_exc()[-1500:])
    pipe.send((getattr(work, "oracle", None), notes))


# ---- what each does ----
class Writing:
    """Steps of a writer; `oracle` also knows of its counters and claims."""

    def __init__(self, oracle, seed):
        self.oracle = oracle
        self.rng = random.Random(seed)

    def __call__(self, writer):
        shared = hasattr(writer, "put")
        kind = self.rng.random()
        if shared and kind < 0.15:
            self.count(writer)
        elif shared and kind < 0.30:
            self.claim(writer)
        elif len(self.oracle.payload) > LIVING:
            key = self.rng.choice(list(self.oracle.payload))
            self.oracle.attempt(key, ABSENT, lambda: writer.delete(key))
            self.oracle.payload.pop(key, None)
        else:
            oracles_of.one_step(self.oracle, writer, self.rng)

    def count(self, writer):
        number = self.rng.randrange(COUNTERS)
        known = self.oracle.counted[number]
        try:
            writer.change("counters", number, {"$inc": {"all": 1, "c%d" % self.oracle.client: 1}})
        except Unknown:
            known[1] += 1
            self.oracle.unknown += 1
            raise
        known[0] += 1
        self.oracle.acked += 1

    def claim(self, writer):
        """Take a unique value, or give one back."""
        oracle, held = self.oracle, self.oracle.held
        if held and self.rng.random() < 0.5:
            key = held.pop(self.rng.randrange(len(held)))
            now, after = oracle.claims[key], ABSENT
            def write(): writer.take_away("claims", key)
        else:
            key, now, after = oracle.new_key(), ABSENT, self.rng.randrange(CLAIMS)
            def write(): writer.put("claims", {"_id": key, "u": after, "client": oracle.client})
        try:
            write()
        except Refused:
            oracle.refused += 1
            if after is ABSENT:
                raise
            return  # another has the value
        except Unknown:
            oracle.unknown += 1
            oracle.claims[key] = {now, after} if not isinstance(now, set) else now | {after}
            raise
        oracle.acked += 1
        oracle.claims[key] = {after}
        if after is not ABSENT:
            held.append(key)


class Reading:
    def __init__(self, seed, notes):
        self.rng = random.Random(seed)
        self.notes = notes
        self.seen = {}

    def __call__(self, conn):
        find = find_by_mongo if isinstance(conn, Mongo) else find_by_json
        kind = self.rng.random()
        if kind < 0.4:
            for doc in find(conn, "counters", {}):
                parts = sum(count for name, count in doc.items() if name.startswith("c"))
                if parts != doc["all"]:
                    self.notes.tell("a counter's parts do not add up: %s" % doc)
                if doc["all"] < self.seen.get(doc["_id"], 0):
                    self.notes.tell("counter %s went back from %d to %d" % (
                        doc["_id"], self.seen[doc["_id"]], doc["all"]))
                self.seen[doc["_id"]] = doc["all"]
        elif kind < 0.7:
            values = [doc["u"] for doc in find(conn, "claims", {})]
            if len(set(values)) != len(values):
                self.notes.tell("a unique value is there twice: %s" % sorted(values))
        else:
            for doc in find(conn, COLLECTION, {"client": self.rng.choice(
                    [number for number, kind in enumerate(KINDS) if kind != "text"])}):
                if hashlib.sha1(doc["p"].encode()).hexdigest() != doc["h"]:
                    self.notes.tell("torn document %s" % doc["_id"])
        self.notes.cycles += 1


def find_by_mongo(conn, collection, condition):
    reply = conn.ask({"find": collection, "filter": condition}, DATABASE)["cursor"]
    docs = reply["firstBatch"]
    while reply["id"] != 0:
        reply = conn.ask({"getMore": reply["id"], "collection": collection}, DATABASE)["cursor"]
        docs += reply["nextBatch"]
    return docs


def find_by_json(conn, collection, condition):
    return conn.ask("find", database=DATABASE, collection=collection, filter=condition)["documents"]


class Cursor:
    """Goes through "long" again and again; a cursor belongs to no connection, so one that was not
    just fetching goes on over the next."""

    def __init__(self, notes):
        self.notes = notes
        self.id = 0
        self.next = 0  # the number that must come
        self.broken = self.fetching = False

    def __call__(self, conn):
        if self.fetching:  # the connection broke before the answer: whether it moved is not known
            self.id = 0
            self.notes.ended += 1
        self.broken = self.id != 0 and self.broken
        if self.id != 0 and select.select([conn.sock], [], [], 0)[0]:
            self.broken = True
            raise Closed("ended between two batches")
        self.fetching = self.id != 0
        if self.id == 0:
            self.next = 0
            reply = conn.ask({"find": "long", "filter": {}, "batchSize": BATCH}, DATABASE)["cursor"]
            docs = reply["firstBatch"]
        else:
            try:
                reply = conn.ask({"getMore": self.id, "collection": "long", "batchSize": BATCH},
                                 DATABASE)["cursor"]
            except Refused as error:
                self.fetching = False
                self.id = 0
                if "CursorNotFound" not in str(error):
                    raise
                self.notes.ended += 1
                return
            docs = reply["nextBatch"]
            self.notes.survived += self.broken
        self.fetching = self.broken = False
        numbers = [doc["_id"] for doc in docs]
        if numbers != list(range(self.next, self.next + len(numbers))):
            self.notes.tell("cursor: expected %d and on, got %s" % (self.next, numbers[:5]))
        self.next += len(numbers)
        self.id = reply["id"]
        if self.id == 0:
            if self.next != LONG:
                self.notes.tell("cursor: ended at %d of %d" % (self.next, LONG))
            self.notes.cycles += 1
        time.sleep(0.004)


class Knocking:
    """A connection is what make() makes; the banner is all that is waited for."""

    def __init__(self, port, notes):
        self.port = port
        self.notes = notes

    def __call__(self, _conn):
        began = time.time()
        try:
            Text(self.port, login=False, timeout=PATIENCE).close()
        except ConnectionRefusedError:
            self.notes.refused += 1
        except (Closed, ConnectionError):
            self.notes.broken.append((0, began, time.time()))
        self.notes.slowest = max(self.notes.slowest, time.time() - began)
        time.sleep(0.02)


class Nothing:
    """What the knocker has instead of a connection."""

    sock = property(lambda self: self)

    def getsockname(self):
        return ("", 0)

    def close(self):
        pass


# ---- victims ----
def children(pid):
    """Pids of a process's children, zombies among them."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def title(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def state(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class Victim:
    def __init__(self, pid, name):
        self.pid = pid
        self.name = name  # its title without "gneissd: "
        words = name.split()
        address = words[1] if len(words) > 1 and words[0] == "backend" else ""
        self.port = int(address.rpartition(":")[2]) if ":" in address else 0
        self.killed = self.gone = 0.0


def strike(pid, number=signal.SIGKILL, wanted="backend"):
    """End this process; stopped first, so that its title tells whom it served at its end.  None: it
    was no such process (any more)."""
    name = title(pid)
    if not name.startswith("gneissd: " + wanted):
        return None
    try:
        os.kill(pid, signal.SIGSTOP)
        until = time.time() + 0.02
        while state(pid) not in ("T", "") and time.time() < until:
            pass
        name = title(pid)
        if not name.startswith("gneissd: " + wanted):
            os.kill(pid, signal.SIGCONT)
            return None
        victim = Victim(pid, name[len("gneissd: "):])
        victim.killed = time.time()
        os.kill(pid, number)
    except ProcessLookupError:
        return None
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass  # dead and buried already
    return victim


def await_gone(victim, seconds=30):
    """Until the postmaster has let the zombie go: the cleaning up is over."""
    until = time.time() + seconds * SLOW
    while os.path.exists("/proc/%d" % victim.pid):
        if time.time() > until:
            raise AssertionError("process %d (%s) is not buried after %d s" % (
                victim.pid, victim.name, seconds))
        time.sleep(0.0002)
    victim.gone = time.time()


def kill_backends(server, rng, count, number=signal.SIGKILL, idle=0.03):
    """Up to so many backends at random, in the same moment; seldom an idle one."""
    pids = children(server.process.pid)
    rng.shuffle(pids)
    may_be_idle = rng.random() < idle
    chosen = []
    for pid in pids:
        name = title(pid)
        if len(chosen) < count and (name.startswith("gneissd: backend 127") or (
                may_be_idle and name.startswith("gneissd: backend idle"))):
            chosen.append(pid)
    victims = [victim for victim in (strike(pid, number) for pid in chosen) if victim is not None]
    for victim in victims:
        await_gone(victim)
    return victims


def kill_a_backend(server, rng, number=signal.SIGKILL):
    """None: there was none just now."""
    victims = kill_backends(server, rng, 1, number)
    return victims[0] if victims else None


# ---- the log ----
class Restart:
    def __init__(self, begun, why):
        self.begun = begun
        self.ended = None
        self.why = why
        self.deaf = False  # nobody listened until it ended: a connection begun then may break too

    def explains(self, since, noticed):
        """A connection made at `since` that was found broken at `noticed`."""
        return since - SLACK <= self.begun <= noticed + 0.01 or (
            self.deaf and self.begun <= since <= (self.ended or noticed))


def read_log(server):
    """[(time, message)], in order."""
    rows = []
    for line in server.log().splitlines():
        try:
            row = json.loads(line)
            when = datetime.strptime(row["ts"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
            rows.append((when.timestamp(), row["msg"]))
        except (ValueError, KeyError):
            pass
    return rows


def restarts(server, since):
    """Restarts of all processes that the log tells of."""
    found, why = [], ""
    for when, text in read_log(server):
        if when < since - 0.002:
            continue
        if "restarting all" in text:
            found.append(Restart(when, why))
        elif text == "ready" and found and found[-1].ended is None:
            found[-1].ended = when
        elif "in the middle" in text or "internal fault" in text or "could not clean" in text or \
                "does not answer" in text or \
                "was ended by signal" in text:
            why = text
    return found


def buried(server, since):
    return sum("cleaned up after process" in text
               for when, text in read_log(server) if when >= since - 0.002)


# ---- the crowd ----
def percentile(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * part))] \
        if sorted_values else 0.0


class Report:
    def __init__(self, since):
        self.since = since
        self.until = 0.0
        self.notes = []
        self.wrong = []
        self.victims = self.isolated = self.dropped = 0
        self.dropped_by_restart = self.dropped_victims = 0
        self.restarts = []
        self.refused = 0
        self.knock = 0.0
        self.normal, self.during, self.cleanup = [], [], []

    def outages(self):
        return sorted(one.ended - one.begun for one in self.restarts if one.ended is not None)


class Crowd:
    def __init__(self, server, seed, durable=True, kinds=KINDS):
        self.server = server
        self.seed = seed
        self.durable = durable
        oracles_of.use_kinds(kinds)
        self.oracles = [Oracle(number) for number in range(len(kinds))]
        self.kinds = kinds
        for one in self.oracles:
            one.counted = [[0, 0] for _ in range(COUNTERS)]
            one.claims, one.held = {}, []
        self.rounds = 0
        oracles_of.prepare(server)
        with Mongo(server.port["mongo"]) as conn:
            conn.ask({"createIndexes": "claims", "indexes": [
                {"key": {"u": 1}, "name": "u", "unique": True}]}, DATABASE)
            conn.ask({"insert": "counters", "documents": [
                {"_id": number, "all": 0} for number in range(COUNTERS)]}, DATABASE)
            for first in range(0, LONG, 500):
                conn.ask({"insert": "long", "documents": [
                    {"_id": number, "p": "x" * 200} for number in range(first, first + 500)]}, DATABASE)

    def begin(self):
        """All are connected when this returns."""
        self.rounds += 1
        self.report = Report(time.time())
        self.stop = multiprocessing.Event()
        self.pipes, self.workers = [], []
        port = self.server.port
        seed = (self.seed * 1000 + self.rounds) * 100
        for one in self.oracles:
            kind = self.kinds[one.client]
            notes = Notes("writer %d (%s)" % (one.client, kind))
            self.start(Writing(one, seed + one.client), notes,
                       lambda kind=kind: WRITERS[kind](port[kind], self.durable))
        for number in range(READERS):
            kind, make = (("mongo", Mongo), ("json", Json))[number % 2]
            notes = Notes("reader %d (%s)" % (number, kind))
            self.start(Reading(seed + 50 + number, notes), notes,
                       lambda kind=kind, make=make: pinged(make(port[kind], timeout=PATIENCE)))
        notes = Notes("cursor")
        self.start(Cursor(notes), notes, lambda: pinged(Mongo(port["mongo"], timeout=PATIENCE)))
        notes = Notes("knocker")
        self.start(Knocking(port["text"], notes), notes, Nothing)
        for pipe in self.pipes:
            if not pipe.poll(60 * SLOW) or pipe.recv() != "ready":
                raise AssertionError("a client did not begin")

    def start(self, work, notes, make):
        here, there = multiprocessing.Pipe()
        worker = multiprocessing.Process(target=client_main,
                                         args=(work, make, notes, self.stop, there), daemon=True)
        worker.start()
        there.close()
        self.pipes.append(here)
        self.workers.append(worker)

    def end(self):
        report = self.report
        self.stop.set()
        for pipe, worker in zip(self.pipes, self.workers):
            try:
                oracle, notes = pipe.recv() if pipe.poll((PATIENCE + 20) * SLOW) else (None, None)
            except EOFError:
                oracle, notes = None, None
            if notes is None:
                worker.terminate()
                report.wrong.append("a client hung or died")
            else:
                report.notes.append(notes)
                report.wrong += notes.wrong
            if oracle is not None:
                self.oracles[oracle.client] = oracle
            worker.join()
        report.until = time.time()
        report.refused = sum(notes.refused for notes in report.notes)
        report.knock = max(notes.slowest for notes in report.notes)
        return report

    def judge(self, report, victims, more=()):
        """Whose connections broke, and why; how long the others' operations took.  `more`: restarts
        of which the log does not tell."""
        report.victims = len(victims)
        report.restarts = restarts(self.server, report.since) + list(more)
        report.isolated = buried(self.server, report.since)
        report.cleanup = sorted(one.gone - one.killed for one in victims if not any(
            restart.begun - 0.01 <= one.gone and one.killed - 0.01 <= restart.begun
            for restart in report.restarts))
        for notes in report.notes:
            for port, since, noticed in notes.broken:
                self.judge_drop(report, victims, notes, port, since, noticed)
        away = [(one.begun - 0.01, (one.ended or report.until) + 1.0) for one in report.restarts]
        deaths = sorted((one.killed, one.gone) for one in victims)
        for notes in report.notes:
            if notes.who.startswith("writer"):
                report.during += beside(notes, deaths, away)
                report.normal += beside(notes, half_way(deaths), away)

    @staticmethod
    def judge_drop(report, victims, notes, port, since, noticed):
        if any(one.explains(since, noticed) for one in report.restarts):
            report.dropped_by_restart += 1
        elif any(one.port == port and since - 0.01 <= one.killed <= noticed for one in victims) or (
                port == 0 and any(since <= one.killed <= noticed for one in victims)):
            report.dropped_victims += 1
        else:
            report.dropped += 1
            report.wrong.append("%s: dropped without a reason at %.3f (port %d, since %.3f)" % (
                notes.who, noticed, port, since))

    def read_back(self):
        """Everything that is there, compared with what the clients know; yields a Verdict."""
        verdict = oracles_of.verify(self.server, self.oracles)
        with Mongo(self.server.port["mongo"], timeout=120) as conn:
            self.read_counters(conn, verdict)
            self.read_claims(conn, verdict)
            for collection in (COLLECTION, "counters", "claims", "long"):
                if not conn.ask({"validate": collection}, DATABASE)["valid"]:
                    verdict.tell("validate: %s is damaged" % collection)
        return verdict

    def read_counters(self, conn, verdict):
        for doc in find_by_mongo(conn, "counters", {}):
            number = doc["_id"]
            parts = [(one, doc.get("c%d" % one.client, 0)) for one in self.oracles]
            if sum(part for _, part in parts) != doc["all"]:
                verdict.tell("counter %d: the parts do not add up" % number)
            for one, part in parts:
                acked, unknown = one.counted[number]
                verdict.resolved += unknown
                verdict.lost += max(0, acked - part)
                verdict.twice += max(0, part - acked - unknown)
                if not acked <= part <= acked + unknown:
                    verdict.tell("counter %d of client %d: %d, acknowledged %d, unknown %d" % (
                        number, one.client, part, acked, unknown))
                one.counted[number] = [part, 0]

    def read_claims(self, conn, verdict):
        docs = find_by_mongo(conn, "claims", {})
        values = {}
        for doc in docs:
            values.setdefault(doc["u"], []).append(doc["_id"])
        for value, keys in values.items():
            verdict.twice += len(keys) - 1
            by_index = [doc["_id"] for doc in find_by_mongo(conn, "claims", {"u": value})]
            if by_index != keys:
                verdict.tell("unique value %d: scan %s, index %s" % (value, keys, by_index))
        there = {doc["_id"]: doc["u"] for doc in docs}
        for one in self.oracles:
            for key, may in one.claims.items():
                now = there.pop(key, ABSENT)
                if now not in may:
                    verdict.lost += now is ABSENT
                    verdict.wrong += now is not ABSENT
                    verdict.tell("claim %s: found %s, may be %s" % (key, now, may))
                verdict.resolved += len(may) > 1
                one.claims[key] = {now}
            one.claims = {key: may for key, may in one.claims.items() if may != {ABSENT}}
            one.held = list(one.claims)
        for key in there:
            verdict.tell("nobody claimed %s" % key)
        # What nobody has must be free: nothing dead may stand in its way.
        for value in set(range(CLAIMS)) - set(values):
            conn.ask({"insert": "claims", "documents": [{"_id": "probe", "u": value}]}, DATABASE)
            conn.ask({"delete": "claims", "deletes": [{"q": {"_id": "probe"}, "limit": 1}]}, DATABASE)


def pinged(conn):
    conn.ping()
    return conn


def beside(notes, windows, away):
    """How long those operations of a client took that ran in one of the windows, ascending, and at
    no time `away`."""
    at, found = 0, []
    for begun, took in zip(notes.begun, notes.took):
        ended = begun + took
        while at < len(windows) and windows[at][1] < begun:
            at += 1
        if at < len(windows) and windows[at][0] <= ended and not any(
                first <= ended and begun <= last for first, last in away):
            found.append(took)
    return found


def half_way(deaths):
    """Windows as long as those of the deaths, each half-way between two.  An operation that takes
    long is more likely to run in any window, so only these are fit to be compared with."""
    return [((before[1] + after[0]) / 2, (before[1] + after[0]) / 2 + after[1] - after[0])
            for before, after in zip(deaths, deaths[1:])]


# ---- what is held ----
def held(server):
    """What serverStatus says is held in shared memory; the asking session's own slot left in."""
    with Mongo(server.port["mongo"]) as conn:
        return conn.ask({"serverStatus": 1, "held": True}, "admin").get("held", {})


ZERO = ("locks", "pins", "pinsCounted", "io", "transactions", "snapshots", "critical", "cursors",
        "slotsDead", "places")


def wait_until_nothing_held(server, seconds=15):
    """Back to zero, when nobody is at work; yields what is not, "" if all is.  Cursors that were
    left behind end by their timeout: SETTINGS.  A checkpoint that was spread over minutes, and holds
    its lock as long, is hurried by one that is asked for."""
    counts = {}
    with Text(server.port["text"]) as conn:
        with contextlib.suppress(Refused):  # there it is
            conn.ask("CREATE DATABASE held")
        conn.ask("USE held")
        conn.ask("FLUSH")

    def zero():
        counts.clear()
        counts.update(held(server))
        return counts and not any(counts.get(name, 0) for name in ZERO)
    try:
        wait_for(zero, seconds * SLOW, "nothing held")
    except AssertionError:
        left = {name: counts.get(name, 0) for name in ZERO if counts.get(name, 0)} if counts else \
            "serverStatus does not tell"
        return "still held: %s" % (left,)
    return ""

"""A small load for tests of fault points: a few clients, threads of one process, that write to a
server which may break at any moment, and what each of them knows afterwards.

Writers insert (small, large, many at once), change, move, delete; a changer makes, fills, indexes,
empties, vacuums and drops collections, sorts more than fits into memory, leaves cursors open and
asks for checkpoints.  Nobody gives up: a connection that breaks is made anew.  What is known of a
document is oracle.py's: the set of values that it may have now.
"""
import hashlib
import os
import random
import threading
import time

from oracle import ABSENT, Oracle, Unknown, payload, value
from wire import Closed, Json, Mongo, Refused, Text  # noqa: E402

DATABASE, COLLECTION = "sweep", "docs"
BURNT = "burnt"  # the text listener's database
HANG = 20  # seconds without an answer


class Wire:
    """One session, made anew when it breaks."""

    def __init__(self, server, protocol="mongo"):
        self.server, self.protocol, self.connection = server, protocol, None
        self.hung = 0

    def connect(self):
        port = self.server.port[self.protocol]
        if self.protocol == "text":
            return Text(port, database=BURNT, timeout=HANG)
        return {"mongo": Mongo, "json": Json}[self.protocol](port, timeout=HANG)

    def ask(self, document, *database, **members):
        try:
            if self.connection is None:
                self.connection = self.connect()
            if self.protocol == "mongo":
                return self.connection.ask(document, *(database or (DATABASE,)))
            return self.connection.ask(document, **members)
        except Refused as error:
            if (error.reply or {}).get("code") in (91, 11600):
                self.close()
                raise Unknown(str(error)) from error
            raise
        except TimeoutError as error:
            self.hung += 1
            self.close()
            raise Unknown("hung") from error
        except (Closed, OSError) as error:
            self.close()
            raise Unknown(str(error)) from error

    def write(self, document):
        """A command that writes; an error of one of its writes is a refusal, too."""
        reply = self.ask(document)
        if reply.get("writeErrors"):
            raise Refused(str(reply["writeErrors"][0]), reply)
        return reply

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def document(key, client, number, text):
    return {"_id": key, "client": client, "n": number, "p": text,
            "h": hashlib.sha1(text.encode()).hexdigest()}


class Client(threading.Thread):
    """A loop of steps until told to stop; whatever breaks is begun again."""

    def __init__(self, load, seed):
        super().__init__(daemon=True)
        self.load, self.rng = load, random.Random(seed)
        self.wire = Wire(load.server)
        self.wrong = []

    def run(self):
        while not self.load.stopping.is_set():
            try:
                self.step()
            except Refused as error:
                self.load.refusals.append(str(error)[:200])
            except Unknown:
                time.sleep(0.01)
            except Exception as error:  # the load must not die of what it finds
                self.wrong.append("%s: %s" % (type(error).__name__, str(error)[:300]))
                return
        self.wire.close()

    def step(self):
        raise NotImplementedError


class Writer(Client):
    def __init__(self, load, number, seed):
        super().__init__(load, seed)
        self.oracle = Oracle(number)

    def some(self):
        return self.rng.choice(list(self.oracle.payload))

    def step(self):
        oracle, rng, kind = self.oracle, self.rng, self.rng.random()
        living = oracle.payload
        if kind < 0.35 or len(living) < 5:
            key, text = oracle.new_key(), payload(rng)
            self.attempt(key, (0, text), {
                "insert": COLLECTION, "documents": [document(key, oracle.client, 0, text)]})
        elif kind < 0.45:
            self.insert_many()
        elif kind < 0.50:
            key = self.some()
            try:
                self.wire.write({"insert": COLLECTION, "documents": [
                    document(key, oracle.client, 99, payload(rng))]})
                self.wrong.append("a key was inserted twice: %s" % key)
            except Refused:
                oracle.refused += 1
        elif kind < 0.60:
            key, text = self.some(), payload(rng)
            self.change(key, (living[key][0] + 100, text), {
                "$set": document(key, oracle.client, living[key][0] + 100, text)})
        elif kind < 0.85:
            key = self.some()
            self.change(key, (living[key][0] + 1, living[key][1]), {"$inc": {"n": 1}})
        else:
            self.attempt(self.some(), None, {})

    def change(self, key, after, update):
        self.attempt(key, after, {"update": COLLECTION, "updates": [
            {"q": {"_id": key}, "u": update}]})

    def attempt(self, key, after, command):
        """What the oracle does, and a key whose document is in doubt is not touched again."""
        oracle = self.oracle
        if after is None:
            command = {"delete": COLLECTION, "deletes": [{"q": {"_id": key}, "limit": 1}]}
        try:
            oracle.attempt(key, ABSENT if after is None else value(*after),
                           lambda: self.count_one(command))
        except Unknown:
            oracle.payload.pop(key, None)
            raise
        if after is None:
            del oracle.payload[key]
        else:
            oracle.payload[key] = after

    def count_one(self, command):
        reply = self.wire.write(command)
        if reply["n"] != 1:
            self.wrong.append("%s answered %s" % (list(command)[0], reply))

    def insert_many(self):
        oracle = self.oracle
        rows = [(oracle.new_key(), payload(self.rng)[:500]) for _ in range(20)]
        for key, text in rows:
            oracle.may[key] = {ABSENT, value(0, text)}
        try:
            done = self.wire.ask({"insert": COLLECTION, "documents": [
                document(key, oracle.client, 0, text) for key, text in rows]})["n"]
        except (Unknown, Refused):
            oracle.unknown += len(rows)
            raise
        for i, (key, text) in enumerate(rows):
            oracle.may[key] = {value(0, text) if i < done else ABSENT}
            if i < done:
                oracle.payload[key] = (0, text)
        oracle.acked += done


class Changer(Client):
    """Definitions, and all that is not a write of one document."""

    def __init__(self, load, seed):
        super().__init__(load, seed)
        self.json, self.text = Wire(load.server, "json"), Wire(load.server, "text")
        self.may = {}  # collection -> {may be there: True, False}
        self.serial = 0
        self.turn = 0
        self.emptied = None

    def step(self):
        steps = (self.make_and_fill, self.sort, self.index, self.compact, self.empty,
                 self.checkpoint, self.drop, self.end_session)
        self.turn += 1
        steps[self.turn % len(steps)]()

    def expect(self, name, there, call):
        before = self.may.get(name, {False})
        self.may[name] = before | {there}
        try:
            call()
        except Refused as error:
            if there and "already exists" in str(error):
                self.may[name] = {True}
            elif not there and "ns not found" in str(error):
                self.may[name] = {False}
            raise
        self.may[name] = {there}

    def some(self):
        return self.rng.choice([name for name, may in self.may.items() if True in may] or [None])

    def make_and_fill(self):
        self.serial += 1
        name = "t%d" % self.serial
        self.expect(name, True, lambda: self.wire.ask({"create": name}))
        self.wire.ask({"createIndexes": name, "indexes": [{"key": {"k": 1}, "name": "k"}]})
        self.wire.write({"insert": name, "documents": [
            {"_id": i, "k": "%03d" % i + 200 * "k", "r": self.rng.random()} for i in range(150)]})

    def index(self):
        for name in (self.some(), COLLECTION):
            if name is None:
                continue
            self.wire.ask({"createIndexes": name, "indexes": [
                {"key": {"k": 1}, "name": "k"}, {"key": {"r": 1, "n": 1}, "name": "r"}]})
            if self.rng.random() < 0.7:
                self.wire.ask({"dropIndexes": name, "index": self.rng.choice(("k", "r"))})

    def empty(self):
        name = self.some()
        if name is not None:
            self.wire.write({"delete": name, "deletes": [{"q": {}, "limit": 0}]})
            self.emptied = name

    def compact(self):
        for name in (self.emptied, COLLECTION):
            if name is not None:
                self.json.ask("compact", database=DATABASE, collection=name)
        if self.emptied is not None:  # what was taken out leaves holes, which are closed
            self.wire.write({"insert": self.emptied, "documents": [
                {"_id": i, "k": "%03d" % i + 210 * "k"} for i in range(0, 150, 2)]})

    def checkpoint(self):
        self.text.ask("FLUSH")

    def drop(self):
        name = self.some()
        if name not in (None, self.emptied):
            self.expect(name, False, lambda: self.wire.ask({"drop": name}))

    def sort(self):
        reply = self.wire.ask({"find": COLLECTION, "sort": {"p": 1}, "batchSize": 10, "filter": {
            "p": {"$nin": [str(i) * 40 for i in range(30)]}}})
        cursor = reply["cursor"]["id"]
        if cursor != 0:
            reply = self.wire.ask({"getMore": cursor, "collection": COLLECTION, "batchSize": 5})
            if self.rng.random() < 0.1:  # stays open, and holds vacuum back until it times out
                self.wire.ask({"find": COLLECTION, "batchSize": 2})
            if reply["cursor"]["id"] != 0:
                self.wire.ask({"killCursors": COLLECTION, "cursors": [cursor]})

    def end_session(self):
        self.wire.close()
        self.json.close()
        self.text.close()


class Killer(Client):
    """kill -9 of any backend, now and then."""

    def step(self):
        time.sleep(0.2)
        try:
            titles = self.load.server.titles()
            backends = [pid for pid, title in titles.items() if "backend" in title]
            if backends:
                os.kill(self.rng.choice(backends), 9)
        except OSError:
            pass  # it has ended by itself


def make_burnt(server):
    with Text(server.port["text"]) as text:
        for line in ("CREATE DATABASE " + BURNT, "USE " + BURNT, "CREATE COLLECTION c"):
            text.ask(line)


def burn(server, count):
    """Use up so many transaction numbers, or as many as come before the session breaks."""
    try:
        with Text(server.port["text"], database=BURNT, timeout=60) as text:
            for _ in range(0, count, 500):
                text.send(b"".join(
                    b"INSERT c %08x-0000-4000-8000-%012x {}\r\n" % (
                        random.getrandbits(32), random.getrandbits(48)) for _ in range(500)))
                for _ in range(500):
                    text.receive()
    except (Refused, Closed, OSError):
        pass


class Load:
    def __init__(self, server, seed, writers=3, killer=False):
        self.server = server
        self.refusals = []
        self.stopping = threading.Event()
        self.writers = [Writer(self, i, seed * 10 + i) for i in range(writers)]
        self.changer = Changer(self, seed * 10 + 8)
        self.clients = [*self.writers, self.changer]
        if killer:
            self.clients.append(Killer(self, seed * 10 + 9))

    def take_over(self, other):
        """Go on with what another load knows."""
        for new, old in zip(self.writers, other.writers):
            new.oracle = old.oracle
        self.changer.may, self.changer.serial = other.changer.may, other.changer.serial
        return self

    def start(self):
        for client in self.clients:
            client.start()

    def stop(self):
        """Wait for all; yields what went wrong in them."""
        self.stopping.set()
        wrong = []
        for client in self.clients:
            client.join(2 * HANG)
            if client.is_alive() or client.wire.hung:
                wrong.append("a client hung")
            wrong += client.wrong
            client.wire.close()
        self.changer.end_session()
        return wrong


# ---- reading back ----
def read_all(wire, command):
    reply = wire.ask({**command, "batchSize": 1000})
    while True:
        cursor = reply["cursor"]
        yield from cursor.get("firstBatch", cursor.get("nextBatch"))
        if cursor["id"] == 0:
            return
        reply = wire.ask({"getMore": cursor["id"], "collection": COLLECTION, "batchSize": 1000})


def note(found, wrong, row):
    if hashlib.sha1(row["p"].encode()).hexdigest() != row["h"]:
        wrong.append("torn document %s" % row["_id"])
    found.setdefault(row["_id"], []).append((row["n"], row["h"]))


def compare(oracle, found, by_index, wrong):
    for key, may in oracle.may.items():
        rows = found.get(key, [])
        now = rows[0] if rows else ABSENT
        if len(rows) > 1:
            wrong.append("twice: %s" % key)
        if now not in may:
            wrong.append("%s: %s: found %s, may be %s" % (
                "lost" if now is ABSENT else "wrong", key, now, sorted(map(str, may))))
        if by_index.get(key, []) != rows:
            wrong.append("%s: scan %s, index %s" % (key, rows, by_index.get(key)))
        oracle.may[key] = {now}
        if now is ABSENT:
            oracle.payload.pop(key, None)
    oracle.may = {key: may for key, may in oracle.may.items() if may != {ABSENT}}


def verify(load):
    """Read back over a session; yields what is wrong.  What is found is what is known from now."""
    wire, wrong, found, by_index = Wire(load.server), [], {}, {}
    for row in read_all(wire, {"find": COLLECTION}):
        note(found, wrong, row)
    for number in range(len(load.writers)):
        for row in read_all(wire, {"find": COLLECTION, "filter": {"client": number},
                                   "hint": "client"}):
            note(by_index, wrong, row)
    for key in set(found).difference(*(one.oracle.may for one in load.writers)):
        wrong.append("nobody wrote %s" % key)
    for writer in load.writers:
        compare(writer.oracle, found, by_index, wrong)
    there = {row["name"] for row in wire.ask({"listCollections": 1})["cursor"]["firstBatch"]}
    for name, may in load.changer.may.items():
        if (name in there) not in may:
            wrong.append("collection %s: there %s, may be %s" % (name, name in there, may))
        load.changer.may[name] = {name in there}
    load.changer.may = {name: may for name, may in load.changer.may.items() if may == {True}}
    for name in sorted(there):
        if not wire.ask({"validate": name})["valid"]:
            wrong.append("%s: %s" % (name, wire.ask({"validate": name})["errors"][:3]))
    wire.close()
    return wrong[:10]

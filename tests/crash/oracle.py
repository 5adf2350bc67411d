"""Clients that write to a server until it breaks, and what each of them knows afterwards.

Each client (a process: pymongo, text or JSON) inserts, updates, increments, deletes and inserts in
batches, and keeps outside the data directory what each answer promised:

  acknowledged  the change is there, exactly once
  refused       it is not there (keys that exist are inserted again on purpose)
  unknown       no answer came: it is there whole or not at all, a batch of the JSON listener as one

Every document carries its payload and the payload's hash, so a torn one is noticed.  `load` writes
from all clients and breaks the server in the middle; `verify` reads all documents back by scan, by
the index on {client}, and counted, and compares them with what the clients know.
"""
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
import traceback
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import SLOW, gneiss  # noqa: E402
from wire import Closed, Json, Refused, Text  # noqa: E402

CLIENTS = 16
KINDS = ("mongo", "text", "json", "mongo", "json", "text", "mongo", "text",
         "mongo", "json", "mongo", "text", "json", "mongo", "json", "text")
DATABASE, COLLECTION = "crash", "docs"
ABSENT = None


def use_kinds(kinds):
    """Let the clients speak these languages, one for each."""
    global KINDS
    KINDS = tuple(kinds)


def payload(rng):
    size = rng.choice((10, 40, 100, 300, 300, 3000))
    if rng.random() < 0.03:
        size = rng.randrange(20000, 60000)
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))


def value(number, text):
    """What the oracle keeps of a document."""
    return (number, hashlib.sha1(text.encode()).hexdigest())


class Unknown(Exception):
    """The connection broke before the answer."""


def was_ended(error):
    """Is this the last that a session says?"""
    return any(sign in str(error) for sign in ("shutting down", "the session was ended"))


# ---- three ways to write the same ----
class ByMongo:
    def __init__(self, port, durable):
        import pymongo
        self.pymongo = pymongo
        self.client = pymongo.MongoClient(
            "127.0.0.1", port, directConnection=True, retryWrites=False, retryReads=False,
            serverSelectionTimeoutMS=10000, **({} if durable else {"journal": False, "w": 1}))
        self.docs = self.client[DATABASE][COLLECTION]

    def run(self, function, *arguments):
        errors = self.pymongo.errors
        try:
            return function(*arguments)
        except errors.BulkWriteError as error:
            raise Refused(str(error.details)) from error
        except (errors.ConnectionFailure, errors.NotMasterError) as error:
            raise Unknown() from error
        except errors.OperationFailure as error:
            if error.code in (91, 11600):
                raise Unknown() from error
            raise Refused(str(error)) from error

    def insert(self, key, client, number, text):
        self.run(self.docs.insert_one, {"_id": key, "client": client, "n": number, "p": text,
                                        "h": hashlib.sha1(text.encode()).hexdigest()})

    def insert_batch(self, rows, client):
        self.run(lambda: self.docs.insert_many(
            [{"_id": key, "client": client, "n": 0, "p": text,
              "h": hashlib.sha1(text.encode()).hexdigest()} for key, text in rows]))

    def replace(self, key, client, number, text):
        result = self.run(self.docs.update_one, {"_id": key}, {"$set": {
            "n": number, "p": text, "h": hashlib.sha1(text.encode()).hexdigest()}})
        assert result.matched_count == 1, result.raw_result

    def increment(self, key, _client, _number, _text):
        result = self.run(self.docs.update_one, {"_id": key}, {"$inc": {"n": 1}})
        assert result.matched_count == 1, result.raw_result

    def delete(self, key):
        assert self.run(self.docs.delete_one, {"_id": key}).deleted_count == 1


class BySocket:
    def run(self, *arguments, **members):
        try:
            return self.socket.ask(*arguments, **members)
        except (Closed, OSError) as error:
            raise Unknown() from error
        except Refused as error:
            if was_ended(error):
                raise Unknown() from error
            raise


class ByText(BySocket):
    def __init__(self, port, _durable):
        self.socket = Text(port, database=DATABASE, timeout=60)

    def write(self, verb, key, client, number, text):
        self.run("%s %s %s %s" % (verb, COLLECTION, key, json.dumps(
            {"client": client, "n": number, "p": text,
             "h": hashlib.sha1(text.encode()).hexdigest()})))

    def insert(self, key, client, number, text):
        self.write("INSERT", key, client, number, text)

    def replace(self, key, client, number, text):
        self.write("UPDATE", key, client, number, text)

    def increment(self, key, client, number, text):
        self.write("UPDATE", key, client, number, text)

    def delete(self, key):
        self.run("DELETE %s %s" % (COLLECTION, key))


class ByJson(BySocket):
    def __init__(self, port, durable):
        self.socket = Json(port, timeout=60)
        self.more = {"database": DATABASE, "collection": COLLECTION}
        if not durable:
            self.more["durable"] = False

    def insert(self, key, client, number, text):
        self.run("insert_one", document={
            "_id": key, "client": client, "n": number, "p": text,
            "h": hashlib.sha1(text.encode()).hexdigest()}, **self.more)

    def insert_batch(self, rows, client):
        self.run("insert_many", documents=[
            {"_id": key, "client": client, "n": 0, "p": text,
             "h": hashlib.sha1(text.encode()).hexdigest()} for key, text in rows], **self.more)

    def replace(self, key, client, number, text):
        data = self.run("update_one", filter={"_id": key}, update={"$set": {
            "n": number, "p": text, "h": hashlib.sha1(text.encode()).hexdigest()}}, **self.more)
        assert data["matched_count"] == 1, data

    def increment(self, key, _client, _number, _text):
        data = self.run("update_one", filter={"_id": key}, update={"$inc": {"n": 1}}, **self.more)
        assert data["matched_count"] == 1, data

    def delete(self, key):
        data = self.run("delete_one", filter={"_id": key}, **self.more)
        assert data["deleted_count"] == 1, data


WRITERS = {"mongo": ByMongo, "text": ByText, "json": ByJson}


# ---- a client and what it knows ----
class Oracle:
    """key -> the values that may be found; one if the answer was clear."""

    def __init__(self, client):
        self.client = client
        self.may = {}
        self.payload = {}  # of living documents: what was written last
        self.batches = []  # lists of keys that must be there together or not at all
        self.serial = 0
        self.acked = self.refused = self.unknown = 0
        self.wrong = []  # answers that cannot be

    def new_key(self):
        self.serial += 1
        return str(uuid.UUID(int=(self.client << 64) | self.serial | (4 << 76) | (8 << 60)))

    def attempt(self, key, after, write):
        """`write` changes key's document to `after`; what its end says is noted."""
        before = self.may.get(key, {ABSENT})
        self.may[key] = before | {after}
        try:
            write()
        except Refused:
            self.may[key] = before
            self.refused += 1
            raise
        except AssertionError:
            self.may[key] = before
            self.payload.pop(key, None)
            raise
        except Unknown:
            self.unknown += 1
            self.payload.pop(key, None)  # let alone until it is read back
            raise
        self.may[key] = {after}
        self.acked += 1

    def attempt_batch(self, rows, write, together):
        """`write` inserts these rows, key to value; `together` if they are one change."""
        for key, after in rows.items():
            self.may[key] = {ABSENT, after}
        try:
            write()
        except Unknown:
            self.unknown += len(rows)
            if together:
                self.batches.append(list(rows))
            raise
        for key, after in rows.items():
            self.may[key] = {after}
        self.acked += len(rows)


def one_step(oracle, writer, rng):
    kind = rng.random()
    living = oracle.payload
    if kind < 0.5 or len(living) < 5:
        key, text = oracle.new_key(), payload(rng)
        oracle.attempt(key, value(0, text), lambda: writer.insert(key, oracle.client, 0, text))
        living[key] = (0, text)
    elif kind < 0.56 and hasattr(writer, "insert_batch"):
        rows = [(oracle.new_key(), payload(rng)[:400]) for _ in range(5)]
        oracle.attempt_batch({key: value(0, text) for key, text in rows},
                             lambda: writer.insert_batch(rows, oracle.client),
                             isinstance(writer, ByJson))
        for key, text in rows:
            living[key] = (0, text)
    elif kind < 0.60:
        key = rng.choice(list(living))
        try:
            writer.insert(key, oracle.client, 99, "again")
            oracle.wrong.append("a key was inserted twice: %s" % key)
        except Refused:
            oracle.refused += 1
    elif kind < 0.74:
        key = rng.choice(list(living))
        number, text = living[key][0] + 100, payload(rng)
        oracle.attempt(key, value(number, text),
                       lambda: writer.replace(key, oracle.client, number, text))
        living[key] = (number, text)
    elif kind < 0.90:
        key = rng.choice(list(living))
        number, text = living[key][0] + 1, living[key][1]
        oracle.attempt(key, value(number, text),
                       lambda: writer.increment(key, oracle.client, number, text))
        living[key] = (number, text)
    else:
        key = rng.choice(list(living))
        oracle.attempt(key, ABSENT, lambda: writer.delete(key))
        del living[key]


def client_main(oracle, port, seed, durable, may_refuse, pipe):
    rng = random.Random(seed)
    try:
        writer = WRITERS[KINDS[oracle.client]](port, durable)
        pipe.send("ready")
        while True:
            one_step(oracle, writer, rng)
    except (Unknown, Closed, ConnectionError):
        pass
    except Refused as error:
        if not may_refuse:
            oracle.wrong.append("refused: %s" % error)
    except Exception:
        oracle.wrong.append(traceback.format_exc())
    pipe.send(oracle)


def load(server, oracles, seed, durable, seconds, cut=None):
    """Write from all clients for so long, then kill, or break it by `cut`, after which a refusal is
    as good as no answer; yields what the clients know."""
    pipes, workers = [], []
    for oracle in oracles:
        here, there = multiprocessing.Pipe()
        worker = multiprocessing.Process(target=client_main, args=(
            oracle, server.port[KINDS[oracle.client]], seed * 100 + oracle.client, durable, cut is not None,
            there))
        worker.start()
        there.close()
        pipes.append(here)
        workers.append(worker)
    # The killing clock runs when all are at work, except that a client may fail to begin.
    firsts = [pipe.recv() if pipe.poll(60 * SLOW) else None for pipe in pipes]
    time.sleep(seconds)
    (cut or server.kill)()
    known = []
    for first, pipe, worker, oracle in zip(firsts, pipes, workers, oracles):
        if first == "ready":
            first = pipe.recv() if pipe.poll(60 * SLOW) else None
        if first is None:
            worker.terminate()
            oracle.wrong.append("client %d hung" % oracle.client)
        known.append(first or oracle)
        worker.join()
    return known


# ---- reading back ----
def found_by_mongo(server):
    """key -> [value, …], by a scan; and by the index."""
    import pymongo
    client = pymongo.MongoClient("127.0.0.1", server.port["mongo"], directConnection=True)
    docs = client[DATABASE][COLLECTION]
    found, torn = {}, []
    for doc in docs.find({}):
        note(found, torn, doc["_id"], doc)
    by_index = {}
    for number in range(CLIENTS):
        for doc in docs.find({"client": number}).sort("client", 1):
            note(by_index, torn, doc["_id"], doc)
    count = client[DATABASE].command("count", COLLECTION)["n"]
    client.close()
    return found, by_index, count, torn


def found_by_text(server):
    found, torn = {}, []
    with Text(server.port["text"], database=DATABASE, timeout=120) as text:
        for element in text.ask("SCAN " + COLLECTION):
            key, _, body = element.partition(b" ")
            note(found, torn, key.decode(), json.loads(body))
        count = text.ask("COUNT " + COLLECTION)
    return found, found, count, torn


def note(found, torn, key, doc):
    if hashlib.sha1(doc["p"].encode()).hexdigest() != doc["h"]:
        torn.append(key)
    found.setdefault(str(key), []).append((doc["n"], doc["h"]))


class Verdict:
    def __init__(self):
        self.lost = self.wrong = self.twice = self.resolved = 0
        self.told = []

    def tell(self, text):
        self.told.append(text)

    def bad(self):
        return self.lost or self.wrong or self.twice or self.told


def compare(oracle, found, by_index, verdict):
    for key, may in oracle.may.items():
        rows = found.get(key, [])
        if len(rows) > 1:
            verdict.twice += 1
        now = rows[0] if rows else ABSENT
        if now not in may:
            if len(may) == 1 and ABSENT not in may and now is ABSENT:
                verdict.lost += 1
            else:
                verdict.wrong += 1
            if verdict.lost + verdict.wrong < 5:
                verdict.tell("client %d (%s) key %s: found %s, may be %s" % (
                    oracle.client, KINDS[oracle.client], key, now, sorted(map(str, may))))
        elif len(may) > 1:
            verdict.resolved += 1
        if by_index.get(key, []) != rows:
            verdict.tell("key %s: scan %s, index %s" % (key, rows, by_index.get(key)))
        oracle.may[key] = {now}
    for batch in oracle.batches:
        if 0 < sum(key in found for key in batch) < len(batch):
            verdict.tell("half a batch: %s" % batch)
    oracle.batches = []


def verify(server, oracles):
    verdict = Verdict()
    for name, reader in (("mongo, json", found_by_mongo), ("text", found_by_text)):
        found, by_index, count, torn = reader(server)
        for key in torn:
            verdict.tell("torn document %s" % key)
        if count != sum(map(len, found.values())):
            verdict.tell("%s: count says %d, scan %d" % (name, count, sum(map(len, found.values()))))
        mine = [one for one in oracles if KINDS[one.client] in name]
        for oracle in mine:
            compare(oracle, found, by_index, verdict)
        for key in set(found).difference(*(one.may for one in mine)):
            verdict.tell("nobody wrote %s" % key)
    for oracle in oracles:
        for text in oracle.wrong[:10]:
            verdict.tell("client %d (%s): %s" % (oracle.client, KINDS[oracle.client], text))
        oracle.wrong = []
        # What is there now is where the next round goes on from.
        oracle.may = {key: may for key, may in oracle.may.items() if may != {ABSENT}}
        oracle.payload = {key: living for key, living in oracle.payload.items()
                          if value(*living) in oracle.may.get(key, ())}
    return verdict


def check_copy(server):
    """What `gneiss check` says of a copy of the killed server's directory; "" if it is sound."""
    copy = os.path.join(server.directory, "copy")
    shutil.copytree(server.data, copy)
    done = gneiss("check", copy)
    shutil.rmtree(copy)
    return "" if done.returncode == 0 else "gneiss check: %s %s" % (done.stdout, done.stderr)


def prepare(server):
    with Text(server.port["text"]) as text:
        for line in ("CREATE DATABASE " + DATABASE, "USE " + DATABASE,
                     "CREATE COLLECTION " + COLLECTION):
            text.ask(line)
    import pymongo
    client = pymongo.MongoClient("127.0.0.1", server.port["mongo"], directConnection=True)
    client[DATABASE][COLLECTION].create_index("client")
    client.close()


def round_line(number, seconds, oracles, before, verdict, restart, again):
    acked, refused, unknown = (sum(getattr(one, field) for one in oracles) - before[field]
                               for field in ("acked", "refused", "unknown"))
    print("round %d: killed after %.2f s%s: %d acknowledged, %d refused, %d unknown (%d resolved); "
          "lost %d, wrong %d, twice %d; restart %.2f s" % (
              number, seconds, " and again in recovery" if again else "", acked, refused, unknown,
              verdict.resolved, verdict.lost, verdict.wrong, verdict.twice, restart), flush=True)
    for text in verdict.told[:10]:
        print("  " + text, flush=True)


def totals(oracles):
    return {field: sum(getattr(one, field) for one in oracles)
            for field in ("acked", "refused", "unknown")}

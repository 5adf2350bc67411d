#!/usr/bin/python3
"""kill -9 of the whole server under a write load from 16 clients, again and again.

Each client (a process: six by pymongo, five text, five JSON) inserts, updates, increments, deletes
and inserts in batches, and keeps outside the data directory what each answer promised:

  acknowledged  the change is there, exactly once
  refused       it is not there (keys that exist are inserted again on purpose)
  unknown       no answer came: it is there whole or not at all, a batch of the JSON listener as one

Every document carries its payload and the payload's hash, so a torn one is noticed.  After each
kill: the directory is copied and `gneiss check` must find the copy sound; the server is started
again, in a third of the rounds killed once more while it recovers; all documents are read back by
scan, by the index on {client}, and counted, and compared with what the clients know.

    tests/crash/kill9.py [--rounds 20] [--seed N] [--control]

--control runs with writes that are acknowledged before the log is written (durable: false, j:
false, and a log writer that comes by every 10 s).  It must lose some, else the test sees nothing;
it succeeds if acknowledged writes were lost.
"""
import argparse
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
from server import SLOW, Server, gneiss  # noqa: E402
from wire import Closed, Json, Refused, Text  # noqa: E402

CLIENTS = 16
KINDS = ("mongo", "text", "json", "mongo", "json", "text", "mongo", "text",
         "mongo", "json", "mongo", "text", "json", "mongo", "json", "text")
DATABASE, COLLECTION = "crash", "docs"
ABSENT = None


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
            if "shutting down" in str(error):
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
        self.batch = []  # keys that must be there together or not at all
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
        except Unknown:
            self.unknown += 1
            raise
        self.may[key] = {after}
        self.acked += 1


def one_step(oracle, writer, rng):
    kind = rng.random()
    living = oracle.payload
    if kind < 0.5 or len(living) < 5:
        key, text = oracle.new_key(), payload(rng)
        oracle.attempt(key, value(0, text), lambda: writer.insert(key, oracle.client, 0, text))
        living[key] = (0, text)
    elif kind < 0.56 and hasattr(writer, "insert_batch"):
        rows = [(oracle.new_key(), payload(rng)[:400]) for _ in range(5)]
        for key, text in rows:
            oracle.may[key] = {ABSENT, value(0, text)}
        try:
            writer.insert_batch(rows, oracle.client)
        except Unknown:
            oracle.unknown += len(rows)
            if isinstance(writer, ByJson):
                oracle.batch = [key for key, _ in rows]
            raise
        for key, text in rows:
            oracle.may[key] = {value(0, text)}
            living[key] = (0, text)
        oracle.acked += len(rows)
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


def client_main(oracle, port, seed, durable, pipe):
    rng = random.Random(seed)
    try:
        writer = WRITERS[KINDS[oracle.client]](port, durable)
        pipe.send("ready")
        while True:
            one_step(oracle, writer, rng)
    except (Unknown, Closed, ConnectionError):
        pass
    except Refused as error:
        oracle.wrong.append("refused: %s" % error)
    except Exception:
        oracle.wrong.append(traceback.format_exc())
    pipe.send(oracle)


def load(server, oracles, seed, durable, seconds):
    """Write from all clients for so long, then kill; yields what the clients know."""
    pipes, workers = [], []
    for oracle in oracles:
        here, there = multiprocessing.Pipe()
        worker = multiprocessing.Process(target=client_main, args=(
            oracle, server.port[KINDS[oracle.client]], seed * 100 + oracle.client, durable, there))
        worker.start()
        there.close()
        pipes.append(here)
        workers.append(worker)
    # The killing clock runs when all are at work, except that a client may fail to begin.
    firsts = [pipe.recv() if pipe.poll(60 * SLOW) else None for pipe in pipes]
    time.sleep(seconds)
    server.kill()
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
    there = sum(key in found for key in oracle.batch)
    if 0 < there < len(oracle.batch):
        verdict.tell("half a batch: %s" % oracle.batch)
    oracle.batch = []


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
        for text in oracle.wrong:
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "3")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    rng = random.Random(seed)
    settings = {"memory.shared_buffers": "4MB"}
    if options.control:
        settings["wal.writer_delay_ms"] = 10000
        # Text writes always wait for the log, and everybody else's go to disk with them.
        global KINDS
        KINDS = tuple("json" if kind == "text" else kind for kind in KINDS)
    oracles = [Oracle(number) for number in range(CLIENTS)]
    began, restarts, bad, kills = time.monotonic(), [], 0, 0
    lost = twice = wrong = 0
    with Server(settings) as server:
        server.start()
        prepare(server)
        for number in range(1, options.rounds + 1):
            seconds = rng.uniform(0.5, 2.5)
            before = totals(oracles)
            oracles = load(server, oracles, seed + number, not options.control, seconds)
            kills += 1
            again = not options.control and rng.random() < 0.34
            unsound = check_copy(server)
            if again:
                server.launch()
                time.sleep(rng.uniform(0.0, 0.4))
                server.kill()
                kills += 1
            restarts.append(server.start())
            verdict = verify(server, oracles)
            if unsound:
                verdict.tell(unsound)
            round_line(number, seconds, oracles, before, verdict, restarts[-1], again)
            lost, wrong, twice = (lost + verdict.lost, wrong + verdict.wrong, twice + verdict.twice)
            bad += bool(verdict.bad())
        crashed = server.crashes()
        if server.stop() != 0:
            bad += 1
            print("the last stop did not exit with 0")
        done = gneiss("check", server.data)
        if done.returncode != 0:
            bad += 1
            print("gneiss check at the end: %s %s" % (done.stdout, done.stderr))
        for line in crashed:
            bad += 1
            print("log: " + line[:300])
    sums = totals(oracles)
    restarts.sort()
    print("kill9: seed %d, %d rounds, %d kills, %d acknowledged, %d lost, %d wrong, %d twice, %d "
          "refused, %d unknown, restart median %.2f s, most %.2f s, %.0f s in all" % (
              seed, options.rounds, kills, sums["acked"], lost, wrong, twice, sums["refused"],
              sums["unknown"], restarts[len(restarts) // 2], restarts[-1],
              time.monotonic() - began))
    if options.control:
        print("control: %s" % (
            "red, as it must be: of %d acknowledged %d lost, %d old" % (sums["acked"], lost, wrong)
            if lost + wrong else "NOTHING LOST: void"))
        sys.exit(0 if lost + wrong else 1)
    if sums["unknown"] == 0:
        print("void: no write was under way at any kill")
        bad += 1
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

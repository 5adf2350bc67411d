#!/usr/bin/python3
"""The disk is full: the log's, the pages', that of everything.

Sixteen clients (those of oracle.py) write, four read.  In the middle a file of ballast takes the
last byte of the disk; later it is taken away.  Then

  every refused write says that the disk is full, and was not done
  every read is answered, deletes are done, checkpoints are completed while the disk is full
  no session ends, no process dies, nothing is restarted
  within five seconds after there is room, writers go on by themselves
  a server that is killed while its log's disk is full starts again on the full disk (where its
  pages' disk is full, replay may want the room of what was dropped since the last checkpoint)
  what was acknowledged is there, and `gneiss check` finds everything sound

"jobs": a sort that spills, an index that is built, a vacuum on a full disk say so, leave nothing, and
are done when there is room.

    tests/crash/diskfull.py [--only log|data|all|jobs] [--seconds 4] [--seed N]

The log and the pages on tmpfs, reached by symbolic links; everything together on a small ext4,
where loop devices can be had.  Each has room for what the clients write by themselves in that time on
a fast machine: ballast alone makes it full.
"""
import argparse
import errno
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time

import disk
import oracle
from oracle import Oracle, Unknown, one_step, prepare, totals, verify
from server import SLOW, Checks, Server, gneiss
from wire import Closed, Json, Mongo, Refused, Text

READERS = 4
FULL_TEXTS = ("No space left on device", "disk is full")
MIB = 1 << 20


# ---- a small disk ----
class Tmpfs:
    kind = "tmpfs"

    def __init__(self, megabytes):
        self.mountpoint = tempfile.mkdtemp(prefix="gneiss-small-")
        disk.sh("mount", "-t", "tmpfs", "-o", "size=%dm" % megabytes, "gneiss-test",
                self.mountpoint)

    def close(self):
        disk.sh("umount", "-l", self.mountpoint, check=False)
        os.rmdir(self.mountpoint)


def small_ext4(megabytes):
    return disk.Disk("ext4", size="%dM" % megabytes, reserve=False)


class Ballast:
    """A file that takes all the room that is left."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "ballast")

    def fill(self):
        with open(self.path, "ab", buffering=0) as file:
            for size in (MIB, 65536, 4096):
                try:
                    while True:
                        file.write(b"\1" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def drop(self):
        os.unlink(self.path)


# ---- clients that go on after a refusal ----
class Told:
    """What a client saw, with the time of each."""

    def __init__(self):
        self.acked, self.refused, self.odd = [], [], []
        self.deleted, self.delete_refused = [], []


def writer_main(known, port, seed, stop, pipe):
    rng = random.Random(seed)
    told = Told()
    try:
        writer = oracle.WRITERS[oracle.KINDS[known.client]](port, True)
        pipe.send("ready")
        while not stop.is_set():
            acked, living = known.acked, len(known.payload)
            try:
                one_step(known, writer, rng)
                if known.acked > acked:
                    told.acked.append(time.monotonic())
                if len(known.payload) < living:
                    told.deleted.append(time.monotonic())
            except Refused as error:
                (told.refused if any(text in str(error) for text in FULL_TEXTS)
                 else told.odd).append((time.monotonic(), str(error)[:200]))
                known.payload = {key: now for key, now in known.payload.items()
                                 if oracle.value(*now) in known.may[key]}
                time.sleep(0.01)
            delete_one(known, writer, rng, told)
    except (Unknown, Closed, ConnectionError) as error:
        told.odd.append((time.monotonic(), "the session ended: %r" % (error,)))
    except Exception as error:
        told.odd.append((time.monotonic(), repr(error)))
    pipe.send((known, told))


def delete_one(known, writer, rng, told):
    """Now and then, whatever was refused before: deletes make room."""
    if rng.random() > 0.1 or len(known.payload) < 20:
        return
    key = rng.choice(list(known.payload))
    try:
        known.attempt(key, oracle.ABSENT, lambda: writer.delete(key))
        told.deleted.append(time.monotonic())
        del known.payload[key]
    except Refused as error:
        told.delete_refused.append((time.monotonic(), str(error)[:200]))


def reader_main(port, stop, pipe):
    import pymongo
    told = Told()
    client = pymongo.MongoClient("127.0.0.1", port, directConnection=True, retryReads=False,
                                 serverSelectionTimeoutMS=10000)
    docs = client[oracle.DATABASE][oracle.COLLECTION]
    pipe.send("ready")
    number = 0
    while not stop.is_set():
        number += 1
        try:
            for _ in docs.find({"client": number % oracle.CLIENTS}).limit(20):
                pass
            told.acked.append(time.monotonic())
        except pymongo.errors.PyMongoError as error:
            told.odd.append((time.monotonic(), repr(error)[:200]))
    pipe.send((None, told))


def noise_main(port, seed, stop, pipe):
    """Much log and many pages in little time: a collection that is filled and dropped."""
    import pymongo
    told = Told()
    rng = random.Random(seed)
    client = pymongo.MongoClient("127.0.0.1", port, directConnection=True, retryWrites=False,
                                 serverSelectionTimeoutMS=10000)
    noise = client[oracle.DATABASE]["noise"]
    pipe.send("ready")
    while not stop.is_set():
        try:
            for _ in range(20):
                noise.insert_many([{"p": rng.randbytes(60000)} for _ in range(8)])
                told.acked.append(time.monotonic())
        except pymongo.errors.OperationFailure as error:
            full = any(text in str(error.details) for text in FULL_TEXTS)
            (told.refused if full else told.odd).append(
                (time.monotonic(), str(error.details)[:300]))
            time.sleep(0.05)
        except pymongo.errors.PyMongoError as error:
            told.odd.append((time.monotonic(), repr(error)[:300]))
        try:
            noise.drop()
            told.deleted.append(time.monotonic())
        except pymongo.errors.PyMongoError as error:
            told.delete_refused.append((time.monotonic(), str(error)[:200]))
    pipe.send((None, told))


class Load:
    """Writers and readers that run beside the test."""

    def __init__(self, server, oracles, seed):
        self.stop = multiprocessing.Event()
        self.members = []
        for known in oracles:
            self.begin(writer_main, known, server.port[oracle.KINDS[known.client]],
                       seed * 100 + known.client, self.stop)
        for _ in range(READERS):
            self.begin(reader_main, server.port["mongo"], self.stop)
        self.begin(noise_main, server.port["mongo"], seed, self.stop)
        for pipe, _ in self.members:
            first = pipe.recv() if pipe.poll(60 * SLOW) else "nothing"
            assert first == "ready", "a client could not begin: %s" % (
                first if isinstance(first, str) else first[1].odd)

    def begin(self, function, *arguments):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=function, args=arguments + (there,))
        process.start()
        there.close()
        self.members.append((here, process))

    def end(self):
        """What the writers know, what they saw, what the readers saw, what the noise saw."""
        self.stop.set()
        said = []
        for pipe, process in self.members:
            said.append(pipe.recv() if pipe.poll(60 * SLOW) else None)
            if said[-1] is None:
                process.terminate()
            process.join()
        hung = [number for number, one in enumerate(said) if one is None]
        assert not hung, "clients %s hung" % hung
        writers, readers, noise = said[:-READERS - 1], said[-READERS - 1:-1], said[-1]
        return [known for known, _ in writers], [told for _, told in writers], [
            told for _, told in readers], noise[1]


def merged(tolds, field, since=0.0, until=1e18):
    rows = [row for told in tolds for row in getattr(told, field)]
    return sorted(row for row in rows
                  if since <= (row[0] if isinstance(row, tuple) else row) < until)


# ---- the checks ----
def one_full(checks, name, make, settings, folders, seconds, seed):
    """`folders` says what stands on the small disk: "wal", "data", or both."""
    small = make()
    try:
        with Server(settings) as server:
            os.mkdir(os.path.join(server.directory, "rest"))
            lay_out(server, small, folders)
            server.start()
            prepare(server)
            full_under_load(checks, name, server, small, seconds, seed)
    finally:
        small.close()


def lay_out(server, small, folders):
    """The data directory, with its log or its pages elsewhere by a symbolic link."""
    if folders == "all":
        server.data = os.path.join(small.mountpoint, "base")
        return
    os.makedirs(server.data, mode=0o700)
    target = os.path.join(small.mountpoint, "part")
    os.mkdir(target, 0o700)
    os.symlink(target, os.path.join(server.data, "wal" if folders == "log" else "data"))


def full_under_load(checks, name, server, small, seconds, seed):
    oracles = [Oracle(number) for number in range(oracle.CLIENTS)]
    ballast = Ballast(small.mountpoint)
    load = Load(server, oracles, seed)
    time.sleep(seconds / 2)
    ballast.fill()
    full = time.monotonic()
    time.sleep(seconds)
    room = time.monotonic()
    ballast.drop()
    time.sleep(5 * SLOW + 1)
    left = os.statvfs(small.mountpoint).f_bavail * os.statvfs(small.mountpoint).f_bsize // MIB
    oracles, writers, readers, noise = load.end()
    writers.append(noise)
    late = merged(writers, "refused", room + 5 * SLOW)
    refused = merged(writers, "refused", full)
    deleted = merged(writers, "deleted", full, room)
    kept = merged(writers, "delete_refused", full)
    odd = merged(writers, "odd") + merged(readers, "odd")
    checks.check(not odd, "%s full: nobody sees another error, no session ends" % name, odd[:3])
    checks.check(merged(readers, "acked", full, room), "%s full: readers go on (%d reads)" % (
        name, len(merged(readers, "acked", full, room))))
    happened = "the log's disk is full" in server.log() if name == "log" else refused
    checks.check(happened and deleted and not kept,
                 "%s full: deletes are done (%d done, %d refused; other writes: %d done, %d refused)"
                 % (name, len(deleted), len(kept), len(merged(writers, "acked", full, room)),
                    len(refused)), kept[:2])
    checks.check(not late and merged(writers, "acked", room),
                 "%s full: with room again, writers go on within 5 s (last refusal after %.1f s; %d MiB of room at the end)"
                 % (name, max([row[0] for row in merged(writers, "refused", room)], default=room) - room, left),
                 late[:3])
    ballast.fill()
    load = Load(server, oracles, seed + 1)
    time.sleep(seconds / 2)
    oracles, _, _, _ = load.end()
    checks.check(not server.crashes(), "%s full: nothing crashes" % name, server.crashes()[:3])
    server.kill()
    if name != "log":
        ballast.drop()
    server.start()
    verdict = verify(server, oracles)
    sums = totals(oracles)
    checks.check(not verdict.bad(), "%s full: killed and started again, nothing is lost "
                 "(%d acknowledged, %d refused, %d lost)" % (
                     name, sums["acked"], sums["refused"], verdict.lost), verdict.told[:3])
    if name == "log":
        ballast.drop()
    checks.check(server.stop() == 0, "%s full: stops in order" % name)
    done = gneiss("check", server.data)
    checks.check(done.returncode == 0, "%s full: gneiss check finds it sound" % name,
                 done.stdout[-300:] + done.stderr[-300:])


# ---- what works on many documents ----
def jobs_full(checks):
    """A sort that spills, an index that is built, a vacuum, while everything stands on a full disk."""
    small = Tmpfs(160)
    try:
        with Server({"memory.shared_buffers": "4MB", "memory.work_mem": 1 << 16,
                     "storage.autovacuum_naptime_secs": 3600}) as server:
            lay_out(server, small, "all")
            server.start()
            with Mongo(server.port["mongo"]) as mongo, Json(server.port["json"]) as json:
                jobs_told(checks, server, mongo, json, Ballast(small.mountpoint))
            checks.check(not server.crashes(), "jobs on a full disk: nothing crashes", server.crashes()[:3])
            checks.check(server.stop() == 0, "jobs on a full disk: stops in order")
    finally:
        small.close()


def jobs_told(checks, server, mongo, json, ballast):
    jobs = {
        "a sort": lambda: mongo.ask({"find": "j", "sort": {"k": -1}, "projection": {"_id": 1},
                                     "batchSize": 4000})["cursor"]["firstBatch"],
        "an index": lambda: mongo.ask({"createIndexes": "j", "indexes": [{"key": {"k": 1}, "name": "k_1"}]}),
        "a vacuum": lambda: json.ask("compact", database="test", collection="j")}
    for first in range(0, 3000, 500):
        mongo.ask({"insert": "j", "documents": [{"_id": i, "k": "%0500d" % (i * 7919 % 3000), "p": "p" * 1000}
                                                for i in range(first, first + 500)]})
    mongo.ask({"delete": "j", "deletes": [{"q": {"_id": {"$lt": 1000}}, "limit": 0}]})
    ballast.fill()
    for name, job in jobs.items():
        said = "done"
        try:
            job()
        except Refused as error:
            said = str(error)
        clear = any(text in said for text in FULL_TEXTS) or (said == "done" and name == "a vacuum")
        left = os.listdir(os.path.join(server.data, "tmp"))
        checks.check(clear and not left, "%s on a full disk: a clear error, nothing is left of it" % name,
                     (said[:200], left[:3]))
    names = [one["name"] for one in mongo.ask({"listIndexes": "j"})["cursor"]["firstBatch"]]
    found = mongo.ask({"find": "j", "filter": {"_id": 2000}})["cursor"]["firstBatch"]
    checks.check(names == ["_id_"] and len(found) == 1, "jobs on a full disk: documents are there, no index is",
                 names)
    ballast.drop()
    rows = jobs["a sort"]()
    jobs["an index"]()
    jobs["a vacuum"]()
    right = [row["_id"] for row in rows] == sorted(range(1000, 3000), key=lambda i: -(i * 7919 % 3000))
    sound = mongo.ask({"validate": "j"})
    held = mongo.ask({"serverStatus": 1, "held": True}, "admin")["held"]
    checks.check(right and sound["valid"] and sound["nIndexes"] == 2 and held["pins"] == held["locks"] == 0,
                 "jobs on a full disk: with room again, each is done", (right, sound))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("log", "data", "all", "jobs"))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    print("# seed %d" % seed)
    checks = Checks()
    if os.geteuid() != 0:
        print("# skipped: full disks: only root can mount small ones")
        return
    settings = {"memory.shared_buffers": "4MB"}
    rows = (("log", lambda: Tmpfs(128), "log"), ("data", lambda: Tmpfs(256), "data"))
    for name, make, folders in rows:
        if options.only in (None, name):
            one_full(checks, name, make, settings, folders, options.seconds, seed)
    if options.only in (None, "jobs"):
        jobs_full(checks)
    if options.only in (None, "all"):
        why = disk.why_not("ext4")
        if why:
            print("# skipped: a small ext4: %s" % why)
        else:
            one_full(checks, "ext4", lambda: small_ext4(800), settings, "all", options.seconds, seed)
    checks.done()


if __name__ == "__main__":
    main()

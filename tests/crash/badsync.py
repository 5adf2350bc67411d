#!/usr/bin/python3
"""The disk says no: every sync of the server fails once, pages cannot be read, and what the log makes
again is compared with what it was.

Failed syncs.  Each fault point of kind SYNC in base/lists/faults.def is armed with EIO, once, where
SITES says: under the clients of oracle.py, at a start after a kill, while a data directory is made.
A point that SITES does not know fails the test.  Under the clients, the postmaster is stopped before
the sync fails and for a second after: nobody is restarted meanwhile, so whoever would try
again, or acknowledge what is not on disk, has the time.  Then the server must restart by itself, and
hold all that was acknowledged; `gneiss check` finds a copy of its files sound.  A start that fails is
refused with the reason, and the next one comes through.

Pages that cannot be read.  A statement that needs one gets an error that names file and block; other
collections and the next try are served, and nobody is restarted.

The log's end.  After a failed sync the kernel takes for clean what the disk has not.  A sync of the log
fails, the kernel writes what it has, and then these blocks of the disk are made what they were
before, under the mounted file system.  What recovery finds in the log and serves must be there after
a power cut, and so must all that is acknowledged from then on.

A loss that is accepted.  A start with wal.accept_loss that dies before its checkpoint is refused as
before without the setting, and goes on with it.

Replay.  With wal.check every record carries its pages whole; the server is killed under clients and
changes of definitions, and its recovery compares each page that it makes.

    tests/crash/badsync.py [--only syncs|reads|tail|loss|replay] [--records 20000] [--seed N]

The long form is --records 1000000.
"""
import argparse
import os
import random
import re
import signal
import struct
import sys
import threading
import time

os.environ.setdefault("BUILD", "build-faults")
import disk
import oracle
from faultload import Load, Wire, burn, make_burnt, verify as verify_load
from crowd import state
from oracle import Oracle, Unknown, check_copy, prepare, verify
from server import ROOT, SLOW, Checks, Server, StartFailed, wait_for
from wire import Closed, Refused, Text

SETTINGS = {"memory.shared_buffers": "4MB", "wal.checkpoint_timeout_secs": 3600,
            "storage.autovacuum_naptime_secs": 3600}
CLIENTS = 6
HELD = 1.0  # seconds that the postmaster is stopped after a failure
LAG = 0.6  # seconds that a client may take to see an answer that was sent before it


def sync_points():
    """The points of kind SYNC that base/lists/faults.def names."""
    with open(os.path.join(ROOT, "base", "lists", "faults.def"), encoding="utf-8") as file:
        return re.findall(r"^FAULT\((\w+), SYNC,", file.read(), re.MULTILINE)


class Watched(Oracle):
    """An oracle that keeps when it was told what."""

    def __init__(self, client):
        self.times, self.count = [], 0
        super().__init__(client)

    @property
    def acked(self):
        return self.count

    @acked.setter
    def acked(self, count):
        if count > self.count:
            self.times.append(time.time())
        self.count = count


# ---- what makes the server come by ----
def alone(call):
    """Run it beside; the server may break under it."""
    def run():
        try:
            call()
        except (Refused, Closed, Unknown, OSError):
            pass
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def checkpoint(server):
    with Text(server.port["text"], database=oracle.DATABASE) as text:
        text.ask("FLUSH")


def make_collections(server):
    wire = Wire(server)
    for _ in range(10):
        wire.ask({"create": "c%x" % random.getrandbits(40)})


def fill_segments(server):
    wire = Wire(server)
    for _ in range(80):
        wire.write({"insert": "filler", "documents": [
            {"x": random.randbytes(60000)} for _ in range(10)]})


def nothing(_server):
    pass


# Where each sync is passed: point -> (where, kind of process or "", what brings it about), …
# "restart": under clients, and all are restarted; "goes on": under clients, and is made good without
# anybody's notice; "start", "make": at a start, which fails.
SITES = {
    "WAL_SYNC": (("restart", "", nothing), ("start",)),
    "DATA_SYNC": (("restart", "", checkpoint),),
    "CONTROL_SYNC": (("restart", "", checkpoint), ("start",)),
    "DIR_SYNC": (("restart", "backend", make_collections), ("restart", "wal writer", fill_segments),
                 ("make",)),
    "WAL_CREATE_SYNC": (("goes on", "", fill_segments), ("make",)),
    "WAL_HEAD_SYNC": (("start",),),
    "WAL_HINT_SYNC": (("start",),),
    "FILE_REPLACE_SYNC": (("make",),),
}


# ---- a sync fails under clients ----
def read_point(wire, point):
    """Its passes and hits.  A session in the process that died is made anew."""
    for _ in range(int(50 * SLOW)):
        try:
            found = wire.ask({"faultPoint": ""}, "admin")["points"][point]
            return found["passes"], found["hits"]
        except Unknown:
            time.sleep(0.05)
    raise AssertionError("no answer from the server")


class Failure:
    """Break a sync once while clients write; what was seen."""

    def __init__(self, server, point, site):
        self.server, self.point = server, point
        self.where, self.kind, self.bring = site
        self.began = self.ended = 0
        self.again = 0

    def __call__(self):
        """What oracle.load calls in the middle of its writing."""
        server, point, wire = self.server, self.point, Wire(self.server)
        held = self.where == "restart"
        log_at = os.path.getsize(server.log_path())
        read_point(wire, point)
        if held:
            os.kill(server.process.pid, signal.SIGSTOP)
        try:
            wire.ask({"faultPoint": "%s=eio:1%s" % (point, self.kind and ":" + self.kind)}, "admin")
            helper = alone(lambda: self.bring(server))
            wait_for(lambda: read_point(wire, point)[1] > 0, 30 * SLOW, "%s fails" % point)
            self.began = time.time()
            before = read_point(wire, point)[0]
            if held:
                time.sleep(HELD)
                self.again = read_point(wire, point)[0] - before
            else:
                wait_for(lambda: read_point(wire, point)[0] > before, 30 * SLOW,
                         "%s is passed again" % point)
            self.ended = time.time()
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        if held:
            wait_for(lambda: "restarting all" in self.log(log_at), 30 * SLOW, "all are restarted")
            wait_for(server.answers, 60 * SLOW, "the server answers")
        helper.join(60 * SLOW)
        self.said = self.log(log_at)
        self.died = "PANIC" in server.errors()
        server.kill()

    def log(self, at):
        with open(self.server.log_path(), encoding="utf-8", errors="replace") as file:
            file.seek(at)
            return file.read()


def fail_under_load(server, oracles, point, site, seed, checks):
    """Yields what the clients know then."""
    name = "%s fails%s" % (point, " in a " + site[1] if site[1] else "")
    failure = Failure(server, point, site)
    if server.process is None:
        server.start()
    for one in oracles:
        one.times = []
    oracles = oracle.load(server, oracles, seed, True, 0.3, failure)
    late = sum(failure.began + LAG * SLOW < when < failure.ended for one in oracles
               for when in one.times)
    acked = sum(len(one.times) for one in oracles)
    wrong = [] if acked else ["void: nothing was acknowledged"]
    if failure.where == "restart":
        if not failure.died or "could not sync" not in failure.said:
            wrong.append("no panic that tells of a sync")
        # The folder's next sync is another one's.
        if failure.again and point != "DIR_SYNC":
            wrong.append("it was tried again %d times" % failure.again)
        if late and point == "WAL_SYNC":
            wrong.append("%d answers after it" % late)
    elif "restarting all" in failure.said or "was ended by signal" in failure.said:
        wrong.append("somebody died of it")
    wrong += filter(None, [check_copy(server)])
    server.start()
    verdict = verify(server, oracles)
    wrong += verdict.told[:3]
    checks.check(not wrong and not verdict.bad(), "%s: %s; %d acknowledged, %d after it, %d lost" % (
        name, "all are restarted" if failure.where == "restart" else "it is made anew, nobody notices",
        acked, late, verdict.lost), wrong)
    return oracles


# ---- a sync fails at a start ----
def fail_at_start(server, point):
    """The start is refused or ends in a panic; yields what is wrong."""
    server.kill()
    server.wrapper = ["env", "GNEISS_FAULTS=%s=eio:1" % point]
    try:
        server.start()
    except StartFailed as error:
        return [] if "sync" in str(error) else ["the reason is not told: %s" % str(error)[:300]]
    finally:
        server.wrapper = []
    hits = read_point(Wire(server), point)[1]
    server.kill()
    return ["void: the fault did not happen" if hits == 0 else "the server started all the same"]


def start_again(server, oracles):
    server.kill()
    server.start()
    return verify(server, oracles).told[:3]


def fail_while_made(point):
    with Server(SETTINGS) as server:
        wrong = fail_at_start(server, point)
        server.kill()
        server.start()
        prepare(server)
        server.kill()
        return wrong + list(filter(None, [check_copy(server)]))


def syncs(seed, checks):
    points, covered = sync_points(), set()
    oracle.use_kinds(oracle.KINDS[:CLIENTS])
    oracle.CLIENTS = CLIENTS
    oracles = [Watched(number) for number in range(CLIENTS)]
    with Server(SETTINGS) as server:
        server.start()
        prepare(server)
        for point in points:
            failed = checks.failed
            for number, site in enumerate(SITES.get(point, ())):
                try:
                    if len(site) > 1:
                        oracles = fail_under_load(server, oracles, point, site, seed + number, checks)
                    else:
                        wrong = fail_while_made(point) if site[0] == "make" else (
                            fail_at_start(server, point) + start_again(server, oracles))
                        checks.check(not wrong, "%s fails %s: that start is refused, the next one "
                                     "comes through" % (point, "while a data directory is made"
                                                        if site[0] == "make" else "at a start"), wrong)
                except (AssertionError, Unknown, Refused) as error:
                    checks.check(False, "%s fails" % point, str(error)[:500])
                    server.kill()
            if point in SITES and failed == checks.failed:
                covered.add(point)
    checks.check(len(covered) == len(points), "%d of %d sites covered" % (len(covered), len(points)),
                 sorted(set(points) - covered))


# ---- pages that cannot be read ----
NAMED = re.compile(r"could not read block \d+ of data file [0-9a-f]{8}")


def reads(checks):
    with Server({**SETTINGS, "memory.shared_buffers": "1MB"}) as server:
        server.start()
        wire = Wire(server)
        for at in range(0, 400, 20):
            wire.write({"insert": "large", "documents": [
                {"_id": at + i, "p": random.randbytes(7000)} for i in range(20)]})
        wire.write({"insert": "small", "documents": [{"_id": 1}]})
        server.stop()
        server.start()
        wire, vague, wrong, errors = Wire(server), [], [], 0

        def find(name):
            return [row["_id"] for row in wire.ask(
                {"find": name, "batchSize": 1000})["cursor"]["firstBatch"]]

        find("large")
        for nth in range(1, 25):
            find("small")
            wire.ask({"faultPoint": "DATA_READ=eio:%d:backend" % (nth * 7)}, "admin")
            try:
                if len(find("large")) != 400:
                    wrong.append("read %d: fewer documents and no error" % (nth * 7))
            except Refused as error:
                errors += 1
                if not NAMED.search(str(error)):
                    vague.append(str(error))
            except Unknown as error:
                wrong.append("read %d: the session broke: %s" % (nth * 7, error))
            if find("small") != [1]:
                wrong.append("another collection is not served")
            wire.ask({"faultPoint": "DATA_READ=off"}, "admin")
            if len(find("large")) != 400:
                wrong.append("the next try finds fewer documents")
        checks.check(errors > 0 and not vague, "a page that cannot be read is an error that names "
                     "file and block (%d)" % errors, vague[:2])
        checks.check(not wrong and not server.crashes(), "others and the next try are served, and "
                     "nobody dies", (wrong + server.crashes())[:3])
        server.kill()


# ---- the log's end, of which the kernel says more than the disk has ----
BLOCK = 4096


def extents(path):
    """(offset in the file, offset on the disk, bytes) of each piece."""
    told = disk.sh("xfs_io", "-r", "-c", "fiemap -v", path)
    return [(512 * int(first), 512 * int(at), 512 * (int(last) - int(first) + 1))
            for first, last, at in re.findall(
                r"^\s*\d+: \[(\d+)\.\.(\d+)\]:\s+(\d+)\.\.", told, re.MULTILINE)]


def put_back(device, path, before):
    """Make the file on the disk what it was, whatever the kernel has; yields how many blocks."""
    count = 0
    with open(path, "rb") as file:
        now = file.read()
    with open(device.image, "r+b", buffering=0) as out:
        for first, at, size in extents(path):
            for offset in range(first, first + size, BLOCK):
                old = before[offset:offset + BLOCK]
                if old != now[offset:offset + BLOCK]:
                    os.pwrite(out.fileno(), old, at + offset - first)
                    count += 1
    return count


def fail_and_forget(device, server):
    """A commit is in the log as the kernel has it, and not on the disk; yields how many blocks."""
    segment = max(name for name in os.listdir(os.path.join(server.data, "wal"))
                  if len(name) == 16 and reached(server, name))
    path, wire = os.path.join(server.data, "wal", segment), Wire(server)
    with open(path, "rb") as file:
        before = file.read()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        Wire(server).ask({"faultPoint": "WAL_SYNC=eio:1"}, "admin")
        try:
            wire.write({"insert": "tail", "documents": [{"_id": "unknown", "p": random.randbytes(60000)}]})
            raise AssertionError("it was acknowledged")
        except Unknown:
            pass
        device.sync()
        return put_back(device, path, before)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def reached(server, name):
    """Has the log come to this segment?  Its head says its number then."""
    with open(os.path.join(server.data, "wal", name), "rb") as file:
        return int(name, 16) in struct.unpack("<8Q", file.read(64))


def tail(checks):
    why = disk.why_not("ext4")
    if why:
        print("# skipped: the log's end: %s" % why)
        return
    with disk.Disk("ext4", size="1G") as device, Server(SETTINGS) as server:
        server.data = os.path.join(device.mountpoint, "data")
        server.start()
        wire = Wire(server)
        wire.write({"insert": "tail", "documents": [{"_id": 0}]})
        device.sync()
        forgotten = fail_and_forget(device, server)
        wait_for(lambda: server.log().count('"ready"') > 1, 30 * SLOW, "all are restarted")
        wire, known = Wire(server), set()
        for number in range(1, 4):
            wire.write({"insert": "tail", "documents": [{"_id": number, "p": "y" * 500}]})
        known = {row["_id"] for row in wire.ask({"find": "tail"})["cursor"]["firstBatch"]}
        device.cut()
        server.kill()
        device.remount()
        try:
            server.start()
            wire = Wire(server)
            found = {row["_id"] for row in wire.ask({"find": "tail"})["cursor"]["firstBatch"]}
            wrong = [] if found == known else ["%s was served, %s is there" % (known, found)]
        except StartFailed as error:
            wrong = [str(error), server.tail()]
        server.kill()
        checks.check(forgotten > 5 and "unknown" in known, "a failed sync of the log leaves what the "
                     "kernel has and the disk has not (%d blocks)" % forgotten, [str(known)])
        checks.check(not wrong, "what recovery found there and served is on disk before it is served",
                     wrong)


# ---- a start that gives up what is damaged, and dies before its checkpoint ----
def loss(checks):
    with Server(SETTINGS) as server:
        server.start()
        wire = Wire(server)
        for number in range(40):
            wire.write({"insert": "lossy", "documents": [
                {"_id": number, "p": random.randbytes(9000)}]})
        server.kill()
        with open(os.path.join(server.data, "wal", "%016x" % 1), "r+b") as file:
            file.seek(200000)
            file.write(bytes(BLOCK))
        server.arguments = ["--set", "wal.accept_loss=true"]
        server.wrapper = ["env", "GNEISS_FAULTS=RECOVERY_EPOCH=stop:1:startup"]
        server.launch()
        wait_for(lambda: any(state(pid) == "T" for pid in server.tree()), 30 * SLOW,
                 "it stops with its new epoch in the log")
        server.kill()
        server.arguments, server.wrapper = [], []
        try:
            server.start()
            said = "it started"
        except StartFailed as error:
            said = str(error)
        server.kill()
        checks.check("log is damaged" in said, "after a start with wal.accept_loss that died before its "
                     "checkpoint, one without it is refused still", [said])
        server.arguments = ["--set", "wal.accept_loss=true"]
        server.start()
        Wire(server).write({"insert": "lossy", "documents": [{"_id": "new"}]})
        server.kill()
        server.arguments = []
        server.start()
        found = [row["_id"] for row in Wire(server).ask(
            {"find": "lossy", "batchSize": 100})["cursor"]["firstBatch"]]
        checks.check(found[-1:] == ["new"] and 0 < len(found) < 41, "with it once more it goes on, and "
                     "what is acknowledged then stays", [str(found)])
        server.kill()


# ---- replay equals original ----
REPLAYED = re.compile(r"recovered (\d+) log records")
COMPARED = re.compile(r"wal.check: (\d+) replayed pages")


def replay(wanted, seed, checks):
    records = pages = rounds = 0
    wrong, kinds = [], set()
    with Server({**SETTINGS, "wal.check": True, "wal.max_wal_size": "1GB",
                 "wal.sync": False}) as server:
        server.start()
        load = Load(server, seed)
        Wire(server, "mongo").ask({"create": "docs"})
        Wire(server, "mongo").ask({"createIndexes": "docs", "indexes": [
            {"key": {"client": 1}, "name": "client"}, {"key": {"n": 1}, "name": "n"}]})
        make_burnt(server)
        while records < wanted and not wrong:
            rounds += 1
            load = Load(server, seed + rounds).take_over(load)
            load.start()
            alone(lambda: burn(server, wanted))
            time.sleep(3 if wanted < 100000 else 20)
            kinds |= {name for name, point in Wire(server).ask(
                {"faultPoint": ""}, "admin")["points"].items()
                if name.startswith("LOGGED_") and point["passes"] > 0}
            server.kill()
            wrong += load.stop()
            at = os.path.getsize(server.log_path())
            try:
                server.start(300)
            except StartFailed as error:
                wrong.append(str(error)[:500])
                break
            with open(server.log_path(), encoding="utf-8", errors="replace") as file:
                file.seek(at)
                said = file.read()
            records += sum(map(int, REPLAYED.findall(said)))
            pages += sum(map(int, COMPARED.findall(said)))
            wrong += verify_load(load)
        server.kill()
    checks.check(pages and not wrong, "replay equals original: %d log records of %d kinds, %d pages "
                 "compared, %d differ (%d kills)" % (records, len(kinds), pages, sum(
                     "differs" in one for one in wrong), rounds), wrong[:3])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("syncs", "reads", "tail", "loss", "replay"))
    parser.add_argument("--records", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    checks = Checks()
    parts = {"syncs": lambda: syncs(seed, checks), "reads": lambda: reads(checks),
             "tail": lambda: tail(checks), "loss": lambda: loss(checks),
             "replay": lambda: replay(options.records, seed, checks)}
    for name, part in parts.items():
        if options.only in (None, name):
            began = time.time()
            part()
            print("%s: seed %d, %.0f s" % (name, seed, time.time() - began), flush=True)
    checks.done()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""One bit flips: in every kind of page, in the control file, in the log.

Pages.  A bit is flipped in some of the pages of one collection (heap, overflow, trees), half of
them before the server starts and half while it runs and has not read them yet.  No document may
come back changed; a document that cannot be read is an error that names file and block; other
collections keep working; `gneiss check` names every page that was flipped.  In the catalog and in
the fates of transactions, one flip at a time: opening or checking names file and block.  The maps
of free space and the numbers of commits are not kept safe: whatever they say, nothing is lost.

The control file: the server refuses it.  The log: with a bit flipped or a sector zeroed anywhere
before the last record, the server refuses to start, and says from where to where and how many
records are behind; a half-written record behind the end does not keep it from starting.  With
--set wal.accept_loss=true a damaged log is left behind, loudly.

    tests/crash/flips.py [--pages 100] [--log 20] [--seed N]       (in full: 1000 and 200)
"""
import argparse
import copy
import hashlib
import os
import random
import re
import shutil
import struct
import sys
import time

import oracle
from oracle import Oracle, load, prepare, totals, verify
from server import FULL, Checks, Server, StartFailed, gneiss

PAGE = 8192
KINDS = {1: "heap", 2: "overflow", 3: "btree", 4: "btree", 6: "free space", 7: "fates", 8: "csn"}
CATALOG = (3, 5)
NAMED = re.compile(r"block (\d+) of data file ([0-9a-f]{8})")


# ---- files ----
def files_of(data):
    found = {}
    for folder, _, names in os.walk(os.path.join(data, "data")):
        for name in names:
            found[int(name, 16)] = os.path.join(folder, name)
    return found


def pages_of(data, files):
    """(file, block) of pages that hold something -> kind."""
    found = {}
    for number, path in files_of(data).items():
        if number not in files:
            continue
        with open(path, "rb") as file:
            block = 0
            while len(page := file.read(PAGE)) == PAGE:
                kind = struct.unpack_from("<H", page, 12)[0]
                if kind:
                    found[number, block] = KINDS[kind]
                block += 1
    return found


def flip(path, at, rng):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))


def flip_page(data, page, rng):
    number, block = page
    flip(files_of(data)[number], block * PAGE + rng.randrange(PAGE), rng)


def fresh(server, base):
    shutil.rmtree(server.data, ignore_errors=True)
    shutil.copytree(base, server.data)


def named(text):
    return {(int(number, 16), int(block)) for block, number in NAMED.findall(text)}


# ---- pages ----
def document(rng, number):
    size = rng.choice((50, 300, 3000))
    if number % 20 == 0:
        size = rng.randrange(20000, 60000)
    text = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=size))
    return {"_id": number, "client": number % 16, "p": text,
            "h": hashlib.sha1(text.encode()).hexdigest()}


def client_of(server):
    import pymongo
    return pymongo.MongoClient("127.0.0.1", server.port["mongo"], directConnection=True,
                               retryReads=False)


def make(server, rng):
    """Yields the files of collection `victim`."""
    server.start()
    client = client_of(server)
    files = []
    for name, count in (("victim", 2000), ("bystander", 200)):
        docs = client["flips"][name]
        docs.create_index("client")
        for begin in range(0, count, 100):
            docs.insert_many([document(rng, begin + i) for i in range(100)])
        files.append(set(files_of(server.data)))
    client.close()
    assert server.stop() == 0
    return {number for number in files[0] if number >= 16}


def read_all(docs, count, sums):
    """Each document by its key: right, or an error that names a page."""
    import pymongo
    for number in range(count):
        try:
            doc = docs.find_one({"_id": number})
        except pymongo.errors.OperationFailure as error:
            sums["refused"] += 1
            if not NAMED.search(str(error)):
                sums["unnamed"].append(str(error))
            continue
        if doc is None or hashlib.sha1(doc["p"].encode()).hexdigest() != doc["h"]:
            sums["served"].append(number)
        sums["read"] += 1


def choose(pages, count, rng):
    """Different pages, of each kind as many as there are, up to an equal share."""
    kinds = {}
    for page, kind in sorted(pages.items()):
        kinds.setdefault(kind, []).append(page)
    for rows in kinds.values():
        rng.shuffle(rows)
    chosen = []
    while len(chosen) < count:
        for rows in kinds.values():
            # Half of each kind stays whole, so that something can be read.
            if len(rows) > 1 and len(chosen) < count and rng.random() < 0.5:
                chosen.append(rows.pop())
    return chosen


def flip_collection(server, base, files, wanted, rng, checks):
    pages = {page: kind for page, kind in pages_of(base, files).items() if kind != "free space"}
    sums = {"read": 0, "refused": 0, "unnamed": [], "served": []}
    flips, missed, other, rounds = {}, [], [], 0
    while sum(flips.values()) < wanted:
        fresh(server, base)
        # Trees in every fourth round: without a root nothing can be read.
        rounds += 1
        some = {page: kind for page, kind in pages.items()
                if (kind == "btree") == (rounds % 4 == 2)}
        victims = choose(some, min(len(some) // 4, wanted - sum(flips.values())), rng)
        for page in victims[::2]:
            flip_page(server.data, page, rng)
        server.start()
        for page in victims[1::2]:
            flip_page(server.data, page, rng)
        client = client_of(server)
        read_all(client["flips"]["victim"], 2000, sums)
        beside = {"read": 0, "refused": 0, "unnamed": [], "served": []}
        read_all(client["flips"]["bystander"], 200, beside)
        client["flips"]["bystander"].insert_one({"_id": "new", "client": 3})
        client.close()
        if beside["read"] != 200 or beside["served"] or server.crashes():
            other.append((beside, server.crashes()[:2]))
        server.stop()
        told = named(gneiss("check", server.data).stdout)
        for page in victims:
            flips[pages[page]] = flips.get(pages[page], 0) + 1
            if page not in told:
                missed.append((page, pages[page]))
    count = sum(flips.values())
    checks.check(not missed, "flipped pages: %d of %d found by gneiss check (%s)" % (
        count - len(missed), count, ", ".join("%s %d" % row for row in sorted(flips.items()))),
        missed[:5])
    checks.check(not sums["served"] and not sums["unnamed"] and sums["refused"],
                 "flipped pages: no changed document is served (%d read right, %d refused with file "
                 "and block)" % (sums["read"], sums["refused"]),
                 (sums["served"][:3], sums["unnamed"][:2]))
    checks.check(not other, "flipped pages: other collections keep working", other[:2])


def flip_alone(server, base, name, files, wanted, rng, checks):
    """One flip at a time, of pages without which nothing is opened, or whose damage is refused at
    use."""
    pages = sorted(page for page, kind in pages_of(base, files).items() if kind != "free space")
    missed = []
    for number in range(wanted):
        fresh(server, base)
        page = pages[number % len(pages)]
        flip_page(server.data, page, rng)
        done = gneiss("check", server.data)
        if done.returncode == 0 or page not in named(done.stdout + done.stderr):
            missed.append((page, done.stdout[-100:] + done.stderr[-200:]))
    checks.check(not missed, "flipped pages of %s: %d of %d found, by file and block" % (
        name, wanted - len(missed), wanted), missed[:3])


def flip_harmless(server, base, wanted, rng, checks):
    maps = [page for page, kind in pages_of(base, files_of(base)).items() if kind == "free space"]
    odd, sums = [], {"read": 0, "refused": 0, "unnamed": [], "served": []}
    for _ in range(max(1, wanted // 20)):
        fresh(server, base)
        for page in maps:
            flip_page(server.data, page, rng)
        server.start()
        client = client_of(server)
        docs = client["flips"]["victim"]
        read_all(docs, 2000, sums)
        docs.insert_many([document(rng, 10000 + i) for i in range(100)])
        if docs.count_documents({}) != 2100:
            odd.append("count")
        client.close()
        server.stop()
    checks.check(maps and not odd and not sums["refused"] and not sums["served"],
                 "flipped maps of free space do no harm (%d pages)" % len(maps), (odd, sums))


# ---- control file and hint ----
def starts(server):
    """"" or why not."""
    try:
        server.start()
    except StartFailed as error:
        return str(error)
    return ""


def flip_control(server, base, wanted, rng, checks):
    bad = []
    for _ in range(wanted):
        fresh(server, base)
        flip(os.path.join(server.data, "control"), rng.randrange(512), rng)
        why = starts(server)
        if "control" not in why:
            bad.append(why)
        server.kill()
    checks.check(not bad, "a flipped control file is refused (%d of %d)" % (
        wanted - len(bad), wanted), bad[:2])
    fresh(server, base)
    flip(os.path.join(server.data, "wal", "flushed"), rng.randrange(32), rng)
    why = starts(server)
    checks.check(not why, "a flipped file \"flushed\" does no harm", why)
    server.kill()


# ---- the log ----
SEGMENT = 16 << 20


def records_of(data):
    """Where the records after the redo point begin."""
    done = gneiss("inspect", "wal", data)
    return [int(line.split()[0], 16) for line in done.stdout.splitlines()
            if re.match(r"0x[0-9a-f]+ [A-Z]", line)], done.stdout.splitlines()[-1]


def segment_path(data, lsn):
    return os.path.join(data, "wal", "%016x" % (lsn // SEGMENT))


def flip_log(server, base, oracles, wanted, rng, checks):
    records, _ = records_of(base)
    silent, vague, refused = [], [], 0
    for number in range(wanted):
        fresh(server, base)
        lsn = rng.randrange(records[0], records[-1])
        if number % 2:
            flip(segment_path(server.data, lsn), lsn % SEGMENT, rng)
        else:
            with open(segment_path(server.data, lsn), "r+b") as file:
                at = lsn % SEGMENT // 512 * 512
                file.seek(at)
                if not any(file.read(512)) or lsn - lsn % 512 < records[0]:
                    continue
                file.seek(at)
                file.write(bytes(512))
        why = starts(server)
        if why:
            refused += 1
            if not re.search(r"from LSN 0x[0-9a-f]+ .*to 0x[0-9a-f]+.* \d+ valid records", why):
                vague.append(why)
        else:
            verdict = verify(server, copy.deepcopy(oracles))
            if verdict.bad():
                silent.append(("%#x" % lsn, verdict.lost, verdict.told[:1]))
        server.kill()
    checks.check(refused and not silent, "damage in mid-log: nothing is lost silently (%d refused "
                 "of %d)" % (refused, wanted), silent[:3])
    checks.check(not vague, "damage in mid-log: the refusal names the range and counts the records",
                 vague[:2])


def tear_log(server, base, oracles, wanted, rng, checks):
    """Something half-written behind the end."""
    records, last = records_of(base)
    end = int(last.split()[0], 16)
    bad = []
    for _ in range(wanted):
        fresh(server, base)
        with open(segment_path(server.data, records[-1]), "r+b") as file:
            file.seek(records[-1] % SEGMENT)
            piece = file.read(end - records[-1])
            piece = piece[:rng.randrange(1, len(piece) + 1)] + rng.randbytes(rng.randrange(64))
            file.seek(end % SEGMENT)
            file.write(piece)
        why = starts(server)
        verdict = verify(server, copy.deepcopy(oracles)) if not why else None
        if why or verdict.bad():
            bad.append(why or verdict.told[:2])
        server.kill()
    checks.check(not bad, "a torn end does not keep the server from starting (%d of %d)" % (
        wanted - len(bad), wanted), bad[:2])


def cut_log(server, base, wanted, rng, checks):
    """The last records are damaged, which were on disk once: nothing valid is behind them."""
    records, _ = records_of(base)
    with open(os.path.join(base, "wal", "flushed"), "rb") as file:
        flushed = struct.unpack_from("<QQQ", file.read())[2]
    last = max(number for number, lsn in enumerate(records) if lsn < flushed - 8)
    started = []
    for _ in range(wanted):
        fresh(server, base)
        at = records[last] + rng.randrange(8)
        with open(segment_path(server.data, at), "r+b") as file:
            file.seek(at % SEGMENT)
            file.write(bytes(SEGMENT - at % SEGMENT))
        why = starts(server)
        if "had been on disk up to" not in why:
            started.append(why)
        server.kill()
    checks.check(not started, "an end that was on disk and is gone is refused (%d of %d)" % (
        wanted - len(started), wanted), started[:2])


def accept_loss(server, base, rng, checks):
    records, _ = records_of(base)
    fresh(server, base)
    lsn = records[len(records) // 2]
    flip(segment_path(server.data, lsn), lsn % SEGMENT + 40, rng)
    refused = starts(server)
    server.kill()
    server.arguments = ["--set", "wal.accept_loss=true"]
    why = starts(server)
    server.arguments = []
    said = [line for line in server.log().splitlines() if "accept_loss" in line]
    checks.check(refused and not why and said and "accept_loss" in refused,
                 "wal.accept_loss leaves the damaged part of a log behind, and says so",
                 (refused, why, said))
    if why:
        return
    client = client_of(server)
    client["flips"]["after"].insert_many([{"_id": i} for i in range(100)])
    client.close()
    server.kill()
    why = starts(server)
    client = client_of(server)
    count = client["flips"]["after"].count_documents({}) if not why else 0
    client.close()
    checks.check(not why and count == 100, "what is written after that survives a kill", why)
    server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=1000 if FULL else 100)
    parser.add_argument("--log", type=int, default=200 if FULL else 20)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    print("# seed %d" % seed, flush=True)
    rng = random.Random(seed)
    checks = Checks()
    with Server({"memory.shared_buffers": "4MB"}) as server:
        base = os.path.join(server.directory, "base")
        files = make(server, rng)
        os.rename(server.data, base)
        few = max(4, options.pages // 20)
        flip_collection(server, base, files, options.pages - 2 * few, rng, checks)
        flip_alone(server, base, "the catalog", CATALOG, few, rng, checks)
        flip_alone(server, base, "the fates of transactions", (1,), few, rng, checks)
        flip_harmless(server, base, options.pages, rng, checks)
        flip_control(server, base, few, rng, checks)
    with Server({"memory.shared_buffers": "4MB"}) as server:
        base = os.path.join(server.directory, "base")
        server.start()
        prepare(server)
        oracles = load(server, [Oracle(n) for n in range(oracle.CLIENTS)], seed, True, 1.5)
        os.rename(server.data, base)
        print("# the log's part: %d acknowledged" % totals(oracles)["acked"], flush=True)
        flip_log(server, base, oracles, options.log, rng, checks)
        tear_log(server, base, oracles, max(4, options.log // 4) if not FULL else options.log, rng,
                 checks)
        cut_log(server, base, max(4, options.log // 4), rng, checks)
        accept_loss(server, base, rng, checks)
    checks.done()


if __name__ == "__main__":
    main()

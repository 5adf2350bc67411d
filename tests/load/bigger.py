#!/usr/bin/python3
"""More data than memory: shared_buffers of 16 MiB and 1 GiB of documents (FULL=1), else 2 MiB and
64 MiB.

Documents with a hash of themselves are inserted by several clients at once, read back by scan, by
`_id` and by an index, half of them changed, a tenth deleted, and read again after a kill.  Memory
of all processes must stay near shared_buffers all the while.
"""
import hashlib
import multiprocessing
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import FULL, MIB, Checks, Server, gneiss  # noqa: E402

POOL, DATA = (16 * MIB, 1024 * MIB) if FULL else (2 * MIB, 64 * MIB)
WRITERS = 4
BATCH = 100


def content(number, version):
    """Text that the number and version determine: 500 bytes to 8 KB, seldom 100 KB."""
    rng = random.Random(number * 31 + version)
    size = 100000 if number % 500 == 7 else rng.randrange(500, 8000)
    word = hashlib.sha256(b"%d.%d" % (number, version)).hexdigest()
    return (word * (size // 64 + 1))[:size]


def document(number, version=0):
    text = content(number, version)
    return {"_id": number, "group": number % 97, "version": version, "text": text,
            "hash": hashlib.sha1(text.encode()).hexdigest()}


def total_documents():
    sample = sum(len(content(number, 0)) + 120 for number in range(500)) / 500
    return int(DATA / sample)


def good(doc, number, version):
    return (doc["_id"] == number and doc["version"] == version and
            hashlib.sha1(doc["text"].encode()).hexdigest() == doc["hash"] and
            doc["text"] == content(number, version))


def connect(port):
    import pymongo
    client = pymongo.MongoClient("127.0.0.1", port, directConnection=True)
    return client, client.big.docs


def insert(port, first, last):
    client, docs = connect(port)
    for start in range(first, last, BATCH):
        docs.insert_many([document(number) for number in range(start, min(start + BATCH, last))])
    client.close()


def change(port, first, last):
    """Every second one gets new content, every tenth goes."""
    client, docs = connect(port)
    for number in range(first, last):
        if number % 10 == 3:
            assert docs.delete_one({"_id": number}).deleted_count == 1
        elif number % 2 == 0:
            new = document(number, 1)
            done = docs.update_one({"_id": number}, {"$set": {
                "version": 1, "text": new["text"], "hash": new["hash"]}})
            assert done.modified_count == 1
    client.close()


def in_parallel(function, port, total):
    share = -(-total // WRITERS)
    with multiprocessing.Pool(WRITERS) as pool:
        pool.starmap(function, [(port, at, min(at + share, total)) for at in range(0, total, share)])


def verify(port, total, changed):
    """Everything by a scan, some by _id, some by the index."""
    def version(number):
        return 1 if changed and number % 2 == 0 else 0

    def expected(number):
        return not (changed and number % 10 == 3)
    client, docs = connect(port)
    seen = set()
    for doc in docs.find({}):
        assert doc["_id"] not in seen, "twice: %d" % doc["_id"]
        seen.add(doc["_id"])
        assert good(doc, doc["_id"], version(doc["_id"])), "damaged: %d" % doc["_id"]
    assert seen == {number for number in range(total) if expected(number)}, "%d seen" % len(seen)
    rng = random.Random(1)
    for _ in range(1000):
        number = rng.randrange(total)
        doc = docs.find_one({"_id": number})
        assert (doc is not None) == expected(number), number
        assert doc is None or good(doc, number, version(number)), number
    for group in (0, 50, 96):
        found = sorted(doc["_id"] for doc in docs.find({"group": group}))
        assert found == [n for n in range(group, total, 97) if expected(n)], group
    assert docs.estimated_document_count() == len(seen)
    client.close()
    return len(seen)


def main():
    checks = Checks()
    total = total_documents()
    settings = {"memory.shared_buffers": POOL, "memory.wal_buffers": "1MB",
                "wal.max_wal_size": "256MB" if FULL else "64MB"}
    with Server(settings) as server:
        server.start()
        port = server.port["mongo"]
        client, docs = connect(port)
        docs.create_index("group")
        client.close()
        peak = [0]

        def measured(function, *arguments):
            def step():
                began = time.monotonic()
                result = function(*arguments)
                peak[0] = max(peak[0], server.pss())
                return result if isinstance(result, str) else "%.0f documents/s" % (
                    total / (time.monotonic() - began))
            return step

        def run(name, function, *arguments):
            step = measured(function, *arguments)
            step.__doc__ = name
            return checks.run(step)
        size = "%d MiB of documents in %d MiB of shared_buffers" % (DATA // MIB, POOL // MIB)
        run("inserted %s" % size, in_parallel, insert, port, total)
        run("all of them read back whole", verify, port, total, False)
        run("half changed, a tenth deleted", in_parallel, change, port, total)
        run("all of them read back whole, after the changes", verify, port, total, True)
        server.kill()
        took = server.start()
        checks.check(True, "started again after kill -9 in %.2f s" % took)
        run("all of them read back whole, after the kill", verify, port, total, True)
        checks.check(peak[0] - POOL < 50 * MIB,
                     "memory besides shared_buffers under this load: %.1f MiB" % ((peak[0] - POOL) / MIB))
        checks.check(server.stop() == 0, "TERM: exit 0")
        done = gneiss("check", server.data)
        checks.check(done.returncode == 0, "gneiss check finds nothing", done.stdout + done.stderr)
        checks.check(not server.crashes(), "nothing crashed", server.crashes()[:3])
    checks.done()


if __name__ == "__main__":
    main()

"""Rows that compare Gneiss with itself or with a limit: protocol, scale, restart."""
import os
import shutil
import struct
import subprocess
import time

import rows
import servers
from workers import Asked, Worker, calibrate, rate, take_turns


def _result(group, name, kind, clock, unit, rounds, bars, **more):
    return {"group": group, "name": name, "kind": kind, "clock": clock, "unit": unit,
            "rates": {peer: [rate(one, clock, unit) for one in slices]
                      for peer, slices in rounds.items()}, "bars": bars, **more}


# ---- protocol ----
def protocol(options):
    worker = Asked(os.path.join(options.programs, "protocol"))
    results = []
    for row in rows.PROTOCOL:
        if not options.wanted(row["name"]):
            continue
        options.progress(row["name"])
        verbs = {"gneiss": row["verb"], **row.get("against", {})}
        count = 1000 if options.smoke else calibrate(
            lambda count, row=row: worker.do(row["verb"], "-", count), options.slice_seconds / 4,
            10000, 10 ** 9)
        rounds = take_turns(list(verbs), lambda peer, verbs=verbs: worker.do(
            verbs[peer], "-", count), options.rounds, options.beats(row, 2))
        result = _result("protocol", row["name"], "", "cpu", "operations", rounds, row["bars"],
                         either=True)
        for name, limit in row["limits"].items():
            result["rates"][name] = [limit] * options.rounds
        results.append(result)
    worker.close()
    return results


# ---- scale ----
def _filled(options, documents, cache, peer="gneiss", kind="small"):
    worker = Worker(peer, options.programs, options.below, kind, documents, cache)
    worker.do("durable", count=0)
    worker.do("batch", "docs", documents)
    worker.do("settle")
    options.progress("%s has %s documents" % (peer, format(documents, ",")))
    return worker


def _get_and_insert(options, small, large, documents):
    """The same work in a large and in a small collection."""
    results = []
    workers = {"gneiss": large, "100,000 documents": small}
    for name, verb, count, bars in (
            ("get by _id", "get", int(400000 * options.slice_seconds),
             {"100,000 documents": rows.AMONG_TEN_MILLION} if documents >= 10000000 else {}),
            ("batch insert", "batch", 20000, {})):
        for worker in workers.values():
            worker.do(verb, "docs", count, 3)
        rounds = take_turns(list(workers), lambda peer, verb=verb, count=count: workers[peer].do(
            verb, "docs", count, time.monotonic_ns() % 1000003), options.rounds, 2)
        results.append(_result("scale", "%s among %s" % (name, format(documents, ",")), "", "cpu",
                               "operations", rounds, bars))
    return results


def _many_inserts(options, total, step):
    """A fresh collection grows: its first tenth and its last."""
    worker = Worker("gneiss", options.programs, options.below, "small", total, 4 << 30)
    worker.do("durable", count=0)
    slices = [worker.do("batch", "docs", step) for _ in range(total // step)]
    worker.close()
    tenth = len(slices) // 10
    rounds = {"gneiss": slices[-tenth:], "first tenth": slices[:tenth]}
    name = "last tenth of %s inserts" % format(total, ",")
    return [_result("scale", name, "wall clock", "wall", "operations", rounds,
                    {"first tenth": rows.LAST_TENTH}),
            _result("scale", name, "processor", "cpu", "operations", rounds, {})]


def _small_pool(options, documents, cache):
    """More data than memory, for every store that has a cache of its own."""
    workers = {peer: _filled(options, documents, cache, peer)
               for peer in ("gneiss", "sqlite", "wiredtiger", "rocksdb") if peer in options.peers}
    counts = {peer: calibrate(lambda count, worker=worker: worker.do("get", "docs", count, 5),
                              options.slice_seconds, 200, 10 ** 7)
              for peer, worker in workers.items()}
    rounds = take_turns(list(workers), lambda peer: workers[peer].do(
        "get", "docs", counts[peer], time.monotonic_ns() % 1000003), options.rounds, 2)
    for worker in workers.values():
        worker.close()
    return [_result("scale", "get by _id among %s, %d MiB of cache" % (
        format(documents, ","), cache >> 20), "", "wall", "operations", rounds, {})]


def scale(options):
    results, base = [], 100000
    small = _filled(options, base, 1 << 30)
    for documents in (1000000, 10000000) if options.scale else (1000000,):
        large = _filled(options, documents, 6 << 30)
        results += _get_and_insert(options, small, large, documents)
        large.close()
    small.close()
    options.progress("5,000,000 inserts")
    results += _many_inserts(options, 5000000, 100000)
    results += _small_pool(options, 1000000, 32 << 20)
    return results


# ---- restart ----
GIB = 1 << 30
TEXT = "granite gneiss schist marble slate quartz feldspar mica basalt chert " * 6


def _log_size(server):
    """By its last segment: the name of one that is being made ends in .new."""
    last = max(name for name in os.listdir(os.path.join(server.server.data, "wal"))
               if len(name) == 16)
    return int(last, 16) * servers.SEGMENT


def _fill_gneiss(server, size):
    """Documents of 500 bytes, 1,000 a commit, until the log has grown so far."""
    import bson
    before, number = _log_size(server), 0
    one = bytearray(bson.encode({"_id": bson.Int64(0), "age": 1, "text": TEXT[:450]}))
    with servers.testwire.Mongo(server.port("mongo")) as mongo:
        while _log_size(server) - before < size:
            batch = []
            for number in range(number, number + 1000):
                struct.pack_into("<q", one, 9, number)
                batch.append(bytes(one))
            number += 1
            mongo.ask({"insert": "grow"}, "bench",
                      servers.testwire.section1("documents", batch))
    return number


def _fill_postgres(server, size):
    start = server.ask("SELECT pg_current_wal_lsn()")
    number, step = 0, 50000
    while int(server.ask("SELECT (pg_current_wal_lsn() - '%s'::pg_lsn)::bigint" % start)) < size:
        server.ask("INSERT INTO grow SELECT i, jsonb_build_object('age', 1, 'text', '%s') "
                   "FROM generate_series(%d, %d) i" % (TEXT[:450], number, number + step - 1))
        number += step
    return number


def _time_restarts(options, server, fill, size):
    """Kill it after so much log since its last checkpoint; restart it again and again from there."""
    server.start(durable=True)
    server.make_tables()
    server.settle()
    documents = fill(server, size)
    server.kill()
    kept = server.data() + ".kept"
    shutil.move(server.data(), kept)
    slices = []
    for _ in range(min(options.rounds, 3)):
        subprocess.run(["cp", "-a", "--reflink=auto", kept, server.data()], check=True)
        subprocess.run(["sync", "-f", server.data()], check=True)
        began = time.monotonic()
        server.start(durable=True)
        server.first("grow")
        took = time.monotonic() - began
        found = server.count("grow")
        if found != documents:
            raise AssertionError("%s has %d of %d documents" % (server.name, found, documents))
        options.progress("%s answers after %.2f s" % (server.name, took))
        slices.append({"operations": 1, "wall": took})
        server.kill()
        shutil.rmtree(server.data())
    shutil.rmtree(kept)
    return slices


def restart(options):
    more = {"wal.max_wal_size": "16GB", "wal.checkpoint_timeout_secs": 86400}
    made = {"gneiss": (lambda: servers.Gneiss(options.below, more), _fill_gneiss)}
    if servers.installed("postgres") and options.has_peer("postgres"):
        made["postgres"] = (lambda: servers.Postgres(
            options.below, max_wal_size="16GB", checkpoint_timeout="86400s"), _fill_postgres)
    rounds = {}
    for peer, (make, fill) in made.items():
        server = make()
        try:
            rounds[peer] = _time_restarts(options, server, fill, GIB)
        finally:
            server.close()
    return [_result("restart", "from kill -9 to the first answer, 1 GiB of log", "", "wall",
                    "operations", rounds, {})]

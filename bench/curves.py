"""What settings do to Gneiss: a curve each, its points measured in turns."""
import ctypes
import os
import re
import statistics
import struct
import time
from xml.sax.saxutils import escape

import servers
from workers import Asked, Worker, calibrate, rate, take_turns

MIB = 1 << 20


def _points(rounds, clock="wall", unit="operations"):
    found = []
    for x, slices in rounds.items():
        rates = [rate(one, clock, unit) for one in slices]
        found.append({"x": x, "y": statistics.median(rates), "low": min(rates), "high": max(rates)})
    return found


def _workers(options, values, make, documents, kind="small"):
    workers = {}
    for value in values:
        cache, settings = make(value)
        os.environ["BENCH_SETTINGS"] = ";".join(settings)
        workers[value] = worker = Worker("gneiss", options.programs, options.below, kind, documents,
                                         cache)
        os.environ.pop("BENCH_SETTINGS")
        worker.do("durable", count=0)
        worker.do("batch", "docs", documents)
        worker.do("settle")
    return workers


def _measure(options, workers, verb, table, clock, beats=2):
    counts = {value: calibrate(lambda count, worker=worker: worker.do(verb, table, count, 3),
                               options.slice_seconds, 1000, 10 ** 7)
              for value, worker in workers.items()}
    rounds = take_turns(list(workers), lambda value: workers[value].do(
        verb, table, counts[value], time.monotonic_ns() % 1000003), options.rounds, beats)
    for worker in workers.values():
        worker.close()
    return _points(rounds, clock)


def shared_buffers(options):
    documents = 100000 if options.quick else 1000000
    workers = _workers(options, [8, 16, 32, 64, 128, 256], lambda value: (value * MIB, []), documents)
    return {"name": "shared_buffers", "x": "MiB", "y": "gets/s",
            "about": "get by _id at random among %s small documents, by the processor's time" %
                     format(documents, ","),
            "points": _measure(options, workers, "get", "docs", "cpu")}


def wal_buffers(options):
    workers = _workers(options, [0.25, 1, 4, 16, 64], lambda value: (
        1024 * MIB, ["memory.wal_buffers=%d" % int(value * MIB)]), 1000, "large")
    for worker in workers.values():
        worker.do("durable", count=1)
    return {"name": "wal_buffers", "x": "MiB", "y": "documents/s",
            "about": "inserts of 4 KiB documents, 1,000 a commit, each commit on disk",
            "points": _measure(options, workers, "batch", "grow", "wall", 4)}


def checkpoint_timeout(options):
    """Each runs so long that all but the last have a checkpoint, so they cannot take turns within
    it; the points come twice, there and back."""
    documents, seconds = 200000, 6 if options.quick else 22
    values = [5, 300] if options.quick else [5, 10, 20, 300]
    rounds = {value: [] for value in values}
    for value in values + values[::-1]:
        workers = _workers(options, [value], lambda value: (
            1024 * MIB, ["wal.checkpoint_timeout_secs=%d" % value]), documents, "medium")
        worker, done = workers[value], {"operations": 0, "wall": 0.0, "cpu": 0.0}
        while done["wall"] < seconds:
            took = worker.do("update", "docs", 2000, time.monotonic_ns() % 1000003)
            done = {key: done[key] + took[key] for key in done}
        worker.close()
        rounds[value].append(done)
    return {"name": "checkpoint_timeout", "x": "s", "y": "updates/s",
            "about": "updates at random among %s documents of 500 bytes for %d s, by the processor's "
                     "time" % (format(documents, ","), seconds),
            "points": _points(rounds, "cpu")}


def spare_backends(options):
    """Fifty clients come at the same time."""
    made, clients, values = {}, {}, [1, 4, 16, 64]
    try:
        for value in values:
            folder = os.path.join(options.below, "spare-%d" % value)
            os.makedirs(folder)
            made[value] = servers.Gneiss(folder, {
                "memory.shared_buffers": "64MB", "server.spare_backends_min": value,
                "server.spare_backends_max": max(16, 2 * value)})
            made[value].start(durable=True)
            clients[value] = Asked(os.path.join(options.programs, "wire-mongo"),
                                   made[value].port("mongo"), 1000)

        def slice_(value):
            took = clients[value].do("connect", "-", 50, 1)
            clients[value].do("connect", "-", 0, 1)
            time.sleep(0.5)  # the spare ones are made anew
            return took

        rounds = take_turns(values, slice_, options.rounds, 2)
    finally:
        for client in clients.values():
            client.close()
        for server in made.values():
            server.close()
    return {"name": "spare_backends", "x": "spare_backends_min", "y": "connections/s",
            "about": "fifty clients connect and say hello, one after the other",
            "points": _points(rounds)}


def _huge_mib(pid):
    """How much of a process's memory lies on huge pages, private or shared."""
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
        found = re.findall(r"^(?:AnonHugePages|ShmemPmdMapped): +(\d+) kB", file.read(), re.M)
    return sum(int(kib) for kib in found) // 1024


def _by_huge_pages(points, measured):
    """Points whose x is what was found instead of what was asked for."""
    return [{**point, "x": measured[point["x"]]} for point in points]


def huge_pages_library(options):
    """The same library twice, once in a process that the kernel gives no huge pages."""
    documents, workers, measured = 100000 if options.quick else 1000000, {}, {}
    for wanted in (False, True):
        ctypes.CDLL(None).prctl(41, int(not wanted), 0, 0, 0)  # PR_SET_THP_DISABLE, inherited
        workers.update(_workers(options, [wanted], lambda _: (1024 * MIB, []), documents))
    for wanted, worker in workers.items():
        measured[wanted] = _huge_mib(worker.process.pid)
    return {"name": "huge_pages_library", "x": "MiB on huge pages", "y": "gets/s",
            "about": "the library, get by _id at random among %s small documents, without and with "
                     "huge pages, by the processor's time" % format(documents, ","),
            "points": _by_huge_pages(_measure(options, workers, "get", "docs", "cpu"), measured)}


def _fill(server, documents):
    """Small documents, 1,000 a commit."""
    import bson
    one = bytearray(bson.encode({"_id": bson.Int64(0), "name": "granite ", "age": 1, "active": True}))
    with servers.testwire.Mongo(server.port("mongo")) as mongo:
        for first in range(0, documents, 1000):
            batch = []
            for number in range(first, first + 1000):
                struct.pack_into("<q", one, 9, number)
                batch.append(bytes(one))
            mongo.ask({"insert": "docs"}, "bench", servers.testwire.section1("documents", batch))


def huge_pages_server(options):
    """Two servers, each with a /dev/shm of its own that nobody else sees."""
    documents, made, clients, measured = 100000 if options.quick else 1000000, {}, {}, {}
    verb, clients_count, pipeline = "get", 8, 16
    try:
        for wanted, huge in ((False, "never"), (True, "advise")):
            folder = os.path.join(options.below, "huge-" + huge)
            os.makedirs(folder)
            server = made[wanted] = servers.Gneiss(folder)
            server.server.wrapper = [
                "unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=2g,huge=%s none /dev/shm && "
                "exec \"$@\"" % huge, "sh"]
            server.start(durable=False)
            _fill(server, documents)
            measured[wanted] = _huge_mib(server.process.pid)
            clients[wanted] = Asked(os.path.join(options.programs, "wire-mongo"),
                                    server.port("mongo"), documents)
            clients[wanted].do("connect", "-", clients_count, pipeline)

        def slice_(wanted):
            pid = made[wanted].process.pid
            before = servers.processor_of(pid)
            took = clients[wanted].do(verb, "docs", count, time.monotonic_ns() % 1000003)
            return {**took, "cpu": servers.processor_of(pid) - before}

        count = calibrate(lambda count: clients[True].do(verb, "docs", count, 3),
                          options.slice_seconds, 1000, 10 ** 7)
        rounds = take_turns([False, True], slice_, options.rounds, 4)
    finally:
        for client in clients.values():
            client.close()
        for server in made.values():
            server.close()
    return {"name": "huge_pages_server", "x": "MiB on huge pages", "y": "gets/s",
            "about": "the server, get by _id at random among %s small documents, %d clients with %d "
                     "requests each under way, /dev/shm mounted with huge=never and huge=advise, by "
                     "the server's processor time" %
                     (format(documents, ","), clients_count, pipeline),
            "points": _by_huge_pages(_points(rounds, "cpu"), measured)}


CURVES = {"shared_buffers": shared_buffers, "huge_pages_library": huge_pages_library,
          "huge_pages_server": huge_pages_server, "wal_buffers": wal_buffers,
          "checkpoint_timeout": checkpoint_timeout, "spare_backends": spare_backends}


def run(options):
    found = []
    for name, curve in CURVES.items():
        if options.wanted(name):
            options.progress(name)
            found.append(curve(options))
    return found


def table(curve):
    lines = ["| %s, %s | %s | spread |" % (curve["name"], curve["x"], curve["y"]), "|---|---|---|"]
    for point in curve["points"]:
        lines.append("| %g | %s | %s to %s |" % (point["x"], format(round(point["y"]), ","),
                                                 format(round(point["low"]), ","),
                                                 format(round(point["high"]), ",")))
    return "%s:\n\n%s" % (curve["about"][0].upper() + curve["about"][1:], "\n".join(lines))


def plot(curve, path):
    """A line with its spread; the points stand at equal distances, as their values were chosen."""
    points, left, top, width, height = curve["points"], 70, 40, 420, 200
    highest = max(point["high"] for point in points) * 1.1

    def at(i, value):
        return (left + width * (i + 0.5) / len(points), top + height * (1 - value / highest))

    out = ['<text x="%d" y="20">%s</text>' % (left, escape(curve["about"]))]
    for part in range(5):
        value = highest * part / 4
        y = at(0, value)[1]
        out.append('<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s'
                   '</text>' % (left, y, width, left - 5, y + 3, format(round(value), ",")))
    for i, point in enumerate(points):
        x, low = at(i, point["low"])
        out.append('<path d="M%.1f %.1fV%.1f" stroke="#4c72b0"/><text x="%.1f" y="%d" '
                   'text-anchor="middle">%g</text>' %
                   (x, low, at(i, point["high"])[1], x, top + height + 15, point["x"]))
    out.append('<polyline fill="none" stroke="#4c72b0" stroke-width="2" points="%s"/>' % " ".join(
        "%.1f,%.1f" % at(i, point["y"]) for i, point in enumerate(points)))
    out.append('<text x="%d" y="%d" text-anchor="middle">%s, %s</text>' %
               (left + width // 2, top + height + 32, escape(curve["name"]), escape(curve["x"])))
    with open(path, "w", encoding="utf-8") as file:
        file.write('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
                   'font-family="sans-serif" font-size="11"><rect width="100%%" height="100%%" '
                   'fill="white"/>%s</svg>\n' % (left + width + 20, top + height + 45,
                                                "\n".join(out)))

#!/usr/bin/python3
"""Leave out one thing at a time (base/lists/mutants.def), and see that a test turns red for each.

Who finds a mutant stands in FINDERS: cells of the sweep, a race of this file, a unit test, or the
game of tests/model.  All but the sweep are run without the mutant, too, and must be green then.  A
sync that is left out (WAL_SYNC, …) is a mutant as well: syncs.py cuts the power, with it and without.

    ./dev mutants [MUTANT…] [--syncs 2] [--seed N]

--syncs: only so many of the syncs, chosen by the seed.
"""
import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

os.environ.setdefault("BUILD", "build-faults")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import disk  # noqa: E402
import faultload  # noqa: E402
import sweep  # noqa: E402
import syncs  # noqa: E402
from faultload import COLLECTION, Wire, burn  # noqa: E402
from server import BUILD, ROOT, SLOW, become_subreaper  # noqa: E402

faultload.HANG = 6 * SLOW


# ---- races: each yields what is wrong ----
def two_documents(server):
    wire = Wire(server)
    wire.write({"insert": COLLECTION, "documents": [{"_id": i, "v": 0} for i in range(2)]})
    return wire


def in_background(call, *arguments):
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    return thread


def half_a_commit(server):
    """While a commit has drawn its number and not shown it: a snapshot sees all of it or nothing."""
    writer, reader, points = two_documents(server), Wire(server), sweep.Points(server)
    points.ask("COMMIT_DRAWN=delay")
    update = in_background(writer.write, {"update": COLLECTION, "updates": [
        {"q": {}, "u": {"$set": {"v": 1}}, "multi": True}]})
    cursors = []
    while update.is_alive():
        reply = reader.ask({"find": COLLECTION, "sort": {"_id": 1}, "batchSize": 1})["cursor"]
        cursors.append((reply["id"], reply["firstBatch"][0]["v"]))
    points.ask("COMMIT_DRAWN=off")
    wrong = []
    for cursor, first in cursors:
        rest = reader.ask({"getMore": cursor, "collection": COLLECTION})["cursor"]["nextBatch"]
        if rest[0]["v"] != first:
            wrong.append("a snapshot saw %d, then %d" % (first, rest[0]["v"]))
    return wrong


def late_snapshot(server):
    """While a reader has read its number and not published it: what it needs may be pruned, and it
    must notice."""
    writer, reader, points = two_documents(server), Wire(server), sweep.Points(server)
    reader.ask({"find": COLLECTION})
    wrong = []
    for _ in range(5):
        found = []
        points.ask("SNAPSHOT_TAKEN=stop:1:backend")
        asked = in_background(lambda: found.append(
            reader.ask({"find": COLLECTION})["cursor"]["firstBatch"]))
        sweep.wait_until(lambda: sweep.stopped_process(server), sweep.DEADLINE, "it stops")
        for n in range(300):
            writer.write({"update": COLLECTION, "updates": [
                {"q": {"_id": 1}, "u": {"$set": {"v": n, "p": "x" * 900}}}]})
        os.kill(sweep.stopped_process(server), signal.SIGCONT)
        asked.join()
        if not found or len(found[0]) != 2:
            wrong.append("a scan saw %s of 2 documents" % (len(found[0]) if found else "nothing"))
    return wrong


def old_entry(server):
    """While a reader is about to read an entry of the ring: it is given to another number."""
    wire, reader, points = Wire(server), Wire(server), sweep.Points(server)
    reader.ask({"find": COLLECTION})
    wire.write({"insert": COLLECTION, "documents": [{"_id": 1}]})
    found = []
    points.ask("RING_READ=stop:1")
    asked = in_background(lambda: found.append(
        reader.ask({"find": COLLECTION})["cursor"]["firstBatch"]))
    sweep.wait_until(lambda: sweep.stopped_process(server), sweep.DEADLINE, "it stops")
    pid = sweep.stopped_process(server)
    burn(server, 2 * sweep.RING)
    os.kill(pid, signal.SIGCONT)
    asked.join()
    return [] if found and len(found[0]) == 1 else ["a committed document was not seen"]


def ending_commit(server):
    """While a commit has drawn its number and not shown it: its granule of the ring is wanted."""
    wire, points = two_documents(server), sweep.Points(server)
    points.ask("COMMIT_DRAWN=stop:1:backend")
    written = in_background(wire.write, {"insert": COLLECTION, "documents": [{"_id": 2}]})
    sweep.wait_until(lambda: sweep.stopped_process(server), sweep.DEADLINE, "it stops")
    pid = sweep.stopped_process(server)
    burning = in_background(burn, server, 2 * sweep.RING)
    since = [time.monotonic(), None]

    def through_or_waiting():  # for a second now
        passes = [points.read()[name]["passes"] for name in ("XID_EVICTING", "XID_SPILLED")]
        if passes != since[1] or passes[0] == passes[1]:
            since[:] = [time.monotonic(), passes]
        return not burning.is_alive() or time.monotonic() - since[0] > 1

    sweep.wait_until(through_or_waiting, sweep.DEADLINE, "the ring goes round, or waits")
    os.kill(pid, signal.SIGCONT)
    written.join()
    burning.join()
    found = Wire(server).ask({"find": COLLECTION})["cursor"]["firstBatch"]
    return [] if len(found) == 3 else ["%d of 3 committed documents are seen" % len(found)]


def failed_sync(server):
    """A sync of the log fails: nobody is told that it is done, and all are restarted."""
    wire, points = two_documents(server), sweep.Points(server)
    points.ask("WAL_SYNC=eio:1")
    try:
        wire.write({"insert": COLLECTION, "documents": [{"_id": 2}]})
    except sweep.Unknown:
        return []
    return ["a write was acknowledged whose sync had failed"]


def lost_seats(server):
    """Backends die with sessions, one after the other, more of them than there may be at once."""
    points = sweep.Points(server)
    for _ in range(6):
        points.ask("ROW_PUT=kill:1:backend")
        refused = "nobody died"
        until = time.monotonic() + 3 * SLOW
        while refused and time.monotonic() < until:
            try:
                Wire(server).write({"insert": COLLECTION, "documents": [{"x": 1}]})
            except sweep.Unknown:
                refused = ""
            except faultload.Refused as error:
                refused = str(error)
                time.sleep(0.1)
        if refused:
            return [refused]
    return []


def what_is_left(ask):
    """The last answer: it is asked until there is nothing, for three seconds at most."""
    until, answer = time.monotonic() + 3 * SLOW, ask()
    while answer and time.monotonic() < until:
        time.sleep(0.05)
        answer = ask()
    return answer


def unseen_drop(server):
    """A backend dies when its drop is committed: another that knows the collection is told."""
    wire, points = two_documents(server), sweep.Points(server)

    def documents():
        return len(wire.ask({"find": COLLECTION})["cursor"]["firstBatch"])

    documents()
    points.ask("CATALOG_COMMITTED=kill:1:backend")
    try:
        Wire(server).ask({"drop": COLLECTION})
        return ["nobody died"]
    except sweep.Unknown:
        pass
    left = what_is_left(documents)
    return ["a dropped collection has %d documents" % left] if left else []


def unfinished_index(server):
    """A backend dies while it builds a unique index: nothing is refused for the sake of that."""
    wire, points = two_documents(server), sweep.Points(server)
    points.ask("INDEX_FILLED=kill:1:backend")
    try:
        Wire(server).ask({"createIndexes": COLLECTION, "indexes": [
            {"key": {"k": 1}, "name": "k", "unique": True, "sparse": True}]})
        return ["nobody died"]
    except sweep.Unknown:
        pass

    def refused():
        reply = wire.ask({"insert": COLLECTION, "documents": [{"k": 7}, {"k": 7}]})
        return reply.get("writeErrors", [])

    left = what_is_left(refused)
    return ["it refuses: %s" % left[0]["errmsg"]] if left else []


def lost_cursor(server):
    """A backend dies with a cursor that nobody was told of: its place is free again."""
    wire, points = two_documents(server), sweep.Points(server)
    points.ask("CURSOR_TAKEN=kill:1")
    try:
        wire.ask({"find": COLLECTION, "batchSize": 1})
        return ["nobody died"]
    except sweep.Unknown:
        pass

    def cursors():
        return Wire(server).ask({"serverStatus": 1, "held": True}, "admin")["held"]["cursors"]

    left = what_is_left(cursors)
    return ["%d cursors are left over" % left] if left else []


def flushed_commit(server):
    """A backend dies when its commit is flushed: it is a commit, though nobody was told."""
    wire, points = two_documents(server), sweep.Points(server)
    points.ask("COMMIT_FLUSHED=kill:1:backend")
    try:
        wire.write({"insert": COLLECTION, "documents": [{"_id": 2}]})
        return ["nobody died"]
    except sweep.Unknown:
        pass
    until = time.monotonic() + 3 * SLOW
    while time.monotonic() < until:
        if wire.ask({"find": COLLECTION, "filter": {"_id": 2}})["cursor"]["firstBatch"]:
            return []
        time.sleep(0.05)
    return ["a commit that is in the log was rolled back"]


# ---- who finds what ----
class Cells:
    """Cells of the sweep, point=action; each several times."""

    def __init__(self, *cells):
        self.cells = [cell.split("=") for cell in cells]

    def __str__(self):
        return "the sweep, " + ", ".join("%s=%s" % tuple(cell) for cell in self.cells)

    def run(self, template, infos):
        wrong = []
        cells = [sweep.Cell(point, action, "work", 60, infos[point]["kind"])
                 for point, action in self.cells * 3]
        for seed, cell in enumerate(cells):
            wrong += sweep.run_group(template, [cell], seed)[0].wrong
            if wrong:
                break
        return wrong


class Race:
    def __init__(self, function, **settings):
        self.function, self.settings = function, settings

    def __str__(self):
        return "mutants.py " + self.function.__name__

    def run(self, template, _infos):
        server = sweep.new_server(template)
        server.settings = {**server.settings, **self.settings}
        try:
            server.start()
            return self.function(server)
        except (sweep.Broken, AssertionError, OSError, faultload.Refused,
                sweep.Unknown) as error:
            return ["%s: %s" % (type(error).__name__, str(error)[:200])]
        finally:
            sweep.clean_up(server)


class Unit:
    def __init__(self, name):
        self.name = name

    def __str__(self):
        return "tests/unit/" + self.name

    def run(self, _template, _infos):
        try:
            done = subprocess.run([os.path.join(BUILD, "tests/unit", self.name)], timeout=60 * SLOW,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
        except subprocess.TimeoutExpired:
            return ["it hung"]
        return [] if done.returncode == 0 else ["exit code %d" % done.returncode]


class Model:
    """The game of tests/model, as its step plays it."""

    def __str__(self):
        return "tests/model"

    def run(self, _template, _infos):
        for seed in range(1, 5):
            done = subprocess.run(
                [os.path.join(BUILD, "tests/model/model"), "--seed", str(seed), "--operations", "12000",
                 "--kill-every", "3000"], timeout=300 * SLOW, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode != 0:
                text = done.stdout.decode(errors="replace")
                left = re.search("the directory is left: (.*)", text)
                if left:
                    shutil.rmtree(left.group(1), ignore_errors=True)
                return [re.sub("^.*?(DIFFERENCE|DIED)", r"\1", text, flags=re.S)]
        return []


class Program:
    """A program of tests/crash, with arguments."""

    def __init__(self, *words):
        self.words = words

    def __str__(self):
        return " ".join(self.words)

    def run(self, _template, _infos):
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tests/crash", self.words[0]),
                               *self.words[1:]],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL, check=False)
        return [] if done.returncode == 0 else [
            line for line in done.stdout.splitlines() if line.startswith("not ok")] or ["it ended badly"]


FINDERS = {
    "MEMORY_UNCHECKED": Program("allocations.py", "--only", "mongo find, sorted", "--modes", "once"),
    "LEFT_LOCK": Cells("XID_PAGES=kill"),
    "LEFT_SHARE": Unit("shmem/test_lwlock"),
    "LEFT_ASLEEP": Unit("shmem/test_lwlock"),
    "LEFT_PIN": Cells("PIN_TAKEN=kill", "PAGE_ENTERED=kill"),
    "LEFT_IO": Cells("IO_BEGUN=kill", "DATA_READ=kill"),
    "LEFT_XID": Cells("ROW_PUT=kill"),
    "LEFT_COMMIT": Race(flushed_commit),
    "LEFT_SNAPSHOT": Cells("ROW_PUT=kill"),
    "LEFT_CURSOR": Race(lost_cursor),
    "LEFT_FILE": Program("deaths.py", "saved_sorts"),
    "LEFT_PLACE": Unit("storage/txn/test_txn_many"),
    "LEFT_EDGE": Unit("storage/txn/test_txn_many"),
    "LEFT_CATALOG": Race(unseen_drop),
    "LEFT_BUILD": Race(unfinished_index),
    "LEFT_SEAT": Race(lost_seats, **{"server.max_connections": 4}),
    "LEFT_GENERATION": Unit("shmem/test_proc"),
    "LEFT_SLOT": Cells("ROW_PUT=kill"),
    "LEFT_CRIT": Cells("LOGGED_WAL_HEAP_INSERT=kill"),
    "COMMIT_UNMARKED": Race(half_a_commit),
    "WANTED_UNCHECKED": Race(late_snapshot),
    "RING_UNCHECKED": Race(old_entry),
    "PEEK_UNCHECKED": Unit("storage/page/test_peek"),
    "COMMIT_UNAWAITED": Race(ending_commit),
    "PAGE_BEFORE_LOG": Unit("storage/page/test_pool"),
    "END_BELIEVED": Program("badsync.py", "--only", "tail"),
    "SYNC_AGAIN": Race(failed_sync),
    "UPDATE_LEAVES_INDEX": Model(),
    "KEYS_UNCOMPARED": Model(),
    "ARRAYS_UNANNOUNCED": Model(),
    "RANGE_DESCENDING": Model(),
    "SPARSE_FOR_NULL": Model(),
    "ARRAY_ORDER": Model(),
    "RANGES_UNTURNED": Model(),
    "SORT_LIMIT": Model(),
    "TEXT_UNBOUNDED": Unit("base/wire/test_textline"),
    "JSON_UNBOUNDED": Unit("base/doc/test_jsonparse"),
    "OPMSG_UNBOUNDED": Unit("base/wire/test_opmsg"),
    "BSON_UNBOUNDED": Unit("base/doc/test_bsonwalk"),
    "BSON_TEXT_UNBOUNDED": Unit("base/doc/test_bsonwalk"),
}


def in_list():
    with open(os.path.join(ROOT, "base/lists/mutants.def"), encoding="utf-8") as file:
        return re.findall(r'^MUTANT\((\w+), "(.*)"\)', file.read(), re.M)


def main():
    become_subreaper()
    parser = argparse.ArgumentParser()
    parser.add_argument("mutants", nargs="*")
    parser.add_argument("--syncs", type=int)
    parser.add_argument("--seed", type=int, default=random.randrange(10000))
    arguments = parser.parse_args()
    wanted = arguments.mutants
    if arguments.syncs is not None:
        print("# seed %d" % arguments.seed, flush=True)
        wanted = random.Random(arguments.seed).sample(sorted(syncs.SCENES), arguments.syncs)
    mutants = [one for one in in_list() if not wanted or one[0] in wanted]
    points = [point for point in syncs.SCENES if not wanted or point in wanted]
    began, found, green = time.monotonic(), 0, {}
    why = disk.why_not("ext4", "xfs") if points else ""
    if why:
        print("# skipped: syncs left out: %s" % why)
        points = []
    found += sum(leave_out_a_sync(point) for point in points)
    if mutants:
        found += leave_out_each(mutants, green)
    print("# %d of %d found, %d s" % (
        found, len(mutants) + len(points), time.monotonic() - began))
    sys.exit(found != len(mutants) + len(points))


def leave_out_a_sync(point):
    with_it = syncs.run(point, False)
    without = syncs.run(point, True)
    right = bool(without) and not with_it
    print("%s %s left out: %s" % ("ok" if right else "not ok", point, (
        "after a power cut: %s" % str(without[0])[:160]) if right else
        "red with it: %s" % with_it if with_it else "no power cut shows it"), flush=True)
    return right


def leave_out_each(mutants, green):
    found = 0
    random.seed(1)
    maker, template, _ = sweep.prepare()
    try:
        with sweep.new_server(template) as server:
            server.start()
            infos = sweep.Points(server).read()
        for name, what in mutants:
            finder = FINDERS[name]
            if not isinstance(finder, Cells) and str(finder) not in green:
                green[str(finder)] = finder.run(template, infos)
            os.environ["GNEISS_MUTANT"] = name
            wrong = finder.run(template, infos)
            del os.environ["GNEISS_MUTANT"]
            right = bool(wrong) and not green.get(str(finder))
            found += right
            print("%s %s (%s): %s" % (
                "ok" if right else "not ok", name, what,
                "%s: %s" % (finder, str(wrong[0])[:160]) if right else
                "%s is red without it: %s" % (finder, green[str(finder)]) if wrong else
                "%s does not see it" % finder), flush=True)
    finally:
        sweep.clean_up(maker)
    return found


if __name__ == "__main__":
    main()

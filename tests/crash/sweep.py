#!/usr/bin/python3
"""The sweep: every fault point times every action that makes sense there, under load.

For each cell: a server works for a few clients (faultload.py) on a small pool, the point is armed,
hit, and what follows must be what base/lists/faults.def predicts: cleaned up, or all restarted, or
an error to one client.  Then all documents and definitions are compared with what the clients know,
every collection is validated, and locks, pins, places and slots are counted: none is left.  Cells
follow each other on one server until it has to be made anew; then it is killed as a whole, checked
by `gneiss check`, started again, and compared once more.

Points that are passed at a start or when a data directory is made are armed there by environment; a
start that dies is begun again until it comes through.

A point that nothing passes fails the sweep, and so does a fault that did not happen twice.

    ./dev crash [POINT…] [--seed N] [--short]

--short: each point once with kill, and of all other cells one in six by the seed.
"""
import argparse
import concurrent.futures
import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

os.environ.setdefault("BUILD", "build-faults")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from faultload import COLLECTION, Load, Wire, burn, make_burnt, verify  # noqa: E402
from oracle import Unknown  # noqa: E402
from server import SLOW, Server, StartFailed, become_subreaper, gneiss, wait_for  # noqa: E402
from wire import Json, Mongo, Refused  # noqa: E402

# What no server passes, and why.
UNREACHED = {
    "DATA_TRUNCATE": "nobody cuts a heap yet",
    "TREE_FILLED": "indexes are built by inserting",
    "CHANGED_WAL_FILE_TRUNCATE": "nobody cuts a heap yet",
    "LOGGED_WAL_FILE_TRUNCATE": "nobody cuts a heap yet",
    "CHANGED_WAL_NOOP": "nobody fills space",
    "LOGGED_WAL_NOOP": "nobody fills space",
    "CHANGED_WAL_HASH_INDEX": "there are no hash indexes yet",
    "LOGGED_WAL_HASH_INDEX": "there are no hash indexes yet",
}
# A failed write or sync of these is a panic: the server stops and recovers.
PANICS = {(point, action) for point in (
              "WAL_WRITE", "WAL_SYNC", "DATA_SYNC", "CONTROL_SYNC", "DIR_SYNC")
          for action in ("eio", "enospc")}
# Points that a load passes seldom: what else is armed, or done before.
HELP = {
    "LOCK_ASLEEP": "LOGGED_WAL_HEAP_INSERT=delay:5",
    "LOCK_FREED": "LOGGED_WAL_HEAP_INSERT=delay:5",
}
NEWCOMERS = {"CLIENT_WAITS"}  # clients that come and go pass these
BURN = {"XID_EVICTING", "XID_SPILLED"}  # so many numbers are used up before
FRESH = ("WAL_CREATE", "WAL_MADE", "WAL_SWITCH", "WAL_RECYCLE", "WAL_UNLINK", "WAL_IMAGE",
         "FILE_RENAME", "XID_BOUND", "XID_PAGES", "XID_EXTEND", "VACUUM_SWEEP")  # only a directory that was just copied comes to these soon
SETTINGS = {
    "memory.shared_buffers": 1 << 20, "memory.wal_buffers": 1 << 18, "memory.work_mem": 1 << 16,
    "wal.max_wal_size": 32 << 20, "wal.checkpoint_timeout_secs": 5,
    "wal.checkpoint_completion_percent": 10, "wal.writer_delay_ms": 50,
    "storage.buffer_writer_delay_ms": 20, "storage.autovacuum_naptime_secs": 1,
    "mongo.cursor_timeout_secs": 8, "server.sessions_per_backend": 5,
    "server.spare_backends_min": 2,
}
RING = 4096
DEADLY = ("kill", "torn", "eio", "enospc", "error")  # to a start
DEADLINE = 60 * SLOW
SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None


class Broken(Exception):
    """What a cell found wrong."""


class Void(Broken):
    """The fault did not happen: nothing is known of the cell."""


# ---- a server and its points ----
def new_server(template=None, faults=""):
    server = Server(settings=SETTINGS, directory=tempfile.mkdtemp(prefix="sweep-", dir=SCRATCH))
    if template is not None:
        shutil.copytree(template, server.data)
    return arm_at_start(server, faults)


def arm_at_start(server, faults, ring=RING):
    server.wrapper = ["env", "GNEISS_TXN_RING=%d" % ring, "GNEISS_FAULTS=" + faults]
    return server


class Points:
    """The fault points of a running server, over a session that is made anew when it breaks."""

    def __init__(self, server):
        self.wire = Wire(server)

    def ask(self, text, seconds=DEADLINE):
        until = time.monotonic() + seconds
        while True:
            try:
                return self.wire.ask({"faultPoint": text}, "admin").get("points")
            except Unknown as error:
                if self.wire.hung or time.monotonic() > until:
                    raise Broken("no answer from the server: %s" % error) from error
                time.sleep(0.02)

    def read(self):
        return self.ask("")


def wait_until(condition, seconds, what, error=Broken):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise error("after %d s still not: %s" % (seconds, what))
        time.sleep(0.02)


# ---- the directory that every cell begins with ----
def prepare():
    """Documents, an overflow chain that nobody owns, a log that is about to change its segment, and
    transaction numbers that are about to need a new page of fates."""
    server = new_server()
    server.start()
    passes = {"make": {name: point["passes"] for name, point in Points(server).read().items()}}
    wire = Wire(server)
    wire.ask({"create": COLLECTION})
    wire.ask({"createIndexes": COLLECTION, "indexes": [
        {"key": {"client": 1}, "name": "client"}, {"key": {"n": 1}, "name": "n"}]})
    make_burnt(server)
    lose_an_overflow_chain(server)
    with Json(server.port["json"]) as json:
        while json.ask("server_status")["wal_lsn"] % (16 << 20) < (15 << 20):
            wire.write({"insert": "filler", "documents": [
                {"x": random.randbytes(60000)} for _ in range(10)]})
    wire.ask({"drop": "filler"})
    wire.close()
    server.stop()
    # A start's first write takes a granule of numbers, an eighth of the ring: until that needs
    # another page of fates.
    for ring in [8 * RING] * 6 + [RING] * 24:
        arm_at_start(server, "", ring)
        shutil.copytree(server.data, server.data + ".before")
        server.start()
        Wire(server).write({"insert": "filler", "documents": [{}]})
        points = Points(server).read()
        server.stop()
        if points["CHANGED_WAL_IMAGE"]["passes"] > 0:
            break
        shutil.rmtree(server.data + ".before")
    else:
        raise Broken("no start needed a page of fates")
    return server, server.data + ".before", passes


def lose_an_overflow_chain(server):
    points = Points(server)
    points.ask("OVERFLOW_WHOLE=kill:1")
    try:
        Wire(server).write({"insert": COLLECTION, "documents": [{"x": random.randbytes(50000)}]})
    except Unknown:
        return
    raise Broken("the backend was not killed")


def kill_and_leave_an_orphan(server):
    """And a log segment that was not finished."""
    server.kill()
    for name in ("data/f0/00fffff0", "wal/0000000000000fff.new"):
        with open(os.path.join(server.data, name), "wb"):
            pass


def calibrate(template, made):
    """How often a start after a crash, and a round of all that the load does, pass each point."""
    seldom = set(UNREACHED) | {name for name, passes in made.items() if passes > 0}
    with new_server(template) as server:
        server.start()
        load = Load(server, 1)
        load.start()
        time.sleep(0.5)
        kill_and_leave_an_orphan(server)
        load.stop()
        server.start()
        started = Points(server).read()
    with new_server(template) as server:
        server.start()
        before = Points(server).read()
        load = Load(server, 2, killer=True)
        load.start()
        wait_for(lambda: load.changer.turn >= 8, DEADLINE, "the load does all it can, once")
        Points(server).ask(",".join(sorted(set(HELP.values()))))
        burn(server, RING + RING // 8)
        wait_for(lambda: load.changer.turn >= 48, 2 * DEADLINE, "the load does all it can again")
        after = Points(server).read()
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until and any(
                point["passes"] == 0 and started[name]["passes"] == 0 and name not in seldom
                for name, point in after.items()):
            time.sleep(0.5)  # cursors that were left open hold vacuum back for a while
            after = Points(server).read()
        load.stop()
    return ({name: point["passes"] for name, point in started.items()},
            {name: after[name]["passes"] - before[name]["passes"] for name in after}, after)


# ---- cells ----
class Cell:
    def __init__(self, point, action, phase, passes, kind, elsewhere=False):
        self.point, self.action, self.phase = point, action, phase
        self.passes, self.kind = passes, kind
        self.elsewhere = elsewhere  # a start passes the point not always, and the load does too
        self.outcome, self.wrong, self.void = "", [], False

    def __str__(self):
        return "%s=%s (%s)" % (self.point, self.action, self.phase)


def is_fresh(cell):
    return any(part in cell.point for part in FRESH)


def at_rest(server):
    """Nothing may be held when nobody works; yields what is, after a while."""
    held = {}

    def rests():
        nonlocal held
        with Mongo(server.port["mongo"]) as mongo:
            status = mongo.ask({"serverStatus": 1, "held": True}, "admin")["held"]
        held = {name: status[name] for name in (
            "locks", "pins", "pinsCounted", "io", "places", "transactions", "critical",
            "slotsDead") if status[name] != 0}
        if status["snapshots"] > status["cursors"]:
            held["snapshots"] = status["snapshots"] - status["cursors"]
        return not held

    until = time.monotonic() + 3 * SLOW
    while not rests() and time.monotonic() < until:
        time.sleep(0.02)
    return ["left over: %s" % held] if held else []


def stopped_process(server):
    for pid in server.tree():
        try:
            with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
                if file.read().rpartition(")")[2].split()[0] == "T":
                    return pid
        except OSError:  # it has ended meanwhile
            pass
    return None


def let_go_of_stopped(server, rng, or_else=lambda: False):
    found = []

    def there():
        found[:] = [stopped_process(server)]
        return found[0] is not None

    wait_until(lambda: there() or or_else(), DEADLINE, "a process is stopped")
    if not there():
        return
    time.sleep(0.2)
    with contextlib.suppress(ProcessLookupError):  # an undertaker that stands is replaced
        os.kill(found[0], signal.SIGKILL if rng.random() < 0.5 else signal.SIGCONT)


def what_followed(log):
    if "restarting all" in log:
        return "restarted"
    if "cleaned up after" in log:
        return "cleaned"
    return "went on"


def predicted(cell, log):
    """What may follow, by kind and action."""
    dies = cell.action in ("kill", "torn") or "was ended by signal 9" in log
    if (cell.point, cell.action) in PANICS:
        return ("restarted",)
    if cell.point == "FILE_OPEN":
        return ("went on", "cleaned", "restarted")  # a log segment that cannot be opened is a panic
    if not dies:
        return ("went on", "cleaned")
    backend = "backend (process" in log
    if cell.kind == "CRIT":
        return ("restarted",)
    if cell.point == "SLOT_TAKE":
        return ("went on",)  # there is nothing yet
    if cell.kind in ("STEP", "ALLOC") and backend and not cell.point.startswith("BURY"):
        return ("cleaned",)
    return ("cleaned", "restarted", "went on")


def work_cell(server, cell, rng, load):
    """Run one cell on a running server; yields the load with what it knows afterwards."""
    log_at = os.path.getsize(server.log_path())
    points = Points(server)
    killer = cell.point.startswith("BURY")
    burning = threading.Thread(target=burn, args=(server, RING + 2 * RING // 8), daemon=True)
    load = Load(server, rng.randrange(1 << 30), killer=killer).take_over(load)
    if not is_fresh(cell):
        load.start()
    nth = 1 if is_fresh(cell) else rng.randint(1, max(1, min(cell.passes // 12, 40)))
    extra = "," + HELP[cell.point] if cell.point in HELP else ""
    points.ask("%s=%s:%d%s" % (cell.point, cell.action, nth, extra))
    if is_fresh(cell):
        load.start()
    if cell.point in BURN or is_fresh(cell):
        burning.start()

    def happened():
        if cell.point in NEWCOMERS:
            with contextlib.suppress(OSError):
                Json(server.port["json"]).close()
        return points.read()[cell.point]["hits"] > 0

    wait_until(happened, DEADLINE,
               "the fault happens (%s=%s:%d)" % (cell.point, cell.action, nth), Void)
    if cell.action == "stop":
        let_go_of_stopped(server, rng)
    time.sleep(0.1)
    points.read()  # it answers
    points.ask("%s=off%s" % (cell.point, ",LOGGED_WAL_HEAP_INSERT=off" if extra else ""))
    points.wire.close()
    cell.wrong += load.stop()
    if burning.ident is not None:
        burning.join(DEADLINE)
    cell.wrong += verify(load) + at_rest(server)
    with open(server.log_path(), encoding="utf-8", errors="replace") as file:
        file.seek(log_at)
        log = file.read()
    cell.outcome = what_followed(log)
    if cell.action == "kill" and "was ended by signal 9" not in log:
        cell.wrong.append("nobody died")
    if not killer and cell.outcome not in predicted(cell, log):
        cell.wrong.append("predicted %s, and it %s" % (predicted(cell, log), cell.outcome))
    if server.process.poll() is not None:
        cell.wrong.append("the server ended")
    return load


def start_cell(template, cell, rng):
    """Arm a point for a start (after a crash, or of a new directory), as often as it dies."""
    server = new_server(template if cell.phase == "start" else None)
    try:
        guarded(cell, lambda: start_and_compare(server, cell, rng))
    finally:
        clean_up(server)


def start_and_compare(server, cell, rng):
    load = Load(server, rng.randrange(1 << 30))
    if cell.phase == "start":
        server.start()
        load.start()
        time.sleep(0.2)
        kill_and_leave_an_orphan(server)
        cell.wrong += load.stop()
    for attempt in range(4):
        nth = rng.randint(1, max(1, min(cell.passes // 40, 15))) if attempt == 0 else 1
        armed = attempt == 0 or (attempt < 3 and cell.action in DEADLY)
        arm_at_start(server, "%s=%s:%d" % (cell.point, cell.action, nth) if armed else "")
        server.launch()
        if cell.action == "stop" and armed:
            let_go_of_stopped(server, rng, server.answers)
        wait_until(lambda: server.answers() or server.process.poll() is not None, DEADLINE,
                   "the server starts or ends")
        if server.process.poll() is None:
            if attempt == 0 and Points(server).read()[cell.point]["hits"] == 0:
                raise Void("the fault did not happen")
            break
        cell.outcome += "died "
        server.kill()
    cell.outcome += "started"
    Points(server).ask(cell.point + "=off")
    if cell.phase == "start":
        cell.wrong += verify(load)
    cell.wrong += at_rest(server)
    cell.wrong += check_all(server)


def check_all(server):
    server.kill()
    done = gneiss("check", server.data)
    return [] if done.returncode == 0 else ["check: " + (done.stdout + done.stderr)[-300:]]


def run_and_repeat(job):
    """Cells whose fault did not happen are run once more, each alone; what was wrong is wrong."""
    template, _, seed = job
    done = run_apart(job)
    for at, cell in enumerate(done):
        if cell.void:
            again = Cell(cell.point, cell.action, cell.phase, 1, cell.kind, cell.elsewhere)
            done[at] = run_apart((template, [again], seed))[0]
            done[at].outcome += " (at the second try)"
            if done[at].void and cell.elsewhere:
                done[at].outcome, done[at].wrong = "not passed", []
    return done


def run_apart(job):
    """A group in a process of its own, so that whatever becomes of it, it is told."""
    here, there = multiprocessing.Pipe()
    worker = multiprocessing.Process(target=lambda: there.send(run_group(*job)))
    worker.start()
    there.close()
    cells = job[1]
    try:
        if here.poll(150 * SLOW * len(cells)):
            return here.recv()
        cells[0].wrong.append("the group of this cell hung")
    except EOFError:
        cells[0].wrong.append("the process of this cell's group ended")
    finally:
        worker.terminate()
        worker.join()
    return cells


def run_group(template, cells, seed):
    """Cells one after the other on one server; yields them with what was found."""
    become_subreaper()
    server, load = None, None
    try:
        for number, cell in enumerate(cells):
            rng = random.Random("%d %s" % (seed, cell))
            if cell.phase != "work":
                start_cell(template, cell, rng)
                continue
            if server is None:
                server = new_server(template)
                server.start()
                load = Load(server, 0)
            load = guarded(cell, lambda: work_cell(server, cell, rng, load))
            if not cell.wrong and number == len(cells) - 1:
                guarded(cell, lambda: end_group(server, cell, load))
            if cell.wrong:
                cell.wrong.append("log: " + " | ".join(server.crashes()[-4:]))
                clean_up(server)
                server = None
    finally:
        if server is not None:
            clean_up(server)
    return cells


def guarded(cell, call):
    """What goes wrong in it is what is wrong with the cell."""
    try:
        return call()
    except (Broken, StartFailed, AssertionError, Refused, Unknown, OSError) as error:
        cell.void = isinstance(error, Void) and not cell.wrong
        cell.wrong.append("%s: %s" % (type(error).__name__, str(error)[:400]))
        return None


def clean_up(server):
    server.__exit__(None, None, None)


def end_group(server, cell, load):
    """Kill all, check the files, start, compare."""
    cell.wrong += check_all(server)
    server.start()
    cell.wrong += verify(load) + at_rest(server)


# ---- all of them ----
def make_cells(infos, making, started, working, wanted):
    cells, missing = [], []
    for name, info in infos.items():
        if wanted and name not in wanted:
            continue
        phases = [(phase, passes[name]) for phase, passes in (
            ("work", working), ("start", started), ("make", making)) if passes[name] > 0]
        if not phases:
            if name not in UNREACHED:
                missing.append("%s is never passed" % name)
        elif name in UNREACHED:
            missing.append("%s is passed, and was said not to be: %s" % (name, UNREACHED[name]))
        for phase, passes in phases[:1] if phases and phases[0][0] != "work" else (
                [one for one in phases if one[0] != "make"]):
            if phase == "start" and phases[0][0] == "work" and info["kind"] in ("ANY", "ALLOC"):
                continue
            for action in info["actions"].split():
                cells.append(Cell(name, action, phase, passes, info["kind"],
                                  phase == "start" and phases[0][0] == "work"))
    return cells, missing


def choose(cells, seed):
    """The short form."""
    chosen, killed = [], set()
    for cell in cells:
        if cell.action == "kill" and cell.point not in killed:
            killed.add(cell.point)
            chosen.append(cell)
        elif random.Random("%d %s" % (seed, cell)).random() < 1 / 6:
            chosen.append(cell)
    return chosen


def grouped(template, cells, seed):
    """Those that need a fresh directory first in their group, those of a start alone."""
    rng = random.Random(seed)
    fresh = [cell for cell in cells if cell.phase == "work" and is_fresh(cell)]
    other = [cell for cell in cells if cell.phase == "work" and cell not in fresh]
    rng.shuffle(other)
    groups = [[cell] for cell in cells if cell.phase != "work"]
    size = 6
    groups += [[cell] + [other.pop() for _ in range(min(size - 1, len(other)))] for cell in fresh]
    groups += [other[at:at + size] for at in range(0, len(other), size)]
    rng.shuffle(groups)
    return [(template, group, seed) for group in groups]


def report(done):
    """A line a point: what followed each action."""
    by_point = {}
    for cell in done:
        by_point.setdefault(cell.point, []).append(cell)
    for point, cells in by_point.items():
        wrong = [cell for cell in cells if cell.wrong]
        print("%s %-28s %s" % ("not ok" if wrong else "ok", point, ", ".join(
            "%s%s %s" % (cell.action, "" if cell.phase == "work" else " at a " + cell.phase,
                         cell.outcome or "?") for cell in cells)))
        for cell in wrong:
            for text in cell.wrong:
                print("  %s: %s" % (cell, text))
    return by_point


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("points", nargs="*")
    parser.add_argument("--seed", type=int, default=random.randrange(10000))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--jobs", type=int, default=3)
    arguments = parser.parse_args()
    began = time.monotonic()
    print("# seed %d" % arguments.seed, flush=True)
    become_subreaper()
    maker, template, passes = prepare()
    with maker:
        started, working, infos = calibrate(template, passes["make"])
        cells, missing = make_cells(infos, passes["make"], started, working, arguments.points)
        if arguments.short:
            cells = choose(cells, arguments.seed)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            done = [cell for group in pool.map(
                run_and_repeat, grouped(template, cells, arguments.seed)) for cell in group]
    by_point = report(done)
    for text in missing:
        print("not ok %s" % text)
    wrong = sum(bool(cell.wrong) for cell in done)
    done = [cell for cell in done if cell.outcome != "not passed"]
    print("# %d points, %d actions, %d runs, %d wrong; seed %d, %d s" % (
        len(by_point), len({cell.action for cell in done}), len(done), wrong, arguments.seed,
        time.monotonic() - began))
    sys.exit(1 if wrong or missing else 0)


if __name__ == "__main__":
    main()

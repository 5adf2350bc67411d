"""Syncs left out one at a time (fault action "skip"), and a power cut that shows it.

Each scene works on a disk of its own (disk.py, names.py), cuts its power, mounts it again, starts the server
and yields what is wrong then.  With every sync done nothing may be; with the named one left out
something must be.  UNSEEN lists the syncs that no scene shows, and why.
"""
import os
import random
import sys

os.environ.setdefault("BUILD", "build-faults")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import disk  # noqa: E402
import names  # noqa: E402
from faultload import COLLECTION, Wire, read_all  # noqa: E402
from oracle import Unknown  # noqa: E402
from server import Server, StartFailed  # noqa: E402
from wire import Refused, Text  # noqa: E402

SETTINGS = {"memory.shared_buffers": "4MB", "wal.max_wal_size": "512MB",
            "wal.checkpoint_timeout_secs": 3600, "storage.autovacuum_naptime_secs": 3600}
# Those that no scene can show: a later sync of the same file brings what they brought.  badsync.py lets
# each fail, and wants to hear of it.
UNSEEN = {
    # Redundant where it stands: kept because a head that cannot be written is an error of the start
    # so, and not a panic of the first commit.
    "WAL_HEAD_SYNC": "the first record behind the head is synced before anything says that the log "
                     "has come so far, and that is a sync of the same file; an empty log whose head "
                     "is lost starts all the same",
    # Redundant for the same reason: kept so that later syncs have no metadata to write, and a disk
    # that is full or broken is found while nobody has written to the segment.
    "WAL_CREATE_SYNC": "the sync of the first records in a segment brings its size and zeros too",
    # Redundant: kept so that the note is there at all on a disk that lost power soon after.
    "WAL_HINT_SYNC": "an older note is as true as the new one, for no start goes on before the place "
                     "that it names",
}


def insert(wire, first, count, size):
    for at in range(first, first + count, 10):
        wire.write({"insert": COLLECTION, "documents": [
            {"_id": at + i, "p": random.randbytes(size)} for i in range(10)]})
    return first + count


def checkpoint(server):
    with Text(server.port["text"], database="sweep") as text:
        text.ask("FLUSH")


def cut(device, server):
    device.cut()
    server.kill()
    device.remount()
    server.wrapper = []


def read_back(server, count):
    """Start, read all documents by scan, validate."""
    try:
        server.start()
        wire = Wire(server)
        found = sum(1 for _ in read_all(wire, {"find": COLLECTION, "projection": {"_id": 1}}))
        wrong = [] if found == count else ["%d of %d documents are there" % (found, count)]
        done = wire.ask({"validate": COLLECTION})
        return wrong + ([] if done["valid"] else [str(done["errors"][:2])])
    except (StartFailed, Refused, Unknown) as error:
        return ["%s: %s" % (type(error).__name__, str(error)[:200])]


def begin(device, server, faults):
    """A server whose first documents are on disk; from now on the sync is left out."""
    server.start()
    wire = Wire(server)
    wire.ask({"create": COLLECTION})
    insert(wire, 0, 20, 100)
    checkpoint(server)
    device.sync()
    if faults:
        wire.ask({"faultPoint": faults}, "admin")
    return wire


# ---- scenes ----
def acknowledged(device, server, faults):
    """The log is synced before a write is acknowledged."""
    count = insert(begin(device, server, faults), 20, 50, 500)
    cut(device, server)
    return read_back(server, count)


def checkpointed(device, server, faults):
    """Data files are synced before the log that could repeat their changes is let go."""
    count = insert(begin(device, server, faults), 20, 200, 2000)
    checkpoint(server)
    cut(device, server)
    return read_back(server, count)


def segments(server):
    return sorted(int(name, 16) for name in os.listdir(os.path.join(server.data, "wal"))
                  if len(name) == 16)


def old_segments(device, server, faults):
    """The control file is synced before the segments go that the old one begins with."""
    wire = begin(device, server, faults)
    first = segments(server)[0]
    count = insert(wire, 20, 700, 60000)
    while segments(server)[0] == first:
        checkpoint(server)
    cut(device, server)
    return read_back(server, count)


def folders(device, server, faults):
    """A folder is synced before its new names are leant on: a data file's, and those of the log's segments, some
    made, some that were old ones."""
    wire = begin(device, server, faults)
    wire.ask({"createIndexes": COLLECTION, "indexes": [{"key": {"k": 1}, "name": "k"}]})
    first = segments(server)[-1]
    count = insert(wire, 20, 700, 60000)
    checkpoint(server)
    while segments(server)[-1] < first + 5:
        count = insert(wire, count, 100, 60000)
    cut(device, server)
    return read_back(server, count)


def small_file(device, server, faults):
    """A small file's new form is synced before it takes the old one's name."""
    server.wrapper = ["env", "GNEISS_FAULTS=" + faults]
    server.start()
    count = insert(Wire(server), 0, 20, 100)
    cut(device, server)
    return read_back(server, count)


# point -> (scene, kind of disk)
SCENES = {
    "DIR_SYNC": (folders, names.Names.kind),
    "WAL_SYNC": (acknowledged, "ext4"),
    "DATA_SYNC": (checkpointed, "ext4"),
    "CONTROL_SYNC": (old_segments, "ext4"),
    "FILE_REPLACE_SYNC": (small_file, "xfs"),
}


def disk_of(kind):
    return names.Names() if kind == names.Names.kind else disk.Disk(kind, size="2G")


def run(point, left_out):
    """Yields what is wrong after the cut."""
    scene, kind = SCENES[point]
    with disk_of(kind) as device, Server(SETTINGS, wrapper=device.wrapper) as server:
        server.data = os.path.join(device.mountpoint, "data")
        try:
            return scene(device, server, point + "=skip" if left_out else "")
        finally:
            server.kill()

"""Does every store wait for the disk where it should, and nowhere else?  Counted, not believed."""
import os
import re
import subprocess
import tempfile

INSERTS = 100
SLACK = 8  # for a new segment of a log, and for work in the background


def _count(options, peer, durable, inserts):
    with tempfile.TemporaryDirectory(dir=options.below) as folder:
        ran = subprocess.run(
            [os.path.join(options.programs, "worker-" + peer), folder, "small", "1000"],
            input="durable docs %d\ninsert grow %d\nquit\n" % (durable, inserts), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
            env={**os.environ, "LD_PRELOAD": os.path.join(options.programs, "synccount.so")})
    found = re.search(r"syncs (\d+)", ran.stderr)
    if ran.returncode != 0 or found is None:
        raise AssertionError("%s: %s" % (peer, ran.stderr.strip()))
    return int(found.group(1))


def check(options):
    """Raises if a store syncs less than once a durable commit, more, or where nobody waits."""
    for peer in options.peers:
        idle = _count(options, peer, 1, 0)
        for durable in (0, 1):
            more = _count(options, peer, durable, INSERTS) - idle
            if not 0 <= more - durable * INSERTS <= SLACK:
                raise AssertionError("%s synced %d times for %d inserts that were%s to be durable" % (
                    peer, more, INSERTS, "" if durable else " not"))
        options.progress("%s syncs once a durable commit, and no commit else" % peer)

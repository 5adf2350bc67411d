#!/usr/bin/python3
"""kill -9 of the postmaster alone, while a crowd works.

Its children must be gone within a second, a server started at once (half of the times before they
are) must serve, no shared memory may stay, nothing acknowledged may be lost.  At the end one orphan
is stopped: while it lives the directory must be refused, for its segment is still mapped there.

    tests/crash/roof.py [--kills 20] [--seed N]
"""
import argparse
import glob
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from backends import Sums, finish  # noqa: E402
from crowd import SETTINGS, Crowd, Restart, percentile, state, title  # noqa: E402
from server import SLOW, Server, StartFailed, wait_for  # noqa: E402

SECOND = 1.0


def bury(pids):
    """Which of them still live; the dead have become ours and are reaped."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
    return [pid for pid in pids if state(pid) not in ("", "Z", "X")]


def one_round(server, crowd, rng, at_once):
    """Yields the report, the verdict, how long children lived on and how long the start took."""
    crowd.begin()
    time.sleep(rng.uniform(0.3, 1.5))
    orphans = server.children()
    began = time.time()
    server.kill_postmaster()
    down = Restart(began, "kill -9 of the postmaster")
    down.deaf = True
    if at_once:
        server.launch()
    while bury(orphans) and time.time() < began + 10 * SLOW:
        time.sleep(0.002)
    lived = time.time() - began
    if not at_once:
        server.launch()
    wait_for(server.answers, 30 * SLOW, "an answer of the new server")
    down.ended = time.time()
    time.sleep(0.3)
    report = crowd.end()
    crowd.judge(report, [], [down])
    report.refused = 0  # between two servers nobody listens
    return report, crowd.read_back(), lived, down.ended - began


def stale_segments(server):
    mine = server.process.pid
    return [name for name in glob.glob("/dev/shm/gneiss.*") if not name.endswith(".%d" % mine) and
            not os.path.exists("/proc/%s" % name.rpartition(".")[2])]


def refused_beside_an_orphan(server):
    """Yields "" if a second start was refused while a stopped orphan lived, and succeeded after."""
    orphan = next(pid for pid in server.children() if title(pid).startswith("gneissd: backend idle"))
    others = [pid for pid in server.children() if pid != orphan]
    os.kill(orphan, signal.SIGSTOP)
    wait_for(lambda: state(orphan) == "T", 5 * SLOW, "the orphan is stopped")
    server.kill_postmaster()
    wait_for(lambda: not bury(others), 10 * SLOW, "the others gone")
    try:
        server.start(30)
    except StartFailed as error:
        said = str(error)
    else:
        os.kill(orphan, signal.SIGCONT)
        return "a server started beside a living orphan"
    finally:
        server.process = server.process if server.process and server.process.poll() is None else None
    if "data directory is in use by process %d, a child of process" % orphan not in said:
        return "refused, but it says: %s" % said
    os.kill(orphan, signal.SIGCONT)
    wait_for(lambda: not bury([orphan]), 10 * SLOW, "the orphan gone once it may run")
    server.start()
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILLS", "4")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    rng = random.Random(seed)
    began, sums, lives, starts = time.time(), Sums(), [], []
    before = set(glob.glob("/dev/shm/gneiss.*"))
    with Server({**SETTINGS, "memory.shared_buffers": "4MB"}) as server:
        server.start()
        crowd = Crowd(server, seed)
        for number in range(options.kills):
            report, verdict, lived, start = one_round(server, crowd, rng, number % 2 == 0)
            lives.append(lived)
            starts.append(start)
            sums.add(report, verdict)
            if lived > SECOND * SLOW:
                sums.bad += 1
                print("  children lived on for %.2f s" % lived)
        stale = [name for name in stale_segments(server) if name not in before]
        if stale:
            sums.bad += 1
            print("  left in shared memory: %s" % stale)
        complaint = refused_beside_an_orphan(server)
        if complaint:
            sums.bad += 1
            print("  " + complaint)
        finish(server, sums)
    acked = sum(one.acked for one in crowd.oracles)
    lives.sort()
    starts.sort()
    print("roof: seed %d, postmaster ended %d times, %d acknowledged, %d lost, %d wrong, %d twice; children "
          "gone after median %.0f ms, most %.0f ms; serving again after median %.0f ms, most %.0f ms; a "
          "start beside a stopped orphan %s; %.0f s" % (
              seed, options.kills, acked, sums.lost, sums.wrong, sums.twice,
              percentile(lives, 0.5) * 1e3, lives[-1] * 1e3, percentile(starts, 0.5) * 1e3,
              starts[-1] * 1e3, "NOT REFUSED" if complaint else "refused", time.time() - began))
    if sums.by_restart == 0:
        sums.bad += 1
        print("void: no session was open at any death")
    sys.exit(1 if sums.bad else 0)


if __name__ == "__main__":
    main()

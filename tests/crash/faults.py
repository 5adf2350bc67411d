#!/usr/bin/python3
"""Faults of backends themselves, under each policy of server.crash_isolation, while a crowd works.

A line for each policy and fault: how many sessions of others broke, how long all were away, what
was lost.  SEGV, ABRT and BUS come from outside, at any instruction; with fault points built in
(BUILD=build-faults), also what a session does to itself by {crashMe: "segv" | "abort" | "bus" |
"overflow"}.  `fast` and `verify` drop nobody, but for deaths in a critical section; `strict`
restarts all each time.  Nothing acknowledged may be lost under any.

    tests/crash/faults.py [--kills 20] [--seed N] [POLICY …]
"""
import argparse
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from backends import Sums, finish  # noqa: E402
from crowd import (SETTINGS, Crowd, Victim, await_gone, children, kill_a_backend,  # noqa: E402
                   percentile, title)
from server import Server  # noqa: E402
from wire import Closed, Mongo, Refused  # noqa: E402

POLICIES = ("verify", "fast", "strict")
SIGNALS = ("SEGV", "ABRT", "BUS")
WAYS = ("segv", "abort", "bus", "overflow")
RARE = 0.2  # most restarts of the policies that isolate; by chance a signal meets a critical section


def crash_one(server, way):
    """A session of its own that dies so; None: this build cannot."""
    with Mongo(server.port["mongo"]) as conn:
        conn.ping()
        port = conn.sock.getsockname()[1]
        pid = next((pid for pid in children(server.process.pid) if title(pid).startswith(
            "gneissd: backend 127.0.0.1:%d" % port)), None)
        if pid is None:
            return None
        victim = Victim(pid, "backend 127.0.0.1:%d" % port)
        victim.killed = time.time()
        try:
            conn.ask({"crashMe": way}, "admin")
        except (Closed, ConnectionError):
            await_gone(victim)
            return victim
    raise AssertionError("crashMe %s: it lives" % way)


def can_crash(server):
    with Mongo(server.port["mongo"]) as conn:
        try:
            conn.ask({"crashMe": "no such way"}, "admin")
        except Refused as error:
            return "CommandNotFound" not in str(error)
    return False


def one_cell(server, crowd, rng, policy, name, kill, kills):
    """Yields whether it was well."""
    crowd.begin()
    victims = []
    while len(victims) < kills:
        time.sleep(rng.uniform(0.1, 0.3))
        victim = kill()
        if victim is not None:
            victims.append(victim)
    time.sleep(0.7)
    report = crowd.end()
    crowd.judge(report, victims)
    sums = Sums()
    sums.add(report, crowd.read_back())
    sums.outages.sort()
    sums.cleanup.sort()
    count = len(sums.restarts)
    print("%s, %s: %d died, %d cleaned up (median %.1f ms), %d full restarts (median %.0f ms, most %.0f ms); "
          "others dropped %d, by restarts %d; %d lost, %d wrong, %d twice; refused connections %d" % (
              policy, name, sums.victims, sums.isolated, percentile(sums.cleanup, 0.5) * 1e3, count,
              percentile(sums.outages, 0.5) * 1e3, (sums.outages or [0])[-1] * 1e3, sums.dropped,
              sums.by_restart, sums.lost, sums.wrong, sums.twice, sums.refused), flush=True)
    for restart in sums.restarts if policy != "strict" else ():
        print("  restart: %s" % restart.why)
    as_stated = count >= 1 if policy == "strict" else count <= max(1, RARE * kills)
    return sums, as_stated and not (sums.bad or sums.dropped or sums.refused)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILLS", "3")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("policy", nargs="*", default=list(POLICIES))
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    rng = random.Random(seed)
    began, bad, died, cells, acked, lost = time.time(), 0, 0, 0, 0, 0
    for policy in options.policy:
        with Server({**SETTINGS, "memory.shared_buffers": "4MB", "server.crash_isolation": policy,
                     "server.enable_test_commands": True}) as server:
            server.start()
            crowd = Crowd(server, seed)
            kinds = [("kill -" + name, lambda name=name: kill_a_backend(
                server, rng, getattr(signal, "SIG" + name))) for name in SIGNALS]
            if can_crash(server):
                kinds += [("crashMe " + way, lambda way=way: crash_one(server, way)) for way in WAYS]
            elif policy == options.policy[0]:
                print("# skipped: crashMe: this build has no fault points")
            for name, kill in kinds:
                sums, well = one_cell(server, crowd, rng, policy, name, kill, options.kills)
                bad += not well
                died += sums.victims
                cells += 1
                lost += sums.lost + sums.wrong + sums.twice
            last = Sums()
            finish(server, last)
            bad += bool(last.bad)
            acked += sum(one.acked for one in crowd.oracles)
    print("faults: seed %d, %d deaths in %d cells of policy and fault, %d acknowledged, %d lost, %d cells "
          "not as stated; %.0f s" % (seed, died, cells, acked, lost, bad, time.time() - began))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

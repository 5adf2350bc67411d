#!/usr/bin/python3
"""./dev bench - Gneiss beside what people use instead, in the same run.  See bench/README.md."""
import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time

import curves
import inprocess
import others
import report
import rows
import syncs
import wirerows

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GROUPS = {"inprocess": inprocess.run, "wire": wirerows.run, "protocol": others.protocol,
          "scale": others.scale, "restart": others.restart}
CURVES = "curves"
QUICK = ("inprocess", "wire", "protocol")


class Options:
    def __init__(self, arguments):
        self.quick = arguments.quick
        self.smoke = arguments.smoke
        self.scale = arguments.scale
        self.rounds = arguments.rounds or (1 if self.smoke else 5 if self.quick else 7)
        self.slice_seconds = 0.002 if self.smoke else 0.06 if self.quick else 0.2
        self.kinds = arguments.kinds or (rows.KINDS[:1] if self.quick or self.smoke else rows.KINDS)
        self.clients = (8,) if self.smoke else rows.CLIENTS
        self.count = arguments.documents or (2000 if self.smoke else 0)
        self.only = re.compile(arguments.only or "")
        self.build = os.path.join(ROOT, os.environ.get("BUILD", "build"))
        self.programs = os.path.join(self.build, "bench", "bin")
        self.chosen = arguments.peers
        self.peers = [peer for peer in ("gneiss", "raw") + rows.STORES
                      if os.path.exists(os.path.join(self.programs, "worker-" + peer))
                      and self.has_peer(peer)]
        self.quiet = arguments.quiet
        self.began = time.monotonic()
        self.below = None

    def has_peer(self, peer):
        return peer == "gneiss" or not self.chosen or peer in self.chosen

    def documents(self, kind):
        return self.count or (20000 if kind == "large" and self.quick else 100000)

    def beats(self, row, default):
        """How often peers take turns in a round."""
        return 1 if self.smoke else row.get("beats", default)

    def wanted(self, name):
        return self.only.search(name) is not None

    def progress(self, text):
        if not self.quiet:
            print("%6.1f s  %s" % (time.monotonic() - self.began, text), file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS, CURVES], help="default: all but %s" % CURVES)
    parser.add_argument("--quick", action="store_true", help="small documents, short slices, the groups %s" % ", ".join(QUICK))
    parser.add_argument("--scale", action="store_true", help="10 million documents too")
    parser.add_argument("--only", metavar="REGEX", help="rows whose names match")
    parser.add_argument("--kinds", nargs="+", choices=rows.KINDS)
    parser.add_argument("--peers", nargs="+", help="these only")
    parser.add_argument("--documents", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--smoke", action="store_true",
                        help="does it work? tiny counts; nothing is kept")
    parser.add_argument("--report", action="store_true",
                        help="also write the tables into doc/performance.md")
    return parser.parse_args()


def draw_curves(options, folder):
    found = curves.run(options)
    report.save(folder, "part-of-" + CURVES if options.only.pattern else CURVES, found, options)
    for curve in found:
        curves.plot(curve, os.path.join(folder, "curve-%s.svg" % curve["name"]))
        print("\n" + curves.table(curve))


def measure(options, folder, groups):
    for name in groups:
        if name == CURVES:
            draw_curves(options, folder)
            continue
        results = GROUPS[name](options)
        if options.only.pattern:
            name = "part-of-" + name  # what was kept of the whole stays
        report.save(folder, name, results, options)
        report.plot(results, os.path.join(folder, name + ".svg"))
        print("\n%s\n\n%s" % (report.ratio_table(results), report.bar_table(results)))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    arguments = parse()
    options = Options(arguments)
    folder = os.path.join(options.build, "bench")
    os.makedirs(folder, exist_ok=True)
    # Not within the tree: PostgreSQL runs as another user, who must get there.  A trial needs no disk.
    place = "/dev/shm" if options.smoke else os.environ.get("TMPDIR", "/var/tmp")
    options.below = tempfile.mkdtemp(prefix="gneiss-bench-", dir=place)
    os.chmod(options.below, 0o755)
    try:
        if options.smoke:
            syncs.check(options)
        measure(options, options.below if options.smoke else folder, arguments.groups or (
            QUICK if options.quick or options.smoke else GROUPS))
    finally:
        shutil.rmtree(options.below, ignore_errors=True)
    if arguments.report:
        report.write_page(folder)


if __name__ == "__main__":
    main()

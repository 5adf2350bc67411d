#!/usr/bin/python3
"""PostgreSQL 15 under the faults of this folder: the column beside Gneiss's in doc/reliability.md.

    postgres.py [--rounds 20] [--seed N] [backend auxiliaries postmaster stopped logflips pageflips logfull]

A measurement, not a test: it prints what happened, a line a fault.  It wants what `./dev bench` installs, and root for
`logfull` (a loop device).  PostgreSQL is tuned as in the benchmarks, with checksums, and commits wait for the disk.
"""
import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import disk  # noqa: E402
import servers  # noqa: E402

WRITERS, READERS = 16, 4


class Gone(Exception):
    """The session has ended, or could not begin."""


class Refused(Exception):
    """The statement failed; the session goes on."""


class Session:
    """Simple queries over PostgreSQL's protocol 3.0."""

    def __init__(self, port, timeout=30.0):
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
            words = b"user\0bench\0database\0bench\0\0"
            self.socket.sendall(struct.pack(">ii", len(words) + 8, 196608) + words)
            self._answer()
            self.pid = int(self.ask("SELECT pg_backend_pid()")[0][0])
        except (OSError, Refused) as error:
            raise Gone(str(error)) from error

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise Gone("the server closed the connection")
            data += more
        return data

    def _answer(self):
        rows, refused = [], None
        while True:
            kind, length = struct.unpack(">ci", self._exactly(5))
            body = self._exactly(length - 4)
            if kind == b"D":
                rows.append(self._row(body))
            elif kind == b"E":
                fields = {part[:1]: part[1:].decode() for part in body.split(b"\0") if part}
                refused = fields[b"M"]
                if fields[b"S"] in ("FATAL", "PANIC"):
                    raise Gone(refused)
            elif kind == b"Z":
                if refused is not None:
                    raise Refused(refused)
                return rows

    @staticmethod
    def _row(body):
        row, at = [], 2
        for _ in range(struct.unpack(">h", body[:2])[0]):
            length, = struct.unpack(">i", body[at:at + 4])
            row.append(None if length < 0 else body[at + 4:at + 4 + length].decode())
            at += 4 + max(length, 0)
        return row

    def ask(self, sql):
        data = sql.encode() + b"\0"
        try:
            self.socket.sendall(struct.pack(">ci", b"Q", len(data) + 4) + data)
            return self._answer()
        except OSError as error:
            raise Gone(str(error)) from error

    def close(self):
        self.socket.close()


class Crowd:
    """Writers and readers that connect again when they were dropped, and know what they were promised."""

    def __init__(self, port):
        self.port = port
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.sessions = {}
        self.promised = set()
        self.dropped = []  # when
        self.answered = {}  # whose last answer came when
        self.refused = 0
        self.threads = [threading.Thread(target=self._work, args=(number,), daemon=True)
                        for number in range(WRITERS + READERS)]

    def _work(self, number):
        sequence, session = 0, None
        while not self.over.is_set():
            try:
                if session is None:
                    session = Session(self.port)
                    self.sessions[number] = session
                if number < WRITERS:
                    sequence += 1
                    key = number * 10_000_000 + sequence
                    session.ask("INSERT INTO docs VALUES (%d, '{\"w\": %d}')" % (key, number))
                    with self.lock:
                        self.promised.add(key)
                else:
                    session.ask("SELECT doc FROM docs WHERE id = %d" % (number * 7))
                self.answered[number] = time.monotonic()
            except Refused:
                self.refused += 1
                time.sleep(0.02)
            except Gone:
                if session is not None:
                    with self.lock:
                        self.dropped.append(time.monotonic())
                    self.sessions.pop(number, None)
                    session = None
                time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.all_served(time.monotonic())
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(timeout=40)

    def await_drops(self, count, until):
        while len(self.dropped) < count and time.monotonic() < until:
            time.sleep(0.002)

    def all_served(self, since, within=60.0):
        """Seconds from then until each client has had an answer that was asked for later; None if it takes too long."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            if len(self.answered) == len(self.threads) and min(self.answered.values()) > since:
                return max(self.answered.values()) - since
            time.sleep(0.002)
        return None


@contextlib.contextmanager
def running(folder=None, **settings):
    """A server with the table docs, durable."""
    with contextlib.ExitStack() as stack:
        below = folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="gneiss-peer-"))
        os.chmod(below, 0o755)
        server = servers.Postgres(below, **settings)
        subprocess.run([os.path.join(servers.POSTGRES, "pg_checksums"), "--enable", "--no-sync", "-D",
                        server.data()], check=True, cwd=server.directory, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, **server.user)
        stack.callback(end, server)
        server.start(durable=True)
        server.make_tables()
        yield server


def end(server):
    if server.process is not None and server.process.poll() is None:
        server.kill()


def lost(server, promised):
    session = Session(server.number, timeout=120)
    there = {int(row[0]) for row in session.ask("SELECT id FROM docs")}
    session.close()
    return len(promised - there)


def processes(server):
    """Pid of each auxiliary process by its name."""
    found = {}
    for pid in servers.children_of(server.process.pid):
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read().replace(b"\0", b" ").decode().strip()
        found[words.partition(":")[2].strip()] = pid
    return found


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def say(what, **figures):
    print("%-12s %s" % (what, "; ".join("%s %s" % (key.replace("_", " "), value)
                                        for key, value in figures.items())), flush=True)


def backend(rounds, dice):
    with running() as server, Crowd(server.number) as crowd:
        drops, away = [], []
        for _ in range(rounds):
            time.sleep(0.5)
            before, now = len(crowd.dropped), time.monotonic()
            os.kill(dice.choice(list(crowd.sessions.values())).pid, signal.SIGKILL)
            crowd.await_drops(before + WRITERS + READERS, until=now + 3)
            served = time.monotonic()
            away.append(served - now + (crowd.all_served(served) or 60.0))
            drops.append(len(crowd.dropped) - before - 1)
        crowd.over.set()
        say("backend", kills=rounds, other_sessions="%d of %d dropped each (median)" % (
            statistics.median(drops), WRITERS + READERS - 1), fewest=min(drops),
            all_served_again_after="%.2f s (median), %.2f s at most" % (
                statistics.median(away), max(away)),
            acknowledged=len(crowd.promised), lost=lost(server, set(crowd.promised)))


def auxiliaries(_, __):
    with running() as server, Crowd(server.number) as crowd:
        for name in ("checkpointer", "background writer", "walwriter", "autovacuum launcher",
                     "logical replication launcher"):
            time.sleep(1)
            pid = processes(server).get(name)
            if pid is None:
                say("auxiliary", name=name, found="no")
                continue
            before, now = len(crowd.dropped), time.monotonic()
            os.kill(pid, signal.SIGKILL)
            crowd.await_drops(before + WRITERS + READERS, until=now + 3)
            crowd.all_served(time.monotonic())
            say("auxiliary", name=name, sessions="%d of %d dropped" % (
                len(crowd.dropped) - before, WRITERS + READERS))


def postmaster(rounds, _):
    gone = []
    with running() as server:
        for _ in range(rounds):
            with Crowd(server.number):
                time.sleep(0.5)
                children = servers.children_of(server.process.pid)
                now = time.monotonic()
                server.process.kill()
                server.process.wait()
                while any(lives(pid) for pid in children):
                    time.sleep(0.005)
                gone.append(time.monotonic() - now)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(server.data(), "postmaster.pid"))
            server.start(durable=True)
    say("postmaster", kills=rounds, children_gone_after="%.2f s (median), %.2f s at most" % (
        statistics.median(gone), max(gone)))


def stopped(_, __):
    with running() as server:
        holder, waiter, other = (Session(server.number, timeout=15) for _ in range(3))
        holder.ask("INSERT INTO docs VALUES (1, '{}')")
        holder.ask("BEGIN")
        holder.ask("UPDATE docs SET doc = '{\"a\": 1}' WHERE id = 1")
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            waiter.ask("UPDATE docs SET doc = '{\"a\": 2}' WHERE id = 1")
            waited = "served"
        except Gone:
            waited = "still waiting after 15 s"
        other.ask("INSERT INTO docs VALUES (2, '{}')")
        os.kill(holder.pid, signal.SIGCONT)
        say("stopped", who_wants_its_row=waited, others="served")


def log_place(server):
    """Where in which segment the log ends."""
    session = Session(server.number)
    name, offset = session.ask(
        "SELECT f.file_name, f.file_offset FROM pg_walfile_name_offset(pg_current_wal_flush_lsn()) f")[0]
    session.close()
    return os.path.join(server.data(), "pg_wal", name), int(offset)


def logflips(rounds, dice):
    silent = refused = whole = 0
    for _ in range(rounds):
        with running(checkpoint_timeout="1h", autovacuum="off") as server:
            session = Session(server.number)
            session.ask("CHECKPOINT")
            began, first = log_place(server)
            for key in range(2000):
                session.ask("INSERT INTO docs VALUES (%d, '{\"k\": %d}')" % (key, key))
            segment, last = log_place(server)
            server.kill()
            if segment != began:
                first = 0
            with open(segment, "r+b") as file:
                at = dice.randrange(first + (last - first) // 10, last - (last - first) // 10)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << dice.randrange(8)]))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(server.data(), "postmaster.pid"))
            try:
                server.start(durable=True)
            except AssertionError:
                refused += 1
                continue
            missing = lost(server, set(range(2000)))
            silent += missing > 0
            whole += missing == 0
    say("logflips", flips=rounds, started_and_silently_short=silent, refused=refused, nothing_missing=whole)


def pageflips(rounds, dice):
    named = 0
    with running() as server:
        session = Session(server.number)
        session.ask("INSERT INTO docs SELECT i, '{\"a\": 1}' FROM generate_series(1, 20000) i")
        path, = session.ask("SELECT pg_relation_filepath('docs')")[0]
        path = os.path.join(server.data(), path)
        server.stop()
        whole = open(path, "rb").read()
        for _ in range(rounds):
            at = dice.randrange(len(whole))
            with open(path, "r+b") as file:
                file.write(whole)
                file.seek(at)
                file.write(bytes([whole[at] ^ 1 << dice.randrange(8)]))
            server.start(durable=True)
            session = Session(server.number)
            try:
                session.ask("SELECT sum(length(doc::text)) FROM docs")
            except Refused as error:
                named += "block %d" % (at // 8192) in str(error)
            session.close()
            server.stop()
    say("pageflips", flips=rounds, named=named)


def logfull(_, __):
    with disk.Disk("ext4", size="160M") as small, running() as server:
        server.stop()
        os.chmod(small.folder, 0o755)
        log = os.path.join(server.data(), "pg_wal")
        shutil.copytree(log, os.path.join(small.mountpoint, "wal"))
        disk.sh("chown", "-R", "postgres:postgres", small.mountpoint)
        shutil.rmtree(log)
        os.symlink(os.path.join(small.mountpoint, "wal"), log)
        server.start(durable=True)
        session = Session(server.number)
        filler = os.path.join(small.mountpoint, "filler")
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(bytes(1 << 16))
        told = "nothing"
        try:
            for key in range(200_000):
                session.ask("INSERT INTO docs VALUES (%d, '{\"t\": \"%s\"}')" % (key, "x" * 1500))
        except (Gone, Refused) as error:
            told = type(error).__name__ + ": " + str(error)
        deadline = time.monotonic() + 20
        while server.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        down = server.process.poll() is not None
        os.unlink(filler)
        time.sleep(5)
        with contextlib.suppress(Gone):
            Session(server.number).close()
            down = False
        say("logfull", the_writer="sees " + told,
            five_seconds_after_there_is_room="down" if down else "serving")


FAULTS = {one.__name__: one for one in (backend, auxiliaries, postmaster, stopped, logflips, pageflips, logfull)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("faults", nargs="*", default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error("there is no fault %s; there are %s" % (", ".join(unknown), ", ".join(FAULTS)))
    print("# seed %d" % options.seed)
    for name in options.faults:
        FAULTS[name](options.rounds, random.Random(options.seed))


if __name__ == "__main__":
    main()

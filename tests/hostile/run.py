#!/usr/bin/python3
"""Hostile bytes on every listener (RELIABILITY.md 3.5: Frame, RESP-like, JSON lines, BSON, OP_MSG).

Each case has its own connection; after it, an old session of every language must still answer a
ping within a second.  At the end: no process has crashed, none has grown when the list is sent a
second time, nothing of another tenant's was ever received.

    tests/hostile/run.py [--only WORD] [--list text|json|mongo|frame]
"""
import argparse
import os
import random
import select
import socket
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import bsoncases  # noqa: E402
import jsoncases  # noqa: E402
import textcases  # noqa: E402
from case import CANARY, LIMIT_SECONDS, Case, begin, judge, receive_within  # noqa: E402
from server import FULL, MIB, PROTOCOLS, SANITIZED, SLOW, Checks, Server, wait_for  # noqa: E402
from wire import Closed, Connection, Json, Mongo, Refused, Text, connect, message, section0  # noqa: E402

# AddressSanitizer keeps what is freed for a while; growth tells nothing then.
ALLOWED = 100 * MIB if SANITIZED else MIB
PINGS = {
    "text": b"PING\r\n",
    "json": b'{"request_id":"p","command":{"type":"ping"}}\n',
    "mongo": message(section0({"ping": 1, "$db": "admin"})),
}
CLIENT_HELLO = bytes.fromhex(
    "16030100c1010000bd0303" + "ab" * 32 + "20" + "cd" * 32 + "0006130113021303010000" "6e") + b"\0" * 110
SETTINGS = {"memory.shared_buffers": "16MB", "server.login_timeout_secs": 60}


class Sentinels:
    """Old sessions that must not notice anything."""

    def __init__(self, server):
        self.sessions = [connect(server, protocol) for protocol in PROTOCOLS]
        self.slowest = 0.0

    def ping(self):
        for session in self.sessions:
            began = time.monotonic()
            session.ping()
            took = time.monotonic() - began
            self.slowest = max(self.slowest, took)
            assert took < LIMIT_SECONDS * SLOW, "a ping took %.2f s" % took


def prepare(server):
    """hostile.docs for all three languages, and a secret in another tenant."""
    with Text(server.port["text"]) as text:
        tokens = text.ask("LOGIN _system admin correct horse 8").split()
        for line in ("CREATE DATABASE hostile", "USE hostile", "CREATE COLLECTION docs",
                     "CREATE DATABASE canary", "USE canary", "CREATE COLLECTION secret",
                     'INSERT secret 00000000-0000-4000-8000-000000000001 "%s"' % CANARY):
            text.ask(line)
    with Json(server.port["json"]) as conn:
        conn.ask("insert_one", database="hostile", collection="docs",
                 document={"_id": "there", "name": "a" * 40 + "!"})
    return tokens[1].encode()


def send_list(server, cases, token, sentinels, failures):
    """One pass over a list; yields the number that held."""
    held = 0
    for case in cases:
        connection = begin(server, case, token)
        try:
            got = judge(case, connection)
            assert CANARY.encode() not in got, "the other tenant's secret came out"
            connection.close()
            sentinels.ping()
            held += 1
        except (AssertionError, OSError, UnicodeDecodeError, ValueError) as error:
            failures.append("%s: %s" % (case, str(error)[:500]))
            connection.close()
            if server.process.poll() is not None or len(failures) > 200:
                raise
    return held


def run_list(server, checks, name, cases, token, only):
    if only:
        cases = [case for case in cases if only in str(case)]
    sentinels = Sentinels(server)
    failures, again = [], []
    began = time.monotonic()
    held = send_list(server, cases, token, sentinels, failures)
    before = server.private()
    send_list(server, cases, token, sentinels, again)
    grown = server.private() - before
    for failure in failures:
        print("not ok hostile %s" % failure)
        checks.failed += 1
    checks.check(held == len(cases), "hostile %s: %d of %d cases as they should be, slowest ping beside them "
                 "%.0f ms, %.0f s" % (name, held, len(cases), sentinels.slowest * 1000,
                                      time.monotonic() - began))
    checks.check(grown < 16 * ALLOWED, "hostile %s: a second pass grew all processes by %.1f MiB" %
                 (name, grown / MIB))


# ---- frames, in all three ----
def silent_bytes(server, protocol):
    """one byte, then silence: the others are served"""
    with Connection(server.port[protocol]) as conn:
        conn.send(PINGS[protocol][:1])
        with connect(server, protocol) as other:
            other.ping()


def nothing_said(server, protocol):
    """connect and say nothing; connect and leave"""
    silent = [Connection(server.port[protocol]) for _ in range(20)]
    for _ in range(50):
        Connection(server.port[protocol]).close()
    began = time.monotonic()
    with connect(server, protocol) as other:
        other.ping()
    assert time.monotonic() - began < LIMIT_SECONDS * SLOW
    for conn in silent:
        conn.close()


def slow_sender(server, protocol):
    """a request byte by byte is answered like any other"""
    with Connection(server.port[protocol]) as conn:
        if protocol == "text":
            conn.line()
        data = PINGS[protocol]
        pause = (1.0 if FULL else 0.02)
        for at in range(len(data)):
            conn.send(data[at:at + 1])
            time.sleep(pause)
        assert not receive_within(conn, 2 * SLOW, bool) and conn.buffer, "no answer"


def half_close(server, protocol):
    """a request, then half-close: answered, then closed"""
    with Connection(server.port[protocol]) as conn:
        conn.send(PINGS[protocol])
        conn.sock.shutdown(socket.SHUT_WR)
        conn.sock.settimeout(LIMIT_SECONDS * SLOW)
        assert conn.rest(), "nothing"
    with Connection(server.port[protocol]) as conn:
        conn.send(PINGS[protocol][:5])
        conn.sock.shutdown(socket.SHUT_WR)
        conn.sock.settimeout(LIMIT_SECONDS * SLOW)
        conn.rest()


def reset(server, protocol):
    """RST in the middle of a message, a hundred times"""
    for number in range(100):
        conn = Connection(server.port[protocol])
        conn.send(PINGS[protocol] * 50 + PINGS[protocol][:number % len(PINGS[protocol])])
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
    with connect(server, protocol) as other:
        other.ping()


def other_tongue(server, protocol):
    """another protocol's bytes, HTTP, TLS (whole, split and random): an error or closed, in a second"""
    others = [PINGS[one] for one in PROTOCOLS if one != protocol]
    hello = CLIENT_HELLO
    others += [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}",
               hello + b"\n" * (protocol != "mongo"), b"SSH-2.0-x\r\n", b"\x12\1\0\x2f\0\0\1\0" + b"\n",
               b"\0\0\0\x08\x04\xd2\x16\x2f\n", b"\n" * 2000, b"\0" * 100 + b"\n"]
    rng = random.Random(7)
    others += [bytes(rng.randrange(256) for _ in range(300)) + b"\n" for _ in range(30)]
    for data in others:
        with Connection(server.port[protocol]) as conn:
            if protocol == "text":
                conn.line()
            try:
                conn.send(data[:len(data) // 2])
                time.sleep(0.002)
                conn.send(data[len(data) // 2:])
                conn.sock.shutdown(socket.SHUT_WR)  # a server may wait for more of a long message
                conn.sock.settimeout(LIMIT_SECONDS * SLOW)
                conn.rest()
            except (Closed, BrokenPipeError, ConnectionResetError):
                pass
            except OSError as error:
                assert "not connected" in str(error).lower(), "%r: %s" % (data[:40], error)


def pipelined(server, protocol):
    """a million requests without reading: memory stays, and all are answered in the end"""
    count = 10**6 if FULL or protocol == "text" else 3 * 10**5
    request = PINGS[protocol]
    before = server.private()
    peak = [before]
    with Connection(server.port[protocol], buffers=65536) as conn:
        if protocol == "text":
            conn.line()
        conn.sock.setblocking(False)
        block = request * 1000
        sent, stalled = 0, 0
        total = len(request) * count
        while sent < total and stalled < 20:
            try:
                at = sent % len(block)
                sent += conn.sock.send(block[at:at + total - sent])
                stalled = 0
            except BlockingIOError:
                stalled += 1
                time.sleep(0.02)
                peak[0] = max(peak[0], server.private())
        with connect(server, protocol) as other:
            other.ping()
        assert peak[0] - before < 64 * ALLOWED, "grew by %.1f MiB" % ((peak[0] - before) / MIB)
        unread = sent
        began = time.monotonic()
        received, tail = 0, b""
        writer_done = sent >= total
        one = None
        until = time.monotonic() + 120 * SLOW
        replies = 0
        while replies < count:
            assert time.monotonic() < until, "%d of %d answered" % (replies, count)
            wanted = [] if writer_done else [conn.sock]
            readable, writable, _ = select.select([conn.sock], wanted, [], 5)
            if readable:
                data = conn.sock.recv(1 << 20)
                assert data, "closed after %d of %d" % (replies, count)
                if protocol == "mongo":
                    received += len(data)
                    tail = tail or data[:4]
                    one = one or struct.unpack("<i", tail[:4])[0]
                    replies = received // one
                else:
                    replies += data.count(b"\n")
            if writable:
                at = sent % len(block)
                sent += conn.sock.send(block[at:at + total - sent])
                writer_done = sent >= total
        rate = count / (time.monotonic() - began)
    return "%d, %.0f %% taken before the first was read, the rest at %.0f/s, memory +%.1f MiB" % (
        count, 100 * unread / total, (1 - unread / total) * rate, (peak[0] - before) / MIB)


def endless_line(server, protocol):
    """a gibibyte without a newline: refused, memory stays, the session goes on"""
    size = (1024 if FULL else 192) * MIB
    before = server.private()
    peak = before
    with Connection(server.port[protocol], timeout=120) as conn:
        if protocol == "text":
            conn.line()
        block = b"x" * MIB
        for number in range(size // MIB):
            conn.send(block)
            if number % 16 == 0:
                peak = max(peak, server.private())
        conn.send(b"\n" + PINGS[protocol])
        first, second = conn.line(), conn.line()
        want = b"-ERR line too long" if protocol == "text" else b"request too long (max 48000000 bytes)"
        assert want in first, first[:200]
        assert b"PONG" in second or b'"pong":true' in second, second[:200]
    limit = (8 if protocol == "text" else 112) * ALLOWED
    assert peak - before < limit, "grew by %.1f MiB" % ((peak - before) / MIB)
    wait_for(lambda: server.private() - before < 16 * ALLOWED, 3 * SLOW, "memory given back")
    return "%d MiB, memory +%.1f MiB" % (size // MIB, (peak - before) / MIB)


def not_reading(server, _protocol):
    """twenty clients that never read large replies, and leave"""
    with Mongo(server.port["mongo"]) as conn:
        for number in range(12):
            conn.ask({"insert": "large", "documents": [{"_id": number, "v": "x" * 1000000}]}, "hostile")
    before = server.private()
    stuck = []
    for _ in range(20):
        conn = Connection(server.port["mongo"])
        conn.send(message(section0({"find": "large", "batchSize": 100, "$db": "hostile"})) * 20)
        stuck.append(conn)
    time.sleep(1)
    with connect(server, "mongo") as other:
        other.ping()
    grown = server.private() - before
    for conn in stuck:
        conn.close()
    assert grown < 20 * 64 * ALLOWED, "grew by %.0f MiB" % (grown / MIB)
    wait_for(lambda: server.private() - before < 64 * ALLOWED, 5 * SLOW, "memory given back")


def connects(server, protocol):
    """two thousand connects, a ping each"""
    began = time.monotonic()
    for _ in range(2000):
        conn = Connection(server.port[protocol])
        conn.send(PINGS[protocol])
        if protocol == "text":
            conn.line()
        assert not receive_within(conn, LIMIT_SECONDS * 5 * SLOW, bool) and conn.buffer
        conn.close()
    return "%.0f a second" % (2000 / (time.monotonic() - began))


FRAMES = (silent_bytes, nothing_said, slow_sender, half_close, reset, other_tongue, pipelined, connects)


def run_frames(server, checks, only):
    sentinels = Sentinels(server)
    for protocol in PROTOCOLS:
        tests = FRAMES + ((not_reading,) if protocol == "mongo" else (endless_line,))
        for test in tests:
            name = "hostile %s: %s" % (protocol, test.__doc__)
            if only and only not in name:
                continue

            def both(test=test, protocol=protocol):
                said = test(server, protocol)
                sentinels.ping()
                return said
            both.__doc__ = name
            checks.run(both)


def log_is_whole(server):
    """each line of the log is one JSON record, whatever was sent"""
    import json
    for line in server.log().splitlines():
        record = json.loads(line)
        assert {"ts", "level", "msg"} <= set(record), line
    assert CANARY not in server.log()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--list", default="")
    options = parser.parse_args()
    checks = Checks()
    lists = {"text": textcases.cases(), "json": jsoncases.cases(), "mongo": bsoncases.cases()}
    with Server(SETTINGS) as server:
        server.start()
        token = prepare(server)
        pids = set(server.tree())
        for name, cases in lists.items():
            if options.list in ("", name):
                run_list(server, checks, name, cases, token, options.only)
        if options.list in ("", "frame"):
            run_frames(server, checks, options.only)
        checks.check(not server.crashes(), "no process crashed", server.crashes()[:5])
        checks.check(server.group in pids and server.process.poll() is None, "the postmaster is the same")
        checks.run(log_is_whole, server)
        checks.check(server.stop() == 0, "TERM: exit 0")
    checks.done()


if __name__ == "__main__":
    main()

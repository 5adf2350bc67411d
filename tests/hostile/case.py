"""What a hostile case is, and how one is judged.

A case sends bytes on a fresh connection and says what the server may do:

  error    the first reply is an error in the protocol's own form
  close    the connection is closed and nothing was said
  refuse   one of the two
  ok       the first reply is a success
  any      a reply or a close, whatever it says
  wait     the message is not complete: no reply, and the connection stays open
  [...]    text protocol: exactly these lines; one ending in * tells how it begins

Nothing may take longer than a second, but what is asked to wait.
"""
import json
import os
import select
import struct
import sys
import time

import bson

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import SLOW  # noqa: E402
from wire import OP_MSG, OP_REPLY, Closed, Connection  # noqa: E402

LIMIT_SECONDS = 1.0
CANARY = "CANARY-0f7c1d8a9b3e4f52a6c7d8e9f0a1b2c3-not-for-strangers"


class Case:
    def __init__(self, protocol, name, data, expect, login=False):
        self.protocol, self.name, self.data = protocol, name, data
        self.expect, self.login = expect, login

    def __str__(self):
        return "%s: %s" % (self.protocol, self.name)


def receive_within(connection, seconds, enough):
    """Read until `enough(buffer)`, the end of input (yields True) or the time is over."""
    until = time.monotonic() + seconds
    while not enough(connection.buffer):
        left = until - time.monotonic()
        if left <= 0 or not select.select([connection.sock], [], [], left)[0]:
            return False
        try:
            connection.more()
        except (Closed, OSError):
            return True
    return False


def whole_text(buffer):
    return b"\n" in buffer


def whole_mongo(buffer):
    return len(buffer) >= 16 and len(buffer) >= struct.unpack("<i", buffer[:4])[0]


def verdict_of(protocol, reply):
    """error or ok; raises if the reply is not well formed."""
    if protocol == "text":
        assert reply.endswith(b"\r\n"), "reply without CRLF: %r" % reply[:200]
        return "error" if reply[:1] == b"-" else "ok"
    if protocol == "json":
        said = json.loads(reply.split(b"\n")[0])
        assert list(said) == ["request_id", "ok", "data", "error", "execution_time_us"], said
        return "ok" if said["ok"] else "error"
    size, _, _, opcode = struct.unpack("<iiii", reply[:16])
    assert opcode in (OP_MSG, OP_REPLY) and size <= len(reply), reply[:64]
    said = bson.decode(reply[21 if opcode == OP_MSG else 36:size])
    good = said.get("ok") == 1 and "writeErrors" not in said
    if not good and "writeErrors" not in said:
        assert isinstance(said.get("code"), int) and said.get("codeName") and said.get("errmsg"), said
    return "ok" if good else "error"


def begin(server, case, token):
    connection = Connection(server.port[case.protocol], timeout=10)
    if case.protocol == "text":
        connection.line()
        if case.login:
            connection.send(b"TOKEN " + token + b"\r\nUSE hostile\r\n")
            connection.line()
            connection.line()
    return connection


def judge(case, connection):
    """Send, wait, and compare; yields what was received.  Raises AssertionError."""
    exact = isinstance(case.expect, list)
    try:
        connection.send(case.data)
    except (Closed, OSError):
        pass  # closed already; what was said before is read below
    if case.expect == "wait":
        closed = receive_within(connection, 0.05, bool)
        assert not closed and not connection.buffer, "expected silence, got %r" % connection.buffer[:200]
        return b""
    wanted = len(case.expect) if exact else 1
    if case.protocol == "mongo":
        enough = whole_mongo
    else:
        def enough(buffer):
            return buffer.count(b"\n") >= wanted
    began = time.monotonic()
    closed = receive_within(connection, LIMIT_SECONDS * SLOW, enough)
    got = connection.buffer
    assert closed or enough(got), "no answer within %.1f s, got %r" % (
        time.monotonic() - began, got[:200])
    if exact:
        lines = got.decode("utf-8").split("\r\n")
        for line, want in zip(lines, case.expect):
            assert line.startswith(want[:-1]) if want.endswith("*") else line == want, \
                "got %r, expected %r" % (line[:300], want)
        return got
    if not got:
        assert case.expect in ("close", "refuse", "any"), "closed without a word"
        return got
    kind = verdict_of(case.protocol, got)
    assert case.expect in (kind, "any") or (case.expect == "refuse" and kind == "error"), \
        "expected %s, got %r" % (case.expect, got[:300])
    return got

"""The three languages, spoken by plain sockets: small clients that hide nothing.

Each has `ask` (a request, its reply), `send` and `receive` (raw bytes), `ping` and `close`.
"""
import json
import os
import socket
import struct
import sys

import bson

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import PASSWORD, SLOW  # noqa: E402

OP_MSG = 2013
OP_QUERY = 2004
OP_REPLY = 1


class Closed(ConnectionError):
    """The server has closed the connection, or reset it."""


class Refused(Exception):
    """The server answered with an error; `reply` is all it said."""

    def __init__(self, text, reply=None):
        super().__init__(text)
        self.reply = reply


class Connection:
    def __init__(self, port, timeout=30, buffers=None):
        self.sock = socket.socket()
        if buffers is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        self.sock.settimeout(timeout * SLOW)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error

    def more(self):
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of input")
        self.buffer += data

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def line(self):
        while b"\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def rest(self):
        """All that comes until the server closes."""
        try:
            while True:
                self.more()
        except Closed:
            data, self.buffer = self.buffer, b""
            return data

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Text(Connection):
    def __init__(self, port, login=True, database=None, timeout=30, buffers=None):
        super().__init__(port, timeout, buffers)
        self.banner = self.line()
        if not self.banner.startswith(b"+"):
            raise Refused(self.banner.decode().strip())
        if login:
            self.ask("LOGIN _system admin " + PASSWORD)
        if database is not None:
            self.ask("USE " + database)

    def receive(self):
        """str for +, int for :, bytes or None for $, list for *; an error raises Refused."""
        line = self.line().rstrip(b"\r")
        kind, text = line[:1], line[1:]
        if kind == b"+":
            return text.decode()
        if kind == b"-":
            raise Refused(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            if text == b"-1":
                return None
            return self.take(int(text) + 2)[:-2]
        if kind == b"*":
            return [self.receive() for _ in range(int(text))]
        raise AssertionError("not a reply: %r" % line)

    def ask(self, line):
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.receive()

    def ping(self):
        assert self.ask("PING") == "PONG"


class Json(Connection):
    def __init__(self, port, timeout=30, buffers=None):
        super().__init__(port, timeout, buffers)
        self.count = 0

    def receive(self):
        reply = json.loads(self.line())
        assert list(reply) == ["request_id", "ok", "data", "error", "execution_time_us"], reply
        return reply

    def ask(self, type, **members):
        self.count += 1
        request = {"request_id": str(self.count), "command": {"type": type, **members}}
        self.send(json.dumps(request, ensure_ascii=False).encode() + b"\n")
        reply = self.receive()
        if not reply["ok"]:
            raise Refused(reply["error"], reply)
        assert reply["request_id"] == str(self.count), reply
        return reply["data"]

    def ping(self):
        assert self.ask("ping") == {"pong": True}


def header(size, opcode, request=1, answer=0):
    return struct.pack("<iiii", size, request, answer, opcode)


def message(body, flags=0, request=1, opcode=OP_MSG):
    """An OP_MSG around sections given as bytes."""
    return header(16 + 4 + len(body), opcode, request) + struct.pack("<I", flags & 0xFFFFFFFF) + body


def section0(document):
    return b"\0" + (document if isinstance(document, bytes) else bson.encode(document))


def section1(name, documents):
    body = name.encode() + b"\0" + b"".join(
        one if isinstance(one, bytes) else bson.encode(one) for one in documents)
    return b"\1" + struct.pack("<i", 4 + len(body)) + body


class Mongo(Connection):
    def __init__(self, port, timeout=30, buffers=None):
        super().__init__(port, timeout, buffers)
        self.count = 0

    def receive(self):
        size, _, answer, opcode = struct.unpack("<iiii", self.take(16))
        assert 16 < size <= 48000000, size
        body = self.take(size - 16)
        if opcode == OP_REPLY:
            return answer, bson.decode(body[20:])
        assert opcode == OP_MSG, opcode
        assert body[4] == 0, body[:8]
        return answer, bson.decode(body[5:])

    def ask(self, document, database="test", sections=b""):
        self.count += 1
        document = {**document, "$db": database}
        self.send(message(section0(document) + sections, request=self.count))
        answer, reply = self.receive()
        assert answer == self.count, (answer, self.count)
        if reply.get("ok") != 1:
            raise Refused("%s: %s" % (reply.get("codeName"), reply.get("errmsg")), reply)
        return reply

    def ping(self):
        assert self.ask({"ping": 1}, "admin")["ok"] == 1


def connect(server, protocol, **more):
    return {"text": Text, "json": Json, "mongo": Mongo}[protocol](server.port[protocol], **more)

#!/usr/bin/env python3
"""run.py HOST:PORT SCRIPT… - plays scripts of request lines and expected replies of the text protocol.

A script is lines of text:
    # …            a comment; empty lines are left out
    > request      a line to be sent, with CR LF behind it; \\n \\r \\t \\\\ \\xHH are bytes
    < reply        a line that must come back, exactly
    ~ pattern      a line that must match the regular expression as a whole
    ^ name=pattern the same, and its first group is kept: later {name} in > and < stands for it
    ! closed       the server must have closed the connection
    ! reconnect    a new connection (the banner is read)
    * n text       n times this line is sent: for streaks and long lines ("{n*x}" is x, n times)
The first connection is made, and its banner checked, before the first line.  Nothing is started here.
Prints "ok SCRIPT" or "not ok SCRIPT: line n: …" for each; exit code 1 if one failed.
"""
import re
import socket
import sys

BANNER = b"+GRUMPYDB 4.0.0\r\n"


class Failure(Exception):
    pass


class Client:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.file = self.socket.makefile("rb")
        banner = self.file.readline()
        if banner != BANNER:
            raise Failure(f"the banner is {banner!r}")

    def send(self, line):
        self.socket.sendall(line + b"\r\n")

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Failure(f"the connection ended after {line!r}")
        return line[:-2].decode()

    def must_be_closed(self):
        rest = self.file.read(200)
        if rest:
            raise Failure(f"not closed, but {rest!r}")

    def close(self):
        self.file.close()
        self.socket.close()


def unescape(text):
    text = re.sub(r"\{(\d+)\*([^}]+)\}", lambda m: m.group(2) * int(m.group(1)), text)
    parts = re.split(r"(\\x[0-9a-f]{2}|\\[nrt\\])", text)
    plain = {"\\n": b"\n", "\\r": b"\r", "\\t": b"\t", "\\\\": b"\\"}
    return b"".join(
        bytes([int(p[2:], 16)]) if p.startswith("\\x") else plain.get(p) or p.encode() for p in parts
    )


def play(address, path):
    client = Client(address)
    kept = {}

    def fill(text):
        for name, value in kept.items():
            text = text.replace("{" + name + "}", value)
        return text

    with open(path, encoding="utf-8") as script:
        for number, line in enumerate(script, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            kind, text = line[0], line[2:]
            try:
                if kind == ">":
                    client.send(unescape(fill(text)))
                elif kind == "*":
                    count, text = text.split(" ", 1)
                    client.socket.sendall((unescape(fill(text)) + b"\r\n") * int(count))
                elif kind == "<":
                    got = client.line()
                    if got != fill(text):
                        raise Failure(f"expected {fill(text)!r}, got {got!r}")
                elif kind in "~^":
                    name, pattern = text.split("=", 1) if kind == "^" else (None, text)
                    got = client.line()
                    match = re.fullmatch(fill(pattern), got)
                    if match is None:
                        raise Failure(f"{got!r} does not match {pattern!r}")
                    if name is not None:
                        kept[name] = match.group(1)
                elif line == "! closed":
                    client.must_be_closed()
                elif line == "! reconnect":
                    client.close()
                    client = Client(address)
                else:
                    raise Failure(f"not understood: {line!r}")
            except (Failure, OSError) as error:
                raise Failure(f"line {number}: {error}") from error
    client.close()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    failed = False
    for path in sys.argv[2:]:
        try:
            play(sys.argv[1], path)
            print(f"ok {path}")
        except (Failure, OSError) as error:
            failed = True
            print(f"not ok {path}: {error}")
    sys.exit(failed)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""run_json.py HOST:PORT SCRIPT… - plays scripts of requests and expected replies of the JSON-lines protocol.

A script is lines of text:
    # …         a comment; empty lines are left out
    > command   the object `command` of a request; it is sent with the request_id "r"
    >> line     a line that is sent as it stands
    = data      a success with exactly this `data`
    ! error     a failure with exactly this text
    < line      this line must come back, exactly
In `= data`, `! error` and `< line` times of execution are masked as T, UUIDs as U, dates as D, the column
of a parse error as N.  Nothing is started here.  Prints "ok SCRIPT" or "not ok SCRIPT: line n: …" for
each; exit code 1 if one failed.
"""
import re
import socket
import sys

MASKS = (
    (r'"execution_time_us":\d+', '"execution_time_us":T'),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "U"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?\+00:00", "D"),
    (r"at line 1 column \d+", "at line 1 column N"),
)


def mask(text):
    for pattern, stands_for in MASKS:
        text = re.sub(pattern, stands_for, text)
    return text


def escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')


def expected(kind, text):
    if kind == "=":
        return '{"request_id":"r","ok":true,"data":%s,"error":null,"execution_time_us":T}' % text
    if kind == "!":
        return '{"request_id":"r","ok":false,"data":null,"error":"%s","execution_time_us":T}' % escaped(text)
    return text


def play(address, path):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as sock, open(path, encoding="utf-8") as script:
        replies = sock.makefile("rb")
        for number, line in enumerate(script, 1):
            kind, _, text = line.rstrip("\n").partition(" ")
            if kind in ("", "#"):
                continue
            if kind in (">", ">>"):
                request = '{"command":%s,"request_id":"r"}' % text if kind == ">" else text
                sock.sendall(request.encode() + b"\n")
                continue
            got = mask(replies.readline().decode().rstrip("\n"))
            want = expected(kind, text)
            if got != want:
                return "line %d:\n  wanted %s\n  got    %s" % (number, want, got)
    return None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    failed = False
    for path in sys.argv[2:]:
        why = play(sys.argv[1], path)
        failed |= why is not None
        print("ok %s" % path if why is None else "not ok %s: %s" % (path, why))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

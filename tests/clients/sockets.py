#!/usr/bin/python3
"""The text and the JSON listener as a person with nc meets them: a round of everything there is."""
import json
import os
import socket
import subprocess
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import PASSWORD, Checks, Server, gneiss  # noqa: E402
from wire import Json, Refused, Text  # noqa: E402

ONE = "00000000-0000-4000-8000-00000000000%d"


def nc(port, data):
    """Send all, half-close, read until the server closes; as `nc -N` does."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
        return received


def refused(connection, line, text):
    try:
        reply = connection.ask(line)
    except Refused as error:
        assert str(error) == text, "%r answered %r, expected %r" % (line, str(error), text)
        return
    raise AssertionError("%r answered %r" % (line, reply))


def text_round(server):
    """text: databases, collections and documents, as specified"""
    with Text(server.port["text"], login=False) as text:
        assert text.banner == b"+GRUMPYDB 4.0.0\r"
        refused(text, "WHOAMI", "ERR not authenticated")
        refused(text, "LOGIN _system admin wrong", "ERR invalid credentials")
        tokens = text.ask("LOGIN _system admin " + PASSWORD)
        assert tokens.startswith("TOKEN ") and tokens.count(" ") == 2, tokens
        assert text.ask("TOKEN " + tokens.split()[1]) == "OK"
        who = text.ask("WHOAMI")
        assert who == "USER admin TENANT _system ROLES server_admin:Server", who
        refused(text, "COUNT users", "ERR no database selected (use USE <db>)")
        assert text.ask("CREATE DATABASE demo") == "OK"
        refused(text, "CREATE DATABASE demo",
                "ERR database not found: database 'demo' already exists")
        assert text.ask("use demo") == "OK"
        assert text.ask("CREATE COLLECTION users") == "OK"
        refused(text, "CREATE COLLECTION users",
                "ERR collection not found: collection 'users' already exists")
        assert text.ask("LIST COLLECTIONS") == [b"users"]
        assert b"demo" in text.ask("LIST DATABASES")
        for number in (3, 1, 2):
            assert text.ask('INSERT users %s {"n": %d, "name":"Zoë"}' % (ONE % number, number)) == "OK"
        refused(text, "INSERT users %s {}" % (ONE % 1), "ERR key %s already exists" % (ONE % 1))
        assert text.ask("GET users " + ONE % 2) == '{"n":2,"name":"Zoë"}'.encode()
        assert text.ask("GET users " + ONE % 9) is None
        assert text.ask("UPDATE users %s [1, 2.0, null]" % (ONE % 2)) == "OK"
        assert text.ask("GET users " + (ONE % 2).upper()) == b"[1,2.0,null]"
        refused(text, "UPDATE users %s 1" % (ONE % 9), "ERR key %s not found" % (ONE % 9))
        assert text.ask("COUNT users") == 3
        assert text.ask("SCAN users") == [
            (ONE % 1 + ' {"n":1,"name":"Zoë"}').encode(), (ONE % 2 + " [1,2.0,null]").encode(),
            (ONE % 3 + ' {"n":3,"name":"Zoë"}').encode()]
        assert len(text.ask("SCAN users %s %s" % (ONE % 2, ONE % 3))) == 2
        assert text.ask("SCAN users %s %s" % (ONE % 3, ONE % 2)) == []
        assert text.ask("DELETE users " + ONE % 3) == "OK"
        refused(text, "DELETE users " + ONE % 3, "ERR key %s not found" % (ONE % 3))
        assert text.ask("INSERT users %s true" % (ONE % 3)) == "OK"
        assert text.ask("FLUSH") == "OK"
        refused(text, "GET users x",
                "ERR invalid UUID 'x': invalid character: found `x` at 1")
        refused(text, "INSERT users %s {bad}" % (ONE % 5),
                "ERR invalid JSON: key must be a string at line 1 column 2")
        refused(text, "GET nope " + ONE % 1, "ERR collection not found: nope")
        refused(text, "FROB x", "ERR unknown command: FROB")
        refused(text, "CREATE DATABASE Demo",
                "ERR invalid name: invalid character 'D': only [a-z0-9_] allowed")
        assert text.ask("CREATE COLLECTION gone") == "OK"
        assert text.ask("DROP COLLECTION gone") == "OK"
        refused(text, "DROP COLLECTION gone", "ERR collection not found: gone")
        assert text.ask("CREATE DATABASE gone") == "OK"
        assert text.ask("DROP DATABASE gone") == "OK"
        refused(text, "DROP DATABASE gone", "ERR database not found: gone")
        assert text.ask("QUIT") == "BYE"
        assert text.rest() == b""


def text_nc(server):
    """text: a pipeline by nc is answered in order, the last line without a newline too"""
    got = nc(server.port["text"], b"PING\nping\r\n\r\nFROB\nPING")
    assert got == (b"+GRUMPYDB 4.0.0\r\n+PONG\r\n+PONG\r\n-ERR empty command\r\n"
                   b"-ERR unknown command: FROB\r\n+PONG\r\n"), got
    got = nc(server.port["text"], b"PING\nQUIT\nPING\n")
    assert got == b"+GRUMPYDB 4.0.0\r\n+PONG\r\n+BYE\r\n", got
    done = subprocess.run(["nc", "-N", "127.0.0.1", str(server.port["text"])], input=b"PING\r\n",
                          stdout=subprocess.PIPE, timeout=20, check=False)
    assert done.stdout == b"+GRUMPYDB 4.0.0\r\n+PONG\r\n", done.stdout


def text_anything(server):
    """text: any JSON value comes back as it was written, in its normal form"""
    values = ["0", "-1", "1.5", "1e300", "-0.0", "9223372036854775807", '""', '"a b  c"', "[]", "{}",
              '{"a":{"b":[{"c":null}]}}', '{"_id":5,"$value":1,"$_id":2}', '"\\u0000\\n\\u2028"',
              '{"$oid":"5f5f5f5f5f5f5f5f5f5f5f5f"}', '{"$date":"x"}', '{"b":1,"a":2,"":3}',
              "[" * 120 + "]" * 120]
    with Text(server.port["text"], database="demo") as text:
        for number, value in enumerate(values):
            key = str(uuid.UUID(int=0xA000 + number))
            assert text.ask("INSERT users %s %s" % (key, value)) == "OK", value
            got = text.ask("GET users " + key)
            assert json.loads(got) == json.loads(value), (value, got)
            assert text.ask("UPDATE users %s %s" % (key, got.decode())) == "OK", got
            assert text.ask("GET users " + key) == got, value
            text.ask("DELETE users " + key)


def text_large(server):
    """text: a line of the largest size is stored, one byte more is refused, the rest goes on"""
    with Text(server.port["text"], database="demo") as text:
        key = str(uuid.UUID(int=0xB000))
        start = "INSERT users %s " % key
        room = 1048576 - len(start) - 2 - 2
        assert text.ask(start + '"' + "x" * room + '"') == "OK"
        assert len(text.ask("GET users " + key)) == room + 2
        refused(text, "UPDATE users %s \"%s\"" % (key, "x" * (room + 1)), "ERR line too long")
        assert text.ask("DELETE users " + key) == "OK"


def json_refused(connection, text, type, **members):
    try:
        data = connection.ask(type, **members)
    except Refused as error:
        assert str(error) == text, "%s answered %r, expected %r" % (type, str(error), text)
        return
    raise AssertionError("%s answered %r" % (type, data))


def json_round(server):
    """json: databases, collections and documents, as specified"""
    with Json(server.port["json"]) as conn:
        assert conn.ask("ping") == {"pong": True}
        status = conn.ask("server_status")
        assert status["status"] == "running" and status["uptime_secs"] >= 0, status
        assert len(status["metrics"]) == 17, status["metrics"]
        assert conn.ask("create_database", name="jd") == {"created": "jd"}
        json_refused(conn, "Database already exists: jd", "create_database", name="jd")
        assert "jd" in conn.ask("list_databases")["databases"]
        where = {"database": "jd", "collection": "c"}
        assert conn.ask("create_collection", database="jd", name="c") == {"created": "c"}
        json_refused(conn, "Collection already exists: c", "create_collection", database="jd", name="c")
        assert conn.ask("list_collections", database="jd") == {"collections": ["c"]}
        assert conn.ask("insert_one", document={"_id": "x", "age": 28, "role": "engineer",
                                                "name": "Alice"}, **where) == {"inserted_id": "x"}
        json_refused(conn, 'Duplicate key: collection=jd.c, key={"_id":"x"}', "insert_one",
                     document={"_id": "x"}, **where)
        made = conn.ask("insert_one", document={"age": 30}, **where)["inserted_id"]
        assert str(uuid.UUID(made)) == made
        got = conn.ask("find_one", filter={"_id": "x"}, **where)["document"]
        assert got.pop("_metadata")["version"] == 1
        assert got == {"_id": "x", "age": 28, "name": "Alice", "role": "engineer"}, got
        many = conn.ask("insert_many", documents=[{"_id": n, "age": n} for n in range(50)], **where)
        assert many["count"] == 50 and many["inserted_ids"] == list(range(50)), many
        json_refused(conn, 'Duplicate key: collection=jd.c, key={"_id":7}', "insert_many",
                     documents=[{"_id": 100}, {"_id": 7}], **where)
        assert conn.ask("count", filter={"_id": 100}, **where) == {"count": 0}
        found = conn.ask("find", filter={"age": {"$gte": 40, "$lt": 45}}, sort={"age": -1}, limit=3, **where)
        assert [doc["age"] for doc in found["documents"]] == [44, 43, 42] and found["count"] == 3
        assert conn.ask("find", filter=None, limit=0, **where)["count"] == 0
        got = conn.ask("update_one", filter={"_id": "x"}, update={"$set": {"a": 1}, "$inc": {"age": 2}}, **where)
        assert got == {"matched_count": 1, "modified_count": 1, "upserted_id": None}, got
        got = conn.ask("find_one", filter={"_id": "x"}, **where)["document"]
        assert got["age"] == 30 and got["_metadata"]["version"] == 2, got
        got = conn.ask("update_many", filter={"age": {"$lt": 10}}, update={"seen": True}, **where)
        assert got["matched_count"] == 10, got
        got = conn.ask("update_one", filter={"_id": "new"}, update={"$set": {"a": 1}}, upsert=True, **where)
        assert got == {"matched_count": 0, "modified_count": 0, "upserted_id": "new"}, got
        assert conn.ask("delete_one", filter={"_id": "new"}, **where) == {"deleted_count": 1}
        assert conn.ask("delete_many", filter={"seen": True}, **where) == {"deleted_count": 10}
        assert conn.ask("count", filter={}, **where) == {"count": 42}
        json_refused(conn, "Query parse error: Query must be a JSON object", "delete_many", filter=None, **where)
        json_refused(conn, "Collection not found: nope", "find", database="jd", collection="nope", filter={})
        json_refused(conn, "Invalid operator: $foo", "find", filter={"a": {"$foo": 1}}, **where)
        assert conn.ask("find", database="nope", collection="nope", filter={})["count"] == 0
        assert conn.ask("drop_collection", database="jd", name="c") == {"dropped": "c"}
        json_refused(conn, "Collection not found: c", "drop_collection", database="jd", name="c")
        assert conn.ask("drop_database", name="jd") == {"dropped": "jd"}
        assert conn.ask("drop_database", name="jd") == {"dropped": "jd"}


def json_nc(server):
    """json: a pipeline by nc, replies in the frozen order of members, bad lines answered"""
    good = b'{"command":{"type":"ping"},"request_id":"%d"}\n'
    got = nc(server.port["json"], good % 1 + b"\n  \r\n" + good % 2 + b"nonsense\n" + good[:-1] % 3)
    lines = got.split(b"\n")
    assert len(lines) == 5 and lines[4] == b"", lines
    assert lines[0].startswith(b'{"request_id":"1","ok":true,"data":{"pong":true},"error":null,"execution_time_us":')
    bad = json.loads(lines[2])
    assert bad["request_id"] == "unknown" and bad["error"].startswith("Parse error: "), bad
    assert bad["execution_time_us"] is None and bad["ok"] is False, bad
    assert json.loads(lines[3])["request_id"] == "3", lines


def json_two_writes(server):
    """json: JSON and newline in two segments cost no delayed acknowledgement"""
    with Json(server.port["json"]) as conn:
        conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        began = time.monotonic()
        for _ in range(50):
            conn.sock.sendall(b'{"request_id":"1","command":{"type":"ping"}}')
            conn.sock.sendall(b"\n")
            conn.receive()
        took = (time.monotonic() - began) / 50
        assert took < 0.020, "%.1f ms each" % (took * 1000)
        return "%.2f ms" % (took * 1000)


def shared_tenant(server):
    """what JSON writes, MongoDB reads, and the other way round"""
    import pymongo
    client = pymongo.MongoClient("127.0.0.1", server.port["mongo"])
    with Json(server.port["json"]) as conn:
        where = {"database": "both", "collection": "c"}
        conn.ask("insert_one", document={"_id": "j", "a": 1}, **where)
        client.both.c.insert_one({"_id": "m", "a": 2})
        assert client.both.c.find_one({"_id": "j"})["a"] == 1
        assert conn.ask("find_one", filter={"_id": "m"}, **where)["document"] == {"_id": "m", "a": 2}
        client.both.c.update_one({"_id": "j"}, {"$inc": {"a": 5}})
        assert conn.ask("find_one", filter={"a": 6}, **where)["document"]["_id"] == "j"
    client.close()


def main():
    checks = Checks()
    with Server() as server:
        server.start()
        for round_ in (text_round, text_nc, text_anything, text_large, json_round, json_nc,
                       json_two_writes, shared_tenant):
            checks.run(round_, server)
        checks.check(server.stop() == 0, "TERM: exit 0")
        done = gneiss("check", server.data)
        checks.check(done.returncode == 0, "gneiss check finds nothing", done.stdout + done.stderr)
        checks.check(not server.crashes(), "nothing crashed", server.crashes()[:3])
    checks.done()


if __name__ == "__main__":
    main()

"""The MongoDB listener: the lists "BSON" and "OP_MSG"."""
import datetime
import struct

import bson
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from case import Case
from wire import OP_MSG, OP_QUERY, header, message, section0, section1


def i32(number):
    return struct.pack("<I", number & 0xFFFFFFFF)


def doc(elements, size=None, end=b"\0"):
    """A document of raw elements, its length and terminator true or not."""
    body = elements + end
    return i32(4 + len(body) if size is None else size) + body


def element(kind, name, value):
    return bytes([kind]) + name + b"\0" + value


def insert(raw, how="sequence"):
    """An insert of one raw document into hostile.docs."""
    command = {"insert": "docs", "$db": "hostile"}
    if how == "sequence":
        return message(section0(command) + section1("documents", [raw]))
    array = element(4, b"documents", doc(element(3, b"0", raw)))
    return message(section0(doc(bson.encode(command)[4:-1] + array)))


def string(text, size=None):
    return i32(len(text) + 1 if size is None else size) + text + b"\0"


def bad_values():
    """Name, type, value: each must be refused wherever it stands."""
    for size in (0, -1, 2**31 - 1, -2**31, 6, 4, 100000):
        yield "string length %d" % size, 2, string(b"abcd", size)
    yield "string without NUL", 2, i32(5) + b"abcde"
    yield "string cut off", 2, i32(5) + b"ab"
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
        yield "invalid UTF-8 %s" % bad.hex(), 2, string(bad)
    for size in (-1, 2**31 - 1, 5, 100000, -2**31):
        yield "binary length %d" % size, 5, i32(size) + b"\0abcd"
    for inner in (-1, 0, 3, 5, 2**31 - 1):
        yield "binary 2, inner length %d" % inner, 5, i32(8) + b"\2" + i32(inner) + b"abcd"
    yield "binary 2 too short for its length", 5, i32(3) + b"\2" + b"abc"
    for value in (2, 0xFF, 0x80):
        yield "boolean %d" % value, 8, bytes([value])
    for kind in (3, 4):
        for size in (0, 1, 4, 6, 7, 100, 2**31 - 1, -1, -2**31):
            yield "type %d, length %d" % (kind, size), kind, doc(element(10, b"a", b""), size)
        yield "type %d without terminator" % kind, kind, doc(element(10, b"a", b""), None, b"x")
    yield "an embedded key without NUL", 3, i32(8) + b"\x0aab\0"
    for size in (0, 4, 12, 13, 14, 16, 100, 2**31 - 1, -1):
        yield "code with scope, length %d" % size, 15, i32(size) + string(b"x") + doc(b"")
    yield "code with scope, string too long", 15, i32(17) + i32(100) + b"x\0" + doc(b"")
    yield "code with scope, string 0", 15, i32(15) + i32(0) + b"\0\0\0" + doc(b"")
    yield "code with scope, bad scope", 15, i32(15) + string(b"x") + doc(b"", 100)
    for size in (0, -1, 2**31 - 1):
        yield "DBPointer, string %d" % size, 12, string(b"ab", size) + b"o" * 12
        yield "symbol, string %d" % size, 14, string(b"ab", size)
        yield "code, string %d" % size, 13, string(b"ab", size)
    yield "invalid UTF-8 in a regex", 11, b"\xff\0\0"
    for kind in (0, 0x14, 0x20, 0x7E, 0x80, 0xF0):
        yield "type 0x%02x" % kind, kind, b"\0" * 8
    for kind, size in ((1, 7), (7, 11), (9, 7), (16, 3), (17, 7), (18, 7), (19, 15)):
        yield "type %d cut off" % kind, kind, b"\1" * size
    yield "regex without its second NUL", 11, b"abc"


def good_values():
    yield "double NaN", 1, struct.pack("<d", float("nan"))
    yield "double -0", 1, struct.pack("<d", -0.0)
    yield "the first date", 9, struct.pack("<q", -2**63)
    yield "the last date", 9, struct.pack("<q", 2**63 - 1)
    yield "decimal128 signalling NaN", 19, b"\0" * 15 + b"\x7e"
    yield "decimal128 of ones", 19, b"\xff" * 16
    yield "an array with wrong indices", 4, doc(element(10, b"5", b"") + element(10, b"x", b""))
    yield "an empty binary of type 2", 5, i32(4) + b"\2" + i32(0)
    yield "binary of subtype 7 (column)", 5, i32(9) + b"\7" + b"\x03" * 9
    yield "binary of subtype 0x80", 5, i32(1) + b"\x80x"
    yield "min and max", 3, doc(element(0xFF, b"a", b"") + element(0x7F, b"b", b""))
    yield "a string with NUL", 2, string(b"a\0b")
    yield "an empty document", 3, doc(b"")


def sample():
    """A document of every type."""
    return bson.encode({
        "_id": ObjectId(b"0123456789ab"), "double": 1.5, "string": "grüß", "doc": {"a": {"b": 1}},
        "array": [1, "x", None], "binary": Binary(b"abc", 0), "old": Binary(b"abc", 2), "yes": True,
        "date": datetime.datetime(2026, 1, 1), "null": None, "regex": Regex("a.c", "i"),
        "code": Code("x"), "scope": Code("x", {"y": 1}), "int": 7, "time": Timestamp(1, 2),
        "long": Int64(2**40), "decimal": Decimal128("1.10"), "min": MinKey(), "max": MaxKey()})


def nested(levels):
    """Documents inside documents; built from the inside."""
    heads = []
    size = 5
    for _ in range(levels):
        size += 8
        heads.append(i32(size) + b"\3a\0")
    return b"".join(reversed(heads)) + doc(b"") + b"\0" * levels


def bson_cases(add):
    serial = 0
    for name, kind, value in bad_values():
        for where in ("sequence", "array"):
            add(name + ", in a " + where, insert(doc(element(kind, b"v", value)), where), "refuse")
        inner = doc(element(kind, b"v", value))
        add(name + ", one level down", insert(doc(element(3, b"d", inner))), "refuse")
        add(name + ", in a filter", message(section0(doc(
            bson.encode({"find": "docs", "$db": "hostile"})[4:-1] + element(3, b"filter", inner)))),
            "refuse")
    for name, kind, value in good_values():
        serial += 1
        add(name, insert(doc(element(16, b"_id", i32(serial)) + element(kind, b"v", value))), "ok")
    whole = sample()
    for cut in range(len(whole)):
        add("all types cut to %d bytes" % cut, insert(whole[:cut]), "refuse")
        if cut >= 5:
            add("all types cut to %d bytes, length true" % cut, insert(i32(cut) + whole[4:cut]), "any")
    for at in range(len(whole)):
        for byte in {0, 0xFF, 0x7F, 0x80, (whole[at] + 1) % 256} - {whole[at]}:
            add("all types, byte %d is %d" % (at, byte),
                insert(whole[:at] + bytes([byte]) + whole[at + 1:]), "any")
    for size in (0, 1, 3, 4, 5, len(whole) - 1, len(whole) + 1, 2**31 - 1, 2**31, 2**32 - 1):
        add("a document length of %d" % size, insert(i32(size) + whole[4:]), "refuse")
    for levels, expect in ((90, "ok"), (150, "refuse"), (1000, "refuse"), (100000, "refuse")):
        add("%d levels" % levels, insert(nested(levels)), expect)
    add("16 MiB and one byte", insert(doc(element(2, b"v", string(b"x" * (16777216 - 12))))), "refuse")
    add("16 MiB", insert(doc(element(16, b"_id", i32(99)) + element(2, b"v", string(
        b"x" * (16777216 - 22))))), "ok")
    add("a million empty names", insert(doc(element(10, b"", b"") * 10**6)), "any")
    for name in (b"", b"a.b", b"$x", b"$where", b"a\xff"):
        add("a field called %r" % name, insert(doc(element(16, name, i32(1)))),
            "refuse" if b"\xff" in name else "any")
    for value in ([1], Regex("x")):
        add("an _id that is %r" % value, insert(bson.encode({"_id": value})), "error")
    for filter_ in ({"$where": "sleep(9)"}, {"$expr": {"$function": {}}},
                    {"$foo": 1}, {"a": {"$foo": 1}}, {"$and": []}, {"$or": 5}, {"a": {"$in": 5}},
                    {"$and": [5]}, {"a": {"$regex": "("}}, {"a": {"$not": 5}}):
        add("the filter %s" % filter_, message(section0(
            {"find": "docs", "filter": filter_, "$db": "hostile"})), "error")
        add("deleting by %s" % filter_, message(section0(
            {"delete": "docs", "deletes": [{"q": filter_, "limit": 0}], "$db": "hostile"})), "error")
    for update in ({"$foo": {"a": 1}}, {"$set": 5}, {"$inc": {"name": 1}}, {"$inc": {"a": "x"}}, {"$set": {"_id": 5}},
                   {"$set": {"": 1}}, {"$set": {"a..b": 1}}, {"$set": {"a": 1}, "$inc": {"a": 1}},
                   {"$set": {"a": 1, "a.b": 1}}):
        add("the update %s" % update, message(section0(
            {"update": "docs", "updates": [{"q": {"_id": "there"}, "u": update}], "$db": "hostile"})), "error")


def command_cases(add):
    for command, expect in (
            ({"insert": "docs"}, "error"), ({"insert": 5, "documents": [{}]}, "error"),
            ({"insert": "", "documents": [{}]}, "error"), ({"insert": "docs", "documents": 5}, "error"),
            ({"insert": "docs", "documents": []}, "error"), ({"insert": "docs", "documents": [5]}, "error"),
            ({"insert": "a$b", "documents": [{}]}, "error"), ({"insert": "a\0b", "documents": [{}]}, "error"),
            ({"insert": "system.x", "documents": [{}]}, "error"), ({"insert": "x" * 300, "documents": [{}]}, "error"),
            ({"find": "docs", "filter": 5}, "error"), ({"find": "docs", "limit": "x"}, "error"),
            ({"find": "docs", "skip": -1}, "error"), ({"find": "docs", "batchSize": -1}, "error"),
            ({"find": "docs", "sort": {"a": 5}}, "error"), ({"find": "docs", "sort": 5}, "error"),
            ({"find": "docs", "limit": Int64(2**62), "skip": Int64(2**62)}, "any"),
            ({"find": 5}, "error"), ({"find": "docs", "filter": {}, "bogus": 1}, "any"),
            ({"getMore": Int64(1), "collection": "docs"}, "error"), ({"getMore": 1, "collection": "docs"}, "error"),
            ({"getMore": "x", "collection": "docs"}, "error"), ({"getMore": Int64(-1), "collection": "docs"}, "error"),
            ({"getMore": Int64(1)}, "error"), ({"killCursors": "docs", "cursors": 5}, "error"),
            ({"killCursors": "docs", "cursors": [Int64(1), Int64(0), Int64(-1)]}, "any"),
            ({"update": "docs", "updates": 5}, "error"), ({"update": "docs", "updates": [{}]}, "error"),
            ({"delete": "docs", "deletes": [{"q": {}}]}, "error"),
            ({"delete": "docs", "deletes": [{"q": {}, "limit": 7}]}, "error"),
            ({"create": 5}, "error"), ({"create": ""}, "error"), ({"drop": ""}, "error"),
            ({"createIndexes": "docs", "indexes": []}, "error"), ({"createIndexes": "docs", "indexes": [{}]}, "error"),
            ({"createIndexes": "docs", "indexes": [{"key": {}, "name": "x"}]}, "error"),
            ({"createIndexes": "docs", "indexes": [{"key": {"a": 0}, "name": "x"}]}, "error"),
            ({"createIndexes": "docs", "indexes": [{"key": {"a": 1}, "name": ""}]}, "error"),
            ({"createIndexes": "docs", "indexes": [{"key": {"a": "what"}, "name": "x"}]}, "error"),
            ({"dropIndexes": "docs", "index": "_id_"}, "error"), ({"dropIndexes": "docs", "index": "nope"}, "error"),
            ({"count": "docs", "query": 5}, "error"), ({"listCollections": 1, "filter": 5}, "error"),
            ({"frobnicate": 1}, "error"), ({"": 1}, "error"), ({"$db2": 1}, "error"), ({"eval": "1"}, "error"),
            ({"hello": 1, "client": "x" * 100000}, "any"), ({"ping": Decimal128("1")}, "ok"),
            ({"find": "docs", "filter": {"a": {"$in": list(range(100000))}}}, "ok")):
        try:
            data = message(section0({**command, "$db": "hostile"}))
        except bson.errors.InvalidDocument:
            continue
        add("the command %s" % str(command)[:60], data, expect)
    for database in ("", "a.b", "a/b", "a\\b", "a b", "a$b", "x" * 64, 5, None):
        add("$db %r" % (database,), message(section0({"insert": "c", "documents": [{}], "$db": database})), "error")
    add("$db missing", message(section0({"ping": 1})), "error")
    add("$db with NUL", message(section0(doc(element(16, b"ping", i32(1)) + element(2, b"$db", string(b"a\0b"))))),
        "refuse")
    add("the other tenant's database", message(section0({"find": "secret", "$db": "canary"})), "any")
    add("$db twice", message(section0(doc(element(16, b"ping", i32(1)) + element(2, b"$db", string(b"a")) +
                                          element(2, b"$db", string(b"_system"))))), "any")


def frame_cases(add):
    ping = section0({"ping": 1, "$db": "admin"})
    whole = message(ping)
    for size in (0, 1, 15, 16, 17, 20, len(whole) - 1, 48000001, 2**31 - 1, 2**31, 2**32 - 1, -1, -2**31):
        add("messageLength %d" % size, i32(size) + whole[4:], "refuse")
    add("messageLength one more", i32(len(whole) + 1) + whole[4:], "wait")
    add("messageLength 48,000,000, nothing more", i32(48000000) + whole[4:], "wait")
    add("responseTo is rubbish", whole[:8] + b"\xff\xff\xff\x7f" + whole[12:], "ok")
    add("requestID -1", whole[:4] + b"\xff\xff\xff\xff" + whole[8:], "ok")
    for opcode in (0, 1, 1000, 2001, 2002, 2003, 2005, 2006, 2007, 2008, 2009, 2010, 2011, 2012, 2014, -1):
        add("opcode %d" % opcode, header(len(whole), opcode) + whole[16:], "refuse")
    for bit in range(2, 16):
        add("required flag bit %d" % bit, message(ping, 1 << bit), "refuse")
    for bit in range(17, 32):
        add("optional flag bit %d" % bit, message(ping, 1 << bit), "ok")
    add("exhaustAllowed on ping", message(ping, 1 << 16), "ok")
    add("exhaustAllowed on a write", message(section0({"insert": "docs", "documents": [{}], "$db": "hostile"}),
                                             1 << 16), "any")
    add("checksum flag, no checksum", message(ping, 1), "refuse")
    add("checksum flag, three bytes", message(ping + b"abc", 1), "refuse")
    add("a wrong checksum", message(ping + b"abcd", 1), "refuse")
    add("no section", message(b""), "refuse")
    add("no section of kind 0", message(section1("documents", [{}])), "refuse")
    add("two sections of kind 0", message(ping + ping), "refuse")
    for kind in (2, 3, 0x7F, 0xFF):
        add("a section of kind %d" % kind, message(bytes([kind]) + ping[1:]), "refuse")
        add("then a section of kind %d" % kind, message(ping + bytes([kind]) + b"\0" * 8), "refuse")
    add("kind 0 alone", message(b"\0"), "refuse")
    for cut in range(1, len(ping)):
        add("kind 0 cut to %d bytes" % cut, message(ping[:cut]), "refuse")
    base = section0({"insert": "docs", "$db": "hostile"})
    for size in (0, 1, 3, 4, 5, -1, 2**31 - 1, 2**31, 14, 100):
        add("kind 1 of size %d" % size, message(base + b"\1" + i32(size) + b"documents\0" + doc(b"")), "refuse")
    add("kind 1, an identifier without NUL", message(base + b"\1" + i32(13) + b"documents"), "refuse")
    add("kind 1, the empty identifier", message(base + section1("", [{}])), "refuse")
    add("kind 1 twice", message(base + section1("documents", [{}]) + section1("documents", [{}])), "refuse")
    add("kind 1 and the field", message(section0({"insert": "docs", "documents": [{}], "$db": "hostile"}) +
                                        section1("documents", [{}])), "refuse")
    add("kind 1, a document cut off", message(base + section1("documents", [doc(b"")[:-1]])), "refuse")
    add("kind 1 after nothing", message(section1("documents", [{}]) + base), "ok")
    add("kind 1 of 100,001 documents", message(base + section1("documents", [doc(b"")] * 100001)), "refuse")
    add("kind 1 called $db", message(base + section1("$db", [{}])), "any")
    add("rubbish behind the last section", message(ping + b"\0\0\0"), "refuse")
    add("moreToCome with w:1", message(section0({"insert": "docs", "documents": [{}], "$db": "hostile",
                                                 "writeConcern": {"w": 1}}), 2), "wait")
    add("moreToCome on rubbish", message(section0({"frobnicate": 1, "$db": "x"}), 2), "wait")
    query = i32(0) + b"admin.$cmd\0" + i32(0) + i32(-1)
    hello = bson.encode({"isMaster": 1})
    add("OP_QUERY isMaster", header(16 + len(query + hello), OP_QUERY) + query + hello, "ok")
    add("OP_QUERY of a command", header(16 + len(query) + len(bson.encode({"ping": 1})), OP_QUERY) + query +
        bson.encode({"ping": 1}), "ok")
    for name in (b"admin.docs", b"admin", b"", b".$cmd", b"a.b.$cmd", b"a" * 5000 + b".$cmd", b"\xff.$cmd"):
        body = i32(0) + name + b"\0" + i32(0) + i32(-1) + bson.encode({"isMaster": 1})
        add("OP_QUERY to %r" % name[:12], header(16 + len(body), OP_QUERY) + body, "any")
    body = i32(0) + b"admin.$cmd"
    add("OP_QUERY without NUL", header(16 + len(body), OP_QUERY) + body, "refuse")
    for cut in range(len(query + hello)):
        add("OP_QUERY cut to %d bytes" % cut, header(16 + cut, OP_QUERY) + (query + hello)[:cut], "refuse")
    body = query + hello + bson.encode({"a": 1}) + bson.encode({"b": 1})
    add("OP_QUERY with more documents", header(16 + len(body), OP_QUERY) + body, "refuse")
    for at in range(16):
        for byte in (0, 1, 0x7F, 0x80, 0xFF):
            changed = whole[:at] + bytes([byte]) + whole[at + 1:]
            if 16 < struct.unpack("<i", changed[:4])[0] <= len(whole):
                add("header byte %d is %d" % (at, byte), changed, "any")
    compressed = i32(OP_MSG) + i32(48000000) + b"\2" + b"x" * 20
    add("OP_COMPRESSED that was never agreed on", header(16 + len(compressed), 2012) + compressed, "refuse")


def cases():
    found = []

    def add(name, data, expect):
        found.append(Case("mongo", name, data, expect))

    frame_cases(add)
    command_cases(add)
    bson_cases(add)
    return found

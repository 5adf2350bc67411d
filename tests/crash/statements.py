"""Statements of every kind over the three languages, and what each is right to answer and to change.

A statement is asked on a session of its own; `pick` keeps of its answer what is the same each time,
`begin` is what the session has to do before (a cursor that getMore goes on with), `end` what is left
to be undone after it was done.  `changes` says that it writes; `parts` that an error may leave some
of its documents done, each for itself; `long` that there may be no room to read it, which ends its
session; `slow` that a short form leaves it out.

The MongoDB and JSON statements work on collection c of database alloc (twelve documents, an index on
a, the last document a large one), the text statements on the database alloctext.
"""
import json
import uuid

DATABASE, COLLECTION = "alloc", "c"
DATABASES = (DATABASE, "other", "jmade")
TEXT_DATABASE = "alloctext"
DOCUMENTS = [{"_id": i, "a": i % 4, "n": i, "s": "text %d" % i, "t": [i, i + 1, {"x": i}],
              "d": {"e": i}, "p": "y" * 6000} for i in range(11)] + [
                  {"_id": 11, "a": 3, "n": 11, "s": "large", "t": [], "p": "z" * 40000}]
KEYS = [str(uuid.UUID(int=0x4000 << 64 | 0x8000 << 48 | i)) for i in range(8)]


class Statement:
    def __init__(self, protocol, name, ask, pick=None, changes=False, parts=False, begin=None,
                 end=None, long=False, slow=False):
        self.protocol, self.name, self.ask_with = protocol, name, ask
        self.pick, self.changes, self.parts = pick or (lambda answer: answer), changes, parts
        self.begin, self.end, self.long, self.slow = begin, end, long, slow

    def __str__(self):
        return "%s %s" % (self.protocol, self.name)

    def ask(self, conn, context):
        """What it is right to answer, and all of it."""
        answer = self.ask_with(conn, context)
        return self.pick(answer), answer


def bare(answer):
    """Without what the server notes of each document: dates."""
    if isinstance(answer, dict):
        return {key: bare(value) for key, value in answer.items() if key not in ("_metadata", "cursor_id")}
    return [bare(one) for one in answer] if isinstance(answer, list) else answer


# ---- the state that statements change ----
def mongo_state(control):
    """Of each collection its documents and its indexes."""
    state = {}
    for database in DATABASES:
        listed = control.ask({"listCollections": 1}, database)["cursor"]["firstBatch"]
        for name in sorted(one["name"] for one in listed):
            batch = control.ask({"find": name, "batchSize": 1000}, database)["cursor"]
            assert batch["id"] == 0
            indexes = control.ask({"listIndexes": name}, database)["cursor"]["firstBatch"]
            state[database + "." + name] = (
                {repr(one["_id"]): bare(one) for one in batch["firstBatch"]},
                sorted(one["name"] for one in indexes))
    return state


def mongo_restore(control):
    for database in DATABASES:
        control.ask({"dropDatabase": 1}, database)
    control.ask({"insert": COLLECTION, "documents": DOCUMENTS}, DATABASE)
    control.ask({"createIndexes": COLLECTION, "indexes": [{"key": {"a": 1}, "name": "a_1"}]}, DATABASE)
    control.ask({"insert": "k", "documents": [{"_id": 1}]}, "other")


def text_state(control):
    state = {}
    for name in sorted(one.decode() for one in control.ask("LIST DATABASES")):
        if not name.startswith("alloc"):
            continue
        control.ask("USE " + name)
        for collection in sorted(one.decode() for one in control.ask("LIST COLLECTIONS")):
            rows = control.ask("SCAN " + collection)
            state[name + "." + collection] = (
                {repr(row[0]): row for row in rows},
                sorted(repr(one) for one in control.ask("LIST INDEXES " + collection)))
    return state


def text_restore(control):
    from wire import Refused
    for name in (TEXT_DATABASE, "allocmade"):
        try:
            control.ask("DROP DATABASE " + name)
        except Refused:
            pass
    control.ask("CREATE DATABASE " + TEXT_DATABASE)
    control.ask("USE " + TEXT_DATABASE)
    control.ask("CREATE COLLECTION c")
    control.ask("CREATE INDEX c i n")
    for number, key in enumerate(KEYS[:6]):
        control.ask('INSERT c %s {"n":%d,"m":%d,"s":"%s"}' % (key, number, number, "v" * (20000 if number == 5 else 50)))


STATES = {"mongo": (mongo_state, mongo_restore), "json": (mongo_state, mongo_restore),
          "text": (text_state, text_restore)}


# ---- MongoDB ----
def mongo(name, document, pick=None, database=DATABASE, **more):
    def ask(conn, context):
        command = document(context) if callable(document) else document
        return conn.ask(command, database)
    return Statement("mongo", name, ask, pick, **more)


def batch(reply):
    cursor = reply["cursor"]
    return cursor.get("firstBatch", cursor.get("nextBatch")), cursor["id"] != 0


def only(*names):
    return lambda reply: {name: reply.get(name) for name in names + ("writeErrors",)}


def names_of(reply):
    return sorted(reply)


def open_cursor(document):
    return lambda conn: conn.ask({"find": COLLECTION, "batchSize": 2, **document}, DATABASE)["cursor"]["id"]


def kill_open(conn, answer):
    if answer["cursor"]["id"] != 0:
        conn.ask({"killCursors": COLLECTION, "cursors": [answer["cursor"]["id"]]}, DATABASE)


def sorted_values(reply):
    return sorted(map(repr, reply["values"]))


C = COLLECTION
MONGO = [
    mongo("hello", {"hello": 1}, names_of),
    mongo("ping", {"ping": 1}),
    mongo("find", {"find": C}, batch),
    mongo("find by _id", {"find": C, "filter": {"_id": 5}}, batch),
    mongo("find, index and projection", {"find": C, "filter": {"a": 2}, "projection": {"s": 1, "d.e": 1}}, batch),
    mongo("find, sorted, skipped, limited", {"find": C, "sort": {"n": -1}, "skip": 1, "limit": 3,
                                             "projection": {"n": 1}}, batch),
    mongo("find, a sort that spills", {"find": C, "sort": {"s": 1}}, batch),
    mongo("find, expressions", {"find": C, "filter": {"$or": [
        {"s": {"$regex": "^text [3-5]", "$options": "i"}}, {"t": {"$elemMatch": {"x": {"$gt": 8}}}},
        {"n": {"$in": list(range(0, 200, 7))}}, {"a": {"$not": {"$mod": [2, 0]}}, "d.e": {"$exists": True}}]}}, batch),
    mongo("find, many ranges", {"find": C, "filter": {"a": {"$in": list(range(60))}}}, batch),
    mongo("find, a large document", {"find": C, "filter": {"_id": 11}}, batch),
    mongo("find with a cursor", {"find": C, "batchSize": 2}, batch, end=kill_open),
    mongo("getMore", lambda context: {"getMore": context, "collection": C}, batch, begin=open_cursor({})),
    mongo("getMore, sorted in memory", lambda context: {"getMore": context, "collection": C}, batch,
          begin=open_cursor({"sort": {"n": -1}, "projection": {"n": 1}})),
    mongo("getMore, sorted in a file", lambda context: {"getMore": context, "collection": C, "batchSize": 3},
          batch, begin=open_cursor({"sort": {"s": 1}}), end=kill_open),
    mongo("killCursors", lambda context: {"killCursors": C, "cursors": [context]},
          lambda reply: len(reply["cursorsKilled"]), begin=open_cursor({})),
    mongo("count", {"count": C, "query": {"a": 1}}),
    mongo("distinct", {"distinct": C, "key": "t"}, sorted_values),
    mongo("aggregate", {"aggregate": C, "cursor": {}, "pipeline": [
        {"$match": {"a": {"$gt": 0}}}, {"$sort": {"n": 1}}, {"$limit": 4}, {"$project": {"n": 1}}]}, batch),
    mongo("aggregate, a count", {"aggregate": C, "cursor": {}, "pipeline": [
        {"$match": {"a": 3}}, {"$group": {"_id": 1, "n": {"$sum": 1}}}]}, batch),
    mongo("explain", {"explain": {"find": C, "filter": {"a": 1}, "sort": {"n": 1}}}, names_of),
    mongo("insert", {"insert": C, "documents": [{"_id": "new", "a": 1}]}, only("n"), changes=True),
    mongo("insert many", {"insert": C, "documents": [{"_id": "new%d" % i, "a": i, "t": [i] * 3} for i in range(6)]},
          only("n"), changes=True, parts=True),
    mongo("insert into a new collection", {"insert": "made", "documents": [{"_id": 1}]}, only("n"), changes=True,
          parts=True),
    mongo("insert a large document", {"insert": C, "documents": [{"_id": "big", "a": 1, "p": "q" * 150000}]},
          only("n"), changes=True, long=True),
    mongo("insert a duplicate", {"insert": C, "documents": [{"_id": 3}]},
          lambda reply: [error["code"] for error in reply["writeErrors"]]),
    mongo("update", {"update": C, "updates": [{"q": {"_id": 1}, "u": {"$set": {"s": "changed", "d.f": [1]},
                                                                    "$inc": {"n": 100}}}]},
          only("n", "nModified"), changes=True),
    mongo("update, a key", {"update": C, "updates": [{"q": {"a": 2}, "u": {"$set": {"a": 77}}}]},
          only("n", "nModified"), changes=True),
    mongo("update many", {"update": C, "updates": [{"q": {"a": 1}, "multi": True, "u": {
        "$push": {"t": {"$each": [1, 2], "$slice": -3}}, "$unset": {"s": 1}, "$rename": {"d": "dd"}}}]},
          only("n", "nModified"), changes=True, parts=True),
    mongo("update, arrays", {"update": C, "updates": [{"q": {"_id": 2}, "u": {
        "$pull": {"t": {"x": 2}}, "$addToSet": {"u": {"$each": [1, 1, 2]}}, "$mul": {"n": 3},
        "$currentDate": {}, "$max": {"a": 9}}}]}, only("n", "nModified"), changes=True),
    mongo("update, it grows", {"update": C, "updates": [{"q": {"_id": 4}, "u": {"$set": {"p": "w" * 30000}}}]},
          only("n", "nModified"), changes=True, long=True),
    mongo("update, upsert", {"update": C, "updates": [{"q": {"_id": "up", "a": 5}, "upsert": True,
                                                     "u": {"$set": {"x": 1}, "$setOnInsert": {"y": 2}}}]},
          only("n", "upserted"), changes=True),
    mongo("replace", {"update": C, "updates": [{"q": {"_id": 6}, "u": {"a": 9, "whole": True}}]},
          only("n", "nModified"), changes=True),
    mongo("delete", {"delete": C, "deletes": [{"q": {"_id": 7}, "limit": 1}]}, only("n"), changes=True),
    mongo("delete many", {"delete": C, "deletes": [{"q": {"n": {"$gte": 8}}, "limit": 0}]}, only("n"),
          changes=True, parts=True),
    mongo("findAndModify", {"findAndModify": C, "query": {"a": 3}, "sort": {"n": -1}, "new": True,
                            "update": {"$inc": {"n": 1}}}, only("value"), changes=True),
    mongo("findAndModify, remove", {"findAndModify": C, "query": {"_id": 0}, "remove": True}, only("value"), changes=True),
    mongo("create", {"create": "made"}, changes=True),
    mongo("drop", {"drop": C}, only("nIndexesWas"), changes=True),
    mongo("dropDatabase", {"dropDatabase": 1}, only("dropped"), database="other", changes=True, parts=True),
    mongo("createIndexes", {"createIndexes": C, "indexes": [
        {"key": {"n": 1, "s": -1}, "name": "n_s"}, {"key": {"t": 1}, "name": "t_1", "sparse": True}]},
          only("numIndexesAfter"), changes=True, parts=True),
    mongo("createIndexes, unique", {"createIndexes": C, "indexes": [
        {"key": {"n": 1}, "name": "n_1", "unique": True}]}, only("numIndexesAfter"), changes=True),
    mongo("dropIndexes", {"dropIndexes": C, "index": "a_1"}, only("nIndexesWas"), changes=True),
    mongo("listCollections", {"listCollections": 1},
          lambda reply: sorted(one["name"] for one in reply["cursor"]["firstBatch"])),
    mongo("listDatabases", {"listDatabases": 1},
          lambda reply: sorted(one["name"] for one in reply["databases"]), database="admin"),
    mongo("listIndexes", {"listIndexes": C}, batch),
    mongo("dbStats", {"dbStats": 1}, only("collections", "objects", "indexes")),
    mongo("validate", {"validate": C}, only("valid", "nrecords", "errors")),
    mongo("serverStatus", {"serverStatus": 1}, names_of, database="admin"),
    mongo("currentOp", {"currentOp": 1}, names_of, database="admin"),
    mongo("connectionStatus", {"connectionStatus": 1}, names_of),
    mongo("getParameter", {"getParameter": "*"}, names_of, database="admin"),
    mongo("getCmdLineOpts", {"getCmdLineOpts": 1}, names_of, database="admin"),
    mongo("startSession", {"startSession": 1}, names_of),
    mongo("endSessions", {"endSessions": []}),
]


# ---- JSON lines ----
def js(type, title=None, pick=None, changes=False, parts=False, begin=None, end=None, **members):
    def ask(conn, context):
        return conn.ask(type, **{key: value(context) if callable(value) else value
                                 for key, value in members.items()})
    return Statement("json", title or type, ask, pick, changes, parts, begin, end)


def on_c(type, title=None, **members):
    return js(type, title, database=DATABASE, collection=COLLECTION, **members)


def json_cursor(conn):
    return conn.ask("find", database=DATABASE, collection=COLLECTION, filter={}, batch_size=2)["cursor_id"]


JSON = [
    js("ping"),
    js("server_status", pick=names_of),
    js("metrics", pick=names_of),
    js("list_databases", pick=bare),
    js("database_stats", pick=names_of, database=DATABASE),
    js("list_collections", pick=bare, database=DATABASE),
    on_c("list_indexes", pick=bare),
    js("create_database", name="jmade", end=lambda conn, answer: conn.ask("drop_database", name="jmade")),
    on_c("find", filter={"a": {"$gte": 1}}, projection={"n": 1}, pick=bare),
    on_c("find", "find, a sort that spills", filter={}, sort={"s": -1}, pick=bare),
    on_c("find_one", filter={"s": "text 4"}, pick=bare),
    on_c("count", filter={"a": 3}),
    on_c("find", "find with a cursor", filter={}, batch_size=2, pick=bare,
         end=lambda conn, answer: conn.ask("kill_cursor", cursor_id=answer["cursor_id"])),
    js("get_more", pick=bare, begin=json_cursor, cursor_id=lambda context: context, batch_size=100),
    js("kill_cursor", pick=bare, begin=json_cursor, cursor_id=lambda context: context),
    on_c("insert_one", document={"_id": "j", "a": 1, "x": {"y": [1, 2, {"z": None}]}}, changes=True, pick=bare),
    on_c("insert_many", documents=[{"_id": "j%d" % i, "a": i, "e": 1.5e10} for i in range(6)], changes=True,
         parts=True, pick=bare),
    on_c("update_one", filter={"_id": 1}, update={"$set": {"s": "j"}}, changes=True),
    on_c("update_many", filter={"a": {"$gt": 1}}, update={"$inc": {"n": 1}}, changes=True, parts=True),
    on_c("replace_one", filter={"_id": 2}, document={"a": 1, "r": [1]}, changes=True),
    on_c("delete_one", filter={"_id": 3}, changes=True),
    on_c("delete_many", filter={"a": 2}, changes=True, parts=True),
    on_c("create_index", name="n_j", fields=["n"], unique=False, index_type="btree", changes=True),
    on_c("drop_index", name="a_1", changes=True),
    js("create_collection", name="made", database=DATABASE, changes=True),
    js("drop_collection", name=COLLECTION, database=DATABASE, changes=True),
    on_c("compact", pick=names_of),
]


# ---- text ----
def text(line, pick=None, name=None, **more):
    return Statement("text", name or " ".join(line.split()[:2]), lambda conn, context: conn.ask(line), pick,
                     **more)


def login_again(conn, _context=None):
    from server import PASSWORD
    return conn.ask("LOGIN _system admin " + PASSWORD)


def text_tokens(which):
    return lambda conn: login_again(conn).split()[1 + which]


def begins(answer):
    return answer[:5]


def good_tokens(conn, answer):
    conn.ask("TOKEN " + answer.split()[1])


TEXT = [
    text("PING", name="PING"),
    # Before LOGIN another one, for keys that signed wrongly are read anew, and that takes thousands of allocations.
    Statement("text", "LOGIN", login_again, begins, begin=text_tokens(0), end=good_tokens, slow=True),
    Statement("text", "TOKEN", lambda conn, token: conn.ask("TOKEN " + token)[:4], begin=text_tokens(0), slow=True),
    Statement("text", "REFRESH", lambda conn, token: conn.ask("REFRESH " + token), begins, begin=text_tokens(1),
              end=good_tokens, slow=True),
    text("WHOAMI"),
    text("TOPOLOGY", lambda answer: isinstance(answer, list) or bool(answer)),
    text("USE " + TEXT_DATABASE, name="USE"),
    text("LIST DATABASES", sorted),
    text("LIST COLLECTIONS", sorted),
    text("LIST INDEXES c"),
    text("CREATE DATABASE allocmade", changes=True),
    text("DROP DATABASE " + TEXT_DATABASE, changes=True, parts=True),
    text("CREATE COLLECTION made", changes=True),
    text("DROP COLLECTION c", changes=True),
    text("CREATE INDEX c j m", changes=True, slow=True),
    text("DROP INDEX c i", changes=True),
    text('INSERT c %s {"n":70,"s":"new","x":[1,{"y":2.5}]}' % KEYS[6], name="INSERT", changes=True),
    text('INSERT c %s {"n":71,"s":"%s"}' % (KEYS[7], "w" * 50000), name="INSERT, large", changes=True, long=True),
    text("GET c " + KEYS[2], name="GET"),
    text("GET c " + KEYS[5], name="GET, large"),
    text('UPDATE c %s {"n":72,"s":"newer"}' % KEYS[3], name="UPDATE", changes=True),
    text("DELETE c " + KEYS[4], name="DELETE", changes=True),
    text("SCAN c", name="SCAN"),
    text("SCAN c %s %s" % (KEYS[1], KEYS[4]), name="SCAN, a range"),
    text("COUNT c", name="COUNT"),
    text("COMPACT c", lambda answer: True, name="COMPACT"),
    text("FLUSH", name="FLUSH"),
]

ALL = MONGO + JSON + TEXT


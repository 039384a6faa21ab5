"""A whole receiver of Syncline's events: verify, store once, answer, prove completeness.

WEBHOOK_SECRETS   the webhook's secret (whsec_...); during a rotation both, separated by a space
PORT              where to listen, on 127.0.0.1
STATE             the SQLite file that it keeps everything in

POST anything     an event
GET /runs/<id>    what is here of a run, and whether that is all
"""

import json
import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SECRETS = [Webhook(secret) for secret in os.environ["WEBHOOK_SECRETS"].split()]
ENDS = {"sync_job_run:completed", "sync_job_run:failed", "sync_job_run:stopped"}

SCHEMA = """
create table if not exists event (id text primary key, run text);
create table if not exists record (run text, name text, seq integer, body text, primary key (run, name, seq));
create table if not exists run_end (run text primary key, event text, errors integer);
create table if not exists stream_end (run text, name text, last_seq integer, primary key (run, name));
"""

db = sqlite3.connect(os.environ["STATE"], check_same_thread=False)
db.executescript("pragma journal_mode = wal; pragma synchronous = full;" + SCHEMA)
lock = threading.Lock()  # one connection, many threads


def verify(headers, body):
    """Over the bytes as they came; one secret that matches is enough."""
    for secret in SECRETS:
        try:
            secret.verify(body, dict(headers), json_parse=False)
            return True
        except (WebhookVerificationError, ValueError):
            continue
    return False


def store(event_id, body):
    """The event's id and its effect in one transaction: both are kept, or neither, and an id that is there does nothing."""
    event = json.loads(body)
    payload = event["payload"]
    run = payload.get("sync_job_run_id")
    with lock, db:
        if db.execute("insert or ignore into event values (?, ?)", (event_id, run)).rowcount == 0:
            return
        if event["event"] == "sync_job_run:record":
            # The effect; yours may differ. SQLite takes the records out of the body, so that no number becomes a float.
            # A record that comes again in another event replaces itself.
            db.execute(
                """insert or replace into record
                   select ?, ?, ? + key, value from json_each(?, '$.payload.records')""",
                (run, payload["name"], payload["meta"]["first_seq"], body.decode()),
            )
        if event["event"] in ENDS:
            db.execute("insert into run_end values (?, ?, ?)", (run, event["event"], payload["errors"]))
            for stream in payload["resources"]:
                db.execute("insert into stream_end values (?, ?, ?)", (run, stream["name"], stream["last_seq"]))
    if event["event"] in ENDS:
        print(json.dumps(report(run)), flush=True)


def report(run):
    """What is here of a run. Seq counts from 1 without gaps, and the end says how far: nothing can be missing unseen."""
    with lock:
        end = db.execute("select event, errors from run_end where run = ?", (run,)).fetchone()
        last = dict(db.execute("select name, last_seq from stream_end where run = ?", (run,)))
        events = db.execute("select count(*) from event where run = ?", (run,)).fetchone()[0]
        seqs = {name: [] for name in last}
        # In order of seq, whatever the order of arrival.
        for name, seq in db.execute("select name, seq from record where run = ? order by name, seq", (run,)):
            seqs.setdefault(name, []).append(seq)
    streams = {
        name: {"received": len(here), "last_seq": last.get(name), "missing": gaps(here, last.get(name))}
        for name, here in seqs.items()
    }
    return {
        "run": run,
        "events": events,
        "ended": end and end[0],
        # Fetches that the source failed; their records are in no stream.
        "errors": end and end[1],
        "complete": end is not None and not any(stream["missing"] for stream in streams.values()),
        "streams": streams,
    }


def gaps(seqs, last):
    missing, expected = [], 1
    for seq in seqs + [(last or 0) + 1]:
        if seq > expected:
            missing.append([expected, seq - 1])
        expected = max(expected, seq + 1)
    return missing


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not verify(self.headers, body):
            return self.answer(401)
        # What fails here ends without an answer, and the event comes again.
        store(self.headers["webhook-id"], body)
        self.answer(204)

    def do_GET(self):
        self.answer(200, json.dumps(report(self.path.removeprefix("/runs/"))).encode())

    def answer(self, status, body=b""):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()

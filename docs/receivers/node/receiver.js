// A whole receiver of Syncline's events: verify, store once, answer, prove completeness.
//
// WEBHOOK_SECRETS   the webhook's secret (whsec_...); during a rotation both, separated by a space
// PORT              where to listen, on 127.0.0.1
// STATE             the journal that it keeps everything in
//
// POST anything     an event
// GET /runs/<id>    what is here of a run, and whether that is all
//
// The journal is its database: one line an event, on disk before the answer. Id and effect are one line, so both are
// kept or neither; at the start the lines are read again.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const secrets = process.env.WEBHOOK_SECRETS.split(" ").map((secret) => new Webhook(secret));
const ENDS = ["sync_job_run:completed", "sync_job_run:failed", "sync_job_run:stopped"];

const seen = new Set(); // ids; those of runs that ended long ago may be forgotten
const runs = new Map(); // run -> { events, ended, errors, streams }
const journal = openJournal(process.env.STATE);

function openJournal(path) {
  if (existsSync(path)) {
    const bytes = readFileSync(path);
    // A line without its end was never answered: it comes again.
    const whole = bytes.lastIndexOf("\n") + 1;
    truncateSync(path, whole);
    for (const line of bytes.subarray(0, whole).toString().split("\n").filter(Boolean)) {
      const [id, body] = JSON.parse(line);
      note(id, JSON.parse(body));
    }
  }
  return openSync(path, "a");
}

// Over the bytes as they came; one secret that matches is enough.
function verified(headers, body) {
  return secrets.some((secret) => {
    try {
      secret.verify(body, headers);
      return true;
    } catch {
      return false;
    }
  });
}

function store(id, body) {
  if (seen.has(id)) return;
  const event = JSON.parse(body); // first: what can't be read must not get into the journal
  try {
    // The body as text keeps its bytes: parse records with what keeps long numbers, which JSON.parse doesn't.
    const line = Buffer.from(JSON.stringify([id, body.toString()]) + "\n");
    for (let written = 0; written < line.length; ) written += writeSync(journal, line, written);
    fsyncSync(journal);
  } catch (error) {
    // Nobody knows how much of the line is there; the next start does.
    console.error(error);
    closeSync(journal);
    process.exit(1);
  }
  note(id, event);
}

// What follows from an event, when it comes and when the journal is read again.
function note(id, { event, payload }) {
  seen.add(id);
  const run = payload.sync_job_run_id;
  if (!run) return; // of an account or a trigger
  if (!runs.has(run)) runs.set(run, { events: 0, ended: null, errors: null, streams: new Map() });
  const state = runs.get(run);
  state.events += 1;
  if (event === "sync_job_run:record") {
    insert(stream(state, payload.name).ranges, payload.meta.first_seq, payload.meta.last_seq);
  }
  if (ENDS.includes(event)) {
    state.ended = event;
    state.errors = payload.errors; // fetches that the source failed; their records are in no stream
    for (const { name, last_seq } of payload.resources) stream(state, name).last_seq = last_seq;
    console.log(JSON.stringify(report(run)));
  }
}

function stream(state, name) {
  if (!state.streams.has(name)) state.streams.set(name, { ranges: [], last_seq: null });
  return state.streams.get(name);
}

// Ranges of seq that are here: sorted, apart. Events mostly come in order, so this mostly lengthens the last one.
function insert(ranges, first, last) {
  ranges.push([first, last]);
  ranges.sort((a, b) => a[0] - b[0]);
  for (let i = ranges.length - 1; i > 0; i -= 1) {
    if (ranges[i][0] <= ranges[i - 1][1] + 1) {
      ranges[i - 1][1] = Math.max(ranges[i - 1][1], ranges[i][1]);
      ranges.splice(i, 1);
    }
  }
}

// Seq counts from 1 without gaps, and the end says how far: nothing can be missing unseen.
function report(run) {
  const { events = 0, ended = null, errors = null, streams: all = new Map() } = runs.get(run) ?? {};
  const streams = {};
  for (const [name, { ranges, last_seq }] of all) {
    const missing = [];
    let expected = 1;
    for (const [first, last] of [...ranges, [(last_seq ?? 0) + 1, 0]]) {
      if (first > expected) missing.push([expected, first - 1]);
      expected = Math.max(expected, last + 1);
    }
    const received = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    streams[name] = { received, last_seq, missing };
  }
  const complete = ended !== null && Object.values(streams).every(({ missing }) => missing.length === 0);
  return { run, events, ended, errors, complete, streams };
}

createServer(async (request, response) => {
  if (request.method === "GET") return response.end(JSON.stringify(report(request.url.replace("/runs/", ""))));
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (!verified(request.headers, body)) return response.writeHead(401).end();
  store(request.headers["webhook-id"], body);
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), "127.0.0.1");

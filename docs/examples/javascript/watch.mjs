#!/usr/bin/env node
// Watches the presence of people through UCWA, following links only.
//
//     UCWA_PASSWORD=… node watch.mjs https://lyncdiscover.contoso.com/ ana@contoso.com bo@contoso.com
//
// Needs Node.js 18 and no packages. Ends on Ctrl-C.
import { setTimeout as sleep } from "node:timers/promises";

const duration = 30; // minutes: the longest a presence subscription may last
const [root, user, ...addresses] = process.argv.slice(2);
if (addresses.length === 0) {
  console.error("usage: UCWA_PASSWORD=… watch.mjs URL USER ADDRESS…");
  process.exit(2);
}

/** The application or the ticket is not good any more. */
class Ended extends Error {}

let base = root; // what hrefs are relative to
let token;
let application;
const known = new Map();
const stop = new AbortController(); // aborts what is under way

const href = (resource, rel) => resource._links?.[rel]?.href;

/** Sends a request and waits out what is temporary. */
async function send(method, link, body) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = token;
  if (body !== undefined && !(body instanceof URLSearchParams)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  for (;;) {
    let wait = 5;
    try {
      // fetch waits 300 s for an answer; a P-GET is held for 180.
      const answer = await fetch(new URL(link, base), { method, headers, body, signal: stop.signal });
      const text = await answer.text();
      if (![429, 502, 503, 504].includes(answer.status)) {
        return { status: answer.status, headers: answer.headers, resource: parse(text) };
      }
      wait = Number(answer.headers.get("Retry-After")) || wait;
      console.error(`${answer.status}, again in ${wait} s`);
    } catch (problem) {
      if (stop.signal.aborted) throw problem;
      console.error(`${problem.cause ?? problem}, again in ${wait} s`); // no connection, or it broke
    }
    await sleep(wait * 1000, undefined, { signal: stop.signal });
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {}; // empty, or a page of a proxy
  }
}

/** Returns the resource, or throws what ends the application. */
async function call(method, link, body) {
  const { status, resource } = await send(method, link, body);
  if ([401, 404, 410].includes(status)) throw new Ended(`${status} ${resource.subcode ?? ""}`);
  if (status >= 300) throw new Error(`${method} ${link}: ${status} ${JSON.stringify(resource)}`);
  return resource;
}

/** Goes from discovery to a token; returns the link to applications. */
async function signIn() {
  token = undefined;
  base = root;
  const link = href(await call("GET", root), "user");
  const { headers } = await send("GET", link); // 401: it says where the token service is
  const service = /MsRtcOAuth href="([^"]+)"/.exec(headers.get("WWW-Authenticate"))?.[1];
  if (!service) throw new Error("the server names no token service");
  const form = new URLSearchParams({ grant_type: "password", username: user, password: process.env.UCWA_PASSWORD });
  const { status, resource: ticket } = await send("POST", service, form);
  if (status !== 200) throw new Error(`sign-in was refused: ${status} ${ticket.error ?? ""}`);
  token = `${ticket.token_type} ${ticket.access_token}`;
  return href(await call("GET", link), "applications");
}

function subscribe() {
  const link = href(application._embedded.people, "presenceSubscriptions");
  return call("POST", link, { duration, uris: addresses.map((address) => `sip:${address}`) });
}

/** Prints the presence an event is about, if it has changed. */
async function show(event) {
  let contact, presence;
  try {
    [contact, presence] = await Promise.all([call("GET", event.in.href), call("GET", event.link.href)]);
  } catch (problem) {
    if (problem instanceof Ended) return; // if it is the application, the next P-GET tells
    throw problem;
  }
  const who = contact.uri.replace(/^sip:/, "");
  const now = [presence.availability, presence.activity].filter(Boolean).join(" ");
  if (known.get(who) === now) return;
  known.set(who, now);
  console.log(who, now);
}

/** Follows the event channel until the application ends. */
async function watch() {
  await subscribe();
  for (let next = href(application, "events"); ; ) {
    const answer = await call("GET", next); // held until there are events
    for (const event of (answer.sender ?? []).flatMap((sender) => sender.events)) {
      const what = `${event.link.rel} ${event.type}`;
      if (what === "contactPresence updated") await show(event);
      if (what === "presenceSubscription updated") await call("POST", `${event.link.href}?duration=${duration}`); // about to expire
      if (what === "presenceSubscription deleted") await subscribe();
    }
    const anew = href(answer, "resync") ?? href(answer, "resume");
    if (anew) {
      console.error("subscribing anew"); // events or subscriptions were lost
      await subscribe();
    }
    next = anew ?? href(answer, "next");
  }
}

process.once("SIGINT", () => stop.abort());
try {
  for (;;) {
    try {
      base = await signIn(); // hrefs from here on are relative to it
      application = await call("POST", base, { userAgent: "watch.mjs", endpointId: String(process.pid), culture: "en-US" });
      await watch();
    } catch (problem) {
      if (!(problem instanceof Ended)) throw problem;
      console.error(`beginning anew: ${problem.message}`);
      await sleep(1000, undefined, { signal: stop.signal });
    }
  }
} catch (problem) {
  if (!stop.signal.aborted) {
    console.error(problem.message);
    process.exitCode = 1;
  }
}
if (application) {
  const end = { method: "DELETE", headers: { Authorization: token } };
  await fetch(new URL(href(application, "self"), base), end).catch(() => {}); // it ends by itself if this fails
}

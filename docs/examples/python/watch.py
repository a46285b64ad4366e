#!/usr/bin/env python3
"""Watches the presence of people through UCWA, following links only.

    UCWA_PASSWORD=… python3 watch.py https://lyncdiscover.contoso.com/ ana@contoso.com bo@contoso.com

Needs Python 3.8 and nothing else. Ends on Ctrl-C.
"""
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 300  # seconds: a P-GET is held for 180
DURATION = 30  # minutes: the longest a presence subscription may last


class Ended(Exception):
    """The application or the ticket is not good any more."""


class Client:
    def __init__(self, base):
        self.base = base
        self.token = None

    def send(self, method, href, body=None, form=None):
        """Returns status, headers and resource; waits out what is temporary."""
        url = urllib.parse.urljoin(self.base, href)
        headers = {"Accept": "application/json"}
        data = None
        if self.token:
            headers["Authorization"] = self.token
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        if form is not None:
            data = urllib.parse.urlencode(form).encode()
        while True:
            request = urllib.request.Request(url, data, headers, method=method)
            wait = 5
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    return answer.status, answer.headers, parse(answer.read())
            except urllib.error.HTTPError as answer:
                resource = parse(answer.read())
                if answer.code not in (429, 502, 503, 504):
                    return answer.code, answer.headers, resource
                wait = int(answer.headers.get("Retry-After") or wait)
                note(f"{answer.code}, again in {wait} s")
            except OSError as problem:  # no connection, or it broke
                note(f"{problem}, again in {wait} s")
            time.sleep(wait)

    def call(self, method, href, body=None):
        """Returns the resource, or raises what ends the application."""
        status, _, resource = self.send(method, href, body)
        if status in (401, 404, 410):
            raise Ended(f"{status} {resource.get('subcode', '')}")
        if status >= 300:
            sys.exit(f"{method} {href}: {status} {resource}")
        return resource

    def sign_in(self, user, password):
        """From discovery to a token; returns the link to applications."""
        self.token = None
        link = href(self.call("GET", self.base), "user")
        _, headers, _ = self.send("GET", link)  # 401: it says where the token service is
        challenge = ", ".join(headers.get_all("WWW-Authenticate", []))
        service = re.search(r'MsRtcOAuth href="([^"]+)"', challenge)
        if not service:
            sys.exit("the server names no token service")
        form = {"grant_type": "password", "username": user, "password": password}
        status, _, ticket = self.send("POST", service[1], form=form)
        if status != 200:
            sys.exit(f"sign-in was refused: {status} {ticket.get('error', '')}")
        self.token = f"{ticket['token_type']} {ticket['access_token']}"
        return href(self.call("GET", link), "applications")


def parse(text):
    try:
        return json.loads(text)
    except ValueError:  # empty, or a page of a proxy
        return {}


def href(resource, rel):
    return resource.get("_links", {}).get(rel, {}).get("href")


def note(text):
    print(text, file=sys.stderr, flush=True)


def show(client, event, known):
    """Prints the presence an event is about, if it has changed."""
    try:
        contact = client.call("GET", event["in"]["href"])
        presence = client.call("GET", event["link"]["href"])
    except Ended:  # if it is the application, the next P-GET tells
        return
    now = f"{presence.get('availability', '')} {presence.get('activity', '')}".strip()
    who = contact["uri"].partition(":")[2]
    if known.get(who) != now:
        known[who] = now
        print(who, now, flush=True)


def watch(client, application, addresses, known):
    def subscribe():
        people = application["_embedded"]["people"]
        uris = ["sip:" + address for address in addresses]
        client.call("POST", href(people, "presenceSubscriptions"), {"duration": DURATION, "uris": uris})

    subscribe()
    following = href(application, "events")
    while True:
        package = client.call("GET", following)  # held until there are events
        for sender in package.get("sender", []):
            for event in sender["events"]:
                rel, kind = event["link"]["rel"], event["type"]
                if rel == "contactPresence" and kind == "updated":
                    show(client, event, known)
                elif rel == "presenceSubscription" and kind == "updated":  # about to expire
                    client.call("POST", f"{event['link']['href']}?duration={DURATION}")
                elif rel == "presenceSubscription" and kind == "deleted":
                    subscribe()
        anew = href(package, "resync") or href(package, "resume")
        if anew:  # events or subscriptions were lost
            note("subscribing anew")
            subscribe()
        following = anew or href(package, "next")


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: UCWA_PASSWORD=… watch.py URL USER ADDRESS…")
    base, user, addresses = sys.argv[1], sys.argv[2], sys.argv[3:]
    client, application, known = Client(base), None, {}
    create = {"userAgent": "watch.py", "endpointId": str(os.getpid()), "culture": "en-US"}
    try:
        while True:
            try:
                applications = client.sign_in(user, os.environ["UCWA_PASSWORD"])
                client.base = applications  # hrefs from here on are relative to it
                application = client.call("POST", applications, create)
                watch(client, application, addresses, known)
            except Ended as reason:
                note(f"beginning anew: {reason}")
                client.base = base
                time.sleep(1)
    except KeyboardInterrupt:
        if application:
            client.send("DELETE", href(application, "self"))


main()

"""Runs a plan of SDK calls and prints one JSON line per outcome.

The plan, read from the file named on the command line:

    {"urls": {"<provider>": "http://…"}, "cases": [{"id", "client", "provider", "method",
     "target": "<voice, job or interaction id>" | null, "headers": {…}, "retries": n | null}]}

An outcome holds everything that a program which uses the SDK can see: the exception with its class, bases and
fields, or the value with the digest of its audio; and the number of HTTP requests that the SDK sent for it.
Nothing is judged here; the test that wrote the plan compares outcomes.
"""

import concurrent.futures
import faulthandler
import functools
import hashlib
import json
import sys
import threading

import httpx
import httpx._transports.default as httpx_transport

import calls
import sockets  # noqa: F401, registers its calls

# Reading the platform's certificates costs more than a call to the simulator.
httpx_transport.create_ssl_context = functools.cache(httpx_transport.create_ssl_context)

# A call that never ends is a finding: the stacks of all threads go to standard error, and the run fails.
DEADLINE_SECONDS = 240

_counted = threading.local()


def _count_requests(client_class):
    original = client_class.send

    @functools.wraps(original)
    def send(self, *args, **kwargs):
        _counted.requests = getattr(_counted, "requests", 0) + 1
        return original(self, *args, **kwargs)

    client_class.send = send


_count_requests(httpx.Client)
_count_requests(httpx.AsyncClient)


def plain(value, depth=0):
    """Any value as JSON, models with their class and the members that they do not declare."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if depth > 12:
        return "too deep"
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if hasattr(value, "model_dump"):
        members = value.model_dump(mode="json", warnings=False)
        return {"class": type(value).__name__, "members": plain(members, depth + 1)}
    if isinstance(value, httpx.Headers):
        return dict(value)
    return type(value).__name__


def headers_of(error):
    response = getattr(error, "response", None)
    headers = getattr(error, "headers", None) or getattr(response, "headers", None) or {}
    pairs = headers.raw_items() if hasattr(headers, "raw_items") else dict(headers).items()
    return {str(name).lower(): str(value) for name, value in pairs}


def body_of(error):
    """The body as the SDK hands it out; else, where it keeps only the response, that response's."""
    body = getattr(error, "body", None)
    if body is not None:
        return body
    response = getattr(error, "response", None)
    try:
        # A refused upgrade is another kind of response.
        return json.loads(response.body if hasattr(response, "body") else response.content)
    except (AttributeError, TypeError, ValueError, httpx.StreamError):
        return getattr(response, "text", None)


def fields_of(error):
    """Members and properties that the class itself offers, without the parts reported elsewhere."""
    names = set(vars(error))
    for kind in type(error).__mro__:
        if kind.__module__.split(".")[0] not in ("builtins", "typing"):
            names.update(name for name, member in vars(kind).items() if isinstance(member, property))
    elsewhere = {"headers", "body", "response", "request", "args", "with_traceback", "message"}
    return {name: plain(getattr(error, name)) for name in sorted(names - elsewhere) if not name.startswith("_")}


def message_of(error, body):
    """The text without the copies of body and headers that some SDKs paste into it."""
    text = str(error)
    for shown, mark in ((getattr(error, "headers", None), "<headers>"), (body, "<body>")):
        if shown:
            text = text.replace(str(shown), mark)
    return text


def qualified(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def failure(error):
    body = body_of(error)
    return {
        "outcome": "error",
        "class": qualified(type(error)),
        "bases": [qualified(kind) for kind in type(error).__mro__[1:] if kind is not object],
        "status": getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None),
        "message": message_of(error, body),
        "headers": headers_of(error),
        "body": plain(body),
        "fields": fields_of(error),
    }


def run(case, urls):
    _counted.requests = 0
    try:
        value = calls.call(case, urls[case["provider"]])
        outcome = {"outcome": "ok", "value": plain(value)}
    except Exception as error:  # any exception is what the client would see: that is the result
        outcome = failure(error)
    if case["client"] == "urllib":
        _counted.requests = 1
    return {"case": case["id"], **outcome, "requests": _counted.requests}


def main():
    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    calls.load({case["client"] for case in plan["cases"]})
    with concurrent.futures.ThreadPoolExecutor(max_workers=6) as pool:
        for outcome in pool.map(lambda case: run(case, plan["urls"]), plan["cases"]):
            print(json.dumps(outcome), flush=True)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()

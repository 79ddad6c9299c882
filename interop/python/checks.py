"""What the Python drivers share: the command line, the checks' frame, and the reading of standard input."""

import asyncio
import os
import socket
import sys
import threading
import time
import traceback

BOOTSTRAP = os.environ["BOOTSTRAP"]
NODES = int(os.environ.get("NODES", 1))
REPLICAS = int(os.environ.get("REPLICAS", 1))
SETTLE = os.environ.get("SETTLE")
COMMAND = sys.argv[1]
ARGS = dict(a.split("=", 1) for a in sys.argv[2:])
MECHANISM = os.environ.get("SASL_MECHANISM")
USER, PASSWORD = os.environ.get("SASL_USER"), os.environ.get("SASL_PASSWORD")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
LIMIT = 60

failed = False


def login():
    """How to log in, where the environment says so, as kafka-python and aiokafka take it."""
    if not MECHANISM:
        return {}
    return {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": MECHANISM, "sasl_plain_username": USER,
            "sasl_plain_password": PASSWORD}


def lines():
    """The slice of the input file that the command names, as (key, value)."""
    with open(ARGS["file"], encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t", 1) for line in f]
    start = int(ARGS.get("from", 0))
    return rows[start:start + int(ARGS.get("count", len(rows)))]


def until_stdin_ends():
    """An event that is set when standard input ends."""
    end = threading.Event()

    def wait():
        while sys.stdin.buffer.read(1):
            pass
        end.set()

    threading.Thread(target=wait, daemon=True).start()
    return end


def _report(name, start, error):
    global failed
    took = f"{time.monotonic() - start:.1f}"
    if error is None:
        print(f"PASS\t{name}\t{took}\n", end="", flush=True)
    else:
        failed = True
        error = error.replace("\n", " ").replace("\t", " ")
        print(f"FAIL\t{name}\t{took}\t{error}\n", end="", flush=True)


def _wanted(name):
    return ARGS.get("only", name) == name


def _say(e):
    frames = [f for f in traceback.extract_tb(e.__traceback__) if "/interop/" in f.filename]
    return f"{type(e).__name__}: {e}" + (f" at line {frames[-1].lineno}" if frames else "")


def check(name, body):
    """Runs one check in a thread with a time limit and prints its line."""
    if not _wanted(name):
        return
    start = time.monotonic()
    out = {}

    def work():
        try:
            body()
        except Exception as e:
            out["error"] = _say(e)

    t = threading.Thread(target=work, daemon=True)
    t.start()
    t.join(LIMIT)
    _report(name, start, f"no end within {LIMIT} s" if t.is_alive() else out.get("error"))


def side_by_side(*checks):
    """Runs checks, each a name and a body, in the time of the longest: they wait for the heartbeats of the consumer
    protocol, whose interval is the broker's."""
    threads = [threading.Thread(target=check, args=c) for c in checks]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


async def acheck(name, body):
    """check for a coroutine function."""
    if not _wanted(name):
        return
    start = time.monotonic()
    error = None
    try:
        await asyncio.wait_for(body(), LIMIT)
    except asyncio.TimeoutError:
        error = f"no end within {LIMIT} s"
    except Exception as e:
        error = _say(e)
    _report(name, start, error)


def finish():
    sys.stdout.flush()
    os._exit(1 if failed else 0)


def expect(want, got, what):
    if want != got:
        raise AssertionError(f"{what}: expected {want!r}, got {got!r}")


def fails(body, *names):
    """Runs body, which must fail with an error that mentions one of the names."""
    try:
        body()
    except Exception as e:
        text = f"{type(e).__name__} {e!r}"
        if any(n in text for n in names):
            return
        raise AssertionError(f"expected one of {names}, got {text}") from e
    raise AssertionError(f"expected one of {names}, got no error")


def settled():
    """Returns when every broker has acted on what was decided, see interop/drivers.go."""
    if not SETTLE:
        return
    host, port = SETTLE.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as s, s.makefile() as f:
        problem = f.read()
    if problem != "\n":
        raise AssertionError(f"the brokers do not settle: {problem}")


def until(what, done, limit=40):
    end = time.monotonic() + limit
    while not done():
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting for {what}")
        time.sleep(0.02)

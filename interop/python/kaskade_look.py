"""Runs kaskade in a terminal of its own and reads from its screen that it shows a topic, its records and its group."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

from confluent_kafka import Consumer, Producer

SERVERS, TOPIC = os.environ["BOOTSTRAP"], sys.argv[1]
GROUP = TOPIC + "-group"
KASKADE = os.path.join(os.path.dirname(sys.executable), "kaskade")


def screen(args, *texts, keys=(), limit=60):
    """Runs kaskade until its screen has shown every text; what is in keys is typed one by one, the last again and again."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="220", LINES="60")
        os.execv(KASKADE, [KASKADE, *args])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 220, 0, 0))
    shown, end, typed = "", time.monotonic() + limit, 0
    try:
        while time.monotonic() < end:
            if keys and time.monotonic() > typed + 2 and texts[0] in plain(shown):
                os.write(fd, keys[0].encode())
                keys, typed = keys[1:] or keys, time.monotonic()
            if not select.select([fd], [], [], 0.2)[0]:
                continue
            shown += os.read(fd, 1 << 16).decode(errors="replace")
            if all(t in plain(shown) for t in texts):
                return
        raise SystemExit(f"kaskade {' '.join(args)}: no {texts} on its screen, which ends {plain(shown)[-1500:]}")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def plain(text):
    """The text without what moves the cursor and colours it."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][0-9A-Z]", "", text)


p = Producer({"bootstrap.servers": SERVERS})
for i in range(10):
    p.produce(TOPIC, key=f"key-{i}", value=f"value-{i}")
p.flush(20)
c = Consumer({"bootstrap.servers": SERVERS, "group.id": GROUP, "auto.offset.reset": "earliest"})
c.subscribe([TOPIC])
seen = 0
deadline = time.monotonic() + 30
while seen < 10 and time.monotonic() < deadline:
    seen += len(c.consume(10, 0.5))
c.commit(asynchronous=False)

screen(["admin", "-b", SERVERS], TOPIC)
screen(["consumer", "-b", SERVERS, "-t", TOPIC, "--earliest", "-k", "string", "-v", "string"], "key-9", "value-9")
screen(["admin", "-b", SERVERS], TOPIC, GROUP, keys=["/", TOPIC, "\r", "\r", "l"])
c.close()
print("kaskade ok")

"""Two network namespaces of Linux with a bad line between them.

Kernels often lack netem, so the line is a program: each namespace has a TUN device, and this relay carries IP packets from
one to the other, late and not all of them. TCP and UDP above it are the kernel's own. Needs root (or `unshare -Ur`).

    python3 lossy.py --loss 0.05 --delay-ms 50 PID_A PID_B      # between the namespaces of two processes

SIGUSR1 cuts the line, SIGUSR2 mends it. On SIGTERM one JSON object with what became of the packets goes to stdout.
"""

import argparse
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

# Of line 0; line N has 10.77.N.1 and 10.77.N.2, and a namespace may be at the end of several lines.
ADDRESSES = ("10.77.0.1", "10.77.0.2")
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000


def namespace() -> subprocess.Popen:
    """A process that does nothing in a network namespace of its own, until it is killed."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    own = os.readlink("/proc/self/ns/net")
    for _ in range(500):
        try:
            if os.readlink(f"/proc/{holder.pid}/ns/net") != own:
                return holder
        except OSError:
            pass
        if holder.poll() is not None:
            break
        time.sleep(0.01)
    holder.kill()
    raise OSError("no network namespace: run as root, or within unshare -Ur")


def within(holder: int, command: list) -> list:
    """The command, to be run in the namespace of a process."""
    return ["nsenter", f"--net=/proc/{holder}/ns/net", *command]


def addresses(number: int) -> tuple:
    """Those of both ends of a line."""
    return tuple(address.replace(".0.", f".{number}.") for address in ADDRESSES)


def open_device(holder: int, name: str, here: str, there: str) -> int:
    """A point-to-point TUN device in the namespace of a process; returns its file descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as own, open(f"/proc/{holder}/ns/net") as target:
        if libc.setns(target.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN_WITHOUT_HEADER))
        finally:
            libc.setns(own.fileno(), _CLONE_NEWNET)
    for arguments in (
        ["link", "set", "lo", "up"],
        ["addr", "add", here, "peer", there, "dev", name],
        ["link", "set", name, "up"],
    ):
        subprocess.run(within(holder, ["ip", *arguments]), check=True)
    return device


class Line:
    """Packets on their way. Each direction keeps its order: the delay is the same for all."""

    def __init__(self, devices, loss, delay_s, seed):
        self.devices, self.loss, self.delay_s = devices, loss, delay_s
        self.random = random.Random(seed)
        self.underway = []
        self.number = 0
        self.is_cut = False
        self.counts = {"packets": 0, "lost": 0, "bytes": 0, "most_underway": 0}

    def take(self, side):
        """Takes what a device has to send."""
        while True:
            try:
                packet = os.read(self.devices[side], 65536)
            except BlockingIOError:
                return
            self.counts["packets"] += 1
            self.counts["bytes"] += len(packet)
            if self.is_cut or self.random.random() < self.loss:
                self.counts["lost"] += 1
                continue
            self.number += 1
            due = time.monotonic() + self.delay_s
            heapq.heappush(self.underway, (due, self.number, 1 - side, packet))
            self.counts["most_underway"] = max(self.counts["most_underway"], len(self.underway))

    def give(self):
        """Hands over what has arrived; returns the seconds until the next, or None."""
        while self.underway:
            due, _, side, packet = self.underway[0]
            wait = due - time.monotonic()
            if wait > 0:
                return wait
            heapq.heappop(self.underway)
            try:
                os.write(self.devices[side], packet)
            except OSError:
                self.counts["lost"] += 1
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets, each way")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=0, help="of this line, where there are several")
    parser.add_argument("holders", type=int, nargs=2, metavar="PID")
    arguments = parser.parse_args()
    first, second = addresses(arguments.number)
    name = f"knet{arguments.number}"
    devices = [
        open_device(arguments.holders[0], name, first, second),
        open_device(arguments.holders[1], name, second, first),
    ]
    line = Line(devices, arguments.loss, arguments.delay_ms / 1e3, arguments.seed)
    ended = False

    def end(*_):
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(line, "is_cut", True))
    signal.signal(signal.SIGUSR2, lambda *_: setattr(line, "is_cut", False))
    print("up", file=sys.stderr, flush=True)
    while not ended:
        wait = line.give()
        ready, _, _ = select.select(devices, [], [], 0.5 if wait is None else min(wait, 0.5))
        for device in ready:
            line.take(devices.index(device))
    print(json.dumps(line.counts))


if __name__ == "__main__":
    main()

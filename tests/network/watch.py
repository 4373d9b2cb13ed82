"""Hears a robot's actions, plans and health for a while and says how late they came: one JSON object on stdout.

Late is the time of arrival less the time at which a command was due or a plan was sent, on one machine's monotonic clock.
"""

import argparse
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "clients" / "python"))
import kinestream_client as kinestream  # noqa: E402


def summary(arrivals, begin_ns):
    """Of (sequence, sent, arrived): how many of those sent arrived, how late, and whether lateness grew."""
    if not arrivals:
        return {"arrived": 0}
    first, last = arrivals[0][0], max(sequence for sequence, _, _ in arrivals)
    late = [(arrived - sent) / 1e6 for _, sent, arrived in arrivals]
    ordered = sorted(late)
    at = lambda share: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)
    half = len(late) // 2
    mean = lambda part: round(sum(part) / max(len(part), 1), 1)
    gaps = [b[2] - a[2] for a, b in zip(arrivals, arrivals[1:])]
    return {
        "arrived": len(arrivals),
        "share": round(len(arrivals) / (last - first + 1), 4),
        "late_ms": {"p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], 1)},
        "mean_late_first_half_ms": mean(late[:half]),
        "mean_late_second_half_ms": mean(late[half:]),
        "longest_gap_ms": round(max(gaps, default=0) / 1e6, 1),
        "out_of_order": sum(b[0] <= a[0] for a, b in zip(arrivals, arrivals[1:])),
        "first_after_s": round((arrivals[0][2] - begin_ns) / 1e9, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connect", required=True)
    parser.add_argument("--robot", default="pusht")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--zenoh", help="zenoh configuration (JSON5)")
    arguments = parser.parse_args()
    keys = kinestream.Keys("kinestream", arguments.robot)
    lock = threading.Lock()
    actions, plans, rungs = [], [], []

    def take(into):
        def callback(sample):
            now = time.monotonic_ns()
            stamp = kinestream.decode(sample.payload.to_bytes()).stamp
            with lock:
                into.append((stamp.sequence, stamp.monotonic_ns, now))

        return callback

    def health(sample):
        told = json.loads(sample.payload.to_bytes())
        with lock:
            rungs.append(told)

    begin = time.monotonic_ns()
    with kinestream.open_session(connect=[arguments.connect], config_file=arguments.zenoh) as session:
        subscribers = [
            session.declare_subscriber(keys.action, take(actions)),
            session.declare_subscriber(keys.plan, take(plans)),
            session.declare_subscriber(f"kinestream/{arguments.robot}/health", health),
        ]
        time.sleep(arguments.seconds)
        for subscriber in subscribers:
            subscriber.undeclare()
    with lock:
        report = {
            "action": summary(actions, begin),
            "plan": summary(plans, begin),
            "rung_counts": rungs[-1]["rung_counts"] if rungs else None,
            "rung": rungs[-1]["rung"] if rungs else None,
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Push-T in pymunk as the robot of a running `kinestream run`: lock step over zenoh, scores as JSON on stdout.

Every observation waits for the plan that answers it; that plan's first action is executed for one control step.
    python3 pusht_pymunk.py --connect tcp/127.0.0.1:7447 --seeds 100000..100049
"""

import argparse
import json
import queue
import sys
import time
from typing import List, Tuple

import zenoh

import kinestream_client as kinestream
import pusht_environment as pusht

PERIOD_NS = round(pusht.CONTROL_STEP_S * 1e9)


class Runtime:
    """The other side: takes observations, answers with plans."""

    def __init__(self, session: zenoh.Session, keys: kinestream.Keys, limit_s: float):
        self._limit_s = limit_s
        self._sequence = 0
        self._plans: "queue.Queue[kinestream.Plan]" = queue.Queue()
        self.malformed = 0
        self._token = session.liveliness().declare_token(keys.alive("simulator"))
        self._subscriber = session.declare_subscriber(keys.plan, self._receive)
        # Lock step is not real time: nothing may be lost, so observations wait where they would be dropped.
        # Both at one priority, so that a reset arrives before the observations sent after it.
        quality = {
            "priority": zenoh.Priority.REAL_TIME,
            "congestion_control": zenoh.CongestionControl.BLOCK,
            "express": True,
        }
        self._observations = session.declare_publisher(keys.observation("state"), **quality)
        self._resets = session.declare_publisher(keys.command(kinestream.Request.RESET), **quality)

    def wait(self) -> None:
        """Waits until the runtime subscribes to both keys."""
        for publisher in (self._observations, self._resets):
            give_up = time.monotonic() + self._limit_s
            while not publisher.matching_status.matching:
                if time.monotonic() > give_up:
                    raise TimeoutError(
                        f"nobody subscribes to {publisher.key_expr} after {self._limit_s} s; "
                        "is `kinestream run` up, and --connect, --namespace, --robot as in its config?"
                    )
                time.sleep(0.02)

    def reset(self, seed: int, stream: int, time_ns: int) -> None:
        """Starts a fresh stream."""
        stamp = kinestream.Stamp(0, time_ns, time.time_ns(), stream)
        command = kinestream.Command(kinestream.Request.RESET, seed, stamp=stamp)
        self._resets.put(kinestream.encode(command))

    def ask(self, values: List[float], stream: int, time_ns: int) -> kinestream.Plan:
        """Sends an observation and returns the plan that answers it."""
        self._sequence += 1
        stamp = kinestream.Stamp(self._sequence, time_ns, time.time_ns(), stream)
        self._observations.put(kinestream.encode(kinestream.Observation("state", values, "f64", stamp)))
        give_up = time.monotonic() + self._limit_s
        while True:
            try:
                plan = self._plans.get(timeout=max(give_up - time.monotonic(), 0.001))
            except queue.Empty:
                raise TimeoutError(
                    f"no plan answers observation {self._sequence} after {self._limit_s} s "
                    f"({self.malformed} malformed payloads seen)"
                ) from None
            if plan.observation_sequence == self._sequence and plan.stamp.stream == stream:
                return plan

    def _receive(self, sample: zenoh.Sample) -> None:
        try:
            message = kinestream.decode(sample.payload.to_bytes())
        except kinestream.WireError as error:
            self.malformed += 1
            print(f"{sample.key_expr}: {error}", file=sys.stderr)
            return
        if isinstance(message, kinestream.Plan):
            self._plans.put(message)


def episode(runtime: Runtime, seed: int, stream: int, steps: int, real_time: bool) -> Tuple[float, float]:
    """Plays one episode; returns the highest reward and the highest coverage."""
    table = pusht.PushT()
    table.reset(seed)
    start_ns = time.monotonic_ns()
    runtime.reset(seed, stream, start_ns)
    best = 0.0
    for step in range(steps):
        # Simulated time: one period per step, whatever the computation takes.
        now_ns = start_ns + step * PERIOD_NS
        if real_time:
            time.sleep(max(now_ns - time.monotonic_ns(), 0) / 1e9)
        plan = runtime.ask(table.observation(), stream, now_ns)
        if plan.dims != 2:
            raise ValueError(f"plan {plan.chunk}: expected actions of 2 numbers, found {plan.dims}")
        best = max(best, table.step(plan.action(0)))
        if best > pusht.SUCCESS_COVERAGE:
            break
    return pusht.reward(best), best


def seed_range(text: str) -> range:
    """Reads A..B, both included, or one seed."""
    first, _, last = text.partition("..")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A..B, such as 100000..100049, found {text!r}") from None
    if not seeds or seeds[0] < 0 or seeds[-1] >= 2**32:
        raise argparse.ArgumentTypeError(f"expected 0 <= A <= B < 2^32, found {text!r}")
    return seeds


def main() -> int:
    """Parses, plays, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connect", action="append", help="zenoh address (default tcp/127.0.0.1:7447)")
    parser.add_argument("--listen", action="append", default=[], help="zenoh address to listen on instead")
    parser.add_argument("--namespace", default="kinestream")
    parser.add_argument("--robot", default="pusht")
    parser.add_argument("--seeds", type=seed_range, default=seed_range("100000..100049"), metavar="A..B")
    parser.add_argument("--steps", type=int, default=300, help="longest episode in control steps")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for the runtime")
    parser.add_argument("--real-time", action="store_true", help="10 steps a second instead of as fast as it goes")
    options = parser.parse_args()
    connect = options.connect or ([] if options.listen else ["tcp/127.0.0.1:7447"])

    rewards, coverages = [], []
    try:
        keys = kinestream.Keys(options.namespace, options.robot)
        with kinestream.open_session(connect, options.listen) as session:
            runtime = Runtime(session, keys, options.timeout)
            runtime.wait()
            for stream, seed in enumerate(options.seeds, start=1):
                best_reward, best_coverage = episode(runtime, seed, stream, options.steps, options.real_time)
                rewards.append(best_reward)
                coverages.append(best_coverage)
                print(f"seed {seed}: {best_reward:.4f}", file=sys.stderr)
    except (TimeoutError, ValueError, zenoh.ZError) as error:
        print(f"pusht_pymunk: {error}", file=sys.stderr)
        return 1
    successes = sum(coverage > pusht.SUCCESS_COVERAGE for coverage in coverages)
    report = {
        "seeds": list(options.seeds),
        "scores": rewards,
        "mean_max_reward": sum(rewards) / len(rewards),
        "success_rate": successes / len(rewards),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

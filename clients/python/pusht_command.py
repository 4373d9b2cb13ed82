"""The command line that the Push-T robots share: which policy, which seeds; scores as one JSON object."""

import argparse
import json
import sys
from typing import Any, Callable, Optional, Sequence

import zenoh

import kinestream_client as kinestream
from kinestream_gymnasium import Robot
from kinestream_policy import Policy, StoppedError


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


def main(
    name: str,
    description: str,
    environment: Any,
    observe: Callable[[Any], Sequence[float]],
    act: Optional[Callable[[Sequence[float]], Any]] = None,
    arguments: Optional[Sequence[str]] = None,
) -> int:
    """Parses, plays, prints."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connect", action="append", help="zenoh address (default tcp/127.0.0.1:7447)")
    parser.add_argument("--listen", action="append", default=[], help="zenoh address to listen on instead")
    parser.add_argument("--namespace", default="kinestream")
    parser.add_argument("--robot", default="pusht")
    parser.add_argument("--seeds", type=seed_range, default=seed_range("100000..100049"), metavar="A..B")
    parser.add_argument("--steps", type=int, default=300, help="longest episode in control steps")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for the runtime")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="10 steps a second under the newest command, instead of one plan per step as fast as it goes",
    )
    options = parser.parse_args(arguments)
    connect = options.connect or ([] if options.listen else ["tcp/127.0.0.1:7447"])

    episodes = []
    try:
        keys = kinestream.Keys(options.namespace, options.robot)
        with kinestream.open_session(connect, options.listen) as session:
            lossless = not options.real_time
            with Policy(session, keys, lossless=lossless, limit_s=options.timeout) as policy:
                policy.wait()
                robot = Robot(environment, policy, observe, act)
                play = robot.real_time if options.real_time else robot.lock_step
                for seed in options.seeds:
                    episodes.append(play(seed, options.steps))
                    print(f"seed {seed}: {episodes[-1].best_reward:.4f}", file=sys.stderr)
    except (TimeoutError, StoppedError, ValueError, zenoh.ZError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    scores = [episode.best_reward for episode in episodes]
    report = {
        "seeds": list(options.seeds),
        "scores": scores,
        "mean_max_reward": sum(scores) / len(scores),
        "success_rate": sum(episode.terminated for episode in episodes) / len(scores),
        "steps": [episode.steps for episode in episodes],
        "held": [episode.held for episode in episodes],
        "missed": [episode.missed for episode in episodes],
    }
    print(json.dumps(report))
    return 0

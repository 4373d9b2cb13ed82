#!/usr/bin/env python3
"""gym-pusht's environment as the robot of a running `kinestream run`, over zenoh; scores as JSON on stdout.

It differs from the benchmark (start poses, pymunk's release), so its scores do not compare with published ones.
    python3 pusht_gymnasium.py --connect tcp/127.0.0.1:7447 --seeds 0..4 --real-time
"""

import math
import sys
from typing import List, Sequence

import pusht_command
from pusht_environment import KEYPOINTS


def observe(state: Sequence[float]) -> List[float]:
    """The policy's 20 numbers from gym-pusht's five: agent x, y, T x, y, angle."""
    agent_x, agent_y, x, y, angle = map(float, state)
    cos, sin = math.cos(angle), math.sin(angle)
    points = [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in KEYPOINTS]
    return [coordinate for point in (*points, (agent_x, agent_y)) for coordinate in point]


def environment():
    """gym-pusht's Push-T with five numbers per observation, ten steps a second, at most 300 of them."""
    import gym_pusht  # noqa: F401  (registers it)
    import gymnasium

    return gymnasium.make("gym_pusht/PushT-v0", obs_type="state")


if __name__ == "__main__":
    sys.exit(pusht_command.main("pusht_gymnasium", __doc__, environment(), observe))

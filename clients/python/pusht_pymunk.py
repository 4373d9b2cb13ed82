#!/usr/bin/env python3
"""Push-T in pymunk as the robot of a running `kinestream run`: lock step over zenoh, scores as JSON on stdout.

Every observation waits for the plan that answers it; that plan's first action is executed for one control step.
    python3 pusht_pymunk.py --connect tcp/127.0.0.1:7447 --seeds 100000..100049
"""

import sys
from typing import List, Sequence, Tuple

import pusht_command
import pusht_environment as pusht


class Environment:
    """The table under gymnasium's protocol: observations are the policy's 20 numbers, actions x, y of the agent's target."""

    metadata = {"render_fps": 1.0 / pusht.CONTROL_STEP_S}

    def __init__(self) -> None:
        self._table = pusht.PushT()

    def reset(self, seed: int) -> Tuple[List[float], dict]:
        """Starts the episode of a seed."""
        self._table.reset(seed)
        return self._table.observation(), {}

    def step(self, action: Sequence[float]) -> Tuple[List[float], float, bool, bool, dict]:
        """One control step towards a target; the episode ends with success."""
        if len(action) != 2:
            raise ValueError(f"expected actions of 2 numbers, found {len(action)}: is this a policy for Push-T?")
        coverage = self._table.step(action)
        is_success = coverage > pusht.SUCCESS_COVERAGE
        info = {"coverage": coverage, "is_success": is_success}
        return self._table.observation(), pusht.reward(coverage), is_success, False, info


if __name__ == "__main__":
    sys.exit(pusht_command.main("pusht_pymunk", __doc__, Environment(), observe=list, act=list))

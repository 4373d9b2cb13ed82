"""Push-T in pymunk: the reference's table, T, agent controller, reset and score.

A disc is driven by a proportional-derivative controller towards a target and pushes a T-shaped block over a table of 512
by 512 pixels; the score is how much of the goal the T covers. pymunk 6.2.1 gives the reference's trajectories bit for bit.
"""

import math
from typing import List, Sequence, Tuple

import numpy
import pymunk
from shapely.geometry import Polygon
from shapely.ops import unary_union

PHYSICS_STEP_S = 0.01
PHYSICS_STEPS_PER_CONTROL = 10
CONTROL_STEP_S = PHYSICS_STEP_S * PHYSICS_STEPS_PER_CONTROL
SUCCESS_COVERAGE = 0.95
GOAL_POSE = (256.0, 256.0, math.pi / 4)

# The T's corners in its own coordinates: origin at the middle of the bar's outer edge, the stem along y.
BAR = [(-60.0, 30.0), (60.0, 30.0), (60.0, 0.0), (-60.0, 0.0)]
STEM = [(-15.0, 30.0), (-15.0, 120.0), (15.0, 120.0), (15.0, 30.0)]
# Mean of the two rectangles' centres, not weighted by their areas.
CENTER_OF_GRAVITY = (0.0, 45.0)

# The data set's nine keypoints in the T's coordinates.
KEYPOINTS = [
    (9.269786713763871, 90.04097352393619),
    (-60.983472364471474, -1.1867297607997276),
    (60.91275557727772, -1.3933642242328201),
    (-0.2705034390160016, 25.54362499146542),
    (-14.064927576212233, 122.81585355412153),
    (39.002738500170146, 32.857404276587566),
    (-39.966414424694534, 32.729655446429945),
    (-16.82434437939744, 62.86317892234989),
    (23.54146122024909, -1.7002881094626152),
]


class PushT:
    """One table. Lengths in pixels, angles in radians, y downwards."""

    def __init__(self) -> None:
        self._new_space()
        goal = pymunk.Body(body_type=pymunk.Body.STATIC)
        goal.angle = GOAL_POSE[2]
        goal.position = GOAL_POSE[:2]
        self._goal = _outline(goal)

    def reset(self, seed: int) -> None:
        """Starts the episode of a seed."""
        random = numpy.random.RandomState(seed)
        agent = random.randint(50, 450), random.randint(50, 450)
        block = random.randint(100, 400), random.randint(100, 400)
        self.reset_to_state([*map(float, agent + block), random.randn() * 2 * math.pi - math.pi])

    def reset_to_state(self, state: Sequence[float]) -> None:
        """Starts from agent x, y, T x, y, angle. The T is placed before it is turned about its centre of gravity."""
        self._new_space()
        self.agent.position = tuple(state[:2])
        self.block.position = tuple(state[2:4])
        self.block.angle = state[4]
        self._space.step(PHYSICS_STEP_S)

    def step(self, target: Sequence[float]) -> float:
        """Drives the agent towards a target for one control step; returns the coverage of the goal afterwards."""
        for _ in range(PHYSICS_STEPS_PER_CONTROL):
            self.physics_step(target)
        return self.coverage()

    def physics_step(self, target: Sequence[float]) -> None:
        """Drives the agent towards a target for one physics step."""
        acceleration = 100.0 * (pymunk.Vec2d(*target) - self.agent.position) + 20.0 * (-self.agent.velocity)
        self.agent.velocity += acceleration * PHYSICS_STEP_S
        self._space.step(PHYSICS_STEP_S)

    def coverage(self) -> float:
        """Share of the goal that the T covers, 0 to 1."""
        return self._goal.intersection(_outline(self.block)).area / self._goal.area

    def observation(self) -> List[float]:
        """x, y of the nine keypoints, then of the agent."""
        points = [self.block.local_to_world(point) for point in KEYPOINTS] + [self.agent.position]
        return [coordinate for point in points for coordinate in point]

    def state(self) -> List[float]:
        """Agent x, y, vx, vy; T x, y, angle, vx, vy, angular velocity."""
        agent, block = self.agent, self.block
        pose = [*block.position, block.angle, *block.velocity, block.angular_velocity]
        return [*agent.position, *agent.velocity, *pose]

    def _new_space(self) -> None:
        space = pymunk.Space()
        space.gravity = 0, 0
        # All motion is lost within every step: the T moves only while it is pushed.
        space.damping = 0
        corners: List[Tuple[Tuple[int, int], Tuple[int, int]]] = [
            ((5, 506), (5, 5)),
            ((5, 5), (506, 5)),
            ((506, 5), (506, 506)),
            ((5, 506), (506, 506)),
        ]
        space.add(*(pymunk.Segment(space.static_body, a, b, 2) for a, b in corners))

        agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        agent.position = 256, 400
        space.add(agent, pymunk.Circle(agent, 15))

        # The reference takes the bar's moment for both parts, and scores are only comparable with that kept.
        block = pymunk.Body(1, 2 * pymunk.moment_for_poly(1, BAR))
        block.center_of_gravity = CENTER_OF_GRAVITY
        block.position = 256, 300
        space.add(block, pymunk.Poly(block, BAR), pymunk.Poly(block, STEM))
        self._space, self.agent, self.block = space, agent, block


def reward(coverage: float) -> float:
    """The reference's reward: coverage as a share of what counts as success, at most 1."""
    return min(max(coverage / SUCCESS_COVERAGE, 0.0), 1.0)


def _outline(body: pymunk.Body) -> Polygon:
    parts = [Polygon([body.local_to_world(corner) for corner in corners]) for corners in (BAR, STEM)]
    return unary_union(parts)

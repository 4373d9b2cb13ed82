"""What gym-pusht's observation of five numbers becomes."""

import unittest

try:
    import numpy
    import pusht_gymnasium
    from pusht_environment import KEYPOINTS

    environment = pusht_gymnasium.environment()
except ImportError as error:
    environment, MISSING = None, f"{error.name} is not installed (requirements-gymnasium.txt)"
else:
    MISSING = ""


@unittest.skipIf(environment is None, MISSING)
class Observation(unittest.TestCase):
    def test_keypoints_are_where_the_physics_has_them(self):
        for seed in range(20):
            state, _ = environment.reset(seed=seed)
            for target in ([100.0, 400.0], [256.0, 256.0]):
                values = pusht_gymnasium.observe(state)
                table = environment.unwrapped
                points = [table.block.local_to_world(point) for point in KEYPOINTS] + [table.agent.position]
                expected = [coordinate for point in points for coordinate in point]
                self.assertEqual(len(values), 20)
                self.assertLess(max(abs(a - b) for a, b in zip(values, expected)), 1e-9)
                state, *_ = environment.step(numpy.array(target))


if __name__ == "__main__":
    unittest.main()

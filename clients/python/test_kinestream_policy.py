"""The robot's end of a policy that dies, stops, repeats itself or begins anew; and stops that are confirmed."""

import math
import socket
import threading
import time
import unittest

import kinestream_client as kinestream

try:
    import zenoh

    from kinestream_gymnasium import Robot
    from kinestream_policy import Policy, StaleError, StoppedError
    from kinestream_stop import RefusedError, rearm, request_stop, send_stop
except ImportError as error:
    zenoh, MISSING = None, f"{error.name} is not installed"
else:
    MISSING = ""

KEYS = kinestream.Keys("test", "arm")
LIMIT_S = 20.0


class Runtime:
    """As much of `kinestream run` as a client sees: tokens, an answer to every observation that is news, commands."""

    def __init__(self, session):
        self._session = session
        self.tokens = [session.liveliness().declare_token(KEYS.alive(node)) for node in ("runtime", "control")]
        self.newest = None
        self.answers = True
        self.flags = 0
        self.value = 1.0
        self.sequence = 0
        self.stream = 0
        self._subscribers = [session.declare_subscriber(KEYS.observation("state"), self._observe)]

    def _observe(self, sample):
        seen = kinestream.decode(sample.payload.to_bytes()).stamp
        news = self.newest
        # As the engine takes them: of one stream, neither number nor time may be behind both.
        if news and seen.stream == news.stream and seen.sequence <= news.sequence and seen.monotonic_ns <= news.monotonic_ns:
            return
        self.newest, self.stream = seen, seen.stream
        if self.answers:
            plan = kinestream.Plan(1, seen.sequence, 0, 1, 1, 1, 1, [0.0], [0], [0.0], stamp=self.stamp())
            self._session.put(KEYS.plan, kinestream.encode(plan))
            self.command()

    def stamp(self):
        self.sequence += 1
        return kinestream.Stamp(self.sequence, time.monotonic_ns(), 0, self.stream)

    def command(self, stamp=None):
        action = kinestream.Action(1, 0.0, 0.0, self.flags, [self.value], stamp=stamp or self.stamp())
        self._session.put(KEYS.action, kinestream.encode(action))

    def die(self):
        for token in self.tokens:
            token.undeclare()


class Still:
    """An environment that counts its steps, and whether it was stopped."""

    metadata = {"render_fps": 50.0}

    def __init__(self):
        self.told = []
        self.stops = 0

    def reset(self, seed):
        return [0.0], {}

    def step(self, action):
        self.told.append(action[0])
        return [0.0], 0.0, False, False, {}

    def stop(self):
        self.stops += 1


@unittest.skipIf(zenoh is None, MISSING)
class Two(unittest.TestCase):
    """Two sessions, one on each side."""

    def setUp(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
        self.theirs = self.enter(kinestream.open_session(listen=[address]))
        self.ours = self.enter(kinestream.open_session([address]))

    def enter(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def until(self, what, condition):
        give_up = time.monotonic() + LIMIT_S
        while not condition():
            self.assertLess(time.monotonic(), give_up, f"{what} never came")
            time.sleep(0.005)


class Frozen(Two):
    def setUp(self):
        super().setUp()
        self.runtime = Runtime(self.theirs)

    def policy(self, **options):
        policy = Policy(self.ours, KEYS, limit_s=LIMIT_S, **options)
        self.addCleanup(policy.close)
        self.until("the runtime", lambda: policy.is_controlled and self.matching(policy))
        return policy

    def matching(self, policy):
        return policy._observations.matching_status.matching

    def commanded(self, **options):
        policy = self.policy(**options)
        policy.observe([0.0], 1)
        policy.first_command()
        return policy

    def test_an_old_command_is_an_error_that_says_how_old_it_is(self):
        policy = self.commanded(stale_s=0.2)
        self.assertIsNotNone(policy.newest_command())
        with self.assertRaisesRegex(StaleError, r"command on test/arm is 0\.\d+ s old, allowed are 0\.2 s"):
            policy.sleep_until(time.monotonic_ns() + int(LIMIT_S * 1e9))
        with self.assertRaises(StaleError):
            policy.newest_command()
        # The next one ends it.
        self.runtime.command()
        self.until("a command", lambda: time.monotonic() - policy._command_came < 0.2)
        self.assertIsNotNone(policy.newest_command())

    def test_an_old_plan_is_an_error_and_in_lock_step_none(self):
        policy = self.commanded(stale_s=0.1)
        policy.plan()
        time.sleep(0.15)
        with self.assertRaisesRegex(StaleError, "plan on test/arm"):
            policy.plan()
        policy = self.commanded(stale_s=0.1, lossless=True)
        policy.plan()
        time.sleep(0.15)
        policy.plan()

    def test_any_age_can_be_allowed_and_none_cannot(self):
        policy = self.commanded(stale_s=math.inf)
        policy._command_came -= 1e6
        self.assertIsNotNone(policy.newest_command())
        for stale_s in (0.0, -1.0, math.nan):
            with self.assertRaisesRegex(ValueError, "stale_s"):
                Policy(self.ours, KEYS, stale_s=stale_s)
        for stream in (0, 2**32):
            with self.assertRaisesRegex(ValueError, "stream"):
                Policy(self.ours, KEYS, stream=stream)

    def test_a_command_that_is_sent_again_is_no_sign_of_life(self):
        policy = self.commanded(stale_s=0.2)
        again = policy.newest_command().stamp
        with self.assertRaises(StaleError):
            for _ in range(100):
                self.runtime.command(again)
                policy.sleep_until(time.monotonic_ns() + 10_000_000)

    def test_a_runtime_that_dies_is_known_at_once(self):
        # Long limits: only the token tells.
        policy = self.commanded(stale_s=1e3)
        self.runtime.answers = False
        for wait in (policy.plan, policy.first_command, lambda: policy.sleep_until(time.monotonic_ns() + 10**13)):
            policy.observe([0.0], 2)
            begun = time.monotonic()
            timer = threading.Timer(0.1, self.runtime.die)
            timer.start()
            with self.assertRaisesRegex(StaleError, "alive/runtime"):
                # A plan that is there already is no wait.
                while time.monotonic() - begun < LIMIT_S:
                    wait()
            timer.join()
            self.until("its second token", lambda: not policy.is_controlled)
            with self.assertRaises(StaleError):
                policy.newest_command()
            self.runtime = Runtime(self.theirs)
            self.until("the runtime again", lambda: policy.is_controlled)

    def test_a_robot_stops_when_commands_freeze(self):
        policy = self.policy(stale_s=0.3)
        self.runtime.answers = True
        still = Still()
        silent = threading.Timer(0.3, lambda: setattr(self.runtime, "answers", False))
        silent.start()
        with self.assertRaises(StaleError):
            Robot(still, policy, rate_hz=50.0, act=list).real_time(1, 10_000)
        self.assertEqual(still.stops, 1)
        self.assertLess(len(still.told), 100)

    def test_a_stopped_runtime_ends_the_episode_once_it_is_at_rest(self):
        policy = self.policy()
        still = Still()

        def stop():
            self.runtime.flags = kinestream.ActionFlags.HOLDING | kinestream.ActionFlags.STOPPING
            self.runtime.value = 2.0

        timer = threading.Timer(0.3, stop)
        timer.start()
        with self.assertRaisesRegex(StoppedError, "stopped the robot after"):
            Robot(still, policy, act=list).real_time(1, 10_000)
        self.assertEqual(still.stops, 1)
        # The way to rest was gone to its end.
        self.assertEqual(still.told[-1], 2.0)
        self.assertEqual(still.told.count(2.0), 1)

    def test_lock_step_ends_with_an_emergency_stop(self):
        policy = self.policy(lossless=True)
        still = Still()
        self.tell(policy, kinestream.RunState.STOPPED)
        robot = Robot(still, policy, act=list)
        self.assertEqual(robot.lock_step(1, 3).steps, 3)
        self.tell(policy, kinestream.RunState.FAULT)
        with self.assertRaisesRegex(StoppedError, "after 0 steps"):
            robot.lock_step(2, 3)
        self.assertEqual((len(still.told), still.stops), (3, 1))

    def tell(self, policy, state):
        # Said again until it is heard, as the runtime does.
        def heard():
            self.theirs.put(KEYS.status, kinestream.encode(kinestream.Status(state=state)))
            return policy.state is state

        self.until(state.name, heard)

    def test_commands_say_what_they_are(self):
        def action(flags):
            return kinestream.Action(1, 0.0, 0.0, flags, [0.0])

        told = [(a.is_limited, a.is_holding, a.is_stopping) for a in map(action, (0, 1, 2, 6, 8))]
        expected = [(False, False, False), (True, False, False), (False, True, False), (False, True, True)]
        self.assertEqual(told, [*expected, (False, False, False)])

    def test_a_client_that_begins_anew_is_served_at_once(self):
        streams = set()
        for begun_ns in (10**12, 5):
            # The second one's numbers and times are behind the first one's.
            policy = self.commanded(stale_s=LIMIT_S, lossless=True)
            for step in range(1, 5):
                number = policy.observe([0.0], begun_ns + step)
                plan = policy.plan()
                self.assertEqual((plan.observation_sequence, plan.stamp.stream), (number, policy.stream))
            self.assertEqual(number, 5)
            streams.add(policy.stream)
            policy.close()
        self.assertEqual(len(streams), 2)

    def test_streams_are_never_0_and_count_on(self):
        self.assertEqual(len({kinestream.new_stream() for _ in range(100)}), 100)
        self.assertEqual([kinestream.next_stream(stream) for stream in (1, 2**32 - 2, 2**32 - 1)], [2, 2**32 - 1, 1])


class Stops(Two):
    """The runtime's end of stops, as docs/WIRE.md says it."""

    def setUp(self):
        super().setUp()
        self.rung, self.samples, self.deaf, self.held = "running", 0, 0, False
        self.declared = [
            self.theirs.declare_subscriber(KEYS.stop, self._sample),
            self.theirs.declare_queryable(KEYS.service("estop"), self._stop),
            self.theirs.declare_queryable(KEYS.service("rearm"), self._rearm),
        ]

    def _sample(self, _):
        self.samples += 1

    def _stop(self, query):
        if self.deaf > 0:
            # Taken, and lost on its way.
            self.deaf -= 1
            return
        if str(query.selector.key_expr) == KEYS.service("estop"):
            self.rung = "emergency_stop"
            self._reply(query)

    def _rearm(self, query):
        payload = query.payload.to_bytes() if query.payload else b""
        if payload != b'{"rearm": true}' or query.encoding != zenoh.Encoding.APPLICATION_JSON:
            query.reply_err(b"expected the payload {rearm: true}")
        elif self.held:
            query.reply_err(b"a stop is still held")
        else:
            self.rung = "waiting"
            self._reply(query)

    def _reply(self, query):
        query.reply(query.key_expr, f'{{"rung": "{self.rung}", "reason": "", "at_rest": true}}')

    def test_a_stop_is_asked_for_until_it_is_confirmed(self):
        self.deaf = 3
        state = request_stop(self.ours, KEYS, limit_s=LIMIT_S, every_s=0.05)
        self.assertEqual((state["rung"], self.rung, self.deaf), ("emergency_stop", "emergency_stop", 0))
        self.assertGreaterEqual(self.samples, 4)

    def test_a_stop_that_nobody_confirms_is_an_error(self):
        with self.assertRaisesRegex(TimeoutError, r"test/nobody within 0\.2 s \(nobody answered\)"):
            request_stop(self.ours, kinestream.Keys("test", "nobody"), limit_s=0.2)
        self.deaf = 10**6
        with self.assertRaisesRegex(TimeoutError, "stops were sent"):
            request_stop(self.ours, KEYS, limit_s=0.3)
        self.assertGreater(self.samples, 0)

    def test_a_stop_can_be_sent_without_an_answer(self):
        send_stop(self.ours, KEYS)
        self.until("a sample", lambda: self.samples == 1)

    def test_rearming_says_what_it_wants_and_hears_a_refusal(self):
        self.until("a stop", lambda: request_stop(self.ours, KEYS, LIMIT_S))
        self.assertEqual(rearm(self.ours, KEYS, LIMIT_S)["rung"], "waiting")
        self.held = True
        with self.assertRaisesRegex(RefusedError, "test/arm is not re-armed: a stop is still held"):
            rearm(self.ours, KEYS, LIMIT_S)
        with self.assertRaisesRegex(TimeoutError, "test/nobody/srv/rearm"):
            rearm(self.ours, kinestream.Keys("test", "nobody"), 0.2)


if __name__ == "__main__":
    unittest.main()

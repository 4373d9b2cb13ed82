// Messages that grow old, and senders that begin anew.

import assert from "node:assert/strict";
import test from "node:test";

import { Character, Newest, Numbering, StaleError, isHolding, isStopping, stamp } from "./kinestream.js";

const action = (sequence, monotonic_ns, stream = 7) => ({ kind: "action", flags: 0, stamp: stamp({ sequence, monotonic_ns, stream }) });

test("a command that grows old is an error, and the next one ends it", () => {
  let now = 0;
  const commands = new Newest("command", 500, () => now);
  assert.equal(commands.get(), null);
  assert.ok(commands.put(action(1n, 10n)));
  now = 500;
  assert.equal(commands.get().stamp.sequence, 1n);
  now = 740;
  assert.ok(commands.isStale);
  assert.throws(() => commands.get(), { name: "StaleError", message: /newest command is 0.74 s old, allowed are 0.5 s/ });
  assert.throws(() => commands.get(), StaleError);
  assert.equal(commands.last.stamp.sequence, 1n);
  commands.put(action(2n, 20n));
  assert.equal(commands.get().stamp.sequence, 2n);
});

test("what is sent again is no sign of life", () => {
  let now = 0;
  const commands = new Newest("command", 500, () => now);
  commands.put(action(5n, 50n));
  now = 600;
  assert.equal(commands.put(action(5n, 50n)), false);
  assert.equal(commands.put(action(4n, 40n)), false);
  assert.throws(() => commands.get(), StaleError);
  // A sender that begins anew, or another stream.
  assert.ok(commands.put(action(1n, 60n)));
  assert.ok(commands.put(action(1n, 1n, 8)));
  // Its machine was started again: only the wall's clock goes on.
  const rebooted = action(1n, 0n, 8);
  assert.equal(commands.put(rebooted), false);
  rebooted.stamp.wall_ns = 1n;
  assert.ok(commands.put(rebooted));
  commands.restart();
  assert.ok(commands.put(action(1n, 0n, 8)));
});

test("limits that are none are refused, and Infinity allows any age", () => {
  for (const limit of [0, -1, NaN]) assert.throws(() => new Newest("command", limit), RangeError);
  let now = 0;
  const commands = new Newest("command", Infinity, () => now);
  commands.put(action(1n, 1n));
  now = 1e12;
  assert.equal(commands.get().stamp.sequence, 1n);
});

test("every sender begins a stream of its own and counts from 1", () => {
  const streams = new Set(Array.from({ length: 100 }, () => new Numbering().stream));
  assert.equal(streams.size, 100);
  assert.ok(!streams.has(0));
  const numbering = new Numbering(2 ** 32 - 1);
  assert.deepEqual(numbering.next(5n), { sequence: 1n, monotonic_ns: 5n, wall_ns: 0n, stream: 2 ** 32 - 1 });
  numbering.begin();
  assert.deepEqual(numbering.next(6n, 9n), { sequence: 2n, monotonic_ns: 6n, wall_ns: 9n, stream: 1 });
  for (const stream of [0, 2 ** 32, 1.5]) assert.throws(() => new Numbering(stream), RangeError);
});

test("commands say whether they hold or stop", () => {
  const told = [0, 1, 2, 6, 8].map((flags) => [isHolding({ flags }), isStopping({ flags })]);
  assert.deepEqual(told, [[false, false], [false, false], [true, false], [true, true], [false, false]]);
});

test("limits of a character's poses are checked before it connects", () => {
  assert.throws(() => new Character("ws://127.0.0.1:9/pose", { staleMs: 0 }), RangeError);
});

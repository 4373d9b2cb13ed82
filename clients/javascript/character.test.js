// The client against the built program: a character that is steered.

import assert from "node:assert/strict";
import test from "node:test";

import { Character, IDLE } from "./kinestream.js";
import { Running, freePort, until, withoutProgram } from "./running.js";

const skip = withoutProgram || (globalThis.WebSocket ? false : "this Node has no WebSocket: node --experimental-websocket");

test("a character walks where it is told, and comes back after a loss", { skip }, async (context) => {
  const port = await freePort();
  const start = () => {
    const running = new Running("demo", "motion", "--port", "0", "--listen", "tcp/127.0.0.1:0", "--websocket", `127.0.0.1:${port}`);
    context.after(() => running.interrupt());
    return running;
  };
  const character = new Character(`ws://127.0.0.1:${port}/pose`);
  context.after(() => character.close());
  const states = [];
  const answers = [];
  character.onChange = (state) => states.push(state);
  character.onAnswer = (answer) => answers.push(answer);
  // It comes before the program does.
  assert.equal(character.steer([0, 1]), false);
  await until("a loss", () => states.includes("lost"));
  const program = start();
  await until("a pose that idles", () => character.lastPose && character.lastPose.flags & IDLE);
  assert.equal(character.skeleton.joints.length, 22);
  const begun = character.lastPose;
  await until("half a metre", () => {
    assert.ok(character.steer([0, 1.4]));
    return character.lastPose.root_position[2] - begun.root_position[2] > 0.5;
  });
  const head = character.skeleton.joints.findIndex(({ name }) => name === "Head");
  const [, height] = character.places(character.lastPose)[head];
  assert.ok(height > 1.2 && height < 1.9, `the head is at ${height} m`);
  await until("a pose that idles again", () => character.lastPose.flags & IDLE);
  character.perform("no such action");
  await until("an answer", () => answers.length > 0);
  assert.ok(answers[0].error);
  assert.ok(character.lastPose.frame > begun.frame);

  assert.equal(await program.interrupt(), 0);
  await until("a goodbye", () => states.includes("ended"));
  // What was last heard of it is not taken for how it is now.
  await until("an old pose", () => character.isStale);
  assert.throws(() => character.pose, { name: "StaleError", message: /newest pose is .* s old/ });
  const before = character.lastPose;
  start();
  // Which may be old again at once on a machine that is busy.
  await until("another pose", () => character.lastPose !== before && !character.isStale);
});

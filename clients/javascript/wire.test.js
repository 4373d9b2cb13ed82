// The codec on the golden bytes of the Rust crate, and on bytes that are no message.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { WireError, decode, encode, places, stamp } from "./kinestream.js";

const rows = JSON.parse(readFileSync(new URL("../../bridge/golden/wire_v1.json", import.meta.url), "utf8")).map(
  ({ name, bytes, json }) => ({ name, bytes: Uint8Array.from(Buffer.from(bytes.join(""), "hex")), json }),
);
const golden = (name) => rows.find((row) => row.name === name).bytes;

/** What JSON says of a message: whole numbers are numbers, and what is not known is null. */
function mirrored(message) {
  const text = JSON.stringify(message, (_, value) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
    return typeof value === "bigint" ? Number(value) : value;
  });
  const mirror = JSON.parse(text);
  if (mirror.kind === "command") {
    if (mirror.request !== "reset") delete mirror.seed;
    if (mirror.request !== "move_block") for (const name of ["x", "y", "angle"]) delete mirror[name];
  }
  return mirror;
}

test("golden bytes are read and written", () => {
  assert.ok(rows.length >= 13);
  for (const { name, bytes, json } of rows) {
    const message = decode(bytes);
    assert.deepEqual(mirrored(message), json, name);
    assert.deepEqual(encode(message), bytes, name);
    assert.deepEqual(decode(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), message);
  }
});

test("what is cut short, longer or changed is refused, and nothing else is thrown", () => {
  let state = 1;
  const draw = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (const { name, bytes } of rows) {
    for (let length = 0; length < bytes.length; length += 1) {
      assert.throws(() => decode(bytes.slice(0, length)), WireError, `${name} cut to ${length}`);
    }
    const longer = Uint8Array.from([...bytes, 0]);
    assert.throws(() => decode(longer), WireError, name);
    longer[36] += 1;
    assert.throws(() => decode(longer), WireError, name);
    for (let round = 0; round < 2000; round += 1) {
      const changed = bytes.slice();
      for (let i = draw(6); i >= 0; i -= 1) changed[draw(changed.length)] = draw(256);
      try {
        assert.equal(encode(decode(changed)).length, bytes.length);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }
  }
});

test("the first thing that is wrong is named", () => {
  for (const [at, value, text] of [[0, 0, /^magic/], [4, 2, /^version: expected 1, found 2/], [6, 99, /^kind: expected 1 to 8, found 99/]]) {
    const changed = golden("action").slice();
    changed[at] = value;
    assert.throws(() => decode(changed), { name: "WireError", message: text });
  }
  const pose = decode(golden("pose"));
  const refused = (message, text) => assert.throws(() => encode(message), { name: "WireError", message: text });
  refused({ ...pose, rotations: [[0, 0, 0, 1.5]] }, /^rotations\[0\].*length 1.5/);
  refused({ ...pose, rotations: [[0, 0, NaN, 1]] }, /^rotations\[0\]/);
  refused({ ...pose, rotations: [] }, /^joints/);
  refused({ ...pose, phase: 1.5 }, /^phase/);
  refused({ ...pose, root_position: [0, Infinity, 0] }, /^root_position\[1\]/);
  refused({ ...pose, period_ns: 0n }, /^period_ns/);
  refused({ ...pose, frame: 1 }, /BigInt/);
  const path = decode(golden("control_path"));
  refused({ ...path, points: [] }, /^points/);
  refused({ ...path, mode: "stick" }, /^points/);
  refused({ ...path, mode: "fly" }, /^mode: found the unknown word fly/);
  refused({ ...path, points: [path.points[0], path.points[0]] }, /^time_s/);
  refused({ ...path, diversity: -1 }, /^diversity/);
  refused({ ...decode(golden("plan")), committed: 4 }, /^committed/);
  refused({ kind: "observation", stamp: stamp(), name: "a\n", element: "f64", values: [1] }, /^name/);
  refused({ kind: "song", stamp: stamp() }, /^kind/);
});

test("NaN passes in observations alone", () => {
  const seen = { kind: "observation", stamp: stamp({ stream: 2 }), name: "é", element: "f32", values: [NaN, -Infinity, 0.5] };
  assert.deepEqual(decode(encode(seen)), seen);
});

test("joints are where the skeleton puts them", () => {
  const skeleton = { joints: [{ parent: null, offset: [0, 1, 0] }, { parent: 0, offset: [0, 0, 2] }] };
  const half = Math.SQRT1_2;
  // A quarter turn to the left, about Y: from +Z to +X.
  const pose = { root_position: [1, 2, 3], rotations: [[0, half, 0, half], [0, 0, 0, 1]] };
  const [root, child] = places(skeleton, pose);
  assert.deepEqual(root, [1, 2, 3]);
  child.forEach((part, axis) => assert.ok(Math.abs(part - [3, 2, 3][axis]) < 1e-9, child));
  assert.throws(() => places(skeleton, { ...pose, rotations: [[0, 0, 0, 1]] }), WireError);
});

// A character of `kinestream demo motion --websocket`, in a browser or in Node: poses, steering, clips.
//
//     const character = new Character("ws://127.0.0.1:8750/pose");
//     character.onPose = (pose) => draw(character.places(pose));
//     character.steer([0, 1.4]);

import { Newest } from "./fresh.js";
import { Reconnecting } from "./reconnecting.js";
import { WireError, decode } from "./wire.js";

export { HOLDING, LIMITED, Newest, Numbering, STOPPING, StaleError, isHolding, isStopping } from "./fresh.js";
export { Reconnecting } from "./reconnecting.js";
export { MAX_BYTES, MODES, REQUESTS, STATES, WireError, decode, encode, stamp } from "./wire.js";

/** Bits of a pose's flags. */
export const CLAMPED = 1;
export const HELD = 2;
export const IDLE = 4;
export const ACTING = 8;

export class Character {
  #poses;

  /**
   * Connects at once, and again when the connection is lost, until `close`. `staleMs` is how old the newest pose may become
   * before `pose` throws; Infinity: any age.
   */
  constructor(address = "ws://127.0.0.1:8750/pose", { staleMs = 500 } = {}) {
    this.#poses = new Newest("pose", staleMs);
    /** The joints that poses turn; null before the first connection. */
    this.skeleton = null;
    /** "connecting", "open", "lost" or "ended". */
    this.state = "connecting";
    this.onPose = () => {};
    this.onChange = () => {};
    /** Gets what the program says: `{ accepted }` or `{ error }`. */
    this.onAnswer = () => {};
    /** Gets the error where a message cannot be read; it is left out. */
    this.onProblem = (error) => console.error(`kinestream: ${error.message}`);
    const url = new URL(address);
    url.search = "format=binary";
    this.connection = new Reconnecting(url.href, {
      onMessage: (data) => {
        try {
          this.#take(data);
        } catch (error) {
          if (!(error instanceof WireError || error instanceof SyntaxError)) throw error;
          this.onProblem(error);
        }
      },
      onChange: (state) => {
        this.state = state;
        this.introduced = false;
        this.#poses.restart();
        this.onChange(state);
      },
    });
  }

  /**
   * The newest pose; null before the first. Throws StaleError where it is older than `staleMs`: the program stands still, is
   * gone, or pauses.
   */
  get pose() {
    return this.#poses.get();
  }

  /** The newest pose, whatever its age, for whoever only draws; null before the first. */
  get lastPose() {
    return this.#poses.last;
  }

  /** Whether `pose` would throw. */
  get isStale() {
    return this.#poses.isStale;
  }

  /**
   * Moves with this velocity ([x, z], m/s) and looks along `facing` ([0, 0]: where it moves). It counts for half a second:
   * say it again while it is meant. Whether it went out.
   */
  steer(velocity, facing = [0, 0], knobs = {}) {
    return this.connection.send(JSON.stringify({ velocity, facing, ...knobs }));
  }

  /** Asks it to perform a clip, of the usual length where none is given; the reply comes as an answer. Whether it went out. */
  perform(action, seconds) {
    return this.connection.send(JSON.stringify({ action, seconds }));
  }

  /** Where every joint is in the world, [x, y, z] in metres: `p[j] = p[parent] + R[parent] offset[j]`. */
  places(pose) {
    return places(this.skeleton, pose);
  }

  /** Says goodbye and stays closed. */
  close() {
    this.connection.close();
  }

  #take(data) {
    if (typeof data !== "string") {
      const message = decode(data);
      if (message.kind !== "pose") throw new WireError(`kind: expected pose, found ${message.kind}`);
      if (this.#poses.put(message)) this.onPose(message);
    } else if (this.introduced) {
      this.onAnswer(JSON.parse(data));
    } else {
      // The first message of a connection.
      this.skeleton = JSON.parse(data);
      this.introduced = true;
    }
  }
}

/** Where every joint of a skeleton is in the world, [x, y, z] in metres. */
export function places(skeleton, pose) {
  if (skeleton.joints.length !== pose.rotations.length) {
    throw new WireError(`joints of the pose: expected ${skeleton.joints.length}, found ${pose.rotations.length}`);
  }
  const turns = [];
  const found = [];
  skeleton.joints.forEach(({ parent, offset }, joint) => {
    const turn = pose.rotations[joint];
    const above = turns[parent];
    turns.push(above ? product(above, turn) : turn);
    const moved = above && turned(above, offset);
    found.push(above ? found[parent].map((part, axis) => part + moved[axis]) : pose.root_position);
  });
  return found;
}

/** Quaternions x, y, z, w: first b, then a. */
const product = ([ax, ay, az, aw], [bx, by, bz, bw]) => [
  aw * bx + ax * bw + ay * bz - az * by,
  aw * by + ay * bw + az * bx - ax * bz,
  aw * bz + az * bw + ax * by - ay * bx,
  aw * bw - ax * bx - ay * by - az * bz,
];

const cross = ([ax, ay, az], [bx, by, bz]) => [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];

/** v + 2 w (u x v) + 2 u x (u x v), with the quaternion (u, w). */
function turned([x, y, z, w], v) {
  const u = [x, y, z];
  const once = cross(u, v);
  const twice = cross(u, once);
  return v.map((part, axis) => part + 2 * (w * once[axis] + twice[axis]));
}

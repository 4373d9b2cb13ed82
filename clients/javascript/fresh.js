// What a robot or a character heard last, how old it is, and how a sender numbers what it says (docs/WIRE.md).

/** Bits of an action's flags. */
export const LIMITED = 1;
export const HOLDING = 2;
export const STOPPING = 4;

/** Whether a command lacks a fresh plan: the runtime comes to rest, or is at rest, until there is one. */
export const isHolding = (action) => (action.flags & HOLDING) !== 0;
/** Whether the runtime has stopped, and stays so until somebody re-arms it: nothing moves any more. */
export const isStopping = (action) => (action.flags & STOPPING) !== 0;

/** The newest message is older than is allowed: whoever goes on obeying it is out of control. */
export class StaleError extends Error {
  name = "StaleError";
}

/** The newest message of one topic. One that is older than `limitMs` is an error and not repeated for ever. */
export class Newest {
  #came = -Infinity;
  /** Whether the last message is of the sender whose messages come now. */
  #isSame = false;

  /** `what` is named in the error; a limit of Infinity allows any age. */
  constructor(what, limitMs = 500, now = () => performance.now()) {
    if (!(limitMs > 0)) throw new RangeError(`limitMs: expected milliseconds above 0, or Infinity, found ${limitMs}`);
    this.what = what;
    this.limitMs = limitMs;
    this.now = now;
    /** The last message, whatever its age; null before the first. */
    this.last = null;
  }

  /** Takes a message that has come now; false, and left out, where it is the last one again or older than that. */
  put(message) {
    if (this.#isSame && !isNews(message.stamp, this.last.stamp)) return false;
    this.#isSame = true;
    this.last = message;
    this.#came = this.now();
    return true;
  }

  /** Takes whatever comes next for news: its sender, or the way to it, is another one. */
  restart() {
    this.#isSame = false;
  }

  /** Milliseconds since the last message came; Infinity before the first. */
  get ageMs() {
    return this.now() - this.#came;
  }

  /** Whether the last message is older than is allowed. */
  get isStale() {
    return this.last !== null && this.ageMs > this.limitMs;
  }

  /** The last message; null before the first. StaleError where it is older than is allowed. */
  get() {
    if (this.isStale) {
      const age = (this.ageMs / 1000).toFixed(2);
      throw new StaleError(`the newest ${this.what} is ${age} s old, allowed are ${this.limitMs / 1000} s: is its sender still up?`);
    }
    return this.last;
  }
}

/**
 * A message that is sent again is no sign of life. A sender that begins anew counts from 1 again at a later time, by one of its
 * clocks: the monotonic one begins anew with its machine.
 */
function isNews(stamp, last) {
  if (stamp.sequence === 0n || stamp.stream !== last.stream) return true;
  return stamp.sequence > last.sequence || stamp.monotonic_ns > last.monotonic_ns || stamp.wall_ns > last.wall_ns;
}

/**
 * The stamps of one sender's topic: numbers from 1, in a stream that no earlier sender of the same name has used (32 random
 * bits, not 0), so that the runtime serves a client that begins anew at once.
 */
export class Numbering {
  #sequence = 0n;

  constructor(stream = newStream()) {
    if (!(Number.isInteger(stream) && stream >= 1 && stream < 2 ** 32)) {
      throw new RangeError(`stream: expected 1 to 2^32 - 1, found ${stream}`);
    }
    this.stream = stream;
  }

  /** The stamp of the next message, made at these times. */
  next(monotonic_ns, wall_ns = 0n) {
    this.#sequence += 1n;
    return { sequence: this.#sequence, monotonic_ns, wall_ns, stream: this.stream };
  }

  /** Begins the next episode: a stream of the next number. */
  begin() {
    this.stream = (this.stream % (2 ** 32 - 1)) + 1;
  }
}

function newStream() {
  return globalThis.crypto.getRandomValues(new Uint32Array(1))[0] || 1;
}

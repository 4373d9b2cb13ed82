// The person's hand: dragging and turning the T, pushing the agent. Mouse, pen and touch.

import { AGENT_RADIUS, CENTRE, onBlock, SIDE } from "./scene.js";
import { clamp } from "./motion.js";

const SEND_MS = 30;
/** A drag that begins this close to the agent pushes it. */
const PUSH_REACH = 110;
/** Speed per distance between pointer and agent, 1/s: firm, yet the policy is felt pulling. */
const PUSH_GAIN = 14;
const PUSH_LIMIT = 1800;
const WHEEL_TURN = 0.0022;
const WHEEL_REST_MS = 220;

const rotate = ([x, y], angle) => [
  x * Math.cos(angle) - y * Math.sin(angle),
  x * Math.sin(angle) + y * Math.cos(angle),
];
const add = (a, b) => [a[0] + b[0], a[1] + b[1]];
const subtract = (a, b) => [a[0] - b[0], a[1] - b[1]];
const heading = ([x, y]) => Math.atan2(y, x);

/** The pose at `angle` that keeps the point `local` of the T at `at`. */
function poseWith(local, at, angle) {
  const [x, y] = subtract(at, rotate(local, angle));
  return [clamp(x, 0, SIDE), clamp(y, 0, SIDE), angle];
}

export class Hand {
  /** `scene()` returns what is shown, `{agent, block}` or null; `send` takes an input. */
  constructor(canvas, scene, send) {
    this.canvas = canvas;
    this.scene = scene;
    this.send = send;
    this.held = null;
    this.sentAt = 0;

    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.#up(event));
    }
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    // A finger that touches nothing scrolls the page.
    canvas.addEventListener("touchstart", (event) => this.#touch(event), { passive: false });
    addEventListener("blur", () => this.release());
  }

  /** What is held, for drawing: `{kind: "block", pose}`, `{kind: "agent", at}` or null. */
  get shown() {
    return this.held;
  }

  /** Once per drawn picture: repeats the hold, so that it lasts while the pointer rests. */
  step(now) {
    if (!this.held || now - this.sentAt < SEND_MS) return;
    this.#say(now);
  }

  release() {
    const { held } = this;
    this.held = null;
    clearTimeout(this.wheelRest);
    if (held?.kind === "block") this.send({ type: "release_block" });
    this.canvas.dataset.cursor = "";
  }

  #say(now) {
    const { held } = this;
    if (held.kind === "block") {
      const [x, y, angle] = held.pose;
      this.send({ type: "drag_block", x, y, angle });
    } else {
      const scene = this.scene();
      if (!scene) return;
      const [dx, dy] = subtract(held.at, scene.agent);
      const factor = Math.min(PUSH_GAIN, PUSH_LIMIT / (Math.hypot(dx, dy) || 1));
      this.send({ type: "push_agent", vx: factor * dx, vy: factor * dy });
    }
    this.sentAt = now;
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  /** What a pointer there takes hold of: "agent", "block", "push" (near the agent) or null. */
  #reach(at, coarse) {
    const scene = this.scene();
    if (!scene) return null;
    const away = Math.hypot(...subtract(at, scene.agent));
    if (away <= AGENT_RADIUS + (coarse ? 10 : 3)) return "agent";
    const [x, y, angle] = scene.block;
    if (onBlock(rotate(subtract(at, [x, y]), -angle), coarse ? 12 : 4)) return "block";
    return away <= PUSH_REACH ? "push" : null;
  }

  #touch(event) {
    const touch = event.changedTouches[0];
    if (this.held || (touch && this.#reach(this.#at(touch), true))) event.preventDefault();
  }

  #down(event) {
    if (event.button > 0) return;
    const at = this.#at(event);
    if (this.held?.kind === "block" && event.pointerId !== this.held.pointer) {
      if (this.held.second === undefined) this.#secondFinger(event, at);
      return;
    }
    const reach = this.#reach(at, event.pointerType === "touch");
    if (!reach) return;
    this.canvas.setPointerCapture(event.pointerId);
    if (reach === "block") {
      const { block } = this.scene();
      clearTimeout(this.wheelRest);
      this.held = { kind: "block", pointer: event.pointerId, at, pose: [...block] };
      this.#grab(at);
    } else {
      this.held = { kind: "agent", pointer: event.pointerId, at };
    }
    this.canvas.dataset.cursor = "grabbing";
    this.#say(event.timeStamp);
  }

  /** Remembers which point of the T the pointer is on. */
  #grab(at) {
    const [x, y, angle] = this.held.pose;
    this.held.local = rotate(subtract(at, [x, y]), -angle);
    this.held.turning = null;
  }

  #secondFinger(event, at) {
    this.canvas.setPointerCapture(event.pointerId);
    Object.assign(this.held, {
      second: event.pointerId,
      secondAt: at,
      lean: heading(subtract(at, this.held.at)),
    });
  }

  #move(event) {
    const at = this.#at(event);
    const { held } = this;
    if (!held) {
      const reach = event.pointerType === "touch" ? null : this.#reach(at, false);
      this.canvas.dataset.cursor = reach === "push" ? "push" : reach ? "grab" : "";
      return;
    }
    if (event.pointerId === held.pointer) held.at = at;
    else if (event.pointerId === held.second) held.secondAt = at;
    else return;
    if (held.kind !== "block") return;

    if (held.second !== undefined) {
      const lean = heading(subtract(held.secondAt, held.at));
      held.pose = poseWith(held.local, held.at, held.pose[2] + lean - held.lean);
      held.lean = lean;
    } else if (event.shiftKey) {
      this.#turn(at);
    } else {
      // Shift let go: take hold where the pointer is now, so that nothing jumps.
      if (held.turning) this.#grab(at);
      held.pose = poseWith(held.local, at, held.pose[2]);
    }
  }

  /** Shift-drag: about the centre of gravity, by the angle that the pointer sweeps around it. */
  #turn(at) {
    const { held } = this;
    const [x, y, angle] = held.pose;
    if (!held.turning) {
      const pivot = add([x, y], rotate(CENTRE, angle));
      held.turning = { pivot, offset: angle - heading(subtract(at, pivot)) };
    }
    const { pivot, offset } = held.turning;
    held.pose = poseWith(CENTRE, pivot, heading(subtract(at, pivot)) + offset);
  }

  #up(event) {
    const { held } = this;
    if (!held) return;
    if (event.pointerId === held.second) {
      delete held.second;
      this.#grab(held.at);
    } else if (event.pointerId === held.pointer) {
      // The last movement may not have gone out yet.
      if (held.kind === "block") this.#say(event.timeStamp);
      this.release();
    }
  }

  #wheel(event) {
    const at = this.#at(event);
    const holding = this.held?.kind === "block";
    if (!holding && (this.held || this.#reach(at, false) !== "block")) return;
    event.preventDefault();
    const step = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    const turned = clamp(WHEEL_TURN * step * (event.deltaY || event.deltaX), -0.5, 0.5);
    if (!holding) {
      const { block } = this.scene();
      this.held = { kind: "block", pointer: null, at, pose: [...block] };
    }
    const { held } = this;
    const angle = held.pose[2] + turned;
    if (held.pointer === null) {
      const [x, y, before] = held.pose;
      held.pose = poseWith(CENTRE, add([x, y], rotate(CENTRE, before)), angle);
      clearTimeout(this.wheelRest);
      this.wheelRest = setTimeout(() => this.release(), WHEEL_REST_MS);
    } else {
      held.pose = poseWith(held.local, held.at, angle);
    }
  }
}

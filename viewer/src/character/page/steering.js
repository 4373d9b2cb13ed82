// Keys, gamepad and the stick on the screen: which way a person wants the character to go and look.

import { clamp } from "./vectors.js";

/** Speeds to choose from, m/s. */
export const SPEEDS = { slow: 0.7, walk: 1.4, run: 3.4 };
/** A stick of a gamepad this close to its middle rests. */
const REST = 0.16;
/** Buttons of a gamepad that make it run: right shoulder, right trigger. */
const RUN_BUTTONS = [5, 7];
/** Changes that are worth telling, m/s. */
const CHANGE = 0.02;
/** Told at most this often, and while steering at least so often, ms. */
const SEND_MS = 30;
const REPEAT_MS = 250;

const KEYS = {
  KeyW: "forward", ArrowUp: "forward",
  KeyS: "back", ArrowDown: "back",
  KeyA: "left", ArrowLeft: "left",
  KeyD: "right", ArrowRight: "right",
  ShiftLeft: "run", ShiftRight: "run",
  KeyC: "slow",
  KeyF: "look",
};

export class Steering {
  /** `pad` is the stick on the screen, `knob` its handle; `send` takes an input. */
  constructor(pad, knob, send) {
    this.pad = pad;
    this.knob = knob;
    this.send = send;
    /** What full deflection means: a key of SPEEDS. */
    this.gait = "walk";
    this.held = new Set();
    /** Deflection of the stick on the screen, right and up, at most 1 long. */
    this.touch = null;
    this.told = { velocity: [0, 0], facing: [0, 0] };
    this.toldAt = -Infinity;

    addEventListener("keydown", (event) => this.#key(event, true));
    addEventListener("keyup", (event) => this.#key(event, false));
    addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => document.hidden && this.release());
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      this.#drag(event);
    });
    pad.addEventListener("pointermove", (event) => this.touch && this.#drag(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      pad.addEventListener(end, () => this.#drop());
    }
  }

  /** Lets go of everything. */
  release() {
    this.held.clear();
    this.#drop();
  }

  /** Forgets what was told: a new connection knows nothing of it. */
  forget() {
    this.told = { velocity: [0, 0], facing: [0, 0] };
  }

  /** Once per drawn picture. `yaw` is the direction that the camera looks in. */
  step(now, yaw) {
    const wish = this.#wish(yaw);
    const moves = [...wish.velocity, ...wish.facing].some((part) => part !== 0);
    const before = [...this.told.velocity, ...this.told.facing];
    const apart = [...wish.velocity, ...wish.facing].some((part, i) => Math.abs(part - before[i]) > CHANGE);
    const rests = !moves && before.some((part) => part !== 0);
    const waited = now - this.toldAt;
    // Letting go is told at once; a path that is being walked is not disturbed by silence.
    if (!rests && !(apart && waited >= SEND_MS) && !(moves && waited >= REPEAT_MS)) return;
    if (this.send({ type: "stick", ...wish })) {
      this.told = wish;
      this.toldAt = now;
    }
  }

  /** Velocity and facing [x, z] in the world. */
  #wish(yaw) {
    const pad = gamepad();
    const keys = [
      this.held.has("right") - this.held.has("left"),
      this.held.has("forward") - this.held.has("back"),
    ];
    const length = Math.hypot(...keys);
    const stick = length > 0 ? keys.map((part) => part / length) : (this.touch ?? pad?.left ?? [0, 0]);
    const gait = this.held.has("run") || pad?.runs ? "run" : this.held.has("slow") ? "slow" : this.gait;
    const look = pad?.right ?? (this.held.has("look") ? [0, 1] : [0, 0]);
    return {
      velocity: turned(stick, yaw).map((part) => rounded(part * SPEEDS[gait])),
      facing: turned(look, yaw).map(rounded),
    };
  }

  #key(event, pressed) {
    const action = KEYS[event.code];
    if (!action) return;
    // Keys of the browser, and of sliders, stay what they are; a key that comes up always counts.
    const other = event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select");
    if (pressed && other) return;
    if (pressed) this.held.add(action);
    else this.held.delete(action);
    if (pressed && event.code.startsWith("Arrow")) event.preventDefault();
  }

  #drag(event) {
    const box = this.pad.getBoundingClientRect();
    const reach = box.width / 2 - this.knob.offsetWidth / 2;
    const x = (event.clientX - box.left - box.width / 2) / reach;
    const y = (box.top + box.height / 2 - event.clientY) / reach;
    const over = Math.max(Math.hypot(x, y), 1);
    this.touch = [x / over, y / over];
    this.knob.style.transform = `translate(${this.touch[0] * reach}px, ${-this.touch[1] * reach}px)`;
  }

  #drop() {
    this.touch = null;
    this.knob.style.transform = "";
  }
}

const rounded = (value) => Math.round(1000 * value) / 1000 + 0;

/** Right and up of the picture as x and z of the world. */
function turned([right, up], yaw) {
  const [sin, cos] = [Math.sin(yaw), Math.cos(yaw)];
  return [up * sin - right * cos, up * cos + right * sin];
}

/** The first gamepad with two sticks: deflections right and up, at most 1 long, null at rest. */
function gamepad() {
  for (const pad of navigator.getGamepads?.() ?? []) {
    if (!pad?.connected || pad.axes.length < 4) continue;
    const left = deflection(pad.axes[0], -pad.axes[1]);
    const right = deflection(pad.axes[2], -pad.axes[3]);
    if (left || right) return { left, right, runs: RUN_BUTTONS.some((button) => pad.buttons[button]?.pressed) };
  }
  return null;
}

function deflection(x, y) {
  const length = Math.hypot(x, y);
  if (!(length > REST)) return null;
  const share = clamp((length - REST) / (0.97 - REST), 0, 1) / length;
  return [x * share, y * share];
}

// Mouse, pen and fingers on the picture: dragging turns, wheel and pinch zoom, a click marks the floor.

/** A pointer that moved farther than this drags, CSS pixels. */
const CLICK_SLACK = 6;
const TURN = 0.0055;
const WHEEL = 0.0014;

export class Pointer {
  /** `onFloor` gets a place of the picture (-1 to 1) that was clicked, `onClear` a right click. */
  constructor(canvas, camera, onFloor, onClear) {
    this.canvas = canvas;
    this.camera = camera;
    this.onFloor = onFloor;
    this.onClear = onClear;
    /** Pointers that are down: id to `{at, from, button, dragged}`. */
    this.down = new Map();

    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event, true));
    for (const end of ["pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.#release(event, false));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Where in the picture the mouse rests, or null; for showing what a click would mark. */
  get hover() {
    return this.down.size === 0 ? (this.rest ?? null) : null;
  }

  #press(event) {
    if (event.button !== 0 && event.button !== 2) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = [event.clientX, event.clientY];
    this.down.set(event.pointerId, { at, from: at, button: event.button, dragged: this.down.size > 0 });
    // Two fingers pinch: neither marks the floor.
    if (this.down.size > 1) for (const pointer of this.down.values()) pointer.dragged = true;
  }

  #move(event) {
    const at = [event.clientX, event.clientY];
    const pointer = this.down.get(event.pointerId);
    if (!pointer) {
      this.rest = event.pointerType === "mouse" ? this.#place(at) : null;
      return;
    }
    const other = [...this.down.entries()].find(([id]) => id !== event.pointerId)?.[1];
    const before = pointer.at;
    pointer.at = at;
    if (Math.hypot(at[0] - pointer.from[0], at[1] - pointer.from[1]) > CLICK_SLACK) pointer.dragged = true;
    if (other) {
      const apart = (a) => Math.hypot(a[0] - other.at[0], a[1] - other.at[1]);
      this.camera.zoom(apart(before) / Math.max(apart(at), 1));
    } else if (pointer.dragged) {
      this.camera.turn(-TURN * (at[0] - before[0]), TURN * (at[1] - before[1]));
    }
  }

  #release(event, lifted) {
    const pointer = this.down.get(event.pointerId);
    if (!pointer) return;
    this.down.delete(event.pointerId);
    if (!lifted || pointer.dragged) return;
    if (pointer.button === 2) this.onClear();
    else this.onFloor(this.#place(pointer.at));
  }

  #wheel(event) {
    event.preventDefault();
    const step = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    this.camera.zoom(Math.exp(WHEEL * step * event.deltaY));
  }

  #place([x, y]) {
    const box = this.canvas.getBoundingClientRect();
    return [(2 * (x - box.left)) / box.width - 1, 1 - (2 * (y - box.top)) / box.height];
  }
}

// Wires the page together: frames to the scene, hands to the program.

import { Camera } from "./camera.js";
import { Connection } from "./connection.js";
import { Marks, Trail } from "./marks.js";
import { Panel } from "./panel.js";
import { Pointer } from "./pointer.js";
import { Renderer } from "./renderer.js";
import { Shape } from "./body.js";
import { SPEEDS, Steering } from "./steering.js";
import { element, write } from "./text.js";
import { subtract } from "./vectors.js";

const MOST_PATH_POINTS = 256;
/** Slow motion, in seconds of the character per second of the clock. */
const SLOW = 0.25;
/** The scene's origin moves in such steps, so that numbers stay small and the grid stays put, m. */
const ORIGIN_STEP = 20;
/** Least time between two messages of a slider that is being dragged, ms. */
const SLIDER_MS = 50;
/** How long after its last movement a slider follows the program again, ms. */
const SETTLE_MS = 1500;

const canvas = element("scene");
const banner = element("banner");

let shape = null;
let frame = null;
/** The frame's points [x, y, z], m; null before the first. */
let points = null;
/** "connecting", "open", "lost" or "ended". */
let link = "connecting";
let failure = null;
let colours = palette();

const camera = new Camera();
const trail = new Trail();
const panel = new Panel();
let renderer = null;
try {
  renderer = new Renderer(canvas);
} catch (error) {
  failure = `The scene cannot be drawn: ${error.message}. The numbers are live all the same.`;
}

const connection = new Connection(
  (next) => {
    if (next?.introduction) {
      shape = new Shape(next.introduction);
      offerActions(next.introduction.actions ?? []);
      return;
    }
    if (!next || !shape) return;
    if (frame && (next.seed !== frame.seed || next.frame < frame.frame)) trail.clear();
    frame = next;
    points = placesOf(next.points_mm, 3, shape.body.points.length);
    if (points) trail.take([points[0][0], points[0][2]], feet());
    panel.take(next);
    followSettings(next.control);
    showActing(next.acting ?? "");
  },
  (state) => {
    // That nobody answers after a goodbye is no news.
    link = link === "ended" && state === "lost" ? "ended" : state;
    steering.forget();
  },
);
const steering = new Steering(element("pad"), element("knob"), (input) => connection.send(input));
const pointer = new Pointer(canvas, camera, addPoint, clearPath);

function addPoint(place) {
  const at = camera.floorAt(place);
  if (!at || !frame) return;
  const points = [...remaining(), at.map((part) => Math.round(1000 * part) / 1000)];
  if (points.length > MOST_PATH_POINTS) return;
  connection.send({ type: "path", points, speed: SPEEDS[steering.gait] });
}

function clearPath() {
  connection.send({ type: "path", points: [], speed: 0 });
}

/** What is left of the path. */
const remaining = () => (frame?.control.mode === "path" ? placesOf(frame.path_mm, 2) : null) ?? [];

/** One button for each thing that the character can perform. */
function offerActions(actions) {
  element("actions").hidden = actions.length === 0;
  const buttons = actions.map((action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = action;
    button.dataset.action = action;
    button.addEventListener("click", () => connection.send({ type: "act", action }));
    return button;
  });
  element("action-buttons").replaceChildren(...buttons);
}

function showActing(acting) {
  write("acting", acting);
  for (const button of element("action-buttons").children) {
    button.setAttribute("aria-pressed", String(button.dataset.action === acting));
  }
}

const togglePause = () => connection.send({ type: frame?.state === "paused" ? "resume" : "pause" });
const toggleSlow = () => connection.send({ type: "pace", pace: frame?.pace < 1 ? 1 : SLOW });
const reset = () => connection.send({ type: "reset", seed: null });
const newSeed = () => connection.send({ type: "reset", seed: Math.floor(1e6 * Math.random()) });
for (const [id, action] of Object.entries({ pause: togglePause, slow: toggleSlow, reset, "new-seed": newSeed, clear: clearPath })) {
  element(id).addEventListener("click", action);
}
for (const radio of document.querySelectorAll("input[name=gait]")) {
  radio.addEventListener("change", () => {
    steering.gait = radio.value;
    // The path that is being walked takes the new speed as well.
    const points = remaining();
    if (points.length > 0) connection.send({ type: "path", points, speed: SPEEDS[steering.gait] });
  });
}
steering.gait = document.querySelector("input[name=gait]:checked").value;

addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  // On a button, Space presses that button.
  if (key === " " && event.target.closest?.("button, input")) return;
  const action = { " ": togglePause, m: toggleSlow, r: reset, n: newSeed, escape: clearPath }[key];
  if (!action) return;
  event.preventDefault();
  action();
});

const sliders = ["diversity", "strength"].map(element);
let sliderTimer = null;
let sliderMoved = -Infinity;
for (const slider of sliders) {
  slider.addEventListener("input", () => {
    sliderMoved = performance.now();
    showSettings();
    sliderTimer ??= setTimeout(tellSettings, SLIDER_MS);
  });
}

/** The sliders stand where the program does, but not under a hand that is moving them. */
function followSettings(control) {
  if (performance.now() - sliderMoved < SETTLE_MS) return;
  for (const slider of sliders) {
    const value = control[slider.id];
    if (Number.isFinite(value) && Number(slider.value) !== value) slider.value = value;
  }
  showSettings();
}

function showSettings() {
  for (const slider of sliders) write(`${slider.id}-value`, Number(slider.value).toFixed(2));
}

function tellSettings() {
  clearTimeout(sliderTimer);
  sliderTimer = null;
  const [diversity, strength] = sliders.map((slider) => Number(slider.value));
  connection.send({ type: "knobs", diversity, strength });
}

/** Millimetres in a row as places of so many metres each; null where one is missing. */
function placesOf(millimetres, size, expected = millimetres.length / size) {
  if (millimetres.length !== size * expected || millimetres.includes(null)) return null;
  return Array.from({ length: expected }, (_, i) => millimetres.slice(size * i, size * (i + 1)).map((part) => part / 1000));
}

/** Left and right: whether it bears, and where heel and toes are on the floor. */
function feet() {
  const at = shape.body.contacts.map((point) => [points[point][0], points[point][2]]);
  const { contacts } = frame;
  return [
    { bears: contacts[0] || contacts[1], heel: at[0], toes: at[1] },
    { bears: contacts[2] || contacts[3], heel: at[2], toes: at[3] },
  ];
}

function marksOf(origin) {
  const marks = new Marks(origin, camera.eye);
  const root = [points[0][0], points[0][2]];
  const path = remaining();
  const { control } = frame;

  trail.draw(marks, colours.trail, root);
  shape.body.contacts.forEach((point, i) => {
    const at = [points[point][0], points[point][2]];
    if (frame.contacts[i]) marks.glow(at, 0.15, colours.contact, 0.9);
  });

  if (path.length > 0) {
    marks.ribbon([root, ...path], 0.05, colours.asked, () => 0.9, true);
    path.forEach((at, i) => (i === path.length - 1 ? marks.ring(at, 0.2, colours.asked, 1) : marks.disc(at, 0.07, colours.asked, 1)));
    marks.disc(path.at(-1), 0.07, colours.asked, 1);
  }

  const ahead = placesOf(frame.prediction_mm, 2) ?? [];
  marks.ribbon(ahead, 0.045, colours.predicted, (share) => 0.95 - 0.75 * share);
  let due = 0.5;
  ahead.forEach((at, i) => {
    if (frame.prediction_period * i < due - 1e-6) return;
    due += 0.5;
    if (Math.hypot(at[0] - root[0], at[1] - root[1]) < 0.1) return;
    marks.disc(at, 0.06, colours.predicted, 0.95 - 0.75 * (i / ahead.length));
  });

  // A ring around the character: where it faces, where it is to face, where it is to go.
  const faces = [Math.sin(frame.facing), Math.cos(frame.facing)];
  const on = (way, radius) => [root[0] + way[0] * radius, root[1] + way[1] * radius];
  marks.ring(root, RING, colours.trail, 0.5);
  marks.triangle(on(faces, RING + 0.12), faces, 0.13, 0.075, colours.predicted, 0.95);
  const speed = Math.hypot(...control.velocity);
  const asked = Math.hypot(...control.facing) > 0 ? control.facing : null;
  if (asked) marks.triangle(on(asked, RING + 0.2), asked, 0.1, 0.085, colours.asked, 0.95);
  if (speed > 0.05 && path.length === 0) {
    const way = control.velocity.map((part) => part / speed);
    marks.arrow(on(way, RING + 0.16), control.velocity.map((part) => 0.34 * part), 0.055, colours.asked, 0.95);
  }

  const target = pointer.hover && camera.floorAt(pointer.hover);
  if (target && link === "open") marks.ring(target, 0.09, colours.asked, 0.5);
  return marks.vertices;
}

/** Radius of the ring around the character, m. */
const RING = 0.5;

function notice() {
  if (link === "ended") return ["lost", "The demo has ended. This page comes back when it is started again."];
  if (link === "lost") return ["lost", "Connection lost. Trying again…"];
  if (failure) return ["fault", failure];
  if (frame?.fault) return ["fault", frame.fault];
  if (link === "connecting" || !frame?.points_mm.length) return ["wait", "Waiting for the character…"];
  if (!points) return ["fault", "The poses that arrive are not of the character that was introduced."];
  return [null, ""];
}

function showNotice() {
  const [kind, text] = notice();
  banner.hidden = kind === null;
  banner.dataset.kind = kind ?? "";
  write("banner", text);
  canvas.classList.toggle("stale", kind === "lost");
}

/** Colours as the style sheets have them now: names to [r, g, b] from 0 to 1, and as text for charts. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const rgb = (name) => [1, 3, 5].map((at) => parseInt(read(name).slice(at, at + 2), 16) / 255);
  const named = (names, of) => Object.fromEntries(names.map((name) => [name, of(name)]));
  return {
    ...named(["zenith", "horizon", "floor", "grid", "asked", "predicted", "trail", "contact"], rgb),
    linear: named(["skin", "dark", "above", "below"], (name) => rgb(name).map((part) => part ** 2.2)),
    text: named(["line", "wall", "asked", "predicted"], read),
    sunlight: Number(read("sunlight")),
    shade: Number(read("shade")),
  };
}

function repaint() {
  colours = palette();
  panel.refresh();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("resize", repaint);

let before = performance.now();
function draw(now) {
  const passed = now - before;
  before = now;
  steering.step(now, camera.yaw);
  if (points) camera.follow([points[0][0], points[0][2]], passed);
  if (renderer) {
    const origin = [0, 2].map((axis) => Math.round(camera.target[axis] / ORIGIN_STEP) * ORIGIN_STEP);
    drawScene([origin[0], 0, origin[1]]);
  }
  panel.draw(now, colours.text, link);
  showNotice();
  requestAnimationFrame(draw);
}

function drawScene(origin) {
  const local = points?.map((point) => subtract(point, origin));
  renderer.draw({
    camera, colours, origin,
    mesh: local ? shape.shaped(local) : null,
    marks: points ? marksOf(origin) : new Float32Array(),
    blobs: local ? shape.blobs(local) : [],
    focus: local ? [local[0][0], 0.9, local[0][2]] : [0, 0.9, 0],
  });
}
requestAnimationFrame(draw);

// The camera: follows the character, turned and moved closer by a person.

import { add, clamp, cross, direction, perspective, multiply, scale, subtract, UP, view } from "./vectors.js";

/** Tangent of half the angle of view along the shorter side. */
const SLOPE = Math.tan((34 * Math.PI) / 360);
const NEAR = 0.1;
const FAR = 220;
const LEAST_DISTANCE = 1.6;
const MOST_DISTANCE = 30;
const LEAST_PITCH = 0.03;
const MOST_PITCH = 1.5;
/** Height that it looks at, m: the middle of the body. */
const HEIGHT = 0.88;
/** Time in which it makes up for 63 % of a distance, ms, and how far it stays behind at most, m. */
const FOLLOW_MS = 130;
const MOST_BEHIND = 0.3;
/** Farthest place on the floor that can be pointed at, m from the camera. */
const REACH = 80;

export class Camera {
  constructor() {
    /** Direction it looks in, about Y: 0 is +Z. */
    this.yaw = 0.55;
    /** How far it looks down. */
    this.pitch = 0.3;
    this.distance = 4.7;
    this.target = [0, HEIGHT, 0];
    this.aspect = 1;
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = clamp(this.pitch + pitch, LEAST_PITCH, MOST_PITCH);
  }

  zoom(factor) {
    this.distance = clamp(this.distance * factor, LEAST_DISTANCE, MOST_DISTANCE);
  }

  /** Follows the root at `[x, z]`. */
  follow([x, z], passed) {
    const goal = [x, HEIGHT, z];
    const away = subtract(goal, this.target);
    const distance = Math.hypot(...away);
    const behind = Math.min(distance * Math.exp(-passed / FOLLOW_MS), MOST_BEHIND);
    this.target = distance > 0 ? subtract(goal, scale(away, behind / distance)) : goal;
  }

  get forward() {
    const level = Math.cos(this.pitch);
    return [Math.sin(this.yaw) * level, -Math.sin(this.pitch), Math.cos(this.yaw) * level];
  }

  get right() {
    return direction(cross(this.forward, UP));
  }

  get eye() {
    return subtract(this.target, scale(this.forward, this.distance));
  }

  /** From the world, less `origin`, to the picture. */
  matrix(origin) {
    const { forward, right } = this;
    const eye = subtract(this.eye, origin);
    const away = perspective(this.slope, this.aspect, NEAR, FAR);
    return multiply(away, view(eye, right, cross(right, forward), forward));
  }

  /** Where on the floor `[x, z]` a place of the picture is (-1 to 1, up and right), or null. */
  floorAt([across, upwards]) {
    const { eye, forward, right } = this;
    const slope = this.slope;
    const up = cross(right, forward);
    const ray = add(forward, add(scale(right, across * slope * this.aspect), scale(up, upwards * slope)));
    if (ray[1] > -1e-3) return null;
    const at = add(eye, scale(ray, -eye[1] / ray[1]));
    return Math.hypot(...subtract(at, eye)) < REACH ? [at[0], at[2]] : null;
  }

  /** Tangent of half the angle of view upwards; in a tall picture the width rules it. */
  get slope() {
    return this.aspect < 1 ? SLOPE / Math.max(this.aspect, 0.62) : SLOPE;
  }
}

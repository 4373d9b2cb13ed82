// Shapes the character: from the places of its points to a mesh of trunk, head and limbs.

import { Mesh } from "./mesh.js";
import { add, along, cross, direction, dot, scale, subtract } from "./vectors.js";

/** Tint of hands, feet and visor. */
const DARK = 1;
/** The angle between the line from ankle to ball and the sole. */
const INSTEP = Math.atan2(0.06, 0.12);
/** Names of the joints that a human has, and their sides' parts. */
const MIDDLE = ["Hips", "Spine", "Spine1", "Spine2", "Neck", "Head"];
const SIDES = ["Left", "Right"];
const PARTS = ["Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "Toe"];
/** What darkens the floor below it, with its radius. */
const BLOBS = [
  ["LeftFoot", 0.05], ["RightFoot", 0.05], ["LeftToe", 0.045], ["RightToe", 0.045],
  ["LeftLeg", 0.09], ["RightLeg", 0.09], ["Hips", 0.17], ["Spine2", 0.18],
  ["LeftHand", 0.05], ["RightHand", 0.05], ["Head", 0.1],
];

export class Shape {
  /** `body` is the program's introduction: points with names and parents, contacts. */
  constructor(body) {
    this.body = body;
    this.mesh = new Mesh();
    this.index = new Map();
    /** The tip of a limb, by the joint that carries it. */
    this.tips = new Map();
    body.points.forEach(({ name, parent }, i) => {
      if (name) this.index.set(name, i);
      else if (parent !== null) this.tips.set(parent, i);
    });
    const names = [...MIDDLE, ...SIDES.flatMap((side) => PARTS.map((part) => side + part))];
    this.human = names.every((name) => this.index.has(name));
  }

  /** The mesh of a pose, `points` being [x, y, z] each. */
  shaped(points) {
    this.mesh.begin();
    if (this.human) this.#human(points);
    else this.#bones(points);
    return this.mesh;
  }

  /** What darkens the floor below it: `[x, y, z, radius]` each. */
  blobs(points) {
    if (!this.human) return points.slice(0, BLOBS.length).map((point) => [...point, 0.05]);
    return BLOBS.map(([name, radius]) => [...points[this.index.get(name)], radius]);
  }

  /** Any skeleton: a bone from every point to its parent. */
  #bones(points) {
    this.body.points.forEach(({ parent }, i) => {
      if (parent === null) return;
      const length = Math.hypot(...subtract(points[i], points[parent]));
      const radius = Math.min(Math.max(0.16 * length, 0.014), 0.05);
      this.mesh.limb(points[parent], points[i], [radius, 0.8 * radius], { around: 10 });
    });
  }

  #human(points) {
    const at = (name) => points[this.index.get(name)];
    const tip = (name) => points[this.tips.get(this.index.get(name))];
    const wide = direction(subtract(at("LeftUpLeg"), at("RightUpLeg")), [1, 0, 0]);
    const broad = direction(subtract(at("LeftArm"), at("RightArm")), wide);
    const chestUp = direction(subtract(at("Neck"), at("Spine2")));
    const forward = direction(cross(broad, chestUp), [0, 0, 1]);
    this.#trunk(at, wide, broad, forward);
    this.#head(at, tip, forward);
    for (const side of SIDES) this.#arm(at, tip, side, forward);
    for (const side of SIDES) this.#leg(at, tip, side, wide);
  }

  /** From the crotch to the neck: heights, half widths and half depths of an adult of 1.75 m. */
  #trunk(at, wide, broad, forward) {
    const [hips, spine, spine1, spine2, neck, head] = MIDDLE.map(at);
    const below = (share) => along(hips, along(at("LeftUpLeg"), at("RightUpLeg"), 0.5), share);
    const ahead = (place, by) => add(place, scale(forward, by));
    const sections = [
      [below(3.4), 0.024, 0.024, wide],
      [below(3.1), 0.066, 0.058, wide],
      [below(2.2), 0.122, 0.094, wide],
      [below(0.9), 0.154, 0.109, wide],
      [along(hips, spine, 0.25), 0.156, 0.108, wide],
      [along(spine, spine1, 0.3), 0.13, 0.092, wide],
      [spine1, 0.128, 0.09, broad],
      [along(spine1, spine2, 0.6), 0.142, 0.102, broad],
      [ahead(along(spine2, neck, 0.2), 0.012), 0.158, 0.108, broad],
      [along(spine2, neck, 0.55), 0.153, 0.095, broad],
      [along(spine2, neck, 0.78), 0.134, 0.076, broad],
      [along(spine2, neck, 0.97), 0.076, 0.06, broad],
      [along(neck, head, 0.5), 0.053, 0.055, broad],
      [along(neck, head, 1.25), 0.05, 0.055, broad],
    ];
    const shaped = sections.map(([place, width, depth, side]) => ({ at: place, wide: width, deep: depth, side }));
    this.mesh.tube(shaped, { round: 0.25, around: 26 });
  }

  /** With a visor that says where it looks. */
  #head(at, tip, forward) {
    const [neck, head] = [at("Neck"), at("Head")];
    const crown = tip("Head") ?? add(head, scale(direction(subtract(head, neck)), 0.17));
    const up = direction(subtract(crown, head));
    const ahead = direction(subtract(forward, scale(up, dot(forward, up))), forward);
    const side = cross(up, ahead);
    const place = (above, before, aside = 0) =>
      add(head, add(scale(up, above), add(scale(ahead, before), scale(side, aside))));
    const section = (above, before, width, depth) => ({ at: place(above, before), wide: width, deep: depth });
    this.mesh.tube(
      [
        section(-0.025, 0.052, 0.03, 0.03),
        section(0.0, 0.044, 0.052, 0.056),
        section(0.045, 0.022, 0.07, 0.086),
        section(0.095, 0.008, 0.078, 0.1),
        section(0.13, 0.003, 0.071, 0.092),
        section(0.152, 0.001, 0.057, 0.074),
        section(0.166, 0.0, 0.036, 0.047),
        section(0.1725, 0.0, 0.014, 0.018),
      ],
      { side, round: 0.25, around: 24 },
    );
    const visor = [-0.062, -0.034, 0, 0.034, 0.062].map((aside) => ({
      at: place(0.082, 0.098 - 8.6 * aside * aside, aside),
      wide: 0.024 - 1.6 * aside * aside,
      deep: 0.013,
    }));
    this.mesh.tube(visor, { side: up, tint: DARK, around: 12 });
  }

  #arm(at, tip, side, forward) {
    const [collar, shoulder, elbow, wrist] = [`${side}Shoulder`, `${side}Arm`, `${side}ForeArm`, `${side}Hand`].map(at);
    const round = (place, radius) => ({ at: place, wide: radius, deep: radius });
    this.mesh.tube(
      [
        round(along(collar, shoulder, 0.2), 0.05),
        round(along(collar, shoulder, 0.88), 0.061),
        round(along(shoulder, elbow, 0.18), 0.056),
        round(along(shoulder, elbow, 0.55), 0.047),
        round(elbow, 0.039),
        round(along(elbow, wrist, 0.28), 0.042),
        round(along(elbow, wrist, 0.7), 0.033),
        round(wrist, 0.027),
      ],
      { side: forward },
    );
    const fingers = tip(`${side}Hand`) ?? along(elbow, wrist, 1.6);
    const palm = (share, width, depth) => ({ at: along(wrist, fingers, share), wide: width, deep: depth });
    this.mesh.tube([palm(-0.08, 0.026, 0.024), palm(0.3, 0.038, 0.02), palm(0.6, 0.036, 0.017), palm(0.92, 0.022, 0.011)], {
      side: forward, tint: DARK, around: 12,
    });
  }

  #leg(at, tip, side, wide) {
    const [hip, knee, ankle, ball] = [`${side}UpLeg`, `${side}Leg`, `${side}Foot`, `${side}Toe`].map(at);
    const toes = tip(`${side}Toe`) ?? along(ankle, ball, 1.5);
    // The foot's own frame, from ankle, ball and toes, which lie in one plane.
    const slant = direction(subtract(ball, ankle), [0, 0, 1]);
    const across = scale(direction(cross(slant, subtract(toes, ball)), scale(wide, -1)), -1);
    const forward = add(scale(slant, Math.cos(INSTEP)), scale(cross(slant, across), Math.sin(INSTEP)));
    const up = cross(forward, across);
    const foot = (ahead, above) => add(ankle, add(scale(forward, ahead), scale(up, above)));
    const calf = (share, back) => add(along(knee, ankle, share), scale(forward, -back));
    const round = (place, radius) => ({ at: place, wide: radius, deep: radius });
    this.mesh.tube(
      [
        round(along(hip, knee, -0.1), 0.084),
        round(along(hip, knee, 0.12), 0.092),
        round(along(hip, knee, 0.5), 0.076),
        round(along(hip, knee, 0.86), 0.057),
        round(knee, 0.054),
        round(calf(0.26, 0.012), 0.055),
        round(calf(0.55, 0.006), 0.045),
        round(calf(0.84, 0), 0.034),
        round(foot(0, 0.004), 0.035),
      ],
      { side: wide, around: 18 },
    );
    // Shoe: heel, instep, ball, tip of the toes; its sole lies on the floor when the foot is flat.
    const sole = (place, width, depth) => ({ at: place, wide: width, deep: depth });
    this.mesh.tube(
      [
        sole(foot(-0.042, -0.046), 0.032, 0.033),
        sole(foot(-0.008, -0.037), 0.038, 0.043),
        sole(foot(0.05, -0.045), 0.041, 0.035),
        sole(add(ball, scale(up, 0.004)), 0.046, 0.024),
        sole(add(toes, scale(up, -0.002)), 0.034, 0.018),
      ],
      { side: across, tint: DARK, around: 16 },
    );
    this.mesh.limb(foot(0, 0.02), foot(0.004, -0.03), [0.04, 0.043], { side: across, tint: DARK, around: 14 });
  }
}

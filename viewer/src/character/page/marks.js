// Marks on the floor: path, prediction, trail, contacts, directions. Places are [x, z] in metres.
//
// A vertex is 10 numbers: x, y, z; two coordinates of its shape and the shape's kind; colour and
// opacity. The kinds are those of the shader.

export const NUMBERS_PER_MARK = 10;

const RIBBON = 0;
const DISC = 1;
const RING = 2;
const GLOW = 3;
const DASHES = 4;
const PLAIN = 5;

/** Height above the floor, so that the two do not fight for a pixel. */
const HEIGHT = 0.003;

/** Width of the thinnest line that is drawn whole, m per metre from the eye. */
const LEAST_WIDTH = 0.003;

export class Marks {
  /** `origin` [x, y, z] is taken off every place; `eye` is where they are seen from. */
  constructor(origin, eye) {
    this.origin = origin;
    this.eye = eye;
    this.numbers = [];
  }

  get vertices() {
    return new Float32Array(this.numbers);
  }

  /** A line of some width; `opacity` of the share of its length, 0 to 1. */
  ribbon(places, width, colour, opacity, dashed = false) {
    if (places.length < 2) return;
    const lengths = [0];
    for (let i = 1; i < places.length; i += 1) lengths.push(lengths[i - 1] + apart(places[i - 1], places[i]));
    const total = lengths.at(-1);
    if (total < 1e-6) return;
    const edges = places.map((place, i) => {
      const before = places[Math.max(i - 1, 0)];
      const after = places[Math.min(i + 1, places.length - 1)];
      const [dx, dz] = [after[0] - before[0], after[1] - before[1]];
      const far = Math.hypot(place[0] - this.eye[0], this.eye[1], place[1] - this.eye[2]);
      const by = Math.max(width, LEAST_WIDTH * far) / 2 / (Math.hypot(dx, dz) || 1);
      const shade = opacity(lengths[i] / total);
      return [
        [[place[0] + dz * by, place[1] - dx * by], -1, lengths[i], shade],
        [[place[0] - dz * by, place[1] + dx * by], 1, lengths[i], shade],
      ];
    });
    const kind = dashed ? DASHES : RIBBON;
    for (let i = 1; i < edges.length; i += 1) {
      const [a, b] = edges[i - 1];
      const [c, d] = edges[i];
      for (const corner of [a, b, c, c, b, d]) this.#vertex(corner[0], corner[1], corner[2], kind, colour, corner[3]);
    }
  }

  disc(place, radius, colour, opacity) {
    this.#square(place, radius, DISC, colour, opacity);
  }

  ring(place, radius, colour, opacity) {
    this.#square(place, radius, RING, colour, opacity);
  }

  glow(place, radius, colour, opacity) {
    this.#square(place, radius, GLOW, colour, opacity);
  }

  /** From a place along [x, z] of its own length, with a head. */
  arrow(place, [x, z], width, colour, opacity) {
    const length = Math.hypot(x, z);
    const head = Math.min(2.6 * width, 0.8 * length);
    if (length < 1e-3) return;
    const [ux, uz] = [x / length, z / length];
    const neck = [place[0] + ux * (length - head), place[1] + uz * (length - head)];
    this.ribbon([place, neck], width, colour, () => opacity);
    this.triangle([place[0] + x, place[1] + z], [ux, uz], head, 1.35 * width, colour, opacity);
  }

  /** Its point at `tip`, facing along a direction of length 1; `half` its width to either side. */
  triangle(tip, [ux, uz], length, half, colour, opacity) {
    const back = [tip[0] - ux * length, tip[1] - uz * length];
    const left = [back[0] + uz * half, back[1] - ux * half];
    const right = [back[0] - uz * half, back[1] + ux * half];
    for (const corner of [tip, left, right]) this.#vertex(corner, 0, 0, PLAIN, colour, opacity);
  }

  /** An ellipse, long and wide, its length along a direction of length 1: a print of a foot. */
  print(place, [ux, uz], long, wide, colour, opacity) {
    const corner = (a, b) => [
      [place[0] + ux * long * a + uz * wide * b, place[1] + uz * long * a - ux * wide * b],
      a,
      b,
    ];
    const square = [corner(-1, -1), corner(-1, 1), corner(1, -1), corner(1, -1), corner(-1, 1), corner(1, 1)];
    for (const [at, a, b] of square) this.#vertex(at, a, b, DISC, colour, opacity);
  }

  #square(place, radius, kind, colour, opacity) {
    const corner = (a, b) => [[place[0] + radius * a, place[1] + radius * b], a, b];
    const square = [corner(-1, -1), corner(-1, 1), corner(1, -1), corner(1, -1), corner(-1, 1), corner(1, 1)];
    for (const [at, a, b] of square) this.#vertex(at, a, b, kind, colour, opacity);
  }

  #vertex([x, z], u, v, kind, colour, opacity) {
    this.numbers.push(x - this.origin[0], HEIGHT, z - this.origin[2], u, v, kind, ...colour, opacity);
  }
}

const apart = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]);

/** Where the root has been, and where the feet stood, for some seconds. */
export class Trail {
  constructor() {
    this.clear();
  }

  clear() {
    this.places = [];
    this.prints = [];
    this.bearing = [false, false];
  }

  /** `feet` is `[left, right]`, each `{bears, heel, toes}` with places [x, z]. */
  take(root, feet) {
    const last = this.places.at(-1);
    if (last && apart(last, root) > 2) this.clear();
    if (!last || apart(last, root) > 0.03) this.places.push(root);
    if (this.places.length > MOST_PLACES) this.places.shift();
    feet.forEach(({ bears, heel, toes }, i) => {
      if (bears && !this.bearing[i]) this.prints.push({ heel, toes });
      this.bearing[i] = bears;
    });
    if (this.prints.length > MOST_PRINTS) this.prints.shift();
  }

  draw(marks, colour, root) {
    const count = this.prints.length;
    this.prints.forEach(({ heel, toes }, i) => {
      const long = apart(heel, toes) || 1;
      const ahead = [(toes[0] - heel[0]) / long, (toes[1] - heel[1]) / long];
      const middle = [(heel[0] + toes[0]) / 2, (heel[1] + toes[1]) / 2];
      marks.print(middle, ahead, 0.6 * long, 0.055, colour, 0.34 * (1 - (count - 1 - i) / MOST_PRINTS) ** 1.5);
    });
    const fresh = Math.min(1, this.places.length / MOST_PLACES);
    marks.ribbon([...this.places, root], 0.02, colour, (share) => 0.75 * (1 - fresh + fresh * share) * Math.min(1, 4 * share));
  }
}

const MOST_PLACES = 260;
const MOST_PRINTS = 18;

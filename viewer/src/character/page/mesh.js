// A mesh of tubes: each a smooth skin over ellipses along a line, with rounded ends.
//
// A vertex is 7 numbers: place [x, y, z], normal [x, y, z], tint. All of it is made anew for every
// picture, so the inner loops work on flat arrays and make no objects.

export const NUMBERS_PER_VERTEX = 7;

/** Sections that are put between two that are given. */
const STEPS = 3;
/** Latitudes of the rings that close an end, from its outermost, rad. */
const CAP = [1.5, 1.2, 0.75];
/** Numbers of a section: place, half axes, direction of the first axis, tangent, normal. */
const SECTION = 14;
const WIDE = 3;
const DEEP = 4;
const SIDE = 5;
const TANGENT = 8;
const NORMAL = 11;

export class Mesh {
  constructor() {
    this.numbers = new Float32Array(4096 * NUMBERS_PER_VERTEX);
    this.sections = new Float64Array(96 * SECTION);
    this.indices = [];
    this.circles = new Map();
    this.begin();
  }

  /** Empties the mesh; as long as the same tubes follow, their triangles stay as they are. */
  begin() {
    this.count = 0;
    this.triangles = 0;
  }

  get vertices() {
    return this.numbers.subarray(0, this.count * NUMBERS_PER_VERTEX);
  }

  /**
   * `sections` are `{at, wide, deep, side}`: a place, the half axes of the ellipse there, and the
   * direction of `wide`, which `side` gives for all that have none of their own. `round` is how far
   * the ends bulge, as a share of their radius; `around` the count of vertices in a ring.
   */
  tube(sections, { side = [1, 0, 0], tint = 0, round = 1, around = 16 } = {}) {
    const rings = this.#resample(sections, side) + 2 * CAP.length;
    this.#frames(CAP.length, rings - CAP.length);
    this.#close(rings, round);
    const first = this.count;
    this.#reserve(rings * around);
    this.#skin(rings, around);
    this.#normals(first, rings, around, tint);
    this.#join(first, rings, around);
  }

  /** A tube between two places with round sections. */
  limb(from, to, [r0, r1], options) {
    const depth = options?.depth ?? 1;
    this.tube([{ at: from, wide: r0, deep: r0 * depth }, { at: to, wide: r1, deep: r1 * depth }], options);
  }

  /** Puts a smooth line through the sections, leaving room for the ends; returns how many there are. */
  #resample(given, side) {
    const count = given.length;
    const steps = count > 2 ? STEPS : 2;
    const total = (count - 1) * steps + 1;
    if (this.sections.length < (total + 2 * CAP.length) * SECTION) {
      this.sections = new Float64Array(2 * (total + 2 * CAP.length) * SECTION);
    }
    const { sections } = this;
    for (let i = 0; i < total; i += 1) {
      const k = Math.min(Math.floor(i / steps), count - 2);
      const t = (i - k * steps) / steps;
      const a = given[Math.max(k - 1, 0)];
      const b = given[k];
      const c = given[k + 1];
      const d = given[Math.min(k + 2, count - 1)];
      // Weights of four neighbours for a place between the middle two (Catmull and Rom 1974).
      const wa = 0.5 * t * (t * (2 - t) - 1);
      const wb = 0.5 * (2 + t * t * (3 * t - 5));
      const wc = 0.5 * t * (1 + t * (4 - 3 * t));
      const wd = 0.5 * t * t * (t - 1);
      const s = (i + CAP.length) * SECTION;
      const [from, to] = [b.side ?? side, c.side ?? side];
      for (let axis = 0; axis < 3; axis += 1) {
        sections[s + axis] = wa * a.at[axis] + wb * b.at[axis] + wc * c.at[axis] + wd * d.at[axis];
        sections[s + SIDE + axis] = from[axis] + t * (to[axis] - from[axis]);
      }
      sections[s + WIDE] = Math.max(wa * a.wide + wb * b.wide + wc * c.wide + wd * d.wide, 0);
      sections[s + DEEP] = Math.max(wa * a.deep + wb * b.deep + wc * c.deep + wd * d.deep, 0);
    }
    return total;
  }

  /** Tangent of every section, and its axes perpendicular to it. */
  #frames(first, end) {
    const { sections } = this;
    for (let i = first; i < end; i += 1) {
      const s = i * SECTION;
      const before = Math.max(i - 1, first) * SECTION;
      const after = Math.min(i + 1, end - 1) * SECTION;
      for (let axis = 0; axis < 3; axis += 1) sections[s + TANGENT + axis] = sections[after + axis] - sections[before + axis];
      if (!unit(sections, s + TANGENT)) sections[s + TANGENT + 1] = 1;
      if (!this.#squared(s)) {
        // The line runs along its side: take that of the section before, or any other.
        for (let axis = 0; axis < 3; axis += 1) {
          sections[s + SIDE + axis] = i > first ? sections[s - SECTION + SIDE + axis] : Number(axis === 0);
        }
        if (!this.#squared(s)) {
          sections[s + SIDE + 2] += 1;
          this.#squared(s);
        }
      }
      cross(sections, s + NORMAL, s + TANGENT, s + SIDE);
    }
  }

  /** Takes what lies along the tangent out of the side; false where nothing is left. */
  #squared(s) {
    const { sections } = this;
    let along = 0;
    for (let axis = 0; axis < 3; axis += 1) along += sections[s + SIDE + axis] * sections[s + TANGENT + axis];
    for (let axis = 0; axis < 3; axis += 1) sections[s + SIDE + axis] -= along * sections[s + TANGENT + axis];
    return unit(sections, s + SIDE);
  }

  /** Fills the room at both ends with rings that shrink to almost a point. */
  #close(rings, round) {
    const { sections } = this;
    CAP.forEach((latitude, i) => {
      for (const [to, from, way] of [
        [i, CAP.length, -1],
        [rings - 1 - i, rings - 1 - CAP.length, 1],
      ]) {
        const [s, edge] = [to * SECTION, from * SECTION];
        sections.copyWithin(s, edge, edge + SECTION);
        const bulge = way * round * Math.min(sections[edge + WIDE], sections[edge + DEEP]) * Math.sin(latitude);
        for (let axis = 0; axis < 3; axis += 1) sections[s + axis] += bulge * sections[edge + TANGENT + axis];
        sections[s + WIDE] *= Math.cos(latitude);
        sections[s + DEEP] *= Math.cos(latitude);
      }
    });
  }

  /** Places of the vertices. */
  #skin(rings, around) {
    const { sections, numbers } = this;
    const circle = this.#circle(around);
    let at = this.count * NUMBERS_PER_VERTEX;
    for (let s = 0; s < rings * SECTION; s += SECTION) {
      for (let i = 0; i < 2 * around; i += 2) {
        const wide = circle[i] * sections[s + WIDE];
        const deep = circle[i + 1] * sections[s + DEEP];
        for (let axis = 0; axis < 3; axis += 1) {
          numbers[at + axis] = sections[s + axis] + wide * sections[s + SIDE + axis] + deep * sections[s + NORMAL + axis];
        }
        at += NUMBERS_PER_VERTEX;
      }
    }
    this.count += rings * around;
  }

  /** Normals from the neighbours around and along; on the outermost rings, the line's own direction. */
  #normals(first, rings, around, tint) {
    const { sections, numbers } = this;
    const row = around * NUMBERS_PER_VERTEX;
    for (let k = 0; k < rings; k += 1) {
      const tangent = k * SECTION + TANGENT;
      for (let i = 0; i < around; i += 1) {
        const at = (first + k * around + i) * NUMBERS_PER_VERTEX;
        const next = at + (i + 1 < around ? NUMBERS_PER_VERTEX : NUMBERS_PER_VERTEX - row);
        const last = at + (i > 0 ? -NUMBERS_PER_VERTEX : row - NUMBERS_PER_VERTEX);
        numbers[at + 6] = tint;
        if (k > 0 && k + 1 < rings) {
          const ux = numbers[next] - numbers[last];
          const uy = numbers[next + 1] - numbers[last + 1];
          const uz = numbers[next + 2] - numbers[last + 2];
          const vx = numbers[at + row] - numbers[at - row];
          const vy = numbers[at + row + 1] - numbers[at - row + 1];
          const vz = numbers[at + row + 2] - numbers[at - row + 2];
          numbers[at + 3] = uy * vz - uz * vy;
          numbers[at + 4] = uz * vx - ux * vz;
          numbers[at + 5] = ux * vy - uy * vx;
          if (unit(numbers, at + 3)) continue;
        }
        const way = k > 0 ? 1 : -1;
        for (let axis = 0; axis < 3; axis += 1) numbers[at + 3 + axis] = way * sections[tangent + axis];
      }
    }
  }

  #join(first, rings, around) {
    const needed = this.triangles + 6 * (rings - 1) * around;
    if (this.indices.length < needed) {
      for (let k = 0; k + 1 < rings; k += 1) {
        for (let i = 0; i < around; i += 1) {
          const a = first + k * around + i;
          const b = first + k * around + ((i + 1) % around);
          this.indices.push(a, b, a + around, a + around, b, b + around);
        }
      }
    }
    this.triangles = needed;
  }

  /** Cosine and sine of the directions of a ring. */
  #circle(around) {
    let circle = this.circles.get(around);
    if (!circle) {
      circle = new Float64Array(2 * around);
      for (let i = 0; i < around; i += 1) {
        circle[2 * i] = Math.cos((2 * Math.PI * i) / around);
        circle[2 * i + 1] = Math.sin((2 * Math.PI * i) / around);
      }
      this.circles.set(around, circle);
    }
    return circle;
  }

  #reserve(more) {
    const needed = (this.count + more) * NUMBERS_PER_VERTEX;
    if (needed <= this.numbers.length) return;
    const larger = new Float32Array(2 * needed);
    larger.set(this.numbers);
    this.numbers = larger;
  }
}

/** Brings three numbers to length 1; false, and unchanged, where they have none. */
function unit(numbers, at) {
  const [x, y, z] = [numbers[at], numbers[at + 1], numbers[at + 2]];
  const length = Math.sqrt(x * x + y * y + z * z);
  if (!(length > 1e-9)) return false;
  numbers[at] = x / length;
  numbers[at + 1] = y / length;
  numbers[at + 2] = z / length;
  return true;
}

function cross(numbers, to, a, b) {
  numbers[to] = numbers[a + 1] * numbers[b + 2] - numbers[a + 2] * numbers[b + 1];
  numbers[to + 1] = numbers[a + 2] * numbers[b] - numbers[a] * numbers[b + 2];
  numbers[to + 2] = numbers[a] * numbers[b + 1] - numbers[a + 1] * numbers[b];
}

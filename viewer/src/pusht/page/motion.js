// What to show between two frames: positions a moment ago, and a plan that flows.

const KEPT_FRAMES = 8;

/** Plays frames back slightly late, so that there is always a next one to move towards. */
export class Motion {
  constructor() {
    this.frames = [];
    this.interval = 33;
  }

  push(frame, now) {
    const last = this.frames.at(-1);
    if (last && (last.frame.episode !== frame.episode || last.frame.seed !== frame.seed)) {
      this.frames = [];
    } else if (last) {
      const passed = Math.min(now - last.at, 200);
      this.interval += 0.1 * (passed - this.interval);
    }
    this.frames.push({ frame, at: now });
    if (this.frames.length > KEPT_FRAMES) this.frames.shift();
  }

  /** `{agent, block, target}` at the time `now`, or null before the first frame. */
  at(now) {
    const shown = now - 1.6 * this.interval;
    let later = this.frames.findIndex(({ at }) => at > shown);
    if (later === -1) later = this.frames.length - 1;
    if (later < 0) return null;
    const to = this.frames[later];
    const from = this.frames[Math.max(later - 1, 0)];
    const share = to === from ? 1 : clamp((shown - from.at) / (to.at - from.at), 0, 1);
    const a = from.frame;
    const b = to.frame;
    return {
      agent: mix(a.agent, b.agent, share),
      target: mix(a.target, b.target, share),
      block: [
        ...mix(a.block.slice(0, 2), b.block.slice(0, 2), share),
        a.block[2] + share * turn(a.block[2], b.block[2]),
      ],
    };
  }
}

const SAMPLES = 14;
/** How fast a shown position follows the plan, ms. */
const FOLLOW_MS = 70;

/** The plan as shown: each position keeps its identity while the plan rolls on. */
export class PlanFlow {
  constructor() {
    this.points = [];
    this.chunk = null;
    this.next = 0;
  }

  clear() {
    this.points = [];
    this.chunk = null;
  }

  /** Takes over a plan; what is executed already is shown no more. */
  take(plan) {
    if (plan.chunk !== this.chunk) this.#replace(plan);
    this.points.forEach((point, i) => { point.past = i < plan.current; });
  }

  #replace(plan) {
    const rolled = this.#rolled(plan.actions);
    this.chunk = plan.chunk;
    const before = this.points;
    this.points = plan.actions.map(([x, y], i) => {
      const noise = clamp(plan.noise[i] ?? 0, 0, 1);
      const goal = { x, y, noise, committed: i < plan.committed };
      const old = before[i + rolled];
      return old ? { ...old, goal } : { x, y, noise, goal, fresh: 0, samples: this.#samples() };
    });
  }

  step(passed) {
    const share = 1 - Math.exp(-passed / FOLLOW_MS);
    for (const point of this.points) {
      point.x += share * (point.goal.x - point.x);
      point.y += share * (point.goal.y - point.y);
      point.noise += share * (point.goal.noise - point.noise);
      point.fresh += share * (1 - point.fresh);
    }
  }

  /** By how many positions the new plan is ahead of the one shown: the best fit of the clean part. */
  #rolled(actions) {
    const old = this.points;
    if (old.length === 0) return 0;
    let best = 0;
    let least = Infinity;
    const most = Math.min(8, old.length - 1);
    for (let shift = 0; shift <= most; shift += 1) {
      let error = 0;
      let weight = 0;
      for (let i = 0; i + shift < old.length && i < actions.length; i += 1) {
        const { goal } = old[i + shift];
        const clean = (1 - goal.noise) ** 2 + 0.01;
        error += clean * Math.hypot(goal.x - actions[i][0], goal.y - actions[i][1]);
        weight += clean;
      }
      if (weight > 0 && error / weight < least) {
        least = error / weight;
        best = shift;
      }
    }
    return best;
  }

  #samples() {
    return Array.from({ length: SAMPLES }, () => gaussian(this.next++));
  }
}

/** A repeatable draw `[x, y, phase]`: x and y from a standard normal distribution. */
export function gaussian(index) {
  const u = fraction(index * 0.7548776662466927 + 0.5);
  const v = fraction(index * 0.5698402909980532 + 0.5);
  const radius = Math.sqrt(-2 * Math.log(1 - 0.97 * u));
  return [radius * Math.cos(2 * Math.PI * v), radius * Math.sin(2 * Math.PI * v), 6 * u + 9 * v];
}

export const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
const fraction = (value) => value - Math.floor(value);
const mix = (a, b, share) => a.map((value, i) => value + share * (b[i] - value));

/** The shorter way round from one angle to another. */
function turn(from, to) {
  const difference = (to - from) % (2 * Math.PI);
  return ((3 * Math.PI + difference) % (2 * Math.PI)) - Math.PI;
}

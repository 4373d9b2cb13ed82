// Vectors [x, y, z] and 4 x 4 matrices by columns. The world is right-handed with Y up, in metres.

export const UP = [0, 1, 0];

export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a, by) => [a[0] * by, a[1] * by, a[2] * by];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const along = (a, b, share) => [
  a[0] + share * (b[0] - a[0]),
  a[1] + share * (b[1] - a[1]),
  a[2] + share * (b[2] - a[2]),
];
export const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

/** The direction of a vector, or `otherwise` where it has none. */
export function direction(a, otherwise = UP) {
  const length = Math.hypot(...a);
  return length > 1e-9 ? scale(a, 1 / length) : otherwise;
}

export const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/** A times B. */
export function multiply(a, b) {
  const product = new Float32Array(16);
  for (let column = 0; column < 4; column += 1) {
    for (let row = 0; row < 4; row += 1) {
      let sum = 0;
      for (let k = 0; k < 4; k += 1) sum += a[4 * k + row] * b[4 * column + k];
      product[4 * column + row] = sum;
    }
  }
  return product;
}

/** Looking from `eye` along `forward`; `right` and `up` are perpendicular to it and to each other. */
export function view(eye, right, up, forward) {
  return new Float32Array([
    right[0], up[0], -forward[0], 0,
    right[1], up[1], -forward[1], 0,
    right[2], up[2], -forward[2], 0,
    -dot(right, eye), -dot(up, eye), dot(forward, eye), 1,
  ]);
}

/** `slope` is the tangent of half the vertical angle of view. */
export function perspective(slope, aspect, near, far) {
  const depth = 1 / (near - far);
  return new Float32Array([
    1 / (slope * aspect), 0, 0, 0,
    0, 1 / slope, 0, 0,
    0, 0, (far + near) * depth, -1,
    0, 0, 2 * far * near * depth, 0,
  ]);
}

/** A box of `half` to either side and of a depth of `near` to `far`, without perspective. */
export function orthographic(half, near, far) {
  const depth = 1 / (near - far);
  return new Float32Array([
    1 / half, 0, 0, 0,
    0, 1 / half, 0, 0,
    0, 0, 2 * depth, 0,
    0, 0, (far + near) * depth, 1,
  ]);
}

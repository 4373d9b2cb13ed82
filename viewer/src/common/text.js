// Numbers as text, and where they are written.

export const element = (id) => document.getElementById(id);
export const NONE = "–";

/** A number with fixed decimals; what was not measured shows as a dash. */
export const fixed = (value, digits, unit = "") =>
  Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : NONE;
export const milliseconds = (value) => fixed(value, value < 10 ? 2 : 1, " ms");
export const hertz = (value) => fixed(value, value < 20 ? 1 : 0, " Hz");
export const count = (value) => (Number.isFinite(value) ? value.toLocaleString("en") : NONE);

export function write(id, text) {
  const target = element(id);
  // Untouched text keeps the layout, and a person's selection.
  if (target.textContent !== text) target.textContent = text;
}

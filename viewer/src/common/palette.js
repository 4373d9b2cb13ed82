// Colours of the style sheet, for what is drawn.

/** Colours as the style sheet has them now. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["surface", "text", "muted", "line", "wall", "goal", "block", "agent", "plan", "good", "bad"];
  const colours = Object.fromEntries(names.map((name) => [name, read(name)]));
  return { ...colours, goalStrength: Number(read("goal-strength")) };
}

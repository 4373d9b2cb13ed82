// Small pictures beside the large one.

/** Matches a canvas to its size on screen; returns its context, cleared, in CSS pixels. */
export function prepare(canvas) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth, clientHeight } = canvas;
  const width = Math.round(clientWidth * ratio);
  const height = Math.round(clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, clientWidth, clientHeight);
  context.globalAlpha = 1;
  return context;
}

export function baseLine(context, width, height, colours) {
  context.fillStyle = colours.line;
  context.fillRect(0, height - 1, width, 1);
}

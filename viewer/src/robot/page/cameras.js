// The last picture of every camera, and how old it is.

import { fixed } from "./text.js";

/** A picture older than this is marked, s. */
const STALE_S = 1;

export class Cameras {
  constructor(container) {
    this.container = container;
    this.views = [];
  }

  introduce({ cameras }) {
    this.views = cameras.map((name) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 1;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Camera ${name}`);
      const caption = document.createElement("figcaption");
      figure.append(canvas, caption);
      caption.textContent = `${name}: no picture yet`;
      return { name, figure, canvas, caption };
    });
    this.container.replaceChildren(...this.views.map(({ figure }) => figure));
  }

  take({ pictures }) {
    for (const picture of pictures) {
      const view = this.views[picture.camera];
      if (!view) continue;
      const { canvas, caption, figure, name } = view;
      if (picture.rgb) paint(canvas, picture);
      const isOld = picture.fault || picture.age_s > STALE_S;
      figure.classList.toggle("old", Boolean(isOld));
      caption.textContent = `${name}: ${picture.fault ?? (isOld ? `${fixed(picture.age_s, 0)} s old` : "live")}`;
    }
  }
}

function paint(canvas, { width, height, rgb }) {
  const bytes = atob(rgb);
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    for (let k = 0; k < 3; k += 1) image.data[4 * pixel + k] = bytes.charCodeAt(3 * pixel + k);
    image.data[4 * pixel + 3] = 255;
  }
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

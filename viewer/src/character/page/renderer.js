// Draws the scene with WebGL2: shadow map, sky, body, floor, marks on the floor.

import { NUMBERS_PER_MARK } from "./marks.js";
import { NUMBERS_PER_VERTEX } from "./mesh.js";
import { BODY, CASTER, FLOOR, MARKS, SKY } from "./shaders.js";
import { add, cross, direction, dot, multiply, orthographic, scale, view } from "./vectors.js";

const SHADOW_SIDE = 1024;
/** Half the width of what casts a shadow, m. */
const SHADOW_REACH = 2.4;
/** Radius of the shadow's soft edge, m. */
const SOFTNESS = 0.035;
/** Direction to the light. */
const SUN = direction([0.34, 1, -0.62]);
const MOST_BLOBS = 14;
/** More pixels than this per CSS pixel cost more than they show. */
const MOST_PIXELS = 2;

export class Renderer {
  /** Throws where there is no WebGL2. */
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("this browser has no WebGL2");
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.#prepare());
    this.#prepare();
  }

  /**
   * One picture. `colours` are [r, g, b] from 0 to 1; `mesh` is the body's or null, `marks` an array of
   * numbers, `blobs` [x, y, z, radius] what darkens the floor below it, all less `origin`.
   */
  draw({ camera, colours, origin, mesh, marks, blobs, focus }) {
    const { gl } = this;
    if (gl.isContextLost()) return;
    this.#resize();
    camera.aspect = this.canvas.width / this.canvas.height;
    const matrix = camera.matrix(origin);
    const eye = add(camera.eye, scale(origin, -1));
    const light = lightMatrix(focus);

    this.#load(mesh);

    gl.bindFramebuffer(gl.FRAMEBUFFER, this.shadow.target);
    gl.viewport(0, 0, SHADOW_SIDE, SHADOW_SIDE);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.POLYGON_OFFSET_FILL);
    gl.polygonOffset(1.5, 3);
    this.#use(this.caster, { matrix: light });
    this.#drawMesh(this.casterArray);
    gl.disable(gl.POLYGON_OFFSET_FILL);

    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.shadow.depth);

    this.#drawSky(camera, colours);
    const shadow = { shadowMap: 0, lightMatrix: light, softness: SOFTNESS / (2 * SHADOW_REACH) };
    const { linear } = colours;
    this.#use(this.body, {
      matrix, eye, ...shadow, sun: SUN, skin: linear.skin, dark: linear.dark,
      above: linear.above, below: linear.below, sunlight: colours.sunlight,
    });
    this.#drawMesh(this.bodyArray);

    const dark = new Float32Array(4 * MOST_BLOBS);
    dark.set(blobs.slice(0, MOST_BLOBS).flat());
    this.#use(this.floor, {
      matrix, eye, ...shadow, centre: [camera.target[0] - origin[0], camera.target[2] - origin[2]],
      ground: colours.floor, line: colours.grid, horizon: colours.horizon, blobs: dark, shade: colours.shade,
    });
    gl.bindVertexArray(this.floorCorners);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);

    this.#use(this.marks, { matrix, eye, ...shadow });
    gl.bindBuffer(gl.ARRAY_BUFFER, this.markVertices);
    gl.bufferData(gl.ARRAY_BUFFER, marks, gl.DYNAMIC_DRAW);
    gl.enable(gl.BLEND);
    gl.depthMask(false);
    gl.bindVertexArray(this.markArray);
    gl.drawArrays(gl.TRIANGLES, 0, marks.length / NUMBERS_PER_MARK);
    gl.depthMask(true);
    gl.disable(gl.BLEND);
    gl.bindVertexArray(null);
  }

  #drawSky(camera, colours) {
    const { gl } = this;
    const { forward, right } = camera;
    const slope = camera.slope;
    this.#use(this.sky, {
      forward, across: scale(right, slope * camera.aspect), upwards: scale(cross(right, forward), slope),
      horizon: colours.horizon, zenith: colours.zenith,
    });
    gl.depthMask(false);
    gl.disable(gl.DEPTH_TEST);
    gl.bindVertexArray(this.skyCorners);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.enable(gl.DEPTH_TEST);
    gl.depthMask(true);
  }

  #load(mesh) {
    const { gl } = this;
    this.triangles = mesh?.triangles ?? 0;
    if (!mesh) return;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.vertices);
    gl.bufferData(gl.ARRAY_BUFFER, mesh.vertices, gl.DYNAMIC_DRAW);
    // Triangles change only with the character.
    if (this.loaded === mesh) return;
    this.loaded = mesh;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint16Array(mesh.indices), gl.STATIC_DRAW);
  }

  #drawMesh(array) {
    const { gl } = this;
    gl.bindVertexArray(array);
    gl.drawElements(gl.TRIANGLES, this.triangles, gl.UNSIGNED_SHORT, 0);
    gl.bindVertexArray(null);
  }

  #resize() {
    const ratio = Math.min(devicePixelRatio || 1, MOST_PIXELS);
    const width = Math.max(Math.round(this.canvas.clientWidth * ratio), 1);
    const height = Math.max(Math.round(this.canvas.clientHeight * ratio), 1);
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
  }

  #prepare() {
    const { gl } = this;
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    // Colours come multiplied by their opacity.
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.caster = program(gl, CASTER);
    this.body = program(gl, BODY);
    this.floor = program(gl, FLOOR);
    this.marks = program(gl, MARKS);
    this.sky = program(gl, SKY);
    this.shadow = shadowMap(gl);

    this.loaded = null;
    this.vertices = gl.createBuffer();
    this.indices = gl.createBuffer();
    const parts = [["at", 3], ["normal", 3], ["shade", 1]];
    const meshArray = (used) => arrayOf(gl, used, this.indices, [{ of: this.vertices, numbers: NUMBERS_PER_VERTEX, parts }]);
    this.casterArray = meshArray(this.caster);
    this.bodyArray = meshArray(this.body);

    const corners = buffer(gl, gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]));
    const square = (used) => arrayOf(gl, used, null, [{ of: corners, numbers: 2, parts: [["corner", 2]] }]);
    this.floorCorners = square(this.floor);
    this.skyCorners = square(this.sky);
    this.markVertices = gl.createBuffer();
    this.markArray = arrayOf(gl, this.marks, null, [
      { of: this.markVertices, numbers: NUMBERS_PER_MARK, parts: [["at", 3], ["shape", 3], ["tint", 4]] },
    ]);
  }

  /** Takes a program into use and sets what it reads. */
  #use({ id, uniforms }, values) {
    const { gl } = this;
    gl.useProgram(id);
    for (const [name, value] of Object.entries(values)) {
      const uniform = uniforms.get(name);
      if (uniform) uniform(value);
    }
  }
}

/** From the scene to the shadow map; moves in steps of whole texels, so that edges do not swim. */
function lightMatrix(focus) {
  const right = direction(cross([0, 1, 0], SUN), [1, 0, 0]);
  const up = cross(SUN, right);
  const texel = (2 * SHADOW_REACH) / SHADOW_SIDE;
  const snapped = (axis) => Math.round(dot(focus, axis) / texel) * texel;
  const middle = add(add(scale(right, snapped(right)), scale(up, snapped(up))), scale(SUN, dot(focus, SUN)));
  const eye = add(middle, scale(SUN, 8));
  return multiply(orthographic(SHADOW_REACH, 1, 16), view(eye, right, up, scale(SUN, -1)));
}

function program(gl, { vertex, fragment }) {
  const id = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(id, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(`a shader does not compile: ${gl.getShaderInfoLog(shader)}`);
    }
  }
  gl.linkProgram(id);
  if (!gl.getProgramParameter(id, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`a shader does not link: ${gl.getProgramInfoLog(id)}`);
  }
  const setters = {
    [gl.FLOAT]: (at) => (value) => gl.uniform1f(at, value),
    [gl.FLOAT_VEC2]: (at) => (value) => gl.uniform2fv(at, value),
    [gl.FLOAT_VEC3]: (at) => (value) => gl.uniform3fv(at, value),
    [gl.FLOAT_VEC4]: (at) => (value) => gl.uniform4fv(at, value),
    [gl.FLOAT_MAT4]: (at) => (value) => gl.uniformMatrix4fv(at, false, value),
    [gl.SAMPLER_2D_SHADOW]: (at) => (value) => gl.uniform1i(at, value),
  };
  const uniforms = new Map();
  const count = gl.getProgramParameter(id, gl.ACTIVE_UNIFORMS) ?? 0;
  for (let i = 0; i < count; i += 1) {
    const { name, type } = gl.getActiveUniform(id, i);
    uniforms.set(name.replace("[0]", ""), setters[type](gl.getUniformLocation(id, name)));
  }
  return { id, uniforms };
}

function buffer(gl, kind, content) {
  const id = gl.createBuffer();
  gl.bindBuffer(kind, id);
  gl.bufferData(kind, content, gl.STATIC_DRAW);
  return id;
}

/** Which buffers feed which inputs of a program. */
function arrayOf(gl, { id }, indices, sources) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  if (indices) gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices);
  for (const { of, numbers, parts } of sources) {
    gl.bindBuffer(gl.ARRAY_BUFFER, of);
    let offset = 0;
    for (const [name, size] of parts) {
      const at = gl.getAttribLocation(id, name);
      if (at >= 0) {
        gl.enableVertexAttribArray(at);
        gl.vertexAttribPointer(at, size, gl.FLOAT, false, 4 * numbers, 4 * offset);
      }
      offset += size;
    }
  }
  gl.bindVertexArray(null);
  return array;
}

function shadowMap(gl) {
  const depth = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, depth);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.DEPTH_COMPONENT24, SHADOW_SIDE, SHADOW_SIDE);
  for (const [name, value] of [
    [gl.TEXTURE_COMPARE_MODE, gl.COMPARE_REF_TO_TEXTURE],
    [gl.TEXTURE_COMPARE_FUNC, gl.LEQUAL],
    [gl.TEXTURE_MIN_FILTER, gl.LINEAR],
    [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
    [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
    [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
  ]) gl.texParameteri(gl.TEXTURE_2D, name, value);
  const target = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, target);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, depth, 0);
  gl.drawBuffers([gl.NONE]);
  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  return { depth, target };
}

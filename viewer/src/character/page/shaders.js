// What runs on the graphics processor. Places are metres less the scene's origin, Y up.

const HEAD = `#version 300 es
precision highp float;
`;

/** How much of the light reaches a place: the shadow map, sampled on a disc that is turned from pixel to pixel. */
const SHADOW = `
uniform highp sampler2DShadow shadowMap;
uniform mat4 lightMatrix;
uniform float softness;

float lit(vec3 at) {
  vec3 place = (lightMatrix * vec4(at, 1.0)).xyz * 0.5 + 0.5;
  vec2 inside = abs(place.xy - 0.5);
  float edge = smoothstep(0.5, 0.4, max(inside.x, inside.y));
  if (edge <= 0.0 || place.z > 1.0) return 1.0;
  float turn = 6.2832 * fract(52.983 * fract(dot(gl_FragCoord.xy, vec2(0.0671, 0.00584))));
  float light = 0.0;
  for (int i = 0; i < 14; i += 1) {
    float share = (float(i) + 0.5) / 14.0;
    float angle = turn + 2.39996 * float(i);
    vec2 offset = softness * sqrt(share) * vec2(cos(angle), sin(angle));
    light += texture(shadowMap, vec3(place.xy + offset, place.z));
  }
  return mix(1.0, light / 14.0, edge);
}
`;

export const CASTER = {
  vertex: `${HEAD}
in vec3 at;
uniform mat4 matrix;
void main() {
  gl_Position = matrix * vec4(at, 1.0);
}`,
  fragment: `${HEAD}
void main() {}`,
};

export const BODY = {
  vertex: `${HEAD}
in vec3 at;
in vec3 normal;
in float shade;
uniform mat4 matrix;
out vec3 place;
out vec3 facing;
out float tint;
void main() {
  place = at;
  facing = normal;
  tint = shade;
  gl_Position = matrix * vec4(at, 1.0);
}`,
  fragment: `${HEAD}${SHADOW}
in vec3 place;
in vec3 facing;
in float tint;
out vec4 colour;

uniform vec3 eye;
uniform vec3 sun;
uniform vec3 skin;
uniform vec3 dark;
uniform vec3 above;
uniform vec3 below;
uniform float sunlight;

void main() {
  vec3 normal = normalize(facing);
  vec3 view = normalize(eye - place);
  vec3 base = mix(skin, dark, tint);
  float direct = clamp((dot(normal, sun) + 0.12) / 1.12, 0.0, 1.0);
  if (direct > 0.0) direct *= lit(place + 0.02 * normal);
  // Near the floor less of the sky is seen.
  float open = mix(1.0, smoothstep(-0.1, 0.6, place.y), 0.45 * (0.5 - 0.5 * normal.y));
  vec3 around = mix(below, above, 0.5 + 0.5 * normal.y) * open;
  vec3 halfway = normalize(sun + view);
  float shine = pow(max(dot(normal, halfway), 0.0), 42.0) * direct * mix(0.1, 0.35, tint);
  // What is seen edge on lies deeper in the scene's own shade; that shows the shape from every side.
  float fronting = max(dot(normal, view), 0.0);
  float fill = 0.42 * fronting * fronting;
  around *= mix(0.62, 1.0, fronting);
  float rim = pow(1.0 - fronting, 4.0);
  vec3 light = base * (around + above * fill + sunlight * direct) + above * (0.1 * rim * open) + vec3(shine);
  colour = vec4(pow(light, vec3(1.0 / 2.2)), 1.0);
}`,
};

export const FLOOR = {
  vertex: `${HEAD}
in vec2 corner;
uniform mat4 matrix;
uniform vec2 centre;
out vec2 place;
void main() {
  place = centre + 160.0 * corner;
  gl_Position = matrix * vec4(place.x, 0.0, place.y, 1.0);
}`,
  fragment: `${HEAD}${SHADOW}
in vec2 place;
out vec4 colour;

const int BLOBS = 14;
uniform vec3 eye;
uniform vec3 ground;
uniform vec3 line;
uniform vec3 horizon;
uniform vec4 blobs[BLOBS];
uniform float shade;

/** Share of a pixel that lines of a width cover, each 1 apart: the integral over the pixel's own width. */
vec2 covered(vec2 at, float width, vec2 pixel) {
  vec2 upper = at + 0.5 * (width + pixel);
  vec2 lower = at + 0.5 * (width - pixel);
  vec2 sum = width * (floor(upper) - floor(lower)) + min(fract(upper), width) - min(fract(lower), width);
  return sum / pixel;
}

float grid(float period, float width) {
  vec2 at = place / period;
  vec2 lines = covered(at, width / period, max(fwidth(at), 1e-5));
  return 1.0 - (1.0 - lines.x) * (1.0 - lines.y);
}

void main() {
  float distance_ = length(eye - vec3(place.x, 0.0, place.y));
  float lines = max(0.55 * grid(1.0, 0.012), grid(5.0, 0.018));
  vec3 base = mix(ground, line, clamp(lines, 0.0, 1.0));

  float hidden = 0.0;
  for (int i = 0; i < BLOBS && distance(place, blobs[0].xz) < 4.0; i += 1) {
    vec4 blob = blobs[i];
    vec3 to = vec3(blob.x - place.x, max(blob.y, 0.02), blob.z - place.y);
    float square = dot(to, to);
    hidden += blob.w * blob.w * to.y / (square * sqrt(square));
  }
  float light = lit(vec3(place.x, 0.0, place.y));
  base *= mix(1.0 - shade, 1.0, light) * (1.0 - 0.55 * (1.0 - exp(-0.9 * hidden)));

  float fog = 1.0 - exp(-distance_ * distance_ / 900.0);
  colour = vec4(mix(base, horizon, fog), 1.0);
}`,
};

export const MARKS = {
  vertex: `${HEAD}
in vec3 at;
in vec3 shape;
in vec4 tint;
uniform mat4 matrix;
out vec3 form;
out vec4 shade;
out vec3 place;
void main() {
  form = shape;
  shade = tint;
  place = at;
  gl_Position = matrix * vec4(at, 1.0);
}`,
  fragment: `${HEAD}${SHADOW}
in vec3 form;
in vec4 shade;
in vec3 place;
out vec4 colour;
uniform vec3 eye;

/** form.z: 0 ribbon (x across), 1 disc, 2 thin ring, 3 glow (x, y from -1 to 1), 4 dashes (y along, m), 5 plain. */
void main() {
  int kind = int(form.z + 0.5);
  float alpha = shade.a;
  float away = kind == 0 || kind == 4 ? abs(form.x) : length(form.xy);
  float soft = fwidth(away);
  if (kind == 3) alpha *= exp(-4.5 * away * away) * smoothstep(1.0, 0.8, away);
  else if (kind != 5) alpha *= 1.0 - smoothstep(1.0 - 1.5 * soft, 1.0, away);
  if (kind == 2) alpha *= smoothstep(0.965 - 1.5 * soft, 0.965, away);
  if (kind == 4) {
    float part = abs(fract(form.y / 0.24) - 0.5) / 0.5;
    float step_ = fwidth(form.y) / 0.12;
    alpha *= mix(smoothstep(0.62 + step_, 0.62 - step_, part), 0.62, clamp(step_ - 0.5, 0.0, 1.0));
  }
  if (alpha < 0.003) discard;
  float distance_ = length(eye - place);
  alpha *= exp(-distance_ * distance_ / 900.0);
  vec3 light = kind == 3 ? shade.rgb : shade.rgb * mix(0.72, 1.0, lit(place));
  colour = vec4(light * alpha, alpha);
}`,
};

export const SKY = {
  vertex: `${HEAD}
in vec2 corner;
out vec2 screen;
void main() {
  screen = corner;
  gl_Position = vec4(corner, 0.0, 1.0);
}`,
  fragment: `${HEAD}
in vec2 screen;
out vec4 colour;
uniform vec3 forward;
uniform vec3 across;
uniform vec3 upwards;
uniform vec3 horizon;
uniform vec3 zenith;
void main() {
  vec3 ray = normalize(forward + screen.x * across + screen.y * upwards);
  vec3 shade = mix(horizon, zenith, smoothstep(0.0, 0.5, ray.y));
  // A trace of noise hides the steps of a slow gradient.
  float noise = fract(52.983 * fract(dot(gl_FragCoord.xy, vec2(0.0671, 0.00584)))) - 0.5;
  colour = vec4(shade + noise / 255.0, 1.0);
}`,
};

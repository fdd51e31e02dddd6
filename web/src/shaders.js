// What the graphics card does with each frame.

export const VERTEX = `#version 300 es
out vec2 at;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  at = corner;
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

const HEAD = `#version 300 es
precision highp float;
in vec2 at;
out vec4 result;
`;

// Alpha of the full frame: the line of guided.js, read bilinearly between its points, over the frame's grey.
const REFINED = `
uniform sampler2D line;
uniform vec2 levels;
float refined(vec2 seen, vec3 pixel) {
  ivec2 last = textureSize(line, 0) - 1;
  vec2 place = clamp(seen * vec2(last + 1) - 0.5, vec2(0.0), vec2(last));
  ivec2 low = ivec2(place), high = min(low + 1, last);
  vec2 share = place - vec2(low);
  vec2 upper = mix(texelFetch(line, low, 0).rg, texelFetch(line, ivec2(high.x, low.y), 0).rg, share.x);
  vec2 lower = mix(texelFetch(line, ivec2(low.x, high.y), 0).rg, texelFetch(line, high, 0).rg, share.x);
  vec2 along = mix(upper, lower, share.y);
  float alpha = along.x * dot(pixel, vec3(0.299, 0.587, 0.114)) + along.y;
  return clamp((alpha - levels.x) / (levels.y - levels.x), 0.0, 1.0);
}
`;

/** Alpha into a texture of its own, to be feathered or read. */
export const MATTE = `${HEAD}${REFINED}
uniform sampler2D frame;
void main() {
  result = vec4(refined(at, texture(frame, at).rgb));
}`;

/** One direction of a Gaussian, for feathered edges. */
export const FEATHER = `${HEAD}
uniform sampler2D matte;
uniform vec2 pace;
uniform float sigma;
void main() {
  float total = 0.0, weights = 0.0;
  int reach = int(ceil(3.0 * sigma));
  for (int i = -reach; i <= reach; i++) {
    float weight = exp(-0.5 * float(i * i) / (sigma * sigma));
    total += weight * texture(matte, at + float(i) * pace).r;
    weights += weight;
  }
  result = vec4(total / weights);
}`;

/** Person over background: a I + a (1 - a) (F - B) + (1 - a) background, see scenery.js. */
export const COMPOSE = `${HEAD}${REFINED}
uniform sampler2D frame, matte, contrast, behind;
uniform vec2 edge;
uniform vec3 colour;
uniform int mode;
uniform bool mirrored, feathered, stepped, cleaned;
void main() {
  vec2 here = vec2(at.x, 1.0 - at.y);
  vec2 seen = mirrored ? vec2(1.0 - here.x, here.y) : here;
  vec3 pixel = texture(frame, seen).rgb;
  if (mode == 0) {
    result = vec4(pixel, 1.0);
    return;
  }
  float alpha = feathered ? texture(matte, seen).r : refined(seen, pixel);
  if (stepped) {
    float share = clamp((alpha - edge.x) / (edge.y - edge.x), 0.0, 1.0);
    alpha = share * share * (3.0 - 2.0 * share);
  }
  vec3 person = pixel * alpha;
  float soft = alpha * (1.0 - alpha);
  if (cleaned && soft > 0.0) {
    person = clamp(person + soft * (texture(contrast, seen).rgb * 255.0 - 128.0) * (2.0 / 255.0), 0.0, 1.0);
  }
  if (mode == 1) result = vec4(person + (1.0 - alpha) * texture(behind, here).rgb, 1.0);
  else if (mode == 2) result = vec4(person + (1.0 - alpha) * texture(behind, seen).rgb, 1.0);
  else if (mode == 3) result = vec4(person + (1.0 - alpha) * colour, 1.0);
  else if (mode == 4) result = vec4(min(person, vec3(alpha)), alpha);
  else result = vec4(vec3(alpha), 1.0);
}`;

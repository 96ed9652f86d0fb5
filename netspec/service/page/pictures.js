// Pictures as inputs and outputs. As `netspec run` prepares them: resized and cropped as the input's `picture`
// says, RGB or grey by its channels, 0 to 1, normalised; but the browser does the resizing.

import { allowed } from "./expressions.js";

const MOST_PIXELS = 16_000_000;

/** Whether a picture can be given for this input: floats with three or four axes, and 1 or 3 channels. */
export function takesPicture({ shape, datatype }) {
  const channels = shape.at(-3);
  return datatype.startsWith("FP") && (shape.length === 3 || (shape.length === 4 && (shape[0] === 1 || isNaN(shape[0]))))
    && (channels === 1 || channels === 3 || typeof channels === "string");
}

export async function read(file) {
  try {
    const options = { imageOrientation: "none", colorSpaceConversion: "none", premultiplyAlpha: "none" };
    return await createImageBitmap(file, options);
  } catch {
    throw new Error(`${file.name}: not a picture that the browser can read`);
  }
}

const pair = (sides) => (Array.isArray(sides) ? sides : [sides, sides]);

/** [height, width] after `resize`: one number is the shorter side. */
function resized({ resize }, height, width) {
  if (resize === undefined) return [height, width];
  if (Array.isArray(resize)) return resize;
  return width <= height
    ? [Math.floor((resize * height) / width), resize]
    : [resize, Math.floor((resize * width) / height)];
}

/** The symbols of the last two axes and the sizes that the picture would give them. */
export function sizesOf(bitmap, port, report) {
  const spec = port.picture ?? {};
  let own = resized(spec, bitmap.height, bitmap.width);
  if (spec.crop !== undefined) own = pair(spec.crop);
  else if (Math.max(...own) > 1024) own = own.map((side) => Math.max(1, Math.round((side * 1024) / Math.max(...own))));
  const found = {};
  port.shape.slice(-2).forEach((size, axis) => {
    if (typeof size === "string") found[size] = allowed(report, size, own[axis]);
  });
  return found;
}

/** Draws a picture as the network sees it, and returns the input. */
export function draw(bitmap, port, sizes, canvas) {
  const [height, width] = port.shape.slice(-2).map((size) => (typeof size === "string" ? Number(sizes[size]) : size));
  if (!(height >= 1 && width >= 1 && height * width <= MOST_PIXELS)) {
    throw new Error(`${port.name}: a picture of ${height} x ${width} cannot be drawn here`);
  }
  Object.assign(canvas, { height, width });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const spec = port.picture ?? {};
  if (spec.interpolation === "nearest") context.imageSmoothingEnabled = false;
  const [high, wide] = spec.crop === undefined ? [height, width] : resized(spec, bitmap.height, bitmap.width);
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, Math.floor((width - wide) / 2), Math.floor((height - high) / 2), wide, high);
  const image = context.getImageData(0, 0, width, height);
  const channels = port.shape.at(-3) === 1 ? 1 : 3;
  if (channels === 1) grey(image.data);
  context.putImageData(image, 0, 0);
  const shape = [channels, height, width];
  return {
    name: port.name, datatype: "FP32", shape: port.shape.length === 4 ? [1, ...shape] : shape,
    values: planes(image.data, channels, spec),
  };
}

function grey(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    // Pillow's whole numbers, so that the same picture gives the same input as on the command line.
    pixels[i] = pixels[i + 1] = pixels[i + 2] =
      (19595 * pixels[i] + 38470 * pixels[i + 1] + 7471 * pixels[i + 2] + 32768) >> 16;
  }
}

function planes(pixels, channels, { mean = 0, std = 1 }) {
  const size = pixels.length / 4;
  const values = new Float32Array(channels * size);
  const of = (given, channel) => (Array.isArray(given) ? given[channel] ?? given[0] : given);
  for (let channel = 0; channel < channels; channel++) {
    const [shift, scale] = [of(mean, channel), of(std, channel)];
    for (let i = 0; i < size; i++) values[channel * size + i] = (pixels[4 * i + channel] / 255 - shift) / scale;
  }
  return values;
}

/** Whether an output has a picture: (C, H, W) with or without a batch axis, 1 or 3 channels. */
export function isPicture({ shape, datatype }) {
  return datatype.startsWith("FP") && (shape.length === 3 || shape.length === 4) && [1, 3].includes(shape.at(-3))
    && shape.at(-1) > 1 && shape.at(-2) > 1 && shape.every((size) => size > 0)
    && shape.at(-1) * shape.at(-2) <= MOST_PIXELS;
}

/** The first picture of an output: values in 0..1 as they are, others from their range. */
export function show({ shape, values }, canvas) {
  const [channels, height, width] = shape.slice(-3);
  const size = height * width;
  const first = values.subarray(0, channels * size);
  let [low, high] = [0, 1];
  if (first.some((value) => value < 0 || value > 1)) {
    low = first.reduce((a, b) => (b < a ? b : a), Infinity);
    high = first.reduce((a, b) => (b > a ? b : a), -Infinity);
  }
  Object.assign(canvas, { height, width });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = Math.round((255 * (first[(channels === 1 ? 0 : c) * size + i] - low)) / (high - low || 1));
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Small pictures are shown larger, in whole steps. */
export function enlarge(canvas, about = 168) {
  const times = Math.max(1, Math.floor(about / Math.max(canvas.width, canvas.height)));
  canvas.style.width = `${canvas.width * times}px`;
}

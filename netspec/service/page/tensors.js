// Arrays as the protocol sends them: JSON, and after it the little-endian bytes of each tensor.

const KINDS = {
  BOOL: Uint8Array, UINT8: Uint8Array, UINT16: Uint16Array, UINT32: Uint32Array, UINT64: BigUint64Array,
  INT8: Int8Array, INT16: Int16Array, INT32: Int32Array, INT64: BigInt64Array, FP32: Float32Array, FP64: Float64Array,
};

export const count = (shape) => shape.reduce((product, size) => product * size, 1);

/** An input's shape with the sizes put in. */
export const settled = (shape, sizes) => shape.map((size) => (typeof size === "string" ? Number(sizes[size]) : size));

/** The body of a request and the bytes of its JSON part. An input has `data` (JSON) or `values` (an array). */
export function encode(inputs, outputs) {
  const bytes = [];
  const entries = inputs.map(({ name, datatype, shape, data, values }) => {
    if (values === undefined) return { name, datatype, shape, data };
    bytes.push(values);
    return { name, datatype, shape, parameters: { binary_data_size: values.byteLength } };
  });
  const wanted = outputs.map((name) => ({ name, parameters: { binary_data: true } }));
  const head = new TextEncoder().encode(JSON.stringify({ inputs: entries, outputs: wanted }));
  return { body: new Blob([head, ...bytes]), headBytes: head.length };
}

/** The outputs of an answer: name, datatype, shape, and the values as numbers. */
export async function decode(response) {
  const body = await response.arrayBuffer();
  const size = Number(response.headers.get("inference-header-content-length") ?? body.byteLength);
  let offset = size;
  return JSON.parse(new TextDecoder().decode(body.slice(0, size))).outputs.map((output) => {
    const length = output.parameters?.binary_data_size ?? 0;
    const values = numbers(output.datatype, body.slice(offset, offset + length));
    offset += length;
    return { ...output, values };
  });
}

function numbers(datatype, bytes) {
  if (datatype === "FP16") return Float32Array.from(new Uint16Array(bytes), half);
  const values = new KINDS[datatype](bytes);
  return datatype.endsWith("INT64") ? Float64Array.from(values, Number) : values;
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** Numbers that somebody wrote, as an input. Nested lists have their own shape, a flat one takes the input's. */
export function written(port, text, sizes) {
  let data;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new Error(`${port.name}: not JSON: ${error.message}`);
  }
  const shape = [];
  for (let level = data; Array.isArray(level); level = level[0]) shape.push(level.length);
  const flat = shape.length === 1 && port.shape.length > 1;
  return { name: port.name, datatype: port.datatype, shape: flat ? flatShape(port, data.length, sizes) : shape, data };
}

function flatShape(port, length, sizes) {
  const shape = settled(port.shape, sizes);
  const first = port.shape.findIndex((size) => typeof size === "string");
  if (count(shape) === length || first < 0) return shape;
  const others = count(shape.filter((_, axis) => axis !== first));
  return shape.map((size, axis) => (axis === first && length % others === 0 ? length / others : size));
}

/** Random numbers as an input: 0 to 1, whole numbers 0 or 1. The service casts them to the input's width. */
export function random(port, sizes) {
  const shape = settled(port.shape, sizes);
  const length = count(shape);
  if (!(length <= 2 ** 26)) throw new Error(`${port.name}: ${length} numbers are too many for this page`);
  const floating = port.datatype.startsWith("FP");
  const values = (floating ? Float32Array : Uint8Array).from({ length }, () =>
    floating ? Math.random() : Math.round(Math.random()));
  return { name: port.name, datatype: floating ? "FP32" : port.datatype === "BOOL" ? "BOOL" : "UINT8", shape, values };
}

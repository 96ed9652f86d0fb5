// Amounts such as "(H - 1)//2 + 1": whole numbers, names, + - * // min max and parentheses.

const TOKEN = /\s*(\d+|[A-Za-z_]\w*|\/\/|[-+*(),])/y;

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`unexpected: ${text}`);
    found.push(match[1]);
  }
  return found;
}

const floorDivide = (a, b) => {
  const whole = a / b;
  return a % b !== 0n && (a < 0n) !== (b < 0n) ? whole - 1n : whole;
};

/** The amount for these sizes, a BigInt; undefined where a size is missing or it is no such expression. */
export function evaluate(amount, sizes) {
  if (typeof amount === "number") return BigInt(amount);
  try {
    const rest = tokens(amount);
    const result = sum(rest, sizes);
    return rest.length ? undefined : result;
  } catch {
    return undefined;
  }
}

function sum(rest, sizes) {
  let value = product(rest, sizes);
  while (rest[0] === "+" || rest[0] === "-") {
    const minus = rest.shift() === "-";
    const other = product(rest, sizes);
    value = minus ? value - other : value + other;
  }
  return value;
}

function product(rest, sizes) {
  let value = atom(rest, sizes);
  while (rest[0] === "*" || rest[0] === "//") {
    const divides = rest.shift() === "//";
    const other = atom(rest, sizes);
    value = divides ? floorDivide(value, other) : value * other;
  }
  return value;
}

function atom(rest, sizes) {
  const token = rest.shift();
  if (token === "-") return -atom(rest, sizes);
  if (token === "(") return closed(rest, sum(rest, sizes));
  if (/^\d/.test(token)) return BigInt(token);
  if ((token === "min" || token === "max") && rest[0] === "(") {
    rest.shift();
    let value = sum(rest, sizes);
    while (rest[0] === ",") {
      rest.shift();
      const other = sum(rest, sizes);
      if (token === "min" ? other < value : other > value) value = other;
    }
    return closed(rest, value);
  }
  return BigInt(sizes[token]);
}

function closed(rest, value) {
  if (rest.shift() !== ")") throw new Error("expected )");
  return value;
}

/** For each symbol of the inputs a size that the simple constraints allow, of about `about`; N-like ones 1. */
export function startingSizes(report, about = 64) {
  const sizes = {};
  for (const { shape } of Object.values(report.inputs)) {
    shape.forEach((size, axis) => {
      if (typeof size === "string" && !(size in sizes)) sizes[size] = axis ? allowed(report, size, about) : 1;
    });
  }
  return sizes;
}

/** The size nearest below `wanted` that constraints of the forms `H >= 32` and `H % 16 == 0` allow. */
export function allowed(report, symbol, wanted) {
  let least = 1;
  let step = 1;
  let most = Infinity;
  for (const text of report.constraints) {
    const match = /^(\w+) (>=|<=|==|%) (\d+)(?: == 0)?$/.exec(text);
    if (!match || match[1] !== symbol) continue;
    const number = Number(match[3]);
    if (match[2] === ">=") least = Math.max(least, number);
    else if (match[2] === "<=") most = Math.min(most, number);
    else if (match[2] === "==") least = most = number;
    else step = number;
  }
  const size = Math.floor(Math.min(Math.max(wanted, least), most) / step) * step;
  return size >= least ? size : Math.ceil(least / step) * step;
}

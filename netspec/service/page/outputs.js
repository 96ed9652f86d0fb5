// What a network answered.

import { bracketed, brief, grouped, make, table } from "./dom.js";
import { enlarge, isPicture, show } from "./pictures.js";

const BEST = 5;
const ROWS = 4;
const FIRST = 8;

/** Everything about one output; labels: names along its last axis. */
export function render(output, labels) {
  const heading = make("h4", {}, output.name, " ",
    make("span", { class: "shape quiet" }, `${output.datatype} ${bracketed(output.shape)}`));
  return make("div", {}, heading, ...parts(output, labels));
}

function* parts(output, labels) {
  const { shape, values } = output;
  if (!values.length) {
    yield make("p", { class: "quiet" }, "no values");
  } else if (labels.length && labels.length === shape.at(-1)) {
    yield* best(output, labels);
  } else {
    if (isPicture(output)) yield picture(output);
    yield make("p", { class: "values" }, range(values));
    yield make("p", { class: "values shape" }, firstOf(values));
  }
}

function* best({ name, shape, values }, labels) {
  const rows = values.length / labels.length;
  for (let row = 0; row < Math.min(rows, ROWS); row++) {
    const own = values.subarray(row * labels.length, (row + 1) * labels.length);
    const order = [...own.keys()].sort((a, b) => own[b] - own[a] || a - b).slice(0, BEST);
    const shares = own.every((value) => value >= 0 && value <= 1);
    const where = rows > 1 ? `${name}[${row}]` : name;
    const titles = ["label", "#value", ...(shares ? [""] : [])];
    yield table(`best of ${where}`, titles, order.map((i) => [
      labels[i], brief(own[i]), ...(shares ? [bar(own[i])] : []),
    ]));
  }
  if (rows > ROWS) yield make("p", { class: "quiet" }, `and ${grouped(rows - ROWS)} more rows`);
  if (shape.length > 2) yield make("p", { class: "quiet" }, range(values));
}

const SVG = "http://www.w3.org/2000/svg";

function bar(share) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 8");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const rect = svg.appendChild(document.createElementNS(SVG, "rect"));
  rect.setAttribute("width", String(100 * share));
  rect.setAttribute("height", "8");
  const cell = make("div", { class: "bar" });
  cell.append(svg);
  return cell;
}

function picture(output) {
  const canvas = make("canvas", { role: "img", "aria-label": `${output.name} as a picture` });
  show(output, canvas);
  enlarge(canvas);
  return canvas;
}

function range(values) {
  let [low, high, missing] = [Infinity, -Infinity, 0];
  for (const value of values) {
    if (Number.isNaN(value)) missing++;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const bounds = low > high ? "" : low === high ? `${brief(low)}` : `${brief(low)} to ${brief(high)}`;
  return [bounds, missing ? `${grouped(missing)} NaN` : ""].filter(Boolean).join(", ");
}

function firstOf(values) {
  const first = [...values.subarray(0, FIRST)].map((value) => brief(value)).join("  ");
  return values.length > FIRST ? `${first}  …` : first;
}

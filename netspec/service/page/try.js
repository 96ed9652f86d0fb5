// The form in which a network is tried.

import { bracketed, brief, make } from "./dom.js";
import { startingSizes } from "./expressions.js";
import { render } from "./outputs.js";
import { draw, enlarge, read, sizesOf, takesPicture } from "./pictures.js";
import { ask } from "./service.js";
import { decode, encode, random, written } from "./tensors.js";

let ids = 0;
const newId = () => `field-${ids++}`;

/** A form for the model of a report; `path` is where it is asked. `onSizes` hears of sizes that change. */
export function form(report, path, onSizes) {
  const sizes = startingSizes(report);
  const sizeFields = {};
  const inputs = Object.entries(report.inputs).map(([name, port]) => new Input({ name, ...port }, report, sizes, changed));
  const error = make("p", { class: "error bad", role: "alert" });
  const outcome = make("div", { "aria-live": "polite" }, make("p", { class: "quiet" }, "The outputs will stand here."));
  const button = make("button", {}, "Run");

  function changed() {
    for (const [symbol, field] of Object.entries(sizeFields)) field.value = sizes[symbol];
    for (const input of inputs) guarded(() => input.redraw());
    onSizes(sizes);
  }

  function guarded(action) {
    error.textContent = "";
    try {
      return action();
    } catch (problem) {
      error.textContent = problem.message;
      return undefined;
    }
  }

  async function run() {
    const given = inputs.map((input) => input.given()).filter(Boolean);
    const names = new Set(given.map(({ name }) => name));
    const outputs = Object.entries(report.outputs);
    const possible = outputs.filter(([, output]) => output.needs.every((name) => names.has(name))).map(([name]) => name);
    if (!possible.length) {
      const needs = outputs.map(([name, output]) => `${name} needs ${output.needs.join(", ")}`);
      throw new Error(`Give more inputs: ${needs.join("; ")}.`);
    }
    const { body, headBytes } = encode(given, possible);
    const started = performance.now();
    const response = await ask(`${path}/infer`, {
      method: "POST", body, headers: { "Inference-Header-Content-Length": String(headBytes) },
    });
    const found = await decode(response);
    const took = performance.now() - started;
    const without = outputs.map(([name]) => name).filter((name) => !possible.includes(name));
    outcome.replaceChildren(
      make("p", { class: "quiet" }, `answered in ${brief(took, 3)} ms`,
        without.length ? `; without ${without.join(", ")}: inputs for it were not given` : ""),
      make("div", { class: "outputs" }, ...found.map((output) => render(output, report.outputs[output.name].labels))));
  }

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    error.textContent = "";
    outcome.replaceChildren();
    try {
      await run();
    } catch (problem) {
      error.textContent = problem.message;
    } finally {
      button.disabled = false;
    }
  }

  const symbols = Object.keys(sizes).map((symbol) => {
    const field = make("input", { type: "number", min: "0", step: "1", required: true, value: sizes[symbol] });
    sizeFields[symbol] = field;
    field.addEventListener("change", () => {
      sizes[symbol] = Number(field.value);
      changed();
    });
    return make("label", {}, symbol, field);
  });
  const fields = make("form", { noValidate: true },
    symbols.length ? make("fieldset", {}, make("legend", {}, "Sizes that vary"), make("div", { class: "row" }, ...symbols),
      report.constraints.length ? make("p", { class: "quiet" }, `allowed: ${report.constraints.join(", ")}`) : null) : null,
    ...inputs.map((input) => input.element), button);
  const element = make("div", { class: "try" }, fields, make("div", {}, error, outcome));
  fields.addEventListener("submit", submit);
  onSizes(sizes);
  return element;
}

/** One input: as a picture, as numbers, random, or not given. */
class Input {
  constructor(port, report, sizes, changed) {
    Object.assign(this, { port, report, sizes, changed, bitmap: null });
    const optional = Object.values(report.outputs).some((output) => !output.needs.includes(port.name));
    this.ways = {
      ...(takesPicture(port) && { picture: this.picturePanel() }),
      numbers: this.numbersPanel(),
      random: make("p", { class: "quiet" }, port.datatype.startsWith("FP") ? "between 0 and 1" : "0 or 1"),
      ...(optional && { none: make("p", { class: "quiet" }, "Outputs that need it are left out.") }),
    };
    const titles = { picture: "picture", numbers: "numbers", random: "random numbers", none: "not given" };
    const group = newId();
    const radios = Object.keys(this.ways).map((way) => {
      const radio = make("input", { type: "radio", name: group, value: way });
      radio.addEventListener("change", () => this.choose(way));
      return make("label", {}, radio, titles[way]);
    });
    this.element = make("fieldset", {},
      make("legend", {}, port.name, " ", make("span", { class: "shape" }, `${port.datatype} ${bracketed(port.shape)}`)),
      port.description ? make("p", { class: "quiet" }, port.description) : null,
      make("div", { class: "row", role: "radiogroup", "aria-label": `${port.name}, given as` }, ...radios),
      ...Object.values(this.ways));
    radios[0].firstChild.checked = true;
    this.choose(Object.keys(this.ways)[0]);
  }

  choose(way) {
    this.way = way;
    for (const [name, panel] of Object.entries(this.ways)) panel.hidden = name !== way;
  }

  picturePanel() {
    const id = newId();
    const file = make("input", { type: "file", accept: "image/*", id });
    this.canvas = make("canvas", { hidden: true, role: "img", "aria-label": `${this.port.name} as the network sees it` });
    this.note = make("p", { class: "quiet", role: "status" });
    const panel = make("div", { class: "drop" },
      make("div", { class: "row" }, make("label", { htmlFor: id }, "Picture, or drop one here"), file), this.canvas, this.note);
    file.addEventListener("change", () => file.files.length && this.take(file.files[0]));
    for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
      panel.addEventListener(type, (event) => {
        event.preventDefault();
        panel.classList.toggle("over", over);
        if (type === "drop" && event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
      });
    }
    return panel;
  }

  numbersPanel() {
    const id = newId();
    this.text = make("textarea", { id, spellcheck: false, placeholder: "[0.5, 1, -2]" });
    return make("div", {}, make("label", { htmlFor: id }, "JSON, nested or flat"), this.text);
  }

  async take(file) {
    try {
      this.bitmap?.close();
      this.bitmap = null;
      this.canvas.hidden = true;
      this.bitmap = await read(file);
      Object.assign(this.sizes, sizesOf(this.bitmap, this.port, this.report));
      this.changed();
    } catch (problem) {
      this.note.textContent = problem.message;
    }
  }

  redraw() {
    if (!this.bitmap) return;
    this.drawn = draw(this.bitmap, this.port, this.sizes, this.canvas);
    enlarge(this.canvas);
    this.canvas.hidden = false;
    const from = `${this.bitmap.width} × ${this.bitmap.height} pixels`;
    this.note.textContent = `as the network sees it: ${bracketed(this.drawn.shape)}, from ${from}`;
  }

  /** The input for a request, undefined without one. Throws with advice where it is wrong. */
  given() {
    if (this.way === "random") return random(this.port, this.sizes);
    if (this.way === "picture") return this.bitmap ? this.drawn : undefined;
    if (this.way === "numbers" && this.text.value.trim()) return written(this.port, this.text.value, this.sizes);
    return undefined;
  }
}

// One model: what it takes and gives, a form to try it, its layers.

import { bracketed, grouped, make, table } from "./dom.js";
import { evaluate } from "./expressions.js";
import { form } from "./try.js";

const LONGEST = 28; // characters of an amount in the table, as `netspec shapes` has it

/** The page of a model; `path` is where it is asked. */
export function model(report, path, version) {
  const total = make("dd");
  const facts = make("dl", { class: "facts" },
    fact("version", version), fact("parameters", grouped(report.parameters)),
    make("div", {}, make("dt", {}, "multiply-adds"), total),
    report.constraints.length ? fact("allowed sizes", report.constraints.join(", ")) : null);
  const sized = (sizes) => total.replaceChildren(amountAt(report.macs, sizes));
  return [
    make("h2", {}, report.name),
    report.description ? make("p", {}, report.description) : "",
    facts,
    make("section", { "aria-label": "Try it" }, make("h3", {}, "Try it"), form(report, path, sized)),
    make("section", { "aria-label": "Inputs and outputs" }, make("h3", {}, "Inputs and outputs"), ports(report)),
    make("section", { "aria-label": "Layers" }, make("h3", {}, "Layers"),
      make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Layer table" }, layers(report))),
  ];
}

const fact = (term, value) => make("div", {}, make("dt", {}, term), make("dd", {}, value));

/** 416,520*N (416,520 for N = 1) */
function amountAt(amount, sizes) {
  if (typeof amount === "number") return grouped(amount);
  const value = evaluate(amount, sizes);
  if (value === undefined) return readable(amount);
  const used = Object.entries(sizes).filter(([symbol]) => new RegExp(`\\b${symbol}\\b`).test(amount));
  const now = `${grouped(value)} for ${used.map(([symbol, size]) => `${symbol} = ${size}`).join(", ")}`;
  return amount.length > LONGEST ? now : `${readable(amount)} (${now})`;
}

const readable = (amount) => amount.replace(/\d{4,}/g, (digits) => grouped(Number(digits)));

function ports(report) {
  const rows = (kind, tensors) => Object.entries(tensors).map(([name, tensor]) => [
    name, kind, shaped(tensor),
    tensor.datatype,
    [tensor.description, tensor.labels?.length ? `${grouped(tensor.labels.length)} labels` : "",
      kind === "output" ? `needs ${tensor.needs.join(", ") || "nothing"}` : ""].filter(Boolean).join("; "),
  ]);
  return make("div", { class: "scroll" }, table("Inputs and outputs", ["name", "", "shape", "datatype", ""],
    [...rows("input", report.inputs), ...rows("output", report.outputs)]));
}

const shaped = ({ shape }) => make("span", { class: "shape" }, bracketed(shape));

function layers(report) {
  const rows = report.layers.flatMap((layer) => Object.entries(layer.outputs).map(([port, tensor], index) => [
    index ? `${layer.name}.${port}` : layer.name,
    index ? "" : layer.type,
    make("span", { class: "shape" }, bracketed(tensor.shape) + (tensor.dtype === "float32" ? "" : ` ${tensor.dtype}`)),
    index || !layer.parameters ? "" : grouped(layer.parameters),
    index ? "" : amount(layer.macs),
  ]));
  return table("Layers", ["layer", "type", "output shape", "#parameters", "#multiply-adds"], rows,
    ["total", "", "", grouped(report.parameters), amount(report.macs)]);
}

function amount(macs) {
  if (typeof macs === "number") return macs ? grouped(macs) : "";
  return macs.length > LONGEST ? make("span", { title: macs }, "…") : readable(macs);
}

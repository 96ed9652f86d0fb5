// Elements. Every text becomes a text node: names of models and layers are whoever's wrote the network.

/** An element with these properties (`class`, `aria-...` and the like as attributes) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (key === "class" || key.includes("-") || !(key in element)) element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** A table; a column whose title begins with # holds numbers. The first cell of a row is its heading. */
export function table(caption, titles, rows, foot) {
  const numeric = titles.map((title) => title.startsWith("#"));
  const cell = (tag, content, i, more) => make(tag, { class: numeric[i] ? "number" : undefined, ...more }, content);
  const line = (row) => make("tr", {}, ...row.map((content, i) =>
    i ? cell("td", content, i) : cell("th", content, i, { scope: "row" })));
  const head = titles.map((title, i) => cell("th", title.replace(/^#/, ""), i, { scope: "col" }));
  return make("table", { "aria-label": caption },
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows.map(line)),
    foot && make("tfoot", {}, line(foot)));
}

/** 61,706 */
export const grouped = (number) => number.toLocaleString("en");

/** [N, 1, 28, 28] */
export const bracketed = (shape) => `[${shape.join(", ")}]`;

/** A number in at most `digits` digits that matter. */
export function brief(number, digits = 4) {
  return Number.isInteger(number) ? String(number) : String(Number(number.toPrecision(digits)));
}

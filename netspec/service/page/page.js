// The models beside, and the one that the address names (#/model/version) in the middle.

import { make } from "./dom.js";
import { model } from "./model.js";
import { ask, modelPath, models, useToken } from "./service.js";

const SECONDS_BETWEEN_LOOKS = 5;
const $ = (id) => document.getElementById(id);
let known = [];
let shown = "";

const addressOf = ({ name, version }) => `#/${encodeURIComponent(name)}/${encodeURIComponent(version)}`;

function chosen() {
  return known.find((entry) => addressOf(entry) === location.hash)
    ?? known.find((entry) => entry.state === "READY") ?? known[0];
}

function renderList() {
  const current = chosen();
  const several = new Set(known.map((entry) => entry.name)).size < known.length;
  $("models").replaceChildren(...known.map((entry) => {
    const ready = entry.state === "READY";
    const state = ready ? "ready" : `not ready: ${entry.reason}`;
    return make("li", {}, make("a", { href: addressOf(entry), "aria-current": entry === current ? "page" : undefined },
      several ? `${entry.name}, version ${entry.version}` : entry.name,
      make("small", { class: ready ? "good" : "bad" }, state)));
  }));
}

async function renderModel() {
  const entry = chosen();
  if (!entry) return;
  const state = `${addressOf(entry)} ${entry.state} ${entry.reason}`;
  if (state === shown) return;
  shown = state;
  document.title = `${entry.name} · netspec`;
  if (entry.state !== "READY") {
    $("main").replaceChildren(make("h2", {}, entry.name), make("p", { class: "bad" }, `Not ready: ${entry.reason}.`));
    return;
  }
  const path = modelPath(entry.name, entry.version);
  const report = await (await ask(`${path}/shapes`)).json();
  if (state === shown) $("main").replaceChildren(...model(report, path, entry.version));
}

function needsToken(needed, message = "") {
  const was = $("token").hidden;
  $("token").hidden = !needed;
  $("columns").hidden = needed;
  $("message").textContent = message;
  if (needed && was) $("token-text").focus();
}

/** Does something with the service; what goes wrong is said at the top. */
async function attempt(action) {
  try {
    await action();
    needsToken(false);
  } catch (problem) {
    if (problem.status === undefined) console.error(problem);
    shown = "";
    needsToken(problem.status === 401, problem.message);
  }
}

async function look() {
  known = await models();
  renderList();
  await renderModel();
}

async function open() {
  const { version } = await (await ask("v2")).json();
  $("version").textContent = `version ${version}`;
  await look();
}

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken($("token-text").value.trim());
  $("token-text").value = "";
  attempt(open);
});
addEventListener("hashchange", () => attempt(async () => {
  renderList();
  await renderModel();
  $("main").focus();
}));
setInterval(() => {
  if (!document.hidden && $("token").hidden) attempt(look);
}, 1000 * SECONDS_BETWEEN_LOOKS);
attempt(open);

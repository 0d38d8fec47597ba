// Train: a training is begun, watched while it learns, stopped, gone on with, and drawn with.
import { $, h, button, select, labelled, slider, say } from "./dom.js";
import { b, blame } from "./bench.js";
import * as api from "./api.js";
import { captionsOf, nameOf, send } from "./folder.js";

const inks = ["var(--accent)", "var(--other)", "#3f9b4f", "#a5499c", "#8a6d3b"];
const states = { training: "learns", waiting: "waits while somebody draws", stopped: "stopped", failed: "failed", done: "done" };
let sets = null, runs = [], losses = new Map(), shown = new Set(), source = null, drawWith = () => {};
let data = "", how = "quick", objective = "noise";
export const whenDrawn = (call) => { drawWith = call; };

const list = h("ul", { className: "runs" }), plot = h("figure", { className: "plot" }), at = new Map(); // the sheet of samples that each run shows
const left = (s) => (!s ? "" : s < 90 ? `${Math.ceil(s)} s left` : s < 5400 ? `${Math.round(s / 60)} min left` : `${(s / 3600).toFixed(1)} h left`);

const chosen = () => sets?.find((s) => s.name === data);
function wanted() {
  const set = chosen();
  if (set.captions) return how === "quick" ? { data, steps: 500, keep_every: 100 } : { data };
  return { data, objective, ...(how === "quick" ? { dim: 32, limit: 10000, epochs: 3 } : {}) };
}

async function begin() {
  blame(null);
  start.disabled = true;
  try {
    const run = await api.train(wanted());
    shown.add(run.id);
    say("The training has begun");
    await load();
  } catch (e) { blame(e); }
  start.disabled = false;
}
const start = button("Begin", begin, { className: "main" });

// load reads all trainings, and listens to the one that goes on.
async function load() {
  runs = await api.trainings();
  if (!shown.size && runs.length) shown.add(runs[0].id);
  const live = runs.find((r) => ["training", "waiting"].includes(r.state));
  for (const r of runs) if (shown.has(r.id) && (!losses.has(r.id) || r === live)) await curve(r.id);
  show();
  source?.close();
  source = null;
  if (!live || b.tool !== tool) return;
  source = new EventSource(`api/trainings/${live.id}/events`);
  let latest = 0;
  source.addEventListener("state", async (e) => {
    const run = JSON.parse(e.data), i = runs.findIndex((r) => r.id === run.id);
    if (i < 0) return;
    runs[i] = run;
    const ended = !["training", "waiting"].includes(run.state), now = performance.now();
    if (ended || now - latest > 1500) {
      latest = now;
      await curve(run.id).catch(() => {});
    }
    update(run);
    draw();
    if (ended) { source.close(); say(`The training is ${states[run.state]}`); b.reloadModels?.(); show(); }
  });
}

async function curve(id) { losses.set(id, await api.losses(id, 400)); }

function show() {
  list.replaceChildren(...runs.map(card));
  if (!runs.length) list.replaceChildren(h("li", { className: "empty" }, "No training yet. A quick one shows digits after some minutes on a laptop; drawing goes on beside it."));
  draw();
}

function card(run) {
  const bar = h("progress", { max: run.steps || 1, value: run.step, "aria-label": "Progress" });
  const tick = h("input", { type: "checkbox", checked: shown.has(run.id), onchange: async (e) => {
    if (e.target.checked) { shown.add(run.id); if (!losses.has(run.id)) await curve(run.id).catch(blame); } else shown.delete(run.id);
    draw();
  } });
  const sheet = h("img", { alt: "Samples", className: "samples coarse" });
  const back = slider(0, 1, 1, 1, (v) => { at.set(run.id, v === Number(back.max) ? undefined : v); update(runs.find((r) => r.id === run.id)); });
  back.setAttribute("aria-label", "Which samples");
  const deed = (text, call, properties) => button(text, async (e) => { e.target.disabled = true; try { await call(); await load(); } catch (x) { blame(x); } e.target.disabled = false; }, properties);
  const away = twice(button("Delete", null), async () => { await api.removeTraining(run.id); shown.delete(run.id); await load(); b.reloadModels?.(); });
  const li = h("li", { className: "card run" },
    h("div", { className: "runHead" }, h("label", {}, tick, h("i", { className: "ink" }), h("b", {}, run.data)), h("span", { className: "runSays" })),
    bar, h("div", { className: "runSamples" }, sheet, back),
    h("div", { className: "copies" },
      deed("Stop", () => api.halt(run.id), { className: "stop" }), deed("Go on", () => api.goOn(run.id), { className: "goOn" }),
      button("Draw with it", () => drawWith(runs.find((r) => r.id === run.id).model), { className: "use" }), away));
  li.dataset.run = run.id;
  Object.assign(li, { bar, sheet, back, away });
  setTimeout(() => update(run), 0);
  return li;
}

// update shows how far a run is.
function update(run) {
  const li = [...list.children].find((e) => e.dataset.run === run.id);
  if (!li) return;
  const live = ["training", "waiting"].includes(run.state);
  li.bar.max = run.steps || 1; li.bar.value = run.step;
  li.querySelector(".runSays").textContent = [states[run.state], run.epochs ? `epoch ${run.epoch} of ${run.epochs}` : `step ${run.step} of ${run.steps}`, run.mean_loss || run.loss ? `loss ${(run.mean_loss || run.loss).toFixed(3)}` : "", live ? left(run.seconds_left) : "", run.error].filter(Boolean).join(" · ");
  li.querySelector(".stop").hidden = !live;
  li.querySelector(".goOn").hidden = live || run.state === "done";
  li.querySelector(".use").hidden = !run.model;
  li.away.hidden = live;
  const n = run.samples.length, i = at.get(run.id) ?? n - 1;
  li.querySelector(".runSamples").hidden = !n;
  if (!n) return;
  li.back.max = n - 1; li.back.value = i; li.back.hidden = n < 2;
  if (!li.sheet.src.endsWith(run.samples[i])) li.sheet.src = run.samples[i].replace(/^\//, "");
  li.sheet.alt = `Samples ${i + 1} of ${n}`;
}

// draw plots the curves of the runs that are ticked.
function draw() {
  const all = runs.filter((r) => shown.has(r.id) && losses.get(r.id)?.length > 1);
  for (const li of list.children) { const i = all.findIndex((r) => r.id === li.dataset.run); li.querySelector?.(".ink")?.style.setProperty("background", i < 0 ? "transparent" : inks[i % inks.length]); }
  if (!all.length) { plot.replaceChildren(); return; }
  const w = Math.max(300, Math.min(960, plot.clientWidth || 640)), height = 240, x0 = 44, y0 = 26;
  const points = all.map((r) => losses.get(r.id));
  const last = Math.max(...points.flat().map((p) => p.step)), values = points.flat().map((p) => p.loss).filter((v) => v > 0);
  const low = Math.log(Math.min(...values)), high = Math.log(Math.max(...values)), span = high - low || 1;
  const x = (s) => x0 + (w - x0 - 8) * s / last, y = (v) => 8 + (height - y0 - 8) * (high - Math.log(v)) / span;
  const marks = [0, 1, 2, 3].map((k) => Math.exp(low + span * k / 3));
  plot.replaceChildren(h("svg:svg", { viewBox: `0 0 ${w} ${height}`, role: "img", "aria-label": "Loss over steps: " + all.map((r) => `${r.data} ${losses.get(r.id).at(-1).loss.toFixed(3)}`).join(", ") },
    ...marks.map((v) => h("svg:g", {}, h("svg:line", { x1: x0, x2: w - 8, y1: y(v), y2: y(v), class: "rule" }), h("svg:text", { x: x0 - 6, y: y(v) + 4, "text-anchor": "end" }, v.toPrecision(2)))),
    h("svg:text", { x: w - 8, y: height - 6, "text-anchor": "end" }, `${last} steps`), h("svg:text", { x: x0, y: height - 6 }, "loss"),
    ...all.map((r, i) => { const p = h("svg:polyline", { points: losses.get(r.id).filter((q) => q.loss > 0).map((q) => `${x(q.step).toFixed(1)},${y(q.loss).toFixed(1)}`).join(" "), fill: "none", "stroke-width": 2, "stroke-linejoin": "round" }); p.style.stroke = inks[i % inks.length]; return p; })));
}

// twice has a button ask whether it is meant, and then do it.
function twice(button, call) {
  const text = button.textContent;
  button.addEventListener("click", async () => {
    if (button.textContent === text) { button.textContent = "Sure?"; setTimeout(() => { button.textContent = text; }, 3000); return; }
    try { await call(); } catch (e) { blame(e); }
  });
  return button;
}

// folder sends a folder of pictures, and chooses it to be trained on.
const told = h("p", { className: "hint", role: "status" }, "Captions stand in a text file beside each picture, in metadata.jsonl, or are the files' names.");
async function folder(files, build) {
  blame(null);
  const all = await captionsOf(files);
  if (!all.length) { blame({ field: "data", message: "The folder has no pictures. Expected PNG, JPEG, WebP, GIF, BMP or AVIF files." }); return; }
  const name = nameOf(files, sets.map((s) => s.name));
  start.disabled = true;
  try {
    const { sent, named, unread } = await send(name, all, (n, of) => { told.textContent = `${n} of ${of} pictures`; });
    told.textContent = [`${sent} pictures with captions`, named ? `${named} of them the files' names` : "", unread ? `${unread} could not be read` : ""].filter(Boolean).join(", ") + ".";
  } catch (e) { blame(e); }
  start.disabled = false;
  sets = await api.data();
  data = sets.some((s) => s.name === name) ? name : data;
  build();
}

const tool = {
  id: "train", title: "Train", key: "l", own: true, noForm: true,
  page: () => [plot, list],
  panel() {
    const box = h("div");
    const build = () => {
      if (!sets?.length) { box.replaceChildren(h("p", { className: "hint" }, sets ? "There is nothing to train on here." : "…")); return; }
      if (!chosen()) data = sets[0].name;
      const quick = chosen().captions ? "500 steps of the recipe" : "A small network, 10 000 images, 3 epochs";
      const away = chosen().sent ? twice(button("Delete this set", null), async () => { await api.removeData(data); sets = await api.data(); build(); }) : null;
      box.replaceChildren(
        labelled("Data", select(sets.map((s) => [s.name, s.pictures ? `${s.name} (${s.pictures} pictures)` : s.name]), data, (v) => { data = v; build(); }), "data"),
        h("div", { className: "copies" }, h("label", { className: "button" }, "A folder of pictures…", h("input", { type: "file", webkitdirectory: true, multiple: true, className: "unseen", onchange: (e) => folder([...e.target.files], build) })), away),
        told,
        labelled("How long", select([["quick", "A first look"], ["whole", "The whole recipe"]], how, (v) => { how = v; build(); }), "epochs"),
        h("p", { className: "hint" }, how === "quick" ? quick : chosen().captions ? "Hours: what the results in the docs are of" : "As the model was trained that comes with the program"),
        ...(chosen().captions ? [] : [labelled("It estimates", select([["noise", "the noise (DDPM)"], ["flow", "the velocity (flow matching)"]], objective, (v) => { objective = v; }), "objective")]),
        start,
        h("p", { className: "hint" }, "It gives way, between two steps, to whoever draws, and can be stopped and gone on with."));
    };
    build();
    if (!sets) api.data().then((all) => { sets = all; build(); }, blame);
    return box;
  },
  start() { load().catch(blame); },
  leave() { source?.close(); source = null; },
  request: () => null,
  read: () => false,
};
export default tool;

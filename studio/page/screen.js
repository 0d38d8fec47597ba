// The large picture, or several in a grid, and their strip of time.
import { $, h, say, still } from "./dom.js";
import { picture } from "./api.js";

const square = $("square"), scrub = $("scrub"), time = $("time"), play = $("play"), film = $("film");

let size = { width: 28, height: 28 }; // of the model's images
let images = [];   // the results
let frames = [];   // the moments before
let cells = [];    // an element with a canvas for each image
let layout = {};   // columns, and labels of rows, columns and images
let view = "x";
let one = -1;      // the image that is shown alone; -1: all of them
let timer = 0;
let coming = false; // moments still come
let inherited = 0; // moments that another drawing made
const hooks = { moved() {}, drawn() {}, focused() {} };

export const on = (name, call) => { hooks[name] = call; };
export const results = () => images;
export const focused = () => (images.length > 1 ? one : 0);
export const moments = () => frames;
export const canvas = () => cells[Math.max(one, 0)]?.querySelector("canvas");

// resultCanvas is the result that is shown, in the model's size; nothing where there is none.
export function resultCanvas() {
  const image = images[Math.max(one, 0)];
  if (!image) return null;
  const s = native(image), c = h("canvas", { width: s.width, height: s.height }), x = c.getContext("2d", { willReadFrequently: true });
  x.imageSmoothingEnabled = false;
  x.drawImage(image, 0, 0, c.width, c.height);
  return c;
}

export function shape(width, height) {
  size = { width, height };
  if (!cells.length) lay(1);
}

// shown is the moment that the strip stands at. While moments come, some may be missing.
function shown() {
  const at = Number(scrub.value);
  return coming ? frames.findLast((f) => f.index <= at) ?? frames[0] : frames[at];
}

// moment is where the strip stands: so many steps are made. Nothing: at the result.
export function moment() {
  const frame = shown();
  return frame ? { at: frame.index + 1, total: frame.total, t: frame.to } : null;
}

// columnsFor is in how many columns n pictures fill their rows.
function columnsFor(n) {
  const least = Math.ceil(Math.sqrt(n));
  for (let c = least; c <= 2 * least; c++) if (n % c === 0) return c;
  return least;
}

// lay makes room for n images.
function lay(n) {
  const alone = n === 1 || one >= 0;
  const shown = alone ? 1 : n;
  const columns = alone ? 1 : layout.columns ?? columnsFor(n);
  const key = [shown, columns, alone, JSON.stringify(layout)].join();
  if (square.dataset.key === key) return;
  square.dataset.key = key;
  square.classList.toggle("several", !alone);
  const rows = Math.ceil(shown / columns);
  square.style.setProperty("--columns", columns);
  square.style.setProperty("--rows", rows);
  cells = [];
  const grid = h("div", { className: "cells" });
  const labelled = !alone && layout.columnLabels?.some(Boolean), named = !alone && layout.rowLabels?.some(Boolean);
  grid.classList.toggle("named", Boolean(named));
  if (labelled) {
    if (named) grid.append(h("span"));
    for (const text of layout.columnLabels) grid.append(h("span", { className: "label" }, text));
  }
  for (let i = 0; i < shown; i++) {
    if (named && i % columns === 0) grid.append(h("span", { className: "label" }, layout.rowLabels[i / columns] ?? ""));
    const c = h("canvas", { id: i === 0 ? "screen" : "", width: size.width, height: size.height });
    let cell;
    const caption = layout.captions?.[alone ? Math.max(one, 0) : i];
    if (alone) {
      c.setAttribute("role", "img");
      c.setAttribute("aria-label", caption ?? "The picture");
      cell = h("div", { className: "cell" }, c);
      if (one >= 0) cell.append(h("button", { type: "button", className: "all", onclick: () => focus(-1) }, "all " + n));
    } else {
      cell = h("button", { type: "button", className: "cell", "aria-label": `Picture ${i + 1}${caption ? ": " + caption : ""}: show it alone`, onclick: () => focus(i) }, c);
      if (caption) cell.append(h("span", { className: "label" }, caption));
    }
    cells.push(cell);
    grid.append(cell);
  }
  square.replaceChildren(grid);
}

export function focus(i) {
  one = i;
  lay(Math.max(images.length, frames[0]?.images ?? 0, 1));
  draw();
  if (!coming) thumbs();
  hooks.focused(i);
}

function paint(i, s) {
  const cell = cells[one >= 0 ? 0 : i];
  if (!cell || (one >= 0 && i !== one)) return;
  const c = cell.querySelector("canvas"), context = c.getContext("2d", { willReadFrequently: true });
  if (!s) { context.clearRect(0, 0, c.width, c.height); return; }
  if (c.width !== s.width || c.height !== s.height) { c.width = s.width; c.height = s.height; }
  c.classList.toggle("coarse", s.width < 48);
  square.querySelector(".first")?.remove();
  context.imageSmoothingEnabled = false;
  context.drawImage(s.image, s.x, 0, s.w, s.image.height, 0, 0, c.width, c.height);
}

// native is an image that is a file: small ones are enlarged there by repeating pixels.
function native(image) {
  const { width, height } = layout.size || size, k = image.width / width;
  const same = Number.isInteger(k) && image.height === k * height;
  return { image, x: 0, w: image.width, width: same ? width : image.width, height: same ? height : image.height };
}

const part = (frame, i) => {
  const image = frame.pictures?.[view];
  if (!image || i >= frame.images) return null;
  const w = image.width / frame.images;
  return { image, x: i * w, w, width: w, height: image.height };
};

function draw() {
  const frame = shown();
  const n = Math.max(images.length, frame?.images ?? 0);
  if (frame) {
    if (!frame.pictures?.[view]) { decode(frame).then(draw, () => {}); return; }
    for (let i = 0; i < n; i++) paint(i, part(frame, i));
    time.textContent = `${clock(frame.to, frame.to > frame.from)} · step ${frame.index + 1} of ${frame.total}`;
  } else if (images.length) {
    images.forEach((image, i) => paint(i, native(image)));
    time.textContent = frames.length ? "the result" : "";
  }
  scrub.setAttribute("aria-valuetext", time.textContent.replace("·", ","));
  hooks.moved(Boolean(frame));
}

const clock = (t, flow) => `t = ${flow ? t.toFixed(2) : Math.max(Math.round(t), 0)}`;

async function decode(frame) {
  if (frame.pictures?.[view]) return;
  const v = view, image = await picture(`data:${frame.type};base64,${frame[v]}`);
  (frame.pictures ??= {})[v] = image;
}

// thumbs draws the strip of time itself: moments side by side.
async function thumbs() {
  const all = frames.length + (images.length ? 1 : 0), n = Math.min(all, places());
  const of = frames, v = view;
  film.width = n * size.width || 1;
  film.height = size.height;
  film.classList.toggle("coarse", size.width < 48);
  if (all < 2) return;
  const context = film.getContext("2d");
  for (let k = 0; k < n; k++) {
    const at = Math.round(k * (all - 1) / Math.max(n - 1, 1)), frame = frames[at];
    if (frame) await decode(frame).catch(() => {});
    if (of !== frames || v !== view) return;
    const s = frame ? part(frame, Math.max(one, 0)) : native(images[Math.max(one, 0)]);
    if (s) context.drawImage(s.image, s.x, 0, s.w, s.image.height, k * size.width, 0, size.width, size.height);
    if (frame && at < inherited) { context.fillStyle = "rgb(116 180 255 / .35)"; context.fillRect(k * size.width, 0, size.width, size.height); }
  }
}

// places is how many thumbs the strip has room for.
const places = () => Math.max(1, Math.floor((film.clientWidth || 400) / ((film.clientHeight || 48) * size.width / size.height)));

// thumb draws a moment that came into its place on the strip.
function thumb(frame) {
  const n = places(), context = film.getContext("2d");
  if (frames.length === 1) { film.width = n * size.width; film.height = size.height; film.classList.toggle("coarse", size.width < 48); }
  const s = part(frame, 0), from = Math.floor(frame.index * n / frame.total), to = Math.max(from + 1, Math.floor((frame.index + 1) * n / frame.total));
  if (s) for (let k = from; k < to; k++) context.drawImage(s.image, s.x, 0, s.w, s.image.height, k * size.width, 0, size.width, size.height);
}

function range() { scrub.max = Math.max(frames.length - (images.length ? 0 : 1), 0); scrub.disabled = frames.length === 0; }

// clear leaves an empty sheet.
export function clear() {
  begin();
  delete square.dataset.key;
  lay(1);
  square.append(h("p", { className: "over first" }, "The picture will stand here"));
  range();
  time.textContent = "";
  film.width = 1;
}

// begin empties the strip for a drawing that is shown as it comes.
export function begin(how = {}) { halt(); coming = true; frames = []; images = []; one = -1; layout = how; film.width = 1; inherited = how.inherited ?? 0; range(); }

export async function live(frame) {
  const of = frames;
  await decode(frame);
  if (of !== frames) return;
  if (frames.length && frames.at(-1).index >= frame.index) frames = [];
  const follows = !frames.length || Number(scrub.value) >= frames.at(-1).index;
  frames.push(frame);
  lay(Math.max(frame.images, 1));
  scrub.max = frame.total - 1;
  scrub.disabled = false;
  if (follows) { scrub.value = frame.index; draw(); } // unless somebody looks back
  thumb(frame);
}

// result shows what was drawn, and whether the film goes with it. The strip stays where it was if it stood on a moment.
export async function result(urls, moments, how = {}) {
  const all = await Promise.all(urls.map(picture));
  if (moments) await Promise.all(moments.map(decode));
  const rest = !timer && frames.length && images.length && Number(scrub.value) < frames.length && moments?.length ? Number(scrub.value) / frames.length : 1;
  halt();
  coming = false;
  layout = how;
  inherited = how.inherited ?? 0;
  if (one >= all.length || all.length === 1) one = -1;
  images = all;
  frames = moments ?? [];
  lay(all.length);
  range();
  scrub.value = rest < 1 ? Math.round(rest * frames.length) : scrub.max;
  draw();
  thumbs();
  hooks.drawn();
}

export function setView(v) {
  view = v;
  for (const b of document.querySelectorAll("[data-view]")) b.setAttribute("aria-pressed", b.dataset.view === v);
  if (!coming && v !== "x" && frames.length && Number(scrub.value) >= frames.length) scrub.value = frames.length - 1;
  draw();
  if (!coming) thumbs();
}

export function step(by) { halt(); scrub.value = Number(scrub.value) + by; draw(); say(time.textContent); }

function halt() { clearInterval(timer); timer = 0; play.textContent = "▶"; play.setAttribute("aria-label", "Play the steps"); }

export function toggle() {
  if (timer) { halt(); return; }
  if (!frames.length || coming) return;
  if (Number(scrub.value) >= Number(scrub.max)) scrub.value = 0;
  play.textContent = "‖";
  play.setAttribute("aria-label", "Pause");
  timer = setInterval(() => {
    scrub.value = Number(scrub.value) + 1;
    draw();
    if (Number(scrub.value) >= Number(scrub.max)) halt();
  }, Math.max(40, Math.min(120, 2400 / frames.length)));
}

// arise plays the picture once from noise, for a first sight.
export function arise() {
  if (still() || frames.length < 4) return;
  toggle();
}

scrub.addEventListener("input", () => { halt(); draw(); });
play.addEventListener("click", toggle);
for (const b of document.querySelectorAll("[data-view]")) b.addEventListener("click", () => setView(b.dataset.view));
addEventListener("resize", () => { if (!coming) thumbs(); });

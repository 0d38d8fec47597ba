// The large picture and its strip of time.
import { picture } from "./api.js";

const $ = (id) => document.getElementById(id);
const canvas = $("screen"), scrub = $("scrub"), time = $("time"), play = $("play");
const context = canvas.getContext("2d");

let size = { width: 28, height: 28 };
let images = [];   // the results
let frames = [];   // the moments before
let view = "x";
let one = -1;      // the image that is shown alone; -1: all of them
let timer = 0;
let onFocus = () => {};

export const showing = () => ({ images, one });
export const whenFocused = (call) => { onFocus = call; };

export function shape(width, height) {
  size = { width, height };
  $("square").classList.toggle("smooth", width >= 128);
}

function columns(n) { return Math.ceil(Math.sqrt(n)); }

// lay draws n images of a source each; at returns the source and where in it the image is.
function lay(n, at) {
  const all = one < 0 ? [...Array(n).keys()] : [Math.min(one, n - 1)];
  const k = columns(all.length), gap = k > 1 ? 2 : 0;
  const unit = Math.max(1, Math.round(448 / (k * size.width)));
  const w = size.width * unit, h = size.height * unit;
  const rows = Math.ceil(all.length / k);
  const width = k * w + (k - 1) * gap * unit, height = rows * h + (rows - 1) * gap * unit;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  context.imageSmoothingEnabled = size.width >= 128;
  context.clearRect(0, 0, width, height);
  all.forEach((i, place) => {
    const s = at(i);
    if (!s) return;
    context.drawImage(s.image, s.x, s.y, s.w, s.h, (place % k) * (w + gap * unit), Math.floor(place / k) * (h + gap * unit), w, h);
  });
}

function draw() {
  const i = Number(scrub.value);
  const frame = frames[i];
  if (frame) {
    const image = frame.pictures?.[view];
    if (!image) { decode(frame).then(draw); return; }
    lay(Math.max(images.length, frame.images), (n) => n < frame.images && { image, x: n * image.width / frame.images, y: 0, w: image.width / frame.images, h: image.height });
    const t = frame.to, flow = frame.to > frame.from;
    time.textContent = `step ${frame.index + 1} of ${frame.total} · t = ${flow ? t.toFixed(2) : Math.max(Math.round(t), 0)}`;
  } else if (images.length) {
    lay(images.length, (n) => ({ image: images[n], x: 0, y: 0, w: images[n].width, h: images[n].height }));
    time.textContent = frames.length ? "the result" : "";
  }
  scrub.setAttribute("aria-valuetext", time.textContent);
}

async function decode(frame) {
  if (frame.pictures) return;
  const all = await Promise.all(["x", "x0", "epsilon"].map((v) => picture(`data:${frame.type};base64,${frame[v]}`)));
  frame.pictures = { x: all[0], x0: all[1], epsilon: all[2] };
}

function range() {
  scrub.max = Math.max(frames.length - (images.length ? 0 : 1), 0);
}

// begin empties the strip for a drawing that is shown as it comes.
export function begin() { halt(); frames = []; images = []; one = -1; range(); }

export async function live(frame) {
  await decode(frame);
  if (frames.length && frames.at(-1).index >= frame.index) frames = [];
  frames.push(frame);
  range();
  scrub.value = scrub.max;
  draw();
}

// result shows what was drawn, and whether the film goes with it.
export async function result(urls, film) {
  const all = await Promise.all(urls.map(picture));
  if (film) await Promise.all(film.map(decode));
  halt();
  if (one >= all.length) one = -1;
  images = all;
  frames = film ?? [];
  range();
  scrub.value = scrub.max;
  canvas.setAttribute("aria-label", all.length === 1 ? "The picture" : `${all.length} pictures`);
  draw();
}

export function setView(v) {
  view = v;
  for (const b of document.querySelectorAll("[data-view]")) b.setAttribute("aria-pressed", b.dataset.view === v);
  if (v !== "x" && frames.length && Number(scrub.value) >= frames.length) scrub.value = frames.length - 1;
  draw();
}

export function step(by) { halt(); scrub.value = Number(scrub.value) + by; draw(); }

function halt() { clearInterval(timer); timer = 0; play.textContent = "▶"; play.setAttribute("aria-label", "Play the steps"); }

export function toggle() {
  if (timer) { halt(); return; }
  if (!frames.length) return;
  if (Number(scrub.value) >= Number(scrub.max)) scrub.value = 0;
  play.textContent = "⏸";
  play.setAttribute("aria-label", "Pause");
  timer = setInterval(() => {
    scrub.value = Number(scrub.value) + 1;
    draw();
    if (Number(scrub.value) >= Number(scrub.max)) halt();
  }, Math.max(40, Math.min(120, 2400 / frames.length)));
}

scrub.addEventListener("input", () => { halt(); draw(); });
play.addEventListener("click", toggle);
for (const b of document.querySelectorAll("[data-view]")) b.addEventListener("click", () => setView(b.dataset.view));

// A click shows one of several pictures alone, and all of them again.
canvas.addEventListener("click", (e) => {
  if (images.length < 2 || $("square").classList.contains("turns")) return;
  if (one >= 0) one = -1;
  else {
    const r = canvas.getBoundingClientRect(), k = columns(images.length), rows = Math.ceil(images.length / k);
    const scale = Math.min(r.width / canvas.width, r.height / canvas.height);
    const x = (e.clientX - r.left - (r.width - canvas.width * scale) / 2) / (canvas.width * scale);
    const y = (e.clientY - r.top - (r.height - canvas.height * scale) / 2) / (canvas.height * scale);
    const i = Math.floor(y * rows) * k + Math.floor(x * k);
    if (x < 0 || y < 0 || x >= 1 || i < 0 || i >= images.length) return;
    one = i;
  }
  onFocus();
  draw();
});

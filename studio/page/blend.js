// Blend: hybrids, which are one thing from afar and another from near.
import { $, h, slider, labelled, choice, button, say, still } from "./dom.js";
import { b, change, blame } from "./bench.js";
import * as api from "./api.js";
import * as screen from "./screen.js";
import * as prompts from "./prompts.js";

const kinds = {
  pass: { text: "far and near", bands: (p) => [`low_pass:${p}`, `high_pass:${p}`], names: ["From afar", "From near"], slider: "Distance", go: "Walk away", back: "Come near", color: false },
  chroma: { text: "gray and color", bands: () => ["grayscale", "color"], names: ["In dim light", "In color"], slider: "Dusk", go: "Dim the light", back: "Light again", color: true },
};
let kind = "pass", sigma = 2, far = 0;
let parts = [{ prompt: "" }, { prompt: "" }]; // or a photo: { image, data }
const distance = h("output"), goes = button("", () => walk(), { title: "Walk away and come near (R)" });
const lever = slider(0, 1, 0.01, 0, (v) => { cancelAnimationFrame(walking); far = v; see(); });
const beside = h("div", { className: "bands" });

function texts() {
  const v = b.model.vocabulary, e = b.model.examples;
  parts.forEach((p, i) => {
    if (v?.length && !b.model.texts && !v.includes(p.prompt)) p.prompt = v[[3, 8][i] % v.length];
    if (b.model.texts && !p.prompt && e?.length) p.prompt = e[i % e.length];
  });
}

function card(i) {
  const p = parts[i], name = kinds[kind].names[i];
  const file = h("label", { className: "button" }, p.data ? "Another photo…" : "A photo…", h("input", { type: "file", accept: "image/*", className: "unseen", onchange: (e) => { if (e.target.files[0]) photo(i, e.target.files[0]); } }));
  if (!p.data) {
    const field = prompts.one(name, p.prompt, (v) => { p.prompt = v; }, "illusion.bands");
    field.append(h("div", { className: "joined" }, field.lastElementChild, file));
    return field;
  }
  const image = new Image();
  image.src = "data:image/png;base64," + p.data;
  image.alt = name + ": a photo";
  return h("div", { className: "field", "data-field": "illusion.bands" }, h("span", { className: "label" }, name), h("div", { className: "joined" }, image, file, button("A prompt", () => { parts[i] = { prompt: p.prompt }; tool.refresh(); change(); })));
}

async function photo(i, file) {
  try {
    const image = await api.pictureOf(file), c = h("canvas"), k = Math.max(1, Math.round(256 / b.model.width));
    c.width = k * b.model.width; c.height = k * b.model.height;
    const z = Math.max(c.width / image.width, c.height / image.height), x = c.getContext("2d");
    x.imageSmoothingQuality = "high";
    x.drawImage(image, (c.width - z * image.width) / 2, (c.height - z * image.height) / 2, z * image.width, z * image.height);
    const data = c.toDataURL("image/png").split(",")[1];
    if (parts[1 - i].data) parts[1 - i] = { prompt: parts[1 - i].prompt };
    parts[i] = { ...parts[i], data };
    tool.refresh();
    change();
  } catch (e) { blame(e); }
}

// see shows the picture as it is seen from afar.
function see() {
  const square = $("square"), c = kinds[kind];
  if (b.tool !== tool) { square.style.removeProperty("--far"); square.classList.remove("walks", "dims", "away"); return; }
  square.classList.toggle("walks", !c.color);
  square.classList.toggle("dims", c.color);
  square.classList.toggle("away", far > 0);
  square.style.setProperty("--far", far);
  square.style.setProperty("--scale", 10 ** -far);
  lever.value = far;
  goes.textContent = far > 0.5 ? c.back : c.go;
  distance.textContent = c.color ? (far === 0 ? "bright" : far < 1 ? "dim" : "dark") : `${(10 ** far).toFixed(1)}×`;
}

// walk goes from near to far, or back, at a steady pace.
let walking = 0;
function walk() {
  cancelAnimationFrame(walking);
  const from = far, to = far > 0.5 ? 0 : 1, start = performance.now(), time = still() ? 1 : 2200 * Math.abs(to - from);
  const step = (now) => {
    const k = Math.min(1, Math.max(0, now - start) / time);
    far = from + (to - from) * k * k * (3 - 2 * k);
    see();
    if (k < 1 && b.tool === tool) { walking = requestAnimationFrame(step); return; }
    say(distance.textContent);
  };
  walking = requestAnimationFrame(step);
}

// gauss blurs a plane of w×h values.
function gauss(plane, w, height, sd) {
  const r = Math.ceil(3 * sd), k = Array.from({ length: 2 * r + 1 }, (_, i) => Math.exp(-((i - r) ** 2) / (2 * sd * sd)));
  const sum = k.reduce((a, v) => a + v), mirror = (i, n) => { while (i < 0 || i >= n) i = i < 0 ? -i : 2 * n - 2 - i; return i; };
  const pass = (from, along, n, count, next) => {
    const to = new Float32Array(from.length);
    for (let a = 0; a < count; a++) for (let i = 0; i < n; i++) {
      let v = 0;
      for (let j = -r; j <= r; j++) v += k[j + r] * from[a * next + mirror(i + j, n) * along];
      to[a * next + i * along] = v / sum;
    }
    return to;
  };
  return pass(pass(plane, 1, w, height, w), w, height, w, 1);
}

// bands draws what each part of the picture holds.
function bands() {
  const c = screen.resultCanvas();
  if (b.tool !== tool || !c) return;
  const w = c.width, height = c.height, d = c.getContext("2d").getImageData(0, 0, w, height).data;
  const planes = [0, 1, 2].map((k) => Float32Array.from({ length: w * height }, (_, i) => d[4 * i + k]));
  const low = kinds[kind].color
    ? (() => { const m = planes[0].map((v, i) => (v + planes[1][i] + planes[2][i]) / 3); return [m, m, m]; })()
    : planes.map((p) => gauss(p, w, height, sigma * Math.min(w, height) / 64));
  const shown = (get, name) => {
    const e = h("canvas", { width: w, height, role: "img", "aria-label": name }), x = e.getContext("2d"), m = x.createImageData(w, height);
    for (let i = 0; i < w * height; i++) { for (let k = 0; k < 3; k++) m.data[4 * i + k] = get(k, i); m.data[4 * i + 3] = 255; }
    x.putImageData(m, 0, 0);
    e.classList.toggle("coarse", w < 48);
    return h("figure", {}, e, h("figcaption", {}, name));
  };
  beside.replaceChildren(shown((k, i) => low[k][i], kinds[kind].names[0]), shown((k, i) => planes[k][i] - low[k][i] + 128, kinds[kind].names[1]));
}

const tool = {
  id: "blend", title: "Blend", key: "m",
  fits: (m) => m.texts || m.vocabulary?.length > 1,
  beside: () => beside,
  asks() {
    if (b.model.channels === 1) kind = "pass";
    texts();
    return [card(0), card(1)];
  },
  panel() {
    const sigmaSays = h("output", {}, String(sigma));
    return h("div", {},
      b.model.channels > 1 ? h("div", { className: "field" }, h("span", { className: "label" }, "Seen"), choice("Seen", Object.entries(kinds).map(([id, k]) => [id, k.text]), kind, (v) => { kind = v; far = 0; tool.refresh(); change(); })) : null,
      kind === "pass" ? labelled("Border of the bands", slider(0.5, 6, 0.25, sigma, (v) => { sigma = v; sigmaSays.textContent = v; change(); }), "illusion", sigmaSays) : null);
  },
  under() {
    return h("div", { className: "lever" }, goes, labelled(kinds[kind].slider, lever, null, distance));
  },
  request(r) {
    texts();
    if (parts.some((p) => !p.data && !p.prompt)) return null;
    delete r.prompts;
    const as = kinds[kind].bands(sigma);
    r.illusion = { bands: parts.map((p, i) => (p.data ? { as: as[i], picture: { name: "photo", data: p.data, fit: "stretch", ink: "light" } } : { as: as[i], prompts: [p.prompt] })) };
    return r;
  },
  missing: () => "Say what is seen from afar, and what from near.",
  read(r) {
    const all = r.illusion?.bands;
    if (all?.length !== 2) return false;
    kind = all[0].as === "grayscale" ? "chroma" : "pass";
    sigma = Number(all[0].as.split(":")[1]?.split(",")[0] ?? 2);
    parts = all.map((p) => (p.picture ? { prompt: "", data: p.picture.data } : { prompt: p.prompts?.[0] ?? "" }));
    return true;
  },
  drawn() { bands(); },
  start() { see(); },
  leave() { far = 0; see(); },
  keys: { r: walk },
};
export default tool;

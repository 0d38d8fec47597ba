// The shelf: kept pictures, played, opened, drawn again, compared, downloaded.
import { $, h, button, say, still } from "./dom.js";
import * as api from "./api.js";
import { b, blame } from "./bench.js";

let kept = [], total = 0, pins = [];
let open = () => {};
export const whenOpened = (call) => { open = call; };

export async function load() {
  const told = await api.gallery();
  kept = told.pictures;
  total = told.total;
  fill();
}

function fill() {
  $("total").textContent = total || "";
  $("empty").hidden = total > 0;
  $("older").hidden = kept.length >= total;
  const old = new Map([...$("shelf").children].map((li) => [li.dataset.name, li]));
  $("shelf").replaceChildren(...kept.map((p) => old.get(p.name) ?? place(p)));
  pins = pins.filter((p) => kept.some((k) => k.name === p.name));
  mark();
}

function place(p) {
  const title = `${p.shows.join(", ") || p.model}, seed ${p.seed}`;
  const image = new Image(p.width, p.height);
  image.loading = "lazy";
  image.alt = title;
  image.src = p.url;
  if (p.width % 28 === 0 && p.width < 300) image.className = "coarse";
  const canvas = h("canvas", { hidden: true, "aria-hidden": "true" });
  const show = button("", () => open(p, false), { className: "open", title });
  show.append(image, canvas);
  let timer = 0;
  const halt = () => { clearInterval(timer); timer = 0; canvas.hidden = true; };
  const play = async () => {
    if (still() || timer) return;
    timer = -1;
    const frames = await api.filmOf(p).catch(() => []);
    if (!frames.length || timer !== -1) return;
    const all = await Promise.all(frames.map((f) => api.picture(`data:${f.type};base64,${f.x}`)));
    let i = 0;
    timer = setInterval(() => {
      if (i >= all.length) { if (i++ > all.length + 14) i = 0; canvas.hidden = true; return; }
      const m = all[i], w = m.width / frames[i].images, at = Math.min(Number(/-(\d+)\.png$/.exec(p.name)[1]) - 1, frames[i].images - 1);
      if (canvas.width !== w) { canvas.width = w; canvas.height = m.height; canvas.className = w < 48 ? "coarse" : ""; }
      canvas.getContext("2d").drawImage(m, at * w, 0, w, m.height, 0, 0, w, m.height);
      canvas.hidden = false;
      i++;
    }, 70);
  };
  show.addEventListener("pointerenter", play);
  show.addEventListener("pointerleave", halt);
  show.addEventListener("focus", play);
  show.addEventListener("blur", halt);
  const pin = button("⇆", () => pinned(p), { title: "Beside another", "aria-label": "Set beside another: " + title, "aria-pressed": "false", className: "pin" });
  const again = button("↻", () => open(p, true), { title: "Again with another seed", "aria-label": "Again with another seed: " + title });
  const down = h("a", { href: p.url, download: "unnoise-" + p.name, title: "Download", "aria-label": "Download " + title }, "⤓");
  const away = button("✕", async () => {
    if (away.textContent === "✕") { away.textContent = "sure?"; setTimeout(() => { away.textContent = "✕"; }, 3000); return; }
    try { await api.remove(p.name); await load(); say("Deleted"); } catch (e) { blame(e); }
  }, { title: "Delete", "aria-label": "Delete " + title });
  const li = h("li", {}, show, h("div", { className: "deeds" }, again, pin, down, away));
  li.dataset.name = p.name;
  return li;
}

export function mark() {
  for (const li of $("shelf").children) {
    const p = kept.find((k) => k.name === li.dataset.name);
    li.querySelector(".open").setAttribute("aria-current", String(p?.url === b.opened));
    const at = pins.findIndex((k) => k.name === p?.name), pin = li.querySelector(".pin");
    pin.setAttribute("aria-pressed", String(at >= 0));
    pin.textContent = at < 0 ? "⇆" : "AB"[at];
  }
}

// pinned sets a picture beside another.
function pinned(p) {
  if (pins.some((k) => k.name === p.name)) pins = pins.filter((k) => k.name !== p.name);
  else pins = [...pins, p].slice(-2);
  mark();
  compare().catch(blame);
  if (pins.length === 1) say("A. Choose another to stand beside it.");
}

// differences lists what two recipes have that is not the same.
function differences(a, c, path = "", to = []) {
  for (const key of new Set([...Object.keys(a ?? {}), ...Object.keys(c ?? {})])) {
    const x = a?.[key], y = c?.[key], name = path ? `${path}.${key}` : key;
    if (["data", "revision", "backend", "dtype", "version", "seeds"].includes(key) || JSON.stringify(x) === JSON.stringify(y)) continue;
    if (typeof x === "object" && typeof y === "object" && x && y && !Array.isArray(x)) differences(x, y, name, to);
    else to.push([name, short(x), short(y)]);
  }
  return to;
}
const short = (v) => (v === undefined ? "—" : typeof v === "object" ? (Array.isArray(v) && v.every((x) => typeof x !== "object") ? v.join(", ") : "set") : String(v));

async function compare() {
  const box = $("compare");
  box.hidden = pins.length < 2;
  if (box.hidden) return;
  const recipes = await Promise.all(pins.map((p) => api.recipeAt(p.url)));
  const rows = differences(recipes[0].recipe, recipes[1].recipe);
  box.replaceChildren(
    h("div", { className: "pairs" }, ...pins.map((p, i) => {
      const image = new Image();
      image.src = p.url;
      image.alt = `${"AB"[i]}: ${p.shows.join(", ") || p.model}`;
      if (p.width < 300) image.className = "coarse";
      return h("figure", {}, image, h("figcaption", {}, h("b", {}, "AB"[i]), " ", p.shows.join(", ") || p.model));
    })),
    rows.length ? h("table", {}, h("tr", {}, h("th", { scope: "col" }, "What differs"), h("th", { scope: "col" }, "A"), h("th", { scope: "col" }, "B")), ...rows.map((r) => h("tr", {}, h("th", { scope: "row" }, r[0]), h("td", {}, r[1]), h("td", {}, r[2])))) : h("p", {}, "Their recipes are the same."),
    button("Close", () => { pins = []; mark(); box.hidden = true; }));
  box.scrollIntoView({ block: "end", behavior: still() ? "auto" : "smooth" });
}

$("older").addEventListener("click", async () => {
  try {
    const told = await api.gallery(kept.at(-1)?.name);
    kept = [...kept, ...told.pictures];
    total = told.total;
    fill();
  } catch (e) { blame(e); }
});


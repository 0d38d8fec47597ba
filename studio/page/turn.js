// Turn: anagrams. A picture that shows one thing as it is and another under a view, and that is turned by hand.
import { $, h, button, select, labelled, say, still } from "./dom.js";
import { b, change, write, draw, stop, request, blame } from "./bench.js";
import * as api from "./api.js";
import * as screen from "./screen.js";
import * as prompts from "./prompts.js";

// How views of the whole picture are seen: turned by an angle, folded over an axis, or with dark and light exchanged. The others move pieces.
const hands = {
  rotate_180: { angle: 180, text: "upside down" },
  rotate_cw: { angle: 90, text: "to the right" },
  rotate_ccw: { angle: -90, text: "to the left" },
  flip: { axis: "X", text: "flipped" },
  mirror: { axis: "Y", text: "mirrored" },
  negate: { negative: true, text: "negative" },
  jigsaw: { text: "jigsaw" },
  inner_circle: { text: "inner circle" },
  square_hinge: { text: "hinged squares" },
  patch_permute: { text: "patches shuffled" },
  patch_flip: { text: "patches flipped" },
  patch_mirror: { text: "patches mirrored" },
  patch_rotate: { text: "patches turned" },
  skew: { text: "skewed" },
  pixel_permute: { text: "pixels shuffled" },
};
const moves = 24; // frames of a movement

let view = "rotate_180", parts = ["", ""], candidates = 1, race = false;
let amount = 0, drag = null, film = null, spin = 0;
const square = $("square"), sheet = h("div", { className: "contact" }), overlay = h("canvas", { className: "moving", "aria-hidden": "true" });
const turned = button("Turn it", () => over(), { title: "Turn it (R)" });
const lever = h("input", { type: "range", min: "0", max: "1", step: "any", value: "0", "aria-label": "How far it is turned" });

const name = () => view.split(":")[0];
const hand = () => (b.tool === tool ? hands[name()] ?? {} : null);
const whole = (x) => x && (x.angle || x.axis || x.negative);
const isTurned = () => amount > 0.5;

function see(a) {
  amount = a;
  const c = square.querySelector(".cells"), x = hand();
  lever.value = Math.min(1, Math.max(0, a));
  overlay.hidden = !x || whole(x) || !film || a === 0;
  if (!c) return;
  c.style.filter = c.style.transform = "";
  if (!x) return;
  if (x.negative) c.style.filter = `invert(${Math.min(1, Math.max(0, a))})`;
  else if (x.axis) c.style.transform = `rotate${x.axis}(${180 * a}deg)`;
  else if (x.angle) c.style.transform = `rotate(${x.angle * a}deg)`;
  else if (!overlay.hidden) {
    const i = Math.min(film.frames - 1, Math.round(a * (film.frames - 1)));
    overlay.getContext("2d").drawImage(film.image, 0, i * film.height, film.width, film.height, 0, 0, film.width, film.height);
  }
}

// glide moves the picture to where it is let go.
function glide(to) {
  cancelAnimationFrame(spin);
  const from = amount, start = performance.now(), time = still() ? 1 : 450;
  const go = (now) => {
    const k = Math.min(1, (now - start) / time), eased = 1 - (1 - k) ** 3;
    see(from + (to - from) * eased);
    if (k < 1) spin = requestAnimationFrame(go);
    else tell();
  };
  spin = requestAnimationFrame(go);
}

function tell() {
  turned.textContent = isTurned() ? "Turn it back" : "Turn it";
  const says = isTurned() ? `Turned: ${parts[1]}` : `As it is: ${parts[0]}`;
  $("says").textContent = says;
  say(says);
}

async function over() { await ready(); glide(isTurned() ? 0 : 1); }

// ready fetches the movement of pieces for the picture that is shown.
async function ready() {
  const x = hand(), c = screen.canvas();
  if (whole(x) || film || !c || !screen.results().length) return;
  try {
    const blob = await new Promise((r) => c.toBlob(r, "image/png"));
    film = await movement(blob, view);
    overlay.width = film.width; overlay.height = film.height;
    const k = 100 * film.width / film.picture; // in percent of the picture
    overlay.style.width = k + "%";
    overlay.style.left = (100 - k) / 2 + "%";
    overlay.style.top = (100 - k * film.height / film.width) / 2 + "%";
    square.append(overlay);
  } catch (e) { blame(e); }
}

async function movement(blob, as, frames = moves, side = 256) {
  const told = await api.perform(blob, as, frames, side);
  return { ...told, image: await api.picture("data:image/png;base64," + told.data) };
}

const direction = (e) => { const r = square.getBoundingClientRect(); return { x: (e.clientX - r.left) / r.width - 0.5, y: (e.clientY - r.top) / r.height - 0.5 }; };

square.addEventListener("pointerdown", (e) => {
  if (!hand() || e.button !== 0 || square.classList.contains("several") || e.target.closest("button")) return;
  square.setPointerCapture(e.pointerId);
  cancelAnimationFrame(spin);
  ready();
  drag = { id: e.pointerId, at: direction(e), from: amount, moved: false };
});
square.addEventListener("pointermove", (e) => {
  if (!drag || e.pointerId !== drag.id) return;
  const at = direction(e), before = drag.at, x = hand();
  let by;
  if (x.angle) {
    const degrees = (Math.atan2(at.y, at.x) - Math.atan2(before.y, before.x)) * 180 / Math.PI;
    drag.from += (((degrees + 540) % 360) - 180) / x.angle;
    drag.at = at;
    by = 0;
  } else if (x.axis === "X") by = (before.y - at.y) / 0.8;
  else by = (at.x - before.x) / 0.8;
  if (Math.hypot(at.x - before.x, at.y - before.y) > 0.01 || x.angle) drag.moved ||= Math.hypot(at.x - before.x, at.y - before.y) > 0.002;
  square.classList.add("held");
  const to = drag.from + by;
  see(x.angle ? to : Math.min(1, Math.abs(to)));
});
for (const type of ["pointerup", "pointercancel"]) {
  square.addEventListener(type, (e) => {
    if (!drag || e.pointerId !== drag.id) return;
    const { moved } = drag, x = hand();
    drag = null;
    square.classList.remove("held");
    if (!moved) { over(); return; }
    if (!x.angle) { glide(isTurned() ? 1 : 0); return; }
    const turns = Math.round(amount), all = 360 / Math.abs(x.angle), at = ((turns % all) + all) % all;
    glide(at === 1 ? turns : Math.round(turns / all) * all);
  });
}
lever.addEventListener("input", async () => { await ready(); see(Number(lever.value)); });
lever.addEventListener("change", tell);

// A pictogram of each view, which moves when it is touched.
let sign = null;
const signs = new Map();
function signPicture() {
  const c = h("canvas", { width: 48, height: 48 }), x = c.getContext("2d");
  x.fillStyle = "#0b63c4"; x.fillRect(0, 0, 48, 48);
  x.fillStyle = "#ffffff"; x.font = "bold 40px Georgia, serif"; x.textAlign = "center"; x.textBaseline = "middle"; x.fillText("R", 24, 26);
  return c;
}
async function pictogram(v, c) {
  sign ??= new Promise((r) => signPicture().toBlob(r, "image/png"));
  const owner = c.closest("button");
  if (!signs.has(v)) signs.set(v, sign.then((blob) => movement(blob, v, 16, 96)).catch(() => null));
  const f = await signs.get(v);
  if (!f) return;
  c.width = f.width; c.height = f.height;
  c.style.setProperty("--zoom", f.width / f.picture);
  const show = (i) => c.getContext("2d").drawImage(f.image, 0, i * f.height, f.width, f.height, 0, 0, f.width, f.height);
  show(f.frames - 1);
  let timer = 0;
  const play = () => {
    clearInterval(timer);
    if (still()) return;
    let i = -4;
    timer = setInterval(() => { show(Math.max(0, Math.min(f.frames - 1, i))); if (++i > f.frames) clearInterval(timer); }, 40);
  };
  owner.addEventListener("pointerenter", play);
  owner.addEventListener("focus", play);
}

function texts() {
  const v = b.model.vocabulary, e = b.model.examples;
  if (v?.length && !b.model.texts) parts = parts.map((p, i) => (v.includes(p) ? p : v[[6, 9][i] % v.length]));
  else if (e?.length) parts = parts.map((p, i) => p || e[i % e.length]);
}

// The contact sheet of candidates, which fills while they are judged.
let chosen = new Set(), shown = null, latest = [];
const finish = button("Draw only these", () => {
  const r = request(), seeds = [...chosen];
  r.illusion = { ...r.illusion, candidates: seeds.length, keep: seeds.length, seeds,
    parents: Object.fromEntries(latest.filter((c) => c.parent != null).map((c) => [c.seed, c.parent])) };
  delete r.illusion.race;
  draw(r, { draft: true, calm: true });
}, { disabled: true });
const enough = button("Stop here", stop), list = h("ul");
sheet.append(h("h2", {}, "Candidates ", h("span", {}, "best first; pointing at one shows how it is read")), list, h("div", { className: "copies" }, finish, enough));

// read is what is seen in each look.
const read = (c, prompts) => c.matrix.map((row) => prompts[row.indexOf(Math.min(...row))] || "—");

function card(job, c, told) {
  const prompts = told.prompts[c.group] ?? [];
  const columns = prompts.map((_, i) => i).sort((x, y) => Math.min(...c.matrix.map((r) => r[x])) - Math.min(...c.matrix.map((r) => r[y]))).slice(0, 5).sort((x, y) => x - y);
  const as = (k) => (told.looks[k] === "identity" ? "as it is" : hands[told.looks[k].split(":")[0]]?.text ?? told.looks[k]);
  const matrix = h("table", {},
    h("caption", {}, `Seed ${c.seed}, score ${c.score.toFixed(1)}; how much less likely`),
    h("tr", {}, h("td"), ...columns.map((p) => h("th", { scope: "col" }, prompts[p] || "—"))),
    ...c.matrix.map((row, k) => h("tr", {}, h("th", { scope: "row" }, as(k)), ...columns.map((p) => {
      const td = h("td", { className: row[p] === 0 ? "read" : "" }, row[p] < 1000 ? row[p].toFixed(1) : "∞");
      td.style.setProperty("--share", Math.exp(-row[p]));
      return td;
    }))));
  const image = new Image();
  image.src = `api/jobs/${job}/candidates/${c.seed}`;
  image.alt = "";
  const says = read(c, prompts).map((t) => (t.length > 12 ? t.slice(0, 11) + "…" : t)).join(" | ");
  const pick = button("", () => {
    if (chosen.has(c.seed)) chosen.delete(c.seed); else chosen.add(c.seed);
    pick.setAttribute("aria-pressed", String(chosen.has(c.seed)));
    count();
  }, { className: "pick", "aria-pressed": String(chosen.has(c.seed)), "aria-label": `Seed ${c.seed}, score ${c.score.toFixed(1)}, read as ${says}` });
  pick.append(image, h("span", {}, says));
  return h("li", {}, pick, h("div", { className: "matrix" }, matrix));
}

function count() {
  finish.disabled = !chosen.size || b.running;
  finish.textContent = chosen.size ? `Draw only ${chosen.size === 1 ? "this one" : "these " + chosen.size}` : "Draw only these";
  enough.disabled = !b.running;
}

function contact(told, job) {
  if (shown !== job) { shown = job; chosen = new Set(); }
  latest = told.candidates;
  sheet.hidden = false;
  const sorted = [...told.candidates].sort((x, y) => y.draws - x.draws || y.score - x.score);
  list.replaceChildren(...sorted.map((c) => card(job, c, told)));
  count();
}

const tool = {
  id: "turn", title: "Turn", key: "t",fits: (m) => m.texts || m.vocabulary?.length > 1,
  asks() {
    texts();
    return [prompts.one("As it is", parts[0], (v) => { parts[0] = v; }, "illusion.views"), prompts.one("Turned", parts[1], (v) => { parts[1] = v; })];
  },
  panel() {
    const grid = h("div", { className: "pictograms", role: "group", "aria-label": "View" });
    const known = b.model.views.filter((v) => hands[v.name]).sort((a, c) => Object.keys(hands).indexOf(a.name) - Object.keys(hands).indexOf(c.name));
    if (!known.some((v) => v.name === name())) view = known[0]?.name ?? view;
    for (const v of known) {
      const c = h("canvas", { width: 48, height: 48, "aria-hidden": "true" });
      const e = button("", () => {
        view = v.name;
        for (const o of grid.children) o.setAttribute("aria-pressed", String(o === e));
        film = null;
        see(0);
        change();
      }, { "aria-pressed": String(v.name === name()), title: v.text });
      e.append(h("span", { className: "sign" }, c), h("span", {}, hands[v.name].text));
      grid.append(e);
      pictogram(v.name, c);
    }
    const how = select([[1, "any picture"], [8, "the best of 8"], [32, "the best of 32"], ["race", "the best of 64, in a race"]], race ? "race" : String(candidates), (v) => { race = v === "race"; candidates = race ? 64 : Number(v); write(); change(); });
    how.value = race ? "race" : String(candidates);
    return h("div", {},
      h("div", { className: "field" }, h("span", { className: "label" }, "How it is turned"), grid),
      labelled("Keep", how, "illusion.candidates"));
  },
  under: () => h("div", { className: "lever" }, turned, lever),
  below: () => sheet,
  request(r) {
    texts();
    if (parts.some((p) => !p)) return null;
    delete r.prompts;
    r.illusion = { views: [{ as: "identity", prompts: [parts[0]] }, { as: view, prompts: [parts[1]] }] };
    if (candidates > 1) { Object.assign(r.illusion, { candidates, keep: 1, race: race || undefined }); delete r.count; }
    return r;
  },
  missing: () => "Say what it shows as it is, and turned.",
  read(r) {
    const v = r.illusion?.views;
    if (v?.length !== 2 || !hands[v[1].as.split(":")[0]]) return false;
    parts = v.map((p) => p.prompts?.[0] ?? "");
    view = v[1].as;
    race = Boolean(r.illusion.race);
    candidates = r.illusion.candidates > 1 ? r.illusion.candidates : 1;
    return true;
  },
  start() { square.classList.add("turns"); sheet.hidden = true; film = null; see(0); tell(); },
  leave() { $("says").textContent = "\u00a0"; square.classList.remove("turns"); overlay.remove(); film = null; see(0); },
  drawn(job) { film = null; const a = amount; see(Math.abs(a) < 0.01 ? 0 : a); if (amount) ready().then(() => see(a)); count(); },
  candidates: contact,
  write: count,
  keys: { r: over },
};
export default tool;

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
  inner_circle: { text: "inner circle", ring: true },
  square_hinge: { text: "hinged squares" },
  patch_permute: { text: "patches shuffled" },
  patch_flip: { text: "patches flipped" },
  patch_mirror: { text: "patches mirrored" },
  patch_rotate: { text: "patches turned" },
  skew: { text: "skewed" },
  pixel_permute: { text: "pixels shuffled" },
};
const moves = 24; // frames of a movement

const mostParts = 4;
const words = (as) => hands[as]?.text ?? as.replaceAll("_", " ");

// parts are what is seen, and how: the first as the picture is, the others under a view. at is the one that the lever turns to.
let parts = [{ as: "identity", prompt: "" }, { as: "rotate_180", prompt: "" }], at = 1, extra = {};
let candidates = 1, race = false;
let amount = 0, drag = null, film = null, spin = 0;
const square = $("square"), sheet = h("div", { className: "contact" }), overlay = h("canvas", { className: "moving", "aria-hidden": "true" });
const turned = button("Turn it", () => over(), { title: "Turn it (R)" });
const lever = h("input", { type: "range", min: "0", max: "1", step: "any", value: "0", "aria-label": "How far it is turned" });
const looks = h("div", { className: "joined looks", role: "group", "aria-label": "How it is looked at" });

const nameOf = (p) => p.as.split(":")[0];
const turns = () => parts.map((p, i) => i).filter((i) => parts[i].as !== "identity");
const hand = () => (b.tool === tool ? hands[nameOf(parts[at])] ?? {} : null);
// ringAngle is how far the inner circle turns, the shorter way.
const ringAngle = () => { const d = Number(parts[at].as.split(":")[1] ?? 180); return d > 180 ? d - 360 : d; };
const whole = (x) => x && (x.angle || x.axis || x.negative);
const isTurned = () => amount > 0.5;

function see(a) {
  amount = a;
  const c = square.querySelector(".cells"), x = hand();
  lever.value = Math.min(1, Math.max(0, a));
  overlay.hidden = !x || whole(x) || !film || a === 0;
  if (!c) return;
  c.style.filter = c.style.transform = "";
  c.style.opacity = overlay.hidden ? "" : 0;
  if (!x) return;
  if (x.negative) c.style.filter = `invert(${Math.min(1, Math.max(0, a))})`;
  else if (x.axis) c.style.transform = `rotate${x.axis}(${180 * a}deg)`;
  else if (x.angle) c.style.transform = `rotate(${x.angle * a}deg)`;
  else if (!overlay.hidden) {
    const i = Math.min(film.frames - 1, Math.round(a * (film.frames - 1)));
    const x = overlay.getContext("2d");
    x.clearRect(0, 0, film.width, film.height);
    x.drawImage(film.image, 0, i * film.height, film.width, film.height, 0, 0, film.width, film.height);
  }
}

// glide moves the picture to where it is let go.
function glide(to, then) {
  cancelAnimationFrame(spin);
  const from = amount, start = performance.now(), time = still() ? 1 : 450;
  const go = (now) => {
    const k = Math.min(1, (now - start) / time), eased = 1 - (1 - k) ** 3;
    see(from + (to - from) * eased);
    if (k < 1) spin = requestAnimationFrame(go);
    else { tell(); then?.(); }
  };
  spin = requestAnimationFrame(go);
}

// next is the part that is shown after the one that is turned to; nothing: the picture as it is.
const next = () => turns()[turns().indexOf(at) + 1];
const asItIs = () => parts.find((p) => p.as === "identity");

function tell() {
  turned.textContent = !isTurned() ? "Turn it" : next() === undefined ? "Turn it back" : `Now ${words(nameOf(parts[next()]))}`;
  const says = isTurned() ? `Turned (${words(nameOf(parts[at]))}): ${parts[at].prompt}` : `As it is: ${asItIs()?.prompt ?? "–"}`;
  $("says").textContent = says;
  say(says);
  const on = isTurned() ? at : parts.findIndex((p) => p.as === "identity");
  for (const e of looks.children) e.setAttribute("aria-pressed", String(Number(e.value) === on));
}

// over turns the picture to the next view, and after the last one back.
function over() {
  if (!isTurned()) show(at);
  else if (next() === undefined) { glide(0, () => { if (at !== turns()[0]) take(turns()[0]); }); }
  else show(next());
}

// show turns the picture to a part's view, from another one by way of the picture as it is.
function show(i) {
  const to = async () => { if (i !== at) take(i); await ready(); glide(1); };
  if (i !== at && Math.abs(amount) > 0.01) glide(0, to); else to();
}

// take has the lever and the pictograms be about another part.
function take(i) {
  at = i;
  film = null;
  see(0);
  fillViews();
  tell();
}

// ready fetches the movement of pieces for the picture that is shown.
async function ready() {
  const x = hand(), c = screen.canvas();
  if (whole(x) || film || !c || !screen.results().length) return;
  try {
    const blob = await new Promise((r) => c.toBlob(r, "image/png"));
    film = await movement(blob, parts[at].as);
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
  const angle = x.angle ?? (x.ring ? ringAngle() : 0);
  if (angle) {
    const degrees = (Math.atan2(at.y, at.x) - Math.atan2(before.y, before.x)) * 180 / Math.PI;
    drag.from += (((degrees + 540) % 360) - 180) / angle;
    drag.at = at;
    by = 0;
  } else if (x.axis === "X") by = (before.y - at.y) / 0.8;
  else by = (at.x - before.x) / 0.8;
  if (Math.hypot(at.x - before.x, at.y - before.y) > 0.01 || angle) drag.moved ||= Math.hypot(at.x - before.x, at.y - before.y) > 0.002;
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
function pictogram(v, c, owner) {
  const x = hands[v];
  if (!whole(x)) { pieces(v, c, owner); return; }
  const at = (a) => ({ transform: x.axis ? `rotate${x.axis}(${180 * a}deg)` : x.angle ? `rotate(${x.angle * a}deg)` : "none", filter: x.negative ? `invert(${a})` : "none" });
  c.getContext("2d").drawImage(signPicture(), 0, 0);
  Object.assign(c.style, at(1));
  const play = () => { if (!still()) c.animate([at(0), at(0), at(1)], { duration: 800, easing: "ease-in-out" }); };
  owner.addEventListener("pointerenter", play);
  owner.addEventListener("focus", play);
}
async function pieces(v, c, owner) {
  sign ??= new Promise((r) => signPicture().toBlob(r, "image/png"));
  if (!signs.has(v)) signs.set(v, sign.then((blob) => movement(blob, v, 16, 96)).catch(() => null));
  const f = await signs.get(v);
  if (!f) return;
  c.width = f.width; c.height = f.height;
  c.style.setProperty("--zoom", f.width / f.picture);
  const show = (i) => { const x = c.getContext("2d"); x.clearRect(0, 0, f.width, f.height); x.drawImage(f.image, 0, i * f.height, f.width, f.height, 0, 0, f.width, f.height); };
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
  parts.forEach((p, i) => {
    if (v?.length && !b.model.texts) { if (!v.includes(p.prompt)) p.prompt = v[[6, 9, 2, 5][i] % v.length]; }
    else if (e?.length) p.prompt ||= e[i % e.length];
  });
}

// more asks for one view more, less for one fewer.
function more() {
  const used = new Set(parts.map(nameOf)), free = known().find((v) => !used.has(v.name));
  if (!free || parts.length >= mostParts) return;
  parts.push({ as: free.name, prompt: "" });
  extra = {};
  at = parts.length - 1;
  changedParts();
}
function less(i) {
  parts.splice(i, 1);
  extra = {};
  at = Math.min(at, parts.length - 1);
  if (parts[at].as === "identity") at = turns()[0];
  changedParts();
}
function changedParts() { film = null; tool.refresh(); change(); }

const known = () => b.model.views.toSorted((a, c) => order(a.name) - order(c.name));
const order = (name) => (Object.keys(hands).indexOf(name) + 100) % 100; // those that are not named here come last

// The pictograms of the views, and the numbers of the one that is chosen.
const grid = h("div", { className: "pictograms", role: "group", "aria-labelledby": "viewLabel" }), numbers = h("div", { className: "pair" });
const viewLabel = h("span", { className: "label", id: "viewLabel" });

function fillViews() {
  viewLabel.textContent = parts.length > 2 ? `How it is turned to show ${parts[at].prompt || "that"}` : "How it is turned";
  if (grid.of !== b.model) {
    grid.of = b.model;
    grid.replaceChildren(...known().map((v) => {
      const c = h("canvas", { width: 48, height: 48, "aria-hidden": "true" });
      const e = button("", () => setView(v.name), { value: v.name, title: v.text });
      e.append(h("span", { className: "sign" }, c), h("span", {}, words(v.name)));
      pictogram(v.name, c, e);
      return e;
    }));
  }
  for (const e of grid.children) e.setAttribute("aria-pressed", String(e.value === nameOf(parts[at])));
  const given = parts[at].as.split(":")[1]?.split(",") ?? [], all = b.model.views.find((v) => v.name === nameOf(parts[at]))?.parameters ?? [];
  const values = all.map((p, i) => Number(given[i] ?? p.default));
  const set = (i, v) => {
    values[i] = v;
    parts[at].as = `${nameOf(parts[at])}:${values.join(",")}`;
    film = null;
    see(0);
    change();
  };
  numbers.replaceChildren(...all.map((p, i) => {
    const says = p.name[0].toUpperCase() + p.name.slice(1), title = p.text;
    const few = p.step ? Array.from({ length: (p.max - p.min) / p.step + 1 }, (_, k) => p.min + k * p.step) : null;
    const input = few ? select(few.map((v) => [v, v]), values[i], (v) => set(i, Number(v)))
      : h("input", { type: "number", min: p.min, max: p.max, step: 1, value: values[i], oninput: (e) => { const v = e.target.valueAsNumber; if (v >= p.min && v <= p.max && Number.isInteger(v)) set(i, v); } });
    input.title = title;
    return labelled(says, input, "illusion.views");
  }));
  numbers.hidden = !all.length;
}

// setView takes another view. A part that has it gets this one's.
function setView(name) {
  const other = parts.find((p) => nameOf(p) === name);
  if (other === parts[at]) return;
  const before = parts[at].as;
  parts[at].as = other?.as ?? name;
  if (other) other.as = before;
  film = null;
  see(0);
  if (parts.length > 2) prompts.build();
  fillViews();
  fillLooks();
  tell();
  change();
}

// fillLooks offers all ways to look at the picture, where there are more than two.
function fillLooks() {
  looks.hidden = parts.length < 3;
  looks.replaceChildren(...parts.map((p, i) => button(p.as === "identity" ? "as it is" : words(nameOf(p)), () => {
    if (p.as === "identity") { glide(0); return; }
    show(i);
  }, { value: i })));
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
  const as = (k) => (told.looks[k] === "identity" ? "as it is" : words(told.looks[k].split(":")[0]));
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
  id: "turn", title: "Turn", key: "t", fits: (m) => m.texts || m.vocabulary?.length > 1,
  asks() {
    texts();
    const fields = parts.map((p, i) => {
      const label = p.as === "identity" ? "As it is" : parts.length > 2 ? words(nameOf(p)) : "Turned";
      const field = prompts.one(label[0].toUpperCase() + label.slice(1), p.prompt, (v) => { p.prompt = v; fillViews(); tell(); }, "illusion.views");
      if (i && parts.length > 2) field.append(h("div", { className: "joined" }, field.lastElementChild, button("✕", () => less(i), { "aria-label": `Without ${label}`, title: "Without this view" })));
      return field;
    });
    if (parts.length < mostParts) fields.push(button("+", more, { className: "icon", title: "One more view", "aria-label": "One more view" }));
    return fields;
  },
  panel() {
    fillViews();
    const counts = [...new Set([8, 32, ...(candidates > 1 && !race ? [candidates] : [])])].sort((x, y) => x - y);
    const how = select([[1, "any picture"], ...counts.map((n) => [n, `the best of ${n}`]), ["race", "the best of 64, in a race"]], race ? "race" : String(candidates), (v) => { race = v === "race"; candidates = race ? 64 : Number(v); write(); change(); });
    how.value = race ? "race" : String(candidates);
    return h("div", {},
      h("div", { className: "field" }, viewLabel, grid), numbers,
      labelled("Keep", how, "illusion.candidates"));
  },
  under() { fillLooks(); return h("div", {}, looks, h("div", { className: "lever" }, turned, lever)); },
  below: () => sheet,
  changedModel() {
    const fitting = new Set(b.model.views.map((v) => v.name));
    parts = parts.filter((p, i) => i === 0 || fitting.has(nameOf(p)) || p.as.includes("+"));
    if (parts.length < 2) parts.push({ as: known()[0]?.name ?? "rotate_180", prompt: "" });
    at = turns()[0];
    extra = {};
  },
  request(r) {
    texts();
    if (parts.some((p) => !p.prompt)) return null;
    delete r.prompts;
    r.illusion = { ...extra, views: parts.map((p) => ({ ...p.more, as: p.as, prompts: [p.prompt] })) };
    if (candidates > 1) { Object.assign(r.illusion, { candidates, keep: 1, race: race || undefined }); delete r.count; }
    return r;
  },
  missing: () => "Say what it shows as it is, and turned.",
  read(r) {
    const v = r.illusion?.views;
    if (!(v?.length >= 2 && v.length <= mostParts) || v.every((p) => p.as === "identity")) return false;
    const { combine, repeats } = r.illusion;
    extra = { combine, repeats };
    parts = v.map(({ as, prompts: all, ...more }) => ({ as, prompt: all?.[0] ?? "", more }));
    at = turns()[0];
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

// The page: forms are built from the model, and every change is drawn.
import * as api from "./api.js";
import * as screen from "./screen.js";
import * as sketch from "./sketch.js";
import * as turn from "./turn.js";

const $ = (id) => document.getElementById(id);
const breath = 150;  // ms after the last change until it is drawn
const quick = 2;     // seconds that a drawing may take to follow every change

const store = {
  get(key) { try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; } },
  set(key, value) { try { sessionStorage.setItem(key, JSON.stringify(value)); } catch { /* private windows may refuse */ } },
};

let models = [];
let model = null;
let tool = "draw";
let s = { prompts: [], negative: "", seed: 0, guidance: 1, steps: 0, sampler: "", count: 1, strength: 0.6, parts: ["", ""], view: "rotate_180", candidates: 1 };
let job = null;      // that is on the bench
let running = false;
let brief = true;    // the job will have ended soon
let wanted = null;   // what is to be drawn after it
let timer = 0;
let seconds = {};    // that the last drawing of each model took
let kept = [];       // the shelf
let opened = "";     // the picture of the shelf that is on the bench

const chance = () => Math.floor(Math.random() * 2 ** 32);
const fast = () => model && (seconds[model.name] ?? (model.bytes < 3e8 ? 0 : 60)) <= quick;
const prompted = () => model.texts || model.vocabulary?.length > 0;
const say = (text) => { $("status").textContent = text; };

// ---- Forms

function button(text, pressed, click) {
  const b = document.createElement("button");
  b.type = "button";
  b.textContent = text;
  if (pressed !== null) b.setAttribute("aria-pressed", pressed);
  b.addEventListener("click", click);
  return b;
}

function buildPrompts() {
  const field = $("prompts");
  field.className = "field wide";
  field.replaceChildren();
  field.hidden = !prompted() || tool === "turn";
  if (field.hidden) return;
  const label = document.createElement("label");
  label.textContent = model.texts ? "Prompt" : "Shows";
  if (model.texts || model.vocabulary.length > 40) {
    const text = document.createElement("textarea");
    text.id = "prompt";
    label.htmlFor = "prompt";
    text.rows = 2;
    text.placeholder = "What the picture shows. A line for each of several";
    text.value = s.prompts.join("\n");
    text.addEventListener("input", () => { s.prompts = text.value.split("\n").map((l) => l.trim()).filter(Boolean); change(); });
    field.append(label, text);
    return;
  }
  label.id = "showsLabel";
  const chips = document.createElement("div");
  chips.className = "chips";
  chips.setAttribute("role", "group");
  chips.setAttribute("aria-labelledby", "showsLabel");
  const press = () => { for (const b of chips.children) b.setAttribute("aria-pressed", b.word ? s.prompts.includes(b.word) : s.prompts.length === model.vocabulary.length); };
  for (const word of model.vocabulary) {
    const b = button(word, false, (e) => {
      if (e.shiftKey || e.ctrlKey || e.metaKey) {
        s.prompts = s.prompts.includes(word) ? s.prompts.filter((p) => p !== word) : [...s.prompts, word];
        if (!s.prompts.length) s.prompts = [word];
      } else s.prompts = [word];
      press();
      change();
    });
    b.word = word;
    b.title = "Shift: several";
    chips.append(b);
  }
  chips.append(button("all", false, () => { s.prompts = [...model.vocabulary]; press(); change(); }));
  press();
  field.append(label, chips);
}

function promptInput(id, value, set) {
  let input;
  if (model.vocabulary?.length) {
    input = document.createElement("select");
    for (const word of model.vocabulary) input.append(new Option(word, word));
  } else {
    input = document.createElement("input");
    input.type = "text";
  }
  input.id = id;
  input.value = value;
  input.addEventListener("input", () => { set(input.value); change(); });
  return input;
}

function row(text, input) {
  const div = document.createElement("div"), label = document.createElement("label");
  label.textContent = text;
  label.htmlFor = input.id;
  div.append(label, input);
  return div;
}

function buildTurned() {
  const field = $("turned");
  field.hidden = tool !== "turn";
  field.className = "field wide";
  if (field.hidden) return;
  if (model.vocabulary?.length) s.parts = s.parts.map((p, i) => model.vocabulary.includes(p) ? p : model.vocabulary[[6, 9][i] % model.vocabulary.length]);
  const view = document.createElement("select");
  view.id = "view";
  for (const v of model.views) if (turn.hands[v.name]) view.append(new Option(turn.hands[v.name].sign + "  " + turn.hands[v.name].text, v.name));
  view.value = s.view;
  if (!view.value) { view.selectedIndex = 0; s.view = view.value; }
  view.addEventListener("input", () => { s.view = view.value; turn.start(s.view); change(); });
  const candidates = document.createElement("select");
  candidates.id = "candidates";
  for (const [n, text] of [[1, "any"], [8, "the best of 8"], [32, "the best of 32"]]) candidates.append(new Option(text, n));
  candidates.value = String(s.candidates);
  candidates.addEventListener("input", () => { s.candidates = Number(candidates.value); change(); });
  const pair = document.createElement("div");
  pair.className = "pair";
  pair.append(
    row("As it is", promptInput("partA", s.parts[0], (v) => { s.parts[0] = v; })),
    row("Turned", promptInput("partB", s.parts[1], (v) => { s.parts[1] = v; })),
    row("How", view), row("Which", candidates),
    button("Turn it", null, () => turn.over()),
  );
  field.replaceChildren(pair);
}

function build() {
  buildPrompts();
  buildTurned();
  $("sheet").hidden = tool !== "edit";
  $("strengthField").hidden = tool !== "edit";
  $("guidanceField").hidden = !prompted();
  $("negativeField").hidden = !prompted();
  $("sampler").replaceChildren(...model.samplers.map((n) => new Option(n, n)));
  for (const b of document.querySelectorAll("[data-tool]")) b.setAttribute("aria-pressed", b.dataset.tool === tool);
  document.querySelector("[data-tool=turn]").hidden = !prompted();
  document.body.dataset.tool = tool;
  if (tool === "edit") sketch.start(model.channels);
  turn.start(tool === "turn" ? s.view : "");
  write();
}

// write shows the settings in the forms.
function write() {
  $("model").value = model.name;
  $("seed").value = s.seed;
  $("guidance").value = s.guidance;
  $("guidanceSays").textContent = s.guidance;
  $("steps").value = s.steps;
  $("stepsSays").textContent = s.steps;
  $("sampler").value = s.sampler;
  $("count").value = s.count;
  $("negative").value = s.negative;
  $("strength").value = s.strength;
  $("strengthSays").textContent = strengthSays();
  $("keep").disabled = !(job?.state === "done" && job.draft);
  $("stop").disabled = !running;
  $("wait").textContent = running || fast() || !seconds[model.name] ? "" : `about ${Math.ceil(seconds[model.name])} s`;
}

function strengthSays() {
  const gone = Math.max(1, Math.floor(s.strength * s.steps + 1e-9));
  const words = s.strength <= 0.25 ? "keeps nearly all of it" : s.strength <= 0.5 ? "keeps the lines" : s.strength <= 0.75 ? "keeps the idea" : s.strength < 1 ? "keeps hardly anything" : "starts from noise alone";
  return `${words}: the last ${gone} of ${s.steps} steps`;
}

function defaults() {
  const d = model.defaults;
  s = { ...s, guidance: d.guidance ?? 1, steps: d.steps, sampler: d.sampler, count: 1, negative: "" };
  $("steps").max = Math.max(100, d.steps);
  if (model.vocabulary?.length) {
    s.prompts = s.prompts.filter((p) => model.vocabulary.includes(p));
    if (!s.prompts.length) s.prompts = [model.vocabulary[chance() % model.vocabulary.length]];
  } else if (!model.texts) s.prompts = [];
}

// request is what the forms say.
function request() {
  const r = { version: 1, model: model.name, seed: s.seed, sampler: s.sampler, steps: s.steps, count: s.count };
  if (prompted()) r.guidance = s.guidance;
  if (prompted() && s.negative && s.guidance !== 1) r.negative = s.negative;
  if (tool === "turn") {
    r.illusion = { views: [{ as: "identity", prompts: [s.parts[0]] }, { as: s.view, prompts: [s.parts[1]] }] };
    if (s.candidates > 1) { r.illusion.candidates = s.candidates; r.illusion.keep = 1; delete r.count; }
    return r;
  }
  if (prompted()) r.prompts = s.prompts;
  if (tool === "edit" && !sketch.isEmpty()) r.edit = { picture: { name: "drawing", data: sketch.data(), fit: "stretch", ink: "light" }, strength: s.strength };
  return r;
}

// read takes the settings of a recipe.
function read(r) {
  const m = models.find((m) => m.name === r.model || r.model.endsWith("/" + m.name));
  if (!m) throw new api.Refused(`This studio has no model ${r.model}.`, "model", 0);
  model = m;
  shape();
  defaults();
  s = { ...s, prompts: r.prompts ?? s.prompts, negative: r.negative ?? "", seed: r.seed ?? s.seed, guidance: r.guidance ?? s.guidance, steps: r.steps || s.steps, sampler: r.sampler || s.sampler, count: r.count || 1 };
  const views = r.illusion?.views;
  if (views?.length === 2 && turn.hands[views[1].as]) {
    tool = "turn";
    s.parts = views.map((v) => v.prompts?.[0] ?? "");
    s.view = views[1].as;
    s.candidates = r.illusion.candidates > 8 ? 32 : r.illusion.candidates > 1 ? 8 : 1;
  } else if (r.edit) {
    tool = "edit";
    s.strength = r.edit.strength ?? 0.6;
  } else tool = "draw";
  build();
}

function shape() { screen.shape(model.width, model.height); }

// ---- Drawing

function blame(error) {
  for (const f of document.querySelectorAll(".field.bad")) f.classList.remove("bad");
  $("error").textContent = error?.message ?? "";
  if (!error?.field) return;
  const field = document.querySelector(`[data-field="${CSS.escape(error.field)}"]`) ?? document.querySelector(`[data-field="${CSS.escape(error.field.split(/[.[]/)[0])}"]`);
  field?.classList.add("bad");
  if (field && $("more").contains(field)) $("more").open = true;
}

// change draws anew after a breath, where the model is fast.
function change() {
  write();
  remember();
  clearTimeout(timer);
  if (tool === "turn" && s.candidates > 1) return;
  if (fast()) timer = setTimeout(() => ask(request(), { draft: true, calm: true }), breath);
}

// ask draws a request now, or when the drawing at hand has ended. calm: the old picture stays until the new one is there.
function ask(r, how) {
  clearTimeout(timer);
  if (running) {
    wanted = [r, how];
    if (!fast() || !brief) stop();
    return;
  }
  run(r, how);
}

async function run(r, how) {
  running = true;
  brief = how.draft && !r.illusion?.candidates;
  blame(null);
  opened = "";
  mark();
  let last = null;
  try {
    job = await api.submit(r, how.draft);
    remember();
    last = await follow(how.calm);
  } catch (e) {
    blame(e);
  }
  running = false;
  if (last) ended(last, how);
  write();
  if (wanted) {
    const next = wanted;
    wanted = null;
    run(...next);
  }
}

async function follow(calm) {
  const id = job.id;
  let began = calm;
  write();
  const last = await api.watch(id, (state) => {
    job = state;
    progress(state);
  }, (frame) => {
    if (calm) return;
    if (!began) { began = true; screen.begin(); }
    screen.live(frame);
  });
  job = last;
  progress(last);
  if (last.state === "done") {
    const film = await api.film(id).catch(() => null);
    await screen.result(last.images, film?.[0]?.images >= last.images.length ? film : null);
  }
  return last;
}

function progress(state) {
  let text = "";
  if (state.state === "queued") text = state.place > 1 ? `${state.place - 1} before it in the queue` : "next in the queue";
  else if (state.state === "running") {
    const stage = { encode: "reading the prompt", judge: "judging candidates", upscale: "enlarging", draw: "drawing" }[state.stage] ?? "drawing";
    text = state.loading ? `loading ${state.loading}: ${Math.round(100 * state.done / Math.max(state.total, 1))} %` : state.total ? `${stage}: ${state.done} of ${state.total}` : stage;
    if (fast() && !state.loading && state.stage !== "judge") text = "";
  }
  $("wait").textContent = text;
}

function ended(state, how) {
  if (state.state === "failed") { blame(state.error); return; }
  if (state.state === "cancelled") { if (!wanted) { $("says").textContent = "stopped"; say("Stopped"); } return; }
  if (state.seconds && !state.request.illusion?.candidates) seconds[model.name] = state.seconds;
  const what = `seed ${state.request.seed} · ${state.seconds.toFixed(1)} s`;
  $("says").textContent = what;
  if (!how.calm) say("Drawn, " + what);
  if (!state.draft) { opened = state.images[0]; shelf(); }
}

function stop() { if (job && running) api.cancel(job.id).catch(() => {}); }

function another() {
  s.seed = chance();
  write();
  remember();
  ask(request(), { draft: fast() });
}

async function keep() {
  if ($("keep").disabled) return;
  try {
    job = await api.keep(job.id);
    opened = job.images?.[0] ?? "";
    write();
    say("Kept");
    await shelf();
  } catch (e) { blame(e); }
}

// ---- Shelf

async function shelf() {
  const { pictures, total } = await api.gallery();
  kept = pictures;
  fill(total);
}

function fill(total) {
  $("total").textContent = total || "";
  $("empty").hidden = total > 0;
  $("older").hidden = kept.length >= total;
  const old = new Map([...$("shelf").children].map((li) => [li.dataset.name, li]));
  $("shelf").replaceChildren(...kept.map((p) => old.get(p.name) ?? place(p)));
  mark();
}

function place(p) {
  const li = document.createElement("li"), image = new Image(p.width, p.height);
  li.dataset.name = p.name;
  const title = `${p.shows.join(", ") || p.model}, seed ${p.seed}`;
  image.loading = "lazy";
  image.alt = title;
  image.src = p.url;
  const open = document.createElement("button");
  open.type = "button";
  open.className = "open";
  open.title = title;
  open.append(image);
  open.addEventListener("click", () => show(p).catch(blame));
  const load = document.createElement("a");
  load.href = p.url;
  load.download = "unnoise-" + p.name;
  load.textContent = "⤓";
  load.setAttribute("aria-label", "Download " + title);
  const again = button("↻", null, () => show(p, true).catch(blame));
  again.setAttribute("aria-label", "Again with another seed: " + title);
  again.title = "Again with another seed";
  const away = button("✕", null, async () => {
    if (away.textContent === "✕") { away.textContent = "sure?"; setTimeout(() => { away.textContent = "✕"; }, 3000); return; }
    try { await api.remove(p.name); await shelf(); } catch (e) { blame(e); }
  });
  away.setAttribute("aria-label", "Delete " + title);
  const deeds = document.createElement("div");
  deeds.className = "deeds";
  deeds.append(again, load, away);
  li.append(open, deeds);
  return li;
}

function mark() {
  for (const li of $("shelf").children) li.querySelector(".open").setAttribute("aria-current", kept.find((p) => p.name === li.dataset.name)?.url === opened);
}

// show puts a picture of the shelf on the bench, with its settings; again: and draws it with another seed.
async function show(p, again = false) {
  const blob = await (await fetch(p.url)).blob();
  await take(blob, again);
  opened = again ? "" : p.url;
  mark();
}

// take reads a picture's recipe.
async function take(blob, again = false) {
  const r = await api.recipe(blob);
  read(r);
  if (r.edit) sketchFrom(r.edit.picture.data);
  remember();
  if (again) { s.seed = chance(); write(); ask(request(), { draft: fast() }); return; }
  const url = URL.createObjectURL(blob);
  await screen.result([url], null);
  URL.revokeObjectURL(url);
  $("says").textContent = `seed ${r.seed}`;
  const several = (r.prompts?.length || 1) * (r.count || 1) > 1 || r.vary || r.illusion?.candidates;
  if (fast() && !several) ask({ ...r, model: model.name, revision: undefined }, { draft: true, calm: true });
}

async function sketchFrom(data) {
  sketch.beneath(await api.picture("data:image/png;base64," + data));
}

async function drop(file) {
  blame(null);
  try {
    await take(file);
  } catch (e) {
    if (e.status !== 422) { blame(e); return; }
    try { // it is another picture: to be edited
      const url = URL.createObjectURL(file);
      const image = await api.picture(url);
      tool = "edit";
      build();
      sketch.beneath(image);
    } catch { blame(e); }
  }
}

// ---- Page

function remember() { store.set("bench", { tool, s, model: model.name, job: job?.id }); }

function choose(t) { tool = t; build(); change(); }

function listen() {
  $("model").addEventListener("change", () => {
    model = models.find((m) => m.name === $("model").value);
    if (tool === "turn" && !prompted()) tool = "draw";
    shape();
    defaults();
    build();
    change();
  });
  for (const b of document.querySelectorAll("[data-tool]")) b.addEventListener("click", () => choose(b.dataset.tool));
  const numbers = { seed: [0, 2 ** 32 - 1], guidance: [0, 15], steps: [1, 1000], count: [1, 16], strength: [0.05, 1] };
  for (const [name, [low, high]] of Object.entries(numbers)) {
    $(name).addEventListener("input", () => {
      const v = Number($(name).value);
      if ($(name).value === "" || !(v >= low && v <= high)) return;
      s[name] = v;
      const at = document.activeElement === $(name) ? $(name).value : null;
      change();
      if (at !== null) $(name).value = at;
    });
  }
  $("sampler").addEventListener("input", () => { s.sampler = $("sampler").value; change(); });
  $("negative").addEventListener("input", () => { s.negative = $("negative").value; change(); });
  $("dice").addEventListener("click", another);
  $("keep").addEventListener("click", keep);
  $("stop").addEventListener("click", stop);
  $("form").addEventListener("submit", (e) => { e.preventDefault(); another(); });
  $("older").addEventListener("click", async () => {
    try {
      const { pictures, total } = await api.gallery(kept.at(-1)?.name);
      kept = [...kept, ...pictures];
      fill(total);
    } catch (e) { blame(e); }
  });
  for (const b of document.querySelectorAll("[data-copy]")) {
    b.addEventListener("click", async () => {
      const text = JSON.stringify(job?.request ?? request());
      const quoted = text.replaceAll("'", "'\\''");
      await navigator.clipboard.writeText(b.dataset.copy === "json" ? text : `curl -H 'Content-Type: application/json' -d '${quoted}' ${location.origin}/api/jobs`);
      say("Copied");
    });
  }
  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    store.set("theme", document.documentElement.dataset.theme);
  });
  $("keys").addEventListener("click", () => $("map").showModal());
  document.addEventListener("dragover", (e) => { e.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", (e) => { if (!e.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    document.body.classList.remove("dropping");
    const file = e.dataTransfer.files[0];
    if (file) drop(file);
  });
  document.addEventListener("paste", (e) => {
    const file = [...e.clipboardData.files].find((f) => f.type.startsWith("image/"));
    if (file) drop(file);
  });
  sketch.whenChanged(() => change());
  turn.whenTurned(() => { $("says").textContent = turn.isTurned() ? `turned: ${s.parts[1]}` : `as it is: ${s.parts[0]}`; say($("says").textContent); });
  document.addEventListener("keydown", key);
}

function key(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || $("map").open) return;
  const typing = e.target.matches("textarea, select, input:not([type=range])");
  if (typing) return;
  const deeds = {
    n: another, k: keep, s: stop, p: screen.toggle, ",": () => screen.step(-1), ".": () => screen.step(1), "?": () => $("map").showModal(),
    1: () => screen.setView("x"), 2: () => screen.setView("x0"), 3: () => screen.setView("epsilon"),
    d: () => choose("draw"), e: () => choose("edit"), t: () => prompted() && choose("turn"),
    r: () => tool === "turn" && turn.over(), z: () => tool === "edit" && sketch.undo(),
  };
  const deed = deeds[e.key.toLowerCase()];
  if (deed) { e.preventDefault(); deed(); }
}

async function start() {
  const theme = store.get("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  listen();
  try {
    models = (await api.models()).filter((m) => !m.upscales);
  } catch (e) { blame(e); return; }
  $("model").replaceChildren(...models.map((m) => new Option(m.name, m.name)));
  const before = store.get("bench");
  model = models.find((m) => m.name === before?.model) ?? models[0];
  shape();
  if (before && model.name === before.model) {
    s = { ...s, ...before.s };
    tool = before.tool;
    $("steps").max = Math.max(100, model.defaults.steps);
  } else {
    s.seed = chance();
    defaults();
  }
  build();
  shelf().catch(blame);
  const old = before?.job && await api.job(before.job).catch(() => null);
  if (old && ["queued", "running", "done"].includes(old.state)) { // the page was loaded again
    job = old;
    running = true;
    const last = await follow(false).catch((e) => { blame(e); return null; });
    running = false;
    if (last) ended(last, { calm: true });
    write();
  } else if (fast() && (!model.texts || s.prompts.length)) ask(request(), { draft: true });
}

start();

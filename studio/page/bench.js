// The bench: what is asked for, and what is drawn of it.
import { $, h, button, store, chance, say } from "./dom.js";
import * as api from "./api.js";
import * as screen from "./screen.js";

export const breath = 150;   // ms after the last change until it is drawn
const quick = 2.5;           // seconds that a drawing may take to follow every change
const worth = 0.3;           // seconds from which fewer steps are drawn first, while the hand moves

// b is the state of the page.
export const b = {
  models: [], seconds: [], model: null, // seconds are second stages tools: [], tool: null,
  s: { prompts: [], negative: "", seed: chance(), guidance: 1, steps: 0, sampler: "", count: 1, upscale: null },
  branch: null,  // { from, at, image } that the drawing goes on from
  job: null,     // that is on the bench
  running: false,
  opened: "",    // the address of the shelf's picture that is on the bench
};

const hooks = { write: [], drawn: [], kept: [] };
export const on = (name, call) => hooks[name].push(call);
const tell = (name, ...of) => { for (const call of hooks[name]) call(...of); };

let asked = "";        // the last request that was drawn
let wanted = null;     // what is to be drawn after the job
let current = null;    // how the job is drawn
let timer = 0, changedAt = 0;
const rates = store.get("rates") ?? {}; // seconds of each model for a step of an image

export const prompted = () => b.model.texts || b.model.vocabulary?.length > 0;

// units are how much work a request is: evaluations of the network for one image.
function units(r) {
  const i = r.illusion, looks = Math.max((i?.views ?? i?.bands ?? []).filter((p) => !p.picture).length, 1);
  const several = (r.vary ?? []).reduce((n, v) => n * v.values.length, 1);
  const steps = (r.steps || b.model.defaults.steps) * (r.edit ? r.edit.strength ?? 0.6 : 1) * (r.inpaint?.method === "repaint" ? 3 : 1);
  const drawn = steps * looks * (r.guidance === 1 ? 1.2 : 2);
  if (i?.candidates) return candidates(i, drawn, looks);
  return Math.max(r.prompts?.length ?? 1, 1) * (r.count || 1) * several * drawn;
}

// candidates are drawn and judged. Without a race the best quarter is then noised to 60 % of the path and drawn on in place of the others, and all are judged again; a race judges after 40 % and finishes a tenth.
function candidates(i, drawn, looks) {
  const n = i.candidates, tenth = Math.max(1, Math.ceil(n / 10)), reader = (i.judge ?? (b.model.name === "mnist-class" ? "reader" : "model")) === "reader";
  const rounds = i.refine ?? (i.race || !b.model.vocabulary?.length ? 0 : reader ? 8 : 3);
  const told = b.model.vocabulary?.length || looks + 1, rivals = Math.min(told, 4); // prompts of a look, at first and later
  const judged = (draws) => reader ? 0 : looks * (told + (draws / 2 - 1) * rivals + draws / 4 * rivals);
  if (i.seeds) return n * drawn;
  if (i.race) return n * (0.4 * drawn + judged(16)) + tenth * (drawn + judged(16)) + (i.keep || 1) * drawn;
  return n * (drawn + judged(rounds ? 4 : 16)) + rounds * Math.floor(0.75 * n) * 0.6 * drawn + (rounds ? n * (judged(4) * (rounds - 1) + judged(16)) : 0) + (i.keep || 1) * drawn;
}

// rate is under which name it is remembered how quick a request is. Many images at once take less time each.
const rate = (r) => [b.model.name, r.upscale?.model, r.illusion?.candidates ? "candidates" : ""].filter(Boolean).join(" ");

// estimate is how many seconds a request will take; undefined: not known yet.
export function estimate(r) {
  const known = rates[rate(r)] ?? (r.upscale ? undefined : rates[b.model.name]);
  return known === undefined ? undefined : known * units(r);
}

export const follows = (r) => r && !r.illusion?.candidates && (estimate(r) ?? (!r.upscale && b.model.bytes && b.model.bytes < 3e8 ? units(r) / 600 : 60)) <= quick;

// quickly is what of a request is drawn while it changes: the second stage may wait for the button.
export function quickly(r) {
  if (!r || follows(r)) return r;
  const { upscale, ...small } = r;
  return upscale && follows(small) ? small : null;
}

// request is what the forms say. Nothing: there is nothing to draw yet.
export function request() {
  const s = b.s, r = { version: 1, model: b.model.name, seed: s.seed, sampler: s.sampler, steps: s.steps, count: s.count };
  if (prompted()) {
    r.prompts = s.prompts;
    r.guidance = s.guidance;
    if (s.negative && s.guidance !== 1) r.negative = s.negative;
  }
  if (b.branch && b.tool.branches) r.branch = b.branch;
  if (s.upscale) r.upscale = s.upscale;
  const done = b.tool.request ? b.tool.request(r) : r;
  if (!done || (done.prompts?.length === 0 && b.model.texts && !done.strip)) return null;
  return done;
}

// change draws anew after a breath, where the model is quick: with few steps while the hand moves, with all when it rests.
export function change() {
  write();
  const r = quickly(request()), now = performance.now(), moves = now - changedAt < 3 * breath;
  changedAt = now;
  clearTimeout(timer);
  if (!r) return;
  if (moves && !b.running) {
    const less = few(r);
    if (less) draw(less, { draft: true, calm: true, few: true });
  }
  timer = setTimeout(() => draw(r, { draft: true, calm: true }), breath);
}

function few(r) {
  if ((estimate(r) ?? 0) < worth || r.branch || r.strip || r.vary) return null;
  const steps = Math.max(5, Math.ceil(r.steps / 4));
  if (steps >= r.steps || (r.edit && Math.floor((r.edit.strength ?? 0.6) * steps + 1e-9) < 1)) return null;
  return { ...r, steps, upscale: undefined };
}

// draw draws a request now, or when the drawing at hand has ended. calm: the old picture stays until the new one is there.
export function draw(r, how) {
  clearTimeout(timer);
  if (!r) return;
  if (!b.running) { run(r, how); return; }
  wanted = [r, how];
  if (!current?.few && !how.few) stop(); // a short one may end
}

async function run(r, how) {
  how.calm &&= screen.results().length > 0; // nothing is there that could stay
  b.running = true;
  current = how;
  const patience = setTimeout(() => { current = { ...current, long: true }; write(); }, 1000);
  asked = JSON.stringify(r);
  blame(null);
  if (!how.calm) $("says").textContent = "\u00a0";
  b.opened = "";
  let last = null;
  try {
    b.job = await api.submit(r, how.draft);
    write();
    last = await follow(how);
  } catch (e) {
    asked = "";
    if (e.status === 0) lostRequest = true;
    if (e.status !== 429 || !wanted) blame(e);
  }
  clearTimeout(patience);
  b.running = false;
  if (last) ended(last, how);
  write();
  if (wanted) {
    const next = wanted;
    wanted = null;
    run(...next);
  }
}

// follow shows a job until it has ended.
export async function follow(how) {
  const { calm } = how;
  let began = false, first = null, latest = null;
  const last = await api.watch(b.job.id, (state) => {
    b.job = state;
    progress(state, how);
  }, (frame) => {
    latest = { index: frame.index, at: performance.now() };
    first ??= latest;
    if (calm) { if (how.few) return; b.tool.frame?.(frame); return; }
    if (!began) { began = true; screen.begin(layout(b.job.request)); }
    screen.live(frame);
    b.tool.frame?.(frame);
  }, (sheet) => b.tool.candidates?.(sheet, b.job.id));
  b.job = last;
  if (last.state !== "done") return last;
  learn(last, first, latest);
  const film = how.few ? null : await api.film(last.id).catch(() => null);
  if (!b.tool.result?.(last, film)) await screen.result(last.images, film?.[0]?.images >= last.images.length ? film : null, layout(last.request));
  return last;
}

// learn measures how quick a model is: by its steps, because the first drawing reads and compiles it too. With a second stage, and with candidates, it is the whole that counts. What was asked for counts, without the seeds that were found.
function learn(job, first, latest) {
  const r = { ...job.request, illusion: JSON.parse(asked || "{}").illusion ?? job.request.illusion }, n = latest ? latest.index - first.index : 0;
  if (r.vary) return;
  const whole = r.upscale || r.illusion?.candidates;
  if (!whole && n < 2) return;
  const took = whole ? job.seconds / units(r) : (latest.at - first.at) / 1000 / (units(r) * n / latest.index), before = rates[rate(r)];
  rates[rate(r)] = before === undefined ? took : Math.min(took, 0.5 * before + 0.5 * took);
  store.set("rates", rates);
}

// resume takes a job up that was there before the page was loaded.
export async function resume(job) {
  b.job = job;
  b.running = true;
  current = { draft: job.draft, calm: false };
  write();
  const last = await follow(current).catch((e) => { blame(e); return null; });
  b.running = false;
  if (last) ended(last, { calm: true });
  write();
  if (wanted) { const next = wanted; wanted = null; run(...next); }
}

// same reports whether a recipe's name of a model is that of one of the studio.
export const same = (name, recipes) => recipes === name || recipes.endsWith("/" + name) || recipes.includes("/" + name + "/");

// layout is how a request's pictures stand beside each other.
export function layout(r) {
  const l = { inherited: r.branch?.at ?? 0, size: r.upscale && b.seconds.find((m) => same(m.name, r.upscale.model)) };
  const vary = r.vary ?? [], n = Math.max(r.prompts?.length || 1, 1);
  if (vary.length) {
    const last = vary.at(-1);
    l.columns = last.values.length;
    l.columnLabels = last.values.map((v) => `${last.field} ${v}`);
    l.rowLabels = vary.length > 1 ? vary[0].values.map((v) => `${vary[0].field} ${v}`) : [];
  } else if (n > 1) {
    const count = r.count || 1, rounds = r.order === "rounds";
    l.captions = Array.from({ length: n * count }, (_, i) => r.prompts[rounds ? i % n : Math.floor(i / count)]);
    if (count > 1) l.columns = rounds ? n : count;
  }
  return l;
}

function progress(state, how) {
  let text = "";
  if (state.state === "queued") text = state.waits ? state.waits : state.place > 1 ? `${state.place - 1} before it in the queue` : how.calm ? "" : "next in the queue";
  else if (state.state === "running") {
    const stage = { encode: "reading the prompt", judge: "judging candidates", upscale: "enlarging", draw: "drawing" }[state.stage] ?? "drawing";
    text = state.loading ? `loading ${state.loading}: ${Math.round(100 * state.done / Math.max(state.total, 1))} %` : state.total ? `${stage}: ${state.done} of ${state.total}` : stage;
    if (how.calm && !state.loading && state.stage !== "judge") text = "";
  }
  $("wait").textContent = text;
  document.body.classList.toggle("drawing", !api.over(state) && !how.calm);
}

function ended(state, how) {
  $("wait").textContent = "";
  document.body.classList.remove("drawing");
  if (state.state === "failed") { blame(state.error); return; }
  if (state.state === "cancelled") { if (!wanted) { $("says").textContent = "Stopped"; say("Stopped"); } return; }
  const r = state.request;
  const what = how.few ? `${r.steps} steps at first` : `Seed ${r.seed} · ${state.seconds.toFixed(1)} s`;
  $("says").textContent = state.warnings?.length ? state.warnings.at(-1) : what;
  if (!how.calm) say("Drawn. " + what);
  if (!state.draft) { b.opened = state.images[0]; tell("kept"); }
  tell("drawn", state, how);
}

export function stop() { if (b.job && b.running) api.cancel(b.job.id).catch(() => {}); }

export function another() {
  b.s.seed = chance();
  write();
  draw(request() ?? refuse(), { draft: true, calm: follows(request()) });
}

function refuse() { blame({ field: "prompts", message: b.tool.missing?.() ?? "Say what the picture shows." }); return null; }

// isDrawn reports whether what the forms say is what was drawn last.
const isDrawn = (r) => r && asked === JSON.stringify(r);

// back draws what was asked for while the studio was gone.
let lostRequest = false;
export function back() {
  if (lostRequest) now(); else change();
  lostRequest = false;
}

// go does what its button says: it draws what the forms say, or where that is done the same with another seed.
let anew = false;
export function go() { if (anew) another(); else now(); }

// now draws what the forms say, without waiting for a breath.
export function now() { draw(request() ?? refuse(), { draft: true, calm: follows(request()) }); }

export async function keep() {
  if ($("keep").disabled) return;
  try {
    b.job = await api.keep(b.job.id);
    b.opened = b.job.images?.[0] ?? "";
    write();
    say("Kept");
    tell("kept");
  } catch (e) { blame(e); }
}

// branch goes on from the moment that the strip stands at.
export function branch() {
  const at = screen.moment();
  if ($("branch").disabled || !at) return;
  b.branch = { from: b.job.request, at: at.at, image: Math.max(screen.focused(), 0) };
  b.s.count = 1;
  say(`Goes on from step ${at.at}. Change the prompt or the seed.`);
  return true;
}

// blame shows an error at its field.
export function blame(error) {
  for (const f of document.querySelectorAll(".bad")) f.classList.remove("bad");
  const text = error?.message ?? "", command = error?.command;
  $("error").replaceChildren(text && text[0].toUpperCase() + text.slice(1));
  if (command) $("error").append(h("code", {}, command), button("Copy", (e) => navigator.clipboard.writeText(command).then(() => { e.target.textContent = "Copied"; say("Copied"); }, () => { e.target.textContent = "The browser refused"; })));
  $("error").hidden = !text;
  if (!error?.field) return;
  const find = (name) => [...document.querySelectorAll(`[data-field="${CSS.escape(name)}"]`)].find((f) => !f.closest("[hidden]"));
  const names = error.field.split(/[.[]/);
  let field = null;
  for (let n = names.length; n > 0 && !field; n--) field = find(names.slice(0, n).join("."));
  field?.classList.add("bad");
  if (field && $("more").contains(field)) $("more").open = true;
}

// write shows the settings in the forms.
export function write() {
  const s = b.s;
  for (const name of ["seed", "guidance", "steps", "sampler", "count", "negative"]) {
    if (document.activeElement !== $(name) || $(name).type === "range") $(name).value = s[name];
  }
  $("model").value = b.model.name;
  $("larger").value = s.upscale?.model ?? "";
  $("guidanceSays").textContent = s.guidance;
  $("stepsSays").textContent = s.steps;
  $("negative").disabled = s.guidance === 1;
  const r = request(), takes = r && estimate(r);
  const known = b.job?.state === "done" && !b.running;
  $("keep").disabled = !(known && b.job.draft);
  $("keep").textContent = known && !b.job.draft && !b.tool.own ? "Kept" : "Keep";
  $("stop").hidden = !b.running || Boolean(current?.calm && !current.long);
  anew = isDrawn(r) || (follows(r) && !b.branch);
  $("go").textContent = (anew ? "Another" : "Draw") + (takes > quick ? ` · ${span(takes)}` : "");
  $("from").hidden = !b.branch || !b.tool.branches;
  if (b.branch) $("fromSays").textContent = `Goes on from step ${b.branch.at} of seed ${b.branch.from.seed}. Change the prompt or the seed.`;
  $("branch").disabled = !known || !screen.moment() || !b.job.request || Boolean(b.job.request.inpaint || b.job.request.illusion?.candidates || b.job.request.strip || b.job.request.vary || b.job.request.upscale) || screen.focused() < 0;
  store.set("bench", { tool: b.tool.id, s, model: b.model.name, job: b.job?.id, branch: b.branch });
  tell("write");
}

const span = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`);

// defaults takes a model's.
export function defaults() {
  const d = b.model.defaults, s = b.s;
  Object.assign(s, { guidance: d.guidance ?? 1, steps: d.steps, sampler: d.sampler, count: 1, negative: "", upscale: b.model.larger ? { model: b.model.larger } : null });
  $("steps").max = Math.max(100, d.steps);
  b.branch = null;
  if (b.model.vocabulary?.length) {
    s.prompts = s.prompts.filter((p) => b.model.vocabulary.includes(p));
    if (!s.prompts.length) s.prompts = [b.model.vocabulary[chance() % b.model.vocabulary.length]];
  } else if (!b.model.texts || s.prompts.every((p) => b.models.some((m) => m.vocabulary?.includes(p)))) s.prompts = [];
}


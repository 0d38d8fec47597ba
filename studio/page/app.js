// The page: tools, models, keys, and what is dropped on it.
import { $, h, button, store, lasting, chance, say } from "./dom.js";
import * as api from "./api.js";
import * as screen from "./screen.js";
import * as shelf from "./shelf.js";
import * as prompts from "./prompts.js";
import { b, on, change, write, draw, go, now, back, another, keep, stop, branch, blame, defaults, request, follows, quickly, resume, prompted, same } from "./bench.js";
import drawTool from "./draw.js";
import edit from "./edit.js";
import fill from "./fill.js";
import turn from "./turn.js";
import blend from "./blend.js";
import watch from "./watch.js";
import train, { whenDrawn } from "./train.js";
import reader, { whenOpened } from "./read.js";

b.tools = [drawTool, edit, fill, turn, blend, watch, train, reader];
const fits = (tool) => !tool.fits || tool.fits(b.model);

// ---- Tools

function build() {
  const t = b.tool;
  document.body.dataset.tool = t.id;
  document.body.classList.toggle("wide", Boolean(t.wide));
  for (const e of $("tools").children) {
    const tool = b.tools.find((x) => x.id === e.value);
    e.setAttribute("aria-pressed", String(tool === t));
    e.hidden = !fits(tool);
  }
  const nav = $("tools"), room = nav.getBoundingClientRect(), at = nav.querySelector("[aria-pressed=true]").getBoundingClientRect();
  nav.scrollLeft += Math.max(0, at.right - room.right) + Math.min(0, at.left - room.left); // on a narrow phone
  $("bench").hidden = Boolean(t.own);
  $("own").hidden = !t.own;
  $("own").setAttribute("aria-label", t.title);
  $("own").replaceChildren(...(t.own ? t.page() : []));
  $("sheet").hidden = !t.sheet;
  $("sheet").replaceChildren(...(t.sheet ? t.stage() : []));
  put("beside", t.beside?.());
  put("below", t.below?.());
  put("lever", t.under?.());
  put("panel", t.panel?.());
  prompts.build();
  $("form").hidden = Boolean(t.noForm);
  $("guidanceField").hidden = !prompted();
  $("negativeField").hidden = !prompted() || (b.model.vocabulary?.length > 0 && !b.model.texts);
  $("more").hidden = Boolean(t.noForm);
  $("largerField").hidden = !b.model.second_stages.length;
  $("larger").replaceChildren(new Option("nothing", ""), ...b.model.second_stages.map((n) => new Option(short(n), n)));
  $("sampler").replaceChildren(...b.model.samplers.map((n) => new Option(n, n)));
  $("branch").hidden = Boolean(t.noBranch);
  t.start?.();
  write();
}

function put(id, content) {
  $(id).hidden = !content;
  $(id).replaceChildren(...(content ? [content] : []));
}

for (const t of b.tools) t.refresh = () => { prompts.build(); put("panel", t.panel()); put("lever", t.under?.()); t.start?.(); write(); };

// choose takes another tool.
function choose(t) {
  if (t === b.tool || !fits(t)) return;
  b.tool?.leave?.();
  b.tool = t;
  blame(null);
  build();
  if (t.first) t.first();
  else change();
}

function chooseModel(m) {
  b.model = m;
  for (const t of b.tools) t.changedModel?.();
  if (!fits(b.tool)) { b.tool.leave?.(); b.tool = drawTool; }
  screen.shape(m.width, m.height);
  screen.clear();
  b.job = null;
  defaults();
  if (m.texts && !m.words) {
    m.words = [];
    api.words(m.name).then((words) => {
      m.words = words;
      m.examples = ["heart", "cat", "moon", "tree", "apple", "star"].filter((w) => words.length < 4000 && words.includes(w)).map((w) => "a " + w);
      if (b.model !== m) return;
      if (!b.s.prompts.length && m.examples.length) b.s.prompts = [m.examples[0]];
      build();
      change();
    }, () => {});
  }
}

// ---- Recipes

// read takes the settings of a recipe.
async function read(r) {
  const m = b.models.find((x) => same(x.name, r.model));
  if (!m) throw await lacks(r.model);
  b.tool.leave?.();
  if (m !== b.model) chooseModel(m);
  defaults();
  Object.assign(b.s, { prompts: r.prompts ?? b.s.prompts, negative: r.negative ?? "", seed: r.seed ?? b.s.seed, guidance: r.guidance ?? b.s.guidance, steps: r.steps || b.s.steps, sampler: r.sampler || b.s.sampler, count: r.count || 1, upscale: null });
  if (r.upscale) {
    const larger = m.second_stages.find((n) => same(n, r.upscale.model));
    if (!larger) throw await lacks(r.upscale.model);
    b.s.upscale = { ...r.upscale, model: larger, revision: undefined };
  }
  b.branch = r.branch ?? null;
  const given = r.edit ?? r.inpaint ?? r.strip, image = given && await api.picture("data:image/png;base64," + given.picture.data);
  const hole = r.inpaint?.mask.data && await api.picture("data:image/png;base64," + r.inpaint.mask.data);
  b.tool = b.tools.find((t) => t !== drawTool && t.read?.(r, image, hole)) ?? drawTool;
  if (b.tool === drawTool) drawTool.read(r);
  build();
}

// lacks is the error that a model is not here, with how to get it.
async function lacks(name) {
  const [source] = await api.missing(name);
  const { text, command } = source;
  return Object.assign(new api.Refused(`${name} is not in this studio. ${text} ${command ? "Fetch it, and s" : "S"}tart the studio with --models ${name}.`, "model", 0), { command });
}

// exact is a recipe that was read, with the names that models have here.
const exact = (r) => ({ ...r, model: b.model.name, revision: undefined, upscale: b.s.upscale ?? undefined });

// take shows a picture with its settings, and draws it again where that is quick, so that its steps are there.
async function take(blob, url = "", anew = false) {
  const r = await api.recipe(blob);
  await read(r);
  if (anew) { another(); return; }
  await screen.result([url || URL.createObjectURL(blob)], null);
  b.job = null;
  b.opened = url;
  $("says").textContent = `Seed ${r.seed}`;
  write();
  shelf.mark();
  b.tool.drawn?.();
  const several = (r.prompts?.length || 1) * (r.count || 1) > 1 || r.vary || r.illusion?.candidates;
  const again = exact(r);
  if (!several && follows(again)) { draw(again, { draft: true, calm: true }); b.opened = url; shelf.mark(); }
}

async function open(p, anew) {
  try { await take((await api.recipeAt(p.url)).blob, p.url, anew); } catch (e) { blame(e); }
}

// opened takes the recipe of a picture of the write-up, and draws it.
async function opened(url) {
  blame(null);
  try {
    const { recipe } = await api.recipeAt(url);
    await read(recipe);
    if (b.tool.own) now(); else draw(exact(recipe), { draft: true, calm: false });
  } catch (e) { blame(e); }
}

// dropped takes a file: a picture of the studio brings its settings, another one is a photo for the tool at hand.
b.dropped = async (file, photo = false) => {
  blame(null);
  try {
    if (!photo) { await take(file); say("The settings of the picture are back"); return; }
  } catch (e) {
    if (e.status !== 422 && e.status !== 415) { blame(e); return; }
  }
  try {
    const image = await api.pictureOf(file);
    if (!b.tool.photo) choose(edit);
    b.tool.photo(image);
  } catch (e) { blame(e); }
};

async function copy(what) {
  const r = { ...(b.job?.state === "done" ? b.job.request : request()) };
  const text = JSON.stringify(r), quoted = "'" + text.replaceAll("'", "'\\''") + "'";
  const forms = { json: text, curl: `curl -H 'Content-Type: application/json' -d ${quoted} ${location.origin}/api/jobs`, line: commandLine(r) };
  try { await navigator.clipboard.writeText(forms[what]); say("Copied"); $("says").textContent = "Copied"; } catch { $("says").textContent = "The browser refused to copy"; }
}

// commandLine writes a recipe as what one types in a terminal. What is not a word there comes from a file.
function commandLine(r) {
  const q = (v) => (/^[\w.,:/=-]+$/.test(String(v)) ? v : "'" + String(v).replaceAll("'", "'\\''") + "'");
  const flags = { model: r.model, prompt: r.prompts?.length ? r.prompts : undefined, negative: r.negative || undefined, seed: r.seed, sampler: r.sampler, steps: r.steps, guidance: r.guidance, count: r.count > 1 ? r.count : undefined, upscale: r.upscale?.model ?? (b.model.larger ? "none" : undefined) };
  const line = [];
  for (const [k, v] of Object.entries(flags)) for (const one of Array.isArray(v) ? v : [v]) if (one !== undefined) line.push(`--${k} ${q(one)}`);
  if (r.edit || r.inpaint || r.branch || r.strip || r.vary || r.illusion?.bands || r.illusion?.candidates || b.tool.own) return `unnoise again PICTURE.png   # the picture that Download gives; --seed 8 draws another`;
  if (r.illusion) return `unnoise anagram ${r.illusion.views.map((p) => `--view ${p.as}=${q(p.prompts[0])}`).join(" ")} ${line.join(" ")}`;
  return `unnoise generate ${line.join(" ")}`;
}

// ---- Page

const keys = [
  ["Enter", "draw"], ["N", "another seed", another], ["K", "keep the picture on the shelf", keep], ["S", "stop", stop],
  ["1", "x_t, what the sampler holds", () => screen.setView("x")], ["2", "x̂_0, what it expects", () => screen.setView("x0")], ["3", "ε, what it takes for noise", () => screen.setView("epsilon")],
  [",", "a step back", () => screen.step(-1)], [".", "a step on", () => screen.step(1)], ["P", "play the steps", () => screen.toggle()],
  ["B", "branch from here", () => branchHere()], ["/", "to the prompt", () => document.querySelector("#prompts textarea, #prompts button, #panel input, #panel select")?.focus()],
  ["Z", "undo a stroke; with Shift: redo (Edit, Fill)"], ["[ ]", "a smaller, a larger brush (Edit, Fill)"], ["R", "turn it (Turn), walk away (Blend)"], ["← →", "less noise, more noise (Watch)"], ["?", "this map", () => $("map").showModal()],
];

function branchHere() {
  if (!branch()) return;
  if (!b.tool.branches) { b.tool.leave?.(); b.tool = drawTool; build(); }
  b.s.seed = chance();
  change();
  if (!follows(request())) write();
  document.querySelector("#prompt")?.focus();
}

function key(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || $("map").open || e.defaultPrevented) return;
  if (e.target.matches("textarea, select, input:not([type=range], [type=file])")) return;
  const k = e.key.toLowerCase();
  if (e.target.matches("input[type=range]") && k.startsWith("arrow")) return;
  const own = b.tool.keys?.[k];
  const tool = b.tools.find((t) => t.key === k);
  const deed = own ?? keys.find(([name, , call]) => call && name.toLowerCase() === k)?.[2] ?? (tool && (() => choose(tool)));
  if (deed) { e.preventDefault(); deed(e); }
}

function listen() {
  $("model").addEventListener("change", async () => {
    const m = b.models.find((x) => x.name === $("model").value);
    blame(null);
    if (m) { chooseModel(m); build(); change(); return; }
    const name = $("model").value;
    $("model").value = b.model.name;
    try { await b.reloadModels(); blame(b.models.some((x) => x.name === name) ? null : await lacks(name)); } catch (e) { blame(e); }
  });
  const numbers = { seed: [0, 2 ** 32 - 1], guidance: [0, 15], steps: [1, 1000], count: [1, 16] };
  for (const [name, [low, high]] of Object.entries(numbers)) {
    $(name).addEventListener("input", () => {
      const v = Number($(name).value);
      if ($(name).value === "" || !(v >= low && v <= high)) return;
      b.s[name] = v;
      change();
    });
  }
  $("larger").addEventListener("input", () => { b.s.upscale = $("larger").value ? { model: $("larger").value } : null; change(); });
  $("sampler").addEventListener("input", () => { b.s.sampler = $("sampler").value; change(); });
  $("negative").addEventListener("input", () => { b.s.negative = $("negative").value.trim(); change(); });
  $("dice").addEventListener("click", another);
  $("keep").addEventListener("click", keep);
  $("stop").addEventListener("click", stop);
  $("branch").addEventListener("click", branchHere);
  $("fromAway").addEventListener("click", () => { b.branch = null; change(); });
  $("form").addEventListener("submit", (e) => { e.preventDefault(); go(); });
  for (const c of document.querySelectorAll("[data-copy]")) c.addEventListener("click", () => copy(c.dataset.copy));
  $("theme").addEventListener("click", () => {
    const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    lasting.set("theme", root.dataset.theme);
  });
  $("mapKeys").append(...[...keys, ...b.tools.map((t) => [t.key.toUpperCase(), t.title])].map(([k, what]) => h("div", {}, h("dt", {}, h("kbd", {}, k)), h("dd", {}, what))));
  $("keys").addEventListener("click", () => $("map").showModal());
  document.addEventListener("dragover", (e) => { e.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", (e) => { if (!e.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    document.body.classList.remove("dropping");
    const file = e.dataTransfer.files[0];
    if (file) b.dropped(file);
  });
  document.addEventListener("paste", (e) => {
    const file = [...e.clipboardData.files].find((f) => f.type.startsWith("image/"));
    if (file) b.dropped(file);
  });
  $("square").addEventListener("click", (e) => { // a click takes a color from the answer
    if (!b.tool.picked || e.target.tagName !== "CANVAS" || $("square").classList.contains("several")) return;
    const c = e.target, r = c.getBoundingClientRect();
    const d = c.getContext("2d").getImageData((e.clientX - r.left) * c.width / r.width, (e.clientY - r.top) * c.height / r.height, 1, 1).data;
    b.tool.picked("#" + [...d].slice(0, 3).map((v) => v.toString(16).padStart(2, "0")).join(""));
  });
  document.addEventListener("keydown", key);
  on("write", () => b.tool.write?.());
  on("kept", () => shelf.load().catch(blame));
  on("drawn", (job, how) => { if (!b.tool.own) b.tool.drawn?.(job, how); shelf.mark(); });
  screen.on("moved", () => { if (b.tool) write(); });
  screen.on("focused", (i) => { b.tool.focused?.(i); b.tool.drawn?.(); });
  shelf.whenOpened(open);
  api.whenLost(lost);
  whenDrawn(drawWith);
}

// lost says that the studio is gone, and waits until it is back.
let waiting = 0;
function lost(is) {
  $("lost").hidden = !is;
  if (!is || waiting) return;
  waiting = setInterval(async () => {
    if (!await api.healthy()) return;
    clearInterval(waiting);
    waiting = 0;
    $("lost").hidden = true;
    blame(null);
    if (!b.models.length) { location.reload(); return; }
    shelf.load().catch(blame);
    back();
  }, 1500);
}

// loadModels reads which models there are: trainings add some.
b.reloadModels = async () => {
  const [missing, all] = [await api.missing(), await api.models()]; // in this order: asking for them finds what was fetched since
  b.seconds = all.filter((m) => m.upscales);
  b.models = all.filter((m) => !m.upscales).map((m) => Object.assign(b.models.find((o) => o.name === m.name) ?? {}, m));
  $("model").replaceChildren(...b.models.map((m) => new Option(short(m.name), m.name)));
  if (missing.length) {
    const group = h("optgroup", { label: "Not here yet" }, ...missing.map((m) => new Option(short(m.model), m.model)));
    $("model").append(group);
  }
  if (b.model) $("model").value = b.model.name;
};
const short = (name) => name.split("/").filter(Boolean).at(-1);

async function drawWith(name) {
  try {
    await b.reloadModels();
    const m = b.models.find((x) => x.name === name);
    if (!m) throw new api.Refused(`The model ${name} can't be opened.`, "model", 0);
    chooseModel(m);
    choose(drawTool);
  } catch (e) { blame(e); }
}

async function start() {
  const theme = lasting.get("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  $("tools").append(...b.tools.map((t) => button(t.title, () => choose(t), { value: t.id, "aria-pressed": "false", title: `${t.title} (${t.key.toUpperCase()})` })));
  listen();
  try {
    const [about] = await Promise.all([api.about(), b.reloadModels()]);
    reader.there = about.writeup;
  } catch (e) { blame(e); return; }
  const before = store.get("bench");
  b.tool = drawTool;
  chooseModel(b.models.find((m) => m.name === before?.model) ?? b.models[0]);
  if (before?.model === b.model.name) {
    Object.assign(b.s, before.s);
    b.branch = before.branch ?? null;
    const tool = b.tools.find((t) => t.id === before.tool);
    if (tool && fits(tool)) b.tool = tool;
  }
  build();
  shelf.load().catch(blame);
  const wanted = whenOpened(opened);
  if (wanted) {
    await opened(wanted);
    return;
  }
  const old = before?.job && await api.job(before.job).catch(() => null);
  if (old && ["queued", "running", "done"].includes(old.state) && !b.tool.own) { // the page was loaded again
    await resume(old);
    return;
  }
  const r = quickly(request());
  if (r) await first(r);
}

// first shows a picture at once, and how it comes to be.
async function first(r) {
  draw(r, { draft: true, calm: true });
  screen.on("drawn", () => { screen.on("drawn", () => {}); screen.arise(); });
}

start();

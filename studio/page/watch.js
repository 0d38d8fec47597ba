// Watch: noise goes into a picture and out again, for any moment of the process.
import { $, h, icon, button, slider, choice, labelled, still } from "./dom.js";
import { b, change, request, draw, follows, prompted, blame } from "./bench.js";
import * as api from "./api.js";
import * as screen from "./screen.js";

let share = 50, told = false, source = null, playing = 0, figures = [], given = false; // given: the picture came with a recipe
const empty = h("p", { className: "over", hidden: true }, "Draw a picture first, or drop a photo here.");
const says = h("output");
const names = [
  ["The picture", "x₀, without noise"],
  ["With noise", "x_t: the forward process"],
  ["Blurred", "what a blur makes of it"],
  ["One step", "what the network expects at once"],
  ["Many steps", "what the sampler comes to"],
];

// take lays a picture in the model's size on the table.
function take(image) {
  const k = Math.max(1, Math.round(256 / b.model.width)), c = h("canvas");
  c.width = k * b.model.width; c.height = k * b.model.height;
  const z = Math.max(c.width / image.width, c.height / image.height), x = c.getContext("2d");
  x.imageSmoothingEnabled = !Number.isInteger(z);
  x.imageSmoothingQuality = "high";
  x.drawImage(image, (c.width - z * image.width) / 2, (c.height - z * image.height) / 2, z * image.width, z * image.height);
  source = c.toDataURL("image/png").split(",")[1];
  show(0, c);
}

function show(i, image, x = 0, w = image.width) {
  const c = figures[i]?.querySelector("canvas");
  if (!c) return;
  const small = w > b.model.width && w % b.model.width === 0;
  c.width = small ? b.model.width : w; c.height = small ? b.model.height : image.height;
  c.classList.toggle("coarse", c.width < 48);
  const context = c.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, x, 0, w, image.height, 0, 0, c.width, c.height);
  figures[i].classList.remove("waits");
}

function write() { says.textContent = share === 0 ? "no noise" : share === 100 ? "noise alone" : `${share} % of the way to noise`; }

let range = null;
function go(by) { share = Math.max(1, Math.min(100, share + by)); range.value = share; write(); change(); }

function toggle(play) {
  if (playing) { clearInterval(playing); playing = 0; play.textContent = "▶"; return; }
  play.textContent = "‖";
  let by = share >= 98 ? -2 : 2;
  playing = setInterval(() => { if (b.running) return; if (share + by > 100 || share + by < 2) by = -by; go(by); }, still() ? 1000 : 220);
}

const tool = {
  id: "watch", title: "Watch", key: "w", own: true, ownPrompts: true,
  page() {
    figures = names.map(([name, text]) => h("figure", { className: "waits" }, h("canvas", { width: b.model.width, height: b.model.height, role: "img", "aria-label": name }), h("figcaption", {}, h("b", {}, name), h("span", {}, text))));
    range = slider(1, 100, 1, share, (v) => { share = v; write(); change(); });
    const play = button("▶", () => toggle(play), { className: "icon", "aria-label": "Let noise come and go", title: "Let noise come and go (P)" });
    const full = button("", () => (document.fullscreenElement ? document.exitFullscreen() : $("own").requestFullscreen().catch(() => {})), { className: "icon", "aria-label": "Full screen", title: "Full screen (F)" });
    full.append(icon("M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"));
    tool.play = () => toggle(play);
    tool.full = () => full.click();
    write();
    const field = labelled("Noise", range, "strip.at", says);
    const at = h("p", { className: "at", id: "watchAt" }, " ");
    return [h("div", { className: "figures" }, ...figures, empty), h("div", { className: "rod" }, play, field, full), at];
  },
  panel() {
    return h("div", {},
      prompted() ? h("div", { className: "field" }, h("span", { className: "label" }, "The network is told"), choice("The network is told", [["no", "nothing"], ["yes", "the prompt"]], told ? "yes" : "no", (v) => { told = v === "yes"; change(); })) : null,
      h("p", { className: "hint" }, "Blur takes noise and picture away alike. One step is the mean of all pictures that it could have been. Many steps decide for one of them."),
      h("div", { className: "copies" }, h("label", { className: "button" }, "A photo…", h("input", { type: "file", accept: "image/*", className: "unseen", onchange: (e) => { if (e.target.files[0]) b.dropped(e.target.files[0], true); } }))));
  },
  start() {
    const c = screen.resultCanvas();
    if (c && !given) take(c);
    else if (source) api.picture("data:image/png;base64," + source).then((image) => show(0, image));
    given = false;
    empty.hidden = Boolean(source);
  },
  changedModel() { source = null; },
  leave() { if (playing) tool.play(); if (document.fullscreenElement) document.exitFullscreen(); },
  request(r) {
    if (!source) return null;
    delete r.count;
    delete r.upscale;
    if (!told || !prompted()) { delete r.prompts; delete r.negative; delete r.guidance; if (b.model.texts) { r.prompts = [""]; r.guidance = 1; } } else r.prompts = r.prompts.slice(0, 1);
    r.strip = { picture: { name: "picture", data: source, fit: "stretch", ink: "light" }, at: [`${share}%`] };
    return r;
  },
  missing: () => "Draw a picture first, or drop a photo here.",
  frame(frame) {
    api.picture(`data:${frame.type};base64,${frame.x}`).then((image) => { if (b.running) show(4, image, 0, image.width / frame.images); }, () => {});
  },
  result(job) {
    Promise.all(job.images.map(api.picture)).then((all) => {
      if (all.length < 5) return;
      for (let i = 0; i < 5; i++) show(i, i === 4 ? all.at(-1) : all[i]);
      const t = Number(job.request.strip.at[0]);
      $("watchAt").textContent = `t = ${Number.isInteger(t) ? t : t.toFixed(2)}`;
    }, blame);
    return true;
  },
  read(r, image) {
    if (!r.strip || !image) return false;
    told = Boolean(r.prompts?.some(Boolean));
    take(image);
    given = true;
    return true;
  },
  photo(image) { take(image); empty.hidden = true; change(); },
  first() { if (source) { const r = request(); if (follows(r)) draw(r, { draft: true, calm: true }); } },
  keys: { arrowleft: () => go(-2), arrowright: () => go(2), p: () => tool.play(), f: () => tool.full() },
};
export default tool;

// The canvas of Edit: strokes with a brush and an eraser, which can be undone.
const $ = (id) => document.getElementById(id);
const canvas = $("drawing"), context = canvas.getContext("2d", { willReadFrequently: true });
const palette = ["#ffffff", "#000000", "#d93a2b", "#f2a33c", "#f5e050", "#3f9b4f", "#2f74c9", "#7a4bb0", "#8a5a3b", "#9aa0a6"];

let strokes = [], current = null, ground = "#000000", under = null, color = "#ffffff", brush = "pen";
let changed = () => {};

export const whenChanged = (call) => { changed = call; };
export const isEmpty = () => strokes.length === 0 && !under;

// start makes the canvas fit a model: light ink on black for one channel, colors on white for three.
export function start(channels) {
  const before = ground;
  ground = channels === 1 ? "#000000" : "#ffffff";
  if (before !== ground) { strokes = []; under = null; }
  color = channels === 1 ? "#ffffff" : "#000000";
  const colors = channels === 1 ? [] : palette;
  $("colors").replaceChildren(...colors.map((c) => {
    const b = document.createElement("button");
    b.type = "button";
    b.style.setProperty("--c", c);
    b.style.background = c;
    b.setAttribute("aria-label", "Color " + c);
    b.setAttribute("aria-pressed", c === color);
    b.addEventListener("click", () => {
      color = c;
      for (const other of $("colors").children) other.setAttribute("aria-pressed", other === b);
      use("pen");
    });
    return b;
  }));
  paint();
}

function use(which) {
  brush = which;
  for (const b of document.querySelectorAll("[data-brush]")) b.setAttribute("aria-pressed", b.dataset.brush === which);
}

function line(stroke, from) {
  context.strokeStyle = context.fillStyle = stroke.color ?? ground;
  context.lineCap = context.lineJoin = "round";
  for (let i = Math.max(from, 0); i < stroke.points.length; i++) {
    const [x, y, width] = stroke.points[i];
    if (i === 0) { context.beginPath(); context.arc(x, y, width / 2, 0, 7); context.fill(); continue; }
    const [px, py] = stroke.points[i - 1];
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(px, py);
    context.lineTo(x, y);
    context.stroke();
  }
}

function paint() {
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (under) {
    const k = Math.max(canvas.width / under.width, canvas.height / under.height);
    context.drawImage(under, (canvas.width - k * under.width) / 2, (canvas.height - k * under.height) / 2, k * under.width, k * under.height);
  }
  for (const s of strokes) line(s, 0);
}

function point(e) {
  const r = canvas.getBoundingClientRect();
  const pressure = e.pointerType === "pen" && e.pressure > 0 ? 0.3 + 1.4 * e.pressure : 1;
  return [(e.clientX - r.left) * canvas.width / r.width, (e.clientY - r.top) * canvas.height / r.height, Number($("size").value) * pressure];
}

canvas.addEventListener("pointerdown", (e) => {
  if (e.button !== 0) return;
  canvas.setPointerCapture(e.pointerId);
  current = { id: e.pointerId, color: brush === "pen" ? color : null, points: [point(e)] };
  strokes.push(current);
  line(current, 0);
});
canvas.addEventListener("pointermove", (e) => {
  if (!current || e.pointerId !== current.id) return;
  const from = current.points.length;
  const all = e.getCoalescedEvents?.() ?? [];
  for (const c of all.length ? all : [e]) current.points.push(point(c));
  line(current, from);
  changed(false);
});
for (const type of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(type, (e) => {
    if (!current || e.pointerId !== current.id) return;
    current = null;
    changed(true);
  });
}

export function undo() {
  if (strokes.length) strokes.pop(); else under = null;
  paint();
  changed(true);
}
export function clear() { strokes = []; under = null; paint(); changed(true); }

// beneath lays a picture under the strokes.
export function beneath(image) { under = image; strokes = []; paint(); changed(true); }

// data is the drawing as a PNG in base64.
export const data = () => canvas.toDataURL("image/png").split(",")[1];

for (const b of document.querySelectorAll("[data-brush]")) b.addEventListener("click", () => use(b.dataset.brush));
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);

// A canvas to paint on: strokes with a brush and an eraser, fill, picking colors, undo, zoom, by pointer or keys.
import { h, button, slider, say } from "./dom.js";

const mostUndo = 40;

// painter makes one. mask: it paints where, and not what. changed is called while a stroke is made (false) and after it (true).
export function painter({ label, mask = false, invites, changed }) {
  const paper = h("canvas", { width: 448, height: 448 }), canvas = h("canvas", { width: 448, height: 448, tabIndex: 0, role: "application", "aria-label": label });
  canvas.setAttribute("aria-roledescription", "canvas: arrow keys move the brush, space paints");
  const ring = h("span", { className: "ring", "aria-hidden": "true" });
  const sheet = h("div", { className: "layers" }, mask ? paper : null, canvas);
  const invitation = invites ? h("p", { className: "invites" }, invites) : null; // while nothing is painted
  const square = h("div", { className: "square painted" }, sheet, invitation, ring);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const p = { canvas, paper, square, color: "#ffffff", ground: "#000000", brush: "pen", size: 34, touched: false };
  let past = [], future = [], stroke = null, zoom = 1, ox = 0, oy = 0, pan = null;
  const pointers = new Map();

  const snapshot = () => ({ data: context.getImageData(0, 0, canvas.width, canvas.height), touched: p.touched });
  const keep = () => { past.push(snapshot()); if (past.length > mostUndo) past.shift(); future = []; tools(); };
  const back = (from, to) => {
    if (!from.length) return;
    to.push(snapshot());
    const s = from.pop();
    if (s.data.width !== canvas.width) return;
    context.putImageData(s.data, 0, 0);
    p.touched = s.touched;
    tools();
    changed(true);
  };
  p.undo = () => back(past, future);
  p.redo = () => back(future, past);

  // start makes the canvas fit a model: side is a multiple of its images'.
  p.start = (width, height, ground) => {
    const k = Math.max(1, Math.round(512 / Math.max(width, height)));
    if (canvas.width === k * width && canvas.height === k * height && p.ground === ground) return;
    for (const c of [canvas, paper]) { c.width = k * width; c.height = k * height; }
    p.ground = ground;
    past = []; future = [];
    wipe();
  };
  function wipe() {
    context.globalCompositeOperation = "source-over";
    if (mask) context.clearRect(0, 0, canvas.width, canvas.height);
    else { context.fillStyle = p.ground; context.fillRect(0, 0, canvas.width, canvas.height); }
    p.touched = false;
    tools();
  }
  p.clear = () => { keep(); wipe(); changed(true); };

  // beneath lays a picture under what is painted.
  p.beneath = (image, tell = true) => {
    if (!mask) keep();
    const to = (mask ? paper : canvas).getContext("2d");
    const k = Math.max(canvas.width / image.width, canvas.height / image.height);
    to.imageSmoothingEnabled = !Number.isInteger(k) && !Number.isInteger(1 / k);
    to.imageSmoothingQuality = "high";
    to.fillStyle = p.ground;
    to.fillRect(0, 0, canvas.width, canvas.height);
    to.drawImage(image, (canvas.width - k * image.width) / 2, (canvas.height - k * image.height) / 2, k * image.width, k * image.height);
    if (mask) { wipe(); past = []; } else p.touched = true;
    tools();
    if (tell) changed(true);
  };

  const ink = () => (mask ? "#2f7ed8" : p.color);
  function segment(from, to, brush = p.brush) {
    context.globalCompositeOperation = brush === "eraser" && mask ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = brush === "eraser" && !mask ? p.ground : ink();
    context.lineCap = "round";
    context.lineWidth = to[2];
    context.beginPath();
    if (from) { context.moveTo(from[0], from[1]); context.lineTo(to[0], to[1]); context.stroke(); } else { context.arc(to[0], to[1], to[2] / 2, 0, 7); context.fill(); }
    context.globalCompositeOperation = "source-over";
    touch();
  }
  function touch() { p.touched = true; if (invitation) invitation.hidden = true; }

  const place = (e) => { const r = canvas.getBoundingClientRect(); return [(e.clientX - r.left) * canvas.width / r.width, (e.clientY - r.top) * canvas.height / r.height]; };
  const point = (e) => [...place(e), p.size * canvas.width / 448 * (e.pointerType === "pen" && e.pressure > 0 ? 0.3 + 1.4 * e.pressure : 1)];

  function pick([x, y]) {
    const d = context.getImageData(Math.max(0, Math.min(canvas.width - 1, x)), Math.max(0, Math.min(canvas.height - 1, y)), 1, 1).data;
    p.paint("#" + [...d].slice(0, 3).map((v) => v.toString(16).padStart(2, "0")).join(""));
  }
  // paint takes a color.
  p.paint = (color) => { p.color = color; p.use("pen"); say("Color " + color); };

  function flood([x, y]) {
    const w = canvas.width, height = canvas.height, image = context.getImageData(0, 0, w, height), d = image.data;
    const c = context.fillStyle = ink(), to = [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
    const start = (Math.floor(y) * w + Math.floor(x)) * 4, from = [...d.slice(start, start + 4)], near = 40;
    const same = (i) => Math.abs(d[i] - from[0]) + Math.abs(d[i + 1] - from[1]) + Math.abs(d[i + 2] - from[2]) + Math.abs(d[i + 3] - from[3]) <= near;
    const seen = new Uint8Array(w * height), todo = [start / 4];
    while (todo.length) {
      const k = todo.pop();
      if (seen[k] || !same(4 * k)) continue;
      seen[k] = 1;
      d[4 * k] = to[0]; d[4 * k + 1] = to[1]; d[4 * k + 2] = to[2]; d[4 * k + 3] = 255;
      if (k % w > 0) todo.push(k - 1);
      if (k % w < w - 1) todo.push(k + 1);
      if (k >= w) todo.push(k - w);
      if (k < w * (height - 1)) todo.push(k + w);
    }
    context.putImageData(image, 0, 0);
    touch();
  }

  // A pen draws, and from then on fingers move the sheet only: a palm lies on it too. Two fingers move and enlarge it.
  let penned = false;
  const undoStroke = () => { if (stroke) { stroke = null; back(past, []); } };
  const middle = () => {
    const all = [...pointers.values()], n = all.length, mean = (k) => all.reduce((sum, e) => sum + e[k], 0) / n;
    const x = mean("clientX"), y = mean("clientY");
    return { n, x, y, spread: n > 1 ? Math.hypot(all[0].clientX - all[1].clientX, all[0].clientY - all[1].clientY) : 0 };
  };
  const follow = (e) => {
    pointers.set(e.pointerId, e);
    const now = middle(), r = square.getBoundingClientRect();
    ox += now.x - pan.x; oy += now.y - pan.y;
    if (pan.spread && now.spread) p.zoom(now.spread / pan.spread, now.x - r.left, now.y - r.top);
    else shown();
    pan = now;
  };
  canvas.addEventListener("pointerdown", (e) => {
    if (e.pointerType === "pen") {
      penned = true;
      pointers.clear();
      pan = null;
      undoStroke();
    } else if (stroke?.type === "pen") return;
    pointers.set(e.pointerId, e);
    if (pointers.size > 1 || e.button === 1 || (penned && e.pointerType === "touch")) {
      undoStroke();
      pan = middle();
      canvas.setPointerCapture(e.pointerId);
      e.preventDefault();
      return;
    }
    const erases = e.pointerType === "pen" && e.button === 5; // its other end
    if ((e.button !== 0 && !erases) || pan) return;
    canvas.setPointerCapture(e.pointerId);
    if (p.brush === "pick" || e.altKey) { pick(place(e)); return; }
    keep();
    if (p.brush === "fill") { flood(place(e)); changed(true); return; }
    stroke = { id: e.pointerId, type: e.pointerType, last: point(e), brush: erases ? "eraser" : p.brush };
    segment(null, stroke.last, stroke.brush);
  });
  canvas.addEventListener("pointermove", (e) => {
    const r = square.getBoundingClientRect(), side = p.size * zoom * r.width / 448;
    ring.style.transform = `translate(${e.clientX - r.left - side / 2}px, ${e.clientY - r.top - side / 2}px)`;
    ring.style.width = ring.style.height = side + "px";
    if (pan && pointers.has(e.pointerId)) { follow(e); return; }
    if (!stroke || e.pointerId !== stroke.id) return;
    const all = e.getCoalescedEvents?.() ?? [];
    for (const c of all.length ? all : [e]) { const to = point(c); segment(stroke.last, to, stroke.brush); stroke.last = to; }
    changed(false);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, (e) => {
      pointers.delete(e.pointerId);
      if (pan) { pan = pointers.size ? middle() : null; return; }
      if (!stroke || e.pointerId !== stroke.id) return;
      stroke = null;
      changed(true);
    });
  }

  function shown() {
    const r = square.getBoundingClientRect(), limit = (zoom - 1);
    ox = Math.min(0, Math.max(-limit * r.width, ox));
    oy = Math.min(0, Math.max(-limit * r.height, oy));
    sheet.style.transform = zoom === 1 ? "" : `translate(${ox}px, ${oy}px) scale(${zoom})`;
    zoomSays.textContent = Math.round(zoom * 100) + " %";
  }
  p.zoom = (by, x, y) => {
    const r = square.getBoundingClientRect(), before = zoom;
    x ??= r.width / 2; y ??= r.height / 2;
    zoom = Math.max(1, Math.min(8, zoom * by));
    ox = x - (x - ox) * zoom / before;
    oy = y - (y - oy) * zoom / before;
    shown();
  };
  square.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return; // which pinching a touchpad gives too
    e.preventDefault();
    const r = square.getBoundingClientRect();
    p.zoom(Math.exp(-e.deltaY / 200), e.clientX - r.left, e.clientY - r.top);
  }, { passive: false });

  // With keys: arrows move the brush, space puts it down and lifts it.
  let key = null;
  canvas.addEventListener("keydown", (e) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (e.ctrlKey || e.metaKey) return;
    if (!by && e.key !== " ") return;
    e.preventDefault();
    e.stopPropagation();
    key ??= { at: [canvas.width / 2, canvas.height / 2], down: false };
    const width = p.size * canvas.width / 448;
    if (by) {
      const from = [...key.at, width], far = e.shiftKey ? 4 : 16;
      key.at = [Math.max(0, Math.min(canvas.width, key.at[0] + by[0] * far)), Math.max(0, Math.min(canvas.height, key.at[1] + by[1] * far))];
      if (key.down) { segment(from, [...key.at, width]); changed(true); }
    } else if (p.brush === "fill") { keep(); flood(key.at); changed(true); } else if (p.brush === "pick") pick(key.at);
    else { key.down = !key.down; say(key.down ? "brush down" : "brush up"); if (key.down) { keep(); segment(null, [...key.at, width]); changed(true); } }
    const r = square.getBoundingClientRect(), c = canvas.getBoundingClientRect(), side = width * c.width / canvas.width;
    ring.style.width = ring.style.height = side + "px";
    ring.style.transform = `translate(${c.left - r.left + key.at[0] * c.width / canvas.width - side / 2}px, ${c.top - r.top + key.at[1] * c.height / canvas.height - side / 2}px)`;
    square.classList.add("keyed");
  });
  canvas.addEventListener("blur", () => { square.classList.remove("keyed"); if (key) key.down = false; });

  // data is what is painted as a PNG in base64: a mask is white where it was painted, on black.
  const encode = (c) => c.toDataURL("image/png").split(",")[1];
  p.data = () => {
    if (!mask) return encode(canvas);
    const c = h("canvas", { width: canvas.width, height: canvas.height }), x = c.getContext("2d"), m = context.getImageData(0, 0, c.width, c.height);
    for (let i = 0; i < m.data.length; i += 4) { m.data[i] = m.data[i + 1] = m.data[i + 2] = m.data[i + 3] > 127 ? 255 : 0; m.data[i + 3] = 255; }
    x.putImageData(m, 0, 0);
    return encode(c);
  };
  p.under = () => encode(paper);
  p.isEmpty = () => !p.touched;
  // take lays a mask as data makes it.
  p.take = (image) => {
    wipe();
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const m = context.getImageData(0, 0, canvas.width, canvas.height);
    const c = [0x2f, 0x7e, 0xd8];
    for (let i = 0; i < m.data.length; i += 4) { const on = m.data[i] > 127; for (let k = 0; k < 3; k++) m.data[i + k] = c[k]; m.data[i + 3] = on ? 255 : 0; }
    context.putImageData(m, 0, 0);
    p.touched = true;
  };

  // The tools under the canvas.
  const brushes = [["pen", mask ? "Paint" : "Pen"], ["eraser", "Eraser"], ["fill", "Fill"], ...(mask ? [] : [["pick", "Pick"]])];
  const row = h("div", { className: "joined", role: "group", "aria-label": "Brush" }, ...brushes.map(([id, text]) => button(text, () => p.use(id), { value: id })));
  const undo = button("↶", p.undo, { className: "icon", title: "Undo (Z)", "aria-label": "Undo" }), redo = button("↷", p.redo, { className: "icon", title: "Redo (Shift + Z)", "aria-label": "Redo" });
  const wide = slider(4, 120, 1, p.size, (v) => { p.size = v; });
  wide.setAttribute("aria-label", "Brush size");
  const zoomSays = h("span", { className: "zoomSays" }, "100 %");
  const clear = button("Clear", () => p.clear());
  const swatches = h("div", { className: "swatches", role: "group", "aria-label": "Color" });
  p.tools = h("div", { className: "brushes" }, swatches, row, h("span", { className: "sized" }, h("i", { className: "dot small" }), wide, h("i", { className: "dot" })),
    h("span", { className: "group" }, undo, redo, clear),
    mask ? h("span", { className: "group" }, button("−", () => p.zoom(1 / 1.5), { className: "icon", "aria-label": "Smaller" }), zoomSays, button("+", () => p.zoom(1.5), { className: "icon", "aria-label": "Larger" })) : null);
  function tools() {
    for (const c of row.children) c.setAttribute("aria-pressed", String(c.value === p.brush));
    if (invitation) invitation.hidden = p.touched;
    undo.disabled = !past.length; redo.disabled = !future.length;
    for (const c of swatches.children) if (c.color) c.setAttribute("aria-pressed", String(c.color === p.color));
    const own = swatches.querySelector("input");
    if (own) own.value = p.color;
  }
  p.use = (id) => { p.brush = id; square.dataset.brush = id; tools(); };
  p.bigger = (by) => { p.size = Math.max(4, Math.min(120, Math.round(p.size * by))); wide.value = p.size; };
  // colors offers some.
  p.colors = (all) => {
    swatches.replaceChildren(...all.map((c) => { const s = button("", () => p.paint(c), { "aria-label": "Color " + c, className: "swatch" }); s.color = c; s.style.background = c; return s; }));
    if (all.length > 3) swatches.append(h("label", { className: "swatch own", title: "Any color" }, h("input", { type: "color", "aria-label": "Any color", value: p.color, oninput: (e) => p.paint(e.target.value) })));
    tools();
  };
  p.use("pen");
  return p;
}

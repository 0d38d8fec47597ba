// A picture that is turned by hand: dragged, or by a button.
const $ = (id) => document.getElementById(id);
const square = $("square"), canvas = $("screen");

// How each view is seen: turned by an angle, folded over an axis, or with dark and light exchanged.
export const hands = {
  rotate_180: { angle: 180, sign: "↻", text: "turned upside down" },
  rotate_cw: { angle: 90, sign: "↷", text: "turned clockwise" },
  rotate_ccw: { angle: -90, sign: "↶", text: "turned counterclockwise" },
  flip: { axis: "X", sign: "⇅", text: "flipped, as a mirror below shows it" },
  mirror: { axis: "Y", sign: "⇄", text: "mirrored left and right" },
  negate: { negative: true, sign: "◑", text: "dark and light exchanged" },
};

let hand = null, amount = 0, drag = null;
let turned = () => {};

export const whenTurned = (call) => { turned = call; };
export const isTurned = () => amount > 0.5;

function show(a) {
  amount = a;
  canvas.style.filter = "";
  canvas.style.transform = "";
  if (!hand) return;
  if (hand.negative) canvas.style.filter = `invert(${a})`;
  else if (hand.axis) canvas.style.transform = `rotate${hand.axis}(${180 * a}deg)`;
  else canvas.style.transform = `rotate(${hand.angle * a}deg)`;
}

// start lets the picture be turned as a view does; nothing: it stands.
export function start(view) {
  hand = hands[view] ?? null;
  square.classList.toggle("turns", hand !== null);
  show(0);
}

export function over() { show(isTurned() ? 0 : 1); turned(); }

function direction(e) {
  const r = square.getBoundingClientRect();
  return { x: (e.clientX - r.left) / r.width - 0.5, y: (e.clientY - r.top) / r.height - 0.5 };
}

square.addEventListener("pointerdown", (e) => {
  if (!hand || e.button !== 0) return;
  square.setPointerCapture(e.pointerId);
  drag = { id: e.pointerId, at: direction(e), from: amount, moved: false };
});
square.addEventListener("pointermove", (e) => {
  if (!drag || e.pointerId !== drag.id) return;
  const now = direction(e), before = drag.at;
  let by;
  if (hand.angle) {
    let degrees = (Math.atan2(now.y, now.x) - Math.atan2(before.y, before.x)) * 180 / Math.PI;
    degrees = ((degrees + 540) % 360) - 180;
    by = degrees / hand.angle;
    drag.at = now;
    drag.from += by;
    by = 0;
  } else if (hand.axis === "X") by = (before.y - now.y) / 0.8;
  else by = (now.x - before.x) / 0.8;
  drag.moved = true;
  square.classList.add("held");
  const wanted = drag.from + by;
  show(hand.angle ? wanted : Math.abs(wanted) > 1 ? 1 : Math.abs(wanted));
});
for (const type of ["pointerup", "pointercancel"]) {
  square.addEventListener(type, (e) => {
    if (!drag || e.pointerId !== drag.id) return;
    const moved = drag.moved;
    drag = null;
    square.classList.remove("held");
    if (!moved) { over(); return; }
    const turns = hand.angle ? Math.abs(Math.round(amount)) % (360 / Math.abs(hand.angle)) : Math.round(amount);
    show(turns === 0 ? 0 : 1);
    turned();
  });
}

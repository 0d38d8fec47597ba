// A player shows one frame of its strips at a time. It plays while the pointer is on its stage, or the keyboard's focus,
// and when it is left alone it shows the last frame again. A movement (data-back) runs forth and back, and rests at its
// first frame. Who asks for more, by a click, the button, a key or the slider, has it play or stand until they ask
// again. Who prefers reduced motion starts it by these only.
const calm = matchMedia("(prefers-reduced-motion: reduce)");
for (const player of document.querySelectorAll(".player")) {
  const stage = player.querySelector(".stage");
  const screens = player.querySelectorAll(".screen");
  const controls = player.querySelector(".controls");
  const button = controls.querySelector("button");
  const slider = controls.querySelector("input");
  const output = controls.querySelector("output");
  const captions = JSON.parse(player.dataset.captions);
  const last = captions.length - 1;
  const delay = 50, pauseAtEnd = 1500; // milliseconds
  const back = "back" in player.dataset, home = back ? 0 : last;
  let frame = home, by = 1, timer = 0, asked = false, seen = true;

  function show(n) {
    frame = n;
    for (const s of screens) s.style.backgroundPositionY = `${(100 * n) / last}%`;
    slider.value = n;
    slider.setAttribute("aria-valuetext", captions[n]);
    output.textContent = captions[n];
    player.dataset.frame = n;
  }
  function tick() {
    if (seen) { // what nobody sees waits
      if (back && (frame + by < 0 || frame + by > last)) by = -by;
      show(back ? frame + by : frame === last ? 0 : frame + 1);
    }
    const ends = frame === last || (back && frame === 0);
    timer = setTimeout(tick, !seen || ends ? pauseAtEnd : delay);
  }
  function play() {
    if (timer) return;
    player.classList.add("playing");
    button.setAttribute("aria-label", "Pause");
    if (frame === last && !back) show(0);
    timer = setTimeout(tick, delay);
  }
  function pause() {
    clearTimeout(timer);
    timer = 0;
    player.classList.remove("playing");
    button.setAttribute("aria-label", "Play");
  }
  function attend() {
    if (!asked && !calm.matches && document.activeElement !== slider) play();
  }
  function rest() {
    if (asked || player.matches(":hover") || player.querySelector(":focus-visible")) return;
    pause();
    show(home);
  }
  function toggle() {
    asked = true;
    timer ? pause() : play();
  }
  function hold(n) {
    asked = true;
    pause();
    show(Math.min(last, Math.max(0, n)));
  }

  stage.addEventListener("pointerenter", (e) => {
    if (e.pointerType === "mouse") attend(); // a finger's or a pen's is followed by a click
  });
  player.addEventListener("mouseleave", rest); // at pointerleave Firefox still has it hovered
  stage.addEventListener("focus", () => {
    if (stage.matches(":focus-visible")) attend(); // a click's focus is not
  });
  player.addEventListener("focusout", (e) => {
    if (!player.contains(e.relatedTarget)) rest();
  });
  stage.addEventListener("click", toggle);
  stage.addEventListener("keydown", (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey) return; // the browser's
    if (e.key === " " || e.key === "Enter") {
      e.preventDefault();
      if (!e.repeat) toggle();
    } else if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
      e.preventDefault();
      hold(frame + (e.key === "ArrowLeft" ? -1 : 1));
    }
  });
  button.addEventListener("click", toggle);
  for (const e of ["focus", "pointerdown"]) slider.addEventListener(e, pause); // else each frame would be read out, or the thumb run away
  slider.addEventListener("input", () => hold(Number(slider.value)));
  new IntersectionObserver((changes) => { seen = changes.at(-1).isIntersecting; }).observe(player);
  controls.hidden = false;
  show(home);
}

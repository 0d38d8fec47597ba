// A player shows one frame of its strips at a time. It plays while the pointer or the focus is on its stage, and when it is
// left alone it shows the last frame again; the button and the slider leave it where they put it. Who prefers reduced motion starts it
// by the button or a key.
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
  const delay = 50, hold = 1500; // milliseconds
  let frame = last, timer = 0;

  function show(n) {
    frame = n;
    for (const s of screens) s.style.backgroundPositionY = `${(100 * n) / last}%`;
    slider.value = n;
    slider.setAttribute("aria-valuetext", captions[n]);
    output.textContent = captions[n];
    player.dataset.frame = n;
  }
  function tick() {
    show(frame === last ? 0 : frame + 1);
    timer = setTimeout(tick, frame === last ? hold : delay);
  }
  function play() {
    if (timer) return;
    player.classList.add("playing");
    button.setAttribute("aria-label", "Pause");
    if (frame === last) show(0);
    timer = setTimeout(tick, delay);
  }
  function pause() {
    clearTimeout(timer);
    timer = 0;
    player.classList.remove("playing");
    button.setAttribute("aria-label", "Play");
  }
  function attend() {
    if (!calm.matches) play();
  }
  function rest() {
    if (stage.matches(":hover") || document.activeElement === stage) return;
    pause();
    show(last);
  }

  stage.addEventListener("mouseenter", attend);
  stage.addEventListener("mouseleave", rest);
  stage.addEventListener("focus", attend);
  stage.addEventListener("blur", rest);
  stage.addEventListener("keydown", (e) => {
    if (e.key === " " || e.key === "Enter") {
      e.preventDefault();
      timer ? pause() : play();
    } else if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
      e.preventDefault();
      pause();
      show(Math.min(last, Math.max(0, frame + (e.key === "ArrowLeft" ? -1 : 1))));
    }
  });
  button.addEventListener("click", () => (timer ? pause() : play()));
  slider.addEventListener("input", () => {
    pause();
    show(Number(slider.value));
  });
  controls.hidden = false;
  show(last);
}

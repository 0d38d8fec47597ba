// A player shows one frame of its strips at a time. It plays while the pointer or the keyboard's focus is on its stage, and when it is
// left alone it shows the last frame again. The slider, the arrow keys and a pause hold it at a frame until the button or the space bar
// makes it play. Who prefers reduced motion starts it by these too.
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
  let frame = last, timer = 0, held = false;

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
    timer = setTimeout(tick, frame === last ? pauseAtEnd : delay);
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
    if (!held && !calm.matches) play();
  }
  function rest() {
    if (held || stage.matches(":hover, :focus-visible")) return; // a click's focus, which is not visible, would keep it playing
    pause();
    show(last);
  }
  function toggle() {
    held = timer > 0;
    held ? pause() : play();
  }
  function hold(n) {
    held = true;
    pause();
    show(Math.min(last, Math.max(0, n)));
  }

  stage.addEventListener("mouseenter", attend);
  stage.addEventListener("mouseleave", rest);
  stage.addEventListener("focus", attend);
  stage.addEventListener("blur", rest);
  stage.addEventListener("keydown", (e) => {
    if (e.key === " " || e.key === "Enter") {
      e.preventDefault();
      toggle();
    } else if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
      e.preventDefault();
      hold(frame + (e.key === "ArrowLeft" ? -1 : 1));
    }
  });
  button.addEventListener("click", toggle);
  slider.addEventListener("input", () => hold(Number(slider.value)));
  controls.hidden = false;
  show(last);
}

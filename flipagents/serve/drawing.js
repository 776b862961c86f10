// The drawing of `flip app`: a picture with one box, which each drag replaces.
//
// Gradio runs this once, with `element`, `props`, `trigger` and `watch`. props.value is
// {image: URL, name, width, height: px, box: [x0, y0, x1, y1] or null, turn}: box sides in image px, between pixels;
// turn counts the boxes drawn, to detect stale answers.

const CLICK = 3; // screen px; shorter drags are clicks
const area = element.querySelector(".area");
const stage = element.querySelector(".stage");
const photo = element.querySelector("img");
const lines = element.querySelector("svg");
const frames = element.querySelectorAll("rect");
const hint = element.querySelector(".hint");

let picture = null;
let box = null;
let drag = null;
let turn = 0;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The pointer in image pixels, clamped to the image. */
function place(event) {
  const shown = stage.getBoundingClientRect();
  return [
    clamp((event.clientX - shown.left) / shown.width, 0, 1) * picture.width,
    clamp((event.clientY - shown.top) / shown.height, 0, 1) * picture.height,
  ];
}

function paint(sides) {
  lines.style.display = sides ? "" : "none";
  if (!sides) return;
  const [x0, y0, x1, y1] = sides;
  for (const frame of frames) {
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) {
      frame.setAttribute(name, value);
    }
  }
}

function describe() {
  const size = `${picture.name}, ${picture.width} by ${picture.height} pixels`;
  const where = box ? `box X0 ${box[0]}, Y0 ${box[1]}, X1 ${box[2]}, Y1 ${box[3]}` : "no box yet";
  stage.setAttribute("aria-label", `${size}; ${where}`);
}

/** Show the value set by the page: another picture, or another box. */
function show() {
  const value = props.value;
  const same = picture && value && value.image === picture.image;
  if (same && value.turn < turn) {
    props.value = picture; // stale: another box was drawn since
    return;
  }
  if (!same) {
    drag = null;
    turn = 0;
    stage.hidden = !value;
    hint.hidden = Boolean(value);
    if (value) {
      photo.src = value.image;
      photo.alt = value.name;
      stage.style.setProperty("--width", value.width);
      stage.style.setProperty("--height", value.height);
      lines.setAttribute("viewBox", `0 0 ${value.width} ${value.height}`);
    }
  }
  picture = value;
  box = value ? value.box : null;
  if (!drag) paint(box);
  if (picture) describe();
}

function submit(sides) {
  box = sides;
  turn += 1;
  picture = { ...picture, box, turn };
  props.value = picture;
  paint(box);
  describe();
  trigger("drawn");
}

function between(from, to) {
  return [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
}

area.addEventListener("pointerdown", (event) => {
  if (!picture || drag || event.button !== 0) return;
  event.preventDefault(); // no image drag, no text selection
  stage.focus({ preventScroll: true });
  area.setPointerCapture(event.pointerId);
  drag = { pointer: event.pointerId, from: place(event), x: event.clientX, y: event.clientY };
});

area.addEventListener("pointermove", (event) => {
  if (drag && event.pointerId === drag.pointer) paint(between(drag.from, place(event)));
});

area.addEventListener("pointerup", (event) => {
  if (!drag || event.pointerId !== drag.pointer) return;
  const { from, x, y } = drag;
  drag = null;
  const far = Math.max(Math.abs(event.clientX - x), Math.abs(event.clientY - y));
  if (far < CLICK) paint(box);
  else submit(between(from, place(event)));
});

function stop() {
  drag = null;
  paint(box);
}
area.addEventListener("pointercancel", stop);

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

stage.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && drag) stop();
  const step = STEPS[event.key];
  if (!step || !box || drag || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const [right, down] = step;
  const [x0, y0, x1, y1] = box;
  if (event.shiftKey) {
    submit([x0, y0, clamp(x1 + right, x0 + 1, picture.width), clamp(y1 + down, y0 + 1, picture.height)]);
  } else {
    const across = clamp(right, -x0, picture.width - x1);
    const along = clamp(down, -y0, picture.height - y1);
    submit([x0 + across, y0 + along, x1 + across, y1 + along]);
  }
});

watch("value", show);
show();

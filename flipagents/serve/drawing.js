// The view of `flip app`: one image with its boxes and masks, where a drag draws and a click mends.
//
// Gradio runs this once, with `element`, `props`, `trigger`, `watch` and `server`; zooming.js precedes it.
// `flipagents.serve.page_view` describes props.value. What the user does goes out as props.value.ask and an event:
// 'drawn' a box, 'asked' for a change of this image, 'turned' to another one. Its turn identifies stale answers.

const CLICK = 3; // screen px; shorter drags are clicks
const QUIET = 60; // ms without movement before the effect of a click is previewed
const AREAS = [4, 2, 1, 0.5]; // superpixel sizes, as multiples of the mender's own
const find = (selector) => element.querySelector(selector);
const [stage, photo, lines, hint, boxes] = [".stage", ".photo", "svg", ".hint", ".boxes"].map(find);
const [reach, size, opacity] = ["reach", "size", "opacity"].map((name) => find(`[name=${name}]`));
const frames = element.querySelectorAll("rect.drawn");

let picture = null;
let box = null;
let drag = null;
let turn = 0;
let tool = "box";
let cursor = null; // where Enter would click, image px
let hovering = 0;
let taken = ""; // the latest download

/** The pointer in image pixels, clamped to the image. */
function place(event) {
  const shown = stage.getBoundingClientRect();
  return [
    clamp((event.clientX - shown.left) / shown.width, 0, 1) * picture.width,
    clamp((event.clientY - shown.top) / shown.height, 0, 1) * picture.height,
  ];
}

function paint(sides) {
  for (const frame of frames) {
    frame.style.display = sides ? "" : "none";
    if (!sides) continue;
    const [x0, y0, x1, y1] = sides;
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) {
      frame.setAttribute(name, value);
    }
  }
}

function outline(part, path) {
  find(`path.${part}`).setAttribute("d", path || "");
}

function describe() {
  const where = box ? `box X0 ${box[0]}, Y0 ${box[1]}, X1 ${box[2]}, Y1 ${box[3]}` : "no box yet";
  const at = cursor && tool === "mend" ? `; cursor at ${cursor[0]}, ${cursor[1]}` : "";
  stage.setAttribute("aria-label", `${picture.name}, ${picture.width} by ${picture.height} pixels; ${where}${at}`);
}

function use(name) {
  tool = name === "mend" && picture && picture.mask ? "mend" : "box";
  element.querySelector(".view").dataset.tool = tool;
  for (const button of element.querySelectorAll("button[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === tool);
  }
  point(tool === "mend" ? cursor : null);
  outline("preview");
}

function point(to) {
  const mark = find("circle");
  mark.style.display = to ? "" : "none";
  if (!to) return;
  mark.setAttribute("cx", to[0] + 0.5);
  mark.setAttribute("cy", to[1] + 0.5);
  mark.setAttribute("r", (6 * picture.width) / stage.getBoundingClientRect().width);
}

/** The list of boxes, with a button each to choose and to delete it. */
function list() {
  const button = (text, label, ask) => {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", textContent: text, title: label, onclick: () => send("asked", ask) });
    made.setAttribute("aria-label", label);
    return made;
  };
  boxes.replaceChildren();
  picture.boxes.forEach((each, index) => {
    const chip = document.createElement("span");
    const choose = button(`Box ${index + 1}${each.mask ? " ●" : ""}`, `Box ${index + 1}`, { what: "choose", index });
    choose.setAttribute("aria-pressed", index === picture.chosen);
    chip.append(choose, button("✕", `Delete box ${index + 1}`, { what: "delete", index }));
    boxes.append(chip);
  });
  boxes.append(button("+ Box", "Another box", { what: "add" }));
}

/** Show the value set by the page: another picture, box or mask. */
function show() {
  const value = props.value && props.value.image ? props.value : null;
  if (props.value && props.value.key) keep(props.value.key);
  const same = picture && value && value.image === picture.image;
  if (same && value.turn < turn) {
    props.value = picture; // stale: more was done since
    return;
  }
  if (!same) {
    drag = cursor = null;
    turn = value ? value.turn : 0;
    stage.hidden = find(".bar").hidden = find(".foot").hidden = !value;
    hint.hidden = Boolean(value);
    if (value) {
      photo.src = value.image;
      photo.alt = value.name;
      stage.style.setProperty("--width", value.width);
      stage.style.setProperty("--height", value.height);
      lines.setAttribute("viewBox", `0 0 ${value.width} ${value.height}`);
    }
    reset();
  }
  const other = !same || value.chosen !== picture.chosen || Boolean(value.mask) !== Boolean(picture.mask);
  picture = value;
  box = value ? value.box : null;
  if (!drag) paint(box);
  if (!picture) return;
  if (other) use(picture.mask ? "mend" : "box");
  find(".fill").src = picture.mask || "data:,";
  find(".fill").hidden = !picture.mask;
  for (const part of ["edge", "others", "truth"]) outline(part, picture[part]);
  outline("preview");
  find("button[data-tool=mend]").disabled = !picture.mask;
  find("[data-ask=undo]").disabled = !picture.undo;
  find("[data-ask=redo]").disabled = !picture.redo;
  find(".count").textContent = `${picture.number} of ${picture.count}`;
  find(".turning").hidden = picture.count < 2;
  list();
  describe();
  if (picture.download && picture.download !== taken) {
    taken = picture.download;
    Object.assign(document.createElement("a"), { href: taken, download: "" }).click();
  }
}

function send(event, ask) {
  if (!picture) return;
  turn += 1;
  picture = { ...picture, box, turn, ask };
  props.value = picture;
  trigger(event);
}

function submit(sides) {
  box = sides;
  paint(box);
  send("drawn");
  describe();
}

/** What a click here asks for. */
function click([x, y], action) {
  const [column, row] = [Math.min(Math.floor(x), picture.width - 1), Math.min(Math.floor(y), picture.height - 1)];
  return { what: action, row, column, reach: Number(reach.value), size: AREAS[Number(size.value)] };
}

function mend(at, action) {
  send("asked", click(at, action));
}

/** Outline what a click at this point would change. */
async function preview(at, action) {
  const number = ++hovering;
  await new Promise((done) => setTimeout(done, QUIET));
  if (number !== hovering || !picture || tool !== "mend") return;
  const asked = turn;
  const path = await server.preview({ key: picture.key, image: picture.image, ask: click(at, action) });
  if (number === hovering && asked === turn) outline("preview", path);
}

function between(from, to) {
  return [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
}

area.addEventListener("pointerdown", (event) => {
  if (!picture || drag || (event.button !== 0 && tool !== "mend" && event.button !== 1)) return;
  event.preventDefault(); // no image drag, no text selection
  stage.focus({ preventScroll: true });
  area.setPointerCapture(event.pointerId);
  drag = { pointer: event.pointerId, from: place(event), x: event.clientX, y: event.clientY, button: event.button };
  drag.pans = tool === "mend" || event.button === 1;
});

area.addEventListener("pointermove", (event) => {
  if (drag && event.pointerId === drag.pointer) {
    if (drag.pans) pan(event.movementX, event.movementY);
    else paint(between(drag.from, place(event)));
  } else if (picture && tool === "mend") preview(place(event), event.shiftKey ? "pass" : "erase");
});

area.addEventListener("pointerup", (event) => {
  if (!drag || event.pointerId !== drag.pointer) return;
  const { from, x, y, pans, button } = drag;
  drag = null;
  const far = Math.max(Math.abs(event.clientX - x), Math.abs(event.clientY - y));
  if (far < CLICK) {
    paint(box);
    if (tool === "mend" && button !== 1) mend(from, button === 2 || event.shiftKey ? "pass" : "erase");
  } else if (!pans) submit(between(from, place(event)));
});

area.addEventListener("contextmenu", (event) => {
  if (tool === "mend") event.preventDefault();
});

area.addEventListener("pointerleave", () => {
  hovering += 1;
  outline("preview");
});

function stop() {
  drag = null;
  paint(box);
}
area.addEventListener("pointercancel", stop);

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

stage.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && drag) stop();
  if (!picture || drag || event.altKey || event.ctrlKey || event.metaKey) return;
  const [right, down] = STEPS[event.key] || [0, 0];
  if (tool === "mend") {
    const pace = event.shiftKey ? 1 : 4;
    cursor = cursor || (box ? [(box[0] + box[2]) >> 1, (box[1] + box[3]) >> 1] : [0, 0]);
    if (event.key === "Enter") mend(cursor, event.shiftKey ? "pass" : "erase");
    else if (right || down) {
      cursor = [clamp(cursor[0] + pace * right, 0, picture.width - 1), clamp(cursor[1] + pace * down, 0, picture.height - 1)];
      point(cursor);
      preview(cursor, "erase");
      describe();
    } else return;
  } else if (box && (right || down)) {
    const [x0, y0, x1, y1] = box;
    if (event.shiftKey) {
      submit([x0, y0, clamp(x1 + right, x0 + 1, picture.width), clamp(y1 + down, y0 + 1, picture.height)]);
    } else {
      const across = clamp(right, -x0, picture.width - x1);
      const along = clamp(down, -y0, picture.height - y1);
      submit([x0 + across, y0 + along, x1 + across, y1 + along]);
    }
  } else return;
  event.preventDefault();
});

function step(by) {
  if (picture && picture.count > 1) send("turned", { by });
}

function undo(back) {
  if (picture && picture[back ? "undo" : "redo"]) send("asked", { what: back ? "undo" : "redo" });
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("textarea, input:not([type=range], [type=radio], [type=checkbox])");
  if (typing || !picture || event.altKey) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") undo(!event.shiftKey);
    else if (key === "y") undo(false);
    else return;
    event.preventDefault();
  } else if (key === "n") step(1);
  else if (key === "p") step(-1);
  else if (key === "b" || key === "m") use(key === "m" ? "mend" : "box");
  else if (key === "0") reset();
});

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !picture) return;
  if (button.dataset.tool) use(button.dataset.tool);
  else if (button.dataset.ask) undo(button.dataset.ask === "undo");
  else if (button.dataset.by) step(Number(button.dataset.by));
  else if (button.classList.contains("reset")) reset();
});

const fade = () => stage.style.setProperty("--opacity", opacity.value);
opacity.addEventListener("input", fade);
area.addEventListener("finer", (event) => {
  size.value = Number(size.value) + event.detail;
});

fade();
watch("value", show);
show();

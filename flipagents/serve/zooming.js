// Zoom, pan, and the id of the work kept on the server; the first part of drawing.js.

const area = element.querySelector(".area");
const sheet = element.querySelector(".stage");
const KEY = "flip-app";
const LARGEST = 20; // zoom

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
let view = { scale: 1, x: 0, y: 0 };

/** Move the picture; at its own size it stays in place. */
function move(next) {
  const across = (sheet.offsetWidth * next.scale) / 2;
  const along = (sheet.offsetHeight * next.scale) / 2;
  view = next.scale === 1 ? { scale: 1, x: 0, y: 0 } : { ...next, x: clamp(next.x, -across, across), y: clamp(next.y, -along, along) };
  sheet.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  element.querySelector(".reset").disabled = view.scale === 1;
}

const reset = () => move({ scale: 1, x: 0, y: 0 });
const pan = (x, y) => move({ scale: view.scale, x: view.x + x, y: view.y + y });

area.addEventListener(
  "wheel",
  (event) => {
    if (sheet.hidden) return;
    event.preventDefault();
    const up = (event.deltaY || event.deltaX) < 0; // with Shift, browsers turn the wheel sideways
    if (event.ctrlKey || event.shiftKey) {
      area.dispatchEvent(new CustomEvent("finer", { detail: up ? 1 : -1 }));
      return;
    }
    const scale = clamp(view.scale * Math.exp(-clamp(event.deltaY, -100, 100) / 400), 1, LARGEST);
    const shown = sheet.getBoundingClientRect();
    const grown = scale / view.scale - 1;
    const x = view.x - grown * (event.clientX - (shown.left + shown.width / 2));
    const y = view.y - grown * (event.clientY - (shown.top + shown.height / 2));
    move({ scale, x, y });
  },
  { passive: false },
);

/** Remember the id of the work: this window's own, and the latest, for a window that is opened later. */
function keep(key) {
  for (const storage of [sessionStorage, localStorage]) {
    if (storage.getItem(KEY) !== key) storage.setItem(KEY, key);
  }
}

const SVG = "http://www.w3.org/2000/svg";
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const make = (tag, attributes, parent) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (parent) parent.append(node);
  return node;
};

// A case as SVG: the photo, both masks each clipped to its side of the divider, and the true outline.
let clips = 0;
function draw(item, into) {
  into.replaceChildren();
  const svg = make("svg", { viewBox: `0 0 ${item.width} ${item.height}` });
  make("image", { href: item.photo, width: item.width, height: item.height }, svg);
  const parts = { svg, sides: {} };
  for (const side of ["before", "after"]) {
    if (item[side] === null) continue;
    const id = `clip${clips++}`;
    parts.sides[side] = make("rect", { y: 0, height: item.height }, make("clipPath", { id }, make("defs", {}, svg)));
    const group = make("g", { "clip-path": `url(#${id})` }, svg);
    parts[side] = make("path", { d: item[side], class: `mask ${side}`, "fill-rule": "evenodd" }, group);
  }
  if (item.truth) parts.truth = make("path", { d: item.truth, class: "mask truth", visibility: "hidden" }, svg);
  parts.divider = make("line", { y1: 0, y2: item.height, class: "divider" }, svg);
  parts.split = share => {
    const x = parts.before ? item.width * share : 0;
    for (const [name, value] of [["x", 0], ["width", x]]) parts.sides.before?.setAttribute(name, value);
    for (const [name, value] of [["x", x], ["width", item.width - x]]) parts.sides.after?.setAttribute(name, value);
    parts.divider.setAttribute("x1", x);
    parts.divider.setAttribute("x2", x);
  };
  parts.split(0.5);
  into.append(svg);
  return parts;
}

const viewer = document.getElementById("viewer");
const view = viewer.querySelector(".view");
const range = viewer.querySelector("input[type=range]");
const boxes = [...viewer.querySelectorAll("[data-line]")];
let shown = null, item = null, box = null;

function show(text, image, position) {
  item = position >= 0 ? data.cases[position] : null;
  shown = null;
  view.replaceChildren();
  view.hidden = !item;
  for (const tool of [range, ...boxes]) tool.disabled = !item;
  viewer.querySelector(".words").textContent = text;
  const link = viewer.querySelector(".photo");
  link.hidden = !(String(image) in data.links);
  if (!link.hidden) link.href = data.links[String(image)];
  if (item) {
    shown = draw(item, view);
    box = { x: 0, y: 0, width: item.width, height: item.height };
    range.hidden = !shown.before;
    range.value = 50;
    switchLines();
  }
  viewer.showModal();
}
function switchLines() {
  for (const line of boxes) shown?.[line.dataset.line]?.setAttribute("visibility", line.checked ? "visible" : "hidden");
}
function zoom(factor, cx = 0.5, cy = 0.5) {
  if (!shown) return;
  const width = Math.min(item.width, Math.max(item.width / 16, box.width / factor));
  const ratio = width / box.width;
  move(box.x + box.width * (1 - ratio) * cx, box.y + box.height * (1 - ratio) * cy, width, box.height * ratio);
}
function move(x, y, width = box.width, height = box.height) {
  box = { x: Math.min(Math.max(x, 0), item.width - width), y: Math.min(Math.max(y, 0), item.height - height), width, height };
  shown.svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
}
range.addEventListener("input", () => shown?.split(range.value / 100));
for (const line of boxes) line.addEventListener("change", switchLines);
for (const button of viewer.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
viewer.querySelector("[data-close]").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", event => { if (event.target === viewer) viewer.close(); });
view.addEventListener("wheel", event => {
  event.preventDefault();
  const place = view.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, (event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
}, { passive: false });
// One finger or the mouse moves the picture, two fingers zoom it.
const fingers = new Map();
view.addEventListener("pointerdown", event => { fingers.set(event.pointerId, event); view.setPointerCapture(event.pointerId); });
for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, event => fingers.delete(event.pointerId));
view.addEventListener("pointermove", event => {
  const last = fingers.get(event.pointerId);
  if (!shown || !last) return;
  if (fingers.size === 2) {
    const [other] = [...fingers.values()].filter(each => each.pointerId !== event.pointerId);
    const apart = each => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
    if (apart(last) > 0) zoom(apart(event) / apart(last));
  } else {
    const scale = Math.max(box.width / view.clientWidth, box.height / view.clientHeight);
    move(box.x - (event.clientX - last.clientX) * scale, box.y - (event.clientY - last.clientY) * scale);
  }
  fingers.set(event.pointerId, event);
});

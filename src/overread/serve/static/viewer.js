// The image as numbers on a canvas: windowing, zoom, slices and inversion happen here, on the values that were stored.
"use strict";

const PRESETS = { lung: [-600, 1500], soft: [40, 400], bone: [400, 1800], brain: [40, 80] }; // level, width in HU
const ARRAYS = { "|u1": Uint8Array, "<i2": Int16Array, "<u2": Uint16Array, "<f4": Float32Array };
const KEPT_BYTES = 256e6;

const viewer = document.getElementById("viewer");
if (viewer) start(viewer);

async function start(viewer) {
  const words = JSON.parse(document.getElementById("viewer-words").textContent);
  const find = (name) => viewer.querySelector(name);
  const canvas = find("canvas"), readout = find("#readout");
  const address = `/study/${viewer.dataset.study}`;
  const native = document.createElement("canvas");
  const kept = new Map(); // "k/z" → { head, values }, the least recently used first
  const view = { k: 0, z: 0, low: 0, high: 1, zoom: 0, x: 0, y: 0, invert: false };
  let images = [], wanted = "", at = null;

  const place = `overread ${viewer.dataset.study}`; // the page comes anew after each answer: the image stays as it was left

  const image = () => images[view.k];
  const wide = () => view.high - view.low;

  async function slice(k, z) {
    const name = `${k}/${z}`;
    if (kept.has(name)) {
      const known = kept.get(name);
      kept.delete(name);
      kept.set(name, known);
      return known;
    }
    const answer = await fetch(`${address}/image/${k}/slice/${z}`);
    if (!answer.ok) throw new Error(words.failed);
    const body = await answer.arrayBuffer();
    const length = new DataView(body).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, length)));
    const loaded = { head, values: new ARRAYS[head.dtype](body, 4 + length) };
    kept.set(name, loaded);
    let bytes = 0;
    for (const { values } of kept.values()) bytes += values.byteLength;
    for (const [old, { values }] of kept) {
      if (bytes <= KEPT_BYTES || old === name) break;
      bytes -= values.byteLength;
      kept.delete(old);
    }
    return loaded;
  }

  async function show() {
    const name = `${view.k}/${view.z}`;
    wanted = name;
    if (!kept.has(name)) readout.textContent = words.loading;
    try {
      const loaded = await slice(view.k, view.z);
      if (wanted !== name) return; // the reader has scrolled on
      at = loaded;
      paint();
      for (const z of [view.z + 1, view.z - 1]) if (z >= 0 && z < image().slices) slice(view.k, z).catch(() => {});
    } catch (error) {
      readout.textContent = words.failed;
    }
  }

  // Values → grey levels at the image's own size.
  function paint() {
    const { head, values } = at;
    native.width = head.columns;
    native.height = head.rows;
    const pen = native.getContext("2d");
    const picture = pen.createImageData(head.columns, head.rows);
    const grey = picture.data, step = 255 / wide(), low = view.low, flip = view.invert ? 255 : 0;
    const colours = head.channels >= 3 ? 3 : 1, n = head.rows * head.columns;
    for (let i = 0, from = 0, to = 0; i < n; i++, from += head.channels, to += 4) {
      for (let c = 0; c < 3; c++) {
        const level = Math.min(255, Math.max(0, (values[from + (colours === 3 ? c : 0)] - low) * step));
        grey[to + c] = Math.abs(flip - level);
      }
      grey[to + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
    draw();
  }

  // The image's own size → the screen, in true proportion where the spacing is known.
  function placed() {
    const [, high, across] = image().spacing_mm ?? [1, 1, 1];
    const box = canvas.getBoundingClientRect();
    const fit = Math.min(box.width / (native.width * across), box.height / (native.height * high));
    const size = fit * 2 ** (view.zoom / 10); // screen points for one mm (or for one pixel)
    return { box, across: size * across, high: size * high, perUnit: size };
  }

  function draw() {
    if (!at) return;
    const { box, across, high, perUnit } = placed(), ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio * across, 0, 0, ratio * high, ratio * (box.width / 2 + view.x), ratio * (box.height / 2 + view.y));
    pen.imageSmoothingEnabled = across < 6;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(native, -native.width / 2, -native.height / 2);
    scale(perUnit);
    tell();
    sessionStorage.setItem(place, JSON.stringify(view));
  }

  function scale(perUnit) {
    const bar = find(".scalebar");
    if (!image().spacing_mm) {
      bar.textContent = words.no_scale;
      return;
    }
    const mm = [200, 100, 50, 20, 10, 5, 2, 1].find((length) => length * perUnit < 160) ?? 1;
    const line = document.createElement("span");
    line.style.width = `${mm * perUnit}px`;
    bar.replaceChildren(line, `${mm} mm`);
  }

  function tell(value) {
    const number = (x) => (Math.abs(x) >= 10 || Number.isInteger(x) ? Math.round(x) : x.toPrecision(3));
    const unit = image().unit === "HU" ? " HU" : "";
    const lines = [];
    if (image().slices > 1) lines.push(`${words.slice} ${view.z + 1} / ${image().slices}`);
    lines.push(`${words.level} ${number((view.low + view.high) / 2)} · ${words.width} ${number(wide())}${unit}`);
    if (value !== undefined) lines.push(`${value}${unit}`);
    readout.textContent = lines.join("\n");
    const level = find(".level"), width = find(".width");
    level.value = (view.low + view.high) / 2;
    width.value = wide();
    find(".zoom").value = view.zoom;
    find(".slice").value = view.z;
  }

  function window_(level, width) {
    width = Math.max(width, image().smallest);
    view.low = level - width / 2;
    view.high = level + width / 2;
    if (at) paint();
  }

  function go(z) {
    z = Math.max(0, Math.min(image().slices - 1, z));
    if (z === view.z) return;
    view.z = z;
    show();
  }

  function zoom(by) {
    view.zoom = Math.max(-10, Math.min(40, view.zoom + by));
    draw();
  }

  function reset() {
    Object.assign(view, { low: image().low, high: image().high, zoom: 0, x: 0, y: 0, invert: false });
    find(".invert").setAttribute("aria-pressed", "false");
    if (at) paint();
  }

  function invert() {
    view.invert = !view.invert;
    find(".invert").setAttribute("aria-pressed", String(view.invert));
    if (at) paint();
  }

  function choose(k, left = {}) {
    Object.assign(view, { k, z: left.z ?? Math.floor((images[k].slices - 1) / 2) });
    const { slices, low, high, unit, letters } = image();
    const range = high - low;
    image().smallest = range / 500;
    const set = (name, facts) => Object.assign(find(name), facts);
    set(".slice", { max: slices - 1, value: view.z });
    find(".slices").hidden = slices < 2;
    set(".level", { min: low - range, max: high + range, step: range / 500 });
    set(".width", { min: range / 500, max: range * 4, step: range / 500 });
    find(".presets").hidden = unit !== "HU";
    for (const side of ["left", "right", "top", "bottom"]) find(`.letter.${side}`).textContent = letters?.[side] ?? "";
    at = null;
    reset();
    Object.assign(view, left);
    find(".invert").setAttribute("aria-pressed", String(view.invert));
    show();
  }

  // --- hands -------------------------------------------------------------------------------------------------

  const keys = {
    ArrowUp: () => go(view.z - 1), ArrowDown: () => go(view.z + 1), PageUp: () => go(view.z - 10), PageDown: () => go(view.z + 10),
    Home: () => go(0), End: () => go(image().slices - 1),
    "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1), i: invert, r: reset,
    "[": () => window_((view.low + view.high) / 2, wide() * 0.9), "]": () => window_((view.low + view.high) / 2, wide() / 0.9),
    ",": () => window_((view.low + view.high) / 2 - wide() / 20, wide()), ".": () => window_((view.low + view.high) / 2 + wide() / 20, wide()),
  };
  // Keys belong to the image, also when nothing on the page has been chosen yet.
  document.addEventListener("keydown", (event) => {
    const act = keys[event.key] ?? keys[event.key.toLowerCase()];
    const mine = event.target === canvas || event.target === document.body;
    if (!act || !mine || !at || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, move: event.shiftKey || event.button !== 0 };
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return under(event);
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    Object.assign(drag, { x: event.clientX, y: event.clientY });
    if (drag.move) {
      view.x += dx;
      view.y += dy;
      return draw();
    }
    const speed = (image().high - image().low) / 400; // right: more contrast range; up: darker, as on a workstation
    window_((view.low + view.high) / 2 + dy * speed, wide() + dx * speed);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (drag = null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const down = Math.sign(event.deltaY);
    if (image().slices > 1 && !event.ctrlKey) go(view.z + down);
    else zoom(-down);
  }, { passive: false });

  function under(event) {
    if (!at) return;
    const { box, across, high } = placed();
    const column = Math.floor((event.clientX - box.left - box.width / 2 - view.x) / across + native.width / 2);
    const row = Math.floor((event.clientY - box.top - box.height / 2 - view.y) / high + native.height / 2);
    if (column < 0 || row < 0 || column >= native.width || row >= native.height) return tell();
    const from = (row * native.width + column) * at.head.channels;
    tell([...at.values.slice(from, from + at.head.channels)].map((v) => (Number.isInteger(v) ? v : v.toFixed(3))).join(" "));
  }

  find(".slice").addEventListener("input", (event) => go(Number(event.target.value)));
  find(".level").addEventListener("input", (event) => window_(Number(event.target.value), wide()));
  find(".width").addEventListener("input", (event) => window_((view.low + view.high) / 2, Number(event.target.value)));
  find(".zoom").addEventListener("input", (event) => { view.zoom = Number(event.target.value); draw(); });
  find(".invert").addEventListener("click", invert);
  find(".reset").addEventListener("click", reset);
  for (const [name, [level, width]] of Object.entries(PRESETS)) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: words[name] });
    button.addEventListener("click", () => window_(level, width));
    find(".presets").append(button, " ");
  }
  new ResizeObserver(draw).observe(find(".stage"));

  try {
    const answer = await fetch(`${address}/images`);
    images = await answer.json();
  } catch (error) {
    images = [];
  }
  if (!images.length) return (readout.textContent = words.failed);
  const select = find("select");
  images.forEach(({ modality, view: name, slices }, k) => {
    const text = [`${k + 1}`, modality, name, slices > 1 ? `× ${slices}` : ""].filter(Boolean).join(" ");
    select.append(new Option(text, k));
  });
  find(".which").hidden = images.length < 2;
  select.addEventListener("change", () => choose(Number(select.value)));
  const left = JSON.parse(sessionStorage.getItem(place) ?? "null");
  const there = left && left.k < images.length && left.z < images[left.k].slices;
  select.value = there ? left.k : 0;
  choose(Number(select.value), there ? left : {});
  viewer.dataset.ready = "yes";
}

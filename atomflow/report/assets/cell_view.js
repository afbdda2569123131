// The 3D view of the cell: shaded spheres, bonds and the box on a plain canvas, without any library.
// Data: <script type="application/json" id="cell-views">, see atomflow/report/cellview.py.
"use strict";
(() => {
  const holder = document.getElementById("cell-view");
  const source = document.getElementById("cell-views");
  if (!holder || !source) return;
  const views = JSON.parse(source.textContent);
  const canvas = holder.querySelector("canvas");
  const ctx = canvas.getContext("2d");
  const part = (name) => holder.querySelector(`[data-part="${name}"]`);

  // Na stands out; oxygen, the most common, stays quiet. Colours after Okabe and Ito.
  const COLOURS = { Na: "#e69f00", Zr: "#56b4e9", Si: "#0072b2", P: "#cc79a7", O: "#c9ccd1", B: "#009e73", Zn: "#8c6d46" };
  const RADII = { Na: 0.8, Zr: 0.62, Si: 0.45, P: 0.45, O: 0.42, B: 0.35, Zn: 0.55 };
  const colourOf = (element) => COLOURS[element] || "#9a8fb8";
  const radiusOf = (element) => RADII[element] || 0.55;
  const START = multiply(turnX(-0.28), turnY(0.5));

  let view, centre, size, rotation, zoom, frame, hidden, show, timer = null, queued = false;

  // --- small linear algebra: 3x3 matrices as rows -------------------------------------------------------------
  function turnX(a) { const c = Math.cos(a), s = Math.sin(a); return [[1, 0, 0], [0, c, -s], [0, s, c]]; }
  function turnY(a) { const c = Math.cos(a), s = Math.sin(a); return [[c, 0, s], [0, 1, 0], [-s, 0, c]]; }
  function turnZ(a) { const c = Math.cos(a), s = Math.sin(a); return [[c, -s, 0], [s, c, 0], [0, 0, 1]]; }
  function multiply(a, b) { return a.map((row) => b[0].map((_, j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j])); }
  function cartesian(x, y, z) {
    const [a, b, c] = view.lattice;
    return [x * a[0] + y * b[0] + z * c[0], x * a[1] + y * b[1] + z * c[1], x * a[2] + y * b[2] + z * c[2]];
  }

  // --- drawing ------------------------------------------------------------------------------------------------
  const sprites = new Map();
  function sprite(element) {
    if (!sprites.has(element)) {
      const image = document.createElement("canvas"), n = 96, g = image.getContext("2d");
      image.width = image.height = n;
      const shade = g.createRadialGradient(n * 0.36, n * 0.32, n * 0.04, n * 0.5, n * 0.5, n * 0.49);
      shade.addColorStop(0, mix(colourOf(element), "#ffffff", 0.75));
      shade.addColorStop(0.45, colourOf(element));
      shade.addColorStop(1, mix(colourOf(element), "#000000", 0.45));
      g.fillStyle = shade;
      g.beginPath(); g.arc(n / 2, n / 2, n / 2 - 1, 0, 2 * Math.PI); g.fill();
      sprites.set(element, image);
    }
    return sprites.get(element);
  }
  function mix(from, to, share) {
    const value = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
    return "#" + [0, 1, 2].map((i) => Math.round(value(from, i) * (1 - share) + value(to, i) * share).toString(16).padStart(2, "0")).join("");
  }
  function projector(width, height) {
    const scale = zoom * 1.05 * Math.min(width, height) / size, far = 3.2 * size;
    return (p) => {
      const x = p[0] - centre[0], y = p[1] - centre[1], z = p[2] - centre[2], r = rotation;
      const depth = r[2][0] * x + r[2][1] * y + r[2][2] * z, k = scale * far / (far - depth);
      return [width / 2 + k * (r[0][0] * x + r[0][1] * y + r[0][2] * z), height / 2 - k * (r[1][0] * x + r[1][1] * y + r[1][2] * z), depth, k];
    };
  }
  function draw() {
    queued = false;
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const project = projector(width, height), items = [];
    if (show.box) boxEdges(project, items);
    const points = positions().map(project);
    points.forEach((p, i) => { if (visible(i)) items.push({ depth: p[2], paint: () => ball(p, view.elements[view.kinds[i]]) }); });
    if (show.bonds) for (const [i, j] of view.bonds) if (visible(i) && visible(j)) halfBonds(points[i], points[j], i, j, items);
    if (show.paths) cloud(project, items);
    items.sort((a, b) => a.depth - b.depth).forEach((item) => item.paint());
  }
  function visible(i) { return !hidden.has(view.elements[view.kinds[i]]); }
  function ball(p, element) {
    const radius = radiusOf(element) * p[3];
    ctx.globalAlpha = Math.max(0.45, Math.min(1, 0.78 + 0.5 * p[2] / size));
    ctx.drawImage(sprite(element), p[0] - radius, p[1] - radius, 2 * radius, 2 * radius);
    ctx.globalAlpha = 1;
  }
  function stroke(a, b, colour, width, alpha) {
    ctx.globalAlpha = alpha; ctx.strokeStyle = colour; ctx.lineWidth = width; ctx.lineCap = "round";
    ctx.beginPath(); ctx.moveTo(a[0], a[1]); ctx.lineTo(b[0], b[1]); ctx.stroke();
    ctx.globalAlpha = 1;
  }
  function halfBonds(a, b, i, j, items) {
    const middle = a.map((value, axis) => (value + b[axis]) / 2);
    for (const [end, atom] of [[a, i], [b, j]]) {
      const colour = mix(colourOf(view.elements[view.kinds[atom]]), "#000000", 0.12);
      items.push({ depth: (end[2] + middle[2]) / 2 - 0.05, paint: () => stroke(end, middle, colour, Math.max(1, 0.16 * middle[3]), 0.8) });
    }
  }
  function boxEdges(project, items) {
    const ink = getComputedStyle(holder).getPropertyValue("--box").trim() || "#888888";
    for (let axis = 0; axis < 3; axis++) for (const u of [0, 1]) for (const v of [0, 1]) {
      for (let step = 0; step < 8; step++) {  // in pieces, so that atoms hide the parts behind them
        const ends = [step / 8, (step + 1) / 8].map((t) => {
          const f = [0, 0, 0]; f[axis] = t; f[(axis + 1) % 3] = u; f[(axis + 2) % 3] = v; return project(cartesian(...f));
        });
        items.push({ depth: (ends[0][2] + ends[1][2]) / 2, paint: () => stroke(ends[0], ends[1], ink, 1.2, 0.9) });
      }
    }
  }
  function cloud(project, items) {
    const colour = colourOf(view.mobile);
    for (const flat of view.frames) for (let i = 0; i < flat.length; i += 3) {
      const p = project(cartesian(flat[i] / 1e4, flat[i + 1] / 1e4, flat[i + 2] / 1e4));
      items.push({ depth: p[2], paint: () => { ctx.globalAlpha = 0.4; ctx.fillStyle = colour; ctx.beginPath(); ctx.arc(p[0], p[1], Math.max(1, 0.14 * p[3]), 0, 2 * Math.PI); ctx.fill(); ctx.globalAlpha = 1; } });
    }
  }
  function positions() {
    if (frame === null || !view.frames) return view.positions;
    const flat = view.frames[frame], moved = view.positions.slice();
    let ion = 0;
    for (let i = 0; i < moved.length - view.images; i++) {
      if (view.elements[view.kinds[i]] !== view.mobile) continue;
      moved[i] = cartesian(flat[ion] / 1e4, flat[ion + 1] / 1e4, flat[ion + 2] / 1e4);
      ion += 3;
    }
    return moved;
  }
  function redraw() { if (!queued) { queued = true; requestAnimationFrame(draw); } }

  // --- state --------------------------------------------------------------------------------------------------
  function reset() { rotation = START; zoom = 1; redraw(); }
  function turn(by) { rotation = multiply(by, rotation); redraw(); }
  function zoomBy(factor) { zoom = Math.max(0.3, Math.min(8, zoom * factor)); redraw(); }
  function showFrame(index) {
    frame = index;
    part("frame").value = index === null ? 0 : index;
    part("time").value = index === null ? "start" : `${view.frame_times_ps[index].toFixed(2)} ps`;
    redraw();
  }
  function play(on) {
    if (timer !== null) { clearInterval(timer); timer = null; }
    if (on) timer = setInterval(() => showFrame(((frame === null ? -1 : frame) + 1) % view.frames.length), 120);
    part("play").textContent = on ? "Pause" : `Play ${view.mobile}`;
  }
  function toggle(button, act) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on)); act(on); redraw();
    });
  }
  function legend() {
    const list = part("elements");
    list.replaceChildren();
    view.elements.forEach((element) => {
      const button = document.createElement("button"), dot = document.createElement("span");
      button.type = "button"; button.setAttribute("aria-pressed", "true"); button.title = `show or hide ${element}`;
      dot.className = "dot"; dot.style.background = colourOf(element);
      button.append(dot, element);
      toggle(button, (on) => (on ? hidden.delete(element) : hidden.add(element)));
      list.append(button);
    });
  }
  function open(index) {
    if (timer !== null) play(false);
    view = views[index];
    hidden = new Set(); frame = null;
    centre = cartesian(0.5, 0.5, 0.5);
    size = 2 * Math.max(...view.positions.map((p) => Math.hypot(p[0] - centre[0], p[1] - centre[1], p[2] - centre[2])), 1);
    legend();
    part("playback").hidden = !view.frames;
    if (view.frames) { part("frame").max = view.frames.length - 1; showFrame(null); play(false); }
    canvas.setAttribute("aria-label", `Cell ${view.name}: ${view.kinds.length - view.images} atoms of ${view.elements.join(", ")}`);
    part("caption").textContent = view.frames ? `${view.name}: start of ${view.source}; ${view.frames.length} frames of the ${view.mobile} positions, framework held at the start.` : view.name;
    reset();
  }

  // --- hands --------------------------------------------------------------------------------------------------
  let held = null, pageWheel = -1e9;
  canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const dx = event.clientX - held[0], dy = event.clientY - held[1];
    held = [event.clientX, event.clientY];
    turn(multiply(turnX(dy * 0.01), turnY(dx * 0.01)));
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
  // A wheel gesture that began on the page keeps scrolling the page when it runs across the cell.
  window.addEventListener("wheel", (event) => {
    if (event.target !== canvas || event.timeStamp - pageWheel < 250) pageWheel = event.timeStamp;
  }, { capture: true, passive: true });
  canvas.addEventListener("wheel", (event) => {
    if (event.timeStamp - pageWheel < 250) return;
    event.preventDefault();
    zoomBy(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) * 0.0015));
  }, { passive: false });
  const KEYS = {
    ArrowLeft: () => turn(turnY(-0.12)), ArrowRight: () => turn(turnY(0.12)),
    ArrowUp: () => turn(turnX(-0.12)), ArrowDown: () => turn(turnX(0.12)),
    "[": () => turn(turnZ(0.12)), "]": () => turn(turnZ(-0.12)),
    "+": () => zoomBy(1.15), "=": () => zoomBy(1.15), "-": () => zoomBy(1 / 1.15), 0: reset, Home: reset,
    " ": () => view.frames && play(timer === null),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault(); KEYS[event.key]();
  });
  show = { box: true, bonds: true, paths: false };
  for (const name of Object.keys(show)) toggle(part(name), (on) => { show[name] = on; });
  part("reset").addEventListener("click", reset);
  part("closer").addEventListener("click", () => zoomBy(1.25));
  part("farther").addEventListener("click", () => zoomBy(0.8));
  part("play").addEventListener("click", () => play(timer === null));
  part("frame").addEventListener("input", (event) => { play(false); showFrame(Number(event.target.value)); });
  const choice = part("choice");
  if (choice) choice.addEventListener("change", () => open(Number(choice.value)));
  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  open(0);
})();

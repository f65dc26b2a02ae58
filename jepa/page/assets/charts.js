"use strict";
// Charts of one problem: what is still to go, and the search. Each is drawn as wide as its place, so that text keeps its size.
const charts = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const LEFT = 30, RIGHT = 14, TOP = 24;

  function element(name, attributes = {}, parent = null, text = "") {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function canvas(place, height, label) {
    const width = Math.max(240, place.clientWidth || 540);
    place.replaceChildren();
    return { width, svg: element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, place) };
  }

  function ticks(highest, most) {
    const rough = Math.max(1, highest / most), power = 10 ** Math.floor(Math.log10(rough));
    const gap = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= rough);
    return [...Array(Math.floor(highest / gap) + 1).keys()].map((place) => place * gap);
  }

  function steps(plies, width) { return ticks(plies, Math.max(2, width / 45)); }

  function drawCosts(place, story) {
    const length = story.actions.length, bottom = 244;
    const { width, svg } = canvas(place, 284, `Predicted and exact number of actions to go, at each of ${length} steps`);
    const known = [...story.costs, ...story.distances].filter((value) => value !== null);
    const highest = Math.max(1, Math.ceil(Math.max(...known, 1)));
    const by = (width - LEFT - RIGHT) / Math.max(length, 1);
    const x = (at) => LEFT + at * by, y = (value) => bottom - (Math.max(value, 0) * (bottom - TOP)) / highest;
    for (const value of ticks(highest, 6)) {
      element("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }, svg);
      element("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, svg, String(value));
    }
    for (const at of steps(length, width)) {
      element("text", { class: "tick", x: x(at), y: bottom + 18, "text-anchor": "middle" }, svg, String(at));
    }
    element("text", { class: "tick", x: width - RIGHT, y: bottom + 36, "text-anchor": "end" }, svg, "step of the plan");
    if (story.parting !== null) {
      const at = x(story.parting), isLate = story.parting > length / 2;
      element("line", { class: "parting", x1: at, x2: at, y1: TOP - 10, y2: bottom }, svg);
      const anchor = { "text-anchor": isLate ? "end" : "start", x: at + (isLate ? 4 : -4), y: 11 };
      element("text", { class: "parting-label", ...anchor }, svg, "imagination parts from reality");
    }
    for (const [kind, values] of [["exact", story.distances], ["predicted", story.costs]]) {
      let path = "";
      values.forEach((value, at) => {
        if (value !== null) path += `${path && values[at - 1] !== null ? "L" : "M"}${x(at)} ${y(value)}`;
      });
      element("path", { class: `line-${kind}`, d: path || "M0 0" }, svg);
      values.forEach((value, at) => {
        if (value !== null) element("circle", { class: `dot-${kind}`, cx: x(at), cy: y(value), r: length > 30 ? 2 : 3.5 }, svg);
      });
    }
    const cursor = element("line", { class: "cursor", y1: TOP - 8, y2: bottom }, svg);
    return (step) => { cursor.setAttribute("x1", x(step)); cursor.setAttribute("x2", x(step)); };
  }

  function star(x, y, parent) {
    const tips = [...Array(10).keys()].map((tip) => {
      const turn = (Math.PI * tip) / 5 - Math.PI / 2, radius = tip % 2 ? 4.5 : 10;
      return `${x + radius * Math.cos(turn)} ${y + radius * Math.sin(turn)}`;
    });
    element("path", { class: "star", d: `M${tips.join("L")}Z` }, parent);
  }

  // Nodes lie the further to the right the nearer they seem to the goal; up and down they differ as latents do.
  function drawSearch(place, story) {
    const found = story.search, floor = 196, base = 262;
    const { width, svg } = canvas(place, 284, `The latents that the search held, ply by ply: ${found.held.join(", ")} nodes`);
    const costs = [...found.plies.flatMap((ply) => ply[1]), ...story.costs].filter((value) => value !== null);
    const highest = Math.max(1, ...costs);
    const x = (cost) => width - RIGHT - 8 - (Math.max(cost, 0) * (width - RIGHT - LEFT)) / highest;
    const y = (value) => floor - 12 - (value * (floor - TOP - 12)) / 1000;
    for (const value of ticks(highest, Math.min(8, width / 50))) {
      element("line", { class: "axis", x1: x(value), x2: x(value), y1: TOP - 8, y2: floor }, svg);
      element("text", { class: "tick", x: x(value), y: floor + 14, "text-anchor": "middle" }, svg, String(value));
    }
    element("text", { class: "tick", x: LEFT - 22, y: TOP - 6 }, svg, "predicted actions to go, nearer to the goal →");
    const groups = found.plies.map(([places, theirs]) => {
      const group = element("g", { class: "later" }, svg);
      places.forEach((at, index) => {
        if (theirs[index] !== null) element("circle", { class: "node", cx: x(theirs[index]), cy: y(at), r: 2.6 }, group);
      });
      return group;
    });
    const way = found.path.map((at, step) => (story.costs[step] ?? null) === null ? null : [x(story.costs[step]), y(at)]);
    const line = (upTo) => {
      const points = way.slice(0, upTo + 1).filter((point) => point).map(([a, b]) => `${a} ${b}`);
      return points.length ? `M${points.join("L")}` : "M0 0";
    };
    element("path", { class: "path whole", d: line(way.length) }, svg);
    const walked = element("path", { class: "path" }, svg);
    for (const at of found.goals) star(x(0), y(at), svg);
    const here = element("circle", { class: "here", r: 6 }, svg);
    const most = Math.max(...found.held), wide = (width - LEFT - RIGHT) / found.held.length;
    const bars = found.held.map((count, ply) => {
      const high = Math.max(2, (30 * count) / most);
      return element("rect", { x: LEFT + ply * wide, y: base - high, width: Math.max(1, wide - 2), height: high }, svg);
    });
    element("text", { class: "tick", x: LEFT - 6, y: base - 22, "text-anchor": "end" }, svg, String(most));
    for (const ply of steps(found.held.length - 1, width)) {
      const middle = { x: LEFT + (ply + 0.5) * wide, "text-anchor": "middle" };
      element("text", { class: "tick", y: base + 15, ...middle }, svg, String(ply));
    }
    return (step) => {
      const ply = Math.min(step, groups.length - 1);
      groups.forEach((group, at) => group.setAttribute("class", at === ply ? "now" : at < ply ? "before" : "later"));
      bars.forEach((bar, at) => bar.setAttribute("class", at === ply ? "bar now" : "bar"));
      walked.setAttribute("d", line(step));
      const point = way[Math.min(step, way.length - 1)];
      here.style.display = point ? "" : "none";
      if (point) { here.setAttribute("cx", point[0]); here.setAttribute("cy", point[1]); }
    };
  }

  return { element, drawCosts, drawSearch };
})();

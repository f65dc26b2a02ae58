"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const OUTCOMES = {
    optimal: "shortest plan", longer: "solved", unsolved: "not solved", false_claim: "false claim", refuted: "refuted",
  };
  const MILLISECONDS_PER_STEP = 700;
  let story = null, step = 0, timer = null;

  function element(name, attributes = {}, parent = null) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  }

  function html(name, attributes = {}, text = "", parent = null) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function plural(count, word) { return `${count} ${word}${count === 1 ? "" : "s"}`; }

  // ---- boards: shapes with the same key move, others change their colour where they are

  function draw(place, number, label) {
    const [geometry, fills, labels] = data.drawings[number];
    const [width, height, shapes] = data.geometries[geometry];
    let picture = place.firstElementChild;
    const box = `-0.1 -0.1 ${width + 0.2} ${height + 0.2}`;
    if (!picture || picture.getAttribute("viewBox") !== box) {
      place.replaceChildren();
      picture = element("svg", { viewBox: box, role: "img" }, place);
    }
    picture.setAttribute("aria-label", label);
    const known = new Map([...picture.children].map((child) => [child.dataset.key, child]));
    const used = shapes.map(([outline, x, y, size, key], index) => {
      const name = key || `${index}:${outline}:${x}:${y}`;
      let group = known.get(name);
      if (!group) {
        group = element("g", { "data-key": name });
        element("path", { d: data.outlines[outline] }, group);
        element("text", {}, group);
      }
      const colour = data.colours[fills.charCodeAt(index) - 97];
      group.setAttribute("class", colour === "none" ? "shape on-paper" : "shape");
      group.style.transform = `translate(${x}px, ${y}px)`;
      group.firstChild.style.fill = `var(--c-${colour})`;
      group.lastChild.style.fontSize = `${size}px`;
      group.lastChild.style.whiteSpace = "pre";
      group.lastChild.textContent = labels ? data.labels[labels[index]] : "";
      return group;
    });
    if (used.length !== picture.children.length || used.some((group, index) => picture.children[index] !== group)) {
      picture.replaceChildren(...used);
    }
  }

  // ---- charts

  function chart(place, { width = 560, height = 220, label }) {
    place.replaceChildren();
    return element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, place);
  }

  function drawCosts() {
    const length = story.actions.length;
    const known = [...story.costs, ...story.distances].filter((value) => value !== null);
    const highest = Math.max(1, Math.ceil(Math.max(...known, 1)));
    const x = (at) => 34 + (at * 510) / Math.max(length, 1);
    const y = (value) => 196 - (Math.max(value, 0) * 180) / highest;
    const svg = chart(byId("costs"), { label: `Predicted and exact number of actions to go, over ${plural(length, "step")}` });
    const gap = Math.max(1, Math.ceil(highest / 5));
    for (let value = 0; value <= highest; value += gap) {
      element("line", { class: "axis", x1: 34, x2: 544, y1: y(value), y2: y(value) }, svg);
      element("text", { class: "tick", x: 28, y: y(value) + 4, "text-anchor": "end" }, svg).textContent = value;
    }
    const every = Math.max(1, Math.ceil(length / 12));
    for (let at = 0; at <= length; at += every) {
      element("text", { class: "tick", x: x(at), y: 214, "text-anchor": "middle" }, svg).textContent = at;
    }
    for (const [kind, values] of [["exact", story.distances], ["predicted", story.costs]]) {
      let path = "";
      values.forEach((value, at) => {
        if (value === null) return;
        path += `${path && values[at - 1] !== null ? "L" : "M"}${x(at)} ${y(value)}`;
      });
      element("path", { class: `line-${kind}`, d: path || "M0 0" }, svg);
      values.forEach((value, at) => {
        if (value !== null) element("circle", { class: `dot-${kind}`, cx: x(at), cy: y(value), r: length > 30 ? 2 : 3.5 }, svg);
      });
    }
    element("line", { class: "cursor", id: "cursor", x1: 0, x2: 0, y1: 8, y2: 196, "data-from": x(0), "data-by": 510 / Math.max(length, 1) }, svg);
  }

  function drawSearch() {
    const found = story.search;
    byId("search-card").hidden = !found;
    if (!found) return;
    const svg = chart(byId("search"), { height: 290, label: `The latents that the search held, ply by ply: ${found.held.join(", ")} nodes` });
    const x = (value) => 12 + value * 0.536, y = (value) => 12 + value * 0.216;
    found.plies.forEach((points, ply) => {
      const group = element("g", { class: "later", "data-ply": ply }, svg);
      for (const [a, b] of points) element("circle", { class: "node", cx: x(a), cy: y(b), r: 2.6 }, group);
    });
    element("path", { class: "path", id: "search-path" }, svg);
    for (const [a, b] of found.goals) {
      const tips = [...Array(10).keys()].map((tip) => {
        const turn = (Math.PI * tip) / 5 - Math.PI / 2, radius = tip % 2 ? 4.5 : 10;
        return `${x(a) + radius * Math.cos(turn)} ${y(b) + radius * Math.sin(turn)}`;
      });
      element("path", { class: "star", d: `M${tips.join("L")}Z` }, svg);
    }
    element("circle", { class: "here", id: "search-here", r: 6 }, svg);
    const most = Math.max(...found.held), wide = 536 / found.held.length;
    found.held.forEach((count, ply) => {
      const high = Math.max(2, (34 * count) / most);
      element("rect", { class: "bar", "data-ply": ply, x: 12 + ply * wide, y: 284 - high, width: Math.max(1, wide - 2), height: high }, svg);
    });
    byId("search-legend").textContent =
      `Some of the latents that the beam held, in the two directions in which they differ most (${Math.round(100 * found.explained)} % of their variance). ` +
      "Star: the goal. Line: the plan. Bars: nodes held, ply by ply.";
  }

  function showSearch() {
    const found = story.search;
    if (!found) return;
    const x = (value) => 12 + value * 0.536, y = (value) => 12 + value * 0.216;
    const svg = byId("search").firstElementChild;
    const ply = Math.min(step, found.plies.length - 1);
    for (const group of svg.querySelectorAll("g[data-ply]")) {
      const at = Number(group.dataset.ply);
      group.setAttribute("class", at === ply ? "now" : at < ply ? "before" : "later");
    }
    for (const bar of svg.querySelectorAll("rect")) bar.setAttribute("class", Number(bar.dataset.ply) === ply ? "bar now" : "bar");
    const way = found.path.slice(0, step + 1).map(([a, b]) => `${x(a)} ${y(b)}`);
    byId("search-path").setAttribute("d", `M${way.join("L")}`);
    const [a, b] = found.path[Math.min(step, found.path.length - 1)];
    byId("search-here").setAttribute("cx", x(a));
    byId("search-here").setAttribute("cy", y(b));
  }

  // ---- one problem

  function name(at) { return data.actions[story.actions[at]]; }

  function describe() {
    const length = story.actions.length;
    const parts = [`Step ${step} of ${length}${step ? `, after ${name(step - 1)}` : ""}.`];
    if (step && story.illegal.includes(step - 1)) parts.push("This action is not possible here, nothing happened.");
    const cost = story.costs[step], distance = story.distances[step];
    if (cost !== null && cost !== undefined) parts.push(`Predicted: ${cost.toFixed(1)} to go.`);
    if (distance !== null) parts.push(`Exact: ${distance}.`);
    if (story.imagined) {
      const same = story.imagined[step] === story.states[step];
      parts.push(same ? "The model imagines the real state." : "The model imagines another state.");
    }
    return parts.join(" ");
  }

  function show(at) {
    step = Math.max(0, Math.min(at, story.actions.length));
    const text = describe();
    draw(byId("real"), story.states[step], `The real state. ${text}`);
    if (story.imagined) {
      draw(byId("imagined"), story.imagined[step], "The state that the model imagines");
      const same = story.imagined[step] === story.states[step];
      byId("match").textContent = same ? "✓ the same" : "✗ not the same";
      byId("match").className = `match ${same ? "yes" : "no"}`;
      byId("imagined-figure").classList.toggle("parted", !same);
    }
    byId("slider").value = step;
    byId("slider").setAttribute("aria-valuetext", text);
    byId("status").textContent = text;
    byId("plan").querySelectorAll("button").forEach((button, index) => {
      button.classList.toggle("done", index < step);
      if (index === step - 1) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    });
    const cursor = byId("cursor"), x = Number(cursor.dataset.from) + step * Number(cursor.dataset.by);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    showSearch();
  }

  function table() {
    const place = byId("table");
    place.replaceChildren();
    const head = html("tr", {}, "", html("thead", {}, "", place));
    for (const title of ["step", "action", "predicted to go", "exact", "difference of latents"]) html("th", { scope: "col" }, title, head);
    const body = html("tbody", {}, "", place);
    story.states.forEach((_, at) => {
      const row = html("tr", {}, "", body), difference = story.differences && story.differences[at];
      const distance = story.distances[at];
      const cells = [at, at ? name(at - 1) : "start", story.costs[at] ?? "", distance === null ? "" : distance, difference ?? ""];
      for (const cell of cells) html("td", {}, String(cell), row);
    });
  }

  function open(index) {
    pause();
    story = data.stories[index];
    byId("problems").querySelectorAll("button").forEach((button, at) => {
      if (at === index) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    });
    const length = story.actions.length, fewest = story.optimal === null ? "" : `; the fewest possible are ${story.optimal}`;
    const verdict = { false_claim: "claims the goal falsely", unsolved: "not solved", refuted: "refuted" }[story.outcome] || "solved";
    const parting = story.parting === null ? "" : ` Imagination and reality part at step ${story.parting}.`;
    byId("heading").textContent = `Problem ${story.number}: ${verdict}, ${plural(length, "move")}${fewest}.${parting}`;
    byId("words").hidden = !story.words;
    byId("words").textContent = story.words || "";
    byId("imagined-figure").hidden = !story.imagined;
    byId("goal-figure").hidden = story.goal === null;
    if (story.goal !== null) draw(byId("goal"), story.goal, "The goal");
    byId("slider").max = length;
    byId("plan").replaceChildren();
    story.actions.forEach((_, at) => {
      const item = html("li", {}, "", byId("plan"));
      const button = html("button", { type: "button", "aria-label": `Step ${at + 1}: ${name(at)}` }, name(at), item);
      if (story.illegal.includes(at)) button.classList.add("wrong");
      button.addEventListener("click", () => { pause(); show(at + 1); });
    });
    drawCosts();
    drawSearch();
    table();
    show(0);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    byId("play").textContent = "▶";
    byId("play").setAttribute("aria-label", "Play");
  }

  function play() {
    if (timer) return pause();
    if (step >= story.actions.length) show(0);
    byId("play").textContent = "❚❚";
    byId("play").setAttribute("aria-label", "Pause");
    timer = setInterval(() => {
      if (step >= story.actions.length) pause(); else show(step + 1);
    }, MILLISECONDS_PER_STEP);
  }

  function by(change) { pause(); show(step + change); }

  function other(change) {
    const index = data.stories.indexOf(story) + change;
    if (index < 0 || index >= data.stories.length) return;
    open(index);
    byId("problems").querySelectorAll("button")[index].scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // ---- the page

  byId("title").textContent = data.title;
  for (const [label, value] of data.facts) {
    const fact = html("div", {}, "", byId("facts"));
    html("dt", {}, label, fact);
    html("dd", {}, value, fact);
  }
  data.stories.forEach((told, index) => {
    const item = html("li", { class: told.outcome }, "", byId("problems"));
    const button = html("button", { type: "button" }, "", item);
    html("span", {}, `${told.number}`, button);
    html("span", { class: "outcome" }, `${OUTCOMES[told.outcome]} · ${told.actions.length}`, button);
    button.addEventListener("click", () => open(index));
  });
  byId("first").addEventListener("click", () => by(-Infinity));
  byId("back").addEventListener("click", () => by(-1));
  byId("forward").addEventListener("click", () => by(1));
  byId("play").addEventListener("click", play);
  byId("slider").addEventListener("input", (event) => { pause(); show(Number(event.target.value)); });
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.id === "slider") return;
    const deeds = { ArrowRight: () => by(1), ArrowLeft: () => by(-1), ArrowDown: () => other(1), ArrowUp: () => other(-1), Home: () => by(-Infinity), End: () => by(Infinity) };
    if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") deeds[" "] = play;
    const deed = deeds[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
  });
  // page.html#17/5 is problem 17 at step 5: a link to what one wants to show.
  function follow() {
    const [number, at] = location.hash.slice(1).split("/").map(Number);
    const index = data.stories.findIndex((told) => told.number === number);
    if (index < 0 && story) return;
    open(Math.max(index, 0));
    if (index >= 0 && at > 0) show(at);
  }

  addEventListener("hashchange", follow);
  follow();
})();

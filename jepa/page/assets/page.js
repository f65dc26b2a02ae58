"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const { element } = charts;
  const OUTCOMES = {
    optimal: "shortest plan", longer: "solved", unsolved: "not solved", false_claim: "false claim", refuted: "refuted",
  };
  const MILLISECONDS_PER_STEP = 700;
  let story = null, step = 0, timer = null, movers = [];

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
    // The rows of the text, one after the other, are what a screen reader says for the picture.
    const rows = data.texts[number].split("\n").map((row) => row.trim().replace(/ +/g, " ")).filter((row) => row);
    picture.setAttribute("aria-label", `${label}: ${rows.join(" / ")}`);
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

  function drawCharts() {
    byId("search-card").hidden = !story.search;
    movers = [charts.drawCosts(byId("costs"), story)];
    byId("exact-legend").hidden = story.distances.every((distance) => distance === null);
    if (!story.search) return;
    movers.push(charts.drawSearch(byId("search"), story));
    byId("search-legend").textContent =
      "Latents that the beam held: up and down in the direction in which they differ most " +
      `(${Math.round(100 * story.search.explained)} % of their variance). ` +
      "Star: the goal. Line: the plan. Bars: how many it held, ply by ply.";
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
    const text = describe(), wanted = story.goal === null ? `; wanted ${story.target.trim()}` : "";
    draw(byId("real"), story.states[step], `What happened, step ${step}${wanted}`);
    if (story.imagined) {
      draw(byId("imagined"), story.imagined[step], `What the model imagined, step ${step}`);
      const same = story.imagined[step] === story.states[step];
      byId("match").textContent = same ? "✓ same" : "✗ differs";
      byId("match").className = `match ${same ? "yes" : "no"}`;
      byId("imagined-figure").classList.toggle("parted", !same);
    }
    byId("slider").value = step;
    byId("slider").setAttribute("aria-valuetext", `Step ${step} of ${story.actions.length}`);
    byId("status").textContent = text;
    byId("plan").querySelectorAll("button").forEach((button, index) => {
      button.classList.toggle("done", index < step);
      if (index === step - 1) button.setAttribute("aria-current", "step"); else button.removeAttribute("aria-current");
    });
    for (const move of movers) move(step);
  }

  function table() {
    const place = byId("table");
    place.replaceChildren();
    html("caption", { class: "unseen" }, "The plan, step by step", place);
    const head = html("tr", {}, "", html("thead", {}, "", place));
    const titles = ["step", "action", "predicted to go", "exact", "difference of latents", "state"];
    for (const title of titles) html("th", { scope: "col" }, title, head);
    const body = html("tbody", {}, "", place);
    story.states.forEach((number, at) => {
      const row = html("tr", {}, "", body), difference = story.differences && story.differences[at];
      const distance = story.distances[at];
      const cells = [at, at ? name(at - 1) : "start", story.costs[at] ?? "", distance === null ? "" : distance, difference ?? ""];
      for (const cell of cells) html("td", {}, String(cell), row);
      html("td", { class: "state" }, data.texts[number], row);
    });
  }

  function headline() {
    const length = story.actions.length, moves = plural(length, "move");
    const verdict = { false_claim: "claims the goal falsely", unsolved: "not solved", refuted: "refuted" }[story.outcome];
    const fewest = story.optimal === null ? "" : story.optimal === length && !verdict
      ? ", the fewest possible" : `; the fewest possible are ${story.optimal}`;
    const parting = story.parting === null ? "" : ` Imagination and reality part at step ${story.parting}.`;
    const found = `${verdict ? `${verdict}, ${moves}` : `solved in ${moves}`}${fewest}.${parting}`;
    return data.stories.length > 1 ? `Problem ${story.number}: ${found}` : found[0].toUpperCase() + found.slice(1);
  }

  function open(index) {
    pause();
    story = data.stories[index];
    byId("problems").querySelectorAll("button").forEach((button, at) => {
      if (at === index) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    });
    byId("heading").textContent = headline();
    byId("words").hidden = !story.words;
    byId("words").textContent = story.words || "";
    byId("imagined-figure").hidden = !story.imagined;
    byId("goal-figure").hidden = story.goal === null;
    if (story.goal !== null) draw(byId("goal"), story.goal, "The goal");
    const [width, height] = data.geometries[data.drawings[story.states[0]][0]];
    byId("boards").classList.toggle("wide", width > 1.5 * height);
    byId("slider").max = story.actions.length;
    byId("plan").replaceChildren();
    story.actions.forEach((_, at) => {
      const item = html("li", {}, "", byId("plan"));
      const button = html("button", { type: "button", "aria-label": `Step ${at + 1}: ${name(at)}` }, name(at), item);
      if (story.illegal.includes(at)) button.classList.add("wrong");
      button.addEventListener("click", () => { pause(); show(at + 1); });
    });
    drawCharts();
    table();
    show(0);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    byId("play").classList.remove("playing");
    byId("play").setAttribute("aria-label", "Play");
  }

  function play() {
    if (timer) return pause();
    if (step >= story.actions.length) show(0);
    byId("play").classList.add("playing");
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
  byId("lead-imagined").hidden = !data.stories.some((told) => told.imagined);
  document.body.classList.toggle("single", data.stories.length === 1);
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
  byId("last").addEventListener("click", () => by(Infinity));
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
  let drawnAt = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === drawnAt) return;
    drawnAt = innerWidth;
    drawCharts();
    for (const move of movers) move(step);
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

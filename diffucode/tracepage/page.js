"use strict";
(() => {
  const panels = JSON.parse(document.getElementById("data").textContent).panels;
  const last = Math.max(...panels.map((panel) => panel.last));
  const most = Math.max(1e-9, ...panels.flatMap((panel) => panel.columns.entropy.map((x) => x ?? 0)));
  const [slider, now, play, colour, tip] = ["step", "now", "play", "colour", "tip"].map((id) =>
    document.getElementById(id));
  const DELAY = 120; // milliseconds a step
  const BLUE = 230, RED = 20;
  let timer = null;

  const hue = (share) => BLUE + (RED - BLUE) * Math.min(1, Math.max(0, share));
  const shares = {
    step: (c, i) => (last ? c.step[i] / last : 0),
    probability: (c, i) => 1 - Math.exp(c.raw[i] ?? 0),
    entropy: (c, i) => (c.entropy[i] ?? 0) / most,
  };

  // --- what is there once

  function build(panel) {
    const section = document.createElement("section");
    const add = (parent, name, kind, text) => {
      const made = document.createElement(name);
      if (kind) made.className = kind;
      if (text) made.textContent = text;
      return parent.appendChild(made);
    };
    add(section, "h2", "", panel.title);
    add(section, "p", "facts", panel.facts);
    panel.count = add(section, "p", "count");
    const row = add(section, "pre");
    const columns = panel.columns;
    panel.spans = columns.text.map((text, i) => {
      const never = !columns.given[i] && columns.step[i] < 0;
      const span = add(row, "span", columns.given[i] ? "given" : never ? "never" : "token",
        columns.special[i] ? "\u220e" : text);
      if (!columns.given[i] && !never) {
        span.dataset.i = i;
        span.tabIndex = -1;
        span.addEventListener("pointerenter", (event) => show(panel, i, event));
        span.addEventListener("pointerleave", () => { tip.hidden = true; });
      }
      return span;
    });
    panel.chart = section.appendChild(scatter(panel));
    return section;
  }

  function scatter(panel) {
    const make = (name, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return made;
    };
    const { given, step } = panel.columns;
    const open = step.map((_, i) => i).filter((i) => !given[i] && step[i] >= 0);
    const chart = make("svg", { viewBox: "0 0 600 120", preserveAspectRatio: "none", role: "img" });
    chart.setAttribute("aria-label", "step, from left to right, by position, from top to bottom");
    panel.dots = open.map((i, n) => {
      const x = 6 + (588 * step[i]) / Math.max(1, last), y = 6 + (108 * n) / Math.max(1, open.length - 1);
      const dot = chart.appendChild(make("circle", { cx: x, cy: y, r: 2.4 }));
      dot.dataset.i = i;
      return dot;
    });
    panel.cursor = chart.appendChild(make("line", { y1: 0, y2: 120 }));
    return chart;
  }

  function show(panel, i, event) {
    const c = panel.columns;
    if (c.step[i] > Number(slider.value)) return;
    const number = (x) => (x === null ? "-" : x.toPrecision(3));
    const chance = (x) => (x === null ? "-" : number(Math.exp(x)));
    tip.textContent = [
      `${JSON.stringify(c.text[i])}  #${c.token[i]}, position ${i}`,
      `step ${c.step[i]}, its number ${c.rank[i] + 1}`,
      `probability ${chance(c.raw[i])}, drawn with ${chance(c.behaviour[i])}`,
      `entropy ${number(c.entropy[i])} nats, at temperature ${number(c.tau[i])}: ${number(c.tempered[i])}`,
    ].join("\n");
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - box.width - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 16, innerHeight - box.height - 8)}px`;
  }

  // --- what a step changes

  function draw() {
    const at = Number(slider.value);
    now.textContent = `step ${at} of ${last}`;
    for (const panel of panels) {
      const { step, given } = panel.columns;
      let written = 0, open = 0;
      panel.spans.forEach((span, i) => {
        if (given[i] || step[i] < 0) return;
        const done = step[i] <= at;
        if (done) written += 1; else open += 1;
        span.className = done ? (step[i] === at ? "token written fresh" : "token written") : "token open";
        span.style.setProperty("--hue", hue(shares[colour.value](panel.columns, i)).toFixed(0));
      });
      panel.dots.forEach((dot) => {
        const i = Number(dot.dataset.i);
        dot.setAttribute("class", step[i] <= at ? "" : "ahead");
        dot.style.setProperty("--hue", hue(shares[colour.value](panel.columns, i)).toFixed(0));
      });
      const x = 6 + (588 * Math.min(at, last)) / Math.max(1, last);
      panel.cursor.setAttribute("x1", x);
      panel.cursor.setAttribute("x2", x);
      panel.count.textContent = `${written} written, ${open} open`;
    }
  }

  function go(step) {
    slider.value = Math.min(last, Math.max(0, step));
    tip.hidden = true;
    draw();
    remember();
  }

  function remember() {
    const theme = document.documentElement.dataset.theme;
    const state = new URLSearchParams({ step: slider.value, colour: colour.value, ...(theme && { theme }) });
    history.replaceState(null, "", `#${state}`);
  }

  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    if (["dark", "light"].includes(state.get("theme"))) document.documentElement.dataset.theme = state.get("theme");
    if (state.get("colour") in shares) colour.value = state.get("colour");
    const step = Number.parseInt(state.get("step") ?? last, 10);
    slider.value = Number.isNaN(step) ? last : step;
    draw();
  }

  function toggle() {
    if (timer !== null) {
      clearInterval(timer);
      timer = null;
    } else {
      if (Number(slider.value) >= last) go(0);
      timer = setInterval(() => {
        if (Number(slider.value) >= last) toggle(); else go(Number(slider.value) + 1);
      }, DELAY);
    }
    play.textContent = timer === null ? "play" : "pause";
  }

  function theme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember();
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === colour || (event.key === " " && event.target.tagName === "BUTTON")) return;
    const choices = Object.keys(shares);
    const act = {
      ArrowLeft: () => go(Number(slider.value) - 1),
      ArrowRight: () => go(Number(slider.value) + 1),
      Home: () => go(0),
      End: () => go(last),
      " ": toggle,
      c: () => {
        colour.value = choices[(choices.indexOf(colour.value) + 1) % choices.length];
        draw();
        remember();
      },
      t: theme,
    }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  }

  slider.max = last;
  document.getElementById("panels").append(...panels.map(build));
  slider.addEventListener("input", () => go(Number(slider.value)));
  colour.addEventListener("change", () => { draw(); remember(); });
  play.addEventListener("click", toggle);
  document.getElementById("theme").addEventListener("click", theme);
  document.addEventListener("keydown", key);
  addEventListener("hashchange", restore);
  restore();
})();

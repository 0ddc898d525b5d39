// The page of a review. Nothing is fetched from elsewhere, and no text becomes markup.
"use strict";

const CELL_WIDTH = 140, CELL_HEIGHT = 204, HEAD_HEIGHT = 40, PADDING = 16, BEYOND = 600;
const RUNNING_MS = 700, IDLE_MS = 4000;
const WORDS = { keep: "kept", drop: "dropped", open: "undecided" };
const STEPS = { judge: "Asking the model", refine: "Refining", deploy: "Deploying" };
const ENDED = { done: "done", failed: "failed", cancelled: "cancelled" };

const $ = (id) => document.getElementById(id);
const grid = $("grid"), height = document.createElement("div");
height.id = "height";
height.setAttribute("role", "presentation");

let review = null;      // What the server said at first.
let files = [];         // Each with name, kind, decision, and what the model said.
let view = [];          // The numbers of the files that are shown, in their order.
let rows = [];          // Of the grid: headings, and rows of files.
let columns = 1;
let active = 0;         // A place in the view.
let anchor = 0;         // Where a selection by Shift has begun.
const chosen = new Set();
const drawn = new Map();
let status = null;
let lastStep = "";

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(text, problem = false) {
  $("said").textContent = text;
  $("said").classList.toggle("problem", problem);
}

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch("api/" + path, options);
  } catch {
    say("The server of this page does not answer. Start torchserve-fire review again: all decisions are kept.", true);
    return null;
  }
  if (answer.status === 403) {
    say("This page is of an earlier start. Open the address that torchserve-fire review printed last.", true);
    return null;
  }
  const values = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    say(values.problem || "The server refused this (" + answer.status + ").", true);
    return null;
  }
  return values;
}

// What is shown, and where.

const groupOf = (file) => file.group === undefined ? -1 : file.group;
const excess = (file) => file.score == null ? -Infinity : file.score - (file.threshold ?? 0);
const isShown = (file) => $("show").value === "all" || file.decision === $("show").value;
const count = (n, what) => n.toLocaleString("en") + " " + what + (n === 1 ? "" : "s");

function groupTitle(group, members) {
  const n = count(members.length, "file");
  if (group < 0) return review.status.judged ? "Not grouped: " + n : "Not grouped yet: " + n;
  const before = commonest(members, "before"), after = commonest(members, "after");
  return "Group " + (group + 1) + ": " + n + (before ? ", mostly " + before + " → " + after : "");
}

function commonest(members, key) {
  const counts = new Map();
  for (const i of members) {
    const value = files[i][key];
    if (value !== undefined) counts.set(value, (counts.get(value) || 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

function arrange(keepPlace = true) {
  const current = view[active], place = active;
  const order = $("order").value, sign = order === "low" ? 1 : -1;
  view = files.map((_, i) => i).filter((i) => isShown(files[i]));
  view.sort((a, b) => {
    // What is in no group comes last.
    const groups = (groupOf(files[a]) >>> 0) - (groupOf(files[b]) >>> 0);
    if (groups) return groups;
    const one = excess(files[a]), other = excess(files[b]);
    return (order === "name" || one === other ? 0 : sign * (one < other ? -1 : 1)) || a - b;
  });
  const found = keepPlace ? view.indexOf(current) : 0;
  active = Math.max(0, Math.min(found < 0 ? place : found, view.length - 1));
  anchor = active;
  lay();
}

function lay() {
  columns = Math.max(1, Math.floor((grid.clientWidth - PADDING + 8) / CELL_WIDTH));
  rows = [];
  let y = 0, from = 0;
  while (from < view.length) {
    const group = groupOf(files[view[from]]);
    let to = from;
    while (to < view.length && groupOf(files[view[to]]) === group) to++;
    rows.push({ y, height: HEAD_HEIGHT, group, from, to });
    y += HEAD_HEIGHT;
    for (let first = from; first < to; first += columns) {
      rows.push({ y: y + 8, height: CELL_HEIGHT, from: first, to: Math.min(to, first + columns) });
      y += CELL_HEIGHT;
    }
    y += 8;
    from = to;
  }
  height.style.height = y + 8 + "px";
  grid.setAttribute("aria-rowcount", rows.length);
  grid.setAttribute("aria-colcount", columns);
  $("empty").hidden = view.length > 0;
  for (const row of drawn.values()) row.remove();
  drawn.clear();
  draw();
}

function rowAt(y) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].y + rows[middle].height < y) low = middle + 1; else high = middle;
  }
  return low;
}

function draw() {
  const top = grid.scrollTop - BEYOND, bottom = grid.scrollTop + grid.clientHeight + BEYOND;
  const first = rowAt(top), wanted = new Set();
  for (let r = first; r < rows.length && rows[r].y < bottom; r++) wanted.add(r);
  for (const [r, row] of drawn) if (!wanted.has(r)) { row.remove(); drawn.delete(r); }
  for (const r of wanted) {
    if (drawn.has(r)) continue;
    const row = rows[r].group === undefined ? drawFiles(rows[r]) : drawHead(rows[r]);
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", r + 1);
    row.style.transform = "translateY(" + rows[r].y + "px)";
    row.style.height = rows[r].height + "px";
    drawn.set(r, row);
    grid.append(row);
  }
  mark();
}

function drawHead(row) {
  const head = element("div", "", "row head");
  const members = view.slice(row.from, row.to), title = groupTitle(row.group, members);
  const what = element("div", title, "what");
  what.setAttribute("role", "rowheader");
  const buttons = element("div");
  buttons.setAttribute("role", "gridcell");
  for (const [decision, word] of [["keep", "Keep"], ["drop", "Drop"]]) {
    const button = element("button", word + " group");
    button.type = "button";
    // By keys: G, and then K or D.
    button.tabIndex = -1;
    button.addEventListener("click", () => decide(members, decision));
    buttons.append(button, " ");
  }
  head.append(what, buttons);
  return head;
}

function drawFiles(row) {
  const made = element("div", "", "row");
  for (let place = row.from; place < row.to; place++) {
    const i = view[place], file = files[i], cell = element("div", "", "cell");
    cell.id = "file-" + i;
    cell.dataset.place = place;
    cell.setAttribute("role", "gridcell");
    cell.append(face(file, i));
    if (file.before !== undefined) {
      cell.append(element("div", file.before + " → " + file.after, "line called"));
    } else if (file.problem) {
      cell.append(element("div", "not readable", "line"));
    }
    if (file.score != null) cell.append(element("div", scoreText(file), "line score"));
    cell.append(element("div", WORDS[file.decision], "decided"));
    cell.title = file.name + (file.problem ? "\n" + file.problem : "");
    made.append(cell);
  }
  return made;
}

function face(file, i) {
  if (file.kind !== "picture") return element("div", file.text || "numbers", "text");
  const image = element("img");
  // The name and what was said of it stand in the cell's label.
  image.alt = "";
  image.decoding = "async";
  image.src = "picture/" + i;
  image.addEventListener("error", () => image.replaceWith(element("div", "cannot be shown", "text")));
  return image;
}

function scoreText(file) {
  const short = (value) => Number(value.toPrecision(3));
  return "score " + short(file.score) + (file.threshold == null ? "" : " / " + short(file.threshold));
}

function label(file) {
  const said = file.before === undefined ? file.problem : file.before + " before, " + file.after + " after repair";
  return [file.name, file.text, said, file.score == null ? "" : scoreText(file), WORDS[file.decision]]
    .filter(Boolean).join(", ");
}

function mark() {
  for (const cell of grid.querySelectorAll(".cell")) {
    const place = Number(cell.dataset.place), i = view[place], file = files[i];
    cell.className = "cell is-" + file.decision + (place === active ? " active" : "");
    cell.setAttribute("aria-selected", chosen.has(i));
    cell.setAttribute("aria-label", label(file));
    cell.setAttribute("aria-colindex", (place - rows[rowOf(place)].from) + 1);
    cell.lastChild.textContent = WORDS[file.decision];
  }
  if (view.length && $("file-" + view[active])) grid.setAttribute("aria-activedescendant", "file-" + view[active]);
  else grid.removeAttribute("aria-activedescendant");
  $("chosen").textContent = chosen.size ? count(chosen.size, "file") + " selected" : "";
}

function rowOf(place) {
  let low = 0, high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows[middle].from <= place) low = middle; else high = middle - 1;
  }
  return low;
}

// Moving, and selecting.

function go(place, extend = false) {
  if (!view.length) return;
  active = Math.max(0, Math.min(place, view.length - 1));
  if (extend) {
    chosen.clear();
    for (let p = Math.min(anchor, active); p <= Math.max(anchor, active); p++) chosen.add(view[p]);
  } else {
    anchor = active;
  }
  const row = rows[rowOf(active)], head = row.from === 0 ? HEAD_HEIGHT + 8 : 8;
  if (row.y - head < grid.scrollTop) grid.scrollTop = row.y - head;
  const bottom = row.y + row.height + 8;
  if (bottom > grid.scrollTop + grid.clientHeight) grid.scrollTop = bottom - grid.clientHeight;
  draw();
}

function vertically(steps) {
  const r = rowOf(active), column = active - rows[r].from, sign = Math.sign(steps);
  let place = active;
  for (let left = Math.abs(steps), next = r; left > 0;) {
    next += sign;
    if (next < 0 || next >= rows.length) break;
    if (rows[next].group !== undefined) continue;
    place = Math.min(rows[next].from + column, rows[next].to - 1);
    left--;
  }
  return place;
}

const screenful = () => Math.max(1, Math.floor(grid.clientHeight / CELL_HEIGHT) - 1);

const MOVES = {
  ArrowLeft: () => active - 1,
  ArrowRight: () => active + 1,
  ArrowUp: () => vertically(-1),
  ArrowDown: () => vertically(1),
  PageUp: () => vertically(-screenful()),
  PageDown: () => vertically(screenful()),
  Home: () => 0,
  End: () => view.length - 1,
};

const KEYS = {
  k: () => decideChosen("keep"),
  d: () => decideChosen("drop"),
  u: () => decideChosen("open"),
  z: undo,
  a: selectAll,
  g: selectGroup,
  Escape: () => { chosen.clear(); mark(); },
  " ": () => { toggle(view[active]); mark(); },
  Enter: showLarge,
};

// What was pressed before comes first: its answer moves on, and clears what is selected.
let turn = Promise.resolve();

function inTurn(act) {
  turn = turn.then(act).catch((error) => console.error(error));
}

grid.addEventListener("keydown", (event) => {
  if (event.target !== grid || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && !["a", "z"].includes(key)) return;
  const extend = event.shiftKey;
  if (MOVES[key]) inTurn(() => go(MOVES[key](), extend));
  else if (KEYS[key]) inTurn(() => (view.length || key === "z") && KEYS[key]());
  else return;
  event.preventDefault();
});

grid.addEventListener("click", (event) => {
  const cell = event.target.closest(".cell");
  if (cell) inTurn(() => select(Number(cell.dataset.place), event));
});
grid.addEventListener("dblclick", (event) => { if (event.target.closest(".cell")) showLarge(); });
grid.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
new ResizeObserver(() => {
  if (review && Math.max(1, Math.floor((grid.clientWidth - PADDING + 8) / CELL_WIDTH)) !== columns) lay();
  else if (review) draw();
}).observe(grid);

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("select, input, textarea");
  if (event.key === "?" && !typing && !document.querySelector("dialog[open]")) $("help").showModal();
});

function select(place, event) {
  if (event.shiftKey) return go(place, true);
  if (event.ctrlKey || event.metaKey) toggle(view[place]);
  else chosen.clear();
  return go(place);
}

function toggle(i) {
  if (!chosen.delete(i)) chosen.add(i);
}

function selectAll() {
  for (const i of view) chosen.add(i);
  mark();
  say(count(view.length, "file") + " selected.");
}

function selectGroup() {
  const group = groupOf(files[view[active]]);
  chosen.clear();
  for (const i of view) if (groupOf(files[i]) === group) chosen.add(i);
  mark();
  say(count(chosen.size, "file") + " of this group selected.");
}

// Deciding.

function decideChosen(decision) {
  if (!view.length) return undefined;
  const shown = view.filter((i) => chosen.has(i));
  const single = !shown.length;
  return decide(single ? [view[active]] : shown, decision, single);
}

async function decide(numbers, decision, step = false) {
  const answer = await ask("decide", { files: numbers, decision });
  if (!answer) return;
  take(answer);
  chosen.clear();
  const before = view[active];
  refresh();
  if (step && view[active] === before) go(active + 1); else go(active);
  say(count(numbers.length, "file") + " " + WORDS[decision] + ".");
}

async function undo() {
  const answer = await ask("undo", {});
  if (!answer) return;
  take(answer);
  chosen.clear();
  refresh();
  const first = answer.changed.length ? view.indexOf(answer.changed[0][0]) : -1;
  go(first < 0 ? active : first);
  say(answer.changed.length ? "Undone: " + count(answer.changed.length, "file") + " as before." : "There is nothing to undo.");
}

function take(answer) {
  for (const [i, decision] of answer.changed) files[i].decision = decision;
  showStatus(answer.status);
}

function refresh() {
  if ($("show").value === "all") mark(); else arrange();
}

function showLarge() {
  const i = view[active], file = files[i];
  if (!file) return;
  $("l-title").textContent = file.name;
  const isPicture = file.kind === "picture";
  $("l-picture").hidden = !isPicture;
  $("l-text").hidden = isPicture;
  if (isPicture) {
    $("l-picture").src = "picture/" + i + "/large";
    $("l-picture").alt = label(file);
  } else $("l-text").textContent = file.text || "numbers, which are not shown";
  const facts = [["before repair", file.before], ["after repair", file.after],
    ["score / threshold", file.score == null ? undefined : scoreText(file).slice(6)],
    ["flagged by this bundle", file.flagged === undefined ? undefined : file.flagged ? "yes" : "no"],
    ["problem", file.problem], ["decided", WORDS[file.decision]]];
  $("l-facts").replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
  $("large").showModal();
}

// Steps.

const percent = (share) => (100 * share).toFixed(1) + " %";

function showStatus(now) {
  status = now;
  review.status = now;
  for (const word of ["keep", "drop", "open"]) $("n-" + word).textContent = now.counts[word].toLocaleString("en");
  $("share").value = (now.counts.keep + now.counts.drop) / Math.max(1, files.length);
  $("undo").disabled = !now.can_undo;
  showStep(now.step);
  showRefined(now.refined);
}

function showStep(step) {
  const running = step?.state === "running";
  // That the model was asked is no news once it has answered.
  $("running").hidden = !step || (step.name === "judge" && step.state === "done");
  if (step) {
    $("h-running").textContent = STEPS[step.name] + (running ? " …" : ": " + ENDED[step.state]);
    $("doing").textContent = running ? step.doing + (step.percent === null ? "" : " " + step.percent + " %") : ended(step);
    $("progress").hidden = $("cancel").hidden = !running;
    $("again").hidden = running || step.name !== "judge";
    if (step.percent === null) $("progress").removeAttribute("value"); else $("progress").value = step.percent;
    const text = step.lines.join("\n");
    if ($("lines").textContent !== text) $("lines").textContent = text;
    const now = step.name + " " + step.state;
    if (now !== lastStep && lastStep) say(STEPS[step.name] + (running ? " has begun." : ": " + ENDED[step.state] + ". " + ended(step)), step.state === "failed");
    lastStep = now;
  }
  const reason = review.cannot_refine || (running ? "Another step is running." : "") || (status.counts.keep < review.least_kept ? "Keep at least " + review.least_kept + " files first." : "");
  $("refine").disabled = Boolean(reason);
  $("refine-note").textContent = reason || "Builds a better bundle of the " + count(status.counts.keep, "file") + " that you kept, and compares it with the old one.";
}

function ended(step) {
  if (step.state === "cancelled") return "Nothing was changed.";
  const last = step.lines[step.lines.length - 1] || "";
  if (step.state === "failed") return last.replace(/^torchserve-fire \S+: /, "");
  return "It took " + Math.max(1, Math.round(step.seconds)) + " s.";
}

function showRefined(refined) {
  $("comparison").hidden = !refined;
  const running = status.step?.state === "running";
  const reason = review.cannot_deploy || (refined ? "" : "Refine first.") || (running ? "Another step is running." : "");
  $("deploy").disabled = Boolean(reason);
  $("deploy-note").textContent = reason || (refined.deployed
    ? "The new bundle is in service. To go back: torchserve-fire swap with the old bundle."
    : "Puts the new bundle into service, without a lost request.");
  if (!refined) return;
  $("verdict").textContent = refined.verdict;
  $("verdict").className = refined.worse ? "worse" : refined.rows.some((row) => row.change === "better") ? "better" : "";
  $("rows").replaceChildren(...refined.rows.map((row) => {
    const made = element("tr", "", row.change), name = element("th", row.name);
    name.scope = "row";
    name.append(element("br"), element("small", "of " + row.count));
    made.append(name, figure(row.old, row.old_interval), figure(row.new, row.new_interval));
    return made;
  }));
  const counts = refined.counts;
  $("bundle").textContent = "Built from " + counts.built_from + " of " + counts.kept + " kept files. Bundle " + refined.new.slice(0, 12) + ", in " + review.output + "."
    + (refined.stale ? " You have decided otherwise since: refine again to take that in." : "");
}

function figure(share, [low, high]) {
  const cell = element("td", percent(share));
  cell.append(element("small", (100 * low).toFixed(0) + " to " + (100 * high).toFixed(0) + " %"));
  return cell;
}

function question(title, paragraphs, yes, path) {
  $("q-title").textContent = title;
  $("q-text").replaceChildren(...paragraphs.map((text) => element("p", text)));
  $("q-yes").textContent = yes;
  $("q-yes").onclick = async () => {
    $("question").close();
    const answer = await ask(path, {});
    if (answer) { showStatus(answer.status); poll(); }
  };
  $("question").showModal();
  $("q-no").focus();
}

$("refine").addEventListener("click", () => question(
  "Build a bundle of " + count(status.counts.keep, "kept file") + "?",
  ["It takes some minutes. A quarter of the kept files and of the clean samples is held out, to compare both bundles.",
    "Nothing that is served changes." + (status.counts.open ? " " + count(status.counts.open, "undecided file") + " and what you dropped are left out." : "")],
  "Build it", "refine"));

$("deploy").addEventListener("click", () => question(
  "Put the new bundle into service?",
  [review.title + " " + review.version + " at " + review.server + " will go by bundle " + status.refined.new.slice(0, 12) + " in the place of " + status.refined.old.slice(0, 12) + ". No request is lost. On any failure the old bundle serves on.",
    status.refined.verdict + (status.refined.stale ? " You have decided otherwise since it was built." : "")],
  "Deploy it", "deploy"));

let timer = 0;
async function poll() {
  clearTimeout(timer);
  const wasJudged = status.judged;
  const now = await ask("status");
  if (now) {
    showStatus(now);
    if (now.judged && !wasJudged) await load();
  }
  timer = setTimeout(poll, status.step?.state === "running" ? RUNNING_MS : IDLE_MS);
}

async function load() {
  const state = await ask("state");
  if (!state) return;
  const first = !review;
  review = state;
  files = state.files;
  document.title = "Review of " + state.title;
  $("title").textContent = "Review of " + state.title;
  $("about").textContent = [count(files.length, "file"), "in " + state.folder, state.passed_over].filter(Boolean).join(", ");
  showStatus(state.status);
  arrange(!first);
  if (first) { grid.focus(); say(""); }
}

for (const [id, run] of Object.entries({
  keep: () => decideChosen("keep"), drop: () => decideChosen("drop"), open: () => decideChosen("open"),
  undo, "select-all": selectAll,
})) $(id).addEventListener("click", () => inTurn(run));
for (const [id, run] of Object.entries({
  cancel: async () => { const a = await ask("cancel", {}); if (a) showStatus(a.status); },
  again: async () => { const a = await ask("judge", {}); if (a) { showStatus(a.status); poll(); } },
  "help-open": () => $("help").showModal(), "help-close": () => $("help").close(),
  "l-close": () => $("large").close(), "q-no": () => $("question").close(),
})) $(id).addEventListener("click", run);
for (const id of ["show", "order"]) $(id).addEventListener("change", () => { chosen.clear(); arrange(); go(active); });

grid.append(height);
load().then(() => { if (review) timer = setTimeout(poll, RUNNING_MS); });

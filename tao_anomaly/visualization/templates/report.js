"use strict";
// Draws the report from the data in the page; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const TERMS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
  "#999999", "#882255", "#44aa99", "#332288", "#ddcc77",
];
const PAGE = 48; // events shown at first
const clipOf = new Map(data.clips.map((clip, i) => [clip.name, i]));
let shown = PAGE;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") element.style.cssText = value;
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const fixed = (value, digits = 1) => (value === null ? "–" : value.toFixed(digits));
const percent = (value) => (value === undefined || value === null ? "–" : (100 * value).toFixed(1));
const termColour = (i) => TERMS[i % TERMS.length];
const words = (name) => name.replaceAll("_", " ");
const epochs = new Set([...data.events, ...data.tracks].map((found) => found.track.split("-")[0]));
const numberOf = (found) => (epochs.size > 1 ? found.track : found.track.split("-").pop());

// ---- filters ----
const filters = ["clip", "class", "event", "labelled"];
function fill(id, first, values) {
  $(id).append(make("option", { value: "" }, first));
  for (const [value, text] of values) $(id).append(make("option", { value }, text));
}
function setUpFilters() {
  fill("clip", "all", data.clips.map((clip) => [clip.name, clip.name]));
  const classes = new Set([...data.events, ...data.tracks].map((found) => found.class));
  fill("class", "all", [...classes].sort().map((name) => [name, name]));
  fill("event", "all", data.events.map((event, i) => [String(i), `${event.clip} · ${event.class} ${numberOf(event)} · ${fixed(event.score)}`]));
  $("labelled-field").hidden = !data.events.some((event) => event.labelled !== null);
  for (const id of filters) $(id).addEventListener("change", () => {
    shown = PAGE;
    update();
    if (id === "event" && $(id).value) openDetail(data.events[Number($(id).value)]);
  });
  $("clear").addEventListener("click", () => {
    for (const id of filters) $(id).value = "";
    shown = PAGE;
    update();
  });
  $("more").addEventListener("click", () => { shown += PAGE; drawEvents(); });
}
function passes(found, isEvent = true) {
  const { value: clip } = $("clip"), { value: kind } = $("class");
  if ((clip && found.clip !== clip) || (kind && found.class !== kind)) return false;
  if (!isEvent) return true;
  const { value: event } = $("event"), { value: labelled } = $("labelled");
  return (!event || data.events[Number(event)] === found) && (!labelled || String(found.labelled) === labelled);
}

// ---- cards ----
function bar(found) {
  const parts = found.contributions.map((value) => Math.max(value ?? 0, 0));
  const reach = Math.max(found.score ?? 0, found.threshold ?? 0, parts.reduce((a, b) => a + b, 0), 1e-9);
  const title = data.terms.map((name, i) => `${words(name)} ${fixed(found.contributions[i], 2)}`).join(", ");
  return make("div", { className: "bar", title }, ...parts.map((part, i) =>
    make("i", { style: `width:${(100 * part) / reach}%;background:${termColour(i)}` })));
}
function picture(found) {
  return found.thumbnail
    ? make("img", { className: "picture", src: found.thumbnail, alt: `${found.class} ${found.track}`, loading: "lazy" })
    : make("span", { className: "picture" });
}
function tag(found) {
  if (found.labelled === null) return null;
  const kinds = found.kinds.map(words).join(", ");
  return make("span", { className: `tag ${found.labelled}` }, found.labelled ? kinds || "labels agree" : "false alarm");
}
function eventCard(event) {
  const card = make("button", { className: "card", type: "button" }, picture(event), make("div", { className: "text" },
    make("b", {}, event.cue || "Anomalous"),
    make("small", {}, `${event.class} ${numberOf(event)} · ${event.clip}`),
    make("small", {}, `${fixed(event.start)} s, for ${fixed(event.duration)} s · peak ${fixed(event.score)}`),
    tag(event), bar(event)));
  card.addEventListener("click", () => openDetail(event));
  return card;
}
function trackCard(track) {
  const card = make("button", { className: "card", type: "button" }, picture(track), make("div", { className: "text" },
    make("b", {}, `${fixed(track.score, 2)} ${track.class}`),
    make("small", {}, track.cue), make("small", {}, `${track.clip} · track ${numberOf(track)}`)));
  card.addEventListener("click", () => openDetail(track));
  return card;
}
function drawEvents() {
  const found = data.events.filter((event) => passes(event));
  const none = data.events.length ? "No event passes the filter." : "No event: no object stayed at the threshold for long enough.";
  $("events").replaceChildren(...(found.length ? found.slice(0, shown).map(eventCard) : [make("p", { className: "empty" }, none)]));
  $("more").hidden = found.length <= shown;
  $("count").textContent = `${found.length} of ${data.events.length} events`;
  const tracks = data.tracks.filter((track) => passes(track, false));
  const empty = data.tracks.length ? "No track passes the filter." : "No object was tracked and scored.";
  $("tracks").replaceChildren(...(tracks.length ? tracks.map(trackCard) : [make("p", { className: "empty" }, empty)]));
}

// ---- detail ----
function openDetail(found) {
  const top = Math.max(...found.contributions.map((value) => Math.abs(value ?? 0)), 1e-9);
  const terms = data.terms.map((name, i) => make("div", { className: "term" }, make("span", {}, words(name)),
    make("div", { className: "track" }, make("i", { style: `width:${(100 * Math.max(found.contributions[i] ?? 0, 0)) / top}%;background:${termColour(i)}` })),
    make("span", {}, fixed(found.contributions[i], 2))));
  const media = found.video || found.thumbnail;
  $("detail-body").replaceChildren(
    make("h3", {}, found.cue || `Track ${found.track}`, make("small", {}, `${found.class} ${found.track} in ${found.clip}, frames ${found.first} to ${found.last}, ${fixed(found.duration)} s`)),
    media ? make("img", { className: "clip", src: media, alt: "The object on its way" }) : make("p", { className: "muted" }, "No picture: the images are not at hand, or beyond the number of short videos."),
    make("div", {}, make("h4", {}, "What adds up to the score"), ...terms,
      make("div", { className: "term sum" }, make("span", {}, "score"), make("span", { className: "muted" }, `threshold ${fixed(found.threshold, 2)}`), make("span", {}, fixed(found.score, 2))),
      tag(found)),
    evidence(found.evidence));
  $("detail").showModal();
}
function evidence(found) {
  if (!found) return "";
  const parts = [];
  if (found.steps) {
    const { times, cues, deviations } = found.steps;
    const cells = cues.map((cue, row) => [make("span", {}, cue), ...deviations[row].map((value, i) =>
      make("i", { title: `${fixed(times[i], 2)} s: ${fixed(value)} deviations`, style: `background:${heat(value)}` }))]).flat();
    parts.push(make("h4", {}, "Surprise at each step of the window, oldest left"),
      make("div", { className: "heat", style: `grid-template-columns:auto repeat(${times.length}, 1fr)` }, ...cells));
  }
  if (found.neighbours.length) parts.push(make("h4", {}, "Normal objects that look most alike"),
    make("div", { className: "neighbours" }, ...found.neighbours.map((item) => make("div", {},
      item.image ? make("img", { src: item.image, alt: "" }) : null, make("small", {}, `distance ${fixed(item.distance, 2)}`), make("small", {}, item.place)))));
  return make("div", { className: "evidence" }, ...parts);
}
function heat(value) {
  if (value === null) return "var(--grid)";
  const share = Math.min(Math.max(value / 4, 0), 1);
  return `color-mix(in oklab, var(--alarm) ${Math.round(100 * share)}%, var(--grid))`;
}

// ---- charts ----
const config = { displayModeBar: false, responsive: true };
function layout(extra) {
  const axis = { gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true };
  const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--muted"), family: "inherit", size: 12 },
    margin: { l: 48, r: 18, t: 16, b: 46 }, showlegend: false, hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") } } };
  return { ...base, ...extra, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis } };
}
function drawTimeline() {
  const chosen = $("clip").value;
  const clips = data.clips.filter((clip) => !chosen || clip.name === chosen);
  const lines = { x: [], y: [], text: [] }, limit = { x: [], y: [] }, shapes = [], ticks = { at: [], text: [] };
  const starts = new Map();
  let offset = 0;
  for (const clip of clips) {
    starts.set(clip.name, offset);
    const seconds = (frame) => offset + frame / clip.rate;
    clip.at.forEach((frame, i) => { lines.x.push(seconds(frame)); lines.y.push(clip.scores[i]); lines.text.push(`${clip.name}, frame ${frame}`); });
    lines.x.push(seconds(clip.frames)); lines.y.push(null); lines.text.push("");
    if (clip.thresholds) clip.at.forEach((frame, i) => { limit.x.push(seconds(frame)); limit.y.push(clip.thresholds[i]); });
    else if (clip.threshold !== null) { limit.x.push(offset, seconds(clip.frames)); limit.y.push(clip.threshold, clip.threshold); }
    limit.x.push(null); limit.y.push(null);
    for (const [first, last] of clip.anomalous ?? []) shapes.push({ type: "rect", xref: "x", yref: "paper", x0: seconds(first), x1: seconds(last + 1), y0: 0, y1: 1, fillcolor: css("--truth"), line: { width: 0 }, layer: "below" });
    if (!chosen && offset) shapes.push({ type: "line", xref: "x", yref: "paper", x0: offset, x1: offset, y0: 0, y1: 1, line: { color: css("--line"), width: 1 } });
    ticks.at.push(seconds(clip.frames / 2)); ticks.text.push(clip.name);
    offset = seconds(clip.frames);
  }
  const events = data.events.filter((event) => passes(event) && starts.has(event.clip));
  const place = (event) => starts.get(event.clip) + event.peak / data.clips[clipOf.get(event.clip)].rate;
  const traces = [
    { x: limit.x, y: limit.y, mode: "lines", line: { color: css("--muted"), width: 1, dash: "dot" }, hoverinfo: "skip" },
    { x: lines.x, y: lines.y, text: lines.text, mode: lines.x.length > 3 ? "lines" : "lines+markers", line: { color: css("--score"), width: 1.3 }, hovertemplate: "%{text}<br>score %{y:.2f}<extra></extra>" },
    { x: events.map(place), y: events.map((event) => event.score), customdata: events.map((event) => data.events.indexOf(event)), text: events.map((event) => `${event.class} ${numberOf(event)}: ${event.cue}`), mode: "markers",
      marker: { symbol: "diamond", size: 10, color: css("--alarm"), line: { color: css("--card"), width: 1 } }, hovertemplate: "%{text}<br>peak %{y:.2f}<extra></extra>" },
  ];
  const named = !chosen && clips.length > 1 && clips.length <= Math.max(4, Math.floor(innerWidth / 70));
  const xaxis = named ? { tickvals: ticks.at, ticktext: ticks.text, showgrid: false, range: [0, offset] } : { title: { text: "seconds" }, showgrid: false, range: [0, offset] };
  Plotly.react("timeline", traces, layout({ shapes, hovermode: "closest", xaxis, yaxis: { title: { text: "frame score" } } }), config);
}
function drawCurve(id, key, x, y, titles) {
  const group = (name) => data.rows.findIndex((row) => row.name === name);
  const traces = Object.entries(data.curves).filter(([, curves]) => curves[key]).map(([name, curves]) => ({
    x: curves[key][x], y: curves[key][y], name, mode: "lines", line: rowStyle(group(name)), hovertemplate: `${name}<br>%{x:.3f}, %{y:.3f}<extra></extra>`,
  })).reverse(); // the own row last, on top
  Plotly.react(id, traces, layout({ hovermode: "closest", xaxis: { title: { text: titles[0] }, range: [-0.01, 1.01] }, yaxis: { title: { text: titles[1] }, range: [-0.01, 1.03] } }), config);
}
function rowStyle(i) {
  const row = data.rows[i] ?? { group: "own" };
  if (i <= 0) return { color: css("--score"), width: 2.6 };
  return { color: row.group === "oracle" ? css("--muted") : termColour(i), width: 1.2, dash: row.group === "own" ? "solid" : row.group === "oracle" ? "dot" : "dash" };
}
function drawTail() {
  const tail = data.tail, series = [["calibration", "calibration", css("--score"), "markers"], ["check", "check, unseen", css("--alarm"), "markers"], ["fitted", "fitted tail", css("--ink"), "lines"]];
  const traces = series.filter(([key]) => tail[key].scores.length).map(([key, name, color, mode]) => ({ x: tail[key].scores, y: tail[key].shares, name, mode, marker: { color, size: 6, symbol: key === "check" ? "circle-open" : "circle" }, line: { color, width: 1.6 }, hovertemplate: `${name}<br>score %{x:.2f}: %{y:.2%} of tracks<extra></extra>` }));
  const mark = (line) => ({ type: "line", line: { color: css("--muted"), width: 1, dash: "dot" }, ...line });
  const shapes = [mark({ xref: "x", yref: "paper", x0: tail.threshold, x1: tail.threshold, y0: 0, y1: 1 })];
  if (tail.q) shapes.push(mark({ xref: "paper", yref: "y", x0: 0, x1: 1, y0: tail.q, y1: tail.q }));
  Plotly.react("tail", traces, layout({ shapes, showlegend: true, legend: { orientation: "h", y: 1.12, x: 0 }, margin: { l: 56, r: 16, t: 34, b: 40 },
    annotations: [{ x: tail.threshold, y: 0.98, yref: "paper", text: "threshold", showarrow: false, xanchor: "left", xshift: 5, font: { size: 11 } }],
    xaxis: { title: { text: "highest score of a track" } }, yaxis: { type: "log", title: { text: "share of normal tracks" }, tickformat: ".1%" } }), config);
}
function drawLatency() {
  const { edges, counts, p50, p95, images } = data.latency;
  const centre = counts.map((_, i) => (edges[i] + edges[i + 1]) / 2);
  const mark = (x) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: css("--alarm"), width: 1.4, dash: "dot" } });
  $("latency-caption").textContent = `Time an image takes: median ${p50} ms, 95th percentile ${p95} ms, ${images} images`;
  Plotly.react("latency", [{ type: "bar", x: centre, y: counts, marker: { color: css("--score") }, hovertemplate: "%{x:.1f} ms: %{y} images<extra></extra>" }],
    layout({ bargap: 0.06, shapes: [mark(p50), mark(p95)], xaxis: { title: { text: "milliseconds" } }, yaxis: { title: { text: "images" } } }), config);
}
function drawCharts() {
  drawTimeline();
  if (data.rows.length) {
    drawCurve("rbdc", "region_track", "fpr", "rbdr", ["false positives a frame", "regions found"]);
    drawCurve("tbdc", "region_track", "fpr", "tbdr", ["false positives a frame", "tracks found"]);
    drawCurve("roc", "roc", "fpr", "tpr", ["false-positive rate", "true-positive rate"]);
    drawCurve("pr", "pr", "recall", "precision", ["recall", "precision"]);
    $("rows").replaceChildren(...data.rows.map((row, i) => { const { color } = rowStyle(i); return make("span", {}, make("i", { className: "line", style: `background:${color}` }), row.name); }));
  }
  if (data.tail) drawTail();
  if (data.latency) drawLatency();
}

// ---- tables ----
const COLUMNS = [["RBDC", "rbdc"], ["TBDC", "tbdc"], ["Frame AUC", "frame.micro_auc"], ["Frame AP", "frame.average_precision"], ["EER", "frame.eer"], ["Pixel AUROC", "pixel.auroc"], ["Pixel AP", "pixel.average_precision"], ["AUPRO", "pixel.aupro"], ["Region F1", "operating_point.region_f1.f1"], ["Track F1", "operating_point.track_f1.f1"]];
const PUBLISHED = { rbdc: "rbdc", tbdc: "tbdc", "frame.micro_auc": "frame_auc" };
const lookUp = (metrics, path) => path.split(".").reduce((value, key) => value?.[key], metrics);
function drawTables() {
  const line = (name, cells, className = "", title = "") => make("tr", { className, title }, make("td", {}, name), ...cells.map((cell) => make("td", {}, cell)));
  const columns = COLUMNS.filter(([, path]) => data.rows.some((row) => (lookUp(row.metrics, path) ?? null) !== null));
  const published = data.published.map((row) => line(`${row.method} (published)`, columns.map(([, path]) => { const value = row.metrics[PUBLISHED[path]]; return value === undefined ? "–" : value.toFixed(1); }), "published", row.source));
  $("metrics").replaceChildren(make("thead", {}, make("tr", {}, make("th", {}, "per cent"), ...columns.map(([name]) => make("th", {}, name)))),
    make("tbody", {}, ...data.rows.map((row, i) => line(row.name, columns.map(([, path]) => percent(lookUp(row.metrics, path))), i ? "" : "own", row.note)), ...published));
  const kinds = Object.entries(data.rows[0]?.metrics.kinds ?? {});
  $("f-kinds").hidden = !kinds.length;
  $("kinds").replaceChildren(make("thead", {}, make("tr", {}, ...["kind of anomaly", "RBDC", "TBDC", "tracks", "raised an alarm", "seconds until then"].map((name) => make("th", {}, name)))),
    make("tbody", {}, ...kinds.map(([name, found]) => line(words(name), [percent(found.rbdc), percent(found.tbdc), found.tracks, found.alarmed ?? "–", fixed(found.delay)]))));
  const pair = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  $("facts").replaceChildren(...data.facts.map(({ label, value }) => pair(label, value)));
  $("protocol").replaceChildren(...Object.entries(data.protocol).map(([name, value]) => pair(name, value)));
  $("subtitle").textContent = [data.protocol.Model, data.protocol.Date].filter(Boolean).join(" · ");
  const swatch = (style, text, className = "") => make("span", {}, make("i", { className, style: `background:${style}` }), text);
  $("terms").replaceChildren(...(data.events.length ? data.terms.map((name, i) => swatch(termColour(i), words(name))) : []));
  const legend = [swatch("var(--score)", "highest score of each frame", "line"), swatch("repeating-linear-gradient(90deg, var(--muted) 0 3px, transparent 3px 5px)", "threshold", "line"), swatch("var(--alarm)", "event, click it", "diamond")];
  if (data.clips.some((clip) => clip.anomalous)) legend.push(swatch("var(--truth)", "labelled anomalous"));
  $("timeline-legend").replaceChildren(...legend);
  $("s-metrics").hidden = !data.rows.length;
  $("f-tail").hidden = !data.tail;
  $("f-latency").hidden = !data.latency;
  $("s-fit").hidden = !data.tail && !data.latency;
  $("s-protocol").hidden = !Object.keys(data.protocol).length;
}

// ---- start ----
function update() { drawEvents(); drawTimeline(); }
function setTheme(name) { document.documentElement.dataset.theme = name; }
const dark = matchMedia("(prefers-color-scheme: dark)");
setTheme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => { setTheme(dark.matches ? "dark" : "light"); drawCharts(); });
$("theme").addEventListener("click", () => { setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); drawCharts(); });
$("detail").addEventListener("click", (click) => { if (click.target === $("detail")) $("detail").close(); });
setUpFilters();
drawTables();
drawEvents();
drawCharts();
$("timeline").on("plotly_click", ({ points }) => {
  const number = points.find((point) => point.customdata !== undefined)?.customdata;
  if (number !== undefined) openDetail(data.events[number]);
});
document.body.dataset.ready = "true";

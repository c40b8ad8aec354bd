// Asks for /status.json about every second, keeps what it said, and shows it.

import { learnCodes } from "./codes.js";
import { showRecent } from "./errors.js";
import { Plot } from "./plot.js";
import { showTenants } from "./tenants.js";
import { showAbout, showFilter, showNow, showRoutes, showUnmapped } from "./view.js";
import { make, span, time } from "./words.js";

const PERIOD = 800;
// Beyond it a gateway that still takes connections does not work any more.
const PATIENCE = 3000;
const LINES = 200;
const HOUR = 3600e3;

const at = (id) => document.getElementById(id);
const plot = new Plot(at("plot"), at("legend"), at("legend-when"), at("plot-note"));
/** What is known: the last document, and what documents only add to. */
const known = { last: null, errors: [], buckets: new Map() };
const filter = { route: "", type: "" };
let lost = null;
let timer = 0;

async function ask() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const seen = `error=${known.errors[0]?.number ?? 0}&bucket=${Math.max(0, ...known.buckets.keys())}`;
    const answer = await fetch(`/status.json?${seen}`, { signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const news = await answer.json();
    lost = null;
    if (isAnother(news)) return ask();
    learn(news);
  } catch {
    lost ??= Date.now();
  }
  show();
  timer = setTimeout(ask, PERIOD);
}

/** Whether another process answers: its numbers begin anew, so that all of it has to be asked for. */
function isAnother(news) {
  if (!known.last || known.last.started === news.started) return false;
  Object.assign(known, { last: null, errors: [] });
  known.buckets.clear();
  return true;
}

function learn(news) {
  known.last = news;
  if (news.codes) learnCodes(news.codes);
  known.errors = [...news.errors.reverse(), ...known.errors].slice(0, LINES);
  for (const bucket of news.buckets) known.buckets.set(bucket.number, bucket);
  for (const [number, bucket] of known.buckets) {
    if (bucket.began < news.now - HOUR - news.step * 1000) known.buckets.delete(number);
  }
}

function show() {
  showConnection();
  const { last } = known;
  if (!last) return;
  showNow(last, filter);
  showFilter(known, filter);
  plot.show([...known.buckets.values()], last, filter);
  showRoutes(last, filter);
  showTenants(last, filter);
  showUnmapped(last.unmapped, filter);
  showRecent(known.errors, filter);
  showAbout(last);
}

function showConnection() {
  const unreachable = at("unreachable");
  document.body.classList.toggle("stale", lost !== null);
  unreachable.hidden = lost === null;
  if (lost === null) {
    at("live").replaceChildren("live");
    return;
  }
  at("live").replaceChildren("not connected");
  const since = known.last ? [" What is below is as of ", time(known.last.now), "."] : [];
  const text = make("span", {}, "The gateway has been unreachable since ", time(lost), ` (${span(Date.now() - lost)}).`, ...since);
  unreachable.replaceChildren(text);
}

at("filter").addEventListener("change", () => {
  filter.route = at("route").value;
  filter.type = at("type").value;
  show();
});
at("filter").addEventListener("reset", () => {
  Object.assign(filter, { route: "", type: "" });
  // The fields change after this event.
  setTimeout(show);
});
at("more").addEventListener("click", show);
at("filter").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", ask);
document.documentElement.addEventListener("theme", () => plot.restyle());
ask();

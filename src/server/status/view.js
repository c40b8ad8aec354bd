// The parts of the page beside the plot and the list of errors.

import { isClients, typeOf } from "./codes.js";
import { codeLink, copy, count, duration, fill, keep, make, many, routeName, share, span, time } from "./words.js";

const at = (id) => document.getElementById(id);
/** From this share of a route's requests on, failures are more than a few. */
const MANY = 0.05;

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const route = (last, run) => last.routes.find(({ name, provider }) => name === run.route && provider === run.provider);

/** How much of its route a failure takes down, as far as the last minutes tell. */
function weight(last, run) {
  const { requests = 0, errors = [] } = route(last, run) ?? {};
  const failed = sum(errors.filter(([code]) => code === run.code).map(([, number]) => number));
  return Math.min(1, failed / Math.max(requests, failed, 1));
}

/** Whose fault, the most urgent first; clients' own mistakes come last and are no alarm. */
const BLAME = { unreachable: "Provider unreachable", refusing: "Provider refusing", gateway: "This gateway’s limits" };
/** Types that say that a provider fails rather than refuses. */
const FAILING = ["internal", "upstream", "unavailable", "timeout"];
const LIMITS = ["rate_limited", "concurrency_limited"];

/** The headline, and one line for each kind of fault below it. */
export function showNow(last, filter) {
  const shown = last.failing.filter((run) => (!filter.route || run.route === filter.route) && (!filter.type || run.type === filter.type));
  const ours = shown.filter((run) => run.blame !== "clients");
  const groups = Object.keys(BLAME).map((blame) => ours.filter((run) => run.blame === blame)).filter((runs) => runs.length);
  const refused = last.reload && !last.reload.ok;
  const severe = groups.length > 0 && groups[0].some((run) => run.count > 2 && weight(last, run) >= MANY);
  const waits = last.restart.length > 0;
  const lost = last.routes.filter(({ name }) => !filter.route || name === filter.route).flatMap(lostUpstreams);
  const level = severe ? "bad" : ours.length || refused || waits || lost.length || last.phase !== "running" ? "warn" : "good";
  at("now").dataset.level = level;
  at("icon").setAttribute("href", `/status/${ours.length ? "bad" : "good"}.svg`);
  fill(at("headline"), ...headline(last, groups, severe, lost));
  fill(at("advice"), ...(ours.length ? [groups[0][0].sentence, " ", make("b", {}, groups[0][0].advice)] : []));
  fill(at("subline"), ...subline(last, shown, ours));
  fill(at("failing"), ...groups.map((runs) => group(last, runs)), ...(refused ? [reload(last)] : []), ...(lost.length ? [upstreams(lost)] : []), ...(waits ? [restart(last)] : []));
  announce(groups.map((runs) => `${BLAME[runs[0].blame]}: ${runs.map((run) => `${routeName(run.route)} ${run.code}`).join(", ")}`).join(". ") || "Nothing is failing");
  document.title = ours.length ? `✕ ${routeName(ours[0].route)}: ${ours[0].code} · speechgate` : "speechgate";
}

/** Says aloud what has changed, and not every second how long it has been so. */
function announce(text) {
  if (at("announcement").textContent !== text) at("announcement").textContent = text;
}

function headline(last, groups, severe, lost) {
  if (!groups.length) {
    if (last.phase !== "running") return ["The gateway is draining: it accepts no new connections."];
    if (last.reload && !last.reload.ok) return ["Nothing is failing, but the last reload was refused."];
    if (lost.length) return ["Nothing is failing, but ", make("b", {}, lost[0].route), lost.length === 1 ? " has lost an upstream." : " and others have lost upstreams."];
    return [last.restart.length ? "Nothing is failing, but a change waits for a restart." : "Nothing is failing."];
  }
  const [[first], total] = [groups[0], sum(groups.map((runs) => runs.length))];
  const code = make("code", {}, first.code);
  if (total === 1 && first.count === 1) {
    const who = first.blame === "gateway" ? "this gateway" : first.provider;
    return ["One error of ", make("b", {}, who), ...on(" on ", first), ": ", code, `, ${span(last.now - first.last)} ago.`];
  }
  const since = Math.min(...groups[0].filter((run) => run.route === first.route && run.provider === first.provider).map((run) => run.since));
  const others = total > 1 ? `; ${total - 1} more below` : "";
  return [...sentence(first, severe), ": ", code, " since ", time(since), `, for ${span(last.now - since)}${others}.`];
}

/** Who does what to which route. */
function sentence(run, severe) {
  const some = severe ? "" : "some ";
  const provider = make("b", {}, run.provider);
  if (run.blame === "unreachable") return [provider, severe ? " is unreachable" : " was unreachable", ...(severe ? on(" for ", run) : [" for some requests", ...on(" of ", run)])];
  if (run.blame === "gateway") return ["This gateway ", LIMITS.includes(run.type) ? "limits " : "refuses ", `${some}requests of `, make("b", {}, routeName(run.route))];
  return [provider, FAILING.includes(run.type) ? " fails on " : " refuses ", `${some}requests`, ...on(" of ", run)];
}

/** The route, unless it is called like its provider. */
const on = (word, run) => (run.route === run.provider ? [] : [word, make("b", {}, routeName(run.route))]);

function subline(last, shown, ours) {
  const clients = shown.filter((run) => run.blame === "clients");
  if (clients.length) {
    const [first] = clients;
    const more = clients.length > 1 ? `, and ${many(clients.length - 1, "other")}` : "";
    return ["Clients’ own mistakes: ", codeLink(first.code), " on ", make("b", {}, routeName(first.route)), `, ${many(first.count, "time")}${more}.`];
  }
  if (ours.length) return [];
  if (!last.last_error) return [`No error since the gateway started ${span(last.now - last.started)} ago.`];
  const { route, code, last: when } = last.last_error;
  return ["The last error was ", codeLink(code), " on ", make("b", {}, routeName(route)), `, ${span(last.now - when)} ago.`];
}

/** So many routes and codes are named in the line of a group; its details have all of them. */
const NAMED = 2;

/** One line for all that is the same kind of fault; its details have one for each route and code. */
function group(last, runs) {
  const named = (all, show) => {
    const different = [...new Set(all)];
    const shown = different.slice(0, NAMED).flatMap((one, index) => [...(index ? [", "] : []), show(one)]);
    return [...shown, ...(different.length > NAMED ? [` and ${count(different.length - NAMED)} more`] : [])];
  };
  const since = Math.min(...runs.map((run) => run.since));
  const errors = many(sum(runs.map((run) => run.count)), "error");
  const affected = runs.length === 1 ? `, ${part(last, runs[0])} of its requests` : "";
  return make("li", {}, make("details", {},
    make("summary", {},
      make("b", {}, BLAME[runs[0].blame]),
      make("span", { class: "what" }, make("span", {}, ...named(runs.map((run) => routeName(run.route)), (name) => name)), make("span", {}, ...named(runs.map((run) => run.code), codeLink))),
      make("span", { class: "how-long" }, make("span", { class: "since" }, "since ", time(since), " · "), errors, make("span", { class: "muted" }, affected))),
    make("ul", {}, ...runs.map((run) => line(last, run)))));
}

function line(last, run) {
  return make("li", {},
    make("div", { class: "what" }, make("b", {}, routeName(run.route)), codeLink(run.code)),
    make("div", { class: "how-long" }, "since ", time(run.since), make("span", { class: "muted" }, ` · ${many(run.count, "error")}, ${part(last, run)} of its requests`)),
    make("div", { class: "do" }, run.sentence, " ", make("b", {}, run.advice)));
}

const part = (last, run) => share(Math.round(weight(last, run) * 1000) / 1000 * 1000, 1000);

function reload(last) {
  const [first] = last.reload.text.split("\n");
  return make("li", {}, make("details", {},
    make("summary", {},
      make("b", {}, "Reload refused"),
      make("span", { class: "what reason" }, first),
      make("span", { class: "how-long" }, make("span", { class: "since" }, "since "), time(last.reload.at))),
    make("p", { class: "muted" }, "The previous configuration stays in force."),
    make("pre", {}, last.reload.text.trimEnd())));
}

/** Upstreams that are left alone or fail their health checks. */
function lostUpstreams({ name, health }) {
  const lost = (health?.upstreams ?? []).filter(({ circuit, healthy }) => (circuit && circuit !== "closed") || healthy === false);
  return lost.map(({ authority }) => ({ route: name, authority }));
}

function upstreams(lost) {
  return make("li", {},
    make("div", { class: "what" }, make("b", {}, lost.length === 1 ? "Upstream lost" : "Upstreams lost")),
    make("div", { class: "do" }, ...lost.slice(0, 8).flatMap(({ route, authority }, at) => [at ? ", " : "", make("code", {}, authority), ` of ${route}`]),
      lost.length > 8 ? ` and ${lost.length - 8} more` : "", ": not used while another can take the requests. Can it be reached from here?"));
}

/** What is in the files and takes effect only when the process starts again. */
function restart(last) {
  return make("li", {},
    make("div", { class: "what" }, make("b", {}, "Waits for a restart")),
    make("div", { class: "do" }, ...last.restart.flatMap((key, at) => [at ? ", " : "", make("code", {}, key)]),
      ": changed in the files, and as before here until this process is started again."));
}

/** The choices of the filter: routes and types that there are. */
export function showFilter({ last, errors, buckets }, filter) {
  const routes = new Set(last.routes.map(({ name }) => name).filter(Boolean));
  const types = new Set([...errors, ...last.failing].map(({ type }) => type));
  for (const bucket of buckets.values()) {
    for (const [name, code] of bucket.errors) {
      if (name) routes.add(name);
      types.add(typeOf(code));
    }
  }
  options(at("route"), routes, filter.route);
  options(at("type"), types, filter.type);
  at("reset").hidden = !filter.route && !filter.type;
}

function options(select, names, chosen) {
  const all = new Set([...names, ...(chosen ? [chosen] : [])]);
  const option = (value, text) => make("option", { value }, text);
  const wanted = [option("", "all"), ...[...all].sort().map((name) => option(name, name))];
  if (wanted.length !== select.options.length || wanted.some((one, index) => one.value !== select.options[index].value)) {
    select.replaceChildren(...wanted);
  }
  if (select.value !== chosen) select.value = chosen;
}

/** One row a route. */
export function showRoutes(last, filter) {
  const shown = last.routes.filter(({ name }) => !filter.route || name === filter.route);
  fill(at("routes"), ...shown.map(row));
  fill(at("unused"), ...shown.flatMap(unused));
  const silent = last.silent ? `; ${count(last.silent)} more have no traffic` : "";
  at("routes-note").textContent = `the last ${span(last.window * 1000)}${silent}`;
}

function row(route) {
  const of = (clients) => sum(route.errors.filter(([code]) => isClients(code) === clients).map(([, number]) => number));
  const [failed, mistakes] = [of(false), of(true)];
  const errors = (number) => (number ? [count(number), make("small", {}, ` ${share(number, route.requests)}`)] : ["–"]);
  const cell = (label, ...content) => make("td", { "data-label": label }, ...content);
  const wide = (label, ...content) => make("td", { "data-label": label, class: "wide" }, ...content);
  const pair = ([median, high]) => (median === null ? ["–"] : [duration(median), make("small", {}, ` · ${duration(high)}`)]);
  const where = route.configured
    ? `${route.provider} · ${route.configured.at} → ${route.configured.upstreams.join(", ")}`
    : route.name ? "no longer configured" : "requests that match no route";
  const failedCell = cell("Failed", ...errors(failed));
  if (failed) failedCell.className = "failed";
  return make("tr", {},
    make("th", { scope: "row" }, routeName(route.name), make("small", {}, where)),
    cell("Requests", count(route.requests)), failedCell, cell("Client errors", ...errors(mistakes)),
    wide("Duration", ...pair(route.duration)), wide("First byte", ...pair(route.first_byte)),
    cell("In flight", count(route.in_flight)), cell("Sockets", count(route.sockets)), cell("Slots", ...slots(route)));
}

/** Slots that are taken and those that there are; how many wait, and whether the provider allows fewer than the operator. */
function slots({ limits }) {
  if (!limits || limits.limit === null) return ["–"];
  const { limit, max, in_use, queued, accounts } = limits;
  const plan = max * accounts.length;
  const notes = [queued ? `${count(queued)} wait` : "", limit < plan ? `learned, plan ${count(plan)}` : ""].filter(Boolean);
  return [`${count(in_use)} / ${count(limit)}`, notes.length ? make("small", {}, ` ${notes.join(", ")}`) : null];
}

/** What a route does not use for now: backoff that providers asked for, open circuits, and credentials that were refused. */
function unused({ name, limits, health }) {
  const item = (...what) => make("li", {}, make("b", {}, name), " ", ...what);
  const left = (seconds) => (seconds > 0 ? `for another ${span(Math.ceil(seconds) * 1000)}` : "until its probe has ended");
  const backoffs = (limits?.backoffs ?? []).map(({ code, remaining_seconds }) => item("backs off as the provider asked, answering ", codeLink(code), ` ${left(remaining_seconds)}`));
  const circuits = (health?.upstreams ?? []).filter(({ circuit }) => circuit && circuit !== "closed");
  const upstreams = circuits.map(({ authority, circuit }) => item("leaves ", make("code", {}, authority), circuit === "open" ? " alone: its circuit is open" : " alone but for one request that tries it"));
  const failing = (health?.upstreams ?? []).filter(({ healthy }) => healthy === false);
  const checked = failing.map(({ authority }) => item("asks ", make("code", {}, authority), " last: it fails its health checks"));
  const aside = (health?.accounts ?? []).filter(({ set_aside_seconds }) => set_aside_seconds !== null);
  const accounts = aside.map(({ index, set_aside_seconds }) => item(`sets its credentials number ${index + 1} aside ${left(set_aside_seconds)}`));
  return [...backoffs, ...upstreams, ...checked, ...accounts];
}

/** Codes that no profile knows, each with the command that explains it. */
export function showUnmapped(samples, filter) {
  const shown = samples.filter(({ route, type }) => (!filter.route || route === filter.route) && (!filter.type || type === filter.type));
  at("unmapped-section").hidden = !shown.length;
  const before = at("unmapped");
  const kept = new Map([...before.children].map((item) => [item.dataset.key, item]));
  const items = shown.map((sample) => {
    const key = JSON.stringify([sample.route, sample.upstream_code]);
    const item = kept.get(key) ?? unmapped(key, sample);
    item.querySelector(".times").textContent = `${many(sample.count, "time")}, last at `;
    item.querySelector(".times").append(time(sample.last));
    return item;
  });
  keep(before, items);
}

function unmapped(key, sample) {
  const code = sample.upstream_code ? make("code", {}, sample.upstream_code) : "no code";
  const command = make("pre", { tabindex: "0", "aria-label": "Command" }, sample.command);
  const button = make("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(sample.command, command)) ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  const what = make("p", {}, make("b", {}, sample.route), " ", code, " taken for ", codeLink(sample.code), " ", make("span", { class: "muted times" }));
  return make("li", { "data-key": key }, make("div", { class: "sample-head" }, what, button), command);
}

/** Version, age and connections. */
export function showAbout(last) {
  const parts = [`speechgate ${last.version}`, `up ${span(last.now - last.started)}`, many(last.connections, "connection")];
  if (last.reload) parts.push(`configuration ${last.reload.ok ? "reloaded" : "not reloaded"} ${span(last.now - last.reload.at)} ago (${last.reload.cause})`);
  at("about").textContent = parts.join(" · ");
}

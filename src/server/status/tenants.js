// Who uses what, who waits, and who is over.

import { count, fill, make, many, span } from "./words.js";

const at = (id) => document.getElementById(id);
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
/** From this part of a budget on, its end is near. */
const NEAR = 0.8;

/** One row a tenant, and below them those that are over. */
export function showTenants(last, filter) {
  const tenants = last.tenants.map((tenant) => ({ ...tenant, routes: tenant.routes.filter(({ route }) => !filter.route || route === filter.route) }));
  const shown = filter.route ? tenants.filter(({ routes }) => routes.length) : tenants;
  at("tenants-section").hidden = !last.tenants.length;
  fill(at("tenants"), ...shown.map(row));
  fill(at("over"), ...shown.flatMap(over));
  const silent = last.silent_tenants ? `; ${count(last.silent_tenants)} more do nothing` : "";
  const none = shown.length ? "" : "; none on this route";
  at("tenants-note").textContent = `the last ${span(last.window * 1000)}${silent}${none}`;
}

function row(tenant) {
  const { name, weight, reserve, max, routes, rates, budgets } = tenant;
  const all = (of) => sum(routes.map((route) => route[of]));
  const cell = (label, ...content) => make("td", { "data-label": label }, ...content);
  const share = [`weight ${weight}`, reserve ? `${count(reserve)} reserved` : "", max ? `at most ${many(max, "slot")}` : ""].filter(Boolean).join(" · ");
  const errors = cell("Errors", all("errors") ? count(all("errors")) : "–");
  const waits = cell("Waiting", all("queued") ? count(all("queued")) : "–");
  if (all("queued")) waits.className = "waits";
  const limits = make("td", { "data-label": "Budgets and rates", class: "limits" }, ...budgets.map(budget), ...rates.map(rate));
  if (!budgets.length && !rates.length) limits.append("–");
  return make("tr", {},
    make("th", { scope: "row" }, name, make("small", {}, share)),
    cell("Requests", count(all("requests"))), errors,
    cell("Used", ...used(all("characters"), all("audio_seconds"), routes)),
    cell("Slots", max ? `${count(all("in_use"))} / ${count(max)}` : count(all("in_use"))), waits, limits);
}

/** Text, audio and money, as far as there was any. */
function used(characters, seconds, routes) {
  const costs = new Map();
  for (const [currency, cost] of routes.flatMap(({ cost }) => Object.entries(cost))) costs.set(currency, (costs.get(currency) ?? 0) + cost);
  const parts = [characters ? `${count(Math.round(characters))} characters` : "", seconds ? `${span(seconds * 1000)} of audio` : "",
    ...[...costs].map(([currency, cost]) => money(cost, currency))].filter(Boolean);
  return parts.length ? parts.flatMap((part, index) => (index ? [make("br"), part] : [part])) : ["–"];
}

const money = (amount, currency) => `${amount.toLocaleString("en", { maximumFractionDigits: amount < 10 ? 2 : 0 })} ${currency}`;
const percent = (ratio) => `${Math.floor(100 * ratio)} %`;

/** `characters/1d` with a bar: how much is used, and when it begins anew. */
function budget({ budget: name, amount, used, used_ratio, begins_anew_seconds }) {
  const level = used_ratio >= 1 ? "bad" : used_ratio >= NEAR ? "warn" : "good";
  const text = `${percent(used_ratio)} of ${figure(name, amount)}`;
  const meter = make("meter", { min: "0", max: "1", value: String(Math.min(1, used_ratio)), "aria-label": `${name}: ${text}`, class: level });
  const left = used_ratio >= 1 ? "none left" : `${figure(name, amount - used)} left`;
  return make("div", { class: `budget ${level}` }, make("span", {}, make("code", {}, name), ` ${text}`), meter, make("small", {}, `${left}, begins anew in ${span(begins_anew_seconds * 1000)}`));
}

/** An amount in the unit of its budget. */
function figure(name, amount) {
  const [measure] = name.split("/");
  if (measure.startsWith("cost-")) return money(amount, measure.slice(5));
  return measure === "audio_seconds" ? span(amount * 1000) : count(Math.floor(amount));
}

function rate({ requests, per_seconds, left }) {
  const per = per_seconds === 1 ? "a second" : per_seconds === 60 ? "a minute" : `in ${span(per_seconds * 1000)}`;
  return make("div", { class: "budget" }, make("span", {}, `${count(requests)} requests ${per}`), make("small", {}, left ? `${count(left)} at once now` : "none left now"));
}

/** What keeps a tenant from more, or gives it more than others. */
function over({ name, max, over_share, routes, budgets }) {
  const [in_use, queued] = [sum(routes.map((route) => route.in_use)), sum(routes.map((route) => route.queued))];
  const item = (level, ...what) => make("li", { class: level }, make("b", {}, name), " ", ...what);
  const spent = budgets.filter(({ used_ratio }) => used_ratio >= 1).map(({ budget, begins_anew_seconds }) =>
    item("bad", "has used up ", make("code", {}, budget), `: its calls are refused for another ${span(begins_anew_seconds * 1000)}`));
  const near = budgets.filter(({ used_ratio }) => used_ratio >= NEAR && used_ratio < 1).map(({ budget, used_ratio }) =>
    item("warn", "has used ", `${percent(used_ratio)} of `, make("code", {}, budget)));
  const full = max && in_use >= max && queued ? [item("warn", `holds ${max === 1 ? "the one slot" : `all ${count(max)} slots`} that it may hold; ${queued === 1 ? "one of its calls waits" : `${count(queued)} of its calls wait`}`)] : [];
  const share = over_share ? [item("warn", "holds more slots than its share while others wait: they get the next ones")] : [];
  return [...spent, ...full, ...share, ...near];
}

// The list of recent errors, newest first. Only new ones are made; the others stay as they are.

import { isClients } from "./codes.js";
import { codeLink, keep, make, many, routeName, time } from "./words.js";

const at = (id) => document.getElementById(id);
const rows = new WeakMap();
/** So many are shown until more are asked for. */
const FEW = 40;
let all = false;

at("more").addEventListener("click", () => {
  all = true;
  at("more").hidden = true;
});

/** Shows those that pass the filter. */
export function showRecent(errors, filter) {
  const shown = errors.filter((error) => (!filter.route || error.route === filter.route) && (!filter.type || error.type === filter.type));
  const wanted = shown.slice(0, all ? undefined : FEW).map((error) => {
    if (!rows.has(error)) rows.set(error, row(error));
    return rows.get(error);
  });
  keep(at("errors"), wanted);
  at("errors-table").hidden = !shown.length;
  at("more").hidden = all || shown.length <= FEW;
  at("no-errors").hidden = shown.length > 0;
  at("errors-note").textContent = shown.length < errors.length ? `${shown.length} of the last ${many(errors.length, "error")}` : shown.length ? `the last ${errors.length}` : "";
}

function row(error) {
  const cell = (label, ...content) => make("td", { "data-label": label }, ...content);
  const upstream = error.upstream_status && error.upstream_status !== error.status ? ` ← ${error.upstream_status}` : "";
  const id = (name, value) => (value ? make("div", {}, make("span", { class: "muted" }, name), make("code", {}, value)) : null);
  const own = make("small", { class: "muted" }, `${error.origin}, ${error.transport}${error.request ? ` · ${error.request}` : ""}${error.upstream ? ` · ${error.upstream}` : ""}`);
  return make("tr", { class: isClients(error.code) ? "clients" : "ours" },
    cell("Time", time(error.at)),
    cell("Route", make("b", {}, routeName(error.route))),
    cell("Code", codeLink(error.code)),
    make("td", { "data-label": "Message", class: "message" }, make("div", {}, error.message), own),
    cell("Status", `${error.status}${upstream}`),
    make("td", { "data-label": "Request ids", class: "ids" }, id("ours ", error.request_id), id("theirs ", error.upstream_request_id)));
}

// Numbers, times and elements. Whatever comes from the network becomes text, never markup.

/** An element with attributes and children; children that are no elements become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Makes an element's children like these. What is alike stays, and with it focus and selection. */
export function fill(element, ...children) {
  patch(element, make("div", {}, ...children));
}

function patch(element, next) {
  const [had, wanted] = [[...element.childNodes], [...next.childNodes]];
  wanted.forEach((child, index) => {
    const before = had[index];
    if (!before) element.append(child);
    else if (before.nodeName !== child.nodeName) before.replaceWith(child);
    else if (child.nodeType !== Node.TEXT_NODE) alike(before, child);
    else if (before.data !== child.data) before.data = child.data;
  });
  had.slice(wanted.length).forEach((child) => child.remove());
}

function alike(element, next) {
  // Whether details are open is for the reader to say.
  const own = (name) => name === "open" && element.nodeName === "DETAILS";
  for (const { name } of [...element.attributes]) if (!next.hasAttribute(name) && !own(name)) element.removeAttribute(name);
  for (const { name, value } of next.attributes) {
    // The page's policy forbids styles as attributes, though not as properties.
    if (name === "style") element.style.cssText = value;
    else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
  patch(element, next);
}

/** Makes an element's children these, in this order. Those that are there already are not moved without need. */
export function keep(element, children) {
  let place = element.firstElementChild;
  for (const child of children) {
    if (child === place) place = place.nextElementSibling;
    else element.insertBefore(child, place);
  }
  while (place) {
    const rest = place.nextElementSibling;
    place.remove();
    place = rest;
  }
}

/** The name of a route; requests that matched no route have none. */
export const routeName = (name) => name || "no route";

/** A code and the page about it. */
export const codeLink = (code) => make("a", { href: `/errors/${encodeURIComponent(code)}` }, make("code", {}, code));

const twoDigits = (number) => String(number).padStart(2, "0");

/** `14:02:11`, with the whole of it in UTC as its title. */
export function time(at) {
  const date = new Date(at);
  const text = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
  return make("time", { datetime: date.toISOString(), title: date.toISOString() }, text);
}

/** `12 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** `84 ms`, `1.2 s`, `–` for nothing. */
export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 0.001) return "<1 ms";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}

/** `1,204`, `12.3 k`. */
export function count(number) {
  if (number < 10000) return number.toLocaleString("en");
  return number < 999500 ? `${(number / 1000).toFixed(number < 99950 ? 1 : 0)} k` : `${(number / 1e6).toFixed(1)} M`;
}

/** `12 %`, `0.4 %`, `<0.1 %`. */
export function share(part, whole) {
  const percent = Math.min(100, (100 * part) / Math.max(whole, part, 1));
  if (percent > 0 && percent < 0.1) return "<0.1 %";
  return `${percent < 10 && percent % 1 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** `1 error`, `2 errors`. */
export const many = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

/** Copies text; where the browser does not allow that, it is selected instead. */
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}

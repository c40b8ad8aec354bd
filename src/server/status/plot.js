// Errors by code as stacked bars, and the table that is their legend.

import { isClients, typeOf } from "./codes.js";
import { codeLink, count, fill, make, many } from "./words.js";

/** What is shown at most and at least, in seconds: a gateway that has just started has no hour to show. */
const HOUR = 3600;
const LEAST = 600;
/** Colours of what operators have to see to, in the order in which codes appear; clients' mistakes stay grey. */
const OURS = ["#d64550", "#e58a2f", "#8c62c4", "#2f8fb5", "#c9a227", "#2e9e74", "#d472a6", "#9a6a4a"];
const CLIENTS = ["#8a96a8", "#b3bcc9", "#6b778a", "#c9d0d9"];

/** With more codes than colours, the colours come again in patterns. */
const PATTERNS = ["solid", "rising", "falling", "dotted"];

export class Plot {
  constructor(element, legend, when, note) {
    Object.assign(this, { element, legend, when, note, looks: new Map(), codes: [], uplot: null });
    new ResizeObserver(() => this.resize()).observe(element);
    element.addEventListener("keydown", (event) => this.key(event));
  }

  /** Shows these buckets; `last` is the document with the time and the types. */
  show(buckets, last, filter) {
    this.now = last.now / 1000;
    this.range = Math.min(HOUR, Math.max(LEAST, Math.ceil((last.now - last.started) / 1000 / 60) * 60));
    this.buckets = buckets;
    this.width = last.step;
    this.filter = filter;
    this.draw();
  }

  draw() {
    if (!this.buckets) return;
    // So wide that a bar can be seen: 120 of them, on a phone half as many.
    const most = this.element.clientWidth < 560 ? 60 : 120;
    const step = [10, 20, 30].find((step) => this.range / step <= most) ?? 60;
    // From before the first bucket to after the last one, so that nothing falls out on either side.
    const [start, end] = [Math.floor((this.now - this.range) / step) * step, Math.ceil(this.now / step) * step];
    const times = Array.from({ length: (end - start) / step }, (_, index) => start + index * step);
    const counts = this.counts(times, step);
    const codes = [...counts.keys()];
    this.counted = { times, step, counts };
    const stacked = stack(codes.map((code) => counts.get(code)));
    this.showLegend();
    const data = [times, ...stacked];
    if (this.uplot && codes.join() === this.codes.join()) {
      this.uplot.setData(this.ordered(data));
    } else {
      this.codes = codes;
      this.create(data);
    }
  }

  /** Numbers by code, those with most errors at the bottom of the pile, and clients' mistakes above all others. */
  counts(times, step) {
    const { route, type } = this.filter;
    const counts = new Map();
    for (const { began, errors } of this.buckets) {
      // A bucket that began before the hour and ended in it belongs to the first bar.
      if (began / 1000 + this.width <= times[0]) continue;
      const index = Math.min(times.length - 1, Math.max(0, Math.floor((began / 1000 - times[0]) / step)));
      for (const [name, code, number] of errors) {
        if ((route && name !== route) || (type && typeOf(code) !== type)) continue;
        if (!counts.has(code)) counts.set(code, new Array(times.length).fill(0));
        counts.get(code)[index] += number;
      }
    }
    const total = (row) => row.reduce((sum, number) => sum + number, 0);
    return new Map([...counts].sort(([one, a], [other, b]) => isClients(one) - isClients(other) || total(b) - total(a)));
  }

  create(data) {
    this.uplot?.destroy();
    const style = getComputedStyle(this.element);
    const axis = { stroke: style.color, font: `12px ${style.fontFamily}`, ticks: { show: false } };
    const grid = { stroke: style.borderTopColor, width: 1 };
    const bars = uPlot.paths.bars({ size: [0.82, 40], gap: 0 });
    const options = {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { range: () => [this.counted.times[0] - this.counted.step / 2, this.counted.times.at(-1) + this.counted.step / 2] }, y: { range: (_, low, high) => [0, Math.max(4, high * 1.08)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, space: 70, values: (_, splits) => splits.map(clock) },
        { ...axis, grid, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000], values: (_, splits) => splits.map(count) },
      ],
      // The highest pile is drawn first, and the lower ones over it.
      series: [{}, ...this.codes.map((code) => ({ fill: paint(this.look(code), style.getPropertyValue("--sheet")), width: 0, paths: bars, points: { show: false } })).reverse()],
      hooks: { setCursor: [(uplot) => this.showLegend(uplot.cursor.idx)] },
    };
    this.uplot = new uPlot(options, this.ordered(data), this.element);
  }

  /** uPlot draws in the order of its series; the pile's top has to come first. */
  ordered([times, ...rows]) {
    return [times, ...rows.reverse()];
  }

  size() {
    return { width: Math.max(200, this.element.clientWidth), height: this.element.clientHeight || 220 };
  }

  resize() {
    if (!this.uplot || this.element.clientWidth === this.uplot.width) return;
    this.uplot.setSize(this.size());
    this.draw();
  }

  /** Takes the colours of the other theme. */
  restyle() {
    this.codes = [];
    this.uplot?.destroy();
    this.uplot = null;
    this.draw();
  }

  /** The colour and the pattern of a code, which stay for as long as the page is open. */
  look(code) {
    if (!this.looks.has(code)) {
      const palette = isClients(code) ? CLIENTS : OURS;
      const used = [...this.looks.keys()].filter((known) => isClients(known) === isClients(code)).length;
      const pattern = PATTERNS[Math.floor(used / palette.length) % PATTERNS.length];
      this.looks.set(code, { colour: palette[used % palette.length], pattern });
    }
    return this.looks.get(code);
  }

  /** The table beside: the whole hour, or the time that is pointed at. */
  showLegend(index = this.uplot?.cursor.idx) {
    const { times, step, counts } = this.counted;
    const pointed = index !== null && index !== undefined && index < times.length;
    const number = (row) => (pointed ? row[index] : row.reduce((sum, one) => sum + one, 0));
    const rows = [...counts].map(([code, row]) => {
      const { colour, pattern } = this.look(code);
      const swatch = make("span", { class: `swatch ${pattern}` });
      swatch.style.backgroundColor = colour;
      return make("tr", {}, make("th", { scope: "row" }, swatch, codeLink(code)), make("td", {}, count(number(row))));
    });
    fill(this.legend, ...rows);
    this.when.textContent = pointed ? clock(times[index]) : "Last hour";
    const total = [...counts.values()].flat().reduce((sum, one) => sum + one, 0);
    this.note.textContent = total ? `${many(total, "error")}, in steps of ${step} seconds; clients’ mistakes are grey` : "none";
  }

  /** Left and right move along the hour, Escape leaves it. */
  key(event) {
    if (!this.uplot || !this.counted) return;
    const { times } = this.counted;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step && event.key !== "Escape") return;
    event.preventDefault();
    const index = Math.min(times.length - 1, Math.max(0, (this.uplot.cursor.idx ?? times.length) + (step ?? 0)));
    const left = step ? this.uplot.valToPos(times[index], "x") : -10;
    this.uplot.setCursor({ left, top: step ? 1 : -10 });
  }
}

/** What bars of this look are filled with. The gaps of a pattern have the colour of the ground. */
function paint({ colour, pattern }, ground) {
  if (pattern === "solid") return colour;
  const scale = devicePixelRatio || 1;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8 * scale;
  const pen = tile.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 8, 8);
  pen.strokeStyle = pen.fillStyle = resolved(ground);
  pen.lineWidth = 2;
  if (pattern === "dotted") {
    for (const [x, y] of [[2, 2], [6, 6]]) pen.fillRect(x - 1, y - 1, 2, 2);
  } else {
    // Three parallel lines, so that tiles join without a seam.
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift, pattern === "rising" ? 8 : 0);
      pen.lineTo(shift + 8, pattern === "rising" ? 0 : 8);
    }
    pen.stroke();
  }
  return pen.createPattern(tile, "repeat");
}

/** A colour as a canvas understands it: those of the style sheet depend on the theme. */
function resolved(colour) {
  const probe = make("span");
  probe.style.color = colour;
  document.body.append(probe);
  const text = getComputedStyle(probe).color;
  probe.remove();
  return text;
}

/** `14:02` */
function clock(seconds) {
  const date = new Date(seconds * 1000);
  return [date.getHours(), date.getMinutes()].map((number) => String(number).padStart(2, "0")).join(":");
}

/** Each row with all rows below it added. */
function stack(rows) {
  const sums = [];
  for (const row of rows) {
    const below = sums.at(-1);
    sums.push(row.map((number, index) => number + (below ? below[index] : 0)));
  }
  return sums;
}

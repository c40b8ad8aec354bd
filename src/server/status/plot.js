// Errors by code as stacked bars, and the table that is their legend.

import { isCallers, typeOf } from "./codes.js";
import { codeLink, count, fill, make, many } from "./words.js";

/** What is shown at most and at least, in seconds: a gateway that has just started has no hour to show. */
const HOUR = 3600;
const LEAST = 600;
/** Colours of what operators have to see to, in the order in which codes appear; callers' mistakes stay grey. */
const OURS = ["#d64550", "#e58a2f", "#8c62c4", "#2f8fb5", "#c9a227", "#2e9e74", "#d472a6", "#9a6a4a"];
const CALLERS = ["#8a96a8", "#b3bcc9", "#6b778a", "#c9d0d9"];

export class Plot {
  constructor(element, legend, when, note) {
    Object.assign(this, { element, legend, when, note, colours: new Map(), codes: [], uplot: null });
    new ResizeObserver(() => this.resize()).observe(element);
    element.addEventListener("keydown", (event) => this.key(event));
  }

  /** Shows these buckets; `last` is the document with the time and the types. */
  show(buckets, last, filter) {
    this.now = last.now / 1000;
    this.range = Math.min(HOUR, Math.max(LEAST, Math.ceil((last.now - last.started) / 1000 / 60) * 60));
    this.buckets = buckets;
    this.filter = filter;
    this.draw();
  }

  draw() {
    if (!this.buckets) return;
    // So wide that a bar can be seen: 120 of them, on a phone half as many.
    const most = this.element.clientWidth < 560 ? 60 : 120;
    const step = [10, 20, 30].find((step) => this.range / step <= most) ?? 60;
    const end = Math.ceil(this.now / step) * step;
    const times = Array.from({ length: this.range / step }, (_, index) => end - this.range + index * step);
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

  /** Numbers by code, those with most errors at the bottom of the pile, and callers' mistakes above all others. */
  counts(times, step) {
    const { route, type } = this.filter;
    const counts = new Map();
    for (const { began, errors } of this.buckets) {
      const index = Math.floor((began / 1000 - times[0]) / step);
      if (index < 0 || index >= times.length) continue;
      for (const [name, code, number] of errors) {
        if ((route && name !== route) || (type && typeOf(code) !== type)) continue;
        if (!counts.has(code)) counts.set(code, new Array(times.length).fill(0));
        counts.get(code)[index] += number;
      }
    }
    const total = (row) => row.reduce((sum, number) => sum + number, 0);
    return new Map([...counts].sort(([one, a], [other, b]) => isCallers(one) - isCallers(other) || total(b) - total(a)));
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
      series: [{}, ...this.codes.map((code) => ({ fill: this.colour(code), width: 0, paths: bars, points: { show: false } })).reverse()],
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

  colour(code) {
    if (!this.colours.has(code)) {
      const palette = isCallers(code) ? CALLERS : OURS;
      const used = [...this.colours.keys()].filter((known) => isCallers(known) === isCallers(code)).length;
      this.colours.set(code, palette[used % palette.length]);
    }
    return this.colours.get(code);
  }

  /** The table beside: the whole hour, or the time that is pointed at. */
  showLegend(index = this.uplot?.cursor.idx) {
    const { times, step, counts } = this.counted;
    const pointed = index !== null && index !== undefined && index < times.length;
    const number = (row) => (pointed ? row[index] : row.reduce((sum, one) => sum + one, 0));
    const rows = [...counts].map(([code, row]) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = this.colour(code);
      return make("tr", {}, make("th", { scope: "row" }, swatch, codeLink(code)), make("td", {}, count(number(row))));
    });
    fill(this.legend, ...rows);
    this.when.textContent = pointed ? clock(times[index]) : "Last hour";
    const total = [...counts.values()].flat().reduce((sum, one) => sum + one, 0);
    this.note.textContent = total ? `${many(total, "error")}, in steps of ${step} seconds; callers’ mistakes are grey` : "none";
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

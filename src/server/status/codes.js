// What the gateway says of its codes: the type of each, and whether only callers can put it right.

let table = {};

/** Takes the gateway's table: code to type and whether it is the callers'. */
export function learnCodes(news) {
  table = news;
}

export const typeOf = (code) => table[code]?.[0];
export const isCallers = (code) => table[code]?.[1] ?? false;

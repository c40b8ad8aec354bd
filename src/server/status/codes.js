// The table of codes: the type of each, and whether only clients can put it right.

let table = {};

/** Takes the gateway's table: code to type and whether it is a client's mistake. */
export function learnCodes(news) {
  table = news;
}

export const typeOf = (code) => table[code]?.[0];
export const isClients = (code) => table[code]?.[1] ?? false;

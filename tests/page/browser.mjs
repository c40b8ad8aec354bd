// A headless Chromium of one's own, with a profile that is gone afterwards and no word to anybody but the page's gateway.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const cache = fileURLToPath(new URL("../.cache/page/", import.meta.url));
const { chromium } = createRequire(cache)("playwright-core");

/** Starts the browser. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

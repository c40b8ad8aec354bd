// Pictures of the status page for the README, from a running demo:
//
//   cargo build && tests/page/setup.sh && node tests/page/shots.mjs target/debug/speechgate deploy 10
//
// Sends the demo so many minutes of traffic with a quiet time, a bad time and mistakes of clients in it, then takes the page in
// both themes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { launch } from "./browser.mjs";

const [program, folder, minutes] = process.argv.slice(2);
const demo = spawn(program, ["demo", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "ignore"] });
const [line] = await once(createInterface(demo.stdout), "line");
const { gateway, admin } = JSON.parse(line);
const start = Date.now();
const end = start + Number(minutes) * 60e3;

/** Path, method, how often a second, and from when to when as shares of the whole time. */
const TRAFFIC = [
  ["/elevenlabs/v1/text-to-speech/george", "POST", 3, 0, 1],
  ["/cartesia/voices", "GET", 2, 0, 1],
  ["/breeze/v1/text-to-speech/amber", "POST", 2, 0, 1],
  ["/corti/v2/interactions", "GET", 1, 0, 1],
  ["/zenhire/api/v1/speech/analyze/run-1", "GET", 0.7, 0, 1],
  ["/elevenlabs/v1/text-to-speech/fault-text_too_long", "POST", 0.12, 0, 1],
  ["/cartesia/voices/fault-voice_not_found", "GET", 0.1, 0, 1],
  ["/breeze/v1/text-to-speech/fault-rate_limited", "POST", 0.5, 0.15, 0.4],
  ["/corti/v2/interactions/fault-invalid_token", "GET", 0.25, 0.3, 0.45],
  ["/elevenlabs/v1/text-to-speech/fault-quota_exceeded", "POST", 1.5, 0.62, 1],
  ["/breeze/v1/text-to-speech/fault-rate_limited", "POST", 0.35, 0.8, 1],
  ["/cartesia/voices/fault-brand_new_code", "GET", 0.03, 0.4, 1],
  ["/zenhire/api/v1/speech/analyze/fault-STUCK_TIMEOUT", "GET", 0.06, 0.5, 1],
];

const HEADERS = {
  "authorization": "Bearer demo",
  "cartesia-version": "2026-03-01",
  "content-type": "application/json",
  "tenant-name": "base",
  "x-api-key": "demo",
  "xi-api-key": "demo",
};

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function send([path, method, rate, from, to]) {
  const share = () => (Date.now() - start) / (end - start);
  while (share() < to) {
    if (share() >= from) {
      const body = method === "POST" ? '{"text":"Good morning."}' : undefined;
      await fetch(gateway + path, { method, body, headers: HEADERS }).then((answer) => answer.arrayBuffer()).catch(() => {});
    }
    await pause((500 + Math.random() * 1000) / rate);
  }
}

const sending = Promise.all(TRAFFIC.map(send));
await pause(end - start - 4000);
const browser = await launch();
for (const colorScheme of ["light", "dark"]) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1180, height: 1160 }, timezoneId: "UTC" });
  await page.goto(admin);
  await page.locator("#errors tr").first().waitFor();
  await pause(1200);
  await page.screenshot({ path: `${folder}/status-${colorScheme}.png` });
}
await browser.close();
await sending;
demo.kill();

// A gateway with tenants, some of which hold slots, wait, or have used up what they may use.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { Gateway } from "./gateway.mjs";

const TENANTS = [
  ["batch", "weight = 1"],
  ["capped", "max = 1"],
  ["support-bot", 'weight = 4\nreserve = 1\nrate_limits = [{ requests = 50, per = "1s" }]\nbudgets = [{ characters = 1000000, per = "1d" }, { cost = 200.0, currency = "USD", per = "30d" }]'],
  ["spent", 'budgets = [{ requests = 2, per = "1d" }]'],
  ["near", 'budgets = [{ requests = 6, per = "1d" }]'],
];

/** Keys of a form that the gateway takes for keys: what they are does not matter here. */
const key = (name) => `sg_${name.replace(/[^a-z]/g, "").padEnd(46, "x")}`;

/** The gateway with calls under way, and what ends it. */
export async function tenants() {
  const held = [];
  const provider = createServer((request, response) => {
    request.resume();
    if (request.url.includes("held")) return held.push(response);
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  await new Promise((ready) => provider.listen(0, "127.0.0.1", ready));
  const tables = TENANTS.map(([name, lines]) => {
    const hash = createHash("sha256").update(key(name)).digest("hex");
    return `[[tenants]]\nname = "${name}"\nkeys = ["sha256:${hash}"]\n${lines}\n`;
  });
  const gateway = await Gateway.start(provider.address().port, [0, 0], `credentials = { header = "xi-api-key", value = "k" }\n[[prices]]\nprovider = "elevenlabs"\ncurrency = "USD"\nper_1000_characters = 0.05\n${tables.join("")}`);
  const send = (name, path) => gateway.send(path, { headers: { "xi-api-key": key(name) } }).catch(() => 0);
  const quick = [...Array(3).fill("spent"), ...Array(4).fill("near"), ...Array(9).fill("support-bot")];
  for (const name of quick) await send(name, "/stt/v1/x");
  const calls = [];
  const becomes = async (metric, wanted) => {
    for (;;) {
      const page = await (await fetch(gateway.url("/metrics"))).text();
      const series = page.split("\n").filter((line) => line.startsWith(`${metric}{route="stt"`));
      if (series.reduce((sum, line) => sum + Number(line.split(" ").pop()), 0) === wanted) return;
      await new Promise((next) => setTimeout(next, 20));
    }
  };
  let waiting = 0;
  for (const [index, name] of ["batch", "batch", "batch", "capped", "capped", "batch", "batch", "near"].entries()) {
    calls.push(send(name, "/stt/v1/held"));
    if (index < 4) await becomes("speechgate_concurrency_in_use", index + 1);
    else if (name !== "near") await becomes("speechgate_concurrency_queued", ++waiting);
  }
  const end = async () => {
    await gateway.stop();
    provider.closeAllConnections();
    provider.close();
    await Promise.all(calls);
  };
  return { gateway, end };
}

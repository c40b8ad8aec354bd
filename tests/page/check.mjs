// What the status page must do, in a real browser. Prints `ok NAME` or `failed NAME: why` for each check.

import assert from "node:assert/strict";
import { writeFileSync, readFileSync } from "node:fs";
import { launch } from "./browser.mjs";
import { Gateway, provider } from "./gateway.mjs";
import { tenants } from "./tenants.mjs";

const upstream = await provider();
let gateway = await Gateway.start(upstream.port);
const browser = await launch();

const failure = (code, message = "No.", headers = {}) => ({ status: 400, headers, body: JSON.stringify({ detail: { status: code, message } }) });

/** Makes a route fail. */
async function fail(route, answer) {
  upstream.answers.push(answer);
  await gateway.send(`/${route}/v1/x`, { method: "POST", body: "{}" });
}

/** A page that notes whatever goes wrong in it. */
async function open(path = "/", { clock, of = gateway, ...options } = {}) {
  const page = await browser.newPage({ viewport: { width: 1180, height: 900 }, reducedMotion: "reduce", ...options });
  const wrong = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => request.url().startsWith(of.url()) || wrong.push(`asked for ${request.url()}`));
  page.on("dialog", (dialog) => wrong.push(`a dialog: ${dialog.message()}`));
  await page.addInitScript(() => addEventListener("securitypolicyviolation", (event) => console.error("violated", event.violatedDirective)));
  if (clock) await page.clock.install();
  await page.goto(of.url(path));
  if (path === "/") await page.locator("#routes tr").first().waitFor();
  return { page, wrong };
}

async function close({ page, wrong }) {
  await page.close();
  assert.deepEqual(wrong, []);
}

const checks = {
  async "nothing fails, and the page says so"() {
    const shown = await open();
    assert.equal(await shown.page.locator("h1").textContent(), "Nothing is failing.");
    assert.match(await shown.page.locator("#subline").textContent(), /^No error since the gateway started/);
    assert.deepEqual(await shown.page.locator("#routes th[scope=row]").evaluateAll((cells) => cells.map((cell) => cell.firstChild.data)), ["tts", "stt"]);
    assert.equal(await shown.page.locator("main, header, nav, footer").count(), 4);
    await close(shown);
  },

  async "an error is there within two seconds"() {
    // Two seconds of the page's own time, however busy the machine is: of real time as much passes as the gateway's answer takes.
    const shown = await open("/", { clock: true });
    await shown.page.clock.pauseAt(Date.now() + 60000);
    await fail("tts", failure("quota_exceeded", "Used up.", { "x-trace-id": "their-id-1" }));
    const row = shown.page.locator("#errors tr").first();
    await shown.page.clock.runFor(2000);
    await row.waitFor();
    await shown.page.clock.resume();
    const text = await row.textContent();
    for (const part of ["tts", "quota_exceeded", "Used up.", "402 ← 400", "their-id-1", "ours "]) assert.ok(text.includes(part), `${part} in ${text}`);
    assert.match(await shown.page.locator("h1").textContent(), /^One error of elevenlabs on tts: quota_exceeded, \d+ s ago\.$/);
    await fail("tts", failure("quota_exceeded"));
    await fail("tts", failure("quota_exceeded"));
    await shown.page.getByText(/^elevenlabs refuses requests of/).waitFor();
    assert.match(await shown.page.locator("h1").textContent(), /^elevenlabs refuses requests of tts: quota_exceeded since \d\d:\d\d:\d\d, for \d+ s\.$/);
    assert.match(await shown.page.locator("#advice").textContent(), /used up its quota\. Top up the account at the provider/);
    assert.match(await shown.page.locator("#legend").textContent(), /quota_exceeded3/);
    assert.match(await shown.page.title(), /tts: quota_exceeded/);
    await close(shown);
  },

  async "an update takes nobody's place on the page"() {
    const shown = await open();
    const link = shown.page.locator("#failing a").first();
    await link.focus();
    await fail("tts", failure("quota_exceeded"));
    await shown.page.locator("#failing summary").getByText("4 errors").waitFor();
    assert.ok(await link.evaluate((element) => element === document.activeElement));
    const row = shown.page.locator("#errors a").first();
    const kept = await row.elementHandle();
    await row.focus();
    await fail("tts", failure("quota_exceeded"));
    await shown.page.locator("#failing summary").getByText("5 errors").waitFor();
    assert.ok(await kept.evaluate((element) => element === document.activeElement));
    await close(shown);
  },

  async "what only clients can put right is no alarm"() {
    const shown = await open();
    await fail("stt", failure("voice_not_found"));
    await shown.page.locator("#errors").getByText("voice_not_found").first().waitFor();
    assert.match(await shown.page.locator("#subline").textContent(), /Clients’ own mistakes: voice_not_found on stt, 1 time/);
    assert.equal(await shown.page.locator("#failing").getByText("voice_not_found").count(), 0);
    await close(shown);
  },

  async "filters hold for all of it"() {
    const shown = await open();
    await shown.page.selectOption("#route", "stt");
    assert.deepEqual(await shown.page.locator("#routes tr").count(), 1);
    assert.deepEqual(await shown.page.locator("#errors td:nth-child(2)").allTextContents(), ["stt"]);
    assert.deepEqual(await shown.page.locator("#legend code").allTextContents(), ["voice_not_found"]);
    assert.equal(await shown.page.locator("h1").textContent(), "Nothing is failing.");
    await shown.page.getByRole("button", { name: "Show everything" }).click();
    await shown.page.selectOption("#type", "payment_required");
    assert.deepEqual(new Set(await shown.page.locator("#errors td:nth-child(3)").allTextContents()), new Set(["quota_exceeded"]));
    await close(shown);
  },

  async "hostile text stays text"() {
    const shown = await open();
    const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>"\'`${alert(3)}';
    await fail("tts", failure(`odd ${evil}`, `${evil} ${"w".repeat(5000)}`, { "x-trace-id": evil, "x-odd": "sk_live_51H8abcdEfgh1234" }));
    upstream.answers.push(failure("odd_too", "SAMPLE\n\u001b[201~; touch /tmp/evil\nSAMPLE"));
    await gateway.send("/tts/v1/%3Cscript%3Ealert(4)%3C%2Fscript%3E?token=abc", { method: "PATCH", body: "x" });
    await shown.page.locator("#unmapped li").nth(1).waitFor();
    assert.equal(await shown.page.locator("img, #main script").count(), 0);
    const commands = await shown.page.locator("#unmapped pre").allTextContents();
    for (const command of commands) {
      assert.match(command, /^speechgate explain --provider elevenlabs - <<'SAMPLE'\n> P/);
      assert.doesNotMatch(command, /\u001b|sk_live|token=abc/);
    }
    assert.ok((await shown.page.locator("#unmapped").textContent()).includes(evil.slice(0, 40)));
    const wide = await shown.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} px too wide`);
    await close(shown);
  },

  async "a command can be copied"() {
    const shown = await open("/", { permissions: ["clipboard-read", "clipboard-write"] });
    await shown.page.getByRole("button", { name: "Copy" }).first().click();
    await shown.page.getByText("Copied").waitFor();
    const copied = await shown.page.evaluate(() => navigator.clipboard.readText());
    assert.match(copied, /^speechgate explain --provider elevenlabs /);
    await close(shown);
  },

  async "everything is reached by keyboard, and seen to be"() {
    const shown = await open();
    const reached = [];
    for (let press = 0; press < 14; press++) {
      await shown.page.keyboard.press("Tab");
      reached.push(await shown.page.evaluate(() => {
        const style = getComputedStyle(document.activeElement);
        if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) throw new Error(`no focus ring on ${document.activeElement.outerHTML}`);
        return document.activeElement.id || document.activeElement.textContent;
      }));
    }
    for (const name of ["Skip to what is failing", "Error reference", "theme", "route", "type", "plot"]) assert.ok(reached.includes(name), `${name} in ${reached}`);
    await shown.page.locator("#plot").focus();
    await shown.page.keyboard.press("ArrowLeft");
    assert.match(await shown.page.locator("#legend-when").textContent(), /^\d\d:\d\d$/);
    await shown.page.keyboard.press("Escape");
    assert.equal(await shown.page.locator("#legend-when").textContent(), "Last hour");
    await close(shown);
  },

  async "nothing is too wide for a phone or a tablet"() {
    for (const path of ["/", "/errors", "/errors/invalid_parameter"]) {
      for (const width of [360, 761, 1001]) {
        const shown = await open(path, { viewport: { width, height: 740 } });
        const wide = await shown.page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${path} is ${wide} px wide at ${width}`);
        await close(shown);
      }
    }
  },

  async "the list of codes hides no column on a phone"() {
    const shown = await open("/errors", { viewport: { width: 390, height: 844 } });
    const cut = await shown.page.locator(".scroll").evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth).length);
    assert.equal(cut, 0);
    await close(shown);
  },

  async "text stands out in both themes"() {
    for (const colorScheme of ["light", "dark"]) {
      for (const path of ["/", "/errors/rate_limited"]) {
        const shown = await open(path, { colorScheme });
        assert.deepEqual(await shown.page.evaluate(faint), [], `${path} ${colorScheme}`);
        await shown.page.locator("#theme").click();
        const scheme = await shown.page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
        assert.equal(scheme, colorScheme === "light" ? "dark" : "light");
        assert.deepEqual(await shown.page.evaluate(faint), [], `${path} ${colorScheme}, switched`);
        await close(shown);
      }
    }
  },

  async "a hidden page asks nothing"() {
    const shown = await open("/", { clock: true });
    let asked = 0;
    shown.page.on("request", () => asked++);
    await shown.page.clock.runFor(10000);
    assert.ok(asked > 0);
    await shown.page.evaluate(() => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    // What is under way may ask for its next turn once more, and finds the page hidden.
    await shown.page.waitForLoadState("networkidle");
    asked = 0;
    await shown.page.clock.runFor(60000);
    assert.equal(asked, 0);
    const answer = shown.page.waitForRequest(/status\.json/);
    await shown.page.evaluate(() => {
      delete document.hidden;
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await answer;
    await close(shown);
  },

  async "many failures leave the chart on the first screen, each code told apart"() {
    const codes = ["invalid_api_key", "rate_limit_exceeded", "internal_error", "too_many_concurrent_requests", "system_busy", "missing_permissions", "detected_unusual_activity", "voice_clone_failed", "subscription_required"];
    for (const code of codes) for (const route of ["tts", "stt"]) await fail(route, failure(code));
    for (const [width, height] of [[390, 844], [1280, 800]]) {
      const shown = await open("/", { viewport: { width, height } });
      await shown.page.locator("#legend tr").nth(9).waitFor();
      const { y, height: tall } = await shown.page.locator("#plot").boundingBox();
      assert.ok(y + tall <= height, `the chart ends at ${y + tall} of ${height}`);
      const looks = await shown.page.locator("#legend .swatch").evaluateAll((all) => all.map((swatch) => {
        const { backgroundColor, backgroundImage } = getComputedStyle(swatch);
        return `${backgroundColor} ${backgroundImage}`;
      }));
      assert.equal(new Set(looks).size, looks.length, looks.join("; "));
      // Whoever opens a line sees all of it, with what to do, and it stays open when news come.
      await shown.page.locator("#failing summary").first().click({ position: { x: 20, y: 8 } });
      await fail("tts", failure("quota_exceeded"));
      await shown.page.locator("#failing li li").first().waitFor();
      assert.ok(await shown.page.locator("#failing details").first().evaluate((details) => details.open));
      await close(shown);
    }
  },

  async "errors of the first seconds are in the chart"() {
    const shown = await open();
    const counted = await shown.page.locator("#legend td").evaluateAll((all) => all.reduce((sum, cell) => sum + Number(cell.textContent), 0));
    const { buckets } = await (await fetch(gateway.url("/status.json"))).json();
    assert.equal(counted, buckets.flatMap(({ errors }) => errors).reduce((sum, [, , number]) => sum + number, 0));
    assert.ok(buckets[0].errors.length > 0);
    await close(shown);
  },

  async "a refused reload is told"() {
    const shown = await open();
    const before = readFileSync(gateway.file, "utf8");
    writeFileSync(gateway.file, `${before}\n[sever]\n`);
    await fetch(gateway.url("/-/reload"), { method: "POST" });
    await shown.page.locator("#failing summary").getByText("sever").waitFor();
    writeFileSync(gateway.file, before);
    await fetch(gateway.url("/-/reload"), { method: "POST" });
    await shown.page.locator("#about").getByText("configuration reloaded").waitFor();
    await close(shown);
  },

  async "a lost upstream and a change that waits for a restart are told although nothing fails"() {
    const shown = await open();
    const before = readFileSync(gateway.file, "utf8");
    const reload = async (text) => {
      writeFileSync(gateway.file, text);
      await fetch(gateway.url("/-/reload"), { method: "POST" });
    };
    // Port 1 is nobody's.
    const lost = `upstreams = ["http://127.0.0.1:1", "http://127.0.0.1:${upstream.port}"]\nhealth = { path = "/", interval = "300ms", unhealthy = 2 }`;
    await reload(before.replace(/upstream = .*/, lost).replace("[admin]", "workers = 1\nmax_headers = 77\n[admin]"));
    const failing = shown.page.locator("#failing li");
    assert.match(await failing.filter({ hasText: "Upstream lost" }).textContent(), /127\.0\.0\.1:1 of tts/);
    assert.match(await failing.filter({ hasText: "Waits for a restart" }).textContent(), /server\.max_header_bytes and max_headers/);
    assert.equal(await gateway.send("/tts/v1/x"), 200);
    await reload(before);
    await failing.filter({ hasText: "Waits for a restart" }).waitFor({ state: "detached" });
    await failing.filter({ hasText: "Upstream lost" }).waitFor({ state: "detached" });
    await close(shown);
  },

  async "limits, pauses and their ends are shown"() {
    const shown = await open();
    const unused = shown.page.locator("#unused li");
    const slots = shown.page.locator("#routes tr", { hasText: "stt" }).locator("td[data-label=Slots]");
    assert.equal(await slots.textContent(), "0 / 4");
    assert.equal(await unused.count(), 0);
    await fail("stt", { ...failure("rate_limit_exceeded", "Slow down.", { "retry-after": "5" }), status: 429 });
    await unused.waitFor();
    assert.match(await unused.textContent(), /^stt backs off as the provider asked, answering rate_limited /);
    assert.equal(await gateway.send("/stt/v1/x"), 429);
    await unused.waitFor({ state: "detached" });
    assert.equal(await gateway.send("/stt/v1/x"), 200);
    await close(shown);
  },

  async "a gateway that is gone is said to be, and one that is back is shown"() {
    const shown = await open();
    const ports = [gateway.clients, gateway.admin].map((address) => address.split(":")[1]);
    await gateway.stop();
    await shown.page.getByText("The gateway has been unreachable since").waitFor();
    assert.equal(await shown.page.locator("#live").textContent(), "not connected");
    gateway = await Gateway.start(upstream.port, ports);
    await shown.page.getByText("The gateway cannot be reached").waitFor({ state: "hidden" });
    await shown.page.getByText("Nothing is failing.").waitFor();
    assert.equal(await shown.page.locator("#errors tr").count(), 0);
    // That the browser notes what could not be fetched is as it should be.
    await close({ page: shown.page, wrong: shown.wrong.filter((text) => !text.includes("ERR_CONNECTION")) });
  },

  async "it is seen which tenants use what, wait, and are over"() {
    const { gateway: asking, end } = await tenants();
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [390, 761, 1280]) {
        const shown = await open("/", { of: asking, colorScheme, viewport: { width, height: 900 } });
        const row = (name) => shown.page.locator("#tenants tr", { hasText: name });
        await row("batch").waitFor();
        const text = async (name, label) => row(name).locator(`td[data-label="${label}"]`).textContent();
        assert.deepEqual([await text("batch", "Slots"), await text("batch", "Waiting")], ["3", "2"]);
        assert.deepEqual([await text("capped", "Slots"), await text("capped", "Waiting")], ["1 / 1", "1"]);
        assert.match(await text("spent", "Budgets and rates"), /^requests\/1d 100 % of 2none left, begins anew in \d+ (s|min|h)/);
        const over = await shown.page.locator("#over li").allTextContents();
        for (const part of ["batch holds more slots than its share", "capped holds the one slot", "spent has used up requests/1d", "near has used 83 % of requests/1d"]) {
          assert.ok(over.some((line) => line.startsWith(part)), `${part} in ${over}`);
        }
        const wide = await shown.page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${wide} px wide at ${width}`);
        assert.deepEqual(await shown.page.evaluate(faint), [], `${colorScheme} ${width}`);
        if (process.env.SHOTS) {
          await shown.page.locator("#tenants-section").scrollIntoViewIfNeeded();
          await shown.page.screenshot({ path: `${process.env.SHOTS}/tenants-${colorScheme}-${width}.png`, fullPage: true });
        }
        await close(shown);
      }
    }
    await end();
  },

  async "every code has its page"() {
    const shown = await open("/errors");
    const links = await shown.page.locator("main table a").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
    assert.ok(links.length > 60);
    for (const link of links) assert.equal((await fetch(gateway.url(link))).status, 200, link);
    assert.equal((await fetch(gateway.url("/errors/nothing"))).status, 404);
    await close(shown);
  },
};

/** Text with less contrast than WCAG 2.2 AA asks for. Runs in the page. */
function faint() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const part = (value) => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = rgba(getComputedStyle(element).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba("Canvas");
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    if (!texts.length || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgba(style.color)), light(ground(element))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 120)}`);
  }
  return found;
}

let failed = 0;
// With a part of a name as its argument, only the checks with that in their names.
for (const [name, check] of Object.entries(checks).filter(([name]) => name.includes(process.argv[2] ?? ""))) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    upstream.answers.length = 0;
    console.log(`failed ${name}: ${error.stack}`);
  }
}
await browser.close();
await gateway.stop();
upstream.close();
process.exitCode = failed ? 1 : 0;

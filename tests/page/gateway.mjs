// A gateway before a provider of the test's own, which answers as it is told.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A provider; `answers` are given in order, then all is well. */
export async function provider() {
  const answers = [];
  const server = createServer((request, response) => {
    request.resume();
    const { status = 200, headers = {}, body = "{}" } = answers.shift() ?? {};
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { answers, port: server.address().port, close: () => server.close() };
}

/** The program with routes to this provider, on free ports or on those given. */
export class Gateway {
  static async start(port, [clients, admin] = [0, 0], more = "") {
    const gateway = new Gateway();
    gateway.folder = mkdtempSync(join(tmpdir(), "speechgate-page-"));
    const file = join(gateway.folder, "gateway.toml");
    const route = (name) =>
      `[[routes]]\nname = "${name}"\nmatch = { path = "/${name}" }\nprovider = "elevenlabs"\nupstream = "http://127.0.0.1:${port}"\n`;
    const listeners = `[server]\nlisten = "127.0.0.1:${clients}"\n[admin]\nlisten = "127.0.0.1:${admin}"\n`;
    writeFileSync(file, `${listeners}${route("tts")}${route("stt")}concurrency = { max = 4, max_wait = "30s" }\n${more}`);
    gateway.file = file;
    gateway.process = spawn(process.env.SPEECHGATE, ["serve", "--config", file], { stdio: ["ignore", "ignore", "pipe"] });
    gateway.ended = new Promise((ended) => gateway.process.once("exit", ended));
    for await (const line of createInterface(gateway.process.stderr)) {
      const said = line.startsWith("{") ? JSON.parse(line) : {};
      if (said.message === "listening") {
        gateway.process.stderr.resume();
        [gateway.clients, gateway.admin] = [said.address, said.admin];
        return gateway;
      }
    }
    throw new Error("the gateway did not start");
  }

  /** Sends a request as a client. */
  async send(path, options = {}) {
    const answer = await fetch(`http://${this.clients}${path}`, options);
    await answer.arrayBuffer();
    return answer.status;
  }

  url(path = "/") {
    return `http://${this.admin}${path}`;
  }

  async stop() {
    this.process.kill("SIGKILL");
    await this.ended;
    rmSync(this.folder, { recursive: true });
  }
}

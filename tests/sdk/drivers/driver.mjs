// Runs a plan of SDK calls and prints one JSON line per outcome: driver.py's twin, see there for both formats.
// Arguments: the plan's file, and the folder whose node_modules holds the SDKs.

import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { call } from "./calls.mjs";

const [planFile, sdkFolder] = process.argv.slice(2);

const DEADLINE_SECONDS = 240;
const pending = new Set();

// Every SDK here sends through the global fetch, so one wrapper counts for all.
const running = new AsyncLocalStorage();
const plainFetch = globalThis.fetch;
globalThis.fetch = (...args) => {
    const count = running.getStore();
    if (count) count.requests += 1;
    return plainFetch(...args);
};

// One SDK prints what its schema does not know of each message.
console.warn = () => {};

// An SDK that leaves a rejected promise behind would end its user's process: noted, and part of the outcome.
let strays = 0;
process.on("unhandledRejection", () => { strays += 1; });

const require = createRequire(path.join(path.resolve(sdkFolder), "package.json"));

/**
 * A package from the SDK folder; a bare import would look beside this file. The CommonJS build is what finds the `ws`
 * package by itself, and one SDK is ES modules alone.
 */
async function load(name) {
    try {
        return require(name);
    } catch (error) {
        if (error.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw error;
    }
    const folder = path.join(path.resolve(sdkFolder), "node_modules", name);
    const manifest = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
    return import(pathToFileURL(path.join(folder, manifest.exports["."].import)));
}

/** Any value as JSON: bytes as their digest, class instances by their own members. */
function plain(value, depth = 0) {
    if (value === null || value === undefined) return null;
    if (["boolean", "number", "string"].includes(typeof value)) return value;
    if (typeof value === "bigint") return String(value);
    if (typeof value === "function" || typeof value === "symbol") return typeof value;
    if (value instanceof ArrayBuffer) return plain(new Uint8Array(value), depth);
    if (ArrayBuffer.isView(value)) {
        const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
        return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    }
    if (value instanceof Date) return value.toISOString();
    if (typeof value.entries === "function" && typeof value.get === "function") return Object.fromEntries(value.entries());
    if (depth > 12) return "too deep";
    if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, depth + 1)]));
}

function basesOf(error) {
    const names = [];
    for (let proto = Object.getPrototypeOf(error); proto && proto !== Object.prototype; proto = Object.getPrototypeOf(proto)) {
        names.push(proto.constructor.name);
    }
    return names;
}

/** Own members and getters, without the parts that the outcome reports elsewhere. */
function fieldsOf(error) {
    const names = new Set(Object.keys(error));
    for (let proto = Object.getPrototypeOf(error); proto && proto !== Error.prototype; proto = Object.getPrototypeOf(proto)) {
        for (const [name, member] of Object.entries(Object.getOwnPropertyDescriptors(proto))) {
            if (member.get) names.add(name);
        }
    }
    for (const name of ["stack", "message", "headers", "body", "error", "rawResponse", "cause"]) names.delete(name);
    return Object.fromEntries([...names].sort().map((name) => [name, plain(error[name])]));
}

function failure(error) {
    if (!(error instanceof Error)) return { outcome: "error", class: typeof error, bases: [], message: String(error), headers: {} };
    // Cartesia calls the body `error`; the others `body`.
    const body = error.body ?? error.error ?? null;
    const headers = error.headers ?? error.rawResponse?.headers ?? new Headers();
    let message = error.message;
    if (body !== null && typeof body !== "function") {
        for (const shown of [JSON.stringify(body, null, 2), JSON.stringify(body)]) message = message.replaceAll(shown, "<body>");
    }
    const [kind, ...bases] = basesOf(error);
    return {
        outcome: "error",
        class: kind,
        bases,
        status: error.status ?? error.statusCode ?? null,
        message,
        cause: error.cause instanceof Error ? (error.cause.code ?? error.cause.name) : null,
        headers: Object.fromEntries(new Headers(headers).entries()),
        body: plain(body),
        fields: fieldsOf(error),
    };
}

async function run(sdks, urls, item) {
    const count = { requests: 0 };
    const outcome = await running.run(count, async () => {
        try {
            return { outcome: "ok", value: plain(await call(sdks, urls[item.provider], item)) };
        } catch (error) {
            return failure(error);
        }
    });
    return { case: item.id, ...outcome, requests: count.requests };
}

// A call that never ends is a finding: what is left goes to standard error, and the run fails.
setTimeout(() => {
    process.stderr.write(`no answer for: ${[...pending].join(", ")}\n`);
    process.exit(1);
}, DEADLINE_SECONDS * 1000).unref();

const plan = JSON.parse(readFileSync(planFile, "utf8"));
const sdks = {
    elevenlabs: await load("@elevenlabs/elevenlabs-js"),
    cartesia: await load("@cartesia/cartesia-js"),
    corti: await load("@corti/sdk"),
    breeze: await load("@breeze.blue/sdk"),
};
const queue = [...plan.cases];
async function worker() {
    for (let item = queue.shift(); item; item = queue.shift()) {
        pending.add(item.id);
        process.stdout.write(`${JSON.stringify(await run(sdks, plan.urls, item))}\n`);
        pending.delete(item.id);
    }
}
await Promise.all(Array.from({ length: 6 }, worker));
if (strays > 0) process.stderr.write(`${strays} promises were rejected with nobody listening\n`);
process.exit(0);

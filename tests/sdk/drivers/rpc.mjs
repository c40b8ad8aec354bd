// Calls by @grpc/grpc-js: the gRPC interoperability cases and health checks, one line a case, or what a client is told of each fault, in
// rpc.py's format. Arguments: the folder whose node_modules holds the packages, `cases` or `faults`, host:port, maybe a file with a CA.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const [sdkFolder, what, address, ca] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(sdkFolder), "package.json"));
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const health = require("grpc-health-check");

const proto = path.join(path.dirname(fileURLToPath(import.meta.url)), "testing.proto");
const { testing } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true })).grpc;
const Health = grpc.makeGenericClientConstructor(health.service, "Health");
const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
const options = { "grpc.use_local_subchannel_pool": 1, "grpc.enable_http_proxy": 0, "grpc.enable_retries": 0 };
const open = (Client) => new Client(address, credentials, options);

const [INITIAL, TRAILING] = ["x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"];
const SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
const SIZES = [31415, 9, 2653, 58979];
const SENT = [27182, 8, 1828, 45904];
const patience = (seconds) => ({ deadline: Date.now() + seconds * 1000 });
const bytes = (size) => ({ body: Buffer.alloc(size) });
const name = (error) => `${grpc.status[error.code]} ${JSON.stringify(error.details)}`;

/** A unary call, as a promise of its answer. */
function ask(client, method, request, metadata = new grpc.Metadata(), seconds = 20) {
    return new Promise((resolve, reject) => {
        client[method](request, metadata, patience(seconds), (error, answer) => (error ? reject(error) : resolve(answer)));
    });
}

/** The answers of a stream, each told as it comes; fails as the stream does. */
function all(call, each = () => {}) {
    return new Promise((resolve, reject) => {
        const answers = [];
        call.on("data", (answer) => {
            answers.push(answer);
            each(answer);
        });
        call.on("error", reject);
        call.on("end", () => resolve(answers));
    });
}

const failed = (promise) => promise.then(() => "no failure", name);

function duplex(client, requests, metadata = new grpc.Metadata(), seconds = 20) {
    const call = client.FullDuplexCall(metadata, patience(seconds));
    requests.forEach((request) => call.write(request));
    return call;
}

const lengths = (answers) => answers.map((answer) => answer.payload.body.length);

const CASES = {
    async empty_unary(client) {
        return ask(client, "EmptyCall", {});
    },
    async large_unary(client) {
        return lengths([await ask(client, "UnaryCall", { response_size: 314159, payload: bytes(271828) })]);
    },
    async server_compressed_unary(client) {
        return lengths([await ask(client, "UnaryCall", { response_size: 1 })]);
    },
    async client_streaming(client) {
        return new Promise((resolve, reject) => {
            const call = client.StreamingInputCall(patience(20), (error, answer) => (error ? reject(error) : resolve(answer)));
            SENT.forEach((size) => call.write({ payload: bytes(size) }));
            call.end();
        });
    },
    async server_streaming(client) {
        return lengths(await all(client.StreamingOutputCall({ response_parameters: SIZES.map((size) => ({ size })) }, patience(20))));
    },
    async ping_pong(client) {
        const call = duplex(client, []);
        let at = 0;
        const next = () => {
            if (at === SIZES.length) return call.end();
            call.write({ response_parameters: [{ size: SIZES[at] }], payload: bytes(SENT[at]) });
            at += 1;
        };
        const answers = all(call, next);
        next();
        return lengths(await answers);
    },
    async empty_stream(client) {
        const call = duplex(client, []);
        call.end();
        return all(call);
    },
    async cancel_after_begin(client) {
        return new Promise((resolve) => {
            const call = client.StreamingInputCall(patience(20), (error) => resolve(error && name(error)));
            setImmediate(() => call.cancel());
        });
    },
    async cancel_after_first_response(client) {
        const call = duplex(client, [{ response_parameters: [{ size: 31415 }], payload: bytes(27182) }]);
        return failed(all(call, () => call.cancel()));
    },
    async timeout_on_sleeping_server(client) {
        return (await failed(all(duplex(client, [{ payload: bytes(27182) }], undefined, 0.05)))).split(" ")[0];
    },
    async custom_metadata(client) {
        const sent = new grpc.Metadata();
        sent.set(INITIAL, "test_initial_metadata_value");
        sent.set(TRAILING, Buffer.from([0xab, 0xab, 0xab, 0, 0x2c, 0xff]));
        const call = duplex(client, [{}], sent);
        call.end();
        let head, status;
        call.on("metadata", (metadata) => { head = metadata.get(INITIAL); });
        call.on("status", (ended) => { status = ended.metadata.get(TRAILING); });
        await all(call);
        return [head, status];
    },
    async status_code_and_message(client) {
        const request = { response_status: { code: 2, message: "test status message" } };
        return [await failed(ask(client, "UnaryCall", request)), await failed(all(duplex(client, [request])))];
    },
    async special_status_message(client) {
        return (await failed(ask(client, "UnaryCall", { response_status: { code: 2, message: SPECIAL } }))) === `UNKNOWN ${JSON.stringify(SPECIAL)}`;
    },
    async unimplemented_method(client) {
        return failed(ask(client, "UnimplementedCall", {}));
    },
    async unimplemented_service() {
        return failed(ask(open(testing.UnimplementedService), "UnimplementedCall", {}));
    },
    async health() {
        const client = open(Health);
        const found = [await ask(client, "Check", {}), await ask(client, "Check", { service: "down" })];
        const watch = client.Watch({ service: "down" }, patience(20));
        let watched;
        const told = await failed(all(watch, (answer) => {
            watched = answer;
            watch.cancel();
        }));
        return [found, watched, told, await failed(ask(client, "Check", { service: "nobody" }))];
    },
};

async function cases() {
    const client = open(testing.TestService);
    for (const [title, run] of Object.entries(CASES)) {
        const told = await run(client).catch((error) => `${error.name}: ${error.message}`);
        console.log(`${title}\t${JSON.stringify(told)}`);
    }
}

const PROVIDER = ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNAVAILABLE", "INTERNAL", "API_KEY_INVALID"];
const NETWORK = ["net-reset", "net-empty", "net-garbage", "net-html-502", "net-body-hang", "mid-net-reset", "net-hang"];
const MOMENTS = ["", "open-", "mid-", "end-"];
// Directly they would wait for ever; what ends by itself has the time that a busy machine takes.
const seconds = (fault) => (["net-body-hang", "net-hang"].includes(fault) ? 1.5 : 20);

function metadata(fault) {
    const fields = new grpc.Metadata();
    if (fault) fields.set("x-speechgate-fault", fault);
    return fields;
}

const CLIENTS = {
    "@grpc/grpc-js health check": [PROVIDER, async (fault) => {
        const client = open(Health);
        await ask(client, "Check", {}, metadata(fault), seconds(fault)).finally(() => client.close());
    }],
    "@grpc/grpc-js health watch": [MOMENTS.flatMap((moment) => PROVIDER.map((fault) => moment + fault)), async (fault) => {
        const client = open(Health);
        await all(client.Watch({}, metadata(fault), patience(seconds(fault)))).finally(() => client.close());
    }],
    // The second message is sent when the answer to the first is there.
    "@grpc/grpc-js stream": [MOMENTS.flatMap((moment) => PROVIDER.map((fault) => moment + fault)), async (fault) => {
        const client = new grpc.Client(address, credentials, options);
        const plain = (value) => value;
        const method = "/google.cloud.speech.v1.Speech/StreamingRecognize";
        const call = client.makeBidiStreamRequest(method, plain, plain, metadata(fault), patience(seconds(fault)));
        let sent = 0;
        const next = () => {
            if (sent === 2) return call.end();
            sent += 1;
            call.write(Buffer.alloc(0));
        };
        const answers = all(call, next);
        next();
        await answers.finally(() => client.close());
    }],
};

async function faults() {
    for (const [client, [provider, run]] of Object.entries(CLIENTS)) {
        for (const fault of ["", ...provider, ...NETWORK]) {
            const told = await run(fault).then(() => "ok", (error) => (error.code === undefined ? `${error.name}: ${error.message}` : `RpcError ${grpc.status[error.code]}`));
            console.log([client, fault, NETWORK.includes(fault) ? "network" : "provider", told].join("\t"));
        }
    }
}

await { cases, faults }[what]();
process.exit(0);

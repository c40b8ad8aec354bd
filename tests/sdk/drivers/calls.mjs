// The JavaScript SDKs' methods by the names that tests/sdk/matrix.toml uses.
// Each takes a client and the case, and resolves to what the SDK gave, with audio gathered to its end.

import { File } from "node:buffer";

import { SOCKETS } from "./sockets.mjs";

const TEXT = "The quick brown fox jumps over the lazy dog.";
const TIMEOUT_SECONDS = 20;
const ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

/** A second of silence: 16-bit mono PCM at 8 kHz, in a WAV container. */
function clip() {
    const wav = Buffer.alloc(44 + 16000);
    wav.write("RIFF", 0);
    wav.writeUInt32LE(36 + 16000, 4);
    wav.write("WAVEfmt ", 8);
    wav.writeUInt32LE(16, 16);
    wav.writeUInt16LE(1, 20);
    wav.writeUInt16LE(1, 22);
    wav.writeUInt32LE(8000, 24);
    wav.writeUInt32LE(16000, 28);
    wav.writeUInt16LE(2, 32);
    wav.writeUInt16LE(16, 34);
    wav.write("data", 36);
    wav.writeUInt32LE(16000, 40);
    return wav;
}

const clipFile = () => new File([clip()], "clip.wav", { type: "audio/wav" });

async function gathered(stream) {
    const parts = [];
    for await (const part of stream) parts.push(Buffer.from(part));
    return Buffer.concat(parts);
}

async function listed(items) {
    const found = [];
    for await (const item of items) found.push(item);
    return found;
}

/** An API key of the case's own: a wait that a provider asks for binds all calls with the same one. */
const key = (item) => item.key ?? `test-key-${item.number}`;

/** A token that @corti/sdk can read; nothing verifies it. */
function token(item) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = { iss: "https://auth.eu.corti.app/realms/base", exp: 4102444800, jti: key(item) };
    return `${part({ alg: "none" })}.${part(claims)}.c2lnbmF0dXJl`;
}

const retries = (item, name) => (item.retries === null ? {} : { [name]: item.retries });
const voice = (item) => item.target ?? "voice-1";
const speech = (item, container) => ({
    model_id: "sonic-3",
    transcript: TEXT,
    voice: { mode: "id", id: voice(item) },
    output_format: { container, encoding: "pcm_s16le", sample_rate: 8000 },
});

const CLIENTS = {
    "elevenlabs-js": (sdks, url, item) =>
        new sdks.elevenlabs.ElevenLabsClient({
            baseUrl: url,
            apiKey: key(item),
            headers: item.headers,
            timeoutInSeconds: TIMEOUT_SECONDS,
            ...retries(item, "maxRetries"),
        }),
    "cartesia-js": (sdks, url, item) =>
        new (sdks.cartesia.default ?? sdks.cartesia.Cartesia)({
            apiKey: key(item),
            baseURL: url,
            defaultHeaders: item.headers,
            timeout: TIMEOUT_SECONDS * 1000,
            ...retries(item, "maxRetries"),
        }),
    "corti-js": (sdks, url, item) =>
        new sdks.corti.CortiClient({
            environment: {
                base: `${url}/v2`,
                wss: `${url.replace("http", "ws")}/audio-bridge/v2`,
                login: `${url}/realms`,
                agents: url,
            },
            tenantName: "base",
            auth: { accessToken: token(item) },
            headers: item.headers,
            timeoutInSeconds: TIMEOUT_SECONDS,
            ...retries(item, "maxRetries"),
        }),
    // Exchanges its credentials at the token endpoint before the call.
    "corti-js-oauth": (sdks, url, item) =>
        new sdks.corti.CortiClient({
            environment: { base: `${url}/v2`, wss: url, login: `${url}/realms`, agents: url },
            tenantName: "base",
            auth: { clientId: item.target ?? "client-1", clientSecret: key(item) },
            headers: item.headers,
            timeoutInSeconds: TIMEOUT_SECONDS,
            ...retries(item, "maxRetries"),
        }),
    "breeze-js": (sdks, url, item) =>
        new sdks.breeze.BreezeBlueClient({
            apiKey: key(item),
            baseUrl: url,
            headers: item.headers,
            timeout: TIMEOUT_SECONDS * 1000,
        }),
};

const audio = async (response) => ({
    audio: await response.bytes(),
    contentType: response.contentType,
    historyItemId: response.historyItemId,
});

const CALLS = {
    "elevenlabs-js": {
        "textToSpeech.convert": async (sdk, item) => gathered(await sdk.textToSpeech.convert(voice(item), { text: TEXT })),
        "textToSpeech.stream": async (sdk, item) => gathered(await sdk.textToSpeech.stream(voice(item), { text: TEXT })),
        "textToSpeech.convertWithTimestamps": (sdk, item) => sdk.textToSpeech.convertWithTimestamps(voice(item), { text: TEXT }),
        "textToSpeech.streamWithTimestamps": async (sdk, item) =>
            listed(await sdk.textToSpeech.streamWithTimestamps(voice(item), { text: TEXT })),
        "speechToSpeech.convert": async (sdk, item) => gathered(await sdk.speechToSpeech.convert(voice(item), { audio: clipFile() })),
        "speechToText.convert": (sdk) => sdk.speechToText.convert({ modelId: "scribe_v1", file: clipFile() }),
        "voices.get": (sdk, item) => sdk.voices.get(voice(item)),
        "voices.getAll": (sdk) => sdk.voices.getAll(),
        "models.list": (sdk) => sdk.models.list(),
        "user.get": (sdk) => sdk.user.get(),
    },
    "cartesia-js": {
        "tts.generate": async (sdk, item) => (await sdk.tts.generate(speech(item, "wav"))).arrayBuffer(),
        "tts.generateSSE": async (sdk, item) => listed(await sdk.tts.generateSSE(speech(item, "raw"))),
        "stt.transcribe": (sdk) => sdk.stt.transcribe({ file: clipFile(), model: "ink-whisper" }),
        "voiceChanger.generate": async (sdk, item) =>
            (
                await sdk.voiceChanger.generate({
                    clip: clipFile(),
                    voice_id: voice(item),
                    output_format_container: "wav",
                    output_format_encoding: "pcm_s16le",
                    output_format_sample_rate: 8000,
                })
            ).arrayBuffer(),
        "voices.get": (sdk, item) => sdk.voices.get(voice(item)),
        "voices.list": async (sdk) => (await sdk.voices.list()).data,
        "agents.calls.retrieve": (sdk, item) => sdk.agents.calls.retrieve(item.target ?? "call-1"),
    },
    "corti-js": {
        "interactions.create": (sdk) =>
            sdk.interactions.create({ encounter: { identifier: "e1", status: "planned", type: "first_consultation" } }),
        "interactions.get": (sdk, item) => sdk.interactions.get(item.target ?? ID),
        "interactions.list": async (sdk) => (await sdk.interactions.list()).data,
        "interactions.update": (sdk, item) => sdk.interactions.update(item.target ?? ID),
        "recordings.upload": (sdk, item) => sdk.recordings.upload(clipFile(), item.target ?? ID),
        "transcripts.create": (sdk, item) =>
            sdk.transcripts.create(item.target ?? ID, { recordingId: ID, primaryLanguage: "en" }),
        "transcripts.getStatus": (sdk, item) => sdk.transcripts.getStatus(item.target ?? ID, ID),
        "documents.create": (sdk, item) =>
            sdk.documents.create(item.target ?? ID, {
                context: [{ type: "facts", data: [{ text: "pain" }] }],
                templateKey: "soap",
                outputLanguage: "en",
            }),
        "facts.extract": (sdk) => sdk.facts.extract({ context: [{ type: "text", text: TEXT }], outputLanguage: "en" }),
        "agents.list": (sdk) => sdk.agents.list(),
        "agents.get": (sdk, item) => sdk.agents.get(item.target ?? ID),
        "agents.messageSend": (sdk, item) =>
            sdk.agents.messageSend(item.target ?? ID, {
                message: { role: "user", parts: [{ kind: "text", text: TEXT }], messageId: "m1", kind: "message" },
            }),
        "auth.getToken": (sdk, item) => sdk.auth.getToken({ clientId: "client-1", clientSecret: key(item) }),
    },
    "corti-js-oauth": {
        "interactions.get": (sdk, item) => sdk.interactions.get(ID),
    },
    "breeze-js": {
        "textToSpeech.convert": async (sdk, item) => audio(await sdk.textToSpeech.convert(voice(item), { text: TEXT })),
        "textToSpeech.stream": async (sdk, item) => audio(await sdk.textToSpeech.stream(voice(item), { text: TEXT })),
        "textToSpeech.createJob": (sdk, item) => sdk.textToSpeech.createJob(voice(item), { text: TEXT }),
        "generationJobs.get": (sdk, item) => sdk.generationJobs.get(item.target ?? "job-settled"),
        "generationJobs.downloadAudio": async (sdk, item) => audio(await sdk.generationJobs.downloadAudio(item.target ?? "job-1")),
        "voices.get": (sdk, item) => sdk.voices.get(voice(item)),
        "account.balance": (sdk) => sdk.account.balance(),
    },
};

/** Makes the SDK's client for the case, calls the method, and waits for all that it gives. */
export async function call(sdks, url, item) {
    const method = CALLS[item.client]?.[item.method] ?? SOCKETS[item.client]?.[item.method];
    if (!method) throw new TypeError(`calls.mjs has no ${item.client} ${item.method}`);
    return method(CLIENTS[item.client](sdks, url, item), item);
}

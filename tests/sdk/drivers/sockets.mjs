// WebSocket sessions of the JavaScript SDKs, by the names that tests/sdk/sockets.toml uses: sockets.py's twin.

const PATIENCE = 5000;
const ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
const AUDIO = Buffer.alloc(16000);

const STREAM_CONFIG = {
    transcription: { primaryLanguage: "en", isDiarization: false, isMultichannel: false, participants: [] },
    mode: { type: "facts", outputLocale: "en" },
};

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The promise's value, or what says that it never settled. */
const settledIn = (promise, milliseconds = PATIENCE) => Promise.race([promise, pause(milliseconds).then(() => ({ hung: true }))]);

const speakAndEnd = (socket) => {
    socket.sendAudio(AUDIO);
    socket.sendEnd({ type: "end" });
};

/** `awaited`: the configuration is accepted already; else start once it is. */
async function cortiSession(socket, awaited) {
    const seen = [];
    const ended = new Promise((resolve) => {
        socket.on("message", (message) => {
            seen.push({ message });
            if (message.type === "CONFIG_ACCEPTED") speakAndEnd(socket);
            if (["ENDED", "ended", "error"].includes(message.type)) resolve();
        });
        socket.on("close", (event) => {
            seen.push({ close: event.code, reason: event.reason });
            resolve();
        });
        socket.on("error", (error) => seen.push({ error: error.message }));
    });
    if (awaited) speakAndEnd(socket);
    if ((await settledIn(ended))?.hung) seen.push({ hung: true });
    socket.close();
    return seen;
}

async function cortiConnect(connecting, awaited) {
    const socket = await settledIn(connecting);
    return socket.hung ? socket : cortiSession(socket, awaited);
}

export const SOCKETS = {
    "elevenlabs-js": {
        "speechToText.realtime": async (sdk, item) => {
            const connection = await settledIn(
                sdk.speechToText.realtime.connect({
                    modelId: item.target ?? "scribe_v2_realtime",
                    audioFormat: "pcm_8000",
                    sampleRate: 8000,
                }),
            );
            if (connection.hung) return connection;
            const seen = [];
            const ended = new Promise((resolve) => {
                for (const event of ["session_started", "partial_transcript", "committed_transcript", "error", "close"]) {
                    connection.on(event, (data) => {
                        // These events carry a socket object; only its code and reason are the user's, or the error's text.
                        if (event === "close") seen.push({ event, code: data?.code, reason: data?.reason });
                        else if (data instanceof Error) seen.push({ event, error: data.message });
                        else seen.push({ event, data });
                        if (["committed_transcript", "error", "close"].includes(event)) resolve();
                    });
                }
            });
            // Sending throws until the socket is open.
            connection.on("open", () => {
                connection.send({ audioBase64: AUDIO.toString("base64") });
                connection.commit();
            });
            if ((await settledIn(ended))?.hung) seen.push({ hung: true });
            await pause(300);
            connection.close();
            return seen;
        },
    },
    "cartesia-js": {
        "stt.manualFinalize": async (sdk, item) => {
            const socket = sdk.stt.manualFinalize.websocket(
                { model: item.target ?? "ink-whisper", encoding: "pcm_s16le", sample_rate: 8000 },
                { reconnect: null },
            );
            const seen = [];
            const ended = new Promise((resolve) => {
                socket.on("event", (event) => seen.push({ event }));
                socket.on("error", (error) => {
                    // The message repeats the body.
                    const body = error.error ?? null;
                    seen.push({ error: error.message.replaceAll(JSON.stringify(body), "<body>"), body });
                    resolve();
                });
                socket.on("close", (code, reason) => {
                    seen.push({ close: code, reason: String(reason ?? "") });
                    resolve();
                });
            });
            try {
                socket.sendRaw?.(AUDIO);
                socket.send("finalize");
                socket.send("close");
            } catch (error) {
                seen.push({ thrown: error.message });
            }
            if ((await settledIn(ended))?.hung) seen.push({ hung: true });
            socket.close();
            return seen;
        },
    },
    "corti-js": {
        "stream.connect": (sdk, item) =>
            cortiConnect(
                sdk.stream.connect({ id: item.target ?? ID, configuration: STREAM_CONFIG, reconnectAttempts: 0 }),
                true,
            ),
        "stream.connect without waiting": (sdk, item) =>
            cortiConnect(
                sdk.stream.connect({
                    id: item.target ?? ID,
                    configuration: STREAM_CONFIG,
                    awaitConfiguration: false,
                    reconnectAttempts: 0,
                }),
                false,
            ),
        "transcribe.connect": (sdk, item) =>
            cortiConnect(
                sdk.transcribe.connect({
                    configuration: { primaryLanguage: item.target ?? "en" },
                    // What the configuration cannot ask for: an upgrade that fails.
                    queryParams: item.target?.startsWith("fault-handshake-") ? { fault: item.target } : {},
                    reconnectAttempts: 0,
                }),
                true,
            ),
    },
};

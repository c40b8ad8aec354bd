"""The Python SDKs' methods by the names that tests/sdk/matrix.toml uses.

Each takes a client and the case, and returns what the SDK gave, with audio gathered to its end.
"""

import asyncio
import importlib
import json
import urllib.error
import urllib.request

# A second of silence: 16-bit mono PCM at 8 kHz, in a WAV container.
CLIP = b"RIFF\xa4\x3e\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x80\x3e\x00\x00" + bytes(16000)
TEXT = "The quick brown fox jumps over the lazy dog."
TIMEOUT = 20.0

CALLS = {}
BUILDERS = {}


def client(name, module):
    """Registers how a client of this name is built; its package is imported only when a plan needs it."""

    def register(build):
        BUILDERS[name] = (module, build)
        return build

    return register


def method(name, *client_names):
    def register(function):
        for client_name in client_names:
            CALLS[client_name, name] = function
        return function

    return register


def load(client_names):
    for name in client_names:
        importlib.import_module(BUILDERS[name][0])


def call(case, url):
    built = BUILDERS[case["client"]][1](url, case)
    result = CALLS[case["client"], case["method"]](built, case)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def voice(case):
    return case.get("target") or "voice-1"


def key(case):
    """An API key of the case's own: a wait that a provider asks for binds all calls with the same one."""
    return case.get("key") or f"test-key-{case['number']}"


def gathered(parts):
    return b"".join(parts)


async def gathered_async(parts):
    return b"".join([part async for part in parts])


# --- elevenlabs -------------------------------------------------------------------------------------------------


@client("elevenlabs-python", "elevenlabs.client")
def elevenlabs(url, case):
    from elevenlabs.client import ElevenLabs

    return ElevenLabs(base_url=url, api_key=key(case), headers=case["headers"], timeout=TIMEOUT)


@client("elevenlabs-python-async", "elevenlabs.client")
def elevenlabs_async(url, case):
    from elevenlabs.client import AsyncElevenLabs

    return AsyncElevenLabs(base_url=url, api_key=key(case), headers=case["headers"], timeout=TIMEOUT)


def options(case):
    """Fern's per-request options; left out, the SDK's own two retries apply."""
    return None if case["retries"] is None else {"max_retries": case["retries"]}


ELEVENLABS = "elevenlabs-python"


@method("text_to_speech.convert", ELEVENLABS)
def _(sdk, case):
    return gathered(sdk.text_to_speech.convert(voice(case), text=TEXT, request_options=options(case)))


@method("text_to_speech.stream", ELEVENLABS)
def _(sdk, case):
    return gathered(sdk.text_to_speech.stream(voice(case), text=TEXT, request_options=options(case)))


@method("text_to_speech.convert_with_timestamps", ELEVENLABS)
def _(sdk, case):
    return sdk.text_to_speech.convert_with_timestamps(voice(case), text=TEXT, request_options=options(case))


@method("text_to_speech.stream_with_timestamps", ELEVENLABS)
def _(sdk, case):
    return list(sdk.text_to_speech.stream_with_timestamps(voice(case), text=TEXT, request_options=options(case)))


@method("text_to_speech.with_raw_response.convert", ELEVENLABS)
def _(sdk, case):
    with sdk.text_to_speech.with_raw_response.convert(voice(case), text=TEXT, request_options=options(case)) as raw:
        return gathered(raw.data)


@method("speech_to_speech.convert", ELEVENLABS)
def _(sdk, case):
    return gathered(sdk.speech_to_speech.convert(voice(case), audio=CLIP, request_options=options(case)))


@method("speech_to_text.convert", ELEVENLABS)
def _(sdk, case):
    return sdk.speech_to_text.convert(model_id="scribe_v1", file=("clip.wav", CLIP), request_options=options(case))


@method("voices.get", ELEVENLABS)
def _(sdk, case):
    return sdk.voices.get(voice(case), request_options=options(case))


@method("voices.get_all", ELEVENLABS)
def _(sdk, case):
    return sdk.voices.get_all(request_options=options(case))


@method("models.list", ELEVENLABS)
def _(sdk, case):
    return sdk.models.list(request_options=options(case))


@method("user.get", ELEVENLABS)
def _(sdk, case):
    return sdk.user.get(request_options=options(case))


@method("conversations.get", ELEVENLABS)
def _(sdk, case):
    return sdk.conversational_ai.conversations.get(case.get("target") or "conv-settled", request_options=options(case))


@method("music.finetunes.get", ELEVENLABS)
def _(sdk, case):
    return sdk.music.finetunes.get(case.get("target") or "finetune-1", request_options=options(case))


@method("dubbing.project.get", ELEVENLABS)
def _(sdk, case):
    return sdk.dubbing.project.get(case.get("target") or "project-1", request_options=options(case))


@method("flows.image.get", ELEVENLABS)
def _(sdk, case):
    return sdk.flows.image.get(case.get("target") or "image-1", request_options=options(case))


@method("conversations.get_signed_url", ELEVENLABS)
def _(sdk, case):
    return sdk.conversational_ai.conversations.get_signed_url(agent_id="agent-1", request_options=options(case))


@method("text_to_speech.convert", "elevenlabs-python-async")
async def _(sdk, case):
    return await gathered_async(sdk.text_to_speech.convert(voice(case), text=TEXT, request_options=options(case)))


@method("voices.get", "elevenlabs-python-async")
async def _(sdk, case):
    return await sdk.voices.get(voice(case), request_options=options(case))


# --- cartesia ---------------------------------------------------------------------------------------------------

SSE_FORMAT = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000}
WAV_FORMAT = {"container": "wav", "encoding": "pcm_s16le", "sample_rate": 8000}


def cartesia_options(url, case):
    found = {"api_key": key(case), "base_url": url, "timeout": TIMEOUT, "default_headers": case["headers"]}
    return found if case["retries"] is None else {**found, "max_retries": case["retries"]}


@client("cartesia-python", "cartesia")
def cartesia(url, case):
    from cartesia import Cartesia

    return Cartesia(**cartesia_options(url, case))


@client("cartesia-python-async", "cartesia")
def cartesia_async(url, case):
    from cartesia import AsyncCartesia

    return AsyncCartesia(**cartesia_options(url, case))


def speech(case, output_format):
    return {
        "model_id": "sonic-3",
        "transcript": TEXT,
        "voice": {"mode": "id", "id": voice(case)},
        "output_format": output_format,
    }


CARTESIA = "cartesia-python"


@method("tts.generate", CARTESIA)
def _(sdk, case):
    return sdk.tts.generate(**speech(case, WAV_FORMAT)).read()


@method("tts.with_streaming_response.generate", CARTESIA)
def _(sdk, case):
    with sdk.tts.with_streaming_response.generate(**speech(case, WAV_FORMAT)) as response:
        return gathered(response.iter_bytes())


@method("tts.generate_sse", CARTESIA)
def _(sdk, case):
    return list(sdk.tts.generate_sse(**speech(case, SSE_FORMAT)))


@method("stt.transcribe", CARTESIA)
def _(sdk, case):
    return sdk.stt.transcribe(file=("clip.wav", CLIP), model="ink-whisper")


@method("voice_changer.generate", CARTESIA)
def _(sdk, case):
    response = sdk.voice_changer.generate(
        clip=("clip.wav", CLIP),
        voice_id=voice(case),
        output_format_container="wav",
        output_format_encoding="pcm_s16le",
        output_format_sample_rate=8000,
    )
    return response.read()


@method("voice_changer.generate_sse", CARTESIA)
def _(sdk, case):
    return list(
        sdk.voice_changer.generate_sse(
            clip=("clip.wav", CLIP),
            voice_id=voice(case),
            output_format_container="raw",
            output_format_encoding="pcm_s16le",
            output_format_sample_rate=8000,
        )
    )


@method("voices.get", CARTESIA)
def _(sdk, case):
    return sdk.voices.get(voice(case))


@method("voices.list", CARTESIA)
def _(sdk, case):
    return sdk.voices.list().data


@method("agents.calls.retrieve", CARTESIA)
def _(sdk, case):
    return sdk.agents.calls.retrieve(case.get("target") or "call-1")


@method("fine_tunes.retrieve", CARTESIA)
def _(sdk, case):
    return sdk.fine_tunes.retrieve(case.get("target") or "tune-1")


@method("tts.generate", "cartesia-python-async")
async def _(sdk, case):
    response = await sdk.tts.generate(**speech(case, WAV_FORMAT))
    return await response.read()


@method("tts.generate_sse", "cartesia-python-async")
async def _(sdk, case):
    return [event async for event in await sdk.tts.generate_sse(**speech(case, SSE_FORMAT))]


@client("cartesia-python-legacy", "cartesia")
def cartesia_legacy(url, case):
    from cartesia import Cartesia

    return Cartesia(api_key=key(case), base_url=url, timeout=TIMEOUT)


LEGACY = "cartesia-python-legacy"


def legacy_options(case):
    found = {"additional_headers": case["headers"]}
    return found if case["retries"] is None else {**found, "max_retries": case["retries"]}


@method("tts.bytes", LEGACY)
def _(sdk, case):
    return gathered(sdk.tts.bytes(**speech(case, WAV_FORMAT), request_options=legacy_options(case)))


@method("tts.sse", LEGACY)
def _(sdk, case):
    return list(sdk.tts.sse(**speech(case, SSE_FORMAT), request_options=legacy_options(case)))


@method("voices.get", LEGACY)
def _(sdk, case):
    return sdk.voices.get(voice(case), request_options=legacy_options(case))


# --- breeze-blue ------------------------------------------------------------------------------------------------


@client("breeze-python", "breeze_blue")
def breeze(url, case):
    import httpx
    from breeze_blue import BreezeBlue

    http_client = httpx.Client(headers=case["headers"], timeout=TIMEOUT) if case["headers"] else None
    return BreezeBlue(api_key=key(case), base_url=url, timeout=TIMEOUT, http_client=http_client)


BREEZE = "breeze-python"


def breeze_audio(response):
    return {"audio": response.content, "content_type": response.content_type, "history": response.history_item_id}


@method("text_to_speech.convert", BREEZE)
def _(sdk, case):
    return breeze_audio(sdk.text_to_speech.convert(voice(case), text=TEXT))


@method("text_to_speech.stream", BREEZE)
def _(sdk, case):
    return breeze_audio(sdk.text_to_speech.stream(voice(case), text=TEXT))


@method("text_to_speech.convert_with_timestamps", BREEZE)
def _(sdk, case):
    return sdk.text_to_speech.convert_with_timestamps(voice(case), text=TEXT)


@method("text_to_speech.stream_with_timestamps", BREEZE)
def _(sdk, case):
    with sdk.text_to_speech.stream_with_timestamps(voice(case), text=TEXT) as stream:
        return list(stream)


@method("text_to_speech.create_job", BREEZE)
def _(sdk, case):
    return sdk.text_to_speech.create_job(voice(case), text=TEXT)


@method("text_to_speech.create_realtime_session", BREEZE)
def _(sdk, case):
    return sdk.text_to_speech.create_realtime_session(voice(case))


@method("studio.files.get", BREEZE)
def _(sdk, case):
    return sdk.studio.files.get(case.get("target") or "file-1")


@method("generation_jobs.get", BREEZE)
def _(sdk, case):
    return sdk.generation_jobs.get(case.get("target") or "job-settled")


@method("generation_jobs.download_audio", BREEZE)
def _(sdk, case):
    return breeze_audio(sdk.generation_jobs.download_audio(case.get("target") or f"job-{case['client']}"))


@method("voices.get", BREEZE)
def _(sdk, case):
    return sdk.voices.get(voice(case))


@method("voices.create_clone_preview", BREEZE)
def _(sdk, case):
    return sdk.voices.create_clone_preview(name="clone", file=CLIP, filename="clip.wav")


@method("account.balance", BREEZE)
def _(sdk, case):
    return sdk.account.balance()


# --- plain HTTP, for a provider without an SDK --------------------------------------------------------------------


class HttpFailure(Exception):
    """What a program that uses urllib knows of a failure."""

    def __init__(self, error):
        super().__init__(f"HTTP {error.code}")
        self.status_code = error.code
        self.headers = dict(error.headers)
        self.body = _json_or_text(error.read())


def _json_or_text(content):
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


@client("urllib", "urllib.request")
def plain_http(url, case):
    def send(verb, path, body=None, content_type=None):
        headers = {"x-api-key": key(case), **case["headers"]}
        if content_type:
            headers["content-type"] = content_type
        request = urllib.request.Request(url + path, data=body, method=verb, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return {"status": response.status, "body": _json_or_text(response.read())}
        except urllib.error.HTTPError as error:
            raise HttpFailure(error) from None

    return send


@method("speech.submit", "urllib")
def _(send, case):
    boundary = "c0ffee"
    parts = [("language", None, b"en"), ("externalId", None, voice(case).encode()), ("audio", "clip.wav", CLIP)]
    body = b""
    for name, filename, content in parts:
        file = f'; filename="{filename}"\r\nContent-Type: audio/wav' if filename else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return send("POST", "/api/v1/speech/analyze", body, f"multipart/form-data; boundary={boundary}")


@method("speech.poll", "urllib")
def _(send, case):
    return send("GET", f"/api/v1/speech/analyze/{case.get('target') or 'run-settled'}")


@method("speech.runs", "urllib")
def _(send, case):
    return send("GET", "/api/v1/speech/runs")


@method("credits", "urllib")
def _(send, case):
    return send("GET", "/api/v1/credits")

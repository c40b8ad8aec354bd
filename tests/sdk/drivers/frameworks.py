"""Runs a plan of calls through LiveKit's and Pipecat's plugins and through SDKs that tests/sdk/drivers/calls.py does not have.

The plan is that of driver.py without the SDK's own options; an outcome is what the program that uses the plugin can see:

    {"case", "ended": "ok" | "error" | "hung", "class", "status", "retryable", "audio": bytes of sound or characters of text}

A Pipecat service raises nothing: its error frames are its errors, and their category is the class.
"""

import asyncio
import json
import logging
import sys
import warnings

import aiohttp

TEXT = "Hello there, my friend. How are you today?"
# Half a second of silence, 16 kHz.
CLIP = bytes(16_000)
# What is not over by then is hung. Nothing that works takes a tenth of it.
PATIENCE = 12.0  # the plan has another
CALLS = {}


def call(name):
    def register(function):
        CALLS[name] = function
        return function

    return register


def socket_url(url):
    return "ws" + url.removeprefix("http")


# --- LiveKit Agents ---------------------------------------------------------------------------------------------


def livekit_options():
    from livekit.agents import APIConnectOptions

    return APIConnectOptions(max_retry=3, retry_interval=0.05, timeout=4.0)


async def speak(tts, seen):
    stream = tts.stream(conn_options=livekit_options())
    stream.push_text(TEXT)
    stream.end_input()
    async for event in stream:
        seen["audio"] += len(event.frame.data)


async def synthesize(tts, seen):
    async for event in tts.synthesize(TEXT, conn_options=livekit_options()):
        seen["audio"] += len(event.frame.data)


async def listen(stt, seen):
    from livekit import rtc

    stream = stt.stream(conn_options=livekit_options())

    async def microphone():
        while True:
            stream.push_frame(rtc.AudioFrame(CLIP[:640], 16_000, 1, 320))
            await asyncio.sleep(0.02)

    sound = asyncio.create_task(microphone())
    try:
        async for event in stream:
            seen["audio"] += sum(len(found.text) for found in event.alternatives)
            if event.type.name == "FINAL_TRANSCRIPT":
                return
    finally:
        sound.cancel()
        await stream.aclose()


async def recognize(stt, seen):
    from livekit import rtc

    event = await stt.recognize(rtc.AudioFrame(CLIP, 16_000, 1, len(CLIP) // 2), conn_options=livekit_options())
    seen["audio"] += sum(len(found.text) for found in event.alternatives)


def livekit(name, provider, build, use):
    @call(f"livekit {name}")
    async def _(url, key, seen):
        async with aiohttp.ClientSession() as session:
            import importlib

            plugin = importlib.import_module(f"livekit.plugins.{provider}")
            await use(build(plugin, url, key, session), seen)


livekit("elevenlabs tts", "elevenlabs", lambda p, url, key, s: p.TTS(api_key=key, base_url=url + "/v1", http_session=s, encoding="pcm_22050"), speak)
livekit("elevenlabs tts http", "elevenlabs", lambda p, url, key, s: p.TTS(api_key=key, base_url=url + "/v1", http_session=s, encoding="pcm_22050"), synthesize)
livekit("elevenlabs stt", "elevenlabs", lambda p, url, key, s: p.STT(api_key=key, base_url=url + "/v1", http_session=s, model_id="scribe_v2_realtime"), listen)
livekit("cartesia tts", "cartesia", lambda p, url, key, s: p.TTS(api_key=key, base_url=url, http_session=s), speak)
livekit("cartesia tts http", "cartesia", lambda p, url, key, s: p.TTS(api_key=key, base_url=url, http_session=s), synthesize)
livekit("deepgram tts", "deepgram", lambda p, url, key, s: p.TTS(api_key=key, base_url=url + "/v1/speak", http_session=s), speak)
livekit("deepgram tts http", "deepgram", lambda p, url, key, s: p.TTS(api_key=key, base_url=url + "/v1/speak", http_session=s), synthesize)
livekit("deepgram stt", "deepgram", lambda p, url, key, s: p.STT(api_key=key, base_url=url + "/v1/listen", http_session=s), listen)
livekit("openai tts", "openai", lambda p, url, key, s: p.TTS(api_key=key, base_url=url + "/v1", response_format="pcm"), synthesize)
livekit("openai stt", "openai", lambda p, url, key, s: p.STT(api_key=key, base_url=url + "/v1"), recognize)


# --- Pipecat ----------------------------------------------------------------------------------------------------


class PipecatError(Exception):
    """An error frame."""


def pipecat(name, build):
    @call(f"pipecat {name}")
    async def _(url, key, seen):
        from pipecat.frames.frames import ErrorFrame, TTSAudioRawFrame, TTSSpeakFrame, TTSStoppedFrame
        from pipecat.pipeline.pipeline import Pipeline
        from pipecat.pipeline.runner import PipelineRunner
        from pipecat.pipeline.task import PipelineParams, PipelineTask
        from pipecat.processors.frame_processor import FrameProcessor

        over, errors = asyncio.Event(), []

        class Watch(FrameProcessor):
            async def process_frame(self, frame, direction):
                await super().process_frame(frame, direction)
                if isinstance(frame, TTSAudioRawFrame):
                    seen["audio"] += len(frame.audio)
                elif isinstance(frame, ErrorFrame):
                    errors.append(frame)
                    over.set()
                elif isinstance(frame, TTSStoppedFrame):
                    over.set()
                await self.push_frame(frame, direction)

        async with aiohttp.ClientSession() as session:
            task = PipelineTask(
                Pipeline([Watch(), build(url, key, session), Watch()]),
                params=PipelineParams(),
                cancel_on_idle_timeout=False,
            )
            running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
            await task.queue_frames([TTSSpeakFrame(TEXT)])
            try:
                await asyncio.wait_for(over.wait(), PATIENCE / 2)
                # An error may come behind what stops the speech, and the other way round.
                await asyncio.sleep(0.3)
            finally:
                await task.cancel()
                await asyncio.wait_for(running, 5)
        if errors:
            raise PipecatError(errors[0].category.name)


def elevenlabs_tts(url, key, _session):
    from pipecat.services.elevenlabs.tts import ElevenLabsTTSService as Service

    return Service(api_key=key, url=socket_url(url), settings=Service.Settings(voice="voice-1"))


def cartesia_tts(url, key, _session):
    from pipecat.services.cartesia.tts import CartesiaTTSService as Service

    return Service(api_key=key, url=socket_url(url) + "/tts/websocket", settings=Service.Settings(voice="voice-1"))


def cartesia_http(url, key, _session):
    from pipecat.services.cartesia.tts import CartesiaHttpTTSService as Service

    return Service(api_key=key, base_url=url, settings=Service.Settings(voice="voice-1"))


def deepgram_tts(url, key, _session):
    from pipecat.services.deepgram.tts import DeepgramTTSService as Service

    return Service(api_key=key, base_url=socket_url(url))


def openai_tts(url, key, _session):
    from pipecat.services.openai.tts import OpenAITTSService as Service

    return Service(api_key=key, base_url=url + "/v1")


pipecat("elevenlabs tts", elevenlabs_tts)
pipecat("cartesia tts", cartesia_tts)
pipecat("cartesia tts http", cartesia_http)
pipecat("deepgram tts", deepgram_tts)
pipecat("openai tts", openai_tts)


# --- official SDKs ----------------------------------------------------------------------------------------------


@call("openai speech")
async def _(url, key, seen):
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key=key, base_url=url + "/v1", max_retries=1) as sdk:
        seen["audio"] += len((await sdk.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)).content)


@call("groq transcription")
async def _(url, key, seen):
    from groq import AsyncGroq

    async with AsyncGroq(api_key=key, base_url=url, max_retries=1) as sdk:
        seen["audio"] += len((await sdk.audio.transcriptions.create(file=("a.wav", CLIP), model="whisper")).text)


def deepgram(url, key):
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    ws = socket_url(url)
    return AsyncDeepgramClient(
        api_key=key, environment=DeepgramClientEnvironment(base=url, production=ws, agent=ws, agent_rest=url)
    )


@call("deepgram speak")
async def _(url, key, seen):
    sdk = deepgram(url, key)
    async for piece in sdk.speak.v1.audio.generate(text=TEXT, request_options={"max_retries": 1}):
        seen["audio"] += len(piece)


@call("deepgram listen")
async def _(url, key, seen):
    from websockets.exceptions import ConnectionClosedOK

    async with deepgram(url, key).listen.v1.connect(model="nova-3") as socket:
        await socket.send_media(CLIP)
        try:
            async for message in socket:
                if getattr(message, "type", "") == "Results":
                    seen["audio"] += len(message.channel.alternatives[0].transcript)
        except ConnectionClosedOK:
            pass


@call("assemblyai transcript")
async def _(url, key, seen):
    import assemblyai

    def transcribe():
        settings = assemblyai.Settings(api_key=key, base_url=url, http_timeout=5.0, polling_interval=0.1)
        sdk = assemblyai.Client(settings=settings)
        result = assemblyai.Transcriber(client=sdk).transcribe("http://example.invalid/a.wav")
        if result.error:
            raise assemblyai.TranscriptError(result.error)
        return result.text

    seen["audio"] += len(await asyncio.to_thread(transcribe) or "")


@call("assemblyai streaming")
async def _(url, key, seen):
    from assemblyai.streaming.v3 import (
        StreamingClient,
        StreamingClientOptions,
        StreamingEvents,
        StreamingParameters,
    )

    def session():
        import threading

        told, over = [], threading.Event()
        sdk = StreamingClient(StreamingClientOptions(api_key=key, api_host=socket_url(url)))

        def turn(_, event):
            seen["audio"] += len(event.transcript)
            over.set()

        def failed(_, error):
            told.append(error)
            over.set()

        sdk.on(StreamingEvents.Turn, turn)
        sdk.on(StreamingEvents.Error, failed)
        sdk.on(StreamingEvents.Termination, lambda *_: over.set())
        sdk.connect(StreamingParameters(sample_rate=16_000, speech_model="universal-streaming-english"))
        if not told:
            sdk.stream(CLIP)
        if not over.wait(PATIENCE / 2):
            raise TimeoutError
        sdk.disconnect(terminate=False)
        if told:
            raise told[0]

    await asyncio.to_thread(session)


# --- the plan ---------------------------------------------------------------------------------------------------


def described(error):
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    # Pipecat's class is the category.
    name = str(error) if isinstance(error, PipecatError) else type(error).__name__
    return {"class": name, "status": status if isinstance(status, int) else None, "retryable": getattr(error, "retryable", None)}


async def run(case, urls):
    seen = {"audio": 0}
    try:
        await asyncio.wait_for(CALLS[case["client"]](urls[case["provider"]], case["key"], seen), PATIENCE)
        outcome = {"ended": "ok"}
    except TimeoutError:
        outcome = {"ended": "hung"}
    except Exception as error:  # any exception is what the client would see: that is the result
        outcome = {"ended": "error", **described(error)}
    return {"case": case["id"], **outcome, **seen}


async def main():
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    try:
        from loguru import logger

        logger.remove()
    except ImportError:
        pass
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    global PATIENCE
    PATIENCE = plan["patience"]
    few = asyncio.Semaphore(8)

    async def bounded(case):
        async with few:
            return await run(case, plan["urls"])

    for done in asyncio.as_completed([bounded(case) for case in plan["cases"]]):
        print(json.dumps(await done), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

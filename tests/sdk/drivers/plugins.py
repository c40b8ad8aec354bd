"""LiveKit's and Pipecat's plugins for Google's speech over gRPC, nothing of them changed: what each is told, one line a fault.

Neither lets its user set an endpoint: both call speech.googleapis.com and texttospeech.googleapis.com over TLS. So the name leads to the
gateway here, by a proxy for CONNECT that knows one address, and its certificate is trusted by gRPC's own setting. Arguments: a file with a
certificate for both names, host:port of the gateway's listener with TLS; or of a provider without TLS and a file with the certificate's key.
"""

import asyncio
import json
import logging
import os
import ssl
import sys
import warnings

CA, ADDRESS, *KEY = sys.argv[1:]
os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = CA
os.environ["GRPC_VERBOSITY"] = "NONE"

# Half a second of silence, 16 kHz.
CLIP = bytes(16_000)
# Google's clients try some failures again for an hour.
PATIENCE = 6.0
FAULTS = ["", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNAVAILABLE", "INTERNAL"]
FAULTS += [moment + fault for moment in ("open-", "mid-") for fault in ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "INTERNAL")]
NETWORK = ["net-reset", "net-empty", "net-garbage", "net-html-502", "mid-net-reset"]


async def proxy():
    """Takes every CONNECT to the one address."""

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def tunnel(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        onwards = await asyncio.open_connection(*ADDRESS.split(":"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        if KEY:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(CA, *KEY)
            context.set_alpn_protocols(["h2"])
            await writer.start_tls(context)
        await asyncio.gather(pump(reader, onwards[1]), pump(onwards[0], writer), return_exceptions=True)

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1]


def credentials():
    from google.auth.credentials import AnonymousCredentials

    found = AnonymousCredentials()
    found.project_id = "project"
    return found


def livekit_options():
    from livekit.agents import APIConnectOptions

    # Shorter than our patience with it, tried again and all.
    return APIConnectOptions(max_retry=1, retry_interval=0.05, timeout=2.0)


async def livekit_tts(fault):
    """The whole text at once."""
    from livekit.plugins import google

    tts = google.TTS(credentials=credentials(), use_streaming=False, voice_name=voice(fault))
    count = 0
    async for event in tts.synthesize("Hello there.", conn_options=livekit_options()):
        count += len(event.frame.data)
    assert count > 0


async def livekit_tts_stream(fault):
    from livekit.plugins import google

    tts = google.TTS(credentials=credentials(), use_streaming=True, voice_name=voice(fault))
    stream = tts.stream(conn_options=livekit_options())
    stream.push_text("Hello there.")
    stream.end_input()
    count = 0
    async for event in stream:
        count += len(event.frame.data)
    assert count > 0


def voice(fault):
    # What follows in the message must not be taken for a part of the name.
    return f"fault-{fault}." if fault else "en-US-Chirp3-HD-Charon"


async def livekit_stt(fault):
    from livekit import rtc
    from livekit.plugins import google

    stt = google.STT(credentials=credentials(), languages="en-US", model=f"fault-{fault}." if fault else "latest_long", use_streaming=False)
    event = await stt.recognize(rtc.AudioFrame(CLIP, 16_000, 1, len(CLIP) // 2), conn_options=livekit_options())
    assert event.alternatives[0].text == "hello there", event


async def livekit_stt_stream(fault):
    """As in a call: audio as it comes, and words that are not final yet."""
    from livekit import rtc
    from livekit.plugins import google

    model = f"fault-{fault}." if fault else "latest_long"
    stt = google.STT(credentials=credentials(), languages="en-US", model=model, min_confidence_threshold=0.0)
    stream = stt.stream(conn_options=livekit_options())
    stream.push_frame(rtc.AudioFrame(CLIP, 16_000, 1, len(CLIP) // 2))
    stream.end_input()
    texts = [event.alternatives[0].text async for event in stream if event.alternatives]
    assert "hello there" in texts, texts


class PipecatError(Exception):
    """An error frame."""


async def pipecat_tts(fault):
    from unittest import mock

    from pipecat.frames.frames import ErrorFrame, TTSAudioRawFrame
    from pipecat.services.google import tts

    with mock.patch.object(tts, "default", lambda **_: (credentials(), "project")):
        service = tts.GoogleHttpTTSService(settings=tts.GoogleHttpTTSService.Settings(voice=voice(fault)))
    service._sample_rate = 16_000
    count = 0
    async for frame in service.run_tts("Hello there.", "context"):
        if isinstance(frame, ErrorFrame):
            raise PipecatError(frame.error)
        if isinstance(frame, TTSAudioRawFrame):
            count += len(frame.audio)
    assert count > 0


async def pipecat_tts_stream(fault):
    from unittest import mock

    from pipecat.frames.frames import TTSAudioRawFrame
    from pipecat.services.google import tts

    with mock.patch.object(tts, "default", lambda **_: (credentials(), "project")):
        service = tts.GoogleTTSService(settings=tts.GoogleTTSService.Settings(voice=voice(fault)))
    service._sample_rate = 16_000
    errors = []

    async def push_error(error_msg, **_):
        errors.append(error_msg)

    service.push_error = push_error
    count = 0
    async for frame in service.run_tts("Hello there.", "context"):
        if isinstance(frame, TTSAudioRawFrame):
            count += len(frame.audio)
    if errors:
        raise PipecatError(errors[0])
    assert count > 0


async def pipecat_stt(fault):
    """Its stream without a pipeline: what it would push is heard here. It begins anew after every error, so the first one counts."""
    from unittest import mock

    from pipecat.frames.frames import InterimTranscriptionFrame, TranscriptionFrame
    from pipecat.services.google import stt

    with mock.patch.object(stt, "default", lambda **_: (credentials(), "project")):
        settings = stt.GoogleSTTService.Settings(model=f"fault-{fault}." if fault else "latest_long")
        service = stt.GoogleSTTService(settings=settings)
    service._sample_rate = 16_000
    first = asyncio.get_running_loop().create_future()

    def tell(outcome):
        if not first.done():
            first.set_result(outcome)

    async def push_error(error_msg, **_):
        tell(PipecatError(error_msg))

    async def push_frame(frame, *_):
        # What is said before a failure in the middle is no end.
        if isinstance(frame, (InterimTranscriptionFrame, TranscriptionFrame)) and not fault:
            tell(frame.text)

    async def nothing(*_, **__):
        pass

    service.push_error, service.push_frame, service._call_event_handler = push_error, push_frame, nothing
    service.create_task = lambda coroutine, *_: asyncio.ensure_future(coroutine)
    await service._connect()
    try:
        async for _ in service.run_stt(CLIP):
            pass
        told = await first
    finally:
        service._streaming_task.cancel()
    if isinstance(told, PipecatError):
        raise told
    assert told == "hello there", told


CALLS = {"livekit google tts": livekit_tts, "livekit google tts stream": livekit_tts_stream, "livekit google stt": livekit_stt}
CALLS |= {"livekit google stt stream": livekit_stt_stream, "pipecat google tts": pipecat_tts, "pipecat google tts stream": pipecat_tts_stream}
CALLS |= {"pipecat google stt": pipecat_stt}


async def told(call, fault):
    try:
        await asyncio.wait_for(call(fault), PATIENCE)
        return "ok"
    except TimeoutError:
        return "hung"
    except PipecatError as error:
        # Google's number stands first in what its client says.
        words = str(error).removeprefix("TTS generation error: ").removeprefix("Unknown error occurred: ")
        return f"PipecatError {words.split()[0]}"
    except Exception as error:  # any exception is what the plugin's user sees: that is the result
        return f"{type(error).__name__} {getattr(error, 'status_code', '')} {getattr(error, 'retryable', '')}".strip()


async def main():
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    from loguru import logger

    logger.remove()
    os.environ["grpc_proxy"] = f"http://127.0.0.1:{await proxy()}"
    # What works is tried first, and alone: what is imported then takes its time.
    for name, call in CALLS.items():
        await told(call, "")

    async def all_of(name, call, faults, kind):
        for fault in faults:
            print(name, fault, kind, await told(call, fault), sep="\t", flush=True)

    # What breaks a connection comes last: a gateway shares connections, and the others would be told of that.
    for faults, kind in ((FAULTS, "provider"), (NETWORK, "network")):
        await asyncio.gather(*(all_of(*pair, faults, kind) for pair in CALLS.items()))


asyncio.run(main())

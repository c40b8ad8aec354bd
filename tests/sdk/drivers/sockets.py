"""WebSocket sessions of the Python SDKs, by the names that tests/sdk/sockets.toml uses.

Each plays one short session and returns everything that its user was told, in order; an exception that the SDK
raises is the outcome instead. A session that has said nothing for PATIENCE seconds is reported as hung.
"""

import asyncio
import base64
import threading

import calls
from calls import CLIP, TEXT, key, method, voice

PATIENCE = 8.0
AUDIO = CLIP[44:]
HUNG = {"hung": True}


def socket_url(url):
    return "ws" + url.removeprefix("http")


# --- elevenlabs -------------------------------------------------------------------------------------------------


@method("text_to_speech.convert_realtime", "elevenlabs-python")
def _(sdk, case):
    # The SDK insists on wss unless told otherwise.
    sdk.text_to_speech._ws_base_url = socket_url(sdk._client_wrapper.get_base_url())
    return b"".join(sdk.text_to_speech.convert_realtime(voice(case), text=iter([TEXT]), model_id="eleven_flash_v2_5"))


@method("speech_to_text.realtime", "elevenlabs-python-async")
async def _(sdk, case):
    from elevenlabs.realtime.connection import RealtimeEvents
    from elevenlabs.realtime.scribe import AudioFormat, ScribeRealtime

    scribe = ScribeRealtime(api_key=key(case), base_url=sdk._client_wrapper.get_base_url())
    connection = await scribe.connect(
        {
            "model_id": case.get("target") or "scribe_v2_realtime",
            "audio_format": AudioFormat.PCM_8000,
            "sample_rate": 8000,
        }
    )
    seen, ended = [], asyncio.Event()

    def note(event):
        def handler(data=None):
            seen.append({"event": event.value, "data": data})
            # A program stops at what it waited for, or at what ends the session.
            if event in (RealtimeEvents.CLOSE, RealtimeEvents.ERROR, RealtimeEvents.COMMITTED_TRANSCRIPT):
                ended.set()

        return handler

    for event in RealtimeEvents:
        connection.on(event, note(event))
    await connection.send({"audio_base_64": base64.b64encode(AUDIO).decode()})
    await connection.commit()
    try:
        await asyncio.wait_for(ended.wait(), PATIENCE)
        if seen[-1]["event"] == "error":
            # The close that follows an error tells its code and reason.
            await asyncio.sleep(0.3)
    except asyncio.TimeoutError:
        seen.append(HUNG)
    await connection.close()
    return seen


@method("conversation", "elevenlabs-python")
def _(sdk, case):
    from elevenlabs.conversational_ai.conversation import Conversation

    seen, ended = [], threading.Event()

    def note(name):
        return lambda *values: seen.append({"callback": name, "values": list(values)})

    def disconnected(details):
        seen.append({"callback": "disconnect", "values": vars(details)})
        ended.set()

    conversation = Conversation(
        sdk,
        case.get("target") or "agent-1",
        requires_auth=case["client"] == "elevenlabs-python-signed",
        callback_agent_response=note("agent_response"),
        callback_user_transcript=note("user_transcript"),
        callback_disconnect=disconnected,
    )
    conversation.start_session()
    if not ended.wait(PATIENCE if case.get("target") else 1.5):
        conversation.end_session()
        if case.get("target"):
            seen.append(HUNG)
    conversation.wait_for_session_end()
    return seen


calls.client("elevenlabs-python-signed", "elevenlabs.client")(calls.elevenlabs)
# The session's address comes from an HTTP answer, which the gateway has to have rewritten.
calls.CALLS["elevenlabs-python-signed", "conversation"] = calls.CALLS["elevenlabs-python", "conversation"]


# --- cartesia ---------------------------------------------------------------------------------------------------


def cartesia(sdk):
    return sdk.with_options(websocket_base_url=socket_url(str(sdk.base_url)))


def handshake(case):
    """What the voice of a later message cannot ask for: an upgrade that fails."""
    target = case.get("target") or ""
    return {"x-speechgate-fault": target} if target.startswith("fault-handshake-") else {}


def request(case, name):
    return {
        "model_id": "sonic-3",
        "transcript": TEXT,
        "voice": {"mode": "id", "id": name},
        "output_format": calls.SSE_FORMAT,
    }


@method("tts.websocket", "cartesia-python")
def _(sdk, case):
    with cartesia(sdk).tts.websocket_connect(extra_headers=handshake(case)) as connection:
        context = connection.context("context-1", timeout=PATIENCE)
        context.send(**request(case, voice(case)), continue_=False)
        return list(context.receive())


@method("tts.websocket two contexts", "cartesia-python")
def _(sdk, case):
    """What befalls one context leaves its neighbour on the same socket alone."""
    with cartesia(sdk).tts.websocket_connect() as connection:
        first = connection.context("context-1", timeout=PATIENCE)
        second = connection.context("context-2", timeout=PATIENCE)
        first.send(**request(case, voice(case)), continue_=False)
        second.send(**request(case, "voice-1"), continue_=False)
        return {"first": list(first.receive()), "second": list(second.receive())}


@method("stt.manual_finalize", "cartesia-python")
def _(sdk, case):
    seen = []
    manager = cartesia(sdk).stt.manual_finalize.websocket(
        model=case.get("target") or "ink-whisper", encoding="pcm_s16le", sample_rate=8000, max_retries=0
    )
    with manager as connection:
        connection.send_raw(AUDIO)
        connection.send("finalize")
        connection.send("close")
        try:
            for event in connection:
                seen.append(event)
        except Exception as error:  # told beside the events that came before it
            seen.append({"raised": type(error).__name__, "message": str(error)})
    return seen


# --- breeze-blue ------------------------------------------------------------------------------------------------


@method("text_to_speech.connect_realtime", "breeze-python")
async def _(sdk, case):
    seen, audio = [], b""
    async with sdk.text_to_speech.connect_realtime(voice(case)) as connection:
        await connection.start_turn("turn-1")
        await connection.append_text(TEXT)
        await connection.end_turn()
        try:
            while True:
                event = await asyncio.wait_for(anext(connection), PATIENCE)
                if event["type"] == "audio":
                    audio += event["audio"]
                    continue
                seen.append(event)
                if event["type"] in ("turn.done", "turn.completed", "error", "session.closed"):
                    break
        except StopAsyncIteration:
            seen.append({"ended": True})
        except asyncio.TimeoutError:
            seen.append(HUNG)
    return {"events": seen, "audio": audio}


@method("text_to_speech.connect_realtime audio", "breeze-python")
async def _(sdk, case):
    """The iterator that turns an error event into an exception."""
    async with sdk.text_to_speech.connect_realtime(voice(case)) as connection:
        await connection.start_turn("turn-1")
        await connection.append_text(TEXT)
        await connection.end_turn()
        first = await asyncio.wait_for(anext(connection.audio()), PATIENCE)
        return len(first) > 0

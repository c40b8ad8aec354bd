"""Calls of gRPC by real clients: what each is told, one line a call. Arguments: host:port."""

import sys
import threading

import grpc
import riva.client
from google.api_core import exceptions
from google.cloud import speech_v1, texttospeech_v1
from google.cloud.speech_v1.services.speech.transports import SpeechGrpcTransport
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcTransport

ADDRESS = sys.argv[1]
SPEECH = "/google.cloud.speech.v1.Speech/"
PROVIDER = ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNAVAILABLE", "INTERNAL", "API_KEY_INVALID"]
MOMENTS = ["", "open-", "mid-", "end-"]
NETWORK = ["net-reset", "net-empty", "net-garbage", "net-html-502", "net-body-hang", "mid-net-reset", "net-hang"]
# Directly they would wait for ever; what ends by itself has the time that a busy machine takes.
HANGING = ["net-body-hang", "net-hang"]


def patience(fault):
    return 1.5 if fault in HANGING else 20


def metadata(fault):
    return [("x-speechgate-fault", fault)] if fault else []


def channel():
    return grpc.insecure_channel(ADDRESS, options=[("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)])


def unary(fault):
    with channel() as one:
        answer = one.unary_unary(SPEECH + "Recognize")(b"", metadata=metadata(fault), timeout=patience(fault))
        assert b"hello there" in answer, answer


def stream(fault):
    """Sends the second message when the answer to the first is there."""
    with channel() as one:
        answered = threading.Semaphore(0)

        def messages():
            yield b""
            answered.acquire(timeout=patience(fault))
            yield b""

        count = 0
        for answer in one.stream_stream(SPEECH + "StreamingRecognize")(messages(), metadata=metadata(fault), timeout=patience(fault)):
            assert b"hello there" in answer, answer
            count += 1
            answered.release()
        assert count == 2, count


def speech():
    return speech_v1.SpeechClient(transport=SpeechGrpcTransport(channel=channel()))


def recognize(fault):
    config = speech_v1.RecognitionConfig(language_code="en-US")
    audio = speech_v1.RecognitionAudio(content=b"\0" * 640)
    answer = speech().recognize(config=config, audio=audio, metadata=metadata(fault), retry=None, timeout=patience(fault))
    assert answer.results[0].alternatives[0].transcript == "hello there", answer


def streaming_recognize(fault):
    config = speech_v1.StreamingRecognitionConfig(config=speech_v1.RecognitionConfig(language_code=f"fault-{fault}" if fault else "en-US"))
    pieces = [speech_v1.StreamingRecognizeRequest(audio_content=b"\0" * 640) for _ in range(2)]
    # Its helper passes no metadata on.
    answers = speech().streaming_recognize(config, pieces, retry=None, timeout=patience(fault))
    assert [answer.results[0].alternatives[0].transcript for answer in answers] == ["hello there"] * 3


def synthesize(fault):
    client = texttospeech_v1.TextToSpeechClient(transport=TextToSpeechGrpcTransport(channel=channel()))
    answer = client.synthesize_speech(
        input=texttospeech_v1.SynthesisInput(text="hello"),
        voice=texttospeech_v1.VoiceSelectionParams(language_code="en-US"),
        audio_config=texttospeech_v1.AudioConfig(audio_encoding=texttospeech_v1.AudioEncoding.LINEAR16),
        metadata=metadata(fault), retry=None, timeout=patience(fault),
    )
    assert len(answer.audio_content) == 640


def riva_recognize(fault):
    auth = riva.client.Auth(uri=ADDRESS, use_ssl=False, metadata_args=[list(pair) for pair in metadata(fault)])
    service = riva.client.ASRService(auth)
    config = riva.client.StreamingRecognitionConfig(config=riva.client.RecognitionConfig(language_code="en-US"))
    answers = list(service.streaming_response_generator(audio_chunks=[b"\0" * 640], streaming_config=config))
    assert answers[0].results[0].alternatives[0].transcript == "hello there", answers


CLIENTS = {
    "grpcio unary": (unary, PROVIDER, NETWORK),
    "grpcio stream": (stream, [moment + fault for moment in MOMENTS for fault in PROVIDER], NETWORK),
    "google-cloud-speech": (recognize, PROVIDER, NETWORK),
    "google-cloud-speech stream": (streaming_recognize, [moment + fault for moment in MOMENTS for fault in PROVIDER], NETWORK),
    "google-cloud-texttospeech": (synthesize, PROVIDER, NETWORK),
    # It sets no deadline: what would hang directly is left out.
    "nvidia-riva-client": (riva_recognize, [moment + fault for moment in ("", "mid-") for fault in PROVIDER], ["net-reset", "net-html-502", "mid-net-reset"]),
}


def told(call, fault):
    try:
        call(fault)
        return "ok"
    except exceptions.GoogleAPICallError as error:
        reason = f" {error.reason}" if error.reason else ""
        return f"{type(error).__name__} {error.grpc_status_code.name}{reason}"
    except grpc.RpcError as error:
        return f"RpcError {error.code().name}"
    except Exception as error:  # what no user of the client expects
        return f"{type(error).__name__}: {error}".replace("\n", " ")[:120]


for name, (call, provider, network) in CLIENTS.items():
    for fault in ["", *provider, *network]:
        kind = "network" if fault in network else "provider"
        print(name, fault, kind, told(call, fault), sep="\t", flush=True)

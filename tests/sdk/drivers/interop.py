"""The gRPC interoperability cases with grpcio: a server of them, or what a client is told, one line a case.

Arguments: `serve CERTIFICATE KEY`, which prints the ports without and with TLS and ends with its standard input; or `call HOST:PORT [CA]`.
"""

import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))
messages, services = grpc.protos_and_services("testing.proto")

INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
SIZES = [31415, 9, 2653, 58979]
SENT = [27182, 8, 1828, 45904]
PATIENCE = 20


# --- the server ---------------------------------------------------------------------------------------------------


class Service(services.TestServiceServicer):
    def EmptyCall(self, request, context):
        return echo(context) or messages.Empty()

    def UnaryCall(self, request, context):
        echo(context)
        status(request, context)
        if request.response_size == 1:
            context.set_compression(grpc.Compression.Gzip)
            return messages.SimpleResponse(payload=payload(50_000))
        return messages.SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request, context):
        for wanted in request.response_parameters:
            yield messages.StreamingOutputCallResponse(payload=payload(wanted.size))

    def StreamingInputCall(self, requests, context):
        total = sum(len(request.payload.body) for request in requests)
        return messages.StreamingInputCallResponse(aggregated_payload_size=total)

    def FullDuplexCall(self, requests, context):
        echo(context)
        for request in requests:
            status(request, context)
            for wanted in request.response_parameters:
                yield messages.StreamingOutputCallResponse(payload=payload(wanted.size))


def echo(context):
    came = dict(context.invocation_metadata())
    if INITIAL in came:
        context.send_initial_metadata([(INITIAL, came[INITIAL])])
    if TRAILING in came:
        context.set_trailing_metadata([(TRAILING, came[TRAILING])])


def status(request, context):
    if request.response_status.code:
        code = next(code for code in grpc.StatusCode if code.value[0] == request.response_status.code)
        context.abort(code, request.response_status.message)


def payload(size):
    return messages.Payload(body=bytes(size))


def serve(certificate, key):
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    server = grpc.server(futures.ThreadPoolExecutor(32))
    services.add_TestServiceServicer_to_server(Service(), server)
    checks = health.HealthServicer()
    checks.set("down", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    plain = server.add_insecure_port("127.0.0.1:0")
    credentials = grpc.ssl_server_credentials([(Path(key).read_bytes(), Path(certificate).read_bytes())])
    secure = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(plain, secure, flush=True)
    sys.stdin.read()
    server.stop(0)


# --- the cases ----------------------------------------------------------------------------------------------------


def outputs(sizes):
    return [messages.ResponseParameters(size=size) for size in sizes]


def echo_status(code, message):
    return messages.EchoStatus(code=code, message=message)


def failed(call):
    """The status that a call ends with."""
    try:
        answer = call()
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()!r}"
    return "no failure"


class Cases:
    def __init__(self, channel):
        self.channel, self.stub = channel, services.TestServiceStub(channel)

    def empty_unary(self):
        return self.stub.EmptyCall(messages.Empty(), timeout=PATIENCE) == messages.Empty()

    def large_unary(self, **options):
        request = messages.SimpleRequest(response_size=314159, payload=payload(271828))
        return len(self.stub.UnaryCall(request, timeout=PATIENCE, **options).payload.body)

    def client_compressed_unary(self):
        return self.large_unary(compression=grpc.Compression.Gzip)

    def server_compressed_unary(self):
        return len(self.stub.UnaryCall(messages.SimpleRequest(response_size=1), timeout=PATIENCE).payload.body)

    def client_streaming(self):
        requests = (messages.StreamingInputCallRequest(payload=payload(size)) for size in SENT)
        return self.stub.StreamingInputCall(requests, timeout=PATIENCE).aggregated_payload_size

    def server_streaming(self):
        request = messages.StreamingOutputCallRequest(response_parameters=outputs(SIZES))
        return [len(answer.payload.body) for answer in self.stub.StreamingOutputCall(request, timeout=PATIENCE)]

    def ping_pong(self):
        """Each message is sent when the answer to the one before is there."""
        answered, sizes = threading.Semaphore(1), []

        def requests():
            for sent, wanted in zip(SENT, SIZES):
                answered.acquire(timeout=PATIENCE)
                yield messages.StreamingOutputCallRequest(response_parameters=outputs([wanted]), payload=payload(sent))

        for answer in self.stub.FullDuplexCall(requests(), timeout=PATIENCE):
            sizes.append(len(answer.payload.body))
            answered.release()
        return sizes

    def empty_stream(self):
        return list(self.stub.FullDuplexCall(iter(()), timeout=PATIENCE))

    def cancel_after_begin(self):
        waiting = threading.Event()
        call = self.stub.StreamingInputCall.future(held(waiting), timeout=PATIENCE)
        call.cancel()
        waiting.set()
        return call.code().name

    def cancel_after_first_response(self):
        waiting = threading.Event()
        first = messages.StreamingOutputCallRequest(response_parameters=outputs([31415]), payload=payload(27182))
        call = self.stub.FullDuplexCall(held(waiting, first), timeout=PATIENCE)
        size = len(next(call).payload.body)
        call.cancel()
        waiting.set()
        return size, failed(lambda: call).split()[0]

    def timeout_on_sleeping_server(self):
        waiting = threading.Event()
        first = messages.StreamingOutputCallRequest(payload=payload(27182))
        told = failed(lambda: self.stub.FullDuplexCall(held(waiting, first), timeout=0.05))
        waiting.set()
        return told.split()[0]

    def custom_metadata(self):
        sent = [(INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab\x00,\xff")]
        _, unary = self.stub.UnaryCall.with_call(messages.SimpleRequest(), metadata=sent, timeout=PATIENCE)
        stream = self.stub.FullDuplexCall(iter([messages.StreamingOutputCallRequest()]), metadata=sent, timeout=PATIENCE)
        list(stream)
        return [(dict(call.initial_metadata())[INITIAL], dict(call.trailing_metadata())[TRAILING]) for call in (unary, stream)]

    def status_code_and_message(self):
        said = echo_status(2, "test status message")
        request = messages.StreamingOutputCallRequest(response_status=said)
        return (
            failed(lambda: self.stub.UnaryCall(messages.SimpleRequest(response_status=said), timeout=PATIENCE)),
            failed(lambda: self.stub.FullDuplexCall(iter([request]), timeout=PATIENCE)),
        )

    def special_status_message(self):
        request = messages.SimpleRequest(response_status=echo_status(2, SPECIAL))
        return failed(lambda: self.stub.UnaryCall(request, timeout=PATIENCE)) == f"UNKNOWN {SPECIAL!r}"

    def every_status(self):
        """None of the list of interoperability, which has one status alone."""
        requests = [messages.SimpleRequest(response_status=echo_status(code, f"status {code}")) for code in range(1, 17)]
        return [failed(lambda: self.stub.UnaryCall(request, timeout=PATIENCE)) for request in requests]

    def unimplemented_method(self):
        return failed(lambda: self.stub.UnimplementedCall(messages.Empty(), timeout=PATIENCE))

    def unimplemented_service(self):
        stub = services.UnimplementedServiceStub(self.channel)
        return failed(lambda: stub.UnimplementedCall(messages.Empty(), timeout=PATIENCE))

    def health(self):
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        stub = health_pb2_grpc.HealthStub(self.channel)
        ask = lambda service: health_pb2.HealthCheckRequest(service=service)
        found = [stub.Check(ask(service), timeout=PATIENCE).status for service in ("", "down")]
        watch = stub.Watch(ask("down"), timeout=PATIENCE)
        watched = next(watch).status
        watch.cancel()
        return found, watched, failed(lambda: stub.Check(ask("nobody"), timeout=PATIENCE))


def held(waiting, *first):
    """These messages, and an open stream until it is set."""
    yield from first
    waiting.wait(PATIENCE)


def call(address, ca=None):
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    if ca:
        credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
        channel = grpc.secure_channel(address, credentials, options)
    else:
        channel = grpc.insecure_channel(address, options)
    with channel:
        cases = Cases(channel)
        for name in [name for name in vars(Cases) if not name.startswith("_")]:
            try:
                told = getattr(cases, name)()
            except Exception as error:  # what no case expects
                told = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
            print(name, told, sep="\t", flush=True)


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
